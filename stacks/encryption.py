"""A key of the guardrail's own, for who must be able to take it away or to see its every use."""

from typing import Any

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

_USE = ["kms:Decrypt", "kms:GenerateDataKey*"]


class GuardrailKey(Construct):
    """One key for topics, queue and ledger of the home region, renewed each year by AWS.

    Beyond the services that must speak to these, only whom IAM policies of this account let may use it; each function
    of the guardrail has one. In the other regions the queue is encrypted with SQS's own key: a key is of one region.
    """

    def __init__(self, scope: Construct, construct_id: str, *, prefix: str, keep: bool, anomalies: bool) -> None:
        """Make the key; it stays with a ledger that does, which nobody could read without it."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.key = kms.Key(
            self,
            "Key",
            description=f"Spend guardrail {prefix}: topics, undelivered events, ledger",
            enable_key_rotation=True,
            # AWS waits so long at least before it deletes a key.
            pending_window=None if keep else Duration.days(7),
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )
        topics = f"arn:{stack.partition}:sns:{stack.region}:{stack.account}:{stack.stack_name}-*"
        queue = f"arn:{stack.partition}:sqs:{stack.region}:{stack.account}:{prefix}-undelivered"
        # Whose alarms, rules and topics may speak there is said by the topics' and the queue's own policies. Here the
        # context tells for what the key is used: EventBridge gives no source to a key, and of others AWS says nothing.
        on_topics = {"ArnLike": {"kms:EncryptionContext:aws:sns:topicArn": topics}}
        on_queue = {"ArnLike": {"kms:EncryptionContext:aws:sqs:arn": queue}}
        of_budgets = {
            "StringEquals": {"aws:SourceAccount": stack.account},
            "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:budgets::{stack.account}:*"},
        }
        self._let("Budgets", "budgets.amazonaws.com", of_budgets)
        self._let("Alarms", "cloudwatch.amazonaws.com", on_topics)
        self._let("Rules", "events.amazonaws.com", on_queue)
        self._let("Topics", "sns.amazonaws.com", on_queue)
        if anomalies:
            self._let("Anomalies", "costalerts.amazonaws.com", on_topics)

    def _let(self, sid: str, service: str, conditions: dict[str, Any]) -> None:
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                principals=[iam.ServicePrincipal(service)],
                actions=_USE,
                resources=["*"],
                conditions=conditions,
            )
        )
