"""Tells how everything stands, to a person and to the dashboard. Reads only."""

from typing import Any

from aws_lambda_powertools import Logger

from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.iam import BrakePolicies
from lambdas.core import answers
from lambdas.core.triggers import parse_status
from lambdas.core.widget import DOCUMENTATION, asks_for_documentation, theme_asked_for
from lambdas.uses import PLANNING
from lambdas.wiring import Deadline, Wiring

USES = (
    *PLANNING,
    BrakePolicies.levels,
    LedgerTable.memory,
    LedgerTable.history,
    LedgerTable.latest_decision,
    LedgerTable.last,
    LedgerTable.kept,
    LedgerTable.held,
)

_REST = 'ask for it with {"all": true}, and "plan" beside it where there is one'

logger = Logger(service="status")


@logger.inject_lambda_context
def handler(event: object, context: Deadline) -> dict[str, Any] | str:
    """Answer any event with the state, a dashboard's as HTML; with ``plan``, answer what a kill would do."""
    if asks_for_documentation(event):
        return DOCUMENTATION
    if theme := theme_asked_for(event):
        return Wiring().widget(theme, endpoint=str(getattr(context, "invoked_function_arn", "")))
    wiring = Wiring()
    asked = parse_status(event, account_id=wiring.account_id)
    answer = wiring.plan(asked.scope, context).answer(wiring.links) if asked.plan else wiring.status()
    return answer if asked.in_full else answers.for_console(answer, _REST)
