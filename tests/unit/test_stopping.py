"""Stopping: the switch comes first, everybody is tried, what failed is said, nothing else can hold it up."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas import ports, releasing, stopping
from lambdas.core.errors import RefusedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.levers import Held
from lambdas.core.limits import Ladder
from lambdas.core.notice import Links, SpendSummary, StopReport
from lambdas.core.plan import Job, Switch
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from lambdas.core.scopes import parse_scope
from lambdas.stopping import StopRequest, parse_meter_request
from tests.conftest import ACCOUNT, event
from tests.fakes import (
    BRAKE,
    SWEEP,
    FakeBrake,
    FakeLedger,
    FakeLever,
    FakePeople,
    FakePost,
    FakeSimulator,
    FakeWork,
    refused,
)

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
SPARED = Spared(("role/break-glass",))
LADDER = Ladder(Decimal(50), Decimal(80))


def person(
    name: str,
    capability: Capability = Capability.NAMED,
    kind: PrincipalKind = PrincipalKind.ROLE,
    path: str = "/",
) -> Principal:
    return Principal(f"arn:aws:iam::{ACCOUNT}:{kind}{path}{name}", kind, name, path, capability)


@dataclass
class World:
    """An account in memory, with everything a stop is carried out with."""

    brake: FakeBrake = field(default_factory=lambda: FakeBrake(armed={"role/agent", "user/dev"}))
    work: FakeWork = field(default_factory=FakeWork)
    post: FakePost = field(default_factory=FakePost)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    paused: list[float] = field(default_factory=list)
    lever: FakeLever = field(default_factory=FakeLever)
    seconds_left: float = 900
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What the stop function was asked for."""
    logged: list[Held] = field(default_factory=list)
    people: FakePeople = field(init=False)
    simulator: FakeSimulator = field(init=False)

    def __post_init__(self) -> None:
        self.people = FakePeople(
            self.brake,
            [
                person("agent"),
                person("dev", kind=PrincipalKind.USER),
                person("admin", Capability.WILDCARD),
                person("break-glass"),
                person("web", Capability.NONE),
                person("install", Capability.NONE, path="/bedrock-spend/"),
                person("AWSReservedSSO_x", path="/aws-reserved/sso.amazonaws.com/"),
            ],
        )
        self.simulator = FakeSimulator(self.brake)

    @property
    def tools(self) -> ports.StopTools:
        return ports.StopTools(
            brake=self.brake,
            people=self.people,
            work=lambda: self.work,
            levers=lambda: [self.lever],
            book=self.ledger,
            writer=lambda: self.brake,
            spared=SPARED,
            ask=self.simulator,
            log=self.logged.append,
            pace=ports.Pace(self.paused.append, lambda: self.seconds_left),
        )

    @property
    def desk(self) -> stopping.Desk:
        return stopping.Desk(self.tools, self.post, self.ledger, LINKS, self.asked.append)

    @property
    def release_desk(self) -> releasing.ReleaseDesk:
        pace = ports.Pace(self.paused.append, lambda: self.seconds_left)
        tools = ports.ReleaseTools(self.brake, lambda: [self.lever], self.ledger, lambda: self.brake, pace)
        return releasing.ReleaseDesk(tools, self.post, self.ledger, LINKS, ACCOUNT, self.asked.append)

    def stop(self, now: datetime, request: StopRequest | None = None, *, enforce: bool = True) -> stopping.Result:
        return stopping.carry_out(request or StopRequest(Level.STOP, "a test", now), self.desk, now, enforce=enforce)

    def kill(self, now: datetime, scope: str) -> stopping.Result:
        request = StopRequest(Level.RELEASED, "killed", now, by="person", scope=parse_scope(scope))
        return stopping.kill(request, self.desk, now)

    def release(self, now: datetime, **words: Any) -> dict[str, Any]:
        event = {"confirm": "RELEASE", "reason": "fixed", "by": "ada"} | words
        return releasing.carry_out(event, self.release_desk, now)


def reported(result: stopping.Result) -> StopReport:
    assert result.report is not None
    return result.report


@pytest.fixture
def world() -> World:
    return World()


def test_a_stop_switches_once_sweeps_the_rest_and_spares_the_exempt(world: World, now: datetime):
    job = Job("eu-central-1", "arn:job", "nightly")
    world.work.jobs["eu-central-1"] = [job]
    report = world.stop(now).report
    assert report is not None
    assert report.done == (
        "switch bedrock-spend-brake to stop (v3)",
        "switch bedrock-spend-sweep to stop (v3)",
        "attach bedrock-spend-sweep to role/admin",
        "stop batch job nightly in eu-central-1",
    )
    assert (report.complete, report.verified, report.armed) == (True, True, 2)
    assert list(report.uncovered) == [f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_x"]
    assert world.work.jobs["eu-central-1"] == []
    assert world.ledger.level is Level.STOP


def test_the_switch_is_the_first_thing_after_reading_the_policy(world: World, now: datetime):
    world.stop(now)
    assert world.brake.calls[:4] == ["policy brake", "switch brake", "policy sweep", "switch sweep"]


def test_stopping_twice_is_the_same_as_once(world: World, now: datetime):
    world.stop(now)
    again = world.stop(now).report
    assert again is not None
    assert (again.done, again.complete) == ((), True)
    assert len(world.post.sent) == 1


def test_a_step_down_never_lowers_a_stop(world: World, now: datetime):
    world.stop(now)
    report = world.stop(now, StopRequest(Level.STEP_DOWN, "less", now)).report
    assert report is not None
    assert report.level is Level.STOP
    assert world.brake.level is Level.STOP


def test_a_step_down_sweeps_and_leaves_batch_jobs_running(world: World, now: datetime):
    world.work.jobs["us-east-1"] = [Job("us-east-1", "arn:job", "nightly")]
    world.stop(now, StopRequest(Level.STEP_DOWN, "80 %", now))
    assert (world.brake.level, world.brake.sweep_level) == (Level.STEP_DOWN, Level.STEP_DOWN)
    assert world.brake.swept == {"role/admin"}
    assert len(world.work.jobs["us-east-1"]) == 1


@pytest.mark.parametrize("broken", ["switch brake", "switch sweep", "sweep role/admin", "holders"])
def test_whatever_call_fails_the_rest_is_tried_and_the_next_run_finishes(world: World, now: datetime, broken: str):
    world.brake.refuses = {broken: "Throttling"}
    report = world.stop(now).report
    assert report is not None
    assert not report.complete
    assert any("Throttling" in why for why in report.failed.values())
    assert "NOT fully stopped" in report.headline
    world.brake.refuses = {}
    report = world.stop(now, StopRequest(Level.STOP, "again", now, reassert=True)).report
    assert report is not None
    assert report.complete
    assert (world.brake.level, world.brake.sweep_level, world.brake.swept) == (Level.STOP, Level.STOP, {"role/admin"})


def test_a_stop_that_cannot_list_the_account_still_switches(world: World, now: datetime):
    world.people.refuses = True
    report = world.stop(now).report
    assert report is not None
    assert world.brake.level is Level.STOP
    assert "list roles and users" in report.failed


def test_a_stop_that_cannot_read_its_policies_still_sweeps_and_says_so(world: World, now: datetime):
    world.brake.refuses = {"policy": "ServiceFailure"}
    report = world.stop(now).report
    assert report is not None
    assert world.brake.swept == {"role/admin"}
    assert {"read the brake policy", "read the sweep policy"} <= report.failed.keys()
    assert not report.verified


def test_a_sweep_policy_that_cannot_be_read_does_not_hold_up_the_brake(world: World, now: datetime):
    world.brake.refuses = {"policy sweep": "ServiceFailure"}
    world.stop(now)
    assert world.brake.level is Level.STOP


def test_a_region_that_cannot_be_read_does_not_hide_the_jobs_of_another(world: World, now: datetime):
    world.work.refuses = {"us-east-1"}
    world.work.jobs["eu-central-1"] = [Job("eu-central-1", "arn:job", "nightly")]
    report = world.stop(now).report
    assert report is not None
    assert world.work.jobs["eu-central-1"] == []
    assert "list batch jobs in us-east-1" in report.failed


def test_a_stop_works_with_the_ledger_gone_and_the_mail_down(world: World, now: datetime):
    world.ledger.down = world.post.down = True
    result = world.stop(now)
    assert result.report is not None
    assert result.report.complete
    told = {"remember what is wanted", "read what is stopped alone", "mail", "ledger"}
    assert set(result.untold) == told
    assert "not_told" in result.answer(LINKS)


def test_a_switch_that_claims_success_and_did_nothing_is_found_out(world: World, now: datetime, monkeypatch):
    monkeypatch.setattr(world.brake, "switch", lambda _step: None)
    result = world.stop(now)
    assert result.report is not None
    assert not result.report.verified
    assert "reading back: bedrock-spend-brake is at released" in result.report.failed
    assert result.answer(LINKS)["stop_by_hand"] == "aws iam set-default"


def test_an_iam_that_reads_back_late_is_waited_for(world: World, now: datetime, monkeypatch):
    stale, fresh = world.brake.levels(), world.brake.levels
    reads = iter([stale, stale])
    monkeypatch.setattr(world.brake, "levels", lambda: next(reads, None) or fresh())
    report = world.stop(now).report
    assert report is not None
    assert report.complete
    assert world.paused == [1.0, 2.0]


def test_report_only_touches_nothing_and_tells_what_it_would_have_done(world: World, now: datetime):
    report = world.stop(now, enforce=False).report
    assert report is not None
    assert report.done[0] == "switch bedrock-spend-brake to stop (v3)"
    assert not any(call.startswith(("switch", "sweep", "arm", "leave")) for call in world.brake.calls)
    assert world.ledger.level is Level.RELEASED
    assert world.ledger.records[0][1]["enforced"] is False
    assert "would have STOPPED" in world.post.sent[0].subject


def test_keeping_a_stop_on_is_silent_until_something_had_to_be_repaired(world: World, now: datetime):
    world.stop(now)
    keep = StopRequest(Level.STOP, "kept on", now, reassert=True)
    world.stop(now, keep)
    assert len(world.post.sent) == 1
    world.brake.swept.clear()  # somebody's Terraform
    world.stop(now + timedelta(hours=1), keep)
    assert world.brake.swept == {"role/admin"}
    assert len(world.post.sent) == 2


def test_keeping_on_what_nobody_wants_any_more_does_nothing(world: World, now: datetime):
    result = world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    assert result.report is None
    assert world.brake.level is Level.RELEASED
    assert "has released the brake" in result.answer(LINKS)["summary"]


@pytest.mark.parametrize("reassert", [True, False])
def test_what_was_asked_before_a_release_is_void_however_it_comes(world: World, now: datetime, reassert: bool):
    world.ledger.want(Wanted(Level.RELEASED), now)
    before = now - timedelta(seconds=1)
    assert world.stop(now, StopRequest(Level.STOP, "late", before, reassert)).report is None
    assert world.brake.calls == []
    after = world.stop(now, StopRequest(Level.STOP, "new", now + timedelta(seconds=1)))
    assert after.report is not None
    assert world.brake.level is Level.STOP


def test_a_stop_that_waited_for_hours_still_acts_when_nobody_has_released_since(world: World, now: datetime):
    world.stop(now, StopRequest(Level.STOP, "queued", now - timedelta(hours=5)))
    assert world.brake.level is Level.STOP


def test_a_stop_that_ends_after_a_release_does_not_take_its_word_back(world: World, now: datetime):
    released = now + timedelta(seconds=30)
    sweep = world.people.principals

    def released_meanwhile() -> Any:
        world.ledger.want(Wanted(Level.RELEASED), released)
        return sweep()

    world.people.principals = released_meanwhile  # type: ignore[method-assign]
    world.stop(now)
    assert world.ledger.wanted() == Wanted(Level.RELEASED, released, done=False)


def test_a_mail_that_did_not_go_out_goes_out_with_the_next_look(world: World, now: datetime):
    world.post.down = True
    assert "mail" in world.stop(now).untold
    world.post.down = False
    world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    assert [each.subject for each in world.post.sent] == ["Bedrock spend: STOPPED, 1 out of reach"]


def test_the_batch_jobs_of_an_exempt_role_run_on(world: World, now: datetime):
    job = Job("us-east-1", "arn:job", "critical", f"arn:aws:iam::{ACCOUNT}:role/break-glass")
    world.work.jobs["us-east-1"] = [job]
    world.stop(now)
    assert world.work.jobs["us-east-1"] == [job]


def test_a_brake_somebody_opened_is_closed_again_while_it_is_wanted(world: World, now: datetime):
    world.stop(now)
    world.brake.level = Level.RELEASED
    world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    assert world.brake.level is Level.STOP


REQUEST = {"source": "meter", "level": "stop", "reason": "why", "reassert": False}
SENT = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
AT = {"at": "2026-11-22T18:30:20+00:00"}

# --- requests of the meter ---------------------------------------------------------------------------------------


def test_a_request_of_the_meter_is_read(now: datetime):
    summary = SpendSummary(findings=("$50.00 of $50/day",), burn="$1.00 a minute")
    raw = REQUEST | {"at": now.isoformat(), "spend": asdict(summary)}
    assert parse_meter_request(json.loads(json.dumps(raw))) == StopRequest(Level.STOP, "why", now, spend=summary)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"source": "somebody"},
        {"source": "meter"},
        REQUEST,
        AT,
        REQUEST | AT | {"level": "released"},
        REQUEST | AT | {"level": "STOP"},
        REQUEST | AT | {"level": ["stop"]},
        REQUEST | AT | {"reason": None},
        REQUEST | AT | {"reassert": "no"},
        REQUEST | {"at": "yesterday"},
        REQUEST | {"at": "2026-11-22T18:30:20"},
        REQUEST | {"at": None},
        event("console_default.json"),
        event("alarm_state_change.json"),
    ],
)
def test_anything_else_is_refused(raw: object):
    with pytest.raises(RefusedError):
        parse_meter_request(raw)


@pytest.mark.parametrize("spend", [None, [], "x", {"findings": 5}, {"burn": 3, "models": [1, "m"]}])
def test_a_summary_that_cannot_be_read_never_holds_up_a_stop(spend: object):
    assert parse_meter_request(REQUEST | AT | {"spend": spend}).level is Level.STOP


def test_the_record_has_what_was_before(world: World, now: datetime):
    world.stop(now)
    record: dict[str, Any] = world.ledger.records[0][1]
    assert record["before"] == {"level": "released", "bedrock-spend-brake": "v1", "bedrock-spend-sweep": "v1"}


# --- levers, and what is remembered -------------------------------------------------------------------------------


def test_levers_hold_down_and_what_was_before_is_logged_and_remembered_first(world: World, now: datetime):
    world.lever.things = {"a": 20}
    assert "hold down a" in reported(world.stop(now)).done
    assert world.lever.things == {"a": 0}
    assert [each.before for each in world.logged] == [{"number": 20}]
    assert [each.held.before for each in world.ledger.held()] == [{"number": 20}]


def test_what_cannot_be_remembered_is_not_held_down_and_said(world: World, now: datetime):
    world.lever.things, world.ledger.down = {"a": 20}, True
    report = world.stop(now).report
    assert report is not None
    assert world.lever.things == {"a": 20}
    assert "dynamodb" in report.failed["hold down a"]
    assert world.brake.level is Level.STOP


@pytest.mark.parametrize("works", [True, False])
def test_a_lever_that_fails_is_pulled_again_and_keeps_what_was_before(world: World, now: datetime, works: bool):
    world.lever.things, world.lever.refuses = {"a": 20}, {"hold a": "Throttling"}
    world.lever.works_before_refusing = works
    assert "hold down a" in reported(world.stop(now)).failed
    world.lever.refuses = {}
    world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    assert world.lever.things == {"a": 0}
    assert [each.held.before for each in world.ledger.held()] == [{"number": 20}]


def test_what_a_lever_cannot_look_at_is_a_failure(world: World, now: datetime):
    world.lever.refuses = {"find": "AccessDenied"}
    assert reported(world.stop(now)).failed == {"look at fake": "AccessDenied"}


def test_report_only_pulls_no_lever_and_says_which_it_would(world: World, now: datetime):
    world.lever.things = {"a": 20}
    report = reported(world.stop(now, enforce=False))
    assert "hold down a" in report.done
    assert (world.lever.things, world.ledger.book, world.logged) == ({"a": 20}, {}, [])


# --- time, and others at it ---------------------------------------------------------------------------------------


def test_a_function_that_runs_out_of_time_says_what_is_left_and_another_goes_on(world: World, now: datetime):
    world.lever.things, world.seconds_left = {"a": 20}, 20
    report = world.stop(now).report
    assert report is not None
    assert (report.left > 0, report.complete, world.brake.level) == (True, False, Level.STOP)
    assert f"{report.left} more go on in another run" in report.headline
    request = parse_meter_request(world.asked[0])
    world.seconds_left = 900
    world.stop(now, request)
    assert (world.brake.swept, world.lever.things) == ({"role/admin"}, {"a": 0})
    assert len(world.asked) == 1


def test_keeping_on_waits_for_the_run_that_is_at_it_and_no_longer_than_it_said(world: World, now: datetime):
    world.stop(now)
    world.brake.swept.clear()
    world.ledger.begin("stop", now, now + timedelta(minutes=2))
    keep = StopRequest(Level.STOP, "kept on", now, reassert=True)
    assert "another run" in world.stop(now, keep).answer(LINKS)["summary"]
    assert world.stop(now + timedelta(minutes=2), keep).report is not None
    assert world.brake.swept == {"role/admin"}


def test_a_new_stop_waits_for_nobody(world: World, now: datetime):
    for who in ("stop", "release"):
        world.ledger.acting = (who, now + timedelta(minutes=2))
        assert world.stop(now).report is not None
        assert world.brake.level is Level.STOP


def test_during_a_release_the_levers_wait_and_the_switch_does_not(world: World, now: datetime):
    world.lever.things = {"a": 20}
    world.ledger.begin("release", now, now + timedelta(minutes=2))
    report = world.stop(now).report
    assert report is not None
    assert (world.brake.level, world.brake.swept, world.lever.things) == (Level.STOP, {"role/admin"}, {"a": 20})
    assert not report.complete
    assert any("a release is under way" in why for why in report.failed.values())


def test_a_stop_leaves_no_claim_behind(world: World, now: datetime):
    world.stop(now)
    assert world.ledger.acting is None


def test_a_release_while_a_stop_ran_has_its_switch_undone(world: World, now: datetime, monkeypatch):
    principals = world.people.principals

    def released_meanwhile() -> Any:
        world.ledger.want(Wanted(Level.RELEASED), now + timedelta(seconds=30))
        return principals()

    monkeypatch.setattr(world.people, "principals", released_meanwhile)
    result = world.stop(now)
    assert (world.brake.level, world.brake.sweep_level) == (Level.RELEASED, Level.RELEASED)
    assert "has released the brake" in result.answer(LINKS)["summary"]


# --- slots, proof -------------------------------------------------------------------------------------------------


def test_a_user_whose_slots_filled_up_meanwhile_goes_into_the_group(world: World, now: datetime):
    world.people.everybody = [person("root", Capability.WILDCARD, PrincipalKind.USER)]
    world.brake.refuses = {"sweep user/root": "LimitExceeded"}
    report = world.stop(now).report
    assert report is not None
    assert (world.brake.groups[SWEEP], report.complete) == ({"user/root"}, True)
    assert "add user/root to the group bedrock-spend-sweep" in report.done
    again = world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    assert reported(again).done == ()


def test_a_role_whose_slots_are_full_is_told_by_name_with_the_remedy(world: World, now: datetime):
    world.brake.refuses = {"sweep role/admin": "LimitExceeded"}
    report = reported(world.stop(now))
    assert "raise the quota" in report.uncovered["role/admin"]
    assert "role/admin" in world.post.sent[0].text


def test_work_that_nothing_brings_back_waits_until_it_is_known_who_is_exempt_by_tag(world: World, now: datetime):
    job = Job("us-east-1", "arn:job", "nightly")
    world.work.jobs["us-east-1"] = [job]
    world.people.refuses = True
    desk = replace(world.desk, tools=replace(world.tools, spared=Spared(tag="team=core")))
    report = reported(stopping.carry_out(StopRequest(Level.STOP, "x", now), desk, now, enforce=True))
    assert "exempt by tag" in report.failed["work in flight"]
    assert world.work.jobs["us-east-1"] == [job]
    # Where no tag exempts anybody nothing has to be known.
    world.stop(now)
    assert world.work.jobs["us-east-1"] == []


def test_the_simulator_is_asked_and_its_answer_is_told(world: World, now: datetime):
    result = world.stop(now)
    assert result.report is not None
    assert result.report.proof is not None
    assert result.report.proof.holds
    assert "denied for 3 of 3" in result.answer(LINKS)["proof"]


def test_whom_the_simulator_still_allows_is_a_failure(world: World, now: datetime):
    arn = f"arn:aws:iam::{ACCOUNT}:role/agent"
    world.simulator.lies = {arn}
    report = world.stop(now).report
    assert report is not None
    assert not report.complete
    assert "not denied" in report.failed[f"IAM's simulator about {arn}"]


def test_a_simulator_that_does_not_answer_is_unknown_and_no_failure(world: World, now: datetime):
    world.simulator.refuses = True
    report = world.stop(now).report
    assert report is not None
    assert report.complete
    assert "could not be asked about 3" in str(report.proof)


# --- one alone ----------------------------------------------------------------------------------------------------


def test_a_role_is_stopped_alone(world: World, now: datetime):
    result = world.kill(now, "role/agent")
    assert result.report is not None
    assert (world.brake.denied, world.brake.level, world.brake.swept) == ({"role/agent"}, Level.RELEASED, set())
    assert result.report.headline == "Stopped alone: role/agent. 1 steps done."
    assert world.ledger.narrow == ("role/agent",)
    assert world.ledger.wanted() == Wanted(Level.RELEASED)
    assert "STOPPED ALONE" in world.post.sent[0].subject


def test_a_model_is_stopped_alone_for_the_armed_at_once_and_for_the_others_by_the_sweep_policy(
    world: World, now: datetime
):
    world.kill(now, "model:anthropic.claude-opus*")
    assert world.brake.scopes == [parse_scope("model:anthropic.claude-opus*")]
    assert (world.brake.swept, world.brake.level) == ({"role/admin"}, Level.RELEASED)


@pytest.mark.parametrize("scope", ["role/break-glass", "role/nobody", "role/AWSReservedSSO_x"])
def test_who_cannot_be_stopped_alone_is_said(world: World, now: datetime, scope: str):
    report = world.kill(now, scope).report
    assert report is not None
    assert report.headline.startswith("NOT fully stopped alone")
    assert (world.brake.denied, world.ledger.narrow) == (set(), ())


def test_what_is_stopped_alone_stays_so_each_minute(world: World, now: datetime):
    world.kill(now, "role/agent")
    world.kill(now, "model:anthropic.claude-opus*")
    world.brake.denied.clear()
    world.brake.scopes.clear()
    world.stop(now, StopRequest(Level.RELEASED, "kept on", now, reassert=True))
    assert world.brake.denied == {"role/agent"}
    assert world.brake.scopes == [parse_scope("model:anthropic.claude-opus*")]
    mails = len(world.post.sent)
    world.stop(now, StopRequest(Level.RELEASED, "kept on", now, reassert=True))
    assert len(world.post.sent) == mails


def test_a_role_that_is_gone_is_told_of_once_and_not_each_minute(world: World, now: datetime):
    world.kill(now, "role/agent")
    world.people.everybody = [each for each in world.people.everybody if each.name != "agent"]
    world.brake.denied.clear()
    mails = len(world.post.sent)
    for minutes in range(70):
        later = now + timedelta(minutes=minutes)
        world.stop(later, StopRequest(Level.RELEASED, "kept on", later, reassert=True))
    assert len(world.post.sent) == mails + 1


def test_a_person_stops_one_alone_with_the_ledger_gone(world: World, now: datetime):
    world.ledger.down = True
    result = world.kill(now, "role/agent")
    assert world.brake.denied == {"role/agent"}
    assert "remember what is wanted" in result.untold


def test_a_writer_that_fails_is_told(world: World, now: datetime):
    world.brake.refuses = {"narrow": "TooManyRequestsException"}
    report = reported(world.kill(now, "model:anthropic.claude-opus*"))
    assert not report.complete
    assert "deny model:anthropic.claude-opus*" in report.failed


# --- who said so --------------------------------------------------------------------------------------------------


def test_windows_are_remembered_only_where_windows_alone_called_for_it(now: datetime):
    def after(*requests: StopRequest) -> Wanted:
        world = World()
        for each in requests:
            world.stop(each.at, each)
        return world.ledger.wanted()

    later = now + timedelta(hours=1)
    down = StopRequest(Level.STEP_DOWN, "80 %", now, windows=("day",))
    assert after(down).windows == ("day",)
    assert after(down, StopRequest(Level.STOP, "x", later, windows=("month",))).windows == ("month",)
    assert after(down, StopRequest(Level.STOP, "burn", later)).windows == ()
    for by in ("person", "budget"):
        first = StopRequest(Level.STEP_DOWN, "x", now, by=by)
        assert after(first, StopRequest(Level.STOP, "x", later, windows=("month",))).windows == ()
    assert after(StopRequest(Level.STOP, "kill", now, by="person")).by == "person"


def test_a_version_the_writer_replaced_meanwhile_is_looked_up_again(world: World, now: datetime, monkeypatch):
    first, switch = world.brake.policy, world.brake.switch
    stale = iter([replace(first(BRAKE), versions={Level.STOP: "v9"})])
    monkeypatch.setattr(world.brake, "policy", lambda arn: next(stale, None) or first(arn))

    def known_only(step: Switch) -> None:
        if step.version_id == "v9":
            raise refused("iam:SetDefaultPolicyVersion", "NoSuchEntity")
        switch(step)

    monkeypatch.setattr(world.brake, "switch", known_only)
    report = reported(world.stop(now))
    assert (world.brake.level, report.complete) == (Level.STOP, True)


def test_a_writer_that_refuses_holds_up_nothing_else(world: World, now: datetime, monkeypatch):
    def refuses(_scope: object) -> None:
        raise RefusedError("it does not fit")

    monkeypatch.setattr(world.brake, "stop", refuses)
    world.ledger.narrow = ("model:anthropic.claude-opus*",)
    report = reported(world.stop(now))
    assert report.uncovered["model:anthropic.claude-opus*"] == "it does not fit"
    assert world.brake.swept == {"role/admin"}


def test_a_stop_is_not_kept_on_while_a_release_is_unfinished(world: World, now: datetime):
    world.stop(now)
    world.ledger.want(Wanted(Level.RELEASED, now, done=False), now + timedelta(seconds=1))
    later = now + timedelta(minutes=1)
    assert world.stop(later, StopRequest(Level.STOP, "kept on", later, reassert=True)).report is None


def test_a_complaint_says_in_a_line_what_failed_and_who_was_not_told(world: World, now: datetime):
    world.post.down = True
    result = world.stop(now)
    assert result.is_unfinished
    said = result.complaint(world.desk.links)
    assert said.startswith("Bedrock is stopped.")
    assert "Not told: mail: " in said
    assert "\n" not in said
