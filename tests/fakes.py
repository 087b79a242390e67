"""Stand-ins for AWS that behave, keep state, and can be told to fail at any call."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Document, Level, Wanted
from lambdas.core.limits import Allowance
from lambdas.core.notice import Notice
from lambdas.core.plan import Attach, BrakeState, Detach, Job, PolicyState, StopJob, Switch
from lambdas.core.principals import Principal
from lambdas.core.usage import Reading, Series
from lambdas.installing import MAX_VERSIONS, Version

BRAKE = "arn:aws:iam::123456789012:policy/bedrock-spend-brake"
SWEEP = "arn:aws:iam::123456789012:policy/bedrock-spend-sweep"
VERSIONS = {Level.STOP: "v3", Level.STEP_DOWN: "v2", Level.RELEASED: "v1"}


def refused(operation: str, code: str = "Throttling") -> AwsCallError:
    return AwsCallError(operation, code, "not now")


@dataclass
class FakeBrake:
    """Both policies, as IAM keeps them."""

    level: Level | None = Level.RELEASED
    sweep_level: Level | None = Level.RELEASED
    armed: set[str] = field(default_factory=set)
    swept: set[str] = field(default_factory=set)
    refuses: dict[str, str] = field(default_factory=dict)
    """Method, or method and holder (``sweep role/x``), to error code."""
    calls: list[str] = field(default_factory=list)
    brake_arn: str = BRAKE
    sweep_arn: str = SWEEP

    def _called(self, method: str, target: str = "") -> None:
        self.calls.append(f"{method} {target}".strip())
        for key in (method, f"{method} {target}"):
            if key in self.refuses:
                raise refused(f"iam:{method}", self.refuses[key])

    def policy(self, arn: str) -> PolicyState:
        self._called("policy", arn.rpartition("-")[2])
        level = self.level if arn == BRAKE else self.sweep_level
        return PolicyState(arn, level, VERSIONS, VERSIONS.get(level or Level.RELEASED, ""))

    def levels(self) -> BrakeState:
        self._called("levels")
        return BrakeState(*(self.policy(arn) for arn in (BRAKE, SWEEP)))

    def holders(self, policy_arn: str) -> frozenset[str]:
        self._called("holders")
        return frozenset(self.armed if policy_arn == BRAKE else self.swept)

    def switch(self, step: Switch) -> None:
        self._called("switch", step.policy_arn.rpartition("-")[2])
        if step.policy_arn == BRAKE:
            self.level = step.level
        else:
            self.sweep_level = step.level

    def arm(self, step: Attach) -> None:
        self._called("arm", step.holder)
        self.armed.add(step.holder)

    def sweep(self, step: Attach) -> None:
        self._called("sweep", step.holder)
        self.swept.add(step.holder)

    def leave(self, step: Detach) -> None:
        self._called("leave", step.holder)
        if step.holder not in self.swept:
            raise refused("iam:DetachRolePolicy", "NoSuchEntity")
        self.swept.remove(step.holder)


@dataclass
class FakePeople:
    """The account's roles and users."""

    brake: FakeBrake
    everybody: Sequence[Principal] = ()
    refuses: bool = False

    def principals(self) -> Sequence[Principal]:
        if self.refuses:
            raise refused("iam:GetAccountAuthorizationDetails")
        return [self._as_attached(each) for each in self.everybody]

    def _as_attached(self, principal: Principal) -> Principal:
        holder = f"{principal.kind}/{principal.name}"
        attached = {BRAKE} if holder in self.brake.armed else set()
        attached |= {SWEEP} if holder in self.brake.swept else set()
        return Principal(
            principal.arn, principal.kind, principal.name, principal.path, principal.capability, frozenset(attached)
        )


@dataclass
class FakeWork:
    """Batch jobs by region."""

    jobs: dict[str, list[Job]] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    regions: tuple[str, ...] = ("us-east-1", "eu-central-1")

    def running(self, region: str) -> Sequence[Job]:
        if region in self.refuses:
            raise refused("bedrock:ListModelInvocationJobs", "AccessDeniedException")
        return list(self.jobs.get(region, ()))

    def stop(self, step: StopJob) -> None:
        self.jobs[step.job.region].remove(step.job)


@dataclass
class FakePost:
    """The mail."""

    sent: list[Notice] = field(default_factory=list)
    down: bool = False

    def send(self, notice: Notice) -> None:
        if self.down:
            raise refused("sns:Publish", "EndpointConnectionError")
        self.sent.append(notice)


@dataclass
class FakeLedger:
    """The ledger, in memory."""

    down: bool = False
    level: Level = Level.RELEASED
    said_at: datetime | None = None
    latest: dict[str, Any] | None = None
    granted: list[Allowance] = field(default_factory=list)
    series: set[Series] = field(default_factory=set)
    records: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def _up(self) -> None:
        if self.down:
            raise refused("dynamodb:Query", "ResourceNotFoundException")

    def want(self, level: Level, at: datetime) -> bool:
        self._up()
        if self.said_at is not None and self.said_at > at:
            return False
        self.level, self.said_at = level, at
        return True

    def wanted(self) -> Wanted:
        self._up()
        return Wanted(self.level, self.said_at)

    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        del at
        self._up()
        self.records.append((kind, body))

    def allowances(self, now: datetime) -> Sequence[Allowance]:
        self._up()
        return [each for each in self.granted if now < each.until]

    def add_allowance(self, allowance: Allowance) -> None:
        self._up()
        same = (allowance.usd, allowance.reason, allowance.by)
        self.granted = [each for each in self.granted if (each.usd, each.reason, each.by) != same]
        self.granted.append(allowance)

    def known_series(self, month: datetime) -> frozenset[Series]:
        del month
        self._up()
        return frozenset(self.series)

    def remember_series(self, month: datetime, series: Iterable[Series]) -> None:
        del month
        self._up()
        self.series |= set(series)

    def forget_verdict(self) -> None:
        self._up()
        self.latest = None

    def latest_decision(self) -> dict[str, Any] | None:
        self._up()
        return self.latest

    def last(self, kind: str) -> dict[str, Any] | None:
        self._up()
        return next((body for found, body in reversed(self.records) if found == kind), None)

    def record_decision(self, at: datetime, body: dict[str, Any], *, news: bool) -> None:
        self._up()
        self.latest = {"at": at.isoformat(), **body}
        if news:
            self.records.append(("decision", body))


@dataclass
class FakeUsage:
    """CloudWatch, answering with a reading that is set."""

    reading: Reading
    listed: Sequence[Series] = ()
    gaps: tuple[str, ...] = ()
    asked: list[list[Series]] = field(default_factory=list)

    def series(self) -> tuple[Sequence[Series], tuple[str, ...]]:
        return self.listed, self.gaps

    def read(self, series: Iterable[Series], now: datetime) -> Reading:
        self.asked.append(list(series))
        return Reading(now, self.reading.samples, self.reading.gaps)


@dataclass
class FakePolicies:
    """IAM's managed policies, with its quota and its rules, failing at the call that is named."""

    policies: dict[str, list[Version]] = field(default_factory=dict)
    attached: dict[str, set[str]] = field(default_factory=dict)
    next_number: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    us: str = "us"
    calls: int = 0
    crash_at: int | None = None
    crash_after_effect: bool = False
    watch: Callable[[], None] = field(default=lambda: None)
    """Called after every call, so that a test can look at each state in between."""

    def _write(self, effect: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls == self.crash_at and not self.crash_after_effect:
            raise refused("iam:Write", "ServiceFailure")
        result = effect()
        self.watch()
        if self.calls == self.crash_at:
            raise refused("iam:Write", "RequestTimeout")
        return result

    def versions(self, arn: str) -> Sequence[Version] | None:
        return list(self.policies[arn]) if arn in self.policies else None

    def owner(self, arn: str) -> str | None:
        return self.owners.get(arn, "") if arn in self.policies else None

    def create(self, name: str, document: Document) -> Version:
        arn = f"arn:aws:iam::123456789012:policy/{name}"
        version = Version("v1", document, is_default=True)

        def effect() -> None:
            assert arn not in self.policies
            self.policies[arn] = [version]
            self.owners[arn] = self.us
            self.next_number[arn] = 2

        self._write(effect)
        return version

    def create_version(self, arn: str, document: Document) -> Version:
        def effect() -> Version:
            if len(self.policies[arn]) >= MAX_VERSIONS:
                raise refused("iam:CreatePolicyVersion", "LimitExceeded")
            version = Version(f"v{self.next_number[arn]}", document, is_default=False)
            self.next_number[arn] += 1
            self.policies[arn].append(version)
            return version

        version: Version = self._write(effect)
        return version

    def set_default(self, arn: str, version_id: str) -> None:
        def effect() -> None:
            assert any(each.version_id == version_id for each in self.policies[arn])
            self.policies[arn] = [
                Version(each.version_id, each.document, each.version_id == version_id) for each in self.policies[arn]
            ]

        self._write(effect)

    def delete_version(self, arn: str, version_id: str) -> None:
        def effect() -> None:
            gone = next(each for each in self.policies[arn] if each.version_id == version_id)
            assert not gone.is_default, "IAM refuses to delete the default version"
            self.policies[arn].remove(gone)

        self._write(effect)

    def holders(self, arn: str) -> frozenset[str]:
        return frozenset(self.attached.get(arn, ()))

    def detach(self, arn: str, holder: str) -> None:
        self._write(lambda: self.attached[arn].discard(holder))

    def delete(self, arn: str) -> None:
        def effect() -> None:
            assert not self.attached.get(arn), "IAM refuses to delete an attached policy"
            assert len(self.policies[arn]) == 1, "IAM refuses to delete a policy with more than one version"
            del self.policies[arn]

        self._write(effect)
