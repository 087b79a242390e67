"""Bedrock AgentCore: the rate limits of gateways, lowered at a step-down, set to zero at a stop."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Protocol

from lambdas.aws import calls, gone, recalled
from lambdas.aws.regional import found_in
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.permissions import On, needs
from lambdas.core.principals import Spared

Entries = Sequence[Mapping[str, Any]]
"""As AWS gives them: ``[{"dimensions": {…}, "tokens": [{"rate": 1000.0, "period": "minute"}]}]``."""

_METRICS = ("requests", "tokens", "connections")
_SUM = r"(\d+(?:\.\d+)?(?:e[+-]\d+)?)"
_MARK = re.compile(
    rf" ?\[\d+ % by the spend guardrail: requests {_SUM}, tokens {_SUM}, connections {_SUM}\]$", re.ASCII
)
"""Ends the description of a rate limit that was lowered: what its rates then came to a minute, all together."""

_LONGEST_DESCRIPTION = 512
_AS_GOOD_AS_EQUAL = 1 + 1e-9
_LIST, _LIMITS, _GET, _UPDATE = (
    f"bedrock-agentcore:{each}"
    for each in ("ListGateways", "ListGatewayRateLimits", "GetGatewayRateLimit", "UpdateGatewayRateLimit")
)
_GONE = "ResourceNotFoundException"
_NOT_HERE = "EndpointConnectionError"
"""Which regions have AgentCore no SDK knows: in the others there is nothing to connect to."""


class GatewayControl(Protocol):
    """The calls made of AgentCore's control plane. Keyword arguments and answers as AWS names them."""

    def list_gateways(self, **asked: str) -> Mapping[str, Any]:
        """Return a page of gateways."""

    def list_gateway_rate_limits(self, **asked: str) -> Mapping[str, Any]:
        """Return a page of the rate limits of a gateway."""

    def get_gateway_rate_limit(self, **asked: str) -> Mapping[str, Any]:
        """Return one rate limit."""

    def update_gateway_rate_limit(self, **asked: object) -> Mapping[str, Any]:
        """Replace the entries of a rate limit, and its description where one is given."""


class Gateways:
    """The rate limits that gateways have. They are only ever lowered: what a stop set to zero stays so.

    That a limit was lowered is written into its description, or it would be lowered again and again. Somebody who
    raises a rate above what was left of it is found out by the sums that stand there too. A description cannot be taken
    away again: where there was none, a step-down leaves an empty one.
    """

    name = "gateway-rate"

    def __init__(self, client_in: Callable[[str], GatewayControl], regions: tuple[str, ...], *, percent: int) -> None:
        """Take how to get a client for a region, the regions, and what a step-down leaves of each rate."""
        self._client_in = client_in
        self._regions = regions
        self._percent = percent
        self._making = Lock()  # making a client is not safe to do in several threads at once

    @needs(_LIST, on=On.EVERYTHING)
    @needs(_LIMITS, on=On.GATEWAYS)
    def find(self, level: Level, spared: Spared) -> Found:
        """Return the rate limits that let more through than the level wants."""
        del spared  # a gateway serves whoever calls it
        if level is Level.RELEASED:
            return Found()
        return found_in(self._regions, lambda region: self._look(region, level))

    @needs(_GET, _UPDATE, on=On.GATEWAYS)
    def hold(self, held: Held, level: Level) -> None:
        """Lower the rates from where they are now."""
        now = self._now(held)
        if now is None or _low_enough(now, level):
            return
        if level is Level.STOP:
            self._update(held, _lowered(now["entries"], 0), now.get("description"))
        else:
            entries = _lowered(now["entries"], self._percent)
            self._update(held, entries, _marked(now.get("description", ""), self._percent, entries))

    @needs(_GET, _UPDATE, on=On.GATEWAYS)
    def restore(self, held: Held) -> None:
        """Put entries and description back."""
        now = self._now(held)
        entries, description = recalled.value(held, "entries", list), _text(held.before)
        if now is None or (now["entries"] == entries and _text(now) == description):
            return
        self._update(held, entries, description if description or _text(now) else None)

    def _look(self, region: str, level: Level) -> Found:
        to_hold: list[Held] = []
        unread: dict[str, str] = {}
        uncovered: dict[str, str] = {}
        client = self._client(region)
        try:
            for gateway in _pages(_LIST, client.list_gateways, "items"):
                words = f"AgentCore gateway {gateway['name']} in {region}"
                try:
                    with gone.passes(_GONE):
                        identifier = gateway["gatewayId"]
                        asked = {"gatewayIdentifier": identifier}
                        limits = list(_pages(_LIMITS, client.list_gateway_rate_limits, "rateLimits", asked))
                        to_hold += (
                            _held(region, words, each)
                            for each in limits
                            if each["status"] != "DELETING" and not _low_enough(each, level)
                        )
                        if not limits:
                            uncovered[words] = "it has no rate limit that could be lowered: give it one"
                except AwsCallError as error:
                    unread[f"rate limits of {words}"] = str(error)
        except AwsCallError as error:
            if error.code != _NOT_HERE:
                unread[f"AgentCore gateways in {region}"] = str(error)
        return Found(tuple(to_hold), unread, uncovered)

    def _now(self, held: Held) -> Mapping[str, Any] | None:
        """Return the rate limit, or None when it is gone."""
        region, gateway, limit = _place(held)
        try:
            with calls.named(_GET):
                return self._client(region).get_gateway_rate_limit(gatewayIdentifier=gateway, rateLimitId=limit)
        except AwsCallError as error:
            if error.code == _GONE:
                return None
            raise

    def _update(self, held: Held, entries: Entries, description: str | None) -> None:
        region, gateway, limit = _place(held)
        described = {} if description is None else {"description": description}
        with gone.passes(_GONE), calls.named(_UPDATE):
            self._client(region).update_gateway_rate_limit(
                gatewayIdentifier=gateway, rateLimitId=limit, entries=entries, **described
            )

    def _client(self, region: str) -> GatewayControl:
        with self._making:
            return self._client_in(region)


def _pages(
    action: str, ask: Callable[..., Mapping[str, Any]], items: str, asked: Mapping[str, str] | None = None
) -> Iterator[Mapping[str, Any]]:
    more: Mapping[str, str] = {}
    while True:
        with calls.named(action):
            page = ask(**(asked or {}), **more)
        yield from page.get(items, ())
        if not page.get("nextToken"):
            return
        more = {"nextToken": page["nextToken"]}


def _held(region: str, gateway: str, limit: Mapping[str, Any]) -> Held:
    name = limit["rateLimitId"]
    return Held(
        Gateways.name,
        f"{region}/{limit['gatewayIdentifier']}/{name}",
        f"rate limit {name} of {gateway}",
        {each: limit[each] for each in ("entries", "description") if each in limit},
    )


def _place(held: Held) -> tuple[str, str, str]:
    region, _, names = held.key.partition("/")
    gateway, _, limit = names.partition("/")
    if not limit:
        raise recalled.unreadable(held, f"its key is {held.key!r}")
    return region, gateway, limit


def _low_enough(limit: Mapping[str, Any], level: Level) -> bool:
    """Tell whether a rate limit lets through no more than the level wants."""
    sums = _sums(limit["entries"])
    if level is Level.RELEASED or not any(sums):
        return True
    mark = _MARK.search(_text(limit))
    if level is Level.STOP or mark is None:
        return False
    return all(now <= float(then) * _AS_GOOD_AS_EQUAL for now, then in zip(sums, mark.groups(), strict=True))


def _lowered(entries: Entries, percent: int) -> list[dict[str, Any]]:
    """Return the entries with this much of each rate."""
    return [
        {
            **entry,
            **{
                metric: [{**each, "rate": each["rate"] * percent / 100} for each in entry[metric]]
                for metric in _METRICS
                if metric in entry
            },
        }
        for entry in entries
    ]


def _sums(entries: Entries) -> list[float]:
    """Return what the rates of each metric come to a minute."""
    return [
        math.fsum(
            each["rate"] * (60 if each["period"] == "second" else 1)
            for entry in entries
            for each in entry.get(metric, ())
        )
        for metric in _METRICS
    ]


def _marked(description: str, percent: int, entries: Entries) -> str:
    sums = dict(zip(_METRICS, _sums(entries), strict=True))
    mark = f"[{percent} % by the spend guardrail: {', '.join(f'{name} {rate!r}' for name, rate in sums.items())}]"
    own = _MARK.sub("", description)[: _LONGEST_DESCRIPTION - len(mark) - 1]
    return f"{own} {mark}".lstrip()


def _text(limit: Mapping[str, Any]) -> str:
    return str(limit.get("description") or "")
