"""Keys, concurrency, gateway rates: held once is held, nothing is ever raised, and a release is exact."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.levels import Level
from lambdas.core.levers import Held, Lever
from lambdas.core.principals import Spared
from tests.unit import test_api_keys, test_concurrency, test_gateways
from tests.unit.test_gateways import entry, gateway, rate

NOBODY = Spared()
LEFT = {Level.RELEASED: 1, Level.STEP_DOWN: 0.25, Level.STOP: 0}

# Made once, for making a client takes longer than all that is done with it.
IAM, FUNCTIONS, GATEWAYS = test_api_keys.Iam(), test_concurrency.Region(), test_gateways.Region()
KEYS_LEVER = test_api_keys.keys_of(IAM)
CONCURRENCY_LEVER = test_concurrency.concurrency_of(us_east_1=FUNCTIONS)
GATEWAYS_LEVER = test_gateways.gateways_of(us_east_1=GATEWAYS)
_levels = st.lists(st.sampled_from(Level), min_size=1, max_size=4)
_reserved = st.none() | st.integers(0, 1000)
_tags = st.sampled_from(["0", "1", "7", "1000", "x", ""])
_functions = st.dictionaries(st.sampled_from("abcd"), st.tuples(_reserved, _tags))
_rates = st.builds(rate, st.floats(0, 1e7), st.sampled_from(["second", "minute"]))
_entries = st.lists(
    st.dictionaries(st.sampled_from(["requests", "tokens", "connections"]), _rates).map(
        lambda each: entry("*", **each)
    ),
    min_size=1,
    max_size=3,
)
_words = st.text(st.sampled_from("ab []%0"), max_size=8).map(str.strip) | st.just("x" * 512)
_limits = st.dictionaries(st.sampled_from(["l1", "l2", "l3"]), st.tuples(_entries, _words), min_size=1)
_keys = st.lists(st.tuples(st.sampled_from(["dev", "on-call"]), st.sampled_from(["Active", "Inactive", "Expired"])))


def drive(lever: Lever, levels: list[Level]) -> list[Held]:
    """Bring it to one level after the other, each act twice; return what to put back, as the ledger remembers it."""
    remembered: dict[str, Held] = {}
    highest = Level.RELEASED
    for level in levels:
        found = lever.find(level, NOBODY).to_hold
        for held in (*found, *found):
            remembered.setdefault(held.key, held)
            lever.hold(held, level)
        assert lever.find(level, NOBODY).to_hold == ()
        for held in remembered.values():
            lever.hold(held, level)  # as it was remembered, perhaps at another level
        highest = max(level, highest)
        assert lever.find(highest, NOBODY).to_hold == ()
    return list(remembered.values())


def restore(lever: Lever, held: list[Held]) -> None:
    for each in (*held, *reversed(held)):
        lever.restore(each)


@given(_keys, _levels)
def test_keys(keys, levels):
    IAM.keys = {}
    for number, (user, status) in enumerate(keys):
        IAM.add(number, user, status=status)
    before = copy.deepcopy(IAM.keys)
    held = drive(KEYS_LEVER, levels)
    assert ("Active" in IAM.statuses.values()) is (Level.STOP not in levels and any(key[1] == "Active" for key in keys))
    restore(KEYS_LEVER, held)
    assert IAM.keys == before


@given(_functions, _levels)
def test_concurrency_of_functions(functions, levels):
    FUNCTIONS.reserved, FUNCTIONS.tags = {}, {}
    for name, (reserved, tag) in functions.items():
        FUNCTIONS.add(name, reserved, tag)
    before = dict(FUNCTIONS.reserved)
    held = drive(CONCURRENCY_LEVER, levels)
    for name, reserved in FUNCTIONS.reserved.items():
        was = before[name]
        assert reserved == was or (reserved is not None and (was is None or reserved < was))
        assert Level.STOP not in levels or reserved == 0
    restore(CONCURRENCY_LEVER, held)
    assert FUNCTIONS.reserved == before


@given(_limits, _levels)
def test_rates_of_gateways(limits, levels):
    GATEWAYS.limits = {}
    for name, (entries, words) in limits.items():
        GATEWAYS.add(*entries, name=name, description=words)
    before = copy.deepcopy(GATEWAYS.limits)
    held = drive(GATEWAYS_LEVER, levels)
    for name, limit in GATEWAYS.limits[gateway()].items():
        for now, was in zip(rates_of(limit), rates_of(before[gateway()][name]), strict=True):
            assert now <= was
            assert now == pytest.approx(was * LEFT[max(levels)])
        assert len(limit.get("description", "")) <= 512
    restore(GATEWAYS_LEVER, held)
    assert described(GATEWAYS.limits) == described(before)


def rates_of(limit: dict[str, Any]) -> list[float]:
    metrics = ("requests", "tokens", "connections")
    return [one["rate"] for each in limit["entries"] for metric in metrics for one in each.get(metric, ())]


def described(limits: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the limits with an empty description where there is none: AWS cannot take one away."""
    return {name: {"description": "", **each} for name, each in limits[gateway()].items()}
