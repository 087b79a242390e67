"""Invariants 1, 2 and 5: random accounts, random sequences of everything that can happen, a failure at any call.

IAM is a model with real documents, judged after each step by an evaluator the project did not write.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import pytest
from hypothesis import HealthCheck, currently_in_test_context, settings
from hypothesis import note as hypothesis_note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lambdas import arming, installing, ports, releasing, stopping
from lambdas.aws.account import Account
from lambdas.aws.iam import BrakePolicies
from lambdas.core.arming import ArmingRule
from lambdas.core.brake_documents import DocumentSettings, deny_document, documents, narrow_scopes
from lambdas.core.errors import AwsCallError, GuardrailError, RefusedError, UnfinishedError
from lambdas.core.iam_events import Ours
from lambdas.core.levels import Document, Level
from lambdas.core.notice import Links, StopReport
from lambdas.core.plan import Attach, BrakeState, Detach, Join, Leave, PolicyState, Switch, group_of
from lambdas.core.prices import PriceTable
from lambdas.core.principals import Spared
from lambdas.core.proof import questions
from lambdas.core.scopes import Scope, parse_scope
from lambdas.installing import Change, InstallTools, Own, Version
from lambdas.stopping import Desk, StopRequest
from tests.fakes import BRAKE, DENY, SWEEP, FakeLedger, FakeLever, FakePolicies, FakePost, FakeWork, refused
from tests.infra import judge
from tests.infra.spend_actions import spend_actions

PRICES = PriceTable.load()
SPARED = Spared(("role/break-glass",), "bedrock-spend=exempt")
DOCUMENTS = DocumentSettings(exempt=SPARED.exempt, exempt_tag=SPARED.tag)
OWN = Own(BRAKE, SWEEP, DENY, "/bedrock-spend/", "us")
LINKS = Links("release", "status", "kill", "by hand")
SPEND = spend_actions()
OPUS = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-1-20250805-v1:0"
NOVA = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
QUOTAS = {"AttachedPoliciesPerRoleQuota": 3, "AttachedPoliciesPerUserQuota": 2, "GroupsPerUserQuota": 2}

_FOREIGN = "arn:aws:iam::123456789012:policy/"
ALLOWS = {
    "bedrock": ["bedrock:Invoke*", "bedrock-mantle:*"],
    "agents": ["bedrock:InvokeAgent"],
    "admin": ["*"],
    "files": ["s3:*"],
}
MANAGED = {f"{_FOREIGN}{name}": name for name in ALLOWS}
NAMES = ("role/agent", "role/admin", "role/new", "role/break-glass", "user/dev", "user/ops")
SCOPES = ("role/agent", "role/break-glass", "user/dev", "model:anthropic.claude-opus*", "profile:abcdefgh1234")
SESSION_ROLE = "AROAABCDEFGHIJKLMNOP"
"""The unique id of ``role/agent``."""
TARGETED = (f"session:{SESSION_ROLE}:nightly", "tag:team=research")


@lru_cache
def rendered(scopes: frozenset[Scope]) -> dict[Level, Document]:
    return documents(DOCUMENTS, PRICES, scopes)


def allowing(name: str) -> Document:
    statement = {"Effect": "Allow", "Action": ALLOWS[name], "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def note(words: str) -> None:
    """Tell what happened, where an example is told."""
    if currently_in_test_context():
        hypothesis_note(words)


class DiedError(BaseException):
    """The function ended in the middle, as when its time is up: nothing of it runs any more."""


# --- the account -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A role or user as its owner made it; what the guardrail attached to it is kept elsewhere."""

    path: str = "/"
    inline: tuple[str, ...] = ()
    attached: tuple[str, ...] = ()
    """ARNs of others' policies, in order."""
    groups: tuple[str, ...] = ()
    boundary: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def untouchable(self) -> bool:
        return self.path.startswith(("/aws-service-role/", "/aws-reserved/"))


@dataclass
class Iam:
    """All of IAM; every call of the guardrail goes through `call`, where one can be made to fail."""

    people: dict[str, Person] = field(default_factory=dict)
    ours: FakePolicies = field(default_factory=FakePolicies)
    held: dict[str, list[str]] = field(default_factory=dict)
    """Who has a policy of ours, in the order of attachment."""
    members: dict[str, set[str]] = field(default_factory=lambda: {SWEEP: set(), DENY: set()})
    wronged: list[str] = field(default_factory=list)
    """What the guardrail did that it must never do."""
    fail_in: int = 0
    """Calls until one fails; 0 for none."""
    how: str = "before"
    dead: bool = False
    failures: list[str] = field(default_factory=list)
    """What failed, in words; told by the machine, for a strand of a stop has no test around it."""
    brake_arn: str = BRAKE
    sweep_arn: str = SWEEP
    deny_arn: str = DENY

    def call(self, operation: str, effect: Callable[[], Any]) -> Any:
        if self.dead:
            raise DiedError
        due = self.fail_in == 1
        self.fail_in = max(0, self.fail_in - 1)
        if due and self.how.endswith("before"):
            self._fail(operation)
        found = effect()
        if due:
            self._fail(operation)
        return found

    def _fail(self, operation: str) -> None:
        self.failures.append(f"  {operation} fails: {self.how}")
        if self.how.startswith("died"):
            self.dead = True
            raise DiedError
        raise refused(operation, "ServiceFailure")

    def default(self, arn: str) -> Version:
        return next(each for each in self.ours.policies[arn] if each.is_default)

    # What `ports.Brake` asks for.

    def policy(self, arn: str) -> PolicyState:
        return BrakePolicies(self, brake_arn=BRAKE, sweep_arn=SWEEP, deny_arn=DENY).policy(arn)  # type: ignore[arg-type]

    def list_policy_versions(self, **asked: str) -> Mapping[str, Any]:
        listed = self.call("iam:ListPolicyVersions", lambda: self.ours.policies[asked["PolicyArn"]])
        return {"Versions": [{"VersionId": each.version_id, "IsDefaultVersion": each.is_default} for each in listed]}

    def get_policy_version(self, **asked: str) -> Mapping[str, Any]:
        versions = {each.version_id: each.document for each in self.ours.policies[asked["PolicyArn"]]}
        document = self.call("iam:GetPolicyVersion", lambda: versions[asked["VersionId"]])
        return {"PolicyVersion": {"VersionId": asked["VersionId"], "Document": document}}

    def levels(self) -> BrakeState:
        return BrakeState(self.policy(BRAKE), self.policy(SWEEP))

    def holders(self, policy_arn: str) -> frozenset[str]:
        return self.call("iam:ListEntitiesForPolicy", lambda: frozenset(self.holding(policy_arn)))  # type: ignore[no-any-return]

    def holding(self, arn: str) -> set[str]:
        return {holder for holder, arns in self.held.items() if arn in arns}

    def members_of(self, arn: str) -> frozenset[str]:
        return frozenset(self.members[arn])

    def switch(self, step: Switch) -> None:
        self.call("iam:SetDefaultPolicyVersion", lambda: self.ours.set_default(step.policy_arn, step.version_id))

    def arm(self, step: Attach) -> None:
        self.call("iam:AttachRolePolicy", lambda: self.attach(BRAKE, step.holder))

    def sweep(self, step: Attach) -> None:
        self.call("iam:AttachRolePolicy", lambda: self.attach(SWEEP, step.holder))

    def deny(self, step: Attach) -> None:
        self.call("iam:AttachRolePolicy", lambda: self.attach(DENY, step.holder))

    def attach(self, arn: str, holder: str) -> None:
        person = self._reached(holder)
        mine = self.held.setdefault(holder, [])
        slots = QUOTAS["AttachedPoliciesPerRoleQuota" if holder.startswith("role/") else "AttachedPoliciesPerUserQuota"]
        if arn not in mine and len(person.attached) + len(mine) >= slots:
            raise refused("iam:AttachRolePolicy", "LimitExceeded")
        self.held[holder] = [*mine, arn] if arn not in mine else mine

    def _reached(self, holder: str) -> Person:
        person = self.people.get(holder)
        if person is None:
            raise refused("iam:AttachRolePolicy", "NoSuchEntity")
        if person.untouchable:
            raise refused("iam:AttachRolePolicy", "UnmodifiableEntity")
        if self.spared(holder):
            self.wronged.append(f"touched {holder}, who is exempt")
        return person

    def spared(self, holder: str) -> bool:
        who = self.people[holder]
        # By the path too: a role of that name elsewhere is another one.
        resource = arn_of(holder, who).split(":", 5)[-1]
        return resource in SPARED.exempt or dict(who.tags).get("bedrock-spend") == "exempt"

    def join(self, step: Join) -> None:
        self.call("iam:AddUserToGroup", lambda: self._join(step))

    def _join(self, step: Join) -> None:
        person = self._reached(step.holder)
        arn = next(each for each in self.members if group_of(each) == step.group)
        ours = sum(step.holder in members for members in self.members.values())
        if len(person.groups) + ours >= QUOTAS["GroupsPerUserQuota"] and step.holder not in self.members[arn]:
            raise refused("iam:AddUserToGroup", "LimitExceeded")
        self.members[arn].add(step.holder)

    def leave(self, step: Detach) -> None:
        self.call("iam:DetachRolePolicy", lambda: self._leave(step))

    def _leave(self, step: Detach) -> None:
        if step.policy_arn not in self.held.get(step.holder, ()):
            raise refused("iam:DetachRolePolicy", "NoSuchEntity")
        self.held[step.holder].remove(step.policy_arn)

    def part(self, step: Leave) -> None:
        arn = next(each for each in self.members if group_of(each) == step.group)
        self.call("iam:RemoveUserFromGroup", lambda: self.members[arn].discard(step.holder))

    # What the account adapter asks for.

    def get_paginator(self, name: str) -> "_Paged":
        return _Paged(lambda: self.call(f"iam:{name}", self._details))

    def get_account_summary(self) -> Mapping[str, Any]:
        return {"SummaryMap": QUOTAS}

    def _details(self) -> Mapping[str, Any]:
        found: dict[str, list[Any]] = {"RoleDetailList": [], "UserDetailList": []}
        for holder, person in self.people.items():
            kind, name = holder.split("/")
            found[f"{kind.title()}DetailList"].append(
                {
                    f"{kind.title()}Name": name,
                    f"{kind.title()}Id": SESSION_ROLE if holder == "role/agent" else f"AIDA{name.upper()}",
                    "Arn": arn_of(holder, person),
                    "Path": person.path,
                    f"{kind.title()}PolicyList": [{"PolicyDocument": allowing(each)} for each in person.inline],
                    "AttachedManagedPolicies": [
                        {"PolicyArn": each} for each in (*person.attached, *self.held.get(holder, ()))
                    ],
                    "GroupList": [*person.groups, *(group_of(a) for a, who in self.members.items() if holder in who)],
                    "PermissionsBoundary": {"PermissionsBoundaryArn": person.boundary},
                    "Tags": [{"Key": key, "Value": value} for key, value in person.tags],
                }
            )
        groups = [
            *({"GroupName": name, "GroupPolicyList": [{"PolicyDocument": allowing(name)}]} for name in ALLOWS),
            *({"GroupName": group_of(arn), "AttachedManagedPolicies": [{"PolicyArn": arn}]} for arn in self.members),
        ]
        policies = {arn: allowing(name) for arn, name in MANAGED.items()}
        policies |= {arn: self.default(arn).document for arn in (BRAKE, SWEEP, DENY)}
        return {
            **found,
            "GroupDetailList": [
                {
                    **each,
                    "GroupId": f"AGPA{each['GroupName']}",
                    "Arn": f"arn:aws:iam::{judge.ACCOUNT}:group/{each['GroupName']}",
                    "Path": "/",
                }
                for each in groups
            ],
            "Policies": [
                {"Arn": arn, "PolicyVersionList": [{"IsDefaultVersion": True, "Document": document}]}
                for arn, document in policies.items()
            ],
        }

    # What the judge asks for.

    def may(self, holder: str, action: str, resource: str = "*", **context: str) -> bool:
        """Tell whether somebody may do something, by an evaluator the project did not write."""
        person = self.people[holder]
        own = [allowing(each) for each in person.inline]
        own += [allowing(MANAGED[each]) for each in person.attached]
        own += [self.default(each).document for each in self.held.get(holder, ())]
        groups = [[allowing(each)] for each in person.groups]
        groups += [[self.default(arn).document] for arn, who in self.members.items() if holder in who]
        boundary = allowing(MANAGED[person.boundary]) if person.boundary else None
        arn = arn_of(holder, person)
        keys = {"aws:PrincipalArn": arn, **{name.replace("__", ":"): value for name, value in context.items()}}
        keys |= {f"aws:PrincipalTag/{key}": value for key, value in person.tags}
        asked = json.dumps([arn, own, groups, boundary, action, resource, keys, person.tags])
        return _judged(asked)


@lru_cache(maxsize=100_000)
def _judged(asked: str) -> bool:
    arn, own, groups, boundary, action, resource, keys, tags = json.loads(asked)
    return judge.may(arn, own, action, resource, keys, groups=groups, boundary=boundary, tags=dict(tags))


def arn_of(holder: str, person: Person) -> str:
    kind, name = holder.split("/")
    return f"arn:aws:iam::{judge.ACCOUNT}:{kind}{person.path}{name}"


@dataclass
class _Paged:
    read: Callable[[], Mapping[str, Any]]

    def paginate(self, **_: object) -> list[Mapping[str, Any]]:
        return [self.read()]


class Failing:
    """Anything else the guardrail calls, through the same gate."""

    def __init__(self, iam: Iam, behind: Any, never: Sequence[str] = ()) -> None:
        self._iam, self._behind, self._never = iam, behind, never

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not callable(found) or name in self._never:
            return found
        return lambda *args, **how: self._iam.call(
            f"{type(self._behind).__name__}:{name}", partial(found, *args, **how)
        )


@dataclass
class Brake:
    """The model as `ports.Brake`: the same, but for what members are asked by."""

    iam: Iam

    def __getattr__(self, name: str) -> Any:
        return getattr(self.iam, name)

    def reached(self, policy_arn: str) -> frozenset[str]:
        return self.members(policy_arn)

    def members(self, policy_arn: str) -> frozenset[str]:
        return self.iam.call("iam:GetGroup", partial(self.iam.members_of, policy_arn))  # type: ignore[no-any-return]


@dataclass
class Writer:
    """The writer as another function: what ends it early is an error to whoever waits."""

    iam: Iam

    def stop(self, scope: Scope) -> object:
        return self._write(Change(stop=scope))

    def release(self, scope: Scope) -> object:
        return self._write(Change(release=scope))

    def _write(self, change: Change) -> object:
        tools = InstallTools(OWN, rendered, deny_document(DOCUMENTS), Failing(self.iam, self.iam.ours))
        was = self.iam.dead
        try:
            return installing.write(change, tools)
        except UnfinishedError as error:
            raise AwsCallError("lambda:InvokeFunction", "UnfinishedError", str(error)) from error
        except DiedError:
            self.iam.dead = was
            if was:
                raise
            raise AwsCallError("lambda:InvokeFunction", "Unhandled", "Task timed out") from None


# --- the machine -------------------------------------------------------------------------------------------------

PEOPLE = st.builds(
    Person,
    path=st.sampled_from(["/", "/", "/team/"]),
    inline=st.lists(st.sampled_from(sorted(ALLOWS)), max_size=2, unique=True).map(tuple),
    attached=st.lists(st.sampled_from(sorted(MANAGED)), max_size=3, unique=True).map(tuple),
    boundary=st.sampled_from(["", "", f"{_FOREIGN}bedrock", f"{_FOREIGN}files"]),
    tags=st.sampled_from([(), (), (("bedrock-spend", "exempt"),), (("team", "research"),)]),
)
GROUPS = st.lists(st.sampled_from(sorted(ALLOWS)), max_size=2, unique=True).map(tuple)
FAULTS = st.one_of(
    st.none(),
    st.tuples(st.integers(1, 40), st.sampled_from(["before", "after", "died before", "died after"])),
)


@st.composite
def person(draw: Callable[[Any], Any], holder: str) -> Person:
    found: Person = draw(PEOPLE)
    if holder.startswith("user/"):
        return replace(found, groups=draw(GROUPS), attached=found.attached[: QUOTAS["AttachedPoliciesPerUserQuota"]])
    path = draw(st.sampled_from([found.path, found.path, "/aws-service-role/x/", "/aws-reserved/sso.amazonaws.com/"]))
    return replace(found, path=path)


class AccountMachine(RuleBasedStateMachine):
    """What may happen to an account with the guardrail in it."""

    def __init__(self) -> None:
        super().__init__()
        self.iam = Iam()
        self.ledger = FakeLedger()
        self.lever = FakeLever(things={"agent": 10, "batch": 3})
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        self.asked: list[dict[str, Any]] = []
        self.disturbed = True
        """Whether a call may fail in what is under way."""
        installing.install(InstallTools(OWN, rendered, deny_document(DOCUMENTS), self.iam.ours))
        self.theirs: dict[str, Person] = {}
        self.things = dict(self.lever.things)

    @initialize(data=st.data(), names=st.sets(st.sampled_from(NAMES), min_size=2))
    def moves_in(self, data: st.DataObject, names: set[str]) -> None:
        for each in sorted(names):
            self._move_in(each, data.draw(person(each), label=each))

    def _move_in(self, holder: str, who: Person) -> None:
        self.iam.people[holder] = self.theirs[holder] = who

    # --- what the guardrail does ---

    @contextmanager
    def _failing(self, fault: tuple[int, str] | None) -> Iterator[None]:
        self.now += timedelta(minutes=3)
        self.iam.fail_in, self.iam.how = fault or (0, "before")
        self.disturbed = fault is not None
        try:
            yield
        except DiedError:
            note("  died")
        finally:
            self.iam.fail_in, self.iam.dead = 0, False
            while self.iam.failures:
                note(self.iam.failures.pop())

    @property
    def _pace(self) -> ports.Pace:
        # One at a time: the same example does the same calls in the same order.
        return ports.Pace(lambda _: None, at_once=1)

    def _desk(self) -> Desk:
        tools = ports.StopTools(
            brake=Brake(self.iam),
            people=Account(self.iam, external_anthropic=False),  # type: ignore[arg-type]
            work=FakeWork,
            levers=lambda: [Failing(self.iam, self.lever, ("find", "name"))],
            book=Failing(self.iam, self.ledger),
            writer=lambda: Writer(self.iam),
            spared=SPARED,
            ask=self._simulate,
            log=lambda _: None,
            pace=self._pace,
        )
        return Desk(tools, Failing(self.iam, FakePost()), Failing(self.iam, self.ledger), LINKS, self.asked.append)

    def _release_desk(self) -> releasing.ReleaseDesk:
        tools = ports.ReleaseTools(
            brake=Brake(self.iam),
            levers=lambda: [Failing(self.iam, self.lever, ("find", "name"))],
            book=Failing(self.iam, self.ledger),
            writer=lambda: Writer(self.iam),
            pace=self._pace,
        )
        memory = Failing(self.iam, self.ledger)
        return releasing.ReleaseDesk(
            tools, Failing(self.iam, FakePost()), memory, LINKS, judge.ACCOUNT, self.asked.append
        )

    def _simulate(self, arn: str, actions: Sequence[str]) -> Mapping[str, bool]:
        holder = next(each for each, who in self.iam.people.items() if arn_of(each, who) == arn)
        admin = replace(self.iam.people[holder], inline=("admin",), boundary="")
        shadow = replace(self.iam, people={holder: admin})
        return {action: not shadow.may(holder, action) for action in actions}

    @rule(fault=FAULTS)
    def arms(self, fault: tuple[int, str] | None) -> None:
        tools = arming.ArmingTools(
            ours=Ours(judge.ACCOUNT, "bedrock-spend"),
            own_path="/bedrock-spend/",
            rule=ArmingRule(),
            spared=SPARED,
            enforce=True,
            scp=False,
            brake=Brake(self.iam),
            people=Account(self.iam, external_anthropic=False),  # type: ignore[arg-type]
            ledger=Failing(self.iam, _ArmingLedger(self.ledger)),
            links=LINKS,
            send=lambda _: None,
            ask_for_stop=self.asked.append,
            pause=lambda _: None,
        )
        level = self.iam.default(BRAKE).level
        with self._failing(fault):
            try:
                arming.arm(tools, self.now)
            except GuardrailError as error:
                note(f"  not armed: {error}")
        assert self.iam.default(BRAKE).level is level

    @rule(fault=FAULTS)
    def is_killed(self, fault: tuple[int, str] | None) -> None:
        self._kill(StopRequest(Level.STOP, "a person", self.now, by="person"), fault)

    @rule(fault=FAULTS, scope=st.sampled_from(SCOPES + TARGETED))
    def is_killed_in_part(self, fault: tuple[int, str] | None, scope: str) -> None:
        self._kill(StopRequest(Level.RELEASED, "a person", self.now, by="person", scope=parse_scope(scope)), fault)

    def _kill(self, request: StopRequest, fault: tuple[int, str] | None) -> None:
        with self._failing(fault):
            try:
                self._hold_to(stopping.kill(replace(request, at=self.now), self._desk(), self.now))
            except RefusedError as error:
                # Only what a person asks to stop alone may be refused: it does not fit beside the others.
                assert request.scope is not None
                note(f"  {error}")

    @rule(fault=FAULTS, level=st.sampled_from([Level.STEP_DOWN, Level.STOP]))
    def a_limit_calls_for(self, fault: tuple[int, str] | None, level: Level) -> None:
        with self._failing(fault):
            request = StopRequest(level, "a limit", self.now, windows=("day",))
            self._hold_to(stopping.carry_out(request, self._desk(), self.now, enforce=True))

    @rule(fault=FAULTS)
    def a_minute_goes_by(self, fault: tuple[int, str] | None) -> None:
        """What the meter asks for: the finishing of a release, or that what is wanted is kept on."""
        wanted, level = self.ledger.wanted(), self.iam.default(BRAKE).level or Level.RELEASED
        if wanted.level is Level.RELEASED and not wanted.done:
            self._release(
                {"source": "meter", "at": self.now.isoformat(), "windows": [], "reason": "it did not finish"}, fault
            )
            return
        kept = max(wanted.level, level)
        if kept is Level.RELEASED and not self.ledger.narrow:
            return
        with self._failing(fault):
            request = StopRequest(kept, "kept on", self.now, reassert=True)
            self._hold_to(stopping.carry_out(request, self._desk(), self.now, enforce=True))

    @rule(fault=FAULTS, scope=st.sampled_from([None, "everything", *SCOPES, *TARGETED]))
    def is_released(self, fault: tuple[int, str] | None, scope: str | None) -> None:
        self._release({"confirm": "RELEASE", "reason": "fixed"} | ({"scope": scope} if scope else {}), fault)

    def _release(self, event: dict[str, Any], fault: tuple[int, str] | None) -> None:
        with self._failing(fault):
            try:
                answer = releasing.carry_out(event, self._release_desk(), self.now)
            except (RefusedError, UnfinishedError) as error:
                note(f"  not released: {error}")
                return
            note(f"  {answer['summary']}")
            if event.get("scope") in (None, "everything"):
                self._is_back(everything=event.get("scope") == "everything")

    # --- what others do ---

    @rule(data=st.data(), holder=st.sampled_from(NAMES))
    def somebody_comes_or_goes(self, data: st.DataObject, holder: str) -> None:
        if holder in self.iam.people:
            del self.iam.people[holder], self.theirs[holder]
            self.iam.held.pop(holder, None)
            for each in self.iam.members.values():
                each.discard(holder)
        else:
            self._move_in(holder, data.draw(person(holder)))

    @rule(data=st.data(), holder=st.sampled_from(NAMES))
    def somebody_gets_other_policies(self, data: st.DataObject, holder: str) -> None:
        if (who := self.iam.people.get(holder)) is None:
            return
        room = QUOTAS["AttachedPoliciesPerRoleQuota"] if holder.startswith("role/") else 2
        more = data.draw(person(holder))
        attached = more.attached[: max(0, room - len(self.iam.held.get(holder, ())))]
        self._move_in(holder, replace(who, inline=more.inline, attached=attached))

    @rule(holder=st.sampled_from(NAMES), arn=st.sampled_from([BRAKE, SWEEP, DENY]))
    def somebody_detaches_ours(self, holder: str, arn: str) -> None:
        if arn in self.iam.held.get(holder, ()):
            self.iam.held[holder].remove(arn)

    @rule(level=st.sampled_from(Level), arn=st.sampled_from([BRAKE, SWEEP]))
    def somebody_switches_by_hand(self, level: Level, arn: str) -> None:
        found = [each.version_id for each in self.iam.ours.policies[arn] if each.level is level]
        self.iam.ours.set_default(arn, found[-1])

    @rule(name=st.sampled_from(["agent", "batch"]), number=st.integers(6, 20))
    def somebody_sets_a_number(self, name: str, number: int) -> None:
        if not self.ledger.book and self.lever.things == self.things:
            self.lever.things[name] = self.things[name] = number

    # --- the invariants ---

    def _hold_to(self, result: stopping.Result) -> None:
        """A stop that reported success denies every spend action to everybody it claims."""
        report = result.report
        if report is None or not report.complete:
            note(f"  {result.why_not or (report and report.failed)}")
            assert report is None or self.disturbed, f"nothing was in the way, and yet: {report.failed}"
            return
        for holder, who in self.iam.people.items():
            if self.iam.spared(holder) or arn_of(holder, who) in report.uncovered or holder in report.uncovered:
                continue
            allowed = [each for each in self._denied_to(holder, report) if self.iam.may(holder, each)]
            assert not allowed, f"{holder} may still {allowed}"
            self._holds_in_part(holder, report)

    @staticmethod
    def _denied_to(holder: str, report: StopReport) -> Sequence[str]:
        if report.level is Level.STOP or holder in report.alone:
            return SPEND
        return questions(report.level)

    def _holds_in_part(self, holder: str, report: StopReport) -> None:
        if "model:anthropic.claude-opus*" in report.alone:
            assert not self.iam.may(holder, "bedrock:InvokeModel", OPUS), f"{holder} may invoke Opus"
        if (session := TARGETED[0]) in report.alone:
            who = {"aws__userid": session.removeprefix("session:")}
            assert not self.iam.may(holder, "bedrock:InvokeModel", NOVA, **who), f"{holder}'s session may go on"

    def _is_back(self, *, everything: bool) -> None:
        """A release that reported success leaves nothing of a stop."""
        for arn in (BRAKE, SWEEP):
            assert self.iam.default(arn).level is Level.RELEASED
        assert not self.ledger.book
        assert self.lever.things == self.things
        scopes = narrow_scopes(self.iam.default(BRAKE).document)
        if everything or not scopes:
            assert not self.iam.holding(SWEEP)
            assert not self.iam.members[SWEEP]
        if everything:
            assert not scopes
            assert not self.iam.holding(DENY)
            assert not self.iam.members[DENY]
            assert not self.ledger.narrow
            for holder, who in self.theirs.items():
                bare = replace(self.iam, people={holder: who}, held={}, members={})
                for action in ("bedrock:InvokeModel", "bedrock:InvokeAgent", "s3:GetObject"):
                    assert self.iam.may(holder, action, NOVA) == bare.may(holder, action, NOVA)

    @invariant()
    def nothing_of_others_is_touched(self) -> None:
        assert self.iam.people == self.theirs
        assert not self.iam.wronged, self.iam.wronged

    def teardown(self) -> None:
        """However it stands: without failures, two minutes make a wanted stop whole, and a release takes all of it."""
        if not self.theirs:
            return
        wanted = self.ledger.wanted()
        self.a_minute_goes_by(None)
        self.a_minute_goes_by(None)
        if wanted.level is Level.STOP:
            assert self.iam.default(BRAKE).level is Level.STOP
        for _ in range(2):
            self.is_released(None, "everything")
        self._is_back(everything=True)
        self.nothing_of_others_is_touched()


@dataclass
class _ArmingLedger:
    """What arming remembers."""

    ledger: FakeLedger

    def disarmed(self, now: datetime) -> frozenset[str]:
        del now
        return frozenset()

    def kept(self, name: str) -> Mapping[str, Any] | None:
        return self.ledger.kept(name)

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        self.ledger.keep(name, body)


TestAccount = AccountMachine.TestCase
TestAccount.settings = settings(
    max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_machine_notices_a_stop_that_leaves_somebody_out():
    machine = AccountMachine()
    machine._move_in("role/agent", Person(inline=("bedrock",)))
    report = StopReport(Level.STOP, "x", enforced=True, verified=True)
    with pytest.raises(AssertionError, match="role/agent may still"):
        machine._hold_to(stopping.Result(report))
    machine.is_killed(None)
    assert not machine.iam.may("role/agent", "bedrock:InvokeModel", NOVA)
    machine.is_released(None, "everything")
    assert machine.iam.may("role/agent", "bedrock:InvokeModel", NOVA)
