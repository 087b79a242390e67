"""What every function of the stack has, whatever it does."""

import json
import os

import pytest

from lambdas import settings
from lambdas.settings import variable
from lambdas.wiring import Wiring

WORDS = {"install", "stop", "kill", "release", "status", "meter", "arm", "disarm", "crosscheck", "inventory", "prices"}
WORDS |= {"share", "digest", "watch"}

USED = {
    "stop": ("desk", "_bill_tools", "account_id", "links"),
    "kill": ("desk", "links"),
    "release": ("brake", "post", "ledger", "links"),
    "status": ("brake", "account", "ledger"),
    "meter": ("meter_tools",),
    "arm": ("arming_tools",),
    "disarm": ("disarm_tools",),
    "crosscheck": ("crosscheck_tools",),
    "digest": ("digest_tools",),
    "inventory": ("stock_tools",),
    "prices": ("repricing_tools",),
    "inline": ("inline_deny",),
    "share": ("test_events",),
    "watch": ("watch_tools",),
    "drill": ("brake", "ledger", "links", "account_id"),
}
"""What each handler takes from the wiring."""


def words(stack):
    settings = stack.configuration.settings
    return WORDS | ({"inline"} if settings.inline_deny else set()) | ({"drill"} if settings.drill else set())


def test_every_handler_is_one_function(each_stack):
    assert set(each_stack.functions()) == words(each_stack)
    assert len(each_stack.of_type("AWS::Lambda::Function")) == len(words(each_stack))


def test_inline_denies_are_written_only_where_the_configuration_says_so(shipped, varied):
    assert (words(shipped), words(varied) - {"drill"}) == (WORDS, WORDS | {"inline"})
    for word, each in shipped.functions().items():
        assert "INLINE_FUNCTION" not in each.properties["Environment"]["Variables"], word
    environment = varied.functions()["kill"].properties["Environment"]["Variables"]
    assert environment["INLINE_FUNCTION"] == varied.functions()["inline"].properties["FunctionName"]


def test_everything_is_put_back_while_the_function_that_deletes_inline_denies_is_there(varied):
    put_back = varied.named("PutBack", "Custom::BedrockSpendPutBack")
    assert varied.functions()["inline"].logical_id in varied.needs(put_back)


def test_only_what_a_person_looks_for_has_a_fixed_name(each_stack):
    prefix = each_stack.configuration.settings.prefix
    names = {word: each.properties.get("FunctionName") for word, each in each_stack.functions().items()}
    assert {word: name for word, name in names.items() if name} == {
        "digest": f"{prefix}-digest",
        "kill": f"{prefix}-kill",
        "prices": f"{prefix}-prices",
        "release": f"{prefix}-release",
        "status": f"{prefix}-status",
        "watch": f"{prefix}-watch",
        # It asks itself to go on, so its role must name it before it exists.
        "stop": f"{prefix}-stop",
        # It is asked by those who stop, whose roles must name it likewise.
        **({"inline": f"{prefix}-inline"} if each_stack.configuration.settings.inline_deny else {}),
        **({"drill": f"{prefix}-drill"} if each_stack.configuration.settings.drill else {}),
    }


def test_the_shipped_names_are_those_in_every_instruction(shipped):
    names = {each.properties.get("FunctionName") for each in shipped.functions().values()} - {None}
    words = ("digest", "kill", "prices", "release", "status", "stop", "watch")
    assert names == {f"bedrock-spend-{word}" for word in words}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("AWS::IAM::Role", "RoleName"),
        ("AWS::SNS::Topic", "TopicName"),
        ("AWS::DynamoDB::Table", "TableName"),
        ("AWS::Logs::LogGroup", "LogGroupName"),
        ("AWS::Events::Rule", "Name"),
    ],
)
def test_nothing_else_has_a_name_that_could_clash(each_stack, kind, name):
    resources = each_stack.of_type(kind)
    assert resources
    # The deny policy names the canary, so it has the name it is stopped by.
    canary = each_stack.configuration.settings.canary.removeprefix("role/")
    assert [each for each in resources.values() if each["Properties"].get(name, canary) != canary] == []


def test_every_function_has_a_role_of_its_own(each_stack):
    roles = [each.role_id for each in each_stack.functions().values()]
    assert len(set(roles)) == len(roles)
    canary = {each for each in each_stack.of_type("AWS::IAM::Role") if each.startswith("Canary")}
    assert set(roles) == set(each_stack.of_type("AWS::IAM::Role")) - canary


def test_every_function_has_a_log_group_of_its_own_that_forgets(each_stack):
    groups = {each.properties["LoggingConfig"]["LogGroup"] for each in each_stack.functions().values()}
    found = each_stack.of_type("AWS::Logs::LogGroup")
    assert groups == set(found)
    assert len(groups) == len(words(each_stack))
    assert {each["Properties"]["RetentionInDays"] for each in found.values()} == {90}
    # Nothing stays behind when the stack goes.
    assert {each["DeletionPolicy"] for each in found.values()} == {"Delete"}


def test_every_function_has_an_alarm_on_its_errors_that_mails(each_stack):
    topic = each_stack.named("Notices", "AWS::SNS::Topic")
    watched = {}
    for each in each_stack.of_type("AWS::CloudWatch::Alarm").values():
        properties = each["Properties"]
        if properties.get("MetricName") == "Errors":
            assert properties["Namespace"] == "AWS/Lambda"
            assert properties["AlarmActions"] == [{"Ref": topic}]
            assert (properties["Statistic"], properties["Threshold"], properties["EvaluationPeriods"]) == ("Sum", 1, 1)
            assert properties["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
            assert properties["TreatMissingData"] == "notBreaching"
            ((dimension),) = properties["Dimensions"]
            watched[dimension["Value"]["Ref"]] = dimension["Name"]
    assert watched == dict.fromkeys(each_stack.of_type("AWS::Lambda::Function"), "FunctionName")


def test_every_function_runs_the_same_code(each_stack):
    assert len({str(each.properties["Code"]) for each in each_stack.functions().values()}) == 1
    assert {each.properties["Runtime"] for each in each_stack.functions().values()} == {"python3.13"}


def test_a_sweep_has_all_the_time_lambda_gives(each_stack):
    functions = each_stack.functions()
    assert {functions[each].properties["Timeout"] for each in ("stop", "kill", "release", "arm")} == {900}
    # The clock ticks each minute; a tick that hangs must not pile up for long.
    assert functions["meter"].properties["Timeout"] <= 120


def test_the_settings_reach_every_function_that_reads_them(each_stack):
    expected = each_stack.configuration.settings
    for word in words(each_stack) & set(USED):
        environment = each_stack.functions()[word].properties["Environment"]["Variables"]
        assert settings.read(environment) == expected, word


@pytest.mark.parametrize("word", USED)
def test_the_environment_has_all_the_wiring_asks_for(each_stack, word):
    if word not in words(each_stack):
        pytest.skip(f"{word} is not configured")
    environment = each_stack.functions()[word].properties["Environment"]["Variables"]
    # Lambda itself sets the region.
    wiring = Wiring(environment | {"AWS_REGION": os.environ["AWS_REGION"]})
    for name in USED[word]:
        getattr(wiring, name)


def test_the_installer_comes_before_the_brake_and_needs_nothing_that_comes_after(each_stack):
    environment = each_stack.functions()["install"].properties["Environment"]["Variables"]
    wiring = Wiring(environment)
    assert wiring.install_tools.own.us == "guardrail in us-east-1"
    assert wiring.prices is not None
    assert not {"STOP_BY_HAND", "STOP_FUNCTION"} & set(environment)


def test_no_environment_is_near_lambdas_limit(each_stack):
    for each in each_stack.functions().values():
        variables = each.properties.get("Environment", {}).get("Variables", {})
        assert sum(len(name) + len(value) for name, value in variables.items()) < 4096


def test_the_environment_says_where_the_brake_is(shipped):
    environment = shipped.functions()["kill"].properties["Environment"]["Variables"]
    assert variable(environment, "BRAKE_POLICY_ARN") == "arn:aws:iam::123456789012:policy/bedrock-spend-brake"
    assert variable(environment, "SWEEP_POLICY_ARN") == "arn:aws:iam::123456789012:policy/bedrock-spend-sweep"
    assert variable(environment, "DENY_POLICY_ARN") == "arn:aws:iam::123456789012:policy/bedrock-spend-deny"
    assert "aws iam set-default-policy-version --policy-arn $p" in variable(environment, "STOP_BY_HAND")


def test_no_role_has_more_policy_than_iam_takes(each_stack):
    """10,240 characters in a role's inline policies, 6,144 in a managed one, ten managed ones."""
    inline: dict[str, int] = {}
    managed: dict[str, list[int]] = {}
    for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        for policy in each_stack.of_type(kind).values():
            size = len(json.dumps(each_stack.resolved(policy["Properties"]["PolicyDocument"]), separators=(",", ":")))
            for role in policy["Properties"].get("Roles", ()):
                if kind == "AWS::IAM::Policy":
                    inline[role["Ref"]] = inline.get(role["Ref"], 0) + size
                else:
                    managed.setdefault(role["Ref"], []).append(size)
    assert max(inline.values()) <= 10_240
    assert all(max(sizes) <= 6144 and len(sizes) <= 10 for sizes in managed.values())
