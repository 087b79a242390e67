"""Measures spend, each minute and whenever an alarm says so, and asks for a stop where a limit calls for it."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from lambdas import metering
from lambdas.aws.calls import QUICK
from lambdas.aws.cloudwatch import TokenMetrics
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.functions import ReleaseFunction, StopFunction
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import UnfinishedError
from lambdas.core.triggers import is_by_clock
from lambdas.core.windows import Window
from lambdas.wiring import Wiring

_CLOUDWATCH = (TokenMetrics.glance, TokenMetrics.listed, TokenMetrics.probe, TokenMetrics.read)
_TICK = (LedgerTable.memory, LedgerTable.note_watch, LedgerTable.record_decision, LedgerTable.note, LedgerTable.last)
_HOURS = (LedgerTable.closed_days, LedgerTable.close, LedgerTable.kept)
_SERIES = (LedgerTable.known_series, LedgerTable.remember_series, LedgerTable.count)
_BRAKE = (BrakePolicies.levels, BrakePolicies.holders, StopFunction.ask, ReleaseFunction.ask)
USES = (*_CLOUDWATCH, *_TICK, *_HOURS, *_SERIES, *_BRAKE, NoticeTopic.send, NoticeTopic.escalate)

logger = Logger(service="meter")


@lru_cache(maxsize=1)
def _wiring(_hour: datetime) -> Wiring:
    """Wire up once an hour while the function stays warm: clients are kept, and new prices are taken up."""
    return Wiring(config=QUICK)


@logger.inject_lambda_context
def handler(event: object, _context: object) -> dict[str, Any]:
    """Run a tick. Whoever sent the event, what counts is what CloudWatch says now.

    The clock's event lets the pace decide what is looked at; with any other one everything is.
    """
    now = datetime.now(UTC)
    wiring = _wiring(Window.HOUR.start(now))
    tools = wiring.meter_tools
    tick = metering.tick(now, tools, woken=not is_by_clock(event))
    wiring.count_asked(now)
    answer = tick.answer()
    logger.info("tick", answer=answer)
    if tick.moving:
        # Custom metrics cost while they are published: an idle account publishes none.
        metrics = Metrics(namespace="BedrockSpendGuardrail", service="meter")
        for name, usd in tick.figures({each.window for each in tools.bounds.limits}).items():
            metrics.add_metric(name=name, unit=MetricUnit.NoUnit, value=float(usd))
        metrics.flush_metrics()
    if tick.problems:
        raise UnfinishedError("; ".join(tick.problems))
    return answer
