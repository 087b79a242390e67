"""Gives roles without a free policy slot the inline deny, and takes it away; deployed only where asked for."""

from typing import Any

from aws_lambda_powertools import Logger

from lambdas.aws.inline_writer import InlineDeny
from lambdas.core.inline_deny import parse_inline_change
from lambdas.wiring import Wiring

USES = (InlineDeny.deny, InlineDeny.allow)

logger = Logger(service="inline")


@logger.inject_lambda_context
def handler(event: object, _context: object) -> dict[str, Any]:
    """Write or delete one fixed policy on the roles that are named. Raises RefusedError and changes nothing."""
    change = parse_inline_change(event)
    answer = Wiring().inline_deny.carry_out(change)
    logger.warning("inline deny", answer=answer)
    return answer
