"""Pace: what is worth reading now. A glance costs a few metrics a source, a full read one for each model and kind.

The account's own sums, read at a glance, bound what was spent since the last full read: usage as usual at the
dearest price in use, what is beyond that at the dearest there is. While that bound is small against `max_blind_usd`
and against what is left of every limit, nothing else is read. A source that used nothing lately is quiet: a tripwire
alarm watches it and wakes the meter at the first call.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from lambdas.core import stored
from lambdas.core.limits import Allowance, Limit, Verdict, raised_usd
from lambdas.core.prices import PriceTable
from lambdas.core.spend import SETTLED, burn_of
from lambdas.core.usage import MINUTE, Kind, Look, Reading, Sample, Source
from lambdas.core.windows import Window

QUIET_AFTER = timedelta(minutes=20)
"""A source is quiet when its newest usage is older: whatever came late has come by then."""
READ_AT_LEAST = timedelta(hours=1)
"""A full read is due after so long, so that hours get closed and figures do not grow old."""
READ_IN_USE = timedelta(minutes=30)
"""The same while there is usage: a dearer model than those in use may have taken the place of one of them."""
_IGNORANCE = 10
_MORE = Decimal("1.25")
"""A minute with more than so many times the usual tokens may burn what none has burned before."""
USUAL = 2
"""What is beyond so many times the busiest minute of the last full read may be of any model."""
READ_AGAIN = timedelta(minutes=5)
"""A read that had gaps is tried again after so long, or when there is news: what cannot be read costs as well."""
EYES_OPEN = timedelta(minutes=10)
"""How old the newest usage on record may get while there is newer."""
_QUIET_GLANCE = timedelta(minutes=30)
"""Should a tripwire fail to wake the meter, the usage is found after so long; no hour is closed by then."""
_LATE = timedelta(minutes=30)
"""How much further back such a glance looks than the one before it."""
_RARE_MINUTES = 5
"""Images and calls are looked for in every fifth minute, where nothing says that they matter more."""
_TICK = timedelta(minutes=1)

_TOKENS = frozenset({Kind.INPUT, Kind.OUTPUT, Kind.CACHE_READ, Kind.CACHE_WRITE, Kind.MIXED_INPUT})
_ALL = _TOKENS | {Kind.IMAGE, Kind.CALLS}
_SIGN_OF_LIFE = frozenset({Kind.OUTPUT, Kind.CALLS})


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a source."""

    active_at: datetime | None = None
    """The newest minute with usage."""
    counted: Mapping[Kind, int] = field(default_factory=dict)
    """The account's own sums since `Watch.since`, as far as the last full read put a price on them."""
    usual: Mapping[Kind, int] = field(default_factory=dict)
    """What the busiest minute counted that the last full read put a price on."""
    dearest: Mapping[Kind, Decimal] = field(default_factory=dict)
    """USD of one unit at the dearest price that some usage had then."""
    images: bool = False
    """Whether it makes images."""
    summed: bool = False
    """Whether the account's own sums have shown usage of it: that they are published is likely, not sure."""
    unsummed: bool = False
    """Its models show usage of a kind that the account's own sums do not: it cannot be glanced at, only read."""
    gaps: bool = False
    """Whether the last full read had gaps in it."""

    def is_quiet(self, now: datetime) -> bool:
        """Tell whether it used nothing lately."""
        return self.active_at is None or now - self.active_at > QUIET_AFTER

    def is_closed(self, open_since: datetime) -> bool:
        """Tell whether all its usage is in hours that are closed, so that a full read may leave it out."""
        if self.gaps or self.unsummed or not self.summed:
            return False
        return self.active_at is None or Window.HOUR.end(self.active_at) <= open_since

    @property
    def ever_used(self) -> bool:
        """Tell whether it may have hours worth closing."""
        return self.active_at is not None or self.gaps


UNSEEN = Seen()


@dataclass(frozen=True, slots=True)
class Watch:
    """What the last full read left for the ticks after it."""

    read_at: datetime
    since: datetime
    """The minute from which sums are compared."""
    spent: Mapping[Window, Decimal]
    inventory: str
    """What the inventory was then; when it is another one, there is something new to count."""
    standing_usd_per_minute: Decimal
    sources: Mapping[Source, Seen]

    @property
    def usual_burn(self) -> Decimal:
        """USD of a busy minute of the last full read, reckoned as a glance does."""
        usual = [
            count * seen.dearest.get(kind, Decimal(0))
            for seen in self.sources.values()
            for kind, count in seen.usual.items()
        ]
        return sum(usual, self.standing_usd_per_minute)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "read_at": self.read_at.isoformat(),
            "since": self.since.isoformat(),
            "spent": {str(window): str(usd) for window, usd in self.spent.items()},
            "inventory": self.inventory,
            "standing_usd_per_minute": str(self.standing_usd_per_minute),
            "sources": [
                [
                    *source,
                    _stamp(seen.active_at),
                    seen.counted,
                    seen.usual,
                    {kind: str(usd) for kind, usd in seen.dearest.items()},
                    *(seen.images, seen.summed, seen.unsummed, seen.gaps),
                ]
                for source, seen in self.sources.items()
            ],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Watch":
        """Read a watch. Raises ValueError, KeyError, TypeError, ArithmeticError or AttributeError on anything else."""
        return cls(
            read_at=stored.moment(body["read_at"]),
            since=stored.moment(body["since"]),
            spent={
                window: stored.usd(body["spent"][window.value]) for window in (Window.HOUR, Window.DAY, Window.MONTH)
            },
            inventory=str(body["inventory"]),
            standing_usd_per_minute=stored.usd(body["standing_usd_per_minute"]),
            sources={
                Source(str(region), str(namespace)): Seen(
                    None if active_at is None else stored.moment(active_at),
                    {Kind(kind): int(count) for kind, count in counted.items()},
                    {Kind(kind): int(count) for kind, count in usual.items()},
                    {Kind(kind): stored.usd(usd) for kind, usd in dearest.items()},
                    *map(bool, flags),
                )
                for region, namespace, active_at, counted, usual, dearest, *flags in body["sources"]
            },
        )


@dataclass(frozen=True, slots=True)
class Unread:
    """The most that can have been spent since the last full read, by the account's own sums.

    Usage as usual is taken to be of models that were in use then. That another one took their place is found by the
    next full read: half an hour later, and before the ``ceiling`` is ten times what may be unread.
    """

    usd: Decimal
    burn: Decimal
    """USD of the dearest of the last minutes, priced the same way."""
    ceiling: Decimal = Decimal(0)
    """USD if every token were of the dearest model there is."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the worst case of the unread is held against."""

    limits: Sequence[Limit]
    max_blind_usd: Decimal
    reaction: timedelta


def to_glance_at(
    watch: Watch, sources: Iterable[Source], guarded: frozenset[str], now: datetime, *, woken: bool
) -> dict[Source, Look]:
    """Return what to glance at now: everything, when an alarm woke the meter. ``guarded`` regions have tripwires."""
    found: dict[Source, Look] = {}
    for index, source in enumerate(sorted(sources)):
        seen = watch.sources.get(source, UNSEEN)
        # What was in use at the last full read may have used more after it: it is looked at until the next one.
        quiet = seen.is_quiet(now) and seen.is_quiet(watch.read_at)
        # Each quiet source in its own minute of the half hour.
        due = (int(now.timestamp()) // 60 + index) % (_QUIET_GLANCE // _TICK) == 0
        guards = source.region in guarded
        if woken or not quiet or due or not guards:
            rare = now.minute % _RARE_MINUTES == 0
            if woken or (quiet and not guards) or (rare and not quiet and not seen.usual):
                kinds = _ALL  # calls of what counts no tokens keep a source in sight
            elif quiet:
                kinds = _SIGN_OF_LIFE
            else:
                kinds = _TOKENS | {Kind.IMAGE} if seen.images or rare else _TOKENS
            found[source] = Look(_since(watch, seen, now) if quiet else watch.since, kinds)
    return found


def _since(watch: Watch, seen: Seen, now: datetime) -> datetime:
    """Return how far back to look at a quiet source: what it used up to its newest minute was read."""
    back = Window.MINUTE.start(now - _QUIET_GLANCE - _LATE)
    if seen.active_at is not None:
        back = max(back, seen.active_at + _TICK)
    return min(watch.since, back)


def unread(
    watch: Watch,
    looks: Mapping[Source, Look],
    glance: Reading,
    prices: PriceTable,
    now: datetime,
    burn_since: datetime | None = None,
) -> Unread:
    """Return the most that can have been spent since the last full read, by a glance since then."""
    ceiling = prices.ceiling(now.date())
    by_source: defaultdict[tuple[Source, Kind], Decimal] = defaultdict(Decimal)
    counts: defaultdict[tuple[Source, Kind], int] = defaultdict(int)
    minutes: defaultdict[datetime, Decimal] = defaultdict(Decimal)
    for each in glance.totals:
        source, kind = each.series.source, each.series.kind
        if kind is Kind.CALLS or each.start < looks[source].since:
            continue
        seen = watch.sources.get(source, UNSEEN)
        most = ceiling.of(kind)
        in_use = min(seen.dearest.get(kind, most), most)
        usual = min(each.count, USUAL * seen.usual.get(kind, 0))
        cost = in_use * usual + most * (each.count - usual)
        by_source[source, kind] += cost
        counts[source, kind] += each.count
        minutes[each.start] += cost
    usd = worst = Decimal(0)
    for (source, kind), cost in by_source.items():
        seen = watch.sources.get(source, UNSEEN)
        most, counted = ceiling.of(kind), seen.counted.get(kind, 0)
        usd += max(Decimal(0), cost - min(seen.dearest.get(kind, most), most) * counted)
        worst += most * max(0, counts[source, kind] - counted)
    standing = watch.standing_usd_per_minute
    elapsed = Decimal(max(timedelta(0), now - watch.read_at) / _TICK)
    return Unread(usd + standing * elapsed, burn_of(minutes, now, burn_since) + standing, worst + standing * elapsed)


def why_read(
    watch: Watch,
    glance: Reading,
    news: Unread,
    bounds: Bounds,
    allowances: Sequence[Allowance],
    last: Verdict,
    inventory: str,
    now: datetime,
) -> str | None:
    """Return in words why a full read is due now, None when the next tick is early enough.

    ``last`` is the verdict the last full read ended with.
    """
    age = now - watch.read_at
    seen = watch.sources
    reasons = {
        "the last full read is old": not timedelta(0) <= age < (READ_IN_USE if news.usd > 0 else READ_AT_LEAST),
        "the inventory changed": inventory != watch.inventory,
        "a quiet source is in use": _wakes(watch, glance, now),
        "the last full read had gaps": age >= READ_AGAIN and any(each.gaps for each in seen.values()),
        "the account's own sums cannot be read": any(not seen.get(source, UNSEEN).gaps for source in glance.incomplete),
        "there is usage that shows in no sum": any(
            (each.unsummed and age >= READ_AGAIN) or ((each.unsummed or not each.summed) and not each.is_quiet(now))
            for each in seen.values()
        ),
        "what is allowed is less than it was": any(
            limit.ladder.verdict(_spent(watch, limit, now) * 100 / raised_usd(limit, allowances, now)) > last
            for limit in bounds.limits
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None) or _worst_case(
        watch, news, bounds, allowances, now
    )


def _worst_case(
    watch: Watch, news: Unread, bounds: Bounds, allowances: Sequence[Allowance], now: datetime
) -> str | None:
    if news.usd <= 0:
        return None
    # Whatever is not read now may go on as it did until the next tick.
    by_then = news.usd + news.burn
    if by_then >= bounds.max_blind_usd:
        return f"up to ${by_then:.2f} may be unread by the next look"
    if news.ceiling >= _IGNORANCE * bounds.max_blind_usd:
        return f"${news.ceiling:.2f} may be unread if the models in use have changed"
    on_its_way = news.burn * Decimal(bounds.reaction / _TICK)
    for limit in bounds.limits:
        allowed = raised_usd(limit, allowances, now)
        rungs = [allowed * percent / 100 for percent in limit.ladder.rungs]
        if limit.window is Window.MINUTE:
            # As many tokens as before were below the rung when they were read.
            usual = watch.usual_burn
            near = any(usual < rung <= news.burn or (rung <= news.burn > _MORE * usual) for rung in rungs)
        else:
            spent = _spent(watch, limit, now)
            near = any(spent < rung <= spent + by_then + on_its_way for rung in rungs)
        if near:
            return f"{limit} may be near one of its rungs"
    return None


def _spent(watch: Watch, limit: Limit, now: datetime) -> Decimal:
    """Return what the last full read found in a limit's window, nothing when it was another window."""
    window = limit.window
    if window is Window.MINUTE or window.start(watch.read_at) != window.start(now):
        return Decimal(0)
    return watch.spent[window]


def watch_after(
    before: Watch | None,
    reading: Reading,
    dearest: Mapping[tuple[Source, Kind], Decimal],
    read: Iterable[Source],
    sources: Iterable[Source],
    spent: Mapping[Window, Decimal],
    inventory: str,
    standing_usd_per_minute: Decimal,
) -> Watch:
    """Return the watch that a full read of some of the sources leaves."""
    now = reading.taken_at
    since = Window.MINUTE.start(now) - QUIET_AFTER
    were_read = frozenset(read)
    sights = _sights(reading, since)
    for (source, kind), usd in dearest.items():
        sights[source].dearest[kind] = usd
    known = {} if before is None else before.sources
    return Watch(
        read_at=now,
        since=since,
        spent=spent,
        inventory=inventory,
        standing_usd_per_minute=standing_usd_per_minute,
        sources={
            source: sights.get(source, _Sight()).after(known.get(source, UNSEEN), gaps=source in reading.unsure)
            if source in were_read
            # What was left out had no usage since long before `since`.
            else replace(known.get(source, UNSEEN), counted={}, usual={}, dearest={})
            for source in sorted({*sources, *were_read})
        },
    )


def noticed(watch: Watch, glance: Reading) -> Watch | None:
    """Return the watch with what a glance saw for the first time in a while; None when there is nothing to note."""
    images = {each.series.source for each in glance.totals if each.count and each.series.kind is Kind.IMAGE}
    changed = {}
    for source, active_at in _newest(glance).items():
        seen = watch.sources.get(source, UNSEEN)
        is_new = seen.active_at is None or active_at - seen.active_at >= EYES_OPEN
        if is_new or (source in images and not seen.images):
            newest = active_at if seen.active_at is None else max(active_at, seen.active_at)
            changed[source] = replace(seen, active_at=newest, images=seen.images or source in images, summed=True)
    for source in glance.incomplete:
        # It is looked at until it has been read.
        changed[source] = replace(changed.get(source) or watch.sources.get(source, UNSEEN), gaps=True)
    return replace(watch, sources={**watch.sources, **changed}) if changed else None


def _wakes(watch: Watch, glance: Reading, now: datetime) -> bool:
    """Tell whether a glance saw usage in a source that was quiet."""
    return any(
        watch.sources.get(source, UNSEEN).is_quiet(now) and now - active_at <= QUIET_AFTER
        for source, active_at in _newest(glance).items()
    )


def _newest(reading: Reading) -> dict[Source, datetime]:
    found: dict[Source, datetime] = {}
    for each in reading.totals:
        if each.count:
            source = each.series.source
            found[source] = max(each.start, found.get(source, each.start))
    return found


@dataclass(slots=True)
class _Sight:
    """What a full read saw of one source."""

    newest: datetime | None = None
    counted: defaultdict[Kind, int] = field(default_factory=lambda: defaultdict(int))
    usual: dict[Kind, int] = field(default_factory=dict)
    dearest: dict[Kind, Decimal] = field(default_factory=dict)
    images: bool = False
    summed: set[Kind] = field(default_factory=set)
    modelled: set[Kind] = field(default_factory=set)
    """The kinds that show in the account's own sums, and in models, in minutes that are complete."""

    def see(self, sample: Sample) -> None:
        """Take in some usage."""
        self.newest = sample.start if self.newest is None else max(sample.start, self.newest)
        self.images |= sample.series.kind is Kind.IMAGE

    def after(self, before: Seen, *, gaps: bool) -> Seen:
        """Return what is known of the source then."""
        known = [each for each in (before.active_at, self.newest) if each is not None]
        # Without any usage nothing new is known about its sums.
        unsummed = bool(self.modelled - self.summed) if self.modelled or self.summed else before.unsummed
        return Seen(
            active_at=max(known, default=None),
            # What was not read in full stays news.
            counted={} if gaps else dict(self.counted),
            usual={} if gaps else self.usual,
            dearest={} if gaps else self.dearest,
            images=self.images,
            summed=before.summed or bool(self.summed),
            unsummed=unsummed,
            gaps=gaps,
        )


def _sights(reading: Reading, since: datetime) -> defaultdict[Source, _Sight]:
    found: defaultdict[Source, _Sight] = defaultdict(_Sight)
    complete = reading.taken_at - SETTLED - _TICK
    filling: defaultdict[tuple[Source, Kind, datetime], int] = defaultdict(int)
    """What models show of minutes that still fill up."""
    for each in reading.samples:
        source, kind = each.series.source, each.series.kind
        if each.count:
            sight = found[source]
            sight.see(each)
            if each.start < complete:
                sight.modelled.add(kind)
            elif not each.series.by_tier:
                filling[source, kind, each.start] += each.count
    for each in reading.totals:
        source, kind = each.series.source, each.series.kind
        if each.count:
            sight = found[source]
            sight.see(each)
            if each.start < complete:
                sight.summed.add(kind)
            if each.seconds == MINUTE and each.start >= since:
                # Where a sum is ahead of its models, they have not been priced so far.
                priced = each.count if each.start < complete else min(each.count, filling[source, kind, each.start])
                sight.counted[kind] += priced
                sight.usual[kind] = max(priced, sight.usual.get(kind, 0))
    return found


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
