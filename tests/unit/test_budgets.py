"""What a budget answers: USD of its period, or an error that says where to look."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.aws.budgets import Budget, BudgetFigureError
from lambdas.core.budget_message import BudgetFigures
from lambdas.core.windows import Window
from tests.conftest import ACCOUNT

NOW = datetime(2026, 11, 22, 5, 30, tzinfo=UTC)
ASKED = {"AccountId": ACCOUNT, "BudgetName": "ours"}


def usd(amount: str, unit: str = "USD") -> dict[str, str]:
    return {"Amount": amount, "Unit": unit}


def answer(actual: Any, limit: Any = None, **more: Any) -> dict[str, Any]:
    spend = {**({} if actual is None else {"ActualSpend": actual}), **more}
    return {
        "Budget": {
            "BudgetName": "ours",
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "BudgetLimit": limit or usd("500.0"),
            **({"CalculatedSpend": spend} if actual is not None else {}),
        }
    }


@pytest.fixture
def stub() -> Any:
    client = boto3.client("budgets", region_name="us-east-1")
    with Stubber(client) as found:
        yield found
        found.assert_no_pending_responses()


def figures(stub: Any, window: Window = Window.MONTH) -> BudgetFigures:
    return Budget(stub.client, account_id=ACCOUNT, name="ours", window=window).figures(NOW)


def test_the_month_is_what_describe_budget_says(stub: Any):
    stub.add_response("describe_budget", answer(usd("12.5"), ForecastedSpend=usd("620")), ASKED)
    assert figures(stub) == BudgetFigures(Decimal("12.5"), Decimal("500.0"), Decimal(620), "this month")


def history(*days: tuple[int, str]) -> dict[str, Any]:
    return {
        "BudgetPerformanceHistory": {
            "BudgetName": "ours",
            "BudgetedAndActualAmountsList": [
                {
                    "BudgetedAmount": usd("50"),
                    "ActualAmount": usd(amount),
                    "TimePeriod": {
                        "Start": datetime(2026, 11, day, tzinfo=UTC),
                        "End": datetime(2026, 11, day + 1, tzinfo=UTC),
                    },
                }
                for day, amount in days
            ],
        }
    }


@pytest.mark.parametrize(
    ("today", "days", "actual", "period"),
    [
        ("3", [(20, "900"), (21, "61.07"), (22, "3")], "61.07", "on 2026-11-21"),
        ("70", [(21, "61.07")], "70", "on 2026-11-22"),
        ("3", [], "3", "on 2026-11-22"),
        ("3", [(20, "900")], "3", "on 2026-11-22"),
    ],
)
def test_of_the_days_budget_the_dearer_of_today_and_yesterday_counts(
    stub: Any, today: str, days: list[tuple[int, str]], actual: str, period: str
):
    stub.add_response("describe_budget", answer(usd(today), usd("50")), ASKED)
    stub.add_response("describe_budget_performance_history", history(*days))
    found = figures(stub, Window.DAY)
    assert (found.actual, found.period) == (Decimal(actual), period)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (answer(None), "gives no amount"),
        (answer(usd("1", "EUR")), "in EUR; state the limit in USD"),
        (answer(usd("1"), usd("500", "EUR")), "in EUR"),
        (answer(usd("lots")), "no amount"),
        (answer(usd("NaN")), "no amount"),
        (answer(usd("Infinity")), "no amount"),
        (answer(usd("1"), usd("0")), "limit of"),
        (answer(usd("1"), ForecastedSpend=usd("1", "EUR")), "in EUR"),
    ],
)
def test_what_is_no_amount_in_usd_is_an_error_that_says_what_to_do(stub: Any, raw: dict[str, Any], says: str):
    stub.add_response("describe_budget", raw, ASKED)
    with pytest.raises(BudgetFigureError, match=says):
        figures(stub)
