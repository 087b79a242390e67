"""The meter's shell: gather → price → decide → ask for a stop → report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from lambdas.core.decision import Decision, decide
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Allowance, Limit, Verdict
from lambdas.core.notice import Links, Notice, SpendSummary, gap_notice, warn_notice
from lambdas.core.plan import MISSING_VERSION, BrakeState
from lambdas.core.prices import PriceTable
from lambdas.core.spend import Spend, price_reading
from lambdas.core.usage import Reading, Series

T = TypeVar("T")

TELL_AGAIN = timedelta(days=1)
"""A gap that lasts is told of once a day."""


class Usage(Protocol):
    """Where usage is read."""

    def series(self) -> tuple[Sequence[Series], tuple[str, ...]]:
        """Return the series CloudWatch lists now, and in words what could not be listed."""

    def read(self, series: Iterable[Series], now: datetime) -> Reading:
        """Return the month's usage: closed days, the open day by the hour, the open hour by the minute."""


class Ledger(Protocol):
    """What is remembered. Losing it loses history, never the ability to stop."""

    def allowances(self, now: datetime) -> Sequence[Allowance]:
        """Return the allowances that have not expired."""

    def known_series(self, month: datetime) -> frozenset[Series]:
        """Return the series seen since the month began; CloudWatch forgets to list those idle for two weeks."""

    def remember_series(self, month: datetime, series: Iterable[Series]) -> None:
        """Add series to those of the month."""

    def wanted(self) -> Wanted:
        """Return the level the last stop or release wants the brake to have."""

    def latest_decision(self) -> Mapping[str, Any] | None:
        """Return what the last tick recorded, None before the first and after a release."""

    def record_decision(self, at: datetime, body: dict[str, Any], *, news: bool) -> None:
        """Make a decision the latest; keep it in the history as well when it is news."""


class Brake(Protocol):
    """The part of the brake the meter sees."""

    sweep_arn: str

    def levels(self) -> BrakeState:
        """Return both policies without their holders."""

    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy is attached to."""


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
    """What failed and a person must look at; raised at the end, so that the alarm tells. Gaps are mailed instead:
    one that lasts would keep the alarm up and hide the next failure."""

    def figures(self) -> dict[str, Decimal]:
        """Return the figures worth a metric."""
        return {"BurnUsdPerMinute": self.spend.burn} | {
            f"Spend{window.capitalize()}Usd": usd for window, usd in self.spend.by_window.items()
        }

    def answer(self) -> dict[str, Any]:
        """Return the tick as the log and the console show it."""
        return {
            "verdict": str(self.decision.verdict),
            "reason": self.decision.reason,
            "asked": None if self.asked is None else str(self.asked),
            "spend": {name: f"{usd:.4f}" for name, usd in self.figures().items()},
            "gaps": list(self.spend.gaps),
            "problems": list(self.problems),
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
    wanted = _tried(tools.ledger.wanted, problems) or Wanted(Level.RELEASED)
    # The minutes before a release were answered by it; only what came after can burn again.
    burn_since = wanted.at if wanted.level is Level.RELEASED else None
    spend = price_reading(_read(now, tools, problems), tools.prices, burn_since)

    allowances = _tried(lambda: tools.ledger.allowances(now), problems) or ()
    last = _tried(lambda: _Last.of(tools.ledger.latest_decision()), problems) or _Last()
    decision = decide(spend, tools.limits, allowances, last.verdict, tools.reaction, now)
    summary = SpendSummary.of(spend, decision)

    # Whoever wants more wins: the spend, what IAM has, what a person last said. Only a release lowers it.
    called_for = Level.for_verdict(decision.verdict)
    kept = max(level or Level.RELEASED, wanted.level)
    # In report-only mode a limit is told of when it is crossed, not each minute; a person's kill is kept on.
    news = called_for > kept and (tools.enforce or last.is_exceeded_by(decision, Verdict.STEP_DOWN))
    asked = called_for if news else kept
    untold = len(problems)
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
    if decision.verdict is Verdict.WARN and last.is_exceeded_by(decision, Verdict.WARN):
        _tried(lambda: tools.send(warn_notice(decision, summary, tools.links)), problems)
    told = last.told_again(now, spend.gaps)
    if unheard := [each for each in spend.gaps if each not in told]:
        _tried(lambda: tools.send(gap_notice(unheard, tools.links)), problems)
        told |= dict.fromkeys(unheard, now)
    # After the effect, and only if it was told: a crash or a failure before this line repeats it at the next tick.
    if len(problems) == untold:
        body = _record(decision, summary, told)
        _tried(lambda: tools.ledger.record_decision(now, body, news=decision.verdict is not last.verdict), problems)
    problems += _amiss(state, asked, tools.brake, problems)
    return Tick(decision, spend, level, asked if asked > Level.RELEASED else None, tuple(problems))


@dataclass(frozen=True, slots=True)
class _Last:
    """What the tick before knew."""

    verdict: Verdict = Verdict.OK
    by_limit: Mapping[str, Verdict] | None = None
    told: Mapping[str, datetime] | None = None
    """When each gap was last told of."""

    @classmethod
    def of(cls, body: Mapping[str, Any] | None) -> "_Last":
        if body is None:
            return cls()
        try:
            by_limit = {str(limit): Verdict.named(word) for limit, word in body["limits"].items()}
            told = {str(gap): datetime.fromisoformat(at).astimezone(UTC) for gap, at in body["told"].items()}
            return cls(Verdict.named(body["verdict"]), by_limit, told)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            msg = f"the last decision in the ledger cannot be read ({error!r}); this tick judges afresh"
            raise GuardrailError(msg) from error

    def is_exceeded_by(self, decision: Decision, least: Verdict) -> bool:
        """Tell whether some limit is worse than before, and at least so bad."""
        before = self.by_limit or {}
        return any(
            each.verdict >= least and each.verdict > before.get(str(each.limit), Verdict.OK)
            for each in decision.findings
        )

    def told_again(self, now: datetime, gaps: Iterable[str]) -> dict[str, datetime]:
        """Return the gaps that were told of not long ago, and when."""
        told = self.told or {}
        return {each: told[each] for each in gaps if each in told and now - told[each] < TELL_AGAIN}


def _record(decision: Decision, summary: SpendSummary, told: Mapping[str, datetime]) -> dict[str, Any]:
    return {
        "verdict": str(decision.verdict),
        "reason": decision.reason,
        "limits": {str(each.limit): str(each.verdict) for each in decision.findings},
        "told": {gap: at.isoformat() for gap, at in told.items()},
        "spend": asdict(summary),
    }


def _amiss(state: BrakeState | None, asked: Level, brake: Brake, problems: list[str]) -> list[str]:
    """Return what is wrong with the brake itself: found in peace, not at the next stop."""
    if state is None:
        return []
    found = [
        f"{policy.name} has no version {level}: {MISSING_VERSION}"
        for policy in (state.brake, state.sweep)
        for level in Level
        if level not in policy.versions
    ]
    if asked is Level.RELEASED:
        left = _tried(lambda: brake.holders(brake.sweep_arn), problems) or frozenset()
        if left or state.sweep.level not in {Level.RELEASED, None}:
            found.append(
                f"a release did not finish ({len(left)} principals hold {state.sweep.name}): run release again"
            )
    return found


def _read(now: datetime, tools: MeterTools, problems: list[str]) -> Reading:
    listed, gaps = tools.usage.series()
    known = _tried(lambda: tools.ledger.known_series(now), problems)
    if known is None:
        gaps = (*gaps, "the models seen earlier this month are not known, the ledger cannot be read")
    elif new := set(listed) - known:
        _tried(lambda: tools.ledger.remember_series(now, new), problems)
    wanted = sorted({*listed, *(known or ())})
    reading = tools.usage.read(wanted, now)
    if wanted and reading.gaps and not reading.samples:
        # Part of the usage is a gap and mailed; none of it is a failure that somebody is woken by.
        problems.append(f"the meter is blind, no usage could be read ({reading.gaps[0]})")
    return Reading(reading.taken_at, reading.samples, _condensed((*gaps, *reading.gaps)))


_MOST_GAPS = 10


def _condensed(gaps: tuple[str, ...]) -> tuple[str, ...]:
    """Keep the list short: it goes into requests, mails and records, which AWS limits."""
    if len(gaps) <= _MOST_GAPS:
        return gaps
    return (*gaps[:_MOST_GAPS], "and more, see the meter's log")


def _tried(call: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return call()
    except GuardrailError as error:
        problems.append(str(error))
        return None
