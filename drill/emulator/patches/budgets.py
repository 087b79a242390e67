"""AWS Budgets: its IAM actions, a spend the drill can choose, and its CloudFormation types."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import json
import uuid
from typing import Any

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import BAD_REQUEST, Emulated, Response, module, wrap

READS = ("Describe", "List")
ON_ACTIONS = ("DescribeBudgetAction", "ExecuteBudgetAction")


@launcher_patch("budgets-iam-actions")
def _iam_actions() -> None:
    def as_aws(original: Emulated) -> Emulated:
        def extract(service: str, *request: Emulated) -> str | None:
            action: str | None = original(service, *request)
            if service != "budgets" or action is None:
                return action
            operation = action.partition(":")[2]
            if operation in ON_ACTIONS:
                return action
            return "budgets:ViewBudget" if operation.startswith(READS) else "budgets:ModifyBudget"

        return extract

    def on_budget(original: Emulated) -> Emulated:
        def extract(service: str, method: str, path: str, headers: Emulated, body: bytes, *rest: Emulated) -> str:
            if service != "budgets":
                return str(original(service, method, path, headers, body, *rest))
            request = json.loads(body or b"{}")
            named = request.get("Budget") or request.get("NewBudget") or request
            name = named.get("BudgetName", "*")
            of_action = f"/action/{request['ActionId']}" if "ActionId" in request else ""
            return f"arn:aws:budgets::{request.get('AccountId', '')}:budget/{name}{of_action}"

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


@launcher_patch("budgets-performance-history")
def _performance_history() -> None:
    budgets = module("services.budgets")

    def history(request: dict[str, Any]) -> Response:
        nothing = {"BudgetName": request["BudgetName"], "BudgetedAndActualAmountsList": []}
        answer: Response = budgets._json(200, {"BudgetPerformanceHistory": nothing})
        return answer

    budgets._DISPATCH["DescribeBudgetPerformanceHistory"] = history


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


@launcher_patch("budgets-actions")
def _actions() -> None:
    budgets, provisioners = module("services.budgets"), module("services.cloudformation.provisioners")
    store = module("core.responses").AccountScopedDict()

    def known(request: dict[str, Any]) -> Response | dict[str, Any]:
        action: dict[str, Any] | None = store.get(request["ActionId"])
        if action is None or action["BudgetName"] != request["BudgetName"]:
            missing: Response = budgets._err_notfound("There is no such action.")
            return missing
        return action

    def describe(request: dict[str, Any]) -> Response:
        action = known(request)
        if isinstance(action, tuple):
            return action
        named = {key: request[key] for key in ("AccountId", "BudgetName")}
        answer: Response = budgets._json(200, {**named, "Action": action})
        return answer

    def execute(request: dict[str, Any]) -> Response:
        action = known(request)
        if isinstance(action, tuple):
            return action
        named = {key: request[key] for key in ("AccountId", "BudgetName", "ActionId", "ExecutionType")}
        answer: Response = budgets._json(200, named)
        return answer

    def create(_logical_id: str, properties: dict[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
        identifier = str(uuid.uuid4())
        store[identifier] = {**properties, "ActionId": identifier, "Status": "STANDBY"}
        return identifier, {"ActionId": identifier}

    def update(identifier: str, _old: Emulated, new: dict[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
        store[identifier] = {**store[identifier], **new}
        return identifier, {"ActionId": identifier}

    def delete(identifier: str, _properties: Emulated) -> None:
        store.pop(identifier, None)

    budgets._DISPATCH.update(DescribeBudgetAction=describe, ExecuteBudgetAction=execute)
    handlers = {"create": create, "update": update, "delete": delete}
    provisioners._RESOURCE_HANDLERS["AWS::Budgets::BudgetsAction"] = handlers
