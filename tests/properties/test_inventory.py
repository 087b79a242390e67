"""Whatever is listed, in whatever order, and whatever fails: money is never negative, never lost, never doubled."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas.core.assumptions import Assumptions
from lambdas.core.inventory import CostKind, Inventory
from lambdas.core.sights import NAMES, BatchJob, BatchTokens, Copies, Holding, Sight, taken

START = datetime(2026, 11, 20, tzinfo=UTC)
HOURS = 96
ALL = frozenset({NAMES, *CostKind})
BY_THE_HOUR = (CostKind.PROVISIONED, CostKind.CUSTOMIZATION)
NEAR = Decimal("1e-15")

moments = st.integers(0, HOURS * 60).map(lambda minutes: START + timedelta(minutes=minutes))
hours = st.integers(0, HOURS).map(lambda count: START + timedelta(hours=count))
ids = st.sampled_from(["a", "b"])
regions = st.sampled_from(["us-east-1", "eu-west-1"])
ends = st.none() | moments
holdings = st.builds(
    Holding, st.sampled_from(BY_THE_HOUR), ids, ids, moments, ends, st.integers(1, 2), st.just("model")
)
jobs = st.builds(BatchJob, ids, ids, st.just("guessed"), moments, ends, st.none() | st.integers(0, 10**6))
tokens = st.builds(BatchTokens, st.just("counted"), hours, st.integers(0, 10**9), st.integers(0, 10**9))
days = st.integers(0, HOURS // 24).map(lambda count: START + timedelta(days=count))
windows = st.integers(0, HOURS * 12).map(lambda count: START + timedelta(minutes=5 * count))
copies = st.builds(
    Copies,
    ids,
    ids,
    st.none() | st.integers(1, 8),
    st.dictionaries(windows, st.integers(0, 5).map(Decimal), max_size=4),
)
sights = st.builds(
    Sight,
    regions,
    st.just(ALL) | st.frozensets(st.sampled_from(sorted(ALL))),
    st.none() | st.dictionaries(ids, st.tuples(ids), max_size=2),
    st.lists(holdings, max_size=4),
    st.just(()),
    st.lists(jobs, max_size=3, unique_by=lambda each: each.arn),
    st.lists(tokens, max_size=4),
)
with_copies = st.builds(lambda sight, found: replace(sight, copies=found), sights, st.lists(copies, max_size=2))
stocks = st.lists(st.tuples(moments, st.lists(with_copies, max_size=2, unique_by=lambda each: each.region)), max_size=5)


def token_usd(_model: str, _at: datetime) -> tuple[Decimal, Decimal]:
    return Decimal("0.000003"), Decimal("0.000015")


def take(old: Inventory, at: datetime, found: list[Sight]) -> Inventory:
    return taken(old, [honest(each) for each in found], at, Assumptions(), token_usd)


def honest(sight: Sight) -> Sight:
    """A listing that failed shows nothing."""
    return replace(
        sight,
        names=sight.names if NAMES in sight.seen else None,
        holdings=[each for each in sight.holdings if each.kind in sight.seen],
        copies=sight.copies if CostKind.IMPORTED in sight.seen else (),
        jobs=sight.jobs if CostKind.BATCH in sight.seen else (),
        tokens=sight.tokens if CostKind.BATCH_TOKENS in sight.seen else (),
    )


def in_order(found: list[tuple[datetime, list[Sight]]]) -> list[tuple[datetime, list[Sight]]]:
    return sorted(found, key=lambda each: each[0])


def history(found: list[tuple[datetime, list[Sight]]]) -> list[Inventory]:
    """Return the inventory after each stock, the stocks in order of time."""
    inventories = [Inventory(START)]
    for at, sights_then in in_order(found):
        inventories.append(take(inventories[-1], at, sights_then))
    return inventories


def usd(inventory: Inventory, start: datetime, end: datetime) -> Decimal:
    return sum(inventory.usd_between(start, end).values(), Decimal(0))


@given(stocks, moments, moments)
def test_nothing_is_ever_negative(found, start, end):
    inventory = history(found)[-1]
    assert all(each >= 0 for each in inventory.usd_between(start, end).values())
    assert all(each > 0 for each in inventory.usd_by_item(start, end).values())
    assert inventory.burn_usd_per_minute >= 0


@given(stocks, st.tuples(moments, moments, moments))
def test_adjacent_intervals_add_up(found, cuts):
    first, middle, last = sorted(cuts)
    inventory = history(found)[-1]
    whole = usd(inventory, first, last)
    assert abs(usd(inventory, first, middle) + usd(inventory, middle, last) - whole) <= NEAR * (1 + whole)
    assert abs(sum(inventory.usd_by_item(first, last).values()) - whole) <= NEAR * (1 + whole)


@settings(max_examples=300)
@given(stocks, hours, hours)
def test_a_later_stock_never_makes_the_past_cheaper(found, one, other):
    """Whole hours, of which windows are made, that had passed when the earlier stock was taken."""
    start, end = sorted((one, other))
    inventories = [each for each in history(_without_copies(found)) if each.at >= end]
    for before, after in pairwise(inventories):
        if all(_is_kept(cut, after) for cut in (start, end)):
            assert usd(after, start, end) >= usd(before, start, end) - NEAR * (1 + usd(before, start, end))


def _without_copies(found):
    """Copies that could not be read are taken to run on, which a reading may prove wrong."""
    return [(at, [replace(each, copies=()) for each in then]) for at, then in found]


def _is_kept(cut: datetime, inventory: Inventory) -> bool:
    """Of days that can no longer change the sum is kept, not the hours."""
    return inventory.at - cut < timedelta(days=1) or cut.hour == 0


@given(stocks, st.lists(regions, min_size=1, unique=True), days, days)
def test_a_stock_in_which_every_listing_failed_changes_no_money(found, failing, one, other):
    before = history(found)[-1]
    after = take(before, before.at + timedelta(minutes=15), [Sight(region) for region in failing])
    start, end = sorted((one, other))
    assert abs(usd(after, start, end) - usd(before, start, end)) <= NEAR * (1 + usd(before, start, end))
    assert after.aliases == before.aliases
    assert after.standing == before.standing


@given(stocks, hours, hours)
def test_taking_the_same_stock_again_at_once_changes_no_money(found, one, other):
    start, end = sorted((one, other))
    inventories = history(found)
    if not found:
        return
    at, sights_then = in_order(found)[-1]
    again = take(inventories[-1], at, sights_then)
    assert abs(usd(again, start, end) - usd(inventories[-1], start, end)) <= NEAR * (1 + usd(again, start, end))


@given(stocks)
def test_an_inventory_is_read_as_it_was_written(found):
    inventory = history(found)[-1]
    assert Inventory.from_json(inventory.to_json()) == inventory
