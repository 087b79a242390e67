"""What only the doctor reads: no function of the guardrail makes these calls. Reads only; all raise AwsCallError."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lambdas.aws import calls

ClientIn = Callable[[str, str], Any]
"""Returns the client of a service in a region."""

BILLING = "us-east-1"
"""Where Budgets and Cost Explorer answer."""


def iam_summary(client_in: ClientIn) -> Mapping[str, int]:
    """Return how much of IAM is used, and its quotas."""
    with calls.named("iam:GetAccountSummary"):
        found: Mapping[str, int] = client_in("iam", BILLING).get_account_summary()["SummaryMap"]
    return found


def invocation_log(client_in: ClientIn, region: str) -> Mapping[str, Any] | None:
    """Return where a region's invocations are logged to; None when they are not."""
    with calls.named("bedrock:GetModelInvocationLoggingConfiguration"):
        answer = client_in("bedrock", region).get_model_invocation_logging_configuration()
    return answer.get("loggingConfig") or None


def budgets(client_in: ClientIn, account_id: str) -> Sequence[Mapping[str, Any]]:
    """Return all budgets, with their filters."""
    with calls.named("budgets:DescribeBudgets"):
        pages = client_in("budgets", BILLING).get_paginator("describe_budgets")
        return [
            each
            for page in pages.paginate(AccountId=account_id, ShowFilterExpression=True)
            for each in page.get("Budgets", ())
        ]


def anomaly_monitors(client_in: ClientIn) -> Sequence[Mapping[str, Any]]:
    """Return the monitors of Cost Anomaly Detection; a cent."""
    found: list[Mapping[str, Any]] = []
    asked: dict[str, str] = {}
    while True:
        with calls.named("ce:GetAnomalyMonitors"):
            page = client_in("ce", BILLING).get_anomaly_monitors(**asked)
        found += page["AnomalyMonitors"]
        if not page.get("NextPageToken"):
            return found
        asked = {"NextPageToken": page["NextPageToken"]}
