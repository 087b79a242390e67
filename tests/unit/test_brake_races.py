"""The brake at the worst moment: races, crashes between two calls, refusals, hostile events.

Each is a sentence about what must hold.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lambdas import releasing, stopping, trying
from lambdas.aws.account import Account
from lambdas.aws.allow_policies import AllowPolicies
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.iam import BrakePolicies
from lambdas.core.errors import GuardrailError, LedgerItemError, RefusedError, UnfinishedError
from lambdas.core.levels import SID_OF, Level, Wanted
from lambdas.core.levers import Held, Remembered
from lambdas.core.notice import StopReport
from lambdas.core.plan import Job, PolicyState, Switch
from lambdas.core.principals import Capability, Spared
from lambdas.core.scopes import Scope, parse_scope
from lambdas.core.triggers import parse_kill
from lambdas.stopping import StopRequest
from tests.conftest import ACCOUNT
from tests.fakes import BRAKE, DENY, SWEEP, FakeBrake, refused
from tests.integration.world import LEDGER, SETTINGS
from tests.integration.world import Account as Cloud
from tests.unit.test_stopping import LINKS, World, person

DENYING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "bedrock:*", "Resource": "*"}]}
)
OPUS = "model:anthropic.claude-opus*"
HAIKU = "model:anthropic.claude-haiku*"
LEDGER_SECONDS = 11.0
"""What a ledger that hangs costs a call: two tries of 5 seconds, and the wait between them."""


@pytest.fixture
def world() -> World:
    return World()


def kill(world: World, now: datetime) -> stopping.Result:
    return stopping.kill(StopRequest(Level.STOP, "killed", now, by="person"), world.desk, now)


def told(result: stopping.Result) -> StopReport:
    assert result.report is not None
    return result.report


def keep(world: World, now: datetime, level: Level = Level.STOP) -> stopping.Result:
    return stopping.carry_out(StopRequest(level, "kept on", now, reassert=True), world.desk, now, enforce=True)


def finish(world: World, at: datetime) -> dict[str, Any]:
    asked = {"source": "meter", "at": at.isoformat(), "windows": [], "reason": "not done yet"}
    return releasing.carry_out(asked, world.release_desk, at)


def first_time(patched: Callable[..., Any], before: Callable[[], object]) -> Callable[..., Any]:
    """Return a call that has something happen before it, the first time."""
    todo = [before]

    def call(*args: Any, **kwargs: Any) -> Any:
        while todo:
            todo.pop()()
        return patched(*args, **kwargs)

    return call


# --- a stop never opens anything ------------------------------------------------------------------------------


def test_a_narrow_kill_never_opens_the_sweep_policy_of_a_stopped_account(world: World, now: datetime):
    kill(world, now)
    world.brake.refuses = {"policy brake": "Throttling"}
    world.kill(now, "role/agent")
    assert world.brake.sweep_level is Level.STOP


def test_a_step_down_never_lowers_the_sweep_policy(world: World, now: datetime):
    world.brake.refuses = {"switch brake": "Throttling"}
    kill(world, now)
    world.brake.refuses = {}
    world.stop(now, StopRequest(Level.STEP_DOWN, "80 %", now, by="budget"))
    assert world.brake.sweep_level is Level.STOP


# --- the first switch -----------------------------------------------------------------------------------------


def test_a_switch_that_meets_the_writer_is_tried_again_in_the_same_run(world: World, now: datetime, monkeypatch):
    switch, refusals = world.brake.switch, ["NoSuchEntity"]

    def gone_at_first(step: Switch) -> None:
        if refusals:
            raise refused("iam:SetDefaultPolicyVersion", refusals.pop())
        switch(step)

    monkeypatch.setattr(world.brake, "switch", gone_at_first)
    report = told(kill(world, now))
    assert world.brake.level is Level.STOP
    assert report.verified


class Renewing:
    """IAM, with a writer that puts a newer version in the place of one between the list and the look."""

    def __init__(self, gone: str, level: Level) -> None:
        self.levels = {"v3": Level.STOP, "v2": Level.STEP_DOWN, "v1": Level.RELEASED}
        self.gone, self.level = gone, level

    def list_policy_versions(self, **_: object) -> dict[str, Any]:
        newest = max(version for version, level in self.levels.items() if level is Level.RELEASED)
        return {"Versions": [{"VersionId": each, "IsDefaultVersion": each == newest} for each in self.levels]}

    def get_policy_version(self, *, VersionId: str, **_: object) -> dict[str, Any]:  # noqa: N803 - as IAM has it
        if self.gone:
            self.levels["v4"] = self.level
            del self.levels[self.gone]
            self.gone = ""
        if VersionId not in self.levels:
            raise ClientError({"Error": {"Code": "NoSuchEntity", "Message": "gone"}}, "GetPolicyVersion")
        return {"PolicyVersion": {"Document": {"Statement": [{"Sid": SID_OF[self.levels[VersionId]]}]}}}


@pytest.mark.parametrize(("gone", "level"), [("v3", Level.STOP), ("v1", Level.RELEASED)])
def test_a_version_that_goes_between_the_list_and_the_look_is_found_in_its_new_place(gone: str, level: Level):
    client: Any = Renewing(gone, level)
    state = BrakePolicies(client, brake_arn=BRAKE, sweep_arn=SWEEP, deny_arn=DENY).policy(BRAKE)
    assert state.versions[level] == "v4"
    assert state.level is Level.RELEASED


def test_a_person_s_switch_waits_for_no_ledger(world: World, now: datetime, monkeypatch):
    begin = world.ledger.begin
    levels: list[Level | None] = []

    def noted(*args: Any) -> str | None:
        levels.append(world.brake.level)
        return begin(*args)

    monkeypatch.setattr(world.ledger, "begin", noted)
    kill(world, now)
    assert levels == [Level.STOP]


@pytest.mark.parametrize("scope", [None, "role/agent"])
def test_what_a_person_wants_is_remembered_before_the_long_part_of_a_stop(
    world: World, now: datetime, monkeypatch, scope: str | None
):
    seen: list[tuple[Level, tuple[str, ...]]] = []
    remembered = lambda: seen.append((world.ledger.level, world.ledger.narrow))  # noqa: E731
    monkeypatch.setattr(world.people, "principals", first_time(world.people.principals, remembered))
    if scope is None:
        kill(world, now)
    else:
        world.kill(now, scope)
    assert seen == [(Level.STOP, ())] if scope is None else seen == [(Level.RELEASED, (scope,))]


# --- a stop and a release at the same time --------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["done", "lost"])
@pytest.mark.parametrize("by", ["person", "meter"])
def test_what_a_stop_held_down_after_a_release_is_put_back_by_somebody(
    world: World, now: datetime, monkeypatch, by: str, answer: str
):
    world.lever.things = {"a": 20}
    if answer == "lost":
        # It took effect, and the stop cannot know.
        world.lever.refuses, world.lever.works_before_refusing = {"hold a": "ReadTimeoutError"}, True
    later = now + timedelta(minutes=3)  # the claim of the stop is over, the stop is not
    monkeypatch.setattr(world.lever, "hold", first_time(world.lever.hold, lambda: world.release(later)))
    if by == "person":
        kill(world, now)
    else:
        world.stop(now)
    with suppress(GuardrailError):
        if not world.ledger.wanted().done:
            finish(world, later + timedelta(minutes=1))
    assert world.lever.things == {"a": 20}
    assert (world.brake.level, world.brake.swept) == (Level.RELEASED, set())


def test_a_release_is_not_done_while_something_was_held_down_again(world: World, now: datetime, monkeypatch):
    world.lever.things = {"a": 20}
    kill(world, now)
    restore = world.lever.restore

    def held_again(held: Held) -> None:
        restore(held)
        world.ledger.remember(held)
        world.lever.things["a"] = 0

    monkeypatch.setattr(world.lever, "restore", held_again)
    with suppress(UnfinishedError):
        world.release(now + timedelta(minutes=3))
    assert not world.ledger.wanted().done


def test_an_undoing_that_fails_is_not_the_end(world: World, now: datetime, monkeypatch):
    later = now + timedelta(minutes=3)

    def released_meanwhile() -> None:
        world.release(later)
        world.brake.level = Level.STOP  # a write of the stop that came last
        world.brake.refuses = {"switch brake": "Throttling"}

    monkeypatch.setattr(world.people, "principals", first_time(world.people.principals, released_meanwhile))
    with suppress(UnfinishedError):
        world.stop(now)
    world.brake.refuses = {}
    with suppress(RefusedError):
        if not world.ledger.wanted().done:
            finish(world, later + timedelta(minutes=1))
    assert world.brake.level is Level.RELEASED


@pytest.mark.parametrize("windows", [["day"], []])
def test_an_automatic_release_whose_word_comes_too_late_opens_nothing(now: datetime, monkeypatch, windows: list[str]):
    world = World()
    if windows:
        world.stop(now, StopRequest(Level.STOP, "$50 of $50/day", now, windows=("day",)))
    else:
        world.lever.things, world.lever.refuses = {"a": 20}, {"restore a": "Throttling"}
        kill(world, now)
        with pytest.raises(UnfinishedError):
            world.release(now + timedelta(minutes=3))
        world.lever.refuses = {}
    later = now + timedelta(hours=6)

    def killed() -> None:
        world.brake.level = world.brake.sweep_level = Level.STOP
        world.ledger.want(Wanted(Level.STOP, later + timedelta(seconds=1), "person"), later + timedelta(seconds=1))

    monkeypatch.setattr(world.ledger, "begin", first_time(world.ledger.begin, killed))
    world.brake.calls.clear()
    asked = {"source": "meter", "at": later.isoformat(), "windows": windows, "reason": "r"}
    with suppress(GuardrailError):
        releasing.carry_out(asked, world.release_desk, later)
    assert not [call for call in world.brake.calls if call.startswith("switch")]


def test_what_is_released_alone_while_a_re_assert_starts_stays_released(world: World, now: datetime, monkeypatch):
    world.kill(now, "role/agent")
    later = now + timedelta(minutes=3)
    released = lambda: world.release(later, scope="role/agent")  # noqa: E731
    begin = world.ledger.begin

    def begins(who: str, at: datetime, until: datetime) -> str | None:
        if who != "release":
            released()
        return begin(who, at, until)

    monkeypatch.setattr(world.ledger, "begin", begins)
    keep(world, later, Level.RELEASED)
    assert world.brake.denied == set()


def test_keeping_on_never_refuses_a_person_s_release(world: World, now: datetime, monkeypatch):
    kill(world, now)
    later = now + timedelta(minutes=3)
    released = lambda: world.release(later + timedelta(seconds=1))  # noqa: E731
    monkeypatch.setattr(world.people, "principals", first_time(world.people.principals, released))
    keep(world, later)
    assert world.brake.level is Level.RELEASED


def test_keeping_on_never_acts_against_a_release_that_is_under_way(world: World, now: datetime):
    kill(world, now)
    later = now + timedelta(minutes=3)
    world.ledger.want(Wanted(Level.RELEASED, later, "person", done=False), later)
    world.ledger.begin("release", later, later + timedelta(minutes=2))
    world.brake.level = Level.RELEASED  # the release has come so far
    world.brake.sweep_level = Level.STOP
    keep(world, later + timedelta(seconds=1))
    assert world.brake.level is Level.RELEASED


# --- time ---------------------------------------------------------------------------------------------------------


def test_nothing_new_is_looked_for_when_the_time_is_nearly_over(world: World, now: datetime, monkeypatch):
    world.seconds_left = 20
    looked: list[str] = []
    monkeypatch.setattr(world.work, "_running", looked.append)
    report = told(kill(world, now))
    assert looked == []
    assert "find" not in world.lever.calls
    assert not report.complete


def test_the_simulator_is_not_asked_when_the_time_is_nearly_over(world: World, now: datetime, monkeypatch):
    asked: list[str] = []

    def ask(arn: str, actions: Sequence[str]) -> dict[str, bool]:
        asked.append(arn)
        return dict.fromkeys(actions, True)

    world.seconds_left = 20
    desk = replace(world.desk, tools=replace(world.tools, ask=ask))
    stopping.kill(StopRequest(Level.STOP, "killed", now, by="person"), desk, now)
    assert asked == []


@pytest.mark.parametrize("windows", [(), ("day",)])
def test_a_ledger_that_hangs_never_costs_the_mail(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch, windows: tuple[str, ...]
):
    world.seconds_left = 120
    world.lever.things = {f"key{number}": 1 for number in range(20)}
    left_at_mail: list[float] = []

    def hangs() -> None:
        world.seconds_left -= LEDGER_SECONDS
        raise refused("dynamodb:PutItem", "ReadTimeoutError")

    monkeypatch.setattr(world.ledger, "_up", hangs)
    monkeypatch.setattr(world.post, "send", lambda _notice: left_at_mail.append(world.seconds_left))
    world.stop(now, StopRequest(Level.STOP, "$50 of $50/day", now, windows=windows))
    assert left_at_mail
    assert left_at_mail[0] > 0


def test_one_call_that_hangs_at_the_end_never_costs_the_mail(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
):
    world.seconds_left = trying._RESERVE_SECONDS + 1
    world.lever.things = {"a": 1}
    left_at_mail: list[float] = []

    def hangs(_held: Held, _level: Level) -> None:
        world.seconds_left -= 6 * 20  # as `calls.CONFIG` has it
        raise refused("lambda:PutFunctionConcurrency", "ReadTimeoutError")

    monkeypatch.setattr(world.lever, "hold", hangs)
    monkeypatch.setattr(world.post, "send", lambda _notice: left_at_mail.append(world.seconds_left))
    kill(world, now)
    assert left_at_mail
    assert left_at_mail[0] > 0


# --- what is complete, and what is told ---------------------------------------------------------------------------


def test_whoever_appears_during_a_stop_and_cannot_be_reached_is_told_of(world: World, now: datetime):
    kill(world, now)
    mails = len(world.post.sent)
    world.people.everybody = [*world.people.everybody, person("newcomer", Capability.WILDCARD)]
    world.brake.refuses = {"sweep role/newcomer": "LimitExceeded"}
    keep(world, now + timedelta(minutes=3))
    assert len(world.post.sent) == mails + 1
    assert "newcomer" in world.post.sent[-1].text
    keep(world, now + timedelta(minutes=4))
    assert len(world.post.sent) == mails + 1


def test_a_failure_that_is_new_while_a_stop_is_kept_on_is_told_of_once(world: World, now: datetime):
    kill(world, now)
    mails = len(world.post.sent)
    world.people.everybody = [*world.people.everybody, person("newcomer", Capability.WILDCARD)]
    world.brake.refuses = {"sweep role/newcomer": "AccessDenied"}
    for minute in range(3, 20):
        keep(world, now + timedelta(minutes=minute))
    assert len(world.post.sent) == mails + 1
    assert "newcomer" in world.post.sent[-1].text


@pytest.mark.parametrize("broken", ["people", "sweep"])
def test_a_kill_that_left_somebody_spending_is_in_doubt(world: World, now: datetime, broken: str):
    if broken == "people":
        world.people.refuses = True
    else:
        world.brake.refuses = {"sweep role/admin": "Throttling"}
    assert kill(world, now).in_doubt


def test_a_stop_that_cannot_reach_a_role_without_a_slot_does_not_say_stopped_and_no_more(world: World, now: datetime):
    world.brake.refuses = {"sweep role/admin": "LimitExceeded"}
    kill(world, now)
    assert world.post.sent[0].subject != "Bedrock spend: STOPPED"


def test_work_that_was_ended_is_told_although_a_release_came_meanwhile(world: World, now: datetime, monkeypatch):
    world.work.jobs["us-east-1"] = [Job("us-east-1", "arn:job", "nightly")]
    later = now + timedelta(seconds=30)
    said = lambda: world.ledger.want(Wanted(Level.RELEASED, later, "person"), later)  # noqa: E731
    monkeypatch.setattr(world.people, "principals", first_time(world.people.principals, said))
    result = world.stop(now)
    assert world.work.jobs["us-east-1"] == []
    told = [each.text for each in world.post.sent] + [json.dumps(each) for _, each in world.ledger.records]
    assert any("nightly" in each for each in (*told, json.dumps(result.answer(LINKS))))


def test_the_mail_about_a_release_that_was_overruled_does_not_say_released(world: World, now: datetime, monkeypatch):
    world.lever.things = {"a": 20}
    kill(world, now)
    later = now + timedelta(minutes=3)
    killed = lambda: kill(world, later + timedelta(seconds=1))  # noqa: E731
    monkeypatch.setattr(world.lever, "restore", first_time(world.lever.restore, killed))
    with suppress(UnfinishedError):
        world.release(later)
    assert world.post.sent[-1].subject != "Bedrock spend: released"


def test_report_only_asks_nobody_to_go_on(world: World, now: datetime):
    world.seconds_left = 20
    world.stop(now, enforce=False)
    assert world.asked == []


# --- a release is exact, and says what it is ---------------------------------------------------------------------


def test_an_item_nobody_can_read_keeps_nothing_else_from_being_told(world: World, now: datetime, monkeypatch):
    world.lever.things = {"a": 20}
    kill(world, now)
    mails = len(world.post.sent)

    def broken() -> Sequence[Remembered]:
        raise LedgerItemError("ledger item 'held x' cannot be read")

    monkeypatch.setattr(world.ledger, "held", broken)
    with pytest.raises(UnfinishedError):
        world.release(now + timedelta(minutes=3))
    assert world.brake.level is Level.RELEASED
    assert len(world.post.sent) == mails + 1


@pytest.mark.parametrize("scope", ["", [], {}, 0, False])
def test_a_release_of_an_empty_scope_is_refused(world: World, now: datetime, scope: object):
    kill(world, now)
    with pytest.raises(RefusedError):
        world.release(now + timedelta(minutes=3), scope=scope)
    assert world.brake.level is Level.STOP


def test_a_release_of_a_user_that_was_renamed_meanwhile_says_who_is_denied_still(world: World, now: datetime):
    world.kill(now, "user/dev")
    world.brake.denied = {"user/dev2"}  # IAM keeps the attachment of who is renamed
    try:
        answer = json.dumps(world.release(now + timedelta(minutes=3), scope="user/dev"))
    except GuardrailError as error:
        answer = str(error)
    assert "user/dev2" in answer


def test_a_release_that_read_stale_holders_is_not_done(world: World, now: datetime, monkeypatch):
    kill(world, now)
    holders, stale = world.brake.holders, [frozenset[str]()]
    monkeypatch.setattr(world.brake, "holders", lambda arn: stale.pop() if stale else holders(arn))
    with suppress(UnfinishedError):
        world.release(now + timedelta(minutes=3))
    assert not world.brake.swept or not world.ledger.wanted().done


def test_with_the_ledger_gone_the_guardrail_can_still_be_destroyed(world: World, now: datetime):
    kill(world, now)
    world.kill(now, "role/agent")
    world.ledger.down = True
    releasing.everything(world.release_desk, now + timedelta(minutes=3))
    assert (world.brake.level, world.brake.denied) == (Level.RELEASED, set())


@pytest.fixture
def iam(aws: None) -> Any:
    del aws
    return boto3.client("iam", region_name="us-east-1")


@pytest.mark.parametrize("kind", ["user", "group"])
def test_whoever_is_renamed_during_a_stop_gets_the_policy_back_or_the_release_fails(iam: Any, kind: str):
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"}]}
    arn = iam.create_policy(PolicyName="use", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    lever = AllowPolicies(iam, [arn], Account(iam, external_anthropic=False).principals)
    iam.create_role(RoleName="any", AssumeRolePolicyDocument="{}")
    iam.create_user(UserName="any")
    if kind == "user":
        iam.create_user(UserName="dev")
        iam.attach_user_policy(UserName="dev", PolicyArn=arn)
    else:
        iam.create_group(GroupName="dev")
        iam.attach_group_policy(GroupName="dev", PolicyArn=arn)
    (held,) = lever.find(Level.STOP, Spared()).to_hold
    lever.hold(held, Level.STOP)
    if kind == "user":
        iam.update_user(UserName="dev", NewUserName="dev2")
    else:
        iam.update_group(GroupName="dev", NewGroupName="dev2")
    try:
        lever.restore(held)
    except GuardrailError:
        return
    listed = iam.list_entities_for_policy(PolicyArn=arn)
    assert listed["PolicyUsers"] or listed["PolicyGroups"]


def test_the_release_may_give_its_policy_back_to_who_became_exempt_meanwhile():
    from aws_cdk import App, Stack  # noqa: PLC0415 - slow, and for this test alone

    from lambdas.handlers import release  # noqa: PLC0415
    from stacks.grants import Reach  # noqa: PLC0415

    arn = f"arn:aws:iam::{ACCOUNT}:policy/use"
    reach = Reach(BRAKE, SWEEP, "/bedrock-spend/", ("role/core",), allow_policies=(arn,), deny_arn=DENY)
    statements = reach.statements(Stack(App(), "s"), release.USES)
    refusing = [
        each
        for each in (statement.to_statement_json() for statement in statements)
        if each["Effect"] == "Deny" and "iam:AttachRolePolicy" in each["Action"] and "role/core" in json.dumps(each)
    ]
    assert refusing == []


# --- what is stopped alone -------------------------------------------------------------------------------------------


class TwoDocuments(FakeBrake):
    """A brake whose sweep policy has narrow denials of its own, as after a writer that ended between the two."""

    swept_scopes: tuple[Scope, ...] = ()

    def policy(self, arn: str) -> PolicyState:
        state = super().policy(arn)
        denied = frozenset(self.swept_scopes)
        return state if arn == BRAKE else replace(state, scopes=self.swept_scopes, everywhere=denied, anywhere=denied)

    def stop(self, scope: Scope) -> None:
        super().stop(scope)
        self.swept_scopes = tuple(self.scopes)

    def release(self, scope: Scope) -> None:
        super().release(scope)
        self.swept_scopes = tuple(self.scopes)


def test_a_scope_the_sweep_policy_alone_lacks_is_written_at_the_next_minute(now: datetime):
    world = World(brake=TwoDocuments(armed={"role/agent"}))
    world.kill(now, OPUS)
    world.brake.swept_scopes = ()  # type: ignore[attr-defined]
    assert keep(world, now + timedelta(minutes=3), Level.RELEASED).report is not None
    assert world.brake.swept_scopes == (parse_scope(OPUS),)  # type: ignore[attr-defined]


def test_a_scope_the_sweep_policy_alone_still_has_is_released_by_the_second_try(now: datetime):
    world = World(brake=TwoDocuments(armed={"role/agent"}))
    world.kill(now, OPUS)
    world.kill(now, HAIKU)
    world.brake.scopes = [parse_scope(HAIKU)]  # the writer ended between the two policies
    world.release(now + timedelta(minutes=3), scope=OPUS)
    assert world.brake.swept_scopes == (parse_scope(HAIKU),)  # type: ignore[attr-defined]


def test_a_scope_nobody_can_read_keeps_no_other_from_being_kept_on(world: World, now: datetime):
    world.kill(now, "role/agent")
    world.ledger.narrow = ("role/agent", "bogus:thing")
    world.brake.denied.clear()
    keep(world, now + timedelta(minutes=3), Level.RELEASED)
    assert world.brake.denied == {"role/agent"}


def test_a_writer_that_refuses_keeps_nobody_from_being_stopped(world: World, now: datetime, monkeypatch):
    world.ledger.narrow = (OPUS,)

    def refuses(scope: Scope) -> None:
        raise RefusedError(f"nothing was changed: {scope} does not fit")

    monkeypatch.setattr(world.brake, "stop", refuses)
    report = told(world.stop(now))
    assert world.brake.swept == {"role/admin"}
    assert any("does not fit" in why for why in (*report.failed.values(), *report.uncovered.values()))


def test_a_writer_that_refuses_keeps_nothing_else_from_being_released(world: World, now: datetime, monkeypatch):
    world.lever.things = {"a": 20}
    world.kill(now, OPUS)
    kill(world, now)

    def refuses(scope: Scope) -> None:
        raise RefusedError(f"nothing was changed: without {scope} it does not fit")

    monkeypatch.setattr(world.brake, "release", refuses)
    with pytest.raises(UnfinishedError, match="does not fit"):
        world.release(now + timedelta(minutes=3), scope="everything")
    assert world.lever.things == {"a": 20}


def test_a_sweep_does_not_wait_for_the_writer(world: World, now: datetime):
    world.ledger.narrow = (OPUS,)
    world.stop(now)
    calls = world.brake.calls
    assert calls.index("sweep role/admin") < calls.index(f"narrow {OPUS}")


# --- the ledger ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("aws")
def test_a_claim_that_is_tried_again_is_one_s_own(now: datetime):
    client = boto3.client("dynamodb", region_name="us-east-1")
    client.create_table(
        TableName="t",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    ledger, until = LedgerTable(client, "t"), now + timedelta(minutes=2)
    assert ledger.begin("release", now, until) is None
    assert ledger.begin("release", now, until) is None


def test_the_record_of_a_large_release_fits_an_item(world: World, now: datetime):
    kill(world, now)
    world.brake.swept = {f"role/{'x' * 58}{number:04}" for number in range(6000)}
    world.release(now + timedelta(minutes=3))
    _, body = world.ledger.records[-1]
    assert len(json.dumps(body)) < 400_000


def test_a_reason_of_any_length_leaves_room_for_the_mail(world: World, now: datetime):
    reason, _ = parse_kill({"reason": "x" * 300_000}, account_id=ACCOUNT)
    stopping.kill(StopRequest(Level.STOP, reason, now, by="person"), world.desk, now)
    assert len(world.post.sent[0].text.encode()) < 256 * 1024
    assert len(json.dumps(world.ledger.records[-1][1])) < 400_000


def test_a_request_from_the_future_does_not_outlast_a_release(world: World, now: datetime):
    world.stop(now, StopRequest(Level.STOP, "a forged or skewed request", now + timedelta(days=1)))
    later = now + timedelta(minutes=3)
    with suppress(GuardrailError):
        world.release(later)
    with suppress(GuardrailError):
        keep(world, later + timedelta(minutes=1))
    assert world.brake.level is Level.RELEASED


def test_a_last_decision_that_nobody_can_read_keeps_no_release_from_happening(world: World, now: datetime):
    kill(world, now)
    world.ledger.latest = {"at": "x"}
    world.release(now + timedelta(minutes=3))
    assert world.brake.level is Level.RELEASED


def test_a_scope_the_writer_refuses_is_not_kept_on(world: World, now: datetime, monkeypatch: pytest.MonkeyPatch):
    def refuses(scope: Scope) -> None:
        msg = f"nothing was changed: {scope} does not fit"
        raise RefusedError(msg)

    monkeypatch.setattr(world.brake, "stop", refuses)
    result = world.kill(now, OPUS)
    assert result.in_doubt
    assert "NOT fully" in told(result).headline
    assert world.ledger.narrow == ()


def test_members_of_a_group_that_lost_the_policy_are_not_reached(iam: Any):
    arn = iam.create_policy(PolicyName="bedrock-spend-sweep", PolicyDocument=DENYING)["Policy"]["Arn"]
    iam.create_group(GroupName="bedrock-spend-sweep", Path="/bedrock-spend/")
    iam.create_user(UserName="dev")
    iam.add_user_to_group(GroupName="bedrock-spend-sweep", UserName="dev")
    brake = BrakePolicies(iam, brake_arn=BRAKE, sweep_arn=arn, deny_arn=DENY)
    assert brake.reached(arn) == frozenset()
    # They are taken out of it all the same.
    assert brake.members(arn) == {"user/dev"}
    iam.attach_group_policy(GroupName="bedrock-spend-sweep", PolicyArn=arn)
    assert brake.reached(arn) == {"user/dev"}


def test_keeping_on_writes_nothing_while_a_release_is_under_way(world: World, now: datetime):
    kill(world, now)
    later = now + timedelta(minutes=3)
    world.ledger.want(Wanted(Level.RELEASED, later, "person", done=False), later)
    world.ledger.begin("release", later, later + timedelta(minutes=2))
    world.brake.swept.clear()  # the release has come so far
    keep(world, later + timedelta(seconds=1))
    assert world.brake.swept == set()


# --- after the first mending ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["switch sweep", "switch brake"])
@pytest.mark.parametrize("by", ["person", "meter"])
def test_what_is_stopped_alone_after_half_a_release_does_not_stop_the_account_again(
    world: World, now: datetime, broken: str, by: str
):
    kill(world, now)
    world.kill(now, "role/agent")
    world.brake.refuses = {broken: "Throttling"}
    with pytest.raises(UnfinishedError):
        world.release(now + timedelta(minutes=3))
    world.brake.refuses = {}
    world.work.jobs["us-east-1"] = [Job("us-east-1", "arn:job", "submitted since")]
    if by == "person":
        world.kill(now + timedelta(minutes=4), "user/dev")
    else:
        keep(world, now + timedelta(minutes=4), Level.RELEASED)
    assert world.work.jobs["us-east-1"]
    assert Level.RELEASED in {world.brake.level, world.brake.sweep_level}


def test_a_release_that_was_said_just_before_but_written_while_a_stop_is_kept_on_is_obeyed(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
):
    world.lever.things = {"a": 20}
    kill(world, now)
    world.lever.things["a"] = 20  # somebody raised it, so that keeping on has something to do
    later = now + timedelta(minutes=3)
    released = first_time(world.people.principals, lambda: world.release(later - timedelta(seconds=1)))
    monkeypatch.setattr(world.people, "principals", released)
    keep(world, later)
    monkeypatch.undo()
    with suppress(GuardrailError):
        if not world.ledger.wanted().done:
            finish(world, later + timedelta(minutes=1))
    assert (world.brake.level, world.brake.sweep_level, world.brake.swept) == (Level.RELEASED, Level.RELEASED, set())
    assert world.lever.things == {"a": 20}


def test_a_release_of_the_account_does_not_overrule_a_narrow_kill(
    world: World, now: datetime, monkeypatch: pytest.MonkeyPatch
):
    kill(world, now)
    later = now + timedelta(minutes=3)
    released = lambda: world.release(later + timedelta(minutes=3))  # noqa: E731 - the claim of the kill is over
    monkeypatch.setattr(world.people, "principals", first_time(world.people.principals, released))
    world.kill(later, "role/agent")
    assert world.brake.denied == {"role/agent"}
    assert world.ledger.narrow == ("role/agent",)


# --- the function itself ---------------------------------------------------------------------------------------------


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    del aws
    found = Cloud(monkeypatch)
    found.people()
    found.install()
    return found


@pytest.mark.parametrize("name", ["LEDGER_TABLE", "NOTICE_TOPIC_ARN", "DENY_POLICY_ARN", "STOP_BY_HAND"])
def test_a_kill_switches_whatever_other_variable_is_missing(account: Cloud, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.delenv(name)
    with suppress(GuardrailError):
        account.run("kill", {})
    assert account.level() == "stop"


def test_a_kill_that_does_not_know_the_regions_says_that_it_looked_for_no_work(account: Cloud, monkeypatch: Any):
    monkeypatch.setenv("GUARDRAIL", replace(SETTINGS, regions=(), watched=()).to_json())
    boto3.client("dynamodb").delete_table(TableName=LEDGER)
    try:
        said = json.dumps(account.run("kill", {})["failed"])
    except UnfinishedError as error:
        said = str(error)
    assert "bedrock:ListModelInvocationJobs" in account.calls["kill"] or "region" in said
