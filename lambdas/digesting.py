"""The digest's shell: read the new hours → compare → tell of a spike → once a day mail how it stands → keep."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from lambdas.core import baseline, health
from lambdas.core.baseline import DAYS, EVERYTHING, HOUR, Diary, Past
from lambdas.core.digest import Digest, digest_notice, least_usd, spike_notice
from lambdas.core.inventory import Inventory
from lambdas.core.levels import Level
from lambdas.core.limits import Limit
from lambdas.core.memory import Memory
from lambdas.core.notice import Links, Notice
from lambdas.core.pace import Watch
from lambdas.core.prices import PriceTable
from lambdas.core.spend import priced
from lambdas.core.telling import Telling
from lambdas.core.usage import Source
from lambdas.core.windows import Window
from lambdas.measuring import NAMESPACES, Usage, read_inventory, tiers_differ, tried

KEPT = "digest"
"""Under this name the ledger keeps the diary; the hours of a day under this name and the day's slot."""
_SLOTS = DAYS + 2
_MAIL_FROM = 7
"""The hour of the day (UTC) from which yesterday is mailed about: CloudWatch has filled in by then."""
_LATE = timedelta(hours=2)
"""CloudWatch fills in late: the hour before the last is read again, which costs no more; what is older would cost it
twice, as a query of its own (`lambdas.aws.cloudwatch.FINE_HOURS`)."""
_STALE = timedelta(hours=2)
"""What a meter that has not looked for so long says of what is idle counts for nothing."""
_TRY_AGAIN = timedelta(days=1)
"""What cannot be read is tried again for so long."""


class Ledger(Protocol):
    """The part of the ledger the digest needs."""

    def memory(self, now: datetime) -> Memory:
        """Return what every tick needs: which sources are in use, what was decided, the allowances."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return a document."""

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document under a name in place of the one before."""


@dataclass(frozen=True, slots=True)
class DigestTools:
    """All a run needs."""

    usage: Usage
    ledger: Ledger
    prices: Callable[[], tuple[PriceTable, tuple[str, ...]]]
    """The prices in force, and in words what is wrong with them."""
    regions: tuple[str, ...]
    limits: tuple[Limit, ...]
    telling: Telling
    links: Links
    send: Callable[[Notice], None]


def run(now: datetime, tools: DigestTools, problems: list[str]) -> dict[str, Any]:
    """Do what is due, and return it in words. What failed becomes a problem; the next run makes up for it.

    Raises GuardrailError when the ledger cannot be read: without it nothing is known to compare with.
    """
    memory = tools.ledger.memory(now)
    diary = _diary(tools, now, problems)
    hour = Window.HOUR.start(now) - HOUR
    yesterday = now.date() - timedelta(days=1)
    mails = tools.telling.digest and now.hour >= _MAIL_FROM and (diary.mailed is None or diary.mailed < yesterday)
    judges = tools.telling.spike_percent is not None and (diary.judged is None or diary.judged < hour)
    if not (mails or judges):
        return {"digest": "nothing was due"}
    inventory = tried(lambda: read_inventory(tools.ledger.kept("inventory")), problems)
    sources = _in_use(tools, memory, diary, now)
    past = Past(diary.since, hour + HOUR)
    gaps: tuple[str, ...] = ()
    answer: dict[str, Any] = {"read": [str(each) for each in sources]}
    if sources or mails:
        past = _known(tools, diary, problems)
    if sources:
        past, gaps = _read(now, tools, past, sources, inventory, diary, problems)
    else:
        past = past.with_hours(diary.until, hour + HOUR, {}, whole=True)
    until = min(past.until, max(diary.until, past.until - _TRY_AGAIN)) if gaps else past.until
    diary = replace(diary, since=past.since, until=until, gaps=gaps)
    if judges and tools.telling.spike_percent is not None:
        diary = _judge(now, tools, past, hour, diary, problems, tools.telling.spike_percent)
        answer["spikes_told"] = sorted(label for label, at in diary.spiked.items() if at == now)
    if mails:
        digest = _digest(now, tools, past, yesterday, diary, memory, inventory, problems)
        answer["digest"] = "nothing to tell of yesterday"
        untold = len(problems)
        if digest.is_worth_a_mail:
            answer["digest"] = "mailed"
            tried(lambda: tools.send(digest_notice(digest, tools.links)), problems)
        if len(problems) == untold:
            diary = replace(diary, mailed=yesterday)
    # After the effect: a crash before this line repeats the mail, once.
    tools.ledger.keep(KEPT, diary.to_json())
    return answer


def _diary(tools: DigestTools, now: datetime, problems: list[str]) -> Diary:
    first = Window.DAY.start(now) - timedelta(days=DAYS)
    body = tools.ledger.kept(KEPT)
    # A digest of a day before all this would tell nothing; and nobody is to be mailed by a deployment.
    new = Diary(first, first, mailed=now.date() - timedelta(days=1))
    if body is None:
        return new
    try:
        return Diary.from_json(body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problems.append(f"what the digest knows cannot be read from the ledger ({error!r}); it begins anew")
        return new


def _in_use(tools: DigestTools, memory: Memory, diary: Diary, now: datetime) -> list[Source]:
    """Return the sources that may have used something since the hours that are known: an idle account reads nothing."""
    since = min(diary.until, Window.HOUR.start(now)) - HOUR
    try:
        watch = None if memory.watch is None else Watch.from_json(memory.watch)
    except (KeyError, ValueError, TypeError, ArithmeticError, AttributeError):
        watch = None  # the meter tells of it
    seen = {} if watch is None else watch.sources
    begins = diary.until == diary.since
    if watch is None or begins or now - watch.read_at > _STALE:
        regions = {*tools.regions, *_discovered(memory), *(each.region for each in seen)}
        return sorted(Source(region, namespace) for region in regions for namespace in NAMESPACES)
    return sorted(
        source
        for source, each in seen.items()
        if each.gaps or each.unsummed or (each.active_at is not None and each.active_at >= since)
    )


def _discovered(memory: Memory) -> Sequence[str]:
    found = (memory.inventory or {}).get("discovered", ())
    return [each for each in found if isinstance(each, str)] if isinstance(found, list | tuple) else []


def _slot(day: date) -> str:
    return f"{KEPT}-{day.toordinal() % _SLOTS}"


def _known(tools: DigestTools, diary: Diary, problems: list[str]) -> Past:
    """Return the hours that are kept."""
    days = [diary.since.date() + timedelta(days=n) for n in range((diary.until.date() - diary.since.date()).days + 1)]
    documents = [found for day in days[-_SLOTS:] if (found := tools.ledger.kept(_slot(day))) is not None]
    try:
        hours = baseline.hours_from(documents)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        problems.append(f"the hours that the digest keeps cannot be read ({error!r}); what is usual is not known")
        return Past(diary.until, diary.until)
    # The slot of an idle day still holds one of weeks ago.
    return Past(diary.since, diary.until, {at: each for at, each in hours.items() if diary.since <= at < diary.until})


def _read(
    now: datetime,
    tools: DigestTools,
    past: Past,
    sources: Iterable[Source],
    inventory: Inventory | None,
    diary: Diary,
    problems: list[str],
) -> tuple[Past, tuple[str, ...]]:
    """Return the past with the hours since, and keep these; and in words what could not be read."""
    until = Window.HOUR.start(now)
    since = max(min(diary.until, until - _LATE), until.replace(hour=0) - timedelta(days=DAYS))
    prices, wrong = tools.prices()
    listed, not_listed = tools.usage.listed(sources)
    series = [each for each in listed if not each.by_tier or tiers_differ(each.model, prices, now)]
    reading = tools.usage.read(series, dict.fromkeys(sources, since), now)
    behind = (lambda model: (model,)) if inventory is None else inventory.models_behind
    hours = baseline.hours_of(priced(reading, prices, behind).hours, reading.samples)
    gaps = (*not_listed.values(), *reading.gaps)
    past = past.with_hours(since, until, hours, whole=not gaps)
    for day in sorted({each.date() for each in past.hours if each >= since}):
        body = baseline.day_json(past, day)
        tried(lambda day=day, body=body: tools.ledger.keep(_slot(day), body), problems)  # type: ignore[misc]
    return past, (*gaps, *wrong)


def _judge(
    now: datetime,
    tools: DigestTools,
    past: Past,
    hour: datetime,
    diary: Diary,
    problems: list[str],
    percent: int,
) -> Diary:
    """Tell of what costs far more than usual: of each model once a day, all of an hour in one mail."""
    told = {label: at for label, at in diary.spiked.items() if now - at < timedelta(days=1)}
    floor = least_usd(tools.limits)
    found = baseline.spikes(past, hour, percent, floor)
    if news := [each for each in found if each.label not in told]:
        untold = len(problems)
        tried(lambda: tools.send(spike_notice(news, hour, percent, past, tools.links)), problems)
        if len(problems) > untold:
            return diary
        told |= dict.fromkeys((each.label for each in news), now)
    return replace(diary, judged=hour, spiked=told)


def _digest(
    now: datetime,
    tools: DigestTools,
    past: Past,
    day: date,
    diary: Diary,
    memory: Memory,
    inventory: Inventory | None,
    problems: list[str],
) -> Digest:
    """Look up what the mail says."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    watched = tried(lambda: health.words(tools.ledger.kept("watch"), now), problems)
    decision = memory.decision or {}
    findings = decision.get("spend", {}).get("findings", ()) if isinstance(decision.get("spend"), Mapping) else ()
    return Digest(
        day=day,
        past=past,
        usual=baseline.day_baseline(past, day),
        limits=tools.limits,
        now=tuple(map(str, findings)),
        verdict=str(decision.get("verdict", "not known")),
        level=memory.wanted.level if memory.wanted.level > Level.RELEASED else None,
        gaps=diary.gaps,
        work=() if inventory is None else tuple(inventory.usd_by_item(start, start + timedelta(days=1)).items()),
        standing=()
        if inventory is None
        else tuple((each.name, each.usd_per_hour) for each in inventory.standing if each.until is None),
        allowances=tuple(map(str, memory.allowances)),
        watched=("what it found cannot be read",) if watched is None else tuple(watched),
        spiked=tuple(sorted(label for label, at in diary.spiked.items() if label != EVERYTHING and at.date() >= day)),
    )
