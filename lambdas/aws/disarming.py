"""IAM: taking the brake policy off one principal. A class of its own, for one function alone may do it."""

from typing import TYPE_CHECKING

from lambdas.aws.iam import detach
from lambdas.core.permissions import On, needs
from lambdas.core.plan import Detach

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


class Disarming:
    """The way back from arming."""

    def __init__(self, client: "IAMClient", brake_arn: str) -> None:
        """Take the client and the brake policy's ARN."""
        self._iam = client
        self._brake_arn = brake_arn

    @needs("iam:DetachRolePolicy", "iam:DetachUserPolicy", on=On.PRINCIPALS_WITH_BRAKE)
    def disarm(self, step: Detach) -> None:
        """Detach the brake policy, whatever policy the step names."""
        detach(self._iam, self._brake_arn, step.holder)
