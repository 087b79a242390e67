"""From samples to dollars: nothing twice, nothing lost, late data and gaps included."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from lambdas.core.prices import PriceTable
from lambdas.core.spend import price_reading
from lambdas.core.usage import Kind, Reading, Sample, Series, clean_count
from lambdas.core.windows import Window

NOVA = "amazon.nova-pro-v1:0"  # $0.80 in, $3.20 out per million
HOUR, MINUTE = 3600, 60


def series(metric: str = "OutputTokenCount", kind: Kind = Kind.OUTPUT, model: str = NOVA, **changes: object) -> Series:
    values: dict[str, object] = {
        "region": "us-east-1",
        "namespace": "AWS/Bedrock",
        "dimensions": (("ModelId", model),),
    } | changes
    return Series(metric=metric, model=model, kind=kind, **values)  # type: ignore[arg-type]


def sample(now: datetime, count: int, *, minutes_ago: int = 0, period: int = HOUR, of: Series | None = None) -> Sample:
    window = Window.HOUR if period == HOUR else Window.MINUTE
    return Sample(of or series(), window.start(now - timedelta(minutes=minutes_ago)), period, count)


def test_a_million_output_tokens_of_nova_pro_cost_3_dollars_20(now: datetime, prices: PriceTable):
    spend = price_reading(Reading(now, [sample(now, 1_000_000)]), prices)
    assert spend.by_window == {window: Decimal("3.20") for window in (Window.HOUR, Window.DAY, Window.MONTH)}
    assert spend.complete


def test_every_window_counts_from_its_own_start(now: datetime, prices: PriceTable):
    million = 1_000_000
    samples = [
        sample(now, million),
        sample(now, million, minutes_ago=120),
        sample(now, million, minutes_ago=60 * 24 * 3),
        # The last hour of October is another month's.
        Sample(series(), datetime(2026, 10, 31, 23, tzinfo=UTC), HOUR, million),
    ]
    spend = price_reading(Reading(now, samples), prices)
    assert spend.by_window[Window.HOUR] == Decimal("3.20")
    assert spend.by_window[Window.DAY] == Decimal("6.40")
    assert spend.by_window[Window.MONTH] == Decimal("9.60")


def test_minutes_and_hours_of_the_same_tokens_count_once_and_the_larger_counts(now: datetime, prices: PriceTable):
    by_hour = sample(now, 500_000)
    by_minute = [sample(now, 300_000, minutes_ago=ago, period=MINUTE) for ago in (1, 2)]
    spend = price_reading(Reading(now, [by_hour, *by_minute]), prices)
    assert spend.by_window[Window.HOUR] == Decimal("3.20") * 600_000 / 1_000_000


def test_a_metric_under_its_old_and_new_name_counts_once(now: datetime, prices: PriceTable):
    old = series("CacheReadInputTokens", Kind.CACHE_READ)
    new = series("CacheReadInputTokenCount", Kind.CACHE_READ)
    spend = price_reading(Reading(now, [sample(now, 900_000, of=old), sample(now, 1_000_000, of=new)]), prices)
    assert spend.by_window[Window.MONTH] == Decimal("0.20")


def test_projects_of_the_mantle_plane_add_up(now: datetime, prices: PriceTable):
    one, other = (
        series("OutputTokens", namespace="AWS/BedrockMantle", dimensions=(("Model", NOVA), ("Project", project)))
        for project in ("a", "b")
    )
    spend = price_reading(Reading(now, [sample(now, 1_000_000, of=one), sample(now, 1_000_000, of=other)]), prices)
    assert spend.by_window[Window.MONTH] == Decimal("6.40")


def test_the_same_model_in_two_regions_adds_up_and_is_told_apart(now: datetime, prices: PriceTable):
    there = series(region="eu-central-1")
    spend = price_reading(Reading(now, [sample(now, 1_000_000), sample(now, 2_000_000, of=there)]), prices)
    assert spend.by_window[Window.DAY] == Decimal("9.60")
    assert list(spend.by_model) == [f"{NOVA} (eu-central-1)", f"{NOVA} (us-east-1)"]


def test_the_burn_is_the_dearest_of_the_last_five_minutes(now: datetime, prices: PriceTable):
    counts = {1: 1_000_000, 3: 4_000_000, 5: 2_000_000, 7: 9_000_000}
    samples = [sample(now, count, minutes_ago=ago, period=MINUTE) for ago, count in counts.items()]
    assert price_reading(Reading(now, samples), prices).burn == Decimal("12.80")


def test_no_usage_is_no_spend_and_no_burn(now: datetime, prices: PriceTable):
    spend = price_reading(Reading(now, []), prices)
    assert spend.burn == 0
    assert set(spend.by_window.values()) == {Decimal(0)}


def test_an_unknown_model_is_named_with_what_was_guessed(now: datetime, prices: PriceTable):
    unknown = series(model="newco.colossus-9", dimensions=(("ModelId", "newco.colossus-9"),))
    spend = price_reading(Reading(now, [sample(now, 1_000_000, of=unknown)]), prices)
    assert spend.guessed == {"newco.colossus-9": prices.dearest(now.date()).output}


def test_gaps_travel_with_the_figure(now: datetime, prices: PriceTable):
    spend = price_reading(Reading(now, [], ("eu-west-1: cannot be read",)), prices)
    assert not spend.complete
    assert spend.gaps == ("eu-west-1: cannot be read",)


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
