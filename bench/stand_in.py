"""CloudWatch, simulated: the usage of some models by the minute, seen with AWS's delays by a clock that is set.

It answers ``list_metrics`` and ``get_metric_data`` as boto3's paginators do and counts what AWS would bill. Usage of a
moment can be read a lag after it; the lag is drawn once for each minute, so a minute fills up while it becomes
visible. What `list_metrics` names appears only some minutes after its first datapoint.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

from lambdas.core.usage import Kind

LAG = (60.0, 180.0)
"""Seconds from a call to its datapoint, drawn evenly: the field reports 60-90 s, AWS promises nothing."""
LISTED_AFTER = (60.0, 900.0)
"""Seconds from a series' first datapoint until ListMetrics names it, drawn evenly."""
LISTED_FOR = timedelta(days=14)

BEDROCK, MANTLE = "AWS/Bedrock", "AWS/BedrockMantle"
CALLS = "calls"
"""What a stream counts besides tokens."""

_MAX_QUERIES, _MAX_DATAPOINTS, _METRICS_A_PAGE = 500, 100_800, 500
_MINUTES_FOR = timedelta(days=15)
"""For so long CloudWatch keeps periods shorter than five minutes."""

Dimensions = frozenset[tuple[str, str]]
Key = tuple[str, str, str, Dimensions]
"""Region, namespace, metric, dimensions."""


@dataclass(frozen=True)
class Stream:
    """One model's usage in one region."""

    region: str
    namespace: str
    model: str
    usd: Sequence[float]
    """True USD of each minute since the simulation's first."""
    for_a_usd: Mapping[str, float]
    """How many tokens of each `Kind`, and `CALLS`, one USD buys."""
    project: str = "default"
    """Of the mantle plane."""
    tier: str = "default"
    """The service tier of the other plane; its series stand beside those by model and count the same tokens."""

    @cached_property
    def until(self) -> Sequence[float]:
        """USD spent before each minute; one more than there are minutes."""
        return list(accumulate(self.usd, initial=0.0))

    def spent(self, minutes: float) -> float:
        """Return the true USD from the first minute until a moment (in minutes since then)."""
        at = min(max(minutes, 0.0), float(len(self.usd)))
        whole = int(at)
        return self.until[whole] + ((at - whole) * self.usd[whole] if whole < len(self.usd) else 0.0)

    def metrics(self) -> Iterator[tuple[str, Dimensions, str]]:
        """Return metric, dimensions and what it counts, at every dimension level Bedrock publishes."""
        if self.namespace == MANTLE:
            project, model = ("Project", self.project), ("Model", self.model)
            account: Iterable[Dimensions] = (frozenset(), frozenset({project}), frozenset({model}))
            both: Dimensions = frozenset({project, model})
            for name, what in (("Input", Kind.MIXED_INPUT), ("Output", Kind.OUTPUT)):
                yield from ((f"Total{name}Tokens", each, what) for each in account)
                yield f"{name}Tokens", both, what
            yield from (("Inferences", each, CALLS) for each in (*account, both))
            return
        by_model = ("ModelId", self.model)
        tier = (("ServiceTier", self.tier), ("ResolvedServiceTier", self.tier))
        levels: Iterable[Dimensions] = (frozenset(), frozenset({by_model}), frozenset({by_model, *tier}))
        for name, counted in _BEDROCK_METRICS.items():
            if counted in self.for_a_usd:
                yield from ((name, each, counted) for each in levels)


_BEDROCK_METRICS: Mapping[str, str] = {
    "InputTokenCount": Kind.INPUT,
    "OutputTokenCount": Kind.OUTPUT,
    "CacheReadInputTokenCount": Kind.CACHE_READ,
    "CacheWriteInputTokenCount": Kind.CACHE_WRITE,
    "OutputImageCount": Kind.IMAGE,
    "Invocations": CALLS,
}


class CloudWatch:
    """CloudWatch in every region. Set ``now``, then ask."""

    def __init__(self, start: datetime, streams: Sequence[Stream], seed: str, lag: tuple[float, float] = LAG) -> None:
        """Take the first minute of all streams, and the seed of this run's delays."""
        self.start = start
        self.streams = streams
        self.bill: Counter[str] = Counter()
        """API calls, and metrics asked for: ``cloudwatch:ListMetrics``, ``cloudwatch:GetMetricData [metric]``."""
        dice = random.Random(seed)  # noqa: S311 - a simulation
        minutes = max((len(each.usd) for each in streams), default=0)
        shortest, longest = lag
        self._longest_lag = longest / 60
        self._lags = [(shortest + (longest - shortest) * dice.random()) / 60 for _ in range(minutes)]
        self._published: dict[Key, list[tuple[Stream, float]]] = {}
        self._listed_from: dict[Key, float] = {}
        for stream in streams:
            first = next((minute for minute, usd in enumerate(stream.usd) if usd), None)
            for metric, dimensions, what in stream.metrics() if first is not None else ():
                key = (stream.region, stream.namespace, metric, dimensions)
                self._published.setdefault(key, []).append((stream, stream.for_a_usd[what]))
                seen = float(first or 0) + 1 + dice.uniform(*LISTED_AFTER) / 60
                self._listed_from[key] = min(seen, self._listed_from.get(key, seen))
        self._cumulative: dict[Key, Sequence[int]] = {}
        self._stamps: dict[int, datetime] = {}
        self.now = start

    @property
    def now(self) -> datetime:
        """The moment at which everything is asked."""
        return self._now

    @now.setter
    def now(self, now: datetime) -> None:
        self._now = now
        at = self.minutes(now)
        self._settled = max(0, min(len(self._lags), int(at - self._longest_lag)))
        """So many minutes since the start are in full, whatever lag they drew."""
        newest = max(self._settled, min(len(self._lags), int(at) + 1))
        # What share of each minute after those can be read.
        self._shares = [min(max(at - self._lags[m] - m, 0.0), 1.0) for m in range(self._settled, newest)]

    def client(self, region: str) -> "Client":
        """Return what boto3 would for a region."""
        return Client(self, region)

    def minutes(self, moment: datetime) -> float:
        """Return a moment in minutes since the start."""
        return (moment - self.start).total_seconds() / 60

    def visible(self) -> float:
        """Return the true USD of what can be read now."""
        return sum(self._usd(stream, 0, len(stream.usd)) for stream in self.streams)

    def active(self, region: str, namespace: str, first: int, last: int) -> bool:
        """Tell whether any usage of a plane in the minutes from the first to before the last can be read now."""
        return any(
            stream.until[max(0, min(first, len(stream.usd)))] < stream.until[max(0, min(last, len(stream.usd)))]
            and self._usd(stream, first, last) > 0
            for stream in self.streams
            if stream.region == region and stream.namespace == namespace
        )

    def _usd(self, stream: Stream, first: int, last: int) -> float:
        settled, shares = self._settled, self._shares
        first, last = max(0, first), min(last, len(stream.usd))
        old = stream.until[max(first, min(last, settled))] - stream.until[first] if first < settled else 0.0
        new = range(max(first, settled), min(last, settled + len(shares)))
        return old + sum(stream.usd[minute] * shares[minute - settled] for minute in new)

    def _counts(self, key: Key) -> Sequence[int]:
        """Return a metric's count before each minute; so the counts of parts add up to that of the whole."""
        counts = self._cumulative.get(key)
        if counts is None:
            parts = [
                [int(usd * for_a_usd) for usd in stream.until] for stream, for_a_usd in self._published.get(key, ())
            ]
            counts = [sum(each) for each in zip(*parts, strict=True)] if len(parts) > 1 else [*parts, []][0]
            self._cumulative[key] = counts
        return counts

    def _filling(self, key: Key, first: int, last: int) -> int:
        """Return the count of minutes that are not settled."""
        count = 0
        for minute in range(first, last):
            share = self._shares[minute - self._settled]
            for stream, for_a_usd in self._published[key] if share else ():
                before = stream.until[minute]
                count += int((before + stream.usd[minute] * share) * for_a_usd) - int(before * for_a_usd)
        return count

    def points(self, key: Key, first: int, last: int, period: int) -> tuple[list[datetime], list[float]]:
        """Return the datapoints of a metric, the newest first, as AWS orders them."""
        stamps: list[datetime] = []
        values: list[float] = []
        counts, settled = self._counts(key), self._settled
        if not counts:
            return stamps, values
        last = min(last, settled + len(self._shares))
        newest_first = range(first + (last - 1 - first) // period * period, first - 1, -period)
        if period == 1 and first >= 0:
            # The same, faster, for what all reads ask for most.
            old = range(first, min(last, settled))
            some = [later - earlier for earlier, later in pairwise(counts[old.start : old.stop + 1])] if old else []
            stamps = [self.stamp(old.start + index) for index, count in enumerate(some) if count]
            values = [float(count) for count in some if count]
            stamps.reverse()
            values.reverse()
            newest_first = range(last - 1, max(first, settled) - 1, -1)
        newer: list[tuple[datetime, float]] = []
        for begin in newest_first:
            end, start = min(begin + period, last), max(begin, 0)
            count = counts[min(end, settled)] - counts[start] if start < settled else 0
            if end > settled:
                count += self._filling(key, max(start, settled), end)
            if count:
                newer.append((self.stamp(begin), float(count)))
        return [stamp for stamp, _ in newer] + stamps, [value for _, value in newer] + values

    def stamp(self, minute: int) -> datetime:
        """Return the start of a minute."""
        found = self._stamps.get(minute)
        if found is None:
            found = self._stamps[minute] = self.start + timedelta(minutes=minute)
        return found

    def listed(self, region: str, namespace: str, within: timedelta) -> list[Key]:
        """Return the metrics ListMetrics names now: not brand-new ones, nor such as have been idle for long."""
        now, since = self.minutes(self.now), self.minutes(self.now - within)
        return [
            key
            for key, listed_from in self._listed_from.items()
            if key[0] == region
            and key[1] == namespace
            and listed_from <= now
            and any(stream.spent(now) > stream.spent(since) for stream, _ in self._published[key])
        ]


@dataclass(frozen=True)
class Client:
    """CloudWatch's client of one region, as far as the meter uses it; both its operations are paginated."""

    cloudwatch: CloudWatch
    region: str

    def get_paginator(self, operation: str) -> "Paginator":
        """Return a paginator. Raises ValueError for an operation the stand-in does not know."""
        if operation not in {"list_metrics", "get_metric_data"}:
            msg = f"{operation}: the stand-in only lists and reads metrics"
            raise ValueError(msg)
        return Paginator(self.cloudwatch, self.region, operation)


@dataclass(frozen=True)
class Paginator:
    """One operation, page by page; each page is a call."""

    cloudwatch: CloudWatch
    region: str
    operation: str

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - as boto3
        """Answer a request as AWS would. Raises ValueError for one that AWS refuses."""
        return self._list(**request) if self.operation == "list_metrics" else self._read(**request)

    def _list(self, *, Namespace: str, MetricName: str = "", RecentlyActive: str = "") -> Iterator[dict[str, Any]]:  # noqa: N803 - AWS's names
        within = timedelta(hours=3) if RecentlyActive == "PT3H" else LISTED_FOR
        found = [
            {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in sorted(dimensions)],
            }
            for _, namespace, metric, dimensions in self.cloudwatch.listed(self.region, Namespace, within)
            if not MetricName or metric == MetricName
        ]
        for first in range(0, max(len(found), 1), _METRICS_A_PAGE):
            self.cloudwatch.bill["cloudwatch:ListMetrics"] += 1
            yield {"Metrics": found[first : first + _METRICS_A_PAGE]}

    def _read(
        self,
        *,
        MetricDataQueries: Sequence[Mapping[str, Any]],  # noqa: N803 - AWS's names
        StartTime: datetime,  # noqa: N803
        EndTime: datetime,  # noqa: N803
        **_options: Any,  # noqa: ANN401 - how much to a page, in which order
    ) -> Iterator[dict[str, Any]]:
        if not 0 < len(MetricDataQueries) <= _MAX_QUERIES or StartTime >= EndTime:
            msg = f"{len(MetricDataQueries)} queries from {StartTime} to {EndTime}: AWS refuses that"
            raise ValueError(msg)
        cloudwatch, bill = self.cloudwatch, self.cloudwatch.bill
        bill["cloudwatch:GetMetricData metric"] += len(MetricDataQueries)
        results: list[dict[str, Any]] = []
        datapoints = 0
        first, last = int(cloudwatch.minutes(StartTime) // 1), -int(-cloudwatch.minutes(EndTime) // 1)
        for query in MetricDataQueries:
            stat = query["MetricStat"]
            period = stat["Period"] // 60
            if stat["Stat"] != "Sum" or stat["Period"] % 60:
                msg = f"{stat}: the stand-in knows sums over whole minutes"
                raise ValueError(msg)
            if stat["Period"] % 300 and cloudwatch.now - StartTime > _MINUTES_FOR:
                msg = f"{stat}: AWS keeps no minutes for so long"
                raise ValueError(msg)
            metric = stat["Metric"]
            dimensions = frozenset((each["Name"], each["Value"]) for each in metric.get("Dimensions", ()))
            key = (self.region, metric["Namespace"], metric["MetricName"], dimensions)
            stamps, values = cloudwatch.points(key, first, last, period)
            if datapoints + len(stamps) > _MAX_DATAPOINTS:
                bill["cloudwatch:GetMetricData"] += 1
                yield {"MetricDataResults": results}
                results, datapoints = [], 0
            datapoints += len(stamps)
            results.append({"Id": query["Id"], "Timestamps": stamps, "Values": values, "StatusCode": "Complete"})
        bill["cloudwatch:GetMetricData"] += 1
        yield {"MetricDataResults": results}
