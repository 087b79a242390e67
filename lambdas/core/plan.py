"""Plans: what to do, as values. The shell applies them; a dry run prints them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lambdas.core.budget_action import Execution
from lambdas.core.levels import Level
from lambdas.core.levers import Held
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from lambdas.core.scopes import Scope

MISSING_VERSION = "somebody deleted that version: deploy with `-c repair=` and a word not used before"

IMPLAUSIBLE = "left alone because the figure looks implausible: end it by hand, or kill"
"""Why a stop leaves what nothing brings back, when nobody who is to be believed has called for it."""


@dataclass(frozen=True, slots=True)
class PolicyState:
    """One of the guardrail's two policies as IAM has it now."""

    arn: str
    level: Level | None
    """The level of the default version; None when the default is no version of ours."""
    versions: Mapping[Level, str]
    """The newest version id for each level."""
    default_version: str = ""
    scopes: tuple[Scope, ...] = ()
    """What the default version denies alone, at whatever level."""
    everywhere: frozenset[Scope] = frozenset()
    """What every version does: a switch keeps it denied."""
    anywhere: frozenset[Scope] = frozenset()
    """What some version does: a writer that died half-way leaves more here than elsewhere."""

    @property
    def name(self) -> str:
        """The policy's name, without account and path."""
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be stopped: the whole account as far as a level, and what is stopped alone."""

    level: Level
    alone: tuple[Scope, ...] = ()
    ends_work: bool | None = True
    """Whether a stop ends work in flight and standing capacity, which nothing brings back; None when that is not known
    now, and so left for later."""


def kill_goal(scope: Scope | None) -> Goal:
    """Return what a person's kill is to bring about: of the whole account, or of one scope alone."""
    return Goal(Level.STOP) if scope is None else Goal(Level.RELEASED, (scope,))


@dataclass(frozen=True, slots=True)
class BrakeState:
    """Both policies. IAM is where the truth about a stop is kept.

    ``brake`` hangs on armed principals all the time. ``sweep`` hangs on the others, and only while a stop or a
    step-down is on: whoever holds it was swept, so a release knows whom to leave without asking any record.
    """

    brake: PolicyState
    sweep: PolicyState

    @property
    def level(self) -> Level:
        """How far the brake is applied. A default version that is not ours counts as released: it denies nothing."""
        return self.brake.level or Level.RELEASED

    def words(self) -> dict[str, str]:
        """Return the state as a record keeps it."""
        return {"level": str(self.level), **{each.name: each.default_version for each in (self.brake, self.sweep)}}


@dataclass(frozen=True, slots=True)
class Switch:
    """Make the version of a level the default one: reaches everybody the policy is attached to, in one write."""

    policy_arn: str
    level: Level
    version_id: str

    def __str__(self) -> str:
        """Return the words for people."""
        return f"switch {self.policy_arn.rpartition('/')[2]} to {self.level} ({self.version_id})"


@dataclass(frozen=True, slots=True)
class Attach:
    """Attach a policy of ours to a principal."""

    policy_arn: str
    holder: str
    """``role/name`` or ``user/name``."""

    def __str__(self) -> str:
        """Return the words for people."""
        return f"attach {self.policy_arn.rpartition('/')[2]} to {self.holder}"


@dataclass(frozen=True, slots=True)
class Detach:
    """Detach a policy of ours from a principal."""

    policy_arn: str
    holder: str

    def __str__(self) -> str:
        """Return the words for people."""
        return f"detach {self.policy_arn.rpartition('/')[2]} from {self.holder}"


@dataclass(frozen=True, slots=True)
class Join:
    """Add a user to the group that holds a policy of ours: the way where the user has no free slot for a policy."""

    group: str
    holder: str
    """``user/name``."""

    def __str__(self) -> str:
        """Return the words for people."""
        return f"add {self.holder} to the group {self.group}"


@dataclass(frozen=True, slots=True)
class Leave:
    """Take a user out of a group of ours."""

    group: str
    holder: str

    def __str__(self) -> str:
        """Return the words for people."""
        return f"take {self.holder} out of the group {self.group}"


@dataclass(frozen=True, slots=True)
class Narrow:
    """Have the writer add a narrow denial to the versions of the brake and the sweep policy."""

    scope: Scope

    def __str__(self) -> str:
        """Return the words for people."""
        return f"deny {self.scope}"


@dataclass(frozen=True, slots=True)
class Widen:
    """Have the writer take a narrow denial out again."""

    scope: Scope

    def __str__(self) -> str:
        """Return the words for people."""
        return f"deny {self.scope} no more"


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is under way, or capacity that stands, and would go on costing after everybody was denied."""

    region: str
    arn: str
    name: str
    role_arn: str = ""
    """The service role it runs as; an exempt role's work is left alone."""
    kind: str = "batch job"
    why_not: str = ""
    """Why it is not stopped, in words with what it goes on costing; empty when it is to be stopped."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One look for work of a kind in a region."""

    what: str
    """For people: ``list batch jobs in us-east-1``."""
    read: Callable[[], Sequence[Job]]
    """Raises AwsCallError."""


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop work that is under way. It cannot be resumed; what it did so far is billed."""

    job: Job

    def __str__(self) -> str:
        """Return the words for people."""
        return f"stop {self.job.kind} {self.job.name} in {self.job.region}"


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold something down that a release puts back."""

    held: Held
    level: Level

    def __str__(self) -> str:
        """Return the words for people."""
        return f"hold down {self.held.words}"


@dataclass(frozen=True, slots=True)
class Restore:
    """Put something back that a stop held down."""

    held: Held

    def __str__(self) -> str:
        """Return the words for people."""
        return f"put back {self.held.words}"


@dataclass(frozen=True, slots=True)
class Ask:
    """Have AWS Budgets undo what it did by itself, or be ready to do it again."""

    execution: Execution

    def __str__(self) -> str:
        """Return the words for people."""
        return self.execution.words


Step = Switch | Attach | Detach | Join | Leave | Narrow | Widen | StopJob | Hold | Restore | Ask


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order, and whom they cannot reach, with the reason."""

    steps: tuple[Step, ...]
    uncovered: Mapping[str, str] = field(default_factory=dict)


def switch_to(policy: PolicyState, level: Level) -> tuple[Switch, ...]:
    """Return the switch that brings a policy to a level, or nothing when it is there.

    A level whose version is missing is left out: reading back after the act reports it.
    """
    if policy.level is level or level not in policy.versions:
        return ()
    return (Switch(policy.arn, level, policy.versions[level]),)


def holder_of(principal: Principal) -> str:
    """Return how IAM's attachment calls and lists name a principal; paths are not part of it."""
    return f"{principal.kind}/{principal.name}"


def plan_switch(state: BrakeState, level: Level) -> Plan:
    """Bring both policies to a level. The armed come first: they are most of the spend, in a single write."""
    return Plan((*switch_to(state.brake, level), *switch_to(state.sweep, level)))


def plan_sweep(state: BrakeState, principals: Sequence[Principal], spared: Spared) -> Plan:
    """Reach those whom the switch did not, in the order given: capable principals that are not armed."""
    steps: list[Step] = []
    uncovered: dict[str, str] = {}
    # A group somebody took the policy off reaches nobody.
    holding = {each.name for each in principals if not each.calls and state.sweep.arn in each.attached}
    for each in principals:
        if each.capability is Capability.NONE or not each.calls or spared.covers(each):
            continue
        if each.inline:
            continue  # denied already, for want of a slot
        if (holding & {state.sweep.name}).intersection(each.groups) or not {
            state.brake.arn,
            state.sweep.arn,
        }.isdisjoint(each.attached):
            continue
        why_not = _reach(each, state.sweep.arn, steps)
        uncovered |= {each.arn: why_not} if why_not else {}
    return Plan(tuple(steps), uncovered)


def plan_alone(
    deny_arn: str, holders: Collection[str], scopes: Iterable[Scope], principals: Sequence[Principal], spared: Spared
) -> Plan:
    """Deny everything to the roles and users among the scopes that are not denied yet.

    ``principals`` is empty when nobody could be listed: then they are taken at their word.
    """
    steps: list[Step] = []
    uncovered: dict[str, str] = {}
    by_holder = {holder_of(each): each for each in principals}
    for scope in scopes:
        holder = str(scope)
        if not scope.is_principal or holder in holders:
            continue
        if not by_holder:
            steps.append(Attach(deny_arn, holder))
        elif holder not in by_holder:
            uncovered[holder] = "there is none of that name any more: release it"
        elif spared.covers(by_holder[holder]):
            uncovered[holder] = "exempt in guardrail.toml: never touched"
        else:
            why_not = _reach(by_holder[holder], deny_arn, steps)
            uncovered |= {holder: why_not} if why_not else {}
    return Plan(tuple(steps), uncovered)


NO_SLOT = (
    "no policy slot is free: raise the quota of managed policies per role (up to 25) or take a policy off; "
    "at an account-wide stop it is tried again each minute, what was to be stopped alone must be killed again"
)


def _reach(principal: Principal, policy_arn: str, steps: list[Step]) -> str | None:
    """Add the step that makes a policy hold for a principal, or return the reason why there is none."""
    if principal.unmodifiable:
        return principal.unmodifiable
    if principal.full and principal.kind is PrincipalKind.USER and not principal.groups_full:
        steps.append(Join(group_of(policy_arn), holder_of(principal)))
    else:
        # Where no slot seems to be free it is tried all the same: the quota that was read may be an old one.
        steps.append(Attach(policy_arn, holder_of(principal)))
    return None


def group_of(policy_arn: str) -> str:
    """Return the group that holds a policy of ours: it has the policy's name."""
    return policy_arn.rpartition("/")[2]


def plan_jobs(jobs: Iterable[Job], spared: Spared) -> Plan:
    """Stop the work that runs by itself, but for that of exempt roles; it cannot be undone."""
    steps, uncovered = [], {}
    for each in jobs:
        if spared.covers_arn(each.role_arn):
            continue
        if each.why_not:
            uncovered[f"{each.kind} {each.name} in {each.region}"] = each.why_not
        else:
            steps.append(StopJob(each))
    return Plan(tuple(steps), uncovered)


def plan_leaving(sweep_arn: str, holders: Iterable[str], members: Iterable[str]) -> Plan:
    """Leave everybody who holds a policy of ours, or is in its group."""
    detached = (Detach(sweep_arn, holder) for holder in sorted(holders))
    parted = (Leave(group_of(sweep_arn), holder) for holder in sorted(members))
    return Plan((*detached, *parted))
