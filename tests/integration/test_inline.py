"""A role without a free policy slot, stopped by the inline deny through the real functions, and released."""

import json
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lambdas.core.errors import UnfinishedError
from lambdas.core.inline_deny import is_ours
from lambdas.core.permissions import permissions_of
from lambdas.handlers import inline
from tests.integration.test_functions import RELEASE
from tests.integration.world import SETTINGS, TRUST, Account, allow

NAME = f"{SETTINGS.prefix}-deny"
CROWDED = ("crowded", "crowded-2")


def slots_are_taken(params: dict[str, Any], **_: object) -> None:
    """Refuse as IAM does, which moto does not."""
    if params["body"]["RoleName"] in CROWDED:
        error = {"Error": {"Code": "LimitExceeded", "Message": "Cannot exceed quota for PoliciesPerRole: 10"}}
        raise ClientError(error, "AttachRolePolicy")  # type: ignore[arg-type]


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    account = Account(monkeypatch)
    account.people()
    iam = boto3.client("iam")
    for name in CROWDED:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=allow("bedrock:InvokeModel"))
    for number in range(10):  # moto's quota
        policy = iam.create_policy(PolicyName=f"other-{number}", PolicyDocument=allow("s3:GetObject"))["Policy"]["Arn"]
        for name in CROWDED:
            iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    assert boto3.DEFAULT_SESSION is not None
    boto3.DEFAULT_SESSION.events.register("before-call.iam.AttachRolePolicy", slots_are_taken)
    return account


def denied() -> set[str]:
    """Return the roles that hold an inline deny of ours."""
    iam = boto3.client("iam")
    return {
        each["RoleName"]
        for each in iam.list_roles()["Roles"]
        if NAME in iam.list_role_policies(RoleName=each["RoleName"])["PolicyNames"]
        and is_ours(iam.get_role_policy(RoleName=each["RoleName"], PolicyName=NAME)["PolicyDocument"])
    }


def test_the_crowded_are_stopped_by_an_inline_deny_and_released_to_the_byte(account):
    account.install(settings=replace(SETTINGS, inline_deny=True))
    before = account.snapshot()["RoleDetailList"]
    held = [f"hold down the Bedrock calls of role/{each}" for each in CROWDED]
    for expected in (held, []):
        answer = account.run("kill", {})
        assert [each for each in answer["done"] if "crowded" in each] == expected
        assert not [each for each in answer["not_stopped"] if "crowded" in each]
        assert denied() == set(CROWDED)
    # Somebody's Terraform takes it off: the next pass puts it back.
    boto3.client("iam").delete_role_policy(RoleName="crowded", PolicyName=NAME)
    account.run("kill", {})
    assert denied() == set(CROWDED)
    account.run("release", RELEASE)
    assert denied() == set()
    assert account.snapshot()["RoleDetailList"] == before


def test_a_role_that_became_exempt_while_stopped_is_released_too(account):
    account.install(settings=replace(SETTINGS, inline_deny=True))
    account.run("kill", {})
    exempt = replace(SETTINGS, inline_deny=True, exempt=(*SETTINGS.exempt, "role/crowded*"))
    account.install("Update", exempt)
    account.run("kill", {})
    account.run("release", RELEASE)
    assert denied() == set()


def test_somebody_elses_policy_of_that_name_is_told_and_left_and_the_others_are_stopped(account):
    account.install(settings=replace(SETTINGS, inline_deny=True))
    mine = json.loads(allow("s3:GetObject"))
    boto3.client("iam").put_role_policy(RoleName="crowded", PolicyName=NAME, PolicyDocument=json.dumps(mine))
    with pytest.raises(UnfinishedError, match="was not written by the guardrail"):
        account.run("kill", {})
    assert denied() == {"crowded-2"}
    found = boto3.client("iam").get_role_policy(RoleName="crowded", PolicyName=NAME)
    assert found["PolicyDocument"] == mine


def test_without_the_option_nothing_is_written_inline(account):
    account.install(settings=SETTINGS)
    answer = account.run("kill", {})
    assert {"role/crowded", "role/crowded-2"} <= set(answer["not_stopped"])
    assert denied() == set()
    assert account.calls["inline"] == set()


def test_the_function_calls_what_it_declares_and_nothing_else(account):
    account.install(settings=replace(SETTINGS, inline_deny=True))
    account.run("kill", {})
    account.run("release", RELEASE)
    assert account.calls["inline"] == {action for each in permissions_of(inline.USES) for action in each.actions}
    for word in ("kill", "release"):
        assert not account.calls[word] & {"iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy"}
        assert "lambda:InvokeFunction" in account.calls[word]
