"""What a function is made of where the ledger, or a variable, is missing."""

from dataclasses import replace
from datetime import UTC, datetime

import boto3
import pytest

from lambdas.core.errors import GuardrailError
from lambdas.core.levels import Level
from lambdas.core.principals import Spared
from lambdas.wiring import Late, Wiring
from tests.fakes import SWEEP
from tests.integration.test_functions import refuse
from tests.integration.world import LEDGER, SETTINGS, Account


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.people()
    found.install()
    return found


def test_regions_besides_those_listed_are_out_of_reach_where_the_ledger_cannot_tell_them(account: Account):
    assert Wiring()._regions == ("us-east-1",)
    boto3.client("dynamodb").delete_table(TableName=LEDGER)
    wiring = Wiring()
    assert wiring._regions == ("us-east-1",)
    found = wiring._levers[0].find(Level.STEP_DOWN, Spared())
    assert list(found.uncovered) == ["regions in use besides us-east-1"]
    answer = account.run("kill", {})
    assert "ResourceNotFoundException" in answer["not_stopped"]["regions in use besides us-east-1"]


def test_where_nobody_lists_regions_and_none_is_known_all_are_looked_at(account: Account, monkeypatch):
    monkeypatch.setenv("GUARDRAIL", replace(SETTINGS, regions=(), watched=()).to_json())
    assert {"us-east-1", "eu-central-1"} <= set(Wiring()._regions)
    Wiring().ledger.note("inventory", {"discovered": ["eu-west-3"]}, datetime.now(UTC))
    assert Wiring()._regions == ("eu-west-3",)
    boto3.client("dynamodb").delete_table(TableName=LEDGER)
    assert {"us-east-1", "eu-central-1"} <= set(Wiring()._regions)


def test_a_missing_command_is_told_in_its_place(account: Account, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STOP_BY_HAND")
    assert "StopByHand" in Wiring().links.by_hand


def test_what_is_made_late_fails_the_call_alone():
    def missing() -> object:
        raise GuardrailError("a variable is missing")

    method = Late(missing).send
    with pytest.raises(GuardrailError, match="missing"):
        method("x")
    assert Late(lambda: [3, 1]).count(3) == 1


# --- CloudFormation takes the resource that puts everything back ---------------------------------------------------


@pytest.mark.parametrize("status", ["DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"])
def test_everything_is_put_back_when_the_stack_goes(account: Account, status: str):
    account.run("kill", {})
    account.stack_status = status
    assert account.put_back("Delete")["Status"] == "SUCCESS"
    assert account.level() == "released"


@pytest.mark.parametrize(
    "status",
    ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_IN_PROGRESS", "TOMORROW"],
)
def test_an_update_or_its_rollback_releases_nobody(account: Account, status: str):
    account.run("kill", {})
    swept = account.holders(SWEEP)
    account.stack_status = status
    assert account.put_back("Delete")["Status"] == "SUCCESS"
    assert swept
    assert (account.level(), account.level(SWEEP), account.holders(SWEEP)) == ("stop", "stop", swept)


def test_where_the_stack_cannot_be_read_nobody_is_released_and_cloudformation_hears_why(account: Account):
    account.run("kill", {})
    account.answers["cloudformation:DescribeStacks"] = refuse("AccessDenied")
    answer = account.put_back("Delete")
    assert (answer["Status"], account.level()) == ("FAILED", "stop")
    assert "cloudformation:DescribeStacks: AccessDenied" in answer["Reason"]
