"""Prices: known to the last digit, dated, and never 0 for want of knowledge."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import data

from cli.compile_prices import render
from cli.vendor_litellm import FILE, plain, subset
from lambdas.core.model_ids import without_geography
from lambdas.core.prices import (
    TABLE_FILE,
    ListedPrice,
    Override,
    PriceTable,
    PriceTableError,
    Pricing,
    Scope,
)
from lambdas.core.usage import Kind, Tier

AT = datetime(2026, 11, 22, tzinfo=UTC)
SONNET = "us.anthropic.claude-sonnet-4-6"
NOVA = "amazon.nova-pro-v1:0"
AWS = next(each for each in data.providers if each.id == "aws")
LITELLM = json.loads(FILE.read_text(encoding="utf-8"))["models"]
TOKENS = ("input", "output", "cache_read", "cache_write")


def amounts(price):
    return tuple(plain(getattr(price, kind)) for kind in TOKENS)


def decimals(rates):
    return {kind: Decimal(usd) for kind, usd in rates.items()}


def listed(usd, model="anthropic.claude-sonnet-4-6", scope=Scope.GEO, **other):
    stated = {"region": None, "tier": Tier.STANDARD, "kind": "output", "since": date(2026, 11, 1)} | other
    return ListedPrice(model=model, scope=scope, usd=Decimal(usd), **stated)


def test_the_table_in_the_repository_is_what_the_sources_compile_to():
    assert TABLE_FILE.read_text(encoding="utf-8") == render(), "run `make prices`"


def test_the_table_says_how_old_its_data_is(prices: PriceTable):
    assert prices.as_of == date(2026, 11, 10)


# USD per million tokens: input, output, cache read, dearest cache write; worked out by hand from the price list.
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("us.anthropic.claude-sonnet-4-6", ("3.3", "16.5", "0.33", "6.6")),
        ("global.anthropic.claude-opus-5-5", ("4", "20", "0.2", "8")),
        ("apac.anthropic.claude-opus-5-5", ("4.4", "22", "0.22", "8.8")),
        ("amazon.titan-embed-text-v2:0", ("0.02", "0", "0.02", "0.02")),
        # Above 200,000 tokens of context Sonnet 4.5 costs more, above 272,000 GPT; no metric tells how long it was.
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", ("6.6", "24.75", "0.66", "13.2")),
        ("openai.gpt-5.6-sol", ("8.8", "33", "0.88", "11")),
        # Speech is dearer than text.
        ("amazon.nova-2-sonic-v1:0", ("3", "12", "3", "3")),
        # Known to litellm alone.
        ("cohere.embed-v4:0", ("0.12", "0", "0.12", "0.12")),
        ("openai.gpt-5.6-cyber", ("13.75", "82.5", "1.375", "17.1875")),
        # Sold at priority.
        (NOVA, ("1.4", "5.6", "0.35", "1.4")),
        ("xai.grok-4.6", ("3.85", "11.55", "0.9625", "3.85")),
    ],
)
def test_known_models_cost_what_the_list_says(prices: PriceTable, model: str, expected: tuple[str, ...]):
    quote = prices.quote(model, AT)
    assert not quote.guessed
    assert amounts(quote.price) == expected


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        (Tier.STANDARD, ("0.8", "3.2", "0.2", "0.8")),
        (Tier.PRIORITY, ("1.4", "5.6", "0.35", "1.4")),
        (Tier.UNKNOWN, ("1.4", "5.6", "0.35", "1.4")),
        (Tier.FLEX, ("0.4", "1.6", "0.1", "0.4")),
        # No batch price of cached tokens is known: the standard one.
        (Tier.BATCH, ("0.4", "1.6", "0.2", "0.4")),
    ],
)
def test_each_service_tier_has_its_price(prices: PriceTable, tier: Tier, expected: tuple[str, ...]):
    assert amounts(prices.quote(NOVA, AT, tier).price) == expected


def test_without_a_price_of_its_own_priority_costs_the_largest_known_multiple_of_standard(prices: PriceTable):
    ratio = Decimal(json.loads(TABLE_FILE.read_text(encoding="utf-8"))["priority_ratio"])
    seen = [
        Decimal(usd) / Decimal(entry["standard"][kind])
        for entry in LITELLM.values()
        for kind, usd in entry.get("priority", {}).items()
    ]
    assert max(seen) <= ratio < max(seen) + Decimal("0.0001")
    standard, priority = (prices.quote(SONNET, AT, tier).price for tier in (Tier.STANDARD, Tier.PRIORITY))
    assert priority.output == standard.output * ratio


def test_batch_and_flex_of_a_model_without_such_prices_cost_the_standard_one(prices: PriceTable):
    tiers = (Tier.STANDARD, Tier.BATCH, Tier.FLEX)
    assert len({prices.quote("anthropic.claude-3-opus-20240229-v1:0", AT, tier).price for tier in tiers}) == 1


def test_an_unknown_tier_of_a_model_that_is_not_sold_at_priority_is_no_priority(prices: PriceTable):
    assert prices.quote(SONNET, AT).price == prices.quote(SONNET, AT, Tier.STANDARD).price


def test_where_nobody_uses_the_priority_tier_an_unknown_one_is_the_standard_one():
    prices = PriceTable.load(pricing=Pricing(priority_tier=False))
    assert prices.quote(NOVA, AT).price == prices.quote(NOVA, AT, Tier.STANDARD).price
    assert prices.quote(NOVA, AT, Tier.PRIORITY).price.output == Decimal("5.6")


def test_where_nobody_sends_long_contexts_the_short_ones_price_holds(prices: PriceTable):
    short = PriceTable.load(pricing=Pricing(long_context=False))
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert prices.quote(model, AT).price.input == 2 * short.quote(model, AT).price.input == Decimal("6.6")
    # Kept for an hour, written to the cache at twice the price of input: that is not told apart either.
    assert short.quote(model, AT).price.cache_write == Decimal("6.6")


def test_a_price_change_holds_from_its_day_on(prices: PriceTable):
    before = prices.quote("openai.gpt-5.6-luna", datetime(2026, 7, 29, 23, 59, tzinfo=UTC)).price
    after = prices.quote("openai.gpt-5.6-luna", datetime(2026, 7, 30, tzinfo=UTC)).price
    assert (before.input, before.output) == (Decimal("1.1"), Decimal("6.6"))
    assert (after.input, after.output) == (Decimal("0.44"), Decimal("1.98"))


# --- which row a name falls into --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(LITELLM))
def test_every_id_of_litellm_gets_the_prices_litellm_has_for_it_or_dearer_ones(prices: PriceTable, key: str):
    region, _, model = key.rpartition("/")
    for tier in LITELLM[key].keys() - {"embedding"}:
        theirs = decimals(LITELLM[key][tier])
        ours = prices.rates(model, AT, Tier(tier), region or "us-east-1")
        assert ours is not None
        if tier != "standard":
            # Of a bare id litellm may know a region's prices without those of a tier.
            theirs = {kind: usd for kind, usd in theirs.items() if kind in ours}
        assert {kind: usd for kind, usd in theirs.items() if ours[kind] < usd} == {}
        # Dearer only where genai-prices says so, or where it is a bare id with the price of the global profile.
        bare = model == without_geography(model)
        known = not region and AWS.find_model(model) is not None
        assert bare or known or {kind: ours[kind] for kind in theirs} == theirs


def test_every_model_of_genai_prices_gets_its_price_in_each_geography_it_names(prices: PriceTable):
    compared = 0
    for model in AWS.models:
        kind, _, bare = model.id.partition(".")
        names = [f"global.{bare}"] if kind == "global" else [bare, f"us.{bare}", f"eu.{bare}"]
        for name in names if kind in {"global", "regional"} else [model.id]:
            if AWS.find_model(name) is not model:
                continue
            price = model.get_prices(AT)
            rates = prices.rates(name, AT, region="us-east-1")
            base = getattr(price.input_mtok, "base", price.input_mtok)
            theirs = decimals(LITELLM.get(name, {"standard": {}})["standard"]).get("input", base)
            assert rates is not None
            assert rates["input"] == max(base, theirs), name
            compared += 1
    assert compared > 150


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b"),
        ("anthropic.claude-haiku-4-5", "anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("us.anthropic.claude-opus-4-6-v1:0", "us.anthropic.claude-opus-4-6-v1"),
        ("anthropic.claude-3-haiku-20240307-v1:0:200k", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.xai.grok-4.7", "US.xai.grok-4.7"),
    ],
)
def test_spellings_of_one_model_cost_the_same(prices: PriceTable, name: str, same: str):
    assert prices.quote(name, AT) == prices.quote(same, AT)
    assert not prices.quote(name, AT).guessed


@pytest.mark.parametrize(
    "name",
    [
        "amazon.nova-pro-v2:0",
        "amazon.titan-embed-text-v3:0",
        "anthropic.claude-opus-5-6",
        "anthropic.claude-opus-55",
        "anthropic.claude-sonnet-4-6-mini",
        "global.moonshotai.kimi-k3.2",
        "openai.gpt-5.6-sol-pro",
        "xanthropic.claude-opus-5",
    ],
)
def test_a_new_model_is_not_taken_for_one_whose_name_is_like_it(prices: PriceTable, name: str):
    assert prices.quote(name, AT).guessed
    assert prices.rates(name, AT) is None


def test_a_global_profile_has_its_own_price_and_the_bare_id_has_not(prices: PriceTable):
    for model in ("anthropic.claude-fable-5", "anthropic.claude-mythos-5-1", "openai.gpt-6-sol", "zai.glm-5.3"):
        bare, geographic, global_ = (
            prices.quote(f"{each}{model}", AT, Tier.STANDARD).price.output for each in ("", "us.", "global.")
        )
        assert bare == geographic == global_ * Decimal("1.1")


def test_a_place_nobody_names_costs_what_the_dearest_of_its_like_does(prices: PriceTable):
    def output(model, region=None):
        return prices.quote(model, AT, Tier.STANDARD, region).price.output

    assert output(f"us.{NOVA}") < output(f"apac.{NOVA}") < output(f"eu.{NOVA}") == output(f"kr.{NOVA}")
    deepseek = "deepseek.v3.2"
    assert output(deepseek, "us-west-2") == Decimal("1.85")
    assert output(deepseek, "eu-north-1") == output(deepseek, "eu-central-2") == output(deepseek) == Decimal("2.22")


# --- what is not known ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["newco.colossus-9", "a1b2c3d4e5f6", "", ".", "arn:aws:bedrock:x:y:imported-model/z"])
def test_an_unknown_model_costs_the_dearest_of_each_kind_and_says_so(prices: PriceTable, model: str):
    quote = prices.quote(model, AT)
    assert quote.guessed
    assert quote.price == prices.dearest(AT.date())
    assert quote.price.output == prices.quote("anthropic.claude-mythos-preview", AT).price.output == Decimal("137.5")
    assert quote.price.image == Decimal("0.6")


def test_an_unknown_embedding_model_is_priced_among_embeddings(prices: PriceTable):
    quote = prices.quote("newco.embed-giant", AT)
    assert quote.guessed
    assert quote.price == prices.dearest(AT.date(), embedding=True)
    assert quote.price.input == Decimal("0.80")


def test_what_no_source_prices_of_a_known_model_costs_the_dearest_of_its_kind(prices: PriceTable):
    dearest = prices.dearest(AT.date())
    assert prices.quote("amazon.nova-canvas-v1:0", AT).price == replace(
        dearest, image=Decimal("0.06"), cache_read=dearest.input, cache_write=dearest.input
    )
    pegasus = prices.quote("us.twelvelabs.pegasus-1-2-v1:0", AT).price
    assert (pegasus.input, pegasus.output) == (dearest.input, Decimal("7.5"))
    marengo = prices.quote("twelvelabs.marengo-embed-3-0-v1:0", AT).price
    assert (marengo.input, marengo.output) == (Decimal("0.8"), Decimal(0))


def test_video_has_a_price_by_the_second(prices: PriceTable):
    assert (prices.rates("us.twelvelabs.pegasus-1-2-v1:0", AT) or {})["second"] == Decimal("0.00049")


def test_input_that_may_be_cached_costs_the_dearest_of_the_three(prices: PriceTable):
    price = prices.quote("anthropic.claude-opus-5-5", AT).price
    assert price.of(Kind.MIXED_INPUT) == Decimal("8.8") / 1_000_000


def test_no_kind_of_usage_is_free_for_a_model_that_writes(prices: PriceTable):
    price = prices.quote("amazon.nova-micro-v1:0", AT).price
    assert all(price.of(kind) > 0 for kind in Kind if kind is not Kind.CALLS)


# --- what the user knows better ---------------------------------------------------------------------------------


def test_a_discount_is_taken_off_every_price(prices: PriceTable):
    cheaper = PriceTable.load(pricing=Pricing(factor=Decimal("0.93")))
    for model in (SONNET, NOVA, "newco.colossus-9"):
        assert cheaper.quote(model, AT).price == prices.quote(model, AT).price.times(Decimal("0.93"))
    assert cheaper.dearest(AT.date()).output == Decimal("137.5") * Decimal("0.93")


def test_the_first_override_that_fits_counts_and_is_not_discounted():
    own = (
        Override("anthropic.claude-sonnet-4-6*", output=Decimal(9)),
        Override("*.anthropic.*", output=Decimal(8), cache_write=Decimal(7)),
    )
    prices = PriceTable.load(pricing=Pricing(factor=Decimal("0.5"), overrides=own))
    assert amounts(prices.quote(SONNET, AT).price) == ("1.65", "9", "0.165", "3.3")
    assert amounts(prices.quote("US.anthropic.claude-opus-5", AT).price) == ("2.75", "8", "0.275", "7")
    assert prices.quote(NOVA, AT, Tier.STANDARD).price.output == Decimal("1.6")


def test_an_override_of_an_unknown_model_ends_the_guessing_when_it_says_enough():
    model = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc"
    for stated, guessed in (
        ({"input": 1}, True),
        ({"input": 1, "output": 2}, False),
        ({"output": 0, "input": 0}, False),
    ):
        own = Override("arn:*:Imported-Model/*", **{kind: Decimal(usd) for kind, usd in stated.items()})
        quote = PriceTable.load(pricing=Pricing(overrides=(own,))).quote(model, AT)
        assert quote.guessed is guessed
        assert quote.price.input == stated["input"]
        assert quote.price.cache_write == Decimal(55)


def test_the_dearest_price_is_never_below_an_override():
    own = (Override("newco.*", output=Decimal(999)), Override("oldco.*", output=Decimal("0.1")))
    assert PriceTable.load(pricing=Pricing(overrides=own)).dearest(AT.date()).output == 999


# --- the account's own list -------------------------------------------------------------------------------------


def test_the_accounts_own_price_stands_above_the_table_and_what_it_leaves_out_falls_back(prices: PriceTable):
    own = prices.with_listed([listed("20")])
    assert amounts(own.quote(SONNET, AT).price) == ("3.3", "20", "0.33", "6.6")
    for other in ("anthropic.claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6", NOVA):
        assert own.quote(other, AT) == prices.quote(other, AT)
    assert prices.quote(SONNET, AT).price.output == Decimal("16.5")
    assert own.as_of == prices.as_of


def test_a_listed_price_holds_from_its_day_on_and_the_newest_counts(prices: PriceTable):
    own = prices.with_listed([listed("12", since=date(2026, 11, 10)), listed("14")])
    outputs = [own.quote(SONNET, AT.replace(day=day)).price.output for day in (9, 10)]
    assert outputs == [14, 12]
    assert own.quote(SONNET, AT.replace(month=10)).price.output == Decimal("16.5")


def test_a_listed_price_holds_in_its_region_and_the_dearest_when_the_region_is_not_said(prices: PriceTable):
    own = prices.with_listed([listed("10"), listed("12", region="us-west-2"), listed("30", region="eu-west-1")])
    regions = ("us-west-2", "eu-west-1", "us-east-1", None)
    assert [own.quote(SONNET, AT, region=each).price.output for each in regions] == [12, 30, 10, 30]


def test_a_listed_price_below_the_tables_counts_too(prices: PriceTable):
    own = prices.with_listed([listed("1", scope=Scope.IN_REGION)])
    assert own.quote("anthropic.claude-sonnet-4-6", AT).price.output == 1


def test_a_model_that_comes_to_be_sold_at_priority_may_have_been_used_in_it(prices: PriceTable):
    own = prices.with_listed([listed("30", tier=Tier.PRIORITY)])
    assert own.quote(SONNET, AT).price.output == 30
    assert own.quote(SONNET, AT, Tier.STANDARD).price.output == Decimal("16.5")


def test_a_model_that_only_the_list_knows_is_no_guess(prices: PriceTable):
    own = prices.with_listed([listed("200", model="newco.colossus-9-v1:0")])
    quote = own.quote("eu.newco.colossus-9-v1:0", AT)
    assert not quote.guessed
    assert quote.price.output == 200
    assert quote.price.input == prices.dearest(AT.date()).input
    assert own.quote("newco.other", AT).price.output == 200


# --- the table itself -------------------------------------------------------------------------------------------

ROW = '{"id":"x","at":{"*":[{"from":"1970-01-01","standard":{"input":"1"}}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"models": []}',
        '{"as_of": "2026-01-01", "priority_ratio": "2", "models": []}',
        f'{{"as_of": "2026-01-01", "priority_ratio": "2", "models": [{ROW}]}}',
        f'{{"as_of": "2026-01-01", "priority_ratio": "-2", "models": [{ROW}]}}',
        f'{{"as_of": "today", "priority_ratio": "2", "models": [{ROW}]}}',
    ],
)
def test_a_broken_table_is_refused_with_what_to_do(tmp_path: Path, text: str):
    file = tmp_path / "prices.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PriceTableError, match="make prices"):
        PriceTable.load(file)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"input":"12.5"', '"input":"-12.5"'),
        ('"input":"12.5"', '"input":"NaN"'),
        ('"input":"12.5"', '"inputs":"12.5"'),
        ('"standard":', '"reserved":'),
        ('"id":"ai21.j2-mid-v1"', '"id":""'),
        ('{"*":', '{"us":'),
        ('{"*":[', '{"*":[],"us":['),
        ('"from":"1970-01-01"', '"from":"1970"'),
    ],
)
def test_a_table_with_one_broken_row_is_refused(tmp_path: Path, old: str, new: str):
    text = TABLE_FILE.read_text(encoding="utf-8")
    file = tmp_path / "prices.json"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert old in text
    with pytest.raises(PriceTableError, match="make prices"):
        PriceTable.load(file)


def test_a_table_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(PriceTableError, match="make prices"):
        PriceTable.load(tmp_path / "prices.json")


def test_dear_models_are_told_by_how_their_ids_begin_and_no_other_begins_so(prices: PriceTable):
    dear, others = prices.models_dearer_than(Decimal(20), date.max)
    assert "^anthropic.claude-opus-" in dear
    assert "=amazon.nova-lite-v1:0" in others
    assert not any(other[1:].startswith(each[1:]) for each in dear if each[0] == "^" for other in others)


# --- what is vendored -------------------------------------------------------------------------------------------


def test_of_litellm_only_what_bedrock_sells_by_use_is_taken():
    usd = Decimal("0.000002")
    entry = {"litellm_provider": "bedrock", "mode": "chat", "input_cost_per_token": usd, "supports_vision": True}
    found, embeddings = subset(
        {
            "us.maker.model-v1:0": entry,
            "bedrock/eu-west-1/maker.model-v1:0": entry | {"input_cost_per_token_priority": usd * 2},
            "bedrock_mantle/maker.model": entry | {"input_cost_per_token_above_200k_tokens_flex": usd},
            "maker.model": entry | {"input_cost_per_token": usd / 2},
            "maker.embed": entry | {"mode": "embedding"},
            "50-steps/maker.painter": {"litellm_provider": "bedrock", "mode": "image", "output_cost_per_image": usd},
            "bedrock/us-gov-west-1/maker.model": entry,
            "bedrock/*/1-month-commitment/maker.model": entry,
            "bedrock/claude_platform/model": entry,
            "maker.rerank": entry | {"mode": "rerank"},
            "gpt": entry | {"litellm_provider": "openai"},
            "sample_spec": "text",
        }
    )
    assert found == {
        "us.maker.model-v1:0": {"standard": {"input": 2}},
        "eu-west-1/maker.model-v1:0": {"standard": {"input": 2}, "priority": {"input": 4}},
        "maker.model": {"standard": {"input": 2}, "flex": {"input_long": 2}},
        "maker.embed": {"standard": {"input": 2}},
        "maker.painter": {"standard": {"image": usd}},
    }
    assert embeddings == {"maker.embed"}
