"""Attaches the brake policy, in peace, to those whose policies name Bedrock: hourly and at each deployment."""

from typing import Any

from aws_lambda_powertools import Logger

from lambdas import deployment, guardrail
from lambdas.aws.iam import Account, BrakePolicies
from lambdas.core.errors import UnfinishedError
from lambdas.wiring import Wiring

USES = (Account.principals, BrakePolicies.arm)

logger = Logger(service="arm")


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Arm on the schedule; as a custom resource, arm when created or updated (the installer disarms at the end)."""
    return deployment.answer(event, arm, logger) if deployment.is_custom_resource(event) else arm(event)


def arm(event: dict[str, Any]) -> dict[str, Any]:
    """Arm once and tell what was done. Raises UnfinishedError after all were tried."""
    if event.get("RequestType") == "Delete":
        return {}
    wiring = Wiring()
    settings = wiring.settings
    outcome = guardrail.arm(wiring.brake, wiring.account, settings.spared, enforce=settings.enforce)
    answer = {
        "mode": "enforce" if settings.enforce else "report-only",
        "done": list(outcome.words()),
        "failed": outcome.failed,
        "cannot_be_armed": outcome.uncovered,
    }
    logger.info("arm", answer=answer)
    if outcome.failed and not deployment.is_custom_resource(event):
        # A role without a free slot must not roll a deployment back: the hourly run raises it, and its alarm.
        msg = "not armed: " + "; ".join(f"{what}: {why}" for what, why in outcome.failed.items())
        raise UnfinishedError(msg)
    return answer
