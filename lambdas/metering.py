"""The meter's shell: gather → price → decide → ask for a stop → report."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from lambdas.core.decision import Decision, decide
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.limits import Allowance, Limit, Verdict
from lambdas.core.notice import Links, Notice, SpendSummary, warn_notice
from lambdas.core.plan import BrakeState
from lambdas.core.prices import PriceTable
from lambdas.core.spend import Spend, price_reading
from lambdas.core.usage import Reading, Series

T = TypeVar("T")


class Usage(Protocol):
    """Where usage is read."""

    def series(self) -> tuple[Sequence[Series], tuple[str, ...]]:
        """Return the series CloudWatch lists now, and in words what could not be listed."""

    def read(self, series: Iterable[Series], now: datetime) -> Reading:
        """Return the month by the hour and the open hour by the minute."""


class Ledger(Protocol):
    """What is remembered. Losing it loses history, never the ability to stop."""

    def allowances(self, now: datetime) -> Sequence[Allowance]:
        """Return the allowances that have not expired."""

    def known_series(self, month: datetime) -> frozenset[Series]:
        """Return the series seen since the month began; CloudWatch forgets to list those idle for two weeks."""

    def remember_series(self, month: datetime, series: Iterable[Series]) -> None:
        """Add series to those of the month."""

    def wanted(self) -> Level:
        """Return the level the last stop or release wants the brake to have."""

    def last_verdict(self) -> Verdict | None:
        """Return the verdict of the last tick, None before the first."""

    def record_decision(self, decision: Decision, body: dict[str, Any], *, news: bool) -> None:
        """Make a decision the latest; keep it in the history as well when it is news."""


class Brake(Protocol):
    """The part of the brake the meter sees."""

    def levels(self) -> BrakeState:
        """Return both policies without their holders."""


@dataclass(frozen=True, slots=True)
class MeterTools:
    """All a tick needs."""

    usage: Usage
    ledger: Ledger
    brake: Brake
    prices: PriceTable
    limits: tuple[Limit, ...]
    reaction: timedelta
    enforce: bool
    links: Links
    ask_for_stop: Callable[[dict[str, Any]], None]
    send: Callable[[Notice], None]


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick found and did."""

    decision: Decision
    spend: Spend
    level: Level | None
    """The level IAM had when the tick began; None when it could not be read."""
    asked: Level | None
    """The level the stop function was asked for."""
    problems: tuple[str, ...]
    """What failed on the way; the tick went on without it. Raised at the end, so that the alarm tells."""

    def figures(self) -> dict[str, Decimal]:
        """Return the figures worth a metric."""
        return {"BurnUsdPerMinute": self.spend.burn} | {
            f"Spend{window.capitalize()}Usd": usd for window, usd in self.spend.by_window.items()
        }


def tick(now: datetime, tools: MeterTools) -> Tick:
    """Measure once and act on it.

    A failed call never ends the tick: what can still be known is judged, the rest is a gap, and a gap never
    lowers a verdict. While the brake is on, each tick asks for the same level again, which repairs whatever
    somebody undid or a crash left out.
    """
    problems: list[str] = []
    state = _tried(tools.brake.levels, problems)
    level = None if state is None else state.level
    reading = _read(now, tools, problems)
    spend = price_reading(reading, tools.prices)

    allowances = _tried(lambda: tools.ledger.allowances(now), problems) or ()
    last = _tried(tools.ledger.last_verdict, problems)
    decision = decide(spend, tools.limits, allowances, last or Verdict.OK, tools.reaction, now)
    summary = SpendSummary.of(spend, decision)

    # Whoever wants more wins: the spend, what IAM has, what a person last said. Only a release lowers it.
    wanted = _tried(tools.ledger.wanted, problems) or Level.RELEASED
    called_for = Level.for_verdict(decision.verdict)
    kept = max(level or Level.RELEASED, wanted)
    # In report-only mode a limit is told of when it is crossed, not each minute; a person's kill is kept on.
    news = called_for > kept and (tools.enforce or decision.verdict > (last or Verdict.OK))
    asked = called_for if news else kept
    if asked > Level.RELEASED:
        request = {
            "source": "meter",
            "at": now.isoformat(),
            "level": str(asked),
            "reason": decision.reason if called_for is asked else "kept on until a person releases it",
            "reassert": not news,
            "spend": asdict(summary),
        }
        _tried(lambda: tools.ask_for_stop(request), problems)
    if decision.verdict is Verdict.WARN and (last or Verdict.OK) < Verdict.WARN:
        _tried(lambda: tools.send(warn_notice(decision, summary, tools.links)), problems)
    # After the effect: a crash before this line repeats a mail, never skips a stop.
    body = {"verdict": str(decision.verdict), "reason": decision.reason, "spend": asdict(summary)}
    _tried(lambda: tools.ledger.record_decision(decision, body, news=decision.verdict is not last), problems)
    if state is not None and asked is Level.RELEASED and state.sweep.level not in {Level.RELEASED, None}:
        problems.append(f"a release stopped half-way: {state.sweep.name} still denies; run the release function again")
    return Tick(decision, spend, level, asked if asked > Level.RELEASED else None, (*problems, *spend.gaps))


def _read(now: datetime, tools: MeterTools, problems: list[str]) -> Reading:
    listed, gaps = tools.usage.series()
    known = _tried(lambda: tools.ledger.known_series(now), problems)
    if known is None:
        gaps = (*gaps, "the models seen earlier this month are not known, the ledger cannot be read")
    elif new := set(listed) - known:
        _tried(lambda: tools.ledger.remember_series(now, new), problems)
    reading = tools.usage.read(sorted({*listed, *(known or ())}), now)
    return Reading(reading.taken_at, reading.samples, (*gaps, *reading.gaps))


def _tried(call: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return call()
    except AwsCallError as error:
        problems.append(str(error))
        return None
