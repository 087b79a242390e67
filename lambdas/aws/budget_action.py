"""AWS Budgets' own action: how it stands, and what a release has it do."""

from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.budget_action import Execution
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_budgets import BudgetsClient
    from mypy_boto3_iam import IAMClient


class BudgetAction:
    """The one action of the budget of the month."""

    def __init__(
        self,
        client: "BudgetsClient",
        iam: "IAMClient",
        *,
        account_id: str,
        budget_name: str,
        action_id: str,
        policy_arn: str,
    ) -> None:
        """Take the clients, what names the action, and the policy it attaches."""
        self._budgets = client
        self._iam = iam
        self._policy_arn = policy_arn
        self._account_id = account_id
        self._budget_name = budget_name
        self._action_id = action_id

    @needs("budgets:DescribeBudgetAction", on=On.BUDGET_ACTION)
    def status(self) -> str:
        """Return how it stands, as AWS spells it. Raises AwsCallError."""
        with calls.named("budgets:DescribeBudgetAction"):
            found = self._budgets.describe_budget_action(
                AccountId=self._account_id, BudgetName=self._budget_name, ActionId=self._action_id
            )
        return found["Action"]["Status"]

    @needs("budgets:ExecuteBudgetAction", on=On.BUDGET_ACTION)
    def execute(self, execution: Execution) -> None:
        """Ask for one thing, which AWS does afterwards. Raises AwsCallError, also while it is at another."""
        with calls.named("budgets:ExecuteBudgetAction"):
            self._budgets.execute_budget_action(
                AccountId=self._account_id,
                BudgetName=self._budget_name,
                ActionId=self._action_id,
                ExecutionType=execution.value,
            )

    @needs("iam:ListEntitiesForPolicy", on=On.BUDGET_STOP_POLICY)
    def holders(self) -> frozenset[str]:
        """Return whom the policy is on, groups among them; nobody where it is gone. Raises AwsCallError."""
        try:
            with calls.named("iam:ListEntitiesForPolicy"):
                pages = list(
                    self._iam.get_paginator("list_entities_for_policy").paginate(
                        PolicyArn=self._policy_arn, PolicyUsageFilter="PermissionsPolicy"
                    )
                )
        except AwsCallError as error:
            if error.code != "NoSuchEntity":
                raise
            return frozenset()
        return frozenset(
            holder
            for page in pages
            for holder in (
                *(f"role/{each['RoleName']}" for each in page.get("PolicyRoles", ())),
                *(f"user/{each['UserName']}" for each in page.get("PolicyUsers", ())),
                *(f"group/{each['GroupName']}" for each in page.get("PolicyGroups", ())),
            )
        )
