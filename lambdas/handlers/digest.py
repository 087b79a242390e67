"""Mails once a day what was spent, and at once when an hour costs far more than usual."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import digesting
from lambdas.aws.cloudwatch import TokenMetrics
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import UnfinishedError
from lambdas.wiring import Wiring

USES = (
    TokenMetrics.listed,
    TokenMetrics.read,
    LedgerTable.memory,
    LedgerTable.kept,
    LedgerTable.keep,
    NoticeTopic.send,
)

logger = Logger(service="digest")


@logger.inject_lambda_context
def handler(_event: object, _context: object) -> dict[str, Any]:
    """Do what is due, whoever sent the event. Raises UnfinishedError after all was tried; the next run repeats it."""
    problems: list[str] = []
    answer = digesting.run(datetime.now(UTC), Wiring().digest_tools, problems)
    logger.info("digest", answer=answer)
    if problems:
        raise UnfinishedError("; ".join(problems))
    return answer
