"""What wakes the functions up: the clock, and CloudWatch alarms on tokens a minute."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from lambdas.core.limits import Limit
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Kind
from lambdas.core.windows import Window

_WATCHED = (
    ('"AWS/Bedrock", ModelId', "InputTokenCount", Kind.INPUT),
    ('"AWS/Bedrock", ModelId', "OutputTokenCount", Kind.OUTPUT),
    ('"AWS/Bedrock", ModelId', "CacheWriteInputTokenCount", Kind.CACHE_WRITE),
    ('"AWS/BedrockMantle", Model', "TotalInputTokens", Kind.MIXED_INPUT),
    ('"AWS/BedrockMantle", Model', "TotalOutputTokens", Kind.OUTPUT),
)
_SHARE_WITHOUT_BURN_LIMIT = 10
"""Where no minute limit is set, a minute that takes a tenth of the smallest limit is a burst."""


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


class TokenAlarms(Construct):
    """Alarms on tokens a minute over all models, new ones at once; they wake the meter, which decides."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        limits: Sequence[Limit],
        prices: PriceTable,
        meter: lambda_.IFunction,
    ) -> None:
        """Make the alarms of this region and the rule that carries them to the meter."""
        super().__init__(scope, construct_id)
        burst = burst_usd(limits)
        dearest = prices.dearest(date.max)
        alarms = [
            cloudwatch.CfnAlarm(
                self,
                f"{'Mantle' if 'Mantle' in schema else ''}{metric}",
                alarm_description=f"{metric} of one minute could cost ${burst}: the meter looks at once.",
                comparison_operator="GreaterThanOrEqualToThreshold",
                evaluation_periods=1,
                threshold=float(int(burst / dearest.of(kind))),
                treat_missing_data="notBreaching",
                metrics=[
                    cloudwatch.CfnAlarm.MetricDataQueryProperty(
                        id="tokens",
                        expression=f"SELECT SUM({metric}) FROM SCHEMA({schema})",  # noqa: S608 - Metrics Insights, of constants
                        period=60,
                        return_data=True,
                    )
                ],
            )
            for schema, metric, kind in _WATCHED
        ]
        events.Rule(
            self,
            "ToMeter",
            event_pattern=events.EventPattern(
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change", "CloudWatch Alarm Contributor State Change"],
                resources=[each.attr_arn for each in alarms],
                detail={"state": {"value": ["ALARM"]}},
            ),
            targets=[targets.LambdaFunction(meter)],
        )


def burst_usd(limits: Sequence[Limit]) -> Decimal:
    """Return the USD of a minute that is worth a look at once."""
    burn = next((each.usd for each in limits if each.window is Window.MINUTE), None)
    return burn or min(each.usd for each in limits) / _SHARE_WITHOUT_BURN_LIMIT
