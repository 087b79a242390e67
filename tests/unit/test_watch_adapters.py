"""What the self-watch reads of AWS, as AWS answers it."""

from decimal import Decimal
from typing import Any

import boto3
import pytest

from lambdas.aws.alarms import Alarms
from lambdas.aws.budget_watch import BudgetWatch
from lambdas.aws.deployed import Deployed
from lambdas.aws.own_functions import OwnFunctions
from lambdas.aws.queues import Queues
from lambdas.aws.quotas import Quotas
from lambdas.aws.rules import Rules
from lambdas.aws.subscriptions import Subscriptions
from lambdas.aws.trails import TrailId, Trails
from lambdas.core.concurrency import Room
from lambdas.core.errors import AwsCallError
from lambdas.core.health import Alarm, AutoManagement, FoundBudget, Rule, Rung, Subscription, Trail
from tests.answering import answering, refusal

REGION = "us-east-1"


def raising(error: Exception) -> Any:
    def respond(_operation: str, _params: Any) -> Any:
        raise error

    return respond


# --- CloudFormation ---


def test_the_parts_of_a_stack_come_by_type_and_page_without_those_that_are_gone():
    def part(kind: str, name: str, status: str = "CREATE_COMPLETE") -> dict[str, Any]:
        return {
            "LogicalResourceId": name,
            "PhysicalResourceId": f"{name}-1",
            "ResourceType": kind,
            "LastUpdatedTimestamp": 0,
            "ResourceStatus": status,
        }

    pages = {
        None: {"StackResourceSummaries": [part("AWS::Events::Rule", "a")], "NextToken": "more"},
        "more": {
            "StackResourceSummaries": [
                part("AWS::Events::Rule", "b"),
                part("AWS::Events::Rule", "old", "DELETE_COMPLETE"),
                {key: value for key, value in part("AWS::SQS::Queue", "x").items() if key != "PhysicalResourceId"},
                part("AWS::CloudWatch::Alarm", "c", "UPDATE_COMPLETE"),
            ]
        },
    }

    def respond(operation: str, params: Any) -> Any:
        assert (operation, params["StackName"]) == ("ListStackResources", "guardrail")
        return pages[params.get("NextToken")]

    found = Deployed(lambda _region: answering("cloudformation", respond)).parts(REGION, "guardrail")
    assert found == {"AWS::Events::Rule": ["a-1", "b-1"], "AWS::CloudWatch::Alarm": ["c-1"]}


def test_a_stack_that_is_not_there_is_an_error_and_not_an_empty_one():
    client = answering("cloudformation", raising(refusal("ValidationError", "ListStackResources")))
    with pytest.raises(AwsCallError, match="cloudformation:ListStackResources: ValidationError"):
        Deployed(lambda _region: client).parts(REGION, "guardrail")


# --- EventBridge ---


def test_a_rule_is_found_with_its_state_and_targets(aws):
    events, rules = boto3.client("events"), Rules(lambda region: boto3.client("events", region_name=region))
    events.put_rule(Name="clock", ScheduleExpression="rate(1 hour)")
    arn = "arn:aws:lambda:us-east-1:123456789012:function:meter"
    events.put_targets(Rule="clock", Targets=[{"Id": "1", "Arn": arn}])
    assert rules.found(REGION, "clock") == Rule(enabled=True, targets=(arn,))
    events.disable_rule(Name="clock")
    events.remove_targets(Rule="clock", Ids=["1"])
    assert rules.found(REGION, "clock") == Rule(enabled=False, targets=())
    events.delete_rule(Name="clock")
    assert rules.found(REGION, "clock") is None


@pytest.mark.parametrize(
    ("state", "enabled"),
    [("ENABLED", True), ("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", True), ("DISABLED", False)],
)
def test_a_rule_may_be_enabled_in_two_ways(state, enabled):
    def respond(operation: str, _params: Any) -> Any:
        return {"State": state} if operation == "DescribeRule" else {"Targets": []}

    found = Rules(lambda _region: answering("events", respond)).found(REGION, "x")
    assert found == Rule(enabled=enabled, targets=())


def test_a_rule_that_cannot_be_read_is_not_gone():
    client = answering("events", raising(refusal("AccessDeniedException", "DescribeRule")))
    with pytest.raises(AwsCallError, match="events:DescribeRule"):
        Rules(lambda _region: client).found(REGION, "x")


# --- CloudWatch ---


def test_alarms_are_found_by_name_and_those_that_are_gone_are_said_to_be(aws):
    cloudwatch = boto3.client("cloudwatch")
    for name in ("a", "b"):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="x",
            MetricName="y",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
    cloudwatch.set_alarm_state(AlarmName="b", StateValue="ALARM", StateReason="test")
    found = Alarms(lambda region: boto3.client("cloudwatch", region_name=region)).found(REGION, ["a", "b", "gone"])
    assert found == {"a": Alarm("OK", actions_enabled=True), "b": Alarm("ALARM", actions_enabled=True), "gone": None}


def test_more_alarms_than_a_call_takes_are_asked_for_in_several():
    asked: list[int] = []

    def respond(_operation: str, params: Any) -> Any:
        asked.append(len(params["AlarmNames"]))
        return {
            "MetricAlarms": [
                {"AlarmName": each, "StateValue": "OK", "ActionsEnabled": False} for each in params["AlarmNames"]
            ]
        }

    names = [str(number) for number in range(201)]
    found = Alarms(lambda _region: answering("cloudwatch", respond)).found(REGION, names)
    assert asked == [100, 100, 1]
    assert set(found.values()) == {Alarm("OK", actions_enabled=False)}


# --- SQS ---


def test_a_queue_says_how_much_waits_and_none_when_it_is_gone(aws):
    sqs, queues = boto3.client("sqs"), Queues(lambda region: boto3.client("sqs", region_name=region))
    url = sqs.create_queue(QueueName="undelivered")["QueueUrl"]
    assert queues.waiting(REGION, url) == 0
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    assert queues.waiting(REGION, url) == 1
    sqs.delete_queue(QueueUrl=url)
    assert queues.waiting(REGION, url) is None


def test_a_queue_that_cannot_be_read_is_not_empty():
    client = answering("sqs", raising(refusal("AccessDenied", "GetQueueAttributes")))
    with pytest.raises(AwsCallError, match="sqs:GetQueueAttributes"):
        Queues(lambda _region: client).waiting(REGION, "https://sqs/1/x")


# --- SNS ---


def test_only_an_arn_is_a_confirmed_subscription():
    arns = {"a@x": "arn:aws:sns:us-east-1:1:t:1", "b@x": "PendingConfirmation", "c@x": "Deleted"}

    def respond(operation: str, params: Any) -> Any:
        assert (operation, params["TopicArn"]) == ("ListSubscriptionsByTopic", "arn:aws:sns:us-east-1:1:t")
        return {"Subscriptions": [{"Endpoint": who, "SubscriptionArn": arn} for who, arn in arns.items()]}

    found = Subscriptions(answering("sns", respond)).found("arn:aws:sns:us-east-1:1:t")
    assert found == [Subscription(who, confirmed=who == "a@x") for who in arns]


# --- CloudTrail ---

TRAIL = TrailId("all", "arn:aws:cloudtrail:eu-west-1:123456789012:trail/all", "eu-west-1")


def trail(selectors: Any, logging: bool = True, asked: list[Any] | None = None) -> Trails:
    def respond(operation: str, params: Any) -> Any:
        if asked is not None:
            asked.append((operation, params))
        return {"IsLogging": logging} if operation == "GetTrailStatus" else selectors

    return Trails(lambda _region: answering("cloudtrail", respond))


def test_trails_made_elsewhere_cover_a_region_too():
    def respond(operation: str, params: Any) -> Any:
        assert (operation, params) == ("DescribeTrails", {"includeShadowTrails": True})
        return {"trailList": [{"Name": TRAIL.name, "TrailARN": TRAIL.arn, "HomeRegion": TRAIL.home}]}

    assert Trails(lambda _region: answering("cloudtrail", respond)).covering(REGION) == [TRAIL]


def test_a_trail_is_asked_where_it_was_made_and_by_its_arn():
    regions: list[str] = []
    asked: list[Any] = []

    def client(region: str) -> Any:
        regions.append(region)
        return trail({"EventSelectors": []}, asked=asked)._cloudtrail_in(region)

    one = Trails(client)
    assert one.read(TRAIL) == Trail("all", logging=True, writes=False)
    assert regions == ["eu-west-1"]
    assert asked == [("GetTrailStatus", {"Name": TRAIL.arn}), ("GetEventSelectors", {"TrailName": TRAIL.arn})]


def field(name: str, **conditions: list[str]) -> dict[str, Any]:
    return {"Field": name, **conditions}


MANAGEMENT = field("eventCategory", Equals=["Management"])


@pytest.mark.parametrize(
    ("selectors", "writes"),
    [
        ({"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True}]}, True),
        ({"EventSelectors": [{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": True}]}, True),
        ({"EventSelectors": [{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": True}]}, False),
        ({"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": False}]}, False),
        ({"AdvancedEventSelectors": [{"FieldSelectors": [MANAGEMENT]}]}, True),
        ({"AdvancedEventSelectors": [{"FieldSelectors": [MANAGEMENT, field("readOnly", Equals=["false"])]}]}, True),
        ({"AdvancedEventSelectors": [{"FieldSelectors": [MANAGEMENT, field("readOnly", Equals=["true"])]}]}, False),
        (
            {
                "AdvancedEventSelectors": [
                    {"FieldSelectors": [MANAGEMENT, field("eventSource", NotEquals=["kms.amazonaws.com"])]}
                ]
            },
            True,
        ),
        (
            {
                "AdvancedEventSelectors": [
                    {"FieldSelectors": [MANAGEMENT, field("eventSource", NotEquals=["iam.amazonaws.com"])]}
                ]
            },
            False,
        ),
        (
            {
                "AdvancedEventSelectors": [
                    {"FieldSelectors": [MANAGEMENT, field("eventSource", Equals=["kms.amazonaws.com"])]}
                ]
            },
            False,
        ),
        ({"AdvancedEventSelectors": [{"FieldSelectors": [MANAGEMENT, field("eventName", Equals=["x"])]}]}, False),
        ({"AdvancedEventSelectors": [{"FieldSelectors": [field("eventCategory", Equals=["Data"])]}]}, False),
        (
            {
                "AdvancedEventSelectors": [
                    {"FieldSelectors": [field("eventCategory", Equals=["Data"])]},
                    {"FieldSelectors": [MANAGEMENT]},
                ]
            },
            True,
        ),
        ({}, False),
    ],
)
def test_a_trail_counts_only_when_it_records_all_that_writes(selectors, writes):
    assert trail(selectors).read(TRAIL).writes is writes


def test_a_trail_that_is_switched_off_says_so():
    assert not trail({}, logging=False).read(TRAIL).logging


# --- Service Quotas ---


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (refusal("NoSuchResourceException", "GetAutoManagementConfiguration"), None),
        ({"OptInStatus": "ENABLED", "OptInType": "NotifyOnly"}, AutoManagement(adjusts=False)),
        ({"OptInStatus": "DISABLED", "OptInType": "NotifyAndAdjust"}, AutoManagement(adjusts=False)),
        ({"OptInStatus": "ENABLED", "OptInType": "NotifyAndAdjust"}, AutoManagement(adjusts=True)),
        (
            {
                "OptInStatus": "ENABLED",
                "OptInType": "NotifyAndAdjust",
                "ExclusionList": {"bedrock": [], "ec2": [{"QuotaCode": "L-1"}]},
            },
            AutoManagement(adjusts=True, excluded=frozenset({"bedrock"})),
        ),
    ],
)
def test_quotas_rise_by_themselves_only_where_somebody_opted_in(answer, found):
    respond = raising(answer) if isinstance(answer, Exception) else lambda *_: answer
    assert Quotas(answering("service-quotas", respond)).auto_management() == found


def test_quotas_that_cannot_be_read_are_not_said_to_stay():
    client = answering("service-quotas", raising(refusal("AccessDeniedException", "GetAutoManagementConfiguration")))
    with pytest.raises(AwsCallError, match="servicequotas:GetAutoManagementConfiguration"):
        Quotas(client).auto_management()


# --- Budgets ---


def budget_watch(budget: Any, notifications: list[dict[str, Any]]) -> BudgetWatch:
    def respond(operation: str, params: Any) -> Any:
        assert (params["AccountId"], params["BudgetName"]) == ("123456789012", "monthly")
        match operation:
            case "DescribeBudget":
                return {"Budget": {"BudgetName": "monthly", "BudgetType": "COST", "TimeUnit": "MONTHLY"} | budget}
            case "DescribeNotificationsForBudget":
                return {"Notifications": notifications}
            case _:
                to = f"arn:topic-{params['Notification']['NotificationType']}"
                return {"Subscribers": [{"SubscriptionType": "SNS", "Address": to}]}

    return BudgetWatch(answering("budgets", respond), "123456789012")


def notification(kind: str, threshold: float, by: str = "PERCENTAGE") -> dict[str, Any]:
    return {
        "NotificationType": kind,
        "ComparisonOperator": "GREATER_THAN",
        "Threshold": threshold,
        "ThresholdType": by,
    }


def test_a_budget_comes_with_its_notifications_and_whom_they_go_to():
    limit = {"BudgetLimit": {"Amount": "500.0", "Unit": "USD"}}
    found = budget_watch(
        limit,
        [notification("ACTUAL", 80.0), notification("FORECASTED", 100), notification("ACTUAL", 9, "ABSOLUTE_VALUE")],
    ).found("monthly")
    assert found == FoundBudget(
        Decimal(500),
        "",
        {
            Rung("ACTUAL", Decimal(80)): frozenset({"arn:topic-ACTUAL"}),
            Rung("FORECASTED", Decimal(100)): frozenset({"arn:topic-FORECASTED"}),
        },
    )


@pytest.mark.parametrize(
    ("budget", "usd", "unhealthy"),
    [
        ({"BudgetLimit": {"Amount": "1", "Unit": "EUR"}}, None, ""),
        ({}, None, ""),
        (
            {
                "BudgetLimit": {"Amount": "1", "Unit": "USD"},
                "HealthStatus": {"Status": "UNHEALTHY", "StatusReason": "FILTER_INVALID"},
            },
            Decimal(1),
            "UNHEALTHY: FILTER_INVALID",
        ),
        ({"BudgetLimit": {"Amount": "1", "Unit": "USD"}, "HealthStatus": {"Status": "HEALTHY"}}, Decimal(1), ""),
    ],
)
def test_a_budget_says_what_is_wrong_with_it(budget, usd, unhealthy):
    found = budget_watch(budget, []).found("monthly")
    assert found == FoundBudget(usd, unhealthy, {})


def test_a_budget_that_is_gone_is_none_and_one_that_cannot_be_read_an_error():
    gone = answering("budgets", raising(refusal("NotFoundException", "DescribeBudget")))
    assert BudgetWatch(gone, "123456789012").found("monthly") is None
    denied = answering("budgets", raising(refusal("AccessDeniedException", "DescribeBudget")))
    with pytest.raises(AwsCallError, match="budgets:DescribeBudget"):
        BudgetWatch(denied, "123456789012").found("monthly")


# --- Lambda ---


def functions(answers: dict[str, Any]) -> OwnFunctions:
    def respond(operation: str, _params: Any) -> Any:
        answer = answers[operation]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return OwnFunctions(answering("lambda", respond))


def test_the_room_is_that_of_the_account():
    limit = {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900}}
    assert functions({"GetAccountSettings": limit}).room() == Room(1000, 900)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"ReservedConcurrentExecutions": 0}, {"kill": 0}),
        ({}, {"kill": None}),
        (refusal("ResourceNotFoundException", "GetFunctionConcurrency"), {}),
    ],
)
def test_nothing_reserved_none_allowed_and_no_function_are_told_apart(answer, found):
    assert functions({"GetFunctionConcurrency": answer}).reserved("kill") == found


def test_a_reservation_that_is_refused_says_why():
    refused = refusal("InvalidParameterValueException", "PutFunctionConcurrency")
    with pytest.raises(AwsCallError, match="lambda:PutFunctionConcurrency: InvalidParameterValue"):
        functions({"PutFunctionConcurrency": refused}).reserve("kill", 2)


def test_an_sdk_that_is_older_than_a_call_is_a_read_that_failed_and_ends_nothing():
    with pytest.raises(AwsCallError, match="older than the call"):
        Quotas(object()).auto_management()  # type: ignore[arg-type]
