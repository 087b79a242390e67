"""What comes in: Budgets' text in all its shapes, the console's events, release requests."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from lambdas.core.errors import RefusedError
from lambdas.core.scopes import parse_scope
from lambdas.core.triggers import (
    BudgetClaim,
    ReleaseRequest,
    is_by_clock,
    is_the_end,
    parse_budget_message,
    parse_kill,
    parse_release,
)
from tests.conftest import ACCOUNT, event

BUDGET = "bedrock-spend-monthly"


def parse(text: str) -> BudgetClaim:
    return parse_budget_message(text, account_id=ACCOUNT, budget_name=BUDGET)


def test_the_text_aws_sends_is_read():
    assert parse(event("budgets_actual.txt")) == BudgetClaim(BUDGET, "ACTUAL")
    assert parse(event("budgets_forecasted.txt")) == BudgetClaim(BUDGET, "FORECASTED")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        str.upper,
        lambda text: text.replace("Budget Name: ", "budget name:"),
        lambda text: text.replace("Alert Type: ACTUAL", "Alert Type: Actual"),
        lambda text: "\ufeff" + text,
    ],
)
def test_line_ends_and_casing_do_not_matter(change):
    name = BUDGET.upper() if change is str.upper else BUDGET
    claim = parse_budget_message(change(event("budgets_actual.txt")), account_id=ACCOUNT, budget_name=name)
    assert claim.alert_type == "ACTUAL"


@pytest.mark.parametrize(
    "text", ["", "Your AWS subscription test", "{}", "\x00\ufffd", event("budgets_actual.txt")[:80]]
)
def test_what_cannot_be_read_is_a_claim_that_has_to_be_confirmed(text: str):
    assert parse(text) == BudgetClaim(None, None)


def test_another_account_is_refused():
    with pytest.raises(RefusedError, match="999999999999"):
        parse(event("budgets_actual.txt").replace(ACCOUNT, "999999999999"))


def test_another_budget_is_refused():
    with pytest.raises(RefusedError, match="'the-other'"):
        parse(event("budgets_actual.txt").replace(f"Name: {BUDGET}", "Name: the-other"))


def test_a_budget_name_that_imitates_the_message_fools_nobody():
    # A budget's name is free text: only whole lines count, and the first one that says so.
    text = event("budgets_actual.txt").replace("Dear AWS Customer,", "Dear Budget Name: the-other,")
    assert parse(text + "\nBudget Name: the-other\n").budget_name == BUDGET


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


def test_only_the_clocks_event_is_the_clocks():
    assert is_by_clock(event("scheduled.json"))
    others: list[object] = [event("alarm_state_change.json"), {}, None, "Scheduled Event", [event("scheduled.json")]]
    assert not any(map(is_by_clock, others))
