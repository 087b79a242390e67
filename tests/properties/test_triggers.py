"""Every way in, fed with its real payloads and with 10,000 that somebody has tampered with.

Whatever comes, a handler acts on what is genuine, refuses by a RefusedError, or says by an UnfinishedError that it is
not done. No other error escapes it, and nothing is done that the event does not warrant: what that is, each row of the
table says in its own words, not with the code that is tested.
"""

import copy
import importlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from lambdas.budgeting import BillTools
from lambdas.core.budget_message import BudgetFigures
from lambdas.core.errors import RefusedError, UnfinishedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Allowance
from lambdas.core.notice import Notice
from lambdas.core.pace import Bounds
from lambdas.core.plan import Job
from lambdas.core.prices import PriceTable
from lambdas.core.principals import Capability, Principal, PrincipalKind
from lambdas.core.telling import Telling
from lambdas.core.windows import Window
from lambdas.measuring import Gauge
from lambdas.metering import MeterTools
from lambdas.telling import Ways
from lambdas.watching import WatchTools
from lambdas.wiring import Wiring
from tests.answering import answering
from tests.conftest import ACCOUNT, EVENTS, event
from tests.fakes import (
    BRAKE,
    DENY,
    SWEEP,
    FakeBrake,
    FakeLedger,
    FakeLever,
    FakePeople,
    FakePost,
    FakeSimulator,
    FakeUsage,
    FakeWork,
)
from tests.integration.world import SETTINGS, Context
from tests.unit.test_watching import World as Watch

FUZZED = 10_000
FOREIGN = "999999999999"
MONITOR = "arn:aws:ce::123456789012:anomalymonitor/abcdef12-1234-4ea0-84cc-918a97d736ef"


def role(name: str, capability: Capability) -> Principal:
    return Principal(f"arn:aws:iam::{ACCOUNT}:role/{name}", PrincipalKind.ROLE, name, "/", capability)


PEOPLE = (
    role("agent", Capability.NAMED),
    role("x", Capability.NAMED),
    role("admin", Capability.WILDCARD),
    role("break-glass", Capability.NAMED),
    role("bystander", Capability.NONE),
)
ARMED = {"role/agent", "role/x"}


class Ledger(FakeLedger):
    """The ledger with what arming keeps in it; what DynamoDB would not take it does not take either."""

    def want(self, wanted: Wanted, at: datetime) -> bool:
        at.astimezone(UTC)
        return super().want(wanted, at)

    def stop_alone(self, scope: str, reason: str, at: datetime) -> None:
        at.astimezone(UTC)
        scope.encode()
        super().stop_alone(scope, reason, at)

    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        at.astimezone(UTC)
        assert len(json.dumps(body)) < 400_000
        super().record(kind, at, body)

    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        assert len((what + by).encode()) < 400_000
        return super().may_tell(what, now, by=by, unless_since=unless_since)

    def add_allowance(self, allowance: Allowance) -> None:
        allowance.until.astimezone(UTC)
        super().add_allowance(allowance)

    def claim_arming(self, run: datetime, *, covers: datetime, by: str) -> bool:
        del run, covers, by
        self._up()
        return True

    def disarmed(self, now: datetime) -> frozenset[str]:
        del now
        self._up()
        return frozenset()

    def remember_disarmed(self, holder: str, until: datetime, by: str) -> None:
        del holder, until, by
        self._up()


@dataclass
class Post(FakePost):
    """The mail, which takes no more than SNS does."""

    def send(self, notice: Notice) -> None:
        assert len(notice.text.encode()) <= 256 * 1024
        assert notice.subject.isascii()
        assert notice.subject.isprintable()
        assert 0 < len(notice.subject) <= 100
        super().send(notice)


@dataclass
class Bill:
    """A budget that says what it is told to."""

    name: str
    window: Window
    actual: Decimal

    def figures(self, now: datetime) -> BudgetFigures:
        del now
        return BudgetFigures(self.actual, Decimal(500), None)


@dataclass
class World:
    """The account all functions work on, and how it stands before an event comes."""

    standing: str = "released"
    spent_usd: int = 10
    """What AWS Budgets confirms, of 500."""
    silent: bool = False
    """Whether the meter is, as the ledger has it."""
    rings: bool = True
    """Whether its alarm does."""
    brake: FakeBrake = field(default_factory=lambda: FakeBrake(armed={*ARMED}))
    ledger: Ledger = field(default_factory=Ledger)
    post: Post = field(default_factory=Post)
    work: FakeWork = field(default_factory=lambda: FakeWork({"us-east-1": [Job("us-east-1", "arn", "j")]}))
    lever: FakeLever = field(default_factory=lambda: FakeLever(things={"k": 10}))
    asked: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    """What CloudFormation was told."""

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        ledger, brake = self.ledger, self.brake
        read = now - timedelta(minutes=30 if self.silent else 1)
        ledger.notes["watch"] = {"read_at": read.isoformat()}
        match self.standing:
            case "stopped by a person" | "stopped by the meter":
                by = self.standing.rpartition(" ")[2]
                brake.level = brake.sweep_level = Level.STOP
                brake.swept = {"role/admin"}
                ledger.want(
                    Wanted(Level.STOP, now - timedelta(hours=1), by, ("day",) if by == "meter" else ()),
                    now - timedelta(hours=1),
                )
            case "released just now":
                ledger.want(Wanted(Level.RELEASED, now - timedelta(seconds=5), "person"), now - timedelta(seconds=5))
            case "one alone":
                brake.denied = {"role/agent"}
                ledger.stop_alone("role/agent", "why", now)

    def state(self) -> dict[str, Any]:
        """Return all that an act changes."""
        brake, ledger = self.brake, self.ledger
        return {
            "level": brake.level or Level.RELEASED,
            "sweep": brake.sweep_level or Level.RELEASED,
            "armed": frozenset(brake.armed),
            "swept": frozenset(brake.swept),
            "denied": frozenset(brake.denied),
            "groups": tuple(frozenset(each) for each in brake.groups.values()),
            "scopes": frozenset(brake.scopes),
            "jobs": tuple(each.arn for jobs in self.work.jobs.values() for each in jobs),
            "things": tuple(self.lever.things.items()),
            "wanted": (ledger.level, ledger.said_at, ledger.by, ledger.windows, ledger.done),
            "alone": frozenset(ledger.narrow),
            "releasing": frozenset(ledger.releasing),
            "granted": len(ledger.granted),
            "asked": len(self.asked),
            "acting": ledger.acting,
        }


class Wired(Wiring):
    """The real composition, with stand-ins where AWS begins."""

    def __init__(self, world: World, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self.world = world

    brake = property(lambda self: self.world.brake)
    account = property(lambda self: FakePeople(self.world.brake, PEOPLE))
    ledger = property(lambda self: self.world.ledger)
    post = property(lambda self: self.world.post)
    writer = property(lambda self: self.world.brake)
    _work = property(lambda self: self.world.work)
    _levers = property(lambda self: [self.world.lever])
    own_stack = property(lambda _: SimpleNamespace(status=lambda _: "DELETE_IN_PROGRESS"))
    budgets = property(lambda self: (Bill("bedrock-spend-monthly", Window.MONTH, Decimal(self.world.spent_usd)),))

    def _ask_for_stop(self, request: dict[str, Any]) -> None:
        self.world.asked.append(request)

    @property
    def _bill_tools(self) -> BillTools:
        tools = super()._bill_tools
        return replace(tools, memory=self.world.ledger)

    @property
    def _iam(self) -> Any:
        return client("iam", self.world)

    @property
    def _client_in(self) -> Callable[[str, str], Any]:
        return lambda service, _: client(service, self.world)

    def count_asked(self, now: datetime) -> None:
        """Nothing is asked of CloudWatch here."""

    def desk(self, context: Any) -> Any:
        desk = super().desk(context)
        return replace(desk, tools=replace(desk.tools, ask=FakeSimulator(self.world.brake), log=lambda _: None))

    @property
    def watch_tools(self) -> WatchTools:
        return replace(Watch().tools, ledger=self.world.ledger, send=self.world.post.send)

    @property
    def meter_tools(self) -> MeterTools:
        world = self.world
        # Each tick reads in full, as the first one does.
        world.ledger.notes.pop("watch", None)
        return MeterTools(
            gauge=Gauge(FakeUsage(), world.ledger, prices()),
            ledger=world.ledger,
            brake=world.brake,
            bounds=Bounds(self.settings.limits, Decimal(5), timedelta(minutes=4)),
            regions=("us-east-1",),
            watched=frozenset({"us-east-1"}),
            enforce=True,
            links=self.links,
            ask_for_stop=world.asked.append,
            ask_for_release=world.asked.append,
            dear=(),
            exempt=(),
            ways=Ways(Telling(), world.post.send, world.post.send, world.ledger.note),
        )


IN_USE: list[World] = []
"""The world of the run, for clients that outlive it: making one takes longer than all the rest."""


def client(service: str, world: World) -> Any:
    IN_USE[:] = [world]
    return _client(service)


@cache
def _client(service: str) -> Any:
    return answering(service, _respond)


def _respond(operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    (world,) = IN_USE
    if operation == "DescribeAlarms":
        state = "ALARM" if world.rings else "OK"
        found = [{"AlarmName": each, "StateValue": state, "ActionsEnabled": True} for each in asked["AlarmNames"]]
        return {"MetricAlarms": found}
    assert operation in {"DetachRolePolicy", "DetachUserPolicy"}, operation
    assert asked["PolicyArn"] == BRAKE
    kind = "role" if "RoleName" in asked else "user"
    world.brake.armed.remove(f"{kind}/{asked.get('RoleName') or asked.get('UserName')}")
    return {}


@cache
def prices() -> PriceTable:
    return PriceTable.load()


ENVIRONMENT = {
    "GUARDRAIL": replace(SETTINGS, stop_when_silent=True, anomalies_step_down=True).to_json(),
    "BRAKE_POLICY_ARN": BRAKE,
    "SWEEP_POLICY_ARN": SWEEP,
    "DENY_POLICY_ARN": DENY,
    "LEDGER_TABLE": "ledger",
    "NOTICE_TOPIC_ARN": f"arn:aws:sns:us-east-1:{ACCOUNT}:notices",
    "BUDGET_NAME": "bedrock-spend-monthly",
    "ANOMALY_MONITOR_ARN": MONITOR,
    "ANOMALY_USD": "100",
    "STOP_FUNCTION": "stop",
    "RELEASE_FUNCTION": "release",
    "AWS_REGION": "us-east-1",
}


# --- what comes in -----------------------------------------------------------------------------------------------


def sns(text: str) -> dict[str, Any]:
    """Return a budget notification as the topic delivers it."""
    payload: dict[str, Any] = event("sns_budget.json")
    payload["Records"][0]["Sns"]["Message"] = text
    payload["Records"][0]["Sns"]["Timestamp"] = now()
    return payload


def now(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def custom(request: str) -> dict[str, Any]:
    """Return what CloudFormation sends about a resource of the stack."""
    return {
        "RequestType": request,
        "ResponseURL": "https://cloudformation.example/answer",
        "StackId": f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/guardrail/1",
        "RequestId": "request",
        "LogicalResourceId": "PutBack",
        "PhysicalResourceId": "PutBack",
        "ResourceProperties": {"Owner": "guardrail in us-east-1"},
    }


def meters(level: str, **more: Any) -> dict[str, Any]:
    """Return what the meter asks the stop function for."""
    words = {"source": "meter", "at": now(seconds=1), "level": level, "reason": "$60.00 of $50/day", "reassert": False}
    return {**words, "windows": ["day"], "spend": {"findings": ["a"], "burn": "$1", "models": ["b"]}, **more}


RELEASE = {"confirm": "RELEASE", "reason": "it is safe now", "by": "me"}
MORE = {"usd": 50, "hours": 4}


def genuine() -> dict[str, list[Any]]:
    """Return the real payloads of each function, as of this moment; the first of each list makes it act."""
    calls = sorted(each.name for each in EVENTS.glob("*.json") if "detail-type" in each.read_text(encoding="utf-8"))
    heard = [event(each) for each in calls]
    return {
        "kill": [
            {},
            event("console_default.json"),
            None,
            "stop",
            {"scope": "account", "reason": "3 a.m."},
            {"scope": "role/agent", "reason": "it loops"},
            {"scope": f"arn:aws:iam::{ACCOUNT}:role/agent"},
            {"scope": "model:anthropic.claude-opus*"},
            {"scope": "tag:team=a"},
            event("scheduled.json"),
        ],
        "release": [
            RELEASE,
            {**RELEASE, "allowance": MORE},
            {**RELEASE, "scope": "role/agent"},
            {**RELEASE, "scope": "everything"},
            {"confirm": "ALLOW", "reason": "month's end", "by": "me", "allowance": {"usd": 200, "hours": 4}},
            {"confirm": "ALLOW", "reason": "done", "by": "me", "cancel": "all"},
            {"source": "meter", "at": now(), "windows": ["day"], "reason": "the day is over"},
            {"source": "meter", "at": now(), "windows": [], "reason": "unfinished", "scopes": ["role/agent"]},
            custom("Delete"),
            custom("Create"),
        ],
        "status": [
            {},
            {"plan": "account"},
            {"plan": "role/agent"},
            {"all": True},
            {"widgetContext": {"theme": "dark"}},
            {"describe": True},
        ],
        "stop": [
            meters("stop"),
            meters("step-down"),
            meters("stop", reassert=True),
            meters("released", reassert=True),
            sns(event("budgets_actual.txt")),
            sns(event("budgets_forecasted.txt")),
            sns(event("budgets_daily.txt")),
            event("cost_anomaly.json"),
            event("alarm_heartbeat.json"),
            *(each for each in heard if each["detail-type"].startswith("CloudWatch")),
        ],
        "arm": [*(each for each in heard if each["source"] == "aws.iam"), event("scheduled.json"), custom("Create")],
        "disarm": [event("iam_delete_role_refused.json"), *(each for each in heard if each["source"] == "aws.iam")],
        "watch": [event("lambda_update_code.json"), *heard],
        "meter": [event("scheduled.json"), *heard],
    }


STANDINGS = ("released", "released", "stopped by a person", "stopped by the meter", "released just now", "one alone")


# --- what tampers with it ----------------------------------------------------------------------------------------

EDGES = ("9999-12-31T23:59:59.999999-14:00", "0001-01-01T00:00:00+14:00")
"""Moments that there are in their own zone and not in UTC."""

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "\x00",
    "\ud800",
    "\u202egnp.exe",
    "${aws:username}",
    "*",
    "arn:aws:iam::123456789012:role/*",
    "'; DROP TABLE ledger; --",
    "<script>alert(1)</script>",
    "role/break-glass",
    "role/" + "a" * 5000,
    "x" * 100_000,
    "STOP",
    "stop",
    "account",
    *EDGES,
    "2026-11-22T18:30:00",
    "2026-11-22T18:30:00Z",
    "1,234.56",
    [],
    {},
    [[[[[[[[]]]]]]]],
    {"scope": "account"},
    ["day"],
)


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return where something could be changed."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from spots(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from spots(each, (*path, number))


def put(payload: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the payload with something else in a spot."""
    if not path:
        return value
    payload = copy.deepcopy(payload)
    inner = payload
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return payload


def at(payload: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        payload = payload[key]
    return payload


def hostile(payload: Any, dice: random.Random) -> Any:
    return put(payload, dice.choice(list(spots(payload))), copy.deepcopy(dice.choice(HOSTILE)))


def truncated(payload: Any, dice: random.Random) -> Any:
    """Cut off a text, or lose a key or an item."""
    path = dice.choice(list(spots(payload)))
    value = at(payload, path)
    if isinstance(value, str) and value:
        return put(payload, path, value[: dice.randrange(len(value))])
    if isinstance(value, dict) and value:
        return put(payload, path, dict(list(value.items())[: dice.randrange(len(value))]))
    if isinstance(value, list) and value:
        return put(payload, path, value[: dice.randrange(len(value))])
    return put(payload, path[:-1], {}) if path else {}


def foreign(payload: Any, dice: random.Random) -> Any:
    """Let some of it, or all, be about another account."""
    text = json.dumps(payload)
    if dice.random() < 0.5:
        return json.loads(text.replace(ACCOUNT, FOREIGN))
    about = [
        path for path in spots(payload) if ACCOUNT in str(at(payload, path)) and isinstance(at(payload, path), str)
    ]
    if not about:
        return json.loads(text)
    path = dice.choice(about)
    return put(payload, path, at(payload, path).replace(ACCOUNT, FOREIGN))


def forged(payload: Any, dice: random.Random) -> Any:
    """Dress it as something else: another name, source, state, time or caller."""
    words: dict[str, list[Any]] = {
        "source": ["aws.iam", "aws.ce", "aws.cloudwatch", "meter", "kill", "mine.aws.ce"],
        "detail-type": ["Scheduled Event", "AWS API Call via CloudTrail", "CloudWatch Alarm State Change", "Anomaly"],
        "confirm": ["RELEASE", "ALLOW", "release", "YES"],
        "scope": ["role/agent", "user/x", "everything", "account", "model:*", "role/../x", "session:x", f"role/{'é'}"],
        "level": ["stop", "step-down", "released", "STOP", "ok"],
        "at": [now(hours=2), now(hours=-2), "now", 5, *EDGES],
        "reassert": [True, False, "true", 1],
        "alarmName": ["bedrock-spend-heartbeat", "bedrock-spend-undelivered", "other"],
        "value": ["ALARM", "OK", "INSUFFICIENT_DATA"],
        "eventName": ["DeleteRole", "DetachRolePolicy", "CreateRole", "SetDefaultPolicyVersion"],
        "errorCode": ["DeleteConflict", "DeleteConflictException", "AccessDenied", None],
        "roleName": ["agent", "break-glass", "bedrock-spend", "*", "../x"],
        "eventTime": [*EDGES],
        "time": [*EDGES],
        "Timestamp": [*EDGES],
        "policyArn": [BRAKE, SWEEP, DENY, "arn:aws:iam::aws:policy/AdministratorAccess"],
        "Message": ["", "AWS Account 999999999999", "Budget Name: other", event("budgets_actual.txt")],
        "usd": [1, "1e9", -5, 10**30, "NaN"],
        "hours": [1, 10**9, -1, "inf", 0],
        "plan": ["account", "role/agent", 5, "nonsense"],
        "monitorArn": [MONITOR.replace("abcdef12", "other")],
    }
    if not isinstance(payload, dict):
        return {dice.choice(list(words)): "role/agent"}
    there = [path for path in spots(payload) if path and path[-1] in words]
    if there and dice.random() < 0.8:
        path = dice.choice(there)
        return put(payload, path, dice.choice(words[path[-1]]))
    key = dice.choice(list(words))
    return {**payload, key: dice.choice(words[key])}


def untouched(payload: Any, dice: random.Random) -> Any:
    del dice
    return copy.deepcopy(payload)


TAMPERING = (hostile, hostile, truncated, foreign, forged, untouched)


def tampered(payloads: Mapping[str, list[Any]], function: str, dice: random.Random) -> Any:
    """Return a real payload, mostly one of the function's own, that was tampered with once to three times."""
    payload = dice.choice(payloads[function if dice.random() < 0.8 else dice.choice(list(payloads))])
    for _ in range(dice.randint(1, 3)):
        payload = dice.choice(TAMPERING)(payload, dice)
    return payload


# --- what each may do --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """An event that was handled: what it was, how all stood before and after, and how it ended."""

    event: Any
    world: World
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    answer: Any
    """What was returned; None when an error was raised."""
    error: Exception | None

    mails: int
    """How many were sent."""
    records: int
    """How many were written down."""

    @property
    def changed(self) -> set[str]:
        return {key for key in self.before if self.before[key] != self.after[key]}

    @property
    def quiet(self) -> bool:
        """Whether nothing was stopped before, nor to be stopped, nor being released."""
        before, (level, _, _, _, done) = self.before, self.before["wanted"]
        alone = before["denied"] | before["alone"] | before["scopes"] | before["releasing"]
        return before["level"] == before["sweep"] == level == Level.RELEASED and done and not alone

    def of(self, *path: Any) -> Any:
        """Return what is in the event; None where there is nothing."""
        value = self.event
        for key in path:
            if isinstance(value, list) and isinstance(key, int) and key < len(value):
                value = value[key]
            elif isinstance(value, dict) and isinstance(key, str):
                value = value.get(key)
            else:
                return None
        return value


def killing(run: Run) -> None:
    """Stop everything at any event, one thing at an explicit scope, nothing at a scope that is none."""
    named = run.of("scope")
    if not isinstance(run.event, dict) or named is None or named == "account":
        assert (run.after["level"], run.after["sweep"]) == (Level.STOP, Level.STOP)
        assert (run.after["jobs"], run.after["things"]) == ((), (("k", 0),))
        assert isinstance(run.answer, dict)
        return
    assert run.after["level"] == run.before["level"]
    assert run.after["jobs"] == run.before["jobs"]
    if isinstance(run.error, RefusedError):
        assert run.changed == set()
    else:
        assert isinstance(named, str)
        added = (run.after["denied"] | run.after["alone"]) - (run.before["denied"] | run.before["alone"])
        assert len(added) <= 1
        assert "role/break-glass" not in run.after["denied"]


def releasing(run: Run) -> None:
    """Lower nothing but on a typed word with a reason, the meter's for its own stop, or CloudFormation's at the end."""
    assert run.after["level"] <= run.before["level"]
    assert run.after["denied"] <= run.before["denied"]
    assert run.after["armed"] == run.before["armed"] or run.of("RequestType") == "Delete"
    word, reason = run.of("confirm"), run.of("reason")
    said = isinstance(reason, str) and reason.strip() != ""
    if word == "ALLOW" and said:
        assert run.changed <= {"granted"}
    elif run.of("RequestType") == "Delete" or (word == "RELEASE" and said):
        account = run.of("scope") in (None, "account", "everything")
        assert account or run.after["level"] == run.before["level"]
    elif run.of("source") == "meter":
        level, _, by, windows, _ = run.before["wanted"]
        # What it stopped itself and no one else, or what somebody has released already.
        mine = (by == "meter" and bool(windows)) or level == Level.RELEASED
        assert mine or run.changed <= {"releasing", "denied", "scopes"}
        assert mine or run.after["denied"] >= run.before["denied"] - run.before["releasing"]
    else:
        assert run.changed == set()
    for each in run.world.ledger.granted:
        assert each.usd > 0
        assert each.until <= datetime.now(UTC) + timedelta(days=31)


def reading(run: Run) -> None:
    """Change nothing, and write nothing down."""
    assert (run.changed, run.mails, run.records) == (set(), 0, 0)


def stopping(run: Run) -> None:
    """Raise no further than the meter asks for, the budget confirms, an anomaly may, or silence calls for."""
    assert run.after["level"] >= run.before["level"]
    assert run.after["denied"] == run.before["denied"]
    budget = Level.STOP if run.world.spent_usd >= 500 else Level.RELEASED
    most = Level.RELEASED
    if isinstance(run.event, dict) and "Records" in run.event:
        most = budget
    elif run.of("source") == "aws.ce":
        ours = run.of("account") == ACCOUNT == run.of("detail", "accountId")
        most = Level.STEP_DOWN if ours and run.of("detail", "monitorArn") == MONITOR else Level.RELEASED
    elif run.of("detail-type") == "CloudWatch Alarm State Change":
        rings = (run.of("detail", "alarmName"), run.of("detail", "state", "value"), run.of("account"), run.of("source"))
        true = rings == ("bedrock-spend-heartbeat", "ALARM", ACCOUNT, "aws.cloudwatch")
        most = Level.STOP if true and run.world.silent and run.world.rings else Level.RELEASED
    elif run.of("source") == "meter" and isinstance(run.of("reason"), str) and isinstance(run.of("reassert"), bool):
        levels = {"stop": Level.STOP, "step-down": Level.STEP_DOWN}
        named = run.of("level")
        most = levels.get(named, Level.RELEASED) if isinstance(named, str) else Level.RELEASED
    assert run.after["level"] <= max(run.before["level"], most)
    if most is Level.RELEASED and run.of("source") != "meter":
        assert run.changed == set()


def arming(run: Run) -> None:
    """Arm those who can spend, and have a stop that is on made whole; never switch, detach, or touch the exempt."""
    assert run.changed <= {"armed", "asked"}
    assert run.before["armed"] <= run.after["armed"] <= run.before["armed"] | {"role/agent", "role/x"}
    assert "asked" not in run.changed or not run.quiet


def disarming(run: Run) -> None:
    """Take the brake off one whom somebody of this account was refused to delete, while nothing is stopped."""
    assert run.changed <= {"armed"}
    for holder in run.before["armed"] - run.after["armed"]:
        kind, _, name = holder.partition("/")
        call, key = {"role": ("DeleteRole", "roleName"), "user": ("DeleteUser", "userName")}[kind]
        assert run.quiet
        assert run.of("account") == ACCOUNT
        assert run.of("source") == "aws.iam"
        assert run.of("detail", "eventName") == call
        assert run.of("detail", "errorCode") in {"DeleteConflict", "DeleteConflictException"}
        assert run.of("detail", "requestParameters", key) == name
    assert len(run.before["armed"] - run.after["armed"]) <= 1


def watching(run: Run) -> None:
    """Touch nothing; what comes of another account is not even told."""
    assert run.changed == set()
    if run.of("detail-type") in ["AWS API Call via CloudTrail", "CloudWatch Alarm State Change"]:
        assert run.of("account") == ACCOUNT or run.mails == 0


def metering(run: Run) -> None:
    """Look, and find that nothing is spent: only a stop that is on is kept on, or ended where its window has."""
    assert run.changed <= {"asked"}
    assert "asked" not in run.changed or not run.quiet


ROWS: dict[str, Callable[[Run], None]] = {
    "kill": killing,
    "release": releasing,
    "status": reading,
    "stop": stopping,
    "arm": arming,
    "disarm": disarming,
    "watch": watching,
    "meter": metering,
}


# --- handing it in -----------------------------------------------------------------------------------------------


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any, World], Run]:
    """Return what hands an event to a function, and holds what came of it against its row."""
    here: list[World] = []
    for function in ROWS:
        module = importlib.import_module(f"lambdas.handlers.{function}")
        monkeypatch.setattr(module, "Wiring", lambda: Wired(here[-1], ENVIRONMENT))
        # What is logged is of no interest, and takes as long as everything else.
        monkeypatch.setattr(module, "logger", SimpleNamespace(**dict.fromkeys(LOGGING, lambda *_, **__: None)))
    meter = importlib.import_module("lambdas.handlers.meter")
    monkeypatch.setattr(meter, "_wiring", lambda _: Wired(here[-1], ENVIRONMENT))
    monkeypatch.setattr("time.sleep", lambda _: None)

    def told(request: Any, timeout: float) -> Any:
        del timeout
        here[-1].told.append(json.loads(request.data))
        return Context()

    monkeypatch.setattr("lambdas.deployment.urllib.request.urlopen", told)

    def handle(function: str, payload: Any, world: World) -> Run:
        here.append(world)
        module = importlib.import_module(f"lambdas.handlers.{function}")
        before, answer, error = world.state(), None, None
        mails, records = len(world.post.sent), len(world.ledger.records)
        try:
            answer = module.handler.__wrapped__(copy.deepcopy(payload), Context())
            # As Lambda sends it back.
            json.dumps(answer, ensure_ascii=False, default=str).encode()
        except (RefusedError, UnfinishedError) as caught:
            error = caught
            str(error).encode()
        mails, records = len(world.post.sent) - mails, len(world.ledger.records) - records
        run = Run(payload, world, before, world.state(), answer, error, mails, records)
        assert error is not None or isinstance(answer, dict | str)
        if isinstance(error, RefusedError):
            assert run.changed == set()
        ROWS[function](run)
        return run

    return handle


LOGGING = ("info", "warning", "exception", "error")


def world(dice: random.Random) -> World:
    """Return an account that stands in some way."""
    return World(
        dice.choice(STANDINGS), spent_usd=dice.choice((10, 600)), silent=dice.random() < 0.5, rings=dice.random() < 0.5
    )


@pytest.mark.parametrize("function", ROWS)
def test_no_event_does_what_it_does_not_warrant_and_none_is_lost(function, handled):
    """Four events come to each account, some of them twice, mostly to the function in question."""
    payloads, dice = genuine(), random.Random(function)  # noqa: S311 - the same dice each time
    ended: Counter[str] = Counter()
    for _ in range(FUZZED // len(ROWS) // 4):
        account, last = world(dice), None
        for _ in range(4):
            whose = function if dice.random() < 0.75 else dice.choice(list(ROWS))
            if last is None or dice.random() < 0.8:
                last = whose, tampered(payloads, whose, dice)
            run = handled(*last, account)
            refused = isinstance(run.error, RefusedError)
            ended["refused" if refused else "acted" if run.changed or run.mails else "left"] += 1
    # A table in which nothing ever happens would prove nothing.
    assert min(ended.values()) > 0, ended


STOPPED = {"jobs", "level", "sweep", "swept", "things", "wanted"}
STEPPED_DOWN = STOPPED - {"jobs"}


def the_day_is_over() -> dict[str, Any]:
    return {"source": "meter", "at": now(), "windows": ["day"], "reason": "the day is over"}


def allowing() -> dict[str, Any]:
    return {"confirm": "ALLOW", "reason": "month's end", "by": "me", "allowance": MORE}


@pytest.mark.parametrize(
    ("function", "standing", "payload", "changed"),
    [
        ("kill", "released", dict, STOPPED),
        ("kill", "released", lambda: None, STOPPED),
        ("kill", "released", lambda: event("console_default.json"), STOPPED),
        ("kill", "released", lambda: {"scope": "role/agent"}, {"denied", "alone"}),
        ("kill", "released", lambda: {"scope": "model:anthropic.claude-opus*"}, {"scopes", "alone", "swept"}),
        ("kill", "released", lambda: {"scope": "role/break-glass"}, set()),
        ("release", "stopped by a person", lambda: RELEASE, {"level", "sweep", "swept", "wanted"}),
        ("release", "stopped by a person", lambda: {**RELEASE, "scope": "role/agent"}, set()),
        ("release", "one alone", lambda: {**RELEASE, "scope": "role/agent"}, {"denied", "alone"}),
        ("release", "stopped by a person", lambda: custom("Delete"), {"level", "sweep", "swept", "wanted"}),
        ("release", "stopped by a person", lambda: custom("Create"), set()),
        ("release", "stopped by a person", the_day_is_over, set()),
        ("release", "stopped by the meter", the_day_is_over, {"level", "sweep", "swept", "wanted"}),
        ("release", "stopped by a person", allowing, {"granted"}),
        ("stop", "released", lambda: meters("stop"), STOPPED),
        ("stop", "released", lambda: meters("step-down"), STEPPED_DOWN),
        ("stop", "released just now", lambda: meters("stop", at=now(seconds=60)), set()),
        ("stop", "released", lambda: sns(event("budgets_actual.txt")), STOPPED),
        ("stop", "released", lambda: sns(event("budgets_actual.txt").replace(ACCOUNT, FOREIGN)), set()),
        ("stop", "released", lambda: event("cost_anomaly.json"), STEPPED_DOWN),
        ("stop", "released", lambda: {**event("cost_anomaly.json"), "account": FOREIGN}, set()),
        ("stop", "released", lambda: event("alarm_heartbeat.json"), STOPPED),
        ("stop", "released", lambda: {**event("alarm_heartbeat.json"), "account": FOREIGN}, set()),
        ("stop", "released", lambda: event("alarm_ok.json"), set()),
        ("disarm", "released", lambda: event("iam_delete_role_refused.json"), {"armed"}),
        ("disarm", "stopped by a person", lambda: event("iam_delete_role_refused.json"), set()),
        ("disarm", "released", lambda: event("iam_delete_role_denied.json"), set()),
        ("arm", "stopped by a person", lambda: event("iam_detach_brake.json"), {"asked"}),
        ("meter", "stopped by a person", lambda: event("alarm_state_change.json"), {"asked"}),
    ],
)
def test_a_genuine_event_does_what_it_is_for_and_the_same_again_does_it_once(
    function, standing, payload, changed, handled
):
    account = World(standing, spent_usd=600, silent=True)
    if function == "disarm":
        account.brake.armed.add(
            f"role/{event('iam_delete_role_refused.json')['detail']['requestParameters']['roleName']}"
        )
    asked = payload()
    assert handled(function, asked, account).changed == changed
    assert handled(function, asked, account).changed <= {"wanted", "asked"}


@pytest.mark.parametrize(
    "name",
    ["lambda_update_code.json", "cloudwatch_delete_alarms.json", "alarm_undelivered_elsewhere.json"],
)
def test_what_is_done_to_the_guardrail_itself_is_told_once_and_never_of_another_account(name, handled):
    account = World()
    # Lambda's retry of an event that could not be told is told; another event about the same is not.
    again = {**event(name), "id": "another", "detail": {**event(name)["detail"], "eventID": "another"}}
    assert [handled("watch", each, account).mails for each in (event(name), again, again)] == [1, 0, 0]
    elsewhere = json.loads(json.dumps(event(name)).replace(ACCOUNT, FOREIGN))
    assert handled("watch", elsewhere, World()).mails == 0
