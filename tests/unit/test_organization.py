"""The lever of organization mode, on an organization in memory."""

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.aws.organization import ServiceControlPolicy
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.principals import Spared
from lambdas.core.scp import stop_scp
from lambdas.settings import Organization
from tests.conftest import ACCOUNT as MANAGEMENT

SPARED = Spared(("role/break-glass",))
GUARDED = "444455556666"
MODE = Organization("bedrock-spend", MANAGEMENT, GUARDED, GUARDED)
SCP = "bedrock-spend-stop-444455556666"
ROLE = f"arn:aws:iam::{MANAGEMENT}:role/bedrock-spend/bedrock-spend-organization-444455556666"
REMEDY = f"with the credentials of account {MANAGEMENT}, make deploy CDK_ARGS='-c organization=true'"
FULL_ACCESS = "FullAWSAccess"


class World:
    """An organization with an account and a unit, and what is attached to them."""

    def __init__(self) -> None:
        self.client = boto3.client("organizations", region_name="us-east-1")
        self.client.create_organization(FeatureSet="ALL")
        root = self.client.list_roots()["Roots"][0]["Id"]
        self.ou = self.client.create_organizational_unit(ParentId=root, Name="agents")["OrganizationalUnit"]["Id"]
        made = self.client.create_account(Email="a@example.com", AccountName="agents")
        self.account = made["CreateAccountStatus"]["AccountId"]
        self.assumed: list[str] = []

    def deploy(self, spared: Spared = SPARED, *, name: str = SCP, external_anthropic: bool = False) -> str:
        policy = self.client.create_policy(
            Name=name,
            Type="SERVICE_CONTROL_POLICY",
            Description="",
            Content=json.dumps(stop_scp(spared, external_anthropic=external_anthropic)),
        )
        return policy["Policy"]["PolicySummary"]["Id"]

    def attached(self, target: str) -> set[str]:
        listed = self.client.list_policies_for_target(TargetId=target, Filter="SERVICE_CONTROL_POLICY")
        return {each["Name"] for each in listed["Policies"]}

    def lever(self, target: str) -> ServiceControlPolicy:
        def organizations(keys: Any) -> Any:
            self.assumed.append(keys["AccessKeyId"])
            return boto3.client(
                "organizations",
                region_name="us-east-1",
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys["SessionToken"],
            )

        return lever(boto3.client("sts"), organizations, target)


def lever(sts: Any, organizations: Any, target: str = GUARDED) -> ServiceControlPolicy:
    return ServiceControlPolicy(
        sts,
        organizations,
        role_arn=MODE.role_arn,
        policy_name=MODE.policy_name,
        target=target,
        external_anthropic=False,
    )


@pytest.fixture
def world(aws):
    return World()


@pytest.fixture(params=["account", "ou"])
def target(request, world):
    return getattr(world, request.param)


def refusing(operation: str, code: str) -> Any:
    """Return an Organizations client that refuses one operation, as if everything before it had gone well."""
    client = boto3.client("organizations", region_name="us-east-1")
    stub = Stubber(client)
    stub.add_client_error(operation, code, "no")
    stub.activate()
    return client


def held(policy_id: str = "p-aaaaaaaa", *, attached: bool = False) -> Held:
    return Held("scp", GUARDED, "SCP", {"attached": attached, "policy_id": policy_id})


def test_the_names_are_those_of_the_guarded_account():
    assert (MODE.policy_name, MODE.role_arn) == (SCP, ROLE)


def test_a_stop_attaches_it_and_a_release_leaves_what_was_there_before(world, target):
    policy_id = world.deploy()
    before = world.attached(target)
    scp = world.lever(target)
    found = scp.find(Level.STOP, SPARED)
    assert found == Found((Held("scp", target, f"SCP {SCP} on {target}", {"attached": False, "policy_id": policy_id}),))
    (one,) = found.to_hold
    scp.hold(one, Level.STOP)
    assert world.attached(target) == before | {SCP}
    scp.restore(one)
    assert world.attached(target) == before


def test_what_is_attached_is_not_found_again(world, target):
    world.deploy()
    scp = world.lever(target)
    scp.hold(scp.find(Level.STOP, SPARED).to_hold[0], Level.STOP)
    assert scp.find(Level.STOP, SPARED) == Found()


def test_holding_and_restoring_twice_is_the_same_as_once(world, target):
    world.deploy()
    before = world.attached(target)
    scp = world.lever(target)
    (one,) = scp.find(Level.STOP, SPARED).to_hold
    for _ in range(2):
        scp.hold(one, Level.STOP)
    assert world.attached(target) == before | {SCP}
    for _ in range(2):
        scp.restore(one)
    assert world.attached(target) == before


def test_what_had_been_attached_before_stays(world):
    policy_id = world.deploy()
    world.client.attach_policy(PolicyId=policy_id, TargetId=world.account)
    world.lever(world.account).restore(Held("scp", world.account, "SCP", {"attached": True, "policy_id": policy_id}))
    assert SCP in world.attached(world.account)


@pytest.mark.parametrize("level", [Level.STEP_DOWN, Level.RELEASED])
def test_below_a_stop_nothing_is_looked_at(world, level):
    world.deploy()
    assert world.lever(world.account).find(level, SPARED) == Found()
    assert world.assumed == []


def test_the_role_is_assumed_once(world):
    world.deploy()
    scp = world.lever(world.account)
    (one,) = scp.find(Level.STOP, SPARED).to_hold
    scp.hold(one, Level.STOP)
    scp.restore(one)
    assert len(world.assumed) == 1
    assert world.assumed != ["testing"]


def test_only_the_policy_of_that_very_name_is_used(world):
    world.deploy(name=f"{SCP}-2")
    found = world.lever(world.account).find(Level.STOP, SPARED)
    assert found == Found(unread={f"SCP {SCP} on {world.account}": f"there is no such policy: {REMEDY}"})


def test_the_policy_is_found_on_a_later_page(world):
    for number in range(30):
        world.deploy(name=f"other-{number}")
    policy_id = world.deploy()
    (one,) = world.lever(world.account).find(Level.STOP, SPARED).to_hold
    assert one.before["policy_id"] == policy_id


def test_one_that_exempts_others_is_not_used_and_told(world):
    world.deploy(Spared(("role/break-glass", "role/other")))
    (words,) = world.lever(world.account).find(Level.STOP, SPARED).unread.values()
    assert words == f"it exempts others than guardrail.toml, so it is not used: {REMEDY}"


def test_one_that_denies_other_actions_is_used_and_told(world):
    world.deploy(external_anthropic=True)
    found = world.lever(world.account).find(Level.STOP, SPARED)
    assert len(found.to_hold) == 1
    (words,) = found.uncovered.values()
    assert words == f"it denies other actions than this version knows: {REMEDY}"


def test_a_role_that_is_not_there_is_told_with_what_to_do():
    sts = boto3.client("sts")
    with Stubber(sts) as stub:
        stub.add_client_error("assume_role", "AccessDenied", "not authorized", expected_params=None)
        found = lever(sts, None).find(Level.STOP, SPARED)
    assert found == Found(unread={f"SCP {SCP} on {GUARDED}": f"sts:AssumeRole: AccessDenied: {ROLE} refuses: {REMEDY}"})


@pytest.mark.parametrize(("code", "words"), [("AccessDenied", REMEDY), ("Throttling", "not now")])
def test_a_release_that_may_not_assume_the_role_fails_loudly(code, words):
    sts = boto3.client("sts")
    with Stubber(sts) as stub:
        stub.add_client_error("assume_role", code, "not now")
        with pytest.raises(AwsCallError, match=f"sts:AssumeRole: {code}: .*{words[:20]}"):
            lever(sts, None).restore(held())


@pytest.mark.parametrize("operation", ["ListPoliciesForTarget", "ListPolicies", "DescribePolicy"])
def test_a_read_that_fails_is_told_and_nothing_is_held(world, operation, monkeypatch):
    world.deploy()
    scp = world.lever(world.account)
    client = scp._assumed()

    def fail(**_: object) -> None:
        raise AwsCallError(f"organizations:{operation}", "TooManyRequestsException", "not now")

    client.meta.events.register(f"before-call.organizations.{operation}", fail)
    found = scp.find(Level.STOP, SPARED)
    assert found.to_hold == ()
    assert list(found.unread.values()) == [f"organizations:{operation}: TooManyRequestsException: not now"]


def assumed(client: Any) -> ServiceControlPolicy:
    sts = boto3.client("sts")
    return lever(sts, lambda _: client)


def test_one_that_somebody_else_attached_meanwhile_is_held(aws):
    assumed(refusing("attach_policy", "DuplicatePolicyAttachmentException")).hold(held(), Level.STOP)


@pytest.mark.parametrize("code", ["PolicyNotAttachedException", "PolicyNotFoundException", "TargetNotFoundException"])
def test_what_is_gone_at_the_release_is_left(aws, code):
    assumed(refusing("detach_policy", code)).restore(held())


def test_other_refusals_are_raised(aws):
    with pytest.raises(AwsCallError, match="organizations:AttachPolicy: PolicyTypeNotEnabledException"):
        assumed(refusing("attach_policy", "PolicyTypeNotEnabledException")).hold(held(), Level.STOP)
    with pytest.raises(AwsCallError, match="organizations:DetachPolicy: ConcurrentModificationException"):
        assumed(refusing("detach_policy", "ConcurrentModificationException")).restore(held())
