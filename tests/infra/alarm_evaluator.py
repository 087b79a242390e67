"""CloudWatch's evaluation of a synthesized alarm over datapoints that are given, as its documentation has it.

What an alarm here may be: a metric, a sum of metrics by metric math, or a Metrics Insights query, grouped or not.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Minutes = Sequence[Sequence[float]]
"""For each minute, oldest first, what was published in it; nothing is a missing datapoint."""


@dataclass(frozen=True)
class Series:
    """A time series as CloudWatch names it."""

    namespace: str
    metric: str
    dimensions: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    @property
    def names(self) -> frozenset[str]:
        """The names of its dimensions."""
        return frozenset(name for name, _ in self.dimensions)


Data = Mapping[Series, Minutes]
_Points = list[float | None]

_COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {"Sum": sum, "Maximum": max, "Minimum": min}
_QUERY = re.compile(
    r'SELECT SUM\((?P<metric>\w+)\) FROM SCHEMA\("(?P<namespace>[^"]+)"(?P<names>(?:, \w+)+)\)'
    r"(?: GROUP BY (?P<group>\w+) ORDER BY SUM\(\) DESC)?"
)
_TERM = re.compile(r"FILL\((\w+), 0\)|(\w+)")


def state(alarm: Mapping[str, Any], data: Data, before: str = "OK") -> str:
    """Return the state of an alarm, given by its resolved properties, after the last of the minutes."""
    return max((_judged(alarm, each, before) for each in _evaluated(alarm, data)), key=_SEVERITY.index)


_SEVERITY = ["INSUFFICIENT_DATA", "OK", "ALARM"]


def _judged(alarm: Mapping[str, Any], points: _Points, before: str) -> str:
    periods = alarm["EvaluationPeriods"]
    needed = alarm.get("DatapointsToAlarm", periods)
    breaches, missing = _COMPARED[alarm["ComparisonOperator"]], alarm.get("TreatMissingData", "missing")
    # What was before the data begin is missing too.
    window = [*[None] * periods, *points][-periods:]
    breaching = sum(each is not None and breaches(each, alarm["Threshold"]) for each in window)
    unknown = window.count(None)
    if missing == "breaching":
        breaching += unknown
    if breaching >= needed:
        return "ALARM"
    if missing == "ignore" and unknown:
        return before
    return "INSUFFICIENT_DATA" if missing == "missing" and unknown == periods else "OK"


def _evaluated(alarm: Mapping[str, Any], data: Data) -> list[_Points]:
    """Return the time series an alarm looks at: one, or one for each contributor."""
    if "Metrics" not in alarm:
        return [_metric(alarm, alarm["Statistic"], data)]
    queries = {each["Id"]: each for each in alarm["Metrics"]}
    (returned,) = [each for each in queries.values() if each.get("ReturnData", True)]
    if found := _QUERY.fullmatch(returned["Expression"]):
        return _insights(found, data)
    terms = [_TERM.fullmatch(each.strip()) for each in returned["Expression"].split("+")]
    summed = []
    for term in terms:
        assert term is not None, returned["Expression"]
        stat = queries[term[1] or term[2]]["MetricStat"]
        assert stat["Period"] == 60  # a minute is a datapoint
        points = _metric(stat["Metric"], stat["Stat"], data)
        # A function of several metrics has no datapoint where none of them has one.
        summed.append((points, bool(term[1])))
    length = max(len(points) for points, _ in summed)
    return [[_sum([(_at(points, minute, length), filled) for points, filled in summed]) for minute in range(length)]]


def _at(points: _Points, minute: int, length: int) -> float | None:
    index = minute - (length - len(points))
    return points[index] if index >= 0 else None


def _sum(terms: Iterable[tuple[float | None, bool]]) -> float | None:
    terms = list(terms)
    if all(value is None for value, _ in terms) or any(value is None and not filled for value, filled in terms):
        return None
    return sum(value or 0.0 for value, _ in terms)


def _metric(of: Mapping[str, Any], statistic: str, data: Data) -> _Points:
    assert of.get("Period", 60) == 60
    dimensions = frozenset((each["Name"], each["Value"]) for each in of.get("Dimensions", ()))
    minutes = data.get(Series(of["Namespace"], of["MetricName"], dimensions), ())
    return [_STATISTICS[statistic](each) if each else None for each in minutes]


def _insights(query: re.Match[str], data: Data) -> list[_Points]:
    names = frozenset(query["names"].removeprefix(", ").split(", "))
    groups: dict[str, list[Minutes]] = {}
    for series, minutes in data.items():
        if (series.namespace, series.metric, series.names) == (query["namespace"], query["metric"], names):
            group = dict(series.dimensions)[query["group"]] if query["group"] else ""
            groups.setdefault(group, []).append(minutes)
    found: list[_Points] = []
    for several in groups.values():
        together = [[value for minutes in several for value in minutes[at]] for at in range(len(several[0]))]
        found.append([sum(each) if each else None for each in together])
    return found or [[]]
