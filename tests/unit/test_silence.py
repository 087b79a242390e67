"""The silent meter: whose word it is, what confirms it, and what comes of it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import stopping
from lambdas.core import aftermath, alarm_events, silence
from lambdas.core.alarm_events import Rang
from lambdas.core.errors import AwsCallError, RefusedError
from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Ladder, Limit
from lambdas.core.windows import Window
from tests.conftest import ACCOUNT, event
from tests.fakes import moment

NOW = moment("18:28")
AT = moment("18:27:40")
ID = "5c1f4e0d-7f54-9a62-1d6c-0c6f6f7b9e11"
LONG_AGO = {"read_at": moment("17:50").isoformat()}


def parsed(payload):
    return silence.parse(payload, account_id=ACCOUNT, region="us-east-1", prefix="bedrock-spend")


def judged(payload, state=lambda: "ALARM", left=lambda: LONG_AGO):
    return stopping.judge_silence(
        payload, now=NOW, account_id=ACCOUNT, region="us-east-1", prefix="bedrock-spend", state=state, left=left
    )


def heartbeat(**detail):
    payload = event("alarm_heartbeat.json")
    return payload | {"detail": payload["detail"] | detail}


def down():
    raise AwsCallError("cloudwatch:DescribeAlarms", "Throttling", "not now")


def test_the_heartbeat_alarm_that_rings_is_heard_muted_or_not():
    assert parsed(heartbeat()) == Rang("bedrock-spend-heartbeat", "us-east-1", AT, ID)
    muted = {"mutedByArn": "arn:aws:cloudwatch:us-east-1:1:alarm-mute-rule:x"}
    assert parsed(heartbeat(muteDetail=muted)).at == AT


STATE = event("alarm_heartbeat.json")["detail"]["state"]


@pytest.mark.parametrize(
    "payload",
    [
        heartbeat(state=STATE | {"value": "OK"}),
        heartbeat(state=STATE | {"value": "INSUFFICIENT_DATA"}),
        heartbeat(state=STATE | {"value": "alarm"}),
        heartbeat(state="ALARM"),
        heartbeat(alarmName="bedrock-spend-heartbeat2"),
        heartbeat(alarmName="other-spend-heartbeat"),
        heartbeat(alarmName=["bedrock-spend-heartbeat"]),
        event("alarm_heartbeat.json") | {"source": "mine.cloudwatch"},
        event("alarm_heartbeat.json") | {"account": "999999999999"},
        event("alarm_heartbeat.json") | {"region": "eu-central-1"},
        event("alarm_heartbeat.json") | {"detail-type": "CloudWatch Alarm Contributor State Change"},
        event("alarm_heartbeat.json") | {"detail-type": "CloudWatch Alarm Configuration Change"},
        event("alarm_heartbeat.json") | {"time": "yesterday"},
        event("alarm_heartbeat.json") | {"time": "2026-11-22T18:27:40"},
        event("alarm_heartbeat.json") | {"time": "0001-01-01T00:00:00+23:59"},
        event("alarm_heartbeat.json") | {"id": None},
        event("alarm_state_change.json"),
        event("alarm_from_another_region.json"),
        event("scheduled.json"),
        event("console_default.json"),
        {},
        None,
        "x",
        [],
    ],
)
def test_whatever_is_not_exactly_that_is_refused(payload):
    with pytest.raises(RefusedError):
        parsed(payload)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["source", "account", "time", "region", "id", "detail", "detail-type"]), ANYTHING)
def test_an_envelope_with_anything_in_it_is_refused_or_says_the_same(key, value):
    payload = event("alarm_heartbeat.json") | {key: value}
    try:
        found = parsed(payload)
    except RefusedError:
        return
    assert (found.alarm, found.region) == ("bedrock-spend-heartbeat", "us-east-1")


def test_a_silent_meter_calls_for_a_stop_that_no_clock_ends():
    request = judged(heartbeat())
    assert (request.level, request.by, request.windows, request.at) == (Level.STOP, "silence", (), AT)
    assert not request.reassert
    assert request.reason == (
        "the meter has fallen silent: bedrock-spend-heartbeat rings since 2026-11-22 18:27:40 UTC"
    )


def test_an_alarm_that_is_ok_again_stops_nobody():
    with pytest.raises(RefusedError, match="OK again"):
        judged(heartbeat(), state=lambda: "OK")


@pytest.mark.parametrize("state", ["ALARM", "INSUFFICIENT_DATA", None])
def test_any_other_state_does_not_prove_that_somebody_counts(state):
    assert judged(heartbeat(), state=lambda: state).level is Level.STOP


def test_what_cannot_be_confirmed_stops_all_the_same_and_says_so():
    request = judged(heartbeat(), state=down, left=down)
    assert request.level is Level.STOP
    assert "CloudWatch could not confirm it (cloudwatch:DescribeAlarms: Throttling" in request.reason
    assert "the ledger could not confirm it" in request.reason


def test_a_meter_that_never_ran_is_being_deployed_and_not_silent():
    with pytest.raises(RefusedError, match="has not run yet"):
        judged(heartbeat(), left=lambda: None)


@pytest.mark.parametrize(
    ("ago", "stops"),
    [(timedelta(0), False), (timedelta(minutes=3, seconds=59), False), (timedelta(minutes=4), True)],
)
def test_a_meter_that_read_a_moment_ago_is_not_silent_whatever_its_metric_says(ago, stops):
    def left():
        return {"read_at": (NOW - ago).isoformat()}

    if stops:
        assert judged(heartbeat(), left=left).level is Level.STOP
    else:
        with pytest.raises(RefusedError, match="not silent"):
            judged(heartbeat(), left=left)


@pytest.mark.parametrize("left", [{}, {"read_at": 1}, {"read_at": "x"}, {"read_at": "2027-01-01T00:00:00+00:00"}])
def test_what_the_meter_left_and_nobody_can_read_or_believe_proves_nothing(left):
    assert judged(heartbeat(), left=lambda: left).level is Level.STOP


def test_a_stop_for_silence_waits_for_a_person_and_is_not_taken_over_by_the_meter():
    limits = [Limit(Window.DAY, Decimal(50), Ladder(None, None))]
    wanted = Wanted(Level.STOP, AT, silence.BY)
    assert aftermath.ends_at(wanted, Level.STOP, limits) is None
    assert aftermath.waits_for([], Level.STOP, wanted, Level.STOP, NOW) == ()


def test_state_changes_are_told_from_what_comes_otherwise():
    assert alarm_events.is_state_change(event("alarm_heartbeat.json"))
    assert not any(map(alarm_events.is_state_change, [None, {}, event("scheduled.json"), event("sns_budget.json")]))
