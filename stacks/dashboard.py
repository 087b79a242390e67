"""The dashboard: one screen that says how it stands, and under it the graphs behind that."""

from collections.abc import Mapping, Sequence

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct, IConstruct

from lambdas.aws.cloudwatch import PLANES, Plane
from lambdas.core.limits import Limit
from lambdas.core.windows import Window
from lambdas.settings import Settings
from stacks.functions import GuardrailFunction

_WIDTH = 24
_MINUTE, _FIVE_MINUTES = Duration.minutes(1), Duration.minutes(5)
_CALLS = {
    "AWS/Bedrock": ("Invocations", "InvocationThrottles", "InvocationClientErrors", "InvocationServerErrors"),
    "AWS/BedrockMantle": ("Inferences", "InferenceClientErrors"),
}
"""The metrics of a plane that count calls; without dimensions they are those of the whole account."""


class Dashboard(Construct):
    """Named by the prefix. It draws AWS's own metrics and those the meter publishes anyway: none is paid for it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        status: lambda_.IFunction,
    ) -> None:
        """Make the dashboard, with the functions and alarms made so far; ``status`` draws its widget."""
        super().__init__(scope, construct_id)
        home = Stack.of(self).region
        regions = settings.regions or (home,)
        dashboard = cloudwatch.Dashboard(
            self, "Dashboard", dashboard_name=settings.prefix, default_interval=Duration.hours(12)
        )
        dashboard.add_widgets(
            cloudwatch.CustomWidget(
                function_arn=status.function_arn,
                title="Bedrock spend guardrail",
                width=_WIDTH,
                height=9,
                update_on_refresh=True,
                # It says how it is now, whatever time the graphs show and however wide it is.
                update_on_resize=False,
                update_on_time_range_change=False,
            )
        )
        dashboard.add_widgets(*(_spend(each, _WIDTH // len(settings.limits)) for each in settings.limits))
        dashboard.add_widgets(_tokens(regions), _calls(regions))
        dashboard.add_widgets(
            _meter(),
            _failures(_functions(self)),
            cloudwatch.AlarmStatusWidget(
                title="Alarms that mean a fault",
                alarms=_alarms_of_faults(self),
                width=_WIDTH // 3,
                height=6,
                sort_by=cloudwatch.AlarmStatusWidgetSortBy.STATE_UPDATED_TIMESTAMP,
            ),
        )
        CfnOutput(
            Stack.of(self),
            "DashboardConsole",
            value=f"https://{home}.console.aws.amazon.com/cloudwatch/home?region={home}#dashboards/dashboard/"
            f"{settings.prefix}",
        )


def _functions(scope: IConstruct) -> dict[str, lambda_.IFunction]:
    made = (each for each in Stack.of(scope).node.find_all() if isinstance(each, GuardrailFunction))
    return {each.node.id.lower(): each.function for each in made}


def _alarms_of_faults(scope: IConstruct) -> list[cloudwatch.IAlarm]:
    """Return the alarms that tell a person; the others only wake the meter, and mean no harm in ALARM."""
    stack = Stack.of(scope)
    return [
        each
        for each in stack.node.find_all()
        if isinstance(each, cloudwatch.Alarm)
        and isinstance(resource := each.node.default_child, cloudwatch.CfnAlarm)
        and stack.resolve(resource.alarm_actions)
    ]


def _spend(limit: Limit, width: int) -> cloudwatch.GraphWidget:
    name = "BurnUsdPerMinute" if limit.window is Window.MINUTE else f"Spend{limit.window.capitalize()}Usd"
    warn = limit.ladder.warn
    lines = [cloudwatch.HorizontalAnnotation(value=float(limit.usd), label="limit", color=cloudwatch.Color.RED)]
    if warn is not None:
        value = float(limit.usd * warn / 100)
        lines.append(cloudwatch.HorizontalAnnotation(value=value, label="warning", color=cloudwatch.Color.ORANGE))
    return cloudwatch.GraphWidget(
        title=f"USD against {limit}",
        left=[_published(name)],
        left_annotations=lines,
        left_y_axis=cloudwatch.YAxisProps(min=0, label="USD", show_units=False),
        legend_position=cloudwatch.LegendPosition.HIDDEN,
        width=width,
        height=6,
    )


def _tokens(regions: Sequence[str]) -> cloudwatch.GraphWidget:
    searched = [_search(plane, region) for plane in PLANES.values() for region in regions]
    return cloudwatch.GraphWidget(
        title="Tokens and images by model",
        left=searched,
        left_y_axis=cloudwatch.YAxisProps(min=0, show_units=False),
        legend_position=cloudwatch.LegendPosition.RIGHT,
        stacked=True,
        width=_WIDTH // 2,
        height=7,
    )


def _search(plane: Plane, region: str) -> cloudwatch.MathExpression:
    """Return whatever a plane counts in a region, model by model; which models there are, only CloudWatch knows."""
    names = " OR ".join(f'"{each}"' for each in plane.kinds)
    return cloudwatch.MathExpression(
        expression=f"SEARCH('{{{plane.namespace},{','.join(plane.dimensions)}}} MetricName=({names})', 'Sum', 300)",
        label=f"{region} ${{PROP('Dim.{plane.model_dimension}')}} ${{PROP('MetricName')}}",
        period=_FIVE_MINUTES,
        search_region=region,
        using_metrics={},
    )


def _calls(regions: Sequence[str]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title="Calls of Bedrock, their errors and throttles",
        left=[
            cloudwatch.Metric(
                namespace=namespace,
                metric_name=name,
                statistic="Sum",
                period=_FIVE_MINUTES,
                region=region,
                label=f"{region} {name}",
            )
            for namespace, names in _CALLS.items()
            for name in names
            for region in regions
        ],
        left_y_axis=cloudwatch.YAxisProps(min=0, show_units=False),
        legend_position=cloudwatch.LegendPosition.RIGHT,
        width=_WIDTH // 2,
        height=7,
    )


def _meter() -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title="The meter: age of its last full read, share guessed, gaps",
        left=[_published("AgeSeconds")],
        left_y_axis=cloudwatch.YAxisProps(min=0, label="seconds", show_units=False),
        right=[_published("GuessedPercent"), _published("Gaps")],
        right_y_axis=cloudwatch.YAxisProps(min=0, show_units=False),
        width=_WIDTH // 3,
        height=6,
    )


def _failures(functions: Mapping[str, lambda_.IFunction]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title="Errors and throttles of the guardrail's own functions",
        left=[
            metric(statistic="Sum", period=_FIVE_MINUTES, label=f"{name} {word}")
            for name, each in functions.items()
            for word, metric in (("errors", each.metric_errors), ("throttles", each.metric_throttles))
        ],
        left_y_axis=cloudwatch.YAxisProps(min=0, show_units=False),
        legend_position=cloudwatch.LegendPosition.HIDDEN,
        width=_WIDTH // 3,
        height=6,
    )


def _published(name: str) -> cloudwatch.Metric:
    """Return a metric of the meter; it publishes while Bedrock is in use."""
    return cloudwatch.Metric(
        namespace="BedrockSpendGuardrail",
        metric_name=name,
        dimensions_map={"service": "meter"},
        statistic="Maximum",
        period=_MINUTE,
        label=name,
    )
