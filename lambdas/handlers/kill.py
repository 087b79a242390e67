"""The emergency: stops all Bedrock spend of the account, from the console, with any event at all."""

import json
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import stopping
from lambdas.aws.bedrock import BatchJobs
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.iam import Account, BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import UnfinishedError
from lambdas.core.levels import Level
from lambdas.core.triggers import parse_kill
from lambdas.stopping import StopRequest
from lambdas.wiring import Wiring

STOPPING = (
    BrakePolicies.policy,
    BrakePolicies.levels,
    BrakePolicies.holders,
    BrakePolicies.switch,
    BrakePolicies.sweep,
    Account.principals,
    BatchJobs.running,
    BatchJobs.stop,
    NoticeTopic.send,
    LedgerTable.want,
    LedgerTable.record,
)
"""What every stop calls."""

USES = STOPPING

logger = Logger(service="kill")


@logger.inject_lambda_context
def handler(event: object, _context: object) -> dict[str, Any]:
    """Stop. A person's word counts in report-only mode too."""
    now = datetime.now(UTC)
    request = StopRequest(Level.STOP, parse_kill(event), now)
    wiring = Wiring()
    result = stopping.kill(request, wiring.desk, now)
    answer = result.answer(wiring.links)
    logger.warning("kill", answer=answer)
    if result.report is None or not result.report.verified:
        # Whoever invoked it without looking at the answer must learn that the account may still be burning.
        raise UnfinishedError(json.dumps(answer))
    return answer
