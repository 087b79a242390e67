"""How the guardrail itself is: what AWS says of its parts, judged, and what of it people have not been told yet."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from lambdas.core import stored
from lambdas.core.alarm_events import Rang
from lambdas.core.levels import Level
from lambdas.core.memory import Memory
from lambdas.core.notice import Links, Notice, compose, listed

KEPT = "watch"
"""Under this name the ledger keeps the last look."""

TELL_AGAIN = timedelta(hours=23, minutes=30)
"""What lasts is mailed once a day, by a clock that ticks hourly and never on the dot."""
LOOKS_WITHIN = timedelta(hours=3)
"""It looks each hour; what it found before that says nothing of now."""
UNFINISHED_AFTER = timedelta(minutes=10)
"""A stop or release tries again each minute; what has not succeeded by then will not by itself."""
_MANY = 3
"""Of the steps that failed, so many are named."""
_PUT_BACK = "deploy the stack again with --revert-drift (make deploy CDK_ARGS=--revert-drift)"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the guardrail that is not as it should be."""

    check: str
    """Which check found it. Where a check could not be made, what it found before still stands."""
    key: str
    """What is told apart by: the same as an hour ago is no news, whatever the words."""
    words: str
    """What is wrong, and what to do."""
    leaves_unknown: tuple[str, ...] = ()
    """The checks that could not be made, where that is what is wrong."""
    alarm: tuple[str, str] | None = None
    """The region and the name of an alarm that mails the same."""


def unread(check: str, why: object, *others: str) -> Finding:
    """Return that a check, and others that depend on it, could not be made."""
    words = f"could not be checked: {check}: {why}. That is not to say that it is well: look at it by hand"
    return Finding(check, f"{check}: unread", words, (check, *others))


# --- what AWS says ---


@dataclass(frozen=True, slots=True)
class Subscription:
    """Somebody who is to be told."""

    endpoint: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """An EventBridge rule and the ARNs of its targets."""

    enabled: bool
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm: its state, and whether its actions are on."""

    state: str
    actions_enabled: bool

    @property
    def has_told(self) -> bool:
        """Whether it rings, so that people know."""
        return self.actions_enabled and self.state == "ALARM"


@dataclass(frozen=True, slots=True)
class Rung:
    """A notification of a budget: ``ACTUAL`` or ``FORECASTED``, at a percentage."""

    kind: str
    percent: Decimal

    def __str__(self) -> str:
        """Return the words for people."""
        return f"{self.kind} {self.percent.normalize():f} %"


@dataclass(frozen=True, slots=True)
class ExpectedBudget:
    """A budget as the stack made it."""

    name: str
    usd: Decimal
    rungs: tuple[Rung, ...]
    told: str
    """The ARN of the topic that all of them notify."""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        rungs = [[each.kind, str(each.percent)] for each in self.rungs]
        return {"name": self.name, "usd": str(self.usd), "rungs": rungs, "told": self.told}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read one. Raises KeyError, TypeError, ValueError or ArithmeticError."""
        rungs = tuple(Rung(str(kind), Decimal(percent)) for kind, percent in body["rungs"])
        return cls(str(body["name"]), Decimal(body["usd"]), rungs, str(body["told"]))


@dataclass(frozen=True, slots=True)
class Expected:
    """What the guardrail consists of, as it was deployed. What each stack holds, CloudFormation tells."""

    stack: str
    satellites: tuple[str, ...]
    """The other regions that have a stack."""
    budgets: tuple[ExpectedBudget, ...]
    reserved: Mapping[str, int]
    """The concurrency to reserve, by function, the most important first."""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "stack": self.stack,
            "satellites": list(self.satellites),
            "budgets": [each.to_json() for each in self.budgets],
            # Pairs, for they are in an order.
            "reserved": [[name, number] for name, number in self.reserved.items()],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read it. Raises KeyError, TypeError, ValueError or ArithmeticError."""
        return cls(
            str(body["stack"]),
            tuple(map(str, body["satellites"])),
            tuple(ExpectedBudget.from_json(each) for each in body["budgets"]),
            {str(name): int(number) for name, number in body["reserved"]},
        )


@dataclass(frozen=True, slots=True)
class FoundBudget:
    """A budget as AWS has it; ``unhealthy`` says in AWS's words what is wrong with it, empty when nothing is."""

    usd: Decimal | None
    """None when it has no fixed amount in USD."""
    unhealthy: str
    rungs: Mapping[Rung, frozenset[str]]
    """Its notifications, and the addresses each one goes to."""


@dataclass(frozen=True, slots=True)
class Trail:
    """A CloudTrail trail that covers a region."""

    name: str
    logging: bool
    writes: bool
    """Whether it records all management events that write."""


@dataclass(frozen=True, slots=True)
class AutoManagement:
    """Service Quotas raising quotas by itself."""

    adjusts: bool
    excluded: frozenset[str] = frozenset()
    """The services it leaves alone as a whole."""


# --- judged ---


def subscriptions(topic: str, found: Sequence[Subscription]) -> list[Finding]:
    """Judge who is told through a topic."""
    if any(each.confirmed for each in found):
        return []
    pending = ", ".join(each.endpoint for each in found)
    why = (
        f"{pending} did not confirm the subscription; open AWS's mail and click Confirm"
        if pending
        else "nobody has subscribed; put an address into emails of guardrail.toml and deploy, or subscribe by hand"
    )
    return [Finding(subscriptions_of(topic), f"nobody at {topic}", f"nobody is told anything through {topic}: {why}")]


def rules(region: str, found: Mapping[str, Rule | None], functions: Collection[str]) -> list[Finding]:
    """Judge the rules of a region, None for those that are gone; ``functions`` are those of the guardrail, by name."""
    check, findings = rules_of(region), list[Finding]()
    for name, rule in found.items():
        if rule is None:
            wrong = f"rule {name} in {region} is gone: what it passes on is not heard; {_PUT_BACK}"
        elif not rule.enabled:
            wrong = (
                f"rule {name} in {region} is disabled: what it passes on is not heard; "
                f"aws events enable-rule --name {name} --region {region}"
            )
        elif not any(_is_ours(target, functions) for target in rule.targets):
            wrong = f"rule {name} in {region} no longer has its target: what it passes on is not heard; {_PUT_BACK}"
        else:
            continue
        findings.append(Finding(check, f"{region} rule {name}", wrong))
    return findings


def alarms(region: str, found: Mapping[str, Alarm | None]) -> list[Finding]:
    """Judge the alarms of a region, None for those that are gone."""
    check, findings = alarms_of(region), list[Finding]()
    for name, alarm in found.items():
        if alarm is None:
            wrong = f"alarm {name} in {region} is gone: it rings no more; {_PUT_BACK}"
        elif not alarm.actions_enabled:
            wrong = (
                f"alarm {name} in {region} has its actions disabled: it mails nobody; "
                f"aws cloudwatch enable-alarm-actions --alarm-names {name} --region {region}"
            )
        else:
            continue
        findings.append(Finding(check, f"{region} alarm {name}", wrong))
    return findings


def queue(region: str, name: str, waiting: int | None) -> list[Finding]:
    """Judge the queue of what was not delivered, with how many messages it holds; None when it is gone."""
    if waiting is None:
        words = f"queue {name} in {region} is gone: what cannot be delivered is lost unseen; {_PUT_BACK}"
        return [Finding(queues_of(region), f"{region} queue {name} gone", words)]
    if not waiting:
        return []
    words = (
        f"{waiting} events were not delivered in {region}: queue {name} holds them; see docs/runbooks/undelivered.md"
    )
    return [Finding(queues_of(region), f"{region} queue {name}", words, alarm=(region, name))]


def budget(expected: ExpectedBudget, found: FoundBudget | None) -> list[Finding]:
    """Judge a budget, None when it is gone."""
    name, check = expected.name, budget_of(expected.name)

    def finding(what: str, words: str) -> Finding:
        return Finding(check, f"budget {name} {what}", f"budget {name} {words}")

    if found is None:
        return [finding("gone", f"is gone, and with it the second opinion; {_PUT_BACK}")]
    findings = []
    if found.unhealthy:
        findings.append(
            finding("unhealthy", f"is unhealthy, AWS says {found.unhealthy}: look at it in the Billing console")
        )
    if found.usd != expected.usd:
        amount = "no fixed amount in USD" if found.usd is None else f"${found.usd:f}"
        findings.append(finding("amount", f"has {amount}, deployed was ${expected.usd:f}: somebody changed it; deploy"))
    for rung in expected.rungs:
        if expected.told not in found.rungs.get(rung, ()):
            lacks = "no longer goes to the guardrail" if rung in found.rungs else "is gone"
            findings.append(finding(str(rung), f"is not heard: its notification {rung} {lacks}; {_PUT_BACK}"))
    return findings


def trails(region: str, found: Sequence[Trail]) -> list[Finding]:
    """Judge the CloudTrail trails that cover a region."""
    if any(each.logging and each.writes for each in found):
        return []
    there = ", ".join(f"{each.name} {'leaves out writes' if each.logging else 'is off'}" for each in found)
    words = (
        f"no CloudTrail trail records all management events in {region}{f' ({there})' if there else ''}: changes of "
        "IAM, jobs that start, and edits to the guardrail itself are noticed by the hour or not at all, not at once; "
        "create a trail for all regions in the CloudTrail console (the first one's management events are free)"
    )
    return [Finding(trails_of(region), f"{region} no trail", words)]


def quotas(found: AutoManagement | None, services: Sequence[str]) -> list[Finding]:
    """Judge whether Service Quotas raises quotas of any of the services by itself; None where it was never started."""
    if found is None or not found.adjusts or found.excluded.issuperset(services):
        return []
    words = (
        "Service Quotas raises quotas by itself in this account, also those of Bedrock: more can be spent in a minute "
        "than the limits were set for; exclude Bedrock in the Service Quotas console under Automatic Management"
    )
    return [Finding("quotas", "quotas are raised", words)]


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that is to be done again and again, and leaves a document with when it was."""

    document: str
    what: str
    limit: timedelta
    function: str
    """The last word of the function that does it."""
    key: str = "at"


DUTIES = (
    Duty("arming", "nobody was armed", timedelta(hours=3), "arm"),
    Duty("inventory", "no stock was taken", timedelta(hours=1), "inventory"),
    Duty("crosscheck", "the meter was not compared with the bill", timedelta(days=2), "crosscheck"),
    Duty("prices", "prices were not refreshed", timedelta(days=45), "prices", "as_of"),
)
"""Prices are refreshed weekly; `repricing.MAX_AGE` is what they may be old."""


def neglected(duty: Duty, body: Mapping[str, Any] | None, first: datetime, now: datetime) -> list[Finding]:
    """Judge whether a duty was done lately; one that never was counts from the first look on."""
    last = _moment(body, duty.key)
    if now - (last or first) <= duty.limit:
        return []
    since = f"{first:%Y-%m-%d %H:%M} UTC, if ever" if last is None else f"{last:%Y-%m-%d %H:%M} UTC"
    words = f"{duty.what} since {since}: look at the log of the {duty.function} function, and whether its rule is on"
    return [Finding(document_of(duty), f"age of {duty.document}", words)]


def unfinished_stop(memory: Memory, last: Mapping[str, Any] | None, now: datetime) -> list[Finding]:
    """Judge the last stop on record while something is to be stopped."""
    at = _moment(last, "at")
    if last is None or at is None or now - at < UNFINISHED_AFTER:
        return []
    if memory.wanted.level is Level.RELEASED and not memory.narrow:
        return []
    failed = dict(last.get("failed") or {})
    if not last.get("enforced", True) or (last.get("verified") and not failed):
        return []
    some = "; ".join(f"{what}: {why}" for what, why in list(failed.items())[:_MANY])
    what = f"{len(failed)} steps failed ({some})" if failed else "reading back did not confirm it"
    words = (
        f"the stop of {at:%Y-%m-%d %H:%M} UTC did not finish: {what}. It is tried again each minute; run the kill "
        "function, whose answer says what is still open"
    )
    return [Finding("stop", "unfinished stop", words)]


def unfinished_release(memory: Memory, last: Mapping[str, Any] | None, now: datetime) -> list[Finding]:
    """Judge the last release, of the account and of what was stopped alone."""
    at = _moment(last, "at")
    wanted = memory.wanted
    whole = wanted.level is Level.RELEASED and not wanted.done and wanted.at is not None
    begun = wanted.at if whole else at
    if begun is None or now - begun < UNFINISHED_AFTER or not (whole or memory.releasing):
        return []
    whom = "the account" if whole else ", ".join(memory.releasing)
    words = (
        f"the release of {whom} of {begun:%Y-%m-%d %H:%M} UTC did not finish: somebody may still be denied. It is "
        "tried again each minute; run the release function again, whose answer says what failed"
    )
    return [Finding("release", "unfinished release", words)]


def subscriptions_of(topic: str) -> str:
    """Name the check of the subscriptions of a topic."""
    return f"subscriptions of {topic}"


def rules_of(region: str) -> str:
    """Name the check of the rules of a region."""
    return f"rules in {region}"


def alarms_of(region: str) -> str:
    """Name the check of the alarms of a region."""
    return f"alarms in {region}"


def queues_of(region: str) -> str:
    """Name the check of the queue of a region."""
    return f"queue in {region}"


def trails_of(region: str) -> str:
    """Name the check of the trails of a region."""
    return f"CloudTrail in {region}"


def budget_of(name: str) -> str:
    """Name the check of a budget."""
    return f"budget {name}"


def document_of(duty: Duty) -> str:
    """Name the check of a duty."""
    return f"age of {duty.document}"


def _is_ours(target: str, functions: Collection[str]) -> bool:
    # In a satellite it is the home region's bus.
    name = target.partition(":function:")[2].partition(":")[0]
    return name in functions or target.endswith(":event-bus/default")


def _moment(body: Mapping[str, Any] | None, key: str) -> datetime | None:
    """Return a moment a document tells; None when it does not: then it was not done, as far as anybody knows."""
    try:
        return None if body is None else stored.moment(body[key])
    except (ValueError, KeyError, TypeError):
        return None


# --- what people know already ---


@dataclass(frozen=True, slots=True)
class Standing:
    """A finding as it is remembered."""

    check: str
    words: str
    since: datetime
    told_at: datetime | None = None
    """None when nobody was mailed: an alarm has told it."""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        told = None if self.told_at is None else self.told_at.isoformat()
        return {"check": self.check, "words": self.words, "since": self.since.isoformat(), "told": told}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read one. Raises KeyError, TypeError or ValueError."""
        told = None if body["told"] is None else stored.moment(body["told"])
        return cls(str(body["check"]), str(body["words"]), stored.moment(body["since"]), told)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the guardrail left for the next."""

    at: datetime
    first: datetime
    """When it was looked at for the first time."""
    standing: Mapping[str, Standing] = field(default_factory=dict)
    """By the finding's key."""
    reserved: Mapping[str, int] = field(default_factory=dict)
    """The concurrency that was reserved, by function: another value there is somebody else's."""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "at": self.at.isoformat(),
            "first": self.first.isoformat(),
            "findings": {key: each.to_json() for key, each in self.standing.items()},
            "reserved": dict(self.reserved),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read one. Raises KeyError, TypeError, ValueError or AttributeError."""
        return cls(
            stored.moment(body["at"]),
            stored.moment(body["first"]),
            {str(key): Standing.from_json(each) for key, each in body["findings"].items()},
            {str(name): int(number) for name, number in body["reserved"].items()},
        )


@dataclass(frozen=True, slots=True)
class News:
    """What people are to be mailed."""

    new: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self.new or self.lasting or self.gone)


def compare(
    before: Look, found: Iterable[Finding], has_told: Callable[[tuple[str, str]], bool], now: datetime
) -> tuple[News, Look]:
    """Return what is news since the look before, and the look as it is once that is mailed.

    ``has_told`` tells whether an alarm has mailed the same. What a check found before stands while it cannot be made.
    """
    findings = {each.key: each for each in found}
    unknown = {check for each in findings.values() for check in each.leaves_unknown}
    standing: dict[str, Standing] = {}
    new, lasting = [], []
    for key, each in findings.items():
        known = before.standing.get(key)
        told_at = None if known is None else known.told_at
        if told_at is None and each.alarm is not None and has_told(each.alarm):
            pass
        elif told_at is None:
            new.append(each.words)
            told_at = now
        elif now - told_at >= TELL_AGAIN:
            lasting.append(each.words)
            told_at = now
        standing[key] = Standing(each.check, each.words, now if known is None else known.since, told_at)
    gone = []
    for key, past in before.standing.items():
        if key in standing:
            continue
        if past.check in unknown:
            standing[key] = past
        elif past.told_at is not None:
            gone.append(past.words)
    return News(tuple(new), tuple(lasting), tuple(gone)), Look(now, before.first, standing, before.reserved)


def words(kept: Mapping[str, Any] | None, now: datetime) -> list[str]:
    """Return the last look in words, as the status shows it."""
    if kept is None:
        return ["the guardrail has not looked at itself yet: it does so each hour"]
    try:
        look = Look.from_json(kept)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"what the last look at itself found cannot be read ({error!r}): run the watch function"]
    lines = [f"{each.words} (since {each.since:%Y-%m-%d %H:%M} UTC)" for each in look.standing.values()]
    if now - look.at > LOOKS_WITHIN:
        late = (
            f"the guardrail has NOT looked at itself since {look.at:%Y-%m-%d %H:%M} UTC, though it is to each hour: "
            "look at the log of the watch function, and whether its rule is on"
        )
        return [late, *lines]
    if not lines:
        return [f"all is as it should be ({look.at:%Y-%m-%d %H:%M} UTC)"]
    return [*lines, f"last looked at {look.at:%Y-%m-%d %H:%M} UTC"]


def health_notice(news: News, links: Links) -> Notice:
    """Compose the mail about what is not as it should be with the guardrail itself."""
    lines = ["The guardrail looked at itself. What it found does not stop or release anything."]
    lines += listed("New:", news.new)
    lines += listed("Still so, mailed once a day:", news.lasting)
    lines += listed("No longer so:", news.gone)
    count = len(news.new) + len(news.lasting)
    what = f"{count} faults in the guardrail itself" if count > 1 else "a fault in the guardrail itself"
    subject = what if count else "no longer a fault in the guardrail itself"
    return compose(f"Bedrock spend: {subject}", [*lines, ""], links, "health")


def ringing_notice(rang: Rang, slug: str, links: Links) -> Notice:
    """Compose the mail about an alarm of another region."""
    lines = [f"Alarm {rang.alarm} rings in {rang.region} since {rang.at:%Y-%m-%d %H:%M:%S} UTC."]
    lines += [f"What it means and what to do: docs/runbooks/{slug}.md", "Where it is:"]
    lines += [
        f"https://{rang.region}.console.aws.amazon.com/cloudwatch/home?region={rang.region}#alarmsV2:alarm/{rang.alarm}",
        "",
    ]
    return compose(f"Bedrock spend: {slug} in {rang.region}", lines, links, "alarm")
