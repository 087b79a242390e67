"""What a kill would do, told in words first, from reads alone."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from lambdas import planning, ports
from lambdas.core.levels import Level
from lambdas.core.plan import Job
from lambdas.core.principals import PrincipalKind, Spared
from lambdas.core.scopes import parse_scope
from lambdas.planning import Planned, Unasked
from lambdas.stopping import StopRequest
from tests.fakes import FakeBrake, FakeLedger, FakeLever, FakeWork
from tests.unit.test_stopping import LINKS, World, person


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("a plan writes nothing")


WRITES: dict[type, tuple[str, ...]] = {
    FakeBrake: ("switch", "arm", "sweep", "deny", "join", "leave", "part", "stop", "release"),
    FakeLever: ("hold", "restore"),
    FakeWork: ("stop",),
    FakeLedger: ("remember", "forget", "want", "record", "begin", "end", "stop_alone", "release_alone", "keep"),
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """An account that nobody may write to."""
    for kind, methods in WRITES.items():
        for method in methods:
            monkeypatch.setattr(kind, method, forbidden)
    world = World()
    world.lever.things = {"a": 20, "b": 3}
    world.work.jobs = {"eu-central-1": [Job("eu-central-1", "arn:job", "nightly")]}
    return world


def plan(world: World, scope: str = "", **changes: Any) -> Planned:
    tools: ports.StopTools = replace(world.tools, **changes)
    return planning.plan(parse_scope(scope) if scope else None, tools)


def test_a_plan_of_the_account_says_all_a_kill_would_do_in_a_sentence(world: World):
    answer = plan(world).answer(LINKS)
    assert next(iter(answer)) == "summary"
    assert answer["summary"] == (
        "A kill of the account would deny 2 principals by one switch, attach a deny to 1 more, hold down 2 more things "
        "until a release and end 1 job. OUT OF REACH: 1."
    )
    assert answer["denied_by_the_switch"] == ["role/agent", "user/dev"]
    assert answer["steps"][:3] == [
        "switch bedrock-spend-brake to stop (v3)",
        "switch bedrock-spend-sweep to stop (v3)",
        "attach bedrock-spend-sweep to role/admin",
    ]
    assert [each.rpartition("/")[2] for each in answer["out_of_reach"]] == ["AWSReservedSSO_x"]
    assert answer["to_do_it"] == {"function": "https://kill", "event": {}}


def test_keys_are_told_by_their_number(world: World):
    world.lever.name = "api-key"
    assert "set 2 API keys inactive" in plan(world).summary


def test_a_plan_of_one_principal_is_about_that_one_alone(world: World):
    answer = plan(world, "role/agent").answer(LINKS)
    assert answer["summary"] == "A kill of role/agent would attach a deny to 1 principal."
    assert answer["steps"] == ["attach bedrock-spend-deny to role/agent"]
    assert answer["to_do_it"]["event"] == {"scope": "role/agent"}


def test_a_plan_of_a_model_denies_it_in_the_policies(world: World):
    planned = plan(world, "model:anthropic.claude-opus*")
    assert planned.summary.startswith("A kill of model:anthropic.claude-opus* would deny model:anthropic.claude-opus*")


def test_who_is_not_there_or_exempt_is_out_of_reach(world: World):
    for scope in ("role/nobody", "role/break-glass"):
        planned = plan(world, scope)
        assert planned.summary == f"A kill of {scope} would change nothing. OUT OF REACH: 1."


def test_what_is_stopped_already_is_not_told_as_to_be_done(world: World):
    world.brake.level = world.brake.sweep_level = Level.STOP
    world.brake.swept = {"role/admin"}
    world.lever.things, world.work.jobs = {}, {}
    planned = plan(world)
    assert planned.report.steps == ()
    assert planned.summary == (
        "A kill of the account would change nothing. 2 principals are denied by the switch already. OUT OF REACH: 1."
    )


def test_whose_slots_seem_full_is_told_apart(world: World):
    world.people.everybody = [replace(person("crowded"), full=True), person("fresh", kind=PrincipalKind.USER)]
    planned = plan(world)
    assert planned.doubtful == ("role/crowded",)
    assert "1 of them may have no free slot for a policy." in planned.summary


def test_what_cannot_be_read_is_told_and_counts_as_more(world: World):
    world.people.refuses = True
    world.work.refuses = {"us-east-1"}
    planned = plan(world)
    assert {"list roles and users", "list batch jobs in us-east-1"} <= planned.answer(LINKS)["not_looked_at"].keys()
    assert planned.summary.endswith("so it is at least this.")


def test_looks_there_was_no_time_for_are_told(world: World):
    world.seconds_left = 10
    planned = plan(world)
    assert "the rest" in planned.answer(LINKS)["not_looked_at"]
    assert "NOT LOOKED AT" in planned.summary


def test_a_lever_that_may_not_be_looked_at_says_so_at_a_stop_and_holds_nothing(world: World):
    lever = Unasked("scp", "SCP x on ou-1", "who may look may attach it")
    planned = plan(world, levers=lambda: [lever])
    assert planned.answer(LINKS)["not_looked_at"] == {"SCP x on ou-1": "who may look may attach it"}
    assert lever.find(Level.STEP_DOWN, Spared(())).unread == {}


def test_report_only_decides_everything_and_touches_nothing(world: World, now: datetime, monkeypatch):
    monkeypatch.undo()
    for kind in (FakeBrake, FakeLever, FakeWork):
        for method in WRITES[kind]:
            monkeypatch.setattr(kind, method, forbidden)
    for level in (Level.STEP_DOWN, Level.STOP):
        report = world.stop(now, StopRequest(level, "a limit", now), enforce=False).report
        assert report is not None
        assert report.done
        assert not report.enforced
    assert world.ledger.book == {}
    assert world.ledger.wanted().level is Level.RELEASED
