"""From tokens to dollars: what was spent in each open window, and how fast it burns."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from lambdas.core.prices import PriceTable
from lambdas.core.usage import Reading, Slot, merged
from lambdas.core.windows import Window

BURN_MINUTES = 5
"""The burn is the dearest of the last so many minutes: the newest ones are still filling up when they are read."""

_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Spend:
    """USD at a moment. An incomplete figure (``gaps``) is a lower bound and never lowers a verdict."""

    at: datetime
    burn: Decimal
    """USD a minute."""
    by_window: Mapping[Window, Decimal]
    """USD since the start of the hour, the day and the month."""
    by_model: Mapping[str, Decimal]
    """USD since the start of the day, the dearest first; names as CloudWatch has them, with their region."""
    guessed: Mapping[str, Decimal]
    """USD of the month that were priced by guess, by model id."""
    gaps: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Tell whether everything that should have been read was read."""
        return not self.gaps


def price_reading(reading: Reading, prices: PriceTable, burn_since: datetime | None = None) -> Spend:
    """Return what a reading amounts to.

    The reading has closed days of the month whole, the open day by the hour, and the open hour by the minute.
    CloudWatch may have minutes and hours at different times, so of an hour that both cover the larger counts.
    Minutes that began before ``burn_since`` do not count as burn: a release has answered them.
    """
    cost: dict[Slot, Decimal] = {}
    guessed: defaultdict[str, Decimal] = defaultdict(Decimal)
    month = Window.MONTH.start(reading.taken_at)
    for slot, count in merged(reading.samples).items():
        quote = prices.quote(slot.model, slot.start)
        cost[slot] = usd = quote.price.of(slot.kind) * count
        if quote.guessed and slot.seconds != _MINUTE and slot.start >= month:
            guessed[slot.model] += usd

    day = Window.DAY.start(reading.taken_at)
    hours = _periods(cost, day)
    by_model: defaultdict[str, Decimal] = defaultdict(Decimal)
    for (region, model, start), usd in hours.items():
        if start >= day:
            by_model[f"{model} ({region})"] += usd
    return Spend(
        at=reading.taken_at,
        burn=_burn(cost, reading.taken_at, burn_since),
        by_window={
            window: sum(
                (usd for (_, _, start), usd in hours.items() if start >= window.start(reading.taken_at)), Decimal(0)
            )
            for window in (Window.HOUR, Window.DAY, Window.MONTH)
        },
        by_model=dict(sorted(by_model.items(), key=lambda item: item[1], reverse=True)),
        guessed=dict(sorted(guessed.items())),
        gaps=reading.gaps,
    )


def _periods(cost: Mapping[Slot, Decimal], day: datetime) -> dict[tuple[str, str, datetime], Decimal]:
    """Return USD by (region, model, start of the hour); of a closed day, by the start of the day."""
    by_minute: defaultdict[Slot, Decimal] = defaultdict(Decimal)
    longer: defaultdict[Slot, Decimal] = defaultdict(Decimal)
    for slot, usd in cost.items():
        if slot.seconds != _MINUTE:
            longer[slot] += usd
        elif slot.start >= day:
            # Minutes of yesterday are in the closed day already; they are read for the burn alone.
            by_minute[slot._replace(start=Window.HOUR.start(slot.start), seconds=_HOUR)] += usd
    periods: defaultdict[tuple[str, str, datetime], Decimal] = defaultdict(Decimal)
    for slot in by_minute.keys() | longer.keys():
        periods[slot.region, slot.model, slot.start] += max(by_minute[slot], longer[slot])
    return periods


def _burn(cost: Mapping[Slot, Decimal], now: datetime, burn_since: datetime | None) -> Decimal:
    """Return the USD of the dearest of the last minutes."""
    since = Window.MINUTE.start(now) - timedelta(minutes=BURN_MINUTES)
    minutes: defaultdict[datetime, Decimal] = defaultdict(Decimal)
    for slot, usd in cost.items():
        if slot.seconds == _MINUTE and slot.start >= since and (burn_since is None or slot.start >= burn_since):
            minutes[slot.start] += usd
    return max(minutes.values(), default=Decimal(0))
