"""What the guardrail says it costs itself: counted, priced, kept; and never less than it is without a word."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.accounting import ASKED, AccountingTools, keep_count, keep_own_cost
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.own_usage import Asked, OwnUsage
from lambdas.core.errors import AwsCallError
from lambdas.core.own_cost import KEPT, LARGEST_GB, bill, estimate, month_share
from tests.fakes import refused

NOW = datetime(2026, 11, 11, tzinfo=UTC)
"""Ten days, or 240 of 730 hours, into the month."""


class FakeUsage:
    """What AWS counted."""

    def __init__(self, **amounts: str) -> None:
        self.amounts = {what.replace("__", ":"): Decimal(amount) for what, amount in amounts.items()}
        self.refuses: set[str] = set()
        self.looks = 0

    def counted(self, now: datetime) -> Mapping[str, Decimal]:
        del now
        self.looks += 1
        if "counted" in self.refuses:
            raise refused("cloudwatch:GetMetricData")
        return self.amounts

    def alarms(self, regions: Iterable[str], now: datetime) -> tuple[Decimal, Sequence[str]]:
        del regions
        return Decimal(30) * month_share(now), ["alarms of eu-west-1 (Throttling)"] if "alarms" in self.refuses else []

    def dashboards(self, now: datetime) -> Decimal:
        del now
        if "dashboards" in self.refuses:
            raise refused("cloudwatch:ListDashboards")
        return Decimal(0)


class Documents:
    """The part of the ledger that matters here."""

    def __init__(self) -> None:
        self.kept_documents: dict[str, Mapping[str, Any]] = {}
        self.numbers: dict[str, int] = {}
        self.down = False

    def kept(self, name: str) -> Mapping[str, Any] | None:
        return self.kept_documents.get(name)

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        self.kept_documents[name] = body

    def counted(self, what: str, month: datetime) -> int:
        return self.numbers.get(f"{what} {month:%Y-%m}", 0)

    def count(self, what: str, number: int, month: datetime) -> None:
        if self.down:
            raise refused("dynamodb:UpdateItem")
        key = f"{what} {month:%Y-%m}"
        self.numbers[key] = self.numbers.get(key, 0) + number


@pytest.fixture
def ledger():
    return Documents()


def tools(usage: FakeUsage, ledger: Documents, *, encrypted: bool = False) -> AccountingTools:
    return AccountingTools(usage, ledger, ("us-east-1",), encrypted)


# --- prices ------------------------------------------------------------------------------------------------------


def test_a_bill_is_amounts_times_prices():
    amounts = {"lambda:request": Decimal(43_800), "lambda:GB-second (arm64)": Decimal(13_140), "alarm": Decimal(2)}
    assert {what: f"{usd:.5f}" for what, usd in bill(amounts).items()} == {
        "lambda:request": "0.00876",
        "lambda:GB-second (arm64)": "0.17520",
        "alarm": "0.20000",
    }
    with pytest.raises(KeyError):
        bill({"carrier pigeons": Decimal(1)})


def test_what_is_paid_by_the_month_counts_by_the_hours_gone():
    assert month_share(NOW) == Decimal(240) / 730
    assert month_share(datetime(2026, 11, 1, tzinfo=UTC)) == 0


def test_an_estimate_says_how_it_was_made_and_what_it_lacks():
    whole = estimate({"alarm": Decimal(20), "ce:request": Decimal(10), "key": Decimal(0)}, [], NOW)
    assert whole["this_month_usd"] == "2.10"
    assert whole["by"] == {"alarm": "2.00", "ce:request": "0.10"}
    assert whole["how"].startswith("estimated 2026-11-11 00:00 UTC from what AWS counted since the 1st")
    part = estimate({"alarm": Decimal(20)}, ["dashboards (Throttling)"], NOW)
    assert part["how"].startswith("AT LEAST, for not all could be read (dashboards (Throttling)); estimated 2026")


# --- the shell ---------------------------------------------------------------------------------------------------


def test_the_own_cost_is_counted_priced_and_kept(ledger):
    ledger.count(ASKED, 100_000, NOW)
    usage = FakeUsage(lambda__request="14400", dynamodb__write="20000")
    found = keep_own_cost(NOW, tools(usage, ledger, encrypted=True))
    # 100,000 metrics $1, 30 alarms for a third of the month $0.99, the key $0.33, eleven requests $0.11, some cents.
    assert found["this_month_usd"] == "2.44"
    assert found["by"] == {
        "cloudwatch:GetMetricData metric": "1.00",
        "alarm": "0.99",
        "key": "0.33",
        "ce:request": "0.11",
        "dynamodb:write": "0.01",
        "lambda:request": "0.00",
    }
    assert "AT LEAST" not in found["how"]
    assert ledger.kept(KEPT) == found


def test_it_is_counted_anew_twice_a_day_and_in_a_new_month(ledger):
    usage = FakeUsage()
    for hours, looks in ((0, 1), (11, 1), (12, 2), (23, 2), (25, 3)):
        keep_own_cost(NOW + timedelta(hours=hours), tools(usage, ledger))
        assert usage.looks == looks, hours
    ledger.keep(KEPT, {"at": "2026-11-30T23:59:00+00:00"})
    keep_own_cost(datetime(2026, 12, 1, tzinfo=UTC), tools(usage, ledger))
    assert usage.looks == 4


@pytest.mark.parametrize("broken", [{}, {"at": None}, {"at": "yesterday"}])
def test_an_estimate_that_cannot_be_read_is_made_again(ledger, broken):
    ledger.keep(KEPT, broken)
    assert keep_own_cost(NOW, tools(FakeUsage(), ledger))["at"] == NOW.isoformat()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("counted", "metrics of our own functions, logs and ledger (Throttling)"),
        ("alarms", "alarms of eu-west-1 (Throttling)"),
        ("dashboards", "dashboards (Throttling)"),
    ],
)
def test_what_cannot_be_counted_is_named_and_the_rest_counts(ledger, what, words):
    usage = FakeUsage(dynamodb__write="1000000")
    usage.refuses = {what}
    found = keep_own_cost(NOW, tools(usage, ledger))
    assert found["how"].startswith(f"AT LEAST, for not all could be read ({words});")
    assert found["this_month_usd"] == ("1.10" if what == "counted" else "1.72")


def test_a_count_that_could_not_be_kept_is_kept_the_next_time(ledger):
    asked = Asked()
    asked.add(7)
    ledger.down = True
    asked.add(-keep_count(asked.count, ledger.count, NOW))
    assert asked.count == 7
    ledger.down = False
    asked.add(-keep_count(asked.count, ledger.count, NOW))
    assert (asked.count, ledger.counted(ASKED, NOW)) == (0, 7)
    ledger.down = True
    assert keep_count(0, ledger.count, NOW) == 0


def test_the_ledger_counts_by_the_month(aws):
    client = boto3.client("dynamodb", region_name="us-east-1")
    client.create_table(
        TableName="ledger",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("pk", "sk")],
    )
    ledger = LedgerTable(client, "ledger")
    assert ledger.counted(ASKED, NOW) == 0
    for moment in (NOW, NOW + timedelta(days=10), NOW + timedelta(days=30)):
        ledger.count(ASKED, 21, moment)
    assert ledger.counted(ASKED, NOW) == 42
    assert ledger.counted(ASKED, NOW + timedelta(days=30)) == 21
    assert ledger.counted("other", NOW) == 0


# --- what AWS counted --------------------------------------------------------------------------------------------


def published(client: Any, namespace: str, metric: str, dimensions: dict[str, str], value: float, at: datetime) -> None:
    client.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": each} for name, each in dimensions.items()],
                "Value": value,
                "Timestamp": at,
            }
        ],
    )


@pytest.fixture
def month() -> datetime:
    """A moment of this month, for moto forgets what is old."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def usage(aws) -> OwnUsage:
    return OwnUsage(
        lambda region: boto3.client("cloudwatch", region_name=region), home="us-east-1", prefix="spend", table="ledger"
    )


def test_only_what_is_ours_is_counted(usage, month):
    client = boto3.client("cloudwatch", region_name="us-east-1")
    for name in ("spend-guardrail-MeterFunction1", "spend-kill", "spending-app", "other"):
        published(client, "AWS/Lambda", "Invocations", {"FunctionName": name}, 10, month)
        published(client, "AWS/Lambda", "Duration", {"FunctionName": name}, 4000, month)
    published(client, "AWS/Lambda", "Invocations", {"FunctionName": "spend-kill", "Resource": "spend-kill"}, 10, month)
    for name in ("spend-guardrail-MeterLogs1", "/aws/lambda/spend-kill", "/aws/lambda/other"):
        published(client, "AWS/Logs", "IncomingBytes", {"LogGroupName": name}, 5_000_000, month)
    for name in ("ledger", "customers"):
        published(client, "AWS/DynamoDB", "ConsumedReadCapacityUnits", {"TableName": name}, 40, month)
        published(client, "AWS/DynamoDB", "ConsumedWriteCapacityUnits", {"TableName": name}, 30, month)
    found = usage.counted(month + timedelta(minutes=1))
    assert {what: float(amount) for what, amount in found.items()} == {
        "lambda:request": 20,
        "lambda:GB-second (arm64)": 8 * float(LARGEST_GB),
        "logs:GB": 0.01,
        "dynamodb:read": 40,
        "dynamodb:write": 30,
    }


def test_a_custom_metric_costs_by_the_hours_in_which_it_was_published():
    """Values of a metric are no amounts: 1,000 USD of spend is one hour of one metric."""
    client = boto3.client("cloudwatch", region_name="us-east-1")
    usage = OwnUsage(lambda _: client, home="us-east-1", prefix="spend", table="ledger")
    metric = {
        "Namespace": "BedrockSpendGuardrail",
        "MetricName": "SpendDayUsd",
        "Dimensions": [{"Name": "service", "Value": "meter"}],
    }
    values = {"m0": [], "m1": [], "m2": [60.0, 60.0, 12.0]}
    results = [{"Id": name, "StatusCode": "Complete", "Values": each} for name, each in values.items()]
    with Stubber(client) as answers:
        answers.add_response("list_metrics", {"Metrics": []})
        answers.add_response("list_metrics", {"Metrics": []})
        answers.add_response("list_metrics", {"Metrics": [metric]})
        answers.add_response("get_metric_data", {"MetricDataResults": results})
        assert usage.counted(NOW)["custom metric"] == Decimal(3) * (1 / Decimal(730))


@pytest.mark.parametrize("status", ["PartialData", "Forbidden", None])
def test_figures_that_came_incomplete_are_an_error(status):
    client = boto3.client("cloudwatch", region_name="us-east-1")
    usage = OwnUsage(lambda _: client, home="us-east-1", prefix="spend", table="ledger")
    results = [{"Id": "m0", "StatusCode": "Complete", "Values": [1.0]}]
    results += [{"Id": "m1", "StatusCode": status, "Values": [1.0]}] if status else []
    with Stubber(client) as answers:
        for _ in range(3):
            answers.add_response("list_metrics", {"Metrics": []})
        answers.add_response("get_metric_data", {"MetricDataResults": results})
        with pytest.raises(AwsCallError, match="cloudwatch:GetMetricData: PartialData"):
            usage.counted(NOW)


def test_alarms_cost_by_the_metrics_they_read_in_every_region(usage):
    for region in ("us-east-1", "eu-west-1"):
        client = boto3.client("cloudwatch", region_name=region)
        simple: Any = {
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 1,
            "Period": 60,
            "Statistic": "Sum",
            "Namespace": "N",
            "MetricName": "M",
        }
        client.put_metric_alarm(AlarmName="spend-kill-errors", **simple)
        client.put_metric_alarm(AlarmName="other", **simple)
    client = boto3.client("cloudwatch", region_name="us-east-1")
    stat: Any = {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"}
    client.put_metric_alarm(
        AlarmName="spend-log-delivery",
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=0,
        Metrics=[
            {"Id": "a", "MetricStat": stat, "ReturnData": False},
            {"Id": "b", "MetricStat": stat, "ReturnData": False},
            {"Id": "sum", "Expression": "a+b", "ReturnData": True},
        ],
    )
    amount, gaps = usage.alarms(["us-east-1", "eu-west-1"], NOW)
    assert (amount, gaps) == (4 * month_share(NOW), [])


def test_a_region_that_does_not_tell_its_alarms_is_named_and_the_others_count():
    clients = {each: boto3.client("cloudwatch", region_name=each) for each in ("us-east-1", "eu-west-1")}
    usage = OwnUsage(clients.__getitem__, home="us-east-1", prefix="spend", table="ledger")
    with Stubber(clients["us-east-1"]) as home, Stubber(clients["eu-west-1"]) as other:
        home.add_client_error("describe_alarms", "Throttling")
        other.add_response("describe_alarms", {"MetricAlarms": [{"AlarmName": "spend-a", "MetricName": "M"}]})
        amount, gaps = usage.alarms(["us-east-1", "eu-west-1"], NOW)
    assert (amount, gaps) == (month_share(NOW), ["alarms of us-east-1 (Throttling)"])


@pytest.mark.parametrize(
    ("names", "paid"),
    [(["spend"], False), (["spend", "a", "b"], False), (["spend", "a", "b", "c"], True), (["a", "b", "c", "d"], False)],
)
def test_a_dashboard_is_paid_from_the_fourth_on(usage, names, paid):
    client = boto3.client("cloudwatch", region_name="us-east-1")
    for name in names:
        client.put_dashboard(DashboardName=name, DashboardBody="{}")
    assert usage.dashboards(NOW) == (month_share(NOW) if paid else 0)


def test_what_cloudwatch_is_asked_for_is_counted_metric_by_metric(aws, month):
    asked = Asked()
    client = asked.of(boto3.client("cloudwatch", region_name="us-east-1"))
    client.list_metrics(Namespace="AWS/Bedrock")
    query: Any = {"MetricStat": {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"}}
    queries: Any = [{"Id": f"m{each}", **query} for each in range(5)]
    client.get_metric_data(
        MetricDataQueries=queries,
        StartTime=month - timedelta(hours=1),
        EndTime=month,
    )
    client.describe_alarms()
    assert asked.count == 6
