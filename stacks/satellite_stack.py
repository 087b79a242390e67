"""The stack of a region that has something to tell the home region: tripwires, and what CloudTrail sees there."""

from aws_cdk import BootstraplessSynthesizer, DefaultStackSynthesizer, Environment, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from lambdas.core import iam_events
from lambdas.settings import Settings
from stacks.triggers import CallRules, TripwireRule, Tripwires


class SatelliteStack(Stack):
    """Tells the home region when Bedrock is called in this one. It holds no function and no data."""

    def __init__(self, scope: Construct, *, settings: Settings, region: str, home: str) -> None:
        """Make the tripwires of a region, and the rules that forward what is heard to the home region's default bus.

        The region where IAM's events appear has a stack even if it is not metered: then without tripwires, which cost.
        """
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
        target = targets.EventBus(bus, role=role)
        calls = CallRules(self, "Calls", settings=settings, creations=target)
        if region == iam_events.REGION:
            calls.add_iam(changes=target, refused_deletes=target, keys=target)
        calls.node.add_dependency(role)
        if region in settings.watched:
            rule = TripwireRule(self, "Tripped", settings=settings, target=target)
            rule.node.add_dependency(role)
            Tripwires(self, "Tripwires", settings=settings, rule=rule)


def _of(home: str, bootstrap_role: str) -> str:
    return bootstrap_role.replace("${AWS::Region}", home)
