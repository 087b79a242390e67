"""Tripwires: in every listed region, and heard in the home region wherever they ring."""

import json

import pytest
from aws_cdk import App, Environment, Stack
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from aws_cdk.assertions import Template
from moto.events.models import EventPattern

from app import home_region
from lambdas import settings
from stacks.configuration import load
from stacks.triggers import AlarmRule
from tests.conftest import event
from tests.infra.conftest import EVERY_OPTION, ROOT, app_of
from tests.infra.judge import ACCOUNT, allowed
from tests.infra.template import REGION, Synthesized

CALLS = {
    "bedrock-spend-calls-bedrock": ("AWS/Bedrock", "Invocations"),
    "bedrock-spend-calls-mantle": ("AWS/BedrockMantle", "Inferences"),
}
OTHERS = {"us-east-2", "us-west-2", "eu-central-1"}
HOME_BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
BOOTSTRAP = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/cdk-hnb659fds-%s-role-${AWS::AccountId}-us-east-1"


@pytest.fixture
def app(tmp_path):
    """Synthesize an app from the text of a configuration."""

    def _app(text, home=REGION, **context):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        file = folder / "guardrail.toml"
        file.write_text(text, encoding="utf-8")
        return app_of(file, home, folder / "out", **context)

    return _app


@pytest.fixture(params=["home", *sorted(OTHERS)])
def watched(request, shipped, satellites):
    """Each stack that holds tripwires."""
    return shipped if request.param == "home" else satellites[request.param]


def tripwires(stack):
    """Return the alarms on calls by name."""
    alarms = [each["Properties"] for each in stack.of_type("AWS::CloudWatch::Alarm").values()]
    return {each["AlarmName"]: each for each in alarms if "-calls-" in each["AlarmName"]}


def listener(stack):
    """Return the rule that listens to the alarms that call for a look; at others than these, others listen."""
    return stack.of_type("AWS::Events::Rule")[stack.named("Tripped", "AWS::Events::Rule")]["Properties"]


def hears(stack, heard):
    pattern = stack.resolved(listener(stack)["EventPattern"])
    return EventPattern.load(json.dumps(pattern)).matches_event(heard)


def changed(original, **detail):
    return original | {"detail": original["detail"] | detail}


def test_each_listed_region_has_both_tripwires(watched):
    found = tripwires(watched)
    assert {name: (each["Namespace"], each["MetricName"]) for name, each in found.items()} == CALLS
    for each in found.values():
        # The account's aggregate: a model called for the first time is in it at once.
        assert "Dimensions" not in each
        assert "Metrics" not in each
        assert (each["Statistic"], each["Period"]) == ("Sum", 60)
        # The first minute with a call rings; it takes five without any to be armed again.
        assert (each["DatapointsToAlarm"], each["EvaluationPeriods"]) == (1, 5)
        assert (each["ComparisonOperator"], each["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
        assert each["TreatMissingData"] == "notBreaching"
        assert not {"AlarmActions", "OKActions", "InsufficientDataActions"} & set(each)
        assert each["AlarmDescription"].startswith("No fault: ")


def test_the_functions_know_the_names(watched, shipped):
    configured = shipped.configuration.settings
    assert {configured.tripwire("bedrock"), configured.tripwire("mantle")} == set(tripwires(watched))


def test_a_satellite_is_in_each_listed_region_but_home(shipped_app, satellites):
    assert set(satellites) == OTHERS
    names = {each.stack_name: each.environment.region for each in shipped_app.stacks}
    assert names == {"bedrock-spend-guardrail": "unknown-region"} | {
        f"bedrock-spend-watch-{region}": region for region in OTHERS
    }


def test_the_meter_is_told_of_tripwires_only_once_they_hang(shipped_app):
    waits_for = {each.stack_name: {other.id for other in each.dependencies} for each in shipped_app.stacks}
    assert waits_for.pop("bedrock-spend-guardrail") >= set(waits_for)
    assert waits_for == {f"bedrock-spend-watch-{region}": set() for region in OTHERS}


@pytest.mark.parametrize("name", ["alarm_state_change.json", "alarm_from_another_region.json"])
def test_a_tripwire_is_heard_at_home_and_by_a_satellite(watched, name):
    assert hears(watched, event(name))


@pytest.mark.parametrize("name", ["alarm_state_change.json", "alarm_from_another_region.json"])
def test_nothing_else_is_heard(watched, name):
    ringing = event(name)
    state = ringing["detail"]["state"]
    others = [
        changed(ringing, state=state | {"value": "OK"}),
        changed(ringing, state=state | {"value": "INSUFFICIENT_DATA"}),
        changed(ringing, alarmName="bedrock-spend-calls"),
        changed(ringing, alarmName="other-spend-calls-bedrock"),
        ringing | {"source": "mine.cloudwatch"},
        ringing | {"detail-type": "CloudWatch Alarm Configuration Change"},
        changed(ringing, alarmName="bedrock-spend-tokens-bedrock-output"),  # is not asked for
        # An account of the organization may send its alarms here, and have the same names.
        ringing | {"account": "999999999999"},
    ]
    assert [each for each in others if hears(watched, each)] == []


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory):
    """The stacks by region with alarms on tokens and on the delivery of the log."""
    folder = tmp_path_factory.mktemp("tokens")
    file = folder / "guardrail.toml"
    text = (ROOT / "guardrail.toml").read_text(encoding="utf-8")
    for key in ("tokens", "log_delivery"):
        assert f"{key} = false" in text
        text = text.replace(f"{key} = false", f"{key} = true")
    file.write_text(text, encoding="utf-8")
    made = app_of(file, REGION, folder / "out").stacks
    return {each.environment.region: Synthesized(load(file, home=REGION), each.template) for each in made}


WAKING = {"alarm_state_change.json", "alarm_from_another_region.json", "alarm_contributor.json", "alarm_muted.json"}
NOT_WAKING = {"alarm_ok.json", "alarm_composite.json", "alarm_undelivered_elsewhere.json", "scheduled.json"}


@pytest.mark.parametrize("name", sorted(WAKING | NOT_WAKING))
def test_the_meter_is_woken_by_ringing_muted_or_not_and_by_each_model_and_never_by_what_ends(with_tokens, name):
    home = with_tokens["unknown-region"]
    assert hears(home, event(name)) is (name in WAKING)


@pytest.mark.parametrize("name", ["alarm_contributor.json", "alarm_muted.json"])
@pytest.mark.parametrize("value", ["OK", "INSUFFICIENT_DATA"])
def test_a_model_that_ends_and_a_muted_end_wake_nobody(with_tokens, name, value):
    ringing = event(name)
    ended = changed(ringing, state=ringing["detail"]["state"] | {"value": value})
    assert [region for region, stack in with_tokens.items() if hears(stack, ended)] == []


def test_what_rings_in_a_satellite_goes_home_and_what_a_rule_at_home_takes_of_it_is_no_loop(with_tokens):
    for region in OTHERS:
        stack = with_tokens[region]
        names = set(stack.resolved(listener(stack)["EventPattern"])["detail"]["alarmName"])
        alarms = {each["Properties"]["AlarmName"] for each in stack.of_type("AWS::CloudWatch::Alarm").values()}
        # Every alarm of the region is carried home, and no other.
        assert names == alarms
        assert hears(stack, event("alarm_undelivered_elsewhere.json"))


def test_the_names_of_all_alarms_fit_into_a_pattern(with_tokens):
    for stack in with_tokens.values():
        pattern = json.dumps(stack.resolved(listener(stack)["EventPattern"]), separators=(",", ":"))
        # With a prefix of 20 characters rather than 13, in 18 names.
        assert len(pattern) + 18 * 7 < 2048


def test_faults_are_heard_from_other_regions_alone_for_those_of_home_mail_by_themselves():
    stack = Stack(App(), "home", env=Environment(account=ACCOUNT, region=REGION))
    names = ["bedrock-spend-undelivered", "bedrock-spend-log-delivery-s3"]
    target = targets.SqsQueue(sqs.Queue(stack, "Target"))
    AlarmRule(stack, "Tripped", description="x", alarms=names, target=target, elsewhere=True)
    made = Synthesized(load(ROOT / "guardrail.toml", home=REGION), Template.from_stack(stack).to_json())
    elsewhere = event("alarm_undelivered_elsewhere.json")
    assert hears(made, elsewhere)
    assert not hears(made, elsewhere | {"region": REGION})
    assert not hears(made, elsewhere | {"account": "999999999999"})


def test_the_meter_is_woken_by_what_is_heard_at_home(each_stack):
    meter = each_stack.functions()["meter"].logical_id
    assert [each["Arn"] for each in listener(each_stack)["Targets"]] == [{"Fn::GetAtt": [meter, "Arn"]}]


@pytest.mark.parametrize("region", sorted(OTHERS))
def test_a_satellite_may_put_events_on_the_home_bus_and_nothing_else(satellites, region):
    stack = satellites[region]
    role_id, role = stack.only("AWS::IAM::Role")
    _, policy = stack.only("AWS::IAM::Policy")
    assert policy["Properties"]["Roles"] == [{"Ref": role_id}]
    document = stack.resolved(policy["Properties"]["PolicyDocument"])
    assert document["Statement"] == [{"Effect": "Allow", "Action": "events:PutEvents", "Resource": HOME_BUS}]
    assert not {"Policies", "ManagedPolicyArns", "RoleName"} & set(role["Properties"])
    (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Action"], trust["Principal"]) == ("sts:AssumeRole", {"Service": "events.amazonaws.com"})
    # Under the path of the guardrail's own roles, which are never armed, swept or denied.
    assert role["Properties"]["Path"] == stack.configuration.settings.own_path

    arn = stack.resolved({"Fn::GetAtt": [role_id, "Arn"]})
    assert allowed(arn, [document], "events:PutEvents", HOME_BUS)
    for bus in (HOME_BUS.replace(REGION, region), HOME_BUS.replace(ACCOUNT, "999999999999"), f"{HOME_BUS}s"):
        assert not allowed(arn, [document], "events:PutEvents", bus), bus


@pytest.mark.parametrize("region", sorted(OTHERS))
def test_a_satellite_sends_home_what_it_hears_by_that_role(satellites, region):
    stack = satellites[region]
    (target,) = listener(stack)["Targets"]
    assert stack.resolved(target["Arn"]) == HOME_BUS
    assert target["RoleArn"] == {"Fn::GetAtt": [stack.only("AWS::IAM::Role")[0], "Arn"]}
    # The whole event: an excerpt of it would not match at home.
    assert not {"Input", "InputPath", "InputTransformer"} & set(target)


def test_no_tripwire_rings_before_it_is_heard(watched):
    rule = watched.named("Tripped", "AWS::Events::Rule")
    carried = set(listener(watched)["EventPattern"]["detail"]["alarmName"])
    for name, each in watched.of_type("AWS::CloudWatch::Alarm").items():
        if each["Properties"]["AlarmName"] in carried:
            assert rule in watched.needs(name), name
    if watched.of_type("AWS::Lambda::Function"):
        return
    assert watched.only("AWS::IAM::Policy")[0] in watched.needs(rule)


def test_a_satellite_needs_nothing_prepared_in_its_region(shipped_app, satellites):
    """No asset and no parameter of a bootstrap; the roles are those of the home region, which IAM has everywhere."""
    for region, stack in satellites.items():
        assert set(stack.json) == {"Description", "Resources"}
        artifact = shipped_app.get_stack_by_name(f"bedrock-spend-watch-{region}")
        assert artifact.stack_template_asset_object_url is None
        assert list(artifact.assets) == []
        assert artifact.assume_role_arn == BOOTSTRAP % "deploy"
        assert artifact.cloud_formation_execution_role_arn == BOOTSTRAP % "cfn-exec"


def test_a_satellite_costs_three_alarms_and_keeps_nothing(satellites):
    for stack in satellites.values():
        kinds = sorted(each["Type"] for each in stack.json["Resources"].values())
        # Rules cost nothing; what each hears is tested by itself.
        assert [each for each in kinds if each != "AWS::Events::Rule"] == [
            "AWS::CloudWatch::Alarm",
            "AWS::CloudWatch::Alarm",
            "AWS::CloudWatch::Alarm",
            "AWS::IAM::Policy",
            "AWS::IAM::Role",
            "AWS::SQS::Queue",
            "AWS::SQS::QueuePolicy",
        ]
        assert {each.get("DeletionPolicy", "Delete") for each in stack.json["Resources"].values()} == {"Delete"}


def test_a_home_region_that_is_not_listed_has_no_tripwire_but_hears_the_others(varied):
    assert tripwires(varied) == {}
    assert varied.configuration.settings.watched == ("eu-central-1",)
    theirs = event("alarm_from_another_region.json")
    ours = changed(theirs, alarmName=varied.configuration.settings.tripwire("mantle"))
    # The names begin with the configured prefix, and this one is not the shipped one.
    assert (hears(varied, ours), hears(varied, theirs)) == (True, False)


def test_the_home_region_never_has_a_satellite(app):
    regions = {each.environment.region for each in app(EVERY_OPTION, home="eu-central-1").stacks}
    # Where IAM's events appear there is a stack whether or not the region is listed.
    assert regions == {"unknown-region", "us-east-1"}


def test_the_order_of_the_regions_changes_nothing(app):
    text = (ROOT / "guardrail.toml").read_text(encoding="utf-8")
    line = next(each for each in text.splitlines() if each.startswith("regions = "))
    turned = f"regions = {json.dumps(json.loads(line.removeprefix('regions = '))[::-1])}"
    first, second = (
        {each.stack_name: each.template for each in app(each).stacks} for each in (text, text.replace(line, turned))
    )
    assert turned != line
    assert first == second


def test_bootstrapping_sees_the_home_region_alone(app, shipped_app):
    text = (ROOT / "guardrail.toml").read_text(encoding="utf-8")
    (home,) = app(text, **{"home-only": "true"}).stacks
    assert home.template == shipped_app.get_stack_by_name("bedrock-spend-guardrail").template


@pytest.mark.parametrize("home", [None, REGION])
def test_an_unknown_home_region_means_no_tripwires_and_says_so(home, tmp_path):
    file = ROOT / "guardrail.toml"
    assembly = app_of(file, home, tmp_path)
    stack = assembly.get_stack_by_name("bedrock-spend-guardrail")
    warnings = [str(each.entry.data) for each in stack.messages if "tripwires" in str(each.entry.data)]
    if home:
        assert warnings == []
        return
    assert [each.stack_name for each in assembly.stacks] == ["bedrock-spend-guardrail"]
    assert tripwires(Synthesized(load(file), stack.template)) == {}
    (warning,) = warnings
    assert "set AWS_REGION" in warning
    assert "$1.75 a region and month" in warning


def test_the_functions_are_told_which_regions_have_tripwires(shipped, shipped_app):
    environment = shipped.functions()["meter"].properties["Environment"]["Variables"]
    told = settings.read(environment)
    assert set(told.watched) == OTHERS | {REGION}
    assert told.watched == told.regions


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CDK_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "us-east-1"}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}, "eu-west-1"),
        ({"CDK_DEFAULT_REGION": "", "AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_PROFILE": "eu-west-1"}, None),
    ],
)
def test_the_home_region_is_the_one_the_cli_deploys_to(environment, expected):
    assert home_region(environment) == expected
