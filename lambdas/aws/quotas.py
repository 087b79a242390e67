"""Service Quotas: whether quotas are raised without anybody asking."""

from collections.abc import Mapping
from typing import Any, Protocol

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.health import AutoManagement
from lambdas.core.permissions import On, needs


class ServiceQuotas(Protocol):
    """The one call made of Service Quotas."""

    def get_auto_management_configuration(self) -> Mapping[str, Any]:
        """Return how quotas are managed without anybody asking."""


class Quotas:
    """The account's quotas."""

    def __init__(self, client: ServiceQuotas) -> None:
        """Take the client."""
        self._quotas = client

    @needs("servicequotas:GetAutoManagementConfiguration", on=On.EVERYTHING)
    def auto_management(self) -> AutoManagement | None:
        """Return how Service Quotas manages quotas by itself, None where it was never started. Raises AwsCallError."""
        # The SDK that comes with Lambda's runtime may be older than this call.
        asked = getattr(self._quotas, "get_auto_management_configuration", None)
        if asked is None:
            operation, why = "servicequotas:GetAutoManagementConfiguration", "this SDK is older than the call"
            raise AwsCallError(operation, "NotKnown", why)
        try:
            with calls.named("servicequotas:GetAutoManagementConfiguration"):
                found = asked()
        except AwsCallError as error:
            if error.code != "NoSuchResourceException":
                raise
            return None
        # A service that is excluded as a whole has no quotas listed.
        whole = frozenset(service for service, some in found.get("ExclusionList", {}).items() if not some)
        adjusts = found.get("OptInStatus") == "ENABLED" and found.get("OptInType") != "NotifyOnly"
        return AutoManagement(adjusts, whole)
