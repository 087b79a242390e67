"""Attaches the brake policy, in peace, to those who can spend: hourly, at each deployment, and when IAM changes."""

import json
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import arming, deployment
from lambdas.aws.account import Account
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.functions import StopFunction
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import UnfinishedError
from lambdas.wiring import Wiring

USES = (
    Account.principals,
    BrakePolicies.levels,
    BrakePolicies.arm,
    LedgerTable.memory,
    LedgerTable.disarmed,
    LedgerTable.claim_arming,
    LedgerTable.may_tell,
    LedgerTable.kept,
    LedgerTable.keep,
    NoticeTopic.send,
    StopFunction.ask,
)

logger = Logger(service="arm")


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Arm; as a custom resource, when created or updated (the installer disarms at the end)."""
    if deployment.is_custom_resource(event):
        return deployment.answer(event, arm_at_deployment, logger)
    found = arming.hear(event, Wiring().arming_tools, datetime.now(UTC))
    answer = found.answer()
    logger.info("arm", answer=answer)
    if troubles := found.troubles():
        raise UnfinishedError("; ".join(troubles))
    return answer


def arm_at_deployment(event: dict[str, Any]) -> dict[str, str]:
    """Arm once. What fails rolls no deployment back: the hourly run tries it again, raises it, and its alarm rings."""
    if event["RequestType"] == "Delete":
        return {}
    answer = arming.arm(Wiring().arming_tools, datetime.now(UTC)).answer()
    logger.info("arm", answer=answer)
    return {"Armed": json.dumps(len(answer["done"]))}
