"""What holds keys, functions and gateways down may touch those alone: so says an evaluator we did not write."""

import json
from dataclasses import replace

import pytest
from aws_cdk import App, Stack

from lambdas.aws.api_keys import ApiKeys
from lambdas.aws.concurrency import Concurrency
from lambdas.aws.gateways import Gateways
from lambdas.core.principals import Capability, capability_of
from stacks.grants import Reach
from tests.infra.judge import ACCOUNT, allowed, role, user

ME = role("bedrock-spend/stop")
EXEMPT = ("user/on-call*", "role/ops/break-glass")
HOLDING = (ApiKeys.find, ApiKeys.hold, Concurrency.find, Concurrency.hold, Gateways.find, Gateways.hold)
RESTORING = (ApiKeys.restore, Concurrency.restore, Gateways.restore)
UPDATE_KEY = "iam:UpdateServiceSpecificCredential"
BEDROCK = "bedrock.amazonaws.com"
CLAUDE_PLATFORM = "aws-external-anthropic.amazonaws.com"


@pytest.fixture(scope="module")
def reach():
    return Reach("brake", "sweep", "/bedrock-spend/", EXEMPT, gateways=True)


def document(reach, uses):
    stack = Stack(App(), "stack", env={"account": ACCOUNT, "region": "us-east-1"})
    statements = [each.to_statement_json() for each in reach.statements(stack, uses)]
    return {"Version": "2012-10-17", "Statement": json.loads(json.dumps(statements).replace(stack.partition, "aws"))}


def may(reach, uses, action, resource, **context):
    return allowed(ME, [document(reach, uses)], action, resource, **context)


@pytest.mark.parametrize("uses", [HOLDING, RESTORING])
def test_only_keys_for_bedrock_are_in_reach(reach, uses):
    def key(service):
        return may(reach, uses, UPDATE_KEY, user("deep/dev"), iam__ServiceSpecificCredentialServiceName=service)

    assert key(BEDROCK)
    assert not key(CLAUDE_PLATFORM)
    assert not key("codecommit.amazonaws.com")
    assert not may(reach, uses, UPDATE_KEY, user("deep/dev"))
    reach = replace(reach, external_anthropic=True)
    assert key(CLAUDE_PLATFORM)
    assert key(BEDROCK)


def test_keys_of_the_exempt_are_out_of_reach_but_for_giving_them_back(reach):
    key = {"iam__ServiceSpecificCredentialServiceName": BEDROCK}
    assert not may(reach, HOLDING, UPDATE_KEY, user("on-call-2"), **key)
    assert may(reach, RESTORING, UPDATE_KEY, user("on-call-2"), **key)


@pytest.mark.parametrize("name", ["agent", "deep-agent", "bedrock-spender"])
def test_functions_are_in_reach_while_they_carry_the_tag(reach, name):
    arn = f"arn:aws:lambda:eu-west-3:{ACCOUNT}:function:{name}"
    tagged = {"aws__ResourceTag/bedrock-spend-throttle": "5"}
    for uses, actions in {HOLDING: ["Put"], RESTORING: ["Put", "Delete"]}.items():
        for action in actions:
            assert may(reach, uses, f"lambda:{action}FunctionConcurrency", arn, **tagged)
            assert not may(reach, uses, f"lambda:{action}FunctionConcurrency", arn)
    assert not may(reach, HOLDING, "lambda:DeleteFunctionConcurrency", arn, **tagged)


@pytest.mark.parametrize("name", ["bedrock-spend-kill", "bedrock-spend-guardrail-Meter-1A2B"])
def test_the_guardrails_own_functions_are_out_of_reach_even_when_somebody_tags_them(reach, name):
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    tagged = {"aws__ResourceTag/bedrock-spend-throttle": "5"}
    for uses in (HOLDING, RESTORING):
        for action in ("Put", "Delete"):
            assert not may(reach, uses, f"lambda:{action}FunctionConcurrency", arn, **tagged)


def test_gateways_are_in_reach_only_where_the_configuration_says_so(reach):
    arn = f"arn:aws:bedrock-agentcore:eu-west-3:{ACCOUNT}:gateway/gw-0123456789"
    action = "bedrock-agentcore:UpdateGatewayRateLimit"
    for uses in (HOLDING, RESTORING):
        assert may(reach, uses, action, arn)
        assert not may(replace(reach, gateways=False), uses, action, arn)
        assert not may(reach, uses, "bedrock-agentcore:DeleteGatewayRateLimit", arn)


def test_nothing_of_it_lets_a_function_spend(reach):
    assert capability_of([document(reach, HOLDING + RESTORING)]) is Capability.NONE
