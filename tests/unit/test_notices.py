"""The exact text of each kind of notice, in ``tests/notices``: what a person reads on a phone at 3 a.m.

After a change of words: ``python -m tests.unit.test_notices`` writes the files anew; read the diff.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import lambdas.core
from lambdas.core.aftermath import Burning
from lambdas.core.alarm_events import Rang
from lambdas.core.allowances import allowance_notice
from lambdas.core.anomaly import Anomaly, anomaly_notice
from lambdas.core.baseline import Past, Used, day_baseline, spikes
from lambdas.core.budget_message import BudgetFigures, budget_warning
from lambdas.core.decision import decide
from lambdas.core.digest import Digest, digest_notice, spike_notice
from lambdas.core.health import News, health_notice, ringing_notice
from lambdas.core.iam_events import Drift, RefusedDelete
from lambdas.core.levels import Level
from lambdas.core.limits import Ladder, Limit, Verdict
from lambdas.core.live_drill import Change as Measured
from lambdas.core.live_drill import Measured as Drilled
from lambdas.core.live_drill import drill_notice, failed_notice
from lambdas.core.notice import (
    Links,
    Notice,
    SpendSummary,
    Stand,
    StopReport,
    arming_notice,
    blind_notice,
    crosscheck_notice,
    drift_notice,
    escalated,
    gap_notice,
    held_delete_notice,
    owner_notice,
    prices_notice,
    release_notice,
    standing_notice,
    still_burning_notice,
    stop_notice,
    unlisted_notice,
    warn_notice,
)
from lambdas.core.own_edits import Edit, edit_notice
from lambdas.core.price_list import Change, Key, Pending
from lambdas.core.prices import Scope as PriceScope
from lambdas.core.spend import Spend
from lambdas.core.telling import Matter
from lambdas.core.usage import Tier
from lambdas.core.windows import Window
from tests.unit.test_crosscheck import billed, check, metered

FILES = Path(__file__).parents[1] / "notices"
NOW = datetime(2026, 11, 22, 21, 42, tzinfo=UTC)
NOON = NOW.replace(hour=12, minute=0)
LINKS = Links("https://release", "https://status", "https://kill", "aws iam set-default-policy-version ...")
SPEND = SpendSummary(
    findings=("$60.00 of $50/day, $64.00 with usage on its way",),
    burn="$1.00 a minute",
    models=("$60.00 today  us.anthropic.claude-opus-5 (us-east-1)",),
    guessed=("newco.colossus ($3.00 this month)",),
    gaps=("eu-west-1: usage cannot be read (Throttling)",),
)
KEY = Key("newco.colossus", PriceScope.IN_REGION, None, Tier.STANDARD, "input")
DAY = Limit(Window.DAY, Decimal(50), Ladder(Decimal(50), Decimal(80)))
MODEL = "us.anthropic.claude-opus-5 (us-east-1)"
BRAKE = "arn:aws:iam::123456789012:policy/bedrock-spend-brake"


def report(level: Level = Level.STOP, **changes: object) -> StopReport:
    values = {
        "reason": "$60.00 of $50/day",
        "enforced": True,
        "done": ("switch bedrock-spend-brake to stop (v3)", "attach bedrock-spend-sweep to role/admin"),
        "uncovered": {"arn:aws:iam::123456789012:role/aws-reserved/x": "Identity Center role"},
        "armed": 12,
        "verified": True,
    }
    return StopReport(level, **(values | changes))  # type: ignore[arg-type]


def warning() -> Notice:
    windows = {Window.HOUR: Decimal(9), Window.DAY: Decimal(30), Window.MONTH: Decimal(90)}
    spend = Spend(NOW, Decimal("0.50"), windows, {MODEL: Decimal(30)}, {})
    decision = decide(spend, (DAY,), (), Verdict.OK, timedelta(minutes=4), NOW)
    return warn_notice(decision, SpendSummary.of(spend, decision), LINKS)


def past() -> Past:
    hours = {
        NOON - timedelta(days=days): {MODEL: Used(Decimal(usd), 250_000)} for days, usd in ((14, 2), (7, 4), (0, 12))
    }
    return Past(NOON.replace(hour=0) - timedelta(days=14), NOON.replace(hour=0) + timedelta(days=1), hours)


def digest() -> Notice:
    known = past()
    return digest_notice(
        Digest(
            NOON.date(),
            known,
            day_baseline(known, NOON.date()),
            (DAY, Limit(Window.HOUR, Decimal(20), DAY.ladder), Limit(Window.MONTH, Decimal(500), DAY.ladder)),
            now=("$1.00 of $50/day, $1.00 with usage on its way",),
            level=Level.STEP_DOWN,
            gaps=("eu-west-1: usage cannot be read (Throttling)",),
            work=(("batch job nightly (us-east-1)", Decimal("3.20")),),
            standing=(("provisioned throughput mine (us-east-1)", Decimal("21.18")),),
            allowances=("$40 more until 2026-11-23 15:00 UTC, by ada: a demo",),
            watched=("all is as it should be (2026-11-23 06:30 UTC)",),
            spiked=(MODEL,),
        ),
        LINKS,
    )


EXAMPLES: dict[str, Callable[[], Notice]] = {
    "stop": lambda: stop_notice(report(), SPEND, LINKS),
    "stop-not-fully": lambda: stop_notice(
        report(failed={"attach bedrock-spend-sweep to role/x": "Throttling"}, verified=False), SPEND, LINKS
    ),
    "step-down": lambda: stop_notice(report(Level.STEP_DOWN, uncovered={}), SPEND, LINKS),
    "stop-alone": lambda: stop_notice(
        report(Level.RELEASED, reason="killed from the console", uncovered={}, alone=("role/agent",)),
        SpendSummary(),
        LINKS,
    ),
    "report-only": lambda: stop_notice(report(enforced=False, verified=False), SPEND, LINKS),
    "warning": warning,
    "still-burning": lambda: still_burning_notice(
        Burning(3, {MODEL: Decimal("2.10")}),
        Level.STOP,
        ("role/break-glass",),
        "The stop is gone through again.",
        LINKS,
    ),
    "standing": lambda: standing_notice(
        NOW,
        Stand(
            Level.STOP,
            NOON,
            "$60.00 of $50/day",
            {"attach bedrock-spend-sweep to role/x": "Throttling"},
            {"role/y": "Identity Center role"},
            ("$21.18 an hour  provisioned throughput mine (us-east-1)",),
            NOON + timedelta(hours=12),
            ("dynamodb:Query: Throttling: not now",),
        ),
        LINKS,
    ),
    "blind": lambda: blind_notice(NOON, NOW, SPEND.gaps, LINKS),
    "gap": lambda: gap_notice(SPEND.gaps, LINKS),
    "escalated": lambda: escalated(blind_notice(NOON, NOW, SPEND.gaps, LINKS), Matter(NOON, NOW, 3), NOW),
    "unlisted-region": lambda: unlisted_notice({"ap-south-1": ("AWS/Bedrock",)}, LINKS),
    "prices": lambda: prices_notice(
        (Pending("newco.colossus", True, (Change("list", KEY, Decimal(1), Decimal(20)),)),),
        "bedrock-spend-prices",
        LINKS,
    ),
    "crosscheck": lambda: crosscheck_notice(check(metered("10", "10", "10"), billed("15", "15", "15")), LINKS),
    "release": lambda: release_notice(
        "fixed",
        "ada",
        ["switch bedrock-spend-brake to released (v1)"],
        {},
        "$50 more until 2026-11-22 22:30 UTC",
        LINKS,
    ),
    "release-not-fully": lambda: release_notice(
        "fixed", "ada", [], {"put back key ACCA1 of user/dev": "Throttling"}, None, LINKS, "role/agent"
    ),
    "arming": lambda: arming_notice(
        {"role/full": "20 of 20 slots are taken"},
        {"Developers": ("AWSReservedSSO_Developers_1",)},
        ("aws sso ...",),
        LINKS,
    ),
    "drift": lambda: drift_notice(
        Drift("DetachRolePolicy", "DetachRolePolicy bedrock-spend-brake from role/x", "arn:x", NOW, "e"), "stop", LINKS
    ),
    "held-deletion": lambda: held_delete_notice(
        RefusedDelete("role/agent", "arn:aws:iam::123456789012:role/cfn", NOW), "stop is wanted", BRAKE, LINKS
    ),
    "owner-stopped": lambda: owner_notice("role/agent", "a loop", stopped=True, by="person", whom="the platform team"),
    "owner-released": lambda: owner_notice("role/agent", "fixed", stopped=False, by="ada", whom="the platform team"),
    "digest": digest,
    "spike": lambda: spike_notice(spikes(past(), NOON, 300, Decimal(1)), NOON, 300, past(), LINKS),
    "budget": lambda: budget_warning(
        BudgetFigures(Decimal(250), Decimal(500), Decimal(610)), "bedrock-spend-monthly", "FORECASTED", "", LINKS
    ),
    "anomaly": lambda: anomaly_notice(
        Anomaly("a1", "e1", NOW, Decimal("123.45"), ("Amazon Bedrock",), "https://console/anomaly"), "", LINKS
    ),
    "health": lambda: health_notice(
        News(("the topic has no confirmed subscription",), ("old prices",), ("a rule",)), LINKS
    ),
    "alarm": lambda: ringing_notice(Rang("bedrock-spend-x", "eu-west-1", NOW, "e"), "tokens", LINKS),
    "drill": lambda: drill_notice(
        Drilled(NOW, "anthropic.claude-x", "us-east-1", Measured(2.1, 3.4, 0), Measured(1.2, 4.5, 1)),
        timedelta(minutes=4),
        LINKS,
    ),
    "drill-failed": lambda: failed_notice(("the canary was never denied",), "role/bedrock-spend-canary", LINKS),
    "allowance": lambda: allowance_notice("allowed $40 more", "ada", "a demo", ("$50/day, raised to $90.00",), LINKS),
    "edit": lambda: edit_notice(
        Edit("DisableRule", "rule bedrock-spend-x", "arn:aws:iam::1:user/eve", NOW, "e"), LINKS
    ),
}


def written(notice: Notice) -> str:
    return f"{notice.kind}{' URGENT' if notice.urgent else ''}\n{notice.subject}\n\n{notice.text}"


def composers() -> set[str]:
    """Return the names of all functions of the core that compose a notice."""
    found = set()
    for each in pkgutil.iter_modules(lambdas.core.__path__):
        module = importlib.import_module(f"lambdas.core.{each.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            ours = function.__module__ == module.__name__ and not name.startswith("_")
            if ours and inspect.get_annotations(function).get("return") in {"Notice", Notice}:
                found.add(name)
    return found - {"compose"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_text_of_each_kind_is_as_written_down(name: str):
    assert written(EXAMPLES[name]()) == (FILES / f"{name}.txt").read_text(encoding="utf-8")


def test_each_composer_has_an_example_and_each_file_is_one():
    here = Path(__file__).read_text(encoding="utf-8")
    assert {each for each in composers() if f" {each}(" not in here} == set()
    assert {each.stem for each in FILES.glob("*.txt")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_notice_has_a_kind_and_fits_sns_and_a_phone(name: str):
    notice = EXAMPLES[name]()
    assert notice.kind
    assert notice.kind == notice.kind.lower().replace(" ", "-")
    assert len(notice.subject) <= 100
    assert notice.subject.isascii()
    assert notice.subject.isprintable()
    first = notice.text.partition("\n")[0]
    assert 10 < len(first) <= 160, "the first line says what happened"
    assert not first.startswith("http")


def _write() -> None:
    FILES.mkdir(exist_ok=True)
    for name, example in EXAMPLES.items():
        (FILES / f"{name}.txt").write_text(written(example()), encoding="utf-8")


if __name__ == "__main__":
    _write()
