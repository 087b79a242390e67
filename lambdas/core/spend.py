"""From tokens to dollars: what was spent in each open window, and how fast it burns."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from lambdas.core.closed import ClosedDay
from lambdas.core.inventory import BY_THE_HOUR, Confidence, Inventory
from lambdas.core.prices import PriceTable
from lambdas.core.usage import MINUTE, Kind, Reading, Sample, Source, Tier
from lambdas.core.windows import Window

BURN_MINUTES = 5
"""The burn is the dearest of the last so many minutes: the newest ones are still filling up when they are read."""

SETTLED = timedelta(minutes=3)
"""After so long a minute is as good as complete; before, the account's sum may be ahead of its models."""

_A_FEW_CENTS = Decimal("0.05")

UNLISTED = "not listed yet"
"""Stands for the models whose usage only the account's sum shows, because CloudWatch does not list them yet."""


class Cost(NamedTuple):
    """USD, and the part of it that was priced by guess."""

    usd: Decimal
    guessed: Decimal

    def plus(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(self.usd + other.usd, self.guessed + other.guessed)


NOTHING = Cost(Decimal(0), Decimal(0))


INVENTORY_AGE = timedelta(hours=1)
"""An inventory that is older says too little; it is taken every 15 minutes."""


@dataclass(frozen=True, slots=True)
class Priced:
    """A reading in dollars. Regions are kept apart, because each closes its hours by itself."""

    at: datetime
    hours: Mapping[str, Mapping[datetime, Mapping[str, Cost]]]
    """By region, start of the hour and model."""
    minutes: Mapping[datetime, Decimal]
    """USD of the last minutes, all regions together."""
    dearest: Mapping[tuple[Source, Kind], Decimal] = field(default_factory=dict)
    """USD of one unit at the dearest price that some usage had."""
    gaps: tuple[str, ...] = ()
    by_minute: Mapping[datetime, Mapping[tuple[str, str], Decimal]] = field(default_factory=dict)
    """USD of the last minutes by model and region: whatever was used is there, though it cost nothing."""


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
    """USD of the month that were priced by guess, by model and region."""
    gaps: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Tell whether everything that should have been read was read."""
        return not self.gaps

    @property
    def guessed_percent(self) -> Decimal:
        """The share of the month that was priced by guess."""
        month = self.by_window[Window.MONTH]
        return sum(self.guessed.values(), Decimal(0)) * 100 / month if month else Decimal(0)


class _Slot(NamedTuple):
    """What one figure of usage is about: a model of a source, a kind of token, a period."""

    source: Source
    model: str
    kind: Kind
    start: datetime
    seconds: int


Behind = Callable[[str], Iterable[str]]
"""Which models may stand behind an id: a profile, a provisioned or an imported model."""


def priced(reading: Reading, prices: PriceTable, behind: Behind) -> Priced:
    """Return what a reading costs. Where several models may be behind an id, the dearest counts."""
    used = _counts(reading.samples)
    costs: list[tuple[_Slot, Cost]] = []
    dearest: defaultdict[tuple[Source, Kind], Decimal] = defaultdict(Decimal)
    # Times repeat a lot and prices change by the day: each question is asked once.
    answers: dict[tuple[str, str, Kind, Tier, date], tuple[Decimal, bool]] = {}
    for slot, tiers in used.items():
        usd = guessed = Decimal(0)
        for tier, count in tiers.items():
            question = (slot.source.region, slot.model, slot.kind, tier, slot.start.date())
            if question not in answers:
                answers[question] = _unit_price(question, slot.start, prices, behind)
            price, is_guess = answers[question]
            usd += price * count
            guessed += price * count if is_guess else 0
            dearest[slot.source, slot.kind] = max(price, dearest[slot.source, slot.kind])
        costs.append((slot, Cost(usd, guessed)))
    for slot, count in _unlisted(reading, used).items():
        price = prices.dearest(slot.start.date()).of(slot.kind)
        costs.append((slot, Cost(price * count, price * count)))
        dearest[slot.source, slot.kind] = price

    hours: dict[str, dict[datetime, dict[str, Cost]]] = {}
    minutes: defaultdict[datetime, Decimal] = defaultdict(Decimal)
    by_minute: defaultdict[datetime, defaultdict[tuple[str, str], Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for slot, cost in costs:
        label = f"{slot.model} ({slot.source.region})"
        hour = slot.start.replace(minute=0)
        models = hours.setdefault(slot.source.region, {}).setdefault(hour, {})
        models[label] = models.get(label, NOTHING).plus(cost)
        if slot.seconds == MINUTE:
            minutes[slot.start] += cost.usd
            if slot.kind is not Kind.CALLS and any(used.get(slot, {Tier.UNKNOWN: 1}).values()):
                by_minute[slot.start][slot.model, slot.source.region] += cost.usd
    return Priced(reading.taken_at, hours, minutes, dearest, reading.gaps, by_minute)


def spend_of(
    usage: Priced, closed: Sequence[ClosedDay], inventory: Inventory | None = None, burn_since: datetime | None = None
) -> Spend:
    """Return the spend of the open windows: closed hours, the hours read, and what the inventory adds to tokens.

    ``usage`` must hold, of each region, exactly the hours that are not closed. Minutes that began before
    ``burn_since`` do not count as burn: a release has answered them.
    """
    now = usage.at
    starts = {window: window.start(now) for window in (Window.HOUR, Window.DAY, Window.MONTH)}
    windows = dict.fromkeys(starts, Decimal(0))
    by_model: defaultdict[str, Decimal] = defaultdict(Decimal)
    guessed: defaultdict[str, Decimal] = defaultdict(Decimal)
    for start, label, cost in (*_closed_costs(closed), *_open_costs(usage)):
        # An hour ahead of the clock is usage all the same.
        for window, since in starts.items():
            if start >= since:
                windows[window] += cost.usd
        if start >= starts[Window.DAY]:
            by_model[label] += cost.usd
        if start >= starts[Window.MONTH] and cost.guessed:
            guessed[label] += cost.guessed
    burn, gaps = burn_of(usage.minutes, now, burn_since), usage.gaps
    if inventory is not None:
        burn += inventory.burn_usd_per_minute
        gaps += _inventory_gaps(inventory, now)
        for window, since in starts.items():
            windows[window] += sum(inventory.usd_between(since, now).values(), Decimal(0))
        by_model |= inventory.usd_by_item(starts[Window.DAY], now)
        if by_guess := inventory.usd_between(starts[Window.MONTH], now)[Confidence.GUESSED]:
            guessed["standing cost and jobs"] += by_guess
    return Spend(
        at=now,
        burn=burn,
        by_window=windows,
        by_model=dict(sorted(by_model.items(), key=lambda item: item[1], reverse=True)),
        guessed=dict(sorted(guessed.items())),
        gaps=gaps,
    )


def _inventory_gaps(inventory: Inventory, now: datetime) -> tuple[str, ...]:
    if now - inventory.at <= INVENTORY_AGE:
        return inventory.gaps
    return (*inventory.gaps, f"the inventory of standing cost is as of {inventory.at:%Y-%m-%d %H:%M} UTC")


def _closed_costs(closed: Iterable[ClosedDay]) -> Iterator[tuple[datetime, str, Cost]]:
    for day in closed:
        for label, usd in day.models.items():
            yield day.start, label, Cost(usd, day.guessed.get(label, Decimal(0)))


def _open_costs(usage: Priced) -> Iterator[tuple[datetime, str, Cost]]:
    for hours in usage.hours.values():
        for hour, models in hours.items():
            for label, cost in models.items():
                yield hour, label, cost


def burn_of(minutes: Mapping[datetime, Decimal], now: datetime, burn_since: datetime | None) -> Decimal:
    """Return the USD of the dearest of the last minutes."""
    since = Window.MINUTE.start(now) - timedelta(minutes=BURN_MINUTES)
    return max(
        (usd for start, usd in minutes.items() if start >= since and (burn_since is None or start >= burn_since)),
        default=Decimal(0),
    )


def closings(
    usage: Priced, closed: Sequence[ClosedDay], open_since: datetime, until: datetime, region: str
) -> list[ClosedDay]:
    """Return the days of a region with the hours from ``open_since`` to ``until`` closed, which are all read."""
    known = {day.day: day for day in closed if day.region == region}
    days: list[ClosedDay] = []
    start = open_since
    while start < until:
        end = min(Window.DAY.end(start), until)
        usd: defaultdict[str, Decimal] = defaultdict(Decimal)
        guessed: defaultdict[str, Decimal] = defaultdict(Decimal)
        for hour, models in usage.hours.get(region, {}).items():
            if start <= hour < end:
                for label, cost in models.items():
                    usd[label] += cost.usd
                    if cost.guessed:
                        guessed[label] += cost.guessed
        day = known.get(start.date()) or ClosedDay.open(start.date(), region)
        days.append(day.with_hours(end, usd, guessed))
        start = end
    return days


def open_hours(closed: Iterable[ClosedDay], region: str, first: datetime) -> datetime:
    """Return since when hours of a region are open, at the earliest since the start of a first day."""
    known = {day.start: day for day in closed if day.region == region}
    start = first
    while (day := known.get(start)) is not None and day.whole:
        start = day.end
    return start if day is None else day.until


def _counts(samples: Iterable[Sample]) -> dict[_Slot, dict[Tier, int]]:
    """Return counts by slot and tier. What the tiers do not explain of a model's usage has no known tier."""
    whole: defaultdict[_Slot, int] = defaultdict(int)
    parts: dict[_Slot, dict[Tier, int]] = {}
    for each in samples:
        series = each.series
        slot = _Slot(series.source, series.model, series.kind, each.start, each.seconds)
        if series.by_tier:
            tiers = parts.setdefault(slot, {})
            tiers[series.tier] = tiers.get(series.tier, 0) + each.count
        else:
            whole[slot] += each.count
    for slot, count in whole.items():
        tiers = parts.setdefault(slot, {})
        rest = count - sum(tiers.values())
        if rest > 0:
            tiers[Tier.UNKNOWN] = tiers.get(Tier.UNKNOWN, 0) + rest
    return parts


def unlisted(reading: Reading, prices: PriceTable) -> dict[Source, set[Kind]]:
    """Return the kinds of usage, by source, that no model explains and that would cost more than a few cents."""
    found: defaultdict[Source, set[Kind]] = defaultdict(set)
    usd: defaultdict[Source, Decimal] = defaultdict(Decimal)
    for slot, count in _unlisted(reading, _counts(reading.samples)).items():
        found[slot.source].add(slot.kind)
        usd[slot.source] += prices.dearest(slot.start.date()).of(slot.kind) * count
    return {source: kinds for source, kinds in found.items() if usd[source] > _A_FEW_CENTS}


def _unlisted(reading: Reading, used: Mapping[_Slot, Mapping[Tier, int]]) -> dict[_Slot, int]:
    """Return what the account's own sums show and no model explains.

    In a minute that still fills up the sum may be ahead of its models: of such a minute only what is beyond the
    busiest minute of the models is taken at once. Where models were not read in full the sum proves nothing.
    """
    explained: defaultdict[tuple[Source, Kind, datetime, int], int] = defaultdict(int)
    for slot, tiers in used.items():
        explained[slot.source, slot.kind, slot.start, slot.seconds] += sum(tiers.values())
    busiest: defaultdict[tuple[Source, Kind], int] = defaultdict(int)
    for (source, kind, _, seconds), count in explained.items():
        if seconds == MINUTE:
            busiest[source, kind] = max(count, busiest[source, kind])
    found: dict[_Slot, int] = {}
    for each in reading.totals:
        source, kind = each.series.source, each.series.kind
        if source in reading.incomplete or kind is Kind.CALLS:
            continue
        rest = each.count - explained[source, kind, each.start, each.seconds]
        if each.seconds == MINUTE and each.start + timedelta(minutes=1) + SETTLED > reading.taken_at:
            rest -= busiest[source, kind]
        if rest > 0:
            found[_Slot(source, UNLISTED, kind, each.start, each.seconds)] = rest
    return found


def _unit_price(
    question: tuple[str, str, Kind, Tier, date], at: datetime, prices: PriceTable, behind: Behind
) -> tuple[Decimal, bool]:
    region, model, kind, tier, _ = question
    models = [each for each in behind(model) if each != BY_THE_HOUR]
    if not models:
        return Decimal(0), False  # billed by its copies, which the inventory counts
    quotes = [prices.quote(each, at, tier, region=region) for each in models]
    return max(quote.price.of(kind) for quote in quotes), any(quote.guessed for quote in quotes)
