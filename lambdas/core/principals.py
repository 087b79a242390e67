"""Who can spend: roles and users, judged by their policies; over-approximated, never under."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lambdas.core import actions

SERVICE_LINKED_PATH = "/aws-service-role/"
IDENTITY_CENTER_PATH = "/aws-reserved/sso.amazonaws.com/"


def principal_pattern(exempt: str) -> str:
    """Return the ARN pattern for ``role/NAME`` or ``user/NAME`` as the configuration spells exempt principals."""
    return f"arn:*:iam::*:{exempt}"


class Capability(StrEnum):
    """Whether, and how, a principal's policies let it spend on Bedrock."""

    NAMED = "named"
    """A statement names an action of the Bedrock family."""
    WILDCARD = "wildcard"
    """Only a pattern such as ``*`` or a NotAction reaches Bedrock; also where a policy could not be read."""
    NONE = "none"


class PrincipalKind(StrEnum):
    """Who can hold a policy and call."""

    ROLE = "role"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Principal:
    """A role or user as IAM has it."""

    arn: str
    kind: PrincipalKind
    name: str
    path: str
    capability: Capability
    attached: frozenset[str] = field(default_factory=frozenset)
    """ARNs of the managed policies attached to it."""

    @property
    def resource(self) -> str:
        """``role/path/name``, as the configuration spells exempt principals."""
        return f"{self.kind}{self.path}{self.name}"

    @property
    def unmodifiable(self) -> str | None:
        """Why IAM lets nobody attach a policy to it, or None when it does."""
        if self.path.startswith(SERVICE_LINKED_PATH):
            return "service-linked role: it calls on behalf of its AWS service; IAM lets nobody attach a policy"
        if self.path.startswith(IDENTITY_CENTER_PATH):
            return (
                "Identity Center role: IAM refuses; add the brake policy to its permission set as a "
                "customer managed policy"
            )
        return None


@dataclass(frozen=True, slots=True)
class Spared:
    """Who is never touched: the exempt of the configuration.

    The guardrail's own roles need no word here: they cannot spend, so nothing is ever attached to them; and IAM
    refuses it to the functions in any case.
    """

    exempt: tuple[str, ...] = ()

    def covers(self, principal: Principal) -> bool:
        """Tell whether nothing may be attached to the principal."""
        # As IAM reads the deny: the part behind the account alone, for a path may hold a colon.
        return self._names(principal.resource)

    def covers_arn(self, arn: str) -> bool:
        """Tell the same of a role's or user's ARN."""
        return self._names(arn.split(":", 5)[-1])

    def _names(self, resource: str) -> bool:
        return any(actions.matches_name(each, resource) for each in self.exempt)


def capability_of(
    documents: Iterable[Mapping[str, Any] | str | None], *, external_anthropic: bool = False
) -> Capability:
    """Judge all policy documents of a principal. None stands for a document that could not be read.

    Resources, conditions and boundaries are ignored: they only ever narrow what a statement allows.
    """
    spend = actions.spend_patterns(external_anthropic=external_anthropic)
    worst = Capability.NONE
    for document in documents:
        for statement in _allow_statements(document):
            match _of_statement(statement, spend):
                case Capability.NAMED:
                    return Capability.NAMED
                case Capability.WILDCARD:
                    worst = Capability.WILDCARD
                case Capability.NONE:
                    pass
    return worst


_UNREADABLE: Mapping[str, Any] = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def _allow_statements(document: Mapping[str, Any] | str | None) -> Sequence[Mapping[str, Any]]:
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            document = None
    statements = document.get("Statement") if isinstance(document, Mapping) else None
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list) or not all(isinstance(each, Mapping) for each in statements):
        return [_UNREADABLE]
    return [each for each in statements if each.get("Effect") != "Deny"]


def _of_statement(statement: Mapping[str, Any], spend: Sequence[str]) -> Capability:
    if "NotAction" in statement:
        excepted = _strings(statement["NotAction"], unreadable=[])
        # A spend pattern is out of reach only when an excepted pattern covers it as a whole.
        reached = any(not any(actions.matches(each, pattern) for each in excepted) for pattern in spend)
        return Capability.WILDCARD if reached else Capability.NONE
    allowed = [
        each
        for each in _strings(statement.get("Action"), unreadable=["*"])
        if any(actions.patterns_meet(each, pattern) for pattern in spend)
    ]
    if any(_names_family(each) for each in allowed):
        return Capability.NAMED
    return Capability.WILDCARD if allowed else Capability.NONE


def _strings(value: object, *, unreadable: list[str]) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    return unreadable


def _names_family(pattern: str) -> bool:
    service = pattern.lower().partition(":")[0]
    return service.startswith((*actions.BEDROCK_FAMILY, actions.EXTERNAL_ANTHROPIC))
