"""What an hour and a day usually cost: the hours of the last two weeks, by model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from lambdas.core import stored
from lambdas.core.spend import NOTHING, Cost
from lambdas.core.usage import Kind, Sample

HOUR = timedelta(hours=1)
DAYS = 14
"""So many days are looked back on: each day of the week twice."""
EVERYTHING = "all models together"
_KNOWN = 24
"""Fewer hours say nothing of what is usual."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a model was used in an hour."""

    usd: Decimal = Decimal(0)
    tokens: int = 0
    guessed: Decimal = Decimal(0)
    """The part of the USD that was priced by guess."""

    def plus(self, other: "Used") -> "Used":
        """Return both together."""
        return Used(self.usd + other.usd, self.tokens + other.tokens, self.guessed + other.guessed)

    def at_least(self, other: "Used") -> "Used":
        """Return the larger of two figures for the same."""
        return Used(max(self.usd, other.usd), max(self.tokens, other.tokens), max(self.guessed, other.guessed))


UNUSED = Used()


@dataclass(frozen=True, slots=True)
class Past:
    """The hours from ``since`` to ``until`` (full hours, aware UTC), by their start and model; idle ones are left out.

    Models are named with their region. What was never read is not in here: those hours are not known.
    """

    since: datetime
    until: datetime
    hours: Mapping[datetime, Mapping[str, Used]] = field(default_factory=dict)

    def usd(self, hour: datetime, label: str) -> Decimal:
        """Return the USD of a model, or of `EVERYTHING`, in an hour."""
        models = self.hours.get(hour, {})
        if label == EVERYTHING:
            return sum((each.usd for each in models.values()), Decimal(0))
        return models.get(label, UNUSED).usd

    def of_day(self, day: date) -> dict[str, Used]:
        """Return a day by model, the dearest first."""
        found: dict[str, Used] = {}
        for hour, models in self.hours.items():
            if hour.date() == day:
                for label, used in models.items():
                    found[label] = found.get(label, UNUSED).plus(used)
        return dict(sorted(found.items(), key=lambda item: (-item[1].usd, item[0])))

    def with_hours(self, since: datetime, until: datetime, read: "Hours", *, whole: bool) -> "Past":
        """Return it with hours read anew, the oldest forgotten. What is not read whole never lowers what was known."""
        first = max(min(self.since, since), until.replace(hour=0) - timedelta(days=DAYS))
        hours = {hour: models for hour, models in self.hours.items() if hour >= first}
        hour = max(since, first)
        while hour < until:
            models = dict(read.get(hour, {}))
            if not whole:
                before = hours.get(hour, {})
                models |= {label: used.at_least(models.get(label, UNUSED)) for label, used in before.items()}
            hours.pop(hour, None)
            if models:
                hours[hour] = models
            hour += HOUR
        return Past(first, max(self.until, until), hours)


Hours = Mapping[datetime, Mapping[str, Used]]


def hours_of(costs: Mapping[str, Mapping[datetime, Mapping[str, Cost]]], samples: Iterable[Sample]) -> Hours:
    """Return the hours of a reading: what they cost, as `core.spend.priced` has it, and the tokens they took."""
    whole: dict[tuple[datetime, str, Kind], int] = {}
    parts: dict[tuple[datetime, str, Kind], int] = {}
    for each in samples:
        if each.series.kind not in {Kind.CALLS, Kind.IMAGE}:
            label = f"{each.series.model} ({each.series.region})"
            found = parts if each.series.by_tier else whole
            key = (each.start.replace(minute=0), label, each.series.kind)
            found[key] = found.get(key, 0) + each.count
    tokens: dict[tuple[datetime, str], int] = {}
    for hour, label, kind in whole | parts:
        count = max(whole.get((hour, label, kind), 0), parts.get((hour, label, kind), 0))
        tokens[hour, label] = tokens.get((hour, label), 0) + count
    hours: dict[datetime, dict[str, Used]] = {}
    for models_by_hour in costs.values():
        for hour, models in models_by_hour.items():
            for label, cost in models.items():
                if cost != NOTHING or tokens.get((hour, label)):
                    used = Used(cost.usd, tokens.get((hour, label), 0), cost.guessed)
                    hours.setdefault(hour, {})[label] = used
    return hours


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual, and what it is the mean of."""

    usd: Decimal
    of: str


def hour_baseline(past: Past, hour: datetime, label: str) -> Baseline | None:
    """Return what an hour usually costs; None when nothing was spent in all that is known before it.

    The same hour of the same day of the week counts; where that was idle, the same hour of all days; then any hour.
    Idle hours lower nothing: what runs now and then, or is new, is compared with the hours in which it ran.
    """
    known = _steps(max(past.since, hour - timedelta(days=DAYS)), min(past.until, hour), HOUR)
    if len(known) < _KNOWN:
        return None
    same_hour = [each for each in known if each.hour == hour.hour]
    same_weekday = [each for each in same_hour if each.weekday() == hour.weekday()]
    for hours, of in (
        (same_weekday, f"{hour:%A}s at {hour:%H}:00"),
        (same_hour, f"all days at {hour:%H}:00"),
        (known, "all hours"),
    ):
        if found := _mean([past.usd(each, label) for each in hours], of):
            return found
    return None


def day_baseline(past: Past, day: date, label: str = EVERYTHING) -> Baseline | None:
    """Return what a day usually costs: the same day of the week, or where that was idle any day; None if none cost."""
    end = datetime(day.year, day.month, day.day, tzinfo=UTC)
    first = max(past.since, end - timedelta(days=DAYS))
    # Of a day that was not read from its start on, half would be missing.
    first = first if first.hour == 0 else first.replace(hour=0) + timedelta(days=1)
    days = _steps(first, min(end, past.until.replace(hour=0)), timedelta(days=1))
    for chosen, of in (([each for each in days if each.weekday() == day.weekday()], f"{day:%A}s"), (days, "all days")):
        usd = [sum((past.usd(each + n * HOUR, label) for n in range(24)), Decimal(0)) for each in chosen]
        if found := _mean(usd, of):
            return found
    return None


def _mean(usd: Iterable[Decimal], of: str) -> Baseline | None:
    found = [each for each in usd if each]
    return Baseline(sum(found, Decimal(0)) / len(found), of) if found else None


@dataclass(frozen=True, slots=True)
class Spike:
    """An hour of a model, or of `EVERYTHING`, that costs far more than is usual."""

    label: str
    usd: Decimal
    baseline: Baseline

    def __str__(self) -> str:
        """Return the words for people."""
        times = self.usd / self.baseline.usd
        return f"${self.usd:.2f}, usually ${self.baseline.usd:.2f} ({self.baseline.of}), x{times:.1f}: {self.label}"


def spikes(past: Past, hour: datetime, percent: int, least_usd: Decimal) -> Sequence[Spike]:
    """Return what cost more than so many percent of its baseline in an hour, and so many USD; the dearest first.

    More usage in that hour never takes one away: its baseline is of the hours before. Where there is no baseline
    nothing is a spike: of a model that is new, all models together may be one.
    """
    found: list[Spike] = []
    for label in (EVERYTHING, *past.hours.get(hour, {})):
        usd = past.usd(hour, label)
        if usd >= least_usd and (usual := hour_baseline(past, hour, label)) and usd * 100 > usual.usd * percent:
            found.append(Spike(label, usd, usual))
    return sorted(found, key=lambda each: (-each.usd, each.label != EVERYTHING, each.label))


def _steps(first: datetime, end: datetime, step: timedelta) -> list[datetime]:
    return [first + number * step for number in range(max((end - first) // step, 0))]


# --- as it is kept: a document a day, so that none outgrows an item of the ledger ---


def day_json(past: Past, day: date) -> dict[str, Any]:
    """Return a day's hours as a document: figures with five digits are enough, and pack well."""
    models: dict[str, dict[str, list[Any]]] = {}
    for hour, used_by in past.hours.items():
        if hour.date() == day:
            for label, used in used_by.items():
                guessed = [_digits(used.guessed)] if used.guessed else []
                models.setdefault(label, {})[str(hour.hour)] = [_digits(used.usd), used.tokens, *guessed]
    return {"day": day.isoformat(), "models": models}


def hours_from(documents: Iterable[Mapping[str, Any]]) -> dict[datetime, dict[str, Used]]:
    """Read the documents of days. Raises ValueError, KeyError, TypeError, AttributeError or ArithmeticError."""
    hours: dict[datetime, dict[str, Used]] = {}
    for body in documents:
        day = datetime.fromisoformat(body["day"]).replace(tzinfo=UTC)
        for label, by_hour in body["models"].items():
            for hour, (usd, tokens, *guessed) in by_hour.items():
                used = Used(stored.usd(usd), int(tokens), stored.usd(guessed[0]) if guessed else Decimal(0))
                hours.setdefault(day + int(hour) * HOUR, {})[str(label)] = used
    return hours


def _digits(usd: Decimal) -> str:
    return f"{usd:.5g}"


@dataclass(frozen=True, slots=True)
class Diary:
    """What the digest keeps beside the hours."""

    since: datetime
    until: datetime
    """The hours from then until then are known."""
    mailed: date | None = None
    """The last day that was mailed about, or was not worth a mail."""
    judged: datetime | None = None
    """The last hour that was looked at for spikes."""
    spiked: Mapping[str, datetime] = field(default_factory=dict)
    """When each model, or `EVERYTHING`, was last told of."""
    gaps: tuple[str, ...] = ()
    """What could not be read the last time, in words."""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "mailed": None if self.mailed is None else self.mailed.isoformat(),
            "judged": None if self.judged is None else self.judged.isoformat(),
            "spiked": {label: at.isoformat() for label, at in self.spiked.items()},
            "gaps": list(self.gaps),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read one. Raises ValueError, KeyError, TypeError or AttributeError."""
        return cls(
            stored.moment(body["since"]),
            stored.moment(body["until"]),
            None if body["mailed"] is None else date.fromisoformat(body["mailed"]),
            None if body["judged"] is None else stored.moment(body["judged"]),
            {str(label): stored.moment(at) for label, at in body["spiked"].items()},
            tuple(map(str, body["gaps"])),
        )
