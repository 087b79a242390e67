"""The emergency: stops all Bedrock spend of the account, or one scope, from the console, with any event at all."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from lambdas import stopping
from lambdas.core import answers
from lambdas.core.errors import UnfinishedError
from lambdas.core.plan import kill_goal
from lambdas.core.triggers import parse_kill
from lambdas.stopping import StopRequest
from lambdas.wiring import Deadline, Wiring

logger = Logger(service="kill")


@logger.inject_lambda_context
def handler(event: object, context: Deadline) -> dict[str, Any]:
    """Stop. A person's word counts in report-only mode too."""
    now, wiring = datetime.now(UTC), Wiring()
    reason, scope = parse_kill(event, account_id=wiring.account_id)
    request = StopRequest(kill_goal(scope).level, reason, now, by="person", scope=scope)
    result = stopping.kill(request, wiring.desk(context), now)
    answer = result.answer(wiring.links)
    logger.warning("kill", answer=answer)
    if result.in_doubt:
        # Whoever invoked it without looking at the answer must learn that the account may still be burning.
        raise UnfinishedError(result.complaint(wiring.links))
    return answers.for_console(answer, "the log of this function has it")


def __getattr__(name: str) -> object:
    """Return ``USES``, for the stack and the tests; an emergency does not wait for what only they need."""
    if name == "USES":
        from lambdas.uses import KILLING  # noqa: PLC0415

        return KILLING
    raise AttributeError(name)
