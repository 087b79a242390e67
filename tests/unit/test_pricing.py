"""The adapters for prices, on answers that botocore holds against AWS's service models."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.aws.agreements import ModelOffers
from lambdas.aws.pricing import PRICE_LIST_REGION, PublishedPrices
from lambdas.core.errors import AwsCallError
from tests.conftest import event

OPUS = "anthropic.claude-opus-5-5"
ASKED: dict[str, Any] = {
    "ServiceCode": "AmazonBedrock",
    "Filters": [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"}],
    "FormatVersion": "aws_v1",
}


def test_the_price_list_is_read_page_after_page():
    client = boto3.client("pricing", region_name=PRICE_LIST_REGION)
    page = event("get_products_bedrock.json")
    with Stubber(client) as aws:
        aws.add_response("get_products", {**page, "NextToken": "more"}, ASKED)
        aws.add_response("get_products", page, {**ASKED, "NextToken": "more"})
        found = list(PublishedPrices(client).products("AmazonBedrock", "eu-west-1"))
    assert found == page["PriceList"] * 2


def test_a_page_that_fails_is_an_error_that_names_the_permission_after_what_came_before():
    client = boto3.client("pricing", region_name=PRICE_LIST_REGION)
    page = event("get_products_bedrock.json")
    with Stubber(client) as aws:
        aws.add_response("get_products", {**page, "NextToken": "more"}, ASKED)
        aws.add_client_error("get_products", "ExpiredNextTokenException")
        products = PublishedPrices(client).products("AmazonBedrock", "eu-west-1")
        with pytest.raises(AwsCallError, match="pricing:GetProducts: ExpiredNextTokenException"):
            list(products)


def offers() -> tuple[ModelOffers, Stubber]:
    client = boto3.client("bedrock", region_name="eu-west-1")
    return ModelOffers({"eu-west-1": client}.__getitem__), Stubber(client)


def test_models_are_listed_by_region():
    models, aws = offers()
    with aws:
        aws.add_response("list_foundation_models", event("list_foundation_models.json"), {})
        assert models.models("eu-west-1")[3] == (OPUS, "Claude Opus 5.5", "Anthropic")


def test_a_card_has_the_rates_of_all_offers_and_no_token_an_agreement_could_be_made_with():
    models, aws = offers()
    answer = event("agreement_offers_claude.json")
    answer["offers"].append(event("agreement_offers_gpt.json")["offers"][0])
    with aws:
        aws.add_response("list_foundation_model_agreement_offers", answer, {"modelId": OPUS})
        card = models.rate_card("eu-west-1", OPUS)
    assert card is not None
    assert {"dimension": "USE1_input_tokens_standard", "price": "4.4", "unit": "Units"} in card
    assert {"dimension": "input_tokens_standard", "price": "2.2", "unit": "Units"} in card
    assert "not-to-be-kept" not in str(card)


@pytest.mark.parametrize("code", ["ValidationException", "ResourceNotFoundException"])
def test_a_model_that_is_not_sold_by_agreement_has_no_card(code):
    models, aws = offers()
    with aws:
        aws.add_client_error("list_foundation_model_agreement_offers", code)
        assert models.rate_card("eu-west-1", "amazon.nova-pro-v1:0") is None


def test_a_refused_card_is_an_error_and_not_no_card():
    models, aws = offers()
    with aws:
        aws.add_client_error("list_foundation_model_agreement_offers", "AccessDeniedException")
        with pytest.raises(AwsCallError, match="bedrock:ListFoundationModelAgreementOffers: AccessDenied"):
            models.rate_card("eu-west-1", OPUS)
