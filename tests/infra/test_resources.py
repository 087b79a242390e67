"""The budget, the topics, the ledger, the clock, the alarms, and in which order they come and go."""

import json
from dataclasses import replace

import pytest

from lambdas.core.brake_documents import deny_document, digest, documents
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import SID_OF, Level
from lambdas.core.prices import PriceTable
from lambdas.installing import document_settings
from lambdas.settings import read
from tests.infra.conftest import synthesized


def rules(stack):
    """Return the rules by what wakes them."""
    return {
        each["Properties"].get("ScheduleExpression", "alarm"): (name, each)
        for name, each in stack.of_type("AWS::Events::Rule").items()
        # The self-watch has a clock and an alarm of its own: see test_watch.py.
        if "CloudTrail" not in str(each["Properties"].get("EventPattern")) and not name.startswith("Watch")
    }


def test_what_the_budget_says_wakes_the_stop_function(each_stack):
    stop = each_stack.functions()["stop"].logical_id
    topic = each_stack.named("BudgetTopic", "AWS::SNS::Topic")
    (subscription,) = [
        each["Properties"]
        for each in each_stack.of_type("AWS::SNS::Subscription").values()
        if each["Properties"]["Protocol"] == "lambda"
    ]
    assert subscription["Endpoint"] == {"Fn::GetAtt": [stop, "Arn"]}
    assert subscription["TopicArn"] == {"Ref": topic}
    assert permitted(each_stack, stop, "sns.amazonaws.com") == [{"Ref": topic}]


def permitted(stack, function, service):
    return [
        each["Properties"]["SourceArn"]
        for each in stack.of_type("AWS::Lambda::Permission").values()
        if each["Properties"]["FunctionName"] == {"Fn::GetAtt": [function, "Arn"]}
        and each["Properties"]["Principal"] == service
    ]


def test_everybody_configured_is_mailed(shipped, varied):
    def mailed(stack):
        topic = stack.named("Notices", "AWS::SNS::Topic")
        return {
            each["Properties"]["Endpoint"]
            for each in stack.of_type("AWS::SNS::Subscription").values()
            if each["Properties"]["Protocol"] == "email" and each["Properties"]["TopicArn"] == {"Ref": topic}
        }

    assert mailed(shipped) == set()
    assert mailed(varied) == {"ops@example.com", "finance@example.com"}


def test_each_function_of_the_clock_ticks_at_its_own_pace(each_stack):
    found = rules(each_stack)
    # The live drill's own rule is looked at in test_live_drill.py.
    assert {each for each in found if not each.startswith("cron(")} == {
        "rate(1 minute)",
        "rate(1 hour)",
        "rate(1 day)",
        "rate(15 minutes)",
        "rate(12 hours)",
        "alarm",
    }
    woken = {
        "rate(1 minute)": "meter",
        "rate(15 minutes)": "inventory",
        "rate(1 hour)": "arm",
        "rate(1 day)": "crosscheck",
        "rate(12 hours)": "prices",
        "alarm": "meter",
    }
    for wakes, word in woken.items():
        name, rule = found[wakes]
        function = each_stack.functions()[word].logical_id
        assert rule["Properties"]["State"] == "ENABLED"
        assert [each["Arn"] for each in rule["Properties"]["Targets"]] == [{"Fn::GetAtt": [function, "Arn"]}]
        assert {"Fn::GetAtt": [name, "Arn"]} in permitted(each_stack, function, "events.amazonaws.com")


def test_a_late_tick_is_not_made_up_for(each_stack):
    for wakes in ("rate(1 minute)", "rate(15 minutes)", "rate(1 hour)", "rate(1 day)"):
        (target,) = rules(each_stack)[wakes][1]["Properties"]["Targets"]
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0}


def test_the_ledger_costs_nothing_at_rest_and_can_be_restored(each_stack):
    _, table = each_stack.only("AWS::DynamoDB::Table")
    assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_the_ledger_goes_or_stays_as_configured(shipped, varied):
    for stack, policy in ((shipped, "Delete"), (varied, "Retain")):
        _, table = stack.only("AWS::DynamoDB::Table")
        assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == (policy, policy)


def test_nothing_but_a_kept_ledger_stays_when_the_stack_goes(shipped, varied):
    for stack, kept in ((shipped, set()), (varied, {"AWS::DynamoDB::Table"})):
        retained = {
            each["Type"]
            for each in stack.json["Resources"].values()
            if each.get("DeletionPolicy", "Delete") != "Delete"
        }
        assert retained == kept


@pytest.mark.parametrize("fixture", ["shipped", "varied"])
def test_the_outputs_tell_a_person_all_they_look_for(request, fixture):
    stack = request.getfixturevalue(fixture)
    outputs = {name: stack.resolved(each["Value"]) for name, each in stack.json["Outputs"].items()}
    prefix = stack.configuration.settings.prefix
    console = "https://us-east-1.console.aws.amazon.com/lambda/home?region=us-east-1#/functions"
    policy = f"arn:aws:iam::123456789012:policy/{prefix}"
    expected = {
        "BrakePolicyArn": f"{policy}-brake",
        "SweepPolicyArn": f"{policy}-sweep",
        "StopByHand": outputs["StopByHand"],  # see below
        "NoticeTopicArn": f"arn:aws:sns:us-east-1:123456789012:{stack.named('Notices', 'AWS::SNS::Topic')}",
        "BudgetTopicArn": f"arn:aws:sns:us-east-1:123456789012:{stack.named('BudgetTopic', 'AWS::SNS::Topic')}",
        "BudgetName": stack.only("AWS::Budgets::Budget")[0],
        "LedgerTable": stack.only("AWS::DynamoDB::Table")[0],
        "OperatorPolicyArn": stack.resolved({"Ref": stack.named("Operators", "AWS::IAM::ManagedPolicy")}),
        "Mode": {"shipped": "enforce", "varied": "report-only"}[fixture],
        "Limits": {"shipped": "$5/minute, $50/day, $500/month", "varied": "$40/day"}[fixture],
    }
    for word in ("Kill", "Release", "Status"):
        expected[f"{word}Function"] = f"{prefix}-{word.lower()}"
        expected[f"{word}Console"] = f"{console}/{prefix}-{word.lower()}?tab=testing"
    if stack.configuration.dashboard:
        expected["DashboardConsole"] = outputs["DashboardConsole"]  # tests/infra/test_dashboard.py
    if stack.configuration.settings.telling.chat:
        expected["ChatTopicArn"] = stack.resolved({"Ref": stack.named("ChatNotices", "AWS::SNS::Topic")})
    assert outputs == expected


def test_the_stop_by_hand_finds_the_version_that_is_there_whatever_its_number(each_stack):
    brake, _ = each_stack.only("Custom::BedrockSpendBrake")
    start, arn, loop = each_stack.json["Outputs"]["StopByHand"]["Value"]["Fn::Join"][1]
    assert (start, arn) == ("p=", {"Fn::GetAtt": [brake, "BrakeArn"]})
    assert SID_OF[Level.STOP] in loop


def test_the_writer_is_called_when_a_document_changes_and_renders_it_itself(each_stack):
    settings = each_stack.configuration.settings
    _, brake = each_stack.only("Custom::BedrockSpendBrake")
    asked = document_settings(settings)
    rendered = [*documents(asked, PriceTable.load(pricing=settings.pricing)).values(), deny_document(asked)]
    assert brake["Properties"]["Documents"] == digest(rendered)
    variables = each_stack.functions()["install"].properties["Environment"]["Variables"]
    assert document_settings(read(variables)) == asked
    assert "Statement" not in json.dumps(brake)


def test_the_ledger_is_there_before_the_writer_reads_prices_from_it_and_goes_after_it(each_stack):
    brake, _ = each_stack.only("Custom::BedrockSpendBrake")
    assert each_stack.only("AWS::DynamoDB::Table")[0] in each_stack.needs(brake)


def test_each_custom_resource_is_answered_by_its_function_with_all_its_rights(each_stack):
    for kind, word in (("Custom::BedrockSpendBrake", "install"), ("Custom::BedrockSpendArmed", "arm")):
        name, resource = each_stack.only(kind)
        function = each_stack.functions()[word]
        assert resource["Properties"]["ServiceToken"] == {"Fn::GetAtt": [function.logical_id, "Arn"]}
        policy = each_stack.named(rf"(Brake)?{word.title()}Policy", "AWS::IAM::Policy")
        assert {function.logical_id, function.role_id, policy} <= each_stack.needs(name)
        # CloudFormation must wait longer than the function may take.
        assert int(resource["Properties"]["ServiceTimeout"]) > function.properties["Timeout"]


def test_nothing_runs_before_the_brake_is_there_or_after_it_is_gone(each_stack):
    brake, _ = each_stack.only("Custom::BedrockSpendBrake")
    woken = [name for name, _ in rules(each_stack).values()]
    for name in (*woken, each_stack.only("Custom::BedrockSpendArmed")[0]):
        assert brake in each_stack.needs(name), name
    for word, each in each_stack.functions().items():
        assert (brake in each_stack.needs(each.logical_id)) is (word != "install"), word


def test_no_function_exists_without_its_rights(each_stack):
    for word, each in each_stack.functions().items():
        policies = [
            name
            for name, policy in each_stack.of_type("AWS::IAM::Policy").items()
            if {"Ref": each.role_id} in policy["Properties"].get("Roles", ())
        ]
        assert policies, word
        assert set(policies) <= each_stack.needs(each.logical_id), word


def test_nothing_needs_itself(each_stack):
    assert [name for name in each_stack.json["Resources"] if name in each_stack.needs(name)] == []


def test_arming_runs_again_when_the_settings_change(shipped, varied):
    for stack in (shipped, varied):
        _, armed = stack.only("Custom::BedrockSpendArmed")
        assert armed["Properties"]["Settings"] == stack.configuration.settings.to_json()


def test_the_mode_reaches_the_functions(shipped, varied):
    for stack, enforce in ((shipped, True), (varied, False)):
        variables = stack.functions()["stop"].properties["Environment"]["Variables"]
        assert json.loads(variables["GUARDRAIL"])["enforce"] is enforce


def test_settings_too_long_for_a_function_are_refused_with_what_to_do(shipped, tmp_path):
    many = replace(shipped.configuration.settings, regions=("us-east-1",) * 300)
    configuration = replace(shipped.configuration, settings=many)
    with pytest.raises(GuardrailError, match=r"regions: \d+ characters of settings, .* holds 4096: shorten"):
        synthesized(configuration, tmp_path)
