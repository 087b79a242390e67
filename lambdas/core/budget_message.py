"""What AWS Budgets says: its plain-text notifications, parsed, and the mail about them.

A notification is a claim that it is worth asking the budget. It never is a measure.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from lambdas.core.errors import RefusedError
from lambdas.core.notice import Links, Notice, compose
from lambdas.core.windows import Window

ACTUAL, FORECASTED = "ACTUAL", "FORECASTED"

_KEYS = frozenset({"budget name", "budgeted amount", "alert type", "actual amount", "forecasted amount"})
_AMOUNTS = ("budgeted amount", "actual amount", "forecasted amount")
_ACCOUNT = re.compile(r"AWS Account:?\s+([0-9]{12})", re.IGNORECASE)
_CURRENCY = r"[A-Za-z]{0,3}[$€£¥₹₩]|[A-Za-z]{3}"
_MONEY = re.compile(
    rf"(?P<before>{_CURRENCY})?\s?(?P<digits>[0-9]{{1,3}}(?:,[0-9]{{3}}){{1,9}}|[0-9]{{1,30}})(?P<cents>\.[0-9]{{1,10}})?"
    rf"\s?(?P<after>{_CURRENCY})?"
)
_DOLLARS = frozenset({"$", "US$", "USD"})
_SIGNS = {"€": "EUR", "£": "GBP", "¥": "JPY or CNY", "₹": "INR", "₩": "KRW"}
_MUCH = 2
"""A claim so many times the confirmed figure, or the reverse, is worth a word; one in between is only older."""


@dataclass(frozen=True, slots=True)
class BudgetClaim:
    """What a notification claims; None is what it does not say, or not in a form we know."""

    budget_name: str | None = None
    window: Window | None = None
    """Whether it is the budget of a day or of a month, by its name or else by the words."""
    alert_type: str | None = None
    """``ACTUAL`` or ``FORECASTED``."""
    amount: Decimal | None = None
    """USD, actual or forecasted."""

    def said(self, confirmed: Decimal) -> str:
        """Return in words that the message had quite another figure; empty when it had not."""
        if self.amount is None or (self.amount <= confirmed * _MUCH and confirmed <= self.amount * _MUCH):
            return ""
        return f"its message said ${self.amount:,.2f}"


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """USD of a budget's period so far, and the budgeted USD. AWS refreshes them up to three times a day."""

    actual: Decimal
    budgeted: Decimal
    forecast: Decimal | None = None
    """What AWS expects of the whole period; None when it does not say."""
    period: str = "this month"
    """In words; the day's budget speaks of the dearer of today and yesterday."""

    @property
    def percent(self) -> Decimal:
        """Actual spend as a percentage of what is budgeted."""
        return self.actual * 100 / self.budgeted

    def __str__(self) -> str:
        """Return the words for people."""
        return f"${self.actual:.2f} of ${self.budgeted:.2f} {self.period}"


def parse_budget_message(text: str, *, account_id: str, windows: Mapping[str, Window]) -> BudgetClaim:
    """Read AWS's notification tolerantly; ``windows`` are those of our budgets by name.

    Raises RefusedError when it plainly speaks of another account, another budget or another currency. Whatever cannot
    be read at all is a claim about ours: the topic takes messages from AWS Budgets of this account only, and the
    figure is confirmed with DescribeBudget in any case.
    """
    fields: dict[str, str] = {}
    account = None
    for line in text.replace("\ufeff", "").splitlines():
        account = account or _ACCOUNT.fullmatch(line.strip())
        key, _, value = line.partition(":")
        key = " ".join(key.split()).lower()
        if key in _KEYS:
            # The first line of a kind counts, whatever somebody wrote further down. Entities only now: one may stand
            # for a line's end.
            fields.setdefault(key, html.unescape(value).strip())
    if account is not None and account[1] != account_id:
        msg = f"budget notification of account {account[1]}, this is {account_id}: ignored"
        raise RefusedError(msg)
    named = fields.get("budget name") or None
    if named is not None and named not in windows:
        msg = f"notification of budget {named!r}, only {' and '.join(map(repr, windows))} is ours: ignored"
        raise RefusedError(msg)
    alert = fields.get("alert type", "").upper()
    amounts = {key: _usd(fields[key]) for key in _AMOUNTS if key in fields}
    return BudgetClaim(
        named,
        _window(text.lower()) if named is None else windows[named],
        alert if alert in {ACTUAL, FORECASTED} else None,
        amounts.get("forecasted amount" if alert == FORECASTED else "actual amount"),
    )


def _window(text: str) -> Window | None:
    if "per day" in text or "yesterday" in text:
        return Window.DAY
    return Window.MONTH if "current month" in text else None


def _usd(text: str) -> Decimal | None:
    """Return USD, None for what is no amount. Raises RefusedError for another currency."""
    found = _MONEY.fullmatch(text)
    if found is None:
        return None
    currency = (found["before"] or found["after"] or "").upper()
    if currency in _DOLLARS:
        return Decimal(found["digits"].replace(",", "") + (found["cents"] or ""))
    if not currency:
        return None
    msg = (
        f"budget notification in {_SIGNS.get(currency, currency)}: the guardrail counts in USD; state the limit in USD "
        "([budget] in guardrail.toml) and deploy again: ignored"
    )
    raise RefusedError(msg)


def budget_warning(figures: BudgetFigures, name: str, alert_type: str, remarks: str, links: Links) -> Notice:
    """Compose the mail about a budget that only warns; ``remarks`` are more words, or empty."""
    forecast = "" if figures.forecast is None else f" AWS expects ${figures.forecast:.2f} of the whole period."
    lines = [
        f"AWS Budgets ({alert_type.lower()}): {figures}, confirmed with the budget {name}.{forecast}",
        *([f"{remarks[0].upper()}{remarks[1:]}."] if remarks else []),
        "AWS is 8 to 24 hours late; the meter sees more.",
        "",
        "Nothing was stopped. Stop now:",
        links.kill,
    ]
    return compose("Bedrock spend: AWS Budgets warning", lines, links, "budget")
