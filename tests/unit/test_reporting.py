"""The status: in words first, with the age of what it says."""

from datetime import datetime, timedelta

import pytest

from lambdas.core.levels import Level
from lambdas.core.levers import Held
from lambdas.core.scopes import parse_scope
from lambdas.reporting import status
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


def test_what_cannot_be_read_is_unknown_and_never_left_out(now: datetime):
    world = World()
    world.ledger.down = True
    world.people.refuses = True
    answer = status(world.brake, world.people, world.ledger, SETTINGS, now)
    assert {"brake", "held down", "arming", "last stop"} <= answer["unknown"].keys()
    assert answer["summary"].startswith("UNKNOWN")
