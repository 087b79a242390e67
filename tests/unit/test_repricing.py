"""The weekly refresh: what it uses, what it asks a person about, and that no failure loses a price."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas import repricing
from lambdas.core.errors import AwsCallError, LedgerItemError, RefusedError
from lambdas.core.notice import Notice
from lambdas.core.price_list import CARDS, CatalogModel, PriceList
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Tier
from lambdas.repricing import SERVICES, Refreshed, RepricingTools
from tests.conftest import event
from tests.fakes import refused
from tests.unit.test_price_list import product
from tests.unit.test_stopping import LINKS

OPUS = "anthropic.claude-opus-5-5"
TERRA = "openai.gpt-5.6-terra"
NOVA = "amazon.nova-pro-v1:0"
EAST = "us-east-1"
MODELS = [
    CatalogModel(each["modelId"], each["modelName"], each["providerName"])
    for each in event("list_foundation_models.json")["modelSummaries"]
]


def rate_card(name: str) -> list[dict[str, str]]:
    answer = event(f"agreement_offers_{name}.json")
    found: list[dict[str, str]] = answer["offers"][0]["termDetails"]["usageBasedPricingTerm"]["rateCard"]
    return found


@dataclass
class Prices:
    """AWS's prices, the ledger and the mail, in memory; each may fail."""

    snapshot: PriceTable
    now: datetime
    listed: dict[str, list[str]] = field(
        default_factory=lambda: {
            "AmazonBedrock": event("get_products_bedrock.json")["PriceList"],
            "AmazonBedrockFoundationModels": event("get_products_marketplace.json")["PriceList"],
        }
    )
    cards: dict[str, list[dict[str, str]]] = field(
        default_factory=lambda: {OPUS: rate_card("claude"), TERRA: rate_card("gpt")}
    )
    regions: tuple[str, ...] = (EAST,)
    fails: dict[str, str] = field(default_factory=dict)
    """What is asked for, to error code."""
    document: Mapping[str, Any] | None = None
    sent: list[Notice] = field(default_factory=list)

    def _asked(self, *what: str) -> None:
        for each in what:
            if each in self.fails:
                raise refused(f"aws:{each}", self.fails[each])

    def products(self, service: str, region: str) -> Iterator[str]:
        for text in self.listed.get(service, ()):
            if json.loads(text)["product"]["attributes"]["regionCode"] == region:
                yield text
        self._asked(service)  # after what there is: a later page may fail

    def models(self, region: str) -> Sequence[CatalogModel]:
        self._asked("models", f"models {region}")
        return MODELS if region == EAST else MODELS[:1]

    def rate_card(self, region: str, model_id: str) -> Sequence[Mapping[str, Any]] | None:
        assert region in self.regions
        self._asked("cards", model_id)
        return self.cards.get(model_id)

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        assert name == "prices"
        self._asked("keep")
        self.document = json.loads(json.dumps(body))

    def kept(self, name: str) -> Mapping[str, Any] | None:
        assert name == "prices"
        self._asked("kept")
        return self.document

    def send(self, notice: Notice) -> None:
        self._asked("mail")
        self.sent.append(notice)

    @property
    def tools(self) -> RepricingTools:
        return RepricingTools(self, self, self, self.snapshot, self.regions, self.send, LINKS, "bedrock-spend-prices")

    def refresh(self, days: float = 0) -> Refreshed:
        self.now += timedelta(days=days)
        return repricing.refresh(self.tools, self.now)

    def accept(self, word: object) -> dict[str, Any]:
        return repricing.accept(word, self.tools, self.now)

    def change(self, dimension: str, usd: str) -> None:
        """Change a rate on the card of Opus."""
        (rate,) = (each for each in self.cards[OPUS] if each["dimension"] == dimension)
        rate["price"] = usd

    def usd(self, model: str = f"global.{OPUS}", kind: str = "input", tier: Tier = Tier.STANDARD) -> Decimal | None:
        """Return the price in force as the meter will look it up."""
        table, gaps = repricing.in_force(self.snapshot, self.document)
        assert gaps == ()
        return (table.rates(model, self.now, tier, EAST) or {}).get(kind)


@pytest.fixture
def aws_prices(prices: PriceTable, now: datetime) -> Prices:
    return Prices(prices, now)


def test_what_aws_charges_is_what_the_meter_reckons_with(aws_prices: Prices):
    # A price AWS changed since the guardrail was deployed, for a call in each scope and tier.
    aws_prices.change("USE1_input_tokens_standard", "4.5")
    aws_prices.listed["AmazonBedrockFoundationModels"] = []
    found = aws_prices.refresh()
    assert found.problems == ()
    assert (aws_prices.usd(OPUS), aws_prices.usd(f"us.{OPUS}"), aws_prices.usd()) == (
        Decimal("4.5"),
        Decimal("4.5"),
        Decimal(4),
    )
    assert aws_prices.usd(NOVA, "output", Tier.PRIORITY) == Decimal("5.6")
    assert aws_prices.usd(TERRA, "cache_read") == Decimal("0.22")
    assert aws_prices.sent == []
    assert found.as_of == aws_prices.now


@pytest.mark.parametrize(("days", "due"), [(0, False), (6, False), (7, True)])
def test_a_refresh_is_due_at_once_and_then_once_a_week(aws_prices: Prices, days: int, due: bool):
    assert repricing.is_due(aws_prices.tools, aws_prices.now)
    aws_prices.refresh()
    assert repricing.is_due(aws_prices.tools, aws_prices.now + timedelta(days=days)) is due


def test_what_cannot_be_matched_or_read_is_told_and_not_used(aws_prices: Prices):
    found = aws_prices.refresh()
    assert found.unmatched == ("Mystery",)
    assert found.unread == (f"{OPUS}: not understood: 'input_tokens_of_tomorrow'",)
    assert "mystery" not in json.dumps(aws_prices.document).lower()
    assert "not-to-be-kept" not in json.dumps(aws_prices.document)


def test_the_answer_is_json_and_counts_what_is_in_force(aws_prices: Prices):
    answer = json.loads(json.dumps(aws_prices.refresh().answer()))
    assert answer["prices"][CARDS] > 40
    assert answer["prices"]["AmazonBedrockService"] == 0
    # One for the models, one for each of the five cards, one for each service.
    assert answer["calls"] == 1 + 5 + 3
    assert answer["kept_bytes"] < 2000


def test_a_price_that_did_not_change_keeps_its_day(aws_prices: Prices):
    first = aws_prices.now.date()
    aws_prices.refresh()
    aws_prices.change("USE1_output_tokens_global_standard", "21")
    aws_prices.refresh(days=7)
    assert aws_prices.document is not None
    since = {
        dated.since: dated.usd
        for key, dated in PriceList.from_document(aws_prices.document).prices[CARDS].items()
        if (key.kind, str(key.scope), key.region) in {("output", "global", EAST), ("input", "global", EAST)}
        and key.tier is Tier.STANDARD
        and key.model == OPUS
    }
    assert since == {first: Decimal(4), aws_prices.now.date(): Decimal(21)}


@pytest.mark.parametrize("usd", ["40.01", "0.39"])
def test_a_tenfold_change_waits_for_a_person_who_is_mailed_once(aws_prices: Prices, usd: str):
    aws_prices.refresh()
    aws_prices.change("USE1_input_tokens_global_standard", usd)
    found = aws_prices.refresh(days=7)
    aws_prices.refresh(days=7)
    (mail,) = aws_prices.sent
    assert f"input (global, standard, us-east-1): $4 -> ${usd}" in mail.text
    (pending,) = found.pending
    assert f'test bedrock-spend-prices with {{"accept": "{pending.fingerprint}"}}' in mail.text
    assert found.problems == ()
    assert aws_prices.usd() == 4
    # The rest of the answer was used.
    assert found.as_of == aws_prices.now - timedelta(days=7)


def test_a_persons_word_puts_it_in_force_and_it_stays(aws_prices: Prices):
    aws_prices.refresh()
    aws_prices.change("USE1_input_tokens_global_standard", "44")
    aws_prices.refresh(days=7)
    (word,) = re.findall(r'"accept": "(\w+)"', aws_prices.sent[0].text)
    assert aws_prices.accept(word)["still_pending"] == 0
    assert aws_prices.usd() == 44
    found = aws_prices.refresh(days=7)
    assert (aws_prices.usd(), found.pending, len(aws_prices.sent)) == (Decimal(44), (), 1)
    with pytest.raises(RefusedError, match="no price is pending under it"):
        aws_prices.accept(word)


def test_two_sources_that_differ_for_good_do_not_ask_again_and_again(aws_prices: Prices):
    aws_prices.change("USE1_input_tokens_global_standard", "39")
    aws_prices.refresh()
    found = aws_prices.refresh(days=7)
    assert (found.pending, aws_prices.usd()) == ((), Decimal(39))


def test_what_waits_for_a_person_is_held_in_that_place_alone_at_its_own_old_price(aws_prices: Prices):
    aws_prices.listed["AmazonBedrockFoundationModels"] = []
    aws_prices.refresh()
    aws_prices.change("USE1_input_tokens_standard", "440")
    aws_prices.refresh(days=7)
    # 4.84 in Ireland, which is what a place without a line of its own would cost.
    assert aws_prices.usd(OPUS) == Decimal("4.4")


def test_what_waits_for_a_person_goes_on_waiting_while_its_source_fails(aws_prices: Prices):
    aws_prices.refresh()
    aws_prices.change("USE1_input_tokens_global_standard", "44")
    word = aws_prices.refresh(days=7).pending[0].fingerprint
    aws_prices.fails = {"cards": "AccessDeniedException"}
    aws_prices.refresh(days=7)
    aws_prices.accept(word)
    assert (aws_prices.usd(), len(aws_prices.sent)) == (Decimal(44), 1)


def test_a_stale_word_is_refused_and_changes_nothing(aws_prices: Prices):
    aws_prices.refresh()
    aws_prices.change("USE1_input_tokens_global_standard", "44")
    stale = aws_prices.refresh(days=7).pending[0].fingerprint
    aws_prices.change("USE1_input_tokens_global_standard", "440")
    current = aws_prices.refresh(days=7).pending[0].fingerprint
    before = aws_prices.document
    with pytest.raises(RefusedError, match=f"nothing was changed. Pending: {current}"):
        aws_prices.accept(stale)
    assert aws_prices.document is before
    assert len(aws_prices.sent) == 2


def test_before_the_first_refresh_nothing_can_be_accepted(aws_prices: Prices):
    with pytest.raises(RefusedError, match="not refreshed yet"):
        aws_prices.accept("x")
    assert aws_prices.document is None


def test_on_the_first_run_prices_are_held_against_the_table_the_guardrail_was_deployed_with(aws_prices: Prices):
    deployed = aws_prices.usd(NOVA, "output")
    aws_prices.listed["AmazonBedrock"] = [
        product("USE1-NovaPro-output-tokens", "0.32", model="Nova Pro"),
        product("USE1-NovaPro-input-tokens", "0.0009", model="Nova Pro"),
    ]
    found = aws_prices.refresh()
    assert [each.model for each in found.pending] == [NOVA]
    assert (aws_prices.usd(NOVA, "output"), aws_prices.usd(NOVA)) == (deployed, Decimal("0.9"))
    assert deployed == Decimal("3.2")


def test_a_price_of_nothing_is_mailed_and_the_old_one_stays(aws_prices: Prices):
    aws_prices.refresh()
    aws_prices.change("USE1_input_tokens_global_standard", "0")
    found = aws_prices.refresh(days=7)
    assert "A price of 0 or less is never taken from the list" in aws_prices.sent[0].text
    assert aws_prices.usd() == 4
    with pytest.raises(RefusedError):
        aws_prices.accept(found.pending[0].fingerprint)


def test_mail_that_could_not_be_sent_is_sent_by_the_next_run(aws_prices: Prices):
    aws_prices.refresh()
    aws_prices.change("USE1_input_tokens_global_standard", "400")
    aws_prices.fails = {"mail": "Throttling"}
    assert aws_prices.refresh(days=7).problems == ("not mailed: aws:mail: Throttling: not now",)
    aws_prices.fails = {}
    assert aws_prices.refresh(days=7).problems == ()
    assert len(aws_prices.sent) == 1


@pytest.mark.parametrize("source", SERVICES)
def test_a_service_that_fails_half_way_keeps_what_it_said_and_is_told(aws_prices: Prices, source: str):
    aws_prices.refresh()
    before = aws_prices.document
    assert before is not None
    aws_prices.fails = {source: "InternalErrorException"}
    found = aws_prices.refresh(days=7)
    assert found.problems == (f"{source} in us-east-1: aws:{source}: InternalErrorException: not now",)
    assert aws_prices.document is not None
    assert aws_prices.document["prices"] == before["prices"]
    # The list is as old as its oldest part.
    assert found.as_of == aws_prices.now - timedelta(days=7)


def test_a_card_that_cannot_be_read_keeps_what_it_said_while_the_others_are_renewed(aws_prices: Prices):
    aws_prices.refresh()
    aws_prices.cards[TERRA] = []
    aws_prices.change("USE1_input_tokens_global_standard", "5")
    aws_prices.fails = {TERRA: "ThrottlingException"}
    found = aws_prices.refresh(days=7)
    assert [each.startswith(f"{CARDS} of {TERRA}") for each in found.problems] == [True]
    assert (aws_prices.usd(), aws_prices.usd(TERRA, "cache_read")) == (Decimal(5), Decimal("0.22"))
    assert found.as_of == aws_prices.now - timedelta(days=7)


def test_a_model_that_is_closed_to_this_account_is_no_failure(aws_prices: Prices):
    aws_prices.fails = {TERRA: "AccessDeniedException"}
    assert aws_prices.refresh().problems == ()
    assert aws_prices.usd() == 4


def test_cards_that_are_all_denied_are_a_failure(aws_prices: Prices):
    aws_prices.refresh()
    aws_prices.fails = {"cards": "AccessDeniedException"}
    assert aws_prices.refresh(days=7).problems == (f"{CARDS}: aws:cards: AccessDeniedException: not now",)
    assert aws_prices.usd(TERRA, "cache_read") == Decimal("0.22")


def test_without_the_models_no_name_can_be_matched_and_all_stays_as_it_was(aws_prices: Prices):
    aws_prices.refresh()
    before = aws_prices.document
    aws_prices.fails = {"models": "AccessDeniedException"}
    assert len(aws_prices.refresh(days=7).problems) == 2
    assert aws_prices.document == before


def test_a_region_whose_models_cannot_be_listed_takes_no_model_away(aws_prices: Prices):
    aws_prices.regions = (EAST, "eu-west-1")
    aws_prices.refresh()
    aws_prices.fails = {f"models {EAST}": "ThrottlingException"}
    found = aws_prices.refresh(days=7)
    assert len(found.problems) == 1
    assert (aws_prices.usd(), aws_prices.usd(NOVA)) == (Decimal(4), Decimal("0.8"))
    assert found.as_of == aws_prices.now - timedelta(days=7)


def test_an_answer_that_shrank_to_less_than_half_is_not_used(aws_prices: Prices):
    aws_prices.refresh()
    aws_prices.cards = {TERRA: rate_card("gpt")}
    found = aws_prices.refresh(days=7)
    assert [each.startswith(f"{CARDS}: ") and "not used" in each for each in found.problems] == [True]
    assert aws_prices.usd() == 4


def test_an_empty_price_list_is_not_used(aws_prices: Prices):
    aws_prices.refresh()
    before = aws_prices.document
    aws_prices.listed = {}
    found = aws_prices.refresh(days=7)
    assert found.problems == ("the Price List has no product in any region: not used",)
    assert aws_prices.document is not None
    assert before is not None
    assert aws_prices.document["prices"] == before["prices"]


def test_regions_that_are_not_asked_any_more_are_not_missed(aws_prices: Prices):
    aws_prices.listed["AmazonBedrock"] += [
        text.replace("USE1-", "EUW2-").replace(EAST, "eu-west-2") for text in aws_prices.listed["AmazonBedrock"]
    ] + [text.replace("USE1-", "SAE1-").replace(EAST, "sa-east-1") for text in aws_prices.listed["AmazonBedrock"]]
    aws_prices.regions = (EAST, "eu-west-2", "sa-east-1")
    many = aws_prices.refresh().counts["AmazonBedrock"]
    aws_prices.regions = (EAST,)
    found = aws_prices.refresh(days=7)
    assert found.problems == ()
    assert found.counts["AmazonBedrock"] * 3 == many


@pytest.mark.parametrize(("days", "told"), [(45, False), (46, True)])
def test_prices_older_than_45_days_are_told(aws_prices: Prices, days: int, told: bool):
    aws_prices.refresh()
    aws_prices.fails = {"AmazonBedrock": "InternalErrorException"}
    problems = aws_prices.refresh(days=days).problems
    assert ("the prices in force are of 2026-11-22, older than 45 days" in problems) is told


@pytest.mark.parametrize(("days", "told"), [(45, False), (46, True)])
def test_so_is_the_table_of_the_deployment_where_there_is_no_list(aws_prices: Prices, days: int, told: bool):
    aws_prices.fails = {"models": "AccessDeniedException"}
    midnight = aws_prices.now.replace(hour=0, minute=0, second=0)
    aws_prices.now = midnight + (aws_prices.snapshot.as_of - midnight.date()) + timedelta(days=days)
    assert any("older than 45 days" in each for each in aws_prices.refresh().problems) is told
    assert aws_prices.document is None


@pytest.mark.parametrize("call", ["kept", "keep"])
def test_a_ledger_that_does_not_answer_ends_the_run_and_nothing_is_overwritten(aws_prices: Prices, call: str):
    aws_prices.refresh()
    before = aws_prices.document
    aws_prices.fails = {call: "InternalServerError"}
    with pytest.raises(AwsCallError):
        aws_prices.refresh(days=7)
    assert aws_prices.document is before


def test_a_broken_list_is_made_anew_and_told(aws_prices: Prices):
    aws_prices.document = {"prices": "gone"}
    table, gaps = repricing.in_force(aws_prices.snapshot, aws_prices.document)
    assert table is aws_prices.snapshot
    assert "run the function bedrock-spend-prices again" in gaps[0]
    (problem,) = aws_prices.refresh().problems
    assert problem.startswith("made anew")
    assert aws_prices.usd() == 4


def test_a_list_that_does_not_unpack_is_made_anew_too(aws_prices: Prices, monkeypatch: pytest.MonkeyPatch):
    def broken(_: str) -> None:
        raise LedgerItemError("kept prices")

    monkeypatch.setattr(aws_prices, "kept", broken)
    assert len(aws_prices.refresh().problems) == 1
    assert aws_prices.usd() == 4


def test_without_a_list_the_table_of_the_deployment_is_in_force(aws_prices: Prices):
    assert repricing.in_force(aws_prices.snapshot, None) == (aws_prices.snapshot, ())


def test_a_list_too_large_for_the_ledger_is_told_and_the_one_before_stays(
    aws_prices: Prices, monkeypatch: pytest.MonkeyPatch
):
    aws_prices.refresh()
    before = aws_prices.document
    monkeypatch.setattr(repricing, "MAX_KEPT_BYTES", 500)
    found = aws_prices.refresh(days=7)
    assert re.fullmatch(r"the list takes \d+ bytes and the ledger holds 500: the list before stays", found.problems[0])
    assert aws_prices.document is before
