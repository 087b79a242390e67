"""Usage as CloudWatch counts it: tokens and images of one model in one period."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


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


class Tier(StrEnum):
    """The service tier usage was served in; each has prices of its own."""

    STANDARD = "standard"
    BATCH = "batch"
    FLEX = "flex"
    PRIORITY = "priority"
    UNKNOWN = "unknown"
    """CloudWatch does not say: the dearest of the tiers of online calls stands in."""


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


def clean_count(value: object) -> int | None:
    """Return a metric value as a whole number of units, rounded up; None for what is no count of anything.

    None is not zero: the caller must report a gap, for the usage behind it is unknown.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or value < 0:
        return None
    return math.ceil(value)


class Slot(NamedTuple):
    """What one figure of usage is about: a model in a region, a kind of token, a period."""

    region: str
    model: str
    kind: Kind
    start: datetime
    seconds: int


def merged(samples: Iterable[Sample]) -> dict[Slot, int]:
    """Return counts by slot.

    A metric that was renamed exists under both names for a while and counts the same tokens twice: of two
    metrics of one kind on the same dimensions, the larger counts. Different dimensions (mantle projects) add up.
    """
    largest: dict[tuple[Slot, str, tuple[tuple[str, str], ...]], int] = {}
    for each in samples:
        series = each.series
        slot = Slot(series.region, series.model, series.kind, each.start, each.seconds)
        key = (slot, series.namespace, series.dimensions)
        largest[key] = max(each.count, largest.get(key, 0))
    totals: dict[Slot, int] = {}
    for (slot, _, _), count in largest.items():
        totals[slot] = totals.get(slot, 0) + count
    return totals
