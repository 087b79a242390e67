"""AWS Budgets: what the budget itself says, whatever a message claimed."""

from decimal import Decimal
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.errors import GuardrailError
from lambdas.core.permissions import On, needs
from lambdas.stopping import BudgetFigures

if TYPE_CHECKING:
    from mypy_boto3_budgets import BudgetsClient
    from mypy_boto3_budgets.type_defs import SpendTypeDef


class BudgetFigureError(GuardrailError):
    """The budget answers, but not with an amount in USD that could be judged."""


class Budget:
    """The budget of this stack."""

    def __init__(self, client: "BudgetsClient", *, account_id: str, name: str) -> None:
        """Take the client, the account and the budget's name."""
        self._budgets = client
        self._account_id = account_id
        self.name = name

    @needs("budgets:ViewBudget", on=On.BUDGET)
    def figures(self) -> BudgetFigures:
        """Return what AWS knows now. Raises AwsCallError, and BudgetFigureError for other currencies or none."""
        with calls.named("budgets:DescribeBudget"):
            budget = self._budgets.describe_budget(AccountId=self._account_id, BudgetName=self.name)["Budget"]
        figures = BudgetFigures(
            actual=self._usd(budget.get("CalculatedSpend", {}).get("ActualSpend")),
            budgeted=self._usd(budget.get("BudgetLimit")),
        )
        if figures.budgeted <= 0:
            msg = f"budget {self.name!r} has a limit of ${figures.budgeted}: set it in guardrail.toml and deploy again"
            raise BudgetFigureError(msg)
        return figures

    def _usd(self, spend: "SpendTypeDef | None") -> Decimal:
        if spend is None or spend.get("Unit") != "USD":
            msg = f"budget {self.name!r} gives {spend!r}, not an amount in USD: look at it in the Billing console"
            raise BudgetFigureError(msg)
        return Decimal(spend["Amount"])
