"""``bedrock-spend prices``: what the meter reckons with, where each price comes from, and how old it is."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from lambdas import repricing
from lambdas.core import model_ids
from lambdas.core.errors import GuardrailError
from lambdas.core.price_list import PriceList, PriceListError
from lambdas.core.prices import PriceTable, Pricing
from lambdas.wiring import Wiring

_LABEL = re.compile(r"([^ ()]+) \(([a-z0-9-]+)\)")
"""How the meter names a model in a region; what the inventory found is named otherwise."""
_KINDS = ("input", "output", "cache_read", "cache_write", "image")


def refresh(wiring: Wiring, now: datetime) -> dict[str, Any]:
    """Read the prices anew, and bring the step-down up to them. Raises AwsCallError."""
    refreshed = repricing.refresh(wiring.repricing_tools, now)
    return {"refreshed": refreshed.answer()} | _followed(wiring, list(refreshed.problems))


def accept(wiring: Wiring, fingerprint: str, now: datetime) -> dict[str, Any]:
    """Put a change into force, and bring the step-down up to it. Raises RefusedError, AwsCallError."""
    return repricing.accept(fingerprint, wiring.repricing_tools, now) | _followed(wiring, [])


def _followed(wiring: Wiring, problems: list[str]) -> dict[str, Any]:
    try:
        wiring.writer.refresh()
    except GuardrailError as error:
        problems.append(f"the step-down does not follow the prices in force yet: {error}")
    return {"problems": problems}


def quotes(wiring: Wiring, models: Iterable[str], region: str | None, now: datetime) -> dict[str, Any]:
    """Return the prices of models, by default of those the meter saw today. Raises AwsCallError."""
    table, problems = PriceTable.load(pricing=wiring.settings.pricing), list[str]()
    body = wiring.ledger.kept("prices")
    kept: PriceList | None = None
    try:
        kept = None if body is None else PriceList.from_document(body)
    except PriceListError as error:
        problems.append(str(error))
    whole = table if kept is None else table.with_listed(kept.listed())
    named = [(each, region) for each in models] or _in_use(wiring.ledger.latest_decision())
    as_of = kept.as_of if kept and kept.as_of else datetime.combine(table.as_of, time(), UTC)
    age = (now - as_of).days
    own = "the account's own price list" if kept and kept.as_of else "the price table it was deployed with"
    answer: dict[str, Any] = {
        "summary": f"Prices are of {as_of:%Y-%m-%d}, {age} days old, from {own}.",
        "as_of": as_of.isoformat(),
        "models": [_quoted(model, whole, kept, wiring.settings.pricing, place, now) for model, place in named],
    }
    if kept is not None:
        answer["sources"] = {source: f"{at:%Y-%m-%d %H:%M} UTC" for source, at in sorted(kept.read_at.items())}
        answer["waiting_for_you"] = {
            each.fingerprint: [each.model, *map(str, each.changes)] for each in kept.pending if each.acceptable
        }
    return answer | ({"problems": problems} if problems else {})


def _in_use(decision: Mapping[str, Any] | None) -> list[tuple[str, str | None]]:
    """Return the models of the meter's last full read and where they were called, the dearest first."""
    labels = ((decision or {}).get("figures") or {}).get("models") or ()
    return [(found[1], found[2]) for each in labels if (found := _LABEL.fullmatch(each))]


def _quoted(
    model: str, table: PriceTable, kept: PriceList | None, pricing: Pricing, region: str | None, now: datetime
) -> dict[str, Any]:
    quote = table.quote(model, now, region=region)
    usd = {kind: _text(getattr(quote.price, kind)) for kind in _KINDS}
    return {"model": model, **usd, "source": _source(model, quote.guessed, kept, pricing), "guessed": quote.guessed}


def _source(model: str, guessed: bool, kept: PriceList | None, pricing: Pricing) -> str:  # noqa: FBT001 - as a quote has it
    name = model_ids.normalise(model)
    bare = model_ids.without_geography(name)
    factor = "" if pricing.factor == 1 else f", times {pricing.factor}"
    if any(each.covers((name, bare)) for each in pricing.overrides):
        return "[prices] of guardrail.toml"
    if guessed:
        return f"unknown: the dearest known of its kind{factor}"
    listed = [
        source
        for source, prices in (kept.prices if kept else {}).items()
        if any(key.model == bare or model_ids.same_model(key.model, bare) for key in prices)
    ]
    return (", ".join(listed) or "the table it was deployed with") + factor


def _text(usd: Decimal) -> str:
    return f"{usd.normalize():f}"
