"""Stopping from end to end: a request comes in, the account is stopped, people are told, the record is written.

The effect always comes first. The mail and the ledger may fail without holding it up; what failed is said.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, Self

from lambdas import guardrail, ports
from lambdas.core import silence, stored
from lambdas.core.answers import in_short, sayable
from lambdas.core.errors import GuardrailError, RefusedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Margin, margins
from lambdas.core.notice import Links, SpendSummary, StopReport, owner_notice, stop_notice
from lambdas.core.plan import Attach, Goal, Join
from lambdas.core.scopes import Scope, parse_scope
from lambdas.telling import Owners

_MAX_RECORDED = 500


class Memory(Protocol):
    """The part of the ledger a stop writes. It may be down."""

    def want(self, wanted: Wanted, at: datetime) -> bool:
        """Keep the level the brake is meant to have from a moment on; False when a later word stands already."""

    def stop_alone(self, scope: str, reason: str, at: datetime) -> None:
        """Keep that something is to stay stopped alone."""

    def stopped_alone(self) -> tuple[str, ...]:
        """Return what is to stay stopped alone."""

    def release_alone(self, scope: str, at: datetime, *, unless_stopped: bool = False) -> None:
        """Keep that something is to be stopped alone no more, until that is done."""

    def released_alone(self, scope: str) -> None:
        """Forget what is stopped alone no more, unless somebody has stopped it again."""

    def begin(self, who: str, now: datetime, until: datetime) -> str | None:
        """Say that a ``stop`` or a ``keep`` begins; return who is at it already, None when nobody else is."""

    def end(self, until: datetime) -> None:
        """Say that what began and was to last until then has ended."""

    def wanted(self) -> Wanted:
        """Return the level the brake is meant to have."""

    def last(self, kind: str) -> Mapping[str, Any] | None:
        """Return the newest record of a kind."""

    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        """Keep what was done."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """What a stop is asked for."""

    level: Level
    reason: str
    at: datetime
    """When it was asked for. A release since then makes it void: it may have waited in a queue, or be a retry."""
    reassert: bool = False
    """True when nothing new happened: the brake is only to be kept as it should be."""
    spend: SpendSummary = field(default_factory=SpendSummary)
    by: str = "meter"
    """``person``, ``meter``, ``budget`` or ``anomaly``."""
    windows: tuple[str, ...] = ()
    """The windows of the limits that alone call for it; it may end when they roll over."""
    scope: Scope | None = None
    """What is to be stopped alone; None for the whole account."""
    over: tuple[Margin, ...] = ()
    """How far the limits are reached that call for it."""
    reversible_only: bool = False
    """Whether it rests on a figure that is implausible: then nothing is ended that does not come back."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a stop is carried out with."""

    tools: ports.StopTools
    post: ports.Post
    memory: Memory
    links: Links
    go_on: Callable[[dict[str, Any]], None]
    """Asks the stop function to go on where the time ran out."""
    canary: str = ""
    """Whose stop is a drill, which tells people and keeps the record itself; empty for nobody's."""
    again: timedelta = timedelta(hours=1)
    """What a stop that is kept on brings is mailed no more often."""
    owners: Owners | None = None
    """Who is told besides when a role or user is stopped alone; None when nobody is."""


@dataclass(frozen=True, slots=True)
class Result:
    """What happened, and what of the telling did not work."""

    report: StopReport | None
    """None when nothing was left to do."""
    why_not: str = ""
    """Why nothing was done."""
    untold: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_unfinished(self) -> bool:
        """Tell whether it is to be run again: something is not done, or nobody was mailed."""
        report = self.report
        failed = bool(self.untold) if report is None else report.enforced and not report.complete
        return failed or "mail" in self.untold

    def complaint(self, links: Links) -> str:
        """Return in a line what an error tells of it: what failed, whom it does not reach, what to do by hand."""
        if self.report is None:
            return f"Nothing done: {self.why_not}. {in_short(self.untold)}"
        report = self.report
        parts = [report.headline, in_short(report.failed)]
        parts += [f"Out of reach: {in_short(report.uncovered)}"] if report.uncovered else []
        parts += [f"It is tried again each minute. By hand: {links.by_hand}"] if not report.verified else []
        parts += [f"Not told: {in_short(self.untold)}"] if self.untold else []
        return " ".join(each for each in parts if each)

    @property
    def in_doubt(self) -> bool:
        """Tell whether what was asked for may not be stopped: whoever asked must learn of it."""
        report = self.report
        return report is None or not report.complete or not report.uncovered.keys().isdisjoint(report.alone)

    def answer(self, links: Links) -> dict[str, Any]:
        """Return it as the console shows it: the first field says in words what happened."""
        answer: dict[str, Any]
        if self.report is None:
            answer = {"summary": f"Nothing done: {self.why_not}."}
            return answer | ({"not_told": dict(self.untold)} if self.untold else {})
        report = self.report
        answer = {
            "summary": report.headline,
            "level": str(report.level),
            "reason": report.reason,
            "done": list(report.done),
            "failed": dict(report.failed),
            "not_stopped": dict(report.uncovered),
            "armed_principals_reached_by_one_switch": report.armed,
            "release": links.release,
        }
        if report.alone:
            answer["stopped_alone"] = list(report.alone)
        if report.proof is not None:
            answer["proof"] = str(report.proof)
        if self.untold:
            answer["not_told"] = dict(self.untold)
        if not report.verified and report.enforced:
            answer["stop_by_hand"] = links.by_hand
        return answer


def parse_meter_request(event: object) -> StopRequest:
    """Read what the meter sends. Raises RefusedError for anything else: nothing is done."""
    if not isinstance(event, Mapping) or event.get("source") != "meter":
        msg = (
            "this function takes requests of the meter and budget notifications; to stop by hand use the kill function"
        )
        raise RefusedError(msg)
    try:
        level = Level.named(event["level"])
        reason, reassert = event["reason"], event["reassert"]
        at = stored.moment(event["at"])
        windows = event.get("windows", [])
    except (KeyError, ValueError, TypeError) as error:
        msg = f"a request of the meter that cannot be read ({error!r}): nothing was done; deploy the stack again"
        raise RefusedError(msg) from error
    # To keep on what is stopped alone, no level is asked for.
    pointless = level is Level.RELEASED and reassert is not True
    typed = isinstance(reason, str) and isinstance(reassert, bool) and isinstance(windows, list)
    if pointless or not typed:
        msg = f"a request of the meter for level {level}, reason {reason!r}: nothing was done"
        raise RefusedError(msg)
    summary = SpendSummary.from_json(event.get("spend"))
    over = margins(event.get("over"))
    windows = tuple(map(str, windows))
    return StopRequest(level, sayable(reason), at, reassert, summary, windows=windows, over=over)


def judge_silence(
    event: object,
    *,
    now: datetime,
    account_id: str,
    region: str,
    prefix: str,
    state: Callable[[], str | None],
    left: Callable[[], Mapping[str, Any] | None],
) -> StopRequest:
    """Turn the event of the heartbeat alarm into a request to stop: nobody counts what is spent.

    The event is only a reason to look: ``state`` asks CloudWatch how the alarm stands, ``left`` the ledger what the
    meter left for its next tick (None: it never ran). Raises RefusedError for any other event, and when they say that
    the meter is not silent; what does not answer is no reason to let spending go on unseen.
    """
    rang = silence.parse(event, account_id=account_id, region=region, prefix=prefix)
    unconfirmed: dict[str, str] = {}
    now_at: list[str | None] = [None]
    before: list[Mapping[str, Any] | None] = [{}]
    _attempt("CloudWatch", lambda: now_at.append(state()), unconfirmed)
    _attempt("the ledger", lambda: before.append(left()), unconfirmed)
    silence.refuse_unless_silent(now_at[-1], before[-1], now)
    why = "".join(f"; {who} could not confirm it ({error})" for who, error in unconfirmed.items())
    reason = f"the meter has fallen silent: {rang.alarm} rings since {rang.at:%Y-%m-%d %H:%M:%S} UTC{why}"
    return StopRequest(Level.STOP, reason, rang.at, by=silence.BY)


_AT_IT = timedelta(minutes=2)
"""For so long a stop keeps releases waiting, should it die; the time of all but the largest sweeps."""
_RELEASED = "a person has released the brake since this was asked for"


def carry_out(request: StopRequest, desk: Desk, now: datetime, *, enforce: bool) -> Result:
    """Stop, tell, record. Never raises for a failed call; `Result` has it."""
    untold: dict[str, str] = {}
    # A clock that runs ahead must not write a word that no release can follow.
    request = replace(request, at=min(request.at, now))
    with _Turn(desk.memory, now, "keep" if request.reassert else "stop") as turn:
        if turn.taken_by() and request.reassert:
            return Result(None, why_not="another run is at it")
        (level, before), alone = _still_wanted(request, desk), _alone(desk.memory, untold)
        if level is Level.RELEASED and not (request.reassert and alone):
            return Result(None, why_not=_RELEASED, untold=untold if request.reassert else {})
        ends_work = _ends_work(request, before)
        if request.reversible_only and enforce and not _kept_harmless(request, before, desk.memory, untold):
            # A stop nobody remembers as such would have its work ended by whoever keeps it on.
            level = min(level, Level.STEP_DOWN)

        def switched(at: Level) -> bool:
            if enforce and not request.reassert:
                harmless = at is Level.STOP and not ends_work
                remember = partial(_remember, request, at, desk.memory, reversible_only=harmless)
                _attempt("remember what is wanted", remember, untold)
            return turn.may_hold()

        goal = Goal(level, alone, ends_work)
        report = guardrail.stop(goal, request.reason, desk.tools, enforce=enforce, switched=switched)
    overruled = report.enforced and _overruled(request, report, desk, untold, alone, before)
    return _finish(request, report, desk, now, untold, overruled=overruled)


def kill(request: StopRequest, desk: Desk, now: datetime) -> Result:
    """Stop on a person's word: before the switch nothing is asked, neither the ledger nor the mode."""
    untold: dict[str, str] = {}
    with _Turn(desk.memory, now, "stop") as turn:

        def switched(at: Level) -> bool:
            _attempt("remember what is wanted", lambda: _remember(request, at, desk.memory), untold)
            return turn.may_hold()

        goal = Goal(request.level, () if request.scope is None else (request.scope,))
        report = guardrail.stop(goal, request.reason, desk.tools, enforce=True, switched=switched)
    if request.scope is not None and (scope := str(request.scope)) in report.uncovered:
        # Nothing was stopped that could be kept so.
        _attempt("forget it", lambda: desk.memory.release_alone(scope, request.at), untold)
        _attempt("forget it", lambda: desk.memory.released_alone(scope), untold)
    overruled = request.scope is None and _overruled(request, report, desk, untold)
    return _finish(request, report, desk, now, untold, overruled=overruled)


class _Turn:
    """Who stops keeps releases waiting meanwhile; who keeps a stop on gives way. Without a ledger nobody waits."""

    def __init__(self, memory: Memory, now: datetime, who: str) -> None:
        self._memory, self._now, self._who = memory, now, who
        self._until = now + _AT_IT
        self._asked = self._mine = False
        self._other: str | None = None

    def taken_by(self) -> str | None:
        """Begin, and return who is at it already; None when nobody else is, or when that is not known."""
        if not self._asked:
            self._asked = True
            try:
                self._other = self._memory.begin(self._who, self._now, self._until)
                self._mine = self._other is None
            except GuardrailError:
                self._other = None
        return self._other

    def may_hold(self) -> bool:
        """Tell whether the levers may be pulled: not while a release puts back what they hold."""
        return self.taken_by() != "release"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._mine:
            _attempt("", lambda: self._memory.end(self._until), {})


def _overruled(
    request: StopRequest,
    report: StopReport,
    desk: Desk,
    untold: dict[str, str],
    alone: Iterable[Scope] = (),
    before: Wanted | None = None,
) -> bool:
    """Look for a person's later word, and have it obeyed: it came while this ran, and is the last one.

    What this run attached and held down after that release looked is put back by finishing it, which the meter asks
    for. False when nobody has released since, or when that cannot be known. ``before`` is the word this run began with:
    another one is later, whatever the clocks say.
    """
    try:
        word = desk.memory.wanted()
        kept = set(desk.memory.stopped_alone()) if alone else set()
    except GuardrailError:
        return False
    for scope in alone:
        if str(scope) not in kept:
            again = partial(desk.memory.release_alone, str(scope), request.at, unless_stopped=True)
            _attempt(f"release {scope} again", again, untold)
    said_meanwhile = word.level is Level.RELEASED and before is not None and word.at != before.at
    if not (said_meanwhile or word.released_after(request.at)):
        return False
    for each in report.held:
        # The release may have put it back, and forgotten it, just before this run held it down.
        _attempt(f"remember {each.words}", partial(desk.tools.book.remember, each), untold)
    undone = guardrail.unswitch(desk.tools)
    untold |= {f"undo: {what}": why for what, why in undone.failed.items()}
    unfinished = replace(word, done=False)
    _attempt("have the release finished", lambda: desk.memory.want(unfinished, word.at or request.at), untold)
    return True


def _alone(memory: Memory, untold: dict[str, str]) -> tuple[Scope, ...]:
    """Return what is to stay stopped alone. What cannot be read is in IAM still: nothing of it is ever lowered here."""
    found: list[Scope] = []
    try:
        for each in memory.stopped_alone():
            try:
                found.append(parse_scope(each))
            except RefusedError as error:
                untold[f"keep {each} stopped alone"] = str(error)
    except GuardrailError as error:
        untold["read what is stopped alone"] = str(error)
    return tuple(found)


def _finish(
    request: StopRequest, report: StopReport, desk: Desk, now: datetime, untold: dict[str, str], *, overruled: bool
) -> Result:
    """Tell people, write the record: what failed of it is in the result."""
    if report.left and report.enforced and not overruled:
        _attempt("go on", lambda: desk.go_on(_continuation(request, report)), untold)
    body = _record(request, report)
    drilled = request.scope is not None and str(request.scope) == desk.canary
    news = not drilled and _is_news(request, report, body, desk.memory, now)
    did, last = bool(report.done), _last(desk.memory) if news else None
    waits = news and _waits(request, report, body, last, now, desk.again)
    if last is not None and last.get("mailed") is False and report.enforced and _is_again(request, report, last):
        # What was done while a mail had to wait is in the next one.
        body["done"] = [*last.get("done", ()), *body["done"]][-_MAX_RECORDED:]
        report = replace(report, done=(*last.get("done", ()), *report.done))
    if news and not waits:
        spend = request.spend
        reason = f"{report.reason} ({_RELEASED}: what can be put back is being put back)" if overruled else ""
        notice = stop_notice(replace(report, reason=reason) if reason else report, spend, desk.links)
        _attempt("mail", lambda: desk.post.send(notice), untold)
    if request.scope is not None and report.enforced and not (drilled or overruled or request.reassert):
        _tell_owner(request, request.scope, report, desk, untold)
    if (news and (did or not waits)) or not (request.reassert or drilled):
        body |= {"mailed": "mail" not in untold and not waits, "at": now.isoformat(), "asked": request.at.isoformat()}
        body["told_at"] = _told_at(request, report, last, now, mailed=news and body["mailed"])
        _attempt("ledger", lambda: desk.memory.record("stop", now, body), untold)
    if overruled:
        return Result(None, why_not=_RELEASED, untold=untold)
    return Result(report, untold=untold)


def _last(memory: Memory) -> Mapping[str, Any] | None:
    try:
        return memory.last("stop")
    except GuardrailError:
        return None


def _is_again(request: StopRequest, report: StopReport, last: Mapping[str, Any]) -> bool:
    """Tell whether a run is about the stop that was recorded last: it is kept on, tried again, or would be the same."""
    would = not report.enforced and last.get("enforced") is False and last.get("level") == str(report.level)
    same = {each.limit for each in request.over} <= {each.limit for each in margins(last.get("over"))}
    again = would and last.get("by") == request.by and same
    return request.reassert or last.get("asked") == request.at.isoformat() or again


def _waits(
    request: StopRequest,
    report: StopReport,
    body: Mapping[str, Any],
    last: Mapping[str, Any] | None,
    now: datetime,
    again: timedelta,
) -> bool:
    """Tell whether a mail has to wait.

    Never the first one of a stop, nor the one after a mail that did not go out, nor one with something new in it.
    """
    if last is None or not _is_again(request, report, last) or _has_new(body, last, now):
        return False
    told_at = _moment(last, "told_at")
    # A clock that was ahead must not keep it silent.
    return told_at is not None and timedelta(0) <= now - told_at < again


def _told_at(
    request: StopRequest, report: StopReport, last: Mapping[str, Any] | None, now: datetime, *, mailed: bool
) -> str | None:
    """Return when people were last mailed about this stop; another one's mail does not count."""
    if mailed:
        return now.isoformat()
    return None if last is None or not _is_again(request, report, last) else last.get("told_at")


def _tell_owner(request: StopRequest, scope: Scope, report: StopReport, desk: Desk, untold: dict[str, str]) -> None:
    if desk.owners is not None and str(scope) not in report.uncovered:
        whom, reason = desk.owners.whom, request.reason
        desk.owners.tell(
            (scope,), lambda who: owner_notice(str(who), reason, stopped=True, by=request.by, whom=whom), untold
        )


_NEW_FAILURE_AFTER = timedelta(minutes=10)


def _is_news(request: StopRequest, report: StopReport, body: Mapping[str, Any], memory: Memory, now: datetime) -> bool:
    """Tell whether people must be mailed: not each minute that a stop is kept on.

    They are when something was done, when somebody is out of reach who was not before, when something new has failed
    for a while, and when the last mail did not go out.
    """
    if report.done or (not request.reassert and not report.complete):
        return True
    try:
        last = memory.last("stop")
    except GuardrailError:
        return not request.reassert
    if last is None:
        return not request.reassert
    return last.get("mailed") is False or _has_new(body, last, now)


def _has_new(body: Mapping[str, Any], last: Mapping[str, Any], now: datetime) -> bool:
    """Tell whether somebody is out of reach who was not at the last record, or something new has failed for a while."""
    before = {*last.get("failed", ()), *last.get("not_stopped", ())}
    if not body["not_stopped"].keys() <= before:
        return True
    return not body["failed"].keys() <= before and now - (_moment(last, "at") or now) >= _NEW_FAILURE_AFTER


def _moment(record: Mapping[str, Any], key: str) -> datetime | None:
    """Return a moment of a record; None where it has none that can be read: no mail is held up by that."""
    try:
        return stored.moment(record[key])
    except (KeyError, ValueError, TypeError):
        return None


def _ends_work(request: StopRequest, before: Wanted | None) -> bool | None:
    """Tell whether a stop may end what nothing brings back; None when that is not known. ``before`` is the last word.

    It may once anybody who is to be believed has called for a stop since the last release; to keep on what IAM alone
    knows of is to keep on a stop by hand. An implausible figure never does, however often that stop is kept on or a
    step-down is asked for meanwhile.
    """
    if request.level is Level.STOP and not (request.reassert or request.reversible_only):
        return True
    if before is None:
        return None
    return not before.reversible_only and (before.level is Level.STOP or request.reassert)


def _kept_harmless(request: StopRequest, before: Wanted | None, memory: Memory, untold: dict[str, str]) -> bool:
    """Keep that a stop ends no work before it is brought about, unlike other words; tell whether that is known."""
    if request.level < Level.STOP or (before is not None and before.level is Level.STOP):
        return True
    # Whoever asked for less meanwhile is overruled, and not later than this.
    at = max(request.at, before.at) if before is not None and before.at is not None else request.at
    word = Wanted(Level.STOP, at, request.by, reversible_only=True)
    kept: list[bool] = []
    _attempt("remember that this stop ends no work", lambda: kept.append(memory.want(word, at)), untold)
    return kept == [True]


def _remember(request: StopRequest, level: Level, memory: Memory, *, reversible_only: bool = False) -> None:
    """Keep what is wanted as soon as it holds for all who are armed: the rest takes minutes, and may die."""
    if request.scope is not None:
        memory.stop_alone(str(request.scope), request.reason, request.at)
        return
    windows = request.windows
    if windows:
        windows = _windows(memory.wanted(), request)
    memory.want(Wanted(level, request.at, request.by, windows, reversible_only=reversible_only), request.at)


def _windows(before: Wanted, request: StopRequest) -> tuple[str, ...]:
    """Return the windows at whose roll-over the stop may end; none when by now somebody else has said stop too."""
    theirs = before.level > Level.RELEASED and (before.by != "meter" or not before.windows)
    return () if theirs else request.windows


def _continuation(request: StopRequest, report: StopReport) -> dict[str, Any]:
    return {
        "source": "meter",
        "at": request.at.isoformat(),
        "level": str(report.level),
        "reason": request.reason,
        "reassert": True,
    }


def _still_wanted(request: StopRequest, desk: Desk) -> tuple[Level, Wanted | None]:
    """Return the level to act for, released when a person has released the brake since it was asked for; and the word.

    To keep the brake on means what IAM and the last word want now. What cannot be read wants what was asked for.
    """
    wanted = None
    try:
        wanted = desk.memory.wanted()
        if wanted.released_after(request.at) or (request.reassert and not wanted.done):
            return Level.RELEASED, wanted
        level = max(desk.tools.brake.levels().level, wanted.level) if request.reassert else request.level
    except GuardrailError:
        return request.level, wanted
    return level, wanted


def _record(request: StopRequest, report: StopReport) -> dict[str, Any]:
    return {
        "level": str(report.level),
        "reason": report.reason,
        "by": request.by,
        "over": [each.to_json() for each in request.over],
        "principals": report.armed + sum(isinstance(each, Attach | Join) for each in report.steps),
        "enforced": report.enforced,
        "before": dict(report.before),
        # An item of the table holds 400 KB; the log has all of them.
        "done": list(report.done[:_MAX_RECORDED]),
        "done_count": len(report.done),
        "failed": dict(sorted(report.failed.items())[:_MAX_RECORDED]),
        "not_stopped": dict(sorted(report.uncovered.items())[:_MAX_RECORDED]),
        "armed": report.armed,
        "verified": report.verified,
        "proof": str(report.proof) if report.proof is not None else "",
    }


def _attempt(what: str, call: Callable[[], object], untold: dict[str, str]) -> None:
    try:
        call()
    except GuardrailError as error:
        untold[what] = str(error)
