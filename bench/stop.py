"""What an account-wide stop takes, in IAM writes and in seconds: for the armed, for the swept, and as the peers do it.

``python -m bench.stop [--out out/bench]`` writes ``out/bench/stop.json``. The real `guardrail.stop` and the real
adapters of IAM run against an IAM in memory, on a clock that only calls move: nothing is waited for, and the figures
are the same each time. A pool's workers share that clock: each takes the next piece of work when it is the first free.
"""

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, TypeVar
from unittest import mock

import boto3

from bench import report
from lambdas import guardrail, ports, trying
from lambdas.aws.account import Account
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.simulator import Simulator
from lambdas.core.levels import SID_OF, Level
from lambdas.core.levers import Held, Lever, Remembered
from lambdas.core.plan import Attach, Goal, Listing, StopJob
from lambdas.core.principals import Spared

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

T = TypeVar("T")
R = TypeVar("R")

CALL_SECONDS = 0.05
WRITES_A_SECOND, BURST = 10.0, 20
SIZES = (1, 100, 1000, 5000)
AT_ONCE = 8
BRAKE, SWEEP, DENY = (f"arn:aws:iam::123456789012:policy/bedrock-spend-{each}" for each in ("brake", "sweep", "deny"))
_READS = ("Get", "List", "Simulate")


# --- the clock ---------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """Seconds of the modelled world, as whoever works at this moment sees them."""

    limited: bool = True
    """Whether IAM takes only so many writes a second."""
    now: float = 0.0
    tokens: float = float(BURST)
    filled: float = 0.0

    def call(self, *, writes: bool) -> None:
        """Let a call go by: a write first waits until IAM takes another one."""
        if writes and self.limited:
            # A bucket: whoever comes to an empty one waits for the next drop.
            self.tokens = min(BURST, self.tokens + max(0.0, self.now - self.filled) * WRITES_A_SECOND)
            self.filled = max(self.filled, self.now)
            self.tokens -= 1
            self.now = self.filled - min(0.0, self.tokens) / WRITES_A_SECOND
        self.now += CALL_SECONDS


def pool_of(clock: Clock) -> Callable[[int], Any]:
    """Return what stands in for ThreadPoolExecutor: the same work in the same order, its waits side by side."""

    class Pool:
        def __init__(self, workers: int) -> None:
            self._free = [clock.now] * workers

        def map(self, work: Callable[[T], R], pieces: Iterable[T]) -> list[R]:
            """Do all the pieces; the clock is then where the last of the workers ended."""
            found = []
            for each in pieces:
                first = self._free.index(min(self._free))
                clock.now = self._free[first]
                found.append(work(each))
                self._free[first] = clock.now
            clock.now = max(self._free)
            return found

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    return Pool


# --- IAM in memory -----------------------------------------------------------------------------------------------


@dataclass
class Iam:
    """Roles that call Bedrock, armed or not, and the guardrail's policies: what `guardrail.stop` asks of IAM."""

    roles: int
    armed: bool
    clock: Clock = field(default_factory=Clock)
    calls: Counter[str] = field(default_factory=Counter)
    default: dict[str, str] = field(default_factory=lambda: {BRAKE: "v1", SWEEP: "v1"})
    attached: dict[str, set[str]] = field(default_factory=dict)
    denied_at: dict[str, float] = field(default_factory=dict)
    """Role to the moment its denial was in IAM."""

    def __post_init__(self) -> None:
        names = [f"role-{number}" for number in range(self.roles)]
        self.attached = {BRAKE: set(names) if self.armed else set(), SWEEP: set(), DENY: set()}
        self.names = names

    def client(self) -> "IAMClient":
        """Return a client whose calls end here."""
        session = boto3.Session("none", "none", region_name="us-east-1")
        client = session.client("iam")
        client.meta.events.register("before-parameter-build.iam.*", _keep)
        client.meta.events.register("before-call.iam.*", self._answer)
        return client

    @property
    def writes(self) -> int:
        """How many calls changed something."""
        return sum(count for name, count in self.calls.items() if not name.startswith(_READS))

    def _answer(self, model: Any, context: dict[str, Any], **_: object) -> Any:  # noqa: ANN401 - botocore's
        self.calls[model.name] += 1
        self.clock.call(writes=not model.name.startswith(_READS))
        answer: Mapping[str, Any] = getattr(self, f"_{model.name}")(context["asked"])
        return SimpleNamespace(status_code=200), answer

    def _GetAccountAuthorizationDetails(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802 - AWS's
        first = int(asked.get("Marker", 0))
        last = min(first + asked["MaxItems"], self.roles)
        more = {"IsTruncated": True, "Marker": str(last)} if last < self.roles else {"IsTruncated": False}
        roles = [self._role(name) for name in self.names[first:last]]
        return {"RoleDetailList": roles, "UserDetailList": [], "GroupDetailList": [], "Policies": [_agents()]} | more

    def _role(self, name: str) -> Mapping[str, Any]:
        held = [arn for arn in (BRAKE, SWEEP, DENY) if name in self.attached[arn]]
        policies = [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in (*held, AGENTS)]
        arn = f"arn:aws:iam::123456789012:role/{name}"
        return {"RoleName": name, "Arn": arn, "Path": "/", "AttachedManagedPolicies": policies}

    def _GetAccountSummary(self, _: object) -> Mapping[str, Any]:  # noqa: N802
        return {"SummaryMap": {}}

    def _ListPolicyVersions(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802
        default = self.default[asked["PolicyArn"]]
        return {"Versions": [{"VersionId": each, "IsDefaultVersion": each == default} for each in _VERSIONS]}

    def _GetPolicyVersion(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802
        sid = SID_OF[_VERSIONS[asked["VersionId"]]]
        document = {"Version": "2012-10-17", "Statement": [{"Sid": sid, "Effect": "Deny"}]}
        # As text, as on the wire: botocore decodes it.
        return {"PolicyVersion": {"VersionId": asked["VersionId"], "Document": json.dumps(document)}}

    def _SetDefaultPolicyVersion(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802
        self.default[asked["PolicyArn"]] = asked["VersionId"]
        if _VERSIONS[asked["VersionId"]] is Level.STOP:
            self._denied(self.attached[asked["PolicyArn"]])
        return {}

    def _AttachRolePolicy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802
        arn = asked["PolicyArn"]
        self.attached[arn].add(asked["RoleName"])
        if arn == DENY or _VERSIONS[self.default[arn]] is Level.STOP:
            self._denied([asked["RoleName"]])
        return {}

    def _ListEntitiesForPolicy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802
        held, first = sorted(self.attached[asked["PolicyArn"]]), int(asked.get("Marker", 0))
        page = held[first : first + _PAGE]
        more = {"IsTruncated": True, "Marker": str(first + _PAGE)} if first + _PAGE < len(held) else {}
        return {"PolicyRoles": [{"RoleName": each} for each in page]} | more

    def _GetGroup(self, _: object) -> Mapping[str, Any]:  # noqa: N802
        return {"Group": {}, "Users": []}

    def _SimulatePrincipalPolicy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: N802
        decision = "explicitDeny" if asked["PolicySourceArn"].rpartition("/")[2] in self.denied_at else "allowed"
        return {
            "EvaluationResults": [{"EvalActionName": each, "EvalDecision": decision} for each in asked["ActionNames"]]
        }

    def _denied(self, roles: Iterable[str]) -> None:
        for each in roles:
            self.denied_at.setdefault(each, self.clock.now)


_VERSIONS = {"v1": Level.RELEASED, "v2": Level.STEP_DOWN, "v3": Level.STOP}
_PAGE = 100
"""Holders that IAM lists at once."""
AGENTS = "arn:aws:iam::123456789012:policy/agents"


def _agents() -> Mapping[str, Any]:
    document = {"Statement": [{"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": "*"}]}
    versions = [{"IsDefaultVersion": True, "Document": json.dumps(document)}]
    return {"PolicyName": "agents", "Arn": AGENTS, "PolicyVersionList": versions}


def _keep(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    context["asked"] = dict(params)


# --- what is measured --------------------------------------------------------------------------------------------


class IncompleteError(Exception):
    """A stop that did not stop everybody measures nothing."""


class Nothing:
    """No work in flight, no levers, nobody stopped alone: a stop of the account's callers."""

    def listings(self) -> list[Listing]:
        """Return none."""
        return []

    def stop(self, step: StopJob) -> None:
        """Never asked."""
        raise NotImplementedError(step)

    def remember(self, held: Held) -> None:
        """Never asked."""
        raise NotImplementedError(held)

    def held(self) -> list[Remembered]:
        """Return nothing."""
        return []

    def forget(self, remembered: Remembered) -> bool:
        """Never asked."""
        raise NotImplementedError(remembered)


def _no_levers() -> list[Lever]:
    return []


def _no_writer() -> ports.Writer:
    raise NotImplementedError


def ours(iam: Iam) -> None:
    """Stop the account as the kill function does, but for the ledger and the mail."""
    client, clock = iam.client(), iam.clock

    def pause(seconds: float) -> None:
        clock.now += seconds

    tools = ports.StopTools(
        brake=BrakePolicies(client, brake_arn=BRAKE, sweep_arn=SWEEP, deny_arn=DENY),
        people=Account(client, external_anthropic=False),
        work=Nothing,
        levers=_no_levers,
        book=Nothing(),
        writer=_no_writer,
        spared=Spared(),
        ask=Simulator(client).denied,
        log=lambda _: None,
        pace=ports.Pace(pause, lambda: _LAMBDA_SECONDS - clock.now, AT_ONCE),
    )
    pool = pool_of(clock)
    with (
        mock.patch.object(guardrail, "ThreadPoolExecutor", pool),
        mock.patch.object(trying, "ThreadPoolExecutor", pool),
    ):
        stopped = guardrail.stop(Goal(Level.STOP), "bench", tools, enforce=True)
    if not stopped.complete:
        raise IncompleteError(str(stopped))


_LAMBDA_SECONDS = 900.0


def one_by_one(iam: Iam) -> None:
    """Stop as the peers do: list everybody, then attach a deny to one after the other."""
    _attach_to_each(iam, 1)


def eight_at_once(iam: Iam) -> None:
    """Do the same with as many calls under way as ours has."""
    _attach_to_each(iam, AT_ONCE)


def _attach_to_each(iam: Iam, at_once: int) -> None:
    client = iam.client()
    account = Account(client, external_anthropic=False)
    brake = BrakePolicies(client, brake_arn=BRAKE, sweep_arn=SWEEP, deny_arn=DENY)
    steps = [Attach(DENY, f"role/{each.name}") for each in account.principals() if each.calls]
    with pool_of(iam.clock)(at_once) as pool:
        pool.map(brake.deny, steps)


def measure(work: Callable[[Iam], None], roles: int, *, armed: bool, limited: bool = True) -> dict[str, float]:
    """Return IAM writes, and seconds until the first, 99 % and all are denied, and until the report is written."""
    iam = Iam(roles, armed, Clock(limited))
    work(iam)
    if len(iam.denied_at) != roles:
        raise IncompleteError(str(len(iam.denied_at)))
    moments = sorted(iam.denied_at.values())
    return {
        "writes": iam.writes,
        "calls": iam.calls.total(),
        "first_denied": round(moments[0], 2),
        "denied_99_percent": round(moments[-(-roles * 99 // 100) - 1], 2),
        "all_denied": round(moments[-1], 2),
        "mean_denied": round(statistics.fmean(moments), 2),
        "reported": round(iam.clock.now, 2),
    }


def compare(roles: int, *, limited: bool = True) -> dict[str, Any]:
    """Return the figures for so many principals, and how much longer it takes without arming."""
    found = {
        "armed": measure(ours, roles, armed=True, limited=limited),
        "swept": measure(ours, roles, armed=False, limited=limited),
        "peers_one_by_one": measure(one_by_one, roles, armed=False, limited=limited),
        "peers_eight_at_once": measure(eight_at_once, roles, armed=False, limited=limited),
    }
    armed = found["armed"]["all_denied"]
    ratios = {f"{name}_times_armed": round(each["all_denied"] / armed, 1) for name, each in found.items()}
    return {**found, **{name: ratio for name, ratio in ratios.items() if not name.startswith("armed")}}


ASSUMPTIONS = {
    "call": f"{CALL_SECONDS * 1000:.0f} ms from request to answer, whatever the call",
    "writes": f"IAM takes {WRITES_A_SECOND:.0f} writes a second after a burst of {BURST} (assumed: AWS publishes no "
    "rate); a client waits for exactly as long as it must, in ours and in the peers'",
    "clock": "seconds of the modelled world: nothing is waited for, so the machine does not matter",
    "from": "the first call of guardrail.stop, or the peers' first listing; the cold start comes on top",
    "propagation": "not modelled: IAM's own delay is the same for a switch and for an attachment",
    "armed_policies_written_by_a_stop": "two switches: the brake policy's reaches everybody armed, the sweep policy's "
    "those who are swept",
}
TARGETS = {"armed_writes": 2}
"""One switch reaches all the armed, the other is for those who are swept; how many they are does not matter."""


def main() -> None:
    """Measure, print and write."""
    out: Path = report.arguments("What an account-wide stop takes.").parse_args().out
    figures: dict[str, Any] = {"assumptions": ASSUMPTIONS}
    print(f"{'':<28} {'writes':>7} {'first':>8} {'99 %':>8} {'all':>8} {'report':>8}   (seconds)")
    for roles, limited in (*((each, True) for each in SIZES), (SIZES[-1], False)):
        title = str(roles) if limited else f"{roles} were there no write rate"
        figures[title] = found = compare(roles, limited=limited)
        if not limited:
            print("were there no write rate:")
        for name, each in _rows(found):
            row = (each[what] for what in ("first_denied", "denied_99_percent", "all_denied", "reported"))
            print(f"{roles:>5} {name:<22} {each['writes']:>7} " + " ".join(f"{seconds:>8}" for seconds in row))
    met = all(figures[str(roles)]["armed"]["writes"] == TARGETS["armed_writes"] for roles in SIZES)
    report.write(out, "stop", figures, TARGETS, met=met)


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, float]]]:
    return ((name, each) for name, each in found.items() if isinstance(each, dict))


if __name__ == "__main__":
    main()
