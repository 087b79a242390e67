"""What comes in: the console's events, release requests, the clock's."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core.errors import RefusedError
from lambdas.core.limits import Allowance
from lambdas.core.scopes import parse_scope
from lambdas.core.triggers import (
    AllowRequest,
    ReleaseRequest,
    StatusRequest,
    is_by_clock,
    is_the_end,
    parse_allow,
    parse_kill,
    parse_release,
    parse_status,
)
from lambdas.core.windows import Window
from tests.conftest import ACCOUNT, event


@pytest.mark.parametrize(
    "anything", [{}, None, [], "", "kill", 0, event("console_default.json"), {"scope": "account"}, {"scope": None}]
)
def test_any_event_kills_the_account(anything: object):
    assert parse_kill(anything, account_id=ACCOUNT) == ("killed from the console", None)


def test_a_reason_is_kept():
    assert parse_kill({"reason": "loop in prod"}, account_id=ACCOUNT)[0] == "killed from the console: loop in prod"
    assert parse_kill({"reason": 5}, account_id=ACCOUNT)[0] == "killed from the console"


def test_what_somebody_says_at_length_is_cut(now: datetime):
    long, said = "x" * 300_000, "x" * 497 + "..."
    assert parse_kill({"reason": long}, account_id=ACCOUNT)[0] == f"killed from the console: {said}"
    asked = {"confirm": "RELEASE", "reason": long, "by": long, "scope": None, "allowance": {"usd": 5, "hours": 1}}
    request = parse_release(asked, now=now, account_id=ACCOUNT)
    assert request.account
    assert request.allowance is not None
    assert {request.reason, request.by, request.allowance.reason, request.allowance.by} == {said}
    assert parse_kill({"reason": "x" * 500}, account_id=ACCOUNT)[0].endswith("x" * 500)


@pytest.mark.parametrize("status", ["DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"])
def test_only_a_stack_that_goes_as_a_whole_is_at_its_end(status: str):
    assert is_the_end(status)
    assert not is_the_end(f"UPDATE_{status}")


def test_a_scope_is_killed_alone():
    assert parse_kill({"scope": "role/agent"}, account_id=ACCOUNT)[1] == parse_scope("role/agent")


@pytest.mark.parametrize(
    "scope", ["", "acount", "model:*", 1, ["account"], {"role": "x"}, False, "arn:aws:iam::999999999999:role/x"]
)
def test_an_explicit_scope_that_is_not_known_is_refused(scope: object):
    with pytest.raises(RefusedError, match="nothing was stopped"):
        parse_kill({"scope": scope}, account_id=ACCOUNT)


def test_a_release_needs_the_word_and_a_reason(now: datetime):
    request = parse_release({"confirm": "RELEASE", "reason": " fixed "}, now=now, account_id=ACCOUNT)
    assert request == ReleaseRequest("fixed", "the console")


def test_a_release_may_be_of_one_scope_or_of_everything(now: datetime):
    word = {"confirm": "RELEASE", "reason": "fixed"}
    one = parse_release(word | {"scope": "role/agent"}, now=now, account_id=ACCOUNT)
    assert (one.account, one.scopes, one.everything) == (False, (parse_scope("role/agent"),), False)
    for scope in (None, "account"):
        request = parse_release(word | {"scope": scope}, now=now, account_id=ACCOUNT)
        assert (request.account, request.scopes, request.everything) == (True, (), False)
    everything = parse_release(word | {"scope": "everything"}, now=now, account_id=ACCOUNT)
    assert (everything.account, everything.scopes, everything.everything) == (True, (), True)


def test_an_allowance_has_dollars_and_an_end(now: datetime):
    raw = {"confirm": "RELEASE", "reason": "report", "by": "ada", "allowance": {"usd": 12.5, "hours": 2}}
    allowance = parse_release(raw, now=now, account_id=ACCOUNT).allowance
    assert allowance is not None
    assert (allowance.usd, allowance.until, allowance.by) == (Decimal("12.5"), now + timedelta(hours=2), "ada")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (None, "confirm"),
        ({}, "confirm"),
        ([], "confirm"),
        ("RELEASE", "confirm"),
        ({"confirm": "release", "reason": "x"}, "confirm"),
        ({"confirm": True, "reason": "x"}, "confirm"),
        ({"confirm": "RELEASE"}, "reason"),
        ({"confirm": "RELEASE", "reason": "  "}, "reason"),
        ({"confirm": "RELEASE", "reason": 7}, "reason"),
        ({"confirm": "RELEASE", "reason": "x", "by": ""}, '"by"'),
        ({"confirm": "RELEASE", "reason": "x", "alowance": {}}, "alowance"),
        ({"confirm": "RELEASE", "reason": "x", "scope": 5}, "scope"),
        ({"confirm": "RELEASE", "reason": "x", "scope": 0}, "scope"),
        ({"confirm": "RELEASE", "reason": "x", "scope": []}, "scope"),
        ({"confirm": "RELEASE", "reason": "x", "scope": ""}, "role/NAME"),
        ({"confirm": "RELEASE", "reason": "x", "scope": "rule/x"}, "role/NAME"),
        ({"confirm": "RELEASE", "reason": "x", "allowance": 50}, "allowance"),
        ({"confirm": "RELEASE", "reason": "x", "allowance": {"usd": 50}}, "allowance"),
        ({"confirm": "RELEASE", "reason": "x", "allowance": {"usd": 0, "hours": 1}}, "above 0"),
        ({"confirm": "RELEASE", "reason": "x", "allowance": {"usd": "NaN", "hours": 1}}, "above 0"),
        ({"confirm": "RELEASE", "reason": "x", "allowance": {"usd": True, "hours": 1}}, "above 0"),
        ({"confirm": "RELEASE", "reason": "x", "allowance": {"usd": 5, "hours": -1}}, "above 0"),
        ({"confirm": "RELEASE", "reason": "x", "allowance": {"usd": 5, "hours": 745}}, "at most 744"),
        ({"confirm": "RELEASE", "reason": "x", "allowance": {"usd": "lots", "hours": 1}}, "above 0"),
    ],
)
def test_anything_less_is_refused_and_says_what_is_missing(raw: object, says: str, now: datetime):
    with pytest.raises(RefusedError, match="nothing was released") as refusal:
        parse_release(raw, now=now, account_id=ACCOUNT)
    assert says in str(refusal.value)


def test_an_allowance_may_end_at_a_moment_and_raise_one_window(now: datetime):
    raw = {"usd": 200, "until": "2026-11-24T00:00Z", "window": "day"}
    request = parse_allow({"confirm": "ALLOW", "reason": "launch", "by": "ada", "allowance": raw}, now=now)
    until = datetime(2026, 11, 24, tzinfo=UTC)
    assert request == AllowRequest("launch", "ada", Allowance(Decimal(200), until, "launch", "ada", Window.DAY))
    released = {"confirm": "RELEASE", "reason": "launch", "by": "ada", "allowance": raw}
    assert parse_release(released, now=now, account_id=ACCOUNT).allowance == request.allowance


def test_allowances_may_be_ended(now: datetime):
    asked = {"confirm": "ALLOW", "reason": "done", "cancel": "all"}
    assert parse_allow(asked, now=now) == AllowRequest("done", "the console", None)


@pytest.mark.parametrize("raw", [None, {}, [], "ALLOW", {"confirm": "RELEASE", "reason": "x"}, {"confirm": True}])
def test_what_is_no_word_to_allow_is_left_to_the_release(raw: object, now: datetime):
    assert parse_allow(raw, now=now) is None


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "allowance"),
        ({"allowance": {"usd": 5, "hours": 1}, "cancel": "all"}, "cancel"),
        ({"cancel": "some"}, "all"),
        ({"cancel": None}, "all"),
        ({"allowance": None}, "usd"),
        ({"allowance": {"usd": 5}}, "until"),
        ({"allowance": {"usd": 5, "hours": 1, "until": "2026-11-24T00:00Z"}}, "until"),
        ({"allowance": {"usd": 5, "until": "2026-11-24"}}, "moment"),
        ({"allowance": {"usd": 5, "until": "2026-11-24T00:00"}}, "moment"),
        ({"allowance": {"usd": 5, "until": "2026-11-22T18:30Z"}}, "moment"),
        ({"allowance": {"usd": 5, "until": "2027-11-22T18:30Z"}}, "31 days"),
        ({"allowance": {"usd": 5, "until": "9999-12-31T23:59:59-12:00"}}, "31 days"),
        ({"allowance": {"usd": 5, "until": 1764000000}}, "moment"),
        ({"allowance": {"usd": 5, "hours": 10**400}}, "above 0"),
        ({"allowance": {"usd": 5, "hours": 1, "window": "week"}}, "hour, day, month"),
        ({"allowance": {"usd": 5, "hours": 1, "window": ["day"]}}, "hour, day, month"),
        ({"allowance": {"usd": 5, "hours": 1, "windows": "day"}}, "window"),
        ({"allowance": {"usd": 5, "hours": 1}, "scope": "role/a"}, "scope"),
        ({"allowance": {"usd": 5, "hours": 1}, "reason": ""}, "reason"),
        ({"allowance": {"usd": 5, "hours": 1}, "by": 5}, "by"),
    ],
)
def test_a_word_to_allow_that_is_not_whole_is_refused_and_says_why(more: dict[str, Any], says: str, now: datetime):
    with pytest.raises(RefusedError, match=r"nothing was (allowed|ended)") as refusal:
        parse_allow({"confirm": "ALLOW", "reason": "x", "by": "ada"} | more, now=now)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    "anything", [{}, None, [], "x", event("console_default.json"), {"all": 1}, {"plna": "account"}]
)
def test_anything_asks_for_the_state(anything: object):
    assert parse_status(anything, account_id=ACCOUNT) == StatusRequest()


def test_a_plan_is_of_the_account_or_of_a_scope_and_may_be_asked_for_in_full():
    assert parse_status({"plan": "account"}, account_id=ACCOUNT) == StatusRequest(plan=True)
    assert parse_status({"plan": None, "all": True}, account_id=ACCOUNT) == StatusRequest(plan=True, in_full=True)
    assert parse_status({"plan": "role/a"}, account_id=ACCOUNT) == StatusRequest(plan=True, scope=parse_scope("role/a"))


@pytest.mark.parametrize("scope", ["", "acount", True, 5, ["account"], "model:*"])
def test_a_plan_of_what_cannot_be_killed_is_refused(scope: object):
    with pytest.raises(RefusedError, match="nothing was planned"):
        parse_status({"plan": scope}, account_id=ACCOUNT)


def test_only_the_clocks_event_is_the_clocks():
    assert is_by_clock(event("scheduled.json"))
    others: list[object] = [event("alarm_state_change.json"), {}, None, "Scheduled Event", [event("scheduled.json")]]
    assert not any(map(is_by_clock, others))
