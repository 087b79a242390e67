"""The self-watch and the silent meter, from the event that wakes them to what comes of it, on moto."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import boto3
import pytest
from moto.cloudwatch.models import cloudwatch_backends

from lambdas.core.errors import UnfinishedError
from lambdas.core.health import Expected, ExpectedBudget, Rung
from lambdas.wiring import Wiring
from tests.conftest import ACCOUNT, event
from tests.fakes import SWEEP
from tests.integration.test_functions import RELEASE, refuse
from tests.integration.world import BUDGET, SETTINGS, TRUST, Account, budget

STOPPING = replace(SETTINGS, stop_when_silent=True)
HEARTBEAT = "bedrock-spend-heartbeat"


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.people()
    found.install(settings=STOPPING)
    return found


# --- the silent meter ---


def heartbeat(state: Literal["ALARM", "OK"]) -> None:
    """Let the heartbeat alarm stand so."""
    cloudwatch = boto3.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=HEARTBEAT,
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=5,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
    )
    cloudwatch.set_alarm_state(AlarmName=HEARTBEAT, StateValue=state, StateReason="test")


def ran(account: Account, ago: timedelta) -> None:
    """Let the meter have run, and have read so long ago."""
    account.run("meter", event("scheduled.json"))
    ledger, at = Wiring().ledger, datetime.now(UTC)
    memory = ledger.memory(at)
    left = {**(memory.watch or {}), "read_at": (at - ago).isoformat()}
    assert ledger.note_watch(left, at, before=memory.watch_mark)


def rings(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return dict(event("alarm_heartbeat.json")) | {"time": now} | changes


def test_a_silent_meter_stops_the_account_until_a_person_releases_it(account: Account):
    heartbeat("ALARM")
    ran(account, timedelta(hours=1))
    answer = account.run("stop", rings())
    assert answer["summary"].startswith("Bedrock is stopped")
    assert answer["reason"].startswith("the meter has fallen silent")
    assert (account.level(), account.holders(SWEEP) > set()) == ("stop", True)
    wanted = Wiring().ledger.wanted()
    assert (wanted.by, wanted.windows) == ("silence", ())
    # The meter is back, and finds nothing spent: it keeps the stop on.
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    assert account.level() == "stop"
    assert account.run("release", RELEASE)["summary"].startswith("Released")
    assert account.level() == "released"


def test_told_twice_it_stops_once_and_after_a_release_not_again(account: Account):
    heartbeat("ALARM")
    ran(account, timedelta(hours=1))
    told = rings()
    account.run("stop", told)
    mails, before = account.mails(), account.snapshot()
    account.run("stop", told)
    assert account.mails() == mails
    assert account.snapshot()["Policies"] == before["Policies"]
    account.run("release", RELEASE)
    assert account.run("stop", told)["summary"].startswith("Nothing done: a person has released")
    assert account.level() == "released"


@pytest.mark.parametrize(
    ("state", "ago", "why"),
    [
        ("OK", timedelta(hours=1), "OK again"),
        ("ALARM", timedelta(minutes=1), "not silent"),
        ("ALARM", None, "not run yet"),
    ],
)
def test_a_meter_that_is_not_silent_stops_nobody(account: Account, state, ago, why):
    heartbeat(state)
    if ago is not None:
        ran(account, ago)
    answer = account.run("stop", rings())
    assert answer["summary"].startswith("Refused: ")
    assert why in answer["summary"]
    assert (account.level(), account.mails()) == ("released", [])


def test_where_cloudwatch_cannot_say_the_account_is_stopped(account: Account):
    ran(account, timedelta(hours=1))
    account.answers["cloudwatch:DescribeAlarms"] = refuse("InternalFailure")
    assert "could not confirm" in account.run("stop", rings())["reason"]
    assert account.level() == "stop"


def test_unless_configured_so_a_silent_meter_stops_nobody(account: Account, monkeypatch):
    monkeypatch.setenv("GUARDRAIL", SETTINGS.to_json())
    heartbeat("ALARM")
    ran(account, timedelta(hours=1))
    assert account.run("stop", rings())["summary"].startswith("Refused: a silent meter is told of")
    assert account.level() == "released"


def test_in_report_only_mode_it_is_told_and_nothing_is_touched(account: Account, monkeypatch):
    monkeypatch.setenv("GUARDRAIL", replace(STOPPING, enforce=False).to_json())
    heartbeat("ALARM")
    ran(account, timedelta(hours=1))
    account.run("stop", rings())
    assert account.level() == "released"
    assert account.mails() == ["Bedrock spend: would have STOPPED (report-only)"]


@pytest.mark.parametrize(
    "changes", [{"account": "999999999999"}, {"source": "mine"}, {"region": "eu-west-1"}, {"detail": {}}]
)
def test_a_forged_alarm_stops_nobody(account: Account, changes):
    heartbeat("ALARM")
    ran(account, timedelta(hours=1))
    assert account.run("stop", rings(**changes))["summary"].startswith("Refused: ")
    assert account.level() == "released"


# --- the self-watch ---


def deployed(account: Account) -> None:
    """Let the stack hold a rule, an alarm, a queue, a function and a budget, all as they should be."""
    iam, events, functions = boto3.client("iam"), boto3.client("events"), boto3.client("lambda")
    role = iam.create_role(RoleName="kill", Path="/bedrock-spend/", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    functions.create_function(
        FunctionName="bedrock-spend-kill",
        Runtime="python3.13",
        Role=role,
        Handler="x.y",
        Code={"ZipFile": b"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
    )
    events.put_rule(Name="bedrock-spend-clock", ScheduleExpression="rate(1 minute)")
    target = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:bedrock-spend-kill"
    events.put_targets(Rule="bedrock-spend-clock", Targets=[{"Id": "1", "Arn": target}])
    heartbeat("OK")
    url = boto3.client("sqs").create_queue(QueueName="bedrock-spend-undelivered")["QueueUrl"]
    parts = {
        "AWS::Events::Rule": "bedrock-spend-clock",
        "AWS::CloudWatch::Alarm": HEARTBEAT,
        "AWS::SQS::Queue": url,
        "AWS::Lambda::Function": "bedrock-spend-kill",
    }
    account.answers["cloudformation:ListStackResources"] = lambda _: {
        "StackResourceSummaries": [
            {"ResourceType": kind, "PhysicalResourceId": name, "ResourceStatus": "CREATE_COMPLETE"}
            for kind, name in parts.items()
        ]
    }
    boto3.client("sns").subscribe(
        TopicArn=account.environment["NOTICE_TOPIC_ARN"], Protocol="email", Endpoint="ops@example.com"
    )
    boto3.client("s3").create_bucket(Bucket="trail")
    trail = boto3.client("cloudtrail")
    trail.create_trail(Name="all", S3BucketName="trail", IsMultiRegionTrail=True)
    selectors = [{"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}]
    trail.put_event_selectors(TrailName="all", EventSelectors=selectors)
    trail.start_logging(Name="all")
    rungs = (Rung("ACTUAL", Decimal(80)),)
    budgets = (ExpectedBudget(BUDGET, Decimal(500), rungs, "topic"),)
    expected = Expected("guardrail", (), budgets, {"bedrock-spend-kill": 2})
    notifications = [
        {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0},
    ]
    subscribers = [{"SubscriptionType": "SNS", "Address": "topic"}]
    view = {"Budget": budget("10"), "Notifications": notifications, "Subscribers": subscribers}
    account.answers["budgets:ViewBudget"] = lambda _: view
    account.monkeypatch.setenv("DEPLOYED", json.dumps(expected.to_json()))


def test_a_guardrail_that_is_well_says_so_and_reserves_what_must_run(account: Account):
    deployed(account)
    assert account.run("watch", event("scheduled.json")) == {"summary": "All is as it should be."}
    assert account.mails() == []
    reserved = boto3.client("lambda").get_function_concurrency(FunctionName="bedrock-spend-kill")
    assert reserved["ReservedConcurrentExecutions"] == 2


def test_what_breaks_is_mailed_once_and_when_it_is_mended(account: Account):
    deployed(account)
    boto3.client("events").disable_rule(Name="bedrock-spend-clock")
    boto3.client("cloudwatch").disable_alarm_actions(AlarmNames=[HEARTBEAT])
    boto3.client("cloudtrail").stop_logging(Name="all")
    found = account.run("watch", event("scheduled.json"))
    assert len(found["findings"]) == 3, found
    account.run("watch", event("scheduled.json"))
    assert account.mails() == ["Bedrock spend: 3 faults in the guardrail itself"]
    boto3.client("events").enable_rule(Name="bedrock-spend-clock")
    boto3.client("cloudwatch").enable_alarm_actions(AlarmNames=[HEARTBEAT])
    boto3.client("cloudtrail").start_logging(Name="all")
    account.run("watch", event("scheduled.json"))
    assert account.mails()[1:] == ["Bedrock spend: no longer a fault in the guardrail itself"]
    assert cloudwatch_backends[ACCOUNT]["us-east-1"].alarms[HEARTBEAT].actions_enabled


def test_an_edit_by_somebody_else_is_mailed(account: Account):
    account.run("watch", event("lambda_update_code.json"))
    account.run("watch", event("lambda_by_cloudformation.json"))
    assert account.mails() == ["Bedrock spend: somebody changed the guardrail itself"]


def test_when_people_cannot_be_told_the_function_fails_so_that_it_is_tried_again(account: Account):
    account.answers["sns:Publish"] = refuse("InternalError")
    with pytest.raises(UnfinishedError):
        account.run("watch", event("lambda_update_code.json"))


def custom_resource(request: str) -> dict[str, Any]:
    return {
        "RequestType": request,
        "ResponseURL": "https://cloudformation.example/answer",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Reserved",
        "ResourceProperties": {},
    }


def test_a_deployment_reserves_and_never_fails_for_it(account: Account):
    deployed(account)
    assert account.run("watch", custom_resource("Create"))["Data"] == {"Words": "reserved"}
    functions = boto3.client("lambda")
    assert functions.get_function_concurrency(FunctionName="bedrock-spend-kill")["ReservedConcurrentExecutions"] == 2
    account.answers["lambda:GetAccountSettings"] = lambda _: {
        "AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    }
    functions.delete_function_concurrency(FunctionName="bedrock-spend-kill")
    answer = account.run("watch", custom_resource("Update"))
    assert (answer["Status"], answer["Data"]["Words"][:45]) == (
        "SUCCESS",
        "this account's Lambda limit of 10 leaves no r",
    )
    boto3.client("dynamodb").delete_table(TableName="ledger")
    assert account.run("watch", custom_resource("Update"))["Status"] == "SUCCESS"


def test_when_the_stack_goes_nothing_is_done(account: Account):
    account.calls.clear()
    assert account.run("watch", custom_resource("Delete"))["Status"] == "SUCCESS"
    assert account.calls["watch"] == set()


def test_a_budget_is_compared_with_what_the_stack_made_of_it(account: Account):
    deployed(account)
    account.answers["budgets:ViewBudget"] = lambda _: {
        "Budget": budget("10") | {"BudgetLimit": {"Amount": "9", "Unit": "USD"}}
    }
    found = account.run("watch", event("scheduled.json"))["findings"]
    assert [each.partition(":")[0] for each in found] == [
        f"budget {BUDGET} has $9, deployed was $500",
        f"budget {BUDGET} is not heard",
    ]
