"""The levers on keys, functions and gateways in an account: what they call is what they declare, and it is undone."""

import copy
import io
import zipfile

import boto3
import pytest

from lambdas.aws.api_keys import ApiKeys
from lambdas.aws.concurrency import TAG, Concurrency
from lambdas.aws.gateways import Gateways
from lambdas.core.levels import Level
from lambdas.core.permissions import permissions_of
from lambdas.core.principals import Spared
from tests.integration.throttles import Throttles
from tests.integration.world import TRUST, Account

REGIONS = ("us-east-1", "eu-west-3")
SPARED = Spared(("user/root-like",))


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account with functions, keys and a gateway in each region."""
    account = Account(monkeypatch)
    account.people()
    account.throttles.add_key(1, "dev")
    account.throttles.add_key(2, "dev", "Inactive")
    account.throttles.add_key(3, "root-like")
    account.throttles.add_limit("search", 1000)
    role = boto3.client("iam").create_role(RoleName="caller", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("x.py", "")
    for region in REGIONS:
        client = boto3.client("lambda", region_name=region)
        for name, tags in {"agent": {TAG: "2"}, "batch": {TAG: "2"}, "bystander": {"team": "x"}}.items():
            client.create_function(
                FunctionName=name,
                Runtime="python3.13",
                Role=role,
                Handler="x.y",
                Code={"ZipFile": code.getvalue()},
                Tags=tags,
            )
        client.put_function_concurrency(FunctionName="batch", ReservedConcurrentExecutions=50)
    return account


def levers():
    return (
        ApiKeys(boto3.client("iam"), external_anthropic=False),
        Concurrency(
            lambda region: boto3.client("lambda", region_name=region),
            lambda region: boto3.client("resourcegroupstaggingapi", region_name=region),
            REGIONS,
            own_prefix="bedrock-spend-",
        ),
        Gateways(lambda region: boto3.client("bedrock-agentcore-control", region_name=region), REGIONS[:1], percent=25),
    )


def reserved():
    return {
        (region, name): boto3.client("lambda", region_name=region)
        .get_function_concurrency(FunctionName=name)
        .get("ReservedConcurrentExecutions")
        for region in REGIONS
        for name in ("agent", "batch", "bystander")
    }


def state(throttles: Throttles):
    return copy.deepcopy((throttles.keys, throttles.limits)), reserved()


def test_they_call_what_they_declare_and_a_release_undoes_it(account):
    before = state(account.throttles)
    remembered = []
    for lever in levers():
        for method in ("find", "hold", "restore"):
            declared = {action for each in permissions_of([getattr(lever, method)]) for action in each.actions}
            account.running = f"{lever.name} {method}"
            if method == "find":
                found = lever.find(Level.STOP, SPARED)
                remembered += found.to_hold
            for held in found.to_hold:
                if method == "hold":
                    lever.hold(held, Level.STOP)
                if method == "restore":
                    lever.restore(held)
            assert account.calls[account.running] == declared, account.running
            account.running = ""
            assert (found.unread, found.uncovered) == ({}, {})
    assert [each.key for each in remembered] == [
        "ACCA0000000000000001",
        *(f"{region}/{name}" for region in REGIONS for name in ("agent", "batch")),
        "us-east-1/gw-0123456789/search",
    ]
    assert state(account.throttles) == before


def test_a_stop_holds_down_what_is_tagged_active_and_not_exempt(account):
    for lever in levers():
        for held in lever.find(Level.STOP, SPARED).to_hold:
            lever.hold(held, Level.STOP)
    assert [each["Status"] for each in account.throttles.keys.values()] == ["Inactive", "Inactive", "Active"]
    assert reserved() == {
        (region, name): {"agent": 0, "batch": 0, "bystander": None}[name]
        for region in REGIONS
        for name in ("agent", "batch", "bystander")
    }
    assert account.throttles.limits["search"]["entries"][0]["tokens"] == [{"rate": 0.0, "period": "minute"}]
