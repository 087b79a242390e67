"""The replay of incidents: traces are what was published, crossings are true, and a control's figures follow."""

import random
from datetime import timedelta
from itertools import pairwise

import pytest

from bench import incidents
from bench.incidents import CONTROLS, GUARDRAIL, NEVER, TARGETS, World, crossings, run, settings_of, summary
from bench.stand_in import MANTLE
from bench.traces import DAY, HOUR, INCIDENTS, LEGITIMATE, OFFICE, START, Trace
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Tier
from lambdas.core.windows import Window

BY_NAME = {each.name: each for each in (*INCIDENTS, *LEGITIMATE)}
BURST = BY_NAME["$1,000 a minute from nothing"]


def dice() -> random.Random:
    return random.Random(1)  # noqa: S311 - a simulation


def burnt(trace: Trace) -> float:
    assert trace.burn is not None
    return sum(trace.burn(minute) for minute in range(trace.minutes))


@pytest.mark.parametrize(
    ("name", "usd"),
    [
        ("cache-miss loop, $30k in 33 days", 37_902),
        ("mantle, $30k in 3 days", 30_000),
        ("two agents, $47k", 47_000),
        ("overnight cache writes, $1,000", 1_000),
        ("uncapped enterprise, $500M in 30 days", 500_000_000),
    ],
)
def test_an_incident_burns_what_was_published(name: str, usd: float):
    assert burnt(BY_NAME[name]) == pytest.approx(usd, rel=0.001)


def test_the_published_tokens_of_the_cache_miss_loop_cost_what_was_published():
    tokens = BY_NAME["cache-miss loop, $30k in 33 days"].model
    assert sum(tokens.usd_a_million[kind] * count for kind, count in tokens.mix.items()) == pytest.approx(
        37_902, rel=0.001
    )


@pytest.mark.parametrize("trace", BY_NAME.values(), ids=lambda trace: trace.name)
def test_the_meter_never_prices_a_trace_below_its_true_price(trace: Trace):
    model, prices = trace.model, PriceTable.load()
    tier = Tier.UNKNOWN if model.namespace == MANTLE else Tier.STANDARD
    price = prices.quote(model.id, START, tier, region=trace.region).price
    assert all(float(price.of(kind)) * 1_000_000 >= usd - 1e-9 for kind, usd in model.usd_a_million.items())


@pytest.mark.parametrize("trace", LEGITIMATE, ids=lambda trace: trace.name)
def test_a_legitimate_trace_never_truly_reaches_a_limit(trace: Trace):
    assert World.of(trace, 1).crossed == NEVER


@pytest.mark.parametrize("trace", INCIDENTS, ids=lambda trace: trace.name)
def test_an_incident_truly_crosses_a_limit_that_its_account_does_not_cross_without_it(trace: Trace):
    assert World.of(trace, 1).crossed < World.of(trace, 1).end
    usual = trace.streams(dice(), 0, 30 * DAY)[:2]
    if trace.shape(20 * DAY) == 1.0:
        days = [sum(stream.spent((day + 1) * DAY) - stream.spent(day * DAY) for stream in usual) for day in range(30)]
        assert max(days) < trace.limits_usd[Window.DAY] / 3


def test_a_run_is_the_same_each_time_and_differs_from_the_next():
    assert World.of(BURST, 3).until == World.of(BURST, 3).until
    assert World.of(BURST, 3).onset != World.of(BURST, 4).onset


def test_weekends_are_free_and_office_hours_cost_a_usual_day():
    usual = BY_NAME["office hours"].streams(dice(), 0, 7 * DAY)
    spent = [sum(each.spent(minute) for each in usual) for minute in range(7 * DAY + 1)]
    assert spent[DAY] == pytest.approx(100, rel=0.05)
    assert spent[OFFICE.start] == 0
    assert spent[7 * DAY] == spent[5 * DAY]


def test_limits_are_crossed_within_the_minute_they_are_reached_in():
    usd = [1.0] * (2 * DAY)
    limits = {Window.MINUTE: 2.0, Window.HOUR: 60.0, Window.DAY: 30.5}
    until = [float(minute) for minute in range(2 * DAY + 1)]
    assert crossings(usd, until, limits) == {Window.HOUR: 60.0, Window.DAY: 30.5}
    usd[HOUR] = 4.0
    assert crossings(usd, until, {Window.MINUTE: 2.0}) == {Window.MINUTE: HOUR + 0.5}


def test_spend_of_one_window_does_not_count_in_the_next():
    usd = [1.0] * (2 * DAY)
    until = [float(minute) for minute in range(2 * DAY + 1)]
    assert crossings(usd, until, {Window.HOUR: 60.5, Window.DAY: DAY + 1.0, Window.MONTH: DAY + 1.0}) == {
        Window.MONTH: DAY + 1.0
    }


def test_logs_do_not_see_the_mantle_plane():
    trace = BY_NAME["mantle, $30k in 3 days"]
    world = World.of(trace, 1)
    for control in CONTROLS:
        stop = control.stop(trace, world, dice())
        assert (stop == NEVER) is control.name.startswith("logs")


def test_billing_does_not_know_the_limit_by_the_minute():
    world = World.of(BURST, 1)
    budgets = next(each for each in CONTROLS if "Budgets" in each.name)
    day = world.crossings[Window.DAY]
    assert world.crossed == world.crossings[Window.MINUTE] < day
    assert day + 3 * HOUR <= budgets.stop(BURST, world, dice()) <= day + 16 * HOUR


def test_a_burst_is_stopped_by_the_real_meter_and_its_cost_is_counted_from_the_crossing():
    outcome = run(BURST, 1, settings_of(BURST))
    assert GUARDRAIL not in outcome.unstopped
    assert outcome.ramp_minutes < 1
    assert 1_000 < outcome.past[GUARDRAIL] < 10_000
    assert not outcome.problems


def test_a_meter_that_asks_for_nothing_stops_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incidents.Clock, "_tick", lambda *_, **__: False)
    short = Trace("short", 500, BURST.burn, 90, BURST.model, BURST.region, onsets=range(DAY, DAY + 1))
    outcome = run(short, 1, settings_of(short))
    assert GUARDRAIL in outcome.unstopped
    assert outcome.past[GUARDRAIL] == pytest.approx(90_000, rel=0.01)


def test_each_tick_is_a_minute_after_the_last_but_for_those_an_alarm_asked_for():
    world = World.of(BURST, 2)
    clock = incidents.Clock(world, settings_of(BURST))
    due = [each for minute in range(world.onset - 5, world.onset + 15) for each in clock._due(minute)]
    plain = [at for at, woken in due if not woken]
    assert all(later - earlier == pytest.approx(1.0) for earlier, later in pairwise(plain))
    (woken,) = [at for at, woken in due if woken and at > world.onset]
    assert 1 < woken - world.onset < 5.2


def test_settings_are_those_of_a_deployment():
    settings = settings_of(BURST)
    assert {each.window: float(each.usd) for each in settings.limits} == BURST.limits_usd
    assert settings.reaction == timedelta(minutes=4)
    assert set(settings.watched) == set(settings.regions)


def test_the_summary_takes_the_worst_trace_of_each_kind_and_all_false_stops():
    def past(percent: float, minutes: float) -> dict[str, object]:
        return {GUARDRAIL: {"percent_of_day_limit": {"p95": percent}, "burn_minutes": {"p95": minutes}}}

    found = summary(
        {
            "a": {"kind": "ramping", "past_the_limit": past(0.0, 9)},
            "b": {"kind": "ramping", "past_the_limit": past(1.5, 0)},
            "c": {"kind": "from nothing", "past_the_limit": past(99, 3.5)},
            "d": {"false_stops": 2},
        }
    )
    assert found.keys() == TARGETS.keys()
    assert list(found.values()) == [1.5, 3.5, 2]
