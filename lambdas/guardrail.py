"""The shell around the core: gather → plan → apply → verify → report.

The functions here are all that is needed to stop, release and arm. They know neither the meter nor the ledger:
a stop works while both are down. Every target is tried, failures are collected, and the report says what is true.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from lambdas.core import plan as plans
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.notice import Notice, StopReport
from lambdas.core.plan import Attach, BrakeState, Detach, Job, Plan, PolicyState, Step, StopJob, Switch
from lambdas.core.principals import Capability, Principal, Spared

T = TypeVar("T")


class Brake(Protocol):
    """The two policies in IAM."""

    brake_arn: str
    sweep_arn: str

    def policy(self, arn: str) -> PolicyState:
        """Return one of the policies without its holders."""

    def levels(self) -> BrakeState:
        """Return both policies without their holders."""

    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy is attached to, as ``role/name`` and ``user/name``."""

    def switch(self, step: Switch) -> None:
        """Make a version the default one."""

    def arm(self, step: Attach) -> None:
        """Attach the brake policy."""

    def sweep(self, step: Attach) -> None:
        """Attach the sweep policy."""

    def leave(self, step: Detach) -> None:
        """Detach the sweep policy."""


class People(Protocol):
    """Who is in the account."""

    def principals(self) -> Sequence[Principal]:
        """Return all roles and users with their capability."""


class Work(Protocol):
    """What goes on spending by itself."""

    regions: tuple[str, ...]

    def running(self, region: str) -> Sequence[Job]:
        """Return the batch jobs of a region that have not ended."""

    def stop(self, step: StopJob) -> None:
        """Stop one."""


class Post(Protocol):
    """How people are told."""

    def send(self, notice: Notice) -> None:
        """Send a mail."""


@dataclass(slots=True)
class Outcome:
    """What was tried and how it ended. ``failed`` maps what to why."""

    done: list[Step] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    uncovered: dict[str, str] = field(default_factory=dict)

    def words(self) -> tuple[str, ...]:
        """Return the steps that were done, in words."""
        return tuple(map(str, self.done))


@dataclass(frozen=True, slots=True)
class StopTools:
    """All a stop needs."""

    brake: Brake
    people: People
    work: Work
    spared: Spared
    pause: Callable[[float], None]
    """Waits so many seconds: IAM may not read back at once what was just written."""


def stop(asked: Level, reason: str, tools: StopTools, *, enforce: bool) -> StopReport:
    """Bring the account to a level, or keep it there; running it again repairs what is missing.

    It never lowers a level: a step-down asked for while a stop is on re-asserts the stop. With ``enforce``
    False nothing is touched and the report tells what would have been done. Raises nothing for a failed call:
    the report has it, and whoever asked decides how loud to be.
    """
    outcome = Outcome()
    brake = tools.brake
    # One policy after the other, and nothing else read before: the first switch stops most of the spend.
    first = _gather(outcome, "read the brake policy", partial(brake.policy, brake.brake_arn))
    level = max(asked, (first and first.level) or Level.RELEASED)
    _switch(first, level, tools, outcome, enforce=enforce)
    second = _gather(outcome, "read the sweep policy", partial(brake.policy, brake.sweep_arn))
    _switch(second, level, tools, outcome, enforce=enforce)
    before = BrakeState(
        first or PolicyState(brake.brake_arn, None, {}), second or PolicyState(brake.sweep_arn, None, {})
    )

    people = _gather(outcome, "list roles and users", tools.people.principals) or ()
    _apply(plans.plan_sweep(before, people, tools.spared), tools, outcome, enforce=enforce)
    if level is Level.STOP:
        jobs = _running_jobs(tools.work, outcome)
        _apply(plans.plan_jobs(jobs, tools.spared), tools, outcome, enforce=enforce)

    return StopReport(
        level=level,
        reason=reason,
        enforced=enforce,
        done=outcome.words(),
        failed=outcome.failed,
        uncovered=outcome.uncovered,
        before=before.words(),
        armed=sum(brake.brake_arn in each.attached for each in people),
        verified=enforce and _verify_stop(level, tools, outcome),
    )


def _switch(policy: PolicyState | None, level: Level, tools: StopTools, outcome: Outcome, *, enforce: bool) -> None:
    if policy is None:
        return
    if level not in policy.versions:
        outcome.failed[f"{policy.name} to {level}"] = plans.MISSING_VERSION
    _apply(Plan(plans.switch_to(policy, level)), tools, outcome, enforce=enforce)


def _running_jobs(work: Work, outcome: Outcome) -> list[Job]:
    found: list[Job] = []
    for region in work.regions:
        found += _gather(outcome, f"list batch jobs in {region}", partial(work.running, region)) or ()
    return found


_VERIFY_PAUSES = (1.0, 2.0, 4.0)


def _verify_stop(level: Level, tools: StopTools, outcome: Outcome) -> bool:
    """Read back what IAM has now; say where it is not what the stop wants."""
    swept = {step.holder for step in outcome.done if isinstance(step, Attach)}
    for pause in (*_VERIFY_PAUSES, None):
        state = _gather(outcome, "read back the brake policies", tools.brake.levels)
        holders = _gather(outcome, "read back who was swept", partial(tools.brake.holders, tools.brake.sweep_arn))
        if state is None or holders is None:
            return False
        wrong = [f"{each.name} is at {each.level}" for each in (state.brake, state.sweep) if each.level is not level]
        wrong += [f"{holder} does not hold the sweep policy" for holder in sorted(swept - holders)]
        if not wrong or pause is None:
            break
        tools.pause(pause)
    outcome.failed |= {f"reading back: {each}": "tried again at the next minute" for each in wrong}
    return not wrong


def release(brake: Brake, pause: Callable[[float], None]) -> Outcome:
    """Bring the account back to exactly what it was: the armed stay armed, the swept are left, nothing is denied.

    What failed is in the outcome; running it again finishes it.
    """
    outcome = Outcome()
    state = _gather(outcome, "read the brake policies", brake.levels)
    if state is None:
        return outcome
    holders = _gather(outcome, "read who was swept", partial(brake.holders, brake.sweep_arn)) or frozenset()
    plan = plans.plan_release(BrakeState(state.brake, replace(state.sweep, holders=holders)))
    outcome.failed |= {
        f"{policy.name} to {Level.RELEASED}": plans.MISSING_VERSION
        for policy in (state.brake, state.sweep)
        if Level.RELEASED not in policy.versions
    }
    _try_all(plan.steps, lambda step: _undo(step, brake), outcome)
    for wait in (*_VERIFY_PAUSES, None):
        after = _gather(outcome, "read back the brake policies", brake.levels)
        denying = (
            [] if after is None else [each for each in (after.brake, after.sweep) if each.level is not Level.RELEASED]
        )
        if not denying or wait is None:
            break
        pause(wait)
    outcome.failed |= {f"reading back: {each.name} is at {each.level}": "run release again" for each in denying}
    return outcome


def arm(brake: Brake, people: People, spared: Spared, *, enforce: bool) -> Outcome:
    """Attach the brake policy to those whose policies name Bedrock; tell whom it cannot be attached to."""
    outcome = Outcome()
    plan = plans.plan_arming(brake.brake_arn, people.principals(), spared)
    outcome.uncovered |= plan.uncovered
    _try_all(plan.steps, lambda step: _arm(step, brake) if enforce else None, outcome)
    return outcome


def _arm(step: Step, brake: Brake) -> None:
    if not isinstance(step, Attach):
        msg = f"arming only attaches: {step}"
        raise TypeError(msg)
    brake.arm(step)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the account a stop reaches, and how."""

    level: Level
    armed: tuple[str, ...]
    swept: tuple[str, ...]
    to_sweep: tuple[str, ...]
    uncovered: dict[str, str]
    capable: int


def coverage(brake: Brake, people: People, spared: Spared) -> Coverage:
    """Tell how the brake stands and whom it reaches. Reads only."""
    state, principals = brake.levels(), people.principals()
    plan = plans.plan_sweep(state, principals, spared)
    return Coverage(
        level=state.level,
        armed=tuple(sorted(brake.holders(brake.brake_arn))),
        swept=tuple(sorted(brake.holders(brake.sweep_arn))),
        to_sweep=tuple(step.holder for step in plan.steps if isinstance(step, Attach)),
        uncovered=dict(plan.uncovered),
        capable=sum(each.capability is not Capability.NONE and not spared.covers(each) for each in principals),
    )


def _gather(outcome: Outcome, what: str, read: Callable[[], T]) -> T | None:
    """Return what a read brings; None, and a failure with its reason, when AWS refuses. None is not empty."""
    try:
        return read()
    except AwsCallError as error:
        outcome.failed[what] = str(error)
        return None


_AT_ONCE = 8
"""Calls under way at once; IAM's control plane throttles soon above that."""


def _try_all(steps: Sequence[Step], act: Callable[[Step], None], outcome: Outcome) -> None:
    """Do the steps and note how each ended: one refusal never keeps another step from being tried.

    Switches are done alone and in order; attachments, detachments and jobs side by side.
    """

    def attempt(step: Step) -> AwsCallError | None:
        try:
            act(step)
        except AwsCallError as error:
            return error
        return None

    switches = [each for each in steps if isinstance(each, Switch)]
    others = [each for each in steps if not isinstance(each, Switch)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        results = [*map(attempt, switches), *pool.map(attempt, others)]
    for step, error in zip([*switches, *others], results, strict=True):
        # A policy that is gone already, or whose holder is: either way nothing of ours is left.
        if error is None or (isinstance(step, Detach) and error.code == "NoSuchEntity"):
            outcome.done.append(step)
        else:
            outcome.failed[str(step)] = str(error)


def _apply(plan: Plan, tools: StopTools, outcome: Outcome, *, enforce: bool) -> None:
    outcome.uncovered |= plan.uncovered
    _try_all(plan.steps, lambda step: _act(step, tools) if enforce else None, outcome)


def _act(step: Step, tools: StopTools) -> None:
    match step:
        case Switch():
            tools.brake.switch(step)
        case Attach():
            tools.brake.sweep(step)
        case StopJob():
            tools.work.stop(step)
        case Detach():
            msg = f"a stop never detaches: {step}"
            raise AssertionError(msg)


def _undo(step: Step, brake: Brake) -> None:
    match step:
        case Switch():
            brake.switch(step)
        case Detach():
            brake.leave(step)
        case Attach() | StopJob():
            msg = f"a release never stops anything: {step}"
            raise AssertionError(msg)
