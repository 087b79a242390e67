"""While a stop stands: usage that goes on is shouted about, and the end of a window ends what it alone called for."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core import aftermath
from lambdas.core.aftermath import Burning, Standing
from lambdas.core.decision import Finding
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Ladder, Limit, Verdict
from lambdas.core.notice import still_burning_notice
from lambdas.core.prices import PriceTable
from lambdas.core.spend import UNLISTED
from lambdas.core.telling import Telling
from lambdas.core.usage import Kind, Series
from lambdas.core.windows import Window
from tests.fakes import moment
from tests.unit.test_measuring import Stocked
from tests.unit.test_metering import DAY, NOVA, RUNTIME, SERIES, Meter
from tests.unit.test_stopping import LINKS

MINUTE = timedelta(minutes=1)
OPUS = "us.anthropic.claude-opus-5"
DEAR = Series("us-east-1", "AWS/Bedrock", "OutputTokenCount", (("ModelId", OPUS),), OPUS, Kind.OUTPUT)
HOUR = Limit(Window.HOUR, Decimal(20), Ladder(Decimal(50), Decimal(80)))
RATE = Limit(Window.MINUTE, Decimal(40), Ladder(Decimal(50), Decimal(80)))


@pytest.fixture
def meter(prices: PriceTable) -> Meter:
    """Return a meter that has read once, at noon, in an account that has spent $1 by then."""
    meter = Stocked(prices, moment("12:00"))
    meter.spent("1")
    meter.tick()
    return meter


def stopped(meter: Meter, level: Level = Level.STOP, *windows: str, by: str = "meter") -> Meter:
    """Let a stop have been carried out now."""
    meter.brake.level = meter.brake.sweep_level = meter.ledger.level = level
    meter.ledger.said_at, meter.ledger.by, meter.ledger.windows = meter.now, by, windows
    return meter


def ticks(meter: Meter, minutes: int, usd: str = "0", series: Series = SERIES) -> list[str]:
    """Tick each minute, with so much spent in each, and return why usage was read in full."""
    found = []
    for _ in range(minutes):
        if Decimal(usd):
            meter.spent(usd, meter.now, series)
        meter.now += MINUTE
        if why := meter.tick().why:
            found.append(why)
    return found


def shouts(meter: Meter) -> list[str]:
    return [each.text for each in meter.sent if "STILL BURNING" in each.subject]


def escalations(meter: Meter) -> list[dict[str, Any]]:
    return [each for each in meter.asked if "escalate" in each]


# --- still burning ---


def test_usage_that_goes_on_after_a_stop_is_told_with_its_model_and_the_stop_is_asked_for_again(meter: Meter):
    ticks(stopped(meter), 10, "0.50")
    (text,) = shouts(meter)
    assert f"$0.50 a minute {NOVA} (us-east-1)" in text
    assert "Exempt" not in text
    (request,) = escalations(meter)
    assert (request["level"], request["reassert"], request["escalate"]) == ("stop", True, True)
    assert "windows" not in request


def test_what_is_used_until_five_minutes_after_the_stop_says_nothing(meter: Meter):
    ticks(stopped(meter), 5, "0.50")
    ticks(meter, 40)
    assert shouts(meter) == []


def test_a_single_late_minute_is_one_long_stream_and_is_told_in_the_log_alone(meter: Meter):
    ticks(stopped(meter), 7)
    meter.spent("0.50", meter.now)
    meter.now += MINUTE
    found = meter.read_tick()
    assert str(found.burning) == f"{NOVA} (us-east-1) $0.50 a minute in 1 minutes after it should have ended"
    assert "still_burning" in found.answer()
    assert (shouts(meter), escalations(meter)) == ([], [])


def test_the_second_minute_is_enough(meter: Meter):
    ticks(stopped(meter), 5)
    ticks(meter, 2, "0.50")
    ticks(meter, 1)
    assert len(shouts(meter)) == 1


def test_the_next_rung_is_asked_for_each_quarter_of_an_hour_but_people_are_told_at_their_pace(meter: Meter):
    ticks(stopped(meter), 115, "0.10")
    assert 6 <= len(escalations(meter)) <= 8
    assert len(shouts(meter)) == 2
    ticks(meter, 90)
    assert len(shouts(meter)) == 2, "it is over"


def test_usage_that_goes_on_for_long_is_told_to_others_too(meter: Meter):
    meter.telling = Telling(escalate_after=timedelta(minutes=30))
    ticks(stopped(meter), 28, "0.10")
    assert meter.escalated == []
    ticks(meter, 20, "0.10")
    (notice,) = [each for each in meter.escalated if each.kind == "still-burning"]
    assert notice.subject == "NOBODY ACTED: STILL BURNING after the stop"
    assert notice.text.startswith("NOBODY ACTED: this goes on since 2026-11-22 12:00 UTC (")
    assert "was mailed once." in notice.text


def test_a_quiet_stop_costs_no_read_but_the_hourly_one(meter: Meter):
    reads = ticks(stopped(meter), 60)
    assert len(reads) <= 2
    meter.usage.glances.clear()
    ticks(meter, 60)
    released = Stocked(meter.prices, meter.now)
    released.tick()
    released.usage.glances.clear()
    ticks(released, 60)
    assert len(meter.usage.glances) <= len(released.usage.glances)


def test_a_stop_that_burns_is_looked_into_without_reading_every_minute(meter: Meter):
    reads = ticks(stopped(meter), 60, "0.01")
    assert 4 <= len(reads) <= 12


def test_a_new_stop_is_told_of_anew(meter: Meter):
    ticks(stopped(meter), 9, "0.50")
    assert len(shouts(meter)) == 1
    ticks(stopped(meter), 9, "0.50")
    assert len(shouts(meter)) == 2


def test_a_shout_that_was_not_sent_is_tried_again(meter: Meter, monkeypatch):
    meter.stop_is_down = True
    ticks(stopped(meter), 10, "0.50")
    meter.stop_is_down = False
    ticks(meter, 6, "0.50")
    assert escalations(meter) != []


def test_dear_usage_after_a_step_down_calls_for_a_stop_that_waits_for_a_person(meter: Meter):
    ticks(stopped(meter, Level.STEP_DOWN, "day"), 8, "0.50", DEAR)
    request = next(each for each in meter.asked if each["level"] == "stop")
    assert (request["reassert"], request["windows"]) == (False, [])
    assert OPUS in request["reason"]
    assert "A full stop was asked for." in shouts(meter)[0]


def test_cheap_usage_goes_on_after_a_step_down_and_is_looked_into_now_and_then(meter: Meter):
    reads = ticks(stopped(meter, Level.STEP_DOWN, "day"), 60, "0.01")
    assert (shouts(meter), {each["level"] for each in meter.asked}) == ([], {"step-down"})
    assert len(reads) <= 7


def test_with_somebody_exempt_a_step_down_is_not_raised_but_told(meter: Meter):
    meter.exempt = ("role/break-glass",)
    ticks(stopped(meter, Level.STEP_DOWN, "day"), 8, "0.50", DEAR)
    assert {each["level"] for each in meter.asked} == {"step-down"}
    assert "- role/break-glass" in shouts(meter)[0]
    assert "Nothing more is done by itself." in shouts(meter)[0]


def test_in_report_only_mode_usage_after_a_persons_kill_is_told_and_nothing_asked_for(meter: Meter):
    meter.enforce = False
    ticks(stopped(meter, Level.STOP, by="person"), 10, "0.50")
    assert len(shouts(meter)) == 1
    assert escalations(meter) == []


def test_a_stop_by_hand_in_iam_is_watched_from_when_it_was_first_seen(meter: Meter):
    meter.brake.level = meter.brake.sweep_level = Level.STOP
    ticks(meter, 70, "0.20")
    assert shouts(meter) != []


def test_models_are_judged_by_what_stands_behind_their_id():
    behind = {"profile": ("us.anthropic.claude-opus-5",), "mixed": (OPUS, NOVA), "hourly": ("by-the-hour",)}
    is_dear = aftermath.denies(Level.STEP_DOWN, ("anthropic.claude-opus*",), lambda model: behind.get(model, (model,)))
    judged = {each: is_dear(each) for each in (OPUS, "profile", "mixed", NOVA, UNLISTED, "newco.colossus")}
    assert judged == {
        OPUS: True,
        "profile": True,
        "mixed": False,
        NOVA: False,
        UNLISTED: False,
        "newco.colossus": False,
    }
    assert aftermath.denies(Level.STOP, (), lambda model: (model,))(UNLISTED)


def test_usage_that_costs_nothing_is_usage(meter: Meter):
    burning = aftermath.burning(
        {moment("12:05"): {("mine", "us-east-1"): Decimal(0)}}, moment("12:05"), lambda _model: True
    )
    assert burning == Burning(1, {"mine (us-east-1)": Decimal(0)})


def test_the_mail_says_where_to_look_for_the_caller_and_that_streams_end_late():
    text = still_burning_notice(Burning(3, {"m (r)": Decimal(2)}), Level.STOP, (), "Next.", LINKS).text
    assert "CloudTrail" in text
    assert "may end late" in text


@pytest.mark.parametrize("broken", [{"level": "loud"}, {"level": "stop", "since": 5}, 7, {"since": "x"}])
def test_a_standing_that_cannot_be_read_never_ends_the_tick(meter: Meter, broken: Any):
    assert meter.ledger.latest is not None
    meter.ledger.latest["on"] = broken
    assert any("judges afresh" in each for each in stopped(meter).tick().problems)


def test_a_standing_survives_the_ledger():
    for each in (Standing(Level.STOP, None), Standing(Level.STEP_DOWN, moment("12:00"), moment("12:30"), held=True)):
        assert Standing.from_json(each.to_json()) == each


# --- the end of a window ---


def over(meter: Meter, *windows: str, level: Level = Level.STOP, by: str = "meter") -> Meter:
    """Let a stop stand since noon, and the clock come to midnight."""
    stopped(meter, level, *windows, by=by)
    ticks(meter, 3)
    meter.now = moment("23 00:00") - MINUTE
    meter.tick()
    meter.now += MINUTE
    return meter


def test_a_stop_for_a_days_limit_ends_with_the_day(meter: Meter):
    over(meter, "day")
    assert meter.released == []
    before = len(meter.asked)
    found = meter.tick()
    (request,) = meter.released
    assert request == {
        "source": "meter",
        "at": meter.now.isoformat(),
        "windows": ["day"],
        "reason": "the day of the limit that called for it is over; now within every limit",
    }
    assert found.asked is Level.RELEASED
    assert found.answer()["asked"] == "released"
    assert len(meter.asked) == before, "a stop and a release must not be asked for at once"
    assert not any("did not finish" in each for each in found.problems)


def test_a_step_down_ends_with_its_window_too(meter: Meter):
    over(meter, "hour", "day", level=Level.STEP_DOWN).tick()
    assert [each["windows"] for each in meter.released] == [["hour", "day"]]


@pytest.mark.parametrize(
    ("windows", "by"),
    [
        ((), "meter"),
        (("month",), "meter"),
        (("day", "month"), "meter"),
        (("day", "minute"), "meter"),
        (("fortnight",), "meter"),
        (("day",), "person"),
        (("day",), "budget"),
        (("day",), ""),
    ],
)
def test_what_does_not_wait_for_a_window_that_is_over_stays(meter: Meter, windows: tuple[str, ...], by: str):
    ticks(over(meter, *windows, by=by), 90)
    assert meter.released == []


def test_a_limit_that_says_hold_waits_for_a_person(meter: Meter):
    meter.limits = (replace(DAY, hold=True),)
    ticks(over(meter, "day"), 90)
    assert meter.released == []


def test_a_held_limit_that_was_reached_while_a_stop_stood_holds_it(meter: Meter):
    meter.limits = (DAY, replace(DAY, window=Window.MONTH, usd=Decimal(60), hold=True))
    stopped(meter, Level.STOP, "day")
    meter.spent("49", meter.now).read_tick()  # late figures: the month is at its step-down now
    meter.limits = (DAY, replace(meter.limits[1], usd=Decimal(1000)))
    ticks(over(meter, "day"), 90)
    assert meter.released == []


def test_another_limit_that_still_calls_for_a_step_down_keeps_it(meter: Meter):
    meter.limits = (DAY, replace(DAY, window=Window.MONTH, usd=Decimal(55)))
    meter.spent("50", moment("11:00"))
    ticks(over(meter, "day"), 90)
    assert meter.released == []


def test_an_incomplete_reading_ends_nothing_until_it_is_whole(meter: Meter):
    meter.usage.gaps[RUNTIME] = "us-east-1: cannot be read"
    ticks(over(meter, "day"), 12)
    assert meter.released == []
    meter.usage.gaps.clear()
    ticks(meter, 6)
    assert meter.released != []


def test_in_report_only_mode_no_release_is_asked_for(meter: Meter):
    meter.enforce = False
    ticks(over(meter, "day"), 90)
    assert meter.released == []


def test_a_level_that_somebody_raised_by_hand_stays(meter: Meter):
    over(meter, "day", level=Level.STEP_DOWN)
    meter.brake.level = Level.STOP
    ticks(meter, 90)
    assert meter.released == []


def test_without_iam_or_the_ledger_no_release_is_asked_for(meter: Meter):
    over(meter, "day").brake.refuses = {"levels": "ServiceFailure"}
    ticks(meter, 3)
    meter.brake.refuses, meter.ledger.down = {}, True
    ticks(meter, 3)
    assert meter.released == []
    meter.ledger.down = False
    ticks(meter, 3)
    assert meter.released != []


def test_a_release_that_could_not_be_asked_for_is_asked_for_at_the_next_tick(meter: Meter):
    over(meter, "day").release_is_down = True
    assert any("lambda:InvokeFunction" in each for each in meter.tick().problems)
    meter.release_is_down = False
    ticks(meter, 1)
    assert len(meter.released) == 1


def test_a_release_that_did_not_follow_is_asked_for_again(meter: Meter):
    over(meter, "day").tick()
    ticks(meter, 3)
    assert len(meter.released) == 2


def test_what_burned_before_midnight_delays_the_release_by_minutes_only(meter: Meter):
    over(meter, "day")
    meter.spent("15", meter.now - MINUTE)
    ticks(meter, 10)
    assert meter.released != []


# --- what the meter says of its own stop ---


def finding(limit: Limit, verdict: Verdict) -> Finding:
    return Finding(limit, limit.usd, Decimal(0), Decimal(0), verdict)


NOW = moment("12:00")
NEVER = Wanted(Level.RELEASED)


def waits(
    *findings: Finding, asked: Level = Level.STOP, before: Wanted | None = NEVER, iam: Level | None = None
) -> tuple[str, ...]:
    level = iam if iam is not None else before.level if before else None
    return aftermath.waits_for(findings, asked, before, level, NOW)


def test_a_stop_names_the_windows_that_called_for_it():
    stop, step = finding(DAY, Verdict.STOP), finding(HOUR, Verdict.STEP_DOWN)
    assert waits(stop, step) == ("day",)
    assert waits(stop, step, asked=Level.STEP_DOWN) == ("day", "hour")


def test_a_stop_for_a_rate_waits_for_a_person():
    assert waits(finding(RATE, Verdict.STOP), finding(DAY, Verdict.STOP)) == ()
    assert waits(finding(RATE, Verdict.STEP_DOWN), finding(DAY, Verdict.STOP)) == ("day",)


def test_a_stop_while_a_held_limit_calls_for_a_step_down_waits_for_a_person():
    held = replace(DAY, window=Window.MONTH, hold=True)
    assert waits(finding(held, Verdict.STEP_DOWN), finding(DAY, Verdict.STOP)) == ()
    assert waits(finding(held, Verdict.WARN), finding(DAY, Verdict.STOP)) == ("day",)


def test_a_verdict_that_was_only_held_waits_for_a_person():
    assert waits(finding(DAY, Verdict.OK)) == ()


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (Wanted(Level.STEP_DOWN, NOW, "meter", ("hour",)), ("day",)),
        (Wanted(Level.STEP_DOWN, NOW, "meter"), ()),
        (Wanted(Level.STEP_DOWN, NOW, "budget", ("hour",)), ()),
        (Wanted(Level.STEP_DOWN, NOW, "person"), ()),
        (Wanted(Level.RELEASED, NOW - 14 * MINUTE, "meter"), ()),
        (Wanted(Level.RELEASED, NOW - 15 * MINUTE, "meter"), ("day",)),
        (Wanted(Level.RELEASED, NOW - MINUTE, "person"), ("day",)),
        (None, ()),
    ],
)
def test_what_stood_before_decides_whether_a_clock_may_end_it(before: Wanted | None, expected: tuple[str, ...]):
    assert waits(finding(DAY, Verdict.STOP), before=before) == expected


def test_what_iam_has_beyond_the_last_word_was_set_by_hand():
    assert waits(finding(DAY, Verdict.STOP), iam=Level.STEP_DOWN) == ()


def test_the_request_for_a_stop_carries_its_windows(meter: Meter):
    meter.spent("60").read_tick()
    assert meter.asked[-1]["windows"] == ["day"]


# --- who is stopped alone ---


def test_while_somebody_is_stopped_alone_each_tick_has_it_looked_after(meter: Meter):
    meter.ledger.narrow = ("role/agent",)
    meter.brake.swept = {"user/dev"}
    ticks(meter, 2)
    assert [(each["level"], each["reassert"], each["narrow"]) for each in meter.asked] == [("released", True, True)] * 2
    found = meter.read_tick()
    assert meter.asked[-1]["narrow"] is True
    assert (found.asked, found.problems) == (None, ())


def test_a_sweep_policy_that_denies_is_told_of_although_somebody_is_stopped_alone(meter: Meter):
    meter.ledger.narrow = ("role/agent",)
    meter.brake.sweep_level = Level.STOP
    assert any("did not finish" in each for each in meter.read_tick().problems)


def test_a_stop_with_somebody_stopped_alone_says_so(meter: Meter):
    meter.ledger.narrow = ("role/agent",)
    ticks(stopped(meter), 1)
    assert (meter.asked[-1]["level"], meter.asked[-1]["narrow"]) == ("stop", True)
