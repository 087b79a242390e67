"""What is watched while a stop or step-down stands: whether it takes hold, and whether a clock may end it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from lambdas.core import model_ids, stored
from lambdas.core.actions import matches_name
from lambdas.core.decision import Finding
from lambdas.core.inventory import BY_THE_HOUR
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Limit
from lambdas.core.spend import BURN_MINUTES, SETTLED, UNLISTED
from lambdas.core.usage import Kind, Reading
from lambdas.core.windows import Window

SETTLES = timedelta(minutes=5)
"""A stop has taken hold after so long: up to 3 minutes until CloudWatch shows a minute, one until IAM's denial is
everywhere, one to spare. Minutes before that say nothing."""
TELL_AGAIN = timedelta(minutes=15)
"""Usage that lasts is looked into, and the next rung asked for, once so often. People are told at their own pace."""
_MINUTES = 2
"""A call counts when it ends: a single minute may be one long stream from before the stop, several are new calls."""
_CHEAP_GOES_ON = timedelta(minutes=15)
"""At step-down a glance cannot tell cheap usage, which is meant to go on, from dear: it is looked into so often."""
_LOOK_AGAIN = timedelta(minutes=5)
"""The same at a stop, after a read that did not show which models it is."""

_LATELY = timedelta(minutes=10)

COOL_DOWN = timedelta(minutes=15)
"""A stop so soon after one that a clock ended waits for a person: whoever is spending did not stop."""
RELEASE_AGAIN = timedelta(minutes=2)
"""A release that was asked for has begun after so long, or is asked for again."""
FADES = timedelta(minutes=BURN_MINUTES) + SETTLED
"""So long after a window what burned before its end may still show as usage on its way."""
METER = "meter"


# --- does it take hold? ---


@dataclass(frozen=True, slots=True)
class Standing:
    """A level that is on, as the ticks remember it."""

    level: Level
    since: datetime | None
    """None when nobody knows: somebody set it by hand, and this is the first tick to see it."""
    told_at: datetime | None = None
    """When it was last found that usage goes on, and the next rung asked for."""
    held: bool = False
    """Whether meanwhile a limit that says hold has called for a step-down or a stop: then no clock ends it."""

    @classmethod
    def of(cls, kept: Level, wanted: Wanted, before: "Standing | None") -> "Standing | None":
        """Return how the level that is kept on stands; None while released."""
        if kept is Level.RELEASED:
            return None
        held = before is not None and before.held
        known = wanted.at if wanted.level is kept else None
        if before is None or before.level is not kept:
            return cls(kept, known, held=held)
        return cls(kept, known or before.since, before.told_at, held=held)

    def judged_from(self, now: datetime) -> datetime | None:
        """Return the first minute whose usage says that it does not take hold, None when that is not known.

        Once it was told, only what goes on to the last minutes is worth telling again.
        """
        if self.since is None:
            return None
        settled = self.since + SETTLES
        return settled if self.told_at is None else max(settled, self.told_at, now - _LATELY)

    def is_due(self, now: datetime) -> bool:
        """Tell whether usage that goes on calls for the next rung: not yet for this stop, or not for a while."""
        if self.since is None:
            return False
        return self.told_at is None or self.told_at < self.since or now - self.told_at >= TELL_AGAIN

    def is_worth_a_read(self, glance: Reading, read_at: datetime, now: datetime) -> bool:
        """Tell whether a glance shows usage that should not be there and that no full read has looked into."""
        since = self.judged_from(now)
        if since is None or not self.is_due(now):
            return False
        minutes = {each.start for each in glance.totals if each.count and each.series.kind is not Kind.CALLS}
        if sum(each >= since for each in minutes) < _MINUTES:
            return False
        again = _LOOK_AGAIN if self.level is Level.STOP else _CHEAP_GOES_ON
        # An earlier read cannot have seen a second minute.
        return read_at < since + timedelta(minutes=_MINUTES) or now - read_at >= again

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "level": str(self.level),
            "since": None if self.since is None else self.since.isoformat(),
            "told_at": None if self.told_at is None else self.told_at.isoformat(),
            "held": self.held,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any] | None) -> "Standing | None":
        """Read one, None where there was none. Raises ValueError, KeyError, TypeError or AttributeError."""
        if body is None:
            return None
        since, told_at = (None if body[name] is None else stored.moment(body[name]) for name in ("since", "told_at"))
        return cls(Level.named(body["level"]), since, told_at, held=bool(body["held"]))


@dataclass(frozen=True, slots=True)
class Burning:
    """Usage that a stop or step-down should have ended."""

    minutes: int
    """In so many distinct minutes."""
    usd: Mapping[str, Decimal]
    """USD of the dearest minute of each model, the dearest first; models with their region."""

    @property
    def is_sure(self) -> bool:
        """Tell whether it is more than a late end of something that began before."""
        return self.minutes >= _MINUTES

    def __str__(self) -> str:
        """Return the words for people."""
        models = ", ".join(f"{model} ${usd:.2f} a minute" for model, usd in self.usd.items())
        return f"{models} in {self.minutes} minutes after it should have ended"


def burning(
    by_minute: Mapping[datetime, Mapping[tuple[str, str], Decimal]], since: datetime, is_denied: Callable[[str], bool]
) -> Burning | None:
    """Return the usage of denied models in the minutes from ``since`` on, None when there was none."""
    usd: dict[str, Decimal] = {}
    minutes: set[datetime] = set()
    for start, models in by_minute.items():
        for (model, region), cost in models.items():
            if start >= since and is_denied(model):
                label = f"{model} ({region})"
                usd[label] = max(cost, usd.get(label, cost))
                minutes.add(start)
    if not minutes:
        return None
    return Burning(len(minutes), dict(sorted(usd.items(), key=lambda each: (-each[1], each[0]))))


def denies(level: Level, dear: Iterable[str], behind: Callable[[str], Iterable[str]]) -> Callable[[str], bool]:
    """Return what tells whether a level denies a model. ``dear`` are the patterns of a step-down.

    A stop denies every model. At step-down only what is known to be dear counts: to escalate on a guess would stop
    those whom the step-down lets go on, and what an unknown model costs is held against the limits all the same.
    """
    if level is Level.STOP:
        return lambda _model: True
    patterns = tuple(dear)

    def is_dear(model: str) -> bool:
        if model == UNLISTED:
            return False
        bare = [model_ids.without_geography(model_ids.normalise(each)) for each in behind(model) if each != BY_THE_HOUR]
        return bool(bare) and all(any(matches_name(pattern, each) for pattern in patterns) for each in bare)

    return is_dear


# --- may a clock end it? ---


def waits_for(
    findings: Iterable[Finding], asked: Level, before: Wanted | None, level: Level | None, now: datetime
) -> tuple[str, ...]:
    """Return the windows whose end ends what is asked for now; none when it waits for a person.

    ``before`` is the last word and ``level`` what IAM has, None when unknown. What stands already for another reason
    (a person, a budget, a rate, a limit that says hold, an unknown one) keeps waiting for a person when it is raised.
    """
    if before is None or level is None:
        return ()
    if max(level, before.level) > Level.RELEASED:
        if before.by != METER or not before.windows or level > before.level:
            return ()
    elif before.by == METER and before.at is not None and now - before.at < COOL_DOWN:
        return ()
    called = {each.limit: Level.for_verdict(each.verdict) for each in findings}
    if any(limit.hold and calls_for > Level.RELEASED for limit, calls_for in called.items()):
        return ()
    causes = {limit.window for limit, calls_for in called.items() if calls_for >= asked}
    return () if Window.MINUTE in causes else tuple(sorted(causes))


def ends_at(wanted: Wanted, level: Level | None, limits: Iterable[Limit]) -> datetime | None:
    """Return when the last window ends that a stop waits for; None when no clock ends it.

    ``level`` is what IAM has. When that is more than the last word wants, somebody set it by hand.
    """
    if wanted.level is Level.RELEASED or wanted.by != METER or wanted.at is None:
        return None
    if level is None or level > wanted.level:
        return None
    known = {each.value: each for each in (Window.HOUR, Window.DAY, Window.MONTH)}
    held = {each.window for each in limits if each.hold}
    windows = [known.get(each) for each in wanted.windows]
    ends = [each.end(wanted.at) for each in windows if each is not None and each not in held]
    return max(ends) if ends and len(ends) == len(windows) else None
