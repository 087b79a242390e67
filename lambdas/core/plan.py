"""Plans: what to do, as values. The shell applies them; a dry run prints them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lambdas.core.levels import Level
from lambdas.core.principals import Capability, Principal, Spared

MISSING_VERSION = "somebody deleted that version: deploy with `-c repair=` and a word not used before"


@dataclass(frozen=True, slots=True)
class PolicyState:
    """One of the guardrail's two policies as IAM has it now."""

    arn: str
    level: Level | None
    """The level of the default version; None when the default is no version of ours."""
    versions: Mapping[Level, str]
    """The newest version id for each level."""
    default_version: str = ""
    holders: frozenset[str] = frozenset()
    """``role/name`` and ``user/name`` of those it is attached to."""

    @property
    def name(self) -> str:
        """The policy's name, without account and path."""
        return self.arn.rpartition("/")[2]


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
class Job:
    """A batch inference job that is running and would go on spending."""

    region: str
    arn: str
    name: str
    role_arn: str = ""
    """The service role it runs as; an exempt role's work is left alone."""


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop a batch inference job. It cannot be resumed; what it processed so far is billed."""

    job: Job

    def __str__(self) -> str:
        """Return the words for people."""
        return f"stop batch job {self.job.name} in {self.job.region}"


Step = Switch | Attach | Detach | StopJob


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


def plan_sweep(state: BrakeState, principals: Iterable[Principal], spared: Spared) -> Plan:
    """Reach those whom the switch did not: capable principals that are not armed."""
    steps: list[Step] = []
    uncovered: dict[str, str] = {}
    for each in principals:
        if each.capability is Capability.NONE or spared.covers(each):
            continue
        if not each.attached.isdisjoint({state.brake.arn, state.sweep.arn}):
            continue
        if each.unmodifiable:
            uncovered[each.arn] = each.unmodifiable
        else:
            steps.append(Attach(state.sweep.arn, holder_of(each)))
    return Plan(tuple(steps), uncovered)


def plan_jobs(jobs: Iterable[Job], spared: Spared) -> Plan:
    """Stop the jobs that run by themselves, but for those of exempt roles; it cannot be undone."""
    return Plan(tuple(StopJob(each) for each in jobs if not spared.covers_arn(each.role_arn)))


def plan_release(state: BrakeState) -> Plan:
    """Undo a stop: two switches free everybody, then the swept are left one by one."""
    return Plan(
        (
            *plan_switch(state, Level.RELEASED).steps,
            *(Detach(state.sweep.arn, holder) for holder in sorted(state.sweep.holders)),
        )
    )


def plan_arming(brake_arn: str, principals: Iterable[Principal], spared: Spared) -> Plan:
    """Attach the brake policy, in peace, to those whose policies name Bedrock."""
    steps: list[Step] = []
    uncovered: dict[str, str] = {}
    for each in principals:
        if each.capability is not Capability.NAMED or spared.covers(each) or brake_arn in each.attached:
            continue
        if each.unmodifiable:
            uncovered[each.arn] = each.unmodifiable
        else:
            steps.append(Attach(brake_arn, holder_of(each)))
    return Plan(tuple(steps), uncovered)
