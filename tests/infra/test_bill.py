"""Budgets, their own stop, anomalies, and the key: what the bill may do, who may speak, who may listen."""

import json
from dataclasses import replace
from decimal import Decimal
from fnmatch import fnmatchcase

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from lambdas.core.brake_documents import budget_stop_document, deny_document
from lambdas.core.errors import GuardrailError
from lambdas.installing import document_settings
from lambdas.wiring import Wiring
from stacks.configuration import load
from stacks.satellite_stack import SatelliteStack
from tests.infra.conftest import synthesized
from tests.infra.template import BY_LAMBDA, REGION, Synthesized, listed

ACCOUNT = "123456789012"
MONITOR = f"arn:aws:ce::{ACCOUNT}:anomalymonitor/abcdef12-1234-4ea0-84cc-918a97d736ef"
OPINIONS = f"""\
mode = "enforce"
regions = ["us-east-1", "eu-central-1"]
emails = ["ops@example.com"]
[limits]
day = 40
[ladder]
warn = 50
step_down = 80
[budget]
monthly_usd = 500
daily_usd = 50
stop_natively = ["role/agent", "role/batch", "user/dev", "group/science"]
[anomalies]
monitor = "{MONITOR}"
impact_usd = 250.5
act = "step-down"
[notices]
chat = true
escalate = ["boss@example.com"]
[options]
encrypt = true
"""


def configured(folder, text=OPINIONS, home=REGION):
    file = folder / "guardrail.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, home=home)


@pytest.fixture(scope="session")
def opinions(tmp_path_factory):
    """The stack with all the opinions there are, and a key."""
    folder = tmp_path_factory.mktemp("opinions")
    return synthesized(configured(folder), folder / "out")


def budgets(stack):
    return {each["Properties"]["Budget"]["TimeUnit"]: each["Properties"] for each in budget_resources(stack).values()}


def budget_resources(stack):
    return stack.of_type("AWS::Budgets::Budget")


# --- budgets -----------------------------------------------------------------------------------------------------


def test_every_budget_sees_bedrock_and_marketplace_without_credits(each_stack, opinions):
    for stack in (each_stack, opinions):
        for each in budgets(stack).values():
            budget = each["Budget"]
            spend, not_masked = budget["FilterExpression"]["And"]
            bedrock, marketplace = spend["Or"]
            assert bedrock["Dimensions"]["Key"] == "SERVICE"
            assert "Amazon Bedrock" in bedrock["Dimensions"]["Values"]
            assert marketplace["Dimensions"] == {"Key": "BILLING_ENTITY", "Values": ["AWS Marketplace"]}
            assert not_masked["Not"]["Dimensions"] == {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}
            assert (budget["BudgetType"], budget["Metrics"]) == ("COST", ["UnblendedCost"])
            # AWS refuses these beside an expression.
            assert not {"CostTypes", "CostFilters"} & set(budget)


def test_the_budgets_are_what_was_configured(shipped, varied, opinions):
    amounts = [
        {unit: each["Budget"]["BudgetLimit"]["Amount"] for unit, each in budgets(stack).items()}
        for stack in (shipped, varied, opinions)
    ]
    assert amounts == [{"MONTHLY": 500}, {"MONTHLY": 1234.5}, {"MONTHLY": 500, "DAILY": 50}]


@pytest.mark.parametrize(
    ("fixture", "unit", "at"),
    [
        ("shipped", "MONTHLY", ["ACTUAL 50", "ACTUAL 80", "ACTUAL 100", "FORECASTED 100"]),
        ("varied", "MONTHLY", ["ACTUAL 75", "ACTUAL 100", "FORECASTED 100"]),
        # AWS forecasts no day.
        ("opinions", "DAILY", ["ACTUAL 50", "ACTUAL 80", "ACTUAL 100"]),
    ],
)
def test_a_budget_speaks_at_each_rung_at_the_limit_and_when_that_is_forecast(request, fixture, unit, at):
    stack = request.getfixturevalue(fixture)
    topic = stack.named("BudgetTopic", "AWS::SNS::Topic")
    notifications = budgets(stack)[unit]["NotificationsWithSubscribers"]
    said = [each["Notification"] for each in notifications]
    assert [f"{each['NotificationType']} {each['Threshold']}" for each in said] == at
    assert len(notifications) <= 5
    for each in notifications:
        assert each["Notification"]["ComparisonOperator"] == "GREATER_THAN"
        assert each["Notification"]["ThresholdType"] == "PERCENTAGE"
        assert each["Subscribers"] == [{"Address": {"Ref": topic}, "SubscriptionType": "SNS"}]


def statements(stack, topic):
    (policy,) = [
        (name, each)
        for name, each in stack.of_type("AWS::SNS::TopicPolicy").items()
        if each["Properties"]["Topics"] == [{"Ref": topic}]
    ]
    return policy[0], stack.resolved(policy[1]["Properties"]["PolicyDocument"]["Statement"])


def test_only_aws_budgets_of_this_account_may_speak_to_the_topic(each_stack, opinions):
    for stack in (each_stack, opinions):
        topic = stack.named("BudgetTopic", "AWS::SNS::Topic")
        policy, found = statements(stack, topic)
        allowed = [each for each in found if each["Effect"] == "Allow"]
        assert allowed == [
            {
                "Sid": "BudgetsOfThisAccountOnly",
                "Effect": "Allow",
                "Principal": {"Service": "budgets.amazonaws.com"},
                "Action": "sns:Publish",
                "Resource": f"arn:aws:sns:us-east-1:{ACCOUNT}:{topic}",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": ACCOUNT},
                    "ArnLike": {"aws:SourceArn": f"arn:aws:budgets::{ACCOUNT}:*"},
                },
            }
        ]
        (denied,) = [each for each in found if each["Effect"] == "Deny"]
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        # AWS tries the topic when a budget is made.
        assert all(policy in stack.needs(each) for each in budget_resources(stack))


def test_what_a_budget_says_wakes_the_stop_function_which_knows_both(opinions):
    stop = opinions.functions()["stop"]
    names = {each["Properties"]["Budget"]["TimeUnit"]: name for name, each in budget_resources(opinions).items()}
    environment = stop.properties["Environment"]["Variables"]
    assert (environment["BUDGET_NAME"], environment["DAILY_BUDGET_NAME"]) == (names["MONTHLY"], names["DAILY"])
    wiring = Wiring(environment | {"AWS_REGION": REGION})
    assert [(each.name, each.window.value) for each in wiring.budgets] == [
        (names["MONTHLY"], "month"),
        (names["DAILY"], "day"),
    ]
    (asked,) = [each for each in stop.allows if "budgets:ViewBudget" in listed(each["Action"])]
    assert set(asked["Resource"]) == {f"arn:aws:budgets::{ACCOUNT}:budget/{each}" for each in names.values()}


# --- AWS Budgets' own stop ---------------------------------------------------------------------------------------


def test_aws_budgets_itself_stops_those_named_at_the_limit(opinions):
    _, resource = opinions.only("AWS::Budgets::BudgetsAction")
    action = resource["Properties"]
    policy, _ = native_policy(opinions)
    assert action["ActionThreshold"] == {"Type": "PERCENTAGE", "Value": 100}
    assert (action["ActionType"], action["ApprovalModel"], action["NotificationType"]) == (
        "APPLY_IAM_POLICY",
        "AUTOMATIC",
        "ACTUAL",
    )
    assert action["Definition"] == {
        "IamActionDefinition": {
            "PolicyArn": {"Ref": policy},
            "Roles": ["agent", "batch"],
            "Users": ["dev"],
            "Groups": ["science"],
        }
    }
    topic = opinions.named("BudgetTopic", "AWS::SNS::Topic")
    assert action["Subscribers"] == [
        {"Address": {"Ref": topic}, "Type": "SNS"},
        {"Address": "ops@example.com", "Type": "EMAIL"},
    ]
    month = next(
        name
        for name, each in budget_resources(opinions).items()
        if each["Properties"]["Budget"]["TimeUnit"] == "MONTHLY"
    )
    assert action["BudgetName"] == {"Ref": month}


def native_policy(stack):
    return next(
        (name, each["Properties"])
        for name, each in stack.of_type("AWS::IAM::ManagedPolicy").items()
        if "ManagedPolicyName" in each["Properties"] and name.startswith("NativeStop")
    )


def test_what_it_attaches_says_what_the_deny_policy_says_and_hangs_on_nobody_before(opinions):
    _, policy = native_policy(opinions)
    asked = document_settings(opinions.configuration.settings)
    assert policy["PolicyDocument"] == budget_stop_document(asked)
    (said,), (denied,) = (each["Statement"] for each in (policy["PolicyDocument"], deny_document(asked)))
    assert {**said, "Sid": ""} == {**denied, "Sid": ""}
    assert (policy["ManagedPolicyName"], policy["Path"]) == ("bedrock-spend-budget-stop", "/bedrock-spend/")
    assert not {"Roles", "Users", "Groups"} & set(policy)


def test_its_role_can_attach_that_policy_to_those_named_and_nothing_else(opinions):
    name = opinions.named("NativeStopRole(?!Policy)", "AWS::IAM::Role")
    role = opinions.of_type("AWS::IAM::Role")[name]["Properties"]
    (trust,) = opinions.resolved(role["AssumeRolePolicyDocument"]["Statement"])
    assert trust["Principal"] == {"Service": "budgets.amazonaws.com"}
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": f"arn:aws:budgets::{ACCOUNT}:budget/*"},
    }
    rights, policy = next(
        (each, opinions.resolved(one["Properties"]["PolicyDocument"]["Statement"]))
        for each, one in opinions.of_type("AWS::IAM::Policy").items()
        if one["Properties"]["Roles"] == [{"Ref": name}]
    )
    reached = {
        (action, resource) for each in policy for action in listed(each["Action"]) for resource in each["Resource"]
    }
    assert reached == {
        (f"iam:{verb}{kind.title()}Policy", f"arn:aws:iam::{ACCOUNT}:{kind}/{path}{who}")
        for kind, who in (("role", "agent"), ("role", "batch"), ("user", "dev"), ("group", "science"))
        for verb in ("Attach", "Detach")
        for path in ("", "*/")
    }
    assert not any(fnmatchcase(f"arn:aws:iam::{ACCOUNT}:role/x/agent-2", resource) for _, resource in reached)
    for each in policy:
        assert each["Condition"] == {
            "ArnEquals": {"iam:PolicyARN": opinions.resolved({"Ref": native_policy(opinions)[0]})}
        }
    assert rights in opinions.needs(opinions.only("AWS::Budgets::BudgetsAction")[0])


def test_only_the_release_may_undo_it_and_that_alone(opinions, shipped):
    action, _ = opinions.only("AWS::Budgets::BudgetsAction")
    for word, each in opinions.functions().items():
        may = {one for one in each.granted if "BudgetAction" in one}
        assert may == ({"budgets:DescribeBudgetAction", "budgets:ExecuteBudgetAction"} if word == "release" else set())
    (undo,) = [each for each in opinions.functions()["release"].allows if "BudgetAction" in str(each["Action"])]
    assert undo["Resource"].startswith(f"arn:aws:budgets::{ACCOUNT}:budget/Budget")
    assert "/action/" in undo["Resource"]
    assert action in opinions.needs(opinions.named("PutBack", "Custom::BedrockSpendPutBack"))
    assert "BUDGET_ACTION_ID" not in shipped.functions()["release"].properties["Environment"]["Variables"]
    assert not {one for one in shipped.functions()["release"].granted if "BudgetAction" in one}


def test_when_the_stack_goes_it_is_undone_while_role_and_policy_are_there(opinions):
    needed = opinions.needs(opinions.named("PutBack", "Custom::BedrockSpendPutBack"))
    assert native_policy(opinions)[0] in needed
    assert opinions.named("NativeStopRole(?!Policy)", "AWS::IAM::Role") in needed


# --- Cost Anomaly Detection --------------------------------------------------------------------------------------


def subscription(stack):
    return stack.only("AWS::CE::AnomalySubscription")[1]["Properties"]


def test_a_given_monitor_is_subscribed_to_from_the_impact_on(opinions, shipped):
    found = subscription(opinions)
    topic = opinions.named("AnomaliesTopic", "AWS::SNS::Topic")
    assert (found["Frequency"], found["MonitorArnList"]) == ("IMMEDIATE", [MONITOR])
    assert found["Subscribers"] == [{"Address": {"Ref": topic}, "Type": "SNS"}]
    assert json.loads(found["ThresholdExpression"]) == {
        "Dimensions": {
            "Key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE",
            "MatchOptions": ["GREATER_THAN_OR_EQUAL"],
            "Values": ["250.5"],
        }
    }
    assert opinions.of_type("AWS::CE::AnomalyMonitor") == {}
    policy, said = statements(opinions, topic)
    (allowed,) = [each for each in said if each["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "costalerts.amazonaws.com"}
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert policy in opinions.needs(opinions.only("AWS::CE::AnomalySubscription")[0])
    assert {each for each in shipped.json["Resources"].values() if each["Type"].startswith("AWS::CE::")} == set()


def anomaly_rule(stack):
    return next(
        each["Properties"]
        for each in stack.of_type("AWS::Events::Rule").values()
        if each["Properties"].get("EventPattern", {}).get("source") == ["aws.ce"]
    )


def test_anomalies_of_that_monitor_wake_the_stop_function_which_knows_it(opinions):
    rule = anomaly_rule(opinions)
    stop = opinions.functions()["stop"]
    assert rule["EventPattern"]["detail"] == {"monitorArn": [MONITOR]}
    assert rule["EventPattern"]["account"] == [{"Ref": "AWS::AccountId"}]
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": [stop.logical_id, "Arn"]}
    assert "DeadLetterConfig" in target
    tools = Wiring(stop.properties["Environment"]["Variables"] | {"AWS_REGION": REGION})._bill_tools
    assert (tools.monitor_arn, tools.least_usd, tools.steps_down) == (MONITOR, Decimal("250.5"), True)


def test_a_monitor_is_made_where_there_was_none(tmp_path):
    stack = synthesized(configured(tmp_path, OPINIONS.replace(MONITOR, "create")), tmp_path / "out")
    name, monitor = stack.only("AWS::CE::AnomalyMonitor")
    assert monitor["Properties"] == {
        "MonitorName": "bedrock-spend",
        "MonitorType": "DIMENSIONAL",
        "MonitorDimension": "SERVICE",
    }
    made = {"Fn::GetAtt": [name, "MonitorArn"]}
    assert subscription(stack)["MonitorArnList"] == [made]
    assert anomaly_rule(stack)["EventPattern"]["detail"] == {"monitorArn": [made]}


@pytest.mark.parametrize("monitor", [MONITOR, "create"])
def test_from_another_region_the_stack_where_anomalies_are_told_passes_them_on(tmp_path, monitor):
    configuration = configured(tmp_path, OPINIONS.replace(MONITOR, monitor), home="eu-central-1")
    stack = synthesized(configuration, tmp_path / "out")
    assert not [each for each in stack.json["Resources"].values() if each["Type"].startswith("AWS::CE::")]
    # CloudFormation of other regions does not know the resources.
    assert "detail" not in anomaly_rule(stack)["EventPattern"]
    known = stack.functions()["stop"].properties["Environment"]["Variables"]["ANOMALY_MONITOR_ARN"]
    assert known == (f"arn:aws:ce::{ACCOUNT}:anomalymonitor/*" if monitor == "create" else MONITOR)
    told = SatelliteStack(App(), configuration=configuration, region=REGION, home="eu-central-1")
    satellite = Synthesized(configuration, Template.from_stack(told).to_json())
    assert subscription(satellite)["Frequency"] == "IMMEDIATE"
    assert anomaly_rule(satellite)["EventPattern"]["detail"]["monitorArn"] == subscription(satellite)["MonitorArnList"]


def test_without_a_home_region_nobody_knows_where_anomalies_are_subscribed_to(tmp_path):
    with pytest.raises(GuardrailError, match="set AWS_REGION"):
        synthesized(configured(tmp_path, home=None), tmp_path / "out")


# --- the key -----------------------------------------------------------------------------------------------------


def test_topics_queue_and_ledger_have_one_key_that_aws_renews(opinions, shipped):
    name, key = opinions.only("AWS::KMS::Key")
    arn = {"Fn::GetAtt": [name, "Arn"]}
    assert key["Properties"]["EnableKeyRotation"] is True
    topics = opinions.of_type("AWS::SNS::Topic")
    assert len(topics) == 5
    assert all(each["Properties"]["KmsMasterKeyId"] == arn for each in topics.values())
    assert opinions.only("AWS::SQS::Queue")[1]["Properties"]["KmsMasterKeyId"] == arn
    _, table = opinions.only("AWS::DynamoDB::Table")
    assert table["Properties"]["SSESpecification"] == {"KMSMasterKeyId": arn, "SSEEnabled": True, "SSEType": "KMS"}
    assert shipped.of_type("AWS::KMS::Key") == {}


def test_the_key_stays_with_a_ledger_that_stays(opinions, tmp_path):
    keeping = replace(opinions.configuration, keep_ledger=True)
    for stack, policy in ((opinions, "Delete"), (synthesized(keeping, tmp_path), "Retain")):
        assert stack.only("AWS::KMS::Key")[1]["DeletionPolicy"] == policy


def test_exactly_the_services_that_must_may_use_the_key_and_only_for_this_accounts_own(opinions):
    _, key = opinions.only("AWS::KMS::Key")
    found = opinions.resolved(key["Properties"]["KeyPolicy"]["Statement"])
    services = {each["Principal"]["Service"]: each for each in found if "Service" in each["Principal"]}
    assert set(services) == {
        f"{each}.amazonaws.com" for each in ("budgets", "cloudwatch", "events", "sns", "costalerts")
    }
    for each in services.values():
        assert set(each["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
        assert ACCOUNT in json.dumps(each["Condition"])
    (owners,) = [each for each in found if "Service" not in each["Principal"]]
    # Whom IAM policies of this account let.
    assert owners["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    context = {
        service: each["Condition"]["ArnLike"] for service, each in services.items() if "ArnLike" in each["Condition"]
    }
    (topics,) = context["cloudwatch.amazonaws.com"].values()
    assert topics == f"arn:aws:sns:us-east-1:{ACCOUNT}:guardrail-*"
    (queue,) = context["events.amazonaws.com"].values()
    assert queue == opinions.resolved({"Fn::GetAtt": [opinions.only("AWS::SQS::Queue")[0], "Arn"]})


KMS = {"kms:Decrypt", "kms:GenerateDataKey"}


def test_functions_that_write_what_is_encrypted_may_use_the_key_through_it_alone(opinions):
    for word, each in opinions.functions().items():
        assert each.granted == each.declared | BY_LAMBDA | KMS, word
        uses = [one for one in each.allows if KMS & set(listed(one["Action"]))]
        via = [one["Condition"]["StringEquals"]["kms:ViaService"] for one in uses if "Condition" in one]
        assert via in ([], [["dynamodb.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com"]]), word
        reaches = any(action.startswith(("dynamodb:", "sns:Publish")) for action in each.granted)
        assert bool(via) is reaches, word


def test_no_resource_needs_itself(opinions):
    assert [name for name in opinions.json["Resources"] if name in opinions.needs(name)] == []
