"""What an account holds: the proof that nothing is left, and that IAM is as it was."""

from typing import Any

from drill.emulator.emulator import Emulator

Inventory = frozenset[tuple[str, str]]
"""What an account holds: kind and name."""

_CHANGES_BY_ITSELF = {"UpdateDate", "RoleLastUsed", "PasswordLastUsed"}


def inventory(emulator: Emulator, *regions: str) -> Inventory:
    """Everything of the kinds this project creates, whoever made it; in other regions than the emulator's as well."""
    return frozenset().union(*(_of_region(emulator, each) for each in (emulator.region, *regions)))


def _of_region(emulator: Emulator, region: str) -> Inventory:
    found: set[tuple[str, str]] = set()

    def add(kind: str, service: str, operation: str, key: str, name: str | None, **arguments: object) -> None:
        client = emulator.client(service, region=region)
        paged = client.can_paginate(operation)
        pages = (
            client.get_paginator(operation).paginate(**arguments)
            if paged
            else [getattr(client, operation)(**arguments)]
        )
        found.update((kind, entry[name] if name else entry) for page in pages for entry in page.get(key) or [])

    add("role", "iam", "list_roles", "Roles", "RoleName")
    add("user", "iam", "list_users", "Users", "UserName")
    add("policy", "iam", "list_policies", "Policies", "Arn", Scope="Local")
    add("function", "lambda", "list_functions", "Functions", "FunctionName")
    add("topic", "sns", "list_topics", "Topics", "TopicArn")
    add("subscription", "sns", "list_subscriptions", "Subscriptions", "SubscriptionArn")
    add("queue", "sqs", "list_queues", "QueueUrls", None)
    add("table", "dynamodb", "list_tables", "TableNames", None)
    add("rule", "events", "list_rules", "Rules", "Arn")
    add("schedule", "scheduler", "list_schedules", "Schedules", "Name")
    add("alarm", "cloudwatch", "describe_alarms", "MetricAlarms", "AlarmArn")
    add("alarm", "cloudwatch", "describe_alarms", "CompositeAlarms", "AlarmArn", AlarmTypes=["CompositeAlarm"])
    add("dashboard", "cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName")
    add("log group", "logs", "describe_log_groups", "logGroups", "logGroupName")
    add("parameter", "ssm", "describe_parameters", "Parameters", "Name")
    add("bucket", "s3", "list_buckets", "Buckets", "Name")
    add("budget", "budgets", "describe_budgets", "Budgets", "BudgetName", AccountId=emulator.account)
    return frozenset(found)


def iam_snapshot(emulator: Emulator, *, without_path: str = "") -> dict[str, Any]:
    """Everything IAM says about roles, users, groups and policies, to compare to the byte.

    Only times that AWS moves by itself are left out; with ``without_path``, so are the roles under that path.
    """
    pages = emulator.client("iam").get_paginator("get_account_authorization_details").paginate()
    found: dict[str, Any] = {}
    for page in pages:
        for key in ("RoleDetailList", "UserDetailList", "GroupDetailList", "Policies"):
            for entry in page.get(key, ()):
                if key != "RoleDetailList" or not without_path or entry["Path"] != without_path:
                    found[entry["Arn"]] = _stable(entry)
    return found


def _stable(node: Any) -> Any:  # noqa: ANN401 - an answer is any JSON
    if isinstance(node, dict):
        return {key: _stable(value) for key, value in node.items() if key not in _CHANGES_BY_ITSELF}
    if isinstance(node, list):
        return sorted((_stable(item) for item in node), key=repr)
    return node
