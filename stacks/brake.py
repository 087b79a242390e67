"""The brake: the policies and groups, written by a function that alone may write them."""

from aws_cdk import CustomResource, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from lambdas.core.brake_documents import deny_document, digest, documents
from lambdas.core.levels import SID_OF, Level
from lambdas.core.prices import PriceTable
from lambdas.handlers import install
from lambdas.installing import document_settings
from lambdas.settings import VARIABLE, Settings
from stacks.functions import Faults, GuardrailFunction
from stacks.grants import Reach


class Brake(Construct):
    """The policies and their writer.

    `bedrock-spend-brake` hangs on the armed; `bedrock-spend-sweep` on the others, while something is stopped;
    `bedrock-spend-deny` on those who are stopped alone. The last two have a group each, for users without a free slot.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        settings_text: str,
        ledger: dynamodb.ITable,
        code: lambda_.Code,
        faults: Faults,
    ) -> None:
        """Make the writer and what it writes."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.arn, self.sweep_arn, self.deny_arn = (
            f"arn:{stack.partition}:iam::{stack.account}:policy/{settings.prefix}-{name}"
            for name in ("brake", "sweep", "deny")
        )
        reach = Reach(
            self.arn,
            self.sweep_arn,
            settings.own_path,
            settings.exempt,
            deny_arn=self.deny_arn,
            ledger_arn=ledger.table_arn,
            key_arn=ledger.encryption_key.key_arn if ledger.encryption_key else "",
        )
        us = f"{stack.stack_name} in {stack.region}"
        self.writer = GuardrailFunction(
            self,
            "Install",
            handler=install,
            code=code,
            description="Writes the guardrail's policies: when the stack is deployed, and what is stopped alone.",
            statements=reach.statements(stack, install.USES),
            environment={
                VARIABLE: settings_text,
                "BRAKE_POLICY_ARN": self.arn,
                "SWEEP_POLICY_ARN": self.sweep_arn,
                "DENY_POLICY_ARN": self.deny_arn,
                # The prices in force; the table is there before, and gone after, whatever needs it.
                "LEDGER_TABLE": ledger.table_name,
                "OWNER": us,
            },
            role_path=settings.own_path,
            timeout=Duration.minutes(14),
            faults=faults,
        )
        asked, prices = document_settings(settings), PriceTable.load(pricing=settings.pricing)
        self.policies = CustomResource(
            self,
            "Policies",
            resource_type="Custom::BedrockSpendBrake",
            service_token=self.writer.function.function_arn,
            service_timeout=Duration.minutes(15),
            properties={
                "BrakeArn": self.arn,
                "Owner": us,
                # CloudFormation calls the writer only when something here changes.
                "Repair": str(self.node.try_get_context("repair") or ""),
                # It renders the documents itself, with the prices of that moment and what is stopped alone then.
                "Documents": digest([*documents(asked, prices).values(), deny_document(asked)]),
            },
        )
        # By way of the custom resource, so that whoever names it comes after the policies.
        arn = self.policies.get_att_string("BrakeArn")
        # The number of the version changes with what is stopped alone, so the command looks for what it says.
        self.stop_by_hand = (
            f"p={arn}; for v in $(aws iam list-policy-versions --policy-arn $p --query 'Versions[].VersionId' "
            "--output text); do aws iam get-policy-version --policy-arn $p --version-id $v --query "
            f"'PolicyVersion.Document.Statement[0].Sid' --output text | grep -qx {SID_OF[Level.STOP]} && "
            "aws iam set-default-policy-version --policy-arn $p --version-id $v; done"
        )
