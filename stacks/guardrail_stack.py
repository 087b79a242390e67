"""The stack: wires the parts together."""

from dataclasses import dataclass
from types import ModuleType

from aws_cdk import Annotations, CfnOutput, CustomResource, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from lambdas.handlers import (
    arm,
    crosscheck,
    digest,
    disarm,
    drill,
    inline,
    inventory,
    kill,
    meter,
    prices,
    release,
    share,
    status,
    stop,
)
from lambdas.settings import VARIABLE
from stacks.alarms import HomeAlarms, dollar_alarms, token_alarms
from stacks.asset import lambda_code
from stacks.bill import Bill
from stacks.brake import Brake
from stacks.budget import BedrockBudget
from stacks.canary import Canary
from stacks.configuration import Configuration
from stacks.dashboard import Dashboard
from stacks.encryption import GuardrailKey
from stacks.functions import Faults, GuardrailFunction, Retries, check_environments
from stacks.grants import Reach
from stacks.ledger import Ledger
from stacks.notices import Notices
from stacks.operators import Operators
from stacks.test_events import TestEvents
from stacks.triggers import AlarmRule, CallRules, Clock, Tripwires, tripwires
from stacks.undelivered import Undelivered
from stacks.watch import MustRun, SilenceRule, Watch


@dataclass(frozen=True, slots=True)
class _Functions:
    """The functions that others refer to."""

    stop: GuardrailFunction
    kill: GuardrailFunction
    release: GuardrailFunction
    status: GuardrailFunction
    meter: GuardrailFunction
    arm: GuardrailFunction
    disarm: GuardrailFunction
    digest: GuardrailFunction
    crosscheck: GuardrailFunction
    inventory: GuardrailFunction
    prices: GuardrailFunction


class GuardrailStack(Stack):
    """The whole guardrail of one account."""

    def __init__(self, scope: Construct, construct_id: str, *, configuration: Configuration) -> None:
        """Make everything the configuration describes. Raises GuardrailError when it does not fit AWS's limits."""
        super().__init__(
            scope, construct_id, description="Bedrock spend guardrail: meters Bedrock and stops it at a limit."
        )
        self._settings = settings = configuration.settings
        self._code = lambda_code()
        key = self._key(configuration)
        notices = Notices(
            self,
            "Telling",
            emails=configuration.emails,
            escalate=configuration.escalate,
            chat=settings.telling.chat,
            key=key,
        )
        self._notices = notices.topic
        undelivered = Undelivered(self, "Undelivered", settings=settings, topic=self._notices, key=key).queue
        self._faults = Faults(self._notices, undelivered)
        if settings.regions and not settings.watched:
            Annotations.of(self).add_warning_v2(
                "bedrock-spend:no-tripwires",
                "the region to deploy to is not known (set AWS_REGION), so no region gets tripwires: the meter looks "
                "at each of them every minute, which costs about $1.75 a region and month, and hears of IAM changes "
                "once an hour unless it is deployed to us-east-1",
            )
        ledger = Ledger(self, "Ledger", keep=configuration.keep_ledger, key=key)
        bill = Bill(self, configuration=configuration, key=key)
        brake = Brake(
            self,
            "Brake",
            settings=settings,
            settings_text=self._settings_text(),
            ledger=ledger.table,
            code=self._code,
            faults=self._faults,
        )
        self._reach = self._reach_of(brake, ledger, bill, notices, key)
        self._environment = self._environment_of(brake, ledger, bill, notices, key)
        by = self._functions()
        clock, tripped, calls = self._wake(by, bill, configuration)
        put_back = self._put_back(by, brake, ledger, bill)
        for waking in (clock, tripped, calls):
            # Woken only while the policies are there, so that nothing is attached again while the stack goes.
            waking.node.add_dependency(brake.policies, put_back)
        self._watch(by, brake, bill, put_back, clock, configuration)
        self._people(by, ledger)
        self._outputs(brake, ledger, bill.budget, by.kill, by.release, by.status)
        if configuration.dashboard:
            # Last: it shows whatever functions and alarms there are.
            Dashboard(self, "Dashboard", settings=settings, status=by.status.function)
        check_environments(self)

    def _reach_of(self, brake: Brake, ledger: Ledger, bill: Bill, notices: Notices, key: kms.IKey | None) -> Reach:
        settings = self._settings
        return Reach(
            brake.arn,
            brake.sweep_arn,
            settings.own_path,
            settings.exempt,
            exempt_tag=settings.exempt_tag,
            ledger_arn=ledger.table.table_arn,
            notice_topic_arns=notices.arns,
            sender=settings.telling.sender,
            budget_arns=bill.budget.arns,
            budget_action_arn=bill.native.arn if bill.native else "",
            key_arn=key.key_arn if key else "",
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
            kill_function_arn=self._function_arn("kill"),
            canary_role_arn=f"arn:{self.partition}:iam::{self.account}:{settings.canary}" if settings.drill else "",
        )

    def _environment_of(
        self, brake: Brake, ledger: Ledger, bill: Bill, notices: Notices, key: kms.IKey | None
    ) -> dict[str, str]:
        settings = self._settings
        environment = {
            VARIABLE: self._settings_text(),
            "BRAKE_POLICY_ARN": brake.arn,
            "SWEEP_POLICY_ARN": brake.sweep_arn,
            "DENY_POLICY_ARN": brake.deny_arn,
            "WRITER_FUNCTION": brake.writer.function.function_name,
            **notices.environment,
            "LEDGER_TABLE": ledger.table.table_name,
            **bill.environment,
            # By their names, for they ask one another, and the stop function itself, to go on.
            "STOP_FUNCTION": f"{settings.prefix}-stop",
            "RELEASE_FUNCTION": f"{settings.prefix}-release",
            # By way of the custom resource: no function of the brake exists before the brake does.
            "STOP_BY_HAND": brake.stop_by_hand,
        }
        if settings.inline_deny:
            environment["INLINE_FUNCTION"] = f"{settings.prefix}-inline"
        if key is not None:
            # A key costs by the month, which the account of the own cost takes in.
            environment["ENCRYPTED"] = "yes"
        return environment

    def _functions(self) -> "_Functions":
        long, short = Duration.minutes(15), Duration.minutes(2)
        return _Functions(
            # Budgets speaks once a month per rung, so what it asked for is tried again.
            stop=self._function(
                "Stop", stop, "Stops Bedrock on the word of the meter or AWS Budgets.", long, 2, named=True
            ),
            kill=self._function(
                "Kill", kill, "EMERGENCY: stops all Bedrock spend. Test it with any event.", long, named=True
            ),
            release=self._function(
                "Release", release, 'Releases the brake: {"confirm": "RELEASE", "reason": "..."}.', long, named=True
            ),
            status=self._function(
                # A plan looks at all that a kill looks at.
                "Status",
                status,
                "Tells how Bedrock spend and the brake stand, and what a kill would do.",
                long,
                named=True,
            ),
            meter=self._function(
                "Meter",
                meter,
                "Measures Bedrock spend each minute.",
                short,
                # Ticks that cannot be run must not pile up; but a tripwire rings once, so they have more than a minute.
                within=Duration.minutes(10),
                memory=1024,
            ),
            arm=self._function("Arm", arm, "Attaches the brake policy to those who can spend.", long, 2),
            # Tried again, for somebody waits for it, and CloudTrail tells it once.
            disarm=self._function("Disarm", disarm, "Takes the brake off whom somebody deletes.", short, 2),
            digest=self._function(
                "Digest", digest, "Mails what was spent each day, and spikes.", Duration.minutes(5), named=True
            ),
            crosscheck=self._function(
                "Crosscheck", crosscheck, "Compares the meter with Cost Explorer, once a day.", short
            ),
            inventory=self._function(
                "Inventory", inventory, "Finds what costs without showing in the token metrics.", Duration.minutes(5)
            ),
            prices=self._function(
                "Prices", prices, "Refreshes the prices from AWS, once a week.", long, named=True, memory=1024
            ),
        )

    def _wake(self, by: "_Functions", bill: Bill, configuration: Configuration) -> tuple[Clock, AlarmRule, CallRules]:
        """Make what wakes the functions: messages, the clock, alarms, and what CloudTrail sees."""
        settings = self._settings
        bill.budget.topic.add_subscription(
            subscriptions.LambdaSubscription(by.stop.function, dead_letter_queue=self._faults.undelivered)
        )
        clock = Clock(
            self,
            "Clock",
            every={
                "Meter": (Duration.minutes(1), by.meter.function),
                "Arm": (Duration.hours(1), by.arm.function),
                "Crosscheck": (Duration.days(1), by.crosscheck.function),
                # Soon after an hour is over: CloudWatch has it by then.
                "Digest": (events.Schedule.cron(minute="6"), by.digest.function),
                "Inventory": (Duration.minutes(15), by.inventory.function),
                "Prices": (Duration.hours(12), by.prices.function),
            },
            undelivered=self._faults.undelivered,
        )
        tripped = AlarmRule(
            self,
            "Tripped",
            description=f"Spend guardrail {settings.prefix}: an alarm calls for a look at what is spent.",
            alarms=[*tripwires(settings), *token_alarms(configuration), *dollar_alarms(settings)],
            target=self._wakes(by.meter),
        )
        calls = CallRules(self, "Calls", settings=settings, creations=self._wakes(by.meter))
        calls.add_iam(
            changes=self._wakes(by.arm),
            refused_deletes=self._wakes(by.disarm),
            keys=self._wakes(by.meter),
        )
        if configuration.home in settings.watched:
            Tripwires(self, "Tripwires", settings=settings, rule=tripped)
        HomeAlarms(
            self,
            "Alarms",
            configuration=configuration,
            meter=by.meter.function,
            clock=clock,
            rule=tripped,
            topic=self._notices,
        )
        return clock, tripped, calls

    def _put_back(self, by: "_Functions", brake: Brake, ledger: Ledger, bill: Bill) -> CustomResource:
        """Make what happens when the stack is deployed and when it goes."""
        settings = self._settings
        put_back = CustomResource(
            self,
            "PutBack",
            resource_type="Custom::BedrockSpendPutBack",
            service_token=by.release.function.function_arn,
            service_timeout=Duration.minutes(16),
        )
        # When the stack goes, everything is put back while there is still everything to do it with.
        put_back.node.add_dependency(brake.policies, ledger.table, *bill.acting)
        if settings.inline_deny:
            inline_function = self._function(
                "Inline",
                inline,
                "Writes an inline deny on roles without a free policy slot.",
                Duration.minutes(2),
                named=True,
            )
            put_back.node.add_dependency(inline_function.function)
        if settings.drill is not None:
            drill_function = self._function(
                "Drill",
                drill,
                "Stops a canary alone, releases it and tells how long that took.",
                Duration.minutes(15),
                named=True,
            )
            Canary(
                self,
                "Canary",
                drill=settings.drill,
                name=settings.canary.removeprefix("role/"),
                function=drill_function,
                put_back=put_back,
                undelivered=self._faults.undelivered,
            )
        CustomResource(
            self,
            "Armed",
            resource_type="Custom::BedrockSpendArmed",
            service_token=by.arm.function.function_arn,
            service_timeout=Duration.minutes(16),
            properties={"Settings": self._settings_text()},
        )
        return put_back

    def _watch(
        self,
        by: "_Functions",
        brake: Brake,
        bill: Bill,
        put_back: CustomResource,
        clock: Clock,
        configuration: Configuration,
    ) -> None:
        """Make what watches the guardrail itself, and listen to the bill and to silence."""
        settings = self._settings
        watch = Watch(
            self,
            "Watch",
            settings=settings,
            satellites=configuration.satellites,
            budget_topic=bill.budget.topic,
            must_run=MustRun(
                kill=by.kill.function,
                stop=by.stop.function,
                meter=by.meter.function,
                release=by.release.function,
                writer=brake.writer.function,
            ),
            code=self._code,
            reach=self._reach,
            environment=self._environment,
            faults=self._faults,
        )
        watch.node.add_dependency(brake.policies, put_back)
        bill.listen(self._wakes(by.stop), put_back)
        if settings.stop_when_silent:
            silence = SilenceRule(self, "Silence", settings=settings, target=self._wakes(by.stop))
            silence.node.add_dependency(brake.policies, put_back, clock)

    def _people(self, by: "_Functions", ledger: Ledger) -> None:
        """Make what people find in the console."""
        filling = "Puts the events of kill, release and status into the console's Test drop-down."
        TestEvents(self, "TestEvents", function=self._function("Share", share, filling, Duration.minutes(2)))
        Operators(
            self,
            "Operators",
            prefix=self._settings.prefix,
            run=(by.kill, by.release, by.status),
            ledger=ledger.table,
        )

    def _key(self, configuration: Configuration) -> kms.IKey | None:
        if not configuration.encrypt:
            return None
        keep, anomalies = configuration.keep_ledger, configuration.anomalies is not None
        return GuardrailKey(self, "Key", prefix=self._settings.prefix, keep=keep, anomalies=anomalies).key

    def _function_arn(self, word: str) -> str:
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{self._settings.prefix}-{word}"

    def _wakes(self, woken: GuardrailFunction) -> targets.LambdaFunction:
        return targets.LambdaFunction(woken.function, dead_letter_queue=self._faults.undelivered)

    def _settings_text(self) -> str:
        return self._settings.to_json()

    def _function(
        self,
        construct_id: str,
        handler: ModuleType,
        description: str,
        timeout: Duration,
        retries: int = 0,
        *,
        named: bool = False,
        within: Duration | None = None,
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
            faults=self._faults,
            retries=Retries(retries, within),
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
