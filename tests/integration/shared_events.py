"""EventBridge's schema registry, for moto has none: what stands in for its calls, by ``service:Operation``."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError


def _refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "it is so"}}, "Operation")


@dataclass
class SharedEvents:
    """One registry, or none, and what is in it by name."""

    description: str | None = None
    """None while there is no registry."""
    schemas: dict[str, list[str]] = field(default_factory=dict)
    """The versions of each, the newest last."""

    @property
    def answers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "schemas:DescribeRegistry": self._describe_registry,
            "schemas:CreateRegistry": self._create_registry,
            "schemas:DeleteRegistry": self._delete_registry,
            "schemas:ListSchemas": lambda _: {"Schemas": [{"SchemaName": each} for each in self.schemas]},
            "schemas:DescribeSchema": lambda params: {"Content": self._versions(params)[-1]},
            "schemas:CreateSchema": self._create_schema,
            "schemas:UpdateSchema": self._update_schema,
            "schemas:DeleteSchema": self._delete_schema,
        }

    def newest(self, name: str) -> dict[str, Any]:
        """Return the events of a schema by name."""
        examples = json.loads(self.schemas[name][-1])["components"]["examples"]
        return {event: each["value"] for event, each in examples.items()}

    def _describe_registry(self, _params: dict[str, Any]) -> dict[str, Any]:
        if self.description is None:
            raise _refused("NotFoundException")
        return {"Description": self.description} if self.description else {}

    def _create_registry(self, params: dict[str, Any]) -> dict[str, Any]:
        if self.description is not None:
            raise _refused("ConflictException")
        self.description = json.loads(params["body"])["Description"]
        return {}

    def _delete_registry(self, _params: dict[str, Any]) -> dict[str, Any]:
        assert not self.schemas, "a registry that others use was deleted"
        self.description = None
        return {}

    def _versions(self, params: dict[str, Any]) -> list[str]:
        name = params["url_path"].rpartition("/")[2]
        if self.description is None or name not in self.schemas:
            raise _refused("NotFoundException")
        return self.schemas[name]

    def _create_schema(self, params: dict[str, Any]) -> dict[str, Any]:
        name = params["url_path"].rpartition("/")[2]
        if self.description is None:
            raise _refused("NotFoundException")
        if name in self.schemas:
            raise _refused("ConflictException")
        self.schemas[name] = [self._content(params)]
        return {}

    def _update_schema(self, params: dict[str, Any]) -> dict[str, Any]:
        self._versions(params).append(self._content(params))
        return {}

    def _delete_schema(self, params: dict[str, Any]) -> dict[str, Any]:
        self._versions(params)
        del self.schemas[params["url_path"].rpartition("/")[2]]
        return {}

    @staticmethod
    def _content(params: dict[str, Any]) -> str:
        body = json.loads(params["body"])
        assert body["Type"] == "OpenApi3"
        return str(body["Content"])
