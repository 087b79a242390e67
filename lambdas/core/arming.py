"""Arming: to whom the brake policy is attached in peace, who cannot be reached at a stop, and what would mend that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lambdas.core import actions
from lambdas.core.plan import Attach, group_of, holder_of
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared

TAG = "bedrock-spend-arm"
"""Arms whoever carries it, whatever the mode; with the value `NEVER` it keeps the brake policy off in peace."""
NEVER = "never"

KEPT = "arming"
"""The name under which the ledger keeps what the last run found."""


class ArmMode(StrEnum):
    """Who is armed."""

    NAMED = "named"
    """Those whose policies name Bedrock."""
    ALL = "all"
    """Everybody who can spend, administrators too."""
    LISTED = "listed"
    """Those the configuration names."""


@dataclass(frozen=True, slots=True)
class ArmingRule:
    """The user's choice of whom to arm."""

    mode: ArmMode = ArmMode.NAMED
    listed: tuple[str, ...] = ()
    """``role/NAME`` and ``user/NAME``, ``*`` and ``?`` allowed; heeded in the mode ``listed`` alone."""

    def why(self, principal: Principal) -> str:
        """Return in words why a principal is to be armed; empty when it is not."""
        if _says_never(principal):
            return ""
        if TAG in principal.tags:
            return f"tag {TAG}"
        if self.mode is ArmMode.LISTED:
            listed = any(actions.matches_name(each, principal.resource) for each in self.listed)
            return "listed" if listed else ""
        if principal.capability is Capability.NAMED:
            return "its policies name Bedrock"
        return "it can spend" if self.mode is ArmMode.ALL and principal.capability is Capability.WILDCARD else ""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; nothing when it is the default."""
        return {} if self == ArmingRule() else {"mode": str(self.mode), "listed": list(self.listed)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ArmingRule":
        """Read it. Raises ValueError for an unknown mode."""
        return cls(ArmMode(data.get("mode", ArmMode.NAMED)), tuple(data.get("listed", ())))


@dataclass(frozen=True, slots=True)
class Fallback:
    """What a stop does about a principal that has no free slot for a policy, and how people can mend it in peace."""

    planned: str
    """In words; empty when there is none: nothing stops this one."""
    remedy: str

    def __str__(self) -> str:
        """Return the words for people."""
        return f"{self.planned or 'NOTHING would stop it'}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class ArmingPlan:
    """Whom to arm, and about everybody else who can spend: why not. Keys are ``role/name`` and ``user/name``."""

    steps: tuple[Attach, ...] = ()
    armed: tuple[str, ...] = ()
    """Who holds the brake policy already."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Those of them whom the mode no longer takes in, and why they stay armed."""
    left: Mapping[str, str] = field(default_factory=dict)
    """Whom the mode takes in but who are not armed in peace, and why; a stop sweeps them."""
    full: Mapping[str, Fallback] = field(default_factory=dict)
    """Those with no free slot for a policy, armed or to be swept; `fallback` tells what a stop does."""
    permission_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Permission sets that lack the brake policy, with the roles made from them; "" where no set could be told."""
    uncovered: Mapping[str, str] = field(default_factory=dict)
    """Others who can spend and whom IAM lets nobody stop, by ARN."""


_KEPT_WHY = (
    "{why}; it stays armed, for taking the brake off loosens: detach it by hand (and list it in exempt, or tag it "
    f"{TAG}={NEVER})"
)


def plan_arming(
    brake_arn: str,
    principals: Iterable[Principal],
    spared: Spared,
    rule: ArmingRule,
    *,
    own_path: str = "",
    disarmed: Iterable[str] = (),
    scp: bool = False,
) -> ArmingPlan:
    """Plan it, for principals as `Account.principals` returns them.

    ``own_path`` is that of the guardrail's own roles; ``disarmed`` are the holders whose deletion was refused because
    of us; ``scp`` tells whether a stop attaches a service control policy.
    """
    people = [each for each in principals if each.calls and not spared.covers(each)]
    armed = [each for each in people if brake_arn in each.attached]
    able = [
        each
        for each in people
        if brake_arn not in each.attached and (each.capability is not Capability.NONE or rule.why(each))
    ]
    # Ours are spared by IAM, whatever tag they got: arming one of them would fail at each run.
    able = [each for each in able if not (each.path == own_path and each.capability is Capability.NONE)]
    sets: dict[str, list[str]] = {}
    for each in able:
        if each.identity_center:
            sets.setdefault(each.permission_set, []).append(each.name)
    reachable = [each for each in able if not each.unmodifiable]
    full = {holder_of(each): fallback(each, brake_arn, scp=scp) for each in reachable if each.full}
    deleting = frozenset(disarmed)
    taken_in = {holder_of(each): each for each in reachable if rule.why(each) or _says_never(each)}
    left = {holder: _left(each, deleting) for holder, each in taken_in.items() if _left(each, deleting)}
    return ArmingPlan(
        tuple(Attach(brake_arn, holder) for holder in taken_in if holder not in left and holder not in full),
        tuple(sorted(map(holder_of, armed))),
        {holder_of(each): _KEPT_WHY.format(why=why) for each in armed if (why := _no_longer(each, rule))},
        left,
        full,
        {name: tuple(sorted(roles)) for name, roles in sorted(sets.items())},
        {each.arn: each.unmodifiable for each in able if each.unmodifiable and not each.identity_center},
    )


def fallback(principal: Principal, brake_arn: str, *, scp: bool) -> Fallback:
    """Return what a stop does about a principal whose slots are full, and the remedy."""
    if principal.kind is PrincipalKind.USER:
        return Fallback(
            "" if principal.groups_full else f"a stop adds it to the group {group_of(_sweep_arn(brake_arn))}",
            "Detach or merge policies of the user (or give it a role instead), or have the quota of managed policies "
            "for a user raised" + (", or take it out of a group" if principal.groups_full else ""),
        )
    return Fallback(
        "a stop attaches the service control policy to the account" if scp else "",
        "Have the quota 'Managed policies per role' raised (Service Quotas, IAM, up to 25), or merge policies of the "
        "role, so that one slot is free",
    )


def commands(brake_arn: str) -> tuple[str, ...]:
    """Return what adds the brake policy to a permission set, typed where IAM Identity Center is administered."""
    account, name = brake_arn.split(":")[4], brake_arn.rpartition("/")[2]
    where = "--instance-arn INSTANCE_ARN --permission-set-arn PERMISSION_SET_ARN"
    reference = f"--customer-managed-policy-reference Name={name},Path=/"
    return (
        f"aws sso-admin attach-customer-managed-policy-reference-to-permission-set {where} {reference}",
        f"aws sso-admin provision-permission-set {where} --target-type AWS_ACCOUNT --target-id {account}",
    )


LOOK_UP = (
    "INSTANCE_ARN: aws sso-admin list-instances. PERMISSION_SET_ARN: aws sso-admin list-permission-sets "
    "--instance-arn INSTANCE_ARN, and describe-permission-set tells the name of each. Every account that the set is "
    "assigned to needs a policy of that name, or the set cannot be provisioned there."
)
"""Where a person finds the ids in `commands`, and what to mind."""


def document(plan: ArmingPlan, brake_arn: str) -> dict[str, Any]:
    """Return a plan as the ledger keeps it and the status shows it, JSON values alone."""
    lacking = {
        name or "(permission set not told by the role's name)": list(roles)
        for name, roles in plan.permission_sets.items()
    }
    return {
        "armed": list(plan.armed),
        "kept": dict(plan.kept),
        "left": dict(plan.left),
        "full": {
            holder: {"fallback": found.planned, "remedy": found.remedy} for holder, found in sorted(plan.full.items())
        },
        "permission_sets": {"lacking": lacking, "commands": list(commands(brake_arn)), "look_up": LOOK_UP}
        if lacking
        else {},
        "not_coverable": dict(plan.uncovered),
    }


def _no_longer(principal: Principal, rule: ArmingRule) -> str:
    if _says_never(principal):
        return f"tag {TAG}={NEVER}"
    return "" if rule.why(principal) else "the mode does not take it in any more"


def _left(principal: Principal, deleting: frozenset[str]) -> str:
    if _says_never(principal):
        return f"tag {TAG}={NEVER}"
    if holder_of(principal) in deleting:
        return "somebody wants to delete it, and an attached policy is in the way; armed again after a day"
    return ""


def _says_never(principal: Principal) -> bool:
    return principal.tags.get(TAG, "").strip().lower() == NEVER


def _sweep_arn(brake_arn: str) -> str:
    return f"{brake_arn.removesuffix('brake')}sweep"
