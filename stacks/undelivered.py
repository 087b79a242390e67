"""The queue for what could not be delivered, so that nothing that was said is lost without a word."""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as cloudwatch_actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from lambdas.settings import Settings
from stacks.acknowledged import AWS_OWNED_KEY, acknowledge, skip
from stacks.alarms import UNDELIVERED, described


class Undelivered(Construct):
    """A queue for events that reached nobody or were not dealt with, and the alarm on what lies in it.

    It is the dead-letter queue of each target of a rule and of the subscription to the budget's topic, and where Lambda
    puts what a function failed on.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        topic: sns.ITopic | None = None,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the queue of a region, encrypted with a key or else with SQS's own, and its alarm, which may mail."""
        super().__init__(scope, construct_id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            queue_name=settings.alarm(UNDELIVERED),
            encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            self.queue,
            SQS3="It is the dead-letter queue: of rules' targets, of a subscription and of functions, none of which is "
            "a queue. Nothing but a person takes messages from it, so there is nothing that could fail on one.",
        )
        if key is None:
            skip(self.queue, CKV_AWS_27=AWS_OWNED_KEY)
        self._let_in(settings.prefix)
        self.alarm = self.queue.metric_approximate_number_of_messages_visible(
            period=Duration.minutes(1), statistic="Maximum"
        ).create_alarm(
            self,
            "Alarm",
            alarm_name=settings.alarm(UNDELIVERED),
            alarm_description=described(
                "An event for the spend guardrail was not delivered, or a function failed on it: something that should "
                "have been done may not have been.",
                "Look at the messages in the queue of this name, in this region.",
                UNDELIVERED,
            ),
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            threshold=0,
            evaluation_periods=1,
            # SQS says nothing of a queue that nobody has touched for six hours: that is not news.
            treat_missing_data=cloudwatch.TreatMissingData.IGNORE,
        )
        if topic:
            self.alarm.add_alarm_action(cloudwatch_actions.SnsAction(topic))

    def _let_in(self, prefix: str) -> None:
        """Let rules and topics of the guardrail send, in two statements.

        CDK writes one for each that uses the queue, and SQS refuses a policy of more than 20.
        """
        stack = Stack.of(self)
        statements = [
            iam.PolicyStatement(
                sid="EncryptedOnly",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["sqs:*"],
                resources=[self.queue.queue_arn],
                conditions={"Bool": {"aws:SecureTransport": "false"}},
            ),
            *(
                iam.PolicyStatement(
                    sid=sid,
                    principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                    actions=["sqs:SendMessage"],
                    resources=[self.queue.queue_arn],
                    # Named after their stack, whose name begins with the prefix.
                    conditions={
                        "ArnLike": {
                            "aws:SourceArn": f"arn:{stack.partition}:{service}:{stack.region}:{stack.account}:{name}"
                        }
                    },
                )
                for sid, service, name in (("Rules", "events", f"rule/{prefix}-*"), ("Topics", "sns", f"{prefix}-*"))
            ),
        ]
        policy = self.queue.node.find_child("Policy").node.default_child
        if not isinstance(policy, sqs.CfnQueuePolicy):
            raise TypeError(policy)
        policy.add_property_override("PolicyDocument.Statement", [each.to_statement_json() for each in statements])
