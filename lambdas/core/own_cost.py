"""What the guardrail itself costs: what AWS counted of it x list prices. Pure; `bench.cost` uses the same prices."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from lambdas.core.windows import Window

KEPT = "own-cost"
"""Under this name the ledger keeps the last estimate."""

NOT_YET = "not estimated yet; within 15 minutes of the deployment"

HOURS_A_MONTH = 730
LARGEST_GB = Decimal(1)
"""The most memory a function of ours has. What ran is counted as if all had it: nothing tells who ran how long."""

PRICES: Mapping[str, Decimal] = {
    "cloudwatch:ListMetrics": Decimal("0.01") / 1000,
    "cloudwatch:GetMetricData metric": Decimal("0.01") / 1000,
    "dynamodb:read": Decimal("0.125") / 1_000_000,
    "dynamodb:write": Decimal("0.625") / 1_000_000,
    "lambda:request": Decimal("0.20") / 1_000_000,
    "lambda:GB-second (arm64)": Decimal("0.0000133334"),
    "logs:GB": Decimal("0.50"),
    "alarm": Decimal("0.10"),
    "custom metric": Decimal("0.30"),
    "ce:request": Decimal("0.01"),
    "dashboard": Decimal(3),
    "key": Decimal(1),
}
"""List prices in us-east-1, USD. Those of alarms, custom metrics, dashboards and keys are for a month of each."""

FREE_DASHBOARDS = 3
"""So many an account has for nothing: one of those we need not count."""


def bill(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return USD by what is paid for. Raises KeyError for what has no price."""
    return {what: PRICES[what] * amount for what, amount in amounts.items()}


def month_share(now: datetime) -> Decimal:
    """Return how much of a month has gone by: what is paid by the month is billed by the hour."""
    hours = (now - Window.MONTH.start(now)).total_seconds() / 3600
    return Decimal(hours) / HOURS_A_MONTH


def estimate(amounts: Mapping[str, Decimal], gaps: Iterable[str], now: datetime) -> dict[str, Any]:
    """Return the estimate as the status tells it. With a gap it is at least so much, and says so."""
    usd = bill(amounts)
    lacking = "; ".join(gaps)
    how = (
        f"estimated {now:%Y-%m-%d %H:%M} UTC from what AWS counted since the 1st, at list prices without free tiers; "
        "mails, events and budget actions come on top"
    )
    return {
        "this_month_usd": f"{sum(usd.values(), Decimal(0)):.2f}",
        "how": f"AT LEAST, for not all could be read ({lacking}); {how}" if lacking else how,
        "by": {what: f"{each:.2f}" for what, each in sorted(usd.items(), key=lambda item: -item[1]) if each},
        "at": now.isoformat(),
    }
