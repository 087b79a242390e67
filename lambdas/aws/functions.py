"""Lambda: asking the stop function to act, without waiting for it."""

import json
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


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
