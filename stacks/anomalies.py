"""AWS Cost Anomaly Detection, a third opinion: which monitor is listened to, from which impact on, and how."""

import json

from aws_cdk import Stack
from aws_cdk import aws_ce as ce
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from lambdas.core import anomaly
from stacks.acknowledged import NO_KEY_OF_SNS, skip
from stacks.configuration import Anomalies as Configured

REGION = "us-east-1"
"""Where Cost Anomaly Detection's events appear, and the only region whose CloudFormation knows its resources."""

_CREATE = "create"


class Anomalies(Construct):
    """The subscription that has AWS tell of anomalies at once, and the monitor where there was none.

    What it tells is heard by EventBridge. It must have a topic to speak to: nobody listens there.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, prefix: str, configured: Configured, key: kms.IKey | None = None
    ) -> None:
        """Make them, in the stack of that region."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.monitor_arn = configured.monitor
        if configured.monitor == _CREATE:
            monitor = ce.CfnAnomalyMonitor(
                self, "Monitor", monitor_name=prefix, monitor_type="DIMENSIONAL", monitor_dimension="SERVICE"
            )
            self.monitor_arn = monitor.attr_monitor_arn
        topic = sns.Topic(
            self, "Topic", display_name="Anomalies to the spend guardrail", master_key=key, enforce_ssl=True
        )
        if key is None:
            skip(topic, CKV_AWS_26=NO_KEY_OF_SNS)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AnomaliesOfThisAccountOnly",
                principals=[iam.ServicePrincipal("costalerts.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                # AWS documents no source ARN here.
                conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
            )
        )
        subscription = ce.CfnAnomalySubscription(
            self,
            "Subscription",
            subscription_name=f"{prefix}-anomalies",
            frequency="IMMEDIATE",
            monitor_arn_list=[self.monitor_arn],
            subscribers=[ce.CfnAnomalySubscription.SubscriberProperty(type="SNS", address=topic.topic_arn)],
            threshold_expression=json.dumps(
                {
                    "Dimensions": {
                        "Key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE",
                        "MatchOptions": ["GREATER_THAN_OR_EQUAL"],
                        "Values": [f"{configured.impact_usd:f}"],
                    }
                }
            ),
        )
        # AWS checks that it may publish when the subscription is made.
        subscription.node.add_dependency(topic)


def environment(stack: Stack, configured: Configured, made: Anomalies | None) -> dict[str, str]:
    """Return what the functions need to know; ``made`` is None where another stack has it."""
    # A monitor made by another stack is known to the rule there alone.
    unknown = f"arn:{stack.partition}:ce::{stack.account}:anomalymonitor/*"
    given = unknown if configured.monitor == _CREATE else configured.monitor
    return {
        "ANOMALY_MONITOR_ARN": given if made is None else made.monitor_arn,
        "ANOMALY_USD": f"{configured.impact_usd:f}",
    }


class AnomalyRule(events.Rule):
    """Carries anomalies of this account to a target, whichever region they were told in."""

    def __init__(
        self, scope: Construct, construct_id: str, *, prefix: str, target: events.IRuleTarget, monitor_arn: str = ""
    ) -> None:
        """Listen on the default bus of the stack's region; to one monitor, where it is known."""
        super().__init__(
            scope,
            construct_id,
            description=f"Spend guardrail {prefix}: AWS sees a cost anomaly.",
            event_pattern=events.EventPattern(
                account=[Stack.of(scope).account],
                source=[anomaly.SOURCE],
                detail_type=[anomaly.DETAIL_TYPE],
                detail={"monitorArn": [monitor_arn]} if monitor_arn else None,
            ),
            targets=[target],
        )
