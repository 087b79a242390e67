"""Arming: whom a plan takes in, and what the shell makes of the clock, of IAM's events, and of refused deletions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lambdas import arming as shell
from lambdas.arming import ArmingTools, DisarmTools
from lambdas.core.arming import NEVER, TAG, ArmingRule, ArmMode, commands, document, plan_arming
from lambdas.core.errors import AwsCallError
from lambdas.core.iam_events import Ours
from lambdas.core.levels import Level, Wanted
from lambdas.core.memory import Memory
from lambdas.core.notice import Links, Notice
from lambdas.core.plan import Attach, BrakeState, Detach, PolicyState
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from lambdas.core.scopes import parse_scope
from lambdas.stopping import parse_meter_request
from tests.conftest import ACCOUNT, event
from tests.fakes import BRAKE, SWEEP, VERSIONS, refused

DENY = BRAKE.replace("brake", "deny")
OWN = "/bedrock-spend/"
SSO = "/aws-reserved/sso.amazonaws.com/eu-central-1/"
NAMED, WILDCARD, NONE = Capability.NAMED, Capability.WILDCARD, Capability.NONE
CI = f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/deploy-4711"


def principal(name, capability=NAMED, *attached, kind=PrincipalKind.ROLE, path="/", **more):
    arn = f"arn:aws:iam::{ACCOUNT}:{kind}{path}{name}"
    return Principal(arn, kind, name, path, capability, frozenset(attached), **more)


def user(name, capability=NAMED, *attached, **more):
    return principal(name, capability, *attached, kind=PrincipalKind.USER, **more)


def plan(*people, mode="named", listed=(), exempt=(), **more):
    rule = ArmingRule(ArmMode(mode), listed)
    return plan_arming(BRAKE, people, Spared(tuple(exempt)), rule, own_path=OWN, **more)


def taken(found):
    assert all(step.policy_arn == BRAKE for step in found.steps)
    return [step.holder for step in found.steps]


EVERYBODY = (
    principal("agent"),
    user("dev"),
    principal("admin", WILDCARD),
    principal("web", NONE),
    principal("break-glass"),
    principal("armed", NAMED, BRAKE),
    principal("devs", kind=PrincipalKind.GROUP),
    principal("AWSServiceRoleForBedrock", path="/aws-service-role/bedrock.amazonaws.com/"),
)


# --- whom the mode takes in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "listed", "expected"),
    [
        ("named", (), ["role/agent", "user/dev"]),
        ("all", (), ["role/agent", "user/dev", "role/admin"]),
        ("listed", (), []),
        ("listed", ("role/a*", "role/break-glass"), ["role/agent", "role/admin"]),
        ("listed", ("user/d?v", "role/web", "role/devs", "role/aws-service-role/*"), ["user/dev", "role/web"]),
    ],
)
def test_each_mode_takes_in_its_own(mode, listed, expected):
    found = plan(*EVERYBODY, mode=mode, listed=listed, exempt=["role/break-glass"])
    assert taken(found) == expected
    assert found.armed == ("role/armed",)


def test_a_listed_name_heeds_the_path_as_the_exempt_do():
    there, here = principal("x", path="/team/"), principal("x")
    assert taken(plan(there, mode="listed", listed=("role/team/*",))) == ["role/x"]
    assert taken(plan(here, mode="listed", listed=("role/team/*",))) == []


@pytest.mark.parametrize("mode", list(ArmMode))
@pytest.mark.parametrize("value", ["", "yes", "no", "nevermore"])
def test_the_tag_arms_in_every_mode_whatever_its_value(mode, value):
    assert taken(plan(principal("x", NONE, tags={TAG: value}), mode=mode)) == ["role/x"]


@pytest.mark.parametrize("mode", list(ArmMode))
@pytest.mark.parametrize("value", [NEVER, " Never "])
def test_the_tag_never_keeps_the_policy_off_in_peace_and_says_so(mode, value):
    found = plan(principal("x", tags={TAG: value}), mode=mode, listed=("role/x",))
    assert (taken(found), found.left) == ([], {"role/x": f"tag {TAG}=never"})


def test_the_exempt_are_not_armed_by_a_tag():
    assert taken(plan(principal("x", tags={TAG: "yes"}), exempt=["role/x"])) == []


def test_the_guardrails_own_roles_are_not_armed_whatever_they_are_tagged_but_an_impostor_is():
    own = principal("meter", NONE, path=OWN, tags={TAG: "yes"})
    assert taken(plan(own, principal("impostor", path=OWN))) == ["role/impostor"]


def test_a_service_linked_role_is_never_armed_and_is_named():
    role = principal("AWSServiceRoleForX", path="/aws-service-role/x/", tags={TAG: "yes"})
    found = plan(role, mode="all")
    assert taken(found) == []
    assert "service-linked" in found.uncovered[role.arn]
    assert plan(replace(role, capability=NONE, tags={})).uncovered == {}


@pytest.mark.parametrize("tags", [{}, {TAG: NEVER}])
def test_whoever_is_armed_stays_armed_and_is_told_why(tags):
    found = plan(principal("x", WILDCARD, BRAKE, tags=tags))
    assert (taken(found), found.armed) == ([], ("role/x",))
    assert "it stays armed" in found.kept["role/x"]
    assert plan(principal("x", NAMED, BRAKE)).kept == {}


def test_whoever_is_about_to_be_deleted_is_left_for_a_while():
    found = plan(principal("x"), principal("y"), disarmed=["role/x"])
    assert taken(found) == ["role/y"]
    assert "delete" in found.left["role/x"]


# --- no free slot ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "scp", "planned"),
    [
        (principal("x", full=True), False, ""),
        (principal("x", full=True), True, "a stop attaches the service control policy to the account"),
        (user("x", full=True), False, "a stop adds it to the group bedrock-spend-sweep"),
        (user("x", full=True), True, "a stop adds it to the group bedrock-spend-sweep"),
        (user("x", full=True, groups_full=True), False, ""),
    ],
)
def test_who_has_no_slot_is_recorded_with_what_a_stop_does_and_how_to_mend_it(who, scp, planned):
    found = plan(who, scp=scp)
    (fallback,) = found.full.values()
    assert (taken(found), fallback.planned) == ([], planned)
    assert "quota" in fallback.remedy
    assert str(fallback).startswith(planned or "NOTHING would stop it")


def test_who_would_only_be_swept_needs_a_slot_too():
    assert list(plan(principal("admin", WILDCARD, full=True)).full) == ["role/admin"]
    assert plan(principal("web", NONE, full=True), principal("x", NAMED, BRAKE, full=True)).full == {}


# --- IAM Identity Center -----------------------------------------------------------------------------------------


def sso(name, *attached, capability=NAMED):
    return principal(name, capability, *attached, path=SSO)


def test_permission_sets_without_the_policy_are_named_with_their_roles():
    found = plan(
        sso("AWSReservedSSO_Admins_0123456789abcdef", capability=WILDCARD),
        sso("AWSReservedSSO_Dev_Ops_fedcba9876543210"),
        sso("AWSReservedSSO_Armed_0123456789abcdef", BRAKE),
        sso("AWSReservedSSO_Readers_0123456789abcdef", capability=NONE),
        sso("Oddly_named"),
    )
    assert taken(found) == []
    assert found.armed == ("role/AWSReservedSSO_Armed_0123456789abcdef",)
    assert found.permission_sets == {
        "": ("Oddly_named",),
        "Admins": ("AWSReservedSSO_Admins_0123456789abcdef",),
        "Dev_Ops": ("AWSReservedSSO_Dev_Ops_fedcba9876543210",),
    }
    assert found.uncovered == {}


def test_the_commands_add_the_policy_and_provision_the_set():
    add, provision = commands(BRAKE)
    assert add == (
        "aws sso-admin attach-customer-managed-policy-reference-to-permission-set --instance-arn INSTANCE_ARN "
        "--permission-set-arn PERMISSION_SET_ARN --customer-managed-policy-reference Name=bedrock-spend-brake,Path=/"
    )
    assert provision.endswith(
        "--permission-set-arn PERMISSION_SET_ARN --target-type AWS_ACCOUNT --target-id 123456789012"
    )


def test_the_document_is_json_and_shows_commands_only_where_they_are_needed():
    found = document(plan(sso("Oddly_named"), user("x", full=True)), BRAKE)
    assert json.loads(json.dumps(found)) == found
    assert found["permission_sets"]["commands"] == list(commands(BRAKE))
    assert list(found["permission_sets"]["lacking"]) == ["(permission set not told by the role's name)"]
    assert "list-instances" in found["permission_sets"]["look_up"]
    assert document(plan(), BRAKE)["permission_sets"] == {}


def test_the_rule_survives_the_environment_and_the_default_takes_no_room():
    assert ArmingRule().to_json() == {}
    for rule in (ArmingRule(), ArmingRule(ArmMode.ALL), ArmingRule(ArmMode.LISTED, ("role/x*",))):
        assert ArmingRule.from_json(rule.to_json()) == rule


# --- the shell ---------------------------------------------------------------------------------------------------


@dataclass
class Iam:
    """The policies and who is there, as IAM keeps them."""

    everybody: Sequence[Principal] = ()
    armed: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    in_group: set[str] = field(default_factory=set)
    level: Level | None = Level.RELEASED
    sweep_level: Level | None = Level.RELEASED
    scopes: tuple[str, ...] = ()
    refuses: dict[str, str] = field(default_factory=dict)
    """Method, or method and holder, to error code."""
    inventories: int = 0
    brake_arn: str = BRAKE
    deny_arn: str = DENY

    def _asked(self, *names: str) -> None:
        for each in names:
            if each in self.refuses:
                raise refused(f"iam:{each}", self.refuses[each])

    def levels(self) -> BrakeState:
        self._asked("levels")
        scopes = tuple(map(parse_scope, self.scopes))
        return BrakeState(
            PolicyState(BRAKE, self.level, VERSIONS, scopes=scopes),
            PolicyState(SWEEP, self.sweep_level, VERSIONS, scopes=scopes),
        )

    def holders(self, policy_arn: str) -> frozenset[str]:
        self._asked("holders")
        return frozenset({BRAKE: self.armed, DENY: self.denied}[policy_arn])

    def members(self, policy_arn: str) -> frozenset[str]:
        self._asked("members")
        return frozenset(self.in_group if policy_arn == DENY else ())

    def arm(self, step: Attach) -> None:
        self._asked("arm", f"arm {step.holder}")
        self.armed.add(step.holder)

    def disarm(self, step: Detach) -> None:
        self._asked("disarm")
        if step.holder not in self.armed:
            raise refused("iam:DetachRolePolicy", "NoSuchEntity")
        self.armed.remove(step.holder)

    def principals(self) -> Sequence[Principal]:
        self._asked("principals")
        self.inventories += 1
        return [
            replace(each, attached=each.attached | {BRAKE}) if f"{each.kind}/{each.name}" in self.armed else each
            for each in self.everybody
        ]


@dataclass
class Book:
    """The ledger, in memory."""

    down: bool = False
    now: Memory = field(default_factory=Memory)
    run: datetime | None = None
    run_by: str = ""
    left: dict[str, datetime] = field(default_factory=dict)
    told: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def _up(self) -> None:
        if self.down:
            raise refused("dynamodb:PutItem", "ResourceNotFoundException")

    def memory(self, now: datetime) -> Memory:
        del now
        self._up()
        return self.now

    def claim_arming(self, run: datetime, *, covers: datetime, by: str) -> bool:
        self._up()
        if self.run is not None and self.run >= covers and self.run_by != by:
            return False
        self.run, self.run_by = run, by
        return True

    def disarmed(self, now: datetime) -> frozenset[str]:
        self._up()
        return frozenset(each for each, until in self.left.items() if until > now)

    def remember_disarmed(self, holder: str, until: datetime, by: str) -> None:
        del by
        self._up()
        self.left[holder] = until

    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        self._up()
        if what in self.told and self.told[what][0] >= unless_since and self.told[what][1] != by:
            return False
        self.told[what] = (now, by)
        return True

    def kept(self, name: str) -> Mapping[str, Any] | None:
        self._up()
        return self.documents.get(name)

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        self._up()
        self.documents[name] = json.loads(json.dumps(body))


LINKS = Links("RELEASE", "STATUS", "KILL", "BY HAND")
OURS = Ours(ACCOUNT, "bedrock-spend")


@dataclass
class Office:
    """An account with the functions that arm and disarm."""

    iam: Iam = field(default_factory=lambda: Iam([principal("agent"), user("dev")]))
    book: Book = field(default_factory=Book)
    sent: list[Notice] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    mail_down: bool = False
    enforce: bool = True

    def send(self, notice: Notice) -> None:
        if self.mail_down:
            raise refused("sns:Publish")
        self.sent.append(notice)

    @property
    def tools(self) -> ArmingTools:
        return ArmingTools(
            ours=OURS,
            own_path=OWN,
            rule=ArmingRule(),
            spared=Spared(),
            enforce=self.enforce,
            scp=False,
            brake=self.iam,
            people=self.iam,
            ledger=self.book,
            links=LINKS,
            send=self.send,
            ask_for_stop=self.asked.append,
            pause=self.pauses.append,
        )

    def hear(self, payload: object, now: datetime) -> shell.Armed:
        return shell.hear(payload, self.tools, now)

    def delete(self, payload: object, now: datetime) -> str:
        tools = DisarmTools(OURS, self.iam, self.book, LINKS, self.send, self.iam.disarm)
        return str(shell.release_for_deletion(payload, tools, now)["summary"])


@pytest.fixture
def office() -> Office:
    return Office()


def record(name, at=None, **detail):
    payload = event(name)
    payload["detail"] |= detail | (
        {"eventTime": at.isoformat(), "eventID": at.isoformat("-")[:19].replace(":", "-")} if at else {}
    )
    return payload


def test_the_clock_arms_and_what_was_found_is_kept_for_the_status(office, now):
    found = office.hear(event("scheduled.json"), now)
    assert found.done == ["attach bedrock-spend-brake to role/agent", "attach bedrock-spend-brake to user/dev"]
    assert office.iam.armed == {"role/agent", "user/dev"}
    kept = office.book.documents["arming"]
    assert (kept["armed"], kept["at"], kept["mode"]) == (["role/agent", "user/dev"], now.isoformat(), "named")
    assert (office.pauses, office.sent, found.troubles()) == ([], [], [])
    assert office.hear({}, now).done == []


def test_in_report_only_mode_nothing_is_attached_and_the_answer_says_what_would_be(office, now):
    office.enforce = False
    found = office.hear(event("scheduled.json"), now)
    assert len(found.done) == 2
    assert office.iam.armed == set()
    assert office.book.documents["arming"]["armed"] == []


def test_a_slot_that_is_gone_when_it_comes_to_attaching_is_recorded_and_no_failure(office, now):
    office.iam.refuses = {"arm role/agent": "LimitExceeded", "arm user/dev": "NoSuchEntity"}
    found = office.hear(event("scheduled.json"), now)
    assert found.troubles() == []
    assert office.book.documents["arming"]["full"]["role/agent"]["fallback"] == ""
    assert found.answer()["full"]["role/agent"].startswith("NOTHING would stop it")


def test_another_refusal_keeps_nobody_else_from_being_armed_and_is_raised(office, now):
    office.iam.refuses = {"arm role/agent": "AccessDenied"}
    found = office.hear(event("scheduled.json"), now)
    assert office.iam.armed == {"user/dev"}
    assert found.troubles() == [
        "not armed: attach bedrock-spend-brake to role/agent: iam:arm role/agent: AccessDenied: not now"
    ]
    assert list(office.book.documents["arming"]["failed"]) == ["attach bedrock-spend-brake to role/agent"]


def test_who_there_is_cannot_be_guessed(office, now):
    office.iam.refuses = {"principals": "Throttling"}
    with pytest.raises(AwsCallError):
        office.hear(event("scheduled.json"), now)


def test_without_the_ledger_arming_goes_on_and_says_what_is_missing(office, now):
    office.book.down = True
    found = office.hear(event("scheduled.json"), now)
    assert office.iam.armed == {"role/agent", "user/dev"}
    assert found.troubles() != []


def test_what_could_not_be_stopped_is_mailed_once_for_each(office, now):
    office.iam.everybody = [principal("x", full=True), sso("AWSReservedSSO_Dev_0123456789abcdef")]
    for _ in range(2):
        office.hear(event("scheduled.json"), now)
    (mail,) = office.sent
    assert "role/x: NOTHING would stop it" in mail.text
    assert "- Dev: AWSReservedSSO_Dev_0123456789abcdef" in mail.text
    assert "provision-permission-set" in mail.text
    office.iam.everybody = [principal("y", full=True)]
    office.hear(event("scheduled.json"), now)
    assert "role/y" in office.sent[1].text
    assert "Dev" not in office.sent[1].text


def test_what_could_not_be_mailed_is_mailed_by_the_next_run(office, now):
    office.iam.everybody = [principal("x", full=True)]
    office.mail_down = True
    assert office.hear(event("scheduled.json"), now).troubles() != []
    office.mail_down = False
    office.hear(event("scheduled.json"), now)
    assert len(office.sent) == 1


# --- changes -----------------------------------------------------------------------------------------------------


def test_a_change_is_answered_by_a_run_that_waits_for_more(office, now):
    found = office.hear(event("iam_create_role.json"), now)
    assert office.pauses == [30]
    assert (found.heard, len(found.done)) == ("CreateRole", 2)
    assert office.book.documents["arming"]["at"] == (now + timedelta(seconds=30)).isoformat()


@pytest.mark.parametrize(
    "name", ["iam_create_role_denied.json", "iam_attach_by_ourselves.json", "iam_delete_role_refused.json"]
)
def test_what_is_no_change_starts_no_run(office, now, name):
    found = office.hear(event(name), now)
    assert (found.ran, office.iam.inventories, office.pauses) == (False, 0, [])


def test_a_burst_has_few_runs_and_the_last_change_is_seen(office, now):
    """Five hundred calls in ten minutes, each told of 5 to 65 seconds later, in any order."""
    made = [now + timedelta(seconds=1.2 * number) for number in range(500)]
    heard = sorted((at + timedelta(seconds=5 + 60 * (number * 7 % 10) / 9), at) for number, at in enumerate(made))
    runs = [when + shell.GATHER for when, at in heard if office.hear(record("iam_create_role.json", at), when).ran]
    assert office.iam.inventories == len(runs) <= 25
    # Each change is followed by a run that began late enough to see it, and soon after it was told of.
    for when, at in heard:
        assert any(at + shell.SETTLE <= run <= when + shell.GATHER for run in runs)


def test_a_retry_of_the_event_a_run_was_for_runs_again(office, now):
    change = record("iam_create_role.json", now)
    office.iam.refuses = {"principals": "Throttling"}
    with pytest.raises(AwsCallError):
        office.hear(change, now)
    office.iam.refuses = {}
    assert office.hear(record("iam_put_user_policy_by_user.json"), now + timedelta(seconds=1)).ran is False
    assert office.hear(change, now + timedelta(minutes=1)).ran is True
    assert office.iam.armed == {"role/agent", "user/dev"}


def test_a_moment_to_come_does_not_call_for_run_after_run(office, now):
    for number in range(5):
        office.hear(record("iam_create_role.json", now + timedelta(days=number + 1)), now)
    assert office.iam.inventories == 1


def test_with_the_ledger_down_a_change_is_still_answered(office, now):
    office.book.down = True
    found = office.hear(event("iam_create_role.json"), now)
    assert office.iam.armed == {"role/agent", "user/dev"}
    assert found.troubles() != []


# --- drift -------------------------------------------------------------------------------------------------------


def test_a_detachment_in_peace_is_told_and_made_good(office, now):
    office.iam.armed = {"user/dev"}
    found = office.hear(event("iam_detach_brake.json"), now)
    (mail,) = office.sent
    assert "DetachRolePolicy bedrock-spend-brake from role/agent" in mail.text
    assert f"Who: {CI}" in mail.text
    assert office.asked == []
    assert office.iam.armed == {"role/agent", "user/dev"}
    assert found.heard.endswith(CI)


@pytest.mark.parametrize(
    ("iam", "wanted", "level"),
    [
        (Iam(level=Level.STOP, sweep_level=Level.STOP), Level.STOP, "stop"),
        (Iam(level=Level.STEP_DOWN), Level.RELEASED, "step-down"),
        # Somebody switched the brake back: what is wanted counts.
        (Iam(level=Level.RELEASED, sweep_level=Level.STOP), Level.RELEASED, "stop"),
        (Iam(level=None, sweep_level=None), Level.STOP, "stop"),
        (Iam(refuses={"levels": "Throttling"}), Level.STOP, "stop"),
    ],
)
def test_while_something_is_on_the_stop_is_asked_to_make_it_whole_at_once(office, now, iam, wanted, level):
    office.iam, office.book.now = iam, Memory(Wanted(wanted))
    found = office.hear(event("iam_switch_brake_by_root.json"), now)
    (request,) = office.asked
    assert (request["level"], request["reassert"], request["at"]) == (level, True, now.isoformat())
    assert f"arn:aws:iam::{ACCOUNT}:root" in request["reason"]
    assert str(parse_meter_request(request).level) == level
    assert bool(found.troubles()) is bool(iam.refuses)


def test_with_the_ledger_down_what_iam_says_is_kept_on(office, now):
    office.book.down, office.iam.level = True, Level.STOP
    office.hear(event("iam_detach_brake.json"), now)
    assert [each["level"] for each in office.asked] == ["stop"]
    assert len(office.sent) == 1


@pytest.mark.parametrize("memory", [Memory(), Memory(narrow=("role/agent",))])
def test_a_narrow_stop_is_made_whole_too(office, now, memory):
    office.book.now = memory
    office.iam.scopes = () if memory.narrow else ("model:anthropic.claude-opus*",)
    office.hear(event("iam_detach_brake.json"), now)
    assert [(each["level"], each["narrow"]) for each in office.asked] == [("released", True)]


def test_a_deployment_that_does_it_to_everybody_is_told_of_once_an_hour(office, now):
    for number in range(100):
        at = now + timedelta(seconds=number)
        office.hear(record("iam_detach_brake.json", at), at)
    assert len(office.sent) == 1
    office.hear(record("iam_remove_from_group.json", now), now)
    assert len(office.sent) == 2
    later = now + timedelta(hours=1, seconds=1)
    office.hear(record("iam_detach_brake.json", later), later)
    assert len(office.sent) == 3


def test_drift_that_could_not_be_mailed_is_raised(office, now):
    office.mail_down = True
    assert office.hear(event("iam_detach_brake.json"), now).troubles() != []
    assert office.iam.armed == {"role/agent", "user/dev"}


# --- refused deletions -------------------------------------------------------------------------------------------


def test_whom_somebody_wants_to_delete_is_disarmed_and_left_for_a_day(office, now):
    office.iam.armed = {"role/agent", "user/dev"}
    assert office.delete(event("iam_delete_role_refused.json"), now).startswith("Disarmed role/agent, which " + CI)
    assert office.iam.armed == {"user/dev"}
    assert office.sent == []
    office.hear(event("scheduled.json"), now + timedelta(hours=23))
    assert office.iam.armed == {"user/dev"}
    assert "role/agent" in office.book.documents["arming"]["left"]
    office.hear(event("scheduled.json"), now + timedelta(hours=24, seconds=1))
    assert office.iam.armed == {"role/agent", "user/dev"}


def test_whoever_is_not_armed_is_none_of_our_business(office, now):
    office.iam.refuses = {"levels": "Throttling"}
    assert office.delete(event("iam_delete_role_refused.json"), now).startswith("Nothing done: role/agent is not armed")
    assert office.book.left == {}


@pytest.mark.parametrize(
    ("iam", "memory", "why"),
    [
        ({"level": Level.STOP}, Memory(), "bedrock-spend-brake is at stop"),
        ({"level": Level.STEP_DOWN}, Memory(), "bedrock-spend-brake is at step-down"),
        ({"sweep_level": Level.STOP}, Memory(), "bedrock-spend-sweep is at stop"),
        ({"level": None}, Memory(), "a version that is not ours"),
        ({"scopes": ("model:anthropic.claude-opus*",)}, Memory(), "denies model:anthropic.claude-opus*"),
        ({"denied": {"role/agent"}}, Memory(), "stopped alone"),
        ({"in_group": {"role/agent"}}, Memory(), "stopped alone"),
        ({}, Memory(Wanted(Level.STOP)), "stop is wanted"),
        ({}, Memory(narrow=("role/agent",)), "role/agent is to be stopped alone"),
        ({}, Memory(narrow=("session:AROAEXAMPLE:x",)), "session:AROAEXAMPLE:x is to be stopped alone"),
    ],
)
def test_while_anything_holds_it_nothing_is_touched_and_people_are_told(office, now, iam, memory, why):
    office.iam.armed = {"role/agent"}
    for name, value in iam.items():
        setattr(office.iam, name, value)
    office.book.now = memory
    for number in range(3):
        at = now + timedelta(seconds=number)
        assert why in office.delete(record("iam_delete_role_refused.json", at), at)
    assert (office.iam.armed, office.book.left) == ({"role/agent"}, {})
    (mail,) = office.sent
    assert f"{CI} tried to delete role/agent" in mail.text
    assert f"aws iam detach-role-policy --role-name agent --policy-arn {BRAKE}" in mail.text


def test_somebody_else_who_is_stopped_alone_holds_nobody(office, now):
    office.iam.armed, office.iam.denied = {"role/agent"}, {"role/other"}
    office.book.now = Memory(narrow=("role/other", "user/agent"))
    assert office.delete(event("iam_delete_role_refused.json"), now).startswith("Disarmed")


@pytest.mark.parametrize("unread", ["levels", "holders", "members"])
def test_what_cannot_be_known_is_not_taken_for_peace(office, now, unread):
    office.iam.armed, office.iam.refuses = {"role/agent"}, {unread: "Throttling"}
    with pytest.raises(AwsCallError):
        office.delete(event("iam_delete_role_refused.json"), now)
    assert (office.iam.armed, office.book.left) == ({"role/agent"}, {})


def test_with_the_ledger_down_nobody_is_disarmed(office, now):
    office.iam.armed, office.book.down = {"role/agent"}, True
    with pytest.raises(AwsCallError):
        office.delete(event("iam_delete_role_refused.json"), now)
    assert office.iam.armed == {"role/agent"}


def test_a_crash_in_between_is_made_good_by_the_retry(office, now):
    office.iam.armed, office.iam.refuses = {"role/agent"}, {"disarm": "ServiceFailure"}
    with pytest.raises(AwsCallError):
        office.delete(event("iam_delete_role_refused.json"), now)
    office.hear(event("scheduled.json"), now)
    office.iam.refuses = {}
    office.delete(event("iam_delete_role_refused.json"), now)
    assert "role/agent" not in office.iam.armed


def test_the_policy_that_is_off_already_is_no_failure(office, now):
    office.iam.armed, office.iam.refuses = {"role/agent"}, {"disarm": "NoSuchEntity"}
    assert office.delete(event("iam_delete_role_refused.json"), now).startswith("Disarmed")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        None,
        event("iam_delete_role_denied.json"),
        event("iam_detach_brake.json"),
        event("iam_delete_role_refused.json") | {"account": "999999999999"},
        event("iam_delete_role_refused.json") | {"source": "mine.iam"},
        record("iam_delete_role_refused.json", requestParameters={"roleName": "agent; rm"}),
        record("iam_delete_role_refused.json", eventName="DeleteGroup"),
    ],
)
def test_nothing_else_disarms_anybody(office, now, payload):
    office.iam.armed = {"role/agent"}
    assert office.delete(payload, now).startswith("Nothing done: no refused deletion")
    assert office.iam.armed == {"role/agent"}
