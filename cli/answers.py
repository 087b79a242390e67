"""What every command has: where to look, ``--json``, errors in one line, and an exit code that says how it went."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import click
from botocore.exceptions import BotoCoreError
from rich.console import Console

from cli import tables
from lambdas.core.errors import AwsCallError, GuardrailError

OK, NOT_ALL, USAGE, NOT_ALLOWED = 0, 1, 2, 3
"""Exit codes: all is well; something bad was found or is not complete; mistyped; no credentials or permissions."""

_P = ParamSpec("_P")

_SIGN_IN = "sign in (`aws sso login`, `aws configure`), or choose a profile with --profile or AWS_PROFILE"
_EXPIRED = "the credentials have expired: sign in again (`aws sso login`), or have new ones made"
_REGION = "no region is known: give --region, or set AWS_REGION"
_HINTS = {
    "NoCredentialsError": (NOT_ALLOWED, f"no AWS credentials: {_SIGN_IN}"),
    "CredentialRetrievalError": (NOT_ALLOWED, f"the AWS credentials cannot be had: {_SIGN_IN}"),
    "PartialCredentialsError": (NOT_ALLOWED, f"half of the AWS credentials is missing: {_SIGN_IN}"),
    "LoginRefreshRequired": (NOT_ALLOWED, _EXPIRED),
    "SSOTokenLoadError": (NOT_ALLOWED, _EXPIRED),
    "TokenRetrievalError": (NOT_ALLOWED, _EXPIRED),
    "UnauthorizedSSOTokenError": (NOT_ALLOWED, _EXPIRED),
    "ExpiredToken": (NOT_ALLOWED, _EXPIRED),
    "ExpiredTokenException": (NOT_ALLOWED, _EXPIRED),
    "RequestExpired": (NOT_ALLOWED, f"{_EXPIRED}; or this machine's clock is off"),
    "InvalidClientTokenId": (NOT_ALLOWED, f"AWS does not know these credentials: {_SIGN_IN}"),
    "UnrecognizedClientException": (NOT_ALLOWED, f"AWS does not know these credentials: {_SIGN_IN}"),
    "SignatureDoesNotMatch": (NOT_ALLOWED, f"the secret key does not fit, or this machine's clock is off: {_SIGN_IN}"),
    "ProfileNotFound": (USAGE, f"no such profile: {_SIGN_IN}"),
    "NoRegionError": (USAGE, _REGION),
    "InvalidRegionError": (USAGE, "that is no AWS region: give --region, for example us-east-1"),
    "EndpointConnectionError": (NOT_ALL, "AWS cannot be reached: look at the network, and at --region"),
    "ConnectTimeoutError": (NOT_ALL, "AWS does not answer: look at the network, and at --region"),
    "ReadTimeoutError": (NOT_ALL, "AWS did not answer in time: see `bedrock-spend status` before you try again"),
}
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "Unauthorized"}
)


@dataclass(frozen=True, slots=True)
class Where:
    """Which deployment is meant. What is empty is found out."""

    prefix: str = ""
    region: str = ""
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Screen:
    """What people see meanwhile, on the error output: the answer alone goes to the other one."""

    console: Console
    as_json: bool

    @property
    def watched(self) -> bool:
        """Tell whether a person looks on."""
        return self.console.is_terminal and not self.as_json

    def say(self, words: str) -> None:
        """Show a line, unless only JSON was asked for."""
        if not self.as_json:
            self.console.print(tables.plain(words), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to."""

    body: Mapping[str, Any]
    """JSON values; the field ``summary`` says in words what happened."""
    code: int = OK
    show: Callable[[Console, Mapping[str, Any]], None] = tables.show


class NotPossibleError(GuardrailError):
    """What was asked for cannot be done; the message says what to do instead."""

    def __init__(self, words: str, code: int = USAGE) -> None:
        """Take the line for people and the exit code."""
        super().__init__(words)
        self.code = code


def was_denied(error: Exception) -> bool:
    """Tell whether AWS refused a call for want of a permission."""
    return isinstance(error, AwsCallError) and error.code in _DENIED


def explained(error: GuardrailError | BotoCoreError) -> tuple[str, int]:
    """Return what went wrong and what to do about it, in one line, and the exit code."""
    words = " ".join(str(error).split())
    if isinstance(error, NotPossibleError):
        return words, error.code
    if was_denied(error) and isinstance(error, AwsCallError):
        return f"not allowed: {error.operation} is denied to these credentials ({words})", NOT_ALLOWED
    name = error.code if isinstance(error, AwsCallError) else type(error).__name__
    if name in _HINTS:
        code, hint = _HINTS[name]
        return f"{hint} ({words})", code
    return words, NOT_ALL


def command(act: Callable[Concatenate[Where, Screen, _P], Answer]) -> Callable[..., None]:
    """Make a command of what answers, with the options that all of them have."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, to the output.")
    @click.option("--profile", default="", metavar="NAME", help="AWS profile.  [default: as the AWS CLI has it]")
    @click.option("--region", default="", metavar="REGION", help="Region of the deployment.  [default: it is found]")
    @click.option(
        "--prefix",
        default="",
        metavar="PREFIX",
        envvar="BEDROCK_SPEND_PREFIX",
        help="Prefix of the deployment, as in guardrail.toml.  [default: bedrock-spend, or the only one there is]",
    )
    @wraps(act)
    def run(*, as_json: bool, prefix: str, region: str, profile: str, **given: Any) -> None:  # noqa: ANN401
        screen = Screen(Console(stderr=True), as_json)
        try:
            # What the code of the functions logs must not mix with the answer.
            with redirect_stdout(sys.stderr):
                answer = act(Where(prefix, region, profile), screen, **given)  # type: ignore[call-arg]
        except (GuardrailError, BotoCoreError) as error:
            words, code = explained(error)
            _fail(words, type(error).__name__, code, screen)
        except KeyboardInterrupt:
            _fail("interrupted", "KeyboardInterrupt", NOT_ALL, screen)
        _print(answer, as_json=as_json)
        sys.exit(answer.code)

    return run


def _print(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer.body, indent=2, default=str))
    else:
        answer.show(Console(), answer.body)


def _fail(words: str, kind: str, code: int, screen: Screen) -> None:
    if screen.as_json:
        click.echo(json.dumps({"summary": words, "error": kind}, indent=2))
    else:
        click.echo(tables.printable(words), err=True)
    sys.exit(code)
