"""What the stack tells its functions through the environment: frozen values, or an error that names the variable."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from lambdas.core.assumptions import Assumptions
from lambdas.core.errors import GuardrailError
from lambdas.core.limits import Ladder, Limit
from lambdas.core.prices import Override, Pricing
from lambdas.core.principals import Spared
from lambdas.core.windows import Window

VARIABLE = "GUARDRAIL"
"""The configuration, as JSON; validated when the stack was synthesized."""


class SettingsError(GuardrailError):
    """A variable of the environment is missing or broken: deploy the stack again."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The user's configuration as the functions need it."""

    prefix: str
    enforce: bool
    regions: tuple[str, ...]
    """The regions the user listed; the meter finds others by itself."""
    watched: tuple[str, ...]
    """Those of them that have tripwires: quiet, they need not be read. Empty when the home region was not known."""
    limits: tuple[Limit, ...]
    budget: Ladder
    reaction: timedelta
    max_blind_usd: Decimal
    """The most that may be spent between two readings, by the worst the meter reckons with."""
    exempt: tuple[str, ...]
    external_anthropic: bool
    assumptions: Assumptions = field(default_factory=Assumptions)
    """Hourly prices and sizes that no API tells, for the inventory."""
    pricing: Pricing = field(default_factory=Pricing)
    """What the user knows of their own prices."""

    @property
    def own_path(self) -> str:
        """The IAM path of the guardrail's own roles."""
        return f"/{self.prefix}/"

    @property
    def spared(self) -> Spared:
        """Who is never touched."""
        return Spared(self.exempt)

    def tripwire(self, plane: str) -> str:
        """Return the name of the alarm on calls to a plane, ``bedrock`` or ``mantle``; the same in each region."""
        return f"{self.prefix}-calls-{plane}"

    def to_json(self) -> str:
        """Return what `read` reads."""
        return json.dumps(
            {
                "prefix": self.prefix,
                "enforce": self.enforce,
                "regions": list(self.regions),
                "watched": list(self.watched),
                "limits": [
                    {"window": each.window.value, "usd": str(each.usd), "ladder": _ladder_json(each.ladder)}
                    for each in self.limits
                ],
                "budget": _ladder_json(self.budget),
                "reaction_seconds": int(self.reaction.total_seconds()),
                "max_blind_usd": str(self.max_blind_usd),
                "exempt": list(self.exempt),
                "external_anthropic": self.external_anthropic,
                "assumptions": self.assumptions.to_json(),
                "prices": _pricing_json(self.pricing),
            },
            separators=(",", ":"),
        )


def variable(environment: Mapping[str, str], name: str) -> str:
    """Return a variable. Raises SettingsError when it is missing or empty."""
    value = environment.get(name, "")
    if not value:
        msg = f"environment variable {name} is missing: the function was changed by hand; deploy the stack again"
        raise SettingsError(msg)
    return value


def read(environment: Mapping[str, str]) -> Settings:
    """Read the configuration. Raises SettingsError."""
    text = variable(environment, VARIABLE)
    try:
        data = json.loads(text)
        return Settings(
            prefix=str(data["prefix"]),
            enforce=bool(data["enforce"]),
            regions=tuple(data["regions"]),
            watched=tuple(data["watched"]),
            limits=tuple(
                Limit(Window(each["window"]), Decimal(each["usd"]), _ladder(each["ladder"])) for each in data["limits"]
            ),
            budget=_ladder(data["budget"]),
            reaction=timedelta(seconds=data["reaction_seconds"]),
            max_blind_usd=Decimal(data["max_blind_usd"]),
            exempt=tuple(data["exempt"]),
            external_anthropic=bool(data["external_anthropic"]),
            assumptions=Assumptions.from_json(data["assumptions"]),
            pricing=_pricing(data["prices"]),
        )
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        msg = f"environment variable {VARIABLE} cannot be read ({error!r}): deploy the stack again"
        raise SettingsError(msg) from error


def _ladder_json(ladder: Ladder) -> dict[str, str | None]:
    return {
        "warn": None if ladder.warn is None else str(ladder.warn),
        "step_down": None if ladder.step_down is None else str(ladder.step_down),
    }


def _pricing_json(pricing: Pricing) -> dict[str, Any]:
    return {
        "factor": str(pricing.factor),
        "priority_tier": pricing.priority_tier,
        "long_context": pricing.long_context,
        "overrides": [
            {"model": each.model} | {kind: str(usd) for kind, usd in each.amounts.items()} for each in pricing.overrides
        ],
    }


def _pricing(data: Mapping[str, Any]) -> Pricing:
    return Pricing(
        factor=Decimal(data["factor"]),
        priority_tier=bool(data["priority_tier"]),
        long_context=bool(data["long_context"]),
        overrides=tuple(
            Override(each["model"], **{kind: Decimal(usd) for kind, usd in each.items() if kind != "model"})
            for each in data["overrides"]
        ),
    )


def _ladder(data: Mapping[str, Any]) -> Ladder:
    return Ladder(*(None if data[rung] is None else Decimal(data[rung]) for rung in ("warn", "step_down")))
