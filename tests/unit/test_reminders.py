"""What the meter tells again while it goes on: a stop nobody releases, a blind meter, a rate at its rung."""

from datetime import timedelta
from decimal import Decimal

import pytest

from lambdas.core.inventory import Confidence, CostKind, Inventory, Standing
from lambdas.core.levels import Level
from lambdas.core.limits import Ladder, Limit
from lambdas.core.notice import Notice
from lambdas.core.prices import PriceTable
from lambdas.core.telling import Matter, Telling
from lambdas.core.windows import Window
from tests.fakes import moment
from tests.unit.test_aftermath import stopped, ticks
from tests.unit.test_measuring import Stocked
from tests.unit.test_metering import RUNTIME, Meter

MINUTE = timedelta(minutes=1)
HELD = Limit(Window.DAY, Decimal(50), Ladder(Decimal(50), Decimal(80)), hold=True)


@pytest.fixture
def meter(prices: PriceTable) -> Meter:
    """Return a meter that has read once, at noon, in an account that has spent $1 by then."""
    meter = Stocked(prices, moment("12:00"))
    meter.limits = (HELD,)
    meter.spent("1")
    meter.tick()
    return meter


def told(meter: Meter, kind: str) -> list[Notice]:
    return [each for each in meter.sent if each.kind == kind]


def done(meter: Meter, **failed: str) -> None:
    """Let the stop be recorded as the stop function does."""
    body = {"reason": "$60.00 of $50/day", "failed": failed, "not_stopped": {"role/x": "Identity Center role"}}
    meter.ledger.records.append(("stop", body))


def test_a_stop_that_nobody_releases_is_told_again_after_an_hour_then_ever_less_often(meter: Meter):
    stopped(meter)
    done(meter)
    ticks(meter, 59)
    assert told(meter, "standing") == []
    ticks(meter, 8 * 60)
    assert [each.subject for each in told(meter, "standing")] == [
        "Bedrock spend: still STOPPED, 1 h 0 min",
        "Bedrock spend: still STOPPED, 2 h 0 min",
        "Bedrock spend: still STOPPED, 4 h 0 min",
        "Bedrock spend: still STOPPED, 8 h 0 min",
    ]
    assert meter.escalated == []


def test_the_reminder_says_since_when_and_what_costs_all_the_same(meter: Meter):
    assert isinstance(meter, Stocked)
    item = Standing("mine", CostKind.PROVISIONED, "r", "arn", Decimal("21.18"), meter.now, None, Confidence.LISTED)
    meter.inventory = Inventory(meter.now, standing=(item,))
    stopped(meter)
    done(meter)
    ticks(meter, 62)
    (notice,) = told(meter, "standing")
    assert notice.urgent
    assert notice.text.startswith(
        "Bedrock is STOPPED since 2026-11-22 12:00 UTC, for 1 h 0 min. Nobody has released it.\n\n"
        "Why: $60.00 of $50/day\n\nNOT stopped, out of reach:\n- role/x: Identity Center role\n\n"
        "Costs all the same until somebody deletes it:\n- $21.18 an hour  provisioned throughput mine (r)\n"
    )


def test_a_stop_that_a_clock_ends_says_when(meter: Meter):
    meter.limits = (Limit(Window.DAY, Decimal(50), HELD.ladder),)
    stopped(meter, Level.STOP, "day")
    done(meter)
    ticks(meter, 62)
    assert "It ends by itself at 2026-11-23 00:00 UTC, if nothing calls for it then." in told(meter, "standing")[0].text


def test_what_is_not_fully_done_is_told_at_the_pace_and_to_others_within_the_hour(meter: Meter):
    meter.telling = Telling(again=timedelta(minutes=15), escalate_after=timedelta(minutes=30))
    stopped(meter)
    done(meter, **{"switch bedrock-spend-brake to stop (v3)": "Throttling"})
    ticks(meter, 62)
    assert len(told(meter, "standing")) == 3
    assert "NOT fully done, tried again each minute:\n- switch bedrock" in told(meter, "standing")[0].text
    assert meter.escalated[0].subject == "NOBODY ACTED: still STOPPED, 30 min"


def test_a_stop_that_nobody_answers_is_told_to_others_after_the_time_that_is_theirs(meter: Meter):
    meter.telling = Telling(escalate_after=timedelta(minutes=30))
    stopped(meter)
    done(meter)
    ticks(meter, 29)
    assert meter.escalated == []
    ticks(meter, 130)
    assert [each.subject for each in meter.escalated] == [
        "NOBODY ACTED: still STOPPED, 30 min",
        "NOBODY ACTED: still STOPPED, 1 h 30 min",
        "NOBODY ACTED: still STOPPED, 2 h 30 min",
    ]


def test_a_release_ends_the_reminders_and_the_next_stop_begins_its_own_hour(meter: Meter):
    stopped(meter)
    done(meter)
    ticks(meter, 62)
    stopped(meter, Level.RELEASED)
    ticks(meter, 180)
    assert len(told(meter, "standing")) == 1
    stopped(meter)
    ticks(meter, 59)
    assert len(told(meter, "standing")) == 1
    ticks(meter, 3)
    assert len(told(meter, "standing")) == 2


def test_a_reminder_whose_record_cannot_be_read_says_so(meter: Meter, monkeypatch: pytest.MonkeyPatch):
    stopped(meter)
    ticks(meter, 59)
    monkeypatch.setattr(meter.ledger, "last", lambda _: _gone())
    ticks(meter, 3)
    assert "Not known:\n- dynamodb:Query" in told(meter, "standing")[0].text


def _gone() -> None:
    from tests.fakes import refused  # noqa: PLC0415

    raise refused("dynamodb:Query")


def test_a_mail_that_fails_is_a_problem_and_tried_at_the_next_tick(meter: Meter):
    stopped(meter)
    done(meter)
    ticks(meter, 59)
    meter.mail_is_down = True
    meter.now += MINUTE
    assert meter.tick().problems != ()
    meter.mail_is_down = False
    ticks(meter, 1)
    assert len(told(meter, "standing")) == 1


def test_a_meter_that_sees_nothing_is_told_after_five_minutes_at_the_pace_and_to_others(meter: Meter):
    meter.telling = Telling(escalate_after=timedelta(minutes=30))
    meter.usage.gaps[RUNTIME] = "us-east-1: usage cannot be read (Throttling)"
    for _ in range(4):
        meter.now += MINUTE
        meter.read_tick()
    assert told(meter, "blind") == []
    for _ in range(58):
        meter.now += MINUTE
        meter.read_tick()
    (notice,) = told(meter, "blind")
    assert notice.text.startswith("The meter sees NOTHING since 2026-11-22 12:01 UTC, for 5 min.\n")
    assert meter.escalated[0].subject == "NOBODY ACTED: the meter is BLIND"
    meter.usage.gaps.clear()
    meter.now += MINUTE
    meter.read_tick()
    meter.usage.gaps[RUNTIME] = "us-east-1: usage cannot be read (Throttling)"
    for _ in range(7):
        meter.now += MINUTE
        meter.read_tick()
    assert len(told(meter, "blind")) == 2, "it is another time"


def test_a_rate_that_goes_up_and_down_across_its_rung_is_warned_of_once_in_a_while(meter: Meter):
    meter.limits = (Limit(Window.MINUTE, Decimal(10), Ladder(Decimal(50), None)),)
    for _ in range(10):
        meter.spent("6", meter.now)
        meter.now += MINUTE
        meter.read_tick()
        meter.now += 8 * MINUTE
        meter.read_tick()
    assert len(told(meter, "warning")) == 2


def test_a_gap_that_comes_and_goes_is_told_once_a_day(meter: Meter):
    for number in range(30):
        meter.usage.gaps = {} if number % 2 else {RUNTIME: "us-east-1: usage cannot be read (Throttling)"}
        meter.now += 10 * MINUTE
        meter.read_tick()
    assert len(told(meter, "gap")) == 1


def test_the_pace_survives_a_record_of_another_version(meter: Meter):
    stopped(meter)
    done(meter)
    ticks(meter, 59)
    meter.ledger.notes["told"] = {"standing": ["someday"]}
    meter.now += MINUTE
    found = meter.tick()
    assert any("told again" in each for each in found.problems)
    assert len(told(meter, "standing")) == 1


def test_a_matter_knows_its_pace():
    noon = moment("12:00")
    matter = Matter(noon).told(noon)
    assert not matter.is_due(noon + 59 * MINUTE, timedelta(hours=1))
    assert matter.is_due(noon + 60 * MINUTE, timedelta(hours=1))
    assert matter.is_due(noon - MINUTE, timedelta(hours=1)), "a clock that was ahead silences nothing"
