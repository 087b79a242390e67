"""What CloudTrail sees: which calls wake which function, in which region, and that the guardrail never wakes itself."""

import json

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_sqs as sqs
from aws_cdk.assertions import Template
from aws_cdk.aws_events_targets import SqsQueue
from moto.events.models import EventPattern

from lambdas.core import iam_events
from stacks.configuration import load
from stacks.satellite_stack import SatelliteStack
from stacks.triggers import CallRules
from tests.conftest import event
from tests.infra.conftest import ROOT
from tests.infra.judge import ACCOUNT
from tests.infra.template import Synthesized

MAX_PATTERN = 2048
"""Characters; EventBridge's quota."""

CHANGES, REFUSED, KEYS, CREATIONS = "IamChanges", "RefusedDeletes", "Keys", "Creations"
HEARD = {
    "iam_create_role.json": {CHANGES},
    "iam_put_user_policy_by_user.json": {CHANGES},
    "iam_attach_brake_by_service.json": {CHANGES},
    "iam_detach_brake.json": {CHANGES},
    "iam_switch_brake_by_root.json": {CHANGES},
    "iam_remove_from_group.json": {CHANGES},
    "iam_delete_role_refused.json": {REFUSED},
    "iam_delete_user_refused_root.json": {REFUSED},
    "iam_create_api_key.json": {KEYS},
    "bedrock_create_batch_job.json": {CREATIONS},
    "iam_create_role_denied.json": set(),
    "iam_delete_role_denied.json": set(),
    "iam_attach_by_ourselves.json": set(),
    "alarm_state_change.json": set(),
    "scheduled.json": set(),
}
"""Payloads as CloudTrail sends them through EventBridge, and the rules that take them."""


def configuration():
    return load(ROOT / "guardrail.toml", home="us-east-1")


@pytest.fixture(scope="module")
def home():
    """The rules as the home stack has them, each with a target of its own."""
    app = App()
    stack = Stack(app, "guardrail")
    targets: dict[str, events.IRuleTarget] = {
        name: SqsQueue(sqs.Queue(stack, f"To{name}")) for name in (CHANGES, REFUSED, KEYS, CREATIONS)
    }
    rules = CallRules(stack, "Calls", settings=configuration().settings, creations=targets[CREATIONS])
    rules.add_iam(changes=targets[CHANGES], refused_deletes=targets[REFUSED], keys=targets[KEYS])
    return Synthesized(configuration(), Template.from_stack(stack).to_json())


def satellite(region, home="eu-west-1", **changes):
    at_home = load(ROOT / "guardrail.toml", home=home)
    stack = SatelliteStack(App(), configuration=at_home, region=region, home=home)
    return Synthesized(configuration(), Template.from_stack(stack).to_json())


@pytest.fixture(scope="module", params=["us-east-1", "eu-central-1", "ca-central-1"])
def each_satellite(request):
    return request.param, satellite(request.param)


def patterns(stack):
    """Return the patterns of the rules on calls by the name of their construct."""
    found = {}
    for name, each in stack.of_type("AWS::Events::Rule").items():
        pattern = stack.resolved(each["Properties"].get("EventPattern", {}))
        if name.startswith("Calls") and pattern.get("detail-type") == [iam_events.DETAIL_TYPE]:
            (word,) = [word for word in (CHANGES, REFUSED, KEYS, CREATIONS) if word in name]
            found[word] = pattern
    return found


def hearing(stack, payload):
    return {
        name
        for name, pattern in patterns(stack).items()
        if EventPattern.load(json.dumps(pattern)).matches_event(payload)
    }


def changed(name, **detail):
    payload = event(name)
    return payload | {"detail": payload["detail"] | detail}


@pytest.mark.parametrize("name", HEARD)
def test_each_payload_is_heard_by_the_rules_it_is_for(home, name):
    assert hearing(home, event(name)) == HEARD[name]


@pytest.mark.parametrize("call", iam_events.HEARD)
def test_every_call_the_parser_knows_is_heard(home, call):
    assert hearing(home, changed("iam_create_role.json", eventName=call)) == {CHANGES}
    assert hearing(home, changed("iam_create_role.json", eventName=call, errorCode="AccessDenied")) == set()


@pytest.mark.parametrize("call", ["GetRole", "ListRoles", "DeleteRole", "UpdateAssumeRolePolicy", "createrole"])
def test_reads_and_what_gives_nobody_anything_are_not_heard(home, call):
    assert hearing(home, changed("iam_create_role.json", eventName=call)) == set()


@pytest.mark.parametrize("code", iam_events.REFUSED)
@pytest.mark.parametrize("call", iam_events.DELETIONS)
def test_a_deletion_is_heard_in_either_spelling_of_its_refusal(home, code, call):
    assert hearing(home, changed("iam_delete_role_refused.json", eventName=call, errorCode=code)) == {REFUSED}
    assert hearing(home, changed("iam_delete_role_refused.json", eventName=call, errorCode="AccessDenied")) == set()


@pytest.mark.parametrize("call", iam_events.CREATIONS)
@pytest.mark.parametrize("source", ["aws.bedrock", "aws.bedrock-mantle", "aws.bedrock-agentcore"])
def test_every_creation_of_the_family_is_heard_unless_it_was_refused(home, call, source):
    made = changed("bedrock_create_batch_job.json", eventName=call) | {"source": source}
    assert hearing(home, made) == {CREATIONS}
    refused = changed("bedrock_create_batch_job.json", eventName=call, errorCode="AccessDeniedException")
    assert hearing(home, refused) == set()


@pytest.mark.parametrize("name", [name for name, heard in HEARD.items() if heard])
def test_another_accounts_calls_and_forged_sources_are_not_heard(home, name):
    payload = event(name)
    assert hearing(home, payload | {"account": "999999999999"}) == set()
    assert hearing(home, payload | {"source": f"mine.{payload['source']}"}) == set()
    assert hearing(home, payload | {"detail-type": "AWS Service Event via CloudTrail"}) == set()


@pytest.mark.parametrize(
    ("issuer", "heard"),
    [
        (f"arn:aws:iam::{ACCOUNT}:role/bedrock-spend/guardrail-ArmRole", False),
        (f"arn:aws:iam::{ACCOUNT}:role/bedrock-spend-2/x", True),
        (f"arn:aws:iam::{ACCOUNT}:role/x/bedrock-spend/y", True),
        (f"arn:aws:iam::{ACCOUNT}:role/bedrock-spend", True),
        ("arn:aws:iam::999999999999:role/bedrock-spend/x", True),
    ],
)
@pytest.mark.parametrize("name", ["iam_create_role.json", "iam_detach_brake.json", "iam_create_api_key.json"])
def test_the_guardrail_does_not_wake_itself(home, name, issuer, heard):
    identity = {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": issuer}}}
    assert bool(hearing(home, changed(name, userIdentity=identity))) is heard


def test_a_pattern_is_within_the_quota(home):
    sizes = {name: len(json.dumps(each, separators=(",", ":"))) for name, each in patterns(home).items()}
    assert set(sizes) == {CHANGES, REFUSED, KEYS, CREATIONS}
    assert max(sizes.values()) < MAX_PATTERN - 100, sizes


def test_a_satellite_forwards_what_appears_in_its_region_as_home_hears_it(each_satellite, home):
    region, stack = each_satellite
    everything = {CHANGES, REFUSED, KEYS, CREATIONS}
    assert set(patterns(stack)) == (everything if region == iam_events.REGION else {CREATIONS})
    for name, pattern in patterns(stack).items():
        assert pattern == patterns(home)[name]


def test_whatever_a_satellite_hears_goes_home_whole_and_by_its_role(each_satellite):
    _, stack = each_satellite
    role_id, _ = stack.only("AWS::IAM::Role")
    policy_id, _ = stack.only("AWS::IAM::Policy")
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        (target,) = rule["Properties"]["Targets"]
        assert stack.resolved(target["Arn"]) == f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/default"
        assert target["RoleArn"] == {"Fn::GetAtt": [role_id, "Arn"]}
        assert not {"Input", "InputPath", "InputTransformer"} & set(target)
        assert policy_id in stack.needs(name)


def test_only_a_region_that_is_listed_pays_for_tripwires(each_satellite):
    region, stack = each_satellite
    listed = region in configuration().settings.regions
    # The alarm on what is not delivered is in each.
    assert len(stack.of_type("AWS::CloudWatch::Alarm")) == (3 if listed else 1)
    assert listed is (region != "ca-central-1")


WOKEN = {CHANGES: "arm", REFUSED: "disarm", KEYS: "meter", CREATIONS: "meter"}


def test_at_home_each_rule_wakes_its_function_and_waits_for_the_brake(each_stack):
    brake, _ = each_stack.only("Custom::BedrockSpendBrake")
    found = {
        word: (name, each)
        for name, each in each_stack.of_type("AWS::Events::Rule").items()
        for word in WOKEN
        if f"Calls{word}" in name
    }
    assert set(found) == set(WOKEN)
    for word, (name, rule) in found.items():
        function = each_stack.functions()[WOKEN[word]].logical_id
        assert [each["Arn"] for each in rule["Properties"]["Targets"]] == [{"Fn::GetAtt": [function, "Arn"]}]
        assert brake in each_stack.needs(name)


def test_what_is_told_once_is_tried_again(each_stack):
    tries = {
        each["Properties"]["FunctionName"]["Ref"]: each["Properties"]["MaximumRetryAttempts"]
        for each in each_stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    }
    for word in ("arm", "disarm"):
        assert tries[each_stack.functions()[word].logical_id] == 2
