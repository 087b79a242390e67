"""Alarms: on the guardrail itself, on what is spent, and on tokens, should the clock fail.

Each is named ``{prefix}-{slug}``. Its description says what it means, what to do first, and names its runbook. Those
that mean a fault mail by themselves in the home region. An alarm that goes back to OK does nothing, ever.
"""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as cloudwatch_actions
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct, IDependable

from lambdas.aws.cloudwatch import PLANES, Plane
from lambdas.core.prices import PriceTable
from lambdas.core.thresholds import most_a_minute
from lambdas.core.usage import Kind
from lambdas.core.windows import Window
from lambdas.settings import Settings
from stacks.configuration import Configuration

_MINUTE = Duration.minutes(1)
_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
_NOT_BREACHING = cloudwatch.TreatMissingData.NOT_BREACHING
_IGNORE = cloudwatch.TreatMissingData.IGNORE


def described(means: str, first: str, runbook: str) -> str:
    """Return the description of an alarm, as the mail shows it: what it means, what to do first, where more stands."""
    return f"{means} {first} Runbook: docs/runbooks/{runbook}.md"


class FunctionAlarms(Construct):
    """Errors and throttles of a function."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        function: lambda_.IFunction,
        name: str,
        purpose: str,
        topic: sns.ITopic,
    ) -> None:
        """Make both, named ``{name}-errors`` and ``{name}-throttles``."""
        super().__init__(scope, construct_id)
        tell = cloudwatch_actions.SnsAction(topic)
        function.metric_errors(period=_MINUTE, statistic="Sum").create_alarm(
            self,
            "Errors",
            alarm_name=f"{name}-errors",
            alarm_description=described(
                f"{purpose} It failed: spend may go on unseen or unstopped.", "Open its log group.", "errors"
            ),
            comparison_operator=_AT_LEAST,
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=_NOT_BREACHING,
        ).add_alarm_action(tell)
        function.metric_throttles(period=_MINUTE, statistic="Sum").create_alarm(
            self,
            "Throttles",
            alarm_name=f"{name}-throttles",
            alarm_description=described(
                f"{purpose} Lambda would not run it: the account's concurrency is used up.",
                "Find the function that eats it, and give that one less.",
                "throttles",
            ),
            comparison_operator=_AT_LEAST,
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=_NOT_BREACHING,
        ).add_alarm_action(tell)


class Heartbeat(Construct):
    """Rings when the meter has not run for five minutes, whyever: no clock, no concurrency, no function.

    Failing is running; `FunctionAlarms` tells of that.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, meter: lambda_.IFunction, topic: sns.ITopic
    ) -> None:
        """Make the alarm."""
        super().__init__(scope, construct_id)
        alarm = meter.metric_invocations(period=_MINUTE, statistic="Sum").create_alarm(
            self,
            "Alarm",
            alarm_name=settings.alarm("heartbeat"),
            alarm_description=described(
                "The meter of the spend guardrail has not run for five minutes: nobody is counting.",
                "Look whether its rule of one minute is enabled; should Bedrock be in use, stop it by hand.",
                "heartbeat",
            ),
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            threshold=1,
            evaluation_periods=5,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
        )
        alarm.add_alarm_action(cloudwatch_actions.SnsAction(topic))
        # A meter that has only just been deployed is not silent, and an account must not be stopped for that. After
        # five minutes of data the alarm begins by itself; without any, when this time is over.
        resource = alarm.node.default_child
        if not isinstance(resource, cloudwatch.CfnAlarm):
            raise TypeError(resource)
        resource.warm_up_configuration = cloudwatch.CfnAlarm.WarmUpConfigurationProperty(
            warm_up_period_duration_in_minutes=10, only_start_evaluating_after_warm_up_period_ends=False
        )


class TokenAlarms(Construct):
    """Alarms of one region on the units of each kind and plane in a minute: in all, and of any one model.

    They have no actions: `AlarmRule` wakes the meter with them, whether or not the clock does. CloudWatch looks each
    minute, so a burst rings within two of its beginning, but for the time until CloudWatch has the tokens: a minute or
    two, and a stream is counted when it ends. One minute of the last three is enough, for what comes late changes
    a minute that was evaluated already. An alarm that is up does not ring again; in those by model each model rings for
    itself, and the events carry its name.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        """Make two alarms for each kind of each plane."""
        super().__init__(scope, construct_id)
        for (word, kind), threshold in _thresholds(settings).items():
            plane = _PLANES[word]
            # The current name of a metric; those after it are what it was called before.
            metric = next(name for name, each in plane.kinds.items() if each is kind)
            schema = ", ".join([f'"{plane.namespace}"', *plane.dimensions])
            everything = f"SELECT SUM({metric}) FROM SCHEMA({schema})"  # noqa: S608 - of CloudWatch, from constants
            by_model = f"{everything} GROUP BY {plane.model_dimension} ORDER BY SUM() DESC"
            for suffix, of, query in (("", "", everything), (BY_MODEL, " of one model", by_model)):
                slug = f"{_token_slug(word, kind)}{suffix}"
                cloudwatch.Alarm(
                    self,
                    slug,
                    alarm_name=settings.alarm(slug),
                    alarm_description=described(
                        f"No fault: more than {threshold} {_UNITS[kind]} a minute{of} in this region "
                        f"({plane.namespace} {metric}). At the dearest price that is this alarm's share of a burst.",
                        "Nothing to do: it wakes the meter, which knows the price.",
                        "tokens",
                    ),
                    metric=cloudwatch.MathExpression(expression=query, period=_MINUTE, using_metrics={}),
                    comparison_operator=_ABOVE,
                    threshold=threshold,
                    evaluation_periods=3,
                    datapoints_to_alarm=1,
                    treat_missing_data=_NOT_BREACHING,
                )


BY_MODEL = "-by-model"
_PLANES: Mapping[str, Plane] = {"bedrock": PLANES["AWS/Bedrock"], "mantle": PLANES["AWS/BedrockMantle"]}
_UNITS = {
    Kind.INPUT: "input tokens",
    Kind.MIXED_INPUT: "input tokens",
    Kind.OUTPUT: "output tokens",
    Kind.CACHE_READ: "tokens read from a cache",
    Kind.CACHE_WRITE: "tokens written to a cache",
    Kind.IMAGE: "images",
}


def _thresholds(settings: Settings) -> Mapping[tuple[str, Kind], int]:
    """Return by plane and kind the most units a minute of a region that no token alarm rings at.

    The prices are those this was synthesized with: deploy again when AWS sells something dearer.
    """
    counted = [(word, kind) for word, plane in _PLANES.items() for kind in dict.fromkeys(plane.kinds.values())]
    prices = PriceTable.load(pricing=settings.pricing)
    most = most_a_minute(
        settings.limits, prices.ceiling(prices.as_of), [kind for _, kind in counted], regions=len(settings.watched)
    )
    return {(word, kind): most[kind] for word, kind in counted if kind in most}


def token_alarms(configuration: Configuration) -> list[str]:
    """Return the names of a watched region's token alarms; none unless they are asked for."""
    settings = configuration.settings
    if not (configuration.token_alarms and settings.watched):
        return []
    return [
        settings.alarm(f"{_token_slug(*each)}{suffix}") for each in _thresholds(settings) for suffix in ("", BY_MODEL)
    ]


def _token_slug(word: str, kind: Kind) -> str:
    return f"tokens-{word}-{'input' if kind is Kind.MIXED_INPUT else kind}"


class LogDelivery(Construct):
    """Ring when Bedrock fails to deliver a region's invocation log, to CloudWatch Logs or to S3.

    One each: a sum over a metric that never had data may have no data either.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        """Make an alarm for each destination."""
        super().__init__(scope, construct_id)
        self.alarms = [
            cloudwatch.Alarm(
                self,
                where,
                alarm_name=settings.alarm(slug),
                alarm_description=described(
                    f"Bedrock could not deliver its invocation log to {where} in this region: who called what is lost. "
                    "The spend guardrail itself does not need it.",
                    "Look at the role and the destination in Bedrock's settings.",
                    "log-delivery",
                ),
                metric=cloudwatch.Metric(
                    namespace="AWS/Bedrock",
                    metric_name=f"ModelInvocationLogs{where}DeliveryFailure",
                    statistic="Sum",
                    period=_MINUTE,
                ),
                comparison_operator=_ABOVE,
                threshold=0,
                evaluation_periods=3,
                datapoints_to_alarm=1,
                treat_missing_data=_NOT_BREACHING,
            )
            for slug, where in LOG_DELIVERY.items()
        ]


LOG_DELIVERY = {"log-delivery-cloudwatch": "CloudWatch", "log-delivery-s3": "S3"}
"""Where Bedrock's invocation log goes, by the alarm's slug."""
UNDELIVERED = "undelivered"


def faults(settings: Settings) -> list[str]:
    """Return the names of the alarms that mean a fault and may ring in any region."""
    return [settings.alarm(slug) for slug in (UNDELIVERED, *LOG_DELIVERY)]


class DollarAlarms(Construct):
    """A second opinion on the meter's own figures: should it see a limit reached and not act on it, these tell.

    They stop nothing. They mail, and wake the meter by `AlarmRule`. An allowance does not raise them.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, topic: sns.ITopic) -> None:
        """Make an alarm for each limit."""
        super().__init__(scope, construct_id)
        for limit in settings.limits:
            cloudwatch.Alarm(
                self,
                limit.window.title(),
                alarm_name=settings.alarm(_limit_slug(limit.window)),
                alarm_description=described(
                    f"The meter of the spend guardrail shows the limit of {limit} reached. Bedrock should be stopped.",
                    f"Run {settings.prefix}-status: it says whether it is.",
                    "limits",
                ),
                metric=cloudwatch.Metric(
                    namespace="BedrockSpendGuardrail",
                    metric_name=_figure(limit.window),
                    dimensions_map={"service": "meter"},
                    statistic="Maximum",
                    period=_MINUTE,
                ),
                comparison_operator=_AT_LEAST,
                threshold=float(limit.usd),
                evaluation_periods=1,
                # Nothing is published while nothing moves; what was spent is spent all the same.
                treat_missing_data=_IGNORE,
            ).add_alarm_action(cloudwatch_actions.SnsAction(topic))


def dollar_alarms(settings: Settings) -> list[str]:
    """Return the names of the alarms on the limits."""
    return [settings.alarm(_limit_slug(each.window)) for each in settings.limits]


def _limit_slug(window: Window) -> str:
    return f"limit-{window}"


def _figure(window: Window) -> str:
    """Return the metric's name, as `metering.Tick.figures` has it."""
    return "BurnUsdPerMinute" if window is Window.MINUTE else f"Spend{window.capitalize()}Usd"


class RegionAlarms(Construct):
    """What the configuration may ask for in each region: alarms on tokens, and on the delivery of the log."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        configuration: Configuration,
        rule: events.Rule,
        topic: sns.ITopic | None = None,
    ) -> None:
        """Make them after the rule that carries them; in the home region faults mail by themselves."""
        super().__init__(scope, construct_id)
        if configuration.token_alarms:
            TokenAlarms(self, "Tokens", settings=configuration.settings)
        if configuration.log_alarms:
            delivery = LogDelivery(self, "LogDelivery", settings=configuration.settings)
            if topic:
                for each in delivery.alarms:
                    each.add_alarm_action(cloudwatch_actions.SnsAction(topic))
        self.node.add_dependency(rule)


class HomeAlarms(Construct):
    """What rings in the home region alone, on the meter and its figures; and what it has as a region among others."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        configuration: Configuration,
        meter: lambda_.IFunction,
        clock: IDependable,
        rule: events.Rule,
        topic: sns.ITopic,
    ) -> None:
        """Make them after the clock and the rule: a meter that nothing wakes yet, or no more, is not silent."""
        super().__init__(scope, construct_id)
        settings = configuration.settings
        Heartbeat(self, "Heartbeat", settings=settings, meter=meter, topic=topic)
        DollarAlarms(self, "Dollars", settings=settings, topic=topic)
        if configuration.home in settings.watched:
            RegionAlarms(self, "Region", configuration=configuration, rule=rule, topic=topic)
        self.node.add_dependency(clock, rule)
