"""Who can spend: roles, users and groups, judged by their policies; over-approximated, never under."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from lambdas.core import actions

SERVICE_LINKED_PATH = "/aws-service-role/"
IDENTITY_CENTER_PATH = "/aws-reserved/sso.amazonaws.com/"

_OF_PERMISSION_SET = re.compile(r"AWSReservedSSO_(.+)_[0-9a-f]{16}")
_NEVER = datetime.min.replace(tzinfo=UTC)


def principal_pattern(exempt: str) -> str:
    """Return the ARN pattern for ``role/NAME`` or ``user/NAME`` as the configuration spells exempt principals."""
    return f"arn:*:iam::*:{exempt}"


def split_tag(tag: str) -> tuple[str, str]:
    """Return the key and the value of ``KEY=VALUE`` as the configuration spells the tag of exempt principals."""
    key, _, value = tag.partition("=")
    return key, value


class Capability(StrEnum):
    """Whether, and how, a principal's policies let it spend on Bedrock."""

    NAMED = "named"
    """A statement names an action of the Bedrock family."""
    WILDCARD = "wildcard"
    """Only a pattern such as ``*`` or a NotAction reaches Bedrock; also where a policy could not be read."""
    NONE = "none"


class PrincipalKind(StrEnum):
    """Who can hold a policy. Roles and users call; a group only passes its policies on to the users in it."""

    ROLE = "role"
    USER = "user"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much IAM lets a principal hold. The defaults are AWS's own; an account may have been given more."""

    policies_per_role: int = 20
    policies_per_user: int = 10
    groups_per_user: int = 10

    @classmethod
    def from_summary(cls, summary: Mapping[str, int]) -> "Quotas":
        """Return what `iam:GetAccountSummary` tells; the default where it does not."""
        usual = cls()
        return cls(
            summary.get("AttachedPoliciesPerRoleQuota", usual.policies_per_role),
            summary.get("AttachedPoliciesPerUserQuota", usual.policies_per_user),
            summary.get("GroupsPerUserQuota", usual.groups_per_user),
        )


@dataclass(frozen=True, slots=True)
class Principal:
    """A role, user or group as IAM has it."""

    arn: str
    kind: PrincipalKind
    name: str
    path: str
    capability: Capability
    """By its own policies and, for a user, by those of its groups; a boundary or an explicit deny lowers nothing."""
    attached: frozenset[str] = field(default_factory=frozenset)
    """ARNs of the managed policies attached to it."""
    attached_in_order: tuple[str, ...] = ()
    """The same as IAM lists them."""
    inline: frozenset[str] = field(default_factory=frozenset)
    """Names of its inline policies that are denies of ours."""
    groups: tuple[str, ...] = ()
    """Names of the groups a user is in."""
    full: bool = False
    """No slot is free for one more managed policy, by the quota as far as it could be read: attaching would tell."""
    groups_full: bool = False
    """A user that IAM would let into no further group, likewise."""
    boundary: str = ""
    """ARN of the permissions boundary; empty when there is none."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """IAM tells none for a group."""
    last_used: datetime | None = None
    """When it last called, aware UTC; None when never, long ago, or unknown: IAM's listing tells it of roles alone."""
    unique_id: str = field(default="", compare=False)
    """``AIDA...``: stays when it is renamed, and is nobody else's ever. Empty where it was not read."""

    @property
    def resource(self) -> str:
        """``role/path/name``, as the configuration spells exempt principals."""
        return f"{self.kind}{self.path}{self.name}"

    @property
    def calls(self) -> bool:
        """Whether it can call AWS. A group cannot: nothing is attached to one, its users are stopped themselves."""
        return self.kind is not PrincipalKind.GROUP

    @property
    def service_linked(self) -> bool:
        """Whether an AWS service owns it."""
        return self.kind is PrincipalKind.ROLE and self.path.startswith(SERVICE_LINKED_PATH)

    @property
    def identity_center(self) -> bool:
        """Whether IAM Identity Center owns it."""
        return self.kind is PrincipalKind.ROLE and self.path.startswith(IDENTITY_CENTER_PATH)

    @property
    def permission_set(self) -> str:
        """The name of the permission set an Identity Center role was made from; empty for all others."""
        found = _OF_PERMISSION_SET.fullmatch(self.name) if self.identity_center else None
        return found[1] if found else ""

    @property
    def unmodifiable(self) -> str | None:
        """Why IAM lets nobody attach a policy to it, or None when it does."""
        if self.service_linked:
            return "service-linked role: it calls on behalf of its AWS service; IAM lets nobody attach a policy"
        if self.identity_center:
            return (
                "Identity Center role: IAM refuses; add the brake policy to its permission set as a "
                "customer managed policy"
            )
        return None


@dataclass(frozen=True, slots=True)
class Spared:
    """Who is never touched: the exempt of the configuration, by name or by tag.

    The guardrail's own roles need no word here: they cannot spend, so nothing is ever attached to them; and IAM
    refuses it to the functions in any case.
    """

    exempt: tuple[str, ...] = ()
    tag: str = ""
    """``KEY=VALUE``; empty when no tag exempts."""
    tagged: frozenset[str] = frozenset()
    """Who is known to carry the tag, as ``role/path/name``: an ARN alone does not tell."""

    def covers(self, principal: Principal) -> bool:
        """Tell whether nothing may be attached to the principal."""
        # As IAM reads the deny: the part behind the account alone, for a path may hold a colon.
        return self._names(principal.resource) or self._carried_by(principal)

    def covers_arn(self, arn: str) -> bool:
        """Tell the same of a role's or user's ARN; by tag only of those it was made `knowing`."""
        return self._names(arn.split(":", 5)[-1])

    def knowing(self, principals: Iterable[Principal]) -> "Spared":
        """Return the same, knowing by their ARNs too those of the principals that carry the tag."""
        tagged = frozenset(each.resource for each in principals if self._carried_by(each))
        return replace(self, tagged=self.tagged | tagged)

    def _names(self, resource: str) -> bool:
        return resource in self.tagged or any(actions.matches_name(each, resource) for each in self.exempt)

    def _carried_by(self, principal: Principal) -> bool:
        # As IAM compares aws:PrincipalTag: the key in any case, the value to the letter.
        key, value = split_tag(self.tag)
        return bool(key) and any(k.lower() == key.lower() and v == value for k, v in principal.tags.items())


def order_for_sweep(principals: Iterable[Principal], callers: Sequence[str] = ()) -> list[Principal]:
    """Return the principals in the order a sweep should reach them; those alike stay in the order given.

    First those who are known to call (ARNs of roles, users or assumed roles, the dearest first), then whoever names
    Bedrock, then the wildcards; the most recently used first in each.
    """
    place = {caller: number for number, caller in reversed(list(enumerate(map(_caller, callers))))}
    classes = list(Capability)

    def urgency(principal: Principal) -> tuple[int, int, float]:
        account = principal.arn.split(":")[4:5]
        known = place.get((*account, principal.kind, principal.name), len(callers))
        used = principal.last_used or _NEVER
        return known, classes.index(principal.capability), -(used - _NEVER).total_seconds()

    return sorted(principals, key=urgency)


def _caller(arn: str) -> tuple[str, ...]:
    """Return account, kind and name of whom an ARN tells; an assumed role is its role, whose path it does not tell."""
    account, _, resource = arn.partition("::")[2].partition(":")
    kind, _, path_and_name = resource.partition("/")
    if kind == "assumed-role":
        return account, PrincipalKind.ROLE, path_and_name.partition("/")[0]
    return account, kind, path_and_name.rpartition("/")[2]


def strongest(capabilities: Iterable[Capability]) -> Capability:
    """Return the one that tells most: a name outweighs a wildcard, which outweighs nothing."""
    return min(capabilities, key=list(Capability).index, default=Capability.NONE)


def capability_of(
    documents: Iterable[Mapping[str, Any] | str | None], *, external_anthropic: bool = False
) -> Capability:
    """Judge all policy documents of a principal. None stands for a document that could not be read.

    Resources, conditions and boundaries are ignored: they only ever narrow what a statement allows. So are explicit
    denies: one that holds today is a condition, or a detached policy, away from not holding.
    """
    spend = actions.spend_patterns(external_anthropic=external_anthropic)
    return strongest(
        _of_statement(statement, spend) for document in documents for statement in _allow_statements(document)
    )


_SERVICES = frozenset((*actions.BEDROCK_FAMILY, actions.EXTERNAL_ANTHROPIC))
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
    # IAM takes no statement with both; an answer that has both is judged by the worse.
    reached = "NotAction" in statement and _passes(_strings(statement["NotAction"], unreadable=[]), spend)
    if "NotAction" in statement and "Action" not in statement:
        return Capability.WILDCARD if reached else Capability.NONE
    allowed = [each for each in _strings(statement.get("Action"), unreadable=["*"]) if _meets(each, spend)]
    if any(_names_family(each) for each in allowed):
        return Capability.NAMED
    return Capability.WILDCARD if allowed or reached else Capability.NONE


def _meets(pattern: str, spend: Sequence[str]) -> bool:
    service, colon, _ = pattern.lower().partition(":")
    # Most are plainly for another service, and need not be walked through (and kept) with each of ours.
    if colon and service not in _SERVICES and not {"*", "?"}.intersection(service):
        return False
    return any(actions.patterns_meet(pattern, each) for each in spend)


def _passes(excepted: Sequence[str], spend: Sequence[str]) -> bool:
    # A spend pattern is out of reach only when an excepted pattern covers it as a whole.
    return any(not any(actions.matches(each, pattern) for each in excepted) for pattern in spend)


def _strings(value: object, *, unreadable: list[str]) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    return unreadable


def _names_family(pattern: str) -> bool:
    service = pattern.lower().partition(":")[0]
    return service.startswith((*actions.BEDROCK_FAMILY, actions.EXTERNAL_ANTHROPIC))
