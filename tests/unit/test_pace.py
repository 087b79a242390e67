"""Pace: what is looked at, what may be unread at the most, and why everything is read."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from lambdas.core.limits import Allowance, Ladder, Limit, Verdict
from lambdas.core.pace import Bounds, Seen, Unread, Watch, noticed, to_glance_at, unread, watch_after, why_read
from lambdas.core.prices import PriceTable
from lambdas.core.usage import Kind, Look, Reading, Sample, Series, Source
from lambdas.core.windows import Window
from tests.fakes import moment

HERE, THERE = Source("us-east-1", "AWS/Bedrock"), Source("eu-west-1", "AWS/Bedrock")
MANTLE = Source("us-east-1", "AWS/BedrockMantle")
NOW = moment("18:07")
BARE = Ladder(None, None)
BOUNDS = Bounds((Limit(Window.DAY, Decimal(50), BARE),), Decimal(5), timedelta(minutes=4))
NOTHING = Unread(Decimal(0), Decimal(0))
EVERYWHERE = frozenset({"us-east-1", "eu-west-1"})
MINUTE = timedelta(minutes=1)


def watch(read: str = "18:00", spent: str = "0", **sources: Seen) -> Watch:
    """Return what a full read left; sources as ``here``, ``there`` and ``mantle``."""
    names = {"here": HERE, "there": THERE, "mantle": MANTLE}
    at = moment(read)
    windows = dict.fromkeys((Window.HOUR, Window.DAY, Window.MONTH), Decimal(spent))
    seen = {names[name]: each for name, each in sources.items()}
    return Watch(at, at - timedelta(minutes=20), windows, "mark", Decimal(0), seen)


def used(time: str, **more: Any) -> Seen:
    return Seen(moment(time), summed=True, **more)


def total(time: str, count: int = 1, source: Source = HERE, kind: Kind = Kind.OUTPUT, seconds: int = 60) -> Sample:
    return Sample(Series(*source, kind, (), "", kind), moment(time), seconds, count)


def sample(time: str, count: int = 1, source: Source = HERE, kind: Kind = Kind.OUTPUT) -> Sample:
    return Sample(Series(*source, kind, (("ModelId", "m"),), "m", kind), moment(time), 60, count)


def look(known: Watch, now: datetime = NOW, *, guarded: frozenset[str] = EVERYWHERE, woken: bool = False) -> Any:
    return to_glance_at(known, [HERE, THERE, MANTLE], guarded, now, woken=woken)


def why(
    known: Watch,
    glance: Reading | None = None,
    news: Unread = NOTHING,
    bounds: Bounds = BOUNDS,
    allowances: tuple[Allowance, ...] = (),
    last: Verdict = Verdict.OK,
    mark: str = "mark",
    now: datetime = NOW,
) -> str | None:
    return why_read(known, glance or Reading(now, []), news, bounds, allowances, last, mark, now)


# --- what is glanced at ---


def test_sources_in_use_are_glanced_at_and_quiet_ones_with_tripwires_are_not():
    known = watch(here=used("17:55"), there=used("10:00"), mantle=Seen())
    assert set(look(known)) == {HERE}


def test_a_source_is_quiet_twenty_minutes_after_its_last_use():
    known = watch(read="18:00", here=used("17:30"))
    assert HERE not in look(known, moment("18:01"))
    assert HERE in look(watch(read="18:00", here=used("17:50")), moment("18:05"))


def test_what_was_unread_of_a_source_stays_in_sight_when_it_falls_quiet():
    """It was in use at the last full read: what came after that is in no figure yet."""
    assert HERE in look(watch(read="18:00", here=used("18:00")), moment("18:45"))


def test_sources_without_tripwires_are_glanced_at_each_minute():
    known = watch()
    assert set(look(known, guarded=frozenset({"us-east-1"}))) == {THERE}
    assert set(look(known, guarded=frozenset())) == {HERE, THERE, MANTLE}


def test_woken_everything_is_glanced_at_for_everything():
    found = look(watch(here=used("17:55")), woken=True)
    assert set(found) == {HERE, THERE, MANTLE}
    assert {each.kinds for each in found.values()} == {frozenset(Kind)}


def test_each_quiet_source_is_glanced_at_within_half_an_hour_and_not_all_at_once():
    known = watch(read="18:00")
    looks = [set(look(known, moment("18:01") + minute * MINUTE)) for minute in range(30)]
    assert sorted(source for each in looks for source in each) == sorted([HERE, THERE, MANTLE])
    assert max(map(len, looks)) == 1


def test_a_rare_glance_leaves_no_minute_out_even_when_usage_shows_fifteen_minutes_late():
    known = watch(read="18:00")
    starts = [
        (now, found[HERE].since)
        for minute in range(1, 240)
        if HERE in (found := look(replace(known, read_at=NOW + minute * MINUTE), now := NOW + minute * MINUTE))
    ]
    for (before, _), (_, since) in pairwise(starts):
        assert since <= before - timedelta(minutes=15)


def test_a_source_in_use_is_compared_since_the_minute_the_last_read_noted():
    known = watch(here=used("17:55"))
    assert look(known)[HERE].since == known.since


# --- what may be unread ---


CHEAP = Decimal("0.000001")


def known_usage(counted: int, usual: int) -> Watch:
    seen = used("17:55", counted={Kind.OUTPUT: counted}, usual={Kind.OUTPUT: usual}, dearest={Kind.OUTPUT: CHEAP})
    return watch(here=seen)


def looks(known: Watch) -> dict[Source, Look]:
    return dict.fromkeys((HERE, MANTLE), Look(known.since, frozenset(Kind)))


def at_most(prices: PriceTable, kind: Kind = Kind.OUTPUT) -> Decimal:
    """Return what a token costs at the most of which nothing is known."""
    known = watch()
    return unread(known, looks(known), Reading(NOW, [], totals=[total("18:03", kind=kind)]), prices, NOW).usd


def test_usage_as_usual_costs_the_dearest_price_in_use_and_what_is_beyond_it_the_dearest_there_is(prices: PriceTable):
    known = known_usage(counted=400, usual=300)
    glance = Reading(NOW, [], totals=[total("17:45", 300), total("18:03", 700), total("18:04", 50, MANTLE)])
    found = unread(known, looks(known), glance, prices, NOW)
    dearest = at_most(prices)
    assert dearest >= prices.dearest(NOW.date()).of(Kind.OUTPUT)
    assert found.usd == (300 + 600 - 400) * CHEAP + (100 + 50) * dearest
    assert found.burn == 600 * CHEAP + 100 * dearest


def test_a_kind_that_was_counted_higher_does_not_hide_another(prices: PriceTable):
    known = known_usage(counted=10**9, usual=10**9)
    glance = Reading(NOW, [], totals=[total("18:03", 7, kind=Kind.INPUT), total("18:03", 1)])
    found = unread(known, looks(known), glance, prices, NOW)
    assert found.usd >= 7 * prices.dearest(NOW.date()).of(Kind.INPUT)


def test_a_price_in_use_above_the_dearest_on_record_hides_no_usage(prices: PriceTable):
    """Cache reads of a model that no source gives a price for cost as much as its input."""
    dear = 9 * prices.dearest(NOW.date()).of(Kind.CACHE_READ)
    seen = used("17:55", counted={Kind.CACHE_READ: 100}, usual={Kind.CACHE_READ: 100}, dearest={Kind.CACHE_READ: dear})
    known = watch(here=seen)
    totals = [total(time, 100, kind=Kind.CACHE_READ) for time in ("17:50", "18:04")]
    assert unread(known, looks(known), Reading(NOW, [], totals=totals), prices, NOW).usd >= 100 * dear


def test_the_ceiling_holds_whatever_models_are_in_use(prices: PriceTable):
    known = known_usage(counted=400, usual=10**9)
    totals = [total("17:45", 300), total("18:03", 700), total("18:04", 9, MANTLE)]
    found = unread(known, looks(known), Reading(NOW, [], totals=totals), prices, NOW)
    assert found.ceiling == (300 + 700 - 400 + 9) * at_most(prices)


def test_a_read_is_due_before_the_ceiling_is_ten_times_what_is_bearable():
    for ceiling, due in (("49.9", False), ("50", True)):
        news = Unread(Decimal("0.01"), Decimal(0), Decimal(ceiling))
        assert (why(watch(), news=news) is not None) is due


def test_standing_cost_goes_on_unread_and_burns(prices: PriceTable):
    known = replace(watch(), standing_usd_per_minute=Decimal(2))
    found = unread(known, {}, Reading(NOW, []), prices, NOW)
    assert found == Unread(Decimal(14), Decimal(2), Decimal(14))


def test_calls_are_not_tokens(prices: PriceTable):
    known = watch()
    glance = Reading(NOW, [], totals=[total("18:03", 10**9, kind=Kind.CALLS)])
    assert unread(known, {HERE: Look(known.since, frozenset())}, glance, prices, NOW) == NOTHING


# --- why everything is read ---


def test_nothing_is_due_while_nothing_happens():
    assert why(watch(here=used("17:55"))) is None


@pytest.mark.parametrize(("read", "due"), [("17:08", False), ("17:07", True), ("10:00", True), ("18:08", True)])
def test_a_read_is_due_after_an_hour_or_when_the_clock_stepped_back(read: str, due: bool):
    assert (why(watch(read=read)) is not None) is due


@pytest.mark.parametrize(("usd", "burn", "due"), [("4.9", "0.05", False), ("4", "1", True), ("9", "0", True)])
def test_a_read_is_due_before_more_may_be_unread_than_is_bearable(usd: str, burn: str, due: bool):
    bounds = replace(BOUNDS, limits=())
    assert (why(watch(), news=Unread(Decimal(usd), Decimal(burn)), bounds=bounds) is not None) is due


@pytest.mark.parametrize("rung", [25, 40, 50])
@pytest.mark.parametrize(("short_of_it", "due"), [("2.4", True), ("2.6", False)])
def test_a_read_is_due_before_a_rung_can_be_crossed(rung: int, short_of_it: str, due: bool):
    """$1 may be unread, 30 cents a minute burn: a minute until the next look, four until a stop holds."""
    limit = Limit(Window.DAY, Decimal(50), Ladder(Decimal(50), Decimal(80)))
    spent = str(rung - Decimal(short_of_it))
    news = Unread(Decimal(1), Decimal("0.3"))
    last = limit.ladder.verdict(Decimal(spent) * 2)
    found = why(watch(spent=spent), news=news, bounds=replace(BOUNDS, limits=(limit,)), last=last)
    assert (found is not None) is due


def test_rungs_of_a_window_that_ended_do_not_count_as_passed():
    limit = Limit(Window.HOUR, Decimal(2), BARE)
    bounds = replace(BOUNDS, limits=(limit,))
    known = watch(read="17:58", spent="3")
    assert why(known, news=Unread(Decimal(2), Decimal(0)), bounds=bounds, last=Verdict.STOP)


@pytest.mark.parametrize(("burn", "due"), [("2.99", True), ("1.9", False)])
def test_a_minutes_limit_is_held_against_the_burn(burn: str, due: bool):
    bounds = replace(BOUNDS, limits=(Limit(Window.MINUTE, Decimal(4), Ladder(None, Decimal(50))),))
    found = why(watch(), news=Unread(Decimal("0.1"), Decimal(burn)), bounds=bounds)
    assert (found is not None) is due


def test_a_minutes_limit_is_not_crossed_by_a_little_more_than_usual():
    """$4.60 a minute were below the limit when they were read, $5.10 are above it."""
    bounds = Bounds((Limit(Window.MINUTE, Decimal(5), BARE),), Decimal(500), timedelta(minutes=4))
    known = watch(here=used("18:00", usual={Kind.OUTPUT: 460}, dearest={Kind.OUTPUT: Decimal("0.01")}))
    assert known.usual_burn == Decimal("4.6")
    assert why(known, news=Unread(Decimal(5), Decimal("5.1"), Decimal(5)), bounds=bounds)


def test_an_allowance_that_ran_out_and_a_limit_that_was_lowered_call_for_a_read():
    known = watch(spent="60")
    granted = (Allowance(Decimal(50), NOW + MINUTE, "report", "ada"),)
    assert why(known, allowances=granted) is None
    assert why(known, allowances=granted, now=NOW + MINUTE) == "what is allowed is less than it was"
    assert why(known, last=Verdict.STOP) is None


def test_a_read_with_gaps_is_repeated_after_five_minutes():
    known = watch(read="18:03", here=used("17:55"), there=Seen(gaps=True))
    assert why(known) is None
    assert why(known, now=moment("18:08")) == "the last full read had gaps"


def test_a_glance_with_gaps_is_made_good_unless_they_are_known():
    glance = Reading(NOW, [], gaps=("x",), incomplete=frozenset({HERE}))
    assert why(watch(read="18:05", here=used("17:55")), glance)
    assert why(watch(read="18:05", here=used("17:55"), there=Seen(gaps=True)), glance)
    assert why(watch(read="18:05", here=used("17:55", gaps=True)), glance) is None


def test_a_source_whose_glance_failed_is_not_left_out_of_the_read_it_calls_for():
    known = watch(here=used("10:00"))
    after = noticed(known, Reading(NOW, [], gaps=("x",), incomplete=frozenset({HERE})))
    assert after is not None
    assert not after.sources[HERE].is_closed(moment("17:00"))


@pytest.mark.parametrize("kind", [Kind.OUTPUT, Kind.IMAGE, Kind.CALLS])
def test_usage_of_a_quiet_source_is_read_at_once(kind: Kind):
    glance = Reading(NOW, [], totals=[total("18:05", kind=kind)])
    assert why(watch(here=used("10:00")), glance) == "a quiet source is in use"
    assert why(watch(here=used("18:00")), glance) is None


def test_a_source_in_use_that_shows_in_no_sum_is_read_each_minute():
    known = watch(read="18:06", here=used("18:00", unsummed=True))
    assert why(known) == "there is usage that shows in no sum"
    assert why(watch(read="18:05", here=used("10:00", unsummed=True))) is None
    assert why(watch(read="18:01", here=used("10:00", unsummed=True)))


def test_another_inventory_is_read_at_once():
    assert why(watch(), mark="other") == "the inventory changed"


# --- what a read leaves ---


def after(reading: Reading, before: Watch | None = None, read: tuple[Source, ...] = (HERE,)) -> Seen:
    windows = dict.fromkeys((Window.HOUR, Window.DAY, Window.MONTH), Decimal(0))
    return watch_after(before, reading, {}, read, (HERE, THERE), windows, "mark", Decimal(0)).sources[HERE]


def test_sums_that_were_priced_are_counted_since_the_minute_that_is_compared():
    totals = [total("17:47", 1), total("17:46", 2), total("17:00", 4, seconds=3600), total("17:50", 8, THERE)]
    assert after(Reading(NOW, [], totals=totals)).counted == {Kind.OUTPUT: 1}


def test_of_a_minute_that_fills_up_only_what_models_show_is_counted():
    reading = Reading(NOW, [sample("18:05", 6)], totals=[total("18:05", 10)])
    assert after(reading).counted == {Kind.OUTPUT: 6}
    ahead = Reading(NOW, [sample("18:05", 16)], totals=[total("18:05", 10)])
    assert after(ahead).counted == {Kind.OUTPUT: 10}


def test_nothing_is_counted_of_a_source_with_gaps():
    reading = Reading(NOW, [], ("x",), [total("17:50")], frozenset({HERE}))
    assert (after(reading).counted, after(reading).gaps) == ({}, True)


def test_a_source_that_could_not_be_listed_has_a_gap():
    assert after(Reading(NOW, [], ("x",), unlisted=frozenset({HERE}))).gaps


def test_usage_that_models_show_and_sums_do_not_is_told():
    models = [sample("17:50"), sample("17:50", kind=Kind.CACHE_READ)]
    assert after(Reading(NOW, models)).unsummed
    assert after(Reading(NOW, models, totals=[total("17:50")])).unsummed
    both = [total("17:50"), total("17:50", kind=Kind.CACHE_READ)]
    assert not after(Reading(NOW, models, totals=both)).unsummed
    # In a minute that fills up the sums may come after the models.
    assert not after(Reading(NOW, [sample("18:06")])).unsummed


def test_what_is_known_of_sums_stays_known_without_usage():
    known = watch(here=used("10:00", unsummed=True))
    assert after(Reading(NOW, []), known).unsummed
    assert after(Reading(NOW, []), watch(here=used("10:00"))).summed


def test_a_source_is_left_out_only_when_its_sums_are_proven_and_its_usage_is_closed():
    since = moment("11:00")
    assert used("10:59").is_closed(since)
    assert not used("11:00").is_closed(since)
    assert not Seen().is_closed(since)
    assert not Seen(moment("10:00")).is_closed(since)
    assert not used("10:00", unsummed=True).is_closed(since)
    assert not used("10:00", gaps=True).is_closed(since)


def test_what_was_left_out_keeps_what_is_known_of_it():
    known = watch(here=used("10:00", images=True, counted={Kind.OUTPUT: 5}))
    assert after(Reading(NOW, []), known, read=(THERE,)) == used("10:00", images=True)


def test_a_glance_notes_new_usage_only_now_and_then():
    known = watch(here=used("17:55"))
    assert noticed(known, Reading(NOW, [], totals=[total("18:04")])) is None
    assert noticed(known, Reading(NOW, [], totals=[total("18:06", 0)])) is None
    later = noticed(known, Reading(NOW, [], totals=[total("18:05"), total("18:01")]))
    assert later is not None
    assert later.sources[HERE].active_at == moment("18:05")


def test_a_glance_notes_images_at_once():
    found = noticed(watch(here=used("18:05")), Reading(NOW, [], totals=[total("18:05", kind=Kind.IMAGE)]))
    assert found is not None
    assert found.sources[HERE].images


# --- how it is kept ---

KEPT = watch(
    here=used("17:55", counted={Kind.OUTPUT: 5, Kind.IMAGE: 1}, dearest={Kind.OUTPUT: CHEAP}, images=True),
    there=Seen(gaps=True),
)


def test_a_watch_comes_back_as_it_was():
    assert Watch.from_json(json.loads(json.dumps(KEPT.to_json()))) == KEPT


@pytest.mark.parametrize(
    "change",
    [
        {"read_at": None},
        {"since": "then"},
        {"spent": {}},
        {"spent": {"hour": "0", "day": "0", "month": "NaN"}},
        {"spent": {"hour": "0", "day": "0", "month": "-1"}},
        {"standing_usd_per_minute": "Infinity"},
        {"sources": 5},
        {"sources": [["us-east-1", "AWS/Bedrock"]]},
        {"sources": [["us-east-1", "AWS/Bedrock", None, {"dreams": 1}, {}, {}, False, False, False, False]]},
        {"sources": [["us-east-1", "AWS/Bedrock", None, {"output": None}, {}, {}, False, False, False, False]]},
        {"sources": [["us-east-1", "AWS/Bedrock", None, {}, {}, {"output": "NaN"}, False, False, False, False]]},
        {"sources": [["us-east-1", "AWS/Bedrock", 5, {}, {}, {}, False, False, False, False]]},
    ],
    ids=json.dumps,
)
def test_what_is_no_watch_is_an_error(change: dict[str, Any]):
    with pytest.raises((ValueError, KeyError, TypeError, ArithmeticError, AttributeError)):
        Watch.from_json(KEPT.to_json() | change)


def test_a_fleet_costs_one_pass_over_what_was_read():
    """20 sources with 400 series each: what is quadratic in sources would look at 20 times as many samples."""

    class Counted(list[Sample]):
        passes = 0

        def __iter__(self) -> Any:
            Counted.passes += 1
            return super().__iter__()

    sources = [Source(f"r{n}", "AWS/Bedrock") for n in range(20)]
    models, sums = (Counted([make("17:50", source=each) for each in sources]) for make in (sample, total))
    windows = dict.fromkeys((Window.HOUR, Window.DAY, Window.MONTH), Decimal(0))
    watch_after(None, Reading(NOW, models, totals=sums), {}, sources, sources, windows, "", Decimal(0))
    assert Counted.passes <= 4
