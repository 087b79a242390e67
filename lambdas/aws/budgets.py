"""AWS Budgets: what a budget itself says, whatever a message claimed."""

from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.budget_message import BudgetFigures
from lambdas.core.errors import GuardrailError
from lambdas.core.permissions import On, needs
from lambdas.core.windows import Window

if TYPE_CHECKING:
    from mypy_boto3_budgets import BudgetsClient
    from mypy_boto3_budgets.type_defs import SpendTypeDef


class BudgetFigureError(GuardrailError):
    """The budget answers, but not with an amount in USD that could be judged."""


class Budget:
    """A budget of this stack: of the month, or of the day."""

    def __init__(self, client: "BudgetsClient", *, account_id: str, name: str, window: Window = Window.MONTH) -> None:
        """Take the client, the account, the budget's name and whether it is of a day or a month."""
        self._budgets = client
        self._account_id = account_id
        self.name = name
        self.window = window

    @needs("budgets:ViewBudget", on=On.BUDGET)
    def figures(self, now: datetime) -> BudgetFigures:
        """Return what AWS knows now. Raises AwsCallError, and BudgetFigureError for other currencies or none.

        AWS tells of a day when the next one has begun: of the day's budget the dearer of today and yesterday counts.
        """
        with calls.named("budgets:DescribeBudget"):
            budget = self._budgets.describe_budget(AccountId=self._account_id, BudgetName=self.name)["Budget"]
        spend = budget.get("CalculatedSpend", {})
        budgeted = self._usd(budget.get("BudgetLimit"))
        if budgeted <= 0:
            msg = f"budget {self.name!r} has a limit of ${budgeted}: set it in guardrail.toml and deploy again"
            raise BudgetFigureError(msg)
        forecast = self._usd(spend["ForecastedSpend"]) if "ForecastedSpend" in spend else None
        actual = self._usd(spend.get("ActualSpend"))
        if self.window is not Window.DAY:
            return BudgetFigures(actual, budgeted, forecast)
        before = self._day_before(now)
        if before is not None and before > actual:
            return BudgetFigures(before, budgeted, forecast, f"on {now - timedelta(days=1):%Y-%m-%d}")
        return BudgetFigures(actual, budgeted, forecast, f"on {now:%Y-%m-%d}")

    def _day_before(self, now: datetime) -> Decimal | None:
        with calls.named("budgets:DescribeBudgetPerformanceHistory"):
            answer = self._budgets.describe_budget_performance_history(
                AccountId=self._account_id,
                BudgetName=self.name,
                TimePeriod={"Start": now - timedelta(days=2), "End": now},
            )
        yesterday = (now - timedelta(days=1)).date()
        found: list[Decimal] = []
        # A budget made today has no history.
        for each in answer.get("BudgetPerformanceHistory", {}).get("BudgetedAndActualAmountsList", []):
            start = each.get("TimePeriod", {}).get("Start")
            if start is not None and start.date() == yesterday:
                found.append(self._usd(each.get("ActualAmount")))
        return max(found, default=None)

    def _usd(self, spend: "SpendTypeDef | None") -> Decimal:
        if spend is None or spend.get("Unit") != "USD":
            unit = "" if spend is None else spend.get("Unit", "")
            what = f"is in {unit}; state the limit in USD" if unit else "gives no amount"
            msg = f"budget {self.name!r} {what}: {spend!r}; look at it in the Billing console"
            raise BudgetFigureError(msg)
        try:
            amount = Decimal(spend["Amount"])
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite():
            msg = f"budget {self.name!r} gives {spend!r}, which is no amount: look at it in the Billing console"
            raise BudgetFigureError(msg)
        return amount
