"""Work in flight and standing capacity: what a stop may end, what it must leave, and what that goes on costing."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from lambdas.core.assumptions import Assumptions

KEEP_TAG = "bedrock-spend-keep"
"""Standing capacity that carries this tag is never deleted, whatever its value."""


class Kind(StrEnum):
    """What goes on costing after every caller was denied, in the words people read."""

    BATCH = "batch job"
    CUSTOMIZATION = "customization job"
    EVALUATION = "evaluation job"
    OPTIMIZATION = "prompt optimization job"
    INGESTION = "ingestion job"
    FLOW = "flow execution"
    REASONING = "reasoning build"
    AGENT_EVALUATION = "agent evaluation"
    BROWSER = "browser session"
    CODE = "code session"
    IMPORT = "import job"
    COPY = "copy job"
    ASYNC = "asynchronous invocation"
    PROVISIONED = "provisioned throughput"
    ENDPOINT = "marketplace endpoint"
    DEPLOYMENT = "custom-model deployment"

    @property
    def key(self) -> str:
        """Return how the configuration spells it: ``provisioned-throughput``."""
        return self.replace(" ", "-")


IRREVERSIBLE = (Kind.PROVISIONED, Kind.ENDPOINT, Kind.DEPLOYMENT)
"""Deleted only where the configuration names the kind: none of them comes back."""

UNSTOPPABLE = (Kind.IMPORT, Kind.COPY, Kind.ASYNC)
"""AWS has no call that stops them."""

NO_CALL = "AWS has no call that stops it; what it goes on costing is not known"
"""Why such a job is not stopped."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user chose, by `Kind.key`."""

    irreversible: tuple[str, ...] = ()
    """Standing capacity that a stop deletes."""
    spare: tuple[str, ...] = ()
    """Kinds of work that a stop never looks for."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Capacity that costs by the hour until it is deleted."""

    kind: Kind
    names: tuple[str, ...]
    """Its name, ARN, model or instance type: a price of the user's may be for any of them."""
    units: int | None = 1
    """Model units or instances; None when AWS did not tell."""
    term: str = ""
    """The commitment, as AWS spells it: ``OneMonth``; empty when there is none."""
    until: datetime | None = None
    """The end of the term, where AWS tells it."""

    def committed(self, now: datetime) -> bool:
        """Tell whether AWS would refuse to delete it. A term without an end is one that has not ended."""
        return bool(self.term) and (self.until is None or now < self.until)

    def hourly(self, assumptions: Assumptions) -> str:
        """Return its cost in words; a price nobody stated is called assumed, a number AWS did not tell unknown."""
        known = assumptions.known(*self.names)
        usual = {
            Kind.PROVISIONED: assumptions.provisioned_unit_hour,
            Kind.ENDPOINT: assumptions.endpoint_instance_hour,
            Kind.DEPLOYMENT: assumptions.deployment_hour,
        }.get(self.kind)
        unit = usual if known is None else known
        if unit is None:
            return "goes on costing by the hour, how much is not known"
        how = " (assumed)" if known is None else ""
        if self.units is None:
            return f"goes on costing about {_usd(unit)} an hour{how} for each unit, their number is not known"
        return f"goes on costing about {_usd(unit * self.units)} an hour{how}"


def why_kept(capacity: Capacity, choice: Choice, assumptions: Assumptions, now: datetime) -> str:
    """Return why standing capacity is left, with its cost; empty when it may be deleted but for its tags."""
    cost = capacity.hourly(assumptions)
    if capacity.committed(now):
        end = "its end is not known" if capacity.until is None else f"it ends at {capacity.until:%Y-%m-%d %H:%M} UTC"
        return f"{cost}: AWS deletes nothing before its term is over ({capacity.term}, {end})"
    if capacity.kind.key not in choice.irreversible:
        return f'{cost}: add "{capacity.kind.key}" to work.irreversible, or delete it'
    return ""


def _usd(amount: Decimal) -> str:
    return f"${amount:,.2f}"
