"""What AWS would do by itself: a budget's spend, a schedule's tick, an event from an AWS service."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from drill.emulator.emulator import Emulator


class StimulusError(Exception):
    """The emulator did not take what AWS would have done."""


def set_budget_spend(emulator: Emulator, budget_name: str, actual: Decimal, forecast: Decimal | None = None) -> None:
    """Make DescribeBudget report that spend, in USD, for a budget that exists."""
    budgets = emulator.client("budgets")
    budget = budgets.describe_budget(AccountId=emulator.account, BudgetName=budget_name)["Budget"]
    budget["CalculatedSpend"] = {"ActualSpend": {"Amount": str(actual), "Unit": "USD"}}
    if forecast is not None:
        budget["CalculatedSpend"]["ForecastedSpend"] = {"Amount": str(forecast), "Unit": "USD"}
    budgets.update_budget(AccountId=emulator.account, NewBudget=budget)


def fire_schedule(emulator: Emulator, rule_name: str) -> list[dict[str, Any]]:
    """Invoke the Lambda targets of a scheduled rule now, with their input; return their answers."""
    events, functions = emulator.client("events"), emulator.client("lambda")
    rule = events.describe_rule(Name=rule_name)
    tick = {"source": "aws.events", "detail-type": "Scheduled Event", "resources": [rule["Arn"]], "detail": {}}
    return [
        _invoked(functions, target["Arn"], target.get("Input") or json.dumps(tick))
        for target in events.list_targets_by_rule(Rule=rule_name)["Targets"]
    ]


def send_event(
    emulator: Emulator,
    source: str,
    detail_type: str,
    detail: dict[str, Any],
    resources: Sequence[str] = (),
) -> None:
    """Put an event from an AWS service on the default bus; the deployed rules decide who gets it."""
    entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail), "Resources": list(resources)}
    answer = emulator.client("events").put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        message = f"{source} {detail_type}: {answer['Entries'][0].get('ErrorMessage')}"
        raise StimulusError(message)


def tell_of_refused_delete(emulator: Emulator, role: str) -> None:
    """Tell EventBridge what CloudTrail would: somebody tried to delete a role that has a policy attached."""
    detail = {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "arn": f"arn:aws:iam::{emulator.account}:user/owner",
            "accountId": emulator.account,
            "userName": "owner",
        },
        "eventTime": datetime.now(UTC).isoformat(timespec="seconds"),
        "eventSource": "iam.amazonaws.com",
        "eventName": "DeleteRole",
        "awsRegion": "us-east-1",
        "errorCode": "DeleteConflictException",
        "errorMessage": "Cannot delete entity, must detach all policies first.",
        "requestParameters": {"roleName": role},
        "responseElements": None,
        "eventID": str(uuid4()),
        "eventType": "AwsApiCall",
        "recipientAccountId": emulator.account,
    }
    send_event(emulator, "aws.iam", "AWS API Call via CloudTrail", detail)


def _invoked(functions: Any, arn: str, payload: str) -> dict[str, Any]:  # noqa: ANN401 - a boto3 client
    answer = functions.invoke(FunctionName=arn, Payload=payload.encode())
    return {"function": arn, "error": answer.get("FunctionError"), "payload": json.loads(answer["Payload"].read())}
