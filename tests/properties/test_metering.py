"""Invariant 6 over time: whatever is late, missing, lost or skipped, the meter ends at the true sum, never below."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas.aws.cloudwatch import TokenMetrics
from lambdas.core.decision import decide
from lambdas.core.limits import Ladder, Limit, Verdict
from lambdas.core.pace import Seen, Watch
from lambdas.core.prices import PriceTable
from lambdas.core.spend import BURN_MINUTES, SETTLED, Spend, priced, spend_of
from lambdas.core.usage import Kind, Reading, Sample, Series, Source, Tier, clean_count
from lambdas.core.windows import Window
from tests.fakes import FakeLedger, Point
from tests.unit.test_cloudwatch import FakeCloudWatch
from tests.unit.test_measuring import Stocked

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
PRICES = PriceTable.load()
MINUTE = timedelta(minutes=1)

NAMESPACES = ("AWS/Bedrock", "AWS/BedrockMantle")
DISCOVERED = "ap-south-1"
SOURCES = [Source(region, each) for region in ("us-east-1", "eu-west-1", DISCOVERED) for each in NAMESPACES]
MODELS = ("amazon.nova-pro-v1:0", "us.anthropic.claude-opus-5", "anthropic.claude-3-haiku-20240307-v1:0")
KINDS = (Kind.INPUT, Kind.OUTPUT, Kind.CACHE_WRITE)

# --- one reading ---

samples = st.lists(
    st.builds(
        lambda model, kind, ago, count: Sample(
            Series("us-east-1", "AWS/Bedrock", kind, (("ModelId", model),), model, kind),
            Window.HOUR.start(NOW - timedelta(hours=ago)),
            3600,
            count,
        ),
        st.sampled_from([*MODELS, "newco.colossus", "x.embed-y"]),
        st.sampled_from([each for each in Kind if each is not Kind.CALLS]),
        st.integers(0, 500),
        st.integers(0, 10**9),
    ),
    max_size=20,
    unique_by=lambda each: (each.series, each.start),
)


def itself(model: str) -> tuple[str]:
    return (model,)


@given(samples)
def test_windows_nest_and_every_sample_of_the_month_is_in_it(samples):
    found = spend_of(priced(Reading(NOW, samples), PRICES, itself), ()).by_window
    assert found[Window.HOUR] <= found[Window.DAY] <= found[Window.MONTH]
    month = Window.MONTH.start(NOW)
    assert found[Window.MONTH] == sum((usd(each) for each in samples if each.start >= month), Decimal(0))


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(samples, random):
    shuffled = [*samples]
    random.shuffle(shuffled)
    one, other = (spend_of(priced(Reading(NOW, each), PRICES, itself), ()) for each in (samples, shuffled))
    assert (one.by_window, one.guessed) == (other.by_window, other.guessed)


@given(samples, samples)
def test_more_usage_never_costs_less(some, more):
    both = {(each.series, each.start): each for each in (*some, *more)}
    for each in some:
        at = (each.series, each.start)
        both[at] = max(each, both[at], key=lambda one: one.count)
    before = spend_of(priced(Reading(NOW, some), PRICES, itself), ())
    after = spend_of(priced(Reading(NOW, [*both.values()]), PRICES, itself), ())
    assert all(after.by_window[window] >= usd for window, usd in before.by_window.items())


@given(
    whole=st.integers(0, 10**9),
    parts=st.dictionaries(st.sampled_from(Tier), st.integers(0, 10**9)),
    total=st.none() | st.integers(0, 10**9),
    ago=st.integers(0, 19),
)
def test_however_usage_is_split_its_tokens_count_at_least_once_and_at_most_at_the_dearest(whole, parts, total, ago):
    """The cheapest it can be is the largest of the levels at the cheapest tier; the sum of a settled minute counts."""
    at = NOW - ago * MINUTE
    model = MODELS[0]

    def series(tier: Tier | None, dimensions: tuple[tuple[str, str], ...] = (("ModelId", model),)) -> Series:
        more = (("ResolvedServiceTier", tier),) if tier else ()
        name = model if dimensions else ""
        return Series(
            "us-east-1", "AWS/Bedrock", "o", dimensions + more, name, Kind.OUTPUT, tier or Tier.UNKNOWN,
            by_tier=tier is not None,
        )  # fmt: skip

    seen = [Sample(series(None), at, 60, whole)] + [Sample(series(tier), at, 60, n) for tier, n in parts.items()]
    sums = [] if total is None else [Sample(series(None, ()), at, 60, total)]
    found = spend_of(priced(Reading(NOW, seen, totals=sums), PRICES, itself), ()).by_window[Window.HOUR]
    settled = at + MINUTE + SETTLED <= NOW
    least = max(whole, sum(parts.values()), (total or 0) if settled else 0)
    quotes = [PRICES.quote(model, at, tier, region="us-east-1").price.of(Kind.OUTPUT) for tier in Tier]
    assert found >= least * min(quotes)
    most = max(whole, sum(parts.values()), total or 0)
    assert found <= most * max(*quotes, PRICES.dearest(at.date()).of(Kind.OUTPUT))


@given(st.floats() | st.integers() | st.none() | st.text() | st.booleans() | st.lists(st.integers()))
def test_a_count_is_never_below_what_was_measured(value):
    count = clean_count(value)
    assert count is None or count >= value


@settings(max_examples=60)
@given(
    st.lists(
        st.integers(0, 10**15)
        | st.floats(0, 1e300)
        | st.sampled_from([float("nan"), float("inf"), -1, -0.5, "5", None, True, [], 10**400]),
        min_size=1,
        max_size=8,
    )
)
def test_no_value_makes_a_reading_less_than_its_good_values_without_a_gap(values):
    cloudwatch = FakeCloudWatch()
    for ago, value in enumerate(values):
        cloudwatch.put("OutputTokenCount", NOW - ago * MINUTE, value, ModelId=MODELS[0])
    source = SOURCES[0]
    metrics = TokenMetrics({"us-east-1": cloudwatch}.__getitem__)  # type: ignore[arg-type]  # a stand-in
    series, _ = metrics.listed([source])
    reading = metrics.read(series, {source: Window.HOUR.start(NOW)}, NOW)
    good = [each for each in values if clean_count(each) is not None]
    assert sum(each.count for each in reading.samples) >= sum(clean_count(each) or 0 for each in good)
    assert bool(reading.gaps) is (len(good) < len(values))
    assert (source in reading.incomplete) is bool(reading.gaps)


@pytest.mark.parametrize("kind", [each for each in Kind if each is not Kind.CALLS])
@pytest.mark.parametrize("tier", [Tier.UNKNOWN, Tier.STANDARD, Tier.FLEX, Tier.PRIORITY])
def test_the_most_that_may_be_unread_is_reckoned_at_a_price_that_none_exceeds(kind: Kind, tier: Tier):
    """One model and kind alone: what it costs is never above what the same tokens may cost unread."""
    from lambdas.core import pace  # noqa: PLC0415 - only here

    source, million = SOURCES[0], 1_000_000
    watch = Watch(NOW, NOW - 20 * MINUTE, dict.fromkeys(Window, Decimal(0)), "", Decimal(0), {source: Seen()})
    total = Sample(Series(*source, "x", (), "", kind), NOW - 3 * MINUTE, 60, million)
    looks = pace.to_glance_at(watch, [source], frozenset(), NOW, woken=True)
    most = pace.unread(watch, looks, Reading(NOW, [], totals=[total]), PRICES, NOW).usd
    models = {row.id for row in PRICES._rows} | {"newco.colossus"}
    dear = {
        name: price
        for model in models
        for name in (model, f"us.{model}", f"global.{model}")
        if (price := PRICES.quote(name, NOW, tier, region="us-east-1").price.of(kind) * million) > most
    }
    assert dear == {}


# --- traces ---


def usd(each: Sample | Point) -> Decimal:
    at = each.start if isinstance(each, Sample) else each.minute
    price = PRICES.quote(each.series.model, at, each.series.tier, region=each.series.region).price
    return price.of(each.series.kind) * each.count


def dearest(each: Point) -> Decimal:
    """Return the most it can cost: as itself, or as a model that is not listed."""
    return max(usd(each), PRICES.dearest(each.minute.date()).of(each.series.kind) * each.count)


def total(points: Iterable[Point], since: datetime, cost: Callable[[Point], Decimal] = usd) -> Decimal:
    return sum((cost(each) for each in points if each.minute >= since), Decimal(0))


START = datetime(2026, 11, 29, 9, 0, tzinfo=UTC)
"""Two days before a month ends."""


@dataclass(frozen=True)
class Use:
    source: Source
    model: str
    kind: Kind
    minute: int
    count: int
    lag: int

    def point(self, start: datetime) -> Point:
        name = "Project" if self.source.namespace == NAMESPACES[1] else "ModelId"
        series = Series(*self.source, self.kind, ((name, self.model),), self.model, self.kind)
        at = start + self.minute * MINUTE
        return Point(series, at, self.count, at + self.lag * MINUTE)


def uses(length: int, most: int, lag: int, sources: list[Source]) -> st.SearchStrategy[list[Use]]:
    return st.lists(
        st.builds(
            Use,
            st.sampled_from(sources),
            st.sampled_from(MODELS),
            st.sampled_from(KINDS),
            st.integers(0, length),
            st.integers(1, most),
            st.integers(0, lag),
        ),
        max_size=30,
    )


@dataclass(frozen=True)
class Step:
    """A tick after some minutes, and what befell the meter before it."""

    minutes: int
    mishap: str
    woken: bool


MISHAPS = ("", "", "", "", "", "gap", "gap", "whole again", "listing", "watch", "decision", "series", "day", "ledger")
steps = st.lists(
    st.builds(
        Step,
        st.sampled_from([0, 1, 1, 1, 2, 5, 13, 30, 60, 61, 240, 700]),
        st.sampled_from(MISHAPS),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


def befall(meter: Stocked, mishap: str, data: st.DataObject) -> None:
    ledger = meter.ledger
    match mishap:
        case "gap":
            source = data.draw(st.sampled_from(SOURCES))
            meter.usage.gaps[source] = f"{source}: cannot be read"
        case "listing":
            meter.usage.listing_fails.add(data.draw(st.sampled_from(SOURCES)))
        case "whole again":
            meter.usage.gaps.clear()
            meter.usage.listing_fails.clear()
        case "watch":
            ledger.notes.pop("watch", None)
        case "decision":
            ledger.latest = None
        case "series":
            ledger.series.clear()
        case "day":
            if ledger.days:
                del ledger.days[data.draw(st.sampled_from(sorted(ledger.days)))]
        case "ledger":
            meter.ledger = FakeLedger(notes={k: v for k, v in ledger.notes.items() if k == "inventory"})


@settings(max_examples=150)
@given(trace=uses(60 * 60, 10**7, 15, SOURCES), steps=steps, found_at=st.integers(0, 20), data=st.data())
def test_after_any_history_the_month_is_the_exact_sum(trace, steps, found_at, data):
    """Lags of 15 minutes, gaps, lost items, ticks skipped or doubled, a region found late, and the end of a month."""
    meter = Stocked(PRICES, START, regions=("us-east-1", "eu-west-1"), enforce=False)
    meter.usage.points = [each.point(START) for each in trace]
    for number, step in enumerate(steps):
        meter.now += step.minutes * MINUTE
        if number == found_at:
            meter.ledger.notes["inventory"] = {"mark": "found", "discovered": [DISCOVERED]}
        befall(meter, step.mishap, data)
        found = meter.tick(woken=step.woken).spend
        month = Window.MONTH.start(meter.now)
        if found is not None:
            assert found.by_window[Window.MONTH] <= total(meter.usage.points, month, dearest)
        if found is not None and found.complete:
            known = {*SOURCES} if number >= found_at else {each for each in SOURCES if each.region != DISCOVERED}
            visible = [each for each in meter.usage.points if each.visible <= meter.now and each.series.source in known]
            # What is still to be noticed in a source that rests: its tripwire has not rung here.
            rung = visible if step.woken else []
            assert found.by_window[Window.MONTH] >= total(rung, month)
    befall(meter, "whole again", data)
    meter.ledger.notes["inventory"] = {"mark": "end", "discovered": [DISCOVERED]}
    meter.now += 20 * MINUTE
    found = meter.read().spend
    month = Window.MONTH.start(meter.now)
    visible = [each for each in meter.usage.points if each.visible <= meter.now]
    assert round(found.by_window[Window.MONTH], 15) == round(total(visible, month), 15)
    assert found.guessed == {}


LIMITS = (
    Limit(Window.MINUTE, Decimal(3), Ladder(Decimal(50), Decimal(80))),
    Limit(Window.HOUR, Decimal(8), Ladder(Decimal(50), Decimal(80))),
    Limit(Window.DAY, Decimal(30), Ladder(Decimal(50), Decimal(80))),
)


def truth(points: list[Point], now: datetime) -> Spend:
    """Return what was spent, as far as CloudWatch shows it."""
    visible = [each for each in points if each.visible <= now]
    minutes: dict[datetime, Decimal] = {}
    for each in visible:
        minutes[each.minute] = minutes.get(each.minute, Decimal(0)) + usd(each)
    since = Window.MINUTE.start(now) - BURN_MINUTES * MINUTE
    burn = max((usd for start, usd in minutes.items() if start >= since), default=Decimal(0))
    windows = {each: total(visible, each.start(now)) for each in (Window.HOUR, Window.DAY, Window.MONTH)}
    return Spend(now, burn, windows, {}, {})


@settings(max_examples=150)
@given(
    trace=uses(170, 60_000, 3, SOURCES[:4]),
    pauses=st.lists(st.sampled_from([1, 1, 1, 1, 1, 1, 2, 3]), min_size=60, max_size=100),
)
def test_between_full_reads_nothing_is_missed_that_matters(trace: list[Use], pauses: list[int]):
    """The bound: unread spend is below what the meter says, that is below the setting, and no rung is crossed unread.

    A tripwire wakes the meter when a source shows usage after two minutes without. Each source uses one model: when
    another one takes its place, the bound does not hold until the next full read.
    """
    trace = [replace(each, model=MODELS[SOURCES.index(each.source) % len(MODELS)]) for each in trace]
    start = datetime(2026, 11, 22, 22, 0, 20, tzinfo=UTC)  # over midnight
    points = [each.point(Window.MINUTE.start(start)) for each in trace]
    meter = Stocked(PRICES, start, regions=("us-east-1", "eu-west-1"), enforce=False, limits=LIMITS)
    meter.max_blind = Decimal(2)
    meter.usage.points = points
    ticks = {start: False}
    for pause in pauses:
        ticks[max(ticks) + pause * MINUTE] = False
    for source in SOURCES[:4]:
        shown = sorted({each.visible for each in points if each.series.source == source})
        for before, at in zip([datetime.min.replace(tzinfo=UTC), *shown], shown, strict=False):
            if at - before > 2 * MINUTE:
                ticks[at] = True
    read: Spend | None = None
    verdict = Verdict.OK
    for now, woken in sorted(ticks.items()):
        meter.now = now
        found = meter.tick(woken=woken)
        true = truth(points, now)
        if found.spend is not None and found.decision is not None:
            read, verdict = found.spend, found.decision.verdict
            continue
        assert read is not None
        assert found.unread is not None
        unread = true.by_window[Window.MONTH] - read.by_window[Window.MONTH]
        assert unread <= found.unread.usd < meter.max_blind
        assert decide(true, LIMITS, (), Verdict.OK, timedelta(minutes=4), now).verdict <= verdict


# --- what is remembered ---

moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
money = st.decimals(0, 10**9, places=9)
watches = st.builds(
    Watch,
    read_at=moments,
    since=moments,
    spent=st.fixed_dictionaries(dict.fromkeys((Window.HOUR, Window.DAY, Window.MONTH), money)),
    inventory=st.text(max_size=20),
    standing_usd_per_minute=money,
    sources=st.dictionaries(
        st.sampled_from(SOURCES),
        st.builds(
            Seen,
            st.none() | moments,
            st.dictionaries(st.sampled_from(Kind), st.integers(0, 10**15)),
            st.dictionaries(st.sampled_from(Kind), st.integers(0, 10**15)),
            st.dictionaries(st.sampled_from(Kind), money),
            st.booleans(),
            st.booleans(),
            st.booleans(),
            st.booleans(),
        ),
    ),
)


@given(watches)
def test_a_watch_comes_back_from_the_ledger_as_it_was(watch: Watch):
    ledger = FakeLedger()
    ledger.note("watch", watch.to_json(), NOW)
    assert Watch.from_json(ledger.notes["watch"]) == watch


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150)
@given(watches, st.sampled_from(["read_at", "since", "spent", "standing_usd_per_minute", "sources", "*"]), anything)
def test_no_watch_whatever_is_in_it_ends_a_tick(watch, part, value):
    meter = Stocked(PRICES, NOW)
    meter.spent("1").tick()
    meter.ledger.notes["watch"] = value if part == "*" else {**watch.to_json(), part: value}
    meter.spent("60", NOW)
    meter.now += MINUTE
    assert meter.tick(woken=True).decision is not None
