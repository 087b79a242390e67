"""Lambda: asking the functions that stop and release to act, without waiting for them."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError, RefusedError
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from lambdas.core.scopes import Scope

_REFUSALS = {"RefusedError", "BrakeDocumentError", "ForeignPolicyError"}
"""Errors of the writer that no repetition mends; nothing was changed."""


class StopFunction:
    """The function that stops. It runs on its own, so that a slow sweep never holds up the meter."""

    def __init__(self, client: "LambdaClient", name: str) -> None:
        """Take the client and the function's name."""
        self._lambda = client
        self._name = name

    @needs("lambda:InvokeFunction", on=On.STOP_FUNCTION)
    def ask(self, request: dict[str, Any]) -> None:
        """Queue a request; Lambda retries it and alarms on its errors."""
        with calls.named("lambda:InvokeFunction"):
            self._lambda.invoke(FunctionName=self._name, InvocationType="Event", Payload=json.dumps(request).encode())


class ReleaseFunction:
    """The function that releases. It verifies by itself that nobody but the meter called for the stop."""

    def __init__(self, client: "LambdaClient", name: str) -> None:
        """Take the client and the function's name."""
        self._lambda = client
        self._name = name

    @needs("lambda:InvokeFunction", on=On.RELEASE_FUNCTION)
    def ask(self, request: dict[str, Any]) -> None:
        """Queue a request; Lambda alarms on its errors, and the meter asks again while the brake is on."""
        with calls.named("lambda:InvokeFunction"):
            self._lambda.invoke(FunctionName=self._name, InvocationType="Event", Payload=json.dumps(request).encode())


class Writer:
    """The function that alone writes policy versions. Its answer is waited for: a stop is not done before it is."""

    def __init__(self, client: "LambdaClient", name: str) -> None:
        """Take the client, which must wait long and must not ask twice, and the function's name."""
        self._lambda = client
        self._name = name

    @needs("lambda:InvokeFunction", on=On.WRITER_FUNCTION)
    def stop(self, scope: "Scope") -> Mapping[str, Any]:
        """Stop something alone; return ``scopes``, all that is stopped so now, and ``versions``.

        Raises RefusedError when it cannot be, with what to do, and AwsCallError when it may not have been.
        """
        return answer_of(self._lambda, self._name, {"source": "kill", "stop": str(scope)})

    @needs("lambda:InvokeFunction", on=On.WRITER_FUNCTION)
    def release(self, scope: "Scope | str") -> Mapping[str, Any]:
        """Release one scope, or ``all-narrow``; return and raise as `stop` does."""
        return answer_of(self._lambda, self._name, {"source": "release", "release": str(scope)})

    @needs("lambda:InvokeFunction", on=On.WRITER_FUNCTION)
    def refresh(self) -> Mapping[str, Any]:
        """Bring the documents up to the prices in force; return and raise as `stop` does."""
        return answer_of(self._lambda, self._name, {"source": "prices"})


def answer_of(client: "LambdaClient", name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a function answers. Raises RefusedError when it refuses, AwsCallError when it fails otherwise."""
    operation = "lambda:InvokeFunction"
    with calls.named(operation):
        response = client.invoke(FunctionName=name, Payload=json.dumps(request).encode())
        text = response["Payload"].read()
    answer: object = None
    with suppress(ValueError):
        answer = json.loads(text)
    if not isinstance(answer, dict):
        raise AwsCallError(operation, "NoAnswer", f"{name} answered {text[:200]!r}")
    if response.get("FunctionError"):
        kind, message = str(answer.get("errorType", "Unknown")), str(answer.get("errorMessage", ""))
        if kind in _REFUSALS:
            raise RefusedError(message)
        raise AwsCallError(operation, kind, f"{name}: {message}")
    return answer
