"""What each control lets through: published incidents and legitimate days replayed through the real meter.

``python -m bench.incidents [--out out/bench] [--runs 200]`` writes ``out/bench/incidents.json``. The real
`lambdas.metering.tick` reads the simulated CloudWatch of `bench.stand_in` minute by minute, with each delay of AWS
drawn anew for every seeded run; beside it stand controls with the delays that were published for them.
"""

import math
import multiprocessing
import random
import sys
import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from bench import report
from bench.account import Account
from bench.stand_in import BEDROCK, LAG, LISTED_AFTER, MANTLE, CloudWatch
from bench.traces import CHATTING, DAY, HOME, INCIDENTS, LEGITIMATE, REGIONS, SORTING, START, Model, Trace
from lambdas.core.levels import Level
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Tier
from lambdas.core.windows import Window
from lambdas.settings import Settings
from stacks import configuration

RUNS = 200
IAM_SECONDS = (4.0, 60.0)
"""From the switched policy to the last denied call: 4 s were measured by others, 60 s are allowed for."""
ALARM_SECONDS = (1.0, 5.0)
"""From an alarm's evaluation to the meter."""
TICK_SECONDS, STOP_SECONDS = 2.0, 2.0
"""From the tick's begin to the request, and from there to the switched policy."""
TRIPWIRE_MINUTES = 5
"""How far back an alarm finds a late datapoint; it looks at minutes that have ended."""
RUN_UP_MINUTES = 15
"""How long before the onset or, where that is long before, before the crossing a run begins; what came earlier is in
CloudWatch when the meter starts. A meter that stops at its first looks is started anew, twice as early."""
FIRST_LOOKS_MINUTES = 5
WEEK = range(23 * DAY, 30 * DAY)
"""Of legitimate traces the month's last week is simulated, a weekend in it, and the first hour of the next month: in
slices, one a run, and from end to end in the first run."""
SLICE_MINUTES, OVERTIME_MINUTES = 90, 60
FROM_NOTHING_MINUTES = 5
"""An incident that crosses a limit so soon comes from nothing; any other ramps up to it."""

NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Control:
    """Another way to stop spend: it acts at 100 % of a limit, its published delay after the spend."""

    name: str
    windows: frozenset[Window]
    """The limits it can have."""
    delay: Callable[[random.Random], float]
    """Minutes, drawn."""
    sees: frozenset[str] = frozenset({BEDROCK, MANTLE})
    """The planes it sees; invocation logs cover one alone."""

    def stop(self, trace: Trace, world: "World", dice: random.Random) -> float:
        """Return the minute at which its stop takes effect; infinity when it never sees what it acts on."""
        if trace.model.namespace not in self.sees:
            return NEVER
        crossed = min((at for window, at in world.crossings.items() if window in self.windows), default=NEVER)
        return crossed + self.delay(dice)


_ALL = frozenset({Window.MINUTE, Window.DAY, Window.MONTH})
_BILLED = frozenset({Window.DAY, Window.MONTH})
_LOGGED = frozenset({BEDROCK})
CONTROLS = (
    # A field pilot saw 3-16 h from the budget to the pause.
    Control("AWS Budgets Actions", _BILLED, lambda dice: dice.uniform(3, 16) * 60),
    # Three runs a day on data 8-16 h old, so up to 24 h; only alerts, but somebody is taken to act at once.
    Control("Cost Anomaly Detection", _BILLED, lambda dice: (dice.uniform(0, 8) + dice.uniform(8, 16)) * 60),
    # 30 s at p95 claimed; 30-60 s.
    Control("logs, 30 s", _ALL, lambda dice: dice.uniform(10, 31) / 60, _LOGGED),
    Control("logs, 60 s", _ALL, lambda dice: dice.uniform(30, 60) / 60, _LOGGED),
    Control("logs, 5-minute monitor", _ALL, lambda dice: dice.uniform(15, 22), _LOGGED),
    # The phase of the schedule, and the log's own lag.
    Control("logs, 15-minute schedule", _ALL, lambda dice: dice.uniform(0, 15) + dice.uniform(1, 5), _LOGGED),
)
GUARDRAIL = "this guardrail"


@dataclass(frozen=True, slots=True)
class World:
    """One run of a trace: its usage, its delays and the moment the first limit is truly crossed."""

    cloudwatch: CloudWatch
    dice: random.Random
    onset: int
    until: Sequence[float]
    """True USD of all streams before each minute."""
    crossings: Mapping[Window, float]
    """The minutes since the start at which limits are crossed; limits that never are do not appear."""

    @classmethod
    def of(cls, trace: Trace, seed: int) -> "World":
        """Make the run of a seed."""
        dice = random.Random(f"{trace.name}/{seed}")  # noqa: S311 - a simulation
        onset = dice.choice(trace.onsets)
        streams = trace.streams(
            dice, onset, WEEK.stop + OVERTIME_MINUTES if trace.legitimate else onset + trace.minutes
        )
        usd = [sum(each) for each in zip(*(stream.usd for stream in streams), strict=True)]
        until = list(accumulate(usd, initial=0.0))
        cloudwatch = CloudWatch(START, streams, f"{trace.name}/{seed}/cloudwatch")
        return cls(cloudwatch, dice, onset, until, crossings(usd, until, trace.limits_usd))

    @property
    def crossed(self) -> float:
        """When the first limit is crossed; infinity when none ever is."""
        return min(self.crossings.values(), default=NEVER)

    @property
    def end(self) -> int:
        """How many minutes the trace has."""
        return len(self.until) - 1

    def spent(self, minutes: float) -> float:
        """Return the true USD from the start until a moment; nothing is spent after the trace has ended."""
        at = min(minutes, float(self.end))
        whole = int(at)
        return self.until[whole] + (at - whole) * (self.until[min(whole + 1, self.end)] - self.until[whole])


def crossings(usd: Sequence[float], until: Sequence[float], limits_usd: Mapping[Window, float]) -> dict[Window, float]:
    """Return when each limit is first reached, in minutes since `START`; spend is even within a minute."""
    found: dict[Window, float] = {}
    for window, limit in limits_usd.items():
        if window is Window.MINUTE:
            if max(usd, default=0.0) >= limit:
                minute = next(index for index, each in enumerate(usd) if each >= limit)
                found[window] = minute + limit / usd[minute]
            continue
        first = 0
        while first < len(usd):
            start = START + timedelta(minutes=first)
            last = min(first + int((window.end(start) - start) / timedelta(minutes=1)), len(usd))
            if until[last] - until[first] >= limit:
                minute = bisect_left(until, until[first] + limit, first + 1, last + 1) - 1
                found[window] = minute + (until[first] + limit - until[minute]) / usd[minute]
                break
            first = last
    return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended."""

    ramp_minutes: float
    """From the onset to the crossing of the first limit; infinity when none is crossed."""
    burn: float
    """True USD a minute at the crossing, or at the stop where that came first."""
    past: Mapping[str, float]
    """By control, the true USD spent from the crossing until spend was stopped, or until the trace ended."""
    unstopped: frozenset[str]
    """The controls that stopped nothing before the trace ended."""
    share: float
    """What part of the limit nearest to it had truly been spent when the guardrail's stop took effect."""
    stepped_down: bool
    """Whether the guardrail asked for its lower rung."""
    bill: Counter[str]
    ticks: int
    reads: int
    minutes: float
    """Simulated."""
    unread: "Unread"
    problems: frozenset[str]


@dataclass(slots=True)
class Unread:
    """The most, over all ticks, that could be seen in CloudWatch and had not been read in full; in true USD."""

    found_usd: float = 0.0
    """When a tick began."""
    left_usd: float = 0.0
    """When it ended: what it thought could wait."""
    unbounded_usd: float = 0.0
    """When it began, beyond what the tick itself took for the most there could be."""


class Clock:
    """Plays a run against the meter: minute ticks, alarms, and the stop on its way."""

    def __init__(self, world: World, settings: Settings) -> None:
        """Draw the phases of the tick and of each alarm."""
        self._world, self._cloudwatch, dice = world, world.cloudwatch, world.dice
        self._account = Account(world.cloudwatch, settings, _prices())
        self._tick_phase = dice.random()
        self._alarms = {
            source: dice.random()
            for source in sorted({(each.region, each.namespace) for each in world.cloudwatch.streams})
        }
        self._ringing: set[tuple[str, str]] = set()
        self._to_stop = (TICK_SECONDS + STOP_SECONDS + dice.uniform(*IAM_SECONDS)) / 60
        self._read_visible: float | None = None
        self.unread = Unread()
        self.ticks = self.reads = 0
        self.problems: set[str] = set()
        self.stepped_down = False

    def play(self, first: int, last: int) -> float:
        """Return the minute at which spend has ended; infinity when it never does."""
        for minute in range(first, last):
            for at, woken in self._due(minute):
                self._cloudwatch.now = START + timedelta(minutes=at)
                if self._tick(woken=woken):
                    return at + self._to_stop
        return NEVER

    def _due(self, minute: int) -> list[tuple[float, bool]]:
        """Return the ticks of a minute, and whether an alarm woke each."""
        due = [(minute + self._tick_phase, False)]
        for source, phase in self._alarms.items():
            self._cloudwatch.now = START + timedelta(minutes=minute + phase)
            if not self._cloudwatch.active(*source, minute - TRIPWIRE_MINUTES, minute):
                self._ringing.discard(source)
            elif source not in self._ringing:
                self._ringing.add(source)
                due.append((minute + phase + self._world.dice.uniform(*ALARM_SECONDS) / 60, True))
        return sorted(due)

    def _tick(self, *, woken: bool) -> bool:
        """Return whether the tick asked for a stop."""
        self.ticks += 1
        visible, most = self._cloudwatch.visible(), self.unread
        tick = self._account.tick(self._cloudwatch.now, woken=woken)
        self.problems.update(tick.problems)
        if self._read_visible is not None:
            unread = visible - self._read_visible
            bound = 0.0 if tick.unread is None else float(tick.unread.usd)
            most.found_usd = max(most.found_usd, unread)
            most.unbounded_usd = max(most.unbounded_usd, unread - bound)
            if not tick.why:
                most.left_usd = max(most.left_usd, unread)
        if tick.why:
            self.reads += 1
            self._read_visible = visible
        self.stepped_down |= tick.asked is Level.STEP_DOWN
        return tick.asked is Level.STOP


@cache
def _prices() -> PriceTable:
    return PriceTable.load()


def run(trace: Trace, seed: int, settings: Settings) -> Outcome:
    """Play one run of a trace."""
    if trace.legitimate:
        first, last = WEEK.start, WEEK.stop + OVERTIME_MINUTES
        if seed:
            first += (seed - 1) * SLICE_MINUTES % len(WEEK)
            last = first + SLICE_MINUTES + (OVERTIME_MINUTES if first + SLICE_MINUTES == WEEK.stop else 0)
        return _play(trace, seed, settings, first, last)
    world = World.of(trace, seed)
    run_up = RUN_UP_MINUTES
    while True:
        first = max(0, world.onset - RUN_UP_MINUTES, int(min(world.crossed, world.end)) - run_up)
        outcome = _play(trace, seed, settings, first, world.end)
        run_up *= 2
        if outcome.minutes > FIRST_LOOKS_MINUTES or first == max(0, world.onset - RUN_UP_MINUTES):
            return outcome


def _play(trace: Trace, seed: int, settings: Settings, first: int, last: int) -> Outcome:
    world = World.of(trace, seed)
    clock = Clock(world, settings)
    stop = clock.play(first, last)
    controls = random.Random(f"{trace.name}/{seed}/controls")  # noqa: S311 - a simulation
    stops = {GUARDRAIL: stop} | {each.name: each.stop(trace, world, controls) for each in CONTROLS}
    crossed, at = world.crossed, min(world.crossed, stop, world.end)
    return Outcome(
        ramp_minutes=crossed - world.onset,
        burn=world.spent(at + 1) - world.spent(at),
        past={name: max(0.0, world.spent(end) - world.spent(crossed)) for name, end in stops.items()},
        unstopped=frozenset(name for name, end in stops.items() if end >= world.end),
        share=_share(trace, world, min(stop, world.end)),
        stepped_down=clock.stepped_down,
        bill=world.cloudwatch.bill,
        ticks=clock.ticks,
        reads=clock.reads,
        minutes=min(stop, last) - first,
        unread=clock.unread,
        problems=frozenset(clock.problems),
    )


def _share(trace: Trace, world: World, at: float) -> float:
    now = START + timedelta(minutes=at)
    return max(
        (world.spent(at) - world.spent(world.cloudwatch.minutes(window.start(now)))) / limit
        for window, limit in trace.limits_usd.items()
        if window is not Window.MINUTE
    )


def settings_of(trace: Trace) -> Settings:
    """Return the settings the account is deployed with: its regions and limits, all else as by default."""
    limits = trace.limits_usd
    lines = [
        'mode = "enforce"',
        f"regions = {list(REGIONS)}",
        f"budget.monthly_usd = {limits[Window.MONTH]}",
        *(f"limits.{window} = {usd}" for window, usd in limits.items()),
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "guardrail.toml"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return configuration.load(file, home=HOME).settings


def _runs_of(job: tuple[str, range]) -> list[Outcome]:
    name, seeds = job
    trace = _TRACES[name]
    settings = settings_of(trace)
    return [run(trace, seed, settings) for seed in seeds]


def _spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return the median and the 95th percentile: the least value that 95 % of the runs do not exceed."""
    ordered = sorted(values)
    return {
        "median": round(median(ordered), digits),
        "p95": round(ordered[math.ceil(0.95 * len(ordered)) - 1], digits),
    }


def _over_true(model: Model) -> float:
    """Return how much dearer than the bill the meter's table has a model's mix of tokens."""
    # Of the mantle plane CloudWatch does not tell the tier.
    tier = Tier.UNKNOWN if model.namespace == MANTLE else Tier.STANDARD
    price = _prices().quote(model.id, START, tier).price
    priced = sum(float(price.of(kind)) * tokens for kind, tokens in model.mix.items())
    true = sum(model.usd_a_million[kind] * tokens for kind, tokens in model.mix.items()) / 1_000_000
    return round(priced / true, 2)


def figures_of(trace: Trace, outcomes: Sequence[Outcome], settings: Settings) -> dict[str, Any]:
    """Return what the runs of a trace come to."""
    # The calls of whole weeks: slices begin with a dear first read.
    counted = outcomes[:1] if trace.legitimate else outcomes
    hours = sum(each.minutes for each in counted) / 60
    bill = sum((each.bill for each in counted), Counter[str]())
    figures: dict[str, Any] = {
        "usual_day_usd": trace.usual_day_usd,
        "limits_usd": {str(window): usd for window, usd in trace.limits_usd.items()},
        "max_blind_usd": float(settings.max_blind_usd),
        "priced_at_times_the_true_price": {each.id: _over_true(each) for each in (CHATTING, SORTING, trace.model)},
        "unread_usd_at_most": {
            "found by a tick": round(max(each.unread.found_usd for each in outcomes), 2),
            "left by a tick": round(max(each.unread.left_usd for each in outcomes), 2),
            "beyond the meter's own bound": round(max(each.unread.unbounded_usd for each in outcomes), 2),
        },
        "a_simulated_hour": {
            "ticks": round(sum(each.ticks for each in counted) / hours, 1),
            "full reads": round(sum(each.reads for each in counted) / hours, 1),
            **{what: round(count / hours, 1) for what, count in sorted(bill.items())},
        },
        "problems": sorted(frozenset().union(*(each.problems for each in outcomes))),
    }
    if trace.legitimate:
        return figures | {
            "days": round(sum(each.minutes for each in outcomes) / DAY, 1),
            "false_stops": sum(GUARDRAIL not in each.unstopped for each in outcomes),
            "false_step_downs": sum(each.stepped_down for each in outcomes),
        }
    ramp = median(each.ramp_minutes for each in outcomes)
    return figures | {
        "kind": "from nothing" if ramp <= FROM_NOTHING_MINUTES else "ramping",
        "minutes_to_limit": round(ramp, 1),
        "burn_usd_a_minute": round(median(each.burn for each in outcomes), 2),
        "percent_of_limit_at_stop": _spread([each.share * 100 for each in outcomes], 1),
        "past_the_limit": {
            name: {
                "usd": _spread([each.past[name] for each in outcomes]),
                "burn_minutes": _spread([each.past[name] / each.burn for each in outcomes]),
                "percent_of_day_limit": _spread(
                    [each.past[name] * 100 / trace.limits_usd[Window.DAY] for each in outcomes]
                ),
                "unstopped_runs": sum(name in each.unstopped for each in outcomes),
            }
            for name in (GUARDRAIL, *(each.name for each in CONTROLS))
        },
    }


def main() -> None:
    """Play all runs of all traces, print and write what came of them."""
    parser = report.arguments("What each control lets through, by replayed incidents.")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", default="", help="play the traces with this in their name")
    arguments = parser.parse_args()
    traces = [each for each in _TRACES.values() if arguments.only in each.name]
    jobs = [
        (trace.name, range(first, min(first + _SEEDS_A_JOB, arguments.runs)))
        for trace in traces
        for first in range(0, arguments.runs, _SEEDS_A_JOB)
    ]
    outcomes: dict[str, list[Outcome]] = {each.name: [] for each in traces}
    found: dict[str, dict[str, Any]] = {}
    with multiprocessing.Pool(_WORKERS) as pool:
        for (name, _), ended in zip(jobs, pool.imap(_runs_of, jobs), strict=True):
            outcomes[name] += ended
            if len(outcomes[name]) == arguments.runs:
                found[name] = figures_of(_TRACES[name], outcomes[name], settings_of(_TRACES[name]))
                _print(name, found[name])
    figures = summary(found) | {"runs": arguments.runs, "assumptions": ASSUMPTIONS, "traces": found}
    for name, target in TARGETS.items():
        print(f"{name}: {figures[name]} (target {target})")
    met = all(figures[name] <= target for name, target in TARGETS.items())
    report.write(arguments.out, "incidents", figures, TARGETS, met=met)


_WORKERS, _SEEDS_A_JOB = 2, 10
_TRACES = {each.name: each for each in (*INCIDENTS, *LEGITIMATE)}

TARGETS = {
    "ramping_past_the_limit_percent_p95": 0.0,
    "from_nothing_burn_minutes_p95": 4.0,
    "false_stops": 0,
}

ASSUMPTIONS = {
    "runs": "each seeded run draws its own onset, usage noise, delays and phases; 95 % of runs do not exceed a p95",
    "true dollars": "list prices of the standard tier with 5-minute cache writes; the meter prices by its own table",
    "metric lag": f"{LAG[0]:.0f}-{LAG[1]:.0f} s, even, drawn once for each minute; a minute fills up as it ages",
    "ListMetrics": f"names a series {LISTED_AFTER[0]:.0f}-{LISTED_AFTER[1]:.0f} s after its first datapoint, even",
    "dimension levels": "an account's sum and its models lag alike; models are published by service tier as well",
    "meter": f"{TICK_SECONDS:.0f} s from a tick's begin to its request, {STOP_SECONDS:.0f} s to the switched policy",
    "tick": "each minute at a phase drawn by the run; none is late or lost",
    "IAM": f"{IAM_SECONDS[0]:.0f}-{IAM_SECONDS[1]:.0f} s until the deny holds, even; everybody is armed",
    "calls in flight": "end with the deny; one that goes on costs what it costs on top, for this and for each control",
    "tripwires": f"evaluated each minute at a drawn phase over the {TRIPWIRE_MINUTES} minutes before, "
    f"{ALARM_SECONDS[0]:.0f}-{ALARM_SECONDS[1]:.0f} s to the meter; in every listed region",
    "step-down": "not counted as protection: spend goes on until the stop",
    "limits": "day: 4 usual working days; minute: a 60th of the day's; month: 55 usual working days",
    "past the limit": "true dollars from the moment the first limit of the account is truly crossed until spend ends",
    "kinds": f"from nothing: the first limit is crossed within {FROM_NOTHING_MINUTES} minutes of the onset",
    "legitimate": f"the last week of a month, Wednesday to Tuesday, and an hour of the next: one run from end to end, "
    f"the others {SLICE_MINUTES} minutes each, slice after slice of that week",
    "run-ups": f"from {RUN_UP_MINUTES} minutes before the onset or the crossing; what came earlier is in CloudWatch "
    "when the meter starts with an empty ledger; if it stops at once, the run is begun anew twice as early",
    "controls": "act at 100 % of a limit, know no burn and no projection; Budgets and Anomaly Detection have no limit "
    "by the minute; logs do not see the mantle plane; a published delay includes IAM's",
}


def summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the figures that have targets, the worst over all traces."""
    p95 = [(figures["kind"], figures["past_the_limit"][GUARDRAIL]) for figures in found.values() if "kind" in figures]
    return {
        "ramping_past_the_limit_percent_p95": max(
            (past["percent_of_day_limit"]["p95"] for kind, past in p95 if kind == "ramping"), default=0.0
        ),
        "from_nothing_burn_minutes_p95": max(
            (past["burn_minutes"]["p95"] for kind, past in p95 if kind == "from nothing"), default=0.0
        ),
        "false_stops": sum(figures.get("false_stops", 0) for figures in found.values()),
    }


def _print(name: str, found: Mapping[str, Any]) -> None:
    print(f"\n{name}: limits {found['limits_usd']}")
    if "kind" not in found:
        print(f"  {found['false_stops']} false stops, {found['false_step_downs']} runs stepped down")
    else:
        share = found["percent_of_limit_at_stop"]
        print(
            f"  {found['kind']}, limit in {found['minutes_to_limit']} min at ${found['burn_usd_a_minute']}/min; "
            f"stopped at {share['median']} % of it (p95 {share['p95']} %)"
        )
        for control, past in found["past_the_limit"].items():
            usd, minutes, percent = past["usd"], past["burn_minutes"], past["percent_of_day_limit"]
            print(
                f"  {control:<26} ${usd['median']:>14,.2f}  p95 ${usd['p95']:>14,.2f} past the limit, "
                f"{minutes['p95']:>9,.1f} min, {percent['p95']:>9,.1f} %, {past['unstopped_runs']} never"
            )
    print(f"  an hour: {found['a_simulated_hour']}")
    print(f"  max_blind_usd {found['max_blind_usd']:.2f}, unread at most {found['unread_usd_at_most']}")
    if found["problems"]:
        print(f"  the meter complained: {found['problems']}")
    print(f"  priced at times the true price: {found['priced_at_times_the_true_price']}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
