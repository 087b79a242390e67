"""Over random histories: what a clock may end, and that it does so soon; what only a person ends stays."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas.core.decision import Decision, decide
from lambdas.core.levels import Level
from lambdas.core.limits import Ladder, Limit, Verdict
from lambdas.core.prices import PriceTable
from lambdas.core.spend import BURN_MINUTES, Spend
from lambdas.core.windows import Window
from tests.unit.test_measuring import Stocked
from tests.unit.test_metering import RUNTIME

PRICES = PriceTable.load()
MINUTE = timedelta(minutes=1)
START = datetime(2026, 11, 22, 22, 40, tzinfo=UTC)
"""An hour ends, then a day; no month does."""
END = 150
LADDER = Ladder(Decimal(50), Decimal(80))
LIMITS = (
    Limit(Window.MINUTE, Decimal(30), LADDER),
    Limit(Window.HOUR, Decimal(20), LADDER),
    Limit(Window.DAY, Decimal(60), LADDER),
    Limit(Window.MONTH, Decimal(150), LADDER),
)
SOON, SOON_AFTER_A_GAP = 3, 8
"""Ticks until a release is asked for, once nothing calls for a stop."""

ACTS = ("spend", "spend", "spend", "spend", "kill", "budget", "release", "gap", "whole")


@dataclass
class History:
    """An account whose stop and release functions do what they are asked, and who called for what stands."""

    meter: Stocked
    spent: dict[datetime, Decimal] = field(default_factory=dict)
    causes: dict[str, datetime] = field(default_factory=dict)
    """What called for the level that is on: windows, or what only a person ends; and when it last did."""
    released_at: datetime | None = None
    """When a clock last ended a stop."""
    had_gap: bool = False
    ended: int = 0

    @property
    def level(self) -> Level:
        return self.meter.brake.level or Level.RELEASED

    def set(self, level: Level, by: str, windows: tuple[str, ...] = ()) -> None:
        self.meter.brake.level = self.meter.brake.sweep_level = self.meter.ledger.level = level
        self.meter.ledger.said_at, self.meter.ledger.by, self.meter.ledger.windows = self.meter.now, by, windows

    def act(self, act: str, usd: int) -> None:
        match act:
            case "spend" if self.level is Level.RELEASED:
                minute = Window.MINUTE.start(self.meter.now) - MINUTE
                self.meter.spent(str(usd), minute)
                self.spent[minute] = self.spent.get(minute, Decimal(0)) + usd
            case "kill" | "budget":
                self.set(Level.STOP, {"kill": "person", "budget": "budget"}[act])
                self.causes[act] = self.meter.now
            case "release":
                self.set(Level.RELEASED, "person")
                self.meter.ledger.forget_verdict()
                self.causes, self.released_at = {}, None
            case "gap":
                self.meter.usage.gaps[RUNTIME] = "us-east-1: cannot be read"
                self.had_gap = True
            case "whole":
                self.meter.usage.gaps.clear()

    def truth(self) -> Verdict:
        """Return what the spend calls for, all of it known."""
        now = self.meter.now
        since = Window.MINUTE.start(now) - BURN_MINUTES * MINUTE
        answered = self.meter.ledger.said_at if self.level is Level.RELEASED else None
        burn = max(
            (usd for at, usd in self.spent.items() if at >= since and (answered is None or at >= answered)),
            default=Decimal(0),
        )
        windows = {
            each: sum((usd for at, usd in self.spent.items() if at >= each.start(now)), Decimal(0))
            for each in (Window.HOUR, Window.DAY, Window.MONTH)
        }
        spend = Spend(now, burn, windows, {}, {})
        return decide(spend, self.meter.limits, (), Verdict.OK, timedelta(minutes=4), now).verdict

    def carry_out(self, request: Mapping[str, Any], decision: Decision | None) -> None:
        """Do what the stop function does; note independently what called for it."""
        if request["reassert"]:
            return
        assert decision is not None
        level = Level.named(request["level"])
        for each in decision.findings:
            if Level.for_verdict(each.verdict) >= level:
                self.causes[each.limit.window] = self.meter.now
            if each.limit.hold and each.verdict >= Verdict.STEP_DOWN:
                self.causes["hold"] = self.meter.now
        if self.released_at is not None and self.meter.now - self.released_at < timedelta(minutes=15):
            self.causes["cool-down"] = self.meter.now
        if not decision.findings or decision.reason.startswith("held"):
            self.causes["incomplete"] = self.meter.now
        self.set(level, "meter", tuple(request["windows"]))

    def end(self, decision: Decision | None, spend: Spend | None) -> None:
        """Do what the release function does, if it may."""
        assert decision is not None
        assert spend is not None
        assert self.meter.enforce
        assert spend.complete
        assert decision.verdict < Verdict.STEP_DOWN
        assert self.may_end()
        self.set(Level.RELEASED, "meter")
        self.meter.ledger.forget_verdict()
        self.causes, self.released_at = {}, self.meter.now
        self.ended += 1

    def may_end(self) -> bool:
        """Tell whether all that called for the level are windows that are over."""
        held = {each.window.value for each in self.meter.limits if each.hold} | {"minute"}
        return (
            bool(self.causes)
            and all(each in {"hour", "day", "month"} - held for each in self.causes)
            and all(Window(each).end(at) <= self.meter.now for each, at in self.causes.items())
        )


def lived(acts: Mapping[int, tuple[str, int]], held: frozenset[Window], *, enforce: bool) -> History:
    """Live through a history, a tick a minute, checking each."""
    meter = Stocked(PRICES, START + timedelta(seconds=20), enforce=enforce, guarded=False)
    meter.limits = tuple(replace(each, hold=each.window in held) for each in LIMITS)
    history = History(meter)
    due = 0
    for minute in range(END):
        if minute in acts:
            history.act(*acts[minute])
        asked, ends = len(meter.asked), len(meter.released)
        truth, was = history.truth(), history.level
        found = meter.tick()
        if was > Level.RELEASED and found.decision is not None:
            for each in found.decision.findings:
                if each.limit.hold and each.verdict >= Verdict.STEP_DOWN:
                    history.causes["hold"] = meter.now
        for request in meter.asked[asked:]:
            history.carry_out(request, found.decision)
        for _ in meter.released[ends:]:
            history.end(found.decision, found.spend)
        over = enforce and was > Level.RELEASED and history.may_end() and "hold" not in history.causes
        due = due + 1 if over and truth < Verdict.STEP_DOWN and not meter.usage.gaps else 0
        assert due < (SOON_AFTER_A_GAP if history.had_gap else SOON)
        meter.now += MINUTE
    return history


histories = st.dictionaries(st.integers(1, END - 20), st.tuples(st.sampled_from(ACTS), st.integers(1, 14)), max_size=25)


@settings(max_examples=60)
@given(acts=histories, held=st.frozensets(st.sampled_from([Window.HOUR, Window.DAY, Window.MONTH]), max_size=1))
def test_a_clock_ends_what_windows_alone_called_for_and_nothing_else(acts, held):
    lived(acts, held, enforce=True)


@settings(max_examples=10)
@given(acts=histories)
def test_in_report_only_mode_no_clock_ends_anything(acts):
    assert lived(acts, frozenset(), enforce=False).meter.released == []


def test_the_histories_do_hold_releases():
    """The properties are not empty: an hour's stop ends with the hour, a day's with the day."""
    assert lived({5: ("spend", 14), 6: ("spend", 12)}, frozenset(), enforce=True).ended == 1
    assert lived({5: ("spend", 14), 6: ("spend", 12)}, frozenset({Window.HOUR}), enforce=True).ended == 0
