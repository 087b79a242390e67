"""Releases the brake, on a person's typed confirmation."""

import time
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import releasing
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.wiring import Wiring

USES = (
    BrakePolicies.levels,
    BrakePolicies.holders,
    BrakePolicies.switch,
    BrakePolicies.leave,
    NoticeTopic.send,
    LedgerTable.add_allowance,
    LedgerTable.want,
    LedgerTable.record,
    LedgerTable.latest_decision,
    LedgerTable.forget_verdict,
)

logger = Logger(service="release")


@logger.inject_lambda_context
def handler(event: object, _context: object) -> dict[str, Any]:
    """Release, or refuse with the reason and change nothing."""
    wiring = Wiring()
    answer = releasing.carry_out(
        event,
        brake=wiring.brake,
        post=wiring.post,
        memory=wiring.ledger,
        links=wiring.links,
        now=datetime.now(UTC),
        pause=time.sleep,
    )
    logger.warning("release", answer=answer)
    return answer
