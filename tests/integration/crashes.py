"""What becomes of each flow when any single AWS call of it fails, in any of four ways: the harness of the crash sweep.

A flow is run undisturbed once, and its calls are counted. Then it is run again from the same account for each call
and each way to fail; after that AWS's clock goes on as it would (the meter, CloudFormation's retry, the hourly arming),
and the account must end as it did undisturbed. Whoever looks must have been able to see the failure.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws
from moto.dynamodb.models import dynamodb_backends
from moto.iam.models import ManagedPolicy, iam_backends
from moto.sns.models import sns_backends

from lambdas import arming, ports, wiring
from lambdas.aws.concurrency import TAG
from lambdas.core.brake_documents import narrow_scopes
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import Level, level_of
from lambdas.core.work import Choice, Kind
from lambdas.settings import Settings
from tests.conftest import ACCOUNT, event
from tests.fakes import BRAKE, DENY, SWEEP
from tests.integration.world import LEDGER, SETTINGS, TRUST, Account, allow

MARK = "injected-failure"
"""In the message of every failure that is made: who tells of it, told of this one."""
_READS = ("Get", "List", "Describe", "Simulate", "Query", "Scan", "BatchGet")


class How(StrEnum):
    """The ways a call fails."""

    BEFORE = "before"
    """It had no effect."""
    AFTER = "after"
    """It took effect, and yet the answer is an error."""
    THROTTLED = "throttled"
    """It had no effect, and neither had any of the SDK's own retries."""
    TIMED_OUT = "timed out"
    """It took effect, and no answer came."""


@dataclass(frozen=True, slots=True)
class Call:
    """The n-th call of a run."""

    number: int
    action: str

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return not self.action.partition(":")[2].startswith(_READS)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a disturbed run ended."""

    call: Call
    how: How
    converged: bool
    silent: bool
    differs: str = ""
    """In words, what is not as it was undisturbed."""

    def __str__(self) -> str:
        told = " SILENT" if self.silent else ""
        return f"#{self.call.number} {self.call.action} {self.how}:{told} {self.differs}".strip()


@dataclass
class World:
    """An account, a clock, and the one call that is to fail."""

    account: Account
    later: timedelta = timedelta(0)
    calls: list[Call] = field(default_factory=list)
    fails: tuple[int, How] | None = None
    reserved: dict[str, int] = field(default_factory=lambda: {"agent": 7})
    """Reserved concurrency by function; one that is missing has none."""
    failing: bool = False

    def __post_init__(self) -> None:
        events = boto3.DEFAULT_SESSION.events  # type: ignore[union-attr] # the account has made it
        events.register_first("before-call.*.*", self._before)
        events.register_last("after-call.*.*", self._after)
        self.account.answers |= {
            "tag:GetResources": self._tagged,
            "lambda:GetFunctionConcurrency": self._concurrency,
            "lambda:PutFunctionConcurrency": self._reserve,
            "lambda:DeleteFunctionConcurrency": self._unreserve,
            "iam:SimulatePrincipalPolicy": _simulated,
        }

    # Lambda functions.

    def _tagged(self, _: object) -> dict[str, Any]:
        tags = [{"Key": TAG, "Value": "2"}]
        arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{{}}"
        return {
            "ResourceTagMappingList": [{"ResourceARN": arn.format(each), "Tags": tags} for each in ("agent", "new")]
        }

    def _concurrency(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["url_path"].split("/")[-2]
        return {"ReservedConcurrentExecutions": self.reserved[name]} if name in self.reserved else {}

    def _reserve(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.reserved[asked["url_path"].split("/")[-2]] = json.loads(asked["body"])["ReservedConcurrentExecutions"]
        return {}

    def _unreserve(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.reserved.pop(asked["url_path"].split("/")[-2], None)
        return {}

    # The failing call.

    def _before(self, model: Any, context: dict[str, Any], **_: object) -> None:
        if not self.account.running:
            return
        call = Call(len(self.calls), f"{model.service_model.service_name}:{model.name}")
        self.calls.append(call)
        context["fails"] = how = self.fails[1] if self.fails and self.fails[0] == call.number else None
        if how in {How.BEFORE, How.THROTTLED}:
            raise _error("ThrottlingException" if how is How.THROTTLED else "ServiceFailure", model.name)

    def _after(self, model: Any, context: dict[str, Any], **_: object) -> None:
        how = context.pop("fails", None)
        if how is How.AFTER:
            raise _error("ServiceFailure", model.name)
        if how is How.TIMED_OUT:
            raise ReadTimeoutError(endpoint_url=MARK)

    # Running.

    def run(self, function: str, request: Any) -> "Told":
        """Run a function at this world's time; return what it told, whether it answered or raised."""
        with self._at_this_time(function):
            try:
                return Told(json.dumps(self.account.run(function, request), default=str), raised=False)
            except GuardrailError as error:
                self.account.running = ""
                return Told(str(error), raised=True)

    @contextmanager
    def _at_this_time(self, function: str) -> Iterator[None]:
        later = self.later

        class Moved(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + later

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"lambdas.handlers.{function}.datetime", Moved, raising=False)
            yield

    def minutes_go_by(self, minutes: int = 1) -> None:
        """Let the meter look, and whatever it asks for be done."""
        for _ in range(minutes):
            # More than a run says it takes, should it have died: nobody waits for it any longer.
            self.later += timedelta(minutes=3)
            self.account.asked.clear()
            self.account.asked_release.clear()
            self.run("meter", event("scheduled.json"))
            for function, asked in (("release", self.account.asked_release), ("stop", self.account.asked)):
                for request in [*asked]:
                    self.run(function, request)

    def state(self) -> dict[str, Any]:
        """Return all that a stop touches, as somebody else would see it; ids of versions may differ."""
        iam = boto3.client("iam")
        found: dict[str, Any] = {}
        for arn in (BRAKE, SWEEP, DENY):
            try:
                versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
            except iam.exceptions.NoSuchEntityException:
                continue
            default, others = "", []
            for each in versions:
                found_version = iam.get_policy_version(PolicyArn=arn, VersionId=each["VersionId"])["PolicyVersion"]
                words = _version(found_version["Document"])
                others.append(words)
                default = words if each["IsDefaultVersion"] else default
            found[arn.rpartition("/")[2]] = [f"default {default}", *sorted(others)]
        everything: Any = iam.get_account_authorization_details()
        for kind in ("Role", "User", "Group"):
            for each in everything[f"{kind}DetailList"]:
                found[f"{kind.lower()}/{each[f'{kind}Name']}"] = [
                    sorted(policy["PolicyArn"] for policy in each["AttachedManagedPolicies"]),
                    sorted(each.get("GroupList", ())),
                    json.dumps(each.get(f"{kind}PolicyList", each.get("GroupPolicyList", [])), sort_keys=True),
                ]
        ledger = boto3.client("dynamodb").scan(TableName=LEDGER)["Items"]
        found["book"] = sorted(each["sk"]["S"] + each["body"]["S"] for each in ledger if each["pk"]["S"] == "held")
        found["keys"] = copy.deepcopy(self.account.throttles.keys)
        found["reserved"] = dict(self.reserved)
        found["jobs"] = copy.deepcopy(self.account.jobs)
        return found


@dataclass(frozen=True, slots=True)
class Told:
    """What a run told whoever asked."""

    words: str
    raised: bool

    @property
    def loud(self) -> bool:
        """Whether the failure was in it."""
        return self.raised or MARK in self.words or '"FAILED"' in self.words


def _simulated(asked: dict[str, Any]) -> dict[str, Any]:
    """Answer as IAM's simulator by the levels alone, without a call: the sweep asks it thousands of times."""
    backend: Any = iam_backends[ACCOUNT]["aws"]
    arn = asked["body"]["PolicySourceArn"]
    everybody = (*backend.roles.values(), *backend.users.values())
    held = {*next(each for each in everybody if each.arn == arn).managed_policies}
    name = arn.rpartition("/")[2]
    held |= {
        p for each in backend.groups.values() for p in each.managed_policies if name in {u.name for u in each.users}
    }
    levels = []
    for each in held & {BRAKE, SWEEP}:
        policy = backend.managed_policies[each]
        document = next(v.document for v in policy.versions if v.version_id == policy.default_version_id)
        levels.append(level_of(document) or Level.RELEASED)
    denied = DENY in held or max(levels, default=Level.RELEASED) > Level.RELEASED
    actions = [value for key, value in asked["body"].items() if key.startswith("ActionNames.member.")]
    decision = "explicitDeny" if denied else "allowed"
    return {"EvaluationResults": [{"EvalActionName": each, "EvalDecision": decision} for each in actions]}


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": MARK}}, operation)


# --- flows -------------------------------------------------------------------------------------------------------

RELEASE = {"confirm": "RELEASE", "reason": "fixed"}
_AGENTS = f"arn:aws:iam::{ACCOUNT}:policy/agents"
UPDATED = replace(SETTINGS, exempt=(*SETTINGS.exempt, "role/other"))
BATCH_ALONE = replace(SETTINGS, work=Choice(spare=tuple(each.key for each in Kind if each is not Kind.BATCH)))
"""Where a stop does not look for two dozen kinds of work, which all fail alike."""
DETACHING = replace(BATCH_ALONE, detach=("policy/agents",))


def asked_by_the_meter(world: World, level: str) -> dict[str, Any]:
    """Return what the meter sends when a limit is crossed."""
    at = datetime.now(UTC) + world.later
    return {"source": "meter", "at": at.isoformat(), "level": level, "reason": "a limit", "reassert": False}


def _nothing(_: World) -> None:
    """Start with everybody armed and nothing stopped."""


def _killed(world: World) -> None:
    world.run("kill", {})
    world.later += timedelta(minutes=3)


def _stop(level: str) -> Callable[[World], Told]:
    return lambda world: world.run("stop", asked_by_the_meter(world, level))


def _step_down_then_stop(world: World) -> Told:
    first = world.run("stop", asked_by_the_meter(world, "step-down"))
    world.later += timedelta(minutes=3)
    second = world.run("stop", asked_by_the_meter(world, "stop"))
    return Told(first.words + second.words, raised=first.raised or second.raised)


def _kill(request: Mapping[str, str]) -> Callable[[World], Told]:
    return lambda world: world.run("kill", dict(request))


def _newcomer(world: World) -> None:
    iam = boto3.client("iam")
    iam.create_role(RoleName="newcomer", AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName="newcomer", PolicyName="work", PolicyDocument=allow("bedrock:InvokeModel"))
    del world


def _update(world: World) -> Told:
    return Told(json.dumps(world.account.install("Update", UPDATED)), raised=False)


def _a_minute(world: World) -> None:
    world.minutes_go_by()


def _an_hour(world: World) -> None:
    world.run("arm", event("scheduled.json"))


def _again(world: World) -> None:
    world.account.install("Update", UPDATED)


@dataclass(frozen=True, slots=True)
class Flow:
    """Something the guardrail does from end to end, and what AWS runs next."""

    name: str
    run: Callable[[World], Told]
    before: Callable[[World], None] = _nothing
    then: Callable[[World], None] = _a_minute
    settings: Settings = BATCH_ALONE


FLOWS = (
    Flow("stop", _stop("stop")),
    Flow("kill", _kill({}), settings=SETTINGS),
    Flow("step-down, then stop", _step_down_then_stop),
    Flow("narrow stop of a role", _kill({"scope": "role/agent"})),
    Flow("narrow stop of a model", _kill({"scope": "model:anthropic.claude-opus*"})),
    Flow("detach stop", _stop("stop"), settings=DETACHING),
    Flow("arm", lambda world: world.run("arm", event("scheduled.json")), before=_newcomer, then=_an_hour),
    Flow("release", lambda world: world.run("release", RELEASE), before=_killed),
    Flow("detach release", lambda world: world.run("release", RELEASE), before=_killed, settings=DETACHING),
    Flow("stack update", _update, then=_again),
    Flow("stack update while stopped", _update, before=_killed, then=_again),
)


# --- the sweep ---------------------------------------------------------------------------------------------------


@contextmanager
def prepared(flow: Flow) -> Iterator["Sweep"]:
    """Make the account in which a flow starts."""
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        world = World(Account(patch))
        patch.setattr(ManagedPolicy, "update_default_version", _update_default_version)
        _one_at_a_time(patch)
        _same_clients(patch)
        account = world.account
        account.people()
        iam = boto3.client("iam")
        iam.create_policy(PolicyName="agents", PolicyDocument=allow("bedrock:InvokeModel"))
        iam.attach_role_policy(RoleName="agent", PolicyArn=_AGENTS)
        iam.attach_user_policy(UserName="dev", PolicyArn=_AGENTS)
        account.throttles.add_key(1, "dev")
        account.throttles.add_key(2, "dev", "Inactive")
        arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:model-invocation-job/abc"
        account.jobs = [{"jobArn": arn, "jobName": "nightly", "status": "InProgress"}]
        account.install(settings=flow.settings)
        world.run("arm", event("scheduled.json"))
        flow.before(world)
        yield Sweep(flow, world)


def _update_default_version(policy: Any, version_id: str) -> None:
    """Do as AWS does: to make the default version the default again changes nothing. Moto leaves none then."""
    for each in policy.versions:
        each.is_default = each.version_id == version_id
    policy.default_version_id = version_id


def _one_at_a_time(patch: pytest.MonkeyPatch) -> None:
    """Make every run do the same calls in the same order."""

    def pace(_: object) -> ports.Pace:
        return ports.Pace(lambda _: None, at_once=1)

    patch.setattr(wiring, "_pace", pace)
    patch.setattr(arming, "_AT_ONCE", 1)


def _same_clients(patch: pytest.MonkeyPatch) -> None:
    """Make no client twice: that takes far longer than what is done with it."""
    session: Any = boto3.DEFAULT_SESSION
    made = cache(lambda service, options: session.client(service, **dict(options)))
    patch.setattr(boto3, "client", lambda service, **options: made(service, tuple(sorted(options.items()))))


@dataclass
class Sweep:
    """One flow, run again and again from the same account."""

    flow: Flow
    world: World
    start: Any = None
    wanted: Any = None
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = self._saved()
        self.world.calls.clear()
        self.flow.run(self.world)
        self.calls = [*self.world.calls]
        self.flow.then(self.world)
        self.wanted = self.world.state()

    def chosen(self, *, every_read: int = 1) -> list[Call]:
        """Return the writes, and of the reads every n-th."""
        reads = [each for each in self.calls if not each.writes]
        kept = {each.number for each in reads[every_read - 1 :: every_read]}
        return [each for each in self.calls if each.writes or each.number in kept]

    def fail(self, call: Call, how: How) -> Ended:
        """Run the flow with one call failing, and what AWS runs next."""
        world = self.world
        self._restore()
        world.calls.clear()
        world.fails = (call.number, how)
        try:
            told = self.flow.run(world)
        finally:
            world.fails = None
        world.account.running = ""
        mails = json.dumps([str(each) for each in _topic(world).sent_notifications])
        unrepaired = not told.loud and MARK not in mails and _differs(world.state(), self.wanted)
        self.flow.then(world)
        differs = _differs(world.state(), self.wanted)
        return Ended(call, how, converged=not differs, silent=bool(unrepaired), differs=differs)

    # Moto's state is put back, for to make the account anew takes a second.

    def _saved(self) -> Any:
        world, account = self.world, self.world.account
        return copy.deepcopy(
            (
                vars(iam_backends[ACCOUNT]["aws"]),
                vars(dynamodb_backends[ACCOUNT]["us-east-1"].tables[LEDGER]),
                list(_topic(world).sent_notifications),
                (world.reserved, world.later, account.jobs, account.throttles.keys, account.throttles.limits),
            )
        )

    def _restore(self) -> None:
        world, account = self.world, self.world.account
        iam, ledger, mails, rest = copy.deepcopy(self.start)
        vars(iam_backends[ACCOUNT]["aws"]).update(iam)
        vars(dynamodb_backends[ACCOUNT]["us-east-1"].tables[LEDGER]).update(ledger)
        _topic(world).sent_notifications[:] = mails
        world.reserved, world.later, account.jobs, keys, limits = rest
        account.throttles.keys.clear()
        account.throttles.keys.update(keys)
        account.throttles.limits.clear()
        account.throttles.limits.update(limits)
        account.asked.clear()
        account.asked_release.clear()
        account.monkeypatch.setenv("GUARDRAIL", self.flow.settings.to_json())


def _topic(world: World) -> Any:
    return sns_backends[ACCOUNT]["us-east-1"].topics[world.account.environment["NOTICE_TOPIC_ARN"]]


def _version(document: Any) -> str:
    """Return what tells a version from another: its level, what it stops alone, and a digest."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:8]
    return " ".join((str(level_of(document)), *map(str, narrow_scopes(document)), digest))


def _differs(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    names = [each for each in sorted({*found, *wanted}) if found.get(each) != wanted.get(each)]
    return "; ".join(f"{each}: {_short(found.get(each))}, not {_short(wanted.get(each))}" for each in names)


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < _READABLE else f"{text[:_READABLE]}…"


_READABLE = 300
