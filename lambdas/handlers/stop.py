"""Stops or steps down on the word of the meter or of AWS Budgets."""

import json
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes import SNSEvent

from lambdas.aws.budgets import Budget
from lambdas.aws.dynamodb import LedgerTable
from lambdas.core.errors import RefusedError, UnfinishedError
from lambdas.stopping import StopRequest, parse_meter_request
from lambdas.uses import STOPPING
from lambdas.wiring import Deadline, Wiring

USES = (*STOPPING, LedgerTable.stopped_alone, Budget.figures)

logger = Logger(service="stop")


@logger.inject_lambda_context
def handler(event: object, context: Deadline) -> dict[str, Any]:
    """Act on one request. What is refused changes nothing, is logged, and is not tried again."""
    wiring, now = Wiring(), datetime.now(UTC)
    try:
        request = _request(event, wiring)
    except RefusedError as error:
        logger.warning("refused", reason=str(error))
        return {"summary": f"Refused: {error}"}
    if request is None:
        return {"summary": "A budget warning was passed on; nothing was stopped."}
    result = wiring.stop(request, context, now)
    answer = result.answer(wiring.links)
    logger.warning("stop", answer=answer)
    report = result.report
    unfinished = bool(result.untold) if report is None else report.enforced and not report.complete
    if unfinished or "mail" in result.untold:
        raise UnfinishedError(json.dumps(answer))
    return answer


def _request(event: object, wiring: Wiring) -> StopRequest | None:
    if isinstance(event, dict) and "Records" in event:
        return wiring.budget_request(*_message(event))
    return parse_meter_request(event)


def _message(event: dict[str, Any]) -> tuple[str, datetime]:
    try:
        records = [each.sns for each in SNSEvent(event).records]
        sent = [datetime.fromisoformat(each.timestamp).astimezone(UTC) for each in records]
        return "\n".join(each.message for each in records), min(sent)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        msg = f"an event that is no SNS message ({error!r}): nothing was done"
        raise RefusedError(msg) from error
