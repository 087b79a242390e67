"""The ledger: what was decided, stopped, released and allowed."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from stacks.acknowledged import AWS_OWNED_KEY, skip


class Ledger(Construct):
    """A table on demand, with point-in-time recovery; kept on destroy when the configuration says so."""

    def __init__(self, scope: Construct, construct_id: str, *, keep: bool, key: kms.IKey | None = None) -> None:
        """Make the table, encrypted with a key or else with DynamoDB's own."""
        super().__init__(scope, construct_id)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            # Allowances that are over; whoever reads one looks at its end, and does not wait for DynamoDB.
            time_to_live_attribute="expires",
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED if key else None,
            encryption_key=key,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )
        if key is None:
            skip(self.table, CKV_AWS_119=AWS_OWNED_KEY)
