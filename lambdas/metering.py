"""The meter's shell: glance → read what may matter → price → decide → ask for a stop → report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

from lambdas.core import aftermath, pace
from lambdas.core.aftermath import Burning, Standing
from lambdas.core.decision import Decision, decide
from lambdas.core.errors import GuardrailError
from lambdas.core.figures import figures
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Verdict
from lambdas.core.memory import Memory
from lambdas.core.notice import (
    Links,
    SpendSummary,
    Stand,
    blind_notice,
    gap_notice,
    standing_notice,
    still_burning_notice,
    warn_notice,
)
from lambdas.core.pace import Bounds, Unread, Watch
from lambdas.core.plan import MISSING_VERSION, BrakeState
from lambdas.core.spend import Spend
from lambdas.core.usage import Reading, Source
from lambdas.core.windows import Window
from lambdas.measuring import NAMESPACES, Gauge, Measured, close_hours, measure, read_inventory, tried
from lambdas.telling import Teller, Ways

FIRST_REMINDER = timedelta(hours=1)
"""Whoever was mailed about a stop is not reminded of it sooner."""
BLIND_FOR = timedelta(minutes=5)
"""A meter that sees nothing for so long is told of; CloudWatch may refuse a call or two."""
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

    def last(self, kind: str) -> Mapping[str, Any] | None:
        """Return the newest record of a ``stop``."""


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
    ask_for_release: Callable[[dict[str, Any]], None]
    ways: Ways
    dear: tuple[str, ...] = ()
    """Patterns of the models a step-down denies."""
    exempt: tuple[str, ...] = ()
    """In words, who may go on during a stop."""


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
    """The level the stop function was asked for; released when the release function was asked instead."""
    problems: tuple[str, ...]
    """What failed and a person must look at; raised at the end, so that the alarm tells. Gaps are mailed instead:
    one that lasts would keep the alarm up and hide the next failure."""
    burning: Burning | None = None
    """The usage that goes on although it is denied."""

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
        if self.burning is not None:
            answer["still_burning"] = str(self.burning)
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
    remembered = tried(lambda: tools.ledger.memory(now), problems)
    problems += [] if remembered is None else remembered.broken
    memory = remembered or Memory()
    last = tried(lambda: _Last.of(memory.decision), problems) or _Last()
    level = None if state is None else state.level
    before = _Before(state, memory, None if remembered is None else memory.wanted, level, last)
    kept = before.kept
    told = Teller(memory.told, tools.ways, now, problems)
    watch = tried(lambda: _watch(memory.watch), problems)
    elsewhere = _elsewhere(memory, problems)
    sources = _sources(tools, elsewhere, watch, now)

    if before.is_unfinished or memory.releasing:
        _have_finished(now, tools, problems, memory.releasing)
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
        why = why or _why_read_while_on(before, tools, watch, glance, now)
        seen = pace.noticed(watch, glance) or watch
        if not why and seen is not watch:
            tried(partial(tools.ledger.note_watch, seen.to_json(), now, before=memory.watch_mark), problems)

    if tools.enforce and before.lacks(Level.for_verdict(last.verdict)):
        why = why or "what the last decision calls for is not there"
    if not why:
        if kept > Level.RELEASED or memory.narrow:
            tried(lambda: tools.ask_for_stop(_request(now, kept, None, memory)), problems)
        _remind(now, tools, before, told)
        told.close()
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
    found = _read(now, tools, before, why, news, seen, sources, told, problems)
    told.close()
    return replace(found, problems=tuple(problems))


@dataclass(frozen=True, slots=True)
class _Before:
    """How things stood when the tick began."""

    state: BrakeState | None
    memory: Memory
    wanted: Wanted | None
    """The last word; None when the ledger could not be read."""
    level: Level | None
    """What IAM had; None when it could not be read."""
    last: "_Last"

    @property
    def kept(self) -> Level:
        """The level to keep on. Whoever wants more wins: what IAM has, or the last word. Only a release lowers it."""
        if self.is_unfinished:
            return Level.RELEASED
        return max(self.level or Level.RELEASED, self.memory.wanted.level)

    def lacks(self, level: Level) -> bool:
        """Tell whether a level is more than what stands: a stop that may end no work is less than one that does."""
        return level > self.kept or (level is Level.STOP and self.memory.wanted.reversible_only)

    @property
    def is_unfinished(self) -> bool:
        """Whether the last word is a release that has not put everything back."""
        wanted = self.memory.wanted
        return wanted.level is Level.RELEASED and wanted.at is not None and not wanted.done

    @property
    def on(self) -> Standing | None:
        """How it stands."""
        return Standing.of(self.kept, self.memory.wanted, self.last.on)

    def ends_at(self, tools: MeterTools) -> datetime | None:
        """Return when the clock may end it, None when only a person does."""
        return aftermath.ends_at(self.memory.wanted, self.level, tools.bounds.limits) if tools.enforce else None

    def is_over(self, tools: MeterTools, now: datetime) -> bool:
        """Tell whether the clock may end it now."""
        ends_at = self.ends_at(tools)
        return ends_at is not None and ends_at <= now


def _read(
    now: datetime,
    tools: MeterTools,
    before: _Before,
    why: str,
    unread: Unread | None,
    watch: Watch | None,
    sources: Sequence[Source],
    told: Teller,
    problems: list[str],
) -> Tick:
    """Read in full, decide, act, and leave to the next tick what it needs."""
    memory, last, on = before.memory, before.last, before.on
    found = measure(now, tools.gauge, watch, sources, _mark(memory), _burn_since(memory), problems)
    decision = decide(found.spend, tools.bounds.limits, memory.allowances, last.verdict, tools.bounds.reaction, now)
    burning = None
    judged_from = None if on is None else on.judged_from(now)
    if on is not None and judged_from is not None:
        is_denied = aftermath.denies(on.level, tools.dear, found.behind)
        burning = aftermath.burning(found.usage.by_minute, judged_from, is_denied)
    ends = before.is_over(tools, now) and _has_ended(found.spend, decision, on)
    if ends:
        asked, unheard = Level.RELEASED, _ask_for_release(now, tools, before, decision, problems)
    else:
        asked, unheard = _act(now, tools, before, decision, found.spend, burning, told, problems), False
    # Only now: whatever fails below, the stop has been asked for. A release that could not be asked for is asked for
    # by the next tick, which reads again when this read is forgotten.
    if not unheard:
        tried(partial(tools.ledger.note_watch, found.watch.to_json(), now, before=memory.watch_mark), problems)
    close_hours(tools.gauge, found, problems)
    _tell_blindness(now, tools, found, told)
    if not ends:
        _remind(now, tools, before, told)
    in_use = ends or asked > Level.RELEASED or before.is_unfinished
    problems += _amiss(now, before.state, tools, problems, in_use=in_use, narrow=bool(memory.narrow))
    return Tick(
        why=why,
        decision=decision,
        spend=found.spend,
        unread=unread,
        age=timedelta(0),
        moving=_moving(found.watch, now) or found.spend.burn > 0,
        level=before.level,
        asked=asked if ends or asked > Level.RELEASED else None,
        problems=tuple(problems),
        burning=burning,
    )


def _why_read_while_on(before: _Before, tools: MeterTools, watch: Watch, glance: Reading, now: datetime) -> str:
    """Return in words why what stands calls for a full read now; empty when it does not."""
    on, last = before.on, before.last
    if on is None:
        return ""
    if on.is_worth_a_read(glance, watch.read_at, now):
        return f"usage goes on although a {on.level} is on"
    ends_at = before.ends_at(tools)
    if ends_at is None or now < ends_at:
        return ""
    # Another limit may have kept it on until now: each window that ends is worth a look.
    windows = {each.window for each in tools.bounds.limits} - {Window.MINUTE}
    turned = max((ends_at, *(each.start(now) for each in windows)))
    age = now - watch.read_at
    again = age >= aftermath.RELEASE_AGAIN and (
        # What burned before the window ended no longer counts then, or no release has followed the last read.
        watch.read_at < turned + aftermath.FADES or last.verdict < Verdict.STEP_DOWN
    )
    whole = not last.gaps or age < pace.READ_AGAIN
    return f"the window that the {on.level} waits for is over" if watch.read_at < turned or again or not whole else ""


def _has_ended(spend: Spend, decision: Decision, on: Standing | None) -> bool:
    """Tell whether nothing calls for a stop any more, by a reading that lacks nothing."""
    held = on is not None and on.held
    return spend.complete and decision.verdict < Verdict.STEP_DOWN and not held


def _ask_for_release(
    now: datetime, tools: MeterTools, before: _Before, decision: Decision, problems: list[str]
) -> bool:
    """Ask for the release that the end of a window calls for, and record why. Tell whether asking failed."""
    windows = before.memory.wanted.windows
    untold = len(problems)
    request = {
        "source": "meter",
        "at": now.isoformat(),
        "windows": list(windows),
        "reason": f"the {' and the '.join(windows)} of the limit that called for it is over; now {decision.reason}",
    }
    tried(lambda: tools.ask_for_release(request), problems)
    if len(problems) > untold:
        return True
    body = _record(decision, SpendSummary(), before.on)
    tried(lambda: tools.ledger.record_decision(now, body, news=True), problems)
    return False


def _act(
    now: datetime,
    tools: MeterTools,
    before: _Before,
    decision: Decision,
    spend: Spend,
    burning: Burning | None,
    told: Teller,
    problems: list[str],
) -> Level:
    """Ask for what the decision calls for, tell people, and record it. Return the level that was asked for."""
    summary = SpendSummary.of(spend, decision)
    last, kept, on = before.last, before.kept, before.on
    called_for = Level.for_verdict(decision.verdict)
    # In report-only mode a limit is told of when it is crossed, not each minute; a person's kill is kept on.
    news = before.lacks(called_for) and (tools.enforce or bool(last.exceeded_by(decision, Verdict.STEP_DOWN)))
    asked = called_for if news else kept
    reason = decision.reason if called_for is asked else None
    windows = aftermath.waits_for(decision.findings, asked, before.wanted, before.level, now)
    more: dict[str, Any] = {}
    outcry = burning if burning is not None and burning.is_sure and on is not None and on.is_due(now) else None
    if outcry is not None and tools.enforce and not news:
        if kept is Level.STOP:
            more["escalate"] = True
        elif not tools.exempt:
            # The exempt may be the ones, and a stop would hit all but them: with them the limits alone decide.
            news, asked, windows = True, Level.STOP, ()
            reason = f"the step-down does not take hold: {outcry}"
    if news:
        more["windows"] = list(windows)
        more["over"] = [each.margin.to_json() for each in decision.findings if each.verdict >= Verdict.STEP_DOWN]
    untold = len(problems)
    if asked > Level.RELEASED or before.memory.narrow:
        request = _request(now, asked, reason, before.memory, summary, news=news) | more
        tried(lambda: tools.ask_for_stop(request), problems)
    if outcry is not None:
        notice = still_burning_notice(outcry, kept, tools.exempt, _next_rung(asked, kept, more), tools.links)
        told.tell("still burning", lambda _: notice, since=None if on is None else on.since)
    if decision.verdict is Verdict.WARN and (worse := last.exceeded_by(decision, Verdict.WARN)):
        # A rate goes up and down across its rung: it is told once, and not each time.
        told.tell_of("warning", worse, lambda _: warn_notice(decision, summary, tools.links), tools.ways.telling.again)
    told.tell_of("gap", spend.gaps, lambda gaps: gap_notice(gaps, tools.links))
    # After the effect, and only if it was told: a crash or a failure before this line repeats it at the next tick.
    if len(problems) == untold:
        body = _record(decision, summary, _after(on, decision, now, cried=outcry is not None))
        body["figures"] = figures(spend, decision)
        tried(lambda: tools.ledger.record_decision(now, body, news=decision.verdict is not last.verdict), problems)
    return asked


def _after(on: Standing | None, decision: Decision, now: datetime, *, cried: bool) -> Standing | None:
    """Return how a level that is on stands after this tick."""
    if on is None:
        return None
    held = on.held or any(each.limit.hold and each.verdict >= Verdict.STEP_DOWN for each in decision.findings)
    return replace(on, since=on.since or now, told_at=now if cried else on.told_at, held=held)


def _tell_blindness(now: datetime, tools: MeterTools, found: Measured, told: Teller) -> None:
    """Tell that nothing can be read, once that has lasted."""
    if not found.blind:
        told.forget("blind")
    elif now - (since := told.remember("blind").since) >= BLIND_FOR:
        gaps = found.spend.gaps
        told.tell("blind", lambda _: blind_notice(since, now, gaps, tools.links))


def _remind(now: datetime, tools: MeterTools, before: "_Before", told: Teller) -> None:
    """Tell again that something is stopped which nobody has released: not in the first hour, then ever less often.

    What is not fully done is told at the pace; and others are told after the time that is theirs, the hour or not.
    """
    on = before.on
    if on is None:
        told.forget("standing", "still burning")
        return
    matter = told.remember("standing", on.since)
    telling = tools.ways.telling
    waits = min(FIRST_REMINDER, telling.escalate_after or FIRST_REMINDER)
    if now - matter.since < waits or not (matter.is_due(now, telling.again) or matter.escalates(now, telling)):
        return
    stand = _stand(tools, before, on.level, matter.since)
    unfinished = bool(stand.failed or stand.unknown)
    told.tell(
        "standing",
        lambda _: standing_notice(now, stand, tools.links),
        since=matter.since,
        ever_less=not unfinished,
    )


def _stand(tools: MeterTools, before: "_Before", level: Level, since: datetime) -> Stand:
    """Look up what a reminder says."""
    unknown: list[str] = []
    last = tried(lambda: tools.ledger.last("stop"), unknown) or {}
    inventory = tried(lambda: read_inventory(tools.gauge.ledger.kept("inventory")), unknown)
    standing = () if inventory is None else inventory.standing
    return Stand(
        level,
        since,
        str(last.get("reason", "not known")),
        dict(last.get("failed", {})),
        dict(last.get("not_stopped", {})),
        tuple(f"${each.usd_per_hour:.2f} an hour  {each.name}" for each in standing if each.until is None),
        before.ends_at(tools),
        tuple(unknown),
    )


def _next_rung(asked: Level, kept: Level, more: Mapping[str, Any]) -> str:
    """Return in words what is done about usage that goes on."""
    if asked > kept:
        return "A full stop was asked for."
    if "escalate" in more:
        return "The stop is gone through again, with the organization's service control policy where one is set up."
    return "Nothing more is done by itself."


def _request(
    now: datetime,
    level: Level,
    reason: str | None,
    memory: Memory,
    summary: SpendSummary | None = None,
    *,
    news: bool = False,
) -> dict[str, Any]:
    request = {
        "source": "meter",
        "at": now.isoformat(),
        "level": str(level),
        "reason": reason or "kept on until it is released",
        "reassert": not news,
        "spend": asdict(summary or SpendSummary()),
    }
    # Who is stopped alone stays so at any level, released among them.
    return request | ({"narrow": True} if memory.narrow else {})


@dataclass(frozen=True, slots=True)
class _Last:
    """What the tick before knew."""

    verdict: Verdict = Verdict.OK
    by_limit: Mapping[str, Verdict] | None = None
    gaps: bool = False
    """Whether it did not read everything."""
    on: Standing | None = None
    """How the level stood that was on."""

    @classmethod
    def of(cls, body: Mapping[str, Any] | None) -> "_Last":
        if body is None:
            return cls()
        try:
            by_limit = {str(limit): Verdict.named(word) for limit, word in body["limits"].items()}
            gaps = bool(body.get("spend", {}).get("gaps"))
            return cls(Verdict.named(body["verdict"]), by_limit, gaps, Standing.from_json(body.get("on")))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            msg = f"the last decision in the ledger cannot be read ({error!r}); this tick judges afresh"
            raise GuardrailError(msg) from error

    def exceeded_by(self, decision: Decision, least: Verdict) -> tuple[str, ...]:
        """Return the limits that are worse than before, and at least so bad."""
        before = self.by_limit or {}
        return tuple(
            str(each.limit)
            for each in decision.findings
            if each.verdict >= least and each.verdict > before.get(str(each.limit), Verdict.OK)
        )


def _record(decision: Decision, summary: SpendSummary, on: Standing | None) -> dict[str, Any]:
    body = {
        "verdict": str(decision.verdict),
        "reason": decision.reason,
        "limits": {str(each.limit): str(each.verdict) for each in decision.findings},
        "spend": asdict(summary),
    }
    return body | ({} if on is None else {"on": on.to_json()})


def _have_finished(now: datetime, tools: MeterTools, problems: list[str], scopes: Sequence[str] = ()) -> None:
    """Have the release function put back what is left of the last release, and of those of scopes."""
    request = {
        "source": "meter",
        "at": now.isoformat(),
        "windows": [],
        "scopes": list(scopes),
        "reason": "the last release did not finish",
    }
    tried(lambda: tools.ask_for_release(request), problems)


def _amiss(
    now: datetime, state: BrakeState | None, tools: MeterTools, problems: list[str], *, in_use: bool, narrow: bool
) -> list[str]:
    """Return what is wrong with the brake itself: found in peace, not at the next stop.

    While somebody is stopped alone the sweep policy may hang on principals although nothing else is on.
    """
    if state is None:
        return []
    found = [
        f"{policy.name} has no version {level}: {MISSING_VERSION}"
        for policy in (state.brake, state.sweep)
        for level in Level
        if level not in policy.versions
    ]
    if not in_use:
        left = frozenset() if narrow else tried(lambda: tools.brake.holders(tools.brake.sweep_arn), problems) or ()
        if left or state.sweep.level not in {Level.RELEASED, None}:
            # A stop that was still under way while a person released may have left them.
            _have_finished(now, tools, problems)
            found.append(
                f"a release did not finish ({len(left)} principals hold {state.sweep.name}): it was asked for again; "
                "if this is told again, run release yourself"
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
