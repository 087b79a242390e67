"""Compares the meter with the bill, once a day. What it finds it mails and keeps; it changes no price."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import crosschecking
from lambdas.aws.cost_explorer import CostExplorer
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.sns import NoticeTopic
from lambdas.wiring import Wiring

USES = (
    CostExplorer.by_service,
    CostExplorer.by_model,
    LedgerTable.closed_days,
    LedgerTable.kept,
    LedgerTable.keep,
    NoticeTopic.send,
)

logger = Logger(service="crosscheck")


@logger.inject_lambda_context
def handler(_event: object, _context: object) -> dict[str, Any]:
    """Run the cross-check of today, or tell what today's found. Raises what failed; tomorrow's run repeats it."""
    answer = dict(crosschecking.cross_check(datetime.now(UTC), Wiring().crosscheck_tools))
    logger.info("crosscheck", answer=answer)
    return answer
