"""CloudWatch: token counts of both inference planes, by model and for the whole account."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, needs
from lambdas.core.usage import HOUR, MINUTE, Kind, Look, Reading, Sample, Series, Source, Tally, Tier, clean_count
from lambdas.core.windows import Window

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef, MetricOutputTypeDef

T = TypeVar("T")
R = TypeVar("R")

MINUTES_KEPT = timedelta(minutes=20)
"""How far back a reading keeps single minutes: CloudWatch fills them in late."""
FINE_HOURS = timedelta(hours=2)
"""Hours before the open one that are read by the minute, which costs no more; older ones are read by the hour."""

_QUERIES_A_CALL = 500
_REGIONS_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Plane:
    """One of Bedrock's two inference planes: its metrics, at the one dimension set that counts each token once."""

    namespace: str
    dimensions: tuple[str, ...]
    model_dimension: str
    kinds: Mapping[str, Kind]
    totals: Mapping[str, Kind]
    """The metrics that the account's own sums, without dimensions, are published under."""
    tier_dimensions: tuple[str, ...] = ()
    """The dimension set that splits the same usage by service tier."""


_TIER = "ResolvedServiceTier"

PLANES = {
    each.namespace: each
    for each in (
        Plane(
            "AWS/Bedrock",
            ("ModelId",),
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
            {
                "InputTokenCount": Kind.INPUT,
                "OutputTokenCount": Kind.OUTPUT,
                "CacheReadInputTokenCount": Kind.CACHE_READ,
                "CacheWriteInputTokenCount": Kind.CACHE_WRITE,
                "OutputImageCount": Kind.IMAGE,
                "Invocations": Kind.CALLS,
            },
            ("ModelId", "ServiceTier", _TIER),
        ),
        Plane(
            "AWS/BedrockMantle",
            ("Project", "Model"),
            "Model",
            {"InputTokens": Kind.MIXED_INPUT, "OutputTokens": Kind.OUTPUT},
            {"TotalInputTokens": Kind.MIXED_INPUT, "TotalOutputTokens": Kind.OUTPUT, "Inferences": Kind.CALLS},
        ),
    )
}

_TIERS = {"default": Tier.STANDARD, "standard": Tier.STANDARD, "flex": Tier.FLEX, "priority": Tier.PRIORITY}
"""A tier that is not known here stays unknown, and is priced at the dearest."""


@dataclass(slots=True)
class _Found:
    """What reading one region brought."""

    tally: Tally = field(default_factory=Tally)
    gaps: list[tuple[Source, str]] = field(default_factory=list)


class TokenMetrics:
    """The usage Bedrock itself publishes; it needs no invocation logging."""

    def __init__(self, client_in: "Callable[[str], CloudWatchClient]") -> None:
        """Take how to get a client for a region."""
        self._client_in = client_in

    @needs("cloudwatch:ListMetrics", on=On.EVERYTHING)
    def listed(self, sources: Iterable[Source]) -> tuple[Sequence[Series], Mapping[Source, str]]:
        """Return the series CloudWatch lists for some sources, and in words which could not be listed."""
        wanted = [(source, self._client_in(source.region)) for source in sources]
        found: list[Series] = []
        gaps: dict[Source, str] = {}
        for source, answer in zip(
            (each for each, _ in wanted), _at_once(lambda each: _list(*each), wanted), strict=True
        ):
            if isinstance(answer, AwsCallError):
                gaps[source] = f"{source.region}: {source.namespace} cannot be listed ({answer.code})"
            else:
                found += answer
        return found, gaps

    @needs("cloudwatch:GetMetricData", on=On.EVERYTHING)
    def glance(self, looks: Mapping[Source, Look], now: datetime) -> Reading:
        """Return the account's own sums of some kinds by the minute: few metrics, whatever the number of models.

        Of a source they may go further back than was asked for.
        """
        by_region = _by_region(
            total for source, look in looks.items() for total in totals(source) if total.kind in look.kinds
        )
        since = {
            region: min(look.since for source, look in looks.items() if source.region == region) for region in by_region
        }
        asked = [(region, series, [(MINUTE, since[region])]) for region, series in by_region.items()]
        return self._gather(asked, min(since.values(), default=now), now)

    @needs("cloudwatch:GetMetricData", on=On.EVERYTHING)
    def read(self, series: Iterable[Series], open_since: Mapping[Source, datetime], now: datetime) -> Reading:
        """Return the usage of series, and the account's own sums, of sources since a full hour of each.

        Up to three hours are read by the minute; what is older by the hour, in a query of its own. The last
        `MINUTES_KEPT` come back minute by minute, the rest as hours.
        """
        sums = (total for source in open_since for total in totals(source) if total.kind is not Kind.CALLS)
        fine = Window.HOUR.start(now) - FINE_HOURS
        asked = []
        for region, chosen in _by_region((*series, *sums)).items():
            since = min(start for source, start in open_since.items() if source.region == region)
            coarse = [(HOUR, since)] if since < fine else []
            asked.append((region, chosen, [*coarse, (MINUTE, max(since, fine))]))
        return self._gather(asked, Window.MINUTE.start(now) - MINUTES_KEPT, now)

    @needs("cloudwatch:GetMetricData", on=On.EVERYTHING)
    def probe(self, source: Source, models: Iterable[str], kinds: Iterable[Kind], now: datetime) -> list[Series]:
        """Return all series of those models that show usage of a kind in the last minutes, listed or not.

        CloudWatch lists a new series up to 15 minutes late, but answers at once when asked for it by its name. Of the
        mantle plane a model's series is that of all its projects. What cannot be read is left out.
        """
        plane = PLANES[source.namespace]
        named = {each: _named(source, plane, each) for each in models}
        asked = [series for each in named.values() for series in each if series.kind in {*kinds}]
        since = Window.MINUTE.start(now) - MINUTES_KEPT
        found = self._gather([(source.region, asked, [(MINUTE, since)])], since, now)
        used = {each.series.model for each in found.samples if each.count}
        return [series for model in sorted(used) for series in named[model]]

    def _gather(
        self,
        asked: Iterable[tuple[str, Sequence[Series], Sequence[tuple[int, datetime]]]],
        kept: datetime,
        now: datetime,
    ) -> Reading:
        # Clients are made here: making them is not safe side by side, using them is.
        regions = [(self._client_in(region), series, spans) for region, series, spans in asked]
        answers = _at_once(lambda each: _read_region(*each, kept, now), regions)
        samples: list[Sample] = []
        sums: list[Sample] = []
        gaps: dict[str, None] = {}
        incomplete: set[Source] = set()
        for found, region_samples in answers:
            for each in region_samples:
                (samples if each.series.dimensions else sums).append(each)
            gaps |= dict.fromkeys(words for _, words in found.gaps)
            incomplete |= {source for source, _ in found.gaps}
        return Reading(now, samples, tuple(gaps), sums, frozenset(incomplete))


def totals(source: Source) -> tuple[Series, ...]:
    """Return the series of the account's own sums of a source."""
    plane = PLANES[source.namespace]
    return tuple(Series(*source, metric, (), "", kind) for metric, kind in plane.totals.items())


def _at_once(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    if len(items) < 2:  # noqa: PLR2004 - threads take time to start, and most glances are at one region
        return [work(each) for each in items]
    with ThreadPoolExecutor(min(len(items), _REGIONS_AT_ONCE)) as pool:
        return list(pool.map(work, items))


def _by_region(series: Iterable[Series]) -> dict[str, list[Series]]:
    found: defaultdict[str, list[Series]] = defaultdict(list)
    for each in sorted(series):
        found[each.region].append(each)
    return found


def _list(source: Source, client: "CloudWatchClient") -> list[Series] | AwsCallError:
    plane = PLANES[source.namespace]
    try:
        with calls.named("cloudwatch:ListMetrics"):
            return [
                series
                for page in client.get_paginator("list_metrics").paginate(Namespace=plane.namespace)
                for metric in page["Metrics"]
                if (series := _series(source, plane, metric))
            ]
    except AwsCallError as error:
        return error


def _read_region(
    client: "CloudWatchClient",
    series: Sequence[Series],
    spans: Sequence[tuple[int, datetime]],
    kept: datetime,
    now: datetime,
) -> tuple[_Found, list[Sample]]:
    found = _Found()
    for index, (period, since) in enumerate(spans):
        # An older span ends where the next begins; the last one a minute ahead, for clocks that are fast.
        until = spans[index + 1][1] if index + 1 < len(spans) else Window.MINUTE.end(now)
        for first in range(0, len(series), _QUERIES_A_CALL):
            chunk = series[first : first + _QUERIES_A_CALL]
            try:
                _read_chunk(client, chunk, (period, since, until), found)
            except AwsCallError as error:
                words = f"{chunk[0].region}: usage cannot be read ({error.code})"
                found.gaps += [(source, words) for source in sorted({each.source for each in chunk})]
    return found, found.tally.samples(kept)


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
            series = chunk[index]
            # The status of the last page is the one that holds: earlier ones say PartialData while there is more.
            statuses[index] = result.get("StatusCode", "Complete")
            starts = [start.astimezone(UTC) for start in result.get("Timestamps", ())]
            counts = [clean_count(value) for value in result.get("Values", ())]
            points = zip(starts, counts, strict=True)
            found.tally.add(series, period, [(start, count) for start, count in points if count is not None])
            if None in counts:
                words = f"{region}: {series.metric} of {series.model or 'all models'} gave what is no count"
                found.gaps.append((series.source, words))
    # One line for all series that ended the same way: there can be thousands of them.
    for index, status in statuses.items():
        if status != "Complete":
            found.gaps.append((chunk[index].source, f"{region}: some series came incomplete ({status})"))


def _series(source: Source, plane: Plane, metric: "MetricOutputTypeDef") -> Series | None:
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions", ())}
    kind = plane.kinds.get(metric["MetricName"])
    order = next((each for each in (plane.dimensions, plane.tier_dimensions) if {*each} == dimensions.keys()), ())
    if kind is None or not order:
        return None
    return Series(
        *source,
        metric=metric["MetricName"],
        dimensions=tuple((name, dimensions[name]) for name in order),
        model=dimensions[plane.model_dimension],
        kind=kind,
        tier=_TIERS.get(dimensions.get(_TIER, "").lower(), Tier.UNKNOWN),
        by_tier=_TIER in dimensions,
    )


def _named(source: Source, plane: Plane, model: str) -> list[Series]:
    metrics = plane.kinds if len(plane.dimensions) == 1 else plane.totals
    return [
        Series(*source, metric, ((plane.model_dimension, model),), model, kind)
        for metric, kind in metrics.items()
        if kind is not Kind.CALLS
    ]


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
