"""Limits, their ladders, and the allowances that raise them for a while."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

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
    """A temporary raise: so many USD more in every window but the minute, until a moment, on somebody's word.

    The minute limits a rate. Dollars for a day would allow that much each minute of it.
    """

    usd: Decimal
    until: datetime
    reason: str
    by: str


def raised_usd(limit: Limit, allowances: Iterable[Allowance], now: datetime) -> Decimal:
    """Return the limit in USD with all allowances that have not expired."""
    if limit.window is Window.MINUTE:
        return limit.usd
    return limit.usd + sum((each.usd for each in allowances if now < each.until), Decimal(0))
