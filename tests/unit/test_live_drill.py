"""What the live drill makes of what its canary saw."""

from datetime import UTC, datetime, timedelta

import pytest

from lambdas.core.live_drill import (
    Change,
    Look,
    Measured,
    Seen,
    Sight,
    begun,
    change,
    drill_notice,
    ended,
    failed_notice,
    shown,
    under_way,
)
from lambdas.core.notice import Links

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MODEL = "anthropic.claude-haiku-5-5"
SIGHTS = {"a": Sight.ALLOWED, "d": Sight.DENIED, "?": Sight.UNKNOWN}


def looks(sights: str) -> list[Look]:
    """Return looks half a second apart."""
    return [Look(number / 2, Seen(SIGHTS[each], each)) for number, each in enumerate(sights, 1)]


def measured(stop: float = 6.5, release: float = 4.0, flaps: int = 0) -> Measured:
    return Measured(AT, MODEL, "us-east-1", Change(4.0, stop, flaps, "explicit deny"), Change(release, release, 0))


@pytest.mark.parametrize(
    ("sights", "expected"),
    [
        ("aaddddd", Change(1.5, 1.5, 0, "d")),
        ("ddddd", Change(0.5, 0.5, 0, "d")),
        ("aaddaddddd", Change(1.5, 3.0, 1, "d")),
        ("dadaddddd", Change(0.5, 2.5, 2, "d")),
        # What AWS did not tell could have been a flap, but is not counted as one.
        ("add?ddddd", Change(1.0, 2.5, 0, "d")),
        ("a?ddddd", Change(1.5, 1.5, 0, "d")),
    ],
)
def test_a_change_has_come_through_when_the_last_looks_all_show_it(sights, expected):
    assert change(looks(sights), Sight.DENIED) == expected


@pytest.mark.parametrize("sights", ["", "dddd", "aaaaa", "ddddda", "dddd?", "ddd?dd", "?????", "dddadddd"])
def test_a_change_that_may_be_gone_again_has_not_come_through(sights):
    assert change(looks(sights), Sight.DENIED) is None


def test_the_mail_says_first_that_it_was_a_drill_and_how_long_it_took():
    notice = drill_notice(measured(), timedelta(seconds=240), LINKS)
    assert notice.subject == "Bedrock spend: drill, stopped in 6 s, released in 4 s"
    assert notice.text.splitlines()[:4] == [
        "This was a drill. Nobody but the canary was stopped, and it is not any more.",
        "",
        "The canary was denied 6.5 s after its stop was asked for, and allowed again 4.0 s after its release was.",
        "It counted tokens, which is free, with anthropic.claude-haiku-5-5 in us-east-1.",
    ]


@pytest.mark.parametrize(("seconds", "warned"), [(60.0, False), (60.1, True)])
def test_the_mail_warns_where_iam_takes_more_than_a_quarter_of_the_reaction_time(seconds, warned):
    notice = drill_notice(measured(stop=seconds), timedelta(seconds=240), LINKS)
    assert ("more than a quarter of the reaction time" in notice.text) is warned
    assert notice.subject.endswith("SLOW") is warned


def test_what_iam_took_back_in_between_is_said():
    assert "In between IAM changed its mind 2 times." in measured(flaps=2).words


def test_the_mail_about_a_failure_says_whether_somebody_is_left_stopped():
    notice = failed_notice(["it was not denied"], "", LINKS)
    assert notice.subject == "Bedrock spend: the drill FAILED"
    assert "- it was not denied" in notice.text
    assert "may be stopped still" not in notice.text
    left = failed_notice(["it was not denied"], "role/bedrock-spend-canary", LINKS)
    assert "role/bedrock-spend-canary may be stopped still." in left.text


def test_what_was_measured_before_outlives_a_drill_that_runs_or_fails():
    first = ended(None, AT, "good", measured())
    second = ended(begun(first, AT), AT, "bad", None)
    assert second == {"at": AT.isoformat(), "summary": "bad", "measured": measured().to_json()}


def test_a_drill_is_under_way_until_it_has_ended_or_its_function_must_have_died():
    kept = begun(None, AT)
    assert under_way(kept, AT + timedelta(minutes=14))
    assert not under_way(kept, AT + timedelta(minutes=15))
    assert not under_way(ended(kept, AT, "good", measured()), AT)
    assert not under_way(None, AT)
    for broken in ({"began": "yesterday"}, {"began": 5}, {"began": "2026-11-22T10:00:00"}):
        assert not under_way(broken, AT)


def test_the_status_shows_it_beside_the_reaction_time_the_limits_reckon_with():
    assert shown(None, timedelta(seconds=240)) == "no drill recorded yet"
    assert shown(ended(None, AT, "good", measured(flaps=1)), timedelta(seconds=240)) == {
        "at": AT.isoformat(),
        "summary": "good",
        "measured": {
            "at": AT.isoformat(),
            "stop_seconds_first_denied": 4.0,
            "stop_seconds_all_denied": 6.5,
            "release_seconds_first_allowed": 4.0,
            "release_seconds": 4.0,
            "flaps": 1,
            "denied_with": "explicit deny",
            "model": MODEL,
            "region": "us-east-1",
        },
        "reaction_seconds_configured": 240,
    }
