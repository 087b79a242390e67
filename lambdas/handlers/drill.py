"""The live drill: stops the canary alone, releases it, tells how long either took. Deployed only where asked for."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import drilling
from lambdas.aws.canary import ByHand, Canary
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import RefusedError
from lambdas.wiring import Deadline, Wiring

USES = (
    Canary.count,
    ByHand.kill,
    ByHand.release,
    BrakePolicies.levels,
    BrakePolicies.holders,
    LedgerTable.wanted,
    LedgerTable.stopped_alone,
    LedgerTable.begin,
    LedgerTable.end,
    LedgerTable.kept,
    LedgerTable.keep,
    LedgerTable.record,
    NoticeTopic.send,
)

logger = Logger(service="drill")


@logger.inject_lambda_context
def handler(_event: object, context: Deadline) -> dict[str, Any]:
    """Drill at any event, unless something else is going on: that is no failure."""
    try:
        answer = drilling.drill(Wiring().drill_tools(context), datetime.now(UTC))
    except RefusedError as error:
        answer = {"summary": f"Refused: {error}"}
    logger.info("drill", answer=answer)
    return answer
