"""Puts the test events of kill, release and status into the console's drop-down: for CloudFormation, on deployment."""

from typing import Any

from aws_lambda_powertools import Logger

from lambdas import deployment, sharing
from lambdas.aws.schemas import TestEvents
from lambdas.wiring import Wiring

_READ = (TestEvents.description, TestEvents.content, TestEvents.is_empty)
_WRITE = (TestEvents.create, TestEvents.add, TestEvents.replace)
USES = (*_READ, *_WRITE, TestEvents.delete, TestEvents.delete_registry)

logger = Logger(service="share")


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer CloudFormation; that an event could not be shared, or taken away, fails no deployment."""
    return deployment.answer(event, bring_about, logger)


def bring_about(event: dict[str, Any]) -> dict[str, str]:
    """Share the events, or take them away; return the attributes of the resource."""
    wiring = Wiring()
    act = sharing.withdraw if event["RequestType"] == "Delete" else sharing.share
    problems = act(wiring.test_events, wiring.settings.prefix, event["ResourceProperties"]["Owner"])
    logger.info("shared", request=event["RequestType"], problems=problems)
    return {"Problems": problems}
