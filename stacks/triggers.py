"""What wakes the functions up: the clock, alarms, and what CloudTrail sees."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from lambdas.core import iam_events
from lambdas.settings import Settings
from stacks.alarms import described

_PLANES = {
    "bedrock": ("AWS/Bedrock", "Invocations"),
    "mantle": ("AWS/BedrockMantle", "Inferences"),
}
"""The metric that counts the calls of a plane; without dimensions it is that of the whole account, and so knows
models nobody has listed yet."""


class Clock(Construct):
    """What runs by the clock."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        every: Mapping[str, tuple[Duration | events.Schedule, lambda_.IFunction]],
        undelivered: sqs.IQueue,
    ) -> None:
        """Make a rule for each name."""
        super().__init__(scope, construct_id)
        for name, (when, function) in every.items():
            events.Rule(
                self,
                name,
                schedule=events.Schedule.rate(when) if isinstance(when, Duration) else when,
                # The next tick is the retry; an old one would only measure twice.
                targets=[
                    targets.LambdaFunction(
                        function,
                        retry_attempts=0,
                        max_event_age=Duration.minutes(1),
                        dead_letter_queue=undelivered,
                    )
                ],
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
                alarm_description=described(
                    f"No fault: Bedrock is being called in this region ({namespace} {metric}). This wakes the meter of "
                    f"the spend guardrail {settings.prefix}, which reads the region each minute until the calls end.",
                    "Nothing to do.",
                    "calls",
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


def tripwires(settings: Settings) -> list[str]:
    """Return the names of a region's tripwires."""
    return [settings.tripwire(plane) for plane in _PLANES]


class AlarmRule(events.Rule):
    """Carries the ringing of alarms to a target, whichever region they rang in. Of what ends it carries nothing."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        description: str,
        alarms: Sequence[str],
        target: events.IRuleTarget,
        elsewhere: bool = False,
    ) -> None:
        """Listen on the default bus of the stack's region to alarms of these names; or to those of other regions."""
        stack = Stack.of(scope)
        super().__init__(
            scope,
            construct_id,
            description=description,
            event_pattern=events.EventPattern(
                # By name, not by ARN: an event forwarded from another region keeps that region. Of this account
                # alone: another one may forward its alarms here, and have a guardrail with the same names.
                account=[stack.account],
                region=events.Match.anything_but(stack.region) if elsewhere else None,
                source=["aws.cloudwatch"],
                # The second is of a single model, in an alarm by model. A mute holds back actions, not events, and is
                # not looked at.
                detail_type=["CloudWatch Alarm State Change", "CloudWatch Alarm Contributor State Change"],
                detail={"alarmName": [*alarms], "state": {"value": ["ALARM"]}},
            ),
            targets=[target],
        )


def succeeded_for_others(scope: Construct, settings: Settings) -> dict[str, Any]:
    """Match calls that succeeded, but for those of the guardrail's own roles: it must not wake itself."""
    stack = Stack.of(scope)
    own = f"arn:{stack.partition}:iam::{stack.account}:role{settings.own_path}"
    issuer = [{"exists": False}, {"anything-but": {"prefix": own}}]
    return {
        "errorCode": [{"exists": False}],
        # Users and root have no session, and so no issuer.
        "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": issuer}}},
    }


class CallRules(Construct):
    """Carry calls CloudTrail saw to targets, whichever region they were made in: all of them successful and by others.

    EventBridge is told of a call only where a trail that logs management events covers the region. Events of IAM
    appear in one region alone.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, creations: events.IRuleTarget
    ) -> None:
        """Send what starts to cost without a token, such as a batch job, to a target."""
        super().__init__(scope, construct_id)
        self._settings = settings
        self._rule(
            "Creations",
            "something starts that costs without a token.",
            events.Match.prefix("aws.bedrock"),
            self._by_others(iam_events.CREATIONS),
            creations,
        )

    def add_iam(
        self, *, changes: events.IRuleTarget, refused_deletes: events.IRuleTarget, keys: events.IRuleTarget
    ) -> None:
        """Send on who may be able to spend now, whom IAM refused to delete while a policy is attached, and API keys."""
        iam, by_iam = ["aws.iam"], {"eventSource": ["iam.amazonaws.com"]}
        self._rule(
            "IamChanges",
            "somebody may be able to spend, or touched the brake.",
            iam,
            by_iam | self._by_others(iam_events.HEARD),
            changes,
        )
        refused = {"eventName": [*iam_events.DELETIONS], "errorCode": [*iam_events.REFUSED]}
        self._rule("RefusedDeletes", "IAM refused to delete somebody.", iam, by_iam | refused, refused_deletes)
        made = by_iam | self._by_others(iam_events.KEY_CREATIONS)
        self._rule("Keys", "a key that can call Bedrock was made or activated.", iam, made, keys)

    def _by_others(self, names: Sequence[str]) -> dict[str, Any]:
        return {"eventName": [*names], **succeeded_for_others(self, self._settings)}

    def _rule(
        self,
        construct_id: str,
        what: str,
        source: list[str],
        detail: Mapping[str, Any],
        target: events.IRuleTarget,
    ) -> None:
        events.Rule(
            self,
            construct_id,
            description=f"Spend guardrail {self._settings.prefix}: {what}",
            event_pattern=events.EventPattern(
                # Of this account alone, as for the tripwires.
                account=[Stack.of(self).account],
                source=source,
                detail_type=[iam_events.DETAIL_TYPE],
                detail=detail,
            ),
            targets=[target],
        )
