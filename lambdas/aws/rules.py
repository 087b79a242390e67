"""EventBridge: whether a rule still listens, and who it tells."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.health import Rule
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


class Rules:
    """The rules of the default bus of each region."""

    def __init__(self, events_in: "Callable[[str], EventBridgeClient]") -> None:
        """Take how to get a client for a region."""
        self._events_in = events_in

    @needs("events:DescribeRule", "events:ListTargetsByRule", on=On.RULES)
    def found(self, region: str, name: str) -> Rule | None:
        """Return a rule, None when it is gone. Raises AwsCallError."""
        events = self._events_in(region)
        try:
            with calls.named("events:DescribeRule"):
                state = events.describe_rule(Name=name)["State"]
            with calls.named("events:ListTargetsByRule"):
                pages = list(events.get_paginator("list_targets_by_rule").paginate(Rule=name))
        except AwsCallError as error:
            if error.code != "ResourceNotFoundException":
                raise
            return None
        return Rule(state.startswith("ENABLED"), tuple(each["Arn"] for page in pages for each in page["Targets"]))
