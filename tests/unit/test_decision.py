"""The decision: ladders, headroom, allowances, and figures that are not complete."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from lambdas.core.decision import Decision, decide
from lambdas.core.limits import Allowance, Ladder, Limit, Verdict, margins
from lambdas.core.spend import Spend
from lambdas.core.windows import Window

LADDER = Ladder(warn=Decimal(50), step_down=Decimal(80))
DAY = Limit(Window.DAY, Decimal(50), LADDER)
BURN = Limit(Window.MINUTE, Decimal(5), LADDER)
REACTION = timedelta(minutes=4)


def spend(now: datetime, day: str = "0", burn: str = "0", gaps: tuple[str, ...] = ()) -> Spend:
    windows = dict.fromkeys((Window.HOUR, Window.DAY, Window.MONTH), Decimal(day))
    return Spend(now, Decimal(burn), windows, {}, {}, gaps)


def judge(
    at: Spend, *limits: Limit, allowances: tuple[Allowance, ...] = (), previous: Verdict = Verdict.OK
) -> Decision:
    return decide(at, limits or (DAY,), allowances, previous, REACTION, at.at)


@pytest.mark.parametrize(
    ("day", "verdict"),
    [
        ("0", Verdict.OK),
        ("24.99", Verdict.OK),
        ("25", Verdict.WARN),
        ("39.99", Verdict.WARN),
        ("40", Verdict.STEP_DOWN),
        ("49.99", Verdict.STEP_DOWN),
        ("50", Verdict.STOP),
        ("1000000", Verdict.STOP),
    ],
)
def test_each_rung_is_reached_exactly(now: datetime, day: str, verdict: Verdict):
    assert judge(spend(now, day)).verdict is verdict


def test_what_is_on_its_way_counts(now: datetime):
    # $46 spent, $1 a minute, four minutes until a stop holds: $50.
    assert judge(spend(now, "46", burn="1")).verdict is Verdict.STOP
    assert judge(spend(now, "46", burn="0.99")).verdict is Verdict.STEP_DOWN


def test_the_burn_limit_judges_the_rate_alone(now: datetime):
    assert judge(spend(now, "0", burn="4.99"), BURN).verdict is Verdict.STEP_DOWN
    assert judge(spend(now, "0", burn="5"), BURN).verdict is Verdict.STOP
    assert judge(spend(now, "1000000", burn="0"), BURN).verdict is Verdict.OK


def test_rungs_that_are_left_out_do_nothing(now: datetime):
    bare = replace(DAY, ladder=Ladder(None, None))
    assert judge(spend(now, "49.99"), bare).verdict is Verdict.OK
    assert judge(spend(now, "50"), bare).verdict is Verdict.STOP


def test_the_worst_limit_decides_and_gives_the_reason(now: datetime):
    decision = judge(spend(now, "30", burn="6"), DAY, BURN)
    assert decision.verdict is Verdict.STOP
    # 120 % of the burn limit, 108 % of the day's.
    assert decision.reason == "$6.00 a minute of $5/minute"
    assert [each.limit for each in decision.findings] == [BURN, DAY]
    assert str(decision.findings[1]) == "$30.00 of $50/day, $54.00 with usage on its way"


def test_the_reason_of_a_burn_names_the_rate(now: datetime):
    assert judge(spend(now, burn="7.5"), BURN).reason == "$7.50 a minute of $5/minute"


def test_an_allowance_raises_every_limit_until_it_expires(now: datetime):
    allowance = Allowance(Decimal(50), now + timedelta(hours=1), "month-end report", "ada")
    assert judge(spend(now, "60"), allowances=(allowance,)).verdict is Verdict.WARN
    assert judge(spend(now, "100"), allowances=(allowance,)).verdict is Verdict.STOP
    expired = replace(allowance, until=now)
    assert judge(spend(now, "60"), allowances=(expired,)).verdict is Verdict.STOP


def test_an_allowance_for_one_window_raises_that_one_alone(now: datetime):
    month = replace(DAY, window=Window.MONTH)
    allowance = Allowance(Decimal(50), now + timedelta(hours=1), "launch", "ada", Window.DAY)
    findings = {each.limit: each for each in judge(spend(now, "60"), DAY, month, allowances=(allowance,)).findings}
    assert (findings[DAY].allowed_usd, findings[month].allowed_usd) == (Decimal(100), Decimal(50))
    assert str(findings[DAY]) == "$60.00 of $50/day raised to $100.00, $60.00 with usage on its way"


def test_dollars_a_minute_are_raised_only_by_an_allowance_that_names_the_minute(now: datetime):
    unnamed = Allowance(Decimal(50), now + timedelta(hours=1), "launch", "ada")
    assert judge(spend(now, burn="5"), BURN, allowances=(unnamed,)).verdict is Verdict.STOP
    assert judge(spend(now, burn="5"), BURN, allowances=(replace(unnamed, window=Window.MINUTE),)).verdict is Verdict.OK


def test_an_allowance_says_what_until_when_by_whom_and_why(now: datetime):
    allowance = Allowance(Decimal(50), now + timedelta(hours=4), "launch", "ada", Window.DAY)
    assert str(allowance) == "$50 more a day until 2026-11-22 22:30 UTC, by ada: launch"
    assert replace(allowance, window=None).terms == "$50 more until 2026-11-22 22:30 UTC"


def test_a_margin_says_how_far_a_limit_is_passed_or_how_near_it_is(now: datetime):
    assert str(judge(spend(now, "60")).findings[0].margin) == "$50/day: $60.00 of $50.00, $10.00 (20 %) over"
    near = judge(spend(now, "41")).findings[0].margin
    assert str(near) == "$50/day: $41.00 of $50.00 (82 %)"
    assert margins([near.to_json(), {"limit": "x"}, 5, {"limit": "x", "of_usd": "a", "usd": "1"}]) == (near,)
    assert margins("nothing") == ()


def test_an_incomplete_figure_raises_a_verdict_but_never_lowers_it(now: datetime):
    gaps = ("eu-west-1: cannot be read",)
    held = judge(spend(now, "0", gaps=gaps), previous=Verdict.STOP)
    assert held.verdict is Verdict.STOP
    assert held.reason == "held at stop: the reading is incomplete (eu-west-1: cannot be read)"
    raised = judge(spend(now, "50", gaps=gaps), previous=Verdict.WARN)
    assert raised.verdict is Verdict.STOP
    assert "at least: eu-west-1: cannot be read" in raised.reason


def test_a_complete_figure_lowers_a_verdict(now: datetime):
    assert judge(spend(now, "0"), previous=Verdict.STOP).verdict is Verdict.OK


def test_verdicts_are_ordered_and_spelled_for_people():
    assert Verdict.OK < Verdict.WARN < Verdict.STEP_DOWN < Verdict.STOP
    assert str(Verdict.STEP_DOWN) == "step-down"
