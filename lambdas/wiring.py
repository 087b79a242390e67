"""Composition: from the environment of a function to the objects it works with. Clients are made when first used."""

import os
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from lambdas import guardrail, settings, stopping
from lambdas.aws.bedrock import BatchJobs
from lambdas.aws.calls import CONFIG, QUICK
from lambdas.aws.iam import Account, BrakePolicies
from lambdas.aws.sns import NoticeTopic
from lambdas.core.notice import Links

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from lambdas.aws.budgets import Budget
    from lambdas.aws.dynamodb import LedgerTable
    from lambdas.metering import MeterTools


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
    def meter_tools(self) -> "MeterTools":
        """What a tick of the meter needs."""
        from lambdas.aws.cloudwatch import TokenMetrics  # noqa: PLC0415 - only the meter measures
        from lambdas.aws.functions import StopFunction  # noqa: PLC0415
        from lambdas.core.prices import PriceTable  # noqa: PLC0415
        from lambdas.metering import MeterTools  # noqa: PLC0415

        return MeterTools(
            usage=TokenMetrics(
                cache(lambda region: boto3.client("cloudwatch", region_name=region, config=self._config)),
                self.settings.regions,
            ),
            ledger=self.ledger,
            brake=self.brake,
            prices=PriceTable.load(),
            limits=self.settings.limits,
            reaction=self.settings.reaction,
            enforce=self.settings.enforce,
            links=self.links,
            ask_for_stop=StopFunction(boto3.client("lambda", config=self._config), self._variable("STOP_FUNCTION")).ask,
            send=self.post.send,
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

        return status(self.brake, self.account, self.ledger, self.settings)
