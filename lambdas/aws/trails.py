"""CloudTrail: whether a trail tells EventBridge what is done in a region."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lambdas.aws import calls
from lambdas.core.health import Trail
from lambdas.core.permissions import On, needs

_NEVER_OURS = {"kms.amazonaws.com", "rdsdata.amazonaws.com"}
"""The sources a trail may leave out because there are so many of their events; none is one the guardrail hears."""


class CloudTrail(Protocol):
    """The calls made of CloudTrail."""

    def describe_trails(self, *, includeShadowTrails: bool) -> Mapping[str, Any]:  # noqa: N803 - AWS's names
        """Return the trails that cover the region."""

    def get_trail_status(self, *, Name: str) -> Mapping[str, Any]:  # noqa: N803
        """Return whether a trail logs."""

    def get_event_selectors(self, *, TrailName: str) -> Mapping[str, Any]:  # noqa: N803
        """Return what a trail logs."""


@dataclass(frozen=True, slots=True)
class TrailId:
    """A trail, and the region it was made in."""

    name: str
    arn: str
    home: str


class Trails:
    """The trails of the account, and those of its organization."""

    def __init__(self, cloudtrail_in: Callable[[str], CloudTrail]) -> None:
        """Take how to get a client for a region."""
        self._cloudtrail_in = cloudtrail_in

    @needs("cloudtrail:DescribeTrails", on=On.EVERYTHING)
    def covering(self, region: str) -> Sequence[TrailId]:
        """Return the trails that cover a region, also those made in another one. Raises AwsCallError."""
        with calls.named("cloudtrail:DescribeTrails"):
            found = self._cloudtrail_in(region).describe_trails(includeShadowTrails=True)["trailList"]
        return [TrailId(each["Name"], each["TrailARN"], each["HomeRegion"]) for each in found]

    @needs("cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors", on=On.TRAILS)
    def read(self, trail: TrailId) -> Trail:
        """Return how a trail stands. Raises AwsCallError."""
        # Where it was made, and by its ARN: elsewhere there is only a shadow of it.
        cloudtrail = self._cloudtrail_in(trail.home)
        with calls.named("cloudtrail:GetTrailStatus"):
            logging = cloudtrail.get_trail_status(Name=trail.arn)["IsLogging"]
        with calls.named("cloudtrail:GetEventSelectors"):
            found = cloudtrail.get_event_selectors(TrailName=trail.arn)
        classic = any(_records_writes(each) for each in found.get("EventSelectors", ()))
        advanced = any(_selects_writes(each) for each in found.get("AdvancedEventSelectors", ()))
        return Trail(trail.name, logging, classic or advanced)


def _records_writes(selector: Mapping[str, Any]) -> bool:
    kind = selector.get("ReadWriteType", "All")
    return bool(selector.get("IncludeManagementEvents", True)) and kind in {"All", "WriteOnly"}


def _selects_writes(selector: Mapping[str, Any]) -> bool:
    """Tell whether a selector takes in all management events that write: what narrows it further leaves some out."""
    fields: Mapping[str, Mapping[str, object]] = {each["Field"]: each for each in selector["FieldSelectors"]}
    if fields.get("eventCategory", {}).get("Equals") != ["Management"]:
        return False
    for name, chosen in fields.items():
        conditions = {key: value for key, value in chosen.items() if key != "Field" and value}
        if name == "readOnly" and conditions != {"Equals": ["false"]}:
            return False
        left_out = conditions.get("NotEquals")
        if name == "eventSource" and not (
            set(conditions) == {"NotEquals"} and isinstance(left_out, list) and _NEVER_OURS.issuperset(left_out)
        ):
            return False
        if name not in {"eventCategory", "readOnly", "eventSource"}:
            return False
    return True
