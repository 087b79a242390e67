"""The live drill as deployed: a canary that can do nothing, and a drill that can touch nobody else."""

import json
from dataclasses import replace

import pytest

from lambdas.aws.canary import Canary
from lambdas.core.brake_documents import deny_document, digest, documents
from lambdas.core.permissions import On, permissions_of
from lambdas.core.prices import PriceTable
from lambdas.core.principals import Capability, capability_of
from lambdas.installing import document_settings
from tests.infra.judge import ACCOUNT, ALLOW_ALL, allowed, role
from tests.infra.spend_actions import spend_actions
from tests.infra.template import listed

CANARY = f"arn:aws:iam::{ACCOUNT}:role/spend-x-canary"


@pytest.fixture(scope="module")
def canary(varied):
    """The canary's role by its logical id, and its one statement."""
    (name,) = [each for each in varied.of_type("AWS::IAM::Role") if each.startswith("Canary")]
    (policy,) = [
        each["Properties"]
        for each in varied.of_type("AWS::IAM::Policy").values()
        if each["Properties"].get("Roles") == [{"Ref": name}]
    ]
    (statement,) = policy["PolicyDocument"]["Statement"]
    return name, varied.resolved(varied.json["Resources"][name]["Properties"]), varied.resolved(statement)


def test_there_is_no_canary_and_no_drill_unless_one_is_asked_for(shipped):
    assert "canary" not in json.dumps(shipped.json)
    assert "drill" not in shipped.functions()


def test_the_canary_may_count_tokens_with_one_model_and_nothing_else(canary):
    _, _, statement = canary
    declared = {a for each in permissions_of([Canary.count]) if each.on is On.CANARY_MODEL for a in each.actions}
    assert set(listed(statement["Action"])) == declared == {"bedrock:CountTokens"}
    assert statement["Resource"] == "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-5-5"


def test_the_canary_cannot_spend_and_so_is_neither_armed_nor_swept(canary):
    _, _, statement = canary
    assert capability_of([{"Version": "2012-10-17", "Statement": [statement]}]) is Capability.NONE


def test_the_canary_is_outside_of_the_path_that_is_spared_and_has_the_name_the_deny_policy_knows(varied, canary):
    _, properties, _ = canary
    assert properties["RoleName"] == varied.configuration.settings.canary.removeprefix("role/")
    assert "Path" not in properties


def test_only_the_drill_function_can_be_the_canary(varied, canary):
    _, properties, _ = canary
    (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
    drill = varied.functions()["drill"]
    assert (trust["Effect"], trust["Action"]) == ("Allow", "sts:AssumeRole")
    assert trust["Principal"] == {"AWS": drill.role_arn}
    for word, each in varied.functions().items():
        (statement, *_) = [one for one in each.allows if "sts:AssumeRole" in listed(one["Action"])] or [None]
        reached = [] if statement is None else listed(statement["Resource"])
        assert (CANARY in reached) == (word == "drill"), word


def test_the_drill_itself_writes_nothing_in_iam(varied):
    granted = {each for each in varied.functions()["drill"].granted if each.startswith("iam:")}
    assert granted == {"iam:ListPolicyVersions", "iam:GetPolicyVersion", "iam:ListEntitiesForPolicy"}


def test_the_canary_outlives_what_puts_everything_back(varied, canary):
    name, _, _ = canary
    put_back = varied.named("PutBack", "Custom::BedrockSpendPutBack")
    assert name in varied.needs(put_back)


def test_it_runs_once_a_month_where_that_is_asked_for_and_ends_before_everything_is_put_back(varied):
    drill = varied.functions()["drill"].logical_id
    (rule,) = [
        each
        for each in varied.of_type("AWS::Events::Rule").values()
        if [target["Arn"] for target in each["Properties"]["Targets"]] == [{"Fn::GetAtt": [drill, "Arn"]}]
    ]
    assert rule["Properties"]["ScheduleExpression"] == "cron(17 10 ? * 3#1 *)"
    assert varied.named("PutBack", "Custom::BedrockSpendPutBack") in rule["DependsOn"]
    (target,) = rule["Properties"]["Targets"]
    assert "DeadLetterConfig" in target


def test_the_deny_policy_is_written_anew_when_the_drill_is_configured(varied):
    settings = varied.configuration.settings
    asked = document_settings(settings)
    rendered = [*documents(asked, PriceTable.load(pricing=settings.pricing)).values(), deny_document(asked)]
    _, policies = varied.only("Custom::BedrockSpendBrake")
    assert policies["Properties"]["Documents"] == digest(rendered)
    assert deny_document(asked) != deny_document(replace(asked, canary=""))


def test_a_stop_of_the_canary_denies_it_what_it_may_and_a_stop_of_anybody_else_denies_nothing_free(varied):
    deny = deny_document(document_settings(varied.configuration.settings))
    bird = role("spend-x-canary")
    count = "bedrock:CountTokens"
    assert allowed(bird, [ALLOW_ALL], count)
    assert not allowed(bird, [ALLOW_ALL, deny], count)
    assert allowed(role("agents"), [ALLOW_ALL, deny], count)
    assert allowed(role("team/spend-x-canary"), [ALLOW_ALL, deny], count)
    for each in spend_actions(external_anthropic=True):
        assert not allowed(bird, [ALLOW_ALL, deny], each), each
