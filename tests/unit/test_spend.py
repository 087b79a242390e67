"""From samples to dollars: nothing twice, nothing lost, late data and gaps included."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from lambdas.core.closed import ClosedDay
from lambdas.core.inventory import BY_THE_HOUR, Confidence, CostKind, Inventory, Standing
from lambdas.core.prices import PriceTable
from lambdas.core.spend import UNLISTED, Spend, priced, spend_of
from lambdas.core.usage import Kind, Reading, Sample, Series, Source, Tier, clean_count
from lambdas.core.windows import Window
from tests.fakes import moment

NOVA = "amazon.nova-pro-v1:0"
COLOSSUS = "newco.colossus-9"  # in no price list
HOUR, MINUTE = 3600, 60
MILLION = 1_000_000
RUNTIME = Source("us-east-1", "AWS/Bedrock")


def series(model: str = NOVA, tier: Tier | None = None, source: Source = RUNTIME, kind: Kind = Kind.OUTPUT) -> Series:
    dimensions = (("ModelId", model),) + ((("ResolvedServiceTier", tier),) if tier else ())
    return Series(*source, kind, dimensions, model, kind, tier or Tier.UNKNOWN, by_tier=tier is not None)


def sums(source: Source = RUNTIME, kind: Kind = Kind.OUTPUT) -> Series:
    return Series(*source, kind, (), "", kind)


def sample(now: datetime, count: int, *, minutes_ago: int = 0, period: int = HOUR, of: Series | None = None) -> Sample:
    window = Window.HOUR if period == HOUR else Window.MINUTE
    return Sample(of or series(), window.start(now - timedelta(minutes=minutes_ago)), period, count)


def spend(
    prices: PriceTable,
    now: datetime,
    samples: Sequence[Sample],
    totals: Sequence[Sample] = (),
    closed: Sequence[ClosedDay] = (),
    inventory: Inventory | None = None,
    **reading: object,
) -> Spend:
    behind = inventory.models_behind if inventory else lambda model: (model,)
    found = Reading(now, samples, totals=totals, **reading)  # type: ignore[arg-type]
    return spend_of(priced(found, prices, behind), closed, inventory)


def of(prices: PriceTable, now: datetime, tier: Tier = Tier.UNKNOWN, model: str = NOVA) -> Decimal:
    """Return USD for a million tokens of output."""
    return prices.quote(model, now, tier, region="us-east-1").price.output


def dearest(prices: PriceTable, now: datetime) -> Decimal:
    return prices.dearest(now.date()).output


def test_a_million_tokens_cost_what_the_table_says(now: datetime, prices: PriceTable):
    found = spend(prices, now, [sample(now, MILLION)])
    assert found.by_window == dict.fromkeys((Window.HOUR, Window.DAY, Window.MONTH), of(prices, now))
    assert found.complete


def test_every_window_counts_from_its_own_start(now: datetime, prices: PriceTable):
    samples = [
        sample(now, MILLION),
        sample(now, MILLION, minutes_ago=120),
        sample(now, MILLION, minutes_ago=60 * 24 * 3),
        # The last hour of October is another month's.
        Sample(series(), datetime(2026, 10, 31, 23, tzinfo=UTC), HOUR, MILLION),
    ]
    found = spend(prices, now, samples).by_window
    usd = of(prices, now)
    assert [found[each] for each in (Window.HOUR, Window.DAY, Window.MONTH)] == [usd, 2 * usd, 3 * usd]


def test_closed_days_and_open_hours_add_up(now: datetime, prices: PriceTable):
    closed = [
        ClosedDay(date(2026, 10, 31), "us-east-1", moment("01 00:00"), {"a": Decimal(90)}),
        ClosedDay(date(2026, 11, 3), "us-east-1", moment("04 00:00"), {"a": Decimal(5)}, {"a": Decimal(2)}),
        ClosedDay(date(2026, 11, 22), "us-east-1", moment("17:00"), {"a": Decimal(7)}),
        ClosedDay(date(2026, 11, 22), "eu-west-1", moment("16:00"), {"b": Decimal(1)}, {"b": Decimal(1)}),
    ]
    found = spend(prices, now, [sample(now, MILLION)], closed=closed)
    usd = of(prices, now)
    assert [found.by_window[each] for each in (Window.HOUR, Window.DAY, Window.MONTH)] == [usd, usd + 8, usd + 13]
    assert found.by_model == {"a": Decimal(7), f"{NOVA} (us-east-1)": usd, "b": Decimal(1)}
    assert found.guessed == {"a": Decimal(2), "b": Decimal(1)}
    assert found.guessed_percent == Decimal(300) / (usd + 13)


def test_minutes_ahead_of_our_clock_count(now: datetime, prices: PriceTable):
    found = spend(prices, now, [sample(now, MILLION, minutes_ago=-45, period=MINUTE)])
    assert set(found.by_window.values()) == {of(prices, now)}


def test_the_same_model_in_two_regions_adds_up_and_is_told_apart(now: datetime, prices: PriceTable):
    there = series(source=Source("eu-central-1", "AWS/Bedrock"))
    found = spend(prices, now, [sample(now, MILLION), sample(now, 2 * MILLION, of=there)])
    assert list(found.by_model) == [f"{NOVA} (eu-central-1)", f"{NOVA} (us-east-1)"]
    assert sum(found.by_model.values()) == found.by_window[Window.DAY]


def test_both_planes_of_a_model_add_up(now: datetime, prices: PriceTable):
    there = series(source=Source("us-east-1", "AWS/BedrockMantle"))
    found = spend(prices, now, [sample(now, MILLION), sample(now, MILLION, of=there)])
    assert found.by_model == {f"{NOVA} (us-east-1)": 2 * of(prices, now)}


# --- tiers ---


@pytest.mark.parametrize(
    ("whole", "parts", "unknown"),
    [
        (10, {Tier.FLEX: 3, Tier.STANDARD: 5}, 2),
        (10, {Tier.FLEX: 10}, 0),
        (10, {}, 10),
        (0, {Tier.FLEX: 4}, 0),
        (10, {Tier.FLEX: 8, Tier.PRIORITY: 7}, 0),
        (10, {Tier.UNKNOWN: 4, Tier.FLEX: 3}, 7),
    ],
    ids=["a rest", "no rest", "no tiers", "tiers alone", "tiers beyond the whole", "a tier nobody knows"],
)
@pytest.mark.parametrize("period", [MINUTE, HOUR])
def test_tiers_cost_their_own_price_and_what_they_do_not_explain_the_dearest(
    now: datetime, prices: PriceTable, whole: int, parts: dict[Tier, int], unknown: int, period: int
):
    samples = [sample(now, whole * MILLION, minutes_ago=9, period=period)] if whole else []
    samples += [
        sample(now, n * MILLION, minutes_ago=9, period=period, of=series(tier=tier)) for tier, n in parts.items()
    ]
    expected = unknown * of(prices, now) + sum(
        (n * of(prices, now, tier) for tier, n in parts.items() if tier is not Tier.UNKNOWN), Decimal(0)
    )
    found = spend(prices, now, samples)
    assert found.by_window[Window.DAY] == expected
    assert found.guessed == {}


def test_tiers_of_one_minute_explain_nothing_of_another(now: datetime, prices: PriceTable):
    samples = [
        sample(now, MILLION, minutes_ago=9, period=MINUTE),
        sample(now, MILLION, minutes_ago=8, period=MINUTE, of=series(tier=Tier.FLEX)),
    ]
    assert spend(prices, now, samples).by_window[Window.DAY] == of(prices, now) + of(prices, now, Tier.FLEX)


# --- the account's own sums ---


def test_sums_that_the_models_explain_cost_nothing(now: datetime, prices: PriceTable):
    for period in (MINUTE, HOUR):
        models = [sample(now, n, minutes_ago=9, period=period, of=series(str(n))) for n in (3, 5)]
        total = [sample(now, 8, minutes_ago=9, period=period, of=sums())]
        assert UNLISTED not in str(spend(prices, now, models, total).by_model)


@pytest.mark.parametrize("period", [MINUTE, HOUR])
def test_what_no_model_explains_costs_the_dearest_price_and_is_a_guess(now: datetime, prices: PriceTable, period: int):
    models = [sample(now, 3 * MILLION, minutes_ago=9, period=period)]
    total = [sample(now, 5 * MILLION, minutes_ago=9, period=period, of=sums())]
    found = spend(prices, now, models, total)
    assert found.by_window[Window.DAY] == 3 * of(prices, now) + 2 * dearest(prices, now)
    assert found.guessed == {f"{UNLISTED} (us-east-1)": 2 * dearest(prices, now)}


def test_tiers_alone_explain_a_sum(now: datetime, prices: PriceTable):
    models = [sample(now, MILLION, of=series(tier=Tier.FLEX))]
    found = spend(prices, now, models, [sample(now, MILLION, of=sums())])
    assert found.by_window[Window.DAY] == of(prices, now, Tier.FLEX)


def test_models_and_their_tiers_do_not_explain_a_sum_twice(now: datetime, prices: PriceTable):
    models = [sample(now, MILLION), sample(now, MILLION, of=series(tier=Tier.FLEX))]
    found = spend(prices, now, models, [sample(now, 2 * MILLION, of=sums())])
    assert found.by_window[Window.DAY] == of(prices, now, Tier.FLEX) + dearest(prices, now)


@pytest.mark.parametrize("other", ["region", "plane", "kind", "minute"])
def test_models_explain_only_the_sum_of_their_own_source_kind_and_time(now: datetime, prices: PriceTable, other: str):
    total = {
        "region": sample(now, MILLION, minutes_ago=9, period=MINUTE, of=sums(Source("eu-west-1", "AWS/Bedrock"))),
        "plane": sample(now, MILLION, minutes_ago=9, period=MINUTE, of=sums(Source("us-east-1", "AWS/BedrockMantle"))),
        "kind": sample(now, MILLION, minutes_ago=9, period=MINUTE, of=sums(kind=Kind.INPUT)),
        "minute": sample(now, MILLION, minutes_ago=8, period=MINUTE, of=sums()),
    }[other]
    found = spend(prices, now, [sample(now, MILLION, minutes_ago=9, period=MINUTE)], [total])
    assert found.guessed


@pytest.mark.parametrize(("minutes_ago", "counted"), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (9, 1)])
def test_a_minute_that_fills_up_may_be_ahead_of_its_models_by_their_busiest_minute(
    now: datetime, prices: PriceTable, minutes_ago: int, counted: int
):
    busy = [sample(now, MILLION, minutes_ago=12, period=MINUTE)]
    total = [
        sample(now, MILLION, minutes_ago=12, period=MINUTE, of=sums()),
        sample(now, MILLION, minutes_ago=minutes_ago, period=MINUTE, of=sums()),
    ]
    found = spend(prices, now, busy, total)
    assert sum(found.guessed.values()) == counted * dearest(prices, now)


def test_a_burst_beyond_the_busiest_minute_counts_at_once(now: datetime, prices: PriceTable):
    busy = [sample(now, MILLION, minutes_ago=12, period=MINUTE)]
    total = [sample(now, 5 * MILLION, period=MINUTE, of=sums())]
    assert sum(spend(prices, now, busy, total).guessed.values()) == 4 * dearest(prices, now)


def test_in_a_quiet_source_the_first_minute_of_an_unlisted_model_counts_at_once(now: datetime, prices: PriceTable):
    found = spend(prices, now, [], [sample(now, MILLION, period=MINUTE, of=sums())])
    assert found.by_window[Window.HOUR] == dearest(prices, now)
    assert found.burn == dearest(prices, now)


def test_where_models_were_not_read_whole_the_sum_proves_nothing(now: datetime, prices: PriceTable):
    total = [sample(now, MILLION, minutes_ago=9, period=MINUTE, of=sums())]
    found = spend(prices, now, [], total, gaps=("us-east-1: throttled",), incomplete=frozenset({RUNTIME}))
    assert found.by_window[Window.DAY] == 0
    assert not found.complete


def test_where_models_could_not_be_listed_the_sum_counts(now: datetime, prices: PriceTable):
    total = [sample(now, MILLION, minutes_ago=9, period=MINUTE, of=sums())]
    found = spend(prices, now, [], total, gaps=("us-east-1: not listed",), unlisted=frozenset({RUNTIME}))
    assert found.by_window[Window.DAY] == dearest(prices, now)


def test_calls_cost_nothing_by_themselves(now: datetime, prices: PriceTable):
    found = spend(prices, now, [], [sample(now, MILLION, minutes_ago=9, period=MINUTE, of=sums(kind=Kind.CALLS))])
    assert found.by_window[Window.DAY] == 0


# --- what is behind an id, and the inventory ---


def test_of_several_models_behind_an_id_the_dearest_counts(now: datetime, prices: PriceTable):
    cheap, dear = "amazon.nova-lite-v1:0", "amazon.nova-premier-v1:0"
    stock = Inventory(now, aliases={"a1b2c3": (cheap, dear)})
    found = spend(prices, now, [sample(now, MILLION, of=series("a1b2c3"))], inventory=stock)
    assert found.by_window[Window.DAY] == of(prices, now, model=dear) > of(prices, now, model=cheap)
    assert found.guessed == {}


def test_an_imported_model_is_billed_by_its_copies_and_not_by_tokens(now: datetime, prices: PriceTable):
    stock = Inventory(now, aliases={"arn:imported": (BY_THE_HOUR,)})
    assert spend(prices, now, [sample(now, MILLION, of=series("arn:imported"))], inventory=stock).by_window[
        Window.DAY
    ] == Decimal(0)


def test_an_unknown_model_is_named_with_what_was_guessed(now: datetime, prices: PriceTable):
    found = spend(prices, now, [sample(now, MILLION, of=series(COLOSSUS))])
    assert found.guessed == {f"{COLOSSUS} (us-east-1)": dearest(prices, now)}
    assert found.guessed_percent == 100


def test_standing_cost_adds_to_every_window_and_to_the_burn(now: datetime, prices: PriceTable):
    since = now - timedelta(hours=2)
    unit = Standing("u", CostKind.PROVISIONED, "us-east-1", "arn", Decimal(60), since, None, Confidence.GUESSED)
    found = spend(prices, now, [sample(now, MILLION)], inventory=Inventory(now, standing=(unit,)))
    assert found.by_window[Window.DAY] == of(prices, now) + 120
    assert found.burn == 1
    assert found.guessed == {"standing cost and jobs": Decimal(120)}
    assert found.by_model["provisioned throughput u (us-east-1)"] == 120


def test_an_old_inventory_is_a_gap(now: datetime, prices: PriceTable):
    stock = Inventory(now - timedelta(minutes=61), gaps=("eu-west-1: denied",))
    found = spend(prices, now, [], inventory=stock)
    assert found.gaps == ("eu-west-1: denied", "the inventory of standing cost is as of 2026-11-22 17:29 UTC")
    assert spend(prices, now, [], inventory=replace(stock, at=now)).gaps == ("eu-west-1: denied",)


# --- burn ---


def test_the_burn_is_the_dearest_of_the_last_five_minutes(now: datetime, prices: PriceTable):
    counts = {1: 1, 3: 4, 5: 2, 7: 9}
    samples = [sample(now, n * MILLION, minutes_ago=ago, period=MINUTE) for ago, n in counts.items()]
    assert spend(prices, now, samples).burn == 4 * of(prices, now)


def test_the_burn_is_that_of_all_regions_and_models_together(now: datetime, prices: PriceTable):
    there = series(source=Source("eu-central-1", "AWS/Bedrock"))
    samples = [sample(now, MILLION, minutes_ago=2, period=MINUTE, of=each) for each in (series(), there)]
    usd = sum(prices.quote(NOVA, now, region=each).price.output for each in ("us-east-1", "eu-central-1"))
    assert spend(prices, now, samples).burn == usd


def test_no_usage_is_no_spend_and_no_burn(now: datetime, prices: PriceTable):
    found = spend(prices, now, [])
    assert found.burn == 0
    assert set(found.by_window.values()) == {Decimal(0)}
    assert found.guessed_percent == 0


def test_gaps_travel_with_the_figure(now: datetime, prices: PriceTable):
    found = spend(prices, now, [], gaps=("eu-west-1: cannot be read",))
    assert not found.complete
    assert found.gaps == ("eu-west-1: cannot be read",)


@pytest.mark.parametrize(("value", "count"), [(0, 0), (12.0, 12), (0.2, 1), (1e15, 10**15)])
def test_counts_are_whole_and_rounded_up(value: float, count: int):
    assert clean_count(value) == count


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf"), None, "5", True, [], {}])
def test_what_is_no_count_is_unknown_and_not_zero(value: object):
    assert clean_count(value) is None


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (Window.MINUTE, "2026-02-28T23:59", "2026-03-01T00:00"),
        (Window.HOUR, "2026-02-28T23:00", "2026-03-01T00:00"),
        (Window.DAY, "2026-02-28T00:00", "2026-03-01T00:00"),
        (Window.MONTH, "2026-02-01T00:00", "2026-03-01T00:00"),
    ],
)
def test_windows_are_those_of_the_calendar_in_utc(window: Window, start: str, end: str):
    at = datetime(2026, 3, 1, 8, 59, 59, tzinfo=UTC) - timedelta(hours=9)
    assert window.start(at) == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert window.end(at) == datetime.fromisoformat(end).replace(tzinfo=UTC)


def test_a_moment_of_another_zone_falls_into_its_utc_window():
    tokyo = datetime.fromisoformat("2026-12-01T08:30:00+09:00")
    assert Window.MONTH.start(tokyo) == datetime(2026, 11, 1, tzinfo=UTC)
    assert Window.MONTH.end(tokyo) == datetime(2026, 12, 1, tzinfo=UTC)
