"""Compile the Bedrock prices of the pinned genai-prices package (MIT) into the table the Lambdas read.

    python -m cli.compile_prices lambdas/core/price_table.json

Long contexts, one-hour cache writes and audio tokens cannot be told apart in CloudWatch, so each kind of token
takes the dearest price the package gives for it.
"""

import json
import sys
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import data
from genai_prices.types import (
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ConditionalPrice,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
)

EPOCH = "1970-01-01"

_BY_KIND = {
    "input": ("input_mtok", "input_audio_mtok"),
    "output": ("output_mtok", "output_audio_mtok"),
    "cache_read": ("cache_read_mtok",),
    "cache_write": ("cache_write_mtok", "cache_write_1h_mtok"),
}


def _matchers(clause: object) -> list[str]:
    match clause:
        case ClauseOr(or_=clauses):
            return [matcher for each in clauses for matcher in _matchers(each)]
        case ClauseEquals(equals=text):
            return [f"={text.lower()}"]
        case ClauseStartsWith(starts_with=text):
            return [f"^{text.lower()}"]
        case ClauseEndsWith(ends_with=text):
            return [f"${text.lower()}"]
        case ClauseContains(contains=text):
            return [f"~{text.lower()}"]
    msg = f"genai-prices matches a model by {clause!r}, which the table has no sign for: extend cli/compile_prices.py"
    raise SystemExit(msg)


def _dearest(amount: Decimal | TieredPrices | None) -> Decimal | None:
    if isinstance(amount, TieredPrices):
        return max(amount.base, *(tier.price for tier in amount.tiers))
    return amount


def _price(price: ModelPrice, since: str) -> dict[str, str]:
    given = {name: amount for name, each in vars(price).items() if (amount := _dearest(each)) is not None}
    if unknown := given.keys() - {name for names in _BY_KIND.values() for name in names}:
        msg = f"genai-prices prices {sorted(unknown)}, which no kind of usage here pays: extend cli/compile_prices.py"
        raise SystemExit(msg)
    known = {
        kind: max((given[name] for name in names if name in given), default=None) for kind, names in _BY_KIND.items()
    }
    if known["input"] is None:
        msg = f"a price without input tokens: {price!r}"
        raise SystemExit(msg)
    # Embeddings have no output price, and what is not cached apart costs what input costs.
    floor = {"output": Decimal(0), "cache_read": known["input"], "cache_write": known["input"]}
    return {"from": since} | {kind: str(floor[kind] if amount is None else amount) for kind, amount in known.items()}


def _since(condition: ConditionalPrice) -> str:
    match condition.constraint:
        case None:
            return EPOCH
        case StartDateConstraint(start_date=day):
            return day.isoformat()
    msg = f"genai-prices conditions a price on {condition.constraint!r}: extend cli/compile_prices.py"
    raise SystemExit(msg)


def compile_table() -> dict[str, Any]:
    """Return the table: models in the package's order, each with its matchers and its dated prices."""
    provider = next(each for each in data.providers if each.id == "aws")
    models = []
    for model in provider.models:
        conditions = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
        models.append(
            {
                "id": model.id,
                "match": _matchers(model.match),
                "prices": [_price(each.prices, _since(each)) for each in conditions],
            }
        )
    return {
        "source": f"genai-prices {version('genai-prices')} (MIT)",
        "unit": "USD per million tokens",
        "models": models,
    }


def render() -> str:
    """Return the table as it stands in the repository: one model a line, so that a change reads well in a diff."""
    table = compile_table()
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in table.pop("models"))
    head = json.dumps(table)[1:-1]
    return f'{{{head}, "models": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
