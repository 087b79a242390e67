"""The stack of a region that has something to tell the home region: alarms, and what CloudTrail sees there."""

from aws_cdk import BootstraplessSynthesizer, DefaultStackSynthesizer, Environment, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from lambdas.core import iam_events
from stacks import anomalies
from stacks.alarms import RegionAlarms, faults, token_alarms
from stacks.configuration import Configuration
from stacks.triggers import AlarmRule, CallRules, Tripwires, tripwires
from stacks.undelivered import Undelivered
from stacks.watch import OwnEdits, elsewhere


class SatelliteStack(Stack):
    """Tells the home region when Bedrock is called in this one, and what is wrong here. It holds no function.

    It keeps no data but events that could not be delivered.
    """

    def __init__(self, scope: Construct, *, configuration: Configuration, region: str, home: str) -> None:
        """Make the alarms of a region, and the rules that forward what is heard to the home region's default bus.

        The region where IAM's events appear has a stack even if it is not metered: then without tripwires, which cost.
        """
        settings = configuration.settings
        super().__init__(
            scope,
            f"{settings.prefix}-watch-{region}",
            description=f"Bedrock spend guardrail: tells {home} what happens in {region}.",
            env=Environment(region=region),
            # No asset, so no bucket: the template goes inline. The roles of `cdk bootstrap` are IAM's and so reach
            # every region; without being named, those of this region would be looked for.
            synthesizer=BootstraplessSynthesizer(
                deploy_role_arn=_of(home, DefaultStackSynthesizer.DEFAULT_DEPLOY_ROLE_ARN),
                cloud_formation_execution_role_arn=_of(home, DefaultStackSynthesizer.DEFAULT_CLOUDFORMATION_ROLE_ARN),
            ),
        )
        role = iam.Role(
            self,
            "Forward",
            path=settings.own_path,
            assumed_by=iam.ServicePrincipal("events.amazonaws.com"),
            description=f"Spend guardrail: forwards what is heard in {region} to {home}.",
        )
        # A bus takes the events of its own account by the sender's role alone. The default bus has no policy, and
        # needs none here: one is for other accounts.
        bus = events.EventBus.from_event_bus_arn(
            self, "Home", f"arn:{self.partition}:events:{home}:{self.account}:event-bus/default"
        )
        undelivered = Undelivered(self, "Undelivered", settings=settings)
        target = targets.EventBus(bus, role=role, dead_letter_queue=undelivered.queue)
        calls = CallRules(self, "Calls", settings=settings, creations=target)
        if region == iam_events.REGION:
            calls.add_iam(changes=target, refused_deletes=target, keys=target)
        watched = region in settings.watched
        rule = AlarmRule(
            self,
            "Tripped",
            description=f"Spend guardrail {settings.prefix}: an alarm rings in this region.",
            alarms=[*(tripwires(settings) + token_alarms(configuration) if watched else []), *faults(settings)],
            target=target,
        )
        edits = OwnEdits(self, "Edits", settings=settings, services=elsewhere(region), target=target)
        for each in (calls, rule, edits):
            each.node.add_dependency(role)
        if region == anomalies.REGION and configuration.anomalies is not None:
            heard = anomalies.Anomalies(
                self, "Anomalies", prefix=settings.prefix, configured=configuration.anomalies
            ).monitor_arn
            told = anomalies.AnomalyRule(self, "Anomaly", prefix=settings.prefix, target=target, monitor_arn=heard)
            told.node.add_dependency(role)
        # No alarm rings unheard.
        undelivered.alarm.node.add_dependency(rule)
        if watched:
            Tripwires(self, "Tripwires", settings=settings, rule=rule)
            RegionAlarms(self, "Alarms", configuration=configuration, rule=rule)


def _of(home: str, bootstrap_role: str) -> str:
    return bootstrap_role.replace("${AWS::Region}", home)
