"""Prices of any model, in any tier and region, on any day."""

import json
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.model_ids import GEOGRAPHIES, is_embedding
from lambdas.core.prices import PRICE_KINDS, TABLE_FILE, ListedPrice, Price, PriceTable, Pricing, Scope
from lambdas.core.usage import Kind, Tier

ROWS = json.loads(TABLE_FILE.read_text(encoding="utf-8"))["models"]
WRITERS = [row["id"] for row in ROWS if not row.get("embedding")]
TABLE = PriceTable.load()

GEOGRAPHY = st.sampled_from(["", *(f"{each}." for each in GEOGRAPHIES), "kr."])
KNOWN = st.builds("{}{}".format, GEOGRAPHY, st.sampled_from([row["id"] for row in ROWS]))
MODELS = KNOWN | st.builds("{}{}".format, GEOGRAPHY, st.sampled_from(WRITERS)) | st.text(max_size=40)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given there
REGIONS = st.sampled_from(["us-east-1", "eu-north-1", "eu-west-2", "ap-northeast-1", "sa-east-1", "me-central-1", None])
TIERS = st.sampled_from(Tier)
KINDS = st.sampled_from(Kind)
USD = st.decimals(Decimal("0.001"), Decimal(1000), places=3)
LISTED = st.lists(
    st.builds(
        ListedPrice,
        model=st.sampled_from([*WRITERS[:20], "newco.colossus-v1:0"]),
        scope=st.sampled_from(Scope),
        region=REGIONS,
        tier=st.sampled_from([each for each in Tier if each is not Tier.UNKNOWN]),
        kind=st.sampled_from(PRICE_KINDS),
        usd=USD,
        since=st.dates(date(2026, 1, 1), date(2027, 1, 1)),
    ),
    max_size=8,
)


def least(one: Price, other: Price) -> bool:
    return all(getattr(one, each.name) <= getattr(other, each.name) for each in fields(Price))


@given(MODELS, MOMENTS, TIERS, REGIONS, LISTED)
def test_no_price_is_negative_and_no_input_is_free(model, at, tier, region, listed):
    price = TABLE.with_listed(listed).quote(model, at, tier, region).price
    assert all(price.of(kind) >= 0 for kind in Kind)
    assert min(price.input, price.cache_read, price.cache_write, price.image) > 0


@given(st.builds("{}{}".format, GEOGRAPHY, st.sampled_from(WRITERS)), MOMENTS, TIERS, REGIONS)
def test_a_model_that_writes_does_not_write_for_nothing(model, at, tier, region):
    assert TABLE.quote(model, at, tier, region).price.output > 0


@given(MODELS, MOMENTS, REGIONS, LISTED)
def test_an_unknown_tier_costs_no_less_than_any_it_could_have_been(model, at, region, listed):
    table = TABLE.with_listed(listed)
    unknown = table.quote(model, at, Tier.UNKNOWN, region).price
    sold = table.rates(model, at, Tier.PRIORITY, region)
    online = [Tier.STANDARD, Tier.PRIORITY] if sold else [Tier.STANDARD]
    assert all(least(table.quote(model, at, tier, region).price, unknown) for tier in online)


@given(KNOWN, MOMENTS, REGIONS)
def test_flex_and_batch_cost_no_more_than_standard_and_priority_no_less(model, at, region):
    batch, flex, standard, priority = (
        TABLE.quote(model, at, tier, region).price for tier in (Tier.BATCH, Tier.FLEX, Tier.STANDARD, Tier.PRIORITY)
    )
    assert least(batch, standard)
    assert least(flex, standard)
    assert least(standard, priority)


@given(MODELS, MOMENTS, REGIONS, LISTED)
def test_a_quote_covers_all_that_the_sources_say(model, at, region, listed):
    table = TABLE.with_listed(listed)
    for tier in Tier:
        price, rates = table.quote(model, at, tier, region).price, table.rates(model, at, tier, region) or {}
        for kind, usd in rates.items():
            if kind != "second":
                field = next(each.name for each in reversed(fields(Price)) if kind.startswith(each.name))
                assert getattr(price, field) >= usd


@given(KNOWN, MOMENTS, TIERS)
def test_where_the_region_is_not_said_no_region_is_dearer(model, at, tier):
    anywhere = TABLE.quote(model, at, tier).price
    for region in ("us-east-1", "eu-north-1", "eu-west-2", "ap-northeast-1", "sa-east-1", "me-central-1"):
        assert least(TABLE.quote(model, at, tier, region).price, anywhere)


@given(MODELS, MOMENTS, TIERS, KINDS, st.integers(0, 10**15), st.integers(0, 10**15))
def test_more_tokens_never_cost_less(model, at, tier, kind, one, other):
    usd = TABLE.quote(model, at, tier).price.of(kind)
    assert (usd * one <= usd * other) or one > other


@given(MODELS, MOMENTS, TIERS, REGIONS, st.decimals(Decimal("0.1"), Decimal(10), places=2))
def test_a_factor_scales_exactly(model, at, tier, region, factor):
    scaled = PriceTable.load(pricing=Pricing(factor=factor)).quote(model, at, tier, region)
    plain = TABLE.quote(model, at, tier, region)
    assert all(scaled.price.of(kind) == plain.price.of(kind) * factor for kind in Kind)
    assert scaled.guessed is plain.guessed


@given(st.text(max_size=40), MOMENTS, TIERS, st.sampled_from(WRITERS), REGIONS)
def test_an_unknown_model_costs_no_less_than_any_known_one(unknown, at, tier, known, region):
    guess, quote = TABLE.quote(unknown, at, tier, region), TABLE.quote(known, at, Tier.UNKNOWN, region)
    if guess.guessed and not is_embedding(unknown):
        for each in ("input", "output", "cache_write", "image"):
            assert getattr(guess.price, each) >= getattr(quote.price, each)
