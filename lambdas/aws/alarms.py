"""CloudWatch: how alarms stand."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.health import Alarm
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_MOST = 100
"""Names that one call takes."""


class Alarms:
    """The metric alarms of each region."""

    def __init__(self, cloudwatch_in: "Callable[[str], CloudWatchClient]") -> None:
        """Take how to get a client for a region."""
        self._cloudwatch_in = cloudwatch_in

    @needs("cloudwatch:DescribeAlarms", on=On.ALARMS)
    def found(self, region: str, names: Sequence[str]) -> Mapping[str, Alarm | None]:
        """Return alarms by name, None for those there are not. Raises AwsCallError."""
        found: dict[str, Alarm | None] = dict.fromkeys(names)
        cloudwatch = self._cloudwatch_in(region)
        for start in range(0, len(names), _MOST):
            with calls.named("cloudwatch:DescribeAlarms"):
                pages = list(
                    cloudwatch.get_paginator("describe_alarms").paginate(AlarmNames=names[start : start + _MOST])
                )
            for each in (one for page in pages for one in page.get("MetricAlarms", ())):
                found[each["AlarmName"]] = Alarm(each["StateValue"], each["ActionsEnabled"])
        return found
