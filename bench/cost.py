"""What the guardrail itself costs a month: counted calls of the real meter x AWS list prices, no free tier.

``python -m bench.cost [--out out/bench]`` writes ``out/bench/cost.json``.

The real tick runs minute by minute on a simulated CloudWatch (`bench.stand_in`) over some days of an account's
work; what it asked for, kept and published is counted and scaled to a month of 730 hours.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench import report, template
from bench.account import Account
from bench.incidents import TRIPWIRE_MINUTES
from bench.stand_in import BEDROCK, CALLS, CloudWatch, Stream
from bench.traces import DAY, DAYS_A_LIMIT, MONTH_IN_USUAL_DAYS, OFFICE, START, Model
from lambdas.core.limits import Ladder, Limit
from lambdas.core.own_cost import HOURS_A_MONTH, PRICES, bill
from lambdas.core.prices import PriceTable, Pricing
from lambdas.core.usage import Kind
from lambdas.core.windows import Window
from lambdas.settings import Settings

ASSUMPTIONS: Mapping[str, Any] = {
    "seconds_a_tick": 0.3,
    "seconds_a_full_read_adds": 1.5,
    "meter_gb": 1,
    "seconds_an_inventory": 3,
    "inventory_gb": 0.5,
    "log_kb_a_tick": 1.5,
    "regions_enabled": 17,
    "cross_check_requests_a_day": 1,
    "own_metrics_counted_twice_a_day": 60,
    "usd_a_usual_day": {"idle": 0, "small team": 20, "steady": 100, "fleet": 2000},
    "models": "each is called as often as the others, with the same tokens; with cheap tokens each takes the same USD, "
    "so that nearly all tokens are of the cheapest and the bound on what is unread is wide",
    "limits": "a day four usual ones, a minute its 60th part, a month 55 usual days; max_blind_usd by default",
}
"""What is not counted but taken: times in Lambda are not measured in an account."""

_MODELS = (
    "us.anthropic.claude-opus-5",
    "us.anthropic.claude-sonnet-4-6",
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "amazon.nova-pro-v1:0",
    "amazon.nova-lite-v1:0",
    "us.anthropic.claude-sonnet-5",
    "us.anthropic.claude-opus-4-6-v1",
    "us.anthropic.claude-haiku-5-5",
    "openai.gpt-5.6-sol",
    "openai.gpt-oss-120b",
    "amazon.nova-micro-v1:0",
    "us.amazon.nova-premier-v1:0",
    "amazon.nova-2-lite-v1:0",
    "deepseek.v3.2",
    "qwen.qwen3-235b-a22b-2507",
    "mistral.mistral-large-3-675b-instruct",
    "us.meta.llama4-maverick-17b-instruct-v1:0",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "us.anthropic.claude-opus-4-8",
    "zai.glm-5",
)
"""An account takes them in this order; a region that has all of them has 20."""
_MIX = {Kind.INPUT: 3.0, Kind.OUTPUT: 1.0, Kind.CACHE_READ: 6.0, Kind.CACHE_WRITE: 0.5}


@dataclass(frozen=True, slots=True)
class Scenario:
    """An account's size and hours."""

    name: str
    regions: int
    models: int
    """In all regions together."""
    target_usd: int | None
    days: int
    """How many are simulated, after a first one that is not counted."""
    works_at: Callable[[int], bool] = lambda _minute: True
    usd_alike: bool = False
    """Whether each model takes the same USD of a day; else each is called as often as the others."""

    @property
    def usual_day_usd(self) -> float:
        """What it spends on a working day."""
        return float(ASSUMPTIONS["usd_a_usual_day"][self.name.partition(",")[0]])

    def settings(self) -> Settings:
        """Return the settings it is deployed with."""
        day = Decimal(DAYS_A_LIMIT * (self.usual_day_usd or 12.5))
        limits = {Window.MINUTE: day / 60, Window.DAY: day, Window.MONTH: day / DAYS_A_LIMIT * MONTH_IN_USUAL_DAYS}
        ladder = Ladder(Decimal(50), Decimal(80))
        names = tuple(f"region-{each}" for each in range(self.regions))
        return Settings(
            prefix="bedrock-spend",
            enforce=True,
            regions=names,
            watched=names,
            limits=tuple(Limit(window, round(usd, 2), ladder) for window, usd in limits.items()),
            budget=ladder,
            reaction=timedelta(minutes=4),
            max_blind_usd=max(Decimal(5), day / 100),
            exempt=(),
            external_anthropic=False,
        )

    def streams(self) -> list[Stream]:
        """Return the usage of each minute, with noise."""
        dice = random.Random(self.name)  # noqa: S311 - a simulation
        minutes = (self.days + 1) * DAY
        working = sum(map(self.works_at, range(DAY)))
        found = []
        models = [_model(_MODELS[index // self.regions]) for index in range(self.models)]
        # What one call takes of a USD, or the same for all.
        weights = [1.0 if self.usd_alike else 1 / each.for_a_usd()[CALLS] for each in models]
        for index, model in enumerate(models):
            mean = self.usual_day_usd * weights[index] / sum(weights) / working
            usd = [mean * dice.uniform(0.7, 1.3) if self.works_at(minute) else 0.0 for minute in range(minutes)]
            found.append(Stream(f"region-{index % self.regions}", BEDROCK, model.id, usd, model.for_a_usd()))
        return found


def _office(minute: int) -> bool:
    return minute // DAY % 7 < _SATURDAY and minute % DAY in OFFICE


_SATURDAY = 5
SCENARIOS = (
    Scenario("idle", regions=4, models=0, target_usd=3, days=2),
    Scenario("small team", regions=1, models=5, target_usd=5, days=7, works_at=_office),
    Scenario("steady", regions=3, models=20, target_usd=12, days=2),
    Scenario("steady, cheap tokens", regions=3, models=20, target_usd=None, days=1, usd_alike=True),
    Scenario("fleet", regions=10, models=200, target_usd=70, days=1),
)
"""``START`` is a Monday; the first day is not counted, so that seven days of office hours are a week."""


def _model(model_id: str) -> Model:
    price = PriceTable.load(pricing=Pricing(priority_tier=False)).quote(model_id, START).price
    return Model(model_id, BEDROCK, {kind: float(price.of(kind) * 1_000_000) for kind in _MIX}, _MIX)


@dataclass
class Counted:
    """What happened on the days that count."""

    bill: Counter[str]
    ticks: int = 0
    reads: int = 0
    metric_hours: int = 0
    stops: int = 0


def play(scenario: Scenario) -> Counted:
    """Let the meter run; ticks by the minute, and when a tripwire rings."""
    cloudwatch = CloudWatch(START, scenario.streams(), scenario.name)
    settings = scenario.settings()
    account = Account(cloudwatch, settings, PriceTable.load())
    windows = {each.window for each in settings.limits}
    sources = sorted({(each.region, each.namespace) for each in cloudwatch.streams})
    ringing: set[tuple[str, str]] = set()
    found = Counted(Counter())
    published: set[tuple[int, str]] = set()
    for minute in range((scenario.days + 1) * DAY):
        if minute == DAY:
            cloudwatch.bill.clear()
            account.ledger.bill.clear()
            published.clear()
            found = Counted(Counter())
        cloudwatch.now = START + timedelta(minutes=minute + 0.5)
        active = {each for each in sources if cloudwatch.active(*each, minute - TRIPWIRE_MINUTES, minute)}
        for woken in [False] + [True] * bool(active - ringing):
            tick = account.tick(cloudwatch.now, woken=woken)
            found.ticks += 1
            found.reads += bool(tick.why)
            if tick.moving:
                published |= {(minute // 60, name) for name in tick.figures(windows)}
        ringing = active
    found.metric_hours = len(published)
    found.stops = len(account.asked)
    found.bill = cloudwatch.bill + account.ledger.bill
    return found


def monthly(scenario: Scenario, counted: Counted) -> dict[str, Decimal]:
    """Return USD a month by what is paid for."""
    scale = Decimal(HOURS_A_MONTH) / (24 * scenario.days)
    given = {name: Decimal(str(value)) for name, value in ASSUMPTIONS.items() if isinstance(value, int | float)}
    seconds = counted.ticks * given["seconds_a_tick"] + counted.reads * given["seconds_a_full_read_adds"]
    inventories = Decimal(4 * HOURS_A_MONTH)
    amounts = {what: count * scale for what, count in counted.bill.items() if what in PRICES}
    # The inventory looks for use in every enabled region, once an hour, on both planes.
    amounts["cloudwatch:ListMetrics"] = (
        amounts.get("cloudwatch:ListMetrics", Decimal(0)) + 2 * given["regions_enabled"] * HOURS_A_MONTH
    )
    # What CloudWatch was asked for is counted in the ledger after each tick, and the own cost from that.
    amounts["dynamodb:write"] = amounts.get("dynamodb:write", Decimal(0)) + counted.ticks * scale
    amounts["cloudwatch:GetMetricData metric"] = amounts.get("cloudwatch:GetMetricData metric", Decimal(0)) + (
        given["own_metrics_counted_twice_a_day"] * 2 * HOURS_A_MONTH / 24
    )
    amounts["lambda:request"] = counted.ticks * scale + inventories
    amounts["lambda:GB-second (arm64)"] = (
        seconds * given["meter_gb"] * scale + inventories * given["seconds_an_inventory"] * given["inventory_gb"]
    )
    amounts["logs:GB"] = counted.ticks * scale * given["log_kb_a_tick"] / 1_000_000
    amounts["alarm"] = Decimal(template.alarms(scenario.regions, scenario.settings().limits))
    amounts["custom metric"] = counted.metric_hours * scale / HOURS_A_MONTH
    amounts["ce:request"] = given["cross_check_requests_a_day"] * HOURS_A_MONTH / 24
    return bill(amounts)


def main() -> None:
    """Print and write the bill of each scenario."""
    out: Path = report.arguments("What the guardrail itself costs a month.").parse_args().out
    figures: dict[str, Any] = {"assumptions": {**ASSUMPTIONS, "dashboard_usd_apart": float(PRICES["dashboard"])}}
    met = True
    for each in SCENARIOS:
        counted = play(each)
        bill = monthly(each, counted)
        total = round(sum(bill.values(), Decimal(0)), 2)
        met &= (each.target_usd is None or total <= each.target_usd) and not counted.stops
        hours = 24 * each.days
        figures[each.name] = {
            "usd_a_month": float(total),
            "regions": each.regions,
            "models": each.models,
            "full_reads_an_hour": round(counted.reads / hours, 2),
            "false_stops": counted.stops,
            "by": {what: float(round(usd, 2)) for what, usd in sorted(bill.items())},
        }
        print(
            f"{each.name:<20} {each.regions:>2} regions {each.models:>3} models  ${total:8.2f} a month "
            f"(target {each.target_usd or '-'})  {counted.reads / hours:5.1f} full reads an hour"
        )
    targets = {f"{each.name}.usd_a_month": each.target_usd for each in SCENARIOS if each.target_usd}
    report.write(out, "cost", figures, targets, met=met)


if __name__ == "__main__":
    main()
