"""The live drill from end to end: the canary alone is stopped and released the way a person does it, and timed.

Whatever happens in between, it is released at the end; should the drill die, the next one does that first.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from lambdas import ports
from lambdas.core import live_drill
from lambdas.core.errors import GuardrailError, RefusedError, UnfinishedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.live_drill import KEPT, Change, Look, Measured, Seen, Sight
from lambdas.core.notice import Links, Notice
from lambdas.core.plan import BrakeState

REASON = "live drill"

_BETWEEN = 0.5
"""Seconds between two looks."""
_AT_FIRST = 60.0
"""Seconds until the canary must be allowed: a role that was just made may not be known everywhere."""
_LONGEST = 180.0
"""Seconds a stop or a release may take to come through."""
_AGAIN = 5.0
"""Seconds until a release that was refused is asked for again."""
_FOR_A_RELEASE = 330.0
"""Seconds a release takes at most, with what comes after it."""
_TURN = timedelta(seconds=5)


class DrillError(GuardrailError):
    """The drill could not measure what it was for."""


class Canary(Protocol):
    """Who counts tokens."""

    def count(self) -> Seen:
        """Try it once."""


class ByHand(Protocol):
    """What a person invokes."""

    def kill(self, scope: str, reason: str) -> Mapping[str, Any]:
        """Stop something alone."""

    def release(self, scope: str, reason: str) -> Mapping[str, Any]:
        """Release it alone."""


class Brake(Protocol):
    """The part of the brake that is looked at. Nothing of it is changed here."""

    deny_arn: str

    def levels(self) -> BrakeState:
        """Return how the account stands."""

    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy is attached to."""


class Ledger(Protocol):
    """The part of the ledger a drill reads and writes."""

    def wanted(self) -> Wanted:
        """Return the level the brake is meant to have."""

    def stopped_alone(self) -> tuple[str, ...]:
        """Return what is to stay stopped alone."""

    def begin(self, who: str, now: datetime, until: datetime) -> str | None:
        """Say that something begins; return who is at it already."""

    def end(self, until: datetime) -> None:
        """Say that it has ended."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document kept under a name."""

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document."""

    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        """Keep what was done."""


@dataclass(frozen=True, slots=True)
class DrillTools:
    """All a drill needs."""

    who: str
    """The canary, as ``role/NAME``: the one scope that is ever stopped or released here."""
    model: str
    region: str
    reaction: timedelta
    """What the limits reckon with."""
    canary: Canary
    by_hand: ByHand
    brake: Brake
    ledger: Ledger
    send: Callable[[Notice], None]
    links: Links
    clock: Callable[[], float]
    """Seconds that only ever grow."""
    pace: ports.Pace


def drill(tools: DrillTools, now: datetime) -> dict[str, Any]:
    """Measure, tell people once, and return the answer for the console.

    Raises RefusedError when it is no time for a drill: nothing was touched. Raises UnfinishedError when it could not
    measure, or not put everything back.
    """
    ledger = tools.ledger
    before = ledger.kept(KEPT)
    _must_be_quiet(before, tools, now)
    # Where this cannot be kept nothing is begun: who comes next could not tell that a drill is under way.
    ledger.keep(KEPT, live_drill.begun(before, now))
    problems: list[str] = []
    stop = release = None
    stopping = False
    try:
        _ready(tools)
        stopping = True
        stop = _timed(tools, partial(tools.by_hand.kill, tools.who, REASON), Sight.DENIED)
    except GuardrailError as error:
        problems.append(str(error))
    finally:
        # Whatever ended the stop, an error nobody thought of too.
        if stopping:
            release = _released(tools, problems)
    left = _left_stopped(tools, problems)
    measured = None if stop is None or release is None else Measured(now, tools.model, tools.region, stop, release)
    summary = f"The drill FAILED: {problems[0]}" if measured is None else measured.words
    _attempt(lambda: ledger.keep(KEPT, live_drill.ended(before, now, summary, measured)), problems)
    _attempt(lambda: ledger.record(KEPT, now, {"summary": summary, "problems": [*problems]}), problems)
    if measured is None or problems:
        notice = live_drill.failed_notice(problems, left, tools.links)
    else:
        notice = live_drill.drill_notice(measured, tools.reaction, tools.links)
    _attempt(lambda: tools.send(notice), problems)
    if measured is None or problems:
        raise UnfinishedError("; ".join(problems))
    return {"summary": summary, "measured": measured.to_json()}


def _must_be_quiet(before: Mapping[str, Any] | None, tools: DrillTools, now: datetime) -> None:
    """Raise RefusedError while anything else is going on: what is measured then would be wrong, and in the way."""
    if live_drill.under_way(before, now):
        _refuse("another one is under way, or died less than a quarter of an hour ago")
    wanted, state = tools.ledger.wanted(), tools.brake.levels()
    level = max(state.brake.level or Level.RELEASED, state.sweep.level or Level.RELEASED, wanted.level)
    if level > Level.RELEASED:
        _refuse(f"the account is at {level}, or is being brought there; release it first")
    if not wanted.done:
        _refuse("a release is not finished")
    until = now + _TURN
    if (other := tools.ledger.begin("keep", now, until)) is not None:
        _refuse(f"a {other} is in progress")
    tools.ledger.end(until)


def _refuse(why: str) -> None:
    msg = f"no drill, nothing was touched: {why}"
    raise RefusedError(msg)


def _ready(tools: DrillTools) -> None:
    """Have the canary allowed. Raises GuardrailError when it is not: nothing was stopped then."""
    if _may_be_stopped(tools):
        # By a drill that died; nobody else stops who can do nothing.
        tools.by_hand.release(tools.who, f"{REASON}: the last one died")
    begun, seen = tools.clock(), tools.canary.count()
    while seen.sight is not Sight.ALLOWED:
        if tools.clock() - begun > _AT_FIRST:
            msg = (
                f"{tools.who} is not allowed to count tokens with {tools.model} in {tools.region} to begin with: see "
                f"that the model is enabled there and that no SCP denies it; nothing was stopped ({seen.words})"
            )
            raise DrillError(msg)
        tools.pace.pause(_BETWEEN)
        seen = tools.canary.count()


def _timed(tools: DrillTools, ask: Callable[[], object], wanted: Sight) -> Change:
    """Ask for a change and watch the canary meanwhile. Raises GuardrailError when it was refused or is not seen."""
    begun = tools.clock()
    looks: list[Look] = []
    with ThreadPoolExecutor(1) as pool:
        # On its own, for it answers long after the effect: it reads back, and tells people.
        asked = pool.submit(ask)
        while (found := live_drill.change(looks, wanted)) is None:
            if asked.done():
                asked.result()
            if tools.clock() - begun > _LONGEST:
                last = f"; at last: {looks[-1].seen.words}" if looks and looks[-1].seen.words else ""
                msg = f"{tools.who} was not {wanted} for good within {_LONGEST:.0f} seconds{last}"
                raise DrillError(msg)
            tools.pace.pause(_BETWEEN)
            seen = tools.canary.count()
            looks.append(Look(tools.clock() - begun, seen))
        asked.result()
    return found


def _released(tools: DrillTools, problems: list[str]) -> Change | None:
    """Release the canary, however often that has to be asked for; None, and a problem, when there is no time left."""
    while True:
        try:
            return _timed(tools, partial(tools.by_hand.release, tools.who, REASON), Sight.ALLOWED)
        except GuardrailError as error:
            if tools.pace.seconds_left() < _FOR_A_RELEASE:
                problems.append(f"NOT released: {error}")
                return None
        tools.pace.pause(_AGAIN)


def _may_be_stopped(tools: DrillTools) -> bool:
    """Tell whether the canary is stopped alone, in IAM or by the ledger's word. Raises AwsCallError."""
    return tools.who in tools.brake.holders(tools.brake.deny_arn) or tools.who in tools.ledger.stopped_alone()


def _left_stopped(tools: DrillTools, problems: list[str]) -> str:
    """Look whether the canary is released, as IAM and the ledger have it; return who may be stopped still."""
    try:
        if not _may_be_stopped(tools):
            return ""
        problems.append(f"{tools.who} is stopped alone still")
    except GuardrailError as error:
        problems.append(f"whether {tools.who} is stopped alone still is not known: {error}")
    return tools.who


def _attempt(call: Callable[[], object], problems: list[str]) -> None:
    try:
        call()
    except GuardrailError as error:
        problems.append(str(error))
