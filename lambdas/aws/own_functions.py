"""Lambda: concurrency reserved for the guardrail's own functions."""

from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.concurrency import Room
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class OwnFunctions:
    """The guardrail's functions that must run."""

    def __init__(self, client: "LambdaClient") -> None:
        """Take the client."""
        self._lambda = client

    @needs("lambda:GetAccountSettings", on=On.EVERYTHING)
    def room(self) -> Room:
        """Return the concurrency of the account here. Raises AwsCallError."""
        with calls.named("lambda:GetAccountSettings"):
            limit = self._lambda.get_account_settings()["AccountLimit"]
        return Room(limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"])

    @needs("lambda:GetFunctionConcurrency", on=On.RESERVED_FUNCTIONS)
    def reserved(self, name: str) -> dict[str, int | None]:
        """Return what is reserved for a function by its name, None for nothing; nothing at all when it is gone."""
        try:
            with calls.named("lambda:GetFunctionConcurrency"):
                found = self._lambda.get_function_concurrency(FunctionName=name)
        except AwsCallError as error:
            if error.code != "ResourceNotFoundException":
                raise
            return {}
        return {name: found.get("ReservedConcurrentExecutions")}

    @needs("lambda:PutFunctionConcurrency", on=On.RESERVED_FUNCTIONS)
    def reserve(self, name: str, number: int) -> None:
        """Reserve concurrency for a function. Raises AwsCallError."""
        with calls.named("lambda:PutFunctionConcurrency"):
            self._lambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=number)
