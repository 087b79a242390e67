"""The status: in words first, with the age of what it says."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core.levels import Level
from lambdas.core.levers import Held
from lambdas.core.limits import Allowance, Margin
from lambdas.core.scopes import parse_scope
from lambdas.reporting import status, would_have_stopped
from tests.fakes import FakeBrake, FakeLedger, FakePeople
from tests.integration.world import SETTINGS
from tests.unit.test_stopping import World


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (12, "The meter's last full read, 12 minutes ago: warn. What it has not read since is kept below $5.00."),
        (64, "The meter's last full read, 64 minutes ago: warn. What it has not read since is kept below $5.00."),
        (66, "66 minutes ago: warn. It has NOT READ SINCE, one was due: look at its log."),
    ],
)
def test_the_status_says_how_old_the_meters_figures_are(now: datetime, minutes: int, words: str):
    ledger = FakeLedger(latest={"verdict": "warn", "at": (now - timedelta(minutes=minutes)).isoformat()})
    brake = FakeBrake()
    assert words in status(brake, FakePeople(brake), ledger, SETTINGS, now)["summary"]


def test_the_status_tells_the_shares_what_is_stopped_alone_and_what_is_held_down(now: datetime):
    world = World()
    world.ledger.remember(Held("fake", "us-east-1/agent", "function agent", {"number": 3}))
    world.ledger.documents["arming"] = {"at": "then", "armed": ["role/agent"], "full": {"role/x": {"fallback": "none"}}}
    answer = status(world.brake, world.people, world.ledger, SETTINGS, now)
    assert answer["able_to_spend"] == 4
    assert answer["shares"] == {"armed": "2 of 4", "denied_now": "0 of 4"}
    assert answer["held_down"] == ["function agent"]
    assert answer["arming"] == {"at": "then", "full": {"role/x": {"fallback": "none"}}}
    world.stop(now)
    assert status(world.brake, world.people, world.ledger, SETTINGS, now)["shares"]["denied_now"] == "3 of 4"
    world.release(now)
    world.kill(now, "role/agent")
    world.brake.scopes.append(parse_scope("model:anthropic.claude-opus*"))
    alone = status(world.brake, world.people, world.ledger, SETTINGS, now)
    assert alone["stopped_alone"] == ["role/agent", "model:anthropic.claude-opus*"]
    assert "Stopped alone: role/agent, model:anthropic.claude-opus*." in alone["summary"]
    assert alone["shares"]["denied_now"] == "1 of 4"
    assert alone["level"] == str(Level.RELEASED)


def test_allowances_are_shown_with_the_limits_they_raise_and_expired_ones_are_not(now: datetime):
    world = World()
    world.ledger.granted = [
        Allowance(Decimal(200), now + timedelta(hours=1), "launch", "ada"),
        Allowance(Decimal(7), now, "over", "bob"),
    ]
    answer = status(world.brake, world.people, world.ledger, SETTINGS, now)
    assert answer["allowances"] == ["$200 more until 2026-11-22 19:30 UTC, by ada: launch"]
    assert answer["limits"] == ["$50/day, raised to $250.00", "$500/minute"]


def would(at: datetime, by: str = "budget", *, enforced: bool = False, level: str = "stop") -> dict[str, Any]:
    over = Margin("$50/day", Decimal(50), Decimal(60)).to_json()
    said = {"level": level, "reason": "r", "over": [over], "principals": 4}
    return {"at": at.isoformat(), "by": by, "enforced": enforced} | said


def test_what_would_have_been_stopped_is_told_with_its_margin_and_what_was_stopped_is_not(now: datetime):
    (told,) = would_have_stopped([would(now), would(now, "person", enforced=True)])
    assert told == {
        "at": now.isoformat(),
        "level": "stop",
        "because": "r",
        "over": ["$50/day: $60.00 of $50.00, $10.00 (20 %) over"],
        "principals": 4,
    }


def test_what_aws_says_twice_is_told_once_and_what_the_meter_says_each_time(now: datetime):
    earlier, yesterday = now - timedelta(hours=3), now - timedelta(hours=24)
    again = [would(now), would(now - timedelta(hours=1), level="step-down"), would(earlier), would(yesterday)]
    assert [each["at"] for each in would_have_stopped(again)] == [each["at"] for each in (again[1], again[2], again[3])]
    by_meter = [would(now, "meter"), would(earlier, "meter")]
    assert len(would_have_stopped(by_meter)) == 2


def test_a_record_nobody_can_read_is_told_as_unknown_and_an_old_one_lacks_only_what_it_never_had(now: datetime):
    old = {"at": now.isoformat(), "level": "stop", "reason": "r", "enforced": False}
    broken, told = would_have_stopped([{"broken": "ledger item"}, old])
    assert broken == {"unknown": "ledger item"}
    assert (told["over"], told["principals"]) == ([], "unknown")
    assert len(would_have_stopped([would(now - timedelta(days=day)) for day in range(60)])) == 20


def test_what_cannot_be_read_is_unknown_and_never_left_out(now: datetime):
    world = World()
    world.ledger.down = True
    world.people.refuses = True
    answer = status(world.brake, world.people, world.ledger, SETTINGS, now)
    assert {"brake", "held down", "arming", "last stop"} <= answer["unknown"].keys()
    assert answer["summary"].startswith("UNKNOWN")
