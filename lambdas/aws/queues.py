"""SQS: what could not be delivered."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_GONE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
"""How SQS spells it by its query and by its JSON protocol."""


class Queues:
    """The queues of the guardrail in each region."""

    def __init__(self, sqs_in: "Callable[[str], SQSClient]") -> None:
        """Take how to get a client for a region."""
        self._sqs_in = sqs_in

    @needs("sqs:GetQueueAttributes", on=On.UNDELIVERED)
    def waiting(self, region: str, url: str) -> int | None:
        """Return about how many messages a queue holds, None when it is gone. Raises AwsCallError."""
        try:
            with calls.named("sqs:GetQueueAttributes"):
                attributes = self._sqs_in(region).get_queue_attributes(
                    QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
                )["Attributes"]
        except AwsCallError as error:
            if error.code not in _GONE:
                raise
            return None
        return int(attributes["ApproximateNumberOfMessages"])
