"""The daily cross-check as Lambda runs it, on an account in moto."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import boto3
import pytest

from lambdas.aws.dynamodb import LedgerTable
from lambdas.core.closed import ClosedDay
from lambdas.core.crosscheck import DAYS, days_to_compare
from lambdas.core.errors import AwsCallError
from lambdas.core.inventory import Inventory
from lambdas.core.prices import Pricing
from tests.conftest import event
from tests.integration.test_functions import refuse
from tests.integration.world import LEDGER, SETTINGS, Account


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.people()
    found.install()
    return found


def close_days(usd: str) -> None:
    """Let the meter have closed the days that are compared, with so many USD of Nova Pro each."""
    ledger = LedgerTable(boto3.client("dynamodb"), LEDGER)
    first, _ = days_to_compare(datetime.now(UTC))
    for number in range(DAYS):
        # In a region of its own: the meter may have closed the days of the others.
        day = ClosedDay.open(first + timedelta(days=number), "eu-central-1")
        models = {"amazon.nova-pro-v1:0 (eu-central-1)": Decimal(usd)}
        assert ledger.close(day.with_hours(day.end, models, {}), closed_before=day.start)
    ledger.keep("inventory", Inventory(datetime.now(UTC)).to_json())


def test_a_meter_and_a_bill_that_agree_are_kept_and_shown_by_the_status(account: Account):
    close_days("10")
    answer = account.run("crosscheck", event("scheduled.json"))
    assert (answer["agreement"], answer["meter_usd"], answer["bill_usd"]) == ("agrees", "70.00", "70.00")
    assert account.mails() == []
    assert account.run("status", {})["crosscheck"] == answer


def test_a_bill_twice_as_high_is_mailed_once_however_often_it_runs(account: Account):
    close_days("10")
    account.billed_usd = "20"
    answer = account.run("crosscheck", event("scheduled.json"))
    assert answer["factor_offered"] == "2"
    assert account.run("crosscheck", event("console_default.json")) == answer
    assert account.mails() == ["Bedrock spend: the meter reads LESS than the bill"]


def test_a_factor_is_offered_on_top_of_the_one_in_force(account: Account, monkeypatch: pytest.MonkeyPatch):
    close_days("10")
    account.billed_usd = "8"
    settings = replace(SETTINGS, pricing=Pricing(factor=Decimal("0.5")))
    monkeypatch.setenv("GUARDRAIL", settings.to_json())
    assert account.run("crosscheck", event("scheduled.json"))["factor_offered"] == "0.4"


def test_a_refused_bill_fails_loudly_and_leaves_what_was_known(account: Account):
    close_days("10")
    account.answers["ce:GetCostAndUsage"] = refuse("AccessDeniedException")
    with pytest.raises(AwsCallError, match="ce:GetCostAndUsage: AccessDeniedException"):
        account.run("crosscheck", event("scheduled.json"))
    assert account.run("status", {})["crosscheck"] == "no cross-check recorded yet"


def test_before_the_first_whole_day_nothing_is_asked(account: Account):
    answer = account.run("crosscheck", event("scheduled.json"))
    assert answer["agreement"] == "nothing to compare"
    assert "ce:GetCostAndUsage" not in account.calls["crosscheck"]
