"""Dated prices: what a number of tokens of a model costs, or what it costs at the worst."""

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from lambdas.core import model_ids, stored
from lambdas.core.usage import Kind, Tier

MILLION = Decimal(1_000_000)

TABLE_FILE = Path(__file__).with_name("price_table.json")

ANYWHERE = "*"
"""The table's place for calls of the bare id, and for every place where nothing else is said."""

_LONG_TOO = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
PRICE_KINDS = (
    *_LONG_TOO,
    *(f"{kind}_long" for kind in _LONG_TOO),
    "input_audio",
    "output_audio",
    "image",
    "second",
)
"""What has a price of its own: tokens (``cache_write`` kept for 5 minutes; ``_long`` above the context length from
which a model costs more; an embedding model's tokens are ``input``), an image, a second of video or sound."""

_BLIND = {
    "input": ("input", "input_long", "input_audio"),
    "output": ("output", "output_long", "output_audio"),
    "cache_read": ("cache_read", "cache_read_long"),
    "cache_write": ("cache_write", "cache_write_long", "cache_write_1h", "cache_write_1h_long"),
    "image": ("image",),
}
"""What CloudWatch counts together, and of which the dearest stands in."""

SPECIAL = frozenset({"global", "us-gov"})
"""Geographies whose prices say nothing about those of others."""

_BASE_REGIONS = frozenset({"us-east-1", "us-east-2", "us-west-2"})
"""Where the price of a bare id holds that the sources give without a region."""

_PART = re.compile(r"[^-.:]+[-.:]?")
_T = TypeVar("_T")


class PriceTableError(ValueError):
    """The price table cannot be read; the message names the file and what to do."""


class Scope(StrEnum):
    """Where a listed price holds: called by the bare id, through a geographic profile, or through a global one."""

    IN_REGION = "in-region"
    GEO = "geo"
    GLOBAL = "global"


_SCOPES = {"": Scope.IN_REGION, "global": Scope.GLOBAL}
"""By geography of a profile; the others are a matter of GEO."""


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """One line of the account's own price list. Source: the AWS Price List and the model agreements' rate cards."""

    model: str
    """Bare model id, lower case, without geography."""
    scope: Scope
    region: str | None
    """The source region it holds for; None is every region."""
    tier: Tier
    kind: str
    """One of PRICE_KINDS."""
    usd: Decimal
    """USD per million tokens, or per image or second."""
    since: date


@dataclass(frozen=True, slots=True)
class Override:
    """A price somebody states for the models whose id a glob matches: USD per million tokens, or per image."""

    model: str
    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    image: Decimal | None = None

    def covers(self, names: Iterable[str]) -> bool:
        """Tell whether it is about a model of any of these names."""
        return any(fnmatchcase(name, self.model.lower()) for name in names)

    @property
    def amounts(self) -> dict[str, Decimal]:
        """What is stated, by field of a price."""
        return {kind: usd for kind in _BLIND if (usd := getattr(self, kind)) is not None}


@dataclass(frozen=True, slots=True)
class Pricing:
    """What the user knows of their own prices."""

    factor: Decimal = Decimal(1)
    """Every price is multiplied by it, but for the overrides: 0.93 is a discount of 7 %."""
    priority_tier: bool = True
    """Whether anybody may use the priority tier, so that usage of an unknown tier could be it."""
    long_context: bool = True
    """Whether anybody may send contexts so long that a token costs more."""
    overrides: tuple[Override, ...] = ()
    """The first that covers a model counts; what it does not state keeps the table's price."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, or per image: the dearest of what CloudWatch cannot tell apart."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    image: Decimal

    def of(self, kind: Kind) -> Decimal:
        """Return USD for a single unit of the kind."""
        match kind:
            case Kind.INPUT:
                return self.input / MILLION
            case Kind.OUTPUT:
                return self.output / MILLION
            case Kind.CACHE_READ:
                return self.cache_read / MILLION
            case Kind.CACHE_WRITE:
                return self.cache_write / MILLION
            case Kind.MIXED_INPUT:
                return max(self.input, self.cache_read, self.cache_write) / MILLION
            case Kind.IMAGE | Kind.CALLS:
                return self.image if kind is Kind.IMAGE else Decimal(0)

    def times(self, factor: Decimal) -> "Price":
        """Return every price multiplied."""
        return Price(*(getattr(self, each.name) * factor for each in fields(self)))

    def at_least(self, amounts: Mapping[str, Decimal]) -> "Price":
        """Return the dearer of this and what is stated."""
        return replace(self, **{kind: max(usd, getattr(self, kind)) for kind, usd in amounts.items()})


@dataclass(frozen=True, slots=True)
class Quote:
    """A price and whether it is a guess: the model is not in the table, and the dearest of its kind stands in."""

    price: Price
    guessed: bool


Rates = Mapping[str, Decimal]
"""Prices by kind, as a source gives them: USD per million tokens, per image, per second."""

_ByTier = Mapping[Tier, Rates]


def _dearest(several: Iterable[Rates]) -> Rates:
    merged: dict[str, Decimal] = {}
    for rates in several:
        for kind, usd in rates.items():
            merged[kind] = max(usd, merged.get(kind, usd))
    return merged


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    embedding: bool
    at: Mapping[str, Sequence[tuple[date, _ByTier]]]

    def on(self, day: date, geography: str, region: str | None) -> list[_ByTier]:
        """Return the prices of a day, through a profile of the geography or of the bare id in a region.

        Several where nobody names the place: it costs what the dearest of its like does.
        """
        place = geography or region or ""
        if place in self.at:
            return [self._in(place, day)]
        if place in SPECIAL or place in _BASE_REGIONS:
            return [self._in(ANYWHERE, day)]
        # A region's name ends in a digit.
        like = {each for each in self.at if each not in SPECIAL and each[-1].isdigit() is not bool(geography)}
        return [self._in(each, day) for each in like | {ANYWHERE}]

    def anywhere_on(self, day: date) -> list[_ByTier]:
        """Return the prices of a day in each place of AWS's commercial partition."""
        return list(self.places_on(day).values())

    def places_on(self, day: date) -> dict[str, _ByTier]:
        """Return the same by place."""
        return {each: self._in(each, day) for each in self.at if each != "us-gov"}

    def _in(self, place: str, day: date) -> _ByTier:
        """Return the prices of that day; before the first change, the first ones."""
        dated = self.at[place]
        return dated[max(bisect_right(dated, day, key=lambda each: each[0]) - 1, 0)][1]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a model, once for each place that may be meant; a tier without prices is one it is sold in."""

    places: Sequence[_ByTier]
    embedding: bool


class PriceTable:
    """Prices by model id. Never answers 0 for want of knowledge, and never raises for an unknown model.

    `rates` is what a source says, exactly; a `quote` is pessimistic wherever CloudWatch is blind.
    """

    def __init__(
        self,
        rows: Sequence[_Row],
        *,
        as_of: date,
        priority_ratio: Decimal,
        pricing: Pricing,
        listed: Sequence[ListedPrice] = (),
    ) -> None:
        """Take the rows of the compiled table, and the account's own list."""
        self.as_of = as_of
        """The day of the newest data in the compiled table."""
        self._rows, self._priority_ratio, self._pricing = rows, priority_ratio, pricing
        self._row_of = {row.id: row for row in rows}
        self._listed: dict[str, list[ListedPrice]] = {}
        for each in listed:
            self._listed.setdefault(each.model, []).append(each)
        changes = {since for row in rows for dated in row.at.values() for since, _ in dated}
        self._changes = sorted(changes | {each.since for each in listed})
        self._quotes: dict[tuple[str, date, Tier, str | None], Quote] = {}
        self._highest: dict[tuple[date, Tier, bool], Price] = {}

    @classmethod
    def load(cls, file: Path = TABLE_FILE, pricing: Pricing = Pricing()) -> "PriceTable":
        """Read the compiled table. Raises PriceTableError when it is missing or malformed."""
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            rows = [_row(each) for each in data["models"]]
            as_of, ratio = date.fromisoformat(data["as_of"]), stored.usd(data["priority_ratio"])
            table = cls(rows, as_of=as_of, priority_ratio=ratio, pricing=pricing)
            for embedding in (False, True):
                table.dearest(as_of, embedding=embedding)  # what an unknown model costs must be known
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            msg = f"{file.name}: not a price table ({error!r}); run `make prices` and deploy again"
            raise PriceTableError(msg) from error
        return table

    def with_listed(self, listed: Iterable[ListedPrice]) -> "PriceTable":
        """Return the table with the account's own prices above its own; what they leave out stays as it is."""
        return PriceTable(
            self._rows,
            as_of=self.as_of,
            priority_ratio=self._priority_ratio,
            pricing=self._pricing,
            listed=tuple(listed),
        )

    def quote(self, raw_model: str, at: datetime, tier: Tier = Tier.UNKNOWN, region: str | None = None) -> Quote:
        """Return the price of a model, by any of its names, at a moment (aware UTC), for callers in a region.

        Without a region, the dearest region's. An unknown tier costs what the dearest tier of online calls does that
        the model is sold in.
        """
        key = (model_ids.normalise(raw_model), self._since(at.astimezone(UTC).date()), tier, region)
        known = self._quotes.get(key)
        if known is None:
            known = self._quotes[key] = self._look_up(*key)
        return known

    def rates(
        self, raw_model: str, at: datetime, tier: Tier = Tier.STANDARD, region: str | None = None
    ) -> Rates | None:
        """Return what the sources say, kind by kind, with nothing filled in; None for a model they do not know."""
        known = self._known(model_ids.normalise(raw_model), at.astimezone(UTC).date(), region)
        return None if known is None else _dearest(each.get(tier, {}) for each in known.places)

    @property
    def ids(self) -> frozenset[str]:
        """The bare ids of all models that have a price."""
        return frozenset(row.id for row in self._rows) | frozenset(self._listed)

    def dearest(self, day: date, *, embedding: bool = False) -> Price:
        """Return, per kind, the highest price any model (or any embedding model) has on the day in an unknown tier."""
        return self._known_better(self._dearest(self._since(day), embedding=embedding))

    def ceiling(self, day: date) -> Price:
        """Return, per kind, what no quote of the day exceeds, whatever the model and the tier."""
        highest = self._dearest(self._since(day), Tier.PRIORITY, embedding=False)
        # What a model has no cache price for costs what its input does.
        return self._known_better(highest.at_least({"cache_read": highest.input, "cache_write": highest.input}))

    def _known_better(self, price: Price) -> Price:
        highest = price.times(self._pricing.factor)
        for each in self._pricing.overrides:
            highest = highest.at_least(each.amounts)
        return highest

    def models_dearer_than(self, output_usd: Decimal, day: date) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Split all models by the list price of output in the standard tier: (dearer than USD a million, others).

        Bare ids, after ``=``. Of the dearer ones, where no other's id begins the same way, that beginning alone, after
        ``^``: it stands for models to come as well, and keeps a policy document small.
        """
        dear: list[str] = []
        others: list[str] = []
        for name in sorted(self.ids):
            output = self._dearest_output(name, day)
            (dear if output is not None and output > output_usd else others).append(name)
        signs = {sign for name in dear for sign in _beginnings(name, others)}
        return tuple(sorted(signs)), tuple(f"={name}" for name in others)

    def _dearest_output(self, bare: str, day: date) -> Decimal | None:
        """Return the price of output in the standard tier in the dearest place of AWS's commercial partition."""
        row, listed = self._row_of.get(bare), self._listed.get(bare, ())
        places: Mapping[str, _ByTier] = row.places_on(day) if row else {ANYWHERE: {}}
        worst: list[Decimal] = []
        for place, by_tier in places.items():
            # A region's name ends in a digit; what holds anywhere holds for every way to call.
            profile = Scope.GLOBAL if place == "global" else Scope.GEO
            scopes = tuple(Scope) if place == ANYWHERE else (Scope.IN_REGION,) if place[-1].isdigit() else (profile,)
            for scope in scopes:
                own = _in_force(listed, scope, None, day)
                usd = _worst({**by_tier.get(Tier.STANDARD, {}), **own.get(Tier.STANDARD, {})}, "output")
                worst += [] if usd is None else [usd]
        return max(worst, default=None)

    def _since(self, day: date) -> date:
        """Return the last day up to this one on which any price changed: in between all is looked up once."""
        return self._changes[max(bisect_right(self._changes, day) - 1, 0)] if self._changes else day

    def _look_up(self, model: str, day: date, tier: Tier, region: str | None) -> Quote:
        known = self._known(model, day, region)
        if known is None:
            price = self._dearest(day, embedding=model_ids.is_embedding(model))
        else:
            price = self._price(known, day, tier)
        price, guessed = price.times(self._pricing.factor), known is None
        names = (model, model_ids.without_geography(model))
        override = next((each for each in self._pricing.overrides if each.covers(names)), None)
        if override is None:
            return Quote(price, guessed)
        stated = override.amounts
        return Quote(replace(price, **stated), guessed and not stated.keys() >= {"input", "output"})

    def _known(self, model: str, day: date, region: str | None) -> _Known | None:
        bare = model_ids.without_geography(model)
        geography = model.removesuffix(bare).rstrip(".")
        rows, lists = _matching(bare, self._row_of), _matching(bare, self._listed)
        if not rows and not lists:
            # Perhaps a new geography; nothing else stands before a maker's name.
            geography, _, bare = model.partition(".")
            rows, lists = _matching(bare, self._row_of), _matching(bare, self._listed)
        if not rows and not lists:
            return None
        own: defaultdict[Tier, Rates] = defaultdict(dict)
        own.update(_in_force(chain(*lists), _SCOPES.get(geography, Scope.GEO), region, day))
        places: list[_ByTier] = [place for row in rows for place in row.on(day, geography, region)] or [{}]
        # A tier the model is sold in somewhere is one it may have been used in here.
        sold = {tier for row in rows for place in row.anywhere_on(day) for tier in place}
        sold |= {each.tier for each in chain(*lists)}
        return _Known(
            [{tier: {**place.get(tier, {}), **own[tier]} for tier in sold | place.keys()} for place in places],
            any(row.embedding for row in rows) if rows else model_ids.is_embedding(bare),
        )

    def _in_tier(self, by_tier: _ByTier, tier: Tier) -> Rates:
        """Return prices in a tier; what nobody gives is on the dear side.

        For batch and flex the standard price; for priority the standard price times the largest ratio of the two that
        the data has. An unknown tier is not priority where no source sells the model in it.
        """
        standard, own = by_tier.get(Tier.STANDARD, {}), by_tier.get(tier, {})
        match tier:
            case Tier.STANDARD:
                return standard
            case Tier.BATCH | Tier.FLEX:
                return {**standard, **own}
            case Tier.PRIORITY:
                ratio = self._priority_ratio
                return {**own, **{kind: max(usd, own.get(kind, usd * ratio)) for kind, usd in standard.items()}}
            case Tier.UNKNOWN:
                may_be = self._pricing.priority_tier and Tier.PRIORITY in by_tier
                return self._in_tier(by_tier, Tier.PRIORITY if may_be else Tier.STANDARD)

    def _possible(self, rates: Rates) -> Rates:
        """Leave out what nobody here uses."""
        if self._pricing.long_context:
            return rates
        return {kind: usd for kind, usd in rates.items() if not kind.endswith("_long")}

    def _price(self, known: _Known, day: date, tier: Tier) -> Price:
        """Return the pessimistic price; what no source gives costs what the dearest model takes for it."""
        rates = self._possible(_dearest(self._in_tier(each, tier) for each in known.places))
        highest = self._dearest(day, embedding=known.embedding)
        input_, output, image = (_worst(rates, kind) for kind in ("input", "output", "image"))
        if output is None:
            # Embedding models put out none.
            output = Decimal(0) if known.embedding else highest.output
        if input_ is None:
            input_ = highest.input
        # What is not priced apart costs what input costs.
        read, write = (_worst(rates, kind) for kind in ("cache_read", "cache_write"))
        return Price(
            input=input_,
            output=output,
            cache_read=input_ if read is None else read,
            cache_write=input_ if write is None else write,
            image=highest.image if image is None else image,
        )

    def _dearest(self, day: date, tier: Tier = Tier.UNKNOWN, *, embedding: bool) -> Price:
        """Return the highest prices of a day, before what the user knows better."""
        key = (day, tier, embedding)
        if key not in self._highest:
            sold = [(row.embedding, each) for row in self._rows for each in row.anywhere_on(day)]
            for model, prices in self._listed.items():
                sold += [(model_ids.is_embedding(model), _in_force(prices, scope, None, day)) for scope in Scope]
            highest: dict[str, Decimal] = {}
            for embeds, by_tier in sold:
                rates = self._possible(_dearest(self._in_tier(by_tier, each) for each in {tier, Tier.UNKNOWN}))
                for kind in _BLIND:
                    usd = _worst(rates, kind)
                    if usd is not None and (kind == "image" or embeds is embedding):
                        highest[kind] = max(usd, highest.get(kind, usd))
            if embedding:
                highest |= dict.fromkeys(("output", "cache_read", "cache_write"), highest["input"])
            self._highest[key] = Price(**highest)
        return self._highest[key]


def _matching(bare: str, index: Mapping[str, _T]) -> list[_T]:
    """Return what an index has of a model: under this very id, or under all ids that may mean it."""
    if bare in index:
        return [index[bare]]
    return [each for name, each in index.items() if model_ids.same_model(name, bare)]


def _in_force(listed: Iterable[ListedPrice], scope: Scope, region: str | None, day: date) -> _ByTier:
    """Return the listed prices that hold on a day; without a region, the dearest region's."""
    newest: dict[tuple[Tier, str, str | None], ListedPrice] = {}
    for each in sorted(listed, key=lambda price: price.since):
        if each.scope is scope and each.since <= day and (region is None or each.region in {None, region}):
            newest[each.tier, each.kind, each.region] = each
    if region is not None:
        # What is said of this region counts, not what is said of all.
        newest = {key: each for key, each in newest.items() if each.region or (*key[:2], region) not in newest}
    by_tier: defaultdict[Tier, dict[str, Decimal]] = defaultdict(dict)
    for each in newest.values():
        by_tier[each.tier][each.kind] = max(each.usd, by_tier[each.tier].get(each.kind, each.usd))
    return by_tier


def _worst(rates: Rates, kind: str) -> Decimal | None:
    return max((rates[each] for each in _BLIND[kind] if each in rates), default=None)


def _beginnings(name: str, others: Sequence[str]) -> tuple[str, ...]:
    """Return the shortest beginning, from the maker's family on, that the id has and none of the others."""
    parts = _PART.findall(name)
    for count in range(2, len(parts) + 1):
        beginning = "".join(parts[:count])
        if not any(other.startswith(beginning) for other in others):
            return (f"^{beginning}",)
    return (f"={name}", f"^{name}-v", f"^{name}:")


def _row(data: Mapping[str, Any]) -> _Row:
    at = {place: _dated(prices) for place, prices in data["at"].items()}
    if not data["id"] or ANYWHERE not in at or not all(at.values()):
        msg = f"model {data['id']!r}"
        raise ValueError(msg)
    return _Row(data["id"], data.get("embedding", False), at)


def _dated(prices: Iterable[Mapping[str, Any]]) -> list[tuple[date, _ByTier]]:
    return sorted(
        (
            (
                date.fromisoformat(each["from"]),
                {Tier(tier): _rates(each[tier]) for tier in each if tier != "from"},
            )
            for each in prices
        ),
        key=lambda pair: pair[0],
    )


def _rates(data: Mapping[str, str]) -> Rates:
    if unknown := data.keys() - set(PRICE_KINDS):
        msg = f"kinds of price {sorted(unknown)}"
        raise ValueError(msg)
    return {kind: stored.usd(amount) for kind, amount in data.items()}
