"""CloudFormation: what the stacks of the guardrail consist of."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


class Deployed:
    """The stacks of the guardrail: at home, and a satellite in each other region."""

    def __init__(self, cloudformation_in: "Callable[[str], CloudFormationClient]") -> None:
        """Take how to get a client for a region."""
        self._cloudformation_in = cloudformation_in

    @needs("cloudformation:ListStackResources", on=On.OWN_STACKS)
    def parts(self, region: str, stack: str) -> Mapping[str, Sequence[str]]:
        """Return the physical ids of a stack's resources by their type. Raises AwsCallError, also without a stack."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        with calls.named("cloudformation:ListStackResources"):
            pages = self._cloudformation_in(region).get_paginator("list_stack_resources").paginate(StackName=stack)
            for each in (one for page in pages for one in page["StackResourceSummaries"]):
                if "PhysicalResourceId" in each and not each["ResourceStatus"].startswith("DELETE_"):
                    found[each["ResourceType"]].append(each["PhysicalResourceId"])
        return found
