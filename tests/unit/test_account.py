"""Who is in the account, read from IAM: in moto, and against botocore's shapes where moto has no such answer."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.aws.account import Account
from lambdas.core.errors import AwsCallError
from lambdas.core.principals import Capability, Principal, PrincipalKind
from tests.conftest import ACCOUNT

NAMED, WILDCARD, NONE = Capability.NAMED, Capability.WILDCARD, Capability.NONE
BEDROCK_FULL = "arn:aws:iam::aws:policy/AmazonBedrockFullAccess"
FIRST_PAGE = {"MaxItems": 1000}
WHEN = datetime(2026, 11, 1, tzinfo=UTC)
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


def allowing(*actions: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}


def role(name: str, path: str = "/", **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:iam::{ACCOUNT}:role{path}{name}"
    return {"Path": path, "RoleName": name, "RoleId": "AROA" + "X" * 12, "Arn": arn, "CreateDate": WHEN, **more}


def user(name: str, **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    return {"Path": "/", "UserName": name, "UserId": "AIDA" + "X" * 12, "Arn": arn, "CreateDate": WHEN, **more}


def inline(*actions: str) -> list[dict[str, Any]]:
    return [{"PolicyName": "work", "PolicyDocument": json.dumps(allowing(*actions))}]


def attached(*arns: str) -> list[dict[str, Any]]:
    return [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in arns]


def managed(arn: str, *versions: tuple[str, bool]) -> dict[str, Any]:
    """Return a managed policy with versions: the action each allows, and whether it is the default."""
    return {
        "Arn": arn,
        "PolicyName": arn.rpartition("/")[2],
        "PolicyVersionList": [
            {"Document": json.dumps(allowing(action)), "VersionId": f"v{number}", "IsDefaultVersion": default}
            for number, (action, default) in enumerate(versions, 1)
        ],
    }


def page(**lists: Any) -> dict[str, Any]:
    return {"UserDetailList": [], "GroupDetailList": [], "RoleDetailList": [], "Policies": []} | lists


class Stubbed:
    """The client, and what it will be answered."""

    def __init__(self, client: Any, stubber: Stubber) -> None:
        self.client = client
        self._stubber = stubber

    def lists(self, listed: dict[str, Any], **asked: Any) -> None:
        # The SDK decodes documents in place.
        self._stubber.add_response("get_account_authorization_details", deepcopy(listed), FIRST_PAGE | asked)

    def sums_up(self, **summary: int) -> None:
        self._stubber.add_response("get_account_summary", {"SummaryMap": summary}, {})

    def refuses(self, operation: str) -> None:
        self._stubber.add_client_error(operation, "AccessDenied", "no", 403)


@pytest.fixture
def stub():
    client = boto3.client("iam")
    with Stubber(client) as stubber:
        found = Stubbed(client, stubber)
        yield found
        stubber.assert_no_pending_responses()


def read(stub: Stubbed, *pages: dict[str, Any], summary: dict[str, int] | None = None) -> dict[str, Principal]:
    """Return whom the adapter finds in these pages, by name."""
    asked: dict[str, Any] = {}
    for number, each in enumerate(pages, 1):
        more = {"IsTruncated": True, "Marker": f"m{number}"} if number < len(pages) else {}
        stub.lists(each | more, **asked)
        asked = {"Marker": f"m{number}"}
    stub.sums_up(**summary or {})
    return {each.name: each for each in Account(stub.client, external_anthropic=False).principals()}


def test_policies_are_judged_wherever_they_come_from(aws):
    iam = boto3.client("iam")
    full, use, other = (
        iam.create_policy(PolicyName=f"p{number}", PolicyDocument=json.dumps(allowing(action)))["Policy"]["Arn"]
        for number, action in enumerate(("bedrock:*", "bedrock:Inv*", "s3:*"))
    )
    for name in ("by-inline", "by-managed", "by-two", "bystander"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName="by-inline", PolicyName="p", PolicyDocument=json.dumps(allowing("*")))
    for name, arns in {"by-managed": [full], "by-two": [other, use], "bystander": [other]}.items():
        for arn in arns:
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for group in ("data", "admins", "readers"):
        iam.create_group(GroupName=group)
    iam.attach_group_policy(GroupName="data", PolicyArn=full)
    iam.put_group_policy(GroupName="admins", PolicyName="p", PolicyDocument=json.dumps(allowing("*")))
    for name, groups in {"ann": ["data", "admins"], "bob": ["admins"], "cid": ["readers"], "dee": []}.items():
        iam.create_user(UserName=name)
        for group in groups:
            iam.add_user_to_group(UserName=name, GroupName=group)
    everybody = Account(iam, external_anthropic=False).principals()
    assert {(str(each.kind), each.name): each.capability for each in everybody} == {
        ("role", "by-inline"): WILDCARD,
        ("role", "by-managed"): NAMED,
        ("role", "by-two"): NAMED,
        ("role", "bystander"): NONE,
        ("user", "ann"): NAMED,
        ("user", "bob"): WILDCARD,
        ("user", "cid"): NONE,
        ("user", "dee"): NONE,
        ("group", "data"): NAMED,
        ("group", "admins"): WILDCARD,
        ("group", "readers"): NONE,
    }
    by_name = {each.name: each for each in everybody}
    assert by_name["ann"].groups == ("data", "admins")
    assert by_name["by-two"].attached == {other, use}
    assert by_name["data"].arn == f"arn:aws:iam::{ACCOUNT}:group/data"
    assert [each.name for each in everybody if not each.calls] == ["data", "admins", "readers"]


def test_claude_platform_counts_where_configured(stub):
    theirs = page(RoleDetailList=[role("r", RolePolicyList=inline("aws-external-anthropic:CreateInference"))])
    assert read(stub, theirs)["r"].capability is NONE
    stub.lists(theirs)
    stub.sums_up()
    (found,) = Account(stub.client, external_anthropic=True).principals()
    assert found.capability is NAMED


def test_every_page_is_read_and_a_policy_may_come_pages_after_its_holder(stub):
    arn = f"arn:aws:iam::{ACCOUNT}:policy/team/use"
    found = read(
        stub,
        page(RoleDetailList=[role("first", AttachedManagedPolicies=attached(arn))]),
        page(UserDetailList=[user("ann", GroupList=["data"])]),
        page(RoleDetailList=[role("last")], Policies=[managed(arn, ("bedrock:*", False), ("bedrock:Rerank", True))]),
        {
            "GroupDetailList": [
                {"Path": "/", "GroupName": "data", "Arn": f"arn:aws:iam::{ACCOUNT}:group/data", "GroupPolicyList": []}
                | {"AttachedManagedPolicies": attached(arn)}
            ]
        },
    )
    assert {name: each.capability for name, each in found.items()} == {
        "first": NAMED,
        "ann": NAMED,
        "last": NONE,
        "data": NAMED,
    }


def test_the_default_version_alone_counts(stub):
    arn = f"arn:aws:iam::{ACCOUNT}:policy/use"
    holder = role("r", AttachedManagedPolicies=attached(arn))
    old = managed(arn, ("bedrock:*", False), ("s3:*", True))
    assert read(stub, page(RoleDetailList=[holder], Policies=[old]))["r"].capability is NONE


@pytest.mark.parametrize(
    "lists",
    [
        {"RoleDetailList": [role("x", AttachedManagedPolicies=attached(BEDROCK_FULL))]},
        {
            "RoleDetailList": [role("x", AttachedManagedPolicies=attached(BEDROCK_FULL))],
            "Policies": [managed(BEDROCK_FULL, ("s3:*", False))],
        },
        {"RoleDetailList": [role("x", RolePolicyList=[{"PolicyName": "p"}])]},
        {"UserDetailList": [user("x", GroupList=["gone"])]},
    ],
    ids=["a policy not in the answer", "no default version", "no document", "a group not in the answer"],
)
def test_what_the_answer_leaves_out_could_allow_everything(stub, lists):
    assert read(stub, page(**lists))["x"].capability is WILDCARD


def test_all_that_iam_tells_of_a_principal_is_kept(stub):
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/no-bedrock"
    arns = [f"arn:aws:iam::{ACCOUNT}:policy/{name}" for name in ("c", "a", "b")]
    used = datetime(2026, 11, 20, 9, 0, tzinfo=timezone(timedelta(hours=2)))
    found = read(
        stub,
        page(
            RoleDetailList=[
                role(
                    "agent",
                    "/ops/",
                    RolePolicyList=inline("bedrock:*"),
                    AttachedManagedPolicies=attached(*arns),
                    PermissionsBoundary={"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": boundary},
                    Tags=[{"Key": "Team", "Value": "data"}, {"Key": "empty", "Value": ""}],
                    RoleLastUsed={"LastUsedDate": used, "Region": "us-east-1"},
                ),
                role("unused", RoleLastUsed={}),
            ],
        ),
    )
    assert found["agent"] == Principal(
        arn=f"arn:aws:iam::{ACCOUNT}:role/ops/agent",
        kind=PrincipalKind.ROLE,
        name="agent",
        path="/ops/",
        capability=NAMED,  # whatever the boundary forbids
        attached=frozenset(arns),
        attached_in_order=tuple(arns),
        boundary=boundary,
        tags={"Team": "data", "empty": ""},
        last_used=datetime(2026, 11, 20, 7, 0, tzinfo=UTC),
    )
    assert found["agent"].last_used is not None
    assert found["agent"].last_used.tzinfo is UTC
    assert found["unused"].last_used is None
    assert found["unused"].boundary == ""


def test_the_tags_of_a_user_are_kept_and_when_it_called_is_not_known(aws):
    iam = boto3.client("iam")
    iam.create_user(UserName="ann", Tags=[{"Key": "k", "Value": "v"}])
    (ann,) = Account(iam, external_anthropic=False).principals()
    assert (ann.tags, ann.last_used) == ({"k": "v"}, None)


def slots(number: int) -> list[dict[str, Any]]:
    return attached(*(f"arn:aws:iam::{ACCOUNT}:policy/p{each}" for each in range(number)))


def crowd() -> dict[str, Any]:
    return page(
        RoleDetailList=[role(f"role-{each}", AttachedManagedPolicies=slots(each)) for each in (11, 12, 19, 20)],
        UserDetailList=[
            user(f"user-{each}", AttachedManagedPolicies=slots(each), GroupList=[f"g{one}" for one in range(each)])
            for each in (6, 7, 9, 10)
        ],
    )


def test_who_is_full_follows_the_quotas_of_the_account(stub):
    summary = {"AttachedPoliciesPerRoleQuota": 12, "AttachedPoliciesPerUserQuota": 7, "GroupsPerUserQuota": 9}
    found = read(stub, crowd(), summary=summary)
    assert {name for name, each in found.items() if each.full} == {"role-12", "role-19", "role-20"} | {
        "user-7",
        "user-9",
        "user-10",
    }
    assert {name for name, each in found.items() if each.groups_full} == {"user-9", "user-10"}


def test_a_summary_that_is_refused_or_empty_stops_nothing_and_the_usual_quotas_count(stub):
    usual = {"role-20", "user-10"}
    assert {name for name, each in read(stub, crowd()).items() if each.full} == usual
    stub.lists(crowd())
    stub.refuses("get_account_summary")
    everybody = Account(stub.client, external_anthropic=False).principals()
    assert len(everybody) == 8
    assert {each.name for each in everybody if each.full} == usual
    assert {each.name for each in everybody if each.groups_full} == {"user-10"}


def test_a_group_has_no_slot_of_ours(stub):
    group = {"Path": "/", "GroupName": "g", "Arn": f"arn:aws:iam::{ACCOUNT}:group/g"}
    found = read(stub, page(GroupDetailList=[group | {"AttachedManagedPolicies": slots(30)}]))["g"]
    assert (found.full, found.groups_full, found.calls) == (False, False, False)


def test_a_page_that_is_refused_is_no_short_list(stub):
    stub.lists(page() | {"IsTruncated": True, "Marker": "m"})
    stub.refuses("get_account_authorization_details")
    with pytest.raises(AwsCallError, match="iam:GetAccountAuthorizationDetails: AccessDenied"):
        Account(stub.client, external_anthropic=False).principals()


def test_an_answer_cut_off_without_a_marker_is_no_short_list(stub):
    cut = page(RoleDetailList=[role("agent")]) | {"IsTruncated": True}
    stub.lists(cut)
    with pytest.raises(AwsCallError, match="IncompleteAnswer: the last page says that more follow"):
        Account(stub.client, external_anthropic=False).principals()


@pytest.mark.parametrize("missing", ["RoleDetailList", "UserDetailList"])
def test_an_answer_without_a_list_is_not_one_without_principals(stub, missing):
    stub.lists({key: value for key, value in page().items() if key != missing})
    with pytest.raises(AwsCallError, match=f"IncompleteAnswer: no page has a {missing}"):
        Account(stub.client, external_anthropic=False).principals()
