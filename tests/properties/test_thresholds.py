"""Thresholds of the token alarms: no mix of kinds, planes and regions burns more than the limit below all of them."""

from dataclasses import fields
from datetime import UTC, datetime, time
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lambdas.core.limits import Ladder, Limit
from lambdas.core.prices import Price, PriceTable
from lambdas.core.thresholds import burst_usd, most_a_minute
from lambdas.core.usage import Kind, Tier
from lambdas.core.windows import Window

BARE = Ladder(None, None)
COUNTED = (Kind.INPUT, Kind.OUTPUT, Kind.CACHE_READ, Kind.CACHE_WRITE, Kind.IMAGE, Kind.MIXED_INPUT, Kind.OUTPUT)
"""Those of both planes."""
USD = st.decimals(Decimal("0.01"), Decimal(10_000), places=2)
LIMITS = st.dictionaries(st.sampled_from(Window), USD, min_size=1).map(
    lambda usd: tuple(Limit(window, amount, BARE) for window, amount in usd.items())
)
PRICE = st.builds(Price, **{each.name: st.decimals(Decimal(0), Decimal(900), places=3) for each in fields(Price)})


def of(*limits: tuple[Window, int]) -> tuple[Limit, ...]:
    return tuple(Limit(window, Decimal(usd), BARE) for window, usd in limits)


@given(limits=LIMITS, dearest=PRICE, regions=st.integers(1, 20), dice=st.randoms(use_true_random=False))
def test_a_burst_in_whatever_mix_is_above_some_threshold(limits, dearest, regions, dice):
    most = most_a_minute(limits, dearest, COUNTED, regions=regions)
    # As much as goes unnoticed, of models that cost no more than the dearest.
    burned = Decimal(0)
    for _ in range(regions):
        for kind in COUNTED:
            units = most.get(kind, 10**9) if dice.random() < 0.8 else dice.randint(0, most.get(kind, 10**9))
            burned += units * dearest.of(kind) * Decimal(str(dice.choice([1, 1, 0.5])))
    assert burned <= burst_usd(limits)


@given(limits=LIMITS, dearest=PRICE, regions=st.integers(1, 20))
def test_a_threshold_is_no_lower_than_its_share(limits, dearest, regions):
    """One unit more of everything would be a burst: no alarm rings earlier than it must."""
    most = most_a_minute(limits, dearest, COUNTED, regions=regions)
    priced = [kind for kind in COUNTED if dearest.of(kind)]
    assume(priced)
    beyond = sum(((most[kind] + 1) * dearest.of(kind) for kind in priced), Decimal(0)) * regions
    assert beyond > burst_usd(limits)
    assert set(most) == set(priced)


@pytest.mark.parametrize(
    ("limits", "usd"),
    [
        (of((Window.MINUTE, 5), (Window.DAY, 50)), Decimal(5)),
        (of((Window.MONTH, 600)), Decimal(10)),
        (of((Window.MONTH, 600), (Window.DAY, 120), (Window.HOUR, 60)), Decimal(1)),
    ],
)
def test_a_burst_is_the_minutes_limit_or_what_empties_the_smallest_in_an_hour(limits, usd):
    assert burst_usd(limits) == usd


def test_what_costs_nothing_has_no_threshold():
    free = Price(Decimal(1), Decimal(2), Decimal(0), Decimal(3), Decimal(0))
    assert set(most_a_minute(of((Window.MINUTE, 5)), free, COUNTED, regions=1)) == {
        Kind.INPUT,
        Kind.OUTPUT,
        Kind.CACHE_WRITE,
        Kind.MIXED_INPUT,
    }


def test_the_worked_example():
    """$7 a minute, one region, seven that share it: $1 each; $100 a million is 10,000 tokens."""
    price = Price(Decimal(100), Decimal(500), Decimal(10), Decimal(200), Decimal("0.4"))
    assert most_a_minute(of((Window.MINUTE, 7)), price, COUNTED, regions=1) == {
        Kind.INPUT: 10_000,
        Kind.OUTPUT: 2_000,
        Kind.CACHE_READ: 100_000,
        Kind.CACHE_WRITE: 5_000,
        Kind.MIXED_INPUT: 5_000,
        Kind.IMAGE: 2,
    }


TABLE = PriceTable.load()
MODELS = st.sampled_from(sorted(TABLE.ids)) | st.text(max_size=20)


@given(model=MODELS, tier=st.sampled_from(Tier), region=st.sampled_from(["us-east-1", "eu-west-2", None]))
def test_no_model_costs_more_than_the_price_the_thresholds_stand_on(model, tier, region):
    at = datetime.combine(TABLE.as_of, time(), UTC)
    price, ceiling = TABLE.quote(model, at, tier, region).price, TABLE.ceiling(TABLE.as_of)
    assert [kind for kind in Kind if price.of(kind) > ceiling.of(kind)] == []
