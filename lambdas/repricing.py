"""The weekly refresh of prices: read what AWS charges this account, use what can be right, ask a person about the rest.

A source that fails, or whose answer has shrunk, keeps what it said before; the run then ends in an error, so that
somebody hears of it. Nothing is used that a person would not expect: see `lambdas.core.price_list.questionable`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Protocol

from lambdas.core.errors import AwsCallError, LedgerItemError, RefusedError
from lambdas.core.notice import Links, Notice, prices_notice
from lambdas.core.price_list import (
    CARDS,
    MAX_KEPT_BYTES,
    Catalog,
    CatalogModel,
    Change,
    Dated,
    Key,
    Line,
    Pending,
    PriceList,
    PriceListError,
    Product,
    UnreadableRateError,
    grouped,
    kept_size,
    priced,
    questionable,
    read_card,
    read_product,
)
from lambdas.core.prices import PriceTable, Scope

SERVICES = ("AmazonBedrock", "AmazonBedrockService", "AmazonBedrockFoundationModels")
"""The service codes of the Price List that have prices of Bedrock models."""

MAX_AGE = timedelta(days=45)
REFRESH_AGAIN = timedelta(days=7)

_KEPT = "prices"
_AT_ONCE = 8
_MAX_NAMED = 20


class Published(Protocol):
    """The AWS Price List."""

    def products(self, service: str, region: str) -> Iterator[str]:
        """Yield the products of a service code in a region, each a JSON document."""


class Offers(Protocol):
    """The models, and the rate cards of their agreements."""

    def models(self, region: str) -> Sequence[CatalogModel]:
        """Return the models of a region."""

    def rate_card(self, region: str, model_id: str) -> Sequence[Mapping[str, Any]] | None:
        """Return the rates of a model; None when it is not sold by agreement."""


class Documents(Protocol):
    """Where the list is kept."""

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document in place of the one before."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document, None when there is none."""


@dataclass(frozen=True, slots=True)
class RepricingTools:
    """What a refresh is carried out with."""

    published: Published
    offers: Offers
    ledger: Documents
    snapshot: PriceTable
    """The prices the guardrail was deployed with."""
    regions: tuple[str, ...]
    send: Callable[[Notice], None]
    links: Links
    function: str
    """The name of the function a person accepts a price with."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh came to. ``problems`` are to be raised once everything is done."""

    as_of: datetime
    counts: Mapping[str, int]
    """Prices in force, by source."""
    calls: int
    size: int
    """Bytes the list takes in the ledger."""
    pending: tuple[Pending, ...]
    unmatched: tuple[str, ...]
    """Names on the price list that are not the name of exactly one model."""
    unread: tuple[str, ...]
    problems: tuple[str, ...]

    def answer(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "as_of": self.as_of.isoformat(),
            "prices": dict(self.counts),
            "calls": self.calls,
            "kept_bytes": self.size,
            "pending": {each.fingerprint: [each.model, *map(str, each.changes)] for each in self.pending},
            "names_of_no_single_model": _some(self.unmatched),
            "not_understood": _some(self.unread),
            "problems": list(self.problems),
        }


@dataclass(slots=True)
class _Found:
    """What the sources said, as far as they could be read."""

    lines: dict[str, list[Line]] = field(default_factory=dict)
    """By source; one that failed is missing."""
    spared: set[str] = field(default_factory=set)
    """Models whose card could not be read: they keep theirs."""
    catalog: Catalog = field(default_factory=lambda: Catalog([]))
    catalog_whole: bool = True
    cards_whole: bool = True
    unmatched: set[str] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    calls: int = 0

    def spares(self, source: str, model: str) -> bool:
        """Tell whether a model keeps what a source said before, for it could not be asked about."""
        return (source == CARDS and model in self.spared) or (not self.catalog_whole and model not in self.catalog.ids)

    def is_whole(self, source: str) -> bool:
        """Tell whether a source was read to the last model, so that nothing in it is older than now."""
        return self.catalog_whole and (source != CARDS or self.cards_whole)


def is_due(tools: RepricingTools, now: datetime) -> bool:
    """Tell whether the list is a week old, missing or broken: the clock asks more often, and a failed run comes again.

    Raises AwsCallError when the list cannot be read.
    """
    before = _before(tools, [])
    return before.as_of is None or now - before.as_of >= REFRESH_AGAIN


def refresh(tools: RepricingTools, now: datetime) -> Refreshed:
    """Read all sources and keep what can be used. Raises AwsCallError when the list itself cannot be read or kept."""
    problems: list[str] = []
    before = _before(tools, problems)
    found = _gather(tools)
    after = _judged(before, found, tools, now)
    problems += found.problems
    after = _mailed(after, tools, problems)
    document = after.to_document()
    size = kept_size(document)
    if size > MAX_KEPT_BYTES:
        problems.append(f"the list takes {size} bytes and the ledger holds {MAX_KEPT_BYTES}: the list before stays")
        after = before
    elif after.read_at:
        tools.ledger.keep(_KEPT, document)
    as_of = after.as_of or datetime.combine(tools.snapshot.as_of, time(), UTC)
    if now - as_of > MAX_AGE:
        problems.append(f"the prices in force are of {as_of:%Y-%m-%d}, older than {MAX_AGE.days} days")
    return Refreshed(
        as_of=as_of,
        counts={source: len(prices) for source, prices in after.prices.items()},
        calls=found.calls,
        size=size,
        pending=after.pending,
        unmatched=tuple(sorted(found.unmatched)),
        unread=tuple(sorted(found.unread)),
        problems=tuple(problems),
    )


def accept(fingerprint: object, tools: RepricingTools, now: datetime) -> dict[str, Any]:
    """Put the changes into force that a person was mailed about.

    Raises RefusedError, and changes nothing, for any word but the fingerprint of changes that are still pending.
    """
    body = tools.ledger.kept(_KEPT)
    if body is None:
        msg = "nothing is pending: prices were not refreshed yet; nothing was changed"
        raise RefusedError(msg)
    accepted, what = PriceList.from_document(body).accept(fingerprint, now.date())
    tools.ledger.keep(_KEPT, accepted.to_document())
    return {"accepted": [what.model, *map(str, what.changes)], "still_pending": len(accepted.pending)}


def in_force(
    table: PriceTable, kept: Mapping[str, Any] | None, regions: Collection[str] | None = None
) -> tuple[PriceTable, tuple[str, ...]]:
    """Return the table with the kept list above it, and what is wrong with the list, in words.

    Without a list that can be read it is the table as it was deployed. With the ``regions`` that are metered it takes
    a fraction of the memory; what is used elsewhere then costs what the dearest region does.
    """
    if kept is None:
        return table, ()
    try:
        return table.with_listed(PriceList.from_document(kept).listed(regions)), ()
    except PriceListError as error:
        return table, (str(error),)


def _before(tools: RepricingTools, problems: list[str]) -> PriceList:
    try:
        body = tools.ledger.kept(_KEPT)
        return PriceList({}, {}) if body is None else PriceList.from_document(body)
    except (PriceListError, LedgerItemError) as error:
        problems.append(f"made anew, what a person had accepted is to be accepted again: {error}")
        return PriceList({}, {})


# --- gathering --------------------------------------------------------------------------------------------------


def _gather(tools: RepricingTools) -> _Found:
    found = _Found(calls=len(tools.regions))
    region_of: dict[str, str] = {}
    models: list[CatalogModel] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(lambda each: _try(tools.offers.models, each), tools.regions)
        for region, listed in zip(tools.regions, answers, strict=True):
            if isinstance(listed, AwsCallError):
                found.catalog_whole = False
                found.problems.append(f"models of {region}: {listed}")
                continue
            models += listed
            region_of = {each.model_id.lower(): region for each in listed} | region_of
        found.catalog = Catalog(models)
        if not found.catalog.ids:
            found.problems.append("no model is listed in any region: whose prices the list has cannot be told")
            return found
        places = [(service, region) for service in SERVICES for region in tools.regions]
        products = pool.map(lambda each: _products(tools.published, *each), places)
        asked = sorted(each for each in found.catalog.ids if each in region_of)
        cards = pool.map(lambda each: _try(tools.offers.rate_card, region_of[each], each), asked)
        _take_products(found, places, products)
        _take_cards(found, asked, cards)
    return found


def _take_products(found: _Found, places: Sequence[tuple[str, str]], answers: Iterable["_Products"]) -> None:
    failed, seen = set(), 0
    for (service, region), answer in zip(places, answers, strict=True):
        found.calls += max(1, -(-answer.seen // _PAGE))
        if answer.error:
            failed.add(service)
            found.problems.append(f"{service} in {region}: {answer.error}")
        seen += answer.seen
        lines = found.lines.setdefault(service, [])
        for product in answer.products:
            model = found.catalog.find(product.names)
            if model is None:
                found.unmatched.add(product.names[-1])
            else:
                lines.append(Line(model, product.rate, product.usd))
        found.unread += (f"{service} in {region}: {each}" for each in answer.unread)
    if not seen and not failed:
        found.problems.append("the Price List has no product in any region: not used")
        failed = set(SERVICES)
    for service in failed:
        del found.lines[service]


def _take_cards(found: _Found, asked: Sequence[str], cards: Iterable[Any]) -> None:
    lines: list[Line] = []
    refused: dict[str, AwsCallError] = {}
    for model, card in zip(asked, cards, strict=True):
        found.calls += 1
        if isinstance(card, AwsCallError):
            refused[model] = card
        elif card is not None:
            read, unread = read_card(model, card)
            lines += read
            found.unread += unread
    denied = {model for model, error in refused.items() if error.code == "AccessDeniedException"}
    if denied and not lines:
        found.problems.append(f"{CARDS}: {next(iter(refused.values()))}")
        return
    # Some models are closed to some accounts, which nobody here can use then: their card is not missed.
    missed = sorted(refused.keys() - denied)
    found.problems += (f"{CARDS} of {model}: {refused[model]}" for model in missed)
    found.spared, found.cards_whole = set(refused), not missed
    found.lines[CARDS] = lines


@dataclass(slots=True)
class _Products:
    products: list[Product] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    seen: int = 0
    error: str = ""


_PAGE = 100
"""Products a call brings, at most."""


def _products(published: Published, service: str, region: str) -> _Products:
    """Read a service in a region; parsed while it is read, for as text it is large."""
    answer = _Products()
    try:
        for text in published.products(service, region):
            answer.seen += 1
            try:
                product = read_product(text)
            except UnreadableRateError as error:
                answer.unread.append(str(error))
            else:
                answer.products += [] if product is None else [product]
    except AwsCallError as error:
        answer.error = str(error)
    return answer


def _try(call: Callable[..., Any], *arguments: str) -> Any:  # noqa: ANN401 - what the call returns, or its error
    try:
        return call(*arguments)
    except AwsCallError as error:
        return error


# --- judging ----------------------------------------------------------------------------------------------------


def _judged(before: PriceList, found: _Found, tools: RepricingTools, now: datetime) -> PriceList:
    """Return the list after the refresh: what was read and can be used, and of the rest what was there before."""
    known = _known(before, tools.snapshot, now)
    read_at, prices = dict(before.read_at), dict(before.prices)
    changes = [change for each in before.pending for change in each.changes]
    for source, lines in found.lines.items():
        # What a region that is not asked any more says is not missed.
        old = {
            key: dated
            for key, dated in before.prices.get(source, {}).items()
            if source == CARDS or key.region in tools.regions
        }
        fresh = priced(lines)
        spared = {key for key in old if found.spares(source, key.model)} - fresh.keys()
        if (len(fresh) + len(spared)) * 2 < len(old):
            found.problems.append(f"{source}: {len(fresh)} prices where {len(old)} were: not used, the old ones stay")
            continue
        used, held = _used(source, fresh, old, known, now)
        prices[source] = used | {key: old[key] for key in spared}
        changes = [each for each in changes if each.source != source or each.key in spared] + held
        if source not in read_at or found.is_whole(source):
            read_at[source] = now
    return PriceList(read_at, prices, grouped(changes, before.pending))


def _used(
    source: str,
    fresh: Mapping[Key, Decimal],
    old: Mapping[Key, Dated],
    known: Callable[[Key], Decimal | None],
    now: datetime,
) -> tuple[dict[Key, Dated], list[Change]]:
    """Return the prices to use, old ones where the fresh are questionable, and the questionable ones."""
    used: dict[Key, Dated] = {}
    held: list[Change] = []
    for key, usd in fresh.items():
        # Held against what the same source said: another one may differ for good.
        before = old[key].usd if key in old else known(key)
        if not questionable(key.kind, before, usd):
            used[key] = old[key] if key in old and old[key].usd == usd else Dated(usd, now.date())
            continue
        held.append(Change(source, key, before, usd))
        if before is not None and before > 0:
            used[key] = old.get(key, Dated(before, now.date()))
    return used, held


def _known(before: PriceList, snapshot: PriceTable, now: datetime) -> Callable[[Key], Decimal | None]:
    """Return what tells a price in force: the kept list's, else that of the table the guardrail was deployed with."""
    listed = before.in_force()
    rates = cache(lambda model, tier, region: snapshot.rates(model, now, tier, region) or {})

    def known(key: Key) -> Decimal | None:
        usd = listed(key)
        return rates(_called(key), key.tier, key.region).get(key.kind) if usd is None else usd

    return known


_PROFILES = {"us": "us.", "eu": "eu.", "ap": "apac."}


def _called(key: Key) -> str:
    """Return an id a caller would use to pay the price."""
    match key.scope:
        case Scope.IN_REGION:
            return key.model
        case Scope.GLOBAL:
            return f"global.{key.model}"
        case Scope.GEO:
            return _PROFILES.get((key.region or "us")[:2], "us.") + key.model


def _mailed(after: PriceList, tools: RepricingTools, problems: list[str]) -> PriceList:
    """Mail what nobody was mailed about yet; what could not be mailed is mailed by the next run."""
    news = [each for each in after.pending if not each.mailed]
    if not news:
        return after
    try:
        tools.send(prices_notice(news, tools.function, tools.links))
    except AwsCallError as error:
        problems.append(f"not mailed: {error}")
        return after
    return replace(after, pending=tuple(each._replace(mailed=True) for each in after.pending))


def _some(words: Sequence[str]) -> list[str]:
    more = [f"... and {len(words) - _MAX_NAMED} more"] if len(words) > _MAX_NAMED else []
    return [*words[:_MAX_NAMED], *more]
