"""Budgets' text in all its shapes: read for what it claims, refused for what it plainly is not, never a crash."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from lambdas.core.budget_message import BudgetClaim, BudgetFigures, budget_warning, parse_budget_message
from lambdas.core.errors import RefusedError
from lambdas.core.notice import Links
from lambdas.core.windows import Window
from tests.conftest import ACCOUNT, event

MONTHLY, DAILY = "bedrock-spend-monthly", "bedrock-spend-daily"
WINDOWS = {MONTHLY: Window.MONTH, DAILY: Window.DAY}
ACTUAL, FORECASTED, DAY = (event(f"budgets_{each}.txt") for each in ("actual", "forecasted", "daily"))
SPENT = Decimal("1234.56")


def parse(text: str) -> BudgetClaim:
    return parse_budget_message(text, account_id=ACCOUNT, windows=WINDOWS)


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        (ACTUAL, BudgetClaim(MONTHLY, Window.MONTH, "ACTUAL", SPENT)),
        (FORECASTED, BudgetClaim(MONTHLY, Window.MONTH, "FORECASTED", SPENT)),
        (DAY, BudgetClaim(DAILY, Window.DAY, "ACTUAL", Decimal("61.07"))),
    ],
)
def test_the_text_aws_sends_is_read(text: str, claim: BudgetClaim):
    assert parse(text) == claim


SAME: dict[str, Callable[[str], str]] = {
    "Windows line ends": lambda text: text.replace("\n", "\r\n"),
    "old line ends": lambda text: text.replace("\n", "\r"),
    "old casing": lambda text: text.replace("ACTUAL", "Actual"),
    "another casing of the keys": lambda text: text.replace("Budget Name: ", "budget  name:"),
    "a byte order mark": lambda text: "\ufeff" + text,
    "space around it": lambda text: text.replace("\n", "   \n\t "),
    "a colon behind the account": lambda text: text.replace("AWS Account ", "AWS Account: "),
    "an account that is masked": lambda text: text.replace(ACCOUNT, "XXX"),
    "html entities": lambda text: text.replace("> ", "&gt; ").replace("$", "&#36;"),
    "the sign after the amount": lambda text: text.replace("Amount: $1,234.56", "Amount: 1,234.56 USD"),
    "the sign in letters": lambda text: text.replace("Amount: $1,234.56", "Amount: US$1,234.56"),
    "no thousands separator": lambda text: text.replace("1,234.56", "1234.56"),
    "more digits": lambda text: text.replace("Amount: $1,234.56", "Amount: $1,234.5600"),
    "lines in another order": lambda text: "\n".join(reversed(text.splitlines())),
    "another record behind it": lambda text: text + "\n" + text.replace("1,234.56", "9.99"),
    "words of a later record": lambda text: text + "\nBudget Name: other\nAlert Type: FORECASTED\nACTUAL Amount: $1\n",
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_the_shape_does_not_matter(change: Callable[[str], str]):
    assert parse(change(ACTUAL)) == BudgetClaim(MONTHLY, Window.MONTH, "ACTUAL", SPENT)


@pytest.mark.parametrize(
    ("line", "claim"),
    [
        ("Budget Name", BudgetClaim(None, Window.MONTH, "ACTUAL", SPENT)),
        ("Alert Type", BudgetClaim(MONTHLY, Window.MONTH, None, SPENT)),
        ("ACTUAL Amount", BudgetClaim(MONTHLY, Window.MONTH, "ACTUAL", None)),
        ("AWS Account", BudgetClaim(MONTHLY, Window.MONTH, "ACTUAL", SPENT)),
    ],
)
def test_what_a_missing_line_would_say_is_not_known(line: str, claim: BudgetClaim):
    assert parse("\n".join(each for each in ACTUAL.splitlines() if not each.startswith(line))) == claim


def test_without_a_name_the_words_say_whether_it_is_of_a_day():
    assert parse(DAY.replace(f"Budget Name: {DAILY}", "")).window is Window.DAY
    assert parse("Yesterday, the ACTUAL cost of something was much").window is Window.DAY


@pytest.mark.parametrize(
    "text",
    ["", "You have chosen to subscribe to the topic arn:aws:sns:us-east-1:1:x", "{}", "\x00\ufffd", ":", "\n:\n:"],
)
def test_what_cannot_be_read_is_a_claim_that_has_to_be_confirmed(text: str):
    assert parse(text) == BudgetClaim()


@pytest.mark.parametrize("text", [ACTUAL, FORECASTED, DAY])
def test_cut_off_anywhere_it_claims_what_is_left_or_nothing(text: str):
    whole = parse(text)
    for end in range(len(text)):
        try:
            claim = parse(text[:end])
        except RefusedError as error:
            # Only a name that is cut is another one.
            assert "ours: ignored" in str(error)  # noqa: PT017 - most cuts are not refused
            assert text[:end].rpartition("\n")[2].startswith("Budget Name: b")
            continue
        assert claim.budget_name in {None, whole.budget_name}
        assert claim.window in {None, whole.window}
        assert claim.alert_type in {None, whole.alert_type}


@pytest.mark.parametrize(
    ("sign", "says"),
    [
        ("€1,234.56", "EUR"),
        ("£1,234.56", "GBP"),
        ("¥1,234", "JPY"),
        ("CN¥1,234", "CN¥"),
        ("R$1,234.56", r"R\$"),
        ("EUR 1,234.56", "EUR"),
        ("1234.56 EUR", "EUR"),
        ("1,234.56 eur", "EUR"),
        ("&euro;1,234.56", "EUR"),
    ],
)
def test_another_currency_is_refused_and_says_what_to_do(sign: str, says: str):
    for amount in ("ACTUAL Amount: $1,234.56", "Budgeted Amount: $500.00"):
        with pytest.raises(RefusedError, match="state the limit in USD") as refusal:
            parse(ACTUAL.replace(amount, f"{amount.partition(':')[0]}: {sign}"))
        assert refusal.match(says)


@pytest.mark.parametrize("amount", ["lots", "$", "$1.2.3", "$1,23.4", "1234.56", "80 %", "$NaN", "$-5", "$1e9", "$١٢"])
def test_an_amount_nobody_can_read_is_none(amount: str):
    assert parse(ACTUAL.replace("Amount: $1,234.56", f"Amount: {amount}")).amount is None


def test_another_account_is_refused():
    with pytest.raises(RefusedError, match="999999999999"):
        parse(ACTUAL.replace(ACCOUNT, "999999999999"))


@pytest.mark.parametrize(
    "name",
    [
        "the-other",
        MONTHLY.upper(),
        f"{MONTHLY} ",
        f"x{MONTHLY}",
        "a\nBudget Name: the-other",
        f"&#10;Budget Name: {MONTHLY}",
        f"the-other&#10;Budget Name: {MONTHLY}",
        f"the-other AWS Account {ACCOUNT} Budget Name: {MONTHLY}",
    ],
)
def test_another_budget_is_refused_whatever_its_name_imitates(name: str):
    text = ACTUAL.replace(MONTHLY, name)
    if name.strip() == MONTHLY:
        assert parse(text).budget_name == MONTHLY  # space around a value is nobody's name
        return
    with pytest.raises(RefusedError, match="is ours: ignored"):
        parse(text)


def test_a_name_that_imitates_lines_of_the_message_changes_nothing_of_ours():
    text = ACTUAL.replace("Dear AWS Customer,", "Dear Budget Name: the-other,\nAWS Account 999999999999 Alert Type: x")
    assert parse(text + "\nBudget Name: the-other\nAWS Account 999999999999\n") == parse(ACTUAL)


def test_a_message_of_the_longest_kind_is_read_at_once():
    assert parse(ACTUAL + " \t" * 128_000).budget_name == MONTHLY
    assert parse("Alert Type:" + " " * 250_000 + "x").alert_type is None
    assert parse("ACTUAL Amount: $" + "1," * 120_000).amount is None


@pytest.mark.parametrize(("actual", "said"), [("1234.56", ""), ("700", ""), ("3", "its message said $1,234.56")])
def test_a_claim_that_is_far_from_the_budget_is_told_of(actual: str, said: str):
    assert parse(ACTUAL).said(Decimal(actual)) == said


def test_the_mail_about_a_budget():
    links = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam")
    figures = BudgetFigures(Decimal(250), Decimal(500), Decimal(620))
    notice = budget_warning(figures, MONTHLY, "FORECASTED", "its message said $9.00", links)
    assert notice.subject == "Bedrock spend: AWS Budgets warning"
    assert notice.text.startswith(
        f"AWS Budgets (forecasted): $250.00 of $500.00 this month, confirmed with the budget {MONTHLY}. AWS expects "
        "$620.00 of the whole period.\nIts message said $9.00.\n"
    )
    assert "Nothing was stopped. Stop now:\nhttps://kill\n" in notice.text
