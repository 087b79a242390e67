"""Releasing: exact, repeatable, on a person's word or where only a window had stopped; the last word wins."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas import releasing
from lambdas.core.errors import AwsCallError, RefusedError, UnfinishedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Ladder, Limit
from lambdas.core.plan import Detach
from lambdas.core.scopes import parse_scope
from lambdas.core.windows import Window
from lambdas.stopping import StopRequest
from tests.fakes import BRAKE, DENY, SWEEP, FakeBrake, FakePost, refused
from tests.unit.test_stopping import World

DAY, BURN = (Limit(each, Decimal(usd), Ladder(None, None)) for each, usd in ((Window.DAY, 50), (Window.MINUTE, 5)))


@pytest.fixture
def world(now: datetime) -> World:
    """An account that was stopped a minute ago, by a person."""
    world = World()
    world.lever.things = {"a": 20, "b": 3}
    world.stop(now - timedelta(minutes=1), StopRequest(Level.STOP, "a test", now - timedelta(minutes=1), by="person"))
    world.brake.calls.clear()
    world.post.sent.clear()
    return world


def test_a_release_undoes_a_stop_exactly(world: World, now: datetime):
    before = World().brake
    assert world.lever.things == {"a": 0, "b": 0}
    answer = world.release(now)
    assert answer["summary"] == "Released: 5 steps done, nothing is denied any more."
    assert (world.brake.level, world.brake.sweep_level) == (before.level, before.sweep_level)
    assert (world.brake.armed, world.brake.swept, world.brake.groups) == (before.armed, before.swept, before.groups)
    assert world.lever.things == {"a": 20, "b": 3}
    assert world.ledger.book == {}
    assert world.ledger.wanted() == Wanted(Level.RELEASED, now, "person")


def test_a_release_frees_everybody_by_two_switches_first(world: World, now: datetime):
    world.release(now)
    writes = [call for call in world.brake.calls if call.startswith(("switch", "leave"))]
    assert writes == ["switch brake", "switch sweep", "leave role/admin"]


def test_a_release_after_a_step_down_and_a_stop_goes_back_to_what_was_before_both(now: datetime):
    world = World()
    world.lever.things = {"a": 20, "b": 3}
    world.stop(now, StopRequest(Level.STEP_DOWN, "80 %", now))
    assert world.lever.things == {"a": 5, "b": 3}
    world.stop(now, StopRequest(Level.STOP, "100 %", now))
    world.release(now)
    assert world.lever.things == {"a": 20, "b": 3}


def test_releasing_what_is_released_changes_nothing(now: datetime):
    world = World()
    assert world.release(now)["done"] == []
    assert not [call for call in world.brake.calls if call.startswith(("switch", "leave", "part", "widen"))]


@pytest.mark.parametrize("broken", ["switch brake", "switch sweep", "leave role/admin", "holders sweep", "levels"])
def test_a_failure_is_loud_and_running_it_again_finishes(world: World, now: datetime, broken: str):
    world.brake.refuses = {broken: "Throttling"}
    with pytest.raises(UnfinishedError, match="run release again"):
        world.release(now)
    assert not world.ledger.wanted().done
    world.brake.refuses = {}
    world.release(now)
    assert (world.brake.level, world.brake.sweep_level, world.brake.swept) == (Level.RELEASED, Level.RELEASED, set())
    assert world.ledger.wanted() == Wanted(Level.RELEASED, now, "person")


@pytest.mark.parametrize("works", [True, False])
def test_what_could_not_be_put_back_stays_remembered_and_the_meter_has_it_finished(
    world: World, now: datetime, works: bool
):
    world.lever.refuses = {"restore a": "Throttling"}
    world.lever.works_before_refusing = works
    with pytest.raises(UnfinishedError, match="put back a"):
        world.release(now)
    assert [held.key for _, held in [(key, each.held) for key, each in world.ledger.book.items()]] == ["a"]
    world.lever.refuses = {}
    finish = {"source": "meter", "at": now.isoformat(), "windows": [], "reason": "not done yet"}
    releasing.carry_out(finish, world.release_desk, now + timedelta(minutes=1))
    assert world.lever.things == {"a": 20, "b": 3}
    assert world.ledger.wanted() == Wanted(Level.RELEASED, now, "person")


def test_there_is_nothing_to_finish_while_a_stop_is_wanted(world: World, now: datetime):
    finish = {"source": "meter", "at": now.isoformat(), "windows": [], "reason": "not done yet"}
    with pytest.raises(RefusedError, match="no release to finish"):
        releasing.carry_out(finish, world.release_desk, now)
    assert world.brake.level is Level.STOP


def test_what_the_configuration_no_longer_knows_is_not_forgotten(world: World, now: datetime):
    world.lever.name = "renamed"
    with pytest.raises(UnfinishedError, match="nothing deployed puts back fake"):
        world.release(now)
    assert len(world.ledger.book) == 2


def test_a_principal_that_was_deleted_during_the_stop_does_not_hold_up_the_release(
    world: World, now: datetime, monkeypatch
):
    leave = world.brake.leave

    def gone(step: Detach) -> None:
        leave(step)
        raise refused("iam:DetachRolePolicy", "NoSuchEntity")

    monkeypatch.setattr(world.brake, "leave", gone)
    assert "summary" in world.release(now)


def test_whom_a_stale_list_left_out_is_left_when_it_is_read_back(world: World, now: datetime, monkeypatch):
    holders, stale = world.brake.holders, iter([frozenset[str]()])
    monkeypatch.setattr(
        world.brake, "holders", lambda arn: next(stale) if arn == SWEEP and stale_left() else holders(arn)
    )
    left = [True]

    def stale_left() -> bool:
        return bool(left and left.pop())

    world.release(now)
    assert world.brake.swept == set()


def test_a_word_the_ledger_takes_at_the_second_try_is_no_failure(world: World, now: datetime, monkeypatch):
    want, tries = world.ledger.want, iter([True])

    def throttled_once(wanted: Wanted, at: datetime) -> bool:
        if next(tries, False):
            raise refused("dynamodb:PutItem")
        return want(wanted, at)

    monkeypatch.setattr(world.ledger, "want", throttled_once)
    world.release(now)
    assert world.ledger.wanted() == Wanted(Level.RELEASED, now, "person")


def test_a_release_works_with_the_ledger_gone_and_the_mail_down_and_says_what_nobody_remembers(
    world: World, now: datetime
):
    world.ledger.down = world.post.down = True
    answer = world.release(now)
    assert world.brake.level is Level.RELEASED
    told = {"remember the level", "forget the meter's verdict", "note that it is done", "mail", "ledger"}
    assert set(answer["not_told"]) == told | {"look for a later word"}
    (why,) = answer["not_put_back"].values()
    assert "held down" in why


def test_a_release_the_ledger_does_not_learn_of_says_that_it_may_not_last(world: World, now: datetime, monkeypatch):
    def throttled(_wanted: Wanted, _at: datetime) -> bool:
        raise refused("dynamodb:PutItem")

    monkeypatch.setattr(world.ledger, "want", throttled)
    with pytest.raises(UnfinishedError, match="may stop again"):
        world.release(now)
    assert world.brake.level is Level.RELEASED


# --- who may ---------------------------------------------------------------------------------------------------


def test_without_the_word_nothing_happens(world: World, now: datetime):
    with pytest.raises(RefusedError):
        world.release(now, confirm="please")
    assert world.brake.calls == []
    assert world.post.sent == []


def test_while_a_stop_is_in_progress_a_release_is_refused(world: World, now: datetime):
    world.ledger.begin("stop", now, now + timedelta(minutes=2))
    with pytest.raises(RefusedError, match="a stop is in progress"):
        world.release(now)
    assert world.brake.calls == []
    # Should it have died, nobody waits for longer than it said.
    world.release(now + timedelta(minutes=2))
    assert world.brake.level is Level.RELEASED


def test_a_stop_asked_for_during_a_release_is_brought_about_at_once(world: World, now: datetime, monkeypatch):
    restore = world.lever.restore

    def killed_meanwhile(held: Any) -> None:
        restore(held)
        world.stop(now + timedelta(seconds=1), StopRequest(Level.STOP, "kill", now + timedelta(seconds=1), by="person"))

    monkeypatch.setattr(world.lever, "restore", killed_meanwhile)
    world.release(now)
    assert world.ledger.wanted().level is Level.STOP
    assert world.asked[-1]["level"] == "stop"
    # Its levers waited for the release to end; what it is asked for now finishes it.
    monkeypatch.setattr(world.lever, "restore", restore)
    later = now + timedelta(seconds=2)
    world.stop(later, StopRequest(Level.STOP, "kept on", later, reassert=True))
    assert world.lever.things == {"a": 0, "b": 0}
    world.release(now + timedelta(minutes=5))
    assert world.lever.things == {"a": 20, "b": 3}


# --- by the clock ----------------------------------------------------------------------------------------------


def rolled_over(now: datetime, *windows: str) -> dict[str, Any]:
    return {"source": "meter", "at": now.isoformat(), "windows": list(windows), "reason": "a new day"}


def by_the_meter(world: World, at: datetime, *windows: str) -> None:
    world.stop(at, StopRequest(Level.STOP, "$50 of $50/day", at, windows=windows))


def test_what_only_a_window_called_for_ends_with_the_window(now: datetime):
    world = World()
    by_the_meter(world, now, "day")
    releasing.carry_out(rolled_over(now + timedelta(hours=6), "day", "hour"), world.release_desk, now)
    assert world.brake.level is Level.RELEASED
    assert world.ledger.wanted() == Wanted(Level.RELEASED, now + timedelta(hours=6), "meter")
    assert "the meter" in world.post.sent[-1].text


@pytest.mark.parametrize("windows", [("hour",), ("hour", "month")])
def test_a_window_that_did_not_roll_over_keeps_its_stop(now: datetime, windows: tuple[str, ...]):
    world = World()
    by_the_meter(world, now, "day")
    with pytest.raises(RefusedError, match="does not end"):
        releasing.carry_out(rolled_over(now, *windows), world.release_desk, now)
    assert world.brake.level is Level.STOP


def test_the_clock_never_ends_what_a_person_or_a_budget_stopped(world: World, now: datetime):
    with pytest.raises(RefusedError, match="by person"):
        releasing.carry_out(rolled_over(now, "day", "month"), world.release_desk, now)
    other = World()
    other.stop(now, StopRequest(Level.STEP_DOWN, "budget", now, by="budget"))
    by_the_meter(other, now + timedelta(hours=1), "day")
    with pytest.raises(RefusedError, match="does not end"):
        releasing.carry_out(rolled_over(now + timedelta(hours=9), "day"), other.release_desk, now)


def test_a_kill_since_the_meter_asked_is_the_last_word(now: datetime):
    world = World()
    by_the_meter(world, now, "day")
    world.stop(now + timedelta(minutes=1), StopRequest(Level.STOP, "kill", now + timedelta(minutes=1), by="person"))
    with pytest.raises(RefusedError):
        releasing.carry_out(rolled_over(now, "day"), world.release_desk, now)


@pytest.mark.parametrize("broken", [{"at": "x"}, {"at": "2026-11-22T00:00:00"}, {"windows": "day"}, {"reason": 5}])
def test_a_request_of_the_meter_that_cannot_be_read_changes_nothing(
    world: World, now: datetime, broken: dict[str, Any]
):
    with pytest.raises(RefusedError, match="cannot be read"):
        releasing.carry_out(rolled_over(now, "day") | broken, world.release_desk, now)
    assert world.brake.calls == []


# --- what is stopped alone --------------------------------------------------------------------------------------


def test_a_release_of_the_account_leaves_what_is_stopped_alone_and_says_so(world: World, now: datetime):
    world.kill(now, "role/agent")
    world.kill(now, "model:anthropic.claude-opus*")
    answer = world.release(now + timedelta(minutes=3))
    assert answer["still_stopped_alone"] == ["role/agent", "model:anthropic.claude-opus*"]
    assert world.brake.denied == {"role/agent"}
    # Who is not armed is reached through the sweep policy: that one has to stay on them.
    assert world.brake.swept == {"role/admin"}


def test_a_scope_is_released_alone(world: World, now: datetime):
    world.kill(now, "role/agent")
    world.kill(now, "user/dev")
    answer = world.release(now + timedelta(minutes=3), scope="role/agent")
    assert world.brake.denied == {"user/dev"}
    assert world.ledger.narrow == ("user/dev",)
    assert world.brake.level is Level.STOP
    assert world.ledger.wanted().level is Level.STOP
    assert "the rest stays as it is" in answer["summary"]
    assert "role/agent released by ada" in world.post.sent[-1].text


def test_the_last_scope_released_leaves_nobody_swept(now: datetime):
    world = World()
    world.kill(now, "model:anthropic.claude-opus*")
    assert world.brake.swept == {"role/admin"}
    world.release(now + timedelta(minutes=3), scope="model:anthropic.claude-opus*")
    assert (world.brake.swept, world.brake.scopes, world.ledger.narrow) == (set(), [], ())


def test_everything_releases_what_iam_has_and_what_the_ledger_has(world: World, now: datetime):
    world.kill(now, "role/agent")
    world.brake.scopes.append(parse_scope("profile:a1b2c3d4e5f6"))
    world.brake.groups[DENY].add("user/full")
    world.release(now + timedelta(minutes=3), scope="everything")
    fresh = FakeBrake(armed=set(world.brake.armed))
    for arn in (BRAKE, SWEEP, DENY):
        assert world.brake._holders(arn) == fresh._holders(arn)
    assert (world.brake.groups, world.brake.scopes, world.brake.level) == (fresh.groups, [], Level.RELEASED)
    assert world.ledger.narrow == ()


def test_a_scope_nobody_knows_releases_nothing(world: World, now: datetime):
    with pytest.raises(RefusedError, match="nothing was released"):
        world.release(now, scope="rule/agent")
    assert world.brake.calls == []


def test_when_the_guardrail_goes_everything_is_put_back(world: World, now: datetime):
    world.kill(now, "role/agent")
    world.ledger.acting = ("stop", now + timedelta(minutes=1))  # nobody is waited for
    releasing.everything(world.release_desk, now + timedelta(minutes=3))
    assert (world.brake.level, world.brake.denied, world.brake.swept) == (Level.RELEASED, set(), set())
    assert world.lever.things == {"a": 20, "b": 3}


# --- allowances ------------------------------------------------------------------------------------------------


def test_an_allowance_granted_again_in_the_same_words_is_the_same_one(world: World, now: datetime):
    for _ in range(2):
        world.release(now, allowance={"usd": 50, "hours": 4})
    assert len(world.ledger.granted) == 1


def test_an_allowance_that_cannot_be_kept_releases_nothing(world: World, now: datetime):
    world.ledger.down = True
    with pytest.raises(RefusedError, match="nothing was released"):
        world.release(now, allowance={"usd": 50, "hours": 4})
    assert world.brake.level is Level.STOP
    assert world.brake.calls == []


def test_an_allowance_is_kept_before_the_brake_opens(world: World, now: datetime):
    answer = world.release(now, allowance={"usd": 50, "hours": 4})
    assert [str(each.usd) for each in world.ledger.granted] == ["50"]
    assert answer["allowance"] == "$50 more until 2026-11-22 22:30 UTC"


def test_a_release_over_the_limit_says_that_the_meter_will_stop_again(world: World, now: datetime):
    world.ledger.latest = {"verdict": "stop", "reason": "$60 of $50/day", "at": "x"}
    assert "again within a minute" in world.release(now)["warning"]


def test_after_a_release_an_incomplete_figure_no_longer_holds_the_old_verdict(world: World, now: datetime):
    world.ledger.latest = {"verdict": "stop", "reason": "r", "at": "x"}
    world.release(now)
    assert world.ledger.latest_decision() is None


def test_a_mail_that_does_not_go_out_is_said(world: World, now: datetime):
    world.post = FakePost(down=True)
    assert "mail" in world.release(now)["not_told"]


def test_an_error_of_the_ledger_is_no_reason_to_wait_for_anybody(world: World, now: datetime, monkeypatch):
    def throttled(*_: object) -> str | None:
        raise AwsCallError("dynamodb:PutItem", "Throttling", "not now")

    monkeypatch.setattr(world.ledger, "begin", throttled)
    world.release(now)
    assert world.brake.level is Level.RELEASED


def allow(world: World, now: datetime, **words: Any) -> dict[str, Any]:
    desk = replace(world.release_desk, limits=(DAY, BURN))
    return releasing.carry_out({"confirm": "ALLOW", "reason": "launch", "by": "ada"} | words, desk, now)


def test_an_allowance_without_a_release_raises_the_limits_and_touches_nothing_else(now: datetime):
    world = World()
    answer = allow(world, now, allowance={"usd": 200, "hours": 4})
    assert answer["summary"] == "Allowed: $200 more until 2026-11-22 22:30 UTC."
    assert answer["limits"] == ["$50/day, raised to $250.00", "$5/minute"]
    assert answer["allowances"] == ["$200 more until 2026-11-22 22:30 UTC, by ada: launch"]
    assert "budget" in answer["note"]
    assert world.brake.calls == []
    assert [kind for kind, _ in world.ledger.records] == ["allowance"]
    (mail,) = world.post.sent
    assert (mail.kind, mail.subject) == ("allowance", "Bedrock spend: allowed $200 more")
    assert "$50/day, raised to $250.00" in mail.text
    assert "by ada: launch" in mail.text


def test_an_allowance_while_stopped_says_that_nothing_was_released_and_how_to(world: World, now: datetime):
    answer = allow(world, now, allowance={"usd": 200, "hours": 4})
    assert answer["summary"].endswith("Nothing was released: Bedrock is still at stop.")
    assert answer["to_release"]["confirm"] == "RELEASE"
    assert world.brake.level is Level.STOP
    assert world.brake.calls == []


def test_ending_allowances_ends_all_and_is_mailed_once(now: datetime):
    world = World()
    for usd in (5, 6):
        allow(world, now, allowance={"usd": usd, "hours": 4})
    world.post.sent.clear()
    answer = allow(world, now, cancel="all")
    assert answer["summary"] == "Ended all allowances: the limits are those of guardrail.toml."
    assert (answer["limits"], answer["allowances"]) == (["$50/day", "$5/minute"], [])
    assert world.ledger.granted == []
    assert [each.subject for each in world.post.sent] == ["Bedrock spend: ended all allowances"]
    assert "No allowance was left" in allow(world, now, cancel="all")["summary"]
    assert len(world.post.sent) == 1


@pytest.mark.parametrize("word", ["ALLOW", "RELEASE"])
@pytest.mark.parametrize("window", ["hour", "month"])
def test_an_allowance_that_raises_no_limit_is_refused(world: World, now: datetime, word: str, window: str):
    with pytest.raises(RefusedError, match=f"has none a {window}; it has \\$50/day"):
        allow(world, now, confirm=word, allowance={"usd": 5, "hours": 1, "window": window})
    assert world.ledger.granted == []
    assert world.brake.calls == []


def test_an_allowance_nobody_can_keep_or_end_is_an_error_that_says_so(now: datetime):
    world = World()
    world.ledger.down = True
    with pytest.raises(RefusedError, match="nothing was allowed: the allowance cannot be kept"):
        allow(world, now, allowance={"usd": 5, "hours": 1})
    with pytest.raises(UnfinishedError, match="not every allowance was ended"):
        allow(world, now, cancel="all")


def test_an_allowance_is_given_also_when_nobody_can_be_mailed(now: datetime):
    world = World()
    world.post.down = True
    answer = allow(world, now, allowance={"usd": 5, "hours": 1, "window": "minute"})
    assert "mail" in answer["not_told"]
    assert answer["limits"] == ["$50/day", "$5/minute, raised to $10.00"]


def test_a_release_that_failed_at_much_says_so_in_a_few_lines(now: datetime):
    world = World()
    world.lever.things = {f"thing-{number}": 9 for number in range(40)}
    world.stop(now - timedelta(minutes=1))
    world.lever.refuses = {f"restore thing-{number}": "Throttling" for number in range(40)}
    with pytest.raises(UnfinishedError) as error:
        world.release(now)
    assert "and 37 more, which the log has" in str(error.value)
    assert len(str(error.value)) < 1200
