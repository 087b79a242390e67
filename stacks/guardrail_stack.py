"""The stack: wires the parts together."""

from types import ModuleType

from aws_cdk import Annotations, CfnOutput, CustomResource, Duration, Stack
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from lambdas.core.errors import GuardrailError
from lambdas.handlers import arm, crosscheck, disarm, inline, inventory, kill, meter, prices, release, status, stop
from lambdas.settings import VARIABLE
from stacks.asset import lambda_code
from stacks.brake import Brake
from stacks.budget import BedrockBudget
from stacks.configuration import Configuration
from stacks.functions import GuardrailFunction
from stacks.grants import Reach
from stacks.ledger import Ledger
from stacks.triggers import CallRules, Clock, TripwireRule, Tripwires

_MAX_VARIABLE = 3000


class GuardrailStack(Stack):
    """The whole guardrail of one account."""

    def __init__(self, scope: Construct, construct_id: str, *, configuration: Configuration) -> None:
        """Make everything the configuration describes. Raises GuardrailError when it does not fit AWS's limits."""
        super().__init__(
            scope, construct_id, description="Bedrock spend guardrail: meters Bedrock and stops it at a limit."
        )
        self._settings = settings = configuration.settings
        self._code = lambda_code()
        self._notices = sns.Topic(self, "Notices", display_name="Bedrock spend guardrail")
        if not configuration.emails:
            Annotations.of(self).add_warning_v2(
                "bedrock-spend:nobody-is-told", "guardrail.toml: emails = []: nobody is mailed when Bedrock is stopped"
            )
        if settings.regions and not settings.watched:
            Annotations.of(self).add_warning_v2(
                "bedrock-spend:no-tripwires",
                "the region to deploy to is not known (set AWS_REGION), so no region gets tripwires: the meter looks "
                "at each of them every minute, which costs about $1.75 a region and month, and hears of IAM changes "
                "once an hour unless it is deployed to us-east-1",
            )
        for email in configuration.emails:
            self._notices.add_subscription(subscriptions.EmailSubscription(email))

        ledger = Ledger(self, "Ledger", keep=configuration.keep_ledger)
        budget = BedrockBudget(self, "Budget", monthly_usd=configuration.budget_usd, ladder=settings.budget)
        brake = Brake(
            self,
            "Brake",
            settings=settings,
            settings_text=self._settings_text(),
            ledger=ledger.table,
            code=self._code,
            alarm_topic=self._notices,
        )
        self._reach = Reach(
            brake.arn,
            brake.sweep_arn,
            settings.own_path,
            settings.exempt,
            exempt_tag=settings.exempt_tag,
            ledger_arn=ledger.table.table_arn,
            notice_topic_arn=self._notices.topic_arn,
            budget_arn=budget.arn,
            deny_arn=brake.deny_arn,
            writer_function_arn=brake.writer.function.function_arn,
            external_anthropic=settings.external_anthropic,
            gateways=settings.gateway_percent is not None,
            irreversible=settings.work.irreversible,
            allow_policies=settings.allow_policies(self.account),
            organization_role_arn=settings.organization.role_arn if settings.organization else "",
            inline_function_arn=self._function_arn("inline") if settings.inline_deny else "",
            stop_function_arn=self._function_arn("stop"),
            release_function_arn=self._function_arn("release"),
        )
        self._environment = {
            VARIABLE: self._settings_text(),
            "BRAKE_POLICY_ARN": brake.arn,
            "SWEEP_POLICY_ARN": brake.sweep_arn,
            "DENY_POLICY_ARN": brake.deny_arn,
            "WRITER_FUNCTION": brake.writer.function.function_name,
            "NOTICE_TOPIC_ARN": self._notices.topic_arn,
            "LEDGER_TABLE": ledger.table.table_name,
            "BUDGET_NAME": budget.name,
            # By their names, for they ask one another, and the stop function itself, to go on.
            "STOP_FUNCTION": f"{settings.prefix}-stop",
            "RELEASE_FUNCTION": f"{settings.prefix}-release",
            # By way of the custom resource: no function of the brake exists before the brake does.
            "STOP_BY_HAND": brake.stop_by_hand,
        }
        if settings.inline_deny:
            self._environment["INLINE_FUNCTION"] = f"{settings.prefix}-inline"

        long, short = Duration.minutes(15), Duration.minutes(2)
        # Budgets speaks once a month per rung, so what it asked for is tried again.
        stop_function = self._function(
            "Stop", stop, "Stops Bedrock on the word of the meter or AWS Budgets.", long, 2, named=True
        )
        kill_function = self._function(
            "Kill", kill, "EMERGENCY: stops all Bedrock spend. Test it with any event.", long, named=True
        )
        release_function = self._function(
            "Release", release, 'Releases the brake: {"confirm": "RELEASE", "reason": "..."}.', long, named=True
        )
        status_function = self._function(
            "Status", status, "Tells how Bedrock spend and the brake stand.", short, named=True
        )
        meter_function = self._function("Meter", meter, "Measures Bedrock spend each minute.", short, memory=1024)
        arm_function = self._function("Arm", arm, "Attaches the brake policy to those who can spend.", long, 2)
        # Tried again, for somebody waits for it, and CloudTrail tells it once.
        disarm_function = self._function("Disarm", disarm, "Takes the brake off whom somebody deletes.", short, 2)
        crosscheck_function = self._function(
            "Crosscheck", crosscheck, "Compares the meter with Cost Explorer, once a day.", short
        )
        inventory_function = self._function(
            "Inventory", inventory, "Finds what costs without showing in the token metrics.", Duration.minutes(5)
        )
        prices_function = self._function(
            "Prices", prices, "Refreshes the prices from AWS, once a week.", long, named=True, memory=1024
        )

        budget.topic.add_subscription(subscriptions.LambdaSubscription(stop_function.function))
        clock = Clock(
            self,
            "Clock",
            every={
                "Meter": (Duration.minutes(1), meter_function.function),
                "Arm": (Duration.hours(1), arm_function.function),
                "Crosscheck": (Duration.days(1), crosscheck_function.function),
                "Inventory": (Duration.minutes(15), inventory_function.function),
                "Prices": (Duration.hours(12), prices_function.function),
            },
        )
        tripped = TripwireRule(
            self, "Tripped", settings=settings, target=targets.LambdaFunction(meter_function.function)
        )
        calls = CallRules(self, "Calls", settings=settings, creations=targets.LambdaFunction(meter_function.function))
        calls.add_iam(
            changes=targets.LambdaFunction(arm_function.function),
            refused_deletes=targets.LambdaFunction(disarm_function.function),
            keys=targets.LambdaFunction(meter_function.function),
        )
        if configuration.home in settings.watched:
            Tripwires(self, "Tripwires", settings=settings, rule=tripped)
        put_back = CustomResource(
            self,
            "PutBack",
            resource_type="Custom::BedrockSpendPutBack",
            service_token=release_function.function.function_arn,
            service_timeout=Duration.minutes(16),
        )
        # When the stack goes, everything is put back while there is still everything to do it with.
        put_back.node.add_dependency(brake.policies, ledger.table)
        if settings.inline_deny:
            inline_function = self._function(
                "Inline", inline, "Writes an inline deny on roles without a free policy slot.", short, named=True
            )
            put_back.node.add_dependency(inline_function.function)
        CustomResource(
            self,
            "Armed",
            resource_type="Custom::BedrockSpendArmed",
            service_token=arm_function.function.function_arn,
            service_timeout=Duration.minutes(16),
            properties={"Settings": self._settings_text()},
        )
        for waking in (clock, tripped, calls):
            # Woken only while the policies are there, so that nothing is attached again while the stack goes.
            waking.node.add_dependency(brake.policies, put_back)

        self._outputs(brake, ledger, budget, kill_function, release_function, status_function)

    def _function_arn(self, word: str) -> str:
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{self._settings.prefix}-{word}"

    def _settings_text(self) -> str:
        text = self._settings.to_json()
        if len(text) > _MAX_VARIABLE:
            msg = (
                f"guardrail.toml: exempt.principals, regions: {len(text)} characters of settings, a function's "
                f"environment holds {_MAX_VARIABLE}: shorten the lists with *"
            )
            raise GuardrailError(msg)
        return text

    def _function(
        self,
        construct_id: str,
        handler: ModuleType,
        description: str,
        timeout: Duration,
        retries: int = 0,
        *,
        named: bool = False,
        memory: int = 512,
    ) -> GuardrailFunction:
        return GuardrailFunction(
            self,
            construct_id,
            handler=handler,
            code=self._code,
            description=description,
            statements=self._reach.statements(self, handler.USES),
            environment=self._environment,
            role_path=self._settings.own_path,
            timeout=timeout,
            alarm_topic=self._notices,
            retry_attempts=retries,
            memory_size=memory,
            function_name=f"{self._settings.prefix}-{construct_id.lower()}" if named else None,
        )

    def _outputs(self, brake: Brake, ledger: Ledger, budget: BedrockBudget, *functions: GuardrailFunction) -> None:
        console = f"https://{self.region}.console.aws.amazon.com/lambda/home?region={self.region}#/functions"
        outputs = {
            "Mode": "enforce" if self._settings.enforce else "report-only",
            "Limits": ", ".join(map(str, self._settings.limits)),
            "BrakePolicyArn": brake.arn,
            "SweepPolicyArn": brake.sweep_arn,
            "NoticeTopicArn": self._notices.topic_arn,
            "BudgetTopicArn": budget.topic.topic_arn,
            "BudgetName": budget.name,
            "LedgerTable": ledger.table.table_name,
            "StopByHand": brake.stop_by_hand,
        }
        for each in functions:
            outputs[f"{each.node.id}Function"] = each.function.function_name
            outputs[f"{each.node.id}Console"] = f"{console}/{each.function.function_name}?tab=testing"
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
