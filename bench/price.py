"""How exact the prices are: 10,000 random usages, priced by the table and by genai-prices itself.

``python -m bench.price [--out out/bench]`` writes ``out/bench/price.json``. Only what CloudWatch could tell apart is
compared (five-minute cache writes, short contexts, the standard tier), in us-east-1, which genai-prices is for.
"""

import argparse
import json
import random
import timeit
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from genai_prices import calc_price, data
from genai_prices.types import Usage

from cli.vendor_litellm import FILE
from lambdas.core.model_ids import GEOGRAPHIES, without_geography
from lambdas.core.prices import MILLION, PriceTable, Rates
from lambdas.core.usage import Kind

USAGES, SEED = 10_000, 7
REGION = "us-east-1"
FROM, UNTIL = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
SHORT = 20_000
"""Tokens of each kind: all together stay below every long-context price."""
TARGETS = {"unexplained_differences": 0, "quoted_below_the_list": 0}

_FIELDS = {
    Kind.INPUT: "input",
    Kind.OUTPUT: "output",
    Kind.CACHE_READ: "cache_read",
    Kind.CACHE_WRITE: "cache_write",
}
_AWS = next(each for each in data.providers if each.id == "aws")


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens of a model at a moment, by kind."""

    model: str
    at: datetime
    tokens: dict[Kind, int]

    def by_genai(self) -> Decimal:
        """Return what genai-prices says it costs. Its input tokens are all of them, the cached ones too."""
        read, write = self.tokens[Kind.CACHE_READ], self.tokens[Kind.CACHE_WRITE]
        usage = Usage(
            input_tokens=self.tokens[Kind.INPUT] + read + write,
            cache_read_tokens=read,
            cache_write_tokens=write,
            output_tokens=self.tokens[Kind.OUTPUT],
        )
        answer = calc_price(usage, self.model, provider_id="aws", genai_request_timestamp=self.at)
        return Decimal(answer.total_price)

    def exactly(self, rates: Rates) -> Decimal:
        """Return what it costs by the table, nothing supposed."""
        return sum((rates[_FIELDS[kind]] * count / MILLION for kind, count in self.tokens.items() if count), Decimal(0))

    def pessimistically(self, table: PriceTable) -> Decimal:
        """Return what the meter would say."""
        price = table.quote(self.model, self.at, region=REGION).price
        return sum((price.of(kind) * count for kind, count in self.tokens.items()), Decimal(0))


def models() -> list[str]:
    """Return ids of every model that genai-prices has for Bedrock, with each geography it answers for."""
    bare = {each.id.removeprefix("regional.").removeprefix("global.") for each in _AWS.models}
    named = {f"{geography}{model}" for model in bare for geography in ("", *(f"{each}." for each in GEOGRAPHIES))}
    # The guardrail is for the commercial partition.
    return sorted(each for each in named if _AWS.find_model(each) and not each.startswith("us-gov."))


def priced_kinds(model: str) -> set[Kind]:
    """Return the kinds of tokens that genai-prices has a price for; it takes that of input for the others."""
    found = _AWS.find_model(model)
    prices = found.get_prices(UNTIL) if found else None
    return {kind for kind, name in _FIELDS.items() if getattr(prices, f"{name}_mtok", None) is not None}


def usages() -> Iterator[Used]:
    """Return the same random usages each time, every model among them."""
    chance, names = random.Random(SEED), models()  # noqa: S311 - nobody is to be kept from guessing
    kinds = {name: priced_kinds(name) for name in names}
    for number in range(USAGES):
        name = names[number % len(names)]
        yield Used(
            model=name,
            at=FROM + timedelta(seconds=chance.randrange(int((UNTIL - FROM).total_seconds()))),
            tokens={kind: chance.randrange(1, SHORT) if kind in kinds[name] else 0 for kind in _FIELDS},
        )


def reason(used: Used, rates: Rates, litellm: dict[str, Any]) -> str | None:
    """Return why the table is dearer than genai-prices, None when nothing explains it."""
    theirs = litellm.get(used.model, {}).get("standard", {})
    if theirs and all(rates[kind] == Decimal(usd) for kind, usd in theirs.items()):
        return "litellm has a dearer price for this very id"
    bare = without_geography(used.model)
    if bare != used.model and not theirs and _AWS.find_model(f"nowhere.{bare}"):
        return "no source names this geography, so the dearest of the model's stands in"
    return None


def compare(table: PriceTable) -> dict[str, Any]:
    """Return the figures."""
    litellm = json.loads(FILE.read_text(encoding="utf-8"))["models"]
    differing: dict[str, str] = {}
    count: Counter[str] = Counter()
    for used in usages():
        expected = used.by_genai()
        rates = table.rates(used.model, used.at, region=REGION)
        count["quoted_below_the_list"] += used.pessimistically(table) < expected
        if rates is not None and used.exactly(rates) == expected:
            count["equal"] += 1
            continue
        why = None if rates is None or used.exactly(rates) < expected else reason(used, rates, litellm)
        count["explained_differences" if why else "unexplained_differences"] += 1
        differing[used.model] = why or "unexplained"
    return {
        "usages": USAGES,
        "models": len(models()),
        **{each: count[each] for each in ("equal", "explained_differences", *TARGETS)},
        "differing": dict(sorted(differing.items())),
    }


def main() -> None:
    """Print and write how the two compare."""
    parser = argparse.ArgumentParser(description="The price table against genai-prices.")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    out: Path = parser.parse_args().out
    figures = compare(PriceTable.load()) | {"load_ms": round(min(timeit.repeat(PriceTable.load, number=1)) * 1000, 1)}
    for name, figure in figures.items():
        if name != "differing":
            print(f"{name:<26} {figure}")
    for model, why in figures["differing"].items():
        print(f"  {model}: {why}")
    met = all(figures[name] == target for name, target in TARGETS.items())
    report = {"name": "price", "figures": figures, "targets": TARGETS, "met": met}
    out.mkdir(parents=True, exist_ok=True)
    (out / "price.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
