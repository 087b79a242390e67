"""SNS: the mail to people, the same for chat applications, and the mail to more people."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.chat import custom_notification
from lambdas.core.errors import AwsCallError
from lambdas.core.notice import Notice
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class NoticeTopic:
    """The topics people subscribe to. Of chat and of those who are told when nobody acts there may be none."""

    def __init__(
        self,
        client: "SNSClient",
        topic_arn: str,
        clock: Callable[[], datetime],
        *,
        chat_arn: str = "",
        escalation_arn: str = "",
    ) -> None:
        """Take the client, the topics, and what tells the time (aware UTC)."""
        self._sns = client
        self._topic_arn = topic_arn
        self._clock = clock
        self._chat_arn = chat_arn
        self._escalation_arn = escalation_arn

    @needs("sns:Publish", on=On.NOTICES)
    def send(self, notice: Notice) -> None:
        """Send a mail to everybody who has confirmed the subscription, and the same to chat.

        Both are tried. A chat that fails is told of in the mail: raised, it would have the mail sent again and again.
        Raises AwsCallError when the mail did not go out.
        """
        untold = ""
        try:
            self._chat(notice)
        except AwsCallError as error:
            untold = f"\nThis could not be told in chat: {error}\n"
        self._mail(self._topic_arn, notice, untold)

    @needs("sns:Publish", on=On.NOTICES)
    def escalate(self, notice: Notice) -> None:
        """Send a mail to those who are told when nobody acts."""
        if self._escalation_arn:
            self._mail(self._escalation_arn, notice)

    def _mail(self, topic_arn: str, notice: Notice, more: str = "") -> None:
        with calls.named("sns:Publish"):
            self._sns.publish(TopicArn=topic_arn, Subject=notice.subject, Message=notice.text + more)

    def _chat(self, notice: Notice) -> None:
        if not self._chat_arn:
            return
        region, account = self._chat_arn.split(":")[3:5]
        text = custom_notification(notice, account=account, region=region, day=self._clock().date())
        with calls.named("sns:Publish"):
            self._sns.publish(TopicArn=self._chat_arn, Message=text)
