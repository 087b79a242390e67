"""Composition: from the environment of a function to the objects it works with. Clients are made when first used."""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from lambdas import guardrail, settings, stopping
from lambdas.aws.bedrock import BatchJobs
from lambdas.aws.calls import CONFIG, QUICK
from lambdas.aws.iam import Account, BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.core.errors import GuardrailError
from lambdas.core.notice import Links

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from lambdas.aws.budgets import Budget
    from lambdas.aws.dynamodb import LedgerTable
    from lambdas.core.prices import PriceTable
    from lambdas.crosschecking import CrossCheckTools
    from lambdas.metering import MeterTools
    from lambdas.repricing import RepricingTools
    from lambdas.stocktaking import StockTools


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
        """The two policies."""
        return BrakePolicies(
            self._iam,
            brake_arn=self._variable("BRAKE_POLICY_ARN"),
            sweep_arn=self._variable("SWEEP_POLICY_ARN"),
        )

    @cached_property
    def account(self) -> Account:
        """Who is in the account."""
        return Account(self._iam, external_anthropic=self.settings.external_anthropic)

    @cached_property
    def post(self) -> NoticeTopic:
        """The mail."""
        return NoticeTopic(boto3.client("sns", config=QUICK), self._variable("NOTICE_TOPIC_ARN"))

    @cached_property
    def ledger(self) -> "LedgerTable":
        """The ledger."""
        from lambdas.aws.dynamodb import LedgerTable  # noqa: PLC0415 - only where it is used: the kill path stays light

        # Whatever hangs here, a stop must not wait for it long.
        return LedgerTable(boto3.client("dynamodb", config=QUICK), self._variable("LEDGER_TABLE"))

    @cached_property
    def budget(self) -> "Budget":
        """The budget of the stack."""
        from lambdas.aws.budgets import Budget  # noqa: PLC0415 - only where it is used

        client = boto3.client("budgets", config=self._config)
        return Budget(client, account_id=self.account_id, name=self._variable("BUDGET_NAME"))

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
            by_hand=self._variable("STOP_BY_HAND"),
        )

    @cached_property
    def stop_tools(self) -> guardrail.StopTools:
        """What stops."""
        jobs = BatchJobs(
            cache(lambda region: boto3.client("bedrock", region_name=region, config=self._config)),
            self.settings.regions,
        )
        return guardrail.StopTools(self.brake, self.account, jobs, self.settings.spared, time.sleep)

    @cached_property
    def desk(self) -> stopping.Desk:
        """What a stop is carried out with."""
        return stopping.Desk(self.stop_tools, self.post, self.ledger, self.links)

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
        from lambdas.aws.functions import StopFunction  # noqa: PLC0415
        from lambdas.core.pace import Bounds  # noqa: PLC0415
        from lambdas.measuring import Gauge  # noqa: PLC0415
        from lambdas.metering import MeterTools  # noqa: PLC0415

        metrics = TokenMetrics(
            cache(lambda region: boto3.client("cloudwatch", region_name=region, config=self._config))
        )
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
            send=self.post.send,
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
                cache(lambda region: boto3.client("cloudwatch", region_name=region, config=self._config)),
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

    def stop(self, request: stopping.StopRequest, now: datetime) -> stopping.Result:
        """Carry out a stop. In report-only mode only what keeps a person's kill on is carried out."""
        return stopping.carry_out(request, self.desk, now, enforce=self.settings.enforce or request.reassert)

    def budget_request(self, text: str, at: datetime) -> stopping.StopRequest | None:
        """Judge a budget notification that was sent at a moment."""
        return stopping.judge_budget_message(
            text,
            at=at,
            account_id=self.account_id,
            budget=self.budget,
            ladder=self.settings.budget,
            tell=self.post.send,
            links=self.links,
        )

    def status(self) -> dict[str, Any]:
        """Tell how everything stands."""
        from lambdas.reporting import status  # noqa: PLC0415 - only the status function reports

        return status(self.brake, self.account, self.ledger, self.settings, datetime.now(UTC))
