"""What AWS counted of the guardrail's own use: metrics, alarms and dashboards."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.own_cost import FREE_DASHBOARDS, HOURS_A_MONTH, LARGEST_GB, month_share
from lambdas.core.permissions import On, needs
from lambdas.core.windows import Window

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

_HOUR, _DAY = 3600, 86400
_QUERIES_A_CALL = 500


class Asked:
    """Counts what CloudWatch charges a reader for: each metric asked for, and each page of a listing."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._count = 0
        self._counting = Lock()

    def of(self, client: "CloudWatchClient") -> "CloudWatchClient":
        """Count what a client asks from now on, and return it."""
        client.meta.events.register("provide-client-params.cloudwatch.GetMetricData", self._metrics)
        client.meta.events.register("provide-client-params.cloudwatch.ListMetrics", self._page)
        return client

    def _metrics(self, params: Mapping[str, Any], **_: object) -> None:
        self.add(len(params["MetricDataQueries"]))

    def _page(self, **_: object) -> None:
        self.add(1)

    def add(self, number: int) -> None:
        """Count so many more; as many less where it is negative, for they are kept elsewhere."""
        with self._counting:
            self._count += number

    @property
    def count(self) -> int:
        """How many were asked for and are not kept yet."""
        return self._count


class _Counter(NamedTuple):
    """A metric of AWS's that counts what we pay for, in a period of seconds."""

    what: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str
    per: Decimal
    """How many of what is paid for one of them is."""
    period: int = _DAY


class OwnUsage:
    """Everything of ours is named by the prefix."""

    def __init__(self, client_in: "Callable[[str], CloudWatchClient]", *, home: str, prefix: str, table: str) -> None:
        """Take how to get a client for a region, the home region, the prefix and the ledger's table."""
        self._client_in = client_in
        self._home = home
        self._prefix = f"{prefix}-"
        self._table = table

    @needs("cloudwatch:ListMetrics", "cloudwatch:GetMetricData", on=On.EVERYTHING)
    def counted(self, now: datetime) -> Mapping[str, Decimal]:
        """Return what was used since the start of the month, by what is paid for. Raises AwsCallError."""
        client = self._client_in(self._home)
        counters = [*self._of_functions(client), *self._of_the_ledger(), *self._of_metrics(client)]
        found: dict[str, Decimal] = {}
        for first in range(0, len(counters), _QUERIES_A_CALL):
            chunk = counters[first : first + _QUERIES_A_CALL]
            for each, values in _read(client, chunk, now):
                # Of a metric that we publish it counts in which hours, not what.
                amount = Decimal(len(values)) if each.statistic == "SampleCount" else Decimal(str(sum(values)))
                found[each.what] = found.get(each.what, Decimal(0)) + amount * each.per
        return found

    @needs("cloudwatch:DescribeAlarms", on=On.ALARMS)
    def alarms(self, regions: Iterable[str], now: datetime) -> tuple[Decimal, Sequence[str]]:
        """Return the month's share of all alarms, by the metrics each reads, and in words where they are not known."""
        metrics, gaps = 0, []
        for region in regions:
            try:
                with calls.named("cloudwatch:DescribeAlarms"):
                    pages = self._client_in(region).get_paginator("describe_alarms")
                    for page in pages.paginate(AlarmNamePrefix=self._prefix, AlarmTypes=["MetricAlarm"]):
                        metrics += sum(_metrics_of(each) for each in page["MetricAlarms"])
            except AwsCallError as error:
                gaps.append(f"alarms of {region} ({error.code})")
        return metrics * month_share(now), gaps

    @needs("cloudwatch:ListDashboards", on=On.EVERYTHING)
    def dashboards(self, now: datetime) -> Decimal:
        """Return the month's share of our dashboard; nothing where it is one of the free ones. Raises AwsCallError."""
        with calls.named("cloudwatch:ListDashboards"):
            pages = self._client_in(self._home).get_paginator("list_dashboards").paginate()
            names = [each["DashboardName"] for page in pages for each in page.get("DashboardEntries", ())]
        is_paid = self._prefix.removesuffix("-") in names and len(names) > FREE_DASHBOARDS
        return month_share(now) if is_paid else Decimal(0)

    def _of_functions(self, client: "CloudWatchClient") -> Iterator[_Counter]:
        for (dimension,) in self._named(client, "AWS/Lambda", "Invocations", "FunctionName"):
            yield _Counter("lambda:request", "AWS/Lambda", "Invocations", (dimension,), "Sum", Decimal(1))
            gb_seconds = LARGEST_GB / 1000  # for it counts milliseconds
            yield _Counter("lambda:GB-second (arm64)", "AWS/Lambda", "Duration", (dimension,), "Sum", gb_seconds)
        for (dimension,) in self._named(client, "AWS/Logs", "IncomingBytes", "LogGroupName"):
            yield _Counter("logs:GB", "AWS/Logs", "IncomingBytes", (dimension,), "Sum", 1 / Decimal(10) ** 9)

    def _of_the_ledger(self) -> Iterator[_Counter]:
        table = (("TableName", self._table),)
        for what, metric in (("read", "ConsumedReadCapacityUnits"), ("write", "ConsumedWriteCapacityUnits")):
            yield _Counter(f"dynamodb:{what}", "AWS/DynamoDB", metric, table, "Sum", Decimal(1))

    def _of_metrics(self, client: "CloudWatchClient") -> Iterator[_Counter]:
        with calls.named("cloudwatch:ListMetrics"):
            pages = list(client.get_paginator("list_metrics").paginate(Namespace="BedrockSpendGuardrail"))
        for each in (metric for page in pages for metric in page["Metrics"]):
            dimensions = tuple((one["Name"], one["Value"]) for one in each.get("Dimensions", ()))
            hours = 1 / Decimal(HOURS_A_MONTH)
            yield _Counter(
                "custom metric", each["Namespace"], each["MetricName"], dimensions, "SampleCount", hours, _HOUR
            )

    def _named(
        self, client: "CloudWatchClient", namespace: str, metric: str, dimension: str
    ) -> list[tuple[tuple[str, str]]]:
        """Return our values of a dimension, of the metrics that have no other."""
        with calls.named("cloudwatch:ListMetrics"):
            pages = list(
                client.get_paginator("list_metrics").paginate(
                    Namespace=namespace, MetricName=metric, Dimensions=[{"Name": dimension}]
                )
            )
        values = (
            each["Dimensions"][0]["Value"]
            for page in pages
            for each in page["Metrics"]
            if [one["Name"] for one in each["Dimensions"]] == [dimension]
        )
        # A log group may stand under the name of its function.
        ours = {each for each in values if each.removeprefix("/aws/lambda/").startswith(self._prefix)}
        return [((dimension, each),) for each in sorted(ours)]


def _read(
    client: "CloudWatchClient", chunk: Sequence[_Counter], now: datetime
) -> Iterator[tuple[_Counter, list[float]]]:
    """Yield each counter with its values; a page that is not complete raises AwsCallError."""
    with calls.named("cloudwatch:GetMetricData"):
        pages = list(
            client.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[_query(index, each) for index, each in enumerate(chunk)],
                StartTime=Window.MONTH.start(now),
                EndTime=now,
            )
        )
    statuses: dict[int, str] = {}
    for result in (result for page in pages for result in page["MetricDataResults"]):
        index = int(result["Id"].removeprefix("m"))
        statuses[index] = result.get("StatusCode", "Complete")
        yield chunk[index], list(result.get("Values", ()))
    if any(statuses.get(index) != "Complete" for index in range(len(chunk))):
        operation = "cloudwatch:GetMetricData"
        raise AwsCallError(operation, "PartialData", "some metrics came incomplete")


def _query(index: int, counter: _Counter) -> "MetricDataQueryTypeDef":
    return {
        "Id": f"m{index}",
        "MetricStat": {
            "Metric": {
                "Namespace": counter.namespace,
                "MetricName": counter.metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in counter.dimensions],
            },
            "Period": counter.period,
            "Stat": counter.statistic,
        },
    }


def _metrics_of(alarm: Mapping[str, Any]) -> int:
    """Return how many metrics an alarm reads; a query that finds them by itself counts as one, which is the least."""
    queries = alarm.get("Metrics", ())
    return sum("MetricStat" in each for each in queries) or 1
