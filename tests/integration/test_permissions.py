"""Least privilege: what each function calls is exactly what it declares, and so what it is granted."""

import importlib
from datetime import UTC, datetime

import boto3
import pytest

from lambdas.core.permissions import permissions_of
from tests.conftest import event
from tests.integration.test_crosscheck import close_days
from tests.integration.test_functions import RELEASE, spend
from tests.integration.test_inventory import use_elsewhere
from tests.integration.test_prices import wait_for_a_word
from tests.integration.world import DOCUMENTS, FUNCTIONS, Account, budget


@pytest.fixture
def everything(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Run every function through everything it can do."""
    account = Account(monkeypatch)
    account.people()
    account.install()
    account.run("arm", event("scheduled.json"))
    account.jobs = [
        {"jobArn": "arn:aws:bedrock:us-east-1:1:model-invocation-job/a", "jobName": "a", "status": "Submitted"}
    ]
    spend(6)
    account.run("meter", event("scheduled.json"))
    spend(60)
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    account.run("release", {**RELEASE, "allowance": {"usd": 5, "hours": 1}})
    account.answers["budgets:ViewBudget"] = lambda _: {"Budget": budget("1234.56")}
    account.run("stop", event("sns_budget.json"))
    account.run("release", RELEASE)
    account.jobs = [
        {"jobArn": "arn:aws:bedrock:us-east-1:1:model-invocation-job/b", "jobName": "b", "status": "Submitted"}
    ]
    use_elsewhere("eu-west-3")
    account.jobs[0] |= {"modelId": "amazon.nova-pro-v1:0", "submitTime": datetime.now(UTC)}
    account.run("inventory", event("scheduled.json"))
    account.run("kill", {})
    account.run("status", {})
    close_days("20")
    account.run("crosscheck", event("scheduled.json"))
    account.run("prices", event("scheduled.json"))
    wait_for_a_word(account)
    account.install(
        "Update", {level: text.replace("bedrock:Rerank", "bedrock:Reran*") for level, text in DOCUMENTS.items()}
    )
    account.install("Delete")
    return account


def test_calls_made_are_permissions_declared_and_nothing_is_left(everything: Account):
    declared = {
        function: {
            action
            for permission in permissions_of(importlib.import_module(f"lambdas.handlers.{function}").USES)
            for action in permission.actions
        }
        for function in FUNCTIONS
    }
    assert {function: everything.calls[function] for function in FUNCTIONS} == declared
    assert boto3.client("iam").list_policies(Scope="Local")["Policies"] == []
