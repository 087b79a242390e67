"""What moto lacks of what throttles hold down: API keys, and rate limits of AgentCore gateways."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_MADE = datetime(2026, 11, 1, tzinfo=UTC)
GATEWAY = "gw-0123456789"


@dataclass
class Throttles:
    """Keys and the rate limits of one gateway."""

    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    """User, service and status by id."""
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Entries, and a description where there is one, by name."""

    def add_key(self, number: int, user: str, status: str = "Active") -> None:
        """Let a user have one more key for Bedrock."""
        key = {"UserName": user, "ServiceName": "bedrock.amazonaws.com", "Status": status}
        self.keys[f"ACCA{number:016}"] = key

    def add_limit(self, name: str, tokens: float) -> None:
        """Give the gateway one more rate limit."""
        entry = {"dimensions": {"targetName": name}, "tokens": [{"rate": tokens, "period": "minute"}]}
        self.limits[name] = {"entries": [entry], "description": f"for {name}"}

    @property
    def answers(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """By action, as a request reaches the wire."""
        return {
            "iam:ListServiceSpecificCredentials": self._list_keys,
            "iam:UpdateServiceSpecificCredential": self._update_key,
            "bedrock-agentcore:ListGateways": lambda _: {
                "items": [{"gatewayId": GATEWAY, "name": "tools", "status": "READY"}] if self.limits else []
            },
            "bedrock-agentcore:ListGatewayRateLimits": lambda _: {
                "rateLimits": [self._limit(name) for name in self.limits]
            },
            "bedrock-agentcore:GetGatewayRateLimit": lambda asked: self._limit(_name(asked)),
            "bedrock-agentcore:UpdateGatewayRateLimit": self._update_limit,
        }

    def _list_keys(self, asked: dict[str, Any]) -> dict[str, Any]:
        body = asked["body"]
        found = [
            {"ServiceSpecificCredentialId": name, "CreateDate": _MADE, **each}
            for name, each in self.keys.items()
            if each["ServiceName"] == body["ServiceName"] and body.get("UserName") in {None, each["UserName"]}
        ]
        return {"ServiceSpecificCredentials": found, "IsTruncated": False}

    def _update_key(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.keys[asked["body"]["ServiceSpecificCredentialId"]]["Status"] = asked["body"]["Status"]
        return {}

    def _limit(self, name: str) -> dict[str, Any]:
        return {**self.limits[name], "rateLimitId": name, "gatewayIdentifier": GATEWAY, "status": "ACTIVE"}

    def _update_limit(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = _name(asked)
        self.limits[name] |= json.loads(asked["body"])
        return self._limit(name)


def _name(asked: dict[str, Any]) -> str:
    return str(asked["url_path"].rpartition("/")[2])
