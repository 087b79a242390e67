"""AWS's names for rates: an example for each rule, and each trap; what may be used; and the list as it is kept."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from lambdas.core import price_list
from lambdas.core.errors import RefusedError
from lambdas.core.price_list import (
    CARDS,
    Catalog,
    CatalogModel,
    Change,
    Dated,
    Key,
    Line,
    PriceList,
    PriceListError,
    Rate,
    UnreadableRateError,
    card_rate,
    grouped,
    priced,
    questionable,
    read_card,
    read_product,
    usage_rate,
)
from lambdas.core.prices import ListedPrice, Scope
from lambdas.core.usage import Tier
from tests.conftest import event

EAST = "us-east-1"
TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
OPUS = "anthropic.claude-opus-5-5"
TERRA = "openai.gpt-5.6-terra"
INPUT = Key(OPUS, Scope.GLOBAL, EAST, Tier.STANDARD, "input")
CATALOG = Catalog(
    CatalogModel(each["modelId"], each["modelName"], each["providerName"])
    for each in event("list_foundation_models.json")["modelSummaries"]
)


def card(name):
    """Return the prices of a recorded rate card, and what could not be read."""
    answer = event(f"agreement_offers_{name}.json")
    rates = answer["offers"][0]["termDetails"]["usageBasedPricingTerm"]["rateCard"]
    lines, unread = read_card(answer["modelId"], rates)
    return priced(lines), unread


def product(usage_type, usd="0.001", unit="1K tokens", **attributes):
    """Return a product of the Price List."""
    return json.dumps(
        {
            "product": {"attributes": {"usagetype": usage_type, "regionCode": EAST, **attributes}},
            "terms": {"OnDemand": {"a": {"priceDimensions": {"b": {"unit": unit, "pricePerUnit": {"USD": usd}}}}}},
        }
    )


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        # The older spelling, on the Price List and on a card.
        ("USE1-MP:USE1_InputTokenCount-Units", Rate("input", region=EAST)),
        ("USE1_OutputTokenCount_Geo", Rate("output", scope=Scope.GEO, region=EAST)),
        (
            "USW2-MP:USW2_InputTokenCount_LCtx_Global-Units",
            Rate("input_long", Tier.STANDARD, Scope.GLOBAL, "us-west-2"),
        ),
        ("USE1_InputTokenCount_Global_Batch", Rate("input", Tier.BATCH, Scope.GLOBAL, EAST)),
        ("APS3_CacheReadInputTokenCount", Rate("cache_read", region="ap-south-1")),
        ("USE1_CacheWriteInputTokenCount_Global", Rate("cache_write", scope=Scope.GLOBAL, region=EAST)),
        ("USE1_CacheWrite1hInputTokenCount", Rate("cache_write_1h", region=EAST)),
        ("USE1_CacheWrite1hInputTokenCount_LCtx", Rate("cache_write_1h_long", region=EAST)),
        ("USE1-MP:USE1_MillionBatchInputTokens-Units", Rate("input", Tier.BATCH, region=EAST)),
        # The newer one.
        ("USE1-MP:USE1_input_tokens_standard-Units", Rate("input", region=EAST)),
        ("USE1_output_tokens_global_standard", Rate("output", scope=Scope.GLOBAL, region=EAST)),
        ("USE1_cache_write_tokens_5m_standard", Rate("cache_write", region=EAST)),
        ("USE1_cache_write_tokens_1h_global_standard", Rate("cache_write_1h", scope=Scope.GLOBAL, region=EAST)),
        ("USE1_output_tokens_priority", Rate("output", Tier.PRIORITY, region=EAST)),
        # OpenAI's cards name no region, and keep the cache for 30 minutes.
        ("input_tokens_flex", Rate("input", Tier.FLEX)),
        ("cache_write_tokens_30m_long_ctx_global_batch", Rate("cache_write_long", Tier.BATCH, Scope.GLOBAL)),
        ("USE1-MP:input_tokens_standard-Units", Rate("input", region=EAST)),
        ("cached_input_tokens_standard", Rate("cache_read", stale=True)),
        # Ireland is just EU.
        ("EU_input_tokens_standard", Rate("input", region="eu-west-1")),
        ("USW2_created_image", Rate("image", region="us-west-2")),
    ],
)
def test_a_marketplace_rate_is_read_from_its_name(name, rate):
    assert card_rate(name) == rate


@pytest.mark.parametrize(
    "name",
    [
        "USE1_Reserved_1Month_InputTPM_Geo",
        "USE1-MP:USE1_Reserved_6Month_OutputTPM_Global-Units",
        "USE1_ProvisionedThroughput_NoCommit_ModelUnits_Usage",
        "UGE1_input_tokens_standard",
        "UGW1-MP:UGW1_InputTokenCount-Units",
        "USE1_InputTokenCount_LatencyOptimized",
        "USW2_search_units",
    ],
)
def test_reserved_and_provisioned_capacity_and_govcloud_are_passed_over(name):
    assert card_rate(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        None,
        7,
        "input_tokens_of_tomorrow",
        "USE1_InputTokenCount_Quantum",
        "XXX9_InputTokenCount",
        "XXX9-MP:input_tokens_standard-Units",
        "USE1_input_tokens_1h_standard",
        "USE1_input_tokens_batch_flex",
        "USE1_InputTokenCount_Global_Geo",
        "use1_input_tokens_standard",
    ],
)
def test_what_is_not_understood_is_refused_by_name_and_never_read_as_something_near(name):
    with pytest.raises(UnreadableRateError, match="not understood"):
        card_rate(name)


@pytest.mark.parametrize(
    ("usage_type", "word", "rate"),
    [
        ("USE1-NovaPro-input-tokens", "NovaPro", Rate("input", region=EAST)),
        ("USE1-NovaPro-output-tokens-priority", "NovaPro", Rate("output", Tier.PRIORITY, region=EAST)),
        ("USE1-NovaPro-cache-read-input-token-count", "NovaPro", Rate("cache_read", region=EAST)),
        ("USE1-NovaPro-cache-write-input-token-count", "NovaPro", Rate("cache_write", region=EAST)),
        (
            "USE1-Nova2.0Lite-input-tokens-cross-region-global-batch",
            "Nova2.0Lite",
            Rate("input", Tier.BATCH, Scope.GLOBAL, EAST),
        ),
        (
            "USE1-Nova2.0Pro-text-input-tokens-priority-cross-region-global",
            "Nova2.0Pro",
            Rate("input", Tier.PRIORITY, Scope.GLOBAL, EAST),
        ),
        ("USE1-NovaPro-output-tokens-cross-region-geo", "NovaPro", Rate("output", scope=Scope.GEO, region=EAST)),
        (
            "USE1-Claude4Sonnet-output-tokens-long-context-cross-region-global",
            "Claude4Sonnet",
            Rate("output_long", scope=Scope.GLOBAL, region=EAST),
        ),
        ("USE1-NovaSonic-speech-input-tokens", "NovaSonic", Rate("input_audio", region=EAST)),
        (
            "USE1-openai.gpt-5.6-luna-mantle-cache-write-tokens-5m-long-ctx-flex",
            "openai.gpt-5.6-luna",
            Rate("cache_write_long", Tier.FLEX, region=EAST),
        ),
        (
            "USE1-openai.gpt-5.6-luna-mantle-cached-input-tokens",
            "openai.gpt-5.6-luna",
            Rate("cache_read", region=EAST, stale=True),
        ),
    ],
)
def test_a_usage_type_of_what_aws_sells_itself_is_read(usage_type, word, rate):
    assert usage_rate(usage_type) == (word, rate)


@pytest.mark.parametrize(
    "usage_type",
    [
        "USE1-Guardrail-ContentPolicyUnitsConsumed",
        "USE1-NovaPro-input-tokens-custom-model",
        "USE1-NovaPro-input-tokens-latency-optimized",
        "USE1-TitanText-Customization-Training",
        "UGW1-NovaPro-input-tokens",
    ],
)
def test_a_usage_type_that_no_call_of_a_model_is_charged_by_is_passed_over(usage_type):
    assert usage_rate(usage_type) is None


@pytest.mark.parametrize("usage_type", ["USE1-NovaPro-input-tokens-warp", "XXX9-NovaPro-input-tokens", None])
def test_a_token_rate_that_is_not_understood_is_refused_by_name(usage_type):
    with pytest.raises(UnreadableRateError):
        usage_rate(usage_type)


def test_recorded_products_are_read_with_their_unit_tier_and_place():
    read = [read_product(text) for text in event("get_products_bedrock.json")["PriceList"]]
    lines = [Line(CATALOG.find(each.names) or "?", each.rate, each.usd) for each in read if each]
    prices = {key[1:]: usd for key, usd in priced(lines).items() if key.model == "amazon.nova-pro-v1:0"}
    assert {(tier, kind): usd for (scope, _, tier, kind), usd in prices.items() if scope is Scope.IN_REGION} == {
        (Tier.STANDARD, "input"): Decimal("0.8"),
        (Tier.STANDARD, "output"): Decimal("3.2"),
        (Tier.STANDARD, "cache_read"): Decimal("0.2"),
        (Tier.BATCH, "input"): Decimal("0.4"),
        (Tier.FLEX, "output"): Decimal("1.6"),
        (Tier.PRIORITY, "output"): Decimal("5.6"),
    }
    assert {scope for scope, *_ in prices} == {Scope.IN_REGION, Scope.GEO}
    assert {region for _, region, *_ in prices} == {EAST}


def test_of_the_prices_of_an_image_the_dearest_counts_for_cloudwatch_tells_no_sizes_apart():
    read = [read_product(text) for text in event("get_products_bedrock.json")["PriceList"]]
    lines = [Line("canvas", each.rate, each.usd) for each in read if each and each.names == ("Nova Canvas",)]
    assert set(priced(lines).values()) == {Decimal("0.06")}
    assert {key.kind for key in priced(lines)} == {"image"}


def test_recorded_marketplace_products_are_read_and_govcloud_is_not():
    read = [each for each in map(read_product, event("get_products_marketplace.json")["PriceList"]) if each]
    assert {each.names for each in read} == {("Claude Opus 5.5",)}
    assert [each.usd for each in read] == [Decimal(each) for each in ("4.4", "22", "4", "20", "11")]
    assert read[-1].rate == Rate("output", Tier.BATCH, None, EAST)


def test_govcloud_is_known_by_the_region_too():
    assert (
        read_product(product("USE1-MP:input_tokens_standard-Units", unit="Units", regionCode="us-gov-west-1")) is None
    )


@pytest.mark.parametrize("word", ["Batch Inference", "BatchInference"])
def test_the_tier_may_stand_beside_the_usage_type(word):
    read = read_product(product("USE1-NovaPro-input-tokens", model="Nova Pro", feature=word))
    assert read is not None
    assert read.rate.tier is Tier.BATCH
    flex = read_product(product("USE1-NovaPro-input-tokens", model="Nova Pro", service_tier="flex"))
    assert flex is not None
    assert flex.rate.tier is Tier.FLEX


def test_two_tiers_at_once_are_refused():
    with pytest.raises(UnreadableRateError):
        read_product(product("USE1-NovaPro-input-tokens-flex", model="Nova Pro", feature="Batch Inference"))


@pytest.mark.parametrize(
    "changed",
    [
        {"unit": "1K characters"},
        {"unit": "hour"},
        {"usd": "NaN"},
        {"usd": "Infinity"},
        {"usd": "free"},
        {"usd": ""},
        {"usd": "1e999999"},
        {"usd": "0x10"},
    ],
)
def test_a_unit_or_an_amount_that_is_not_known_gives_no_price(changed):
    with pytest.raises(UnreadableRateError):
        read_product(product("USE1-NovaPro-input-tokens", model="Nova Pro", **changed))


@pytest.mark.parametrize("text", ["", "[]", "null", '{"product": {}}', '{"product": {"attributes": 7}, "terms": {}}'])
def test_a_product_that_is_none_is_refused_by_name(text):
    with pytest.raises(UnreadableRateError):
        read_product(text)


def test_a_product_with_several_prices_costs_the_highest():
    data = json.loads(product("USE1-NovaPro-input-tokens", "0.001", model="Nova Pro"))
    term = data["terms"]["OnDemand"]["a"]["priceDimensions"]
    term["c"] = {"unit": "1K tokens", "pricePerUnit": {"USD": "0.002"}}
    read = read_product(json.dumps(data))
    assert read is not None
    assert read.usd == 2


def test_a_card_is_read_line_by_line_and_what_is_new_is_named():
    prices, unread = card("claude")
    assert prices[Key(OPUS, Scope.IN_REGION, EAST, Tier.STANDARD, "input")] == Decimal("4.4")
    assert prices[Key(OPUS, Scope.GEO, "eu-west-1", Tier.STANDARD, "input")] == Decimal("4.84")
    assert prices[INPUT] == 4
    assert unread == [f"{OPUS}: not understood: 'input_tokens_of_tomorrow'"]
    assert {key.region for key in prices} == {EAST, "eu-west-1", "ap-northeast-1"}


def test_a_cache_that_is_priced_in_region_only_costs_the_same_globally():
    prices, _ = card("claude")
    assert prices[INPUT._replace(kind="cache_write_1h")] == Decimal("8.8")
    # Where a tier has no global price at all, there is no global call in it to price.
    assert INPUT._replace(tier=Tier.BATCH) not in prices


def test_a_stale_name_beside_the_current_one_is_passed_over():
    prices, _ = card("gpt")
    at = Key(TERRA, Scope.IN_REGION, None, Tier.STANDARD, "cache_read")
    assert prices[at] == Decimal("0.22")
    assert prices[at._replace(kind="cache_write")] == Decimal("2.75")


def test_a_stale_name_that_stands_alone_is_the_price():
    lines, _ = read_card(TERRA, [{"dimension": "cached_input_tokens_standard", "price": "0.55", "unit": "Units"}])
    assert set(priced(lines).values()) == {Decimal("0.55")}


def test_a_price_said_for_profiles_of_a_geography_goes_before_the_one_said_for_no_scope():
    rates = {"USE1_InputTokenCount": "3.3", "USE1_InputTokenCount_Geo": "3"}
    lines, _ = read_card(OPUS, [{"dimension": name, "price": usd, "unit": "Units"} for name, usd in rates.items()])
    assert {key.scope: usd for key, usd in priced(lines).items()} == {
        Scope.IN_REGION: Decimal("3.3"),
        Scope.GEO: Decimal(3),
    }


def test_of_two_prices_for_one_thing_the_dearer_counts_in_either_order():
    lines = [Line("m", Rate("input", region=EAST), Decimal(usd)) for usd in (2, 3)]
    assert priced(lines) == priced(reversed(lines))
    assert set(priced(lines).values()) == {Decimal(3)}


@pytest.mark.parametrize(
    ("names", "model"),
    [
        (["Nova Pro"], "amazon.nova-pro-v1:0"),  # its variants for provisioned throughput are the same model
        (["NovaPro", "nova  PRO"], "amazon.nova-pro-v1:0"),
        (["OpenAI GPT-5.6 Terra"], TERRA),
        (["xai.grok-4.6", "Grok 4.6 on Bedrock"], "xai.grok-4.6"),
        (["amazon.nova-pro"], "amazon.nova-pro-v1:0"),
        (["NovaPro"], None),
        (["Claude Opus 5"], None),
        (["xai.grok-4"], None),
    ],
)
def test_a_name_is_matched_exactly_or_not_at_all(names, model):
    assert CATALOG.find(names) == model


def test_a_name_that_two_models_share_is_nobodys():
    catalog = Catalog([CatalogModel("a.one-v1:0", "Twin", "A"), CatalogModel("a.two-v1:0", "Twin", "A")])
    assert catalog.find(["Twin"]) is None
    assert catalog.find(["Twin", "a.two"]) == "a.two-v1:0"


@pytest.mark.parametrize(
    ("kind", "old", "new", "asks"),
    [
        ("input", "3", "3", False),
        ("input", "3", "30", False),
        ("input", "3", "30.01", True),
        ("input", "3", "0.3", False),
        ("input", "3", "0.299", True),
        ("input", "3", "0", True),
        ("input", "3", "-3", True),
        ("input", None, "5", False),
        ("input", None, "5000", True),
        ("input", None, "0.0001", True),
        ("image", None, "0.04", False),
        ("image", None, "400", True),
        ("second", "0.5", "0.04", True),
    ],
)
def test_a_person_is_asked_about_tenfold_changes_nothings_and_absurdities(kind, old, new, asks):
    assert questionable(kind, None if old is None else Decimal(old), Decimal(new)) is asks


def kept(**prices):
    """Return a list with input prices of Opus by region, of the cards."""
    at = {region.replace("_", "-"): Dated(Decimal(usd), TODAY) for region, usd in prices.items()}
    return PriceList({CARDS: NOW}, {CARDS: {INPUT._replace(region=region): dated for region, dated in at.items()}})


def shown(found: list[ListedPrice]):
    return {(each.region, each.usd) for each in found}


def test_what_is_kept_comes_back_whole():
    change = Change(CARDS, INPUT, Decimal(4), Decimal(400))
    full = PriceList(
        {CARDS: NOW, "AmazonBedrock": NOW.replace(day=1)},
        {CARDS: {INPUT: Dated(Decimal("4.0"), TODAY), INPUT._replace(region=None): Dated(Decimal(5), TODAY)}},
        grouped([change, change._replace(new=Decimal(0), old=None)], ()),
    )
    body = json.loads(json.dumps(full.to_document()))
    assert PriceList.from_document(body) == full
    as_of, listed = price_list.from_document(body)
    assert as_of == full.as_of == NOW.replace(day=1)
    assert listed == full.listed()
    assert listed[0] == ListedPrice(OPUS, Scope.GLOBAL, None, Tier.STANDARD, "input", Decimal(5), TODAY)


def test_a_region_no_card_names_costs_what_the_dearest_does():
    listed = kept(us_east_1="4", eu_west_1="5", sa_east_1="5").listed()
    assert shown(listed) == {(None, Decimal(5)), ("us-east-1", Decimal(4))}


def test_a_shorter_list_makes_the_regions_it_leaves_out_no_cheaper():
    listed = kept(us_east_1="4", eu_west_1="5", sa_east_1="4.5").listed({"us-east-1", "af-south-1"})
    assert shown(listed) == {(None, Decimal(5)), ("us-east-1", Decimal(4))}


def test_the_price_list_speaks_only_for_the_regions_it_was_asked_about():
    only = PriceList({"AmazonBedrock": NOW}, {"AmazonBedrock": kept(us_east_1="4").prices[CARDS]})
    assert shown(only.listed()) == {("us-east-1", Decimal(4))}


def test_of_two_sources_the_dearer_counts_region_by_region():
    both = kept(us_east_1="4", eu_west_1="5")
    other = {INPUT: Dated(Decimal("4.5"), TODAY), INPUT._replace(region="sa-east-1"): Dated(Decimal(7), TODAY)}
    listed = PriceList(both.read_at, {**both.prices, "AmazonBedrock": other}).listed()
    assert shown(listed) == {(None, Decimal(5)), ("us-east-1", Decimal("4.5")), ("sa-east-1", Decimal(7))}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body.pop("prices"),
        lambda body: body.update(as_of=None),
        lambda body: body.update(read_at={}),
        lambda body: body["read_at"].update({CARDS: "2026-11-22T18:30:00"}),
        lambda body: body["prices"][0].__setitem__(5, "0"),
        lambda body: body["prices"][0].__setitem__(5, "-1"),
        lambda body: body["prices"][0].__setitem__(5, "NaN"),
        lambda body: body["prices"][0].__setitem__(5, 4),
        lambda body: body["prices"][0].__setitem__(4, "moonlight"),
        lambda body: body["prices"][0].__setitem__(3, "unknown"),
        lambda body: body["prices"][0].pop(),
        lambda body: body["prices"][0][7].append(7),
        lambda body: body.update(pending=[{}]),
    ],
)
def test_a_kept_list_that_is_not_whole_is_refused_and_says_what_to_do(spoil):
    body = json.loads(json.dumps(kept(us_east_1="4").to_document()))
    PriceList.from_document(body)
    spoil(body)
    with pytest.raises(PriceListError, match="run the function bedrock-spend-prices again"):
        price_list.from_document(body)


def test_a_word_accepts_exactly_the_changes_it_stands_for():
    change = Change(CARDS, INPUT, Decimal(4), Decimal(400))
    asking = replace(kept(us_east_1="4"), pending=grouped([change], ()))
    accepted, what = asking.accept(asking.pending[0].fingerprint, TODAY)
    assert what.changes == (change,)
    assert accepted.pending == ()
    assert shown(accepted.listed()) == {(None, Decimal(400))}
    other = grouped([change._replace(new=Decimal(500))], ())
    assert other[0].fingerprint != asking.pending[0].fingerprint


@pytest.mark.parametrize("word", ["", None, "x", 7, ["a"], {}])
def test_any_other_word_is_refused_and_told_which_are_pending(word):
    asking = replace(kept(us_east_1="4"), pending=grouped([Change(CARDS, INPUT, Decimal(4), Decimal(400))], ()))
    with pytest.raises(RefusedError, match=asking.pending[0].fingerprint):
        asking.accept(word, TODAY)


@pytest.mark.parametrize("usd", ["0", "-4"])
def test_no_word_puts_a_price_of_nothing_in_force(usd):
    asking = replace(kept(us_east_1="4"), pending=grouped([Change(CARDS, INPUT, Decimal(4), Decimal(usd))], ()))
    with pytest.raises(RefusedError, match="cannot be accepted"):
        asking.accept(asking.pending[0].fingerprint, TODAY)
