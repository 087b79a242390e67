"""Renew cli/litellm_bedrock.json: what litellm (MIT) knows of Bedrock's prices, and nothing else of it.

    python -m cli.vendor_litellm model_prices_and_context_window.json --version 1.109.1 --as-of 2026-11-10

The JSON is the one of litellm's repository or wheel; litellm itself is never installed. Then run `make prices`.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from lambdas.core.prices import MILLION

FILE = Path(__file__).with_name("litellm_bedrock.json")

_TOKENS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
}
_TIERS = {None: "standard", "_batches": "batch", "_flex": "flex", "_priority": "priority"}
_TOKEN_FIELD = re.compile(rf"({'|'.join(_TOKENS)})(_above_\d+k_tokens)?(_batches|_flex|_priority)?")
_SECONDS = ("input_cost_per_video_per_second", "input_cost_per_audio_per_second")
_IMAGES = ("output_cost_per_image", "input_cost_per_image")

# Leading parts of litellm's names that say how a model is called or drawn with, not where.
_ROUTES = re.compile(r"^(\d+-x-\d+/|max-x-max/|50-steps/|max-steps/|bedrock/|bedrock_mantle/|invoke/)*")
_NAME = re.compile(r"(?:(?P<region>[a-z]{2}-[a-z]+-\d)/)?(?P<model>[a-z0-9-]+(?:\.[a-z0-9:.-]+)+)")

Prices = dict[str, dict[str, Decimal]]
"""By service tier, then kind of price: USD per million tokens, per image, per second."""


def _prices(entry: Mapping[str, Any]) -> Prices:
    prices: defaultdict[str, dict[str, Decimal]] = defaultdict(dict)
    for name, value in entry.items():
        if field := _TOKEN_FIELD.fullmatch(name):
            token, long, tier = field.groups()
            prices[_TIERS[tier]][_TOKENS[token] + ("_long" if long else "")] = value * MILLION
    if seconds := [entry[each] for each in _SECONDS if each in entry]:
        prices["standard"]["second"] = max(seconds)
    if images := [entry[each] for each in _IMAGES if each in entry]:
        prices["standard"]["image"] = max(images)
    return dict(prices)


def _wanted(entry: object) -> bool:
    # Reranking is billed by the query, which nothing here counts: better unknown than known and 0.
    return (
        isinstance(entry, dict)
        and str(entry.get("litellm_provider")).startswith("bedrock")
        and entry.get("mode") not in ("rerank", "guardrail")
    )


def dearer(one: Prices, other: Prices) -> Prices:
    """Return, kind by kind, the dearer price of two lists."""
    return {
        tier: {
            kind: max(each[tier][kind] for each in (one, other) if kind in each.get(tier, {}))
            for kind in sorted(one.get(tier, {}).keys() | other.get(tier, {}).keys())
        }
        for tier in sorted(one.keys() | other.keys())
    }


def subset(data: Mapping[str, Any]) -> tuple[dict[str, Prices], set[str]]:
    """Return prices by ``id`` or ``region/id``, and the bare ids of embedding models.

    Left out: commitments, GovCloud's regions (the guardrail is not for that partition), Claude Platform on AWS.
    """
    found: dict[str, Prices] = {}
    embeddings = set()
    for raw, entry in data.items():
        name = _NAME.fullmatch(_ROUTES.sub("", raw))
        if not _wanted(entry) or name is None or not (prices := _prices(entry)):
            continue
        region, model = name["region"], name["model"]
        key = f"{region}/{model}" if region else model
        found[key] = dearer(found.get(key, {}), prices)
        if entry["mode"] == "embedding":
            embeddings.add(key)
    return found, embeddings


def plain(amount: Decimal) -> str:
    """Return a number without exponent and trailing zeros."""
    return format(amount.normalize(), "f")


def _lines(found: Mapping[str, Prices], embeddings: set[str]) -> Iterable[str]:
    for key, prices in sorted(found.items()):
        body: dict[str, Any] = {
            tier: {kind: plain(usd) for kind, usd in kinds.items()} for tier, kinds in prices.items()
        }
        if key in embeddings:
            body["embedding"] = True
        yield f"{json.dumps(key)}:{json.dumps(body, separators=(',', ':'))}"


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Renew the vendored part of litellm's prices.")
    parser.add_argument("json", type=Path, help="litellm's model_prices_and_context_window.json")
    parser.add_argument("--version", required=True, help="the release of litellm it is from")
    parser.add_argument(
        "--as-of", required=True, type=date.fromisoformat, help="the day of the newest data, both sources"
    )
    asked = parser.parse_args()
    found, embeddings = subset(json.loads(asked.json.read_text(encoding="utf-8"), parse_float=Decimal))
    head = {
        "source": f"litellm {asked.version}, model_prices_and_context_window.json (MIT)",
        "as_of": asked.as_of.isoformat(),
        "unit": "USD per million tokens, per image, per second",
    }
    models = ",\n".join(_lines(found, embeddings))
    FILE.write_text(f'{{{json.dumps(head)[1:-1]}, "models": {{\n{models}\n}}}}\n', encoding="utf-8")
    print(f"{FILE.name}: {len(found)} prices")


if __name__ == "__main__":
    main()
