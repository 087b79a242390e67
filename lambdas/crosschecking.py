"""The daily cross-check: gather closed days and the bill → compare → tell → keep. Changes nothing but its record."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from lambdas.core.closed import ClosedDay
from lambdas.core.crosscheck import Bill, CrossCheck, MeteredDay, compare, days_to_compare, is_due
from lambdas.core.errors import GuardrailError, LedgerItemError
from lambdas.core.notice import Links, Notice, crosscheck_notice

_LACKING = "the meter's figure lacks provisioned throughput, copies, endpoints and jobs"

KEPT = "crosscheck"
"""Under this name the ledger keeps the last result."""


class Ledger(Protocol):
    """What the meter has closed, and where the result is kept."""

    def closed_days(self, first: date, last: date) -> Sequence[ClosedDay]:
        """Return the days from the first to the last that have closed hours."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document kept under a name, None when there is none."""

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document under a name in place of the one before."""


class Billing(Protocol):
    """The bill; a run may ask for so much of it and no more."""

    def by_service(self, first: date, last: date) -> Bill:
        """Return the days from the first to the last (inclusive) by service."""

    def by_model(self, first: date, last: date) -> Bill:
        """Return the same days by service and model."""


class Inventory(Protocol):
    """What costs without showing in tokens, and the models behind ids."""

    @property
    def gaps(self) -> tuple[str, ...]:
        """In words what could not be read."""

    def usd_by_item(self, start: datetime, end: datetime) -> Mapping[str, Decimal]:
        """Return the USD of each item between two moments."""

    def models_behind(self, model_id: str) -> tuple[str, ...]:
        """Return the models behind an id; itself, when nothing else is known."""


@dataclass(frozen=True, slots=True)
class CrossCheckTools:
    """All a run needs."""

    ledger: Ledger
    billing: Billing
    inventory: Callable[[Mapping[str, Any]], Inventory]
    """How to read the inventory the ledger keeps."""
    factor: Decimal
    """What the meter's prices are multiplied by now."""
    links: Links
    send: Callable[[Notice], None]


def cross_check(now: datetime, tools: CrossCheckTools) -> Mapping[str, Any]:
    """Compare once and return what is kept of it. Run again on the same UTC day, it answers with that and asks nobody.

    Raises GuardrailError, with nothing kept, when a side could not be read; tomorrow's run repeats it.
    """
    before = _before(tools.ledger)
    if before is not None and str(before.get("at", ""))[:10] == now.date().isoformat():
        return before
    found = _compare(now, tools)
    told = before.get("told") if before is not None else None
    if is_due(found, before, now):
        tools.send(crosscheck_notice(found, tools.links))
        told = now.isoformat()
    # After the mail: a run that fails before this line is repeated whole.
    body = {"at": now.isoformat(), **found.to_json(), "told": told}
    tools.ledger.keep(KEPT, body)
    return body


def _compare(now: datetime, tools: CrossCheckTools) -> CrossCheck:
    first, last = days_to_compare(now)
    inventory, notes = _inventory(tools)
    metered = _metered(tools.ledger.closed_days(first, last), inventory)

    def compared(bill: Bill, *more: str) -> CrossCheck:
        return compare(
            first,
            last,
            metered=metered,
            bill=bill,
            factor=tools.factor,
            behind=(lambda model: (model,)) if inventory is None else inventory.models_behind,
            standing_known=not notes,
            notes=(*notes, *more),
        )

    if not metered:
        return compared(Bill([]))  # not worth a request
    days = metered[0].day, metered[-1].day
    bill = tools.billing.by_service(*days)
    found = compared(bill)
    if not found.agreement.drifts:
        return found
    try:
        by_model = tools.billing.by_model(*days)
    except GuardrailError as error:
        # The verdict stands without it; only where the drift comes from is told less well.
        return compared(bill, f"the models on the bill are not known ({error})")
    return compared(bill.with_models(by_model), *by_model.gaps)


def _metered(closed: Sequence[ClosedDay], inventory: Inventory | None) -> list[MeteredDay]:
    """Return the days all of whose parts are closed whole; the meter closes each region by itself."""
    parts: defaultdict[date, list[ClosedDay]] = defaultdict(list)
    for each in closed:
        parts[each.day].append(each)
    days: list[MeteredDay] = []
    for day, regions in sorted(parts.items()):
        if all(each.whole for each in regions):
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            # A label names its region, so that nothing of another region is overwritten.
            models = {label: usd for each in regions for label, usd in each.models.items()}
            standing = {} if inventory is None else inventory.usd_by_item(start, start + timedelta(days=1))
            days.append(MeteredDay(day, models, standing))
    return days


def _before(ledger: Ledger) -> Mapping[str, Any] | None:
    try:
        return ledger.kept(KEPT)
    except LedgerItemError:
        return None  # it is about to be replaced


def _inventory(tools: CrossCheckTools) -> tuple[Inventory | None, tuple[str, ...]]:
    """Return the inventory, and in words what it lacks."""
    try:
        body = tools.ledger.kept("inventory")
        inventory = None if body is None else tools.inventory(body)
    except (LedgerItemError, ValueError, KeyError, TypeError) as error:
        return None, (f"{_LACKING} (the inventory cannot be read: {error!r})",)
    if inventory is None:
        return None, (f"{_LACKING} (there is no inventory yet)",)
    return inventory, tuple(
        f"the meter's figure lacks what the inventory could not read: {gap}" for gap in inventory.gaps
    )
