"""Custom resource: writes the versions of the brake's policies, and takes the policies away when the stack goes."""

import json
import time
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from lambdas import deployment
from lambdas.aws.calls import CONFIG
from lambdas.aws.policy_writer import OwnPolicies
from lambdas.core.levels import Level
from lambdas.installing import install, remove

USES = (
    OwnPolicies.versions,
    OwnPolicies.owner,
    OwnPolicies.create,
    OwnPolicies.create_version,
    OwnPolicies.set_default,
    OwnPolicies.delete_version,
    OwnPolicies.holders,
    OwnPolicies.detach,
    OwnPolicies.delete,
)

logger = Logger(service="install")


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer CloudFormation, whatever happens: a custom resource that stays silent blocks the stack for an hour."""
    return deployment.answer(event, bring_about, logger)


def bring_about(event: dict[str, Any]) -> dict[str, str]:
    """Make the policies what the event says and return the attributes of the resource."""
    properties = event["ResourceProperties"]
    us = properties["Owner"]
    writer = OwnPolicies(boto3.client("iam", config=CONFIG), us, time.sleep)
    # The brake first when it comes and the sweep first when it goes: the brake is what a stop needs most.
    policies: list[tuple[str, str]] = [("Brake", properties["BrakeArn"]), ("Sweep", properties["SweepArn"])]
    if event["RequestType"] == "Delete":
        for _, arn in reversed(policies):
            remove(arn, writer, us)
        return {}
    deployment.refuse_change(event, "BrakeArn", "the prefix cannot be changed while the guardrail is deployed")
    documents = {Level.named(word): json.loads(text) for word, text in properties["Documents"].items()}
    attributes: dict[str, str] = {}
    for label, arn in policies:
        versions = install(arn.rpartition("/")[2], arn, documents, writer, us)
        attributes |= {
            f"{label}{level.name.title().replace('_', '')}Version": found for level, found in versions.items()
        }
    return attributes
