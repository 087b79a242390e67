"""The guardrail looks at itself: gather what AWS says of its parts → judge → tell what is news → keep it.

By the hour it looks at everything, and reserves concurrency where that is missing. Events tell of alarms of other
regions, and of those who edit what is the guardrail's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from lambdas.core import alarm_events, concurrency, health, iam_events, own_edits
from lambdas.core.concurrency import Room
from lambdas.core.errors import AwsCallError, GuardrailError, LedgerItemError, RefusedError
from lambdas.core.health import (
    Alarm,
    AutoManagement,
    Duty,
    Expected,
    Finding,
    FoundBudget,
    Look,
    Rule,
    Subscription,
    Trail,
)
from lambdas.core.iam_events import Ours
from lambdas.core.memory import Memory
from lambdas.core.notice import Links, Notice

T = TypeVar("T")
TrailId = TypeVar("TrailId")

TELL_AGAIN = timedelta(hours=1)
"""Somebody who goes on doing the same, and an alarm that flaps, are told of so often."""
QUOTAS_OF = ("bedrock", "bedrock-agentcore")
"""The services whose quotas are to stay, as Service Quotas calls them."""

_QUEUE, _RULE, _ALARM, _FUNCTION = (
    f"AWS::{each}" for each in ("SQS::Queue", "Events::Rule", "CloudWatch::Alarm", "Lambda::Function")
)


class Ledger(Protocol):
    """What is remembered, and what others leave there."""

    def memory(self, now: datetime) -> Memory:
        """Return, among others, what is wanted to be stopped."""

    def last(self, kind: str) -> Mapping[str, Any] | None:
        """Return the newest record of a kind."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document kept under a name."""

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document under a name."""

    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        """Say that people are told of something now; False when they were since then."""


class Trails(Protocol[TrailId]):
    """CloudTrail's trails."""

    def covering(self, region: str) -> Sequence[TrailId]:
        """Return the trails that cover a region."""

    def read(self, trail: TrailId) -> Trail:
        """Return how a trail stands."""


class Functions(Protocol):
    """The functions that must run."""

    def room(self) -> Room:
        """Return the concurrency of the account."""

    def reserved(self, name: str) -> Mapping[str, int | None]:
        """Return what is reserved for a function by its name; nothing at all when it is gone."""

    def reserve(self, name: str, number: int) -> None:
        """Reserve concurrency for a function."""


@dataclass(frozen=True, slots=True)
class WatchTools:
    """All that the self-watch needs."""

    ours: Ours
    home: str
    """The region this runs in."""
    expected: Expected
    topics: Mapping[str, str]
    """The ARNs of the topics people are told through, by what they are called."""
    also_ours: tuple[str, ...]
    """Names of ours that need not begin with the prefix."""
    parts: Callable[[str, str], Mapping[str, Sequence[str]]]
    """Returns the physical ids of the resources of a stack in a region, by their type."""
    rule: Callable[[str, str], Rule | None]
    alarms: Callable[[str, Sequence[str]], Mapping[str, Alarm | None]]
    waiting: Callable[[str, str], int | None]
    """Returns how many messages the queue at an address holds, None when it is gone."""
    subscriptions: Callable[[str], Sequence[Subscription]]
    budget: Callable[[str], FoundBudget | None]
    trails: Trails[Any]
    auto_management: Callable[[], AutoManagement | None]
    functions: Functions
    ledger: Ledger
    links: Links
    send: Callable[[Notice], None]

    @property
    def regions(self) -> dict[str, str]:
        """The names of the stacks, by region."""
        satellites = {region: f"{self.ours.prefix}-watch-{region}" for region in self.expected.satellites}
        return {self.home: self.expected.stack} | satellites


@dataclass(slots=True)
class Watched:
    """What a run found. ``problems`` are what people could not be told; they are raised at the end."""

    summary: str
    findings: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    def answer(self) -> dict[str, Any]:
        """Return it as the log and the console show it."""
        answer: dict[str, Any] = {"summary": self.summary}
        answer |= {"findings": list(self.findings)} if self.findings else {}
        return answer | ({"problems": self.problems} if self.problems else {})


def hear(event: object, tools: WatchTools, now: datetime) -> Watched:
    """Act on whatever wakes the function: a call CloudTrail saw, an alarm that rings; at anything else look around."""
    if iam_events.is_call(event):
        return _edited(event, tools, now)
    if alarm_events.is_state_change(event):
        return _rang(event, tools, now)
    return look(tools, now)


def _edited(event: object, tools: WatchTools, now: datetime) -> Watched:
    edit = own_edits.parse(event, tools.ours, tools.also_ours)
    if edit is None:
        return Watched("Nothing done: a call that is none of our business.")
    watched = Watched(f"{edit.call}, {edit.what}, by {edit.by}")
    _tell_once(
        own_edits.edit_notice(edit, tools.links),
        f"edit {edit.call} {edit.what} by {edit.by}",
        edit.event_id,
        tools,
        now,
        watched,
    )
    return watched


def _rang(event: object, tools: WatchTools, now: datetime) -> Watched:
    try:
        rang = alarm_events.parse(event, tools.ours.account_id)
    except RefusedError as error:
        return Watched(f"Nothing done: {error}")
    slug = rang.alarm.removeprefix(f"{tools.ours.prefix}-")
    # Those of the home region mail by themselves.
    if slug == rang.alarm or rang.region not in tools.expected.satellites:
        return Watched("Nothing done: an alarm that is not ours, or mails by itself.")
    watched = Watched(f"{rang.alarm} rings in {rang.region}")
    notice = health.ringing_notice(rang, slug, tools.links)
    _tell_once(notice, f"alarm {rang.alarm} in {rang.region}", rang.event_id, tools, now, watched)
    return watched


def _tell_once(notice: Notice, what: str, event: str, tools: WatchTools, now: datetime, watched: Watched) -> None:
    """Mail it, unless people were told the same a short while ago. With the ledger down they are told once more."""
    try:
        may = tools.ledger.may_tell(what, now, by=event, unless_since=now - TELL_AGAIN)
    except GuardrailError:
        may = True
    if may:
        _mailed(notice, tools, watched)


# --- looking around ---


def look(tools: WatchTools, now: datetime) -> Watched:
    """Check everything, mail what is news, and keep what was found."""
    found: list[Finding] = []
    kept = _before(tools, now, found)
    before = kept or Look(now, now)
    ringing = _stacks(tools, found)
    _others(tools, found)
    _ledger(tools, before.first, now, found)
    reserved = _reserve(tools, before.reserved, found)

    def has_told(alarm: tuple[str, str]) -> bool:
        known = ringing.get(alarm)
        return known is not None and known.has_told

    news, after = health.compare(before, found, has_told, now)
    words = tuple(each.words for each in found)
    watched = Watched(f"{len(words)} findings" if words else "All is as it should be.", words)
    told = not news or _mailed(health.health_notice(news, tools.links), tools, watched)
    if kept is None or not told:
        return watched  # kept only once it was told: the next run tells it then
    try:
        tools.ledger.keep(health.KEPT, replace(after, reserved=reserved).to_json())
    except GuardrailError as error:
        watched.findings += (f"what was found could not be kept, so it is mailed again: {error}",)
    return watched


def reserve_at_deployment(tools: WatchTools, now: datetime) -> tuple[str, ...]:
    """Reserve concurrency and keep what was reserved; return in words what could not be. Raises GuardrailError."""
    found: list[Finding] = []
    before = _before(tools, now, found) or Look(now, now)
    reserved = _reserve(tools, before.reserved, found)
    tools.ledger.keep(health.KEPT, replace(before, reserved=reserved).to_json())
    return tuple(each.words for each in found)


def _mailed(notice: Notice, tools: WatchTools, watched: Watched) -> bool:
    try:
        tools.send(notice)
    except GuardrailError as error:
        watched.problems.append(str(error))
        return False
    return True


def _checked(found: list[Finding], check: str, act: Callable[[], T], *others: str) -> T | None:
    """Return what a check says; None when it cannot be made, which is a finding of its own."""
    try:
        return act()
    except GuardrailError as error:
        found.append(health.unread(check, error, *others))
        return None


def _before(tools: WatchTools, now: datetime, found: list[Finding]) -> Look | None:
    """Return what the last look left, None where it cannot be read: everything is news then."""
    try:
        kept = tools.ledger.kept(health.KEPT)
        return Look(now, now) if kept is None else Look.from_json(kept)
    except (ValueError, KeyError, TypeError, AttributeError, LedgerItemError):
        return Look(now, now)  # it is about to be replaced
    except AwsCallError as error:
        found.append(health.unread("the last look at itself", error))
        return None


def _stacks(tools: WatchTools, found: list[Finding]) -> dict[tuple[str, str], Alarm]:
    """Check rules, alarms and queues of each region; return the alarms by region and name."""
    ringing: dict[tuple[str, str], Alarm] = {}
    functions: Sequence[str] = ()
    for region, stack in tools.regions.items():
        checks = (health.rules_of(region), health.alarms_of(region), health.queues_of(region))
        parts = _checked(found, f"stack {stack} in {region}", partial(tools.parts, region, stack), *checks)
        if parts is None:
            continue
        functions = functions or parts.get(_FUNCTION, ())
        rules, alarms, queues = checks
        seen = _checked(found, rules, partial(_rules, tools, region, parts.get(_RULE, ())))
        found += [] if seen is None else health.rules(region, seen, functions)
        standing = _checked(found, alarms, partial(tools.alarms, region, parts.get(_ALARM, ())))
        found += [] if standing is None else health.alarms(region, standing)
        ringing |= {(region, name): each for name, each in (standing or {}).items() if each is not None}
        for url in parts.get(_QUEUE, ()):
            count = _checked(found, queues, partial(_count, tools, region, url))
            found += [] if count is None else health.queue(region, url.rpartition("/")[2], count.waiting)
    return ringing


@dataclass(frozen=True, slots=True)
class _Count:
    waiting: int | None
    """None when the queue is gone."""


def _count(tools: WatchTools, region: str, url: str) -> _Count:
    return _Count(tools.waiting(region, url))


def _rules(tools: WatchTools, region: str, names: Sequence[str]) -> dict[str, Rule | None]:
    return {name: tools.rule(region, name) for name in names}


def _others(tools: WatchTools, found: list[Finding]) -> None:
    """Check who is told, the budgets, the trails and the quotas."""
    for name, arn in tools.topics.items():
        found += _checked(found, health.subscriptions_of(name), partial(_subscriptions, tools, name, arn)) or []
    for each in tools.expected.budgets:
        found += _checked(found, health.budget_of(each.name), partial(_budget, tools, each)) or []
    for region in dict.fromkeys((tools.home, iam_events.REGION)):
        found += _checked(found, health.trails_of(region), partial(_trails, tools, region)) or []
    found += _checked(found, "quotas", lambda: health.quotas(tools.auto_management(), QUOTAS_OF)) or []


def _subscriptions(tools: WatchTools, name: str, arn: str) -> list[Finding]:
    return health.subscriptions(name, tools.subscriptions(arn))


def _budget(tools: WatchTools, expected: health.ExpectedBudget) -> list[Finding]:
    return health.budget(expected, tools.budget(expected.name))


def _trails(tools: WatchTools, region: str) -> list[Finding]:
    """Judge the trails; one that cannot be read matters only where no other one will do."""
    read: list[Trail] = []
    failed: GuardrailError | None = None
    for each in tools.trails.covering(region):
        try:
            read.append(tools.trails.read(each))
        except GuardrailError as error:
            failed = error
    findings = health.trails(region, read)
    if findings and failed is not None:
        raise failed
    return findings


def _ledger(tools: WatchTools, first: datetime, now: datetime, found: list[Finding]) -> None:
    """Check what is to be done again and again, and whether the last stop and release finished."""
    ledger = tools.ledger

    def neglected(duty: Duty) -> list[Finding]:
        return health.neglected(duty, ledger.kept(duty.document), first, now)

    for duty in health.DUTIES:
        found += _checked(found, health.document_of(duty), partial(neglected, duty)) or []
    memory = _checked(found, "what is wanted", lambda: ledger.memory(now), "stop", "release")
    if memory is not None:
        found += [health.unread("the ledger", each) for each in memory.broken]
        stop = _checked(found, "stop", lambda: health.unfinished_stop(memory, ledger.last("stop"), now))
        release = _checked(found, "release", lambda: health.unfinished_release(memory, ledger.last("release"), now))
        found += [*(stop or []), *(release or [])]


def _reserve(tools: WatchTools, ours: Mapping[str, int], found: list[Finding]) -> dict[str, int]:
    """Reserve concurrency where it is missing; return what is reserved by us now."""
    reserved = dict(ours)
    has: dict[str, int | None] = {}

    def gather() -> Room:
        for name in tools.expected.reserved:
            has.update(tools.functions.reserved(name))
        return tools.functions.room()

    room = _checked(found, concurrency.CHECK, gather)
    if room is None:
        return reserved
    wanted = concurrency.plan(tools.expected.reserved, has, ours, room)
    found += wanted.findings
    for name, number in wanted.to_put.items():
        try:
            tools.functions.reserve(name, number)
        except AwsCallError as error:
            found.append(concurrency.refused(name, number, error))
        else:
            reserved[name] = number
    return reserved
