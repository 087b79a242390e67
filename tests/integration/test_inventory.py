"""The inventory function as Lambda runs it, on an account in moto and a Bedrock that is stood in for."""

from datetime import UTC, datetime

import boto3
import pytest

from lambdas.core.errors import UnfinishedError
from lambdas.core.inventory import CostKind, Inventory
from lambdas.wiring import Wiring
from tests.conftest import event
from tests.integration.test_functions import refuse
from tests.integration.world import STOCK, Account


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    return Account(monkeypatch)


def use_elsewhere(region: str) -> None:
    """Let Bedrock be called in a region."""
    boto3.client("cloudwatch", region_name=region).put_metric_data(
        Namespace="AWS/Bedrock",
        MetricData=[{"MetricName": "Invocations", "Value": 1.0, "Timestamp": datetime.now(UTC)}],
    )


def kept() -> Inventory:
    body = Wiring().ledger.kept("inventory")
    assert body is not None
    return Inventory.from_json(body)


def test_what_is_there_is_priced_and_kept(account):
    answer = account.run("inventory", event("scheduled.json"))
    assert answer["gaps"] == answer["problems"] == []
    assert answer["standing"] == {
        "custom-model deployment d (us-east-1)": "0.0100",
        "marketplace endpoint e (us-east-1)": "114.0000",
    }
    assert {each.kind for each in kept().standing} == {CostKind.DEPLOYMENT, CostKind.ENDPOINT}


def test_use_in_another_region_is_found_mailed_and_listed_too(account):
    use_elsewhere("eu-west-3")
    answer = account.run("inventory", {})
    assert answer["discovered"] == {"eu-west-3": ["AWS/Bedrock"]}
    assert {each.region for each in kept().standing} == {"us-east-1", "eu-west-3"}
    assert account.mails() == ["Bedrock spend: used in eu-west-3, which is not listed"]
    account.run("inventory", {})
    assert len(account.mails()) == 1


def test_with_every_call_denied_the_old_stock_stays_and_the_run_fails(account):
    account.run("inventory", {})
    before = kept()
    for action in (*STOCK, "bedrock:ListModelInvocationJobs", "cloudwatch:ListMetrics", "cloudwatch:GetMetricData"):
        account.answers[action] = refuse("AccessDeniedException")
    with pytest.raises(UnfinishedError, match="nothing could be listed"):
        account.run("inventory", {})
    assert kept().standing == before.standing
    assert len(kept().gaps) == 8
