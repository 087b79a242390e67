"""Limits, their ladders, and the allowances that raise them for a while."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from lambdas.core.ranked import Ranked
from lambdas.core.windows import Window


class Verdict(Ranked):
    """What the spend calls for, in order of severity. More usage never lowers it."""

    OK = 0
    WARN = 1
    STEP_DOWN = 2
    STOP = 3


@dataclass(frozen=True, slots=True)
class Ladder:
    """Percentages of a limit at which something happens; a rung of None is left out. A stop is always at 100."""

    warn: Decimal | None
    step_down: Decimal | None

    @property
    def rungs(self) -> tuple[Decimal, ...]:
        """The percentages, the stop's among them."""
        return tuple(each for each in (self.warn, self.step_down, Decimal(100)) if each is not None)

    def verdict(self, percent: Decimal) -> Verdict:
        """Return the highest rung that so many percent of the limit reach."""
        if percent >= 100:  # noqa: PLR2004 - a limit is 100 % of itself
            return Verdict.STOP
        if self.step_down is not None and percent >= self.step_down:
            return Verdict.STEP_DOWN
        if self.warn is not None and percent >= self.warn:
            return Verdict.WARN
        return Verdict.OK


@dataclass(frozen=True, slots=True)
class Limit:
    """USD the account may spend on Bedrock within a window."""

    window: Window
    usd: Decimal
    ladder: Ladder
    hold: bool = False
    """Whether a stop for it lasts until a person releases it, rather than until the window rolls over."""

    def __str__(self) -> str:
        """Return the words for people: ``$50/day``."""
        return f"${self.usd}/{self.window}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """A temporary raise: so many USD more in a window, until a moment, on somebody's word."""

    usd: Decimal
    until: datetime
    reason: str
    by: str
    window: Window | None = None
    """The one window it raises; None for every window but the minute.

    The minute limits a rate: dollars meant for a day would allow that much each minute of it, unless it is named.
    """

    @property
    def terms(self) -> str:
        """The words for people, without the reason: ``$50 more a day until 2026-11-22 22:30 UTC``."""
        window = f" a {self.window}" if self.window is not None else ""
        return f"${self.usd} more{window} until {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

    def __str__(self) -> str:
        """Return the words for people."""
        return f"{self.terms}, by {self.by}: {self.reason}"

    def raises(self, limit: Limit, now: datetime) -> bool:
        """Tell whether it raises a limit now."""
        meant = limit.window is not Window.MINUTE if self.window is None else limit.window is self.window
        return meant and now < self.until


def raised_usd(limit: Limit, allowances: Iterable[Allowance], now: datetime) -> Decimal:
    """Return the limit in USD with all allowances that raise it now."""
    return limit.usd + sum((each.usd for each in allowances if each.raises(limit, now)), Decimal(0))


@dataclass(frozen=True, slots=True)
class Margin:
    """How far a limit was reached: travels from whoever judged it to the ledger as JSON."""

    limit: str
    """In words: ``$50/day``, or the budget's name."""
    of_usd: Decimal
    """The limit with its allowances."""
    usd: Decimal
    """What was spent, and what is on its way."""

    def __str__(self) -> str:
        """Return the words for people: how far beyond, or how near."""
        percent = self.usd * 100 / self.of_usd if self.of_usd else Decimal(100)
        over = self.usd - self.of_usd
        if over >= 0:
            return f"{self.limit}: ${self.usd:.2f} of ${self.of_usd:.2f}, ${over:.2f} ({percent - 100:.0f} %) over"
        return f"{self.limit}: ${self.usd:.2f} of ${self.of_usd:.2f} ({percent:.0f} %)"

    def to_json(self) -> dict[str, str]:
        """Return what `margins` reads."""
        return {"limit": self.limit, "of_usd": str(self.of_usd), "usd": str(self.usd)}


def margins(data: object) -> tuple[Margin, ...]:
    """Read margins; what cannot be read is left out, for nothing is decided by them."""
    found = []
    for each in data if isinstance(data, list | tuple) else ():
        try:
            found.append(Margin(str(each["limit"]), Decimal(each["of_usd"]), Decimal(each["usd"])))
        except (KeyError, TypeError, ValueError, InvalidOperation):
            continue
    return tuple(found)
