"""The events that the console's Test drop-down holds for kill, release and status."""

from aws_cdk import CustomResource, Duration, Stack
from constructs import Construct

from lambdas.core.brake_documents import digest
from lambdas.core.console import EVENTS
from stacks.functions import GuardrailFunction


class TestEvents(Construct):
    """Shared by a function of ours, for CloudFormation's own resource cannot.

    The registry is everybody's in the account. CloudFormation fails where it is there already, as it is once anybody
    has shared an event in the console, and would delete it with all events of others.
    """

    __test__ = False  # pytest is not to take it for tests

    def __init__(self, scope: Construct, construct_id: str, *, function: GuardrailFunction) -> None:
        """Have the function share the events, and take them away when the stack goes."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        CustomResource(
            self,
            "Events",
            resource_type="Custom::BedrockSpendTestEvents",
            service_token=function.function.function_arn,
            service_timeout=Duration.minutes(3),
            # CloudFormation calls the function only when something here changes.
            properties={"Owner": f"{stack.stack_name} in {stack.region}", "Events": digest([EVENTS])},
        )
