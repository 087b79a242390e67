"""SNS: the mail to people."""

from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.notice import Notice
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class NoticeTopic:
    """The topic people subscribe to."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        """Take the client and the topic."""
        self._sns = client
        self._topic_arn = topic_arn

    @needs("sns:Publish", on=On.NOTICES)
    def send(self, notice: Notice) -> None:
        """Send a mail to everybody who has confirmed the subscription."""
        with calls.named("sns:Publish"):
            self._sns.publish(TopicArn=self._topic_arn, Subject=notice.subject, Message=notice.text)
