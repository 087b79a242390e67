"""Rate limits of AgentCore gateways: how far they are lowered, that it happens once, and that it is undone exactly."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from lambdas.aws.gateways import Gateways
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.principals import Spared
from tests.answering import answering, refusal

NOBODY = Spared()
MARK = "[25 % by the spend guardrail: requests 25.0, tokens 15000.0, connections 0.0]"


def gateway(number: int = 0) -> str:
    return f"gw-{number:010}"


def rate(value: float, period: str = "minute") -> list[dict[str, Any]]:
    return [{"rate": value, "period": period}]


def entry(who: str = "*", **rates: list[dict[str, Any]]) -> dict[str, Any]:
    return {"dimensions": {"targetName": who}, **rates}


@dataclass
class Region:
    """Gateways of a region and their rate limits."""

    limits: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """By gateway and name: entries, and a description where there is one."""
    statuses: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, Exception] = field(default_factory=dict)
    """Operation, or operation and gateway."""
    writes: int = 0

    def add(self, *entries: dict[str, Any], name: str = "limit", of: str = gateway(), description: str = "") -> None:
        described = {"description": description} if description else {}
        self.limits.setdefault(of, {})[name] = {"entries": list(entries), **described}

    def __call__(self, operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        of = asked.get("gatewayIdentifier", "")
        for refused in (operation, f"{operation} {of}".strip()):
            if refused in self.refuses:
                raise self.refuses[refused]
        if operation == "ListGateways":
            return _page("items", [{"gatewayId": each, "name": f"name-of-{each}"} for each in self.limits], asked)
        if of not in self.limits:
            raise refusal("ResourceNotFoundException", operation)
        if operation == "ListGatewayRateLimits":
            return _page("rateLimits", [self._limit(of, each) for each in self.limits[of]], asked)
        name = asked["rateLimitId"]
        if name not in self.limits[of]:
            raise refusal("ResourceNotFoundException", operation)
        if operation == "UpdateGatewayRateLimit":
            self.writes += 1
            self.limits[of][name] |= {each: asked[each] for each in ("entries", "description") if each in asked}
        return self._limit(of, name)

    def _limit(self, of: str, name: str) -> Mapping[str, Any]:
        found = copy.deepcopy(self.limits[of][name])
        return {**found, "rateLimitId": name, "gatewayIdentifier": of, "status": self.statuses.get(name, "ACTIVE")}


def _page(items: str, found: list[Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    first = int(asked.get("nextToken", 0))
    more = {"nextToken": str(first + 2)} if first + 2 < len(found) else {}
    return {items: found[first : first + 2], **more}


def gateways_of(**regions: Region) -> Gateways:
    clients = {
        name.replace("_", "-"): answering("bedrock-agentcore-control", each, name.replace("_", "-"))
        for name, each in regions.items()
    }
    return Gateways(clients.__getitem__, tuple(clients), percent=25)


@pytest.fixture
def region():
    return Region()


def act(lever: Gateways, level: Level):
    found = lever.find(level, NOBODY)
    for each in found.to_hold:
        lever.hold(each, level)
    return found


def test_a_step_down_leaves_a_part_of_every_rate_and_says_so(region):
    region.add(entry("a", requests=rate(100), tokens=rate(1000, "second")), description="ours")
    found = act(gateways_of(us_east_1=region), Level.STEP_DOWN)
    (held,) = found.to_hold
    assert held.key == f"us-east-1/{gateway()}/limit"
    assert held.words == f"rate limit limit of AgentCore gateway name-of-{gateway()} in us-east-1"
    assert held.before["description"] == "ours"
    assert region.limits[gateway()]["limit"] == {
        "entries": [entry("a", requests=rate(25.0), tokens=rate(250.0, "second"))],
        "description": f"ours {MARK}",
    }


def test_a_stop_sets_every_rate_to_zero_and_leaves_the_words_alone(region):
    region.add(entry("a", requests=rate(100)), entry("b", tokens=rate(7), connections=rate(3)), description="ours")
    act(gateways_of(us_east_1=region), Level.STOP)
    assert region.limits[gateway()]["limit"] == {
        "entries": [entry("a", requests=rate(0)), entry("b", tokens=rate(0), connections=rate(0))],
        "description": "ours",
    }


def test_what_is_lowered_is_found_again_by_a_stop_alone(region):
    region.add(entry(requests=rate(100)))
    lever = gateways_of(us_east_1=region)
    act(lever, Level.STEP_DOWN)
    assert lever.find(Level.STEP_DOWN, NOBODY).to_hold == ()
    assert len(act(lever, Level.STOP).to_hold) == 1
    for level in Level:
        assert lever.find(level, NOBODY).to_hold == ()


def test_what_somebody_raises_again_is_lowered_again(region):
    region.add(entry("a", requests=rate(100)), entry("b", requests=rate(100)))
    lever = gateways_of(us_east_1=region)
    act(lever, Level.STEP_DOWN)
    limit = region.limits[gateway()]["limit"]
    limit["entries"][1]["requests"] = rate(25, "second")  # as many a second as there may be a minute
    act(lever, Level.STEP_DOWN)
    assert [each["requests"] for each in limit["entries"]] == [rate(6.25), rate(6.25, "second")]
    assert limit["description"] == "[25 % by the spend guardrail: requests 381.25, tokens 0.0, connections 0.0]"
    assert lever.find(Level.STEP_DOWN, NOBODY).to_hold == ()


def test_a_rate_that_is_raised_by_a_little_is_lowered_again_too(region):
    region.add(entry(requests=rate(100), tokens=rate(1e6)))
    lever = gateways_of(us_east_1=region)
    act(lever, Level.STEP_DOWN)
    region.limits[gateway()]["limit"]["entries"][0]["requests"] = rate(25.1)
    assert len(lever.find(Level.STEP_DOWN, NOBODY).to_hold) == 1


def test_what_somebody_lowers_further_and_what_aws_rounds_down_is_left(region):
    region.add(entry("a", requests=rate(1)), entry("b", tokens=rate(999)))
    lever = gateways_of(us_east_1=region)
    act(lever, Level.STEP_DOWN)
    region.limits[gateway()]["limit"]["entries"] = [entry("a", requests=rate(0)), entry("b", tokens=rate(249))]
    assert lever.find(Level.STEP_DOWN, NOBODY).to_hold == ()


@pytest.mark.parametrize("description", ["", "ours", "x" * 512])
@pytest.mark.parametrize(
    "levels", [[Level.STEP_DOWN], [Level.STOP], [Level.STEP_DOWN, Level.STOP], [Level.STOP, Level.STEP_DOWN]]
)
def test_a_release_puts_entries_and_words_back(region, description, levels):
    region.add(entry(requests=rate(33.3)), description=description)
    before = copy.deepcopy(region.limits)
    lever = gateways_of(us_east_1=region)
    (held,) = lever.find(levels[0], NOBODY).to_hold
    for level in levels:
        act(lever, level)
    lever.restore(held)
    after = region.limits[gateway()]["limit"]
    # A description cannot be taken away again: an empty one stands for none.
    assert {"description": "", **after} == {"description": "", **before[gateway()]["limit"]}
    writes = region.writes
    lever.restore(held)
    assert region.writes == writes


@pytest.mark.parametrize(
    "words",
    ["[25 % by the spend guardrail]", f"{MARK} no more", MARK.replace("25.0", "1.2.3"), MARK.replace("25.0", "inf")],
)
def test_words_that_only_look_like_ours_are_not_taken_for_it(region, words):
    region.add(entry(requests=rate(25)), description=words)
    assert len(gateways_of(us_east_1=region).find(Level.STEP_DOWN, NOBODY).to_hold) == 1


def test_what_lets_nothing_through_or_is_being_deleted_is_left(region):
    region.add(entry(requests=rate(0)), name="zero")
    region.add(entry(requests=rate(5)), name="leaving")
    region.statuses = {"leaving": "DELETING"}
    assert act(gateways_of(us_east_1=region), Level.STOP).to_hold == ()
    assert region.writes == 0


def test_a_gateway_without_a_rate_limit_is_not_covered_and_says_what_to_do(region):
    region.limits = {gateway(): {}}
    assert dict(gateways_of(us_east_1=region).find(Level.STOP, NOBODY).uncovered) == {
        f"AgentCore gateway name-of-{gateway()} in us-east-1": "it has no rate limit that could be lowered: give it one"
    }


def test_every_page_of_every_region_is_read(region):
    other = Region()
    for number in range(3):
        for name in ("l1", "l2", "l3"):
            region.add(entry(requests=rate(1)), name=name, of=gateway(number))
            other.add(entry(requests=rate(1)), name=name, of=gateway(number))
    found = gateways_of(us_east_1=region, eu_west_3=other).find(Level.STOP, NOBODY)
    assert len({each.key for each in found.to_hold}) == 18


def test_a_region_without_the_service_is_no_failure_but_a_refusal_is(region):
    region.refuses = {"ListGateways": refusal("AccessDeniedException")}
    nowhere = Region(refuses={"ListGateways": EndpointConnectionError(endpoint_url="https://nowhere")})
    found = gateways_of(us_east_1=region, me_south_1=nowhere).find(Level.STOP, NOBODY)
    assert dict(found.unread) == {
        "AgentCore gateways in us-east-1": "bedrock-agentcore:ListGateways: AccessDeniedException: no"
    }


def test_a_gateway_that_cannot_be_read_is_unread_and_the_others_are_held(region):
    region.add(entry(requests=rate(1)))
    region.add(entry(requests=rate(1)), of=gateway(1))
    region.refuses = {f"ListGatewayRateLimits {gateway()}": refusal("ThrottlingException")}
    found = gateways_of(us_east_1=region).find(Level.STOP, NOBODY)
    assert [each.key for each in found.to_hold] == [f"us-east-1/{gateway(1)}/limit"]
    assert list(found.unread) == [f"rate limits of AgentCore gateway name-of-{gateway()} in us-east-1"]


def test_a_gateway_or_rate_limit_that_is_gone_is_left(region):
    region.add(entry(requests=rate(1)))
    region.add(entry(requests=rate(1)), of=gateway(1))
    lever = gateways_of(us_east_1=region)
    found = lever.find(Level.STOP, NOBODY)
    region.limits = {gateway(1): {}}
    for each in found.to_hold:
        lever.hold(each, Level.STOP)
        lever.restore(each)
    region.refuses = {f"ListGatewayRateLimits {gateway(1)}": refusal("ResourceNotFoundException")}
    gone = lever.find(Level.STOP, NOBODY)
    assert (region.writes, gone.unread, gone.uncovered) == (0, {}, {})


def test_a_late_step_down_does_not_raise_what_a_stop_lowered(region):
    region.add(entry(requests=rate(100)))
    lever = gateways_of(us_east_1=region)
    (held,) = lever.find(Level.STEP_DOWN, NOBODY).to_hold
    lever.hold(held, Level.STOP)
    lever.hold(held, Level.STEP_DOWN)
    lever.hold(held, Level.RELEASED)
    assert region.limits[gateway()]["limit"]["entries"] == [entry(requests=rate(0))]
    assert region.writes == 1


def test_an_update_that_is_refused_is_an_error_that_names_the_permission(region):
    region.add(entry(requests=rate(100)))
    lever = gateways_of(us_east_1=region)
    (held,) = lever.find(Level.STOP, NOBODY).to_hold
    region.refuses = {"UpdateGatewayRateLimit": refusal("ConflictException")}
    with pytest.raises(AwsCallError, match="bedrock-agentcore:UpdateGatewayRateLimit: ConflictException"):
        lever.hold(held, Level.STOP)


def test_without_regions_or_a_level_nothing_is_looked_at(region):
    region.refuses = {"ListGateways": refusal("AccessDeniedException")}
    assert gateways_of().find(Level.STOP, NOBODY).to_hold == ()
    assert not gateways_of(us_east_1=region).find(Level.RELEASED, NOBODY).unread
