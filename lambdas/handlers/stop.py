"""Stops or steps down on the word of the meter or of the bill, and where so configured when the meter is silent."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes import SNSEvent

from lambdas.aws.alarms import Alarms
from lambdas.aws.budgets import Budget
from lambdas.aws.dynamodb import LedgerTable
from lambdas.core import alarm_events, anomaly
from lambdas.core.errors import RefusedError, UnfinishedError
from lambdas.stopping import StopRequest, parse_meter_request
from lambdas.uses import STOPPING
from lambdas.wiring import Deadline, Wiring

_LEDGER = (LedgerTable.stopped_alone, LedgerTable.memory, LedgerTable.latest_decision, LedgerTable.may_tell)
USES = (*STOPPING, *_LEDGER, Alarms.found, Budget.figures)

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
        return {"summary": "What the bill says was passed on, or told before; nothing was stopped."}
    result = wiring.stop(request, context, now)
    answer = result.answer(wiring.links)
    logger.warning("stop", answer=answer)
    if result.is_unfinished:
        raise UnfinishedError(result.complaint(wiring.links))
    return answer


def _request(event: object, wiring: Wiring) -> StopRequest | None:
    if isinstance(event, dict) and "Records" in event:
        return wiring.budget_request(_messages(event), datetime.now(UTC))
    if isinstance(event, dict) and event.get("source") == anomaly.SOURCE:
        return wiring.anomaly_request(event, datetime.now(UTC))
    if alarm_events.is_state_change(event):
        return wiring.silence_request(event, datetime.now(UTC))
    return parse_meter_request(event)


def _messages(event: dict[str, Any]) -> list[tuple[str, datetime]]:
    try:
        records = [each.sns for each in SNSEvent(event).records]
        # A message that is no text raises here.
        return [(f"{each.message:s}", datetime.fromisoformat(each.timestamp).astimezone(UTC)) for each in records]
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        msg = f"an event that is no SNS message ({error!r}): nothing was done"
        raise RefusedError(msg) from error
