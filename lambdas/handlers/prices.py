"""Refreshes the prices once a week from what AWS charges this account; accepts the odd ones on a person's word."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import repricing
from lambdas.aws.agreements import ModelOffers
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.functions import Writer
from lambdas.aws.pricing import PublishedPrices
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import GuardrailError, UnfinishedError
from lambdas.core.triggers import is_by_clock
from lambdas.wiring import Wiring

USES = (
    PublishedPrices.products,
    ModelOffers.models,
    ModelOffers.rate_card,
    LedgerTable.kept,
    LedgerTable.keep,
    NoticeTopic.send,
    Writer.refresh,
)

logger = Logger(service="prices")


@logger.inject_lambda_context
def handler(event: object, _context: object) -> dict[str, Any]:
    """Refresh, or with ``{"accept": "<fingerprint from the mail>"}`` put the changes into force it stands for.

    Raises RefusedError for any other fingerprint, and UnfinishedError at the end when a source could not be read or
    the prices in force are old. Each time the step-down is brought up to the prices in force, also by the clock
    between two refreshes: what failed is made up for by the next run.
    """
    wiring, now = Wiring(), datetime.now(UTC)
    tools = wiring.repricing_tools
    problems: list[str] = []
    if isinstance(event, Mapping) and "accept" in event:
        answer = repricing.accept(event["accept"], tools, now)
    elif is_by_clock(event) and not repricing.is_due(tools, now):
        answer = {"prices": "were refreshed less than a week ago; any event but the clock's refreshes them now"}
    else:
        refreshed = repricing.refresh(tools, now)
        answer, problems = refreshed.answer(), list(refreshed.problems)
    try:
        wiring.writer.refresh()
    except GuardrailError as error:
        problems.append(f"the step-down does not follow the prices in force yet: {error}")
    logger.info("prices", answer=answer)
    if problems:
        raise UnfinishedError("; ".join(problems))
    return answer
