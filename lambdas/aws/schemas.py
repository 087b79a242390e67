"""EventBridge's schema registry: where Lambda's console keeps the test events that people share."""

from typing import Any

from lambdas.aws import calls, gone
from lambdas.core.console import REGISTRY
from lambdas.core.errors import AwsCallError
from lambdas.core.permissions import On, needs

_MISSING, _THERE = "NotFoundException", "ConflictException"
_TYPE = "OpenApi3"


class TestEvents:
    """The registry of shared test events, and in it the schemas of the three functions a person runs."""

    __test__ = False  # pytest is not to take it for tests

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - boto3's stubs come without this service
        """Take the client."""
        self._schemas = client

    @needs("schemas:DescribeRegistry", on=On.TEST_EVENT_REGISTRY)
    def description(self) -> str | None:
        """Return what the registry says of itself, None when there is none."""
        try:
            with calls.named("schemas:DescribeRegistry"):
                return str(self._schemas.describe_registry(RegistryName=REGISTRY).get("Description", ""))
        except AwsCallError as error:
            if error.code == _MISSING:
                return None
            raise

    @needs("schemas:CreateRegistry", on=On.TEST_EVENT_REGISTRY)
    def create(self, description: str) -> None:
        """Make the registry; no error where somebody just made it."""
        with gone.passes(_THERE), calls.named("schemas:CreateRegistry"):
            self._schemas.create_registry(RegistryName=REGISTRY, Description=description)

    @needs("schemas:DescribeSchema", on=On.TEST_EVENTS)
    def content(self, name: str) -> str | None:
        """Return the newest version of a schema, None when there is none."""
        try:
            with calls.named("schemas:DescribeSchema"):
                return str(self._schemas.describe_schema(RegistryName=REGISTRY, SchemaName=name)["Content"])
        except AwsCallError as error:
            if error.code == _MISSING:
                return None
            raise

    @needs("schemas:CreateSchema", on=On.TEST_EVENTS)
    def add(self, name: str, content: str) -> None:
        """Make a schema."""
        with calls.named("schemas:CreateSchema"):
            self._schemas.create_schema(RegistryName=REGISTRY, SchemaName=name, Type=_TYPE, Content=content)

    @needs("schemas:UpdateSchema", on=On.TEST_EVENTS)
    def replace(self, name: str, content: str) -> None:
        """Add a version to a schema; the console shows the newest."""
        with calls.named("schemas:UpdateSchema"):
            self._schemas.update_schema(RegistryName=REGISTRY, SchemaName=name, Type=_TYPE, Content=content)

    @needs("schemas:DeleteSchema", on=On.TEST_EVENTS)
    def delete(self, name: str) -> None:
        """Delete a schema with all its versions; no error where there is none."""
        with gone.passes(_MISSING), calls.named("schemas:DeleteSchema"):
            self._schemas.delete_schema(RegistryName=REGISTRY, SchemaName=name)

    @needs("schemas:ListSchemas", on=On.TEST_EVENT_REGISTRY)
    def is_empty(self) -> bool:
        """Tell whether the registry holds no schema."""
        with calls.named("schemas:ListSchemas"):
            return not self._schemas.list_schemas(RegistryName=REGISTRY, Limit=1)["Schemas"]

    @needs("schemas:DeleteRegistry", on=On.TEST_EVENT_REGISTRY)
    def delete_registry(self) -> None:
        """Delete the registry; no error where there is none."""
        with gone.passes(_MISSING), calls.named("schemas:DeleteRegistry"):
            self._schemas.delete_registry(RegistryName=REGISTRY)
