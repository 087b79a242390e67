"""The AWS Price List: what AWS charges, product by product."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_pricing import PricingClient

PRICE_LIST_REGION = "us-east-1"
"""One of the three regions that have the API; each tells the prices of all."""


class PublishedPrices:
    """The Price List API. Its calls cost nothing."""

    def __init__(self, client: "PricingClient") -> None:
        """Take a client in `PRICE_LIST_REGION`."""
        self._pricing = client

    @needs("pricing:GetProducts", on=On.EVERYTHING)
    def products(self, service: str, region: str) -> Iterator[str]:
        """Yield the products of a service code in a region, each a JSON document, page after page."""
        with calls.named("pricing:GetProducts"):
            pages = self._pricing.get_paginator("get_products").paginate(
                ServiceCode=service,
                Filters=[{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}],
                FormatVersion="aws_v1",
            )
            for page in pages:
                yield from page.get("PriceList", ())
