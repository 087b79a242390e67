"""Arming and disarming as Lambda runs them, on an account in moto, with events as CloudTrail sends them."""

import boto3
import pytest

from lambdas.core.errors import UnfinishedError
from lambdas.wiring import Wiring
from tests.conftest import event
from tests.fakes import BRAKE
from tests.integration.test_functions import account, refuse  # noqa: F401 - a fixture
from tests.integration.world import TRUST, Account, allow


def move_in(name: str, *actions: str) -> None:
    iam = boto3.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=allow(*actions))


def test_a_new_role_is_armed_when_iam_changes(account: Account):  # noqa: F811
    move_in("agents", "bedrock:InvokeModel")
    answer = account.run("arm", event("iam_create_role.json"))
    assert answer["heard"] == "CreateRole"
    assert account.holders(BRAKE) == {"agent", "agents", "dev"}


def test_what_we_do_ourselves_and_what_was_refused_starts_no_run(account: Account):  # noqa: F811
    account.calls["arm"].clear()
    for name in ("iam_attach_by_ourselves.json", "iam_create_role_denied.json"):
        account.run("arm", event(name))
    assert account.calls["arm"] == set()


def test_whoever_is_to_be_deleted_can_be_and_is_left_by_the_hourly_run(account: Account):  # noqa: F811
    iam = boto3.client("iam")
    iam.delete_role_policy(RoleName="agent", PolicyName="work")
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName="agent")
    assert account.run("disarm", event("iam_delete_role_refused.json"))["summary"].startswith("Disarmed role/agent")
    account.run("arm", event("scheduled.json"))
    iam.delete_role(RoleName="agent")
    assert account.holders(BRAKE) == {"dev"}


def test_nobody_is_disarmed_while_a_stop_is_on(account: Account):  # noqa: F811
    account.run("kill", {})
    answer = account.run("disarm", event("iam_delete_role_refused.json"))
    assert "stays armed, bedrock-spend-brake is at stop" in answer["summary"]
    assert account.holders(BRAKE) == {"agent", "dev"}
    assert "Bedrock spend: a deletion has to wait" in account.mails()


def test_a_detachment_during_a_stop_is_told_made_whole_and_armed_again(account: Account):  # noqa: F811
    account.run("kill", {})
    boto3.client("iam").detach_role_policy(RoleName="agent", PolicyArn=BRAKE)
    account.asked.clear()
    account.run("arm", event("iam_detach_brake.json"))
    assert [(each["level"], each["reassert"]) for each in account.asked] == [("stop", True)]
    assert "Bedrock spend: somebody changed the brake" in account.mails()
    assert account.holders(BRAKE) == {"agent", "dev"}
    account.run("stop", account.asked[-1])
    assert account.level() == "stop"


def test_a_stop_function_that_cannot_be_asked_is_raised_after_all_was_tried(account: Account):  # noqa: F811
    account.run("kill", {})
    boto3.client("iam").detach_role_policy(RoleName="agent", PolicyArn=BRAKE)
    account.answers["lambda:InvokeFunction"] = refuse("TooManyRequestsException")
    with pytest.raises(UnfinishedError, match="TooManyRequests"):
        account.run("arm", event("iam_detach_brake.json"))
    assert account.holders(BRAKE) == {"agent", "dev"}


def test_a_slot_that_is_gone_is_kept_with_the_remedy(account: Account):  # noqa: F811
    account.answers["iam:AttachRolePolicy"] = refuse("LimitExceeded")
    move_in("crowded", "bedrock:InvokeModel")
    account.run("arm", event("scheduled.json"))
    kept = Wiring().ledger.kept("arming")
    assert kept is not None
    assert "raised" in kept["full"]["role/crowded"]["remedy"]
    assert kept["armed"] == ["role/agent", "user/dev"]


def test_deleting_the_stack_disarms_everybody(account: Account):  # noqa: F811
    iam = boto3.client("iam")
    assert account.install("Delete")["Status"] == "SUCCESS"
    attached = iam.list_attached_role_policies(RoleName="agent")["AttachedPolicies"]
    assert attached == iam.list_attached_user_policies(UserName="dev")["AttachedPolicies"] == []
    assert iam.list_policies(Scope="Local")["Policies"] == []
