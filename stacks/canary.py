"""The canary of the live drill: a role that may count tokens with one model, and who may be it."""

from aws_cdk import Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IConstruct

from lambdas.core.actions import COUNT_TOKENS
from lambdas.settings import LiveDrill
from stacks.functions import GuardrailFunction


class Canary(Construct):
    """The role, outside of the guardrail's own path: whatever is there is never stopped.

    It holds the deny policy while a drill runs, so it must be there longer than what releases at the end.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        drill: LiveDrill,
        name: str,
        function: GuardrailFunction,
        put_back: IConstruct,
        undelivered: sqs.IQueue,
    ) -> None:
        """Make it, and have the drill run once a month where that is asked for.

        ``put_back`` releases when the stack goes: the role is there longer, and nothing runs by itself after it.
        """
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        role = function.function.role
        if role is None:
            msg = f"{function.node.id} has no role"
            raise ValueError(msg)
        self.role = iam.Role(
            self,
            "Role",
            role_name=name,
            assumed_by=iam.ArnPrincipal(role.role_arn),
            description="Spend guardrail: the canary of the live drill, which may count tokens and nothing else.",
        )
        counting = iam.PolicyStatement(
            sid="CanaryModel",
            actions=[COUNT_TOKENS],
            resources=[f"arn:{stack.partition}:bedrock:{stack.region}::foundation-model/{drill.model}"],
        )
        policy = iam.Policy(self, "Policy", statements=[counting], roles=[self.role])
        put_back.node.add_dependency(self.role, policy)
        if drill.monthly:
            rule = events.Rule(
                self,
                "Monthly",
                # The first Tuesday: somebody is there who reads the mail.
                schedule=events.Schedule.expression("cron(17 10 ? * 3#1 *)"),
                targets=[targets.LambdaFunction(function.function, dead_letter_queue=undelivered, retry_attempts=0)],
            )
            rule.node.add_dependency(put_back)
