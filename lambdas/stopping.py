"""Stopping from end to end: a request comes in, the account is stopped, people are told, the record is written.

The effect always comes first. The mail and the ledger may fail without holding it up; what failed is said.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Protocol

from lambdas import guardrail
from lambdas.core.errors import AwsCallError, RefusedError
from lambdas.core.levels import Level
from lambdas.core.limits import Ladder, Verdict
from lambdas.core.notice import Links, Notice, SpendSummary, StopReport, budget_notice, stop_notice
from lambdas.core.triggers import parse_budget_message

_MAX_RECORDED = 500


class Memory(Protocol):
    """The part of the ledger a stop writes. It may be down."""

    def want(self, level: Level, at: datetime) -> None:
        """Keep the level the brake is meant to have."""

    def wanted(self) -> Level:
        """Return the level the brake is meant to have."""

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
            return {"summary": "Nothing to do: the brake was released in the meantime."}
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


STALE = timedelta(seconds=90)
"""A request of the meter that waited longer is not carried out: the next one has been asked for by then, and a
retry from before somebody's release must not stop the account again."""


def parse_meter_request(event: object, now: datetime) -> StopRequest:
    """Read what the meter sends. Raises RefusedError for anything else, and for what is stale: nothing is done."""
    if not isinstance(event, Mapping) or event.get("source") != "meter":
        msg = (
            "this function takes requests of the meter and budget notifications; to stop by hand use the kill function"
        )
        raise RefusedError(msg)
    try:
        level = Level.named(event["level"])
        reason, reassert = event["reason"], event["reassert"]
        age = now - datetime.fromisoformat(event["at"])
    except (KeyError, ValueError, TypeError) as error:
        msg = f"a request of the meter that cannot be read ({error!r}): nothing was done; deploy the stack again"
        raise RefusedError(msg) from error
    if level is Level.RELEASED or not isinstance(reason, str) or not isinstance(reassert, bool):
        msg = f"a request of the meter for level {level}, reason {reason!r}: nothing was done"
        raise RefusedError(msg)
    if age > STALE:
        msg = f"a request of the meter from {age.total_seconds():.0f} s ago: nothing was done; newer ones follow it"
        raise RefusedError(msg)
    return StopRequest(level, reason, reassert, SpendSummary.from_json(event.get("spend")))


def judge_budget_message(
    text: str,
    *,
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
            level, f"AWS Budgets: ${figures.actual:.2f} of ${figures.budgeted:.2f} this month ({budget.name})"
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
    untold: dict[str, str] = {}
    level = request.level
    if request.reassert:
        level = _still_wanted(request, desk)
        if level is Level.RELEASED:
            return Result(None)
    report = guardrail.stop(level, request.reason, desk.tools, enforce=enforce)
    if enforce and not request.reassert:
        _attempt("remember the level", lambda: desk.memory.want(report.level, now), untold)
    # A stop that is on already, delivered twice or kept on, is news only when something had to be repaired.
    if report.done or not (request.reassert or report.complete):
        notice = stop_notice(report, request.spend, desk.links)
        _attempt("mail", lambda: desk.post.send(notice), untold)
    if report.done or not request.reassert:
        _attempt("ledger", lambda: desk.memory.record("stop", now, _record(report)), untold)
    return Result(report, untold)


def _still_wanted(request: StopRequest, desk: Desk) -> Level:
    """Return what IAM and the last word of a person want now: a release may have come since the meter looked.

    What cannot be read wants what was asked for.
    """
    try:
        return max(desk.tools.brake.levels().level, desk.memory.wanted())
    except AwsCallError:
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


def _attempt(what: str, call: Callable[[], None], untold: dict[str, str]) -> None:
    try:
        call()
    except AwsCallError as error:
        untold[what] = str(error)
