"""Self-watch: the function that looks at the guardrail itself, and what it hears of."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from aws_cdk import CustomResource, Duration, Stack
from aws_cdk import aws_budgets as budgets_
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from lambdas.core import iam_events
from lambdas.core.concurrency import MUST_RUN
from lambdas.core.health import Expected, ExpectedBudget, Rung
from lambdas.core.own_edits import CLOUDFORMATION, EVERYWHERE, GLOBAL, WATCHED
from lambdas.core.silence import alarm_name
from lambdas.handlers import watch
from lambdas.settings import Settings
from stacks.alarms import faults as faults_of
from stacks.functions import Faults, GuardrailFunction, Retries
from stacks.grants import Reach
from stacks.triggers import AlarmRule, succeeded_for_others

_UNUSED = (
    "SWEEP_POLICY_ARN",
    "DENY_POLICY_ARN",
    "WRITER_FUNCTION",
    "BUDGET_NAME",
    "DAILY_BUDGET_NAME",
    "BUDGET_ACTION_ID",
    "ANOMALY_MONITOR_ARN",
    "ANOMALY_USD",
    "STOP_FUNCTION",
    "RELEASE_FUNCTION",
    "INLINE_FUNCTION",
)
"""Variables that the function does without: all of them share 4 KB with what was deployed."""


@dataclass(frozen=True, slots=True)
class MustRun:
    """The functions concurrency is reserved for, the most important first."""

    kill: lambda_.IFunction
    stop: lambda_.IFunction
    meter: lambda_.IFunction
    release: lambda_.IFunction
    writer: lambda_.IFunction

    @property
    def reserved(self) -> dict[lambda_.IFunction, int]:
        """How many of each may always run."""
        return {getattr(self, name): number for name, number in MUST_RUN.items()}


class Watch(Construct):
    """The function, its hourly clock, the alarms of other regions, and those who edit what is the guardrail's."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        satellites: Sequence[str],
        budget_topic: sns.ITopic,
        must_run: MustRun,
        code: lambda_.Code,
        reach: Reach,
        environment: Mapping[str, str],
        faults: Faults,
    ) -> None:
        """Make them. The function also reserves concurrency, when it is deployed and each hour."""
        super().__init__(scope, construct_id)
        reserved = {each.function_name: number for each, number in must_run.reserved.items()}
        expected = Expected(
            Stack.of(self).stack_name, tuple(satellites), tuple(_budgets(Stack.of(self), budget_topic)), reserved
        )
        self.function = GuardrailFunction(
            self,
            "Function",
            handler=watch,
            code=code,
            description="Looks each hour whether the guardrail itself is as it should be.",
            statements=replace(
                reach, reserved_function_arns=tuple(each.function_arn for each in must_run.reserved)
            ).statements(Stack.of(self), watch.USES),
            environment={
                **{name: value for name, value in environment.items() if name not in _UNUSED},
                "DEPLOYED": json.dumps(expected.to_json(), separators=(",", ":")),
            },
            role_path=settings.own_path,
            timeout=Duration.minutes(5),
            faults=faults,
            # What CloudTrail and EventBridge tell, they tell once.
            retries=Retries(2),
            function_name=f"{settings.prefix}-watch",
        ).function
        target = targets.LambdaFunction(self.function, dead_letter_queue=faults.undelivered)
        events.Rule(
            self,
            "Hourly",
            schedule=events.Schedule.rate(Duration.hours(1)),
            # The next hour is the retry.
            targets=[
                targets.LambdaFunction(
                    self.function,
                    retry_attempts=0,
                    max_event_age=Duration.minutes(1),
                    dead_letter_queue=faults.undelivered,
                )
            ],
        )
        AlarmRule(
            self,
            "Elsewhere",
            description=f"Spend guardrail {settings.prefix}: something is wrong in another region.",
            alarms=faults_of(settings),
            target=target,
            elsewhere=True,
        )
        OwnEdits(self, "Edits", settings=settings, services=WATCHED, target=target)
        CustomResource(
            self,
            "Reserved",
            resource_type="Custom::BedrockSpendReserved",
            service_token=self.function.function_arn,
            service_timeout=Duration.minutes(6),
            properties={"Reserved": json.dumps(expected.to_json()["reserved"], separators=(",", ":"))},
        )


def _budgets(stack: Stack, topic: sns.ITopic) -> Iterator[ExpectedBudget]:
    """Yield the budgets of the stack as its template has them, all of which notify a topic."""
    for each in stack.node.find_all():
        if isinstance(each, budgets_.CfnBudget):
            limit = stack.resolve(each.budget)["budgetLimit"]
            notified = [one["notification"] for one in stack.resolve(each.notifications_with_subscribers)]
            rungs = (Rung(one["notificationType"], Decimal(str(one["threshold"]))) for one in notified)
            yield ExpectedBudget(each.ref, Decimal(str(limit["amount"])), tuple(rungs), topic.topic_arn)


class OwnEdits(Construct):
    """Carry to a target who changes the guardrail's own functions, rules, alarms, topics, queues, ledger and budgets.

    Neither the guardrail itself does, nor CloudFormation, by which it is deployed. Needs a CloudTrail trail.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        services: Iterable[str],
        target: events.IRuleTarget,
    ) -> None:
        """Listen to calls of these services, as CloudTrail spells them."""
        super().__init__(scope, construct_id)
        by_others = succeeded_for_others(self, settings)
        for service in services:
            watched = WATCHED[service]
            named = _named(self, settings.prefix, service)
            events.Rule(
                self,
                service.title(),
                description=f"Spend guardrail {settings.prefix}: somebody changed one of its {watched.thing}s.",
                event_pattern=events.EventPattern(
                    account=[Stack.of(self).account],
                    source=[f"aws.{service}"],
                    detail_type=[iam_events.DETAIL_TYPE],
                    detail={
                        "eventSource": [f"{service}.amazonaws.com"],
                        # Lambda adds a version to the names of its calls.
                        "eventName": [{"prefix": each} for each in watched.calls],
                        **by_others,
                        "sourceIPAddress": [{"anything-but": [CLOUDFORMATION]}],
                        **({"requestParameters": named} if named else {}),
                    },
                ),
                targets=[target],
            )


def elsewhere(region: str) -> tuple[str, ...]:
    """Return the services of which there are things of ours, or events, in a region that is not home."""
    return (*EVERYWHERE, *(GLOBAL if region == iam_events.REGION else ()))


def _named(scope: Construct, prefix: str, service: str) -> dict[str, Any]:
    """Match what is named like ours, as far as a pattern can tell; the function looks closely."""
    stack = Stack.of(scope)
    plain: list[Any] = [{"prefix": f"{prefix}-"}]
    of_topic = [{"prefix": f"arn:{stack.partition}:sns:{stack.region}:{stack.account}:{prefix}-"}]
    patterns: dict[str, dict[str, Any]] = {
        "lambda": {"functionName": [*plain, {"wildcard": f"*:function:{prefix}-*"}]},
        "events": {"$or": [{"name": plain}, {"rule": plain}]},
        "monitoring": {
            "$or": [{"alarmName": plain}, {"alarmNames": plain}, {"muteTargets": {"alarmNames": plain}}],
        },
        "sns": {"$or": [{"topicArn": of_topic}, {"subscriptionArn": of_topic}]},
        "sqs": {"queueUrl": [{"wildcard": f"*/{prefix}-*"}]},
        "dynamodb": {"tableName": [*plain, {"wildcard": f"*:table/{prefix}-*"}]},
        # Their names are CloudFormation's, and few call it.
        "budgets": {},
    }
    return patterns[service]


class SilenceRule(AlarmRule):
    """Has the account stopped when the meter has fallen silent."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, target: events.IRuleTarget) -> None:
        """Listen to the heartbeat alarm."""
        super().__init__(
            scope,
            construct_id,
            description=f"Spend guardrail {settings.prefix}: nobody counts what is spent, so it is stopped.",
            alarms=[alarm_name(settings.prefix)],
            target=target,
        )
