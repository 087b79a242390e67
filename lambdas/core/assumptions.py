"""What AWS's APIs do not tell of cost: hourly prices and sizes, assumed with caution or set by the user."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Prices in USD where nothing better is known. No API lists them; each default errs on the dear side."""

    provisioned_unit_hour: Decimal = Decimal(164)
    """A model unit of provisioned throughput: the dearest on record (Claude 2, Tokyo, one month, in litellm's list)."""
    imported_unit_minute: Decimal = Decimal("0.12")
    """A custom model unit of an imported model: $0.0785 is on the list for the US, other regions are dearer."""
    deployment_hour: Decimal = Decimal("0.01")
    """A custom-model deployment: its calls are billed by the token, the model's keeping at $1.95 a month."""
    endpoint_instance_hour: Decimal = Decimal(114)
    """An instance of a marketplace endpoint: ml.p5.48xlarge at its first list price; small ones cost a tenth of it."""
    job_hour: Decimal = Decimal(100)
    """An hour of a customization job. AWS bills trained tokens, which no API tells."""
    batch_input_tokens: int = 3000
    """Input tokens of a batch record whose tokens CloudWatch does not show."""
    batch_output_tokens: int = 1000
    """Output tokens of such a record."""
    usd_per_hour: Mapping[str, Decimal] = field(default_factory=dict)
    """What the user knows better: USD by the hour for one unit, by name, ARN, model or instance type (* allowed)."""

    def known(self, *names: str) -> Decimal | None:
        """Return the user's price for something of these names; the first pattern that fits counts."""
        for pattern, usd in self.usd_per_hour.items():
            if any(fnmatchcase(name, pattern) for name in names):
                return usd
        return None

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads: only what is not the default, for an environment variable is short."""
        usual = Assumptions()
        changed = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != getattr(usual, each.name)
        }
        return {name: _plain(value) for name, value in changed.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Assumptions":
        """Read assumptions. Raises TypeError, ValueError or ArithmeticError for anything else."""
        given: dict[str, Any] = {}
        for name, value in data.items():
            if isinstance(value, Mapping):
                given[name] = {str(pattern): Decimal(usd) for pattern, usd in value.items()}
            else:
                given[name] = int(value) if name.endswith("_tokens") else Decimal(value)
        return cls(**given)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {pattern: str(usd) for pattern, usd in value.items()}
    return value if isinstance(value, int) else str(value)
