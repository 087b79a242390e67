"""Takes stock every 15 minutes: what costs without showing in the token metrics, names behind ids, regions in use."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import stocktaking
from lambdas.aws.calls import QUICK
from lambdas.aws.dynamodb import LedgerTable
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
)

logger = Logger(service="inventory")


@logger.inject_lambda_context
def handler(_event: object, _context: object) -> dict[str, Any]:
    """Take stock once, whoever sent the event. Raises UnfinishedError after all was tried."""
    taking = stocktaking.take_stock(datetime.now(UTC), Wiring(config=QUICK).stock_tools)
    inventory = taking.inventory
    answer = {
        "ids": len(inventory.aliases),
        "standing": {each.name: f"{each.usd_per_hour:.4f}" for each in inventory.standing if each.until is None},
        "work": {each.name: f"{each.usd:.4f}" for each in inventory.work if each.usd},
        "discovered": {region: list(planes) for region, planes in inventory.discovered.items()},
        "gaps": list(inventory.gaps),
        "problems": list(taking.problems),
    }
    logger.info("inventory", answer=answer)
    if taking.problems:
        raise UnfinishedError("; ".join(taking.problems))
    return answer
