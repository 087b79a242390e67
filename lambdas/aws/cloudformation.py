"""CloudFormation: what is happening to the stack of the guardrail itself."""

from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


class OwnStack:
    """The stack this function belongs to."""

    def __init__(self, client: "CloudFormationClient") -> None:
        """Take the client."""
        self._cloudformation = client

    @needs("cloudformation:DescribeStacks", on=On.OWN_STACK)
    def status(self, stack_id: str) -> str:
        """Return the status of the stack, as ``DELETE_IN_PROGRESS``. Raises AwsCallError."""
        with calls.named("cloudformation:DescribeStacks"):
            return self._cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"]
