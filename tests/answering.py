"""Clients whose calls are answered in memory. What is asked is held against AWS's service models by botocore."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.exceptions import ClientError

Answer = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""From operation (``GetUser``) and parameters to what AWS would answer; raises ClientError."""


def answering(service: str, answer: Answer, region: str = "us-east-1") -> Any:
    """Return a client of a service."""
    client = boto3.client(service, region_name=region)  # type: ignore[call-overload] # any service will do

    def ask(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context["asked"] = dict(params)

    def respond(model: Any, context: dict[str, Any], **_: object) -> Any:
        return SimpleNamespace(status_code=200), answer(model.name, context["asked"])

    client.meta.events.register("before-parameter-build.*.*", ask)
    client.meta.events.register("before-call.*.*", respond)
    return client


def refusal(code: str, operation: str = "Operation") -> ClientError:
    """Return the error AWS would answer with."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)
