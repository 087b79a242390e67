"""What the people on call may do: stop, release and look, and nothing else."""

from collections.abc import Sequence

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from lambdas.core.console import REGISTRY, schema_name
from stacks.acknowledged import acknowledge_wildcards
from stacks.functions import GuardrailFunction

_SEE_FUNCTION = (
    "GetFunction",
    "GetFunctionCodeSigningConfig",
    "GetFunctionConcurrency",
    "GetFunctionConfiguration",
    "GetFunctionEventInvokeConfig",
    "GetFunctionRecursionConfig",
    "GetFunctionUrlConfig",
    "GetPolicy",
    "GetRuntimeManagementConfig",
    "ListAliases",
    "ListFunctionEventInvokeConfigs",
    "ListFunctionUrlConfigs",
    "ListProvisionedConcurrencyConfigs",
    "ListTags",
    "ListVersionsByFunction",
)
"""What the console asks for to show one function."""


class Operators(Construct):
    """A managed policy to attach to the group, role or permission set of those on call.

    The right to run these functions is the right to stop and to release, with all that their roles may do for it; it is
    no right to change them, nor to run any other.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        prefix: str,
        run: Sequence[GuardrailFunction],
        ledger: dynamodb.ITable,
    ) -> None:
        """Make the policy: to invoke these functions, and to see them, the dashboard, and the ledger."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        functions = [each.function.function_arn for each in run]
        here = f"{stack.region}:{stack.account}"
        schemas = f"arn:{stack.partition}:schemas:{here}"
        names = [schema_name(each.function.function_name) for each in run]
        statements = {
            "RunTheThree": (["lambda:InvokeFunction"], functions),
            "SeeTheThree": ([f"lambda:{each}" for each in _SEE_FUNCTION], functions),
            "TheirTestEvents": (
                ["schemas:DescribeRegistry", "schemas:ListSchemas"],
                [f"{schemas}:registry/{REGISTRY}", f"{schemas}:schema/{REGISTRY}*"],
            ),
            "EachTestEvent": (
                ["schemas:DescribeSchema", "schemas:ListSchemaVersions"],
                [f"{schemas}:schema/{REGISTRY}/{each}" for each in names],
            ),
            "TheirLogs": (
                ["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents"],
                [each.function.log_group.log_group_arn for each in run],
            ),
            "TheDashboard": (
                ["cloudwatch:GetDashboard"],
                [f"arn:{stack.partition}:cloudwatch::{stack.account}:dashboard/{prefix}"],
            ),
            # CloudWatch knows no narrower resource for figures, and none for alarms asked for by a prefix.
            "FiguresAndAlarms": (["cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"], ["*"]),
            "TheLedger": (["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query"], [ledger.table_arn]),
        }
        allowed = [
            iam.PolicyStatement(sid=sid, actions=actions, resources=resources)
            for sid, (actions, resources) in statements.items()
        ]
        policy = iam.ManagedPolicy(
            self,
            "Policy",
            managed_policy_name=f"{prefix}-operator",
            description="For those on call: stop and release Bedrock, and see how it stands. Nothing else.",
            statements=allowed,
        )
        acknowledge_wildcards(
            policy,
            allowed,
            {
                "FiguresAndAlarms": "CloudWatch knows no narrower resource for reading figures, and none for alarms "
                "that are asked for by a prefix; the console asks for both to show the dashboard.",
                "TheirTestEvents": "to list a registry is a right on the names of all that is in it; reading is all.",
            },
        )
        if ledger.encryption_key is not None:
            decrypt = iam.PolicyStatement(
                sid="ReadTheLedger",
                actions=["kms:Decrypt"],
                resources=[ledger.encryption_key.key_arn],
                conditions={"StringEquals": {"kms:ViaService": f"dynamodb.{stack.region}.{stack.url_suffix}"}},
            )
            policy.add_statements(decrypt)
        CfnOutput(stack, "OperatorPolicyArn", value=policy.managed_policy_arn)
