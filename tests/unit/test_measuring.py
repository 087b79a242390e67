"""The meter over time: what is read, closed and remembered tick by tick, nothing lost and nothing counted twice."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core.closed import ClosedDay
from lambdas.core.inventory import Confidence, CostKind, Inventory, Standing
from lambdas.core.levels import Level
from lambdas.core.limits import Allowance, Ladder, Limit, Verdict
from lambdas.core.pace import Bounds
from lambdas.core.prices import PriceTable, Quote
from lambdas.core.spend import Spend
from lambdas.core.usage import Kind, Reading, Series, Source, Tier
from lambdas.core.windows import Window
from lambdas.measuring import Gauge
from lambdas.metering import MeterTools, Tick, tick
from lambdas.telling import Ways
from tests.fakes import FakeLedger, FakeUsage, moment
from tests.unit.test_metering import DAY, DEAR, NOVA, RUNTIME, SERIES, Meter
from tests.unit.test_stopping import LINKS

MANTLE = Source("us-east-1", "AWS/BedrockMantle")
ELSEWHERE = Source("ap-south-1", "AWS/Bedrock")
COLOSSUS = "newco.colossus-9"  # in no price list
MINUTE = timedelta(minutes=1)


def of(source: Source = RUNTIME, model: str = NOVA, kind: Kind = Kind.OUTPUT, tier: Tier | None = None) -> Series:
    dimensions: tuple[tuple[str, str], ...] = (("ModelId", model),)
    if tier is not None:
        dimensions += (("ResolvedServiceTier", tier), ("ServiceTier", tier))
    return Series(*source, kind, dimensions, model, kind, tier or Tier.UNKNOWN, by_tier=tier is not None)


@dataclass
class Interrupted(FakeUsage):
    """CloudWatch, with something that happens while the meter reads."""

    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    def read(self, series: Iterable[Series], open_since: Mapping[Source, datetime], now: datetime) -> Reading:
        reading = super().read(series, open_since, now)
        if self.meanwhile:
            self.meanwhile.pop()()
        return reading


@dataclass
class Stocked(Meter):
    """A meter whose account has an inventory, by default a new one without anything in it."""

    inventory: Inventory | None = field(default_factory=lambda: Inventory(moment("22 00:00")))
    guarded: bool = True
    gauge: Gauge | None = None
    """That of a function that stays warm."""

    def tick(self, *, woken: bool = False) -> Tick:
        if self.inventory is not None:
            self.ledger.documents["inventory"] = replace(self.inventory, at=self.now).to_json()
        tools = MeterTools(
            gauge=self.gauge or Gauge(self.usage, self.ledger, self.prices),
            ledger=self.ledger,
            brake=self.brake,
            bounds=Bounds(self.limits, self.max_blind, timedelta(minutes=4)),
            regions=self.regions,
            watched=frozenset(self.regions if self.guarded else ()),
            enforce=self.enforce,
            links=LINKS,
            ask_for_stop=self.ask,
            ask_for_release=self.ask_for_release,
            dear=DEAR,
            exempt=self.exempt,
            ways=Ways(self.telling, self.send, self.escalated.append, self.ledger.note),
        )
        return tick(self.now, tools, woken=woken)


@pytest.fixture
def meter(prices: PriceTable, now: datetime) -> Stocked:
    return Stocked(prices, now)


def full(meter: Meter) -> Spend:
    """Tick, and return the spend of the full read it must have made."""
    found = meter.tick()
    assert found.why, "nothing was read"
    assert found.spend is not None
    return found.spend


def month(meter: Meter) -> Decimal:
    """Read everything, whatever the pace says, and return the month's USD to the cent."""
    return round(meter.read().spend.by_window[Window.MONTH], 2)


def run(meter: Meter, until: str, every: timedelta = MINUTE) -> list[Tick]:
    """Tick from now on until a moment, by default each minute."""
    end, ticks = moment(until), []
    while meter.now < end:
        meter.now = min(meter.now + every, end)
        ticks.append(meter.tick())
    return ticks


# --- true sums ---


def test_usage_is_counted_once_whatever_was_closed_on_the_way(meter: Stocked):
    meter.at("20 00:00")
    for hour in range(60):
        meter.spent("0.50", moment("20 00:13") + timedelta(hours=hour))
    run(meter, "22 18:30", timedelta(minutes=17))
    assert month(meter) == Decimal("30.00")
    closed = sorted((day.day.day, day.until) for day in meter.ledger.days.values())
    assert closed[-1] == (22, moment("17:00"))


def test_an_hour_is_closed_when_it_has_been_over_for_an_hour(meter: Stocked):
    meter.at("22 12:00").spent("1", moment("10:30"))
    for time, until in (("11:59", "10:00"), ("12:00", "11:00"), ("12:59", "11:00"), ("13:00", "12:00")):
        meter.at(time).read()
        assert meter.ledger.days[date(2026, 11, 22), "us-east-1"].until == moment(until)


@pytest.mark.parametrize(("lag", "lost"), [(5, "0"), (14, "0"), (55, "0"), (150, "1.00")])
def test_late_usage_counts_until_its_hour_is_closed(meter: Stocked, lag: int, lost: str):
    """What comes more than an hour after its hour ended is lost; the daily cross-check with the bill tells."""
    meter.at("10:00").tick()
    meter.usage.use(SERIES, moment("10:50"), meter.tokens("1"), timedelta(minutes=lag))
    run(meter, "15:00")
    meter.spent("0.001")
    assert month(meter) == Decimal("1.00") - Decimal(lost)


def test_usage_minutes_ahead_of_our_clock_counts_as_soon_as_it_shows(meter: Stocked):
    meter.usage.use(SERIES, meter.now + 4 * MINUTE, meter.tokens("2"), -4 * MINUTE)
    assert month(meter) == Decimal("2.00")


def test_a_clock_that_steps_back_neither_closes_twice_nor_loses(meter: Stocked):
    meter.at("18:30").spent("3", moment("10:30")).spent("2", moment("18:20")).read()
    found = [month(meter.at(time)) for time in ("17:55", "16:20", "18:31")]
    # What is later than the clock has not come to pass for it.
    assert found == [Decimal("3.00"), Decimal("3.00"), Decimal("5.00")]
    assert meter.ledger.days[date(2026, 11, 22), "us-east-1"].until == moment("17:00")


def test_ticks_that_overlap_close_an_hour_exactly_once(prices: PriceTable, now: datetime):
    usage = Interrupted()
    meter = Stocked(prices, now, usage=usage)
    meter.spent("3", moment("10:30"))

    def another() -> None:
        meter.read()

    usage.meanwhile = [another]
    meter.read()
    assert [round(day.usd, 2) for day in meter.ledger.days.values() if day.day.day == 22] == [Decimal("3.00")]
    assert month(meter) == Decimal("3.00")


def test_of_overlapping_ticks_the_one_that_began_earlier_may_finish_later(prices: PriceTable):
    usage = Interrupted()
    meter = Stocked(prices, moment("17:59"), usage=usage)
    meter.spent("3", moment("16:30")).spent("2", moment("17:30"))

    def later() -> None:
        meter.at("18:01").read()
        meter.at("17:59")

    usage.meanwhile = [later]
    meter.read()
    assert meter.ledger.days[date(2026, 11, 22), "us-east-1"].until == moment("17:00")
    assert month(meter.at("18:02")) == Decimal("5.00")
    assert month(meter.at("23:02")) == Decimal("5.00")


@pytest.mark.parametrize("woken_at", ["18:30:30", "18:30:50"], ids=["it began first", "it began last"])
def test_a_tick_that_finishes_late_does_not_undo_what_another_one_noticed(prices: PriceTable, woken_at: str):
    """A tripwire rings while a full read is under way, and does not ring again: the source must stay in sight."""
    usage = Interrupted()
    meter = Stocked(prices, moment("10:00"), usage=usage)
    meter.spent("0.01", moment("09:55"), of(MANTLE)).tick()
    run(meter, "18:29", 7 * MINUTE)
    meter.spent("0.01", moment("18:29"), of(MANTLE))
    discover(meter, "another mark")

    def rung() -> None:
        meter.at(woken_at)
        assert meter.tick(woken=True).why
        meter.at("18:30:40")

    usage.meanwhile = [rung]
    assert meter.at("18:30:40").tick().why == "the inventory changed"
    assert MANTLE not in usage.reads[-2][1]
    usage.glances.clear()
    meter.at("18:32").tick()
    assert any(MANTLE in each for each in usage.glances)


def test_the_last_hours_of_a_month_are_closed_after_it_and_do_not_count_in_the_new_one(meter: Stocked):
    meter.at("30 23:00").spent("3", moment("30 22:30")).spent("4", moment("30 23:30"))
    start = meter.now
    for minutes in range(200):
        meter.now = start + timedelta(minutes=minutes)
        if minutes in (59, 60):
            expected = "7.00" if minutes == 59 else "0.00"
            assert round(meter.read().spend.by_window[Window.MONTH], 2) == Decimal(expected)
        meter.tick()
    meter.spent("5", datetime.fromisoformat("2026-12-01T01:30:00+00:00"))
    assert month(meter) == Decimal("5.00")
    closed = meter.ledger.days[date(2026, 11, 30), "us-east-1"]
    assert closed.whole
    assert round(closed.usd, 2) == Decimal("7.00")


def test_a_source_quiet_for_days_is_counted_when_it_comes_back(meter: Stocked):
    meter.at("10 10:00").spent("3", moment("10 09:30"))
    run(meter, "17 10:00", timedelta(minutes=20))
    meter.spent("4", moment("17 10:01")).at("17 10:03").tick(woken=True)
    assert month(meter) == Decimal("7.00")
    run(meter, "17 14:00")
    assert month(meter) == Decimal("7.00")


def test_usage_is_found_although_its_tripwire_never_rings(meter: Stocked):
    """The plane beside it is read in full each few minutes."""
    meter.max_blind = Decimal("0.50")
    meter.limits = (replace(DAY, usd=Decimal(10_000)),)
    meter.at("10:00").tick()
    for minute in range(200):
        meter.spent("0.40", moment("10:01") + minute * MINUTE)
    for minute in range(6):
        meter.spent("1", moment("10:32") + minute * MINUTE, of(MANTLE))
    run(meter, "14:30")
    assert month(meter) == Decimal("86.00")


def test_a_wiped_ledger_changes_no_figure(meter: Stocked):
    meter.at("20 10:00")
    for hour in range(48):
        meter.spent("1", moment("20 10:10") + timedelta(hours=hour))
    run(meter, "22 12:00", timedelta(minutes=30))
    before = month(meter)
    meter.ledger = FakeLedger(documents=meter.ledger.documents)
    assert (month(meter), before) == (Decimal("48.00"), Decimal("48.00"))
    assert month(meter) == before


@pytest.mark.parametrize("lost", ["watch", "decision", "series", "yesterday", "today", "the first day"])
def test_no_single_item_of_the_ledger_that_is_lost_changes_a_figure(meter: Stocked, lost: str):
    meter.at("19 10:00")
    for hour in range(72):
        meter.spent("1", moment("19 10:10") + timedelta(hours=hour))
    run(meter, "22 12:00", timedelta(minutes=30))
    ledger = meter.ledger
    gone: dict[str, Callable[[], object]] = {
        "watch": lambda: ledger.notes.pop("watch"),
        "decision": ledger.forget_verdict,
        "series": ledger.series.clear,
        "yesterday": lambda: ledger.days.pop((date(2026, 11, 21), "us-east-1")),
        "today": lambda: ledger.days.pop((date(2026, 11, 22), "us-east-1")),
        "the first day": lambda: ledger.days.pop((date(2026, 11, 1), "us-east-1")),
    }
    gone[lost]()
    assert [month(meter), month(meter)] == [Decimal("72.00")] * 2
    run(meter, "22 15:00")
    assert month(meter) == Decimal("72.00")


# --- what cannot be read ---


def test_a_region_that_cannot_be_read_for_hours_loses_nothing_and_closes_nothing_meanwhile(meter: Stocked):
    meter.at("10:00").read()
    meter.usage.gaps[RUNTIME] = "us-east-1: usage cannot be read (Throttling)"
    for hour in range(5):
        meter.spent("2", moment("10:30") + timedelta(hours=hour))
    run(meter, "15:30")
    assert meter.ledger.days[date(2026, 11, 22), "us-east-1"].until == moment("09:00")
    meter.usage.gaps.clear()
    assert month(meter) == Decimal("10.00")
    assert meter.ledger.days[date(2026, 11, 22), "us-east-1"].until == moment("14:00")
    assert month(meter) == Decimal("10.00")


def test_an_incomplete_read_is_shown_as_at_least_and_never_lowers_a_verdict(meter: Stocked):
    meter.at("18:00").spent("30", moment("17:50"), of(ELSEWHERE)).regions = ("us-east-1", "ap-south-1")
    assert meter.read().verdict is Verdict.WARN
    meter.usage.gaps[ELSEWHERE] = "ap-south-1: usage cannot be read (Throttling)"
    found = meter.at("18:10").tick()
    while not found.why:
        meter.now += MINUTE
        found = meter.tick()
    assert found.decision is not None
    assert found.decision.verdict is Verdict.WARN
    assert "ap-south-1: usage cannot be read (Throttling)" in found.decision.reason
    meter.spent("26")
    raised = meter.read()
    assert raised.verdict is Verdict.WARN
    meter.spent("30")
    assert meter.read().verdict is Verdict.STOP
    assert meter.asked[-1]["reason"].endswith("(at least: ap-south-1: usage cannot be read (Throttling))")


def test_when_listing_fails_the_accounts_sum_still_counts_what_no_known_series_shows(meter: Stocked):
    meter.spent("60").usage.listing_fails = {RUNTIME}
    found = meter.read()
    assert found.gaps == ("us-east-1: AWS/Bedrock cannot be listed",)
    assert found.spend.by_window[Window.DAY] >= 60
    assert found.asked is Level.STOP


def test_while_listing_fails_nothing_is_closed(meter: Stocked):
    meter.spent("1", moment("10:00")).usage.listing_fails = {RUNTIME}
    meter.read()
    assert meter.ledger.days == {}


@dataclass
class MonthlyLedger(FakeLedger):
    """A ledger that keeps series by month, as the real one does."""

    by_month: dict[datetime, set[Series]] = field(default_factory=dict)
    refuses_series: bool = False

    def known_series(self, month: datetime) -> frozenset[Series]:
        return frozenset(self.by_month.get(Window.MONTH.start(month), ()))

    def remember_series(self, month: datetime, series: Iterable[Series]) -> None:
        if self.refuses_series:
            self.down = True
            try:
                self._up()
            finally:
                self.down = False
        self.by_month.setdefault(Window.MONTH.start(month), set()).update(series)


def test_a_function_that_stays_warm_over_the_first_knows_its_series_in_the_new_month(prices: PriceTable):
    ledger = MonthlyLedger()
    meter = Stocked(prices, moment("30 23:50"), ledger=ledger)
    meter.gauge = Gauge(meter.usage, ledger, prices)
    meter.spent("1", moment("30 23:40")).read()
    meter.now = datetime.fromisoformat("2026-12-01T00:20:00+00:00")
    meter.read()
    assert ledger.known_series(meter.now) == {SERIES}


def test_series_that_could_not_be_remembered_are_remembered_by_the_next_read(meter: Stocked, prices: PriceTable):
    ledger = MonthlyLedger(refuses_series=True)
    warm = Stocked(prices, meter.now, ledger=ledger)
    warm.gauge = Gauge(warm.usage, ledger, prices)
    assert any("dynamodb" in each for each in warm.spent("1").read().problems)
    ledger.refuses_series = False
    warm.read()
    assert ledger.known_series(meter.now) == {SERIES}


# --- new models, tiers, sums ---


def test_a_model_that_is_not_listed_yet_counts_by_the_accounts_sum_at_the_dearest_price(meter: Stocked):
    meter.usage.unlisted = {NOVA}
    meter.spent("1")
    found = meter.read().spend
    tokens = meter.tokens("1")
    dearest = tokens * meter.prices.dearest(meter.now.date()).of(Kind.OUTPUT)
    assert found.by_window[Window.DAY] == dearest
    assert found.guessed == {"not listed yet (us-east-1)": dearest}
    meter.usage.unlisted.clear()
    listed = meter.read().spend
    assert round(listed.by_window[Window.DAY], 4) == Decimal("1.0000")
    assert listed.guessed == {}


def test_a_burst_of_an_unlisted_model_in_a_quiet_source_stops_at_once(meter: Stocked):
    meter.at("18:00").tick()
    meter.usage.unlisted = {COLOSSUS}
    meter.spent("60", moment("18:02"), of(model=COLOSSUS))
    meter.at("18:03").tick(woken=True)
    assert [each["level"] for each in meter.asked] == ["stop"]


@pytest.mark.parametrize("busy", ["2", "8"])
def test_a_sum_that_is_minutes_ahead_of_its_models_makes_no_dollars_up(meter: Stocked, busy: str):
    meter.limits = (replace(DAY, usd=Decimal(400)),)
    meter.usage.models_lag = timedelta(minutes=2)
    for minute in range(40):
        meter.spent(busy, moment("17:40") + minute * MINUTE)
    for time in ("18:00", "18:07", "18:19"):
        found = meter.at(time).read()
        assert found.spend.guessed == {}
        assert found.spend.by_window[Window.DAY] <= Decimal(busy) * 40
    assert month(meter.at("18:40")) == Decimal(busy) * 40


def test_what_a_sum_showed_before_its_models_did_is_still_news_afterwards(meter: Stocked):
    """The bound: what was visible and is in no figure must be in what may be unread."""
    meter.limits = (replace(DAY, usd=Decimal(100_000)),)
    meter.max_blind = Decimal(1000)
    meter.usage.models_lag = timedelta(minutes=2)
    for minute in range(40):
        meter.spent("5", moment("17:40") + minute * MINUTE)
    found = meter.at("18:19").read()
    missing = round(Decimal(200) - found.spend.by_window[Window.DAY], 2)
    quick = meter.at("18:23").tick()
    assert missing > 0
    assert not quick.why
    assert quick.unread is not None
    assert round(quick.unread.usd, 2) >= missing


def test_tiers_cost_their_own_price_and_the_rest_the_dearest(meter: Stocked, prices: PriceTable):
    minute = moment("10:00")
    million = 1_000_000
    for tier, count in ((None, 10), (Tier.FLEX, 3), (Tier.STANDARD, 5)):
        meter.usage.use(of(tier=tier), minute, count * million)
    price = {
        tier: prices.quote(NOVA, minute, tier, region="us-east-1").price.output
        for tier in (Tier.FLEX, Tier.STANDARD, Tier.UNKNOWN)
    }
    assert len(set(price.values())) == 3
    expected = 3 * price[Tier.FLEX] + 5 * price[Tier.STANDARD] + 2 * price[Tier.UNKNOWN]
    assert meter.read().spend.by_window[Window.DAY] == expected


def test_tiers_are_read_only_where_their_prices_differ(meter: Stocked, monkeypatch):
    same = "anthropic.claude-3-haiku-20240307-v1:0"
    quote = meter.prices.quote

    def flat(model: str, at: datetime, tier: Tier = Tier.UNKNOWN, region: str | None = None) -> Quote:
        return quote(model, at, Tier.STANDARD if model == same else tier, region)

    monkeypatch.setattr(meter.prices, "quote", flat)
    for model in (NOVA, same):
        for tier in (None, Tier.FLEX):
            meter.usage.use(of(model=model, tier=tier), moment("18:00"), 10)
    meter.read()
    read, _ = meter.usage.reads[-1]
    assert {(each.model, each.by_tier) for each in read} == {(NOVA, False), (NOVA, True), (same, False)}


def test_a_source_that_publishes_no_sums_is_read_although_it_was_unused_at_first(meter: Stocked):
    """The tripwire stands on the same sums, so nothing ever rings."""
    meter.usage.has_sums = False
    meter.at("10:00").tick()
    for minute in range(120):
        meter.spent("1", moment("11:00") + minute * MINUTE)
    run(meter, "13:00")
    assert meter.asked
    assert month(meter) == Decimal("120.00")


def test_a_source_that_publishes_no_sums_is_read_each_minute_while_it_is_in_use(meter: Stocked):
    meter.usage.has_sums = False
    meter.spent("1", moment("18:20")).tick()
    assert [bool(each.why) for each in run(meter, "18:40")] == [True] * 10
    found = [each.why for each in run(meter, "18:59")]
    assert 0 < sum(map(bool, found)) < 6


def test_usage_too_young_to_tell_whether_it_is_summed_is_read_again_soon(meter: Stocked):
    meter.usage.has_sums = False
    meter.spent("1", moment("18:28")).tick()
    assert any(each.why for each in run(meter, "18:36"))


def test_a_kind_without_a_sum_of_its_own_is_not_out_of_sight(meter: Stocked):
    """Cache tokens under a name the sums are not looked for under, beside text that has its sums."""

    class HalfSummed(FakeUsage):
        def _reading(self, *args: Any, **named: Any) -> Reading:
            found = super()._reading(*args, **named)
            return replace(found, totals=[each for each in found.totals if each.series.kind is not Kind.CACHE_WRITE])

    meter.usage = HalfSummed()
    cached = of(kind=Kind.CACHE_WRITE)
    price = meter.prices.quote(NOVA, meter.now, region="us-east-1").price.of(Kind.CACHE_WRITE)
    for minute in range(50):
        meter.spent("0.001", moment("18:00") + minute * MINUTE)
        meter.usage.use(cached, moment("18:00") + minute * MINUTE, int(Decimal(2) / price))
    meter.at("18:05").tick()
    run(meter, "18:50")
    assert meter.asked, "a limit of $50 went by unseen"


# --- regions found late, inventory ---


def discover(meter: Meter, mark: str, *regions: str) -> None:
    meter.ledger.notes["inventory"] = {"mark": mark, "discovered": [*regions]}


def test_a_region_discovered_late_counts_since_the_month_began(meter: Stocked):
    meter.at("22 10:00").spent("3", moment("04 10:00"), of(ELSEWHERE)).spent("2", moment("22 09:00"), of(ELSEWHERE))
    assert full(meter).by_window[Window.MONTH] == 0
    discover(meter, "new", "ap-south-1")
    found = full(meter.at("22 10:05"))
    assert round(found.by_window[Window.MONTH], 2) == Decimal("5.00")
    assert month(meter.at("22 13:00")) == Decimal("5.00")


def test_both_planes_of_a_discovered_region_are_read(meter: Stocked):
    mantle = Source("ap-south-1", "AWS/BedrockMantle")
    meter.at("22 10:00").spent("1", moment("20 10:00"), of(ELSEWHERE)).spent("2", moment("21 10:00"), of(mantle))
    discover(meter, "one", "ap-south-1")
    assert month(meter) == Decimal("3.00")


@pytest.mark.parametrize("then", [None, {"mark": "new", "discovered": []}], ids=["the item is lost", "it fell out"])
def test_a_discovered_region_is_not_forgotten_while_it_has_open_hours(meter: Stocked, then: dict[str, Any] | None):
    discover(meter, "one", "ap-south-1")
    meter.at("18:00").spent("6", moment("17:50"), of(ELSEWHERE)).tick()
    meter.ledger.notes.pop("inventory")
    if then is not None:
        meter.ledger.notes["inventory"] = then
    found = meter.at("18:05").tick()
    assert found.spend is None or round(found.spend.by_window[Window.DAY], 2) == Decimal("6.00") or found.spend.gaps


@pytest.mark.parametrize(
    "note",
    [
        {},
        {"discovered": {"ap-south-1": 5}},
        {"discovered": "ap-south-1"},
        {"discovered": [5]},
        {"discovered": None, "mark": None},
        {"mark": {"a": 1}},
    ],
)
def test_an_inventory_note_that_is_none_never_ends_the_tick(meter: Stocked, note: Any):
    meter.ledger.notes["inventory"] = note
    assert meter.spent("60").read().asked is Level.STOP


def test_an_inventory_that_got_lost_is_a_gap_and_not_free(meter: Stocked):
    usd = Decimal(10)
    there = Standing(
        "unit", CostKind.PROVISIONED, "us-east-1", "arn:p", usd, meter.now - timedelta(hours=5), None, Confidence.LISTED
    )
    meter.inventory = Inventory(meter.now, standing=(there,))
    discover(meter, meter.inventory.mark)
    assert meter.read().spend.by_window[Window.DAY] == 50
    meter.inventory = None
    del meter.ledger.documents["inventory"]
    found = meter.read()
    assert found.spend.gaps
    assert found.verdict is Verdict.STOP


def test_hours_are_not_closed_by_guess_while_no_inventory_says_what_is_behind_an_id(meter: Stocked):
    profile = "a1b2c3d4e5f6"
    meter.at("22 10:00").spent("3", moment("04 10:00"), of(model=NOVA))
    meter.usage.points = [replace(each, series=of(model=profile)) for each in meter.usage.points]
    meter.inventory = None
    assert meter.read().spend.guessed
    meter.inventory = Inventory(meter.now, aliases={profile: (NOVA,)})
    found = meter.at("22 10:20").read().spend
    assert round(found.by_window[Window.MONTH], 2) == Decimal("3.00")


def test_a_broken_inventory_is_a_problem_and_tokens_still_count(meter: Stocked):
    meter.inventory = None
    meter.ledger.documents["inventory"] = {"at": "never"}
    found = meter.spent("60").read()
    assert found.asked is Level.STOP
    assert any("run the inventory function" in each for each in found.problems)


# --- pace: what is read when ---


@dataclass
class CountingLedger(FakeLedger):
    """A ledger that counts every call."""

    calls: list[str] = field(default_factory=list)

    def _up(self) -> None:
        self.calls.append("call")
        super()._up()


def test_a_tick_with_nothing_due_is_one_ledger_read_and_no_call_to_cloudwatch(prices: PriceTable):
    ledger = CountingLedger()
    meter = Stocked(prices, moment("18:01"), ledger=ledger)
    meter.tick()
    ledger.calls.clear()
    meter.usage.reads.clear()
    for _ in range(25):
        meter.now += MINUTE
        before = len(ledger.calls)
        assert not meter.tick().why
        assert len(ledger.calls) - before == 1
    assert (meter.usage.glances, meter.usage.reads) == ([], [])


def test_sources_without_a_tripwire_are_glanced_at_each_minute(meter: Stocked):
    meter.at("18:01").tick()
    meter.guarded = False
    for _ in range(10):
        meter.now += MINUTE
        meter.tick()
        assert set(meter.usage.glances[-1]) == {RUNTIME, MANTLE}
    assert len(meter.usage.glances) == 10


def test_a_tick_that_an_alarm_woke_looks_at_everything(meter: Stocked):
    discover(meter, "m", "ap-south-1")
    meter.at("18:01").tick()
    meter.at("18:02").tick(woken=True)
    assert set(meter.usage.glances[-1]) >= {RUNTIME, MANTLE, ELSEWHERE}


def test_a_wake_that_comes_before_the_tokens_show_is_not_wasted(meter: Stocked):
    """The tripwire counts calls; the tokens of the same call may show a minute later, and it does not ring again."""
    meter.at("18:01").tick()
    calls = Series(*RUNTIME, "Invocations", (), "", Kind.CALLS)
    for minute in range(3, 29):
        meter.usage.use(calls, moment("18:00") + minute * MINUTE, 9)
        meter.usage.use(SERIES, moment("18:00") + minute * MINUTE, meter.tokens("10"), 2 * MINUTE)
    meter.at("18:04").tick(woken=True)
    run(meter, "18:12")
    assert meter.asked, "$70 after a tripwire rang nobody has looked again"


def test_a_wake_whose_glance_fails_is_not_wasted(meter: Stocked):
    """The tripwire does not ring again: the source is read, and read again as long as it fails."""
    meter.at("10:00").spent("1", moment("09:55")).tick()
    run(meter, "18:01", 7 * MINUTE)
    meter.usage.gaps[RUNTIME] = "us-east-1: throttled"
    meter.spent("60", moment("18:02")).at("18:03").tick(woken=True)
    meter.usage.gaps.clear()
    run(meter, "18:09")
    assert meter.asked


def test_a_wake_just_after_a_release_looks_at_everything(meter: Stocked):
    meter.at("17:00").tick()
    meter.ledger.forget_verdict()
    meter.spent("60", moment("17:01")).at("17:03").tick(woken=True)
    assert meter.asked


def test_the_hourly_read_comes_without_any_news(meter: Stocked):
    meter.at("18:01").tick()
    assert [each.why for each in run(meter, "19:01") if each.why] == ["the last full read is old"]


def test_a_read_with_gaps_is_tried_again_after_five_minutes(meter: Stocked):
    meter.usage.gaps[MANTLE] = "us-east-1: cannot be read"
    meter.at("18:01").tick()
    assert [each.why for each in run(meter, "18:11") if each.why] == ["the last full read had gaps"] * 2


def test_a_read_with_gaps_is_tried_again_at_news(meter: Stocked):
    meter.usage.gaps[MANTLE] = "us-east-1: cannot be read"
    meter.at("18:01").spent("1", moment("18:00")).tick()
    meter.spent("10", moment("18:02"))
    assert meter.at("18:03").tick().why


def test_a_glance_that_fails_is_made_good_by_a_read_although_another_region_never_answers(meter: Stocked):
    meter.regions = ("us-east-1", "ap-south-1")
    meter.usage.gaps[ELSEWHERE] = "ap-south-1: denied"
    meter.at("18:01").spent("1", moment("18:00")).tick()
    meter.at("18:03").usage.gaps[RUNTIME] = "us-east-1: throttled"
    assert meter.tick().why


def test_a_changed_inventory_is_read_at_once(meter: Stocked):
    meter.at("18:01").tick()
    discover(meter, "another mark")
    assert meter.at("18:02").tick().why == "the inventory changed"
    assert not meter.at("18:03").tick().why


def test_after_a_release_everything_is_judged_afresh_at_once(meter: Stocked):
    meter.at("18:01").tick()
    meter.ledger.forget_verdict()
    assert meter.at("18:02").tick().why


@pytest.mark.parametrize("enforce", [True, False])
def test_a_stop_that_is_called_for_and_not_there_is_read_in_full_each_minute(meter: Stocked, enforce: bool):
    meter.enforce = enforce
    meter.at("18:01").spent("60", moment("17:30")).tick()
    reads = [bool(each.why) for each in run(meter, "18:05")]
    assert reads == [enforce] * 4
    meter.brake.level = Level.STOP
    assert [bool(each.why) for each in run(meter, "18:08")] == [False] * 3


def test_an_allowance_that_expires_between_two_reads_no_longer_holds_the_stop_back(meter: Stocked):
    meter.ledger.granted = [Allowance(Decimal(100), moment("18:20"), "report", "ada")]
    meter.at("18:01").spent("60", moment("17:30"))
    assert full(meter).by_window[Window.DAY] > 50
    run(meter, "18:19")
    assert meter.asked == []
    run(meter, "18:22")
    assert [each["level"] for each in meter.asked][:1] == ["stop"]


def test_a_limit_that_a_deployment_lowers_holds_at_once(meter: Stocked):
    meter.at("18:01").spent("30", moment("17:30")).tick()
    meter.limits = (replace(DAY, usd=Decimal(20)),)
    run(meter, "18:04")
    assert [each["level"] for each in meter.asked][:1] == ["stop"]


def test_rungs_of_a_new_window_are_not_taken_for_passed(meter: Stocked):
    """$7 went in the hour before, and were allowed; in the new one $6 are too much."""
    meter.limits = (Limit(Window.HOUR, Decimal(6), Ladder(None, None)),)
    meter.max_blind = Decimal(50)
    meter.ledger.granted = [Allowance(Decimal(10), moment("19:00"), "report", "ada")]
    meter.at("18:58").spent("7", moment("18:50")).tick()
    for minute in range(10):
        meter.spent("1", moment("19:01") + minute * MINUTE)
    run(meter, "19:12")
    assert [each["level"] for each in meter.asked][:1] == ["stop"]


BROKEN_WATCHES: list[Any] = [
    [],
    "x",
    5,
    {},
    {"read_at": "yesterday"},
    {"spent": {}},
    {"spent": {"hour": "NaN", "day": "0", "month": "0"}},
    {"spent": {"hour": "-5", "day": "-5", "month": "-5"}},
    {"standing_usd_per_minute": "NaN"},
    {"standing_usd_per_minute": "-9"},
    {"standing_usd_per_minute": None},
    {"sources": [["us-east-1"]]},
    {"sources": {"a": 1}},
    {"sources": [["us-east-1", "AWS/Bedrock", None, {"input": "many"}, {}, {}, False, False, False, False]]},
    {"sources": [["us-east-1", "AWS/Bedrock", None, {"dreams": 5}, {}, {}, False, False, False, False]]},
    {"sources": [["us-east-1", "AWS/Bedrock", 5, {}, {}, {}, False, False, False, False]]},
]


@pytest.mark.parametrize("broken", BROKEN_WATCHES, ids=json.dumps)
def test_a_watch_of_another_version_is_a_full_read_and_a_problem_and_never_a_crash(meter: Stocked, broken: Any):
    meter.at("18:01").spent("1", moment("18:00")).tick()
    good = dict(meter.ledger.notes["watch"])
    meter.ledger.notes["watch"] = {**good, **broken} if isinstance(broken, dict) and broken else broken
    meter.spent("60", moment("18:02"))
    found = meter.at("18:04").tick()
    assert found.why == "nothing is known of before"
    assert any("this tick reads in full" in each for each in found.problems)
    assert found.asked is Level.STOP
    meter.brake.level = Level.STOP
    assert not meter.at("18:05").tick().problems


def test_a_watch_from_the_future_does_not_put_the_hourly_read_off(meter: Stocked):
    """The clock was a day ahead for a while."""
    meter.at("23 18:00").tick()
    meter.at("22 18:01")
    assert any(each.why for each in run(meter, "19:10"))


def test_a_dearer_model_in_place_of_a_cheaper_one_is_read_within_half_an_hour(meter: Stocked):
    """As many tokens as before: only a full read can tell. In the meantime the bound does not hold."""
    meter.limits = (replace(DAY, usd=Decimal(100_000)),)
    tokens = meter.tokens("0.01")
    for minute in range(60):
        model = NOVA if minute < 22 else "anthropic.claude-opus-5"
        meter.usage.use(of(model=model), moment("18:00") + minute * MINUTE, tokens)
    meter.at("18:21").tick()
    assert any("claude" in str(each.spend) for each in run(meter, "18:52"))


def test_images_of_a_source_that_made_none_are_seen_within_five_minutes_and_stay_in_sight(meter: Stocked):
    meter.limits = (replace(DAY, usd=Decimal(100_000)),)
    image = of(kind=Kind.IMAGE)
    price = meter.prices.dearest(meter.now.date()).of(Kind.IMAGE)
    meter.at("18:01").spent("0.001", moment("18:00")).tick()
    for minute in range(1, 15):
        meter.spent("0.0001", moment("18:00") + minute * MINUTE)
    meter.usage.use(image, moment("18:03"), int(2 / price))
    known = Decimal(0)
    run(meter, "18:04")
    for _ in range(5):
        meter.now += MINUTE
        found = meter.tick()
        known = known if found.spend is None else found.spend.by_window[Window.DAY]
        assert found.unread is not None
        assert known + found.unread.usd >= 1


@pytest.mark.parametrize("cost", [Decimal(1), Decimal(3)])
def test_standing_cost_counts_as_burn_between_reads(meter: Stocked, cost: Decimal):
    """$4 a minute stand there; with more than $1 a minute on top the minute's limit is crossed."""
    meter.limits = (Limit(Window.MINUTE, Decimal(5), Ladder(None, None)),)
    meter.max_blind = Decimal(500)
    since = moment("18:00")
    there = Standing("p", CostKind.PROVISIONED, "us-east-1", "arn:p", Decimal(240), since, None, Confidence.LISTED)
    meter.inventory = Inventory(moment("18:01"), standing=(there,))
    meter.at("18:02").spent("0.0001", moment("18:01")).tick()
    dearest = meter.prices.dearest(meter.now.date()).of(Kind.OUTPUT)
    meter.usage.use(of(model=COLOSSUS), moment("18:04"), int(cost / dearest) + 1)
    run(meter, "18:06")
    assert [each["level"] for each in meter.asked][:1] == ["stop"]


def test_closed_days_are_only_added_to_hours_that_were_read(meter: Stocked):
    """A region with a hole in its days is counted once, from the hole on."""
    meter.at("22 12:00").spent("1", moment("20 10:00")).spent("2", moment("21 10:00")).read()
    assert {day.day for day in meter.ledger.days.values()} >= {date(2026, 11, 20), date(2026, 11, 21)}
    del meter.ledger.days[date(2026, 11, 20), "us-east-1"]
    assert [month(meter), month(meter)] == [Decimal("3.00")] * 2


def test_closed_days_of_a_region_no_longer_configured_still_count(meter: Stocked):
    for number in (1, 2, 3):
        until = moment(f"{number + 1:02} 00:00")
        day = ClosedDay(date(2026, 11, number), "sa-east-1", until, {"m (sa-east-1)": Decimal(7)})
        meter.ledger.days[day.day, day.region] = day
    assert month(meter) == Decimal("21.00")
