"""A full read: from the series CloudWatch lists to the spend of every window, and the hours it closes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol, TypeVar

from lambdas.core import pace
from lambdas.core.closed import ClosedDay
from lambdas.core.errors import GuardrailError
from lambdas.core.inventory import Inventory
from lambdas.core.model_ids import callable_in
from lambdas.core.pace import Watch
from lambdas.core.prices import PriceTable
from lambdas.core.spend import Priced, Spend, closings, open_hours, priced, spend_of, unlisted
from lambdas.core.usage import Kind, Look, Reading, Series, Source, Tier
from lambdas.core.windows import Window

T = TypeVar("T")

LISTED_BY = timedelta(minutes=20)
"""CloudWatch lists a new series within 15 minutes; what it does not list then is looked for again."""
PROBE_AGAIN = timedelta(minutes=5)
"""Models that are not listed are looked for by name at most so often: it asks for some 700 metrics."""
NAMESPACES = ("AWS/Bedrock", "AWS/BedrockMantle")
"""The inference planes."""

SETTLED_HOURS = timedelta(hours=1)
"""An hour is closed when it has been over for so long: CloudWatch fills in late, and hardly ever that late."""


class Usage(Protocol):
    """Where usage is read."""

    def listed(self, sources: Iterable[Source]) -> tuple[Sequence[Series], Mapping[Source, str]]:
        """Return the series CloudWatch lists now, and in words which sources could not be listed."""

    def glance(self, looks: Mapping[Source, Look], now: datetime) -> Reading:
        """Return the account's own sums of some kinds, by the minute."""

    def read(self, series: Iterable[Series], open_since: Mapping[Source, datetime], now: datetime) -> Reading:
        """Return the usage of series, and the account's own sums, of each source since a full hour."""

    def probe(self, source: Source, models: Iterable[str], kinds: Iterable[Kind], now: datetime) -> Sequence[Series]:
        """Return all series of those models that show usage of a kind lately, listed or not."""


class Books(Protocol):
    """The part of the ledger that a full read needs."""

    def known_series(self, month: datetime) -> frozenset[Series]:
        """Return the series seen in the month: what can be read when CloudWatch does not list."""

    def remember_series(self, month: datetime, series: Iterable[Series]) -> None:
        """Add series to those of the month."""

    def closed_days(self, first: date, last: date) -> Sequence[ClosedDay]:
        """Return, of each region, the days that have closed hours."""

    def close(self, day: ClosedDay, *, closed_before: datetime) -> bool:
        """Keep a day with more hours closed; False when another run closed hours meanwhile."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the ``inventory``, None when none was taken yet."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a full read needs."""

    usage: Usage
    ledger: Books
    prices: PriceTable
    gaps: tuple[str, ...] = ()
    """What is wrong with the prices, in words."""
    remembered: set[tuple[datetime, Series]] = field(default_factory=set)
    """The series this warm function has put into the ledger, by month."""
    by_name: dict[Series, datetime] = field(default_factory=dict)
    """The series this warm function found by their names before they were listed, and when."""
    probed: dict[Source, datetime] = field(default_factory=dict)
    """When models that are not listed were last looked for by name."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a full read brought."""

    usage: Priced
    spend: Spend
    watch: Watch
    """What it leaves for the ticks after it."""
    closed: Sequence[ClosedDay]
    open_since: Mapping[Source, datetime]
    """The sources that were read, each since its first open hour."""
    incomplete: frozenset[Source]
    behind: Callable[[str], Iterable[str]]
    """Which models may stand behind an id."""
    blind: bool = False
    """Whether nothing could be read at all."""


def measure(
    now: datetime,
    gauge: Gauge,
    watch: Watch | None,
    sources: Sequence[Source],
    mark: str,
    burn_since: datetime | None,
    problems: list[str],
) -> Measured:
    """Read in full what was in use since hours were closed, and price it."""
    # Yesterday's last hours are open on the first of a month, too.
    first = min(Window.MONTH.start(now), Window.DAY.start(now) - timedelta(days=1))
    stored = tried(partial(gauge.ledger.closed_days, first.date(), now.date()), problems)
    inventory = tried(lambda: read_inventory(gauge.ledger.kept("inventory")), problems)
    # Should what was known of other regions be lost: their hours are not.
    elsewhere = {Source(day.region, namespace) for day in stored or () for namespace in NAMESPACES}
    everywhere = sorted({*sources, *elsewhere})
    opened = {source.region: open_hours(stored or (), source.region, first) for source in everywhere}
    # Where a day is lost, the later ones are read anew.
    closed = [day for day in stored or () if day.until <= opened[day.region]]
    seen = {source: pace.UNSEEN if watch is None else watch.sources.get(source, pace.UNSEEN) for source in everywhere}
    # Hours are closed with all the sources of a region, those that nobody saw in use as well.
    used = {source.region for source in everywhere if seen[source].ever_used}
    closing = {region for region in used if opened[region] < _closable(now)}
    open_since = {
        source: opened[source.region]
        for source in everywhere
        if watch is None or source.region in closing or not seen[source].is_closed(opened[source.region])
    }
    # The sums of a source that has no series and was not seen in use are left to the glances.
    idle = {
        source
        for source in open_since
        if watch is not None and source.region not in closing and not seen[source].gaps and seen[source].is_quiet(now)
    }
    reading = _read(now, gauge, open_since, idle, () if inventory is None else inventory.aliases, problems)
    behind = _as_it_is if inventory is None else inventory.models_behind
    usage = priced(reading, gauge.prices, behind)
    spend = spend_of(usage, closed, inventory, burn_since)
    gaps = (*gauge.gaps, *spend.gaps)
    if mark and inventory is None:
        gaps += ("the inventory is lost: standing cost and jobs are not in these figures until it is taken again",)
    spend = replace(spend, gaps=_condensed(gaps))
    standing = Decimal(0) if inventory is None else inventory.burn_usd_per_minute
    after = pace.watch_after(watch, reading, usage.dearest, open_since, everywhere, spend.by_window, mark, standing)
    # Without the ledger it is not known what is open, and without the inventory not what is behind a profile's id.
    may_close = stored is not None and inventory is not None
    blind = bool(reading.gaps) and not reading.samples
    return Measured(usage, spend, after, closed, open_since if may_close else {}, reading.unsure, behind, blind)


def _read(
    now: datetime,
    gauge: Gauge,
    open_since: Mapping[Source, datetime],
    idle: Collection[Source],
    behind: Iterable[str],
    problems: list[str],
) -> Reading:
    listed, not_listed = gauge.usage.listed(open_since)
    series = {*listed}
    month = Window.MONTH.start(now)
    if not_listed:
        # On the first of a month yesterday's are all that is known.
        for each in {month, Window.MONTH.start(now - timedelta(days=1))}:
            known = tried(partial(gauge.ledger.known_series, each), problems) or ()
            series |= {each for each in known if each.source in not_listed}
    if new := {each for each in series if (month, each) not in gauge.remembered}:
        before = len(problems)
        tried(partial(gauge.ledger.remember_series, now, new), problems)
        gauge.remembered.update((month, each) for each in new if len(problems) == before)
    # What was found by its name stays known until it is listed.
    listed_as = {(each.source, each.model, _names(each)) for each in listed}
    listed_models = {(source, model) for source, model, _ in listed_as}
    series |= {
        each
        for each, found_at in gauge.by_name.items()
        if now - found_at < LISTED_BY
        and each.source in open_since
        # On mantle a model found by its name stands for all its projects, until those are listed.
        and ((each.source, each.model) not in listed_models or (each.source, each.model, _names(each)) in listed_as)
    }
    worth_it = [each for each in series if not each.by_tier or tiers_differ(each.model, gauge.prices, now)]
    listed_in = {each.source for each in series}
    asked = {source: since for source, since in open_since.items() if source in listed_in or source not in idle}
    reading = gauge.usage.read(worth_it, asked, now)
    if reading.gaps and not reading.samples:
        # Part of the usage is a gap and mailed; none of it is a failure that somebody is woken by.
        problems.append(f"the meter is blind, no usage could be read ({reading.gaps[0]})")
    gaps = (*not_listed.values(), *reading.gaps)
    reading = replace(reading, gaps=gaps, unlisted=frozenset(not_listed))
    found = _found_by_name(now, gauge, reading, series, behind)
    if not found:
        return reading
    more = gauge.usage.read(found, {source: asked[source] for source in {each.source for each in found}}, now)
    gauge.by_name.update(dict.fromkeys(found, now))
    return replace(reading, samples=[*reading.samples, *more.samples], gaps=(*gaps, *more.gaps))


def _names(series: Series) -> tuple[str, ...]:
    return tuple(name for name, _ in series.dimensions)


def _found_by_name(
    now: datetime, gauge: Gauge, reading: Reading, series: Collection[Series], names: Iterable[str]
) -> list[Series]:
    """Return the series that nobody listed of models that the account's own sums show to be in use."""
    found: list[Series] = []
    for source, kinds in unlisted(reading, gauge.prices).items():
        if now - gauge.probed.get(source, now - PROBE_AGAIN) < PROBE_AGAIN:
            continue
        gauge.probed[source] = now
        known = {each.model: len(each.dimensions) for each in series if each.source == source and not each.by_tier}
        models = {*callable_in(source.region, sorted(gauge.prices.ids)), *names, *known}
        # By its name alone a model of the mantle plane shows all its projects, the listed ones too.
        models -= {model for model, dimensions in known.items() if dimensions > 1}
        # Every call of a model that writes has input; those of one that draws may have none.
        wanted = {Kind.INPUT, Kind.MIXED_INPUT} | ({Kind.IMAGE} & kinds)
        probed = gauge.usage.probe(source, sorted(models), wanted, now)
        found += [each for each in probed if each not in series]
    return found


def _closable(now: datetime) -> datetime:
    return Window.HOUR.start(now - SETTLED_HOURS)


def close_hours(gauge: Gauge, found: Measured, problems: list[str]) -> None:
    """Close the hours that were read whole and can no longer change; of each region as far as that goes."""
    until = _closable(found.spend.at)
    regions = {source.region: since for source, since in found.open_since.items()}
    blind = {source.region for source in found.incomplete}
    for region, since in sorted(regions.items()):
        if region in blind or since >= until:
            continue
        before = since
        for day in closings(found.usage, found.closed, since, until, region):
            if not tried(partial(gauge.ledger.close, day, closed_before=before), problems):
                break  # another run was first, or the ledger is down: the next full read finds out
            before = day.end


def read_inventory(body: Mapping[str, Any] | None) -> Inventory | None:
    """Read the inventory of the ledger, None where there is none. Raises GuardrailError."""
    if body is None:
        return None
    try:
        return Inventory.from_json(body)
    except (KeyError, ValueError, TypeError) as error:
        msg = f"the inventory in the ledger cannot be read ({error!r}): run the inventory function"
        raise GuardrailError(msg) from error


def tiers_differ(model: str, prices: PriceTable, now: datetime) -> bool:
    """Tell whether the tiers of a model have prices of their own: only then are they worth reading."""
    asked = (Tier.UNKNOWN, Tier.STANDARD, Tier.FLEX)
    return len({prices.quote(model, now, tier).price for tier in asked}) > 1


def _as_it_is(model: str) -> tuple[str, ...]:
    return (model,)


_MOST_GAPS = 10


def _condensed(gaps: tuple[str, ...]) -> tuple[str, ...]:
    """Keep the list short: it goes into requests, mails and records, which AWS limits."""
    if len(gaps) <= _MOST_GAPS:
        return gaps
    return (*gaps[:_MOST_GAPS], "and more, see the meter's log")


def tried(call: Callable[[], T], problems: list[str]) -> T | None:
    """Return what a call returns; when it fails, None, and the failure becomes a problem."""
    try:
        return call()
    except GuardrailError as error:
        problems.append(str(error))
        return None
