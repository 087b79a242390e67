"""Closed hours: usage that can no longer change, priced once and kept by the day."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from lambdas.core import stored


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """What a day's closed hours cost in one region: those from the day's start to ``until`` (aware UTC), no other."""

    day: date
    region: str
    until: datetime
    models: Mapping[str, Decimal] = field(default_factory=dict)
    """USD by model, named as `core.spend` names them: ``anthropic.claude… (us-east-1)``."""
    guessed: Mapping[str, Decimal] = field(default_factory=dict)
    """The part of it that was priced by guess, by the same names."""

    @classmethod
    def open(cls, day: date, region: str) -> "ClosedDay":
        """Return a day of which no hour is closed."""
        return cls(day, region, datetime(day.year, day.month, day.day, tzinfo=UTC))

    @property
    def start(self) -> datetime:
        """The start of the day."""
        return datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)

    @property
    def usd(self) -> Decimal:
        """USD of the closed hours."""
        return sum(self.models.values(), Decimal(0))

    @property
    def end(self) -> datetime:
        """The end (exclusive) of the day."""
        return self.start + timedelta(days=1)

    @property
    def whole(self) -> bool:
        """Tell whether all hours of the day are closed."""
        return self.until >= self.end

    def with_hours(self, until: datetime, usd: Mapping[str, Decimal], guessed: Mapping[str, Decimal]) -> "ClosedDay":
        """Return the day with the hours up to ``until`` added to those that were closed."""
        return replace(self, until=until, models=_sum(self.models, usd), guessed=_sum(self.guessed, guessed))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "until": self.until.isoformat(),
            "models": {model: str(usd) for model, usd in self.models.items()},
            "guessed": {model: str(usd) for model, usd in self.guessed.items()},
        }

    @classmethod
    def from_json(cls, day: str, region: str, body: Mapping[str, Any]) -> "ClosedDay":
        """Read a day. Raises ValueError, KeyError, TypeError or ArithmeticError when it is none."""
        closed = cls(
            date.fromisoformat(day),
            region,
            stored.moment(body["until"]),
            {str(model): stored.usd(usd) for model, usd in body["models"].items()},
            {str(model): stored.usd(usd) for model, usd in body["guessed"].items()},
        )
        if not closed.start <= closed.until <= closed.end:
            msg = f"until {closed.until} is outside of {day}"
            raise ValueError(msg)
        return closed


def _sum(*parts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    keys: Iterable[str] = dict.fromkeys(key for part in parts for key in part)
    return {key: sum((part[key] for part in parts if key in part), Decimal(0)) for key in keys}
