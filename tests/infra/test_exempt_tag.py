"""Who is exempt by a tag: out of the functions' reach by IAM itself, whatever the code does."""

import pytest
from aws_cdk import App, Environment, Stack

from lambdas.aws.allow_policies import AllowPolicies
from lambdas.aws.api_keys import ApiKeys
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.inline_writer import InlineDeny
from stacks.grants import Reach
from tests.infra.judge import ACCOUNT, may, role, user

BRAKE = f"arn:aws:iam::{ACCOUNT}:policy/spend-brake"
SWEEP = f"arn:aws:iam::{ACCOUNT}:policy/spend-sweep"
USE = f"arn:aws:iam::{ACCOUNT}:policy/use"
FUNCTION = role("spend/stop")
USES = (
    *(BrakePolicies.arm, BrakePolicies.sweep, BrakePolicies.leave, AllowPolicies.hold, ApiKeys.hold),
    *(InlineDeny.deny, InlineDeny.allow),
)


def granted(tag):
    stack = Stack(App(), "guardrail", env=Environment(account=ACCOUNT, region="us-east-1"))
    reach = Reach(
        BRAKE,
        SWEEP,
        "/spend/",
        ("role/break-glass",),
        allow_policies=(USE,),
        inline_function_arn="inline",
        exempt_tag=tag,
    )
    statements = [stack.resolve(each.to_statement_json()) for each in reach.statements(stack, USES)]
    # The partition is a token until deployment.
    return {"Version": "2012-10-17", "Statement": [_in_aws(each) for each in statements]}


def _in_aws(value):
    if isinstance(value, dict) and "Fn::Join" in value:
        return "".join("aws" if isinstance(each, dict) else each for each in value["Fn::Join"][1])
    if isinstance(value, dict):
        return {key: _in_aws(each) for key, each in value.items()}
    return [_in_aws(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def tagged():
    return granted("Team=break glass")


@pytest.mark.parametrize(
    ("action", "target", "context"),
    [
        ("iam:AttachRolePolicy", role("agent"), {"iam:PolicyARN": BRAKE}),
        ("iam:AttachRolePolicy", role("ops/agent"), {"iam:PolicyARN": SWEEP}),
        ("iam:AttachUserPolicy", user("dev"), {"iam:PolicyARN": SWEEP}),
        ("iam:DetachRolePolicy", role("agent"), {"iam:PolicyARN": USE}),
        ("iam:DetachUserPolicy", user("dev"), {"iam:PolicyARN": USE}),
        ("iam:PutRolePolicy", role("agent"), {}),
        (
            "iam:UpdateServiceSpecificCredential",
            user("dev"),
            {"iam:ServiceSpecificCredentialServiceName": "bedrock.amazonaws.com"},
        ),
    ],
)
def test_no_function_touches_whoever_carries_the_tag(tagged, action, target, context):
    def touches(**tags):
        on_target = {f"iam:ResourceTag/{key}": value for key, value in tags.items()}
        return may(FUNCTION, [tagged], action, target, context | on_target)

    assert touches()
    assert touches(Team="data")
    assert touches(Other="break glass")
    assert not touches(Team="break glass")


def test_our_own_policies_may_be_detached_from_whoever_got_the_tag_while_stopped(tagged):
    context = {"iam:PolicyARN": SWEEP, "iam:ResourceTag/Team": "break glass"}
    assert may(FUNCTION, [tagged], "iam:DetachRolePolicy", role("agent"), context)
    assert may(FUNCTION, [tagged], "iam:DeleteRolePolicy", role("agent"), context)


def test_without_a_tag_there_is_no_word_of_it():
    without, with_one = granted(""), granted("k=v")
    assert [each for each in with_one["Statement"] if each not in without["Statement"]]
    assert [each for each in without["Statement"] if each not in with_one["Statement"]] == []
    assert "ResourceTag/" not in str([each for each in without["Statement"] if each["Effect"] == "Deny"])
