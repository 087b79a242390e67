"""AWS Budgets: its IAM actions, a spend the drill can choose, and its CloudFormation type."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import json
from typing import Any

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import BAD_REQUEST, Emulated, module, wrap

READS = ("Describe", "List")


@launcher_patch("budgets-iam-actions")
def _iam_actions() -> None:
    def as_aws(original: Emulated) -> Emulated:
        def extract(service: str, *request: Emulated) -> str | None:
            action: str | None = original(service, *request)
            if service != "budgets" or action is None:
                return action
            operation = action.partition(":")[2]
            return "budgets:ViewBudget" if operation.startswith(READS) else "budgets:ModifyBudget"

        return extract

    def on_budget(original: Emulated) -> Emulated:
        def extract(service: str, method: str, path: str, headers: Emulated, body: bytes, *rest: Emulated) -> str:
            if service != "budgets":
                return str(original(service, method, path, headers, body, *rest))
            request = json.loads(body or b"{}")
            named = request.get("Budget") or request.get("NewBudget") or request
            name = named.get("BudgetName", "*")
            return f"arn:aws:budgets::{request.get('AccountId', '')}:budget/{name}"

        return extract

    wrap(module("core.iam_actions"), "extract_iam_action", as_aws)
    wrap(module("core.iam_actions"), "extract_resource_arn", on_budget)


@launcher_patch("budgets-calculated-spend")
def _calculated_spend() -> None:
    wrap(
        module("services.budgets"),
        "_calculated_spend",
        lambda original: lambda budget: budget.get("CalculatedSpend") or original(budget),
    )


@launcher_patch("cloudformation-budget")
def _cloudformation_type() -> None:
    budgets, provisioners = module("services.budgets"), module("services.cloudformation.provisioners")

    def done(response: Emulated) -> None:
        status, _, body = response
        if status >= BAD_REQUEST:
            raise ValueError(json.loads(body).get("message") or body.decode())

    def api_budget(properties: dict[str, Any], name: str) -> dict[str, Any]:
        budget = {**properties["Budget"], "BudgetName": name}
        limit = budget.get("BudgetLimit")
        if limit:  # a template may carry a number where the API wants a string
            budget["BudgetLimit"] = {**limit, "Amount": str(limit["Amount"])}
        return budget

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, str]]:
        name = properties["Budget"].get("BudgetName") or provisioners._physical_name(stack, logical_id)
        done(
            budgets._create_budget(
                {
                    "Budget": api_budget(properties, name),
                    "NotificationsWithSubscribers": properties.get("NotificationsWithSubscribers", []),
                    "ResourceTags": properties.get("ResourceTags", []),
                }
            )
        )
        return name, {}

    def update(name: str, _old: Emulated, new: dict[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
        done(budgets._update_budget({"NewBudget": api_budget(new, name)}))
        return name, {}

    def delete(name: str, _properties: Emulated) -> None:
        if name in budgets._budgets:
            done(budgets._delete_budget({"BudgetName": name}))

    provisioners._RESOURCE_HANDLERS["AWS::Budgets::Budget"] = {"create": create, "update": update, "delete": delete}
