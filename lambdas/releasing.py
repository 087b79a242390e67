"""Releasing from end to end: on a person's typed word, or on the clock's where only a limit's window had stopped."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Protocol

from lambdas import ports, undoing
from lambdas.core import answers
from lambdas.core.allowances import BUDGET_STAYS, allowance_notice, as_raised
from lambdas.core.errors import AwsCallError, GuardrailError, RefusedError, UnfinishedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Allowance, Limit
from lambdas.core.memory import Memory as Standing
from lambdas.core.notice import Links, owner_notice, release_notice
from lambdas.core.scopes import Scope, parse_scope
from lambdas.core.triggers import (
    AllowRequest,
    AutomaticRelease,
    ReleaseRequest,
    parse_allow,
    parse_automatic_release,
    parse_release,
)
from lambdas.telling import Owners

_NO_TABLE = "ResourceNotFoundException"
_MAX_RECORDED, _MAX_REASON = 500, 300
_AT_IT = timedelta(minutes=2)
"""For so long a release has later stops leave the levers to the next minute, should it die."""


class Memory(Protocol):
    """The part of the ledger a release writes."""

    def want(self, wanted: Wanted, at: datetime) -> bool:
        """Keep the level the brake is meant to have from a moment on; False when a later word stands already."""

    def wanted(self) -> Wanted:
        """Return the level the brake is meant to have."""

    def stopped_alone(self, *, releasing: bool = False) -> tuple[str, ...]:
        """Return what is to stay stopped alone; or what is being released, and may not be yet."""

    def release_alone(self, scope: str, at: datetime) -> None:
        """Keep that something is to be stopped alone no more, until that is done."""

    def released_alone(self, scope: str) -> None:
        """Forget what is stopped alone no more, unless somebody has stopped it again."""

    def begin(self, who: str, now: datetime, until: datetime) -> str | None:
        """Say that a release begins; return who is at it already, None when nobody else is."""

    def end(self, until: datetime) -> None:
        """Say that what began and was to last until then has ended."""

    def add_allowance(self, allowance: Allowance) -> None:
        """Keep an allowance."""

    def end_allowances(self) -> int:
        """End all allowances; return how many there were."""

    def memory(self, now: datetime) -> Standing:
        """Return what every tick of the meter needs, the allowances among it."""

    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        """Keep what was done."""

    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        """Say that people are told of something now; False when they were since then, for another event than ``by``."""

    def forget_verdict(self) -> None:
        """Forget what the meter last decided."""

    def latest_decision(self) -> Mapping[str, Any] | None:
        """Return what the meter last decided."""


@dataclass(frozen=True, slots=True)
class ReleaseDesk:
    """Everything a release is carried out with."""

    tools: ports.ReleaseTools
    post: ports.Post
    memory: Memory
    links: Links
    account_id: str
    ask_for_stop: Callable[[dict[str, Any]], None]
    """Has the stop function keep on what a later word wants."""
    canary: str = ""
    """Whose release alone is a drill's, which tells people and keeps the record itself; empty for nobody's."""
    limits: tuple[Limit, ...] = ()
    """What an allowance raises."""
    again: timedelta = timedelta(hours=1)
    """What finishing a release brings is mailed no more often."""
    owners: Owners | None = None
    """Who is told besides when a role or user is stopped alone no more; None when nobody is."""


def carry_out(event: object, desk: ReleaseDesk, now: datetime) -> dict[str, Any]:
    """Release, or allow more for a while, as the event asks, and return the answer for the console.

    Raises RefusedError, and changes nothing, when the event is neither, while a stop is in progress, or when
    its allowance cannot be kept (the meter would stop the account again at once). Raises UnfinishedError when part
    of it failed; the meter has it finished.
    """
    if (asked := parse_allow(event, now=now)) is not None:
        return _change_allowances(asked, desk, now)
    automatic = parse_automatic_release(event)
    if automatic is None:
        request = parse_release(event, now=now, account_id=desk.account_id)
        word = Wanted(Level.RELEASED, now, "person", done=False)
    else:
        request, word = _judge(automatic, desk.memory)
    until = now + _AT_IT
    if (other := _begin(desk.memory, now, until)) is not None:
        msg = (
            f"nothing was released: a {other} is in progress; try again when it has ended, in two minutes at most, "
            "and see its mail first"
        )
        raise RefusedError(msg)
    again: list[dict[str, Any]] = []
    try:
        return _release(request, word, desk, now, again, quietly=automatic is not None and not automatic.windows)
    finally:
        _attempt("", lambda: desk.memory.end(until), {})
        for each in again:
            # Not before: until then its levers would wait for this release.
            _attempt("", partial(desk.ask_for_stop, each), {})


def everything(desk: ReleaseDesk, now: datetime) -> dict[str, Any]:
    """Release all there is, because the guardrail itself is taken away. Raises UnfinishedError."""
    request = ReleaseRequest("the guardrail is being destroyed", "CloudFormation", everything=True)
    return _release(request, Wanted(Level.RELEASED, now, "person", done=False), desk, now, [])


def _judge(asked: AutomaticRelease, memory: Memory) -> tuple[ReleaseRequest, Wanted]:
    """Return what the meter may have released, and whose word that is.

    Raises RefusedError where somebody else stopped, or spoke since.
    """
    wanted = memory.wanted()
    if not asked.windows:
        unfinished = {*asked.scopes} & {*memory.stopped_alone(releasing=True)}
        if unfinished and (wanted.level > Level.RELEASED or wanted.at is None or wanted.done):
            # Only what was released alone is left of it.
            scopes = tuple(map(parse_scope, sorted(unfinished)))
            reason = "finishing the release of what was stopped alone"
            return ReleaseRequest(reason, "the meter", account=False, scopes=scopes), wanted
        if wanted.level is not Level.RELEASED or wanted.at is None:
            msg = f"nothing was released: the last word is {wanted.level}, there is no release to finish"
            raise RefusedError(msg)
        reason = f"finishing the release of {wanted.at:%Y-%m-%d %H:%M} UTC"
        return ReleaseRequest(reason, "the meter"), replace(wanted, done=False)
    ends = wanted.level > Level.RELEASED and wanted.by == "meter" and bool(wanted.windows)
    if not ends or wanted.at is None or wanted.at > asked.at or not set(wanted.windows) <= set(asked.windows):
        msg = (
            f"nothing was released: the last word is {wanted.level} by {wanted.by or 'nobody known'}, "
            f"which the roll-over of {', '.join(asked.windows)} does not end"
        )
        raise RefusedError(msg)
    return ReleaseRequest(asked.reason, "the meter"), Wanted(Level.RELEASED, asked.at, "meter", done=False)


def _begin(memory: Memory, now: datetime, until: datetime) -> str | None:
    try:
        return memory.begin("release", now, until)
    except GuardrailError:
        # Without a ledger nobody knows who is at it; the person's word counts.
        return None


def _release(
    request: ReleaseRequest,
    word: Wanted,
    desk: ReleaseDesk,
    now: datetime,
    again: list[dict[str, Any]],
    *,
    quietly: bool = False,
) -> dict[str, Any]:
    """Release, tell, record. What a later word wants of the stop function goes into ``again``."""
    memory, at = desk.memory, word.at or now
    untold: dict[str, str] = {}
    if request.allowance is not None:
        _allow(request.allowance, desk, now, "released")
    warning = _over_limit(memory) if request.account and request.allowance is None and word.by == "person" else None
    scopes, unknown = _scopes(request, memory, desk.tools.brake)
    forgotten = unknown | _announce(request, word, scopes, desk, now, untold)
    outcome = undoing.release(desk.tools, account=request.account, alone=scopes)
    if _LEVEL in forgotten and not _say(lambda: memory.want(word, at), _LEVEL, untold):
        # The second try, after the effect: one call that fails must not have the meter stop again.
        del forgotten[_LEVEL]
    outcome.failed |= forgotten
    if not outcome.failed and not outcome.left:
        for each in scopes:
            _attempt(f"forget {each}", partial(memory.released_alone, str(each)), untold)
    if request.account and _overruled(desk, at, now, again, untold):
        # What was read back is that stop.
        outcome.failed = {what: why for what, why in outcome.failed.items() if not what.startswith("reading back")}
        request = replace(request, reason=f"{request.reason} (STOPPED again meanwhile, which is the last word)")
        answer = _tell(request, outcome, desk, now, warning, untold, quietly=quietly, overruled=True)
        return answer | {
            "summary": "STOPPED again: a stop was asked for while this release ran, and it is the last word."
        }
    if request.account and not outcome.failed and not outcome.left:
        _attempt("note that it is done", lambda: memory.want(replace(word, done=True), at), untold)
    return _tell(request, outcome, desk, now, warning, untold, quietly=quietly)


def _may_tell(desk: ReleaseDesk, now: datetime) -> bool:
    """Tell whether what the meter had finished may be mailed: each minute something may be left of a release."""
    try:
        return desk.memory.may_tell("a release is finished", now, by=now.isoformat(), unless_since=now - desk.again)
    except GuardrailError:
        return False  # the record and the log have it, and the release itself was mailed


def _tell_owners(request: ReleaseRequest, outcome: ports.Outcome, desk: ReleaseDesk, untold: dict[str, str]) -> None:
    if desk.owners is not None and not outcome.failed:
        whom, reason, by = desk.owners.whom, request.reason, request.by
        desk.owners.tell(
            request.scopes, lambda who: owner_notice(str(who), reason, stopped=False, by=by, whom=whom), untold
        )


_LEVEL = "remember the level"


def _allow(allowance: Allowance, desk: ReleaseDesk, now: datetime, what: str) -> None:
    if desk.limits and not any(allowance.raises(each, now) for each in desk.limits):
        window = f" a {allowance.window}" if allowance.window is not None else " but by the minute"
        there = ", ".join(map(str, desk.limits))
        msg = f"nothing was {what}: the allowance raises no limit, for guardrail.toml has none{window}; it has {there}"
        raise RefusedError(msg)
    try:
        desk.memory.add_allowance(allowance)
    except AwsCallError as error:
        otherwise = "release without one, or try again" if what == "released" else "try again"
        msg = f"nothing was {what}: the allowance cannot be kept ({error}); {otherwise}"
        raise RefusedError(msg) from error


def _change_allowances(asked: AllowRequest, desk: ReleaseDesk, now: datetime) -> dict[str, Any]:
    """Give an allowance, or end all that were given; tell, record and answer. Nothing is released by it."""
    untold: dict[str, str] = {}
    if asked.allowance is not None:
        _allow(asked.allowance, desk, now, "allowed")
        words = f"allowed ${asked.allowance.usd} more"
        told = f"Allowed: {asked.allowance.terms}."
    else:
        try:
            ended = desk.memory.end_allowances()
        except AwsCallError as error:
            msg = f"not every allowance was ended ({error}); try again"
            raise UnfinishedError(msg) from error
        words = "ended all allowances" if ended else ""
        told = f"{words.capitalize() or 'No allowance was left'}: the limits are those of guardrail.toml."
    standing = Standing()
    try:
        standing = desk.memory.memory(now)
        limits = as_raised(desk.limits, standing.allowances, now)
    except GuardrailError as error:
        limits = [f"unknown: {error}"]
    if words:
        notice = allowance_notice(words, asked.by, asked.reason, limits, desk.links)
        _attempt("mail", lambda: desk.post.send(notice), untold)
        body = {"allowance": told, "by": asked.by, "reason": asked.reason}
        _attempt("ledger", lambda: desk.memory.record("allowance", now, body), untold)
    stopped = standing.wanted.level > Level.RELEASED
    answer: dict[str, Any] = {
        "summary": told + (f" Nothing was released: Bedrock is still at {standing.wanted.level}." if stopped else ""),
        "limits": limits,
        "allowances": [str(each) for each in standing.allowances],
        "note": BUDGET_STAYS,
    }
    if standing.broken:
        answer["unreadable"] = list(standing.broken)
    if stopped:
        answer["to_release"] = {"confirm": "RELEASE", "reason": "why it is safe now"}
    return answer | ({"not_told": untold} if untold else {})


def _announce(
    request: ReleaseRequest,
    word: Wanted,
    scopes: Iterable[Scope],
    desk: ReleaseDesk,
    now: datetime,
    untold: dict[str, str],
) -> dict[str, str]:
    """Write the word before the effect, unlike everything else: else the meter could close again what it finds open.

    Returns what failed of it. Raises RefusedError when a later word stands.
    """
    memory = desk.memory
    failed: dict[str, str] = {}
    if request.account:
        failed |= _say(partial(_want, memory, word, word.at or now), _LEVEL, untold)
        # A figure that is incomplete holds the last verdict; a person's word is newer than that.
        _attempt("forget the meter's verdict", memory.forget_verdict, untold)
    for each in scopes:
        failed |= _say(partial(memory.release_alone, str(each), now), f"remember that {each} is released", untold)
    return failed


def _scopes(request: ReleaseRequest, memory: Memory, brake: ports.Brake) -> tuple[list[Scope], dict[str, str]]:
    """Return what is to be stopped alone no more: of everything, what the ledger says and what IAM has."""
    if not request.everything:
        return list(request.scopes), {}
    found: dict[str, Scope] = {}
    unknown: dict[str, str] = {}
    reads: dict[str, Callable[[], list[str]]] = {
        "read the ledger": lambda: [*memory.stopped_alone(), *memory.stopped_alone(releasing=True)],
        "read IAM": lambda: [
            *brake.holders(brake.deny_arn),
            *brake.members(brake.deny_arn),
            *(str(each) for arn in (brake.brake_arn, brake.sweep_arn) for each in brake.policy(arn).anywhere),
        ],
    }
    for what, read in reads.items():
        try:
            found |= {each: parse_scope(each) for each in read()}
        except GuardrailError as error:
            if isinstance(error, AwsCallError) and (what, error.code) == ("read the ledger", _NO_TABLE):
                continue  # nobody's word is in it any more, and IAM has what is denied
            unknown[f"{what} for what is stopped alone"] = str(error)
    return list(found.values()), unknown


def _tell(
    request: ReleaseRequest,
    outcome: ports.Outcome,
    desk: ReleaseDesk,
    now: datetime,
    warning: str | None,
    untold: dict[str, str],
    *,
    quietly: bool,
    overruled: bool = False,
) -> dict[str, Any]:
    """Mail, record and answer. A release that is only finished is news when it did something."""
    allowance = request.allowance
    words = allowance.terms if allowance else None
    whom = None if request.account else ", ".join(map(str, request.scopes))
    drilled = desk.canary != "" and whom == desk.canary
    if (outcome.done or not quietly) and not drilled:
        failed = outcome.failed | outcome.uncovered
        notice = release_notice(
            request.reason, request.by, outcome.words(), failed, words, desk.links, whom, overruled=overruled
        )
        if not quietly or _may_tell(desk, now):
            _attempt("mail", lambda: desk.post.send(notice), untold)
        if not (request.account or quietly) and outcome.done:
            _tell_owners(request, outcome, desk, untold)
        body = {
            "reason": request.reason,
            "by": request.by,
            "scope": whom,
            "allowance": words,
            # An item of the table holds 400 KB; the log has all of it.
            "done": list(outcome.words()[:_MAX_RECORDED]),
            "done_count": len(outcome.done),
            "failed": {what: why[:_MAX_REASON] for what, why in islice(outcome.failed.items(), _MAX_RECORDED)},
        }
        _attempt("ledger", lambda: desk.memory.record("release", now, body), untold)
    if outcome.failed or outcome.left:
        left = answers.in_short(outcome.failed)
        more = f" {outcome.left} steps had no time." if outcome.left else ""
        msg = f"NOT fully released, it goes on by itself each minute; or run release again: {left}{more}"
        raise UnfinishedError(msg)
    still = _still(desk) if request.account else []
    rest = "nothing is denied any more" if request.account and not still else "the rest stays as it is"
    summary = f"Released: {len(outcome.done)} steps done, {rest}."
    if not request.account and not outcome.done:
        names = ", ".join(map(str, request.scopes))
        summary, still = f"Nothing done: {names} was not stopped, by that name at least.", _still(desk)
    answer: dict[str, Any] = {
        "summary": summary,
        "done": list(outcome.words()),
        "allowance": words,
        "note": "Jobs that were stopped cannot be resumed; submit them again.",
    }
    if still:
        answer["still_stopped_alone"] = still
        answer["note"] += ' Release these with "scope", one by one, or "everything".'
    if warning:
        answer["warning"] = warning
    if outcome.uncovered:
        answer["not_put_back"] = outcome.uncovered
    if untold:
        answer["not_told"] = untold
    return answer


def _still(desk: ReleaseDesk) -> list[str]:
    """Return what stays stopped alone, as IAM has it, or in words that this is not known."""
    brake = desk.tools.brake
    try:
        denied = brake.holders(brake.deny_arn) | brake.members(brake.deny_arn)
        return [*sorted(denied), *map(str, brake.policy(brake.brake_arn).scopes)]
    except GuardrailError as error:
        return [f"unknown: {error}"]


def _overruled(
    desk: ReleaseDesk, at: datetime, now: datetime, again: list[dict[str, Any]], untold: dict[str, str]
) -> bool:
    """Have a stop that somebody asked for meanwhile brought about: the last word wins."""
    try:
        wanted = desk.memory.wanted()
    except GuardrailError as error:
        untold["look for a later word"] = str(error)
        return False
    if wanted.level is Level.RELEASED or wanted.at is None or wanted.at <= at:
        return False
    again.append(
        {
            "source": "meter",
            "at": now.isoformat(),
            "level": str(wanted.level),
            "reason": "asked for while a release was under way",
            "reassert": True,
        }
    )
    return True


def _want(memory: Memory, word: Wanted, at: datetime) -> None:
    if not memory.want(word, at):
        msg = "nothing was released: a stop was asked for meanwhile, and is the last word; see its mail first"
        raise RefusedError(msg)


def _say(call: Callable[[], object], what: str, untold: dict[str, str]) -> dict[str, str]:
    """Tell the ledger; return, as a failure of the release, what would have the meter stop again."""
    try:
        call()
    except AwsCallError as error:
        if error.code == "ResourceNotFoundException":
            # No ledger at all: there is nobody's word in it for the meter to act on either.
            untold[what] = str(error)
            return {}
        return {what: f"{error}: the meter may stop again within a minute"}
    return {}


def _over_limit(memory: Memory) -> str | None:
    """Say that the meter will stop again, where its last verdict is still above a warning."""
    try:
        latest = memory.latest_decision()
    except GuardrailError:
        return None
    if latest is None or latest.get("verdict") not in {"stop", "step-down"}:
        return None
    return (
        f"The meter's last word was {latest['verdict']}: {latest.get('reason')}. Unless that has changed it will act "
        'again within a minute; release with "allowance": {"usd": 50, "hours": 4} to let spending go on.'
    )


def _attempt(what: str, call: Callable[[], object], untold: dict[str, str]) -> None:
    try:
        call()
    except GuardrailError as error:
        untold[what] = str(error)
