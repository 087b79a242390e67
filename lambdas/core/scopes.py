"""What can be stopped alone, and how it is spelled. Text from people comes in here and nowhere else.

A scope ends up in an IAM policy, so each kind admits the characters AWS admits in that name and none of IAM's own:
no ``*`` or ``?`` but in a model's glob, and no ``${``, which IAM would read as a policy variable.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from lambdas.core import model_ids
from lambdas.core.errors import RefusedError


class ScopeKind(StrEnum):
    """What a narrow stop stops, as its spelling begins."""

    ROLE = "role"
    USER = "user"
    SESSION = "session"
    """One session of a role many share: ``AROAID:session-name``, which is its ``aws:userid``."""
    SOURCE_IDENTITY = "source-identity"
    MODEL = "model"
    """A glob of bare model ids, or the ARN of an imported, custom or provisioned model."""
    PROFILE = "profile"
    """The id of an application inference profile."""
    PROJECT = "project"
    """The id of a Bedrock project (bedrock-mantle)."""
    TAG = "tag"
    """``KEY=VALUE``: the application inference profiles and projects that carry it."""


_PRINCIPALS = (ScopeKind.ROLE, ScopeKind.USER)


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What is stopped alone. Made by `parse_scope` only."""

    kind: ScopeKind
    value: str

    @property
    def is_principal(self) -> bool:
        """Tell whether it is stopped by attaching the deny policy; the writer renders all others."""
        return self.kind in _PRINCIPALS

    @property
    def holder(self) -> str:
        """``role/NAME`` or ``user/NAME``, as IAM's lists name a principal."""
        return str(self)

    def __str__(self) -> str:
        """Return the spelling `parse_scope` reads."""
        return f"{self.kind}{'/' if self.is_principal else ':'}{self.value}"


_NAME = r"[A-Za-z0-9_+=,.@-]"
# A path may hold anything that is printed; IAM names are unique without it, so it is dropped.
_PRINCIPAL = rf"(?:[!-~]{{1,510}}/)?(?P<value>{_NAME}{{1,64}})"
_TAG_CHARACTER = r"[A-Za-z0-9_.:/+@-]"
# The three ARNs of models that are not foundation models.
_OWN_MODEL = (
    r"arn:aws[a-z-]{0,16}:bedrock:[a-z0-9-]{1,32}:[0-9]{12}:"
    r"(?:imported-model|provisioned-model|custom-model-deployment)/[a-z0-9-]{1,64}"
)

_RULES: dict[ScopeKind, tuple[str, str]] = {
    ScopeKind.ROLE: (_PRINCIPAL, "role/NAME, a role's name or ARN"),
    ScopeKind.USER: (_PRINCIPAL, "user/NAME, a user's name or ARN"),
    ScopeKind.SESSION: (
        rf"(?P<value>AROA[A-Z0-9]{{12,60}}:{_NAME}{{2,64}})",
        "session:AROAID:SESSION-NAME, as aws:userid and CloudTrail's principalId have it",
    ),
    ScopeKind.SOURCE_IDENTITY: (rf"(?P<value>{_NAME}{{2,64}})", "source-identity:NAME, 2 to 64 of A-Z a-z 0-9 _+=,.@-"),
    ScopeKind.MODEL: (
        # Three letters or digits in a row: what has none (*, *.*, *-v*) would reach almost every model.
        rf"(?P<value>{_OWN_MODEL}|(?=.*[a-z0-9]{{3}})[a-z0-9.:*?-]{{3,128}})",
        (
            "model:ID, of a-z 0-9 . : - with * and ? for a glob that has three letters or digits in a row; or the ARN "
            "of an imported or provisioned model or a custom model deployment. For every model kill the account instead"
        ),
    ),
    ScopeKind.PROFILE: (r"(?P<value>[a-z0-9]{8,64})", "profile:ID, the id or ARN of an application inference profile"),
    ScopeKind.PROJECT: (
        r"(?P<value>[A-Za-z0-9][A-Za-z0-9_-]{0,63})",
        "project:ID, the id or ARN of a bedrock-mantle project",
    ),
    ScopeKind.TAG: (
        (
            rf"(?P<value>{_TAG_CHARACTER}(?:[A-Za-z0-9_.:/+@ -]{{0,126}}{_TAG_CHARACTER})?="
            rf"[A-Za-z0-9_.:/=+@-](?:[A-Za-z0-9_.:/=+@ -]{{0,254}}[A-Za-z0-9_.:/=+@-])?)"
        ),
        "tag:KEY=VALUE, of A-Z a-z 0-9 _.:/+@- and spaces within",
    ),
}

_PRINCIPAL_ARN = re.compile(
    r"arn:aws[a-z-]{0,16}:iam::(?P<account>[0-9]{12}):(?P<kind>role|user)/(?P<value>.+)", re.DOTALL
)
# A session's ARN lacks the role's id, without which no policy can tell its sessions apart: it stands for the role.
_SESSION_ARN = re.compile(
    rf"arn:aws[a-z-]{{0,16}}:sts::(?P<account>[0-9]{{12}}):assumed-role/(?P<value>{_NAME}{{1,64}})/{_NAME}{{2,64}}"
)
_BEDROCK_ARN = re.compile(
    r"arn:aws[a-z-]{0,16}:(?P<service>bedrock|bedrock-mantle):[a-z0-9-]{0,32}:(?P<account>[0-9]{12})?:"
    r"(?P<kind>[a-z-]{1,40})/(?P<value>.+)",
    re.DOTALL,
)
_KIND_OF_ARN = {
    "application-inference-profile": ScopeKind.PROFILE,
    "project": ScopeKind.PROJECT,
    "foundation-model": ScopeKind.MODEL,
    "inference-profile": ScopeKind.MODEL,
}
_EACH_VERSION = re.compile(r"-v\?:\?$")
_VERSION = re.compile(r"-v\d+(:\d+)?$")
_MAX_TEXT = 700


def parse_scope(text: str, account_id: str = "") -> Scope:
    """Read a scope, or the ARN of something that can be stopped alone; ``str`` of the answer is its one spelling.

    Raises RefusedError naming the rule for anything else; with an account id, for ARNs of other accounts too.
    """
    given = text.strip()
    if len(given) > _MAX_TEXT:
        msg = f"a scope of {len(given)} characters: nothing that can be stopped has so long a name"
        raise RefusedError(msg)
    if given.startswith("arn:"):
        return _of_arn(given, account_id)
    for kind in ScopeKind:
        prefix = f"{kind}{'/' if kind in _PRINCIPALS else ':'}"
        if given.startswith(prefix):
            value = given.removeprefix(prefix)
            if value.startswith("arn:") and kind is not ScopeKind.TAG:
                return _of_arn(value, account_id, kind)
            return _checked(kind, value, given)
    known = ", ".join(rule.partition(",")[0] for _, rule in _RULES.values())
    msg = f"scope {_shown(given)} is not known, nothing was done: use one of {known}, or an ARN of these"
    raise RefusedError(msg)


def _of_arn(arn: str, account_id: str, wanted: ScopeKind | None = None) -> Scope:
    found = next(
        (match for pattern in (_PRINCIPAL_ARN, _SESSION_ARN, _BEDROCK_ARN) if (match := pattern.fullmatch(arn))), None
    )
    if found is None:
        msg = f"{_shown(arn)} is no ARN of something that can be stopped alone: nothing was done"
        raise RefusedError(msg)
    parts = found.groupdict()
    if account_id and parts["account"] not in {None, account_id}:
        msg = f"{_shown(arn)} is of account {parts['account']}, and this is {account_id}: nothing was done"
        raise RefusedError(msg)
    if "service" not in parts:
        kind = ScopeKind(parts.get("kind", "role"))
        value = parts["value"]
    else:
        kind = _KIND_OF_ARN.get(parts["kind"], ScopeKind.MODEL)
        # The id behind the ARN of a foundation model or system profile; all other models are known by their ARN.
        value = arn if parts["kind"] not in _KIND_OF_ARN else parts["value"]
    if wanted not in {None, kind}:
        msg = f"{_shown(arn)} is no {wanted}: {_RULES[wanted or kind][1]}; nothing was done"
        raise RefusedError(msg)
    return _checked(kind, value, arn)


def _checked(kind: ScopeKind, value: str, given: str) -> Scope:
    if kind is ScopeKind.MODEL and not value.startswith("arn:"):
        value = model_ids.without_geography(value.lower())
        # Every version is what the plain id stands for.
        value = _EACH_VERSION.sub("", value) if is_exact(_EACH_VERSION.sub("", value)) else value
    pattern, rule = _RULES[kind]
    found = re.fullmatch(pattern, value, re.ASCII)
    if found is None:
        msg = f"scope {_shown(given)} is refused, nothing was done: it must be {rule}"
        raise RefusedError(msg)
    return Scope(kind, found["value"])


def is_exact(model: str) -> bool:
    """Tell whether a model's id is no glob."""
    return not set("*?") & set(model)


def runtime_models(model: str) -> tuple[str, ...]:
    """Return the patterns of foundation-model ids a model scope stands for: a plain id with any version, too."""
    if is_exact(model) and not _VERSION.search(model):
        return (model, f"{model}-v?:?")
    return (model,)


def mantle_models(model: str) -> tuple[str, ...]:
    """Return the patterns of the names bedrock-mantle has for it, where ids carry no version."""
    return (model, _VERSION.sub("", model)) if is_exact(model) and _VERSION.search(model) else (model,)


def _shown(text: str) -> str:
    # ascii() so that what is sent cannot garble the mail or the log it is shown in.
    return ascii(text if len(text) <= 100 else f"{text[:97]}...")  # noqa: PLR2004 - as much as a line of a mail
