"""Trying everything: one refusal never keeps another step from being tried, and none goes unsaid."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lambdas.core.errors import AwsCallError, GuardrailError, RefusedError
from lambdas.core.plan import NO_SLOT, Attach, Detach, Join, Leave, Narrow, Step, Switch, Widen
from lambdas.ports import Outcome, Pace

T = TypeVar("T")

VERIFY_PAUSES = (1.0, 2.0, 4.0)
"""Seconds to wait before reading back again: IAM may show for a moment what was before."""


def gather(outcome: Outcome, what: str, read: Callable[[], T]) -> T | None:
    """Return what a read brings; None, and a failure with its reason, when AWS refuses. None is not empty."""
    try:
        return read()
    except AwsCallError as error:
        outcome.failed[what] = str(error)
        return None


_RESERVE_SECONDS = 150.0
"""What the last call may take, then reading back, telling people and writing the record, with a ledger that hangs."""
_IN_ORDER = (Switch, Narrow, Widen)
_NO_TIME = object()


def no_time(pace: Pace) -> bool:
    """Tell whether nothing new must be begun."""
    return pace.seconds_left() < _RESERVE_SECONDS


def try_all(steps: Sequence[Step], act: Callable[[Step], Step], outcome: Outcome, pace: Pace) -> None:
    """Do the steps and note how each ended: one refusal never keeps another step from being tried.

    What changes a policy for everybody is done alone and in order; the rest side by side, while there is time.
    """

    def attempt(step: Step) -> object:
        if no_time(pace) and not isinstance(step, _IN_ORDER):
            return _NO_TIME
        try:
            return act(step)
        except GuardrailError as error:
            return error

    alone = [each for each in steps if isinstance(each, _IN_ORDER)]
    others = [each for each in steps if not isinstance(each, _IN_ORDER)]
    results = [*map(attempt, alone)]
    if others:
        with ThreadPoolExecutor(pace.at_once) as pool:
            results += pool.map(attempt, others)
    for step, result in zip([*alone, *others], results, strict=True):
        _note(step, result, outcome)


def _note(step: Step, result: object, outcome: Outcome) -> None:
    code = result.code if isinstance(result, AwsCallError) else ""
    if result is _NO_TIME:
        outcome.left += 1
    elif isinstance(step, Detach | Leave) and code == "NoSuchEntity":
        # A policy that is gone already, or whose holder is: either way nothing of ours is left.
        outcome.done.append(step)
    elif isinstance(step, Attach) and code == "LimitExceeded":
        outcome.uncovered[step.holder] = NO_SLOT
    elif isinstance(step, Narrow) and isinstance(result, RefusedError):
        # Nothing that another try would change: the writer says what has to be done first.
        outcome.uncovered[str(step.scope)] = str(result)
    elif isinstance(result, GuardrailError):
        outcome.failed[str(step)] = str(result)
    else:
        # A step that was done in another way, for want of a slot, is told as it was done.
        outcome.done.append(result if isinstance(result, Attach | Join) else step)
