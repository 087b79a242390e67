"""Takes the brake policy off whom somebody tried to delete, for IAM refuses that while a policy is attached."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import arming
from lambdas.aws.disarming import Disarming
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import UnfinishedError
from lambdas.wiring import Wiring

USES = (
    BrakePolicies.levels,
    BrakePolicies.holders,
    BrakePolicies.members,
    Disarming.disarm,
    LedgerTable.memory,
    LedgerTable.remember_disarmed,
    LedgerTable.may_tell,
    NoticeTopic.send,
)

logger = Logger(service="disarm")


@logger.inject_lambda_context
def handler(event: object, _context: object) -> dict[str, Any]:
    """Disarm one principal, or say why not. Raises what could not be known or done; Lambda tries again."""
    answer = arming.release_for_deletion(event, Wiring().disarm_tools, datetime.now(UTC))
    logger.info("disarm", answer=answer)
    if problems := answer.get("problems"):
        raise UnfinishedError("; ".join(problems))
    return answer
