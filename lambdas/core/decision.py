"""The decision: from spend, limits and allowances to a verdict with its reason. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from lambdas.core.limits import Allowance, Limit, Margin, Verdict, raised_usd
from lambdas.core.spend import Spend
from lambdas.core.windows import Window


@dataclass(frozen=True, slots=True)
class Finding:
    """How one limit stands."""

    limit: Limit
    allowed_usd: Decimal
    """The limit with its allowances."""
    spent_usd: Decimal
    projected_usd: Decimal
    """What will have been spent by the time a stop that begins now takes hold."""
    verdict: Verdict

    @property
    def margin(self) -> Margin:
        """How far the limit is reached."""
        return Margin(str(self.limit), self.allowed_usd, self.projected_usd)

    @property
    def percent(self) -> Decimal:
        """Projected spend as a percentage of what is allowed."""
        return self.projected_usd * 100 / self.allowed_usd

    def __str__(self) -> str:
        """Return the words for people."""
        raised = f" raised to ${self.allowed_usd:.2f}" if self.allowed_usd != self.limit.usd else ""
        if self.limit.window is Window.MINUTE:
            return f"${self.spent_usd:.2f} a minute of {self.limit}{raised}"
        return f"${self.spent_usd:.2f} of {self.limit}{raised}, ${self.projected_usd:.2f} with usage on its way"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, why, and every limit as it stands, the most severe first."""

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]
    at: datetime


def decide(
    spend: Spend,
    limits: Iterable[Limit],
    allowances: Iterable[Allowance],
    previous: Verdict,
    reaction: timedelta,
    now: datetime,
) -> Decision:
    """Judge spend by the limits.

    What is on its way counts: a limit trips when spend + burn x reaction time reaches it. An incomplete spend
    is a lower bound, so it can raise the previous verdict but never lower it.
    """
    granted = tuple(allowances)
    findings = sorted(
        (_finding(spend, limit, granted, reaction, now) for limit in limits),
        key=lambda each: (each.verdict, each.percent),
        reverse=True,
    )
    worst = findings[0] if findings else None
    verdict = worst.verdict if worst else Verdict.OK
    reason = str(worst) if worst and verdict > Verdict.OK else "within every limit"
    if not spend.complete and previous > verdict:
        return Decision(
            previous, f"held at {previous}: the reading is incomplete ({'; '.join(spend.gaps)})", tuple(findings), now
        )
    if not spend.complete:
        reason += f" (at least: {'; '.join(spend.gaps)})"
    return Decision(verdict, reason, tuple(findings), now)


def _finding(
    spend: Spend, limit: Limit, allowances: tuple[Allowance, ...], reaction: timedelta, now: datetime
) -> Finding:
    allowed = raised_usd(limit, allowances, now)
    if limit.window is Window.MINUTE:
        spent = projected = spend.burn
    else:
        spent = spend.by_window[limit.window]
        projected = spent + spend.burn * Decimal(reaction.total_seconds()) / 60
    verdict = limit.ladder.verdict(projected * 100 / allowed)
    return Finding(limit, allowed, spent, projected, verdict)
