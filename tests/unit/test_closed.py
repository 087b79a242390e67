"""Closed hours: added up by the day and region, kept exactly, and open where something is missing."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core.closed import ClosedDay
from lambdas.core.spend import Cost, Priced, closings, open_hours
from tests.fakes import moment

REGION = "us-east-1"
FIRST = moment("01 00:00")


def day(number: int, until: str, usd: str = "1", region: str = REGION) -> ClosedDay:
    """Return a day of November, closed until an hour (24:00 is all of it)."""
    of = date(2026, 11, number)
    start = datetime(2026, 11, number, tzinfo=UTC)
    return ClosedDay(of, region, start + timedelta(hours=int(until[:2])), {"m": Decimal(usd)}, {})


def priced(*hours: tuple[str, str], region: str = REGION, guessed: str = "0") -> Priced:
    costs = {moment(hour): {"m": Cost(Decimal(usd), Decimal(guessed))} for hour, usd in hours}
    return Priced(moment("22 18:30"), {region: costs}, {})


@pytest.mark.parametrize(
    ("days", "since"),
    [
        ([], "01 00:00"),
        ([day(1, "05")], "01 05:00"),
        ([day(1, "24")], "02 00:00"),
        ([day(1, "24"), day(2, "07")], "02 07:00"),
        ([day(2, "24"), day(1, "24"), day(3, "24")], "04 00:00"),
        ([day(1, "24"), day(3, "24")], "02 00:00"),
        ([day(1, "05"), day(2, "24")], "01 05:00"),
        ([day(2, "24")], "01 00:00"),
        ([day(1, "24", region="eu-west-1")], "01 00:00"),
    ],
    ids=["none", "part", "one", "two", "any order", "a hole", "a part before", "the first lost", "another region"],
)
def test_hours_are_open_from_the_first_that_is_not_closed(days: list[ClosedDay], since: str):
    assert open_hours(days, REGION, FIRST) == moment(since)


def test_hours_are_added_to_those_closed_before():
    usage = priced(("22 05:00", "2"), ("22 06:00", "3"), ("22 07:00", "50"))
    (found,) = closings(usage, [day(22, "05", "1")], moment("22 05:00"), moment("22 07:00"), REGION)
    assert (found.until, found.usd) == (moment("22 07:00"), Decimal(6))


def test_each_day_gets_its_own_hours_and_days_without_any_are_closed_too():
    usage = priced(("20 23:00", "1"), ("22 00:00", "2"))
    found = closings(usage, [], moment("20 00:00"), moment("22 02:00"), REGION)
    assert [(each.day.day, each.until, each.usd) for each in found] == [
        (20, moment("21 00:00"), Decimal(1)),
        (21, moment("22 00:00"), Decimal(0)),
        (22, moment("22 02:00"), Decimal(2)),
    ]


def test_only_the_regions_own_hours_and_days_count():
    usage = Priced(
        moment("22 18:30"),
        {
            REGION: {moment("22 05:00"): {"m": Cost(Decimal(1), Decimal(0))}},
            "eu-west-1": {moment("22 05:00"): {"m": Cost(Decimal(9), Decimal(0))}},
        },
        {},
    )
    (found,) = closings(usage, [day(22, "05", "7", "eu-west-1")], moment("22 00:00"), moment("22 06:00"), REGION)
    assert found.usd == 1


def test_what_was_guessed_stays_told():
    (found,) = closings(priced(("22 05:00", "2"), guessed="2"), [], moment("22 00:00"), moment("22 06:00"), REGION)
    assert found.guessed == {"m": Decimal(2)}


def test_a_leap_day_and_the_end_of_a_year_are_days_like_others():
    leap = ClosedDay.open(date(2028, 2, 29), REGION)
    assert leap.end == datetime(2028, 3, 1, tzinfo=UTC)
    assert ClosedDay.open(date(2026, 12, 31), REGION).end == datetime(2027, 1, 1, tzinfo=UTC)
    assert not leap.whole
    assert leap.with_hours(leap.end, {}, {}).whole


def test_a_day_comes_back_as_it_was():
    exact = ClosedDay(
        date(2026, 11, 22), REGION, moment("05:00"), {"a": Decimal("0.1234567890123456789")}, {"a": Decimal("0.1")}
    )
    assert ClosedDay.from_json("2026-11-22", REGION, exact.to_json()) == exact


@pytest.mark.parametrize(
    "change",
    [
        {"until": "2026-11-23T00:00:01+00:00"},
        {"until": "2026-11-21T23:00:00+00:00"},
        {"until": None},
        {"until": "soon"},
        {"models": {"m": "-0.01"}},
        {"models": {"m": "NaN"}},
        {"models": {"m": "Infinity"}},
        {"models": {"m": "much"}},
        {"models": {"m": None}},
        {"models": []},
        {"guessed": None},
    ],
)
def test_what_is_no_day_is_an_error_and_never_free(change: dict[str, Any]):
    body = day(22, "05").to_json() | change
    with pytest.raises((ValueError, KeyError, TypeError, ArithmeticError, AttributeError)):
        ClosedDay.from_json("2026-11-22", REGION, body)


@pytest.mark.parametrize("missing", ["until", "models", "guessed"])
def test_a_day_with_a_part_missing_is_an_error(missing: str):
    body = day(22, "05").to_json()
    del body[missing]
    with pytest.raises(KeyError):
        ClosedDay.from_json("2026-11-22", REGION, body)
