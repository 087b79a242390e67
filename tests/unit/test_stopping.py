"""Stopping: the switch comes first, everybody is tried, what failed is said, nothing else can hold it up."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas import guardrail, stopping
from lambdas.core.errors import AwsCallError, RefusedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Ladder
from lambdas.core.notice import Links, Notice, SpendSummary
from lambdas.core.plan import Job
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from lambdas.stopping import BudgetFigures, StopRequest, judge_budget_message, parse_meter_request
from tests.conftest import ACCOUNT, event
from tests.fakes import FakeBrake, FakeLedger, FakePeople, FakePost, FakeWork, refused

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
    people: FakePeople = field(init=False)

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

    def stop(self, now: datetime, request: StopRequest | None = None, *, enforce: bool = True) -> stopping.Result:
        desk = stopping.Desk(
            guardrail.StopTools(self.brake, self.people, self.work, SPARED, self.paused.append),
            self.post,
            self.ledger,
            LINKS,
        )
        return stopping.carry_out(request or StopRequest(Level.STOP, "a test", now), desk, now, enforce=enforce)


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
    assert set(result.untold) == {"remember the level", "mail", "ledger"}
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
    world.stop(now, keep)
    assert world.brake.swept == {"role/admin"}
    assert len(world.post.sent) == 2


def test_keeping_on_what_nobody_wants_any_more_does_nothing(world: World, now: datetime):
    result = world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    assert result.report is None
    assert world.brake.level is Level.RELEASED
    assert "has released the brake" in result.answer(LINKS)["summary"]


@pytest.mark.parametrize("reassert", [True, False])
def test_what_was_asked_before_a_release_is_void_however_it_comes(world: World, now: datetime, reassert: bool):
    world.ledger.want(Level.RELEASED, now)
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
        world.ledger.want(Level.RELEASED, released)
        return sweep()

    world.people.principals = released_meanwhile  # type: ignore[method-assign]
    world.stop(now)
    assert world.ledger.wanted() == Wanted(Level.RELEASED, released)


def test_a_mail_that_did_not_go_out_goes_out_with_the_next_look(world: World, now: datetime):
    world.post.down = True
    assert "mail" in world.stop(now).untold
    world.post.down = False
    world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    world.stop(now, StopRequest(Level.STOP, "kept on", now, reassert=True))
    assert [each.subject for each in world.post.sent] == ["Bedrock spend: STOPPED"]


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


# --- AWS Budgets -------------------------------------------------------------------------------------------------


@dataclass
class FakeBudget:
    actual: str
    name: str = "bedrock-spend-monthly"
    error: AwsCallError | None = None
    asked: int = 0

    def figures(self) -> BudgetFigures:
        self.asked += 1
        if self.error:
            raise self.error
        return BudgetFigures(Decimal(self.actual), Decimal(500))


def judge(text: str, budget: FakeBudget, told: list[Notice] | None = None) -> StopRequest | None:
    inbox: list[Notice] = [] if told is None else told
    return judge_budget_message(
        text, at=SENT, account_id=ACCOUNT, budget=budget, ladder=LADDER, tell=inbox.append, links=LINKS
    )


@pytest.mark.parametrize(("actual", "level"), [("400", Level.STEP_DOWN), ("500", Level.STOP), ("1234.56", Level.STOP)])
def test_the_confirmed_figure_decides_how_far_to_brake(actual: str, level: Level):
    request = judge(event("budgets_actual.txt"), FakeBudget(actual))
    assert request is not None
    assert request.level is level
    assert f"${Decimal(actual):.2f} of $500.00" in request.reason


def test_a_warning_is_passed_on():
    told: list[Notice] = []
    assert judge(event("budgets_actual.txt"), FakeBudget("250"), told) is None
    assert "$250.00 of $500.00" in told[0].text


def test_a_forecast_warns_however_low_the_actual_figure_is():
    told: list[Notice] = []
    assert judge(event("budgets_forecasted.txt"), FakeBudget("1"), told) is None
    assert "forecasted" in told[0].text


def test_a_claim_the_budget_does_not_confirm_is_refused():
    with pytest.raises(RefusedError, match="not confirmed"):
        judge(event("budgets_actual.txt"), FakeBudget("3"))


def test_a_message_nobody_can_read_is_confirmed_like_any_other():
    request = judge("\x00 garbled", FakeBudget("600"))
    assert request is not None
    assert request.level is Level.STOP


def test_a_foreign_message_does_not_even_ask_the_budget():
    budget = FakeBudget("600")
    with pytest.raises(RefusedError):
        judge(event("budgets_actual.txt").replace(ACCOUNT, "999999999999"), budget)
    assert budget.asked == 0


def test_a_budget_that_cannot_be_asked_is_an_error_and_not_a_verdict():
    with pytest.raises(AwsCallError):
        judge(event("budgets_actual.txt"), FakeBudget("600", error=refused("budgets:DescribeBudget")))


def test_the_record_has_what_was_before(world: World, now: datetime):
    world.stop(now)
    record: dict[str, Any] = world.ledger.records[0][1]
    assert record["before"] == {"level": "released", "bedrock-spend-brake": "v1", "bedrock-spend-sweep": "v1"}
