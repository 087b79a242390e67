"""The brake: the two policies, written by a function that alone may write their versions."""

import json
from decimal import Decimal

from aws_cdk import CustomResource, Duration, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from lambdas.core.brake_documents import DocumentSettings, documents
from lambdas.core.prices import PriceTable
from lambdas.handlers import install
from lambdas.settings import Settings
from stacks.functions import GuardrailFunction
from stacks.grants import Reach


class Brake(Construct):
    """`bedrock-spend-brake` hangs on the armed; `bedrock-spend-sweep` on the others, only while a stop is on."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        step_down_output_usd: Decimal,
        code: lambda_.Code,
        alarm_topic: sns.ITopic,
    ) -> None:
        """Make the installer and what it installs."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.arn, self.sweep_arn = (
            f"arn:{stack.partition}:iam::{stack.account}:policy/{settings.prefix}-{name}" for name in ("brake", "sweep")
        )
        self.reach = Reach(self.arn, self.sweep_arn, settings.own_path, settings.exempt)
        wanted = documents(
            DocumentSettings(settings.exempt, step_down_output_usd, settings.external_anthropic), PriceTable.load()
        )
        installer = GuardrailFunction(
            self,
            "Install",
            handler=install,
            code=code,
            description="Writes the versions of the brake's policies when the stack is deployed.",
            statements=self.reach.statements(stack, install.USES),
            environment={},
            role_path=settings.own_path,
            timeout=Duration.minutes(14),
            alarm_topic=alarm_topic,
        )
        self.policies = CustomResource(
            self,
            "Policies",
            resource_type="Custom::BedrockSpendBrake",
            service_token=installer.function.function_arn,
            service_timeout=Duration.minutes(15),
            properties={
                "BrakeArn": self.arn,
                "SweepArn": self.sweep_arn,
                "Owner": f"{stack.stack_name} in {stack.region}",
                # CloudFormation calls the installer only when something here changes.
                "Repair": str(self.node.try_get_context("repair") or ""),
                "Documents": {
                    str(level): json.dumps(document, separators=(",", ":")) for level, document in wanted.items()
                },
            },
        )
        self.stop_version = self.policies.get_att_string("BrakeStopVersion")
        self.stop_by_hand = (
            f"aws iam set-default-policy-version --policy-arn {self.arn} --version-id {self.stop_version}"
        )
