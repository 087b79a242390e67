"""The bill's word, late but independent: AWS Budgets and Cost Anomaly Detection, judged into a stop, a mail or nothing.

A message is only a reason to look. What AWS Budgets itself answers is held against the meter before anything is done
on it that does not come back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from lambdas.core.anomaly import anomaly_notice, parse_anomaly
from lambdas.core.budget_message import (
    FORECASTED,
    BudgetClaim,
    BudgetFigures,
    budget_warning,
    parse_budget_message,
)
from lambdas.core.errors import GuardrailError, RefusedError
from lambdas.core.levels import Level
from lambdas.core.limits import Ladder, Margin, Verdict
from lambdas.core.notice import Links, Notice
from lambdas.core.plausible import is_implausible, metered_this_month
from lambdas.core.windows import Window
from lambdas.stopping import StopRequest

_ONE_ANOMALY = timedelta(days=90)
"""An anomaly that grows is told of again by AWS; for so long it is the same one. Its history is kept that long."""


class Budget(Protocol):
    """A budget that confirms its own notifications."""

    name: str
    window: Window

    def figures(self, now: datetime) -> BudgetFigures:
        """Return what AWS knows now. Raises GuardrailError."""


class Memory(Protocol):
    """The part of the ledger that is asked. It may be down."""

    def latest_decision(self) -> Mapping[str, Any] | None:
        """Return what the meter last decided."""

    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        """Say that people are told of something now; False when they were since then, for another event."""


@dataclass(frozen=True, slots=True)
class BillTools:
    """All that is needed to judge what the bill says."""

    account_id: str
    budgets: tuple[Budget, ...]
    ladder: Ladder
    memory: Memory
    tell: Callable[[Notice], None]
    links: Links
    monitor_arn: str = ""
    """The monitor whose anomalies count; empty when none does."""
    least_usd: Decimal = Decimal(0)
    """The impact from which on they do."""
    steps_down: bool = False
    """Whether an anomaly steps down; otherwise it only warns."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What one budget's figures call for: a request, a mail, or neither."""

    words: str
    request: StopRequest | None = None
    notice: Notice | None = None


def judge_budget_messages(
    messages: Sequence[tuple[str, datetime]], tools: BillTools, now: datetime
) -> StopRequest | None:
    """Turn notifications, each with when it was sent, into the request that goes furthest; None when people were told.

    A message that names no budget of ours is about all of them. Forged or repeated it can do no more than have AWS
    asked again. Raises RefusedError when nothing in them is about us or none is confirmed; and what a budget raised,
    when no request comes of the others: then the call is tried again and its alarm fires.
    """
    claims: list[tuple[BudgetClaim, datetime]] = []
    refused: list[str] = []
    windows = {each.name: each.window for each in tools.budgets}
    for text, sent in messages:
        try:
            claims.append((parse_budget_message(text, account_id=tools.account_id, windows=windows), sent))
        except RefusedError as error:
            refused.append(str(error))
    judged: list[_Judged] = []
    failed: list[GuardrailError] = []
    metered = _Metered(tools.memory, now)
    for budget in tools.budgets:
        about = [each for each in claims if _is_about(each[0], budget, tools.budgets)]
        try:
            figures = budget.figures(now) if about else None
        except GuardrailError as error:
            failed.append(error)
            continue
        judged += [_judge(claim, sent, budget, figures, metered, tools) for claim, sent in about if figures is not None]
    requests = [each.request for each in judged if each.request is not None]
    if requests:
        return max(requests, key=lambda each: (each.level, not each.reversible_only))
    notices = [each.notice for each in judged if each.notice is not None]
    for notice in notices:
        tools.tell(notice)
    if failed:
        raise failed[0]
    if not notices:
        raise RefusedError("; ".join([*refused, *(each.words for each in judged)]) or "no budget notification in it")
    return None


def _is_about(claim: BudgetClaim, budget: Budget, budgets: Sequence[Budget]) -> bool:
    if claim.budget_name is not None:
        return claim.budget_name == budget.name
    return claim.window in {None, budget.window} or claim.window not in {each.window for each in budgets}


def _judge(
    claim: BudgetClaim, sent: datetime, budget: Budget, figures: BudgetFigures, metered: "_Metered", tools: BillTools
) -> _Judged:
    verdict = tools.ladder.verdict(figures.percent)
    level = Level.for_verdict(verdict)
    implausible = is_implausible(figures.actual, figures.budgeted, metered.usd)
    forecasted = claim.alert_type == FORECASTED
    said = claim.said(figures.forecast if forecasted and figures.forecast is not None else figures.actual)
    doubt = f"that is implausible beside {metered.words}" if implausible else ""
    # A forecast is repeated, and would stop again what a person has released: it only warns.
    if level > Level.RELEASED and not forecasted:
        harmless = "so nothing is ended that does not come back" if implausible and level is Level.STOP else ""
        remarks = ", ".join(each for each in (doubt, harmless, said) if each)
        reason = f"AWS Budgets: {figures} ({budget.name})" + (f"; {remarks}" if remarks else "")
        margin = Margin(budget.name, figures.budgeted, figures.actual)
        return _Judged(
            reason, StopRequest(level, reason, sent, by="budget", over=(margin,), reversible_only=implausible)
        )
    if verdict > Verdict.OK or forecasted:
        remarks = ", ".join(each for each in (doubt, said) if each)
        return _Judged(
            "", notice=budget_warning(figures, budget.name, claim.alert_type or "actual", remarks, tools.links)
        )
    remarks = f" ({said})" if said else ""
    return _Judged(
        f"budget notification not confirmed: {budget.name} stands at {figures}, below every rung{remarks}; "
        "nothing was done"
    )


def judge_anomaly(event: Mapping[str, Any], tools: BillTools, now: datetime) -> StopRequest | None:
    """Turn an event of Cost Anomaly Detection into a request to step down; None when people were told, or need not be.

    Each anomaly counts once, though AWS tells of it again as it grows. Raises RefusedError for what is not ours.
    """
    if not tools.monitor_arn:
        msg = "an event of Cost Anomaly Detection, which [anomalies] in guardrail.toml leaves alone: ignored"
        raise RefusedError(msg)
    anomaly = parse_anomaly(
        event, account_id=tools.account_id, monitor_arn=tools.monitor_arn, least_usd=tools.least_usd
    )
    if anomaly is None:
        return None
    try:
        told = not tools.memory.may_tell(
            f"anomaly {anomaly.id}", now, by=anomaly.event_id, unless_since=now - _ONE_ANOMALY
        )
    except GuardrailError:
        told = False
    if told:
        return None
    metered = _Metered(tools.memory, now)
    implausible = is_implausible(anomaly.impact_usd, tools.least_usd, metered.usd)
    if tools.steps_down and not implausible:
        return StopRequest(Level.STEP_DOWN, f"Cost Anomaly Detection: {anomaly}", anomaly.at, by="anomaly")
    remarks = f"that is implausible beside {metered.words}" if implausible else ""
    tools.tell(anomaly_notice(anomaly, remarks, tools.links))
    return None


class _Metered:
    """What the meter has of this month; asked once, and only by whom a figure makes ask."""

    def __init__(self, memory: Memory, now: datetime) -> None:
        self.usd: Decimal | None = None
        self.words = "what was configured (the meter has no figure of this month)"
        try:
            self.usd = metered_this_month(memory.latest_decision(), now)
        except GuardrailError as error:
            self.words = f"what was configured (the meter could not be asked: {error})"
        if self.usd is not None:
            self.words = f"the ${self.usd:,.2f} the meter has of this month"
