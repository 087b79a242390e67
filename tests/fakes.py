"""Stand-ins for AWS that behave, keep state, and can be told to fail at any call."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from lambdas.core.closed import ClosedDay
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Document, Level, Wanted
from lambdas.core.levers import Found, Held, Remembered
from lambdas.core.limits import Allowance
from lambdas.core.memory import Memory
from lambdas.core.notice import Notice
from lambdas.core.plan import Attach, BrakeState, Detach, Job, Join, Leave, Listing, PolicyState, StopJob, Switch
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from lambdas.core.scopes import Scope
from lambdas.core.usage import Kind, Look, Reading, Series, Source, Tally
from lambdas.core.windows import Window
from lambdas.installing import MAX_VERSIONS, Group, Version

BRAKE = "arn:aws:iam::123456789012:policy/bedrock-spend-brake"
SWEEP = "arn:aws:iam::123456789012:policy/bedrock-spend-sweep"
DENY = "arn:aws:iam::123456789012:policy/bedrock-spend-deny"
VERSIONS = {Level.STOP: "v3", Level.STEP_DOWN: "v2", Level.RELEASED: "v1"}


def refused(operation: str, code: str = "Throttling") -> AwsCallError:
    return AwsCallError(operation, code, "not now")


@dataclass
class FakeBrake:
    """The three policies and the two groups, as IAM keeps them; it is the writer of narrow denials too."""

    level: Level | None = Level.RELEASED
    sweep_level: Level | None = Level.RELEASED
    armed: set[str] = field(default_factory=set)
    swept: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    groups: dict[str, set[str]] = field(default_factory=lambda: {SWEEP: set(), DENY: set()})
    """Who is in the group that holds a policy."""
    scopes: list[Scope] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)
    """Method, or method and holder (``sweep role/x``), to error code."""
    calls: list[str] = field(default_factory=list)
    brake_arn: str = BRAKE
    sweep_arn: str = SWEEP
    deny_arn: str = DENY

    def _called(self, method: str, target: str = "") -> None:
        self.calls.append(f"{method} {target}".strip())
        for key in (method, f"{method} {target}"):
            if key in self.refuses:
                raise refused(f"iam:{method}", self.refuses[key])

    def _holders(self, arn: str) -> set[str]:
        return {BRAKE: self.armed, SWEEP: self.swept, DENY: self.denied}[arn]

    def policy(self, arn: str) -> PolicyState:
        self._called("policy", arn.rpartition("-")[2])
        level = self.level if arn == BRAKE else self.sweep_level
        denied = frozenset(self.scopes)
        default = VERSIONS.get(level or Level.RELEASED, "")
        return PolicyState(arn, level, VERSIONS, default, tuple(self.scopes), denied, denied)

    def levels(self) -> BrakeState:
        self._called("levels")
        return BrakeState(*(self.policy(arn) for arn in (BRAKE, SWEEP)))

    def holders(self, policy_arn: str) -> frozenset[str]:
        self._called("holders", policy_arn.rpartition("-")[2])
        return frozenset(self._holders(policy_arn))

    def members(self, policy_arn: str) -> frozenset[str]:
        self._called("members", policy_arn.rpartition("-")[2])
        return frozenset(self.groups[policy_arn])

    def reached(self, policy_arn: str) -> frozenset[str]:
        return self.members(policy_arn)

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

    def deny(self, step: Attach) -> None:
        self._called("deny", step.holder)
        self.denied.add(step.holder)

    def join(self, step: Join) -> None:
        self._called("join", step.holder)
        self.groups[SWEEP if step.group == "bedrock-spend-sweep" else DENY].add(step.holder)

    def leave(self, step: Detach) -> None:
        self._called("leave", step.holder)
        holders = self._holders(step.policy_arn)
        if step.holder not in holders:
            raise refused("iam:DetachRolePolicy", "NoSuchEntity")
        holders.remove(step.holder)

    def part(self, step: Leave) -> None:
        self._called("part", step.holder)
        self.groups[SWEEP if step.group == "bedrock-spend-sweep" else DENY].remove(step.holder)

    def stop(self, scope: Scope) -> None:
        self._called("narrow", str(scope))
        self.scopes += [scope] if scope not in self.scopes else []

    def release(self, scope: Scope) -> None:
        self._called("widen", str(scope))
        self.scopes = [each for each in self.scopes if each != scope]


@dataclass
class FakePeople:
    """The account's roles and users."""

    brake: FakeBrake
    everybody: Sequence[Principal] = ()
    refuses: bool = False

    def principals(self) -> Sequence[Principal]:
        if self.refuses:
            raise refused("iam:GetAccountAuthorizationDetails")
        sweep = Principal(
            "arn:aws:iam::123456789012:group/bedrock-spend/bedrock-spend-sweep",
            PrincipalKind.GROUP,
            "bedrock-spend-sweep",
            "/bedrock-spend/",
            Capability.NONE,
            frozenset({SWEEP}),
        )
        return [*(self._as_attached(each) for each in self.everybody), sweep]

    def _as_attached(self, principal: Principal) -> Principal:
        holder = f"{principal.kind}/{principal.name}"
        attached = {arn for arn in (BRAKE, SWEEP, DENY) if holder in self.brake._holders(arn)}
        groups = {arn.rpartition("/")[2] for arn, members in self.brake.groups.items() if holder in members}
        return replace(principal, attached=frozenset(attached), groups=(*principal.groups, *sorted(groups)))


@dataclass
class FakeSimulator:
    """IAM's simulator: what the fake policies deny, and nothing else."""

    brake: FakeBrake
    refuses: bool = False
    lies: set[str] = field(default_factory=set)
    """ARNs it calls allowed."""

    def __call__(self, arn: str, actions: Sequence[str]) -> Mapping[str, bool]:
        if self.refuses:
            raise refused("iam:SimulatePrincipalPolicy")
        holder = arn.split(":", 5)[-1]
        holder = f"{holder.partition('/')[0]}/{holder.rpartition('/')[2]}"
        by_level = {BRAKE: self.brake.level, SWEEP: self.brake.sweep_level, DENY: Level.STOP}
        groups = self.brake.groups
        on = [by_level[each] for each in by_level if holder in self.brake._holders(each) | groups.get(each, set())]
        return dict.fromkeys(actions, arn not in self.lies and max((each or 0 for each in on), default=0) > 0)


@dataclass
class FakeWork:
    """Batch jobs by region."""

    jobs: dict[str, list[Job]] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    regions: tuple[str, ...] = ("us-east-1", "eu-central-1")

    def listings(self) -> Sequence[Listing]:
        return [Listing(f"list batch jobs in {each}", partial(self._running, each)) for each in self.regions]

    def _running(self, region: str) -> Sequence[Job]:
        if region in self.refuses:
            raise refused("bedrock:ListModelInvocationJobs", "AccessDeniedException")
        return list(self.jobs.get(region, ()))

    def stop(self, step: StopJob) -> None:
        self.jobs[step.job.region].remove(step.job)


@dataclass
class FakeLever:
    """Things with a number that is lowered to 5 at step-down and to 0 at a stop."""

    name: str = "fake"
    things: dict[str, int] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    """``find``, ``hold x`` or ``restore x`` to the error code."""
    calls: list[str] = field(default_factory=list)
    works_before_refusing: bool = False

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if call in self.refuses and not self.works_before_refusing:
            raise refused(call, self.refuses[call])

    def _done(self, call: str) -> None:
        if call in self.refuses and self.works_before_refusing:
            raise refused(call, self.refuses[call])

    def find(self, level: Level, spared: Spared) -> Found:
        del spared
        self.calls.append("find")
        if "find" in self.refuses:
            return Found(unread={f"look at {self.name}": self.refuses["find"]})
        above = {name: number for name, number in self.things.items() if number > self._wanted(level)}
        return Found(tuple(Held(self.name, name, name, {"number": number}) for name, number in above.items()))

    @staticmethod
    def _wanted(level: Level) -> int:
        return {Level.STOP: 0, Level.STEP_DOWN: 5, Level.RELEASED: 1_000_000}[level]

    def hold(self, held: Held, level: Level) -> None:
        self._called(f"hold {held.key}")
        self.things[held.key] = min(self.things[held.key], self._wanted(level))
        self._done(f"hold {held.key}")

    def restore(self, held: Held) -> None:
        self._called(f"restore {held.key}")
        if held.key in self.things:
            self.things[held.key] = held.before["number"]
        self._done(f"restore {held.key}")


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
    by: str = ""
    windows: tuple[str, ...] = ()
    done: bool = True
    reversible_only: bool = False
    narrow: tuple[str, ...] = ()
    """What is stopped alone."""
    releasing: tuple[str, ...] = ()
    acting: tuple[str, datetime] | None = None
    book: dict[tuple[str, str], Remembered] = field(default_factory=dict)
    latest: dict[str, Any] | None = None
    granted: list[Allowance] = field(default_factory=list)
    series: set[Series] = field(default_factory=set)
    records: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    notes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    noted: dict[str, datetime] = field(default_factory=dict)
    watch_mark: str = ""
    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    told: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    days: dict[tuple[date, str], ClosedDay] = field(default_factory=dict)
    reads: int = 0

    def _up(self) -> None:
        if self.down:
            raise refused("dynamodb:Query", "ResourceNotFoundException")

    def want(self, wanted: Wanted, at: datetime) -> bool:
        self._up()
        if self.said_at is not None and self.said_at > at:
            return False
        self.level, self.said_at = wanted.level, at
        self.by, self.windows, self.done = wanted.by, wanted.windows, wanted.done
        self.reversible_only = wanted.reversible_only
        return True

    def wanted(self) -> Wanted:
        self._up()
        return Wanted(self.level, self.said_at, self.by, self.windows, self.done, self.reversible_only)

    def stop_alone(self, scope: str, reason: str, at: datetime) -> None:
        del at, reason
        self._up()
        self.narrow = tuple(dict.fromkeys((*self.narrow, scope)))
        self.releasing = tuple(each for each in self.releasing if each != scope)

    def stopped_alone(self, *, releasing: bool = False) -> tuple[str, ...]:
        self._up()
        return self.releasing if releasing else self.narrow

    def release_alone(self, scope: str, at: datetime, *, unless_stopped: bool = False) -> None:
        del at
        self._up()
        if unless_stopped and scope in self.narrow:
            return
        self.narrow = tuple(each for each in self.narrow if each != scope)
        self.releasing = tuple(dict.fromkeys((*self.releasing, scope)))

    def released_alone(self, scope: str) -> None:
        self._up()
        self.releasing = tuple(each for each in self.releasing if each != scope)

    def begin(self, who: str, now: datetime, until: datetime) -> str | None:
        self._up()
        gives_way = self.acting is not None and self.acting[0] == "keep" and who != "keep"
        if self.acting is not None and now < self.acting[1] and not gives_way:
            return self.acting[0]
        self.acting = (who, until)
        return None

    def end(self, until: datetime) -> None:
        self._up()
        if self.acting is not None and self.acting[1] == until:
            self.acting = None

    def remember(self, held: Held) -> None:
        self._up()
        key = (held.lever, held.key)
        before = self.book.get(key)
        self.book[key] = Remembered(before.held if before else held, str(int(before.mark) + 1 if before else 1))

    def held(self) -> Sequence[Remembered]:
        self._up()
        return list(self.book.values())

    def forget(self, remembered: Remembered) -> bool:
        self._up()
        key = (remembered.held.lever, remembered.held.key)
        if key in self.book and self.book[key] != remembered:
            return False
        self.book.pop(key, None)
        return True

    def in_use(self) -> tuple[str, ...]:
        self._up()
        return tuple(self.notes.get("inventory", {}).get("discovered", ()))

    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        del at
        self._up()
        self.records.append((kind, body))

    def memory(self, now: datetime) -> Memory:
        self._up()
        self.reads += 1
        return Memory(
            Wanted(self.level, self.said_at, self.by, self.windows, self.done, self.reversible_only),
            tuple(each for each in self.granted if now < each.until),
            self.latest,
            self.notes.get("watch"),
            self.notes.get("inventory"),
            watch_mark=self.watch_mark if "watch" in self.notes else "",
            narrow=self.narrow,
            releasing=self.releasing,
            told=self.notes.get("told"),
        )

    def note(self, name: str, body: Mapping[str, Any], at: datetime) -> None:
        self._up()
        if at >= self.noted.get(name, at):
            self.notes[name], self.noted[name] = json.loads(json.dumps(body)), at

    def note_watch(self, body: Mapping[str, Any], at: datetime, *, before: str) -> bool:
        self._up()
        if "watch" in self.notes and before != self.watch_mark:
            return False
        self.notes["watch"], self.watch_mark = json.loads(json.dumps(body)), at.isoformat()
        return True

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        self._up()
        self.documents[name] = json.loads(json.dumps(body))

    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        self._up()
        at, last = self.told.get(what, (None, ""))
        if at is not None and at >= unless_since and last != by:
            return False
        self.told[what] = (now, by)
        return True

    def kept(self, name: str) -> Mapping[str, Any] | None:
        self._up()
        return self.documents.get(name)

    def closed_days(self, first: date, last: date) -> Sequence[ClosedDay]:
        self._up()
        return [each for (day, _), each in self.days.items() if first <= day <= last]

    def close(self, day: ClosedDay, *, closed_before: datetime) -> bool:
        self._up()
        before = self.days.get((day.day, day.region))
        if (before.until if before else day.start) != closed_before:
            return False
        # As it is stored, so that what does not survive that is noticed.
        body = json.loads(json.dumps(day.to_json()))
        self.days[day.day, day.region] = ClosedDay.from_json(day.day.isoformat(), day.region, body)
        return True

    def add_allowance(self, allowance: Allowance) -> None:
        self._up()
        self.granted = [each for each in self.granted if replace(each, until=allowance.until) != allowance]
        self.granted.append(allowance)

    def end_allowances(self) -> int:
        self._up()
        ended, self.granted = len(self.granted), []
        return ended

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

    def history(self, kind: str, limit: int) -> Sequence[Mapping[str, Any]]:
        self._up()
        return [body for found, body in reversed(self.records) if found == kind][:limit]

    def last(self, kind: str) -> dict[str, Any] | None:
        self._up()
        return next((body for found, body in reversed(self.records) if found == kind), None)

    def record_decision(self, at: datetime, body: dict[str, Any], *, news: bool) -> None:
        self._up()
        self.latest = {"at": at.isoformat(), **body}
        if news:
            self.records.append(("decision", body))


def moment(text: str) -> datetime:
    """Return ``18:30`` of the day tests play on, or a moment of another day of its month: ``21 18:30``."""
    day, _, time = text.rpartition(" ")
    return datetime.fromisoformat(f"2026-11-{day or '22'}T{time}").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Point:
    """What a series counted in a minute, and from when on CloudWatch shows it."""

    series: Series
    minute: datetime
    count: int
    visible: datetime


@dataclass
class FakeUsage:
    """CloudWatch: points that become visible, sums of the account beside them, gaps where a test wants them."""

    points: list[Point] = field(default_factory=list)
    gaps: dict[Source, str] = field(default_factory=dict)
    """Sources that cannot be read, and in words why."""
    unlisted: set[str] = field(default_factory=set)
    """Models, or metrics of theirs, that CloudWatch does not list yet."""
    listing_fails: set[Source] = field(default_factory=set)
    has_sums: bool = True
    models_lag: timedelta = timedelta(0)
    """How much later than the account's sums the models' own series show the same usage."""
    glances: list[dict[Source, Look]] = field(default_factory=list)
    reads: list[tuple[set[Series], dict[Source, datetime]]] = field(default_factory=list)
    probes: list[Source] = field(default_factory=list)

    def use(self, series: Series, minute: datetime, count: int, lag: timedelta = timedelta(0)) -> None:
        start = Window.MINUTE.start(minute)
        self.points.append(Point(series, start, count, start + lag))

    def listed(self, sources: Iterable[Source]) -> tuple[Sequence[Series], Mapping[Source, str]]:
        asked = set(sources)
        found = {each.series for each in self.points if each.series.source in asked - self.listing_fails}
        failed = {each: f"{each.region}: {each.namespace} cannot be listed" for each in asked & self.listing_fails}
        return sorted(each for each in found if not {each.model, each.metric} & self.unlisted), failed

    def glance(self, looks: Mapping[Source, Look], now: datetime) -> Reading:
        self.glances.append(dict(looks))
        since = {source: look.since for source, look in looks.items()}
        return self._reading((), since, now, kinds={source: look.kinds for source, look in looks.items()})

    def probe(self, source: Source, models: Iterable[str], kinds: Iterable[Kind], now: datetime) -> Sequence[Series]:
        self.probes.append(source)
        asked, wanted = set(models), set(kinds)
        seen = {each.series for each in self.points if each.series.source == source and each.visible <= now}
        used = {each.model for each in seen if each.model in asked and each.kind in wanted}
        return sorted(each for each in seen if each.model in used and not each.by_tier)

    def read(self, series: Iterable[Series], open_since: Mapping[Source, datetime], now: datetime) -> Reading:
        chosen = set(series)
        self.reads.append((chosen, dict(open_since)))
        return self._reading(chosen, open_since, now)

    def _reading(
        self,
        series: Collection[Series],
        since: Mapping[Source, datetime],
        now: datetime,
        kinds: Mapping[Source, frozenset[Kind]] | None = None,
    ) -> Reading:
        counts: dict[tuple[Series, datetime], int] = {}
        sums: dict[tuple[Source, Kind, datetime], dict[tuple[tuple[str, str], ...], dict[str, int]]] = {}
        gaps = {source: words for source, words in self.gaps.items() if source in since}
        for each in self.points:
            source, kind = each.series.source, each.series.kind
            if source not in since or source in gaps or each.minute < since[source] or each.visible > now:
                continue
            if each.series in series and each.visible + self.models_lag <= now:
                counts[each.series, each.minute] = counts.get((each.series, each.minute), 0) + each.count
            if self.has_sums and not each.series.by_tier and (kinds is None or kind in kinds[source]):
                names = sums.setdefault((source, kind, each.minute), {}).setdefault(each.series.dimensions, {})
                names[each.series.metric] = names.get(each.series.metric, 0) + each.count
        tallies = {source.region: Tally() for source in since}
        for (one, minute), count in counts.items():
            tallies[one.region].add(one, 60, [(minute, count)])
        for (source, kind, minute), by_dimensions in sums.items():
            # A metric under its old and its new name counts the same tokens.
            count = sum(max(names.values()) for names in by_dimensions.values())
            tallies[source.region].add(Series(*source, f"Total{kind}", (), "", kind), 60, [(minute, count)])
        # A glance keeps every minute.
        kept = Window.MINUTE.start(now) - timedelta(minutes=20) if kinds is None else min(since.values())
        samples = [each for tally in tallies.values() for each in tally.samples(kept)]
        return Reading(
            now,
            [each for each in samples if each.series.dimensions],
            tuple(gaps.values()),
            [each for each in samples if not each.series.dimensions],
            frozenset(gaps),
        )


@dataclass
class FakePolicies:
    """IAM's managed policies and groups, with its quota and its rules, failing at the call that is named."""

    policies: dict[str, list[Version]] = field(default_factory=dict)
    attached: dict[str, set[str]] = field(default_factory=dict)
    next_number: dict[str, int] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    us: str = "us"
    calls: int = 0
    crash_at: int | None = None
    crash_after_effect: bool = False
    turn: Callable[[str], None] = field(default=lambda _call: None)
    """Called before every call, so that a test can let another writer go first."""
    watch: Callable[[], None] = field(default=lambda: None)
    """Called after every write, so that a test can look at each state in between."""

    def _write(self, call: str, effect: Callable[[], Any]) -> Any:
        self.turn(call)
        self.calls += 1
        if self.calls == self.crash_at and not self.crash_after_effect:
            raise refused("iam:Write", "ServiceFailure")
        result = effect()
        self.watch()
        if self.calls == self.crash_at:
            raise refused("iam:Write", "RequestTimeout")
        return result

    def versions(self, arn: str) -> Sequence[Version] | None:
        self.turn("versions")
        return list(self.policies[arn]) if arn in self.policies else None

    def owner(self, arn: str) -> str | None:
        self.turn("owner")
        return self.owners.get(arn, "") if arn in self.policies else None

    def create(self, name: str, document: Document) -> Version:
        arn = f"arn:aws:iam::123456789012:policy/{name}"
        version = Version("v1", document, is_default=True)

        def effect() -> None:
            if arn in self.policies:
                raise refused("iam:CreatePolicy", "EntityAlreadyExists")
            self.policies[arn] = [version]
            self.owners[arn] = self.us
            self.next_number[arn] = 2

        self._write("create", effect)
        return version

    def create_version(self, arn: str, document: Document) -> Version:
        def effect() -> Version:
            if len(self.policies[arn]) >= MAX_VERSIONS:
                raise refused("iam:CreatePolicyVersion", "LimitExceeded")
            version = Version(f"v{self.next_number[arn]}", document, is_default=False)
            self.next_number[arn] += 1
            self.policies[arn].append(version)
            return version

        version: Version = self._write("create_version", effect)
        return version

    def replace(self, arn: str, document: Document) -> Version:
        def effect() -> Version:
            if len(self.policies[arn]) >= MAX_VERSIONS:
                raise refused("iam:CreatePolicyVersion", "LimitExceeded")
            version = Version(f"v{self.next_number[arn]}", document, is_default=True)
            self.next_number[arn] += 1
            before = [Version(each.version_id, each.document, is_default=False) for each in self.policies[arn]]
            self.policies[arn] = [*before, version]
            return version

        version: Version = self._write("replace", effect)
        return version

    def set_default(self, arn: str, version_id: str) -> None:
        def effect() -> None:
            if not any(each.version_id == version_id for each in self.policies[arn]):
                raise refused("iam:SetDefaultPolicyVersion", "NoSuchEntity")
            self.policies[arn] = [
                Version(each.version_id, each.document, each.version_id == version_id) for each in self.policies[arn]
            ]

        self._write("set_default", effect)

    def delete_version(self, arn: str, version_id: str) -> None:
        def effect() -> None:
            gone = next((each for each in self.policies[arn] if each.version_id == version_id), None)
            if gone is not None and gone.is_default:
                raise refused("iam:DeletePolicyVersion", "DeleteConflict")
            self.policies[arn] = [each for each in self.policies[arn] if each is not gone]

        self._write("delete_version", effect)

    def holders(self, arn: str) -> frozenset[str]:
        return frozenset(self.attached.get(arn, ()))

    def detach(self, arn: str, holder: str) -> None:
        self._write("detach", lambda: self.attached[arn].discard(holder))

    def delete(self, arn: str) -> None:
        def effect() -> None:
            held = self.attached.get(arn) or any(arn in each.policies for each in self.groups.values())
            assert not held, "IAM refuses to delete an attached policy"
            assert len(self.policies[arn]) == 1, "IAM refuses to delete a policy with more than one version"
            del self.policies[arn]

        self._write("delete", effect)

    def group(self, name: str) -> Group | None:
        return self.groups.get(name)

    def create_group(self, name: str, path: str) -> None:
        def effect() -> None:
            assert name not in self.groups
            self.groups[name] = Group(path)

        self._write("create_group", effect)

    def _regroup(self, call: str, name: str, change: Callable[[Group], Group]) -> None:
        self._write(call, lambda: self.groups.update({name: change(self.groups[name])}))

    def attach_to_group(self, name: str, arn: str) -> None:
        self._regroup("attach_to_group", name, lambda each: replace(each, policies=each.policies | {arn}))

    def leave_group(self, name: str, user: str) -> None:
        self._regroup(
            "leave_group",
            name,
            lambda each: replace(each, members=tuple(one for one in each.members if one != user)),
        )

    def detach_from_group(self, name: str, arn: str) -> None:
        self._regroup("detach_from_group", name, lambda each: replace(each, policies=each.policies - {arn}))

    def delete_group(self, name: str) -> None:
        def effect() -> None:
            group = self.groups[name]
            assert not group.members, "IAM refuses to delete a group with members"
            assert not group.policies, "IAM refuses to delete a group with policies"
            del self.groups[name]

        self._write("delete_group", effect)

    def wait(self) -> None:
        self.turn("wait")
