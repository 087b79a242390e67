"""The shell of a release: everything is brought back to exactly what it was before.

What failed is in the outcome; running it again finishes it.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from lambdas.core import plan as plans
from lambdas.core.budget_action import READY, next_execution
from lambdas.core.errors import AwsCallError, GuardrailError, UnfinishedError
from lambdas.core.levels import Level
from lambdas.core.levers import Remembered
from lambdas.core.plan import Ask, Detach, Leave, Restore, Step, Switch, Widen
from lambdas.core.scopes import Scope
from lambdas.ports import Book, NativeStop, Outcome, ReleaseTools
from lambdas.trying import VERIFY_PAUSES, gather, no_time, try_all

NATIVE_PAUSES = (2.0, 4.0, 8.0, 16.0)
"""Seconds to wait for AWS Budgets, which does what it is asked for afterwards."""


def release(tools: ReleaseTools, *, account: bool, alone: Sequence[Scope] = ()) -> Outcome:
    """Bring the account, and what was stopped alone, back to exactly what it was before.

    The armed stay armed, the swept are left, what was held down is put back. What failed is in the outcome; running
    it again finishes it.
    """
    outcome = Outcome()
    brake = tools.brake
    state = gather(outcome, "read the brake policies", brake.levels)
    if state is None:
        return outcome
    act = partial(_undo, tools)
    if account:
        outcome.failed |= {
            f"{policy.name} to {Level.RELEASED}": plans.MISSING_VERSION
            for policy in (state.brake, state.sweep)
            if Level.RELEASED not in policy.versions
        }
        try_all(plans.plan_switch(state, Level.RELEASED).steps, act, outcome, tools.pace)
    narrow = [each for each in alone if not each.is_principal]
    # Whether or not the default version has it: another one may, of a writer that died half-way.
    try_all([Widen(each) for each in narrow], act, outcome, tools.pace)
    remains = (state.brake.anywhere | state.sweep.anywhere).difference(narrow)
    to_leave: dict[str, set[str] | None] = {}
    if named := {str(each) for each in alone if each.is_principal}:
        to_leave[brake.deny_arn] = named
    if not remains and (account or state.level is Level.RELEASED):
        to_leave[brake.sweep_arn] = None
    for arn, whom in to_leave.items():
        _leave(arn, whom, tools, outcome)
    if account:
        _put_back(tools, outcome)
        if tools.native is not None:
            _undo_natively(tools.native, tools, outcome)
    _verify_release(tools, outcome, to_leave, account=account)
    return outcome


def _leave(policy_arn: str, whom: set[str] | None, tools: ReleaseTools, outcome: Outcome) -> None:
    """Leave those named, or everybody who holds the policy."""
    holders = gather(outcome, "read who was swept", partial(tools.brake.holders, policy_arn)) or frozenset()
    members = gather(outcome, "read the group", partial(tools.brake.members, policy_arn)) or frozenset()
    if whom is not None:
        holders, members = holders & whom, members & whom
    plan = plans.plan_leaving(policy_arn, holders, members)
    try_all(plan.steps, partial(_undo, tools), outcome, tools.pace)


def _put_back(tools: ReleaseTools, outcome: Outcome) -> None:
    remembered = _remembered(tools.book, outcome)
    levers = {each.name: each for each in tools.levers()} if remembered else {}
    by_held = {each.held.lever + each.held.key: each for each in remembered}

    def restore(step: Step) -> Step:
        if not isinstance(step, Restore):
            msg = f"only what is held down is put back: {step}"
            raise TypeError(msg)
        levers[step.held.lever].restore(step.held)
        # Last: what is forgotten is put back for certain.
        if not tools.book.forget(by_held[step.held.lever + step.held.key]):
            msg = "a stop has held it down again meanwhile"
            raise UnfinishedError(msg)
        return step

    for each in remembered:
        if each.held.lever not in levers:
            # Of an item nobody can read, its own words say so.
            outcome.failed[str(Restore(each.held))] = (
                f"nothing deployed puts back {each.held.lever}: if it is gone from guardrail.toml put it back there, "
                "deploy, and run release again"
            )
    steps = [Restore(each.held) for each in remembered if each.held.lever in levers]
    try_all(steps, restore, outcome, tools.pace)


def _undo_natively(native: NativeStop, tools: ReleaseTools, outcome: Outcome) -> None:
    """Have AWS Budgets take off what it attached, and be ready again: else it would not stop again this month."""
    for pause in (*NATIVE_PAUSES, None):
        status = gather(outcome, "ask AWS Budgets how its own stop stands", native.status)
        if status == READY:
            _name_who_is_left(native, outcome)
        if status is None or status == READY:
            return
        if (execution := next_execution(status)) is not None:
            failed = len(outcome.failed)
            try_all([Ask(execution)], partial(_ask, native), outcome, tools.pace)
            if len(outcome.failed) > failed:
                return
        if pause is None or no_time(tools.pace):
            break
        tools.pace.pause(pause)
    outcome.failed["AWS Budgets' own stop"] = f"is at {status}, not yet {READY}; gone on with at the next minute"


def _name_who_is_left(native: NativeStop, outcome: Outcome) -> None:
    """Name who is still denied although the action is ready: whether AWS takes it off at a new period is not known."""
    for holder in sorted(gather(outcome, "ask IAM whom AWS Budgets' deny is on", native.holders) or ()):
        kind, _, name = holder.partition("/")
        outcome.failed[f"AWS Budgets' deny on {holder}"] = (
            f"is on although its action is ready: aws iam detach-{kind}-policy --{kind}-name {name} --policy-arn "
            "the one that ends in -budget-stop"
        )


def _ask(native: NativeStop, step: Step) -> Step:
    if not isinstance(step, Ask):
        msg = f"AWS Budgets is only asked: {step}"
        raise TypeError(msg)
    native.execute(step.execution)
    return step


def _remembered(book: Book, outcome: Outcome) -> Sequence[Remembered]:
    try:
        return book.held()
    except AwsCallError as error:
        if error.code == "ResourceNotFoundException":
            # Nobody can put back what nobody remembers, but the rest of the release is done.
            outcome.uncovered["what stops held down (keys, concurrency, rates, policies)"] = (
                'the ledger is gone; the logs of the kill and stop functions have it: search them for "held down"'
            )
        else:
            outcome.failed["read what is held down"] = str(error)
    except GuardrailError as error:
        outcome.failed["read what is held down"] = str(error)
    return ()


def _verify_release(
    tools: ReleaseTools, outcome: Outcome, to_leave: Mapping[str, set[str] | None], *, account: bool
) -> None:
    """Read back that nothing of ours denies any more; who was not listed when they were left is left now."""
    brake = tools.brake
    for wait in (*VERIFY_PAUSES, None):
        seen = Outcome()
        after = gather(seen, "read back the brake policies", brake.levels) if account else None
        policies = () if after is None else (after.brake, after.sweep)
        wrong = [f"{each.name} is at {each.level}" for each in policies if each.level is not Level.RELEASED]
        missed = False
        for arn, whom in to_leave.items():
            holders = gather(seen, "read back who was left", partial(brake.holders, arn)) or frozenset()
            members = gather(seen, "read back who is in the group", partial(brake.members, arn)) or frozenset()
            left = (holders | members) if whom is None else (holders | members) & whom
            wrong += [f"{holder} still holds {plans.group_of(arn)}" for holder in sorted(left)]
            missed = missed or bool(left)
        if not wrong or wait is None:
            break
        tools.pace.pause(wait)
        if missed:
            for arn, whom in to_leave.items():
                _leave(arn, whom, tools, seen)
            outcome.done += [each for each in seen.done if each not in outcome.done]
    outcome.failed |= seen.failed | {f"reading back: {each}": "run release again" for each in wrong}


def _undo(tools: ReleaseTools, step: Step) -> Step:
    match step:
        case Switch():
            tools.brake.switch(step)
        case Detach():
            tools.brake.leave(step)
        case Leave():
            tools.brake.part(step)
        case Widen():
            tools.writer().release(step.scope)
        case _:
            msg = f"a release never stops anything: {step}"
            raise AssertionError(msg)
    return step
