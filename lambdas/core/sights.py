"""From what AWS showed to an inventory: prices it, and joins it with what was known before.

What was known is never lost because a listing failed; what is no longer listed has ended; nothing that was counted
gets cheaper, but where a guess gives way to a measurement: a batch job's records to the tokens CloudWatch counts, the
copies of an imported model that were taken to run on while they could not be read to those that ran.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from lambdas.core import model_ids
from lambdas.core.assumptions import Assumptions
from lambdas.core.inventory import BY_THE_HOUR, Confidence, CostKind, Inventory, Piece, Standing, Work
from lambdas.core.windows import Window

LOOK_FOR_REGIONS = timedelta(minutes=55)
"""Other regions are looked for once an hour: listing their metrics costs."""
REMEMBER_REGION = timedelta(days=14)
"""A discovered region is metered for so long after it was last seen in use."""
READ_AGAIN = timedelta(hours=2)
"""How far behind the last read metrics are read again: CloudWatch fills them in late."""

COPY_WINDOW = timedelta(minutes=5)
"""Copies of imported models are billed in windows of this length."""
_STILL_RUNNING = timedelta(minutes=15)
"""A copy seen in a window that began so recently runs on."""
_HOUR = timedelta(hours=1)
_LEAST = timedelta(seconds=1)

NAMES = "names"
"""The listing of inference profiles, beside the kinds of cost."""
REGIONS = "regions"
"""The key of the last look for other regions in ``Inventory.seen``."""

TokenUsd = Callable[[str, datetime], tuple[Decimal, Decimal]]
"""USD for one input and one output token of a model in a batch, at a moment."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Something AWS bills by the hour."""

    kind: CostKind
    name: str
    arn: str
    since: datetime
    until: datetime | None = None
    units: int = 1
    unit: str = ""
    """What one unit is: a model, an instance type."""
    free: bool = False
    """AWS asks nothing for it beside the model calls it makes, which are in the token metrics."""


@dataclass(frozen=True, slots=True)
class Copies:
    """How many copies of an imported model ran, by the start of each 5-minute window."""

    name: str
    arn: str
    units: int | None
    """Custom model units a copy takes; None when AWS does not say."""
    running: Mapping[datetime, Decimal]


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A batch inference job."""

    name: str
    arn: str
    model: str
    since: datetime
    until: datetime | None
    """None while it runs or waits."""
    records: int | None
    """Records processed, whatever came of them; None when AWS does not say."""


@dataclass(frozen=True, slots=True)
class BatchTokens:
    """Tokens of all batch inference of a model within an hour."""

    model: str
    hour: datetime
    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What one region showed."""

    region: str
    seen: frozenset[str] = frozenset()
    """The kinds of cost, and NAMES, that were listed to the end. Of the others nothing new is known."""
    names: Mapping[str, tuple[str, ...]] | None = None
    holdings: Sequence[Holding] = ()
    copies: Sequence[Copies] = ()
    jobs: Sequence[BatchJob] = ()
    tokens: Sequence[BatchTokens] = ()


@dataclass(frozen=True, slots=True)
class Regions:
    """What a look at all regions of the account showed: namespaces in use by region."""

    in_use: Mapping[str, tuple[str, ...]]
    gaps: tuple[str, ...] = ()


def read_since(old: Inventory, region: str, kind: CostKind, at: datetime) -> datetime:
    """Return from when on the metrics of a kind are to be read: the month's start, or a while before the last read."""
    last = old.seen.get(_listing(region, kind))
    return Window.MONTH.start(at) if last is None else Window.HOUR.start(last - READ_AGAIN)


def batch_tokens_due(old: Inventory, region: str, jobs: Iterable[BatchJob]) -> bool:
    """Tell whether some job may have used tokens that were not read yet."""
    last = old.seen.get(_listing(region, CostKind.BATCH_TOKENS))
    return any(each.until is None or last is None or each.until > last - READ_AGAIN for each in jobs)


def looked_around(old: Inventory, found: Regions | None, listed: Iterable[str], at: datetime) -> Inventory:
    """Return the inventory with what a look at all regions showed; None is a look that was not due."""
    seen = dict(old.seen)
    in_use = {region: planes for region, planes in (found.in_use if found else {}).items() if planes}
    if found is not None:
        seen[REGIONS] = at
        seen |= dict.fromkeys((f"region {region}" for region in in_use), at)
    known = set(listed)
    discovered = {
        region: tuple(sorted({*old.discovered.get(region, ()), *in_use.get(region, ())}))
        for region in sorted({*old.discovered, *in_use})
        if region not in known and at - seen.get(f"region {region}", at) <= REMEMBER_REGION
    }
    return replace(
        old,
        discovered=discovered,
        told=tuple(region for region in old.told if region in discovered),
        blind=old.blind if found is None else found.gaps,
        seen=seen,
    )


def taken(
    old: Inventory, sights: Sequence[Sight], at: datetime, assumptions: Assumptions, token_usd: TokenUsd
) -> Inventory:
    """Return the inventory of the moment. Its gaps are those of the sights alone; who listed knows the others."""
    stamps = {_listing(sight.region, kind): at for sight in sights for kind in sight.seen}
    found_names, gaps = _names(sights), []
    aliases = {**old.aliases, **found_names}
    seen = {**old.seen, **stamps, **dict.fromkeys((f"id {name}" for name in found_names), at)}
    new = replace(old, at=at, aliases=aliases, seen=seen)

    work: dict[tuple[str, CostKind, str], Work] = {(each.region, each.kind, each.arn): each for each in old.work}
    for sight in sights:
        _measure_copies(work, sight, old, at, assumptions)
        _count_tokens(work, sight, old, at, lambda model, hour: _dearest(new, token_usd, model, hour))
        gaps += _estimate_jobs(work, sight, old.at, new, lambda model: _per_record(new, assumptions, token_usd, model))
        gaps += [
            f"{sight.region}: AWS does not say how many units a copy of the imported model {each.name} takes"
            for each in sight.copies
            if each.units is None
        ]
    standing = _standing(old, sights, at, assumptions)
    return replace(
        new,
        aliases={name: models for name, models in aliases.items() if _remembered(seen.get(f"id {name}"), at)},
        standing=tuple(each for each in standing if _remembered(each.until, at)),
        work=tuple(
            replace(each, pieces=_condensed(each, new)) for each in work.values() if _remembered(each.until, at)
        ),
        seen={what: moment for what, moment in seen.items() if _remembered(moment, at)},
        gaps=tuple(dict.fromkeys(gaps)),
    )


def _listing(region: str, kind: str) -> str:
    return f"{region} {kind}"


def _remembered(until: datetime | None, at: datetime) -> bool:
    """Tell whether something that ended is kept still: until the month after has passed."""
    return until is None or at < Window.MONTH.end(Window.MONTH.end(until))


# --- names ---


def _names(sights: Iterable[Sight]) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for sight in sights:
        for name, models in (sight.names or {}).items():
            names[name] = tuple(sorted({model_ids.normalise(model) for model in models}))
        for each in sight.holdings:
            if each.kind in {CostKind.PROVISIONED, CostKind.DEPLOYMENT} and each.unit:
                names[each.arn] = (model_ids.normalise(each.unit),)
        for copies in sight.copies:
            # Only where AWS shows copies that can be billed: else the dearest price for its tokens is the safer one.
            if copies.running and copies.units:
                names[copies.arn] = names[copies.arn.rpartition("/")[2]] = (BY_THE_HOUR,)
    return {name: models for name, models in names.items() if models}


# --- by the hour ---


def _standing(old: Inventory, sights: Sequence[Sight], at: datetime, assumptions: Assumptions) -> Iterable[Standing]:
    listed = {(sight.region, kind) for sight in sights for kind in sight.seen}
    found = {
        (sight.region, each.kind, each.arn): _priced(sight.region, each, assumptions)
        for sight in sights
        for each in sight.holdings
    }
    kept: list[Standing] = []
    for item in old.standing:
        key = (item.region, item.kind, item.arn)
        if item.kind is CostKind.IMPORTED:
            if (item.region, item.kind) not in listed:
                kept.append(item)  # else what ran since is measured by now
        elif item.until is not None:
            kept.append(item)
            if key in found:
                # Seen again, or still listed after its end: only what came after is new.
                found[key] = replace(found[key], since=max(found[key].since, item.until))
        elif key not in found:
            kept.append(replace(item, until=max(at, item.since)) if (item.region, item.kind) in listed else item)
        elif found[key].units != item.units:
            kept.append(replace(item, until=max(old.at, item.since)))
            found[key] = replace(found[key], since=max(old.at, item.since))
        else:
            new = found[key]
            # It ran when it was last looked at, whatever its end says.
            until = None if new.until is None else max(new.until, old.at)
            found[key] = replace(new, since=min(item.since, new.since), until=until)
    copies = (
        standing
        for sight in sights
        for each in sight.copies
        if (standing := _running(sight.region, each, at, assumptions))
    )
    return (*kept, *(each for each in found.values() if each.until is None or each.since < each.until), *copies)


def _priced(region: str, holding: Holding, assumptions: Assumptions) -> Standing:
    known = assumptions.known(holding.name, holding.arn, holding.unit, model_ids.normalise(holding.unit))
    usual = {
        CostKind.PROVISIONED: assumptions.provisioned_unit_hour,
        CostKind.DEPLOYMENT: assumptions.deployment_hour,
        CostKind.ENDPOINT: assumptions.endpoint_instance_hour,
    }.get(holding.kind, assumptions.job_hour)
    usd = Decimal(0) if holding.free else usual if known is None else known
    return Standing(
        what=holding.name,
        kind=holding.kind,
        region=region,
        arn=holding.arn,
        usd_per_hour=usd * holding.units,
        since=holding.since,
        until=holding.until,
        confidence=Confidence.GUESSED if known is None and not holding.free else Confidence.LISTED,
        units=holding.units,
    )


def _running(region: str, copies: Copies, at: datetime, assumptions: Assumptions) -> Standing | None:
    """Return the copies that run now; they stand there until the next look measures them."""
    last = max((start for start, count in copies.running.items() if count), default=None)
    if last is None or not copies.units or at - last > _STILL_RUNNING:
        return None
    usd, confidence = _per_copy_minute(copies, assumptions)
    return Standing(
        what=copies.name,
        kind=CostKind.IMPORTED,
        region=region,
        arn=copies.arn,
        usd_per_hour=usd * 60 * copies.running[last],
        since=at,
        until=None,
        confidence=confidence,
        units=copies.units,
    )


def _per_copy_minute(copies: Copies, assumptions: Assumptions) -> tuple[Decimal, Confidence]:
    """Return USD for a minute of one copy; the user's own price is by the hour and for one unit, as all are."""
    known = assumptions.known(copies.name, copies.arn)
    unit = assumptions.imported_unit_minute if known is None else known / 60
    return unit * (copies.units or 0), Confidence.ESTIMATED if known is None else Confidence.LISTED


# --- by what was done ---

_Works = dict[tuple[str, CostKind, str], Work]


def _measure_copies(work: _Works, sight: Sight, old: Inventory, at: datetime, assumptions: Assumptions) -> None:
    first = read_since(old, sight.region, CostKind.IMPORTED, at)
    for each in sight.copies:
        usd, confidence = _per_copy_minute(each, assumptions)
        by_hour: defaultdict[datetime, Decimal] = defaultdict(Decimal)
        for start, count in each.running.items():
            by_hour[Window.HOUR.start(start)] += usd * count * (COPY_WINDOW // timedelta(minutes=1))
        key = (sight.region, CostKind.IMPORTED, each.arn)
        blank = Work(each.name, CostKind.IMPORTED, sight.region, each.arn, first, None, (), confidence)
        _add_hours(work, key, blank, by_hour, first, at)


def _count_tokens(
    work: _Works, sight: Sight, old: Inventory, at: datetime, usd: Callable[[str, datetime], tuple[Decimal, Decimal]]
) -> None:
    first = read_since(old, sight.region, CostKind.BATCH_TOKENS, at)
    by_model: defaultdict[str, defaultdict[datetime, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for each in sight.tokens:
        for_input, for_output = usd(each.model, each.hour)
        model = model_ids.normalise(each.model)
        by_model[model][each.hour] += for_input * each.input + for_output * each.output
    for model, by_hour in by_model.items():
        key = (sight.region, CostKind.BATCH_TOKENS, model)
        blank = Work(model, CostKind.BATCH_TOKENS, sight.region, model, first, None, (), Confidence.ESTIMATED)
        _add_hours(work, key, blank, by_hour, first, at)


def _add_hours(
    work: _Works,
    key: tuple[str, CostKind, str],
    blank: Work,
    by_hour: Mapping[datetime, Decimal],
    first: datetime,
    at: datetime,
) -> None:
    """Join measured hours with those known: of an hour that both have the larger counts, for metrics only fill up."""
    item = work.get(key, blank)
    pieces = {(each.since, each.until): each for each in item.pieces}
    known = {each.since: each for each in item.pieces if each.until - each.since <= _HOUR}
    for hour, usd in by_hour.items():
        if not usd or hour >= at or (item.pieces and hour < first):
            continue  # earlier hours were joined when they were read, and may be one with their day by now
        before = known.get(hour)
        if before is not None:
            del pieces[before.since, before.until]
        until = min(hour + _HOUR, at)
        piece = Piece(
            hour, until if before is None else max(until, before.until), max(usd, before.usd if before else usd)
        )
        pieces[piece.since, piece.until] = piece
    if pieces:
        last = max(each.until for each in pieces.values())
        # Measured work has no end of its own: it is over, and can be forgotten, after its last hour.
        work[key] = replace(item, pieces=tuple(pieces.values()), until=last, confidence=blank.confidence)


def _estimate_jobs(
    work: _Works, sight: Sight, last: datetime, new: Inventory, per_record: Callable[[str], Decimal]
) -> list[str]:
    """Add up the batch jobs nobody counts tokens of; return in words what cannot even be guessed."""
    silent = 0
    jobs = {each.arn: each for each in sight.jobs}
    if CostKind.BATCH in sight.seen:
        for key, item in work.items():
            if key[:2] == (sight.region, CostKind.BATCH) and item.until is None and item.arn not in jobs:
                work[key] = replace(item, until=max(new.at, item.since))
    for job in jobs.values():
        key = (sight.region, CostKind.BATCH, job.arn)
        blank = Work(job.name, CostKind.BATCH, sight.region, job.arn, job.since, job.until, (), Confidence.GUESSED)
        before = work.get(key)
        item = replace(before or blank, until=job.until)
        if _is_counted(work, sight.region, new, job):
            work[key] = replace(item, pieces=())
            continue
        silent += job.records is None
        usd = per_record(job.model) * (job.records or 0) - item.usd
        if usd > 0:
            since = job.since if before is None else max(job.since, last)
            item = replace(item, pieces=(*item.pieces, _piece(since, min(job.until or new.at, new.at), usd, new.at)))
        work[key] = item
    return [f"{sight.region}: AWS tells no record counts of {silent} batch jobs"] if silent else []


def _piece(since: datetime, until: datetime, usd: Decimal, at: datetime) -> Piece:
    """Return a piece that is never empty: what came to light after the job's end counts until now."""
    until = until if until > since else at
    return Piece(min(since, until - _LEAST), until, usd)


def _is_counted(work: _Works, region: str, new: Inventory, job: BatchJob) -> bool:
    """Tell whether CloudWatch counts tokens of the job's model while the job is there."""
    names = {_bare(each) for each in (job.model, *new.models_behind(job.model))}
    until = new.at if job.until is None else job.until
    return any(
        piece.since < until + _HOUR and piece.until > job.since
        for (where, kind, model), item in work.items()
        if where == region and kind is CostKind.BATCH_TOKENS and _bare(model) in names
        for piece in item.pieces
    )


def _bare(model: str) -> str:
    return model_ids.without_geography(model_ids.normalise(model))


def _dearest(inventory: Inventory, token_usd: TokenUsd, model: str, at: datetime) -> tuple[Decimal, Decimal]:
    prices = [token_usd(each, at) for each in inventory.models_behind(model)]
    return max(each for each, _ in prices), max(each for _, each in prices)


def _per_record(inventory: Inventory, assumptions: Assumptions, token_usd: TokenUsd, model: str) -> Decimal:
    for_input, for_output = _dearest(inventory, token_usd, model, inventory.at)
    return for_input * assumptions.batch_input_tokens + for_output * assumptions.batch_output_tokens


def _condensed(item: Work, inventory: Inventory) -> tuple[Piece, ...]:
    """Join pieces within an hour, and within a day that can no longer change: windows begin with hours and days."""
    last = inventory.seen.get(_listing(item.region, item.kind), inventory.at)
    settled = Window.DAY.start(last - timedelta(days=1))
    pieces = [each for each in item.pieces if _remembered(each.until, inventory.at)]
    joined: dict[tuple[datetime, datetime | None], Piece] = {}
    for each in sorted(pieces, key=lambda piece: (piece.since, piece.until)):
        window = Window.DAY if each.until <= settled else Window.HOUR
        start = window.start(each.since)
        within = each.until <= window.end(start)
        key = (start, None) if within else (each.since, each.until)
        before = joined.get(key, Piece(each.since, each.until, Decimal(0)))
        joined[key] = Piece(before.since, max(before.until, each.until), before.usd + each.usd)
    return tuple(joined.values())
