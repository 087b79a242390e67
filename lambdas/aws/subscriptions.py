"""SNS: who has subscribed to the notices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.health import Subscription
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class Subscriptions:
    """The subscriptions of the topics people are told through."""

    def __init__(self, client: "SNSClient") -> None:
        """Take the client."""
        self._sns = client

    @needs("sns:ListSubscriptionsByTopic", on=On.NOTICES)
    def found(self, topic_arn: str) -> Sequence[Subscription]:
        """Return all of a topic, with their addresses. Raises AwsCallError."""
        with calls.named("sns:ListSubscriptionsByTopic"):
            pages = self._sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
            # In place of an ARN it says PendingConfirmation, or Deleted.
            return [
                Subscription(each["Endpoint"], each["SubscriptionArn"].startswith("arn:"))
                for page in pages
                for each in page["Subscriptions"]
            ]
