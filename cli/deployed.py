"""Finding the deployment: its functions' environment is the configuration, so the same code runs here as there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from cli.answers import NOT_ALL, NOT_ALLOWED, NotPossibleError, Where, explained, was_denied
from lambdas.aws import calls
from lambdas.aws.functions import answer_of
from lambdas.aws.policy_writer import OwnPolicies
from lambdas.core.errors import AwsCallError, UnfinishedError
from lambdas.wiring import Wiring

USUAL_PREFIX = "bedrock-spend"
_GONE = "ResourceNotFoundException"
_HOME = re.compile(r" in ([a-z]{2}(?:-[a-z]+)+-\d+)$")
"""How the policies' description ends: it names their stack and its region."""
_PATIENT = calls.WAITING.merge(Config(read_timeout=910))
"""A function may run for 15 minutes."""


class NotDeployedError(NotPossibleError):
    """There is no guardrail in the account."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose credentials these are."""

    account_id: str
    name: str
    """``assumed-role/Admin/ada``, ``user/ada`` or ``root``."""


class Unhurried:
    """Nobody ends this process from outside, as Lambda ends a function."""

    def get_remaining_time_in_millis(self) -> int:
        """Return an hour."""
        return 3_600_000


@dataclass(frozen=True)
class Deployment:
    """A guardrail that is deployed, as these credentials see it."""

    prefix: str
    region: str
    caller: Caller
    why_remote: str = ""
    """Why its configuration cannot be read; empty when it was read."""
    environment: Mapping[str, str] | None = None

    @cached_property
    def wiring(self) -> Wiring:
        """The same objects as in the functions, with these credentials. Raises NotPossibleError."""
        if self.environment is None:
            msg = (
                f"{self.why_remote}; where you may invoke the guardrail's functions, add --remote: the function then "
                "does it with its own permissions"
            )
            raise NotPossibleError(msg, NOT_ALLOWED)
        return Wiring({**self.environment, "AWS_REGION": self.region})

    def invoke(self, function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have a function of the guardrail do it, and return its answer. Raises GuardrailError."""
        name = f"{self.prefix}-{function}"
        client = boto3.client("lambda", region_name=self.region, config=_PATIENT)
        try:
            return answer_of(client, name, event)
        except AwsCallError as error:
            words = str(error).removeprefix(f"{error.operation}: {error.code}: {name}: ")
            match error.code:
                case "UnfinishedError":
                    raise UnfinishedError(words) from error
                case "TooManyRequestsException":
                    msg = f"{name} cannot run, the account's Lambda concurrency is used up: try it without --remote"
                    raise NotPossibleError(msg, NOT_ALL) from error
                case code if code == _GONE:
                    msg = f"there is no function {name} in {self.region}: {_deploy(function)}"
                    raise NotPossibleError(msg) from error
            raise


def _deploy(function: str) -> str:
    if function == "drill":
        return "configure [live_drill] in guardrail.toml and deploy again"
    return "name the region of the deployment with --region"


def caller(where: Where) -> Caller:
    """Return whose credentials are used, from now on those of the profile. Raises AwsCallError, BotoCoreError."""
    if where.profile or where.region:
        boto3.setup_default_session(profile_name=where.profile or None, region_name=where.region or None)
    with calls.named("sts:GetCallerIdentity"):
        # It answers in each region alike, and where none is configured.
        region = configured_region() or "us-east-1"
        found = boto3.client("sts", region_name=region, config=calls.CONFIG).get_caller_identity()
    return Caller(found["Account"], found["Arn"].split(":", 5)[-1])


def configured_region() -> str:
    """Return the region of the profile, or of the environment; empty when neither tells any."""
    # A new session would not know the profile that was chosen.
    return (boto3.DEFAULT_SESSION or boto3.Session()).region_name or ""


def find(where: Where) -> Deployment:
    """Return the deployment that is meant. Raises NotPossibleError when there is none, or more than one."""
    who = caller(where)
    prefix = where.prefix or USUAL_PREFIX
    looked = where.region or configured_region()
    found = _in_region(prefix, looked, who) if looked else None
    if found is None:
        try:
            found = _elsewhere(prefix, where, who)
        except AwsCallError as error:
            if not was_denied(error):
                raise
            place = f" in {looked}" if looked else ""
            msg = (
                f"no guardrail with the prefix {prefix} was found{place}, and these credentials may not ask IAM where "
                f"one is ({error.operation}): give --region, and --prefix if it is another"
            )
            raise NotPossibleError(msg, NOT_ALLOWED) from error
    if found.region != configured_region():
        boto3.setup_default_session(profile_name=where.profile or None, region_name=found.region)
    return found


def _elsewhere(prefix: str, where: Where, who: Caller) -> Deployment:
    """Look where the guardrail's own policy says it is; without a prefix, also for the only one there is."""
    home = home_of(prefix, who)
    if not home and not where.prefix:
        others = _prefixes(who)
        if len(others) > 1:
            listed = ", ".join(others)
            msg = f"several guardrails are deployed in account {who.account_id} ({listed}): choose one with --prefix"
            raise NotPossibleError(msg)
        if others:
            prefix, home = others[0], home_of(others[0], who)
    named = f"guardrail with the prefix {prefix} is deployed in account {who.account_id}"
    if home and where.region and home != where.region:
        msg = f"no {named} in {where.region}: it is in {home}, give --region {home}"
        raise NotPossibleError(msg)
    found = _in_region(prefix, home, who) if home else None
    if found is None:
        msg = f"no {named}: deploy it with `make deploy`"
        raise NotDeployedError(msg)
    return found


def _in_region(prefix: str, region: str, who: Caller) -> Deployment | None:
    client = boto3.client("lambda", region_name=region, config=calls.CONFIG)
    try:
        with calls.named("lambda:GetFunctionConfiguration"):
            answer = client.get_function_configuration(FunctionName=f"{prefix}-kill")
    except AwsCallError as error:
        if error.code == _GONE:
            return None
        if was_denied(error):
            return Deployment(prefix, region, who, why_remote=explained(error)[0])
        raise
    environment = answer.get("Environment", {})
    if failed := environment.get("Error"):
        # It is encrypted with a key these credentials may not use.
        why = f"the configuration of {prefix}-kill cannot be decrypted ({failed.get('Message', 'no reason given')})"
        return Deployment(prefix, region, who, why_remote=why)
    return Deployment(prefix, region, who, environment=environment.get("Variables", {}))


def home_of(prefix: str, who: Caller) -> str:
    """Return the region in which the guardrail of that prefix is deployed, as its policy tells; empty when it is not.

    Raises AwsCallError.
    """
    iam = boto3.client("iam", config=calls.CONFIG)
    owner = OwnPolicies(iam, "", lambda _seconds: None).owner(f"arn:aws:iam::{who.account_id}:policy/{prefix}-brake")
    found = _HOME.search(owner or "")
    return found[1] if found else ""


def _prefixes(who: Caller) -> list[str]:
    """Return the prefixes of all guardrails in the account, by the policies they go with. Raises AwsCallError."""
    names: set[str] = set()
    with calls.named("iam:ListPolicies"):
        iam = boto3.client("iam", config=calls.CONFIG)
        for page in iam.get_paginator("list_policies").paginate(Scope="Local"):
            names |= {each["PolicyName"] for each in page["Policies"]}
    found = [name.removesuffix("-brake") for name in sorted(names) if name.endswith("-brake")]
    return [each for each in found if {f"{each}-sweep", f"{each}-deny"} <= names and home_of(each, who)]
