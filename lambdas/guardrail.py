"""The shell of a stop: gather → plan → apply → verify → report.

It knows neither the meter nor who asked: a stop works while both are down. Every target is tried, failures are
collected, and the report says what is true.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from lambdas.core import plan as plans
from lambdas.core import proof
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import INLINE, Lever
from lambdas.core.notice import StopReport
from lambdas.core.plan import (
    Attach,
    BrakeState,
    Goal,
    Hold,
    Join,
    Listing,
    Narrow,
    Plan,
    PolicyState,
    Step,
    StopJob,
    Switch,
)
from lambdas.core.principals import Capability, Principal, Spared, order_for_sweep
from lambdas.ports import Brake, Outcome, Pace, People, StopTools
from lambdas.trying import VERIFY_PAUSES, gather, no_time, try_all


def stop(
    goal: Goal,
    reason: str,
    tools: StopTools,
    *,
    enforce: bool,
    switched: Callable[[Level], bool] = lambda _level: True,
) -> StopReport:
    """Bring the account to a goal, or keep it there; running it again repairs what is missing.

    It never lowers anything: a step-down asked for while a stop is on re-asserts the stop. With ``enforce`` False
    nothing is touched and the report tells what would have been done. ``switched`` is told the level as soon as it
    holds for all who are armed, before anything that takes long; where it says no, the levers and the work in flight
    are left for later. Raises nothing for a failed call: the report has it, and whoever asked decides how loud to be.
    """
    outcome = Outcome()
    brake = tools.brake
    # One policy after the other, and nothing else read before: the first switch stops most of the spend.
    first = gather(outcome, "read the brake policy", partial(brake.policy, brake.brake_arn))
    _switch(first, goal.level, tools, outcome, enforce=enforce)
    second = gather(outcome, "read the sweep policy", partial(brake.policy, brake.sweep_arn))
    _switch(second, goal.level, tools, outcome, enforce=enforce)
    # Each keeps what it has beyond that. Only the brake's counts: where the sweep policy alone is further, a release
    # is half done. And to stop something alone is no reason to do anything about the account.
    level = max(goal.level, (first and first.level) or Level.RELEASED) if goal.level > Level.RELEASED else goal.level
    before = BrakeState(
        first or PolicyState(brake.brake_arn, None, {}), second or PolicyState(brake.sweep_arn, None, {})
    )
    goal = replace(goal, level=level)
    may_hold = switched(level)

    people = gather(outcome, "list roles and users", tools.people.principals) or ()
    spared = tools.spared.knowing(people)
    strands = [partial(_stop_people, goal, before, people, tools, enforce=enforce)]
    if level > Level.RELEASED and may_hold:
        strands.append(partial(_hold_and_end, goal, spared, tools, known=bool(people), enforce=enforce))
    elif level > Level.RELEASED:
        outcome.failed["keys, concurrency and work in flight"] = "a release is under way; done at the next minute"
    with ThreadPoolExecutor(min(len(strands), tools.pace.at_once)) as pool:
        # Side by side: neither a region that does not answer nor a long sweep holds up the rest.
        for each in pool.map(lambda strand: strand(), strands):
            outcome.add(each)
    for step in outcome.done:
        if isinstance(step, Hold) and step.held.lever == INLINE:
            # Out of the sweep's reach, but denied all the same.
            outcome.uncovered.pop(f"role/{step.held.key}", None)

    verified, proven = False, None
    if enforce:
        verified = _verify_stop(goal, tools, outcome)
        proven = _prove(level, people, tools, outcome)
    return StopReport(
        level=level,
        reason=reason,
        enforced=enforce,
        done=outcome.words(),
        failed=outcome.failed,
        uncovered=outcome.uncovered,
        before=before.words(),
        armed=sum(brake.brake_arn in each.attached for each in people),
        verified=verified,
        left=outcome.left,
        alone=tuple(map(str, goal.alone)),
        proof=proven,
        held=tuple(outcome.held) if enforce else (),
        steps=tuple(outcome.done),
    )


def _switch(policy: PolicyState | None, level: Level, tools: StopTools, outcome: Outcome, *, enforce: bool) -> None:
    if policy is None or (policy.level or Level.RELEASED) >= level:
        return
    if level not in policy.versions:
        outcome.failed[f"{policy.name} to {level}"] = plans.MISSING_VERSION
    steps = plans.switch_to(policy, level)
    _apply(Plan(steps), tools, outcome, enforce=enforce)
    if steps and str(steps[0]) in outcome.failed:
        again = gather(outcome, f"read {policy.name} again", partial(tools.brake.policy, policy.arn))
        if again is not None and again.versions.get(level) not in {None, policy.versions[level]}:
            # The writer has put a newer version in its place meanwhile.
            del outcome.failed[str(steps[0])]
            _apply(Plan(plans.switch_to(again, level)), tools, outcome, enforce=enforce)


def _stop_people(
    goal: Goal, before: BrakeState, people: Sequence[Principal], tools: StopTools, *, enforce: bool
) -> Outcome:
    """Reach whom the switch did not, and what is stopped alone."""
    outcome = Outcome()
    written = before.brake.everywhere & before.sweep.everywhere
    missing = tuple(Narrow(each) for each in goal.alone if not each.is_principal and each not in written)
    if goal.level < Level.STOP:
        _apply(Plan(missing), tools, outcome, enforce=enforce)
    if any(each.is_principal for each in goal.alone):
        denied = _denied_alone(tools.brake, outcome)
        plan = plans.plan_alone(tools.brake.deny_arn, denied, goal.alone, people, tools.spared)
        _apply(plan, tools, outcome, enforce=enforce)
    if goal.level > Level.RELEASED or not all(each.is_principal for each in goal.alone):
        plan = plans.plan_sweep(before, order_for_sweep(people), tools.spared)
        _apply(plan, tools, outcome, enforce=enforce)
    if goal.level is Level.STOP:
        # The level denies these too, so the writer holds up nobody; it is for the time after a release.
        _apply(Plan(missing), tools, outcome, enforce=enforce)
    return outcome


def _denied_alone(brake: Brake, outcome: Outcome) -> frozenset[str]:
    holders = gather(outcome, "read who is stopped alone", partial(brake.holders, brake.deny_arn))
    members = gather(outcome, "read the deny group", partial(brake.reached, brake.deny_arn))
    return (holders or frozenset()) | (members or frozenset())


def _hold_and_end(goal: Goal, spared: Spared, tools: StopTools, *, known: bool, enforce: bool) -> Outcome:
    """Pull the levers; at a stop, end the work in flight too, which nothing brings back: ``known`` who is exempt."""
    level, outcome = goal.level, Outcome()
    for lever in tools.levers():
        if no_time(tools.pace):
            outcome.left += 1
            continue
        found = lever.find(level, spared)
        outcome.failed |= found.unread
        outcome.uncovered |= found.uncovered
        outcome.held += found.to_hold
        steps = tuple(Hold(each, level) for each in found.to_hold)
        act = partial(_hold, lever, tools) if enforce else _only_say
        try_all(steps, act, outcome, tools.pace)
    if level is Level.STOP and spared.tag and not known:
        outcome.failed["work in flight"] = "who is exempt by tag could not be read; done at the next minute"
    elif level is Level.STOP and goal.ends_work is None:
        outcome.failed["work in flight"] = "whether this stop may end it could not be read; done at the next minute"
    elif level is Level.STOP:
        work = tools.work()
        jobs: list[plans.Job] = []
        with ThreadPoolExecutor(tools.pace.at_once) as pool:
            for found_jobs, looked in pool.map(partial(_list_jobs, tools.pace), work.listings()):
                jobs += found_jobs
                outcome.add(looked)
        if not goal.ends_work:
            jobs = [replace(each, why_not=each.why_not or plans.IMPLAUSIBLE) for each in jobs]
        _apply(plans.plan_jobs(jobs, spared), tools, outcome, enforce=enforce)
    return outcome


def _list_jobs(pace: Pace, listing: Listing) -> tuple[Sequence[plans.Job], Outcome]:
    if no_time(pace):
        return (), Outcome(left=1)
    outcome = Outcome()
    return gather(outcome, listing.what, listing.read) or (), outcome


def _hold(lever: Lever, tools: StopTools, step: Step) -> Step:
    if not isinstance(step, Hold):
        msg = f"a lever only holds: {step}"
        raise TypeError(msg)
    # In this order: what is not remembered could not be put back.
    tools.log(step.held)
    tools.book.remember(step.held)
    lever.hold(step.held, step.level)
    return step


def _verify_stop(goal: Goal, tools: StopTools, outcome: Outcome) -> bool:
    """Read back what IAM has now; say where it is not what the stop wants."""
    brake = tools.brake
    swept = {each.holder for each in outcome.done if isinstance(each, Attach) and each.policy_arn == brake.sweep_arn}
    swept |= {each.holder for each in outcome.done if isinstance(each, Join)} - set(map(str, goal.alone))
    for pause in (*VERIFY_PAUSES, None):
        # What a reading that is repeated fails at is one failure.
        seen = Outcome()
        state = gather(seen, "read back the brake policies", brake.levels)
        holders = gather(seen, "read back who was swept", partial(_reached, brake, brake.sweep_arn, swept))
        alone = {str(each) for each in goal.alone if each.is_principal} - outcome.uncovered.keys()
        denied = gather(seen, "read back who is stopped alone", partial(_reached, brake, brake.deny_arn, alone))
        if state is None or holders is None or denied is None:
            outcome.add(seen)
            return False
        policies = (state.brake, state.sweep)
        wrong = [f"{each.name} is at {each.level}" for each in policies if (each.level or 0) < goal.level]
        wrong += [f"{holder} does not hold the sweep policy" for holder in sorted(swept - holders)]
        wrong += [f"{holder} does not hold the deny policy" for holder in sorted(alone - denied)]
        wrong += [
            f"{each.name} does not deny {scope}"
            for scope in goal.alone
            for each in policies
            if not scope.is_principal and scope not in each.scopes and str(scope) not in outcome.uncovered
        ]
        if not wrong or pause is None:
            break
        _switch_again(policies, goal.level, tools, outcome)
        tools.pace.pause(pause)
    outcome.failed |= {f"reading back: {each}": "tried again at the next minute" for each in wrong}
    return not wrong


def _switch_again(policies: Iterable[PolicyState], level: Level, tools: StopTools, outcome: Outcome) -> None:
    """Not leave a switch that failed, or that the reading does not show, until the next minute."""
    again = Outcome()
    for each in policies:
        if (each.level or Level.RELEASED) < level:
            _apply(Plan(plans.switch_to(each, level)), tools, again, enforce=True)
    tried = {str(each) for each in again.done}
    outcome.failed = {what: why for what, why in outcome.failed.items() if what not in tried} | again.failed
    outcome.done += [each for each in again.done if each not in outcome.done]


def _reached(brake: Brake, policy_arn: str, expected: Iterable[str]) -> frozenset[str]:
    """Return who holds a policy; who is in its group is asked for only when somebody is missing."""
    wanted = frozenset(expected)
    if not wanted:
        return frozenset()
    holders = brake.holders(policy_arn)
    return holders if wanted <= holders else holders | brake.reached(policy_arn)


def _prove(level: Level, people: Sequence[Principal], tools: StopTools, outcome: Outcome) -> proof.Proof | None:
    """Ask IAM's simulator about a sample of everybody the stop claims."""
    if level is Level.RELEASED or not people:
        return None
    brake, sweep = tools.brake.brake_arn, tools.brake.sweep_arn
    claimed = [each for each in people if not tools.spared.covers(each)]
    armed = {plans.holder_of(each) for each in claimed if brake in each.attached}
    swept = {plans.holder_of(each) for each in claimed if sweep in each.attached}
    swept |= {each.holder for each in outcome.done if isinstance(each, Attach | Join)}

    def ask(arn: str, actions: Sequence[str]) -> Mapping[str, bool]:
        if no_time(tools.pace):
            raise AwsCallError("iam:SimulatePrincipalPolicy", "NotAsked", "no time was left")  # noqa: EM101 - as AWS says it
        return tools.ask(arn, actions)

    found = proof.prove(level, proof.sample(claimed, armed, swept), ask)
    outcome.failed |= {f"IAM's simulator about {who}": what for who, what in found.still_allowed.items()}
    return found


def unswitch(tools: StopTools) -> Outcome:
    """Undo the switches of a stop that a person released while it ran: what denies most must not wait for the rest."""
    outcome = Outcome()
    state = gather(outcome, "read the brake policies", tools.brake.levels)
    if state is not None:
        _apply(plans.plan_switch(state, Level.RELEASED), tools, outcome, enforce=True)
    return outcome


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the account a stop reaches, and how."""

    level: Level
    armed: tuple[str, ...]
    swept: tuple[str, ...]
    to_sweep: tuple[str, ...]
    uncovered: dict[str, str]
    capable: int
    """How many roles and users are able to spend, and not exempt."""
    capable_armed: int
    """How many of these are armed."""
    denied: int
    """How many of these hold a policy that denies now."""
    alone: tuple[str, ...]
    """What is stopped alone, as IAM has it."""


def coverage(brake: Brake, people: People, spared: Spared) -> Coverage:
    """Tell how the brake stands and whom it reaches. Reads only."""
    state, principals = brake.levels(), people.principals()
    plan = plans.plan_sweep(state, order_for_sweep(principals), spared)
    # A group spends through its users, who are counted themselves.
    capable = [
        each for each in principals if each.capability is not Capability.NONE and each.calls and not spared.covers(each)
    ]
    armed = brake.holders(brake.brake_arn)
    swept = brake.holders(brake.sweep_arn) | brake.reached(brake.sweep_arn)
    denied = brake.holders(brake.deny_arn) | brake.reached(brake.deny_arn)
    denying = denied | (armed if (state.brake.level or 0) else set()) | (swept if (state.sweep.level or 0) else set())
    return Coverage(
        level=state.level,
        armed=tuple(sorted(armed)),
        swept=tuple(sorted(swept)),
        to_sweep=tuple(each.holder for each in plan.steps if isinstance(each, Attach | Join)),
        uncovered=dict(plan.uncovered),
        capable=len(capable),
        capable_armed=sum(plans.holder_of(each) in armed for each in capable),
        denied=sum(bool(each.inline) or plans.holder_of(each) in denying for each in capable),
        alone=(*sorted(denied), *map(str, state.brake.scopes)),
    )


def _only_say(step: Step) -> Step:
    return step


def _apply(plan: Plan, tools: StopTools, outcome: Outcome, *, enforce: bool) -> None:
    outcome.uncovered |= plan.uncovered
    try_all(plan.steps, partial(_act, tools) if enforce else _only_say, outcome, tools.pace)


def _act(tools: StopTools, step: Step) -> Step:
    match step:
        case Switch():
            tools.brake.switch(step)
        case Attach():
            return _attach(step, tools.brake)
        case Join():
            tools.brake.join(step)
        case Narrow():
            tools.writer().stop(step.scope)
        case StopJob():
            tools.work().stop(step)
        case _:
            msg = f"a stop never does this: {step}"
            raise AssertionError(msg)
    return step


def _attach(step: Attach, brake: Brake) -> Step:
    """Attach a policy; a user whose slots filled up since they were counted goes into the group."""
    try:
        if step.policy_arn == brake.deny_arn:
            brake.deny(step)
        else:
            brake.sweep(step)
    except AwsCallError as error:
        if error.code != "LimitExceeded" or not step.holder.startswith("user/"):
            raise
        joined = Join(plans.group_of(step.policy_arn), step.holder)
        brake.join(joined)
        return joined
    return step
