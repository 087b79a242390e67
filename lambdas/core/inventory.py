"""The inventory: what costs by the hour or by the job, the models behind ids, and regions in use nobody listed."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from lambdas.core import stored

_MICROSECOND = timedelta(microseconds=1)
_HOUR = timedelta(hours=1) // _MICROSECOND
_RECENTLY = (timedelta(minutes=15), timedelta(hours=1))


class Confidence(StrEnum):
    """How a figure came about."""

    LISTED = "listed"
    """Counted by AWS, at a listed price or the user's own."""
    ESTIMATED = "estimated"
    """Counted by AWS, but the count or the price stands on what AWS does not document well."""
    GUESSED = "guessed"
    """At an assumed price or size."""


class CostKind(StrEnum):
    """What costs without showing in the token metrics; the values are the words people read."""

    PROVISIONED = "provisioned throughput"
    IMPORTED = "imported model"
    DEPLOYMENT = "custom-model deployment"
    ENDPOINT = "marketplace endpoint"
    CUSTOMIZATION = "customization job"
    EVALUATION = "evaluation job"
    BATCH = "batch job"
    """A batch inference job whose tokens nobody counts: by its records."""
    BATCH_TOKENS = "batch inference"
    """All batch inference of a model in a region, by the tokens CloudWatch counts."""


BY_THE_HOUR = "billed by the hour"
"""The model behind what is not billed by the token: provisioned throughput, imports whose copies are metered."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Something that costs by the hour for as long as it is there."""

    what: str
    kind: CostKind
    region: str
    arn: str
    usd_per_hour: Decimal
    """Of all its units together."""
    since: datetime
    until: datetime | None
    """None while it is there."""
    confidence: Confidence
    units: int = 1

    @property
    def name(self) -> str:
        """The words for people: ``provisioned throughput NAME (us-east-1)``."""
        return f"{self.kind} {self.what} ({self.region})"

    def usd_between(self, start: datetime, end: datetime) -> Decimal:
        """Return its part of an interval; what is there stays until the interval ends."""
        overlap = _overlap(start, end, self.since, end if self.until is None else self.until)
        return self.usd_per_hour * overlap / _HOUR


@dataclass(frozen=True, slots=True)
class Piece:
    """USD that went evenly over a span."""

    since: datetime
    until: datetime
    usd: Decimal

    def usd_between(self, start: datetime, end: datetime) -> Decimal:
        """Return the part of it that falls into an interval."""
        return self.usd * _overlap(start, end, self.since, self.until) / ((self.until - self.since) // _MICROSECOND)


@dataclass(frozen=True, slots=True)
class Work:
    """Something that costs by what it does: `pieces` say when it did how much."""

    what: str
    kind: CostKind
    region: str
    arn: str
    """Of a job or a model; for all batch inference of a model, the model."""
    since: datetime
    until: datetime | None
    """None while it goes on."""
    pieces: tuple[Piece, ...]
    """None for a batch job whose tokens are counted with all batch inference of its model."""
    confidence: Confidence

    @property
    def name(self) -> str:
        """The words for people: ``batch job NAME (us-east-1)``."""
        return f"{self.kind} {self.what} ({self.region})"

    @property
    def usd(self) -> Decimal:
        """USD so far."""
        return sum((each.usd for each in self.pieces), Decimal(0))

    def usd_between(self, start: datetime, end: datetime) -> Decimal:
        """Return its part of an interval."""
        return sum((each.usd_between(start, end) for each in self.pieces), Decimal(0))


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found at a moment (aware UTC), and what is still known from before."""

    at: datetime
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The models behind an id, by id as CloudWatch's ModelId shows it; of several the dearest counts."""
    standing: tuple[Standing, ...] = ()
    work: tuple[Work, ...] = ()
    discovered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Namespaces in use by region, of regions the configuration does not list."""
    gaps: tuple[str, ...] = ()
    """In words what could not be read; what was known of it before is still in here."""
    told: tuple[str, ...] = ()
    """The discovered regions people were told of."""
    blind: tuple[str, ...] = ()
    """The gaps of the last look for other regions, which is taken once an hour."""
    seen: Mapping[str, datetime] = field(default_factory=dict)
    """When each id, discovered region and listing was last seen, by the keys of `core.sights`."""

    def models_behind(self, model_id: str) -> tuple[str, ...]:
        """Return the models behind an id of the token metrics: itself, when nothing else is known."""
        if any(each.arn == model_id and each.kind is CostKind.PROVISIONED for each in self.standing):
            return (BY_THE_HOUR,)
        return self.aliases.get(model_id) or (model_id,)

    def usd_between(self, start: datetime, end: datetime) -> Mapping[Confidence, Decimal]:
        """Return the USD of an interval by how well they are known."""
        total = dict.fromkeys(Confidence, Decimal(0))
        for each in self._items():
            total[each.confidence] += each.usd_between(start, end)
        return total

    def usd_by_item(self, start: datetime, end: datetime) -> Mapping[str, Decimal]:
        """Return the USD of an interval by the words for each item, the dearest first; without those of no cost."""
        total: defaultdict[str, Decimal] = defaultdict(Decimal)
        for each in self._items():
            total[each.name] += each.usd_between(start, end)
        return dict(sorted(((name, usd) for name, usd in total.items() if usd), key=lambda item: -item[1]))

    @property
    def burn_usd_per_minute(self) -> Decimal:
        """USD a minute now: what is there, and what work took lately."""
        standing = sum((each.usd_per_hour for each in self.standing if each.until is None), Decimal(0)) / 60
        # Of an imported model the copies that run now stand there, and those of before are work.
        going_on = [each for each in self.work if each.kind is not CostKind.IMPORTED]
        work = [
            sum((each.usd_between(self.at - span, self.at) for each in going_on), Decimal(0))
            / (span // timedelta(minutes=1))
            for span in _RECENTLY
        ]
        return standing + max(work)

    @property
    def mark(self) -> str:
        """A word that changes with everything here that changes what is spent or how it is priced, and with gaps."""
        there = sorted((each.name, each.arn, str(each.usd_per_hour)) for each in self.standing if each.until is None)
        done = str(sum((each.usd for each in self.work), Decimal(0)).normalize())
        names = sorted((name, *models) for name, models in self.aliases.items())
        told = [there, done, names, sorted(self.discovered), sorted(self.gaps)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "at": self.at.isoformat(),
            "aliases": {name: list(models) for name, models in self.aliases.items()},
            "standing": [_standing_json(each) for each in self.standing],
            "work": [_work_json(each) for each in self.work],
            "discovered": {region: list(planes) for region, planes in self.discovered.items()},
            "gaps": list(self.gaps),
            "told": list(self.told),
            "blind": list(self.blind),
            "seen": {what: at.isoformat() for what, at in self.seen.items()},
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Inventory":
        """Read an inventory. Raises ValueError, KeyError or TypeError when it is none."""
        try:
            return cls(
                at=stored.moment(body["at"]),
                aliases={str(name): _words(models) for name, models in body["aliases"].items()},
                standing=tuple(_standing(each) for each in body["standing"]),
                work=tuple(_work(each) for each in body["work"]),
                discovered={str(region): _words(planes) for region, planes in body["discovered"].items()},
                gaps=_words(body["gaps"]),
                told=_words(body["told"]),
                blind=_words(body["blind"]),
                seen={str(what): stored.moment(at) for what, at in body["seen"].items()},
            )
        except (AttributeError, ArithmeticError) as error:
            msg = f"no inventory: {error!r}"
            raise ValueError(msg) from error

    def _items(self) -> Iterable[Standing | Work]:
        return (*self.standing, *self.work)


def _overlap(start: datetime, end: datetime, since: datetime, until: datetime) -> int:
    """Return the microseconds two intervals have in common."""
    return max((min(end, until) - max(start, since)) // _MICROSECOND, 0)


def _standing_json(item: Standing) -> dict[str, Any]:
    return {
        "what": item.what,
        "kind": item.kind.value,
        "region": item.region,
        "arn": item.arn,
        "usd_per_hour": str(item.usd_per_hour),
        "since": item.since.isoformat(),
        "until": None if item.until is None else item.until.isoformat(),
        "confidence": item.confidence.value,
        "units": item.units,
    }


def _standing(data: Mapping[str, Any]) -> Standing:
    return Standing(
        what=str(data["what"]),
        kind=CostKind(data["kind"]),
        region=str(data["region"]),
        arn=str(data["arn"]),
        usd_per_hour=stored.usd(data["usd_per_hour"]),
        since=stored.moment(data["since"]),
        until=None if data["until"] is None else stored.moment(data["until"]),
        confidence=Confidence(data["confidence"]),
        units=int(data["units"]),
    )


def _work_json(item: Work) -> dict[str, Any]:
    return {
        "what": item.what,
        "kind": item.kind.value,
        "region": item.region,
        "arn": item.arn,
        "since": item.since.isoformat(),
        "until": None if item.until is None else item.until.isoformat(),
        "pieces": [[each.since.isoformat(), each.until.isoformat(), str(each.usd)] for each in item.pieces],
        "confidence": item.confidence.value,
    }


def _work(data: Mapping[str, Any]) -> Work:
    return Work(
        what=str(data["what"]),
        kind=CostKind(data["kind"]),
        region=str(data["region"]),
        arn=str(data["arn"]),
        since=stored.moment(data["since"]),
        until=None if data["until"] is None else stored.moment(data["until"]),
        pieces=tuple(_piece(*each) for each in data["pieces"]),
        confidence=Confidence(data["confidence"]),
    )


def _piece(since: str, until: str, usd: str) -> Piece:
    piece = Piece(stored.moment(since), stored.moment(until), stored.usd(usd))
    if piece.until <= piece.since:
        msg = f"a piece from {since} to {until}"
        raise ValueError(msg)
    return piece


def _words(items: Iterable[str]) -> tuple[str, ...]:
    if isinstance(items, str | Mapping):
        msg = f"{items!r} is no list"
        raise TypeError(msg)
    return tuple(str(each) for each in items)
