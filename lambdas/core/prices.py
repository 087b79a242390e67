"""Dated prices: what a number of tokens of a model costs, or what it costs at the worst."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lambdas.core import model_ids
from lambdas.core.usage import Kind

MILLION = Decimal(1_000_000)

TABLE_FILE = Path(__file__).with_name("price_table.json")

DEAREST_IMAGE_USD = Decimal("0.60")
"""USD an image, the dearest on Bedrock's price list (Stability creative upscale); CloudWatch tells no sizes apart."""

DEAREST_EMBEDDING_USD = Decimal("0.80")
"""USD per million input tokens, the dearest embedding on the list (Titan multimodal), which genai-prices lacks."""


class PriceTableError(ValueError):
    """The price table cannot be read; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, the dearest of what CloudWatch cannot tell apart (context length, cache lifetime)."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal

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
            case Kind.IMAGE:
                return DEAREST_IMAGE_USD


@dataclass(frozen=True, slots=True)
class Quote:
    """A price and whether it is a guess: the model is not in the table, and the dearest of its kind stands in."""

    price: Price
    guessed: bool


@dataclass(frozen=True, slots=True)
class _Row:
    matchers: tuple[str, ...]
    dated: tuple[tuple[date, Price], ...]

    def covers(self, model: str) -> bool:
        return any(_TESTS[each[0]](model, each[1:]) for each in self.matchers)

    def on(self, day: date) -> Price:
        """Return the price of that day; before the first change, the first one."""
        current = self.dated[0][1]
        for since, price in self.dated:
            if since <= day:
                current = price
        return current


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "=": str.__eq__,
    "^": str.startswith,
    "$": str.endswith,
    "~": str.__contains__,
}


class PriceTable:
    """Prices by model id. Never answers 0 for want of knowledge, and never raises for an unknown model."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        """Take rows in order of preference: the first that covers an id gives its price."""
        if not rows:
            msg = f"{TABLE_FILE.name}: no prices in it; run `make prices`"
            raise PriceTableError(msg)
        self._rows = rows
        self._quotes: dict[tuple[str, date], Quote] = {}

    @classmethod
    def load(cls, file: Path = TABLE_FILE) -> "PriceTable":
        """Read the compiled table. Raises PriceTableError when it is missing or malformed."""
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            rows = [_row(each) for each in data["models"]]
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
            msg = f"{file.name}: not a price table ({error!r}); run `make prices` and deploy again"
            raise PriceTableError(msg) from error
        return cls(rows)

    def quote(self, raw_model: str, at: datetime) -> Quote:
        """Return the price of a model, by any of its names, at a moment (aware UTC)."""
        model, day = model_ids.normalise(raw_model), at.astimezone(UTC).date()
        known = self._quotes.get((model, day))
        if known is None:
            known = self._quotes[model, day] = self._look_up(model, day)
        return known

    def _look_up(self, model: str, day: date) -> Quote:
        bare = model_ids.without_geography(model)
        # A geography the table does not know is priced as its siblings are; the dearer first.
        for name in (model, bare, f"us.{bare}"):
            row = next((row for row in self._rows if row.covers(name)), None)
            if row is not None:
                return Quote(row.on(day), guessed=False)
        return Quote(self.dearest(day, embedding=model_ids.is_embedding(model)), guessed=True)

    def dearest(self, day: date, *, embedding: bool = False) -> Price:
        """Return, per kind of token, the highest price any model (or any embedding model) has on the day."""
        if embedding:
            return Price(DEAREST_EMBEDDING_USD, DEAREST_EMBEDDING_USD, DEAREST_EMBEDDING_USD, DEAREST_EMBEDDING_USD)
        prices = [row.on(day) for row in self._rows]
        return Price(
            input=max(price.input for price in prices),
            output=max(price.output for price in prices),
            cache_read=max(price.cache_read for price in prices),
            cache_write=max(price.cache_write for price in prices),
        )

    def models_dearer_than(self, output_usd: Decimal, day: date) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Split the matchers of all models by output price: (dearer than so many USD a million, the others)."""
        split: tuple[list[str], list[str]] = ([], [])
        for row in self._rows:
            split[row.on(day).output <= output_usd].extend(row.matchers)
        return tuple(split[0]), tuple(split[1])


def _row(data: Mapping[str, Any]) -> _Row:
    matchers = tuple(data["match"])
    if not matchers or any(each[:1] not in _TESTS or len(each) == 1 for each in matchers):
        msg = f"match {matchers!r}"
        raise ValueError(msg)
    dated = tuple(sorted(_dated(data["prices"]), key=lambda pair: pair[0]))
    if not dated:
        msg = f"no price for {matchers!r}"
        raise ValueError(msg)
    return _Row(matchers, dated)


def _dated(prices: Iterable[Mapping[str, str]]) -> Iterable[tuple[date, Price]]:
    for each in prices:
        amounts = {kind: Decimal(each[kind]) for kind in ("input", "output", "cache_read", "cache_write")}
        if not all(amount.is_finite() and amount >= 0 for amount in amounts.values()):
            msg = f"price {each!r}"
            raise ValueError(msg)
        yield date.fromisoformat(each["from"]), Price(**amounts)
