"""Cost Explorer: what is on the bill, day by day. Each request, and each further page, costs $0.01."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from botocore.config import Config

from lambdas.aws import calls
from lambdas.core.crosscheck import Bill, BilledDay, Charge
from lambdas.core.errors import GuardrailError
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_ce import CostExplorerClient
    from mypy_boto3_ce.type_defs import ExpressionTypeDef, GroupDefinitionTypeDef, GroupTypeDef, ResultByTimeTypeDef

REGION = "us-east-1"
"""Cost Explorer has this one endpoint."""

ONCE = calls.CONFIG.merge(Config(read_timeout=60, retries={"mode": "standard", "total_max_attempts": 1}))
"""A retry would be a request beyond the ceiling, and tomorrow's run is the retry."""

MOST_REQUESTS = 2
"""A run makes no more, pages included."""

OWN_SERVICES = ("Amazon Bedrock", "Amazon Bedrock Service", "Amazon Bedrock AgentCore")
"""What AWS itself sells. A name an account has never seen does no harm in a filter."""

_EDITION = "(Amazon Bedrock Edition)"
"""Models of other makers are AWS Marketplace products; so their names end."""

_METRIC = "UnblendedCost"
_NOT_SPENT = ("Credit", "Refund", "Tax")
"""Credits and refunds would hide what was used; taxes are in no price."""


_MOST_DIGITS = 20
"""An amount longer than this is none; the trillions of a mistaken bill are, and are judged by the core."""


class BillError(GuardrailError):
    """Cost Explorer answers, but not with amounts in USD that could be compared."""


class CostExplorer:
    """The bill of one account. An instance is one run: it makes at most `MOST_REQUESTS` requests."""

    def __init__(self, client: "CostExplorerClient", *, account_id: str) -> None:
        """Take the client, which must not retry (`ONCE`), and the account."""
        self._ce = client
        # A management account would be told of all accounts of its organization.
        self._account: ExpressionTypeDef = {"Dimensions": {"Key": "LINKED_ACCOUNT", "Values": [account_id]}}
        self._left = MOST_REQUESTS

    @needs("ce:GetCostAndUsage", on=On.EVERYTHING)
    def by_service(self, first: date, last: date) -> Bill:
        """Return the UTC days from the first to the last by service. Raises AwsCallError and BillError.

        What more than the allowed pages would hold is a gap: the bill is then a lower bound.
        """
        of_bedrock: ExpressionTypeDef = {
            "Or": [
                {"Dimensions": {"Key": "SERVICE", "Values": list(OWN_SERVICES)}},
                {"Dimensions": {"Key": "BILLING_ENTITY", "Values": ["AWS Marketplace"]}},
            ]
        }
        days, whole = self._days(first, last, [of_bedrock], [{"Type": "DIMENSION", "Key": "SERVICE"}])
        bedrock = [
            replace(each, usd={charge: usd for charge, usd in each.usd.items() if _is_bedrock(charge)}) for each in days
        ]
        gap = f"the bill has more pages than the {MOST_REQUESTS} requests allowed: what was read is a lower bound"
        return Bill(bedrock, () if whole else (gap,))

    @needs("ce:GetCostAndUsage", on=On.EVERYTHING)
    def by_model(self, first: date, last: date) -> Bill:
        """Return the same days by service and model, as far as AWS names one. Raises AwsCallError and BillError.

        A request that names a product attribute is about Bedrock alone, under all its services, and must not
        be filtered by service (API reference, ProductAttributeValues; known for days from 2026-09-01 on).
        """
        by: list[GroupDefinitionTypeDef] = [
            {"Type": "DIMENSION", "Key": "SERVICE"},
            {"Type": "PRODUCT_ATTRIBUTE", "Key": "model"},
        ]
        days, whole = self._days(first, last, [], by)
        gap = f"the models on the bill are not all known: the {MOST_REQUESTS} requests allowed were used up"
        return Bill(days, () if whole else (gap,))

    def _days(
        self,
        first: date,
        last: date,
        filters: "Sequence[ExpressionTypeDef]",
        group_by: "Sequence[GroupDefinitionTypeDef]",
    ) -> tuple[list[BilledDay], bool]:
        """Return the days as far as the requests that are left go, and whether that is all."""
        spent: ExpressionTypeDef = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": list(_NOT_SPENT)}}}
        results: list[ResultByTimeTypeDef] = []
        token: str | None = None
        while self._left:
            self._left -= 1
            with calls.named("ce:GetCostAndUsage"):
                page = self._ce.get_cost_and_usage(
                    # The end is exclusive.
                    TimePeriod={"Start": first.isoformat(), "End": (last + timedelta(days=1)).isoformat()},
                    Granularity="DAILY",
                    Metrics=[_METRIC],
                    Filter={"And": [self._account, *filters, spent]},
                    GroupBy=group_by,
                    **({"NextPageToken": token} if token else {}),
                )
            results += page.get("ResultsByTime", [])
            token = page.get("NextPageToken")
            if not token:
                return _days(results), True
        return _days(results), False


def _is_bedrock(charge: Charge) -> bool:
    return charge.service in OWN_SERVICES or charge.service.endswith(_EDITION)


def _days(results: "Iterable[ResultByTimeTypeDef]") -> list[BilledDay]:
    usd: defaultdict[date, dict[Charge, Decimal]] = defaultdict(dict)
    estimated: defaultdict[date, bool] = defaultdict(bool)
    for result in results:
        day = date.fromisoformat(result["TimePeriod"]["Start"][:10])
        # A day may go on over the next page.
        estimated[day] |= result.get("Estimated", False)
        of_day = usd[day]
        for group in result.get("Groups", []):
            charge, amount = _charge(group), _usd(group)
            if of_day.setdefault(charge, amount) != amount:
                msg = f"Cost Explorer has two figures for {charge} on {day}: look at it in the Billing console"
                raise BillError(msg)
    return [BilledDay(day, of_day, estimated[day]) for day, of_day in sorted(usd.items())]


def _charge(group: "GroupTypeDef") -> Charge:
    service, *more = group["Keys"]
    # A product attribute comes as `model$Claude Opus 5.5`, or `model$` where a charge has none.
    return Charge(service, more[0].partition("$")[2] if more else "")


def _usd(group: "GroupTypeDef") -> Decimal:
    metric = group.get("Metrics", {}).get(_METRIC, {})
    amount = Decimal("NaN")
    if metric.get("Unit") == "USD":
        with suppress(InvalidOperation):
            amount = Decimal(metric.get("Amount", ""))
    if not amount.is_finite() or amount.adjusted() > _MOST_DIGITS:
        msg = f"Cost Explorer gives {dict(metric)!r} for {group.get('Keys')}, not an amount in USD: nothing is compared"
        raise BillError(msg)
    return amount
