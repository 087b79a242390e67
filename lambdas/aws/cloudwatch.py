"""CloudWatch: token counts of both inference planes, in every configured region."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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

MINUTE, HOUR, DAY = 60, 3600, 86400
TRAILING = timedelta(minutes=15)
"""How far back minutes are read at least: CloudWatch fills them in late."""
CLOSED_AGAIN = timedelta(hours=1)
"""Closed days hardly change: they are read again after so long, or when a series is new."""

_QUERIES_A_CALL = 500
_REGIONS_AT_ONCE = 10


@dataclass(slots=True)
class _Found:
    """What reading one region brought."""

    samples: list[Sample] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Closed:
    """The closed days of the month, as they were read at a moment."""

    day: datetime
    read_at: datetime
    series: frozenset[Series]
    samples: tuple[Sample, ...]

    def serves(self, series: frozenset[Series], now: datetime) -> bool:
        """Tell whether these still do."""
        return self.day == Window.DAY.start(now) and now - self.read_at < CLOSED_AGAIN and series <= self.series


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
        self._closed: _Closed | None = None

    @needs("cloudwatch:ListMetrics", on=On.EVERYTHING)
    def series(self) -> tuple[Sequence[Series], tuple[str, ...]]:
        """Return the series CloudWatch lists now, and in words what could not be listed."""
        regions = [(region, self._client_in(region)) for region in self._regions]
        with ThreadPoolExecutor(_REGIONS_AT_ONCE) as pool:
            answers = list(pool.map(lambda each: _listed(*each), regions))
        return (
            [series for found, _ in answers for series in found],
            tuple(gap for _, gaps in answers for gap in gaps),
        )

    @needs("cloudwatch:GetMetricData", on=On.EVERYTHING)
    def read(self, series: Iterable[Series], now: datetime) -> Reading:
        """Return the month: closed days whole, the open day by the hour, the open hour by the minute.

        Minutes go back 15 at least. Closed days are kept for an hour by this object; all else is read anew.
        """
        wanted = frozenset(series)
        day = Window.DAY.start(now)
        closed = self._closed
        spans = [(HOUR, day), (MINUTE, min(Window.HOUR.start(now), Window.MINUTE.start(now - TRAILING)))]
        if closed is None or not closed.serves(wanted, now):
            closed = None
            spans.insert(0, (DAY, Window.MONTH.start(now)))
        by_region: defaultdict[str, list[Series]] = defaultdict(list)
        for each in sorted(wanted):
            by_region[each.region].append(each)
        # Clients are made here: making them is not safe side by side, using them is.
        regions = [(region, self._client_in(region), chosen) for region, chosen in by_region.items()]
        with ThreadPoolExecutor(_REGIONS_AT_ONCE) as pool:
            answers = list(pool.map(lambda each: _read_region(each[0], each[1], each[2], spans, now), regions))
        samples = [sample for found in answers for sample in found.samples]
        gaps = tuple(gap for found in answers for gap in found.gaps)
        if closed is not None:
            samples += closed.samples
        elif not gaps:
            days = tuple(each for each in samples if each.seconds == DAY)
            self._closed = _Closed(day, now, wanted, days)
        return Reading(now, samples, gaps)


def _listed(region: str, client: "CloudWatchClient") -> tuple[list[Series], list[str]]:
    found: list[Series] = []
    gaps: list[str] = []
    for plane in PLANES:
        try:
            with calls.named("cloudwatch:ListMetrics"):
                for page in client.get_paginator("list_metrics").paginate(Namespace=plane.namespace):
                    found += [series for metric in page["Metrics"] if (series := _series(region, plane, metric))]
        except AwsCallError as error:
            gaps.append(f"{region}: {plane.namespace} cannot be listed ({error.code})")
    return found, gaps


def _read_region(
    region: str,
    client: "CloudWatchClient",
    series: Sequence[Series],
    spans: Sequence[tuple[int, datetime]],
    now: datetime,
) -> _Found:
    found = _Found()
    for period, since in spans:
        # A closed day ends where the open one begins; the others end a minute ahead, for clocks that are fast.
        until = Window.DAY.start(now) if period == DAY else Window.MINUTE.end(now)
        if since >= until:
            continue
        for first in range(0, len(series), _QUERIES_A_CALL):
            chunk = series[first : first + _QUERIES_A_CALL]
            try:
                _read_chunk(client, chunk, (period, since, until), found)
            except AwsCallError as error:
                found.gaps.append(f"{region}: usage cannot be read ({error.code})")
    found.gaps = list(dict.fromkeys(found.gaps))
    return found


def _read_chunk(
    client: "CloudWatchClient", chunk: Sequence[Series], span: tuple[int, datetime, datetime], found: _Found
) -> None:
    period, since, until = span
    region = chunk[0].region
    statuses = dict.fromkeys(range(len(chunk)), "no answer")
    with calls.named("cloudwatch:GetMetricData"):
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[_query(index, each, period) for index, each in enumerate(chunk)],
            StartTime=since,
            EndTime=until,
        )
        for result in (result for page in pages for result in page["MetricDataResults"]):
            index = int(result["Id"].removeprefix("m"))
            # The status of the last page is the one that holds: earlier ones say PartialData while there is more.
            statuses[index] = result.get("StatusCode", "Complete")
            for start, value in zip(result.get("Timestamps", ()), result.get("Values", ()), strict=True):
                count = clean_count(value)
                if count is None:
                    found.gaps.append(f"{region}: {chunk[index].metric} of {chunk[index].model} gave what is no count")
                else:
                    found.samples.append(Sample(chunk[index], start.astimezone(UTC), period, count))
    # One line for all series that ended the same way: there can be thousands of them.
    for status in sorted({each for each in statuses.values() if each != "Complete"}):
        found.gaps.append(f"{region}: some series came incomplete ({status})")


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
