"""The refresh of prices as Lambda runs it, on an account in moto."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
import pytest
from moto.sns.models import sns_backends

from lambdas import repricing
from lambdas.aws.dynamodb import LedgerTable
from lambdas.core.errors import RefusedError, UnfinishedError
from lambdas.core.levels import Level, level_of
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Tier
from tests.conftest import ACCOUNT, event
from tests.fakes import BRAKE, SWEEP
from tests.integration.test_functions import refuse
from tests.integration.world import LEDGER, OFFERS, SETTINGS, Account

OPUS = "anthropic.claude-opus-5-5"


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.install()
    return found


def with_input_of(usd: str) -> Callable[[Any], dict[str, Any]]:
    """Return rate cards on which the input of Opus costs something else."""

    def offers(params: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = copy.deepcopy(event(OFFERS[OPUS]))
        if not params["url_path"].endswith(OPUS):
            return {"modelId": "other", "offers": []}
        for rate in answer["offers"][0]["termDetails"]["usageBasedPricingTerm"]["rateCard"]:
            rate["price"] = usd if rate["dimension"] == "USE1_input_tokens_standard" else rate["price"]
        return answer

    return offers


def usd_in_force() -> Any:
    table, gaps = repricing.in_force(PriceTable.load(), LedgerTable(boto3.client("dynamodb"), LEDGER).kept("prices"))
    assert gaps == ()
    return (table.rates(OPUS, datetime.now(UTC), Tier.STANDARD, "us-east-1") or {})["input"]


def wait_for_a_word(account: Account) -> str:
    """Let a price change tenfold; return the word a person is mailed."""
    account.answers["bedrock:ListFoundationModelAgreementOffers"] = with_input_of("440")
    account.run("prices", {})
    topic = sns_backends[ACCOUNT]["us-east-1"].topics[account.environment["NOTICE_TOPIC_ARN"]]
    word = re.search(r'"accept": "(\w+)"', str(topic.sent_notifications[-1][1]))
    assert word is not None
    return word[1]


def test_all_pages_of_all_sources_end_up_in_the_ledger(account: Account):
    answer = account.run("prices", event("scheduled.json"))
    assert answer["problems"] == []
    assert answer["names_of_no_single_model"] == ["Mystery"]
    assert {source: count > 0 for source, count in answer["prices"].items()} == {
        "agreement offers": True,
        "AmazonBedrock": True,
        "AmazonBedrockService": False,
        "AmazonBedrockFoundationModels": True,
    }
    assert str(usd_in_force()) == "4.4"
    assert account.mails() == []


def test_the_clock_refreshes_once_a_week_and_a_person_at_any_time(account: Account):
    account.run("prices", event("scheduled.json"))
    account.answers["pricing:GetProducts"] = refuse("AccessDeniedException")
    assert "less than a week ago" in account.run("prices", event("scheduled.json"))["prices"]
    with pytest.raises(UnfinishedError):
        account.run("prices", {})


def test_a_tenfold_price_is_mailed_and_used_after_a_persons_word(account: Account):
    account.run("prices", event("scheduled.json"))
    word = wait_for_a_word(account)
    assert account.mails() == ["Bedrock spend: prices that need your word"]
    assert str(usd_in_force()) == "4.4"
    with pytest.raises(RefusedError):
        account.run("prices", {"accept": word[::-1]})
    account.run("prices", {"accept": word})
    assert str(usd_in_force()) == "440"


def test_a_source_that_cannot_be_read_ends_the_run_in_an_error_after_the_rest_was_kept(account: Account):
    account.answers["pricing:GetProducts"] = refuse("AccessDeniedException")
    with pytest.raises(UnfinishedError, match="AmazonBedrock in us-east-1: pricing:GetProducts: AccessDenied"):
        account.run("prices", {})
    assert str(usd_in_force()) == "4.4"


def step_down_of(account: Account, arn: str) -> str:
    iam = boto3.client("iam")
    found = [
        iam.get_policy_version(PolicyArn=arn, VersionId=each["VersionId"])["PolicyVersion"]["Document"]
        for each in iam.list_policy_versions(PolicyArn=arn)["Versions"]
    ]
    return json.dumps(next(each for each in found if level_of(each) is Level.STEP_DOWN))


def output_costs(usd: str) -> Callable[[Any], dict[str, Any]]:
    """Return rate cards on which the output of Opus costs something else."""

    def offers(params: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = copy.deepcopy(event(OFFERS[OPUS]))
        if not params["url_path"].endswith(OPUS):
            return {"modelId": "other", "offers": []}
        for rate in answer["offers"][0]["termDetails"]["usageBasedPricingTerm"]["rateCard"]:
            rate["price"] = usd if "output_tokens" in rate["dimension"] else rate["price"]
        return answer

    return offers


def test_the_step_down_follows_the_prices_of_a_refresh(account: Account):
    account.install("Update", replace(SETTINGS, step_down_output_usd=Decimal("22.5")))
    before = step_down_of(account, BRAKE)
    account.answers["bedrock:ListFoundationModelAgreementOffers"] = output_costs("24")
    account.run("prices", event("scheduled.json"))
    after = step_down_of(account, BRAKE)
    assert after == step_down_of(account, SWEEP)
    assert "anthropic.claude-opus-*" not in before
    assert "anthropic.claude-opus-*" in after


def test_a_step_down_that_could_not_follow_is_told_and_made_up_for_by_the_next_run(account: Account):
    account.install("Update", replace(SETTINGS, step_down_output_usd=Decimal("22.5")))
    account.answers["bedrock:ListFoundationModelAgreementOffers"] = output_costs("24")
    account.answers["iam:CreatePolicyVersion"] = refuse("ServiceFailure")
    with pytest.raises(UnfinishedError, match=r"does not follow the prices in force yet: .*ServiceFailure"):
        account.run("prices", event("scheduled.json"))
    del account.answers["iam:CreatePolicyVersion"]
    assert "less than a week ago" in account.run("prices", event("scheduled.json"))["prices"]
    assert "anthropic.claude-opus-*" in step_down_of(account, BRAKE)


def test_a_model_that_is_not_sold_by_agreement_is_no_failure_but_one_that_is_refused_is(account: Account):
    account.answers["bedrock:ListFoundationModelAgreementOffers"] = refuse("ThrottlingException")
    with pytest.raises(UnfinishedError, match=r"agreement offers of amazon\.nova-canvas-v1:0"):
        account.run("prices", {})
