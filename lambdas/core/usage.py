"""Usage as CloudWatch counts it: tokens and images of one model in one period."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

MINUTE, HOUR = 60, 3600
"""Periods, in seconds."""


class Kind(StrEnum):
    """What is counted. Prices differ by kind."""

    INPUT = "input"
    """Input tokens, those read from a cache not among them."""
    OUTPUT = "output"
    CACHE_READ = "cache-read"
    CACHE_WRITE = "cache-write"
    MIXED_INPUT = "mixed-input"
    """Input tokens of the mantle plane, which does not tell cached ones apart."""
    IMAGE = "image"
    CALLS = "calls"
    """Calls of any model: they say that a source is in use, not what it costs."""


class Tier(StrEnum):
    """The service tier usage was served in; each has prices of its own."""

    STANDARD = "standard"
    BATCH = "batch"
    FLEX = "flex"
    PRIORITY = "priority"
    UNKNOWN = "unknown"
    """CloudWatch does not say: the dearest of the tiers of online calls stands in."""


class Source(NamedTuple):
    """One inference plane in one region, by its CloudWatch namespace."""

    region: str
    namespace: str

    def __str__(self) -> str:
        """Return the words for people: ``AWS/Bedrock in us-east-1``."""
        return f"{self.namespace} in {self.region}"


class Look(NamedTuple):
    """What a glance at a source asks for."""

    since: datetime
    kinds: frozenset[Kind]


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One CloudWatch time series: whose tokens, of which kind, seen where."""

    region: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    model: str
    kind: Kind
    tier: Tier = Tier.UNKNOWN
    by_tier: bool = False
    """Whether this is a part of the model's usage, split by service tier, rather than all of it."""

    @property
    def source(self) -> Source:
        """The plane and region it belongs to."""
        return Source(self.region, self.namespace)


@dataclass(frozen=True, slots=True)
class Sample:
    """A count over one period of a series; ``start`` is aware UTC, ``seconds`` the length of the period."""

    series: Series
    start: datetime
    seconds: int
    count: int


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one read brought. ``gaps`` says in words what it could not bring; no gaps means complete."""

    taken_at: datetime
    samples: Sequence[Sample]
    gaps: tuple[str, ...] = ()
    totals: Sequence[Sample] = ()
    """The account's own sum over all models of a source; their series have no dimensions and no model."""
    incomplete: frozenset[Source] = frozenset()
    """The sources whose usage could not be read whole."""
    unlisted: frozenset[Source] = frozenset()
    """The sources whose series could not be listed; what is known of them was read, and so were their sums."""

    @property
    def unsure(self) -> frozenset[Source]:
        """The sources of which something may be missing."""
        return self.incomplete | self.unlisted


def clean_count(value: object) -> int | None:
    """Return a metric value as a whole number of units, rounded up; None for what is no count of anything.

    None is not zero: the caller must report a gap, for the usage behind it is unknown.
    """
    if type(value) is float and 0 <= value < math.inf:  # as it nearly always is
        return math.ceil(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value < 0 or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return math.ceil(value)


class Tally:
    """Adds up the datapoints of one region as they come in.

    A metric that was renamed exists under both names for a while and counts the same tokens twice: of two metrics
    of one kind on the same dimensions the larger counts, minute by minute, since the change can come within an hour.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._counts: dict[tuple[str, tuple[tuple[str, str], ...], Kind, int], dict[Series, dict[datetime, int]]] = {}

    def add(self, series: Series, seconds: int, points: Iterable[tuple[datetime, int]]) -> None:
        """Take datapoints, by the start of their period; the same ones again change nothing."""
        names = self._counts.setdefault((series.namespace, series.dimensions, series.kind, seconds), {})
        counts = names.setdefault(series, {})
        for start, count in points:
            if count > counts.get(start, 0):
                counts[start] = count

    def samples(self, minutes_from: datetime) -> list[Sample]:
        """Return what was added: minutes from that one on, all that is older by the hour."""
        found: list[Sample] = []
        hours: dict[datetime, datetime] = {}  # the same times in all series: each is rounded once
        for (_, _, _, seconds), names in self._counts.items():
            series, counts = next(iter(names.items()))
            if len(names) > 1:
                starts = {start for each in names.values() for start in each}
                together = _once if seconds == MINUTE else _once_an_hour
                counts = {start: together([each.get(start, 0) for each in names.values()]) for start in starts}
            by_hour: dict[datetime, int] = {}
            for start, count in counts.items():
                if seconds == MINUTE and start >= minutes_from:
                    found.append(Sample(series, start, seconds, count))
                else:
                    hour = hours.get(start)
                    if hour is None:
                        hour = hours[start] = start.replace(minute=0, second=0, microsecond=0)
                    by_hour[hour] = by_hour.get(hour, 0) + count
            found += [Sample(series, hour, HOUR, count) for hour, count in by_hour.items()]
        return found


def _once(counts: list[int]) -> int:
    return max(counts)


def _once_an_hour(counts: list[int]) -> int:
    """Return one count for several names' counts of an hour: the larger if they say the same, else both.

    The change from one name to the other may have come in the midst of the hour.
    """
    same = max(counts) - min(counts) <= max(counts) // 100
    return max(counts) if same else sum(counts)
