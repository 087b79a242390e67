"""The shell of the guardrail's own cost: count → price → keep, twice a day, for the status to tell."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from lambdas.core.errors import AwsCallError
from lambdas.core.own_cost import KEPT, estimate, month_share

AGAIN = timedelta(hours=12)
"""To count costs something, too."""

ASKED = "metrics-asked"
"""Under this name the ledger counts what CloudWatch was asked for."""


class Usage(Protocol):
    """What AWS counted of us."""

    def counted(self, now: datetime) -> Mapping[str, Decimal]:
        """Return what was used since the start of the month, by what is paid for."""

    def alarms(self, regions: Iterable[str], now: datetime) -> tuple[Decimal, Sequence[str]]:
        """Return the month's share of all alarms, and in words where they are not known."""

    def dashboards(self, now: datetime) -> Decimal:
        """Return the month's share of dashboards that are paid."""


class Ledger(Protocol):
    """Where it is kept."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document kept under a name, None when there is none."""

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document under a name in place of the one before."""

    def counted(self, what: str, month: datetime) -> int:
        """Return what was counted in the month of the moment."""


@dataclass(frozen=True, slots=True)
class AccountingTools:
    """All it needs."""

    usage: Usage
    ledger: Ledger
    regions: tuple[str, ...]
    """Those with a stack of ours."""
    encrypted: bool
    """Whether there is a key of our own."""


def keep_own_cost(now: datetime, tools: AccountingTools) -> Mapping[str, Any]:
    """Return what the guardrail has cost this month; estimated anew, and kept, when the last time is long ago.

    What cannot be counted is a gap in it, and it is tried again the next time. Raises GuardrailError when the ledger
    is down.
    """
    kept = tools.ledger.kept(KEPT)
    if kept is not None and _is_fresh(kept, now):
        return kept
    gaps: list[str] = []
    amounts: dict[str, Decimal] = {"ce:request": Decimal(now.day), "key": month_share(now) * tools.encrypted}
    # The same is paid for a metric that is read and for a page of a listing.
    amounts["cloudwatch:GetMetricData metric"] = Decimal(tools.ledger.counted(ASKED, now))
    try:
        amounts |= tools.usage.counted(now)
    except AwsCallError as error:
        gaps.append(f"metrics of our own functions, logs and ledger ({error.code})")
    amounts["alarm"], unread = tools.usage.alarms(tools.regions, now)
    gaps += unread
    try:
        amounts["dashboard"] = tools.usage.dashboards(now)
    except AwsCallError as error:
        gaps.append(f"dashboards ({error.code})")
    found = estimate(amounts, gaps, now)
    tools.ledger.keep(KEPT, found)
    return found


def _is_fresh(kept: Mapping[str, Any], now: datetime) -> bool:
    """Tell whether an estimate still holds: a new month begins at nothing."""
    try:
        at = datetime.fromisoformat(kept["at"])
    except (KeyError, TypeError, ValueError):
        return False
    return now - at < AGAIN and (at.year, at.month) == (now.year, now.month)


def keep_count(number: int, keep: Callable[[str, int, datetime], None], now: datetime) -> int:
    """Keep that so many more were asked for; return how many were kept, which is none while the ledger is down."""
    if not number:
        return 0
    try:
        keep(ASKED, number, now)
    except AwsCallError:
        # Whoever counts goes on counting; that the ledger is down others tell.
        return 0
    return number
