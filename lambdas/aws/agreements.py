"""Bedrock: the models it lists, and the rate cards of those that are sold through AWS Marketplace."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, needs
from lambdas.core.price_list import CatalogModel

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

_NO_AGREEMENT = {"ValidationException", "ResourceNotFoundException"}
"""How Bedrock says that a model is not sold by agreement, as AWS's own and the open ones are not."""


class ModelOffers:
    """The models of the configured regions, and what is offered for them."""

    def __init__(self, client_in: "Callable[[str], BedrockClient]") -> None:
        """Take how to get a client for a region."""
        self._client_in = client_in

    @needs("bedrock:ListFoundationModels", on=On.EVERYTHING)
    def models(self, region: str) -> Sequence[CatalogModel]:
        """Return the models of a region."""
        with calls.named("bedrock:ListFoundationModels"):
            answer = self._client_in(region).list_foundation_models()
        return [
            CatalogModel(each["modelId"], each.get("modelName", ""), each.get("providerName", ""))
            for each in answer.get("modelSummaries", ())
        ]

    @needs("bedrock:ListFoundationModelAgreementOffers", on=On.EVERYTHING)
    def rate_card(self, region: str, model_id: str) -> Sequence[Mapping[str, Any]] | None:
        """Return the rates of all public offers for a model, by its bare id; None when it is not sold by agreement.

        The answer also holds tokens that an agreement could be made with; they go no further than here.
        """
        try:
            with calls.named("bedrock:ListFoundationModelAgreementOffers"):
                answer = self._client_in(region).list_foundation_model_agreement_offers(modelId=model_id)
        except AwsCallError as error:
            if error.code in _NO_AGREEMENT:
                return None
            raise
        return [
            {"dimension": rate.get("dimension"), "price": rate.get("price"), "unit": rate.get("unit")}
            for offer in answer["offers"]
            for rate in offer["termDetails"]["usageBasedPricingTerm"]["rateCard"]
        ]
