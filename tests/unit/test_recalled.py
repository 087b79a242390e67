"""What another version remembered, or somebody edited: each lever says so in words, and touches nothing."""

from collections.abc import Mapping
from typing import Any

import pytest

from lambdas.aws.allow_policies import AllowPolicies
from lambdas.aws.api_keys import ApiKeys
from lambdas.aws.concurrency import Concurrency
from lambdas.aws.gateways import Gateways
from lambdas.aws.organization import ServiceControlPolicy
from lambdas.core.errors import LedgerItemError
from lambdas.core.levers import Held, Lever

POLICY = "arn:aws:iam::123456789012:policy/use"


def unreached(*_: object) -> Any:
    return pytest.fail("AWS was called")


NOTHING: Any = object()
"""A client that is called nothing of."""
LEVERS: dict[str, tuple[Lever, str, Mapping[str, Any]]] = {
    "keys": (
        ApiKeys(NOTHING, external_anthropic=False),
        "ACCA1",
        {"user": "dev", "service": "bedrock.amazonaws.com"},
    ),
    "concurrency": (
        Concurrency(lambda _: NOTHING, unreached, ("us-east-1",), own_prefix="x-"),
        "us-east-1/agent",
        {"reserved": 5},
    ),
    "gateways": (Gateways(lambda _: NOTHING, ("us-east-1",), percent=25), "us-east-1/gateway/limit", {"entries": []}),
    "policies": (
        AllowPolicies(NOTHING, (POLICY,), unreached),
        "x",
        {"holder": "role/agent", "holder_id": "AROA1", "policy": POLICY, "version": "v1"},
    ),
    "organization": (
        ServiceControlPolicy(NOTHING, unreached, role_arn="", policy_name="", target="", external_anthropic=False),
        "444455556666",
        {"policy_id": "p-1", "attached": False},
    ),
}
KINDS: tuple[object, ...] = (None, b"", {})
ODD = [(name, each, value) for name, (_, _, before) in LEVERS.items() for each in before for value in KINDS]


@pytest.mark.parametrize(("name", "key"), [(name, each) for name, (_, _, before) in LEVERS.items() for each in before])
def test_what_is_missing_is_said_and_nothing_is_put_back(monkeypatch: pytest.MonkeyPatch, name: str, key: str):
    lever, place, before = LEVERS[name]
    # What stands now is read before, and is no matter here.
    monkeypatch.setattr(Gateways, "_now", lambda *_: {"entries": []})
    held = Held(lever.name, place, "this very thing", {each: value for each, value in before.items() if each != key})
    with pytest.raises(LedgerItemError, match=rf"this very thing cannot be read \('{key}' is missing\): put it back"):
        lever.restore(held)


@pytest.mark.parametrize(("name", "key", "value"), [each for each in ODD if each[1:] != ("reserved", None)])
def test_what_is_of_another_kind_is_said_too(monkeypatch: pytest.MonkeyPatch, name: str, key: str, value: object):
    lever, place, before = LEVERS[name]
    monkeypatch.setattr(Gateways, "_now", lambda *_: {"entries": []})
    with pytest.raises(LedgerItemError, match=f"'{key}' is "):
        lever.restore(Held(lever.name, place, "this very thing", {**before, key: value}))


def test_a_gateway_or_a_holder_of_no_known_form_is_said_too():
    gateways, _, before = LEVERS["gateways"]
    with pytest.raises(LedgerItemError, match="its key is 'us-east-1/gateway'"):
        gateways.restore(Held("gateway-rate", "us-east-1/gateway", "limit", before))
    policies, _, before = LEVERS["policies"]
    with pytest.raises(LedgerItemError, match="'holder' is 'robot/x'"):
        policies.restore(Held("allow-policy", "x", "use", {**before, "holder": "robot/x"}))
