"""Bedrock AgentCore: gateways and their rate limits."""

import json
import re
import secrets
import time
from typing import Any

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import Emulated, Response, module, wrap

PATH = re.compile(r"^/gateways(?:/(?P<gateway>[^/]+)(?P<limits>/rate-limits(?:/(?P<limit>[^/]+))?)?)?/?$")
ACTIONS = {
    ("GET", ()): "ListGateways",
    ("POST", ()): "CreateGateway",
    ("GET", ("gateway", "limits")): "ListGatewayRateLimits",
    ("POST", ("gateway", "limits")): "CreateGatewayRateLimit",
    ("GET", ("gateway", "limits", "limit")): "GetGatewayRateLimit",
    ("PATCH", ("gateway", "limits", "limit")): "UpdateGatewayRateLimit",
}


def _asked(service: str, method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """Return the operation and what the path names; None for anything else of the service."""
    found = PATH.match(path) if service == "bedrock-agentcore" else None
    named = {name: text for name, text in found.groupdict().items() if text} if found else {}
    operation = ACTIONS.get((method, tuple(named))) if found else None
    return (operation, named) if operation else None


@launcher_patch("agentcore-gateway-rate-limits")
def _gateway_rate_limits() -> None:
    agentcore, actions = module("services.bedrock_agentcore"), module("core.iam_actions")
    store = module("core.responses").AccountRegionScopedDict()

    def action(original: Emulated) -> Emulated:
        def extract(service: str, method: str, path: str, *rest: Emulated) -> str | None:
            asked = _asked(service, method, path)
            found: str | None = f"bedrock-agentcore:{asked[0]}" if asked else original(service, method, path, *rest)
            return found

        return extract

    def resource(original: Emulated) -> Emulated:
        def extract(service: str, method: str, path: str, *rest: Emulated) -> str:
            asked = _asked(service, method, path)
            if asked is None or "gateway" not in asked[1]:
                return str(original(service, method, path, *rest))
            *_, region, account = rest
            return f"arn:aws:bedrock-agentcore:{region}:{account}:gateway/{asked[1]['gateway']}"

        return extract

    def handled(original: Emulated) -> Emulated:
        async def handle(method: str, path: str, headers: Emulated, body: bytes, query: Emulated) -> Response:
            asked = _asked("bedrock-agentcore", method, path)
            if asked is None:
                answer: Response = await original(method, path, headers, body, query)
                return answer
            return _answer(store, *asked, json.loads(body or b"{}"))

        return handle

    wrap(actions, "extract_iam_action", action)
    wrap(actions, "extract_resource_arn", resource)
    wrap(agentcore, "handle_request", handled)


def _answer(store: Emulated, operation: str, named: dict[str, str], body: dict[str, Any]) -> Response:
    now = {"updatedAt": time.time()}
    if operation == "ListGateways":
        return _json(200, {"items": [each["shown"] for each in store.values()]})
    if operation == "CreateGateway":
        identifier = f"{body['name'].lower()}-{secrets.token_hex(5)}"
        shown = {"gatewayId": identifier, "status": "READY", "createdAt": time.time(), **now}
        store[identifier] = {"shown": shown | {name: body[name] for name in ("name", "authorizerType")}, "limits": {}}
        return _json(202, store[identifier]["shown"])
    gateway = store.get(named["gateway"])
    return _nothing("gateway") if gateway is None else _of_limits(gateway["limits"], operation, named, {**body, **now})


def _of_limits(
    limits: dict[str, dict[str, Any]], operation: str, named: dict[str, str], body: dict[str, Any]
) -> Response:
    if operation == "ListGatewayRateLimits":
        return _json(200, {"rateLimits": list(limits.values())})
    if operation == "CreateGatewayRateLimit":
        name = body.get("rateLimitId") or f"limit-{secrets.token_hex(5)}"
        fixed = {"rateLimitId": name, "gatewayIdentifier": named["gateway"], "status": "ACTIVE"}
        limits[name] = {**body, **fixed, "createdAt": time.time()}
        return _json(202, limits[name])
    limit = limits.get(named["limit"])
    if limit is None:
        return _nothing("rate limit")
    if operation == "UpdateGatewayRateLimit":
        limit |= body
    return _json(200, limit)


def _nothing(what: str) -> Response:
    return _json(404, {"message": f"There is no such {what}."}, "ResourceNotFoundException")


def _json(status: int, body: dict[str, Any], error: str = "") -> Response:
    headers = {"Content-Type": "application/json", **({"x-amzn-errortype": error} if error else {})}
    return status, headers, json.dumps(body).encode()
