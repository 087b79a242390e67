"""Stopping from end to end: a request comes in, the account is stopped, people are told, the record is written.

The effect always comes first. The mail and the ledger may fail without holding it up; what failed is said.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Protocol

from lambdas import guardrail
from lambdas.core.errors import GuardrailError, RefusedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Ladder, Verdict
from lambdas.core.notice import Links, Notice, SpendSummary, StopReport, budget_notice, stop_notice
from lambdas.core.triggers import parse_budget_message

_MAX_RECORDED = 500


class Memory(Protocol):
    """The part of the ledger a stop writes. It may be down."""

    def want(self, level: Level, at: datetime) -> bool:
        """Keep the level the brake is meant to have from a moment on; False when a later word stands already."""

    def wanted(self) -> Wanted:
        """Return the level the brake is meant to have."""

    def last(self, kind: str) -> Mapping[str, Any] | None:
        """Return the newest record of a kind."""

    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        """Keep what was done."""


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """USD of the budget's period so far, and the budgeted USD. AWS refreshes them up to three times a day."""

    actual: Decimal
    budgeted: Decimal


class Budget(Protocol):
    """The budget that confirms its own notifications."""

    name: str

    def figures(self) -> BudgetFigures:
        """Return what AWS knows now."""


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


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a stop is carried out with."""

    tools: guardrail.StopTools
    post: guardrail.Post
    memory: Memory
    links: Links


@dataclass(frozen=True, slots=True)
class Result:
    """What happened, and what of the telling did not work."""

    report: StopReport | None
    """None when nothing was left to do."""
    untold: Mapping[str, str] = field(default_factory=dict)

    def answer(self, links: Links) -> dict[str, Any]:
        """Return it as the console shows it: the first field says in words what happened."""
        if self.report is None:
            return {"summary": "Nothing done: a person has released the brake since this was asked for."}
        report = self.report
        answer: dict[str, Any] = {
            "summary": report.headline,
            "level": str(report.level),
            "reason": report.reason,
            "done": list(report.done),
            "failed": dict(report.failed),
            "not_stopped": dict(report.uncovered),
            "armed_principals_reached_by_one_switch": report.armed,
            "release": links.release,
        }
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
        at = datetime.fromisoformat(event["at"])
    except (KeyError, ValueError, TypeError) as error:
        msg = f"a request of the meter that cannot be read ({error!r}): nothing was done; deploy the stack again"
        raise RefusedError(msg) from error
    if level is Level.RELEASED or at.tzinfo is None or not isinstance(reason, str) or not isinstance(reassert, bool):
        msg = f"a request of the meter for level {level}, reason {reason!r}: nothing was done"
        raise RefusedError(msg)
    return StopRequest(level, reason, at, reassert, SpendSummary.from_json(event.get("spend")))


def judge_budget_message(
    text: str,
    *,
    at: datetime,
    account_id: str,
    budget: Budget,
    ladder: Ladder,
    tell: Callable[[Notice], None],
    links: Links,
) -> StopRequest | None:
    """Turn a budget notification into a request, or None when it calls for no stop.

    The message is only a reason to ask the budget itself; what the budget answers is judged by the ladder, so a
    forged or repeated message can do no more than have AWS asked again. Raises RefusedError for a message about
    something else, and whatever the budget raises: then the call is tried again and its alarm fires.
    """
    claim = parse_budget_message(text, account_id=account_id, budget_name=budget.name)
    figures = budget.figures()
    verdict = ladder.verdict(figures.actual * 100 / figures.budgeted)
    level = Level.for_verdict(verdict)
    if level > Level.RELEASED:
        return StopRequest(
            level, f"AWS Budgets: ${figures.actual:.2f} of ${figures.budgeted:.2f} this month ({budget.name})", at
        )
    if verdict is Verdict.WARN or claim.alert_type == "FORECASTED":
        tell(budget_notice(figures.actual, figures.budgeted, claim.alert_type or "actual", links))
        return None
    msg = (
        f"budget notification not confirmed: {budget.name} stands at ${figures.actual:.2f} of "
        f"${figures.budgeted:.2f}, below every rung; nothing was done"
    )
    raise RefusedError(msg)


def carry_out(request: StopRequest, desk: Desk, now: datetime, *, enforce: bool) -> Result:
    """Stop, tell, record. Never raises for a failed call; `Result` has it."""
    level = _still_wanted(request, desk)
    if level is Level.RELEASED:
        return Result(None)
    report = guardrail.stop(level, request.reason, desk.tools, enforce=enforce)
    return _finish(request, report, desk, now, owed=_mail_is_owed(desk.memory))


def kill(request: StopRequest, desk: Desk, now: datetime) -> Result:
    """Stop on a person's word: nothing is asked first, neither the ledger nor the mode."""
    report = guardrail.stop(request.level, request.reason, desk.tools, enforce=True)
    return _finish(request, report, desk, now, owed=False)


def _finish(request: StopRequest, report: StopReport, desk: Desk, now: datetime, *, owed: bool) -> Result:
    """Remember the level, tell people, write the record: what failed of it is in the result."""
    untold: dict[str, str] = {}
    if report.enforced and not request.reassert:
        _attempt("remember the level", lambda: desk.memory.want(report.level, request.at), untold)
    # A stop that is on already, delivered twice or kept on, is news only when something had to be repaired, or
    # when the mail about it did not go out.
    news = bool(report.done) or not (request.reassert or report.complete)
    if news or owed:
        notice = stop_notice(report, request.spend, desk.links)
        _attempt("mail", lambda: desk.post.send(notice), untold)
        news = True
    if news or not request.reassert:
        body = _record(report) | {"mailed": "mail" not in untold}
        _attempt("ledger", lambda: desk.memory.record("stop", now, body), untold)
    return Result(report, untold)


def _mail_is_owed(memory: Memory) -> bool:
    try:
        last = memory.last("stop")
    except GuardrailError:
        return False
    return last is not None and last.get("mailed") is False


def _still_wanted(request: StopRequest, desk: Desk) -> Level:
    """Return the level to act for; released when a person has released the brake since it was asked for.

    To keep the brake on means what IAM and the last word want now. What cannot be read wants what was asked for.
    """
    try:
        wanted = desk.memory.wanted()
        if wanted.released_after(request.at):
            return Level.RELEASED
        return max(desk.tools.brake.levels().level, wanted.level) if request.reassert else request.level
    except GuardrailError:
        return request.level


def _record(report: StopReport) -> dict[str, Any]:
    return {
        "level": str(report.level),
        "reason": report.reason,
        "enforced": report.enforced,
        "before": dict(report.before),
        # An item of the table holds 400 KB; the log has all of them.
        "done": list(report.done[:_MAX_RECORDED]),
        "done_count": len(report.done),
        "failed": dict(islice(report.failed.items(), _MAX_RECORDED)),
        "not_stopped": dict(islice(report.uncovered.items(), _MAX_RECORDED)),
        "armed": report.armed,
        "verified": report.verified,
    }


def _attempt(what: str, call: Callable[[], object], untold: dict[str, str]) -> None:
    try:
        call()
    except GuardrailError as error:
        untold[what] = str(error)
