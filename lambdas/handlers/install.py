"""Writes the guardrail's policies and groups: for CloudFormation, after new prices, and for what is stopped alone."""

from typing import Any

from aws_lambda_powertools import Logger

from lambdas import deployment, installing
from lambdas.aws.dynamodb import LedgerTable
from lambdas.aws.policy_writer import OwnPolicies
from lambdas.wiring import Wiring

_VERSIONS = (OwnPolicies.versions, OwnPolicies.create_version, OwnPolicies.set_default, OwnPolicies.delete_version)
_POLICIES = (OwnPolicies.owner, OwnPolicies.create, OwnPolicies.replace, OwnPolicies.holders, OwnPolicies.detach)
_GROUPS = (OwnPolicies.group, OwnPolicies.create_group, OwnPolicies.attach_to_group, OwnPolicies.leave_group)
_GOING = (OwnPolicies.detach_from_group, OwnPolicies.delete_group, OwnPolicies.delete)
USES = (*_VERSIONS, *_POLICIES, *_GROUPS, *_GOING, LedgerTable.kept)

logger = Logger(service="install")


@logger.inject_lambda_context
def handler(event: object, _context: object) -> dict[str, Any]:
    """Answer CloudFormation, whatever happens: a custom resource that stays silent blocks the stack for an hour.

    Answer the guardrail's own functions what is stopped alone now, or raise RefusedError and change nothing.
    """
    if isinstance(event, dict) and deployment.is_custom_resource(event):
        return deployment.answer(event, bring_about, logger)
    wiring = Wiring()
    change = installing.parse_change(event, wiring.account_id)
    answer = installing.write(change, wiring.install_tools).answer() | {"problems": wiring.prices[1]}
    logger.info("written", answer=answer)
    return answer


def bring_about(event: dict[str, Any]) -> dict[str, str]:
    """Make the policies and groups, or take them away; return the attributes of the resource."""
    wiring = Wiring()
    tools = wiring.install_tools
    if event["RequestType"] == "Delete":
        installing.remove(tools.own, tools.writer)
        return {}
    deployment.refuse_change(event, "BrakeArn", "the prefix cannot be changed while the guardrail is deployed")
    written = installing.install(tools)
    problems = "; ".join(wiring.prices[1])
    logger.info("installed", answer=written.answer(), problems=problems)
    return {"BrakeArn": tools.own.brake, "Problems": problems}
