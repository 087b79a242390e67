"""Detach and organization mode give exactly what they need, and nothing where they are off.

Asked of an IAM evaluator the project did not write.
"""

import json
from dataclasses import replace

import pytest
from aws_cdk import App, Stack

from lambdas.aws.allow_policies import AllowPolicies
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.organization import ServiceControlPolicy
from lambdas.core.principals import Capability, capability_of
from stacks.grants import Reach
from tests.infra.judge import ACCOUNT, allowed, role, user

BRAKE, SWEEP = (f"arn:aws:iam::{ACCOUNT}:policy/spend-x-{name}" for name in ("brake", "sweep"))
USE = f"arn:aws:iam::{ACCOUNT}:policy/team/bedrock-use"
FULL = "arn:aws:iam::aws:policy/AmazonBedrockFullAccess"
FOREIGN = [
    "arn:aws:iam::aws:policy/AdministratorAccess",
    f"{FULL}2",
    f"{FULL}/",
    f"arn:aws:iam::{ACCOUNT}:policy/bedrock-use",
    f"arn:aws:iam::{ACCOUNT}:policy/AmazonBedrockFullAccess",
    "arn:aws:iam::999999999999:policy/team/bedrock-use",
    BRAKE,
]
ORGANIZATION_ROLE = "arn:aws:iam::111122223333:role/spend-x/spend-x-organization-123456789012"

STOPPING = (AllowPolicies.find, AllowPolicies.hold, ServiceControlPolicy.find, ServiceControlPolicy.hold)
RELEASING = (AllowPolicies.restore, ServiceControlPolicy.restore)
GROUP = f"arn:aws:iam::{ACCOUNT}:group/deep/developers"
HOLDERS = {role("deep/path/agents"): "Role", user("dev"): "User", GROUP: "Group"}
EXEMPT = {role("ops/break-glass"): "Role", user("on-call-2"): "User"}
OURS = {role("spend-x/stop"): "Role", role("spend-x/release"): "Role"}


@pytest.fixture(scope="module")
def reach():
    return Reach(
        BRAKE,
        SWEEP,
        "/spend-x/",
        ("role/ops/break-glass", "user/on-call*"),
        allow_policies=(USE, FULL),
        organization_role_arn=ORGANIZATION_ROLE,
    )


def document(reach, uses):
    stack = Stack(App(), "stack", env={"account": ACCOUNT, "region": "us-east-1"})
    statements = [each.to_statement_json() for each in reach.statements(stack, uses)]
    return {"Version": "2012-10-17", "Statement": json.loads(json.dumps(statements).replace(stack.partition, "aws"))}


@pytest.fixture(scope="module")
def may(reach):
    documents = {uses: document(reach, uses) for uses in (STOPPING, RELEASING)}

    def _may(uses, action, resource, **context):
        return allowed(role("spend-x/stop"), [documents[uses]], action, resource, **context)

    return _may


@pytest.mark.parametrize("policy", [USE, FULL])
def test_a_stop_takes_the_configured_policies_and_a_release_puts_them_back(may, policy):
    for holder, kind in HOLDERS.items():
        for uses, verb in ((STOPPING, "Detach"), (RELEASING, "Attach")):
            assert may(uses, f"iam:{verb}{kind}Policy", holder, iam__PolicyARN=policy)
        for uses, verb in ((STOPPING, "Attach"), (RELEASING, "Detach")):
            assert not may(uses, f"iam:{verb}{kind}Policy", holder, iam__PolicyARN=policy)


@pytest.mark.parametrize("policy", FOREIGN)
def test_neither_touches_any_other_policy(may, policy):
    for uses in (STOPPING, RELEASING):
        for holder, kind in (HOLDERS | EXEMPT | OURS).items():
            for verb in ("Attach", "Detach"):
                assert not may(uses, f"iam:{verb}{kind}Policy", holder, iam__PolicyARN=policy)
                assert not may(uses, f"iam:{verb}{kind}Policy", holder)


@pytest.mark.parametrize("policy", [USE, FULL])
def test_neither_touches_the_exempt_or_the_guardrail(may, policy):
    for uses in (STOPPING, RELEASING):
        for holder, kind in (EXEMPT | OURS).items():
            for verb in ("Attach", "Detach"):
                # Who became exempt while stopped gets back what was taken from them before.
                given_back = uses is RELEASING and verb == "Attach" and holder in EXEMPT
                assert may(uses, f"iam:{verb}{kind}Policy", holder, iam__PolicyARN=policy) is given_back


def test_whoever_became_exempt_while_stopped_can_still_be_freed_of_the_sweep(reach):
    releasing = document(reach, (*RELEASING, BrakePolicies.leave))
    for holder, kind in EXEMPT.items():
        assert allowed(role("spend-x/r"), [releasing], f"iam:Detach{kind}Policy", holder, iam__PolicyARN=SWEEP)


def test_who_holds_them_is_read_and_of_no_other_policy(may):
    assert may(STOPPING, "iam:ListEntitiesForPolicy", USE)
    assert may(STOPPING, "iam:GetPolicy", FULL)
    assert may(RELEASING, "iam:GetPolicy", FULL)
    assert not may(STOPPING, "iam:ListEntitiesForPolicy", FOREIGN[0])


def test_one_role_is_assumed_and_no_other(may):
    others = [role("spend-x/spend-x-organization-123456789012"), f"{ORGANIZATION_ROLE}2", role("admin")]
    for uses in (STOPPING, RELEASING):
        assert may(uses, "sts:AssumeRole", ORGANIZATION_ROLE)
        assert not [each for each in others if may(uses, "sts:AssumeRole", each)]
        # What is done in the management account is that role's to do.
        assert not may(uses, "organizations:AttachPolicy", "*")
        assert not may(uses, "organizations:ListPolicies", "*")


@pytest.mark.parametrize("uses", [STOPPING, RELEASING])
def test_where_the_modes_are_off_nothing_is_granted(reach, uses):
    assert document(replace(reach, allow_policies=(), organization_role_arn=""), uses)["Statement"] == []
    for off, service in (
        (replace(reach, allow_policies=()), "iam:"),
        (replace(reach, organization_role_arn=""), "sts:"),
    ):
        assert service not in json.dumps([each["Action"] for each in document(off, uses)["Statement"]])


def test_none_of_it_lets_a_function_spend(reach):
    assert capability_of([document(reach, STOPPING + RELEASING)]) is Capability.NONE
