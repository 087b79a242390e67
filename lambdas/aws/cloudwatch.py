"""CloudWatch: token counts of both inference planes, in every configured region."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, needs
from lambdas.core.usage import Kind, Reading, Sample, Series, clean_count
from lambdas.core.windows import Window

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef, MetricOutputTypeDef

MINUTE, HOUR = 60, 3600
TRAILING = timedelta(minutes=15)
"""How far back minutes are read at least: CloudWatch fills them in late."""

_QUERIES_A_CALL = 500


@dataclass(frozen=True, slots=True)
class Plane:
    """One of Bedrock's two inference planes, at the one dimension set that counts each token once."""

    namespace: str
    dimensions: frozenset[str]
    model_dimension: str
    kinds: Mapping[str, Kind]


PLANES = (
    Plane(
        "AWS/Bedrock",
        frozenset({"ModelId"}),
        "ModelId",
        {
            "InputTokenCount": Kind.INPUT,
            "OutputTokenCount": Kind.OUTPUT,
            "CacheReadInputTokenCount": Kind.CACHE_READ,
            "CacheReadInputTokens": Kind.CACHE_READ,
            "CacheWriteInputTokenCount": Kind.CACHE_WRITE,
            "CacheWriteInputTokens": Kind.CACHE_WRITE,
            "OutputImageCount": Kind.IMAGE,
        },
    ),
    Plane(
        "AWS/BedrockMantle",
        frozenset({"Project", "Model"}),
        "Model",
        {"InputTokens": Kind.MIXED_INPUT, "OutputTokens": Kind.OUTPUT},
    ),
)


class TokenMetrics:
    """The usage Bedrock itself publishes; it needs no invocation logging."""

    def __init__(self, client_in: "Callable[[str], CloudWatchClient]", regions: Iterable[str]) -> None:
        """Take how to get a client for a region, and the regions."""
        self._client_in = client_in
        self._regions = tuple(regions)

    @needs("cloudwatch:ListMetrics", on=On.EVERYTHING)
    def series(self) -> tuple[Sequence[Series], tuple[str, ...]]:
        """Return the series CloudWatch lists now, and in words what could not be listed."""
        found: list[Series] = []
        gaps: list[str] = []
        for region in self._regions:
            for plane in PLANES:
                try:
                    found += self._listed(region, plane)
                except AwsCallError as error:
                    gaps.append(f"{region}: {plane.namespace} cannot be listed ({error})")
        return found, tuple(gaps)

    def _listed(self, region: str, plane: Plane) -> list[Series]:
        with calls.named("cloudwatch:ListMetrics"):
            pages = list(self._client_in(region).get_paginator("list_metrics").paginate(Namespace=plane.namespace))
        return [series for page in pages for metric in page["Metrics"] if (series := _series(region, plane, metric))]

    @needs("cloudwatch:GetMetricData", on=On.EVERYTHING)
    def read(self, series: Iterable[Series], now: datetime) -> Reading:
        """Return the month by the hour, and at least the open hour and the last 15 minutes by the minute."""
        by_region: defaultdict[str, list[Series]] = defaultdict(list)
        for each in series:
            by_region[each.region].append(each)
        spans = (
            (HOUR, Window.MONTH.start(now)),
            (MINUTE, min(Window.HOUR.start(now), Window.MINUTE.start(now - TRAILING))),
        )
        samples: list[Sample] = []
        gaps: list[str] = []
        for region, wanted in by_region.items():
            for period, since in spans:
                for first in range(0, len(wanted), _QUERIES_A_CALL):
                    chunk = wanted[first : first + _QUERIES_A_CALL]
                    try:
                        self._read_chunk(region, chunk, period, since, now, samples, gaps)
                    except AwsCallError as error:
                        gaps.append(f"{region}: usage since {since:%Y-%m-%d %H:%M} cannot be read ({error})")
        return Reading(now, samples, tuple(gaps))

    def _read_chunk(
        self,
        region: str,
        chunk: Sequence[Series],
        period: int,
        since: datetime,
        now: datetime,
        samples: list[Sample],
        gaps: list[str],
    ) -> None:
        statuses: dict[str, str] = {}
        with calls.named("cloudwatch:GetMetricData"):
            pages = (
                self._client_in(region)
                .get_paginator("get_metric_data")
                .paginate(
                    MetricDataQueries=[_query(index, each, period) for index, each in enumerate(chunk)],
                    StartTime=since,
                    EndTime=Window.MINUTE.end(now),
                )
            )
            results = [result for page in pages for result in page["MetricDataResults"]]
        for result in results:
            # The status of the last page is the one that holds: earlier ones say PartialData while there is more.
            statuses[result["Id"]] = result.get("StatusCode", "Complete")
            series = chunk[int(result["Id"].removeprefix("m"))]
            for start, value in zip(result.get("Timestamps", ()), result.get("Values", ()), strict=True):
                count = clean_count(value)
                if count is None:
                    gaps.append(f"{region}: {series.metric} of {series.model} gave {value!r}, which is no count")
                else:
                    samples.append(Sample(series, start.astimezone(UTC), period, count))
        for index, each in enumerate(chunk):
            status = statuses.get(f"m{index}", "no answer")
            if status != "Complete":
                gaps.append(f"{region}: {each.metric} of {each.model} came incomplete ({status})")


def _series(region: str, plane: Plane, metric: "MetricOutputTypeDef") -> Series | None:
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions", ())}
    kind = plane.kinds.get(metric["MetricName"])
    if kind is None or dimensions.keys() != plane.dimensions:
        return None
    return Series(
        region=region,
        namespace=plane.namespace,
        metric=metric["MetricName"],
        dimensions=tuple(sorted(dimensions.items())),
        model=dimensions[plane.model_dimension],
        kind=kind,
    )


def _query(index: int, series: Series, period: int) -> "MetricDataQueryTypeDef":
    return {
        "Id": f"m{index}",
        "MetricStat": {
            "Metric": {
                "Namespace": series.namespace,
                "MetricName": series.metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in series.dimensions],
            },
            # No unit: documents disagree on it, and a wrong one would silently return nothing.
            "Period": period,
            "Stat": "Sum",
        },
        "ReturnData": True,
    }
