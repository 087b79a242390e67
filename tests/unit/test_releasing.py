"""Releasing: exact, repeatable, on a person's word only."""

from datetime import datetime
from typing import Any

import pytest

from lambdas import releasing
from lambdas.core.errors import RefusedError, UnfinishedError
from lambdas.core.levels import Level
from tests.fakes import FakeBrake, FakeLedger, FakePost, refused
from tests.unit.test_stopping import LINKS, World

WORD = {"confirm": "RELEASE", "reason": "fixed", "by": "ada"}


def stopped() -> FakeBrake:
    return FakeBrake(Level.STOP, Level.STOP, armed={"role/agent"}, swept={"role/admin", "user/root"})


def release(
    now: datetime, brake: FakeBrake, ledger: FakeLedger | None = None, post: FakePost | None = None, raw: Any = None
) -> dict[str, Any]:
    return releasing.carry_out(
        raw or WORD,
        brake=brake,
        post=post or FakePost(),
        memory=ledger or FakeLedger(),
        links=LINKS,
        now=now,
        pause=lambda _seconds: None,
    )


def test_a_release_frees_everybody_by_two_switches_and_then_leaves_the_swept(now: datetime):
    brake = stopped()
    answer = release(now, brake)
    assert answer["summary"].startswith("Released")
    assert (brake.level, brake.sweep_level) == (Level.RELEASED, Level.RELEASED)
    assert (brake.armed, brake.swept) == ({"role/agent"}, set())
    writes = [call for call in brake.calls if call.startswith(("switch", "leave"))]
    assert writes[:2] == ["switch brake", "switch sweep"]
    assert set(writes[2:]) == {"leave role/admin", "leave user/root"}


def test_releasing_what_is_released_changes_nothing(now: datetime):
    brake = FakeBrake()
    assert release(now, brake)["done"] == []


@pytest.mark.parametrize("broken", ["switch brake", "switch sweep", "leave role/admin", "holders"])
def test_a_failure_is_loud_and_running_it_again_finishes(now: datetime, broken: str):
    brake, ledger = stopped(), FakeLedger(level=Level.STOP)
    brake.refuses = {broken: "Throttling"}
    with pytest.raises(UnfinishedError, match="run release again"):
        release(now, brake, ledger)
    brake.refuses = {}
    release(now, brake, ledger)
    assert (brake.level, brake.sweep_level, brake.swept) == (Level.RELEASED, Level.RELEASED, set())
    assert ledger.level is Level.RELEASED


def test_a_principal_that_was_deleted_during_the_stop_does_not_hold_up_the_release(now: datetime):
    brake = stopped()
    brake.refuses = {"leave role/admin": "NoSuchEntity"}
    assert "summary" in release(now, brake)


def test_a_release_works_with_the_ledger_gone_and_the_mail_down(now: datetime):
    brake = stopped()
    answer = release(now, brake, FakeLedger(down=True), FakePost(down=True))
    assert brake.level is Level.RELEASED
    assert set(answer["not_told"]) == {"remember the level", "forget the meter's verdict", "mail", "ledger"}


def test_a_release_the_ledger_does_not_learn_of_says_that_it_may_not_last(now: datetime, monkeypatch):
    brake, ledger = stopped(), FakeLedger(level=Level.STOP)

    def throttled(_level: Level, _at: datetime) -> bool:
        raise refused("dynamodb:PutItem")

    monkeypatch.setattr(ledger, "want", throttled)
    with pytest.raises(UnfinishedError, match="may stop again"):
        release(now, brake, ledger)
    assert brake.level is Level.RELEASED


def test_an_allowance_granted_again_in_the_same_words_is_the_same_one(now: datetime):
    ledger = FakeLedger(level=Level.STOP)
    for _ in range(2):
        release(now, stopped(), ledger, raw={**WORD, "allowance": {"usd": 50, "hours": 4}})
    assert len(ledger.granted) == 1


def test_an_allowance_that_cannot_be_kept_releases_nothing(now: datetime):
    brake = stopped()
    raw = {**WORD, "allowance": {"usd": 50, "hours": 4}}
    with pytest.raises(RefusedError, match="nothing was released"):
        release(now, brake, FakeLedger(down=True), raw=raw)
    assert brake.level is Level.STOP
    assert brake.calls == []


def test_an_allowance_is_kept_before_the_brake_opens(now: datetime):
    ledger = FakeLedger(level=Level.STOP)
    answer = release(now, stopped(), ledger, raw={**WORD, "allowance": {"usd": 50, "hours": 4}})
    assert [str(each.usd) for each in ledger.granted] == ["50"]
    assert answer["allowance"] == "$50 more until 2026-11-22 22:30 UTC"


def test_a_release_over_the_limit_says_that_the_meter_will_stop_again(now: datetime):
    ledger = FakeLedger(latest={"verdict": "stop", "reason": "$60 of $50/day", "at": "x"})
    assert "again within a minute" in release(now, stopped(), ledger)["warning"]


def test_after_a_release_an_incomplete_figure_no_longer_holds_the_old_verdict(now: datetime):
    ledger = FakeLedger(level=Level.STOP, latest={"verdict": "stop", "reason": "r", "at": "x"})
    release(now, stopped(), ledger)
    assert ledger.latest_decision() is None


def test_without_the_word_nothing_happens(now: datetime):
    brake, post = stopped(), FakePost()
    with pytest.raises(RefusedError):
        release(now, brake, post=post, raw={"confirm": "please"})
    assert brake.calls == []
    assert post.sent == []


def test_a_release_undoes_a_stop_exactly(now: datetime):
    world = World()
    before = (world.brake.level, world.brake.sweep_level, set(world.brake.armed), set(world.brake.swept))
    world.stop(now)
    release(now, world.brake, world.ledger)
    assert (world.brake.level, world.brake.sweep_level, world.brake.armed, world.brake.swept) == before
