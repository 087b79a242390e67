"""Compile the prices of Bedrock's models into the table the Lambdas read.

    python -m cli.compile_prices lambdas/core/price_table.json

Source one is the pinned genai-prices package (MIT), source two what is vendored of litellm (MIT) in
litellm_bedrock.json: service tiers, images, seconds, geographies and regions, and models that source one lacks.
Where both know a price the dearer one stands: genai-prices gives most models one price for all geographies,
litellm gives some bare ids the price of the global profile.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import data
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

from cli.vendor_litellm import FILE, Prices, dearer, plain
from lambdas.core import model_ids
from lambdas.core.model_ids import GEOGRAPHIES, same_model
from lambdas.core.prices import ANYWHERE, SPECIAL

EPOCH = date(1970, 1, 1)

_KINDS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
}

Dated = dict[date, Prices]
"""Prices by the day they hold from."""

_AWS = next(each for each in data.providers if each.id == "aws")


def _kinds(price: ModelPrice) -> dict[str, Decimal]:
    given = {name: amount for name, amount in vars(price).items() if amount is not None}
    if unknown := given.keys() - _KINDS.keys():
        msg = f"genai-prices prices {sorted(unknown)}, which no kind of price here is: extend cli/compile_prices.py"
        raise SystemExit(msg)
    kinds = {}
    for name, amount in given.items():
        if isinstance(amount, TieredPrices):
            kinds[_KINDS[name]] = amount.base
            kinds[f"{_KINDS[name]}_long"] = max(tier.price for tier in amount.tiers)
        else:
            kinds[_KINDS[name]] = amount
    return kinds


def _since(condition: ConditionalPrice) -> date:
    match condition.constraint:
        case None:
            return EPOCH
        case StartDateConstraint(start_date=day):
            return day
    msg = f"genai-prices conditions a price on {condition.constraint!r}: extend cli/compile_prices.py"
    raise SystemExit(msg)


def genai_prices(model: ModelInfo) -> Dated:
    """Return what genai-prices says of a model, all of it the standard tier."""
    conditions = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
    return {_since(each): {"standard": _kinds(each.prices)} for each in conditions}


def _merged(one: Dated, other: Dated) -> Dated:
    """Return the dearer of two histories, day by day."""
    return {day: dearer(_on(one, day), _on(other, day)) for day in sorted(one.keys() | other.keys())}


def _on(dated: Dated, day: date) -> Prices:
    return dated[max((since for since in dated if since <= day), default=min(dated))] if dated else {}


class _Sources:
    """Both sources, asked by the full id: ``eu.amazon.nova-pro-v1:0``, ``eu-west-2/meta.llama3…``."""

    def __init__(self) -> None:
        vendored = json.loads(FILE.read_text(encoding="utf-8"))
        self.credit: str = vendored["source"]
        self.as_of: str = vendored["as_of"]
        self.litellm: dict[str, Prices] = {}
        self.embeddings: set[str] = set()
        for key, body in vendored["models"].items():
            if body.pop("embedding", False):
                self.embeddings.add(model_ids.without_geography(key))
            self.litellm[key] = {
                tier: {kind: Decimal(usd) for kind, usd in kinds.items()} for tier, kinds in body.items()
            }

    def models(self) -> list[list[str]]:
        """Return the bare ids of all models, those together that are spellings of one: the shortest stands first."""
        genai = {re.sub(r"^(regional|global)\.", "", each.id) for each in _AWS.models}
        found: list[list[str]] = []
        for name in sorted(
            genai | {model_ids.without_geography(key.rpartition("/")[2]) for key in self.litellm}, key=len
        ):
            spellings = next((each for each in found if same_model(each[0], name)), None)
            if spellings is None:
                found.append([name])
            else:
                spellings.append(name)
        return sorted(found)

    def _ask(self, keys: Iterable[str]) -> Dated:
        """Return the dearest of what both sources have under any of these full ids."""
        answer: Dated = {}
        for key in keys:
            if "/" not in key and (model := _AWS.find_model(key)):
                answer = _merged(answer, genai_prices(model))
            if key in self.litellm:
                answer = _merged(answer, {EPOCH: self.litellm[key]})
        return answer

    def _names(self, geography: str, model: str) -> bool:
        """Tell whether a source knows that geography of the model, and does not take any prefix for granted."""
        return f"{geography}.{model}" in self.litellm or _AWS.find_model(f"nowhere.{model}") is None

    def places(self, ids: Sequence[str]) -> dict[str, Dated]:
        """Return prices by geography, by region for calls of the bare id, and by ANYWHERE for the bare id."""
        by_geography = {
            geography: prices
            for geography in GEOGRAPHIES
            if (prices := self._ask(f"{geography}.{each}" for each in ids if self._names(geography, each)))
        }
        regions = {key.partition("/")[0] for key in self.litellm if "/" in key}
        by_region = {
            region: prices for region in sorted(regions) if (prices := self._ask(f"{region}/{each}" for each in ids))
        }
        bare = self._ask(ids)
        if not any(_AWS.find_model(each) for each in ids):
            # litellm gives some bare ids the price of the global profile, and some it does not know at all.
            for geography, prices in by_geography.items():
                if geography not in SPECIAL:
                    bare = _merged(bare, prices)
        if not bare:
            msg = f"{ids[0]}: has a price for global profiles only: extend cli/compile_prices.py"
            raise SystemExit(msg)
        return {ANYWHERE: bare} | _distinct(bare, by_geography) | _distinct(bare, by_region)


def _distinct(bare: Dated, places: Mapping[str, Dated]) -> dict[str, Dated]:
    """Leave out places that cost what the bare id costs; where some differ, all are named: others cost the dearest."""
    special = {place: prices for place, prices in places.items() if place in SPECIAL and prices != bare}
    usual = {place: prices for place, prices in places.items() if place not in SPECIAL}
    return (usual if any(prices != bare for prices in usual.values()) else {}) | special


def _ratio(models: Iterable[Mapping[str, Dated]]) -> Decimal:
    """Return how many times the standard price the priority tier costs at most, rounded up."""
    ratios = [
        usd / standard
        for places in models
        for dated in places.values()
        for prices in dated.values()
        for kind, usd in prices.get("priority", {}).items()
        if (standard := prices["standard"].get(kind))
    ]
    return max(ratios).quantize(Decimal("0.0001"), ROUND_CEILING)


def _row(model: str, places: Mapping[str, Dated], *, embedding: bool) -> dict[str, Any]:
    at = {
        place: [
            {"from": since.isoformat()}
            | {tier: {kind: plain(usd) for kind, usd in kinds.items()} for tier, kinds in prices.items()}
            for since, prices in dated.items()
        ]
        for place, dated in places.items()
    }
    return {"id": model} | ({"embedding": True} if embedding else {}) | {"at": at}


def compile_table() -> dict[str, Any]:
    """Return the table: one row for all spellings of a model, with its prices by place, day, tier and kind."""
    sources = _Sources()
    models = {tuple(ids): sources.places(ids) for ids in sources.models()}
    return {
        "source": [f"genai-prices {version('genai-prices')} (MIT)", sources.credit],
        "as_of": sources.as_of,
        "unit": "USD per million tokens, per image, per second",
        "priority_ratio": plain(_ratio(models.values())),
        "models": [
            _row(ids[0], places, embedding=model_ids.is_embedding(ids[0]) or not sources.embeddings.isdisjoint(ids))
            for ids, places in models.items()
        ],
    }


def render() -> str:
    """Return the table as it stands in the repository: one model a line, so that a change reads well in a diff."""
    table = compile_table()
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in table.pop("models"))
    head = json.dumps(table)[1:-1]
    return f'{{{head}, "models": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
