"""The self-watch as deployed: what wakes it, what it hears of others' edits, and what it is told of the stack."""

import json
from decimal import Decimal

import pytest
from moto.events.models import EventPattern

from lambdas.core import own_edits
from lambdas.core.health import Expected
from lambdas.core.iam_events import Ours
from lambdas.core.own_edits import EVERYWHERE, GLOBAL, WATCHED
from stacks.configuration import load
from tests.conftest import event
from tests.infra.conftest import EVERY_OPTION, ROOT, app_of
from tests.infra.judge import ACCOUNT
from tests.infra.template import REGION, Synthesized
from tests.unit.test_own_edits import EDITS, with_detail

MAX_PATTERN = 2048


def edit_rules(stack):
    return {
        name: stack.resolved(each["Properties"]["EventPattern"])
        for name, each in stack.of_type("AWS::Events::Rule").items()
        if "Edits" in name
    }


def hearing(stack, payload):
    return {
        name for name, each in edit_rules(stack).items() if EventPattern.load(json.dumps(each)).matches_event(payload)
    }


def rule(stack, pattern):
    return stack.json["Resources"][stack.named(pattern, "AWS::Events::Rule")]["Properties"]


def expected_of(stack):
    environment = stack.functions()["watch"].properties["Environment"]["Variables"]
    return Expected.from_json(json.loads(environment["DEPLOYED"]))


@pytest.mark.parametrize("name", EDITS)
def test_each_edit_is_heard_by_one_rule_where_it_was_made(shipped, satellites, name):
    payload = event(name)
    region = payload["detail"]["awsRegion"]
    assert len(hearing(shipped if region == REGION else satellites[region], payload)) == 1
    # Home hears what a satellite forwards.
    assert len(hearing(shipped, payload)) == 1


@pytest.mark.parametrize("name", EDITS)
def test_refused_forged_and_other_peoples_edits_wake_nobody(shipped, name):
    payload = event(name)
    others = [
        with_detail(name, errorCode="AccessDenied"),
        with_detail(name, sourceIPAddress="cloudformation.amazonaws.com"),
        with_detail(name, eventName="ListThings"),
        with_detail(name, userIdentity=event("lambda_by_ourselves.json")["detail"]["userIdentity"]),
        payload | {"account": "999999999999"},
        payload | {"source": "mine.events"},
    ]
    if name != "budgets_update.json":  # whose pattern knows no names
        renamed = json.loads(json.dumps(payload["detail"]["requestParameters"]).replace("bedrock-spend-", "other-"))
        others.append(with_detail(name, requestParameters=renamed))
    assert [each for each in others if hearing(shipped, each)] == []


@pytest.mark.parametrize("name", ["lambda_by_cloudformation.json", "lambda_by_ourselves.json"])
def test_a_deployment_and_the_guardrail_itself_wake_nobody(shipped, name):
    assert hearing(shipped, event(name)) == set()


def test_the_rules_hear_every_service_at_home_and_what_there_is_elsewhere(shipped, satellites):
    def services(stack):
        return {each["source"][0].removeprefix("aws.") for each in edit_rules(stack).values()}

    assert services(shipped) == set(WATCHED)
    for stack in satellites.values():
        assert services(stack) == set(EVERYWHERE)


def test_budgets_are_heard_of_in_the_region_of_their_events_though_home_is_elsewhere(tmp_path):
    file = tmp_path / "guardrail.toml"
    file.write_text(EVERY_OPTION, encoding="utf-8")
    app = app_of(file, "eu-west-1", tmp_path / "out")
    heard = {
        each.environment.region: {name for name in each.template["Resources"] if "EditsBudgets" in name}
        for each in app.stacks
        if each.environment.region != "unknown-region"
    }
    assert {region: bool(names) for region, names in heard.items()} == {"us-east-1": True, "eu-central-1": False}
    assert GLOBAL == ("budgets",)


def test_a_pattern_is_within_the_quota(each_stack):
    sizes = [len(json.dumps(each, separators=(",", ":"))) for each in edit_rules(each_stack).values()]
    assert max(sizes) < MAX_PATTERN


def test_each_wakes_the_watch_function_and_what_is_not_delivered_is_kept(each_stack):
    watch = each_stack.functions()["watch"].logical_id
    queue, _ = each_stack.only("AWS::SQS::Queue")
    mine = {name: each for name, each in each_stack.of_type("AWS::Events::Rule").items() if name.startswith("Watch")}
    assert len(mine) == len(WATCHED) + 2
    brake, _ = each_stack.only("Custom::BedrockSpendBrake")
    for name, each in mine.items():
        (target,) = each["Properties"]["Targets"]
        assert target["Arn"] == {"Fn::GetAtt": [watch, "Arn"]}
        assert target["DeadLetterConfig"]["Arn"] == {"Fn::GetAtt": [queue, "Arn"]}
        assert brake in each_stack.needs(name)


def test_it_looks_around_each_hour_and_what_it_hears_once_is_tried_again(each_stack):
    hourly = rule(each_stack, "WatchHourly")
    assert (hourly["ScheduleExpression"], hourly["State"]) == ("rate(1 hour)", "ENABLED")
    watch = each_stack.functions()["watch"].logical_id
    (tries,) = [
        each["Properties"]["MaximumRetryAttempts"]
        for each in each_stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        if each["Properties"]["FunctionName"] == {"Ref": watch}
    ]
    assert tries == 2


@pytest.mark.parametrize(
    ("changes", "heard"),
    [
        ({}, True),
        ({"region": REGION}, False),
        ({"account": "999999999999"}, False),
        ({"source": "mine.cloudwatch"}, False),
    ],
)
def test_faults_of_other_regions_are_heard_and_those_of_home_mail_by_themselves(shipped, changes, heard):
    pattern = shipped.resolved(rule(shipped, "WatchElsewhere")["EventPattern"])
    payload = event("alarm_undelivered_elsewhere.json") | changes
    assert EventPattern.load(json.dumps(pattern)).matches_event(payload) is heard


# --- what it is told of the stack ---


def test_it_knows_the_stacks_there_are(shipped, shipped_app, varied):
    assert expected_of(shipped).stack == "guardrail"
    satellites = {each.environment.region for each in shipped_app.stacks} - {"unknown-region"}
    assert set(expected_of(shipped).satellites) == satellites
    assert expected_of(varied).satellites == ("eu-central-1",)
    prefix = shipped.configuration.settings.prefix
    assert {each.stack_name for each in shipped_app.stacks} >= {f"{prefix}-watch-{region}" for region in satellites}


def test_it_knows_the_budgets_as_the_template_has_them(each_stack):
    found = {each.name: each for each in expected_of(each_stack).budgets}
    made = each_stack.of_type("AWS::Budgets::Budget")
    assert len(found) == len(made)
    for name, each in made.items():
        known = found[each_stack.resolved({"Ref": name})]
        assert known.usd == Decimal(str(each["Properties"]["Budget"]["BudgetLimit"]["Amount"]))
        notifications = each["Properties"]["NotificationsWithSubscribers"]
        assert len(known.rungs) == len(notifications) > 0
        for notified in notifications:
            assert known.told in {each_stack.resolved(one["Address"]) for one in notified["Subscribers"]}


def test_it_knows_whom_to_reserve_for_and_the_most_important_come_first(each_stack):
    functions = each_stack.functions()
    named = [
        each.properties.get("FunctionName", each.logical_id)
        for each in map(functions.get, ("kill", "stop", "meter", "release", "install"))
    ]
    assert list(expected_of(each_stack).reserved) == named
    # Small beside the least an account has: a new one has 10 in all, and then nothing is reserved.
    assert sum(expected_of(each_stack).reserved.values()) < 20


def test_the_reservation_is_a_resource_that_changes_with_what_is_to_be_reserved(each_stack):
    _, reserved = each_stack.only("Custom::BedrockSpendReserved")
    kept = each_stack.resolved(reserved["Properties"]["Reserved"])
    assert json.loads(kept) == [list(pair) for pair in expected_of(each_stack).reserved.items()]
    assert not any("ReservedConcurrentExecutions" in each.properties for each in each_stack.functions().values())


# --- the silent meter ---


def test_unless_asked_for_silence_wakes_nobody_but_people(each_stack):
    assert not each_stack.configuration.settings.stop_when_silent
    assert "heartbeat" not in json.dumps(list(each_stack.of_type("AWS::Events::Rule").values()))


def test_where_asked_for_a_silent_meter_wakes_the_stop_function(tmp_path):
    file = tmp_path / "guardrail.toml"
    text = (ROOT / "guardrail.toml").read_text(encoding="utf-8")
    assert text.count('silent_meter = "tell"') == 1
    file.write_text(
        text.replace('silent_meter = "tell"', 'silent_meter = "stop"').replace("# silent_", "silent_"), "utf-8"
    )
    app = app_of(file, REGION, tmp_path / "out")
    (home,) = [each for each in app.stacks if each.environment.region == "unknown-region"]
    stack = Synthesized(load(file, home=REGION), home.template)
    silence = rule(stack, "Silence")
    (target,) = silence["Targets"]
    assert target["Arn"]["Fn::GetAtt"][0].startswith("StopFunction")
    assert "DeadLetterConfig" in target
    pattern = json.dumps(stack.resolved(silence["EventPattern"]))
    assert EventPattern.load(pattern).matches_event(event("alarm_heartbeat.json"))
    assert not EventPattern.load(pattern).matches_event(event("alarm_state_change.json"))
    ok = event("alarm_heartbeat.json")
    ok["detail"]["state"]["value"] = "OK"
    assert not EventPattern.load(pattern).matches_event(ok)


def test_every_service_that_is_watched_has_a_rule_that_is_as_wide_as_the_function_needs(shipped):
    """What the function would tell of, the pattern lets through."""
    ours = Ours(ACCOUNT, "bedrock-spend")
    for name in EDITS:
        assert own_edits.parse(event(name), ours) is not None
        assert hearing(shipped, event(name))
