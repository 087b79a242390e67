"""Whatever AWS writes: a name in the grammar is read as what it means, and anything else is no price of anything."""

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.price_list import (
    REGION_CODES,
    Line,
    PriceList,
    PriceListError,
    Rate,
    UnreadableRateError,
    card_rate,
    priced,
    read_card,
    read_product,
    usage_rate,
)
from lambdas.core.prices import PRICE_KINDS, Scope
from lambdas.core.usage import Tier

TIERS = st.sampled_from([each for each in Tier if each is not Tier.UNKNOWN])
CODES = {region: code for code, region in reversed(REGION_CODES.items())}
KINDS = st.sampled_from(["input", "output", "cache_read", "cache_write", "cache_write_1h"])
LONG = st.sampled_from(["", "_long"])


def rates(tiers, scopes):
    return st.builds(
        lambda kind, long, tier, scope, region: Rate(kind + long, tier, scope, region),
        KINDS,
        LONG,
        tiers,
        st.sampled_from(scopes),
        st.sampled_from(sorted(CODES)),
    )


def camel(rate: Rate) -> str:
    """Write a rate in the older spelling."""
    long = "_LCtx" if rate.kind.endswith("_long") else ""
    leg = {
        "input": "Input",
        "output": "Output",
        "cache_read": "CacheReadInput",
        "cache_write": "CacheWriteInput",
        "cache_write_1h": "CacheWrite1hInput",
    }[rate.kind.removesuffix("_long")]
    scope = {None: "", Scope.GLOBAL: "_Global", Scope.GEO: "_Geo"}[rate.scope]
    batch = "_Batch" if rate.tier is Tier.BATCH else ""
    return f"{CODES[rate.region or '']}_{leg}TokenCount{long}{scope}{batch}"


def snake(rate: Rate) -> str:
    """Write a rate in the newer spelling."""
    kind, long = rate.kind.removesuffix("_long"), "_long_ctx" if rate.kind.endswith("_long") else ""
    leg = "cache_write_tokens_1h" if kind == "cache_write_1h" else f"{kind}_tokens"
    return f"{CODES[rate.region or '']}_{leg}{long}{'_global' if rate.scope else ''}_{rate.tier}"


def dashed(rate: Rate) -> str:
    """Write a rate as a usage type of a model that AWS sells itself."""
    kind, long = rate.kind.removesuffix("_long"), "-long-context" if rate.kind.endswith("_long") else ""
    leg = {"cache_write_1h": "cache-write-tokens-1h"}.get(kind, f"{kind.replace('_', '-')}-tokens")
    scope = {None: "", Scope.GLOBAL: "-cross-region-global", Scope.GEO: "-cross-region-geo"}[rate.scope]
    tier = "" if rate.tier is Tier.STANDARD else f"-{rate.tier}"
    return f"{CODES[rate.region or '']}-maker.model-4.6{'-mantle'}-{leg}{long}{scope}{tier}"


@given(rates(st.sampled_from([Tier.STANDARD, Tier.BATCH]), [None, Scope.GLOBAL, Scope.GEO]), st.booleans())
def test_the_older_spelling_is_read_as_it_was_written(rate, on_the_price_list):
    name = camel(rate)
    assert card_rate(f"{CODES[rate.region]}-MP:{name}-Units" if on_the_price_list else name) == rate


@given(rates(TIERS, [None, Scope.GLOBAL]), st.booleans())
def test_the_newer_spelling_is_read_as_it_was_written(rate, on_the_price_list):
    name = snake(rate)
    assert card_rate(f"{CODES[rate.region]}-MP:{name}-Units" if on_the_price_list else name) == rate


@given(rates(TIERS, [None, Scope.GLOBAL, Scope.GEO]))
def test_a_usage_type_is_read_as_it_was_written(rate):
    assert usage_rate(dashed(rate)) == ("maker.model-4.6", rate)


WORDS = st.sampled_from(
    ["USE1", "MP:", "input", "output", "tokens", "cache_read", "1h", "long_ctx", "global", "standard", "Units", "", "ß"]
)
NAMES = st.one_of(
    st.text(),
    st.none(),
    st.integers(),
    st.lists(WORDS).map("_".join),
    st.lists(WORDS).map("-".join),
    st.just("_" * 400),
)
AMOUNTS = st.one_of(
    st.text(), st.floats().map(str), st.floats(), st.integers().map(str), st.decimals().map(str), st.none()
)
UNITS = st.one_of(st.sampled_from(["1K tokens", "1M tokens", "Units", "image", "hour"]), st.text(), st.none())


@given(st.lists(st.fixed_dictionaries({}, optional={"dimension": NAMES, "price": AMOUNTS, "unit": UNITS})))
def test_a_card_of_anything_is_read_without_an_error_and_only_into_finite_amounts(card):
    lines, unread = read_card("m", card)
    assert len(lines) + len(unread) <= len(card)
    assert all(line.usd.is_finite() and line.rate.kind in PRICE_KINDS for line in lines)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def products(draw):
    """Return a product in which anything may be anything."""
    price = {"unit": draw(UNITS), "pricePerUnit": {"USD": draw(AMOUNTS)}}
    names = ("usagetype", "regionCode", "model", "servicename", "feature", "inferenceType", "service_tier")
    attributes = {each: draw(st.one_of(NAMES, JSON)) for each in names if draw(st.booleans())}
    data = {
        "product": {"attributes": attributes},
        "terms": {"OnDemand": {"a": {"priceDimensions": {"b": draw(st.one_of(st.just(price), JSON))}}}},
    }
    return json.dumps(draw(st.one_of(st.just(data), JSON)))


@given(st.one_of(products(), st.text()))
def test_a_product_of_anything_is_a_finite_amount_or_nothing_or_the_named_error(text):
    try:
        product = read_product(text)
    except UnreadableRateError:
        return
    assert product is None or (product.usd.is_finite() and product.rate.kind in PRICE_KINDS and product.names)


@given(JSON)
def test_a_kept_list_of_anything_is_refused_by_name(body):
    try:
        kept = PriceList.from_document(body)
    except PriceListError:
        return
    assert all(each.usd > 0 for each in kept.listed())


@given(
    st.lists(
        st.builds(
            Line,
            st.sampled_from(["a", "b"]),
            rates(TIERS, [None, Scope.GLOBAL, Scope.GEO]),
            st.decimals("0.01", "99", places=2),
        )
    )
)
def test_a_rate_never_costs_less_than_a_line_says_of_it(lines):
    prices = priced(lines)
    for line in lines:
        if line.rate.scope is not None:
            at = [usd for key, usd in prices.items() if key == (line.model, line.rate.scope, *_rest(line.rate))]
            assert at[0] >= line.usd
    assert all(usd > Decimal(0) for usd in prices.values())


def _rest(rate: Rate):
    return rate.region, rate.tier, rate.kind
