"""Looks each hour at the guardrail itself, and hears of those who edit it; reserves concurrency for what must run."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import deployment, watching
from lambdas.aws.alarms import Alarms
from lambdas.aws.budget_watch import BudgetWatch
from lambdas.aws.deployed import Deployed
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.own_functions import OwnFunctions
from lambdas.aws.queues import Queues
from lambdas.aws.quotas import Quotas
from lambdas.aws.rules import Rules
from lambdas.aws.sns import NoticeTopic
from lambdas.aws.subscriptions import Subscriptions
from lambdas.aws.trails import Trails
from lambdas.core.errors import GuardrailError, UnfinishedError
from lambdas.wiring import Wiring

_STACKS = (Deployed.parts, Rules.found, Alarms.found, Queues.waiting)
_OTHERS = (Subscriptions.found, BudgetWatch.found, Trails.covering, Trails.read, Quotas.auto_management)
_FUNCTIONS = (OwnFunctions.room, OwnFunctions.reserved, OwnFunctions.reserve)
_LEDGER = (LedgerTable.memory, LedgerTable.last, LedgerTable.kept, LedgerTable.keep, LedgerTable.may_tell)
USES = (*_STACKS, *_OTHERS, *_FUNCTIONS, *_LEDGER, NoticeTopic.send)

logger = Logger(service="watch")


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Look around, or act on what is told. Raises UnfinishedError when people could not be told."""
    if deployment.is_custom_resource(event):
        return deployment.answer(event, reserve, logger)
    watched = watching.hear(event, Wiring().watch_tools, datetime.now(UTC))
    answer = watched.answer()
    logger.info("watch", answer=answer)
    if watched.problems:
        raise UnfinishedError("; ".join(watched.problems))
    return answer


def reserve(event: dict[str, Any]) -> dict[str, str]:
    """Reserve concurrency. What fails rolls no deployment back: each hour it is tried again, and told."""
    if event["RequestType"] == "Delete":
        return {}
    try:
        words = watching.reserve_at_deployment(Wiring().watch_tools, datetime.now(UTC))
    except GuardrailError as error:
        words = (str(error),)
    logger.info("reserve", answer=words)
    return {"Words": "; ".join(words)[:1000] or "reserved"}
