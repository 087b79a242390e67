"""Answering CloudFormation for a custom resource, without the framework that brings a Lambda of another language."""

import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger

from lambdas.core.errors import RefusedError

_ROOM = 2000
"""Bytes for what is said: CloudFormation takes an answer of 4,096, of which the names it wants back may be half."""


def is_custom_resource(event: object) -> bool:
    """Tell whether an event comes from CloudFormation."""
    return isinstance(event, Mapping) and "RequestType" in event and "ResponseURL" in event


def refuse_change(event: Mapping[str, Any], key: str, rule: str) -> None:
    """Raise RefusedError when an update changes a property that must stay."""
    old = event.get("OldResourceProperties", {}).get(key)
    new = event["ResourceProperties"][key]
    if old not in {None, new}:
        msg = f"{rule}: {key} is {old}, not {new}; destroy the stack first, or put the old prefix back"
        raise RefusedError(msg)


def answer(event: dict[str, Any], act: Callable[[dict[str, Any]], Mapping[str, Any]], logger: Logger) -> dict[str, Any]:
    """Do what the event asks for and tell CloudFormation how it went. Returns what was told.

    Raises RefusedError, and does nothing, where nobody could be told: CloudFormation did not send that.
    """
    names = ("ResponseURL", "StackId", "RequestId", "LogicalResourceId", *({"PhysicalResourceId"} & event.keys()))
    texts = [event.get(each) for each in names]
    sayable = all(isinstance(each, str) and each.isprintable() for each in texts)
    if not sayable or not event["ResponseURL"].startswith(("https://", "http://")):
        msg = f"an event of CloudFormation without {', '.join(names)} as it sends them: nothing was done"
        raise RefusedError(msg)
    response = {
        "Status": "SUCCESS",
        "PhysicalResourceId": event.get("PhysicalResourceId") or event["LogicalResourceId"],
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    try:
        found = {key: value for key, value in act(event).items() if isinstance(value, str)}
        response["Data"] = {key: _cut(value, _ROOM // len(found)) for key, value in found.items()}
    except Exception as error:  # whatever it was, CloudFormation must hear of it or hang for an hour
        logger.exception("failed")
        response |= {"Status": "FAILED", "Reason": _cut(f"{type(error).__name__}: {error}", _ROOM)}
    url = event["ResponseURL"]
    request = urllib.request.Request(  # noqa: S310 - the URL is CloudFormation's own
        url, data=json.dumps(response).encode(), method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        pass
    return response


def _cut(text: str, room: int) -> str:
    """Return as much of a text as fits into so many bytes of JSON, in which a letter may take six, or twelve."""
    while (size := len(json.dumps(text))) > room:
        text = text[: len(text) * (room - len("...")) // size - 3] + "..."
    return text
