"""Composition: from the environment of a function to the objects it works with. Clients are made when first used."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config

from lambdas import ports, releasing, settings, stopping
from lambdas.aws.account import Account
from lambdas.aws.calls import CONFIG, QUICK, WAITING
from lambdas.aws.iam import BrakePolicies
from lambdas.aws.simulator import Simulator
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import GuardrailError
from lambdas.core.levers import Held, Lever
from lambdas.core.notice import Links

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_iam import IAMClient

    from lambdas.accounting import AccountingTools
    from lambdas.arming import ArmingTools, DisarmTools
    from lambdas.aws.budget_action import BudgetAction
    from lambdas.aws.budgets import Budget
    from lambdas.aws.cloudformation import OwnStack
    from lambdas.aws.dynamodb import LedgerTable
    from lambdas.aws.functions import Writer
    from lambdas.aws.inline_writer import InlineDeny
    from lambdas.aws.own_usage import Asked
    from lambdas.aws.schemas import TestEvents
    from lambdas.budgeting import BillTools
    from lambdas.core.health import Expected
    from lambdas.core.iam_events import Ours
    from lambdas.core.prices import PriceTable
    from lambdas.core.scopes import Scope
    from lambdas.crosschecking import CrossCheckTools
    from lambdas.digesting import DigestTools
    from lambdas.drilling import DrillTools
    from lambdas.installing import InstallTools
    from lambdas.metering import MeterTools
    from lambdas.planning import Planned
    from lambdas.repricing import RepricingTools
    from lambdas.stocktaking import StockTools
    from lambdas.telling import Owners
    from lambdas.watching import WatchTools


class Deadline(Protocol):
    """What Lambda passes beside the event."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still run."""


class Late:
    """Stands for an object that is made when a method of it is called: what is missing then fails that call alone."""

    def __init__(self, make: Callable[[], object]) -> None:
        """Take how to make it."""
        self._make = make
        self._making = Lock()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the method of that name."""

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - what the method takes and returns
            # Making clients is not safe side by side, using them is.
            with self._making:
                made = self._make()
            return getattr(made, name)(*args, **kwargs)

        return call


class Wiring:
    """What the stack wired up for the function this runs in."""

    def __init__(self, environment: Mapping[str, str] | None = None, config: Config = CONFIG) -> None:
        """Take the environment, by default the process's own, and how to call AWS. Raises SettingsError."""
        self._config = config
        self._environment = os.environ if environment is None else environment
        self.settings = settings.read(self._environment)

    def _variable(self, name: str) -> str:
        return settings.variable(self._environment, name)

    @property
    def account_id(self) -> str:
        """The account the guardrail guards."""
        return self._variable("BRAKE_POLICY_ARN").split(":")[4]

    @cached_property
    def _iam(self) -> "IAMClient":
        return boto3.client("iam", config=self._config)

    @cached_property
    def brake(self) -> BrakePolicies:
        """The three policies."""
        # The first switch needs the first alone; the others are named like it.
        arn = self._variable("BRAKE_POLICY_ARN")
        named = arn.removesuffix("-brake")
        return BrakePolicies(
            self._iam,
            brake_arn=arn,
            sweep_arn=self._environment.get("SWEEP_POLICY_ARN") or f"{named}-sweep",
            deny_arn=self._environment.get("DENY_POLICY_ARN") or f"{named}-deny",
        )

    @cached_property
    def account(self) -> Account:
        """Who is in the account."""
        return Account(self._iam, external_anthropic=self.settings.external_anthropic)

    @cached_property
    def post(self) -> NoticeTopic:
        """The mail."""
        return NoticeTopic(
            boto3.client("sns", config=QUICK),
            self._variable("NOTICE_TOPIC_ARN"),
            lambda: datetime.now(UTC),
            chat_arn=self._environment.get("CHAT_TOPIC_ARN", ""),
            escalation_arn=self._environment.get("ESCALATION_TOPIC_ARN", ""),
        )

    @cached_property
    def ledger(self) -> "LedgerTable":
        """The ledger."""
        from lambdas.aws.dynamodb import LedgerTable  # noqa: PLC0415 - only where it is used: the kill path stays light

        # Whatever hangs here, a stop must not wait for it long.
        return LedgerTable(boto3.client("dynamodb", config=QUICK), self._variable("LEDGER_TABLE"))

    @cached_property
    def budgets(self) -> "tuple[Budget, ...]":
        """The budgets of the stack: of the month, and where one is configured of the day."""
        from lambdas.aws.budgets import Budget  # noqa: PLC0415 - only where it is used
        from lambdas.core.windows import Window  # noqa: PLC0415

        client = boto3.client("budgets", config=self._config)
        names = {Window.MONTH: self._variable("BUDGET_NAME"), Window.DAY: self._environment.get("DAILY_BUDGET_NAME")}
        return tuple(
            Budget(client, account_id=self.account_id, name=name, window=window)
            for window, name in names.items()
            if name
        )

    @property
    def _bill_tools(self) -> "BillTools":
        """What the bill's word is judged with."""
        from lambdas.budgeting import BillTools  # noqa: PLC0415 - only the stop function hears of the bill

        return BillTools(
            account_id=self.account_id,
            budgets=self.budgets,
            ladder=self.settings.budget,
            # A ledger that is missing makes no figure true or false.
            memory=Late(lambda: self.ledger),
            tell=self.post.send,
            links=self.links,
            monitor_arn=self._environment.get("ANOMALY_MONITOR_ARN", ""),
            least_usd=Decimal(self._environment.get("ANOMALY_USD", "0")),
            steps_down=self.settings.anomalies_step_down,
        )

    @cached_property
    def links(self) -> Links:
        """Where people click, and the command for when there is nothing to click."""
        region = self._variable("AWS_REGION")
        function = f"https://{region}.console.aws.amazon.com/lambda/home?region={region}#/functions/{{}}?tab=testing"
        prefix = self.settings.prefix
        return Links(
            release=function.format(f"{prefix}-release"),
            status=function.format(f"{prefix}-status"),
            kill=function.format(f"{prefix}-kill"),
            # It is told while everything burns: that it is missing must not keep the rest from being told.
            by_hand=self._environment.get("STOP_BY_HAND")
            or "(environment variable STOP_BY_HAND is missing: the output StopByHand of the stack has the command)",
        )

    @cached_property
    def _owners(self) -> "Owners | None":
        """Who is told when a role or user is stopped alone, where the configuration says how."""
        telling = self.settings.telling
        if not (telling.owner_tag and telling.sender):
            return None
        from lambdas.aws.ses import OwnerMail  # noqa: PLC0415 - only where the configuration asks for it
        from lambdas.telling import Owners  # noqa: PLC0415

        post: OwnerMail = Late(lambda: OwnerMail(boto3.client("sesv2", config=QUICK), telling.sender))  # type: ignore[assignment]
        whom = f"whoever runs the spend guardrail of AWS account {self.account_id}"
        return Owners(telling.owner_tag, self.account, post, whom)

    @cached_property
    def _client_in(self) -> Callable[[str, str], Any]:
        """Return the client of a service in a region, the same one each time. Safe to use side by side."""
        making = Lock()

        @cache
        def made(service: str, region: str) -> Any:  # noqa: ANN401 - which service it is, the caller knows
            return boto3.client(service, region_name=region, config=self._config)  # type: ignore[call-overload]

        def client(service: str, region: str) -> Any:  # noqa: ANN401
            # Making clients is not safe side by side, using them is.
            with making:
                return made(service, region)

        return client

    @cached_property
    def _asked(self) -> "Asked":
        from lambdas.aws.own_usage import Asked  # noqa: PLC0415 - only what reads metrics counts what that costs

        return Asked()

    @cached_property
    def _cloudwatch_in(self) -> "Callable[[str], CloudWatchClient]":
        """Return CloudWatch's client of a region; what is asked by it is counted. Not safe side by side."""
        return cache(lambda region: self._asked.of(boto3.client("cloudwatch", region_name=region, config=self._config)))

    def count_asked(self, now: datetime) -> None:
        """Keep the count of what CloudWatch was asked for since the last time, so that the own cost is known."""
        from lambdas.accounting import keep_count  # noqa: PLC0415 - likewise

        self._asked.add(-keep_count(self._asked.count, self.ledger.count, now))

    def account_for_itself(self, now: datetime) -> list[str]:
        """Keep what the guardrail itself has cost; return in words what was not kept."""
        from lambdas.accounting import keep_own_cost  # noqa: PLC0415 - likewise
        from lambdas.measuring import tried  # noqa: PLC0415

        problems: list[str] = []
        tried(lambda: keep_own_cost(now, self._accounting_tools), problems)
        self.count_asked(now)
        return problems

    @property
    def _accounting_tools(self) -> "AccountingTools":
        from lambdas.accounting import AccountingTools  # noqa: PLC0415 - only the inventory accounts
        from lambdas.aws.own_usage import OwnUsage  # noqa: PLC0415
        from lambdas.core.iam_events import REGION  # noqa: PLC0415

        home = self._variable("AWS_REGION")
        return AccountingTools(
            usage=OwnUsage(
                self._cloudwatch_in, home=home, prefix=self.settings.prefix, table=self._variable("LEDGER_TABLE")
            ),
            ledger=self.ledger,
            regions=tuple(sorted({home, REGION, *self.settings.watched})),
            encrypted="ENCRYPTED" in self._environment,
        )

    @cached_property
    def _discovered(self) -> tuple[tuple[str, ...], str]:
        """The regions the inventory found in use; or none, and in words why they are not known."""
        try:
            return self.ledger.in_use(), ""
        except GuardrailError as error:
            return (), str(error)

    @cached_property
    def _regions(self) -> tuple[str, ...]:
        """The regions of the configuration, and those found in use; all there are where neither tells any."""
        known = tuple(dict.fromkeys((*self.settings.regions, *self._discovered[0])))
        # Whoever has not looked yet, or cannot tell, does not say that nothing runs anywhere.
        return known or tuple(boto3.Session().get_available_regions("bedrock"))

    @cached_property
    def _work(self) -> ports.Work:
        from lambdas.aws.work import Work  # noqa: PLC0415 - after the switch is early enough

        return Work(
            self._client_in,
            self._regions,
            now=lambda: datetime.now(UTC),
            choice=self.settings.work,
            assumptions=self.settings.assumptions,
        )

    @cached_property
    def _levers(self) -> Sequence[Lever]:
        """What stops most comes first: the SCP, whole roles, then keys, then what throttles, then what is detached."""
        from lambdas.aws.api_keys import ApiKeys  # noqa: PLC0415 - after the switch is early enough
        from lambdas.aws.concurrency import Concurrency  # noqa: PLC0415

        settings = self.settings
        levers: list[Lever] = []
        if settings.regions and (why := self._discovered[1]):
            from lambdas.aws.regional import OtherRegions  # noqa: PLC0415 - only where they are not known

            levers.append(OtherRegions(settings.regions, why))
        if settings.organization is not None:
            from lambdas.aws.organization import ServiceControlPolicy  # noqa: PLC0415

            levers.append(
                ServiceControlPolicy(
                    boto3.client("sts", config=self._config),
                    lambda keys: boto3.client(
                        "organizations",
                        aws_access_key_id=keys["AccessKeyId"],
                        aws_secret_access_key=keys["SecretAccessKey"],
                        aws_session_token=keys["SessionToken"],
                        config=self._config,
                    ),
                    role_arn=settings.organization.role_arn,
                    policy_name=settings.organization.policy_name,
                    target=settings.organization.target,
                    external_anthropic=settings.external_anthropic,
                )
            )
        if settings.inline_deny:
            from lambdas.aws.inline import InlineDenies  # noqa: PLC0415 - only where the configuration asks for it
            from lambdas.core.inline_deny import policy_name  # noqa: PLC0415

            levers.append(
                InlineDenies(
                    boto3.client("lambda", config=WAITING),
                    self._variable("INLINE_FUNCTION"),
                    self.account.principals,
                    policy_name=policy_name(settings.prefix),
                    stopping=(self.brake.brake_arn, self.brake.sweep_arn),
                )
            )
        levers += [
            ApiKeys(self._iam, external_anthropic=settings.external_anthropic),
            Concurrency(
                partial(self._client_in, "lambda"),
                partial(self._client_in, "resourcegroupstaggingapi"),
                self._regions,
                own_prefix=f"{settings.prefix}-",
            ),
        ]
        if settings.gateway_percent is not None:
            from lambdas.aws.gateways import Gateways  # noqa: PLC0415 - only where the configuration asks for it

            control = partial(self._client_in, "bedrock-agentcore-control")
            levers.append(Gateways(control, self._regions, percent=settings.gateway_percent))
        if settings.detach:
            from lambdas.aws.allow_policies import AllowPolicies  # noqa: PLC0415 - likewise

            policies = settings.allow_policies(self.account_id)
            levers.append(AllowPolicies(self._iam, policies, self.account.principals))
        return levers

    @cached_property
    def writer(self) -> "Writer":
        """The function that writes the policies' versions."""
        from lambdas.aws.functions import Writer  # noqa: PLC0415 - only narrow stops need it

        return Writer(boto3.client("lambda", config=WAITING), self._variable("WRITER_FUNCTION"))

    def _ask_for_stop(self, request: dict[str, Any]) -> None:
        from lambdas.aws.functions import StopFunction  # noqa: PLC0415 - only where somebody has to go on

        StopFunction(boto3.client("lambda", config=self._config), self._variable("STOP_FUNCTION")).ask(request)

    def desk(self, context: Deadline) -> stopping.Desk:
        """Return what a stop is carried out with, in the time there is."""
        # No more than the first switch needs is made, or has to be there, before it.
        ledger: LedgerTable = Late(lambda: self.ledger)  # type: ignore[assignment]
        post: NoticeTopic = Late(lambda: self.post)  # type: ignore[assignment]
        tools = ports.StopTools(
            brake=self.brake,
            people=self.account,
            work=lambda: self._work,
            levers=lambda: self._levers,
            book=ledger,
            writer=lambda: self.writer,
            spared=self.settings.spared,
            ask=Simulator(self._iam).denied,
            log=_log_held,
            pace=_pace(context),
        )
        telling, canary = self.settings.telling, self.settings.canary
        return stopping.Desk(tools, post, ledger, self.links, self._ask_for_stop, canary, telling.again, self._owners)

    @property
    def _native_stop(self) -> "BudgetAction | None":
        """The action by which AWS Budgets stops by itself, where there is one."""
        action_id = self._environment.get("BUDGET_ACTION_ID")
        if not action_id:
            return None
        from lambdas.aws.budget_action import BudgetAction  # noqa: PLC0415 - only where the configuration asks for it

        client = boto3.client("budgets", config=self._config)
        name = self._variable("BUDGET_NAME")
        # As the stack names it: `stacks.budget.NativeStop`.
        policy = f"arn:aws:iam::{self.account_id}:policy{self.settings.own_path}{self.settings.prefix}-budget-stop"
        return BudgetAction(
            client, self._iam, account_id=self.account_id, budget_name=name, action_id=action_id, policy_arn=policy
        )

    def release_desk(self, context: Deadline) -> releasing.ReleaseDesk:
        """Return what a release is carried out with, in the time there is."""
        tools = ports.ReleaseTools(
            brake=self.brake,
            levers=lambda: self._levers,
            book=self.ledger,
            writer=lambda: self.writer,
            pace=_pace(context),
            native=self._native_stop,
        )
        return releasing.ReleaseDesk(
            tools,
            self.post,
            self.ledger,
            self.links,
            self.account_id,
            self._ask_for_stop,
            self.settings.canary,
            self.settings.limits,
            self.settings.telling.again,
            self._owners,
        )

    def drill_tools(self, context: Deadline) -> "DrillTools":
        """Return what the live drill needs, in the time there is. Raises RefusedError where none is configured."""
        from lambdas.aws.calls import ONCE  # noqa: PLC0415 - only the drill function drills
        from lambdas.aws.canary import ByHand, Canary  # noqa: PLC0415
        from lambdas.core.errors import RefusedError  # noqa: PLC0415
        from lambdas.drilling import DrillTools  # noqa: PLC0415

        if self.settings.drill is None:
            msg = "there is no canary to drill with: set [live_drill] in guardrail.toml and deploy"
            raise RefusedError(msg)
        prefix, model = self.settings.prefix, self.settings.drill.model
        partition = self._variable("BRAKE_POLICY_ARN").split(":")[1]
        canary = Canary(
            boto3.client("sts", config=self._config),
            lambda keys: boto3.client(
                "bedrock-runtime",
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys["SessionToken"],
                config=ONCE,
            ),
            role_arn=f"arn:{partition}:iam::{self.account_id}:{self.settings.canary}",
            model=model,
        )
        return DrillTools(
            who=self.settings.canary,
            model=model,
            region=self._variable("AWS_REGION"),
            reaction=self.settings.reaction,
            canary=canary,
            by_hand=ByHand(boto3.client("lambda", config=WAITING), kill=f"{prefix}-kill", release=f"{prefix}-release"),
            brake=self.brake,
            ledger=self.ledger,
            send=self.post.send,
            links=self.links,
            clock=time.monotonic,
            pace=_pace(context),
        )

    @property
    def test_events(self) -> "TestEvents":
        """Where the console keeps the test events of our functions."""
        from lambdas.aws.schemas import TestEvents  # noqa: PLC0415 - only a deployment shares them

        # A region without the service is no reason to wait for minutes.
        return TestEvents(boto3.client("schemas", config=QUICK))

    @property
    def own_stack(self) -> "OwnStack":
        """The stack all this belongs to."""
        from lambdas.aws.cloudformation import OwnStack  # noqa: PLC0415 - only CloudFormation's events ask

        return OwnStack(boto3.client("cloudformation", config=self._config))

    @cached_property
    def prices(self) -> "tuple[PriceTable, tuple[str, ...]]":
        """The prices in force: the account's own list above the deployed table; and in words what is wrong with it."""
        from lambdas.core.prices import PriceTable  # noqa: PLC0415 - the kill path needs no prices
        from lambdas.repricing import in_force  # noqa: PLC0415

        table = PriceTable.load(pricing=self.settings.pricing)
        try:
            return in_force(table, self.ledger.kept("prices"), self.settings.regions or None)
        except GuardrailError as error:
            return table, (f"the account's own prices cannot be read, the deployed table stands in ({error})",)

    @cached_property
    def meter_tools(self) -> "MeterTools":
        """What a tick of the meter needs."""
        from lambdas.aws.cloudwatch import TokenMetrics  # noqa: PLC0415 - only the meter measures
        from lambdas.aws.functions import ReleaseFunction, StopFunction  # noqa: PLC0415
        from lambdas.core.brake_documents import dear_model_patterns  # noqa: PLC0415
        from lambdas.core.pace import Bounds  # noqa: PLC0415
        from lambdas.measuring import Gauge  # noqa: PLC0415
        from lambdas.metering import MeterTools  # noqa: PLC0415
        from lambdas.telling import Ways  # noqa: PLC0415

        metrics = TokenMetrics(self._cloudwatch_in)
        return MeterTools(
            gauge=Gauge(metrics, self.ledger, *self.prices),
            ledger=self.ledger,
            brake=self.brake,
            bounds=Bounds(self.settings.limits, self.settings.max_blind_usd, self.settings.reaction),
            regions=self.settings.regions,
            watched=frozenset(self.settings.watched),
            enforce=self.settings.enforce,
            links=self.links,
            ask_for_stop=StopFunction(boto3.client("lambda", config=self._config), self._variable("STOP_FUNCTION")).ask,
            ask_for_release=ReleaseFunction(
                boto3.client("lambda", config=self._config), self._variable("RELEASE_FUNCTION")
            ).ask,
            ways=Ways(self.settings.telling, self.post.send, self.post.escalate, self.ledger.note),
            dear=dear_model_patterns(self.prices[0], self.settings.step_down_output_usd),
            exempt=self._exempt,
        )

    @cached_property
    def digest_tools(self) -> "DigestTools":
        """What the digest needs."""
        from lambdas.aws.cloudwatch import TokenMetrics  # noqa: PLC0415 - only those who measure need it
        from lambdas.digesting import DigestTools  # noqa: PLC0415 - only the digest tells how it goes

        return DigestTools(
            usage=TokenMetrics(
                cache(lambda region: boto3.client("cloudwatch", region_name=region, config=self._config))
            ),
            ledger=self.ledger,
            prices=lambda: self.prices,
            regions=self.settings.regions,
            limits=self.settings.limits,
            telling=self.settings.telling,
            links=self.links,
            send=self.post.send,
        )

    @property
    def _exempt(self) -> tuple[str, ...]:
        """Who is exempt, in words."""
        tag = self.settings.exempt_tag
        return (*self.settings.exempt, *((f"whoever carries the tag {tag}",) if tag else ()))

    @property
    def _ours(self) -> "Ours":
        from lambdas.core.iam_events import Ours  # noqa: PLC0415 - only what listens to IAM needs it

        return Ours(self.account_id, self.settings.prefix)

    @cached_property
    def arming_tools(self) -> "ArmingTools":
        """What arming needs."""
        from lambdas.arming import ArmingTools  # noqa: PLC0415 - only the arm function arms

        return ArmingTools(
            ours=self._ours,
            own_path=self.settings.own_path,
            rule=self.settings.arming,
            spared=self.settings.spared,
            enforce=self.settings.enforce,
            scp=self.settings.organization is not None,
            brake=self.brake,
            people=self.account,
            ledger=self.ledger,
            links=self.links,
            send=self.post.send,
            ask_for_stop=self._ask_for_stop,
            pause=time.sleep,
        )

    @cached_property
    def disarm_tools(self) -> "DisarmTools":
        """What disarming needs."""
        from lambdas.arming import DisarmTools  # noqa: PLC0415 - only the disarm function disarms
        from lambdas.aws.disarming import Disarming  # noqa: PLC0415

        return DisarmTools(
            ours=self._ours,
            brake=self.brake,
            ledger=self.ledger,
            links=self.links,
            send=self.post.send,
            disarm=Disarming(self._iam, self.brake.brake_arn).disarm,
        )

    @cached_property
    def crosscheck_tools(self) -> "CrossCheckTools":
        """What the daily cross-check needs."""
        from lambdas.aws.cost_explorer import ONCE, REGION, CostExplorer  # noqa: PLC0415 - only the cross-check asks
        from lambdas.core.inventory import Inventory  # noqa: PLC0415
        from lambdas.crosschecking import CrossCheckTools  # noqa: PLC0415

        client = boto3.client("ce", region_name=REGION, config=ONCE)
        return CrossCheckTools(
            ledger=self.ledger,
            billing=CostExplorer(client, account_id=self.account_id),
            inventory=Inventory.from_json,
            factor=self.settings.pricing.factor,
            links=self.links,
            send=self.post.send,
        )

    @cached_property
    def stock_tools(self) -> "StockTools":
        """What taking stock needs."""
        from lambdas.aws.stock import Stock  # noqa: PLC0415 - only the inventory takes stock
        from lambdas.core.usage import Kind, Tier  # noqa: PLC0415
        from lambdas.stocktaking import StockTools  # noqa: PLC0415

        prices, _ = self.prices

        def token_usd(model: str, at: datetime) -> tuple[Decimal, Decimal]:
            price = prices.quote(model, at, Tier.BATCH).price
            return price.of(Kind.INPUT), price.of(Kind.OUTPUT)

        return StockTools(
            stock=Stock(
                cache(lambda region: boto3.client("bedrock", region_name=region, config=self._config)),
                self._cloudwatch_in,
                lambda: boto3.client("ec2", config=self._config),
            ),
            ledger=self.ledger,
            regions=self.settings.regions,
            assumptions=self.settings.assumptions,
            token_usd=token_usd,
            links=self.links,
            send=self.post.send,
        )

    @cached_property
    def repricing_tools(self) -> "RepricingTools":
        """What the refresh of prices needs."""
        from lambdas.aws.agreements import ModelOffers  # noqa: PLC0415 - only the refresh reads prices from AWS
        from lambdas.aws.pricing import PRICE_LIST_REGION, PublishedPrices  # noqa: PLC0415
        from lambdas.core.prices import PriceTable  # noqa: PLC0415
        from lambdas.repricing import RepricingTools  # noqa: PLC0415

        regions = self.settings.regions or (PRICE_LIST_REGION,)
        # Made here, for making a client is not safe to do in several threads at once.
        bedrock = {each: boto3.client("bedrock", region_name=each, config=self._config) for each in regions}
        return RepricingTools(
            published=PublishedPrices(boto3.client("pricing", region_name=PRICE_LIST_REGION, config=self._config)),
            offers=ModelOffers(bedrock.__getitem__),
            ledger=self.ledger,
            snapshot=PriceTable.load(),
            regions=regions,
            send=self.post.send,
            links=self.links,
            function=f"{self.settings.prefix}-prices",
        )

    def stop(self, request: stopping.StopRequest, context: Deadline, now: datetime) -> stopping.Result:
        """Carry out a stop. In report-only mode only what keeps a person's kill on is carried out."""
        enforce = self.settings.enforce or request.reassert
        return stopping.carry_out(request, self.desk(context), now, enforce=enforce)

    @cached_property
    def install_tools(self) -> "InstallTools":
        """What the policies are written with."""
        from lambdas.aws.policy_writer import OwnPolicies  # noqa: PLC0415 - only the writer writes policies
        from lambdas.core.brake_documents import deny_document, documents  # noqa: PLC0415
        from lambdas.installing import InstallTools, Own, document_settings  # noqa: PLC0415

        own = Own(
            brake=self._variable("BRAKE_POLICY_ARN"),
            sweep=self._variable("SWEEP_POLICY_ARN"),
            deny=self._variable("DENY_POLICY_ARN"),
            path=self.settings.own_path,
            us=self._variable("OWNER"),
        )
        asked = document_settings(self.settings)
        return InstallTools(
            own=own,
            render=lambda scopes: documents(asked, self.prices[0], scopes),
            deny=deny_document(asked),
            writer=OwnPolicies(self._iam, own.us, time.sleep),
        )

    @property
    def inline_deny(self) -> "InlineDeny":
        """What the inline deny is written with."""
        from lambdas.aws.inline_writer import InlineDeny  # noqa: PLC0415 - only one function writes inline policies
        from lambdas.core.brake_documents import inline_document  # noqa: PLC0415
        from lambdas.core.inline_deny import policy_name  # noqa: PLC0415
        from lambdas.installing import document_settings  # noqa: PLC0415

        document = inline_document(document_settings(self.settings))
        return InlineDeny(self._iam, policy_name(self.settings.prefix), document)

    def budget_request(self, messages: Sequence[tuple[str, datetime]], now: datetime) -> stopping.StopRequest | None:
        """Judge budget notifications, each with when it was sent."""
        from lambdas.budgeting import judge_budget_messages  # noqa: PLC0415 - the kill path needs no bill

        return judge_budget_messages(messages, self._bill_tools, now)

    def anomaly_request(self, event: Mapping[str, Any], now: datetime) -> stopping.StopRequest | None:
        """Judge an event of Cost Anomaly Detection."""
        from lambdas.budgeting import judge_anomaly  # noqa: PLC0415 - likewise

        return judge_anomaly(event, self._bill_tools, now)

    def silence_request(self, event: object, now: datetime) -> stopping.StopRequest:
        """Judge the event of the heartbeat alarm."""
        from lambdas.aws.alarms import Alarms  # noqa: PLC0415 - only where it is used
        from lambdas.core.errors import RefusedError  # noqa: PLC0415
        from lambdas.core.silence import alarm_name  # noqa: PLC0415

        if not self.settings.stop_when_silent:
            msg = 'a silent meter is told of and stops nobody, unless alarms.silent_meter = "stop" in guardrail.toml'
            raise RefusedError(msg)
        region, name = self._variable("AWS_REGION"), alarm_name(self.settings.prefix)

        def state() -> str | None:
            found = Alarms(partial(self._client_in, "cloudwatch")).found(region, [name])[name]
            return None if found is None else found.state

        def left() -> Mapping[str, Any] | None:
            memory = self.ledger.memory(now)
            # What cannot be read is there all the same.
            return memory.watch if memory.watch is not None or not memory.watch_mark else {}

        return stopping.judge_silence(
            event,
            now=now,
            account_id=self.account_id,
            region=region,
            prefix=self.settings.prefix,
            state=state,
            left=left,
        )

    @cached_property
    def watch_tools(self) -> "WatchTools":
        """What the self-watch needs."""
        from lambdas.aws.alarms import Alarms  # noqa: PLC0415 - only the watch function looks at the guardrail itself
        from lambdas.aws.budget_watch import BudgetWatch  # noqa: PLC0415
        from lambdas.aws.deployed import Deployed  # noqa: PLC0415
        from lambdas.aws.own_functions import OwnFunctions  # noqa: PLC0415
        from lambdas.aws.queues import Queues  # noqa: PLC0415
        from lambdas.aws.quotas import Quotas  # noqa: PLC0415
        from lambdas.aws.rules import Rules  # noqa: PLC0415
        from lambdas.aws.subscriptions import Subscriptions  # noqa: PLC0415
        from lambdas.aws.trails import Trails  # noqa: PLC0415
        from lambdas.watching import WatchTools  # noqa: PLC0415

        named = {
            "the notices topic": "NOTICE_TOPIC_ARN",
            "the topic of chat": "CHAT_TOPIC_ARN",
            "the topic of those told when nobody acts": "ESCALATION_TOPIC_ARN",
        }
        topics = {words: arn for words, name in named.items() if (arn := self._environment.get(name, ""))}
        expected = self._expected
        return WatchTools(
            ours=self._ours,
            home=self._variable("AWS_REGION"),
            expected=expected,
            topics=topics,
            also_ours=(
                self._variable("LEDGER_TABLE"),
                *(each.rpartition(":")[2] for each in topics.values()),
                *(each.name for each in expected.budgets),
                *expected.reserved,
            ),
            parts=Deployed(partial(self._client_in, "cloudformation")).parts,
            rule=Rules(partial(self._client_in, "events")).found,
            alarms=Alarms(partial(self._client_in, "cloudwatch")).found,
            waiting=Queues(partial(self._client_in, "sqs")).waiting,
            subscriptions=Subscriptions(boto3.client("sns", config=self._config)).found,
            budget=BudgetWatch(boto3.client("budgets", config=self._config), self.account_id).found,
            trails=Trails(partial(self._client_in, "cloudtrail")),
            auto_management=Quotas(boto3.client("service-quotas", config=self._config)).auto_management,
            functions=OwnFunctions(boto3.client("lambda", config=self._config)),
            ledger=self.ledger,
            links=self.links,
            send=self.post.send,
        )

    @property
    def _expected(self) -> "Expected":
        """What the guardrail consists of. Raises SettingsError."""
        from lambdas.core.health import Expected  # noqa: PLC0415 - only the watch function asks

        text = self._variable("DEPLOYED")
        try:
            return Expected.from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            msg = f"environment variable DEPLOYED cannot be read ({error!r}): deploy the stack again"
            raise settings.SettingsError(msg) from error

    def plan(self, scope: "Scope | None", context: Deadline) -> "Planned":
        """Tell what a kill would do now, in the time there is; nothing is written."""
        from lambdas.planning import Unasked, plan  # noqa: PLC0415 - only the status function plans

        def levers() -> Sequence[Lever]:
            organization = self.settings.organization
            if organization is None:
                return self._levers
            what = f"SCP {organization.policy_name} on {organization.target}"
            why = "attached by a kill where it is not; who may look may attach it, so this function may not"
            return [Unasked(each.name, what, why) if each.name == "scp" else each for each in self._levers]

        return plan(scope, replace(self.desk(context).tools, levers=levers))

    def status(self) -> dict[str, Any]:
        """Tell how everything stands."""
        from lambdas.reporting import status  # noqa: PLC0415 - only the status function reports

        return status(self.brake, self.account, self.ledger, self.settings, datetime.now(UTC))

    def widget(self, theme: str, *, endpoint: str) -> str:
        """Draw how everything stands, for a dashboard; ``endpoint`` is the function to call for a fresh one."""
        from lambdas.core.widget import widget  # noqa: PLC0415 - likewise

        return widget(self.status(), datetime.now(UTC), self.links, theme=theme, endpoint=endpoint)


def _pace(context: Deadline) -> ports.Pace:
    return ports.Pace(time.sleep, lambda: context.get_remaining_time_in_millis() / 1000)


def _log_held(held: Held) -> None:
    # Should the ledger be lost, this is what says how it was: search the log for "held down".
    Logger(service="held").warning("held down", extra={"held": asdict(held)})
