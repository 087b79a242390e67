"""What the bill has to say, late but independently of the meter: budgets, their own stop, anomalies."""

from aws_cdk import Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from constructs import IDependable

from lambdas.core.errors import GuardrailError
from stacks.anomalies import REGION, Anomalies, AnomalyRule, environment
from stacks.budget import BedrockBudget, NativeStop
from stacks.configuration import Configuration


class Bill:
    """All of it in the home stack. Anomalies are told in one region: elsewhere the stack there passes them on."""

    def __init__(self, stack: Stack, *, configuration: Configuration, key: kms.IKey | None) -> None:
        """Make what is configured. Raises GuardrailError where the home region must be known for it."""
        self._stack, self._configuration = stack, configuration
        settings, anomalies = configuration.settings, configuration.anomalies
        self.budget = BedrockBudget(
            stack,
            "Budget",
            monthly_usd=configuration.budget_usd,
            daily_usd=configuration.daily_budget_usd,
            ladder=settings.budget,
            key=key,
        )
        self.native = None
        if configuration.natively_stopped:
            self.native = NativeStop(
                stack,
                "NativeStop",
                settings=settings,
                principals=configuration.natively_stopped,
                budget=self.budget,
                emails=configuration.emails,
            )
        if anomalies is not None and configuration.home is None:
            msg = (
                "guardrail.toml: anomalies: the region to deploy to is not known (set AWS_REGION): only CloudFormation "
                f"of {REGION} can subscribe to Cost Anomaly Detection, which may take a stack there"
            )
            raise GuardrailError(msg)
        self._anomalies = None
        if anomalies is not None and configuration.home == REGION:
            self._anomalies = Anomalies(stack, "Anomalies", prefix=settings.prefix, configured=anomalies, key=key)

    @property
    def environment(self) -> dict[str, str]:
        """What the functions need to know."""
        known = self.budget.environment | (self.native.environment if self.native is not None else {})
        configured = self._configuration.anomalies
        return known | ({} if configured is None else environment(self._stack, configured, self._anomalies))

    @property
    def acting(self) -> list[IDependable]:
        """What must still be there when everything is put back."""
        return [] if self.native is None else [self.native]

    def listen(self, target: events.IRuleTarget, *after: IDependable) -> None:
        """Have anomalies sent to a target, while there is what must be there before."""
        if self._configuration.anomalies is None:
            return
        # A monitor that another stack made is not known here; what arrives was passed on by the rule there.
        monitor = self._anomalies.monitor_arn if self._anomalies is not None else ""
        prefix = self._configuration.settings.prefix
        rule = AnomalyRule(self._stack, "Anomaly", prefix=prefix, target=target, monitor_arn=monitor)
        rule.node.add_dependency(*after)
