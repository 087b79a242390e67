"""Tells how everything stands. Reads only."""

from typing import Any

from aws_lambda_powertools import Logger

from lambdas.aws.account import Account
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.iam import BrakePolicies
from lambdas.wiring import Wiring

USES = (
    BrakePolicies.levels,
    BrakePolicies.holders,
    BrakePolicies.reached,
    Account.principals,
    LedgerTable.latest_decision,
    LedgerTable.last,
    LedgerTable.kept,
    LedgerTable.held,
)

logger = Logger(service="status")


@logger.inject_lambda_context
def handler(_event: object, _context: object) -> dict[str, Any]:
    """Answer any event with the state."""
    return Wiring().status()
