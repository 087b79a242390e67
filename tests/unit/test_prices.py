"""Prices: known to the last digit, dated, and never 0 for want of knowledge."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cli.compile_prices import render
from lambdas.core.model_ids import is_embedding, normalise, without_geography
from lambdas.core.prices import TABLE_FILE, PriceTable, PriceTableError
from lambdas.core.usage import Kind

AT = datetime(2026, 11, 22, tzinfo=UTC)


def test_the_table_in_the_repository_is_what_the_pinned_package_compiles_to():
    assert TABLE_FILE.read_text(encoding="utf-8") == render(), "run `make prices`"


@pytest.mark.parametrize(
    ("raw", "model"),
    [
        ("anthropic.claude-opus-5", "anthropic.claude-opus-5"),
        ("US.Anthropic.Claude-Opus-5 ", "us.anthropic.claude-opus-5"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
            "us.amazon.nova-pro-v1:0",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc",
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc",
        ),
        ("a1b2c3d4e5f6", "a1b2c3d4e5f6"),
    ],
)
def test_a_model_has_one_spelling(raw: str, model: str):
    assert normalise(raw) == model


def test_geographies_are_taken_off_and_makers_are_not():
    assert without_geography("us-gov.anthropic.claude-x") == "anthropic.claude-x"
    assert without_geography("global.amazon.nova-2-lite-v1:0") == "amazon.nova-2-lite-v1:0"
    assert without_geography("ai21.jamba") == "ai21.jamba"


# USD per million tokens: input, output, cache read, dearest cache write; worked out by hand from the price list.
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", ("3.3", "16.5", "0.33", "6.6")),
        ("global.anthropic.claude-opus-5-5", ("4", "20", "0.2", "8")),
        ("apac.anthropic.claude-opus-5-5", ("4.4", "22", "0.22", "8.8")),
        ("amazon.nova-pro-v1:0", ("0.8", "3.2", "0.2", "0.8")),
        ("amazon.titan-embed-text-v2:0", ("0.02", "0", "0.02", "0.02")),
        # Above 272,000 tokens of context GPT costs more, and a metric does not tell how long the context was.
        ("openai.gpt-5.6-sol", ("8.8", "33", "0.88", "11")),
    ],
)
def test_known_models_cost_what_the_list_says(prices: PriceTable, model: str, expected: tuple[str, ...]):
    quote = prices.quote(model, AT)
    assert not quote.guessed
    price = quote.price
    assert (price.input, price.output, price.cache_read, price.cache_write) == tuple(map(Decimal, expected))


def test_a_price_change_holds_from_its_day_on(prices: PriceTable):
    before = prices.quote("openai.gpt-5.6-luna", datetime(2026, 7, 29, 23, 59, tzinfo=UTC)).price
    after = prices.quote("openai.gpt-5.6-luna", datetime(2026, 7, 30, tzinfo=UTC)).price
    assert (before.input, before.output) == (Decimal("1.1"), Decimal("6.6"))
    assert (after.input, after.output) == (Decimal("0.44"), Decimal("1.98"))


@pytest.mark.parametrize("model", ["newco.colossus-9", "a1b2c3d4e5f6", "", "arn:aws:bedrock:x:y:imported-model/z"])
def test_an_unknown_model_costs_the_dearest_of_each_kind_and_says_so(prices: PriceTable, model: str):
    quote = prices.quote(model, AT)
    assert quote.guessed
    assert quote.price == prices.dearest(AT.date())
    assert quote.price.output >= prices.quote("us.anthropic.claude-opus-4-20250514-v1:0", AT).price.output == 75


def test_an_unknown_embedding_model_is_priced_among_embeddings(prices: PriceTable):
    quote = prices.quote("newco.embed-giant", AT)
    assert is_embedding("newco.embed-giant")
    assert quote.guessed
    assert quote.price.input == Decimal("0.80")
    assert prices.quote("amazon.titan-embed-text-v2:0", AT).price.input <= quote.price.input


def test_input_that_may_be_cached_costs_the_dearest_of_the_three(prices: PriceTable):
    price = prices.quote("anthropic.claude-opus-5-5", AT).price
    assert price.of(Kind.MIXED_INPUT) == Decimal("8.8") / 1_000_000


def test_no_kind_of_usage_is_free_for_a_model_that_writes(prices: PriceTable):
    price = prices.quote("amazon.nova-micro-v1:0", AT).price
    assert all(price.of(kind) > 0 for kind in Kind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"models": []}',
        '{"models": [{"match": [], "prices": []}]}',
        '{"models": [{"match": ["~x"], "prices": []}]}',
        '{"models": [{"match": ["?x"], "prices": [{"from": "1970-01-01"}]}]}',
        (
            '{"models": [{"match": ["~x"], "prices": [{"from": "1970-01-01", "input": "-1", "output": "1",'
            ' "cache_read": "1", "cache_write": "1"}]}]}'
        ),
        (
            '{"models": [{"match": ["~x"], "prices": [{"from": "1970-01-01", "input": "NaN", "output": "1",'
            ' "cache_read": "1", "cache_write": "1"}]}]}'
        ),
    ],
)
def test_a_broken_table_is_refused_with_what_to_do(tmp_path: Path, text: str):
    file = tmp_path / "prices.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PriceTableError, match="make prices"):
        PriceTable.load(file)


def test_dear_and_other_models_are_split_by_output_price(prices: PriceTable):
    dear, others = prices.models_dearer_than(Decimal(20), date.max)
    assert any("claude-opus-4-5" in each for each in dear)
    assert any("nova-lite" in each for each in others)
    assert not any("nova-lite" in each for each in dear)
