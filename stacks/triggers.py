"""What wakes the functions up: the clock, and tripwires on calls to Bedrock."""

from collections.abc import Mapping

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from lambdas.settings import Settings

_PLANES = {
    "bedrock": ("AWS/Bedrock", "Invocations"),
    "mantle": ("AWS/BedrockMantle", "Inferences"),
}
"""The metric that counts the calls of a plane; without dimensions it is that of the whole account, and so knows
models nobody has listed yet."""


class Clock(Construct):
    """What runs by the clock."""

    def __init__(
        self, scope: Construct, construct_id: str, *, every: Mapping[str, tuple[Duration, lambda_.IFunction]]
    ) -> None:
        """Make a rule for each name."""
        super().__init__(scope, construct_id)
        for name, (period, function) in every.items():
            events.Rule(
                self,
                name,
                schedule=events.Schedule.rate(period),
                # The next tick is the retry; an old one would only measure twice.
                targets=[targets.LambdaFunction(function, retry_attempts=0, max_event_age=Duration.minutes(1))],
            )


class Tripwires(Construct):
    """Alarms of one region that ring at the first call of a plane after a quiet time, and say so to a target.

    They have no actions and no threshold worth a thought: they ring so that the meter need not look at a region
    in which nobody calls Bedrock. While calls go on they stay in ALARM, silently; the meter looks each minute then.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, rule: events.Rule) -> None:
        """Make an alarm for each plane; they come after the rule that carries them, so that none rings unheard."""
        super().__init__(scope, construct_id)
        for plane, (namespace, metric) in _PLANES.items():
            cloudwatch.Alarm(
                self,
                plane.title(),
                alarm_name=settings.tripwire(plane),
                alarm_description=(
                    f"No fault: Bedrock is being called in this region ({namespace} {metric}). This wakes the meter of "
                    f"the spend guardrail {settings.prefix}, which reads the region each minute until the calls end."
                ),
                metric=cloudwatch.Metric(
                    namespace=namespace, metric_name=metric, statistic="Sum", period=Duration.minutes(1)
                ),
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
                threshold=1,
                # At the first call, and on until five minutes without: data that come late would ring it again.
                evaluation_periods=5,
                datapoints_to_alarm=1,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            )
        self.node.add_dependency(rule)


class TripwireRule(events.Rule):
    """Carries the ringing of tripwires to a target, whichever region they rang in."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, target: events.IRuleTarget) -> None:
        """Listen on the default bus of the stack's region."""
        super().__init__(
            scope,
            construct_id,
            description=f"Spend guardrail {settings.prefix}: Bedrock is called in a region that was quiet.",
            event_pattern=events.EventPattern(
                # By name, not by ARN: an event forwarded from another region keeps that region. Of this account
                # alone: another one may forward its alarms here, and have a guardrail with the same names.
                account=[Stack.of(scope).account],
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change"],
                detail={
                    "alarmName": [settings.tripwire(plane) for plane in _PLANES],
                    "state": {"value": ["ALARM"]},
                },
            ),
            targets=[target],
        )
