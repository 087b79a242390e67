"""What an account holds: the proof that nothing is left, and that everything is as it was."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import Any

from drill.emulator.emulator import Emulator

Inventory = frozenset[tuple[str, str]]
"""What an account holds: kind and name."""

PENDING_KEY = "key pending deletion"

_CHANGES_BY_ITSELF = {"UpdateDate", "RoleLastUsed", "PasswordLastUsed"}
_OF_VERSIONS = {"VersionId", "DefaultVersionId", "CreateDate"}
_KEY = "ServiceSpecificCredentialId"
_IAM_WRITES = (
    *(f"{verb}{kind}Policy" for verb in ("Attach", "Detach", "Put", "Delete") for kind in ("Role", "User", "Group")),
    "AddUserToGroup",
    "RemoveUserFromGroup",
    "SetDefaultPolicyVersion",
    "CreatePolicyVersion",
    "DeletePolicyVersion",
    "UpdateServiceSpecificCredential",
)


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
    add("group", "iam", "list_groups", "Groups", "GroupName")
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
    add("registry", "schemas", "list_registries", "Registries", "RegistryName")
    keys = emulator.client("kms", region=region)
    for page in keys.get_paginator("list_keys").paginate():
        for each in page["Keys"]:
            state = keys.describe_key(KeyId=each["KeyId"])["KeyMetadata"]["KeyState"]
            found.add((PENDING_KEY if state == "PendingDeletion" else "key", each["KeyId"]))
    add("budget", "budgets", "describe_budgets", "Budgets", "BudgetName", AccountId=emulator.account)
    return frozenset(found)


def snapshot(emulator: Emulator, *, rewritten: Collection[str] = ()) -> dict[str, Any]:
    """Everything that a stop may change, to compare to the byte: IAM, API keys and reserved concurrency.

    Only times that AWS moves by itself are left out. Of the policies in ``rewritten`` it is what each version says
    that counts, not its number.
    """
    return {
        **_iam(emulator, rewritten),
        **{f"API key {each[_KEY]}": _stable(each) for each in _keys(emulator)},
        **{f"concurrency of {name}": reserved for name, reserved in reserved_concurrency(emulator).items()},
    }


def key_status(emulator: Emulator) -> dict[str, str]:
    """Return the status of each long-term Bedrock API key."""
    return {each[_KEY]: each["Status"] for each in _keys(emulator)}


def reserved_concurrency(emulator: Emulator) -> dict[str, int | None]:
    """Return what each function has reserved; None for nothing."""
    functions = emulator.client("lambda")
    pages = functions.get_paginator("list_functions").paginate()
    names = [each["FunctionName"] for page in pages for each in page["Functions"]]
    return {
        each: functions.get_function_concurrency(FunctionName=each).get("ReservedConcurrentExecutions")
        for each in names
    }


def iam_writes(emulator: Emulator, since: datetime) -> Counter[str]:
    """Count, by name, the calls since then that changed something in IAM."""
    trail = emulator.client("cloudtrail")
    return Counter(
        each["EventName"]
        for name in _IAM_WRITES
        for each in trail.lookup_events(
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}], StartTime=since
        )["Events"]
    )


def _keys(emulator: Emulator) -> list[dict[str, Any]]:
    found = emulator.client("iam").list_service_specific_credentials(AllUsers=True)
    return list(found["ServiceSpecificCredentials"])


def _iam(emulator: Emulator, rewritten: Collection[str]) -> dict[str, Any]:
    """Return, by ARN, everything IAM says about roles, users, groups and policies."""
    pages = emulator.client("iam").get_paginator("get_account_authorization_details").paginate()
    found: dict[str, Any] = {}
    for page in pages:
        for key in ("RoleDetailList", "UserDetailList", "GroupDetailList", "Policies"):
            for entry in page.get(key, ()):
                leave_out = _CHANGES_BY_ITSELF | (_OF_VERSIONS if entry["Arn"] in rewritten else set())
                found[entry["Arn"]] = _stable(entry, leave_out)
    return found


def _stable(node: Any, leave_out: Collection[str] = _CHANGES_BY_ITSELF) -> Any:  # noqa: ANN401 - an answer is any JSON
    if isinstance(node, dict):
        return {key: _stable(value, leave_out) for key, value in node.items() if key not in leave_out}
    if isinstance(node, list):
        return sorted((_stable(item, leave_out) for item in node), key=repr)
    return node
