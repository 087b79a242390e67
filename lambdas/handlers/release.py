"""Releases the brake: on a person's typed confirmation, at a window's roll-over, and when the stack goes."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import deployment, releasing
from lambdas.aws.cloudformation import OwnStack
from lambdas.core.errors import RefusedError
from lambdas.core.triggers import is_the_end, parse_automatic_release
from lambdas.uses import RELEASING
from lambdas.wiring import Deadline, Wiring

USES = (*RELEASING, OwnStack.status)

logger = Logger(service="release")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Deadline) -> dict[str, Any]:
    """Release, or refuse with the reason and change nothing."""
    wiring, now = Wiring(), datetime.now(UTC)
    desk = wiring.release_desk(context)
    if deployment.is_custom_resource(event):
        return deployment.answer(event, lambda asked: at_the_end(asked, wiring.own_stack, desk, now), logger)
    try:
        answer = releasing.carry_out(event, desk, now)
    except RefusedError as error:
        if parse_automatic_release(event) is None:
            raise
        # The meter asks each minute; what somebody has settled meanwhile is no failure.
        answer = {"summary": f"Refused: {error}"}
    logger.warning("release", answer=answer)
    return answer


def at_the_end(event: dict[str, Any], stack: OwnStack, desk: releasing.ReleaseDesk, now: datetime) -> dict[str, Any]:
    """Put everything back when the stack is destroyed, while there is still everything to do it with.

    An update that is rolled back, or that replaces this resource, deletes it too: that is no word to release.
    """
    if event["RequestType"] != "Delete":
        return {}
    status = stack.status(event["StackId"])
    if not is_the_end(status):
        return {"summary": f"Nothing was released: the stack stays ({status})."}
    return releasing.everything(desk, now)
