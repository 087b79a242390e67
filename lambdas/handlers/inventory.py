"""Takes stock every 15 minutes: what costs without showing in the token metrics, names behind ids, regions in use."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import stocktaking
from lambdas.aws.calls import QUICK
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.own_usage import OwnUsage
from lambdas.aws.sns import NoticeTopic
from lambdas.aws.stock import Stock
from lambdas.core.errors import UnfinishedError
from lambdas.wiring import Wiring

USES = (
    Stock.regions,
    Stock.planes_in_use,
    Stock.profiles,
    Stock.provisioned,
    Stock.deployments,
    Stock.endpoints,
    Stock.customization_jobs,
    Stock.evaluation_jobs,
    Stock.imported,
    Stock.batch_jobs,
    Stock.batch_tokens,
    LedgerTable.keep,
    LedgerTable.kept,
    LedgerTable.note,
    NoticeTopic.send,
    *(OwnUsage.counted, OwnUsage.alarms, OwnUsage.dashboards, LedgerTable.count, LedgerTable.counted),
)

logger = Logger(service="inventory")


@logger.inject_lambda_context
def handler(_event: object, _context: object) -> dict[str, Any]:
    """Take stock once, whoever sent the event. Raises UnfinishedError after all was tried."""
    now, wiring = datetime.now(UTC), Wiring(config=QUICK)
    taking = stocktaking.take_stock(now, wiring.stock_tools)
    inventory = taking.inventory
    problems = [*taking.problems, *wiring.account_for_itself(now)]
    answer = {
        "ids": len(inventory.aliases),
        "standing": {each.name: f"{each.usd_per_hour:.4f}" for each in inventory.standing if each.until is None},
        "work": {each.name: f"{each.usd:.4f}" for each in inventory.work if each.usd},
        "discovered": {region: list(planes) for region, planes in inventory.discovered.items()},
        "gaps": list(inventory.gaps),
        "problems": problems,
    }
    logger.info("inventory", answer=answer)
    if problems:
        raise UnfinishedError("; ".join(problems))
    return answer
