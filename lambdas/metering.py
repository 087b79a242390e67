"""The meter's shell: glance → read what may matter → price → decide → ask for a stop → report."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

from lambdas.core import pace
from lambdas.core.decision import Decision, decide
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import Level
from lambdas.core.limits import Verdict
from lambdas.core.memory import Memory
from lambdas.core.notice import Links, Notice, SpendSummary, gap_notice, warn_notice
from lambdas.core.pace import Bounds, Unread, Watch
from lambdas.core.plan import MISSING_VERSION, BrakeState
from lambdas.core.spend import Spend
from lambdas.core.usage import Reading, Source
from lambdas.core.windows import Window
from lambdas.measuring import NAMESPACES, Gauge, close_hours, measure, tried

TELL_AGAIN = timedelta(days=1)
"""A gap that lasts is told of once a day."""
REMEMBER_REGION = timedelta(days=14)
"""A region nobody listed is metered for so long after its last use, whatever becomes of the inventory."""
FORGET_REGION = timedelta(days=1)
"""A region nobody listed is looked at each minute while it was in use so lately; after that once in half an hour."""


class Ledger(Protocol):
    """What is remembered. Losing it loses history, never the ability to stop."""

    def memory(self, now: datetime) -> Memory:
        """Return what every tick needs, in one read."""

    def note_watch(self, body: Mapping[str, Any], at: datetime, *, before: str) -> bool:
        """Keep what this tick leaves for the next, in place of the watch it began with; False when there is another."""

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

    gauge: Gauge
    ledger: Ledger
    brake: Brake
    bounds: Bounds
    regions: tuple[str, ...]
    """The configured regions."""
    watched: frozenset[str]
    """Those that have tripwires."""
    enforce: bool
    links: Links
    ask_for_stop: Callable[[dict[str, Any]], None]
    send: Callable[[Notice], None]


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick found and did."""

    why: str
    """Why the usage was read in full; empty when it was not."""
    decision: Decision | None
    """None when nothing was due."""
    spend: Spend | None
    unread: Unread | None
    """The most that may have been spent since the last full read, by a glance; None when that was not looked at."""
    age: timedelta | None
    """The age of the last full read, None when there has been none."""
    moving: bool
    """Whether some source was in use lately: only then are metrics worth their price."""
    level: Level | None
    """The level IAM had when the tick began; None when it could not be read."""
    asked: Level | None
    """The level the stop function was asked for."""
    problems: tuple[str, ...]
    """What failed and a person must look at; raised at the end, so that the alarm tells. Gaps are mailed instead:
    one that lasts would keep the alarm up and hide the next failure."""

    def figures(self, windows: Iterable[Window]) -> dict[str, Decimal]:
        """Return the figures worth a metric: those of the windows that have limits, and how good they are."""
        found = {} if self.age is None else {"AgeSeconds": Decimal(int(self.age.total_seconds()))}
        if self.spend is None:
            return found
        found |= {
            f"Spend{window.capitalize()}Usd": usd for window, usd in self.spend.by_window.items() if window in windows
        }
        found["BurnUsdPerMinute"] = self.spend.burn
        # Each metric costs $0.30 a month while it is published: without one of these there is no guess and no gap.
        doubts = {"GuessedPercent": self.spend.guessed_percent, "Gaps": Decimal(len(self.spend.gaps))}
        return found | {name: value for name, value in doubts.items() if value}

    def answer(self) -> dict[str, Any]:
        """Return the tick as the log and the console show it."""
        answer: dict[str, Any] = {
            "looked": f"read in full: {self.why}" if self.why else "nothing was due",
            "asked": None if self.asked is None else str(self.asked),
            "problems": list(self.problems),
        }
        if self.unread is not None:
            answer["unread_usd_at_most"] = f"{self.unread.usd:.4f}"
        if self.decision is not None and self.spend is not None:
            answer |= {
                "verdict": str(self.decision.verdict),
                "reason": self.decision.reason,
                "spend": {str(window): f"{usd:.4f}" for window, usd in self.spend.by_window.items()},
                "burn": f"{self.spend.burn:.4f}",
                "gaps": list(self.spend.gaps),
            }
        return answer


def tick(now: datetime, tools: MeterTools, *, woken: bool = False) -> Tick:
    """Look at what is worth a look now, and act on it. ``woken`` by an alarm, it looks at everything.

    A failed call never ends the tick: what can still be known is judged, the rest is a gap, and a gap never
    lowers a verdict. While the brake is on, each tick asks for the same level again, which repairs whatever
    somebody undid or a crash left out.
    """
    problems: list[str] = []
    state = tried(tools.brake.levels, problems)
    memory = tried(lambda: tools.ledger.memory(now), problems)
    problems += [] if memory is None else memory.broken
    memory = memory or Memory()
    last = tried(lambda: _Last.of(memory.decision), problems) or _Last()
    watch = tried(lambda: _watch(memory.watch), problems)
    elsewhere = _elsewhere(memory, problems)
    sources = _sources(tools, elsewhere, watch, now)

    news: Unread | None = None
    seen = watch
    if watch is None or memory.decision is None:
        why = "nothing is known of before"
    else:
        guarded = tools.watched | _forgotten(tools, sources, watch, now)
        looks = pace.to_glance_at(watch, sources, guarded, now, woken=woken)
        glance = tools.gauge.usage.glance(looks, now) if looks else Reading(now, [])
        news = pace.unread(watch, looks, glance, tools.gauge.prices, now, _burn_since(memory))
        why = (
            pace.why_read(watch, glance, news, tools.bounds, memory.allowances, last.verdict, _mark(memory), now) or ""
        )
        seen = pace.noticed(watch, glance) or watch
        if not why and seen is not watch:
            tried(partial(tools.ledger.note_watch, seen.to_json(), now, before=memory.watch_mark), problems)

    level = None if state is None else state.level
    kept = max(level or Level.RELEASED, memory.wanted.level)
    if tools.enforce and Level.for_verdict(last.verdict) > kept:
        why = why or "what the last decision calls for is not there"
    if not why:
        if kept > Level.RELEASED:
            tried(lambda: tools.ask_for_stop(_request(now, kept, None)), problems)
        return Tick(
            why=why,
            decision=None,
            spend=None,
            unread=news,
            age=None if watch is None else now - watch.read_at,
            moving=_moving(seen, now),
            level=level,
            asked=kept if kept > Level.RELEASED else None,
            problems=tuple(problems),
        )
    found = measure(now, tools.gauge, seen, sources, _mark(memory), _burn_since(memory), problems)
    decision = decide(found.spend, tools.bounds.limits, memory.allowances, last.verdict, tools.bounds.reaction, now)
    asked = _act(now, tools, memory, level, last, decision, found.spend, problems)
    # Only now: whatever fails below, the stop has been asked for.
    tried(partial(tools.ledger.note_watch, found.watch.to_json(), now, before=memory.watch_mark), problems)
    close_hours(tools.gauge, found, problems)
    problems += _amiss(state, asked, tools.brake, problems)
    return Tick(
        why=why,
        decision=decision,
        spend=found.spend,
        unread=news,
        age=timedelta(0),
        moving=_moving(found.watch, now) or found.spend.burn > 0,
        level=level,
        asked=asked if asked > Level.RELEASED else None,
        problems=tuple(problems),
    )


def _act(
    now: datetime,
    tools: MeterTools,
    memory: Memory,
    level: Level | None,
    last: "_Last",
    decision: Decision,
    spend: Spend,
    problems: list[str],
) -> Level:
    """Ask for what the decision calls for, tell people, and record it. Return the level that was asked for."""
    summary = SpendSummary.of(spend, decision)
    # Whoever wants more wins: the spend, what IAM has, what a person last said. Only a release lowers it.
    called_for = Level.for_verdict(decision.verdict)
    kept = max(level or Level.RELEASED, memory.wanted.level)
    # In report-only mode a limit is told of when it is crossed, not each minute; a person's kill is kept on.
    news = called_for > kept and (tools.enforce or last.is_exceeded_by(decision, Verdict.STEP_DOWN))
    asked = called_for if news else kept
    untold = len(problems)
    if asked > Level.RELEASED:
        reason = decision.reason if called_for is asked else None
        tried(lambda: tools.ask_for_stop(_request(now, asked, reason, summary, news=news)), problems)
    if decision.verdict is Verdict.WARN and last.is_exceeded_by(decision, Verdict.WARN):
        tried(lambda: tools.send(warn_notice(decision, summary, tools.links)), problems)
    told = last.told_again(now, spend.gaps)
    if unheard := [each for each in spend.gaps if each not in told]:
        tried(lambda: tools.send(gap_notice(unheard, tools.links)), problems)
        told |= dict.fromkeys(unheard, now)
    # After the effect, and only if it was told: a crash or a failure before this line repeats it at the next tick.
    if len(problems) == untold:
        body = _record(decision, summary, told)
        tried(lambda: tools.ledger.record_decision(now, body, news=decision.verdict is not last.verdict), problems)
    return asked


def _request(
    now: datetime, level: Level, reason: str | None, summary: SpendSummary | None = None, *, news: bool = False
) -> dict[str, Any]:
    return {
        "source": "meter",
        "at": now.isoformat(),
        "level": str(level),
        "reason": reason or "kept on until a person releases it",
        "reassert": not news,
        "spend": asdict(summary or SpendSummary()),
    }


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
        left = tried(lambda: brake.holders(brake.sweep_arn), problems) or frozenset()
        if left or state.sweep.level not in {Level.RELEASED, None}:
            found.append(
                f"a release did not finish ({len(left)} principals hold {state.sweep.name}): run release again"
            )
    return found


def _elsewhere(memory: Memory, problems: list[str]) -> list[str]:
    """Return the regions the inventory found in use although nobody listed them."""
    found = [] if memory.inventory is None else memory.inventory.get("discovered")
    if isinstance(found, list) and all(isinstance(each, str) for each in found):
        return found
    problems.append(f"the regions found in use cannot be read from the ledger ({found!r}): run the inventory function")
    return []


def _sources(tools: MeterTools, elsewhere: Iterable[str], watch: Watch | None, now: datetime) -> list[Source]:
    """Return both planes of the configured regions, of those found in use elsewhere, and what was in use lately."""
    regions = {*tools.regions, *elsewhere}
    for source, seen in (watch.sources if watch else {}).items():
        if not (seen.active_at is None or now - seen.active_at > REMEMBER_REGION):
            regions.add(source.region)
    return sorted(Source(region, namespace) for region in regions for namespace in NAMESPACES)


def _forgotten(tools: MeterTools, sources: Iterable[Source], watch: Watch, now: datetime) -> frozenset[str]:
    """Return the regions without tripwires that nobody listed and nobody has used lately."""
    lately = {
        source.region
        for source, seen in watch.sources.items()
        if seen.active_at is not None and now - seen.active_at <= FORGET_REGION
    }
    return frozenset({source.region for source in sources} - {*tools.regions} - lately)


def _mark(memory: Memory) -> str:
    return str((memory.inventory or {}).get("mark", ""))


def _burn_since(memory: Memory) -> datetime | None:
    # The minutes before a release were answered by it; only what came after can burn again.
    return memory.wanted.at if memory.wanted.level is Level.RELEASED else None


def _moving(watch: Watch | None, now: datetime) -> bool:
    return watch is not None and any(not seen.is_quiet(now) for seen in watch.sources.values())


def _watch(body: Mapping[str, Any] | None) -> Watch | None:
    if body is None:
        return None
    try:
        return Watch.from_json(body)
    except (KeyError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        msg = f"what the last read left in the ledger cannot be read ({error!r}); this tick reads in full"
        raise GuardrailError(msg) from error
