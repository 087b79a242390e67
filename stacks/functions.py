"""A function of the guardrail: its own role, its own log group, an alarm on its errors."""

import json
from collections.abc import Mapping, Sequence
from types import ModuleType

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as cloudwatch_actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct, IDependable

_INLINE, _MANAGED = 9000, 5000
"""Characters to fill policies with. IAM takes 10,240 in the inline policies of a role and 6,144 in a managed one, both
with the ARNs that are only known when the stack is deployed."""


def _packed(stack: Stack, statements: Sequence[iam.PolicyStatement]) -> list[list[iam.PolicyStatement]]:
    """Divide statements over an inline policy and as many managed ones as it takes, in their order."""
    packs: list[list[iam.PolicyStatement]] = [[]]
    room = _INLINE
    for each in statements:
        size = len(json.dumps(stack.resolve(each.to_statement_json()), separators=(",", ":")))
        if size > room and packs[-1]:
            packs.append([])
            room = _MANAGED
        packs[-1].append(each)
        room -= size
    return packs


class GuardrailFunction(Construct):
    """One handler of `lambdas.handlers`, allowed exactly what its code declares."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        handler: ModuleType,
        code: lambda_.Code,
        description: str,
        statements: Sequence[iam.PolicyStatement],
        environment: Mapping[str, str],
        role_path: str,
        timeout: Duration,
        alarm_topic: sns.ITopic,
        function_name: str | None = None,
        memory_size: int = 512,
        retry_attempts: int = 0,
    ) -> None:
        """Make the function, its role, its log group and its alarm.

        Lambda retries no asynchronous call unless told to: the next tick is the meter's retry, and a kill or a
        release must not come again minutes later.
        """
        super().__init__(scope, construct_id)
        log_group = logs.LogGroup(
            self, "Logs", retention=logs.RetentionDays.THREE_MONTHS, removal_policy=RemovalPolicy.DESTROY
        )
        role = iam.Role(
            self,
            "Role",
            path=role_path,
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Spend guardrail: {description}",
        )
        # Not AWS's basic execution role: that one may create log groups, and a last line of a function that is
        # being destroyed would bring its group back.
        write_logs = iam.PolicyStatement(
            sid="WriteLogs",
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[log_group.log_group_arn],
        )
        inline, *more = _packed(Stack.of(self), [write_logs, *statements])
        policies: list[IDependable] = [iam.Policy(self, "Policy", statements=inline, roles=[role])]
        policies += [
            iam.ManagedPolicy(self, f"Policy{number}", path=role_path, statements=each, roles=[role])
            for number, each in enumerate(more, start=2)
        ]
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=function_name,
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"{handler.__name__}.handler",
            code=code,
            role=role,
            log_group=log_group,
            environment=dict(environment),
            timeout=timeout,
            memory_size=memory_size,
            retry_attempts=retry_attempts,
        )
        # A function must not run before it may do what it does, nor lose that before it is gone.
        self.function.node.add_dependency(*policies)
        alarm = self.function.metric_errors(period=Duration.minutes(1), statistic="Sum").create_alarm(
            self,
            "Errors",
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{description} It failed: open its log group. Spend may go on unseen or unstopped.",
        )
        alarm.add_alarm_action(cloudwatch_actions.SnsAction(alarm_topic))
