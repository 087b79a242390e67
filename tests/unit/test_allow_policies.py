"""The lever of detach mode, on an account in memory: what is taken is put back, and nothing else is touched."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from lambdas.aws import allow_policies
from lambdas.aws.account import Account
from lambdas.aws.allow_policies import AllowPolicies
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from tests.conftest import ACCOUNT

USE = f"arn:aws:iam::{ACCOUNT}:policy/team/bedrock-use"
AGENTS = f"arn:aws:iam::{ACCOUNT}:policy/agents"
OTHER = f"arn:aws:iam::{ACCOUNT}:policy/other"
POLICIES = (USE, AGENTS)
SPARED = Spared(("role/ops/break-glass", "user/on-call*"), "team=ops")
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
ALLOW = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"}]}
)


class World:
    """An account with three policies: two that detach mode is configured for, and a third."""

    def __init__(self, client: Any = None) -> None:
        self.iam: Any = client or boto3.client("iam")
        for arn in (USE, AGENTS, OTHER):
            path, _, name = arn.split(":policy")[1].rpartition("/")
            self.iam.create_policy(PolicyName=name, Path=f"{path}/", PolicyDocument=ALLOW)
        self.lever = AllowPolicies(self.iam, POLICIES, Account(self.iam, external_anthropic=False).principals)

    def role(self, name: str, *policies: str, path: str = "/", tags: Mapping[str, str] | None = None) -> None:
        given_tags = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        self.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=TRUST, Tags=given_tags)
        for each in policies:
            self.iam.attach_role_policy(RoleName=name, PolicyArn=each)

    def user(self, name: str, *policies: str, groups: Sequence[str] = ()) -> None:
        self.iam.create_user(UserName=name)
        for each in policies:
            self.iam.attach_user_policy(UserName=name, PolicyArn=each)
        for each in groups:
            self.iam.add_user_to_group(GroupName=each, UserName=name)

    def group(self, name: str, *policies: str) -> None:
        self.iam.create_group(GroupName=name)
        for each in policies:
            self.iam.attach_group_policy(GroupName=name, PolicyArn=each)

    def attached(self) -> dict[str, list[str]]:
        """Return what hangs where. Its order says nothing: IAM evaluates a set."""
        details = self.iam.get_account_authorization_details(Filter=["Role", "User", "Group"])
        return {
            each["Arn"]: sorted(policy["PolicyArn"] for policy in each["AttachedManagedPolicies"])
            for kind in ("Role", "User", "Group")
            for each in details[f"{kind}DetailList"]
        }

    def stop(self, spared: Spared = SPARED) -> tuple[Held, ...]:
        found = self.lever.find(Level.STOP, spared)
        assert found.unread == {}
        for each in found.to_hold:
            self.lever.hold(each, Level.STOP)
        return tuple(as_remembered(each) for each in found.to_hold)

    def release(self, remembered: Sequence[Held]) -> None:
        for each in remembered:
            self.lever.restore(each)


def as_remembered(held: Held) -> Held:
    """Return what comes back from the ledger, which holds JSON."""
    return Held(held.lever, held.key, held.words, json.loads(json.dumps(held.before)))


@pytest.fixture
def world(aws):
    return World()


def words(found: Found) -> list[str]:
    return [each.words for each in found.to_hold]


def test_every_attachment_is_taken_and_put_back(world):
    world.role("agents", OTHER, USE, AGENTS, path="/deep/path/")
    world.group("developers", USE)
    # The same policy on the user and on a group of theirs: two attachments.
    world.user("dev", USE, groups=["developers"])
    world.user("idle", OTHER)
    before = world.attached()
    remembered = world.stop()
    assert [each.words for each in remembered] == [
        "bedrock-use of role/agents",
        "bedrock-use of user/dev",
        "bedrock-use of group/developers",
        "agents of role/agents",
    ]
    stopped = world.attached()
    assert stopped == {arn: [each for each in held if each == OTHER] for arn, held in before.items()}
    assert world.lever.find(Level.STOP, SPARED) == Found()
    world.release(remembered)
    assert world.attached() == before


def test_what_is_remembered_says_all_about_the_attachment(world):
    world.role("agents", OTHER, USE, path="/deep/path/")
    role_id = world.iam.get_role(RoleName="agents")["Role"]["RoleId"]
    (held,) = world.lever.find(Level.STOP, SPARED).to_hold
    assert (held.lever, held.key) == ("allow-policy", f"role/agents {role_id} {USE}")
    assert held.before == {
        "holder": "role/agents",
        "holder_id": role_id,
        "path": "/deep/path/",
        "policy": USE,
        "version": "v1",
        "position": 1,
    }


def test_the_exempt_the_service_linked_and_their_groups_are_left(world):
    world.role("break-glass", USE, path="/ops/")
    world.role("tagged", USE, tags={"Team": "ops"})
    world.role("AWSServiceRoleForBedrock", USE, path="/aws-service-role/bedrock.amazonaws.com/")
    world.group("mixed", USE)
    world.user("on-call-2", USE, groups=["mixed"])
    world.user("dev", groups=["mixed"])
    before = world.attached()
    found = world.lever.find(Level.STOP, SPARED)
    assert found == Found(
        uncovered={
            "bedrock-use of group/mixed": "exempt users are in this group and would lose the policy with it: on-call-2"
        }
    )
    assert world.stop() == ()
    assert world.attached() == before


def test_identity_center_roles_are_left_and_told(world):
    sso = "/aws-reserved/sso.amazonaws.com/eu-central-1/"
    world.role("AWSReservedSSO_Developers_0123456789abcdef", USE, path=sso)
    found = world.lever.find(Level.STOP, SPARED)
    assert found.to_hold == ()
    assert found.uncovered == {
        "bedrock-use of role/AWSReservedSSO_Developers_0123456789abcdef": (
            "Identity Center role: IAM refuses; take the policy from its permission set Developers"
        )
    }


@pytest.mark.parametrize("level", [Level.STEP_DOWN, Level.RELEASED])
def test_below_a_stop_nothing_is_taken(world, level):
    world.role("agents", USE)
    assert world.lever.find(level, SPARED) == Found()


def test_holding_and_restoring_twice_is_the_same_as_once(world):
    world.role("agents", USE)
    world.user("dev", USE)
    world.group("developers", USE)
    before = world.attached()
    remembered = world.stop()
    for each in remembered:
        world.lever.hold(each, Level.STOP)
    world.release(remembered)
    world.release(remembered)
    assert world.attached() == before


def test_who_is_gone_at_the_release_is_left(world):
    world.role("agents", USE)
    world.user("dev", USE)
    world.group("developers", USE)
    remembered = world.stop()
    world.iam.delete_role(RoleName="agents")
    world.iam.delete_user(UserName="dev")
    world.iam.delete_group(GroupName="developers")
    world.release(remembered)
    assert world.attached() == {}


def test_a_user_and_a_group_that_were_renamed_get_it_back_and_their_namesakes_do_not(world):
    world.user("dev", USE)
    world.group("developers", USE)
    remembered = world.stop()
    world.iam.update_user(UserName="dev", NewUserName="dev2")
    world.iam.update_group(GroupName="developers", NewGroupName="developers2")
    world.user("dev")
    world.group("developers")
    world.release(remembered)
    assert {arn.rpartition(":")[2]: policies for arn, policies in world.attached().items()} == {
        "user/dev": [],
        "user/dev2": [USE],
        "group/developers": [],
        "group/developers2": [USE],
    }


def test_whoever_is_nowhere_is_named_in_the_log(world, monkeypatch):
    log = StringIO()
    monkeypatch.setattr(allow_policies.logger.registered_handler, "stream", log)
    world.user("dev", USE)
    remembered = world.stop()
    world.iam.delete_user(UserName="dev")
    world.release(remembered)
    line = json.loads(log.getvalue())
    assert line["message"] == "nothing was put back: holder or policy is gone"
    assert (line["holder"], line["policy"]) == ("user/dev", USE)


def test_a_policy_that_is_gone_at_the_release_is_left(world):
    world.role("agents", USE, OTHER)
    remembered = world.stop()
    world.iam.delete_policy(PolicyArn=USE)
    world.release(remembered)
    assert world.attached() == {f"arn:aws:iam::{ACCOUNT}:role/agents": [OTHER]}


def test_another_of_the_same_name_gets_nothing(world):
    world.role("agents", USE)
    remembered = world.stop()
    world.iam.delete_role(RoleName="agents")
    world.role("agents", path="/elsewhere/")
    world.release(remembered)
    assert world.attached() == {f"arn:aws:iam::{ACCOUNT}:role/elsewhere/agents": []}


def test_one_made_anew_with_the_policy_while_stopped_gets_it_back_too(world):
    world.role("agents", USE)
    first = world.stop()
    world.iam.delete_role(RoleName="agents")
    world.role("agents", USE)
    second = world.stop()
    assert {each.key for each in first}.isdisjoint(each.key for each in second)
    world.release((*first, *second))
    assert world.attached() == {f"arn:aws:iam::{ACCOUNT}:role/agents": [USE]}


def test_a_policy_that_has_changed_is_put_back_and_the_log_says_so(world, monkeypatch):
    log = StringIO()
    monkeypatch.setattr(allow_policies.logger.registered_handler, "stream", log)
    world.role("agents", USE)
    remembered = world.stop()
    world.release(remembered)
    assert log.getvalue() == ""
    world.iam.create_policy_version(PolicyArn=USE, PolicyDocument=ALLOW, SetAsDefault=True)
    world.iam.detach_role_policy(RoleName="agents", PolicyArn=USE)
    world.release(remembered)
    line = json.loads(log.getvalue())
    assert line["message"] == "the policy has changed since it was detached"
    assert (line["holder"], line["version_then"], line["version_now"]) == ("role/agents", "v1", "v2")
    assert world.attached() == {f"arn:aws:iam::{ACCOUNT}:role/agents": [USE]}


@pytest.mark.parametrize("policy", [OTHER, "arn:aws:iam::aws:policy/AdministratorAccess"])
def test_what_is_not_configured_is_never_attached(world, policy):
    world.role("agents")
    role_id = world.iam.get_role(RoleName="agents")["Role"]["RoleId"]
    forged = {"holder": "role/agents", "holder_id": role_id, "policy": policy, "version": "v1"}
    with pytest.raises(AwsCallError, match=r"iam:AttachRolePolicy: NotConfigured: .* name it there again"):
        world.lever.restore(Held("allow-policy", "x", "x", forged))
    assert world.attached() == {f"arn:aws:iam::{ACCOUNT}:role/agents": []}


def entities(*roles: str, **more: Any) -> dict[str, Any]:
    return {
        "PolicyRoles": [{"RoleName": each, "RoleId": f"AROAEXAMPLEID000{each}"} for each in roles],
        "PolicyUsers": [],
        "PolicyGroups": [],
        "IsTruncated": False,
        **more,
    }


def role(name: str) -> Principal:
    return Principal(f"arn:aws:iam::{ACCOUNT}:role/{name}", PrincipalKind.ROLE, name, "/", Capability.NAMED)


@contextmanager
def stubbed() -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client("iam")
    with Stubber(client) as stub:
        yield client, stub
        stub.assert_no_pending_responses()


ASKED = {"PolicyArn": USE, "PolicyUsageFilter": "PermissionsPolicy"}
VERSION = {"Policy": {"DefaultVersionId": "v7"}}


def test_holders_are_found_on_every_page_and_boundaries_are_not_asked_for():
    with stubbed() as (client, stub):
        stub.add_response("list_entities_for_policy", entities("a", IsTruncated=True, Marker="more"), ASKED)
        stub.add_response("list_entities_for_policy", entities("b"), {**ASKED, "Marker": "more"})
        stub.add_response("get_policy", VERSION, {"PolicyArn": USE})
        found = AllowPolicies(client, (USE,), lambda: [role("a"), role("b")]).find(Level.STOP, SPARED)
    assert words(found) == ["bedrock-use of role/a", "bedrock-use of role/b"]
    assert [each.before["version"] for each in found.to_hold] == ["v7", "v7"]
    # IAM's listing of the account did not tell where it hangs.
    assert [each.before["position"] for each in found.to_hold] == [None, None]


def test_where_nobody_holds_a_policy_nothing_more_is_read():
    with stubbed() as (client, stub):
        stub.add_response("list_entities_for_policy", entities(), ASKED)
        assert AllowPolicies(client, (USE,), pytest.fail).find(Level.STOP, SPARED) == Found()


def test_half_an_answer_is_none():
    with stubbed() as (client, stub):
        stub.add_response("list_entities_for_policy", entities("a", IsTruncated=True), ASKED)
        found = AllowPolicies(client, (USE,), pytest.fail).find(Level.STOP, SPARED)
    assert found.to_hold == ()
    assert list(found.unread) == [USE]


def test_one_policy_that_cannot_be_read_or_is_not_there_does_not_hide_another():
    with stubbed() as (client, stub):
        stub.add_client_error("list_entities_for_policy", "Throttling", "not now", expected_params=ASKED)
        stub.add_client_error("list_entities_for_policy", "NoSuchEntity", "no")
        stub.add_response("list_entities_for_policy", entities("a"))
        stub.add_response("get_policy", VERSION)
        found = AllowPolicies(client, (USE, AGENTS, OTHER), lambda: [role("a")]).find(Level.STOP, SPARED)
    assert words(found) == ["other of role/a"]
    assert found.unread == {USE: "iam:ListEntitiesForPolicy: Throttling: not now"}
    assert found.uncovered == {AGENTS: "there is no such policy: correct detach.policies in guardrail.toml"}


def test_a_holder_nobody_knows_yet_is_not_touched_and_told():
    with stubbed() as (client, stub):
        stub.add_response("list_entities_for_policy", entities("a"), ASKED)
        stub.add_response("get_policy", VERSION)
        found = AllowPolicies(client, (USE,), lambda: [role("b")]).find(Level.STOP, SPARED)
    assert found.to_hold == ()
    assert found.unread == {"bedrock-use of role/a": "IAM does not tell of this holder yet; the next pass looks again"}


def test_without_knowing_who_is_exempt_nothing_is_touched():
    def refused() -> Sequence[Principal]:
        raise AwsCallError("iam:GetAccountAuthorizationDetails", "Throttling", "not now")

    with stubbed() as (client, stub):
        stub.add_response("list_entities_for_policy", entities("a"), ASKED)
        stub.add_response("get_policy", VERSION)
        found = AllowPolicies(client, (USE,), refused).find(Level.STOP, SPARED)
    assert found.to_hold == ()
    assert found.unread == {"bedrock-use of role/a": "iam:GetAccountAuthorizationDetails: Throttling: not now"}


@pytest.mark.parametrize("kind", ["role", "user", "group"])
def test_other_refusals_are_raised(kind):
    before = {"holder": f"{kind}/x", "holder_id": "AIDAEXAMPLEID12345", "policy": USE, "version": "v7"}
    held = Held("allow-policy", "x", "x", before)
    with stubbed() as (client, stub):
        lever = AllowPolicies(client, (USE,), pytest.fail)
        stub.add_client_error(f"detach_{kind}_policy", "ServiceFailure", "no")
        with pytest.raises(AwsCallError, match=f"iam:Detach{kind.title()}Policy: ServiceFailure"):
            lever.hold(held, Level.STOP)
        stub.add_response("get_policy", VERSION)
        stub.add_client_error(f"get_{kind}", "AccessDenied", "no")
        with pytest.raises(AwsCallError, match=f"iam:Get{kind.title()}: AccessDenied"):
            lever.restore(held)


HOLDERS = st.dictionaries(
    st.sampled_from(["role/a", "role/ops/break-glass", "user/b", "user/on-call", "group/g", "group/h"]),
    st.lists(st.sampled_from([USE, AGENTS, OTHER]), unique=True),
)
MEMBERS = st.sets(st.tuples(st.sampled_from(["user/b", "user/on-call"]), st.sampled_from(["group/g", "group/h"])))


def build(world: World, holders: Mapping[str, Sequence[str]], members: set[tuple[str, str]]) -> None:
    for holder, policies in holders.items():
        kind, _, resource = holder.partition("/")
        path, _, name = resource.rpartition("/")
        if kind == "role":
            world.role(name, *policies, path=f"/{path}/" if path else "/")
        elif kind == "user":
            world.user(name, *policies)
        else:
            world.group(name, *policies)
    for user, group in members:
        if user in holders and group in holders:
            world.iam.add_user_to_group(GroupName=group.partition("/")[2], UserName=user.partition("/")[2])


@pytest.fixture
def client():
    """Made once for all examples: that takes longer than an example does."""
    return boto3.client("iam")


@given(holders=HOLDERS, members=MEMBERS, random=st.randoms(use_true_random=False))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_holds_what_a_release_is_exact_and_the_exempt_lose_nothing(client, holders, members, random):
    with mock_aws():
        world = World(client)
        build(world, holders, members)
        before = world.attached()
        remembered = list(world.stop())
        stopped = world.attached()
        groups_of_exempt = {group.partition("/")[2] for user, group in members if user == "user/on-call"}
        for arn, policies in before.items():
            exempt = arn.endswith(("/break-glass", "/on-call")) or (
                "user/on-call" in holders and arn.split(":group/")[-1] in groups_of_exempt
            )
            assert stopped[arn] == (policies if exempt else [each for each in policies if each == OTHER])
        # Whatever the order, and though some are put back by hand before.
        random.shuffle(remembered)
        world.release(remembered[: len(remembered) // 2])
        world.release(remembered)
        assert world.attached() == before
