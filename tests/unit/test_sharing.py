"""Sharing test events: beside those of others, in a registry that is everybody's, and never at a deployment's cost."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.aws.schemas import TestEvents
from lambdas.core import console
from lambdas.core.errors import AwsCallError
from lambdas.sharing import share, withdraw
from tests.fakes import refused

PREFIX, US = "bedrock-spend", "guardrail in us-east-1"
OURS = {console.schema_name(f"{PREFIX}-{word}") for word in console.EVENTS}


@dataclass
class FakeRegistry:
    """The registry of the account; None for none."""

    says: str | None = None
    schemas: dict[str, str] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    writes: list[str] = field(default_factory=list)

    def _called(self, call: str, *, writes: bool = False) -> None:
        if call in self.refuses:
            raise refused(f"schemas:{call}", "ForbiddenException")
        self.writes += [call] if writes else []

    def description(self) -> str | None:
        self._called("description")
        return self.says

    def create(self, description: str) -> None:
        self._called("create", writes=True)
        self.says = description

    def content(self, name: str) -> str | None:
        self._called("content")
        return self.schemas.get(name)

    def add(self, name: str, content: str) -> None:
        self._called("add", writes=True)
        assert name not in self.schemas
        self.schemas[name] = content

    def replace(self, name: str, content: str) -> None:
        self._called("replace", writes=True)
        assert name in self.schemas
        self.schemas[name] = content

    def delete(self, name: str) -> None:
        self._called("delete", writes=True)
        self.schemas.pop(name, None)

    def is_empty(self) -> bool:
        self._called("is_empty")
        return not self.schemas

    def delete_registry(self) -> None:
        self._called("delete_registry", writes=True)
        assert not self.schemas
        self.says = None


def test_the_registry_is_made_where_it_is_missing_and_taken_away_again():
    registry = FakeRegistry()
    assert share(registry, PREFIX, US) == ""
    assert set(registry.schemas) == OURS
    assert withdraw(registry, PREFIX, US) == ""
    assert (registry.says, registry.schemas) == (None, {})


def test_sharing_again_writes_nothing():
    registry = FakeRegistry()
    share(registry, PREFIX, US)
    registry.writes.clear()
    share(registry, PREFIX, US)
    assert registry.writes == []


@pytest.mark.parametrize("says", ["", "made by Lambda's console", "another guardrail's"])
def test_a_registry_somebody_else_made_stays_even_when_nothing_is_left_in_it(says: str):
    registry = FakeRegistry(says=says)
    assert share(registry, PREFIX, US) == ""
    assert registry.says == says
    withdraw(registry, PREFIX, US)
    assert (registry.says, registry.schemas) == (says, {})


def test_a_registry_others_use_by_now_stays_with_all_that_is_theirs():
    registry = FakeRegistry()
    share(registry, PREFIX, US)
    registry.schemas["_payments-schema"] = "{}"
    withdraw(registry, PREFIX, US)
    assert registry.schemas == {"_payments-schema": "{}"}
    assert registry.says is not None


def test_an_event_somebody_added_to_a_function_of_ours_survives_the_next_deployment():
    registry = FakeRegistry()
    share(registry, PREFIX, US)
    name = console.schema_name(f"{PREFIX}-kill")
    registry.schemas[name] = console.document({"drill": {"scope": "role/a"}}, None)
    share(registry, PREFIX, US)
    assert console.same(
        registry.schemas[name], console.document({**console.EVENTS["kill"], "drill": {"scope": "role/a"}}, None)
    )


@pytest.mark.parametrize("call", ["description", "create", "content", "add", "delete", "is_empty", "delete_registry"])
def test_what_aws_refuses_is_told_and_raises_nothing(call: str):
    registry = FakeRegistry(refuses={call})
    told = share(registry, PREFIX, US), withdraw(registry, PREFIX, US)
    assert any("ForbiddenException" in each for each in told)


# --- the adapter -------------------------------------------------------------------------------------------------


@pytest.fixture
def stubbed():
    client = boto3.client("schemas")
    with Stubber(client) as stub:
        yield TestEvents(client), stub
        stub.assert_no_pending_responses()


def asked(**more: Any) -> dict[str, Any]:
    return {"RegistryName": "lambda-testevent-schemas", **more}


def test_what_is_missing_is_none_and_what_is_there_is_told(stubbed: tuple[TestEvents, Stubber]):
    events, stub = stubbed
    stub.add_client_error("describe_registry", "NotFoundException", expected_params=asked())
    stub.add_response("describe_registry", {"RegistryName": "x"}, asked())
    stub.add_client_error("describe_schema", "NotFoundException", expected_params=asked(SchemaName="s"))
    stub.add_response("describe_schema", {"Content": "{}"}, asked(SchemaName="s"))
    assert [events.description(), events.description()] == [None, ""]
    assert [events.content("s"), events.content("s")] == [None, "{}"]


def test_making_what_is_there_and_deleting_what_is_gone_are_no_errors(stubbed: tuple[TestEvents, Stubber]):
    events, stub = stubbed
    stub.add_client_error("create_registry", "ConflictException", expected_params=asked(Description="ours"))
    stub.add_client_error("delete_schema", "NotFoundException", expected_params=asked(SchemaName="s"))
    stub.add_client_error("delete_registry", "NotFoundException", expected_params=asked())
    events.create("ours")
    events.delete("s")
    events.delete_registry()


def test_schemas_are_written_as_open_api_and_other_errors_are_raised(stubbed: tuple[TestEvents, Stubber]):
    events, stub = stubbed
    written = asked(SchemaName="s", Type="OpenApi3", Content="{}")
    stub.add_response("create_schema", {"SchemaName": "s"}, written)
    stub.add_response("update_schema", {"LastModified": datetime(2026, 11, 1, tzinfo=UTC)}, written)
    stub.add_response("list_schemas", {"Schemas": [{"SchemaName": "s"}]}, asked(Limit=1))
    for operation in ("describe_registry", "describe_schema"):
        stub.add_client_error(operation, "ForbiddenException")
    events.add("s", "{}")
    events.replace("s", "{}")
    assert not events.is_empty()
    for call in (events.description, lambda: events.content("s")):
        with pytest.raises(AwsCallError, match="ForbiddenException"):
            call()
