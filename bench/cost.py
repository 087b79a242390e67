"""What the guardrail itself costs a month: counted calls of the real meter x AWS list prices, no free tier.

``python -m bench.cost [--out out/bench]`` writes ``out/bench/cost.json``.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from lambdas.aws.cloudwatch import PLANES, TokenMetrics
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Allowance, Ladder, Limit
from lambdas.core.notice import Links
from lambdas.core.plan import BrakeState, PolicyState
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Series
from lambdas.core.windows import Window
from lambdas.metering import MeterTools, tick

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
TICKS_A_MONTH = 730 * 60

# List prices, us-east-1, USD.
PRICES = {
    "cloudwatch:ListMetrics": Decimal("0.01") / 1000,
    "cloudwatch:GetMetricData metric": Decimal("0.01") / 1000,
    "dynamodb:read": Decimal("0.125") / 1_000_000,
    "dynamodb:write": Decimal("0.625") / 1_000_000,
    "lambda:request": Decimal("0.20") / 1_000_000,
    "lambda:GB-second (arm64)": Decimal("0.0000133334"),
    "alarm": Decimal("0.10"),
    "custom metric": Decimal("0.30"),
}
METER_SECONDS, METER_GB = Decimal(1), Decimal(1)
"""Billed for a tick: an assumption until it is measured in an account."""
STANDING = {"alarm": 12, "custom metric": 4}
"""Seven error alarms, five token alarms at one metric each; four custom metrics while something moves."""
SCENARIOS = {"idle": (4, 0), "small team": (1, 5), "steady": (3, 20), "fleet": (10, 200)}
"""Regions and models in all of them together; four kinds of tokens each."""


@dataclass
class Counted:
    """Stands in for the services and counts what is paid for."""

    models: dict[str, int]
    bill: Counter[str] = field(default_factory=Counter)

    def client(self, region: str) -> "CloudWatch":
        """Return the stand-in for a region."""
        return CloudWatch(self, region)


@dataclass
class CloudWatch:
    """CloudWatch of one region."""

    counted: Counted
    region: str

    def get_paginator(self, operation: str) -> "CloudWatch":
        """Page itself."""
        del operation
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - as boto3
        """Answer with as many series as the scenario has, and no data."""
        if "MetricDataQueries" in request:
            queries = request["MetricDataQueries"]
            self.counted.bill["cloudwatch:GetMetricData metric"] += len(queries)
            yield {"MetricDataResults": [{"Id": each["Id"], "StatusCode": "Complete"} for each in queries]}
            return
        self.counted.bill["cloudwatch:ListMetrics"] += 1
        plane = PLANES[0]
        names = [each for each in plane.kinds if each.endswith("TokenCount")]
        models = self.counted.models[self.region] if request["Namespace"] == plane.namespace else 0
        yield {
            "Metrics": [
                {"MetricName": name, "Dimensions": [{"Name": "ModelId", "Value": f"model-{index}"}]}
                for index in range(models)
                for name in names
            ]
        }


@dataclass
class Ledger:
    """The ledger, counting reads and writes."""

    bill: Counter[str]
    seen: frozenset[Series] = frozenset()

    def _read(self) -> None:
        self.bill["dynamodb:read"] += 1

    def allowances(self, now: datetime) -> list[Allowance]:
        """Count a read."""
        del now
        self._read()
        return []

    def known_series(self, month: datetime) -> frozenset[Series]:
        """Count a read of 4 KB for each 30 series."""
        del month
        self.bill["dynamodb:read"] += 1 + len(self.seen) // 30
        return self.seen

    def remember_series(self, month: datetime, series: Any) -> None:  # noqa: ANN401 - not looked at
        """Keep them; a new model now and then costs nothing worth counting."""
        del month
        self.seen |= frozenset(series)

    def wanted(self) -> Wanted:
        """Count a read."""
        self._read()
        return Wanted(Level.RELEASED)

    def latest_decision(self) -> None:
        """Count a read."""
        self._read()

    def record_decision(self, at: datetime, body: dict[str, Any], *, news: bool) -> None:
        """Count a write."""
        del at, body, news
        self.bill["dynamodb:write"] += 1


class Brake:
    """IAM costs nothing."""

    sweep_arn = "p/sweep"

    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return nobody."""
        del policy_arn
        return frozenset()

    def levels(self) -> BrakeState:
        """Return a released brake."""
        return BrakeState(
            *(PolicyState(f"p/{each}", Level.RELEASED, dict.fromkeys(Level, "v1")) for each in ("brake", "sweep"))
        )


def monthly(regions: int, models: int) -> dict[str, Decimal]:
    """Return USD a month by what is paid for."""
    names = [f"region-{each}" for each in range(regions)]
    shares = {name: models // regions + (index < models % regions) for index, name in enumerate(names)}
    counted = Counted(shares)
    ledger = Ledger(counted.bill)
    tools = MeterTools(
        usage=TokenMetrics(counted.client, names),  # type: ignore[arg-type]  # a stand-in
        ledger=ledger,
        brake=Brake(),
        prices=PriceTable.load(),
        limits=(Limit(Window.DAY, Decimal(50), Ladder(None, None)),),
        reaction=timedelta(minutes=4),
        enforce=True,
        links=Links("", "", "", ""),
        ask_for_stop=lambda _request: None,
        send=lambda _notice: None,
    )
    tick(NOW, tools)
    counted.bill.clear()  # the first tick has learnt the series
    tick(NOW, tools)
    bill = {what: PRICES[what] * count * TICKS_A_MONTH for what, count in counted.bill.items()}
    bill["lambda:request"] = PRICES["lambda:request"] * TICKS_A_MONTH
    bill["lambda:GB-second (arm64)"] = PRICES["lambda:GB-second (arm64)"] * METER_SECONDS * METER_GB * TICKS_A_MONTH
    bill["alarm"] = PRICES["alarm"] * STANDING["alarm"]
    if models:
        bill["custom metric"] = PRICES["custom metric"] * STANDING["custom metric"]
    return bill


def main() -> None:
    """Print and write the bill of each scenario."""
    parser = argparse.ArgumentParser(description="What the guardrail itself costs a month.")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    out: Path = parser.parse_args().out
    figures: dict[str, Any] = {}
    for name, (regions, models) in SCENARIOS.items():
        bill = monthly(regions, models)
        figures[name] = {
            "regions": regions,
            "models": models,
            "usd_a_month": float(round(sum(bill.values(), Decimal(0)), 2)),
            "by": {what: float(round(usd, 2)) for what, usd in bill.items()},
        }
        print(f"{name:<11} {regions:>2} regions {models:>3} models  ${sum(bill.values()):8.2f} a month")
    out.mkdir(parents=True, exist_ok=True)
    report = {"name": "cost", "figures": figures, "targets": {}, "met": True}
    (out / "cost.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
