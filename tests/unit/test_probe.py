"""A model called for the first time: CloudWatch lists it late, but answers when asked for it by its name."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from lambdas.core.model_ids import callable_in
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Kind, Series, Source
from lambdas.core.windows import Window
from lambdas.measuring import Gauge
from tests.fakes import moment
from tests.unit.test_measuring import COLOSSUS, Stocked, month
from tests.unit.test_metering import DAY, NOVA

MANTLE = Source("us-east-1", "AWS/BedrockMantle")
KIMI = "moonshotai.kimi-k2.5"
BY_PROJECT = (("Project", "p"), ("Model", KIMI))


def of(kind: Kind, model: str = NOVA) -> Series:
    return Series("us-east-1", "AWS/Bedrock", f"{kind}Count", (("ModelId", model),), model, kind)


@pytest.fixture
def meter(prices: PriceTable) -> Stocked:
    found = Stocked(prices, moment("18:00"), limits=(replace(DAY, usd=Decimal(1000)),))
    found.gauge = Gauge(found.usage, found.ledger, prices)
    return found


def call(meter: Stocked, model: str = NOVA, time: str = "17:50") -> Decimal:
    """Let a model be called; return what that costs by its own price."""
    counts = {Kind.INPUT: 100_000, Kind.OUTPUT: 10_000}
    for kind, count in counts.items():
        meter.usage.use(of(kind, model), moment(time), count)
    price = meter.prices.quote(model, meter.now, region="us-east-1").price
    return sum((price.of(kind) * count for kind, count in counts.items()), Decimal(0))


def test_a_model_that_has_a_price_costs_that_from_its_first_minute_on(meter: Stocked):
    usd = call(meter)
    meter.usage.unlisted = {NOVA}
    found = meter.read().spend
    assert found.by_window[Window.DAY] == usd
    assert found.guessed == {}


def test_it_is_read_by_its_name_until_it_is_listed_and_never_twice(meter: Stocked):
    usd = call(meter)
    meter.usage.unlisted = {NOVA}
    for time in ("18:00", "18:01", "18:19"):
        assert meter.at(time).read().spend.by_window[Window.DAY] == usd
    assert len(meter.usage.probes) == 1
    meter.usage.unlisted = set()
    assert meter.at("18:20").read().spend.by_window[Window.DAY] == usd


def test_a_model_of_which_one_metric_is_listed_is_asked_for_the_others(meter: Stocked):
    usd = call(meter)
    meter.usage.unlisted = {f"{Kind.OUTPUT}Count"}
    assert meter.read().spend.by_window[Window.DAY] == usd


def test_a_model_nobody_knows_costs_the_dearest_and_is_looked_for_every_five_minutes(meter: Stocked):
    call(meter, COLOSSUS)
    meter.usage.unlisted = {COLOSSUS}
    for minute in range(11):
        meter.at(f"18:{minute:02}")
        assert list(meter.read().spend.guessed) == ["not listed yet (us-east-1)"]
    assert len(meter.usage.probes) == 3


def test_cents_are_not_worth_asking_for_hundreds_of_metrics(meter: Stocked):
    meter.usage.use(of(Kind.INPUT), moment("17:50"), 1000)
    meter.usage.unlisted = {NOVA}
    meter.read()
    assert meter.usage.probes == []


def test_a_mantle_model_found_by_its_name_gives_way_to_its_projects(meter: Stocked):
    whole = Series(*MANTLE, "TotalInputTokens", (("Model", KIMI),), KIMI, Kind.MIXED_INPUT)
    part = replace(whole, metric="InputTokens", dimensions=BY_PROJECT)
    price = meter.prices.quote(KIMI, meter.now, region="us-east-1").price.of(Kind.MIXED_INPUT)
    meter.usage.use(whole, moment("17:50"), 1_000_000)
    meter.usage.unlisted = {KIMI}
    assert meter.read().spend.by_window[Window.DAY] == 1_000_000 * price
    meter.usage.points = [replace(each, series=part) for each in meter.usage.points]
    meter.usage.unlisted = set()
    assert meter.at("18:10").read().spend.by_window[Window.DAY] == 1_000_000 * price
    assert all(each.dimensions == BY_PROJECT for each in meter.usage.reads[-1][0])


def test_what_was_found_by_its_name_is_closed_like_anything_else(meter: Stocked):
    usd = call(meter)
    meter.usage.unlisted = {NOVA}
    meter.read()
    meter.now += timedelta(hours=3)
    assert month(meter) == round(usd, 2)


@pytest.mark.parametrize(
    ("region", "some", "none"),
    [
        ("us-east-1", {"m", "us.m", "global.m"}, {"eu.m"}),
        ("eu-west-3", {"m", "eu.m", "global.m"}, {"us.m"}),
        ("ap-northeast-1", {"m", "apac.m", "jp.m", "global.m"}, {"us.m"}),
        ("mx-central-1", {"m", "global.m"}, set()),
    ],
)
def test_a_region_calls_through_its_own_profiles(region: str, some: set[str], none: set[str]):
    found = set(callable_in(region, ["m"]))
    assert some <= found
    assert not none & found
