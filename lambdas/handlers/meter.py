"""Measures spend, each minute and whenever an alarm says so, and asks for a stop where a limit calls for it."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from lambdas import metering
from lambdas.aws.calls import QUICK
from lambdas.aws.cloudwatch import TokenMetrics
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.functions import StopFunction
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import UnfinishedError
from lambdas.wiring import Wiring

USES = (
    TokenMetrics.series,
    TokenMetrics.read,
    BrakePolicies.levels,
    BrakePolicies.holders,
    StopFunction.ask,
    NoticeTopic.send,
    LedgerTable.allowances,
    LedgerTable.known_series,
    LedgerTable.remember_series,
    LedgerTable.wanted,
    LedgerTable.latest_decision,
    LedgerTable.record_decision,
)

logger = Logger(service="meter")


@cache
def _wiring() -> Wiring:
    """Wire up once for as long as the function stays warm: clients, prices and closed days are kept."""
    return Wiring(config=QUICK)


@logger.inject_lambda_context
def handler(_event: object, _context: object) -> dict[str, Any]:
    """Run a tick. Whoever sent the event, what counts is what CloudWatch says now."""
    tick = metering.tick(datetime.now(UTC), _wiring().meter_tools)
    answer = tick.answer()
    logger.info("tick", answer=answer)
    if tick.spend.burn:
        # Custom metrics cost while they are published: an idle account publishes none.
        metrics = Metrics(namespace="BedrockSpendGuardrail", service="meter")
        for name, usd in tick.figures().items():
            metrics.add_metric(name=name, unit=MetricUnit.NoUnit, value=float(usd))
        metrics.flush_metrics()
    if tick.problems:
        raise UnfinishedError("; ".join(tick.problems))
    return answer
