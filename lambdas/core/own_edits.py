"""What CloudTrail says about the guardrail's own functions, rules, alarms, topics, queues, ledger and budgets, parsed.

Who edits them is told of by mail; policies and groups are `core.iam_events`'s. CloudTrail's fields:
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lambdas.core import iam_events
from lambdas.core.iam_events import Ours
from lambdas.core.notice import Links, Notice, compose

CLOUDFORMATION = "cloudformation.amazonaws.com"
"""How CloudTrail spells who calls in the name of somebody who deploys."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Calls of a service that change a thing of ours, and where in the request it is named."""

    thing: str
    calls: tuple[str, ...]
    """Without the version CloudTrail adds to those of Lambda, as in ``UpdateFunctionCode20150331v2``."""
    named: tuple[str, ...]
    """Keys of the request, a dot between those of nested ones."""


WATCHED: Mapping[str, Watched] = {
    "lambda": Watched(
        "function",
        (
            "AddPermission",
            "CreateFunctionUrlConfig",
            "DeleteFunction",
            "DeleteFunctionConcurrency",
            "DeleteFunctionEventInvokeConfig",
            "PutFunctionConcurrency",
            "PutFunctionEventInvokeConfig",
            "RemovePermission",
            "UpdateFunctionCode",
            "UpdateFunctionConfiguration",
            "UpdateFunctionEventInvokeConfig",
            "UpdateFunctionUrlConfig",
        ),
        ("functionName",),
    ),
    "events": Watched(
        "rule", ("DeleteRule", "DisableRule", "PutRule", "PutTargets", "RemoveTargets"), ("name", "rule")
    ),
    "monitoring": Watched(
        "alarm",
        (
            "DeleteAlarms",
            "DisableAlarmActions",
            "PutAlarmMuteRule",
            "PutCompositeAlarm",
            "PutMetricAlarm",
            "SetAlarmState",
        ),
        ("alarmName", "alarmNames", "muteTargets.alarmNames"),
    ),
    "sns": Watched(
        "topic",
        (
            "AddPermission",
            "DeleteTopic",
            "RemovePermission",
            "SetSubscriptionAttributes",
            "SetTopicAttributes",
            "Unsubscribe",
        ),
        ("topicArn", "subscriptionArn"),
    ),
    "sqs": Watched("queue", ("DeleteQueue", "PurgeQueue", "SetQueueAttributes"), ("queueUrl",)),
    "dynamodb": Watched("table", ("DeleteTable", "UpdateTable", "UpdateTimeToLive"), ("tableName",)),
    "budgets": Watched(
        "budget",
        (
            "DeleteBudget",
            "DeleteBudgetAction",
            "DeleteNotification",
            "DeleteSubscriber",
            "UpdateBudget",
            "UpdateBudgetAction",
            "UpdateNotification",
            "UpdateSubscriber",
        ),
        ("budgetName", "newBudget.budgetName"),
    ),
}
"""By service, as CloudTrail spells it."""

EVERYWHERE = ("events", "monitoring", "sqs")
"""Of these there are things of ours in each region that has a stack."""
GLOBAL = ("budgets",)
"""Events of these appear where IAM's do."""

_VERSION = re.compile(r"\d{8}(v\d+)?$", re.ASCII)
_TEXT = re.compile(r"[:/]")
_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Edit:
    """Somebody else changed a thing of ours."""

    call: str
    """Without its version."""
    what: str
    """In words: ``rule bedrock-spend-x in eu-west-1``."""
    by: str
    """The caller's ARN, or the best that CloudTrail tells."""
    at: datetime
    event_id: str


def parse(event: object, ours: Ours, also: Sequence[str] = ()) -> Edit | None:
    """Read a call; None for one that was refused, is foreign or forged, was made by us, or by CloudFormation.

    What begins with the prefix is ours, and what ``also`` names.
    """
    for service, watched in WATCHED.items():
        detail = iam_events.record_of(event, ours, service)
        if detail is not None and detail.get("errorCode") is None and not _by_cloudformation(detail):
            return _edit(detail, watched, ours.prefix, also)
    return None


def edit_notice(edit: Edit, links: Links) -> Notice:
    """Compose the mail about somebody who changed what the guardrail stands on."""
    lines = [f"Somebody changed a part of the guardrail: {edit.call}, {edit.what}", f"Who: {edit.by}"]
    lines += [f"When: {edit.at:%Y-%m-%d %H:%M:%S} UTC", ""]
    lines += ["Nothing was undone. If it was not meant, ask them why, look whether limits are still watched (status),"]
    lines += ["and deploy the stack again with --revert-drift, which puts back what was changed or deleted."]
    lines += ["The same again by the same caller within an hour is in the log of the watch function alone."]
    return compose("Bedrock spend: somebody changed the guardrail itself", lines, links, "edit", urgent=True)


def _edit(detail: Mapping[str, Any], watched: Watched, prefix: str, also: Sequence[str]) -> Edit | None:
    found = iam_events.stamp_of(detail)
    call = "" if found is None else _VERSION.sub("", found.call)
    name = _own(detail.get("requestParameters"), watched, prefix, also)
    if found is None or call not in watched.calls or not name:
        return None
    region = detail.get("awsRegion")
    where = f" in {region}" if isinstance(region, str) and _NAME.fullmatch(region) else ""
    return Edit(call, f"{watched.thing} {name}{where}", iam_events.caller(detail), found.at, found.event_id)


def _by_cloudformation(detail: Mapping[str, Any]) -> bool:
    identity = detail.get("userIdentity")
    invoked_by = identity.get("invokedBy") if isinstance(identity, Mapping) else None
    return CLOUDFORMATION in (invoked_by, detail.get("sourceIPAddress"))


def _own(parameters: object, watched: Watched, prefix: str, also: Sequence[str]) -> str:
    """Return the first thing of ours a request names; empty when none is."""
    for path in watched.named:
        for text in _texts(parameters, path.split(".")):
            # A name, an ARN, a part of one, or the address of a queue.
            for part in _TEXT.split(text):
                if (part.startswith(f"{prefix}-") or part in also) and _NAME.fullmatch(part):
                    return part
    return ""


def _texts(value: object, path: Sequence[str]) -> Iterator[str]:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))
