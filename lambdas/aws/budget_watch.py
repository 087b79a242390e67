"""AWS Budgets: whether a budget still is as it was made."""

from decimal import Decimal
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.health import FoundBudget, Rung
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_budgets import BudgetsClient
    from mypy_boto3_budgets.type_defs import NotificationTypeDef


class BudgetWatch:
    """The budgets of the stack."""

    def __init__(self, client: "BudgetsClient", account_id: str) -> None:
        """Take the client and the account."""
        self._budgets = client
        self._account_id = account_id

    @needs("budgets:ViewBudget", on=On.BUDGET)
    def found(self, name: str) -> FoundBudget | None:
        """Return a budget, None when it is gone. Raises AwsCallError."""
        try:
            with calls.named("budgets:DescribeBudget"):
                budget = self._budgets.describe_budget(AccountId=self._account_id, BudgetName=name)["Budget"]
            rungs = {
                Rung(each["NotificationType"], Decimal(str(each["Threshold"]))): self._addresses(name, each)
                for each in self._notifications(name)
                if each.get("ThresholdType", "PERCENTAGE") == "PERCENTAGE"
            }
        except AwsCallError as error:
            if error.code != "NotFoundException":
                raise
            return None
        limit, health = budget.get("BudgetLimit"), budget.get("HealthStatus", {})
        usd = Decimal(limit["Amount"]) if limit is not None and limit["Unit"] == "USD" else None
        unhealthy = ""
        if health.get("Status", "HEALTHY") != "HEALTHY":
            unhealthy = f"{health['Status']}: {health.get('StatusReason', 'no reason')}"
        return FoundBudget(usd, unhealthy, rungs)

    def _notifications(self, name: str) -> "list[NotificationTypeDef]":
        with calls.named("budgets:DescribeNotificationsForBudget"):
            pages = self._budgets.get_paginator("describe_notifications_for_budget").paginate(
                AccountId=self._account_id, BudgetName=name
            )
            return [each for page in pages for each in page.get("Notifications", ())]

    def _addresses(self, name: str, notification: "NotificationTypeDef") -> frozenset[str]:
        with calls.named("budgets:DescribeSubscribersForNotification"):
            pages = self._budgets.get_paginator("describe_subscribers_for_notification").paginate(
                AccountId=self._account_id, BudgetName=name, Notification=notification
            )
            return frozenset(each["Address"] for page in pages for each in page.get("Subscribers", ()))
