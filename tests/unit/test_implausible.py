"""A figure that cannot be true: what it stops comes back, and nobody ends work on its word, however long it is kept."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.errors import UnfinishedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.plan import IMPLAUSIBLE, Job
from lambdas.core.plausible import is_implausible, metered_this_month
from lambdas.stopping import StopRequest, kill, parse_meter_request
from tests.unit.test_stopping import World, reported

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TRILLION = Decimal("1234567890123.45")
JOB = Job("us-east-1", "arn:job", "nightly")
CAPACITY = Job("us-east-1", "arn:pt", "fast", kind="provisioned throughput")


def wild(at: datetime) -> StopRequest:
    return StopRequest(Level.STOP, "trillions", at, by="budget", reversible_only=True)


def credible(at: datetime, level: Level = Level.STOP) -> StopRequest:
    return StopRequest(level, "over the limit", at)


def keep_on(at: datetime) -> StopRequest:
    return StopRequest(Level.STOP, "kept on until it is released", at, reassert=True)


@pytest.fixture
def world() -> World:
    found = World()
    found.work.jobs["us-east-1"] = [JOB, CAPACITY]
    found.lever.things = {"agent": 50}
    return found


def is_running(world: World) -> bool:
    return world.work.jobs["us-east-1"] == [JOB, CAPACITY]


def test_it_denies_and_holds_down_like_any_stop_and_leaves_the_work_by_name(world: World, now: datetime):
    report = reported(world.stop(now, wild(now)))
    assert (world.brake.level, world.brake.sweep_level) == (Level.STOP, Level.STOP)
    assert world.brake.swept == {"role/admin"}
    assert world.lever.things == {"agent": 0}
    assert is_running(world)
    assert report.uncovered["batch job nightly in us-east-1"] == IMPLAUSIBLE
    assert report.uncovered["provisioned throughput fast in us-east-1"] == IMPLAUSIBLE
    assert report.complete
    assert "looks implausible" in world.post.sent[0].text


def test_keeping_it_on_ends_no_work_either(world: World, now: datetime):
    world.stop(now, wild(now))
    for minute in range(1, 4):
        world.stop(now + minute * MINUTE, keep_on(now + minute * MINUTE))
    assert is_running(world)
    assert len(world.post.sent) == 1


def test_whoever_is_to_be_believed_ends_it_after_all(world: World, now: datetime):
    world.stop(now, wild(now))
    world.stop(now + MINUTE, credible(now + MINUTE))
    assert world.work.jobs["us-east-1"] == []
    assert not world.ledger.reversible_only


def test_a_person_ends_it_after_all_and_without_the_ledger_too(world: World, now: datetime):
    world.stop(now, wild(now))
    world.ledger.down = True
    kill(StopRequest(Level.STOP, "killed", now + MINUTE, by="person"), world.desk, now + MINUTE)
    assert world.work.jobs["us-east-1"] == []


def test_a_step_down_asked_for_meanwhile_ends_nothing(world: World, now: datetime):
    world.stop(now, wild(now))
    for minute in (1, 2):
        at = now + minute * MINUTE
        world.stop(at, credible(at, Level.STEP_DOWN))
        world.stop(at, keep_on(at))
    assert is_running(world)
    assert world.brake.level is Level.STOP


def test_it_takes_nothing_back_from_a_stop_that_was_credible(world: World, now: datetime):
    world.stop(now, credible(now))
    world.work.jobs["us-east-1"] = [JOB]
    world.stop(now + MINUTE, wild(now + MINUTE))
    assert world.work.jobs["us-east-1"] == []
    assert not world.ledger.reversible_only


def test_it_is_remembered_before_the_switch_so_that_a_crash_leaves_nothing_to_end(world: World, now: datetime):
    world.brake.refuses = {"policy": "Throttling"}
    world.stop(now, wild(now))
    assert world.ledger.wanted() == Wanted(Level.STOP, now, "budget", reversible_only=True)
    world.brake.refuses = {}
    world.stop(now + MINUTE, keep_on(now + MINUTE))
    assert world.brake.level is Level.STOP
    assert is_running(world)


def test_where_it_cannot_be_remembered_it_only_steps_down_and_says_so(world: World, now: datetime):
    world.ledger.down = True
    result = world.stop(now, wild(now))
    assert world.brake.level is Level.STEP_DOWN
    assert "remember that this stop ends no work" in result.untold
    world.ledger.down = False
    world.stop(now + MINUTE, replace(keep_on(now + MINUTE), level=Level.STEP_DOWN))
    assert is_running(world)


def test_a_later_word_for_less_does_not_make_it_forget(world: World, now: datetime):
    world.stop(now, credible(now, Level.STEP_DOWN))
    world.stop(now, wild(now - MINUTE))
    world.stop(now + MINUTE, keep_on(now + MINUTE))
    assert world.brake.level is Level.STOP
    assert is_running(world)


def test_whether_it_may_end_work_is_not_guessed_while_the_ledger_is_down(world: World, now: datetime):
    world.stop(now, wild(now))
    world.ledger.down = True
    report = reported(world.stop(now + MINUTE, keep_on(now + MINUTE)))
    assert is_running(world)
    assert not report.complete
    assert "next minute" in report.failed["work in flight"]


def test_a_release_ends_it_and_the_next_stop_is_judged_afresh(world: World, now: datetime):
    world.stop(now, wild(now))
    world.release(now + MINUTE)
    assert not world.ledger.reversible_only
    assert world.lever.things == {"agent": 50}
    world.stop(now + 2 * MINUTE, credible(now + 2 * MINUTE))
    assert world.work.jobs["us-east-1"] == []


def test_only_reported_it_would_have_left_the_work_too(world: World, now: datetime):
    report = reported(world.stop(now, wild(now), enforce=False))
    assert not any("nightly" in each for each in report.done)
    assert world.ledger.wanted().level is Level.RELEASED


STEPS = ("wild", "step-down", "keep", "release", "crash", "down", "up", "stop")


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_no_work_is_ended_unless_somebody_to_be_believed_has_asked_since_the_last_release(steps: list[str]):
    world, asked = World(), False
    for number, step in enumerate(steps):
        at = NOW + number * MINUTE
        world.work.jobs["us-east-1"] = [JOB]
        match step:
            case "wild":
                world.stop(at, wild(at))
            case "step-down":
                world.stop(at, credible(at, Level.STEP_DOWN))
            case "stop":
                world.stop(at, credible(at))
                asked = True
            case "keep" if world.brake.level is not None and world.brake.level > Level.RELEASED:
                world.stop(at, replace(keep_on(at), level=world.brake.level))
            case "release" if not world.ledger.down:
                with suppress(UnfinishedError):
                    world.release(at)
                asked = False
            case "crash":
                world.brake.refuses = {} if world.brake.refuses else {"switch brake": "Throttling"}
            case "down" | "up":
                world.ledger.down = step == "down"
        assert asked or world.work.jobs["us-east-1"] == [JOB], steps[: number + 1]


# --- what is implausible ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "stated", "metered", "implausible"),
    [
        ("500", "500", "480", False),
        # The meter is blind to AgentCore: nothing metered, the budget exceeded several times.
        ("3000", "500", "0", False),
        ("10000", "500", "0", False),
        ("10001", "500", "0", True),
        ("10001", "500", "100", False),
        # A small account has small figures.
        ("90", "5", "0.20", False),
        ("105", "5", "0.20", True),
        # Unreadable: what was stated alone is the yardstick, and a stop is not ignored.
        ("600", "500", None, False),
        ("1234567890123.45", "500", None, True),
        ("1234567890123.45", "500", "400", True),
        ("-5", "500", "400", False),
    ],
)
def test_what_is_implausible(figure: str, stated: str, metered: str | None, implausible: bool):
    known = None if metered is None else Decimal(metered)
    assert is_implausible(Decimal(figure), Decimal(stated), known) is implausible


def decision(at: datetime, *spent: str) -> dict[str, Any]:
    limits = [{"limit": f"${each}/day", "spent": each} for each in spent]
    return {"at": at.isoformat(), "figures": {"limits": limits}}


def test_what_the_meter_has_is_the_largest_window_of_this_month(now: datetime):
    assert metered_this_month(decision(now, "3.5", "120.25", "40"), now) == Decimal("120.25")
    old = decision(now - timedelta(days=40), "120.25")
    broken: list[Any] = [None, {}, old, decision(now), decision(now, "x"), decision(now, "NaN"), {"at": 5}, {"at": "x"}]
    broken += [decision(now) | {"figures": None}, decision(now) | {"figures": {"limits": [5]}}]
    assert [metered_this_month(each, now) for each in broken] == [None] * len(broken)


def test_a_request_of_the_meter_is_always_to_be_believed(now: datetime):
    raw = {"source": "meter", "level": "stop", "reason": "x", "reassert": False, "at": now.isoformat()}
    assert not parse_meter_request(json.loads(json.dumps(raw)) | {"reversible_only": True}).reversible_only
