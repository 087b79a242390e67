"""The traces the meter is tried on: published incidents and legitimate shapes, each in an account with its limits.

Sources: the incidents' dollars, tokens and durations as published (The Register 2026-05, Sysdig, issue trackers of
clients, this project's own reason). Where nothing was published the value is an assumption and says so.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bench.stand_in import BEDROCK, CALLS, MANTLE, Stream
from lambdas.core.usage import Kind
from lambdas.core.windows import Window

START = datetime(2026, 6, 1, tzinfo=UTC)
"""A Monday and the first of a month of 30 days."""
DAY, HOUR = 24 * 60, 60
"""Minutes."""
OFFICE = range(9 * HOUR, 18 * HOUR)
NOISE = 0.3
REGIONS = ("us-east-1", "us-east-2", "us-west-2", "eu-central-1")
HOME, QUIET = REGIONS[0], REGIONS[2]
"""Where the account works, and a listed region in which it never calls Bedrock."""
TOKENS_A_CALL = 20_000
"""An assumption; only the tripwires count calls, and any call rings them."""

DAYS_A_LIMIT = 4
MONTH_IN_USUAL_DAYS = 55
"""How a careful user sets limits: a day four usual working days, a minute the 60th part of that (at that rate the day
is gone in an hour), a month two and a half times its 22 working days."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model, its true price and the mix of tokens it is called with."""

    id: str
    namespace: str
    usd_a_million: Mapping[Kind, float]
    """List prices of the standard tier, 5-minute cache writes: what the bill shows."""
    mix: Mapping[Kind, float]
    """Tokens of each kind, in any unit."""

    def for_a_usd(self) -> dict[str, float]:
        """Return how many tokens of each kind, and calls, a USD buys."""
        usd = sum(self.usd_a_million[kind] * tokens for kind, tokens in self.mix.items()) / 1_000_000
        tokens = {str(kind): tokens / usd for kind, tokens in self.mix.items()}
        return {**tokens, CALLS: sum(tokens.values()) / TOKENS_A_CALL}


_OPUS = {Kind.INPUT: 5.5, Kind.OUTPUT: 27.5, Kind.CACHE_READ: 0.55, Kind.CACHE_WRITE: 6.875}
_SONNET = {Kind.INPUT: 3.3, Kind.OUTPUT: 16.5, Kind.CACHE_READ: 0.33, Kind.CACHE_WRITE: 4.125}
OPUS_ID, SONNET_ID = "us.anthropic.claude-opus-4-6-v1", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"

CHATTING = Model(
    SONNET_ID,
    BEDROCK,
    _SONNET,
    {Kind.INPUT: 3, Kind.OUTPUT: 1, Kind.CACHE_READ: 6, Kind.CACHE_WRITE: 0.5},
)
"""An account's usual work, with Nova beside it: the mixes are assumptions."""
SORTING = Model("amazon.nova-pro-v1:0", BEDROCK, {Kind.INPUT: 0.8, Kind.OUTPUT: 3.2}, {Kind.INPUT: 8, Kind.OUTPUT: 1})
MISSING_THE_CACHE = Model(
    OPUS_ID,
    BEDROCK,
    _OPUS,
    {Kind.INPUT: 6470, Kind.CACHE_READ: 1670, Kind.CACHE_WRITE: 101, Kind.OUTPUT: 25},
)
"""As published: 6.47 B, 1.67 B, 101 M and 25 M tokens; gross $37,885 at these prices, $37,902 published."""
WRITING_THE_CACHE = Model(OPUS_ID, BEDROCK, _OPUS, {Kind.CACHE_WRITE: 20, Kind.CACHE_READ: 5, Kind.OUTPUT: 1})
CODING_ON_MANTLE = Model(
    "moonshotai.kimi-k2.5",
    MANTLE,
    {Kind.MIXED_INPUT: 0.6, Kind.OUTPUT: 3.0},
    {Kind.MIXED_INPUT: 20, Kind.OUTPUT: 6},
)
"""26 B tokens made $30,000: at these prices about 23 % of them were output."""
TALKING = Model(SONNET_ID, BEDROCK, _SONNET, {Kind.INPUT: 10, Kind.OUTPUT: 2, Kind.CACHE_READ: 10})
STOLEN = Model(OPUS_ID, BEDROCK, _OPUS, {Kind.INPUT: 4, Kind.OUTPUT: 1})


@dataclass(frozen=True, slots=True)
class Trace:
    """What happens in one account."""

    name: str
    usual_day_usd: float
    """What the account spends on a working day when nothing happens; its limits follow from it."""
    burn: Callable[[int], float] | None = None
    """USD of a minute of the incident, or of other work beside the usual."""
    minutes: int = 0
    """How long that goes on."""
    model: Model = CHATTING
    region: str = HOME
    shape: Callable[[int], float] = field(default=lambda _minute: 1.0)
    """What the account's own office hours are multiplied by, by minutes since the start."""
    onsets: range = range(1)
    """The minute since the start at which it begins, each as likely."""
    night: float = 0.0
    """USD of a minute of the account's nightly batch, from 02:00 for 40 minutes."""
    legitimate: bool = False
    """Whether nothing may be stopped."""

    @property
    def day_limit_usd(self) -> float:
        """The limit its user sets for a day."""
        return DAYS_A_LIMIT * (self.usual_day_usd + self.night * _BATCH_MINUTES)

    @property
    def limits_usd(self) -> dict[Window, float]:
        """The limits its user sets, by window."""
        day = self.day_limit_usd
        return {
            Window.MINUTE: round(day / 60, 2),
            Window.DAY: round(day, 2),
            Window.MONTH: round(day / DAYS_A_LIMIT * MONTH_IN_USUAL_DAYS, 2),
        }

    def streams(self, dice: random.Random, onset: int, minutes: int) -> list[Stream]:
        """Return the usage of so many minutes since the start."""
        usual = self._usual(dice, minutes)
        streams = [
            _stream(CHATTING, HOME, [usd * _CHATTING_SHARE for usd in usual]),
            _stream(SORTING, HOME, [usd * (1 - _CHATTING_SHARE) for usd in usual]),
        ]
        if self.burn is not None:
            burning = [self.burn(minute) for minute in range(min(self.minutes, max(minutes - onset, 0)))]
            after = minutes - onset - len(burning)
            streams.append(_stream(self.model, self.region, [0.0] * onset + burning + [0.0] * after))
        return streams

    def _usual(self, dice: random.Random, minutes: int) -> list[float]:
        usd = [0.0] * minutes
        mean = self.usual_day_usd / len(OFFICE)
        for day in range(-(-minutes // DAY)):
            first = day * DAY
            if (START + timedelta(days=day)).weekday() < _SATURDAY:
                for minute in range(first + OFFICE.start, min(first + OFFICE.stop, minutes)):
                    noise = 1 + NOISE * (2 * dice.random() - 1)
                    usd[minute] = mean * noise * self.shape(minute)
            if self.night:
                for minute in range(first + 2 * HOUR, min(first + 2 * HOUR + _BATCH_MINUTES, minutes)):
                    usd[minute] += self.night
        return usd


_SATURDAY = 5
_BATCH_MINUTES = 40
_CHATTING_SHARE = 0.8


def _stream(model: Model, region: str, usd: Sequence[float]) -> Stream:
    return Stream(region, model.namespace, model.id, usd, model.for_a_usd())


def _steady(usd: float, minutes: int) -> Callable[[int], float]:
    return lambda _minute: usd / minutes


def _between(first: int, last: int, factor: float) -> Callable[[int], float]:
    return lambda minute: factor if first <= minute < last else 1.0


_MIDWEEK = range(8 * DAY, 10 * DAY)
"""A Tuesday or Wednesday."""
_LAUNCH = 25 * DAY
"""Friday the 26th."""
_MONTH_END = 29 * DAY
"""Tuesday the 30th."""

INCIDENTS = (
    Trace(
        "cache-miss loop, $30k in 33 days",
        usual_day_usd=60,
        burn=_steady(37_902, 33 * DAY),
        minutes=33 * DAY,
        model=MISSING_THE_CACHE,
        onsets=_MIDWEEK,
    ),
    Trace(
        "mantle, $30k in 3 days",
        usual_day_usd=200,
        burn=_steady(30_000, 3 * DAY),
        minutes=3 * DAY,
        model=CODING_ON_MANTLE,
        region=QUIET,
        onsets=_MIDWEEK,
    ),
    Trace(
        "stolen key, $46k a day",
        usual_day_usd=1_000,
        burn=_steady(46_000, DAY),
        minutes=2 * DAY,
        model=STOLEN,
        region=QUIET,
        onsets=_MIDWEEK,
    ),
    # Only the sum was published: eleven days, growing evenly from nothing, are assumed.
    Trace(
        "two agents, $47k",
        usual_day_usd=100,
        burn=lambda minute: 2 * 47_000 * minute / (11 * DAY) ** 2,
        minutes=11 * DAY,
        model=TALKING,
        onsets=_MIDWEEK,
    ),
    Trace(
        "overnight cache writes, $1,000",
        usual_day_usd=50,
        burn=_steady(1_000, 10 * HOUR),
        minutes=10 * HOUR,
        model=WRITING_THE_CACHE,
        onsets=_MIDWEEK,
    ),
    Trace(
        "uncapped enterprise, $500M in 30 days",
        usual_day_usd=20_000,
        burn=_steady(500e6, 30 * DAY),
        minutes=30 * DAY,
        model=STOLEN,
        onsets=_MIDWEEK,
    ),
    Trace(
        "$1,000 a minute from nothing",
        usual_day_usd=500,
        burn=_steady(1_000, 1),
        minutes=DAY,
        model=STOLEN,
        region=QUIET,
        onsets=_MIDWEEK,
    ),
    # The account's own work is the incident.
    Trace(
        "creep of 10 % a day",
        usual_day_usd=100,
        burn=_steady(0, 1),
        minutes=30 * DAY,
        shape=lambda minute: 1.1 ** (minute // DAY),
    ),
)
LEGITIMATE = (
    Trace("office hours", 100, legitimate=True),
    # Twenty times the mean minute of the account's day.
    Trace("nightly batch", 100, night=20 * 100 / DAY, legitimate=True),
    Trace("launch day", 100, shape=_between(_LAUNCH + 10 * HOUR, _LAUNCH + 16 * HOUR, 3), legitimate=True),
    Trace("month-end report", 100, shape=_between(_MONTH_END + 14 * HOUR, _MONTH_END + 15 * HOUR, 5), legitimate=True),
    Trace("growth of 2 % a day", 100, shape=lambda minute: 1.02 ** (minute // DAY), legitimate=True),
    # Not published anywhere: a cheap model called for the first time in another region, as much as all usual work.
    Trace(
        "a new model's first day",
        100,
        burn=_steady(100, len(OFFICE)),
        minutes=7 * HOUR,
        model=SORTING,
        region=QUIET,
        onsets=range(_LAUNCH + 10 * HOUR, _LAUNCH + 10 * HOUR + 1),
        legitimate=True,
    ),
)
