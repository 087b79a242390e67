"""The account's own price list: how AWS names its rates, which of them may be used, and how they are kept.

A rate has no structure at AWS but its name. Two spellings are used for models sold through AWS Marketplace, on the
Price List as ``USE1-MP:…-Units`` and on the rate card of a model's agreement without either end:

- ``USE1_InputTokenCount[_LCtx][_Global|_Geo][_Batch]``
- ``[USE1_]cache_write_tokens[_5m|_30m|_1h][_long_ctx][_global]_{standard,batch,flex,priority}``

and one for those that AWS sells itself, ``USE1-<model>[-mantle]-input-tokens[-cross-region-global][-batch]``. A name
that fits none of them is never read as something near.
"""

import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from lambdas.core.errors import GuardrailError, RefusedError
from lambdas.core.prices import PRICE_KINDS, ListedPrice, Scope
from lambdas.core.usage import Tier

CARDS = "agreement offers"
"""The source of rate cards; the other sources are service codes of the Price List."""

MAX_KEPT_BYTES = 400_000 - 2_000
"""DynamoDB's 400 KB an item, less its keys."""

_MAX_FACTOR = 10
_PLAUSIBLE_USD = {
    "image": (Decimal("0.0001"), Decimal(100)),
    "second": (Decimal("0.0001"), Decimal(100)),
}
_PLAUSIBLE_TOKEN_USD = (Decimal("0.0005"), Decimal(2000))
"""USD per million tokens. The cheapest on Bedrock is about 0.004 (cached, batch), the dearest below 700."""


class UnreadableRateError(GuardrailError):
    """A line of AWS's list that cannot be read; it is not used, and reported."""


class PriceListError(GuardrailError):
    """The kept price list cannot be read: run the function ``bedrock-spend-prices`` again, with an empty event."""


class CatalogModel(NamedTuple):
    """A model as Bedrock lists it in a region."""

    model_id: str
    name: str
    provider: str


class Rate(NamedTuple):
    """What the name of a rate says. ``scope`` is None where it says none, which is in-region and geographic alike."""

    kind: str
    tier: Tier = Tier.STANDARD
    scope: Scope | None = None
    region: str | None = None
    stale: bool = False
    """An older name, left on some cards with an older price beside the rate that is charged."""


class Line(NamedTuple):
    """A rate of a model at a price, in USD per million tokens, or per image or second."""

    model: str
    rate: Rate
    usd: Decimal


class Product(NamedTuple):
    """A line of the Price List, and whose rate it is in AWS's words."""

    names: tuple[str, ...]
    """Names or ids of the model, the most exact first."""
    rate: Rate
    usd: Decimal


class Key(NamedTuple):
    """What has one price."""

    model: str
    scope: Scope
    region: str | None
    tier: Tier
    kind: str


class Dated(NamedTuple):
    """A price and the day it was first seen."""

    usd: Decimal
    since: date


# --- names of rates ---------------------------------------------------------------------------------------------

REGION_CODES = {
    "USE1": "us-east-1",
    "USE2": "us-east-2",
    "USW1": "us-west-1",
    "USW2": "us-west-2",
    "CAN1": "ca-central-1",
    "CAN2": "ca-west-1",
    "MXC1": "mx-central-1",
    "SAE1": "sa-east-1",
    "AFS1": "af-south-1",
    "APE1": "ap-east-1",
    "APE2": "ap-east-2",
    "APN1": "ap-northeast-1",
    "APN2": "ap-northeast-2",
    "APN3": "ap-northeast-3",
    "APS1": "ap-southeast-1",
    "APS2": "ap-southeast-2",
    "APS3": "ap-south-1",
    "APS4": "ap-southeast-3",
    "APS5": "ap-south-2",
    "APS6": "ap-southeast-4",
    "APS7": "ap-southeast-5",
    "APS8": "ap-southeast-6",
    "APS9": "ap-southeast-7",
    "EU": "eu-west-1",
    "EUW1": "eu-west-1",
    "EUW2": "eu-west-2",
    "EUW3": "eu-west-3",
    "EUC1": "eu-central-1",
    "EUC2": "eu-central-2",
    "EUN1": "eu-north-1",
    "EUS1": "eu-south-1",
    "EUS2": "eu-south-2",
    "ILC1": "il-central-1",
    "MEC1": "me-central-1",
    "MES1": "me-south-1",
}
"""AWS's billing codes of regions; they do not follow from the names."""

_GOVCLOUD = {"UGE1", "UGW1"}

_NOT_BY_USE = re.compile(
    r"reserved|_?tpm(?![a-z])|provisioned_?throughput|model_?units|customi[sz]ation|custom[-_]?model|training|storage"
    r"|latency[-_]?optimized|search_?units?",
    re.IGNORECASE,
)
"""Bought by the hour or the request, for models of one's own, or on request only."""

_CAMEL = re.compile(
    r"(?:Million)?(?P<early>Batch)?(?P<leg>Input|Output|CacheReadInput|CacheWrite(?P<life>5m|30m|1h)?Input)"
    r"Token(?:Count|s)(?P<marks>(?:_(?:LCtx|LongContext|Global|Geo|Batch))*)"
)
_SNAKE = re.compile(
    r"(?P<leg>input|output|cache_read|cached_input|cache_writes?)_tokens(?:_(?P<life>5m|30m|1h))?"
    r"(?P<marks>(?:_(?:long_ctx|global|geo|regional|standard|batch|flex|priority))*)"
)
_DASHED = re.compile(
    r"(?P<code>[A-Z]{2,4}\d?)-(?P<model>.+?)(?P<mantle>-mantle)?(?:-(?P<sense>text|speech|audio|image|video))?"
    r"-(?P<leg>cached-input|input|output|cache-read|cache-writes?)(?:-(?P<sense2>text|speech|audio|image|video))?(?:-input)?"
    r"-tokens?(?:-count)?(?:-(?P<life>5m|30m|1h))?"
    r"(?P<marks>(?:-(?:long-context|long-ctx|cross-region-global|cross-region-geo|global|geo"
    r"|standard|batch|flex|priority))*)",
    re.IGNORECASE,
)
_IMAGES = re.compile(r"(?:\w+_)?(?:created_images?|CreatedImages?)")

_LEGS = {
    "input": "input",
    "output": "output",
    "cachereadinput": "cache_read",
    "cacheread": "cache_read",
    "cachedinput": "cache_read",
    "cachewriteinput": "cache_write",
    "cachewrite": "cache_write",
    "cachewrites": "cache_write",
}
_STALE_LEGS = {"cachedinput", "cachewrites"}
_LONG = {"lctx", "longcontext", "longctx"}
_SCOPES: Mapping[str, Scope | None] = {
    "global": Scope.GLOBAL,
    "crossregionglobal": Scope.GLOBAL,
    "geo": Scope.GEO,
    "crossregiongeo": Scope.GEO,
    "regional": None,
}
_TIERS: Mapping[str, Tier] = {str(each): each for each in Tier if each is not Tier.UNKNOWN}
_MARK = re.compile(r"long[-_]?(?:context|ctx)|lctx|cross-region-(?:global|geo)|[a-z]+")


def card_rate(name: object) -> Rate | None:
    """Read the name of a Marketplace rate, from a card or from the Price List.

    None is a rate that usage of a model is not charged by (reserved or provisioned capacity, GovCloud). Raises
    UnreadableRateError for anything else that is not understood.
    """
    if not isinstance(name, str):
        raise _unreadable(name)
    outer, _, body = name.rpartition("-MP:")
    body = body.removesuffix("-Units")
    head, _, rest = body.partition("_")
    code = outer
    if head in REGION_CODES or head in _GOVCLOUD:
        code, body = head, rest
    if code in _GOVCLOUD or _NOT_BY_USE.search(body):
        return None
    if code and code not in REGION_CODES:
        raise _unreadable(name)
    region = REGION_CODES[code] if code else None
    if _IMAGES.fullmatch(body):
        return Rate("image", region=region)
    found = _CAMEL.fullmatch(body) or _SNAKE.fullmatch(body)
    if found is None:
        raise _unreadable(name)
    early = found.groupdict().get("early")
    return _rate(name, found["leg"], found["life"], found["marks"] + ("_batch" if early else ""), region)


def usage_rate(usage_type: object) -> tuple[str, Rate] | None:
    """Read a usage type of what AWS sells itself, into the word it has for the model and the rate.

    None is a usage type that is not about tokens of a model, such as those of agents and guardrails, or that usage of
    a model is not charged by. Raises UnreadableRateError for a token rate that is not understood.
    """
    if not isinstance(usage_type, str):
        raise _unreadable(usage_type)
    if _NOT_BY_USE.search(usage_type):
        return None
    found = _DASHED.fullmatch(usage_type)
    if found is None:
        if re.search(r"-tokens?(-|$)", usage_type, re.IGNORECASE):
            raise _unreadable(usage_type)
        return None
    code = found["code"].upper()
    if code in _GOVCLOUD:
        return None
    if code not in REGION_CODES:
        raise _unreadable(usage_type)
    rate = _rate(usage_type, found["leg"], found["life"], found["marks"], REGION_CODES[code])
    if (found["sense"] or found["sense2"] or "").lower() in {"speech", "audio"} and rate.kind in {"input", "output"}:
        rate = rate._replace(kind=f"{rate.kind}_audio")
    return found["model"], rate


def _rate(name: str, leg: str, life: str | None, marks: str, region: str | None) -> Rate:
    word = re.sub(r"[-_]|5m|30m|1h", "", leg.lower())
    kind = _LEGS[word]
    if life and kind != "cache_write":
        raise _unreadable(name)
    if life == "1h":
        kind = "cache_write_1h"
    scopes, tiers, long = [], [], False
    for mark in _MARK.findall(marks.lower()):
        mark_word = re.sub(r"[-_]", "", mark)
        if mark_word in _LONG:
            long = True
        elif mark_word in _SCOPES:
            scopes.append(_SCOPES[mark_word])
        else:
            tiers.append(_TIERS[mark_word])
    if len(scopes) > 1 or len(tiers) > 1:
        raise _unreadable(name)
    return Rate(
        kind=f"{kind}_long" if long else kind,
        tier=tiers[0] if tiers else Tier.STANDARD,
        scope=scopes[0] if scopes else None,
        region=region,
        stale=word in _STALE_LEGS,
    )


def _unreadable(what: object) -> UnreadableRateError:
    return UnreadableRateError(f"not understood: {str(what)[:120]!r}")


# --- prices -----------------------------------------------------------------------------------------------------

_AMOUNT = re.compile(r"-?\d{1,12}(?:\.\d{1,20})?(?:[eE]-?\d{1,2})?", re.ASCII)
_PER_MILLION = {
    "1k tokens": Decimal(1000),
    "1k token": Decimal(1000),
    "1m tokens": Decimal(1),
    "1m token": Decimal(1),
    "tokens": Decimal(1_000_000),
    "token": Decimal(1_000_000),
}
_PIECES = {"image": "image", "images": "image", "second": "second", "seconds": "second"}


def _amount(text: object) -> Decimal:
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text.strip()):
        raise _unreadable(text)
    return Decimal(text.strip())


def _usd(text: object, unit: object, kind: str) -> Decimal:
    """Return USD per million tokens, or per piece. An unknown unit could be wrong a thousandfold: it is not guessed."""
    if not isinstance(unit, str):
        raise _unreadable(unit)
    word = unit.strip().lower()
    if word == "units":
        return _amount(text)  # Marketplace's word: a million tokens, or one image
    if kind in _PIECES.values():
        if _PIECES.get(word) != kind:
            raise _unreadable(unit)
        return _amount(text)
    if word not in _PER_MILLION:
        raise _unreadable(unit)
    return _amount(text) * _PER_MILLION[word]


def read_card(model: str, card: Iterable[Mapping[str, Any]]) -> tuple[list[Line], list[str]]:
    """Read the rate card of a model's agreement; returns its lines, and what could not be read."""
    lines, unread = [], []
    for entry in card:
        try:
            rate = card_rate(entry.get("dimension"))
            if rate is not None:
                lines.append(Line(model, rate, _usd(entry.get("price"), entry.get("unit"), rate.kind)))
        except UnreadableRateError as error:
            unread.append(f"{model}: {error}")
    return lines, unread


def read_product(text: str) -> Product | None:
    """Read a product of the Price List, a JSON document.

    None is a product that usage of a model is not charged by. Of several prices the highest is taken. Raises
    UnreadableRateError.
    """
    try:
        data = json.loads(text)
        attributes: Mapping[str, Any] = data["product"]["attributes"]
        offers = [
            (dimension["pricePerUnit"]["USD"], dimension["unit"])
            for term in data["terms"].get("OnDemand", {}).values()
            for dimension in term["priceDimensions"].values()
        ]
        usage_type, region = attributes["usagetype"], attributes.get("regionCode")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(text) from error
    if not isinstance(usage_type, str):
        raise _unreadable(usage_type)
    if str(region).startswith("us-gov-"):
        return None
    named = _named_rate(attributes, usage_type, [str(unit).lower() for _, unit in offers])
    if named is None:
        return None
    names, rate = named
    if not offers or not names:
        raise _unreadable(usage_type)
    rate = _with_attributes(rate, attributes, usage_type)
    return Product(names, rate, max(_usd(price, unit, rate.kind) for price, unit in offers))


_MARKETPLACE_ENDING = " (Amazon Bedrock Edition)"


def _named_rate(
    attributes: Mapping[str, Any], usage_type: str, units: Sequence[str]
) -> tuple[tuple[str, ...], Rate] | None:
    if "-MP:" in usage_type:
        rate = card_rate(usage_type)
        name = str(attributes.get("servicename") or "").removesuffix(_MARKETPLACE_ENDING)
        return None if rate is None else ((name,) if name else (), rate)
    named = [str(attributes[each]) for each in ("model", "titanModel") if attributes.get(each)]
    feature = str(attributes.get("feature") or "").replace(" ", "").lower()
    if feature not in {"", "on-demandinference", "batchinference"} or any("Latency" in each for each in named):
        return None
    piece = next((_PIECES[unit] for unit in units if unit in _PIECES), None)
    if piece is not None:
        about = f"{attributes.get('inferenceType')} {usage_type}"
        return None if "custom" in about.lower() else (tuple(named), Rate(piece))
    found = usage_rate(usage_type)
    if found is None:
        return None
    word, rate = found
    return (word, *named), rate


def _with_attributes(rate: Rate, attributes: Mapping[str, Any], usage_type: str) -> Rate:
    """Return the rate with what the product says beside its usage type: its region, and its tier."""
    region = attributes.get("regionCode")
    if isinstance(region, str) and region:
        rate = rate._replace(region=region)
    words = [
        str(attributes.get("service_tier") or "").lower(),
        str(attributes.get("inferenceType") or "").lower().rpartition(" ")[2],
        "batch" if "batch" in str(attributes.get("feature") or "").lower() else "",
    ]
    tiers = {_TIERS[each] for each in words if each in _TIERS and each != "standard"}
    if rate.tier is not Tier.STANDARD:
        tiers.add(rate.tier)
    if len(tiers) > 1:
        raise _unreadable(usage_type)
    return rate._replace(tier=next(iter(tiers), Tier.STANDARD))


# --- whose rate it is -------------------------------------------------------------------------------------------

_CONTEXT_VARIANT = re.compile(r"(?<=:\d):(?:\d+k|mm)$")
_VERSION = re.compile(r"(?:-v\d+|-\d+)?:\d+$")


class Catalog:
    """The models Bedrock lists: from AWS's names to ids, exactly or not at all."""

    def __init__(self, models: Iterable[CatalogModel]) -> None:
        """Take the models of all regions; the variants of one for provisioned throughput are that one."""
        by_name: defaultdict[str, set[str]] = defaultdict(set)
        for each in models:
            model_id = _CONTEXT_VARIANT.sub("", each.model_id.lower())
            for name in (each.name, f"{each.provider} {each.name}", model_id, _VERSION.sub("", model_id)):
                by_name[_folded(name)].add(model_id)
        self.ids = frozenset(model_id for ids in by_name.values() for model_id in ids)
        self._by_name = by_name

    def find(self, names: Iterable[str]) -> str | None:
        """Return the id of the first name that is the name of exactly one model."""
        found = (self._by_name.get(_folded(each), set()) for each in names)
        return next((next(iter(ids)) for ids in found if len(ids) == 1), None)


def _folded(name: str) -> str:
    return " ".join(name.lower().split())


def priced(lines: Iterable[Line]) -> dict[Key, Decimal]:
    """Return the price of everything the lines of one source name; of two prices for one thing, the higher.

    A rate that names no scope holds in-region, and geographically where no rate says otherwise. What has no global
    rate, in a tier that has any, costs globally what it costs in-region (the cache of some models).
    """
    said: dict[tuple[bool, bool], dict[Key, Decimal]] = defaultdict(dict)
    for model, rate, usd in lines:
        for scope in (rate.scope,) if rate.scope else (Scope.IN_REGION, Scope.GEO):
            key = Key(model, scope, rate.region, rate.tier, rate.kind)
            implied = rate.scope is None and scope is Scope.GEO
            group = said[implied, rate.stale]
            group[key] = max(usd, group.get(key, usd))
    # The exact before the implied, the current name before the older one.
    prices = said[True, True] | said[False, True] | said[True, False] | said[False, False]
    in_tier = {(key.model, key.region, key.tier) for key in prices if key.scope is Scope.GLOBAL}
    widened = {
        key._replace(scope=Scope.GLOBAL): usd
        for key, usd in prices.items()
        if key.scope is Scope.IN_REGION and (key.model, key.region, key.tier) in in_tier
    }
    return widened | prices


# --- what may be used -------------------------------------------------------------------------------------------


class Change(NamedTuple):
    """A price that is not used without a person's word."""

    source: str
    key: Key
    old: Decimal | None
    new: Decimal

    def __str__(self) -> str:
        key = self.key
        old = "no price before" if self.old is None else f"${self.old.normalize():f}"
        region = key.region or "every region"
        return f"{key.kind} ({key.scope}, {key.tier}, {region}): {old} -> ${self.new.normalize():f}"


class Pending(NamedTuple):
    """The changes of one model that wait for a person."""

    model: str
    acceptable: bool
    """False for prices that cannot be right, 0 or less: no word of a person puts them in force."""
    changes: tuple[Change, ...]
    mailed: bool = False

    @property
    def fingerprint(self) -> str:
        """What a person says to accept exactly these changes."""
        words = sorted(f"{each.source} {each}" for each in self.changes)
        return hashlib.sha256("\n".join([self.model, *words]).encode()).hexdigest()[:12]


def questionable(kind: str, old: Decimal | None, new: Decimal) -> bool:
    """Tell whether a price may not be used without a person's word: tenfold, not above zero, or absurd."""
    least, most = _PLAUSIBLE_USD.get(kind, _PLAUSIBLE_TOKEN_USD)
    if not least <= new <= most:
        return True
    return old is not None and old > 0 and (new > old * _MAX_FACTOR or new * _MAX_FACTOR < old)


def grouped(changes: Iterable[Change], before: Iterable[Pending]) -> tuple[Pending, ...]:
    """Return the changes by model; those that were mailed before are not mailed again."""
    groups: defaultdict[tuple[str, bool], list[Change]] = defaultdict(list)
    for each in changes:
        groups[each.key.model, each.new > 0].append(each)
    mailed = {each.fingerprint for each in before if each.mailed}
    found = (Pending(model, acceptable, tuple(each)) for (model, acceptable), each in sorted(groups.items()))
    return tuple(each._replace(mailed=each.fingerprint in mailed) for each in found)


# --- the list as it is kept -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PriceList:
    """All that was read, by source, and what waits for a person."""

    read_at: Mapping[str, datetime]
    """When each source was last read whole (aware UTC)."""
    prices: Mapping[str, Mapping[Key, Dated]]
    pending: tuple[Pending, ...] = ()

    @property
    def as_of(self) -> datetime | None:
        """How old the list is, as its oldest source; None before any was read."""
        return min(self.read_at.values(), default=None)

    def listed(self, regions: Collection[str] | None = None) -> list[ListedPrice]:
        """Return the list as the meter needs it: of two sources that price the same thing, the dearer.

        Rate cards price every region, so the dearest of theirs stands for one they do not name; a region that costs
        something else has a line of its own. The Price List was asked about some regions and speaks for no other.
        With ``regions``, the others' lines are left out: a shorter list, by which the others cost the dearest.
        """
        groups: defaultdict[Key, dict[str, dict[str | None, Dated]]] = defaultdict(lambda: defaultdict(dict))
        for source, prices in self.prices.items():
            for key, dated in prices.items():
                groups[key._replace(region=None)][source][key.region] = dated
        listed = []
        for key, sources in groups.items():
            anywhere = max(sources[CARDS].values()) if CARDS in sources else None
            listed += [_listed(key, anywhere)] if anywhere else []
            named = {region for places in sources.values() for region in places if region is not None}
            for region in named if regions is None else named.intersection(regions):
                said = (places.get(region) or places.get(None) for places in sources.values())
                price = max(each for each in said if each is not None)
                if anywhere is None or price.usd != anywhere.usd:
                    listed.append(_listed(key._replace(region=region), price))
        return listed

    def in_force(self) -> Callable[[Key], Decimal | None]:
        """Return what tells the price of anything as the list has it; None where it has none."""
        prices = {Key(each.model, each.scope, each.region, each.tier, each.kind): each.usd for each in self.listed()}
        return lambda key: prices.get(key, prices.get(key._replace(region=None)))

    def accept(self, fingerprint: object, today: date) -> tuple["PriceList", Pending]:
        """Return the list with changes that a person accepts. Raises RefusedError for any but a current fingerprint."""
        found = next((each for each in self.pending if each.fingerprint == fingerprint), None)
        if found is None or not found.acceptable:
            offered = ", ".join(f"{each.fingerprint} ({each.model})" for each in self.pending if each.acceptable)
            why = "a price of 0 or less cannot be accepted" if found else "no price is pending under it (any more)"
            msg = f'accept = "{str(fingerprint)[:40]}": {why}; nothing was changed. Pending: {offered or "nothing"}'
            raise RefusedError(msg)
        prices = {source: dict(of_source) for source, of_source in self.prices.items()}
        for each in found.changes:
            prices.setdefault(each.source, {})[each.key] = Dated(each.new, today)
        pending = tuple(each for each in self.pending if each is not found)
        return PriceList(self.read_at, prices, pending), found

    def to_document(self) -> dict[str, Any]:
        """Return what `PriceList.from_document` reads; regions of one price share a row."""
        rows: defaultdict[tuple[str, ...], list[str | None]] = defaultdict(list)
        for source, prices in self.prices.items():
            for key, (usd, since) in prices.items():
                row = (source, key.model, str(key.scope), str(key.tier), key.kind, _text(usd), since.isoformat())
                rows[row].append(key.region)
        return {
            "as_of": None if self.as_of is None else self.as_of.isoformat(),
            "read_at": {source: at.isoformat() for source, at in sorted(self.read_at.items())},
            "prices": [[*row, sorted(regions, key=str)] for row, regions in sorted(rows.items())],
            "pending": [
                {
                    "model": each.model,
                    "acceptable": each.acceptable,
                    "mailed": each.mailed,
                    "changes": [
                        [
                            change.source,
                            *map(str, (change.key.scope, change.key.tier, change.key.kind)),
                            change.key.region,
                            None if change.old is None else _text(change.old),
                            _text(change.new),
                        ]
                        for change in each.changes
                    ],
                }
                for each in self.pending
            ],
        }

    @classmethod
    def from_document(cls, body: Mapping[str, Any]) -> "PriceList":
        """Read a kept list. Raises PriceListError."""
        try:
            prices: defaultdict[str, dict[Key, Dated]] = defaultdict(dict)
            for source, model, scope, tier, kind, usd, since, regions in body["prices"]:
                dated = Dated(_in_force_usd(usd), date.fromisoformat(since))
                checked = _key(model, scope, None, tier, kind)
                prices[source].update({checked._replace(region=_region(each)): dated for each in regions})
            read_at = {source: _moment(at) for source, at in body["read_at"].items()}
            pending = tuple(_pending(each) for each in body["pending"])
            _check_as_of(body["as_of"], read_at)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, GuardrailError) as error:
            msg = (
                f"the kept price list cannot be read ({str(error)[:120]!r}): run the function bedrock-spend-prices"
                " again, with an empty event; until then the prices the guardrail was deployed with are used"
            )
            raise PriceListError(msg) from error
        return cls(read_at, dict(prices), pending)


def from_document(body: Mapping[str, Any]) -> tuple[datetime, Sequence[ListedPrice]]:
    """Return when a kept list was read and what it says. Raises PriceListError."""
    kept = PriceList.from_document(body)
    return min(kept.read_at.values()), kept.listed()


def kept_size(document: Mapping[str, Any]) -> int:
    """Return the bytes a document takes in the ledger."""
    return len(gzip.compress(json.dumps(document).encode(), mtime=0))


def _listed(key: Key, price: Dated) -> ListedPrice:
    return ListedPrice(key.model, key.scope, key.region, key.tier, key.kind, price.usd, price.since)


def _text(usd: Decimal) -> str:
    return f"{usd.normalize():f}"


def _in_force_usd(text: object) -> Decimal:
    usd = _amount(text)
    if usd <= 0:
        raise _unreadable(text)
    return usd


def _check_as_of(text: object, read_at: Mapping[str, datetime]) -> None:
    if not read_at or text != min(read_at.values()).isoformat():
        raise _unreadable(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise _unreadable(text)
    return moment.astimezone(UTC)


def _key(model: object, scope: str, region: object, tier: str, kind: object) -> Key:
    if not isinstance(model, str) or kind not in PRICE_KINDS or tier not in _TIERS:
        raise _unreadable((model, kind, tier))
    return Key(model, Scope(scope), _region(region), _TIERS[tier], str(kind))


def _region(name: object) -> str | None:
    if name is not None and not isinstance(name, str):
        raise _unreadable(name)
    return name


def _pending(data: Mapping[str, Any]) -> Pending:
    changes = tuple(
        Change(
            str(source),
            _key(data["model"], scope, region, tier, kind),
            None if old is None else _amount(old),
            _amount(new),
        )
        for source, scope, tier, kind, region, old, new in data["changes"]
    )
    return Pending(str(data["model"]), data["acceptable"] is True, changes, data["mailed"] is True)
