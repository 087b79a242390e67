"""The inventory: what is there, what it costs, and how stocks taken one after the other are joined."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from lambdas.core.assumptions import Assumptions
from lambdas.core.inventory import BY_THE_HOUR, Confidence, CostKind, Inventory, Piece, Standing, Work
from lambdas.core.sights import (
    NAMES,
    BatchJob,
    BatchTokens,
    Copies,
    Holding,
    Regions,
    Sight,
    batch_tokens_due,
    looked_around,
    read_since,
    taken,
)

HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
ALL = frozenset({NAMES, *CostKind})
MONTH = datetime(2026, 11, 1, tzinfo=UTC)
NOVA = "amazon.nova-pro-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"
UNIT = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc"
MODEL = "arn:aws:bedrock:us-east-1:123456789012:imported-model/xyz"
JOB = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/j"
ASSUMED = Assumptions(
    provisioned_unit_hour=Decimal(10),
    imported_unit_minute=Decimal("0.1"),
    endpoint_instance_hour=Decimal(30),
    job_hour=Decimal(6),
    batch_input_tokens=1000,
    batch_output_tokens=100,
)


def token_usd(model: str, _at: datetime) -> tuple[Decimal, Decimal]:
    """One dollar per million input tokens, five per million output tokens; ten times as much for what is dear."""
    factor = 10 if "dear" in model else 1
    return Decimal(factor) / 1_000_000, Decimal(5 * factor) / 1_000_000


def sight(region: str = "us-east-1", seen: frozenset[str] = ALL, **showed) -> Sight:
    return Sight(region, seen, **showed)


def provisioned(since: datetime, units: int = 1, name: str = "pt", arn: str = UNIT) -> Holding:
    return Holding(
        CostKind.PROVISIONED, name, arn, since, units=units, unit=f"arn:aws:bedrock:::foundation-model/{NOVA}"
    )


def job(since: datetime, records: int | None, until: datetime | None = None, model: str = NOVA) -> BatchJob:
    return BatchJob("nightly", JOB, model, since, until, records)


def take(old: Inventory, at: datetime, *sights: Sight, assumptions: Assumptions = ASSUMED) -> Inventory:
    return taken(old, sights, at, assumptions, token_usd)


def usd(inventory: Inventory, start: datetime, end: datetime) -> Decimal:
    return sum(inventory.usd_between(start, end).values(), Decimal(0))


# --- names -------------------------------------------------------------------------------------------------------


def test_a_profile_stands_for_its_model_by_id_and_by_arn(now):
    routed = (
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0",
        f"arn:aws:bedrock:us-west-2::foundation-model/{NOVA}",
    )
    found = take(Inventory(now), now, sight(names={"a1b2c3d4e5f6": routed, PROFILE: routed}))
    assert found.models_behind("a1b2c3d4e5f6") == (NOVA,)
    assert found.models_behind(PROFILE) == (NOVA,)


def test_a_profile_of_different_models_stands_for_all_of_them(now):
    found = take(Inventory(now), now, sight(names={"p": ("a.cheap", "b.dear")}))
    assert found.models_behind("p") == ("a.cheap", "b.dear")


def test_an_unknown_id_stands_for_itself(now):
    assert Inventory(now).models_behind("anything") == ("anything",)


def test_provisioned_throughput_and_deployments_stand_for_their_base_model(now):
    deployment = Holding(
        CostKind.DEPLOYMENT, "d", "arn:d", now, unit=f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"
    )
    unknown = Holding(CostKind.DEPLOYMENT, "e", "arn:e", now)
    found = take(Inventory(now), now, sight(holdings=[provisioned(now), deployment, unknown]))
    assert found.models_behind(UNIT) == (BY_THE_HOUR,)
    assert found.models_behind("arn:d") == (NOVA,)
    assert found.models_behind("arn:e") == ("arn:e",)


def test_an_imported_model_is_known_only_once_its_copies_are_metered(now):
    idle = take(Inventory(now), now, sight(copies=[Copies("m", MODEL, 2, {})]))
    assert idle.models_behind(MODEL) == (MODEL,)
    unsized = take(Inventory(now), now, sight(copies=[Copies("m", MODEL, None, {now: Decimal(1)})]))
    assert unsized.models_behind(MODEL) == (MODEL,)
    assert unsized.gaps == ("us-east-1: AWS does not say how many units a copy of the imported model m takes",)
    metered = take(idle, now, sight(copies=[Copies("m", MODEL, 2, {now - QUARTER: Decimal(1)})]))
    assert metered.models_behind(MODEL) == metered.models_behind("xyz") == (BY_THE_HOUR,)


def test_a_name_outlives_its_profile_until_the_month_after_has_passed(now):
    found = take(Inventory(now), now, sight(names={"p": (NOVA,)}))
    later = take(found, datetime(2026, 12, 31, tzinfo=UTC), sight(names={}))
    assert later.models_behind("p") == (NOVA,)
    assert take(later, datetime(2027, 1, 1, tzinfo=UTC), sight(names={})).models_behind("p") == ("p",)


# --- by the hour -------------------------------------------------------------------------------------------------


def test_what_is_there_costs_from_its_creation_on_and_goes_on(now):
    found = take(Inventory(now), now, sight(holdings=[provisioned(now - 3 * HOUR, units=2)]))
    assert usd(found, now - 2 * HOUR, now) == 40
    assert usd(found, MONTH, now) == 60
    assert usd(found, now, now + HOUR) == 20
    assert found.usd_between(MONTH, now)[Confidence.GUESSED] == 60
    assert found.usd_by_item(MONTH, now) == {"provisioned throughput pt (us-east-1)": 60}
    assert found.burn_usd_per_minute == Decimal(20) / 60


@pytest.mark.parametrize("pattern", ["pt", "p*", UNIT, "*:provisioned-model/*", NOVA, "amazon.nova-pro*"])
def test_the_users_own_price_counts_by_name_arn_or_model(now, pattern):
    known = replace(ASSUMED, usd_per_hour={"other": Decimal(1), pattern: Decimal("7.5"), "*": Decimal(99)})
    found = take(Inventory(now), now, sight(holdings=[provisioned(now - HOUR, units=2)]), assumptions=known)
    assert found.usd_between(MONTH, now) == {Confidence.LISTED: 15, Confidence.ESTIMATED: 0, Confidence.GUESSED: 0}


def test_an_endpoint_is_priced_by_its_instances(now):
    endpoint = Holding(CostKind.ENDPOINT, "e", "arn:e", now - HOUR, units=3, unit="ml.g5.2xlarge")
    known = replace(ASSUMED, usd_per_hour={"ml.g5.*": Decimal("1.5")})
    assert usd(take(Inventory(now), now, sight(holdings=[endpoint])), MONTH, now) == 90
    assert usd(take(Inventory(now), now, sight(holdings=[endpoint]), assumptions=known), MONTH, now) == Decimal("4.5")


def test_what_is_no_longer_listed_ended_when_it_was_missed(now):
    found = take(Inventory(now), now, sight(holdings=[provisioned(now - HOUR)]))
    later = take(found, now + QUARTER, sight())
    assert later.standing[0].until == now + QUARTER
    assert usd(later, MONTH, now + 5 * HOUR) == Decimal("12.5")
    assert later.burn_usd_per_minute == 0


def test_what_ended_is_kept_until_the_month_after_has_passed(now):
    ended = take(take(Inventory(now), now, sight(holdings=[provisioned(now - HOUR)])), now, sight())
    assert take(ended, datetime(2026, 12, 31, 23, tzinfo=UTC), sight()).standing
    assert not take(ended, datetime(2027, 1, 1, tzinfo=UTC), sight()).standing


def test_a_listing_that_failed_ends_nothing_and_nor_does_another_regions(now):
    found = take(Inventory(now), now, sight(holdings=[provisioned(now - HOUR)]))
    for other in (sight(seen=ALL - {CostKind.PROVISIONED}), sight("eu-west-1")):
        assert take(found, now + HOUR, other).standing == found.standing


def test_what_comes_back_costs_for_the_time_it_was_away_too(now):
    there = sight(holdings=[provisioned(now - HOUR)])
    gone = take(take(Inventory(now), now, there), now + HOUR, sight())
    back = take(gone, now + 2 * HOUR, there)
    assert usd(back, MONTH, now + 2 * HOUR) == 30
    assert usd(take(back, now + 3 * HOUR, there), MONTH, now + 3 * HOUR) == 40


def test_more_units_cost_more_from_the_last_look_on(now):
    one = take(Inventory(now), now, sight(holdings=[provisioned(now - HOUR)]))
    three = sight(holdings=[provisioned(now - HOUR, units=3)])
    grown = take(one, now + HOUR, three)
    assert usd(grown, MONTH, now) == 10
    assert usd(grown, now, now + HOUR) == 30
    assert usd(take(grown, now + 2 * HOUR, three), MONTH, now + 2 * HOUR) == 70


def test_a_new_price_holds_for_the_past_of_what_is_still_there(now):
    there = sight(holdings=[provisioned(now - HOUR)])
    found = take(
        take(Inventory(now), now, there), now, there, assumptions=replace(ASSUMED, provisioned_unit_hour=Decimal(1))
    )
    assert usd(found, MONTH, now) == 1


def test_a_customization_job_costs_until_its_end_once(now):
    running = Holding(CostKind.CUSTOMIZATION, "tune", "arn:t", now - 2 * HOUR)
    ended = replace(running, until=now + QUARTER)
    found = take(Inventory(now), now, sight(holdings=[running]))
    assert usd(found, MONTH, now) == 12
    for minutes in (30, 45, 60):
        found = take(found, now + timedelta(minutes=minutes), sight(holdings=[ended, ended]))
        assert usd(found, MONTH, now + HOUR) == Decimal("13.5")


def test_what_was_seen_running_ran_whatever_is_said_of_it_later(now):
    running = Holding(CostKind.CUSTOMIZATION, "tune", "arn:t", now - 2 * HOUR)
    found = take(Inventory(now), now, sight(holdings=[running]))
    earlier = take(found, now + QUARTER, sight(holdings=[replace(running, until=now - HOUR)]))
    assert usd(earlier, MONTH, now + HOUR) == 12
    younger = take(found, now + QUARTER, sight(holdings=[replace(running, since=now - HOUR)]))
    assert usd(younger, MONTH, now) == 12


def test_a_job_that_ended_before_it_was_seen_costs_what_it_took(now):
    ended = Holding(CostKind.CUSTOMIZATION, "tune", "arn:t", now - 5 * HOUR, until=now - 4 * HOUR)
    assert usd(take(Inventory(now), now, sight(holdings=[ended])), MONTH, now) == 6


def test_an_evaluation_is_shown_but_its_model_calls_are_not_counted_twice(now):
    evaluation = Holding(CostKind.EVALUATION, "judge", "arn:e", now - HOUR, free=True)
    found = take(Inventory(now), now, sight(holdings=[evaluation]))
    assert [each.name for each in found.standing] == ["evaluation job judge (us-east-1)"]
    assert usd(found, MONTH, now) == 0
    assert usd(take(Inventory(now), now, sight(holdings=[replace(evaluation, free=False)])), MONTH, now) == 6


# --- imported models ---------------------------------------------------------------------------------------------


def copies(counts: dict[datetime, int], units: int = 2) -> Sight:
    return sight(copies=[Copies("m", MODEL, units, {start: Decimal(count) for start, count in counts.items()})])


def test_copies_are_billed_by_windows_of_five_minutes(now):
    hour = now.replace(minute=0, second=0)
    at = hour + 2 * HOUR
    found = take(Inventory(at), at, copies({hour: 1, hour + timedelta(minutes=5): 3, hour + HOUR: 1}))
    # 2 units x $0.10 x 5 minutes = $1 for a window of a copy
    assert usd(found, hour, hour + HOUR) == 4
    assert usd(found, hour + HOUR, at) == 1
    assert found.usd_between(MONTH, at)[Confidence.ESTIMATED] == 5
    assert found.burn_usd_per_minute == 0
    assert list(found.usd_by_item(MONTH, at)) == ["imported model m (us-east-1)"]


def test_copies_that_run_run_on_until_they_are_looked_at_again(now):
    hour = now.replace(minute=0, second=0)
    at = hour + timedelta(minutes=10)
    found = take(Inventory(at), at, copies({hour: 1, hour + timedelta(minutes=5): 1}))
    assert usd(found, hour, at) == 2
    assert usd(found, at, at + HOUR) == 12
    assert found.burn_usd_per_minute == Decimal("0.2")
    stopped = take(found, at + QUARTER, copies({hour: 1, hour + timedelta(minutes=5): 1}))
    assert usd(stopped, hour, at + HOUR) == 2
    blind = take(found, at + QUARTER, sight(seen=ALL - {CostKind.IMPORTED}))
    assert usd(blind, hour, at + HOUR) == 14


def test_the_users_price_of_a_custom_model_unit_is_by_the_hour_as_all_are(now):
    known = replace(ASSUMED, usd_per_hour={"m": Decimal(12)})
    found = take(Inventory(now), now, copies({now - HOUR: 1}), assumptions=known)
    assert found.usd_between(MONTH, now)[Confidence.LISTED] == 2


# --- batch jobs --------------------------------------------------------------------------------------------------


def test_a_batch_job_is_guessed_by_its_records_as_they_are_processed(now):
    # 1000 input tokens at $1 and 100 output tokens at $5 a million: $0.0015 a record
    found = take(Inventory(now), now, sight(jobs=[job(now - HOUR, 1000)]))
    assert found.usd_between(MONTH, now)[Confidence.GUESSED] == Decimal("1.5")
    found = take(found, now + QUARTER, sight(jobs=[job(now - HOUR, 3000)]))
    assert usd(found, MONTH, now) == Decimal("1.5")
    assert usd(found, now, now + QUARTER) == 3
    assert found.burn_usd_per_minute == Decimal("0.2")
    assert found.work[0].until is None


def test_a_batch_job_is_counted_once_however_often_it_is_seen(now):
    ended = job(now - HOUR, 1000, until=now - QUARTER)
    found = Inventory(now)
    for minutes in range(0, 3000, 500):
        found = take(found, now + timedelta(minutes=minutes), sight(jobs=[ended, ended]))
        assert usd(found, MONTH, now + timedelta(days=9)) == Decimal("1.5")


def test_records_that_come_to_light_after_the_end_are_counted_then(now):
    found = take(Inventory(now), now, sight(jobs=[job(now - HOUR, 0, until=now - QUARTER)]))
    found = take(found, now + QUARTER, sight(jobs=[job(now - HOUR, 1000, until=now - QUARTER)]))
    assert usd(found, now, now + QUARTER) == Decimal("1.5")


def test_a_batch_job_of_an_alias_is_priced_by_the_dearest_behind_it(now):
    names = {"p": ("a.cheap", "b.dear")}
    found = take(Inventory(now), now, sight(names=names, jobs=[job(now - HOUR, 1000, model="p")]))
    assert usd(found, MONTH, now) == 15


def test_a_job_without_counts_is_a_gap_and_not_nothing(now):
    found = take(Inventory(now), now, sight(jobs=[job(now - HOUR, None)]))
    assert found.gaps == ("us-east-1: AWS tells no record counts of 1 batch jobs",)


def test_a_job_that_is_no_longer_listed_has_ended(now):
    found = take(Inventory(now), now, sight(jobs=[job(now - HOUR, 1000)]))
    assert take(found, now + HOUR, sight()).work[0].until == now + HOUR
    assert take(found, now + HOUR, sight(seen=frozenset())).work == found.work


def test_tokens_that_cloudwatch_counts_take_the_place_of_the_guess(now):
    hour = now.replace(minute=0, second=0)
    running = job(hour - HOUR, 1_000_000)
    guessed = take(Inventory(now), now, sight(jobs=[running]))
    tokens = [BatchTokens(f"us.{NOVA}", hour - HOUR, 1_000_000, 200_000), BatchTokens(f"us.{NOVA}", hour, 500_000, 0)]
    found = take(guessed, now, sight(jobs=[running], tokens=tokens))
    assert usd(guessed, MONTH, now) == 1500
    assert usd(found, hour - HOUR, hour) == 2
    assert usd(found, hour, now) == Decimal("0.5")
    assert found.usd_between(MONTH, now)[Confidence.ESTIMATED] == Decimal("2.5")
    # once it is counted it stays so, whatever can be read later
    assert usd(
        take(found, now + HOUR, sight(seen=ALL - {CostKind.BATCH_TOKENS}, jobs=[running])), MONTH, now + HOUR
    ) == Decimal("2.5")


def test_tokens_of_another_model_another_region_or_another_time_leave_the_guess(now):
    hour = now.replace(minute=0, second=0)
    running = job(hour - HOUR, 1000)
    for tokens in (
        sight(jobs=[running], tokens=[BatchTokens("other.model", hour, 1, 0)]),
        sight(jobs=[running], tokens=[BatchTokens(NOVA, hour - 9 * HOUR, 1, 0)]),
    ):
        assert take(Inventory(now), now, tokens).usd_between(MONTH, now)[Confidence.GUESSED] == Decimal("1.5")
    elsewhere = sight("eu-west-1", tokens=[BatchTokens(NOVA, hour, 1, 0)])
    found = take(Inventory(now), now, sight(jobs=[running]), elsewhere)
    assert found.usd_between(MONTH, now)[Confidence.GUESSED] == Decimal("1.5")


def test_an_hour_read_again_counts_once_and_the_larger_way(now):
    hour = now.replace(minute=0, second=0)
    at = hour + 2 * HOUR
    found = Inventory(at)
    for count, expected in ((1_000_000, 1), (1_500_000, Decimal("1.5")), (900_000, Decimal("1.5"))):
        found = take(found, at, sight(tokens=[BatchTokens(NOVA, hour, count, 0)]))
        assert usd(found, hour, hour + HOUR) == expected


def test_hours_of_settled_days_become_one_piece_and_are_not_counted_again(now):
    tokens = [BatchTokens(NOVA, MONTH + hours * HOUR, 1_000_000, 0) for hours in range(500)]
    found = take(Inventory(now), now, sight(tokens=tokens))
    assert usd(found, MONTH, now) == 500
    assert usd(found, MONTH, MONTH + timedelta(days=3)) == 72
    assert len(found.work[0].pieces) < 70
    again = take(found, now + QUARTER, sight(tokens=tokens))
    assert usd(again, MONTH, now) == 500


def test_tokens_are_read_from_the_month_on_and_then_only_the_last_hours(now):
    assert read_since(Inventory(now), "us-east-1", CostKind.BATCH_TOKENS, now) == MONTH
    found = take(Inventory(now), now, sight())
    again = read_since(found, "us-east-1", CostKind.BATCH_TOKENS, now + QUARTER)
    assert again == datetime(2026, 11, 22, 16, tzinfo=UTC)
    failed = take(found, now + 9 * HOUR, sight(seen=frozenset()))
    assert read_since(failed, "us-east-1", CostKind.BATCH_TOKENS, now + 9 * HOUR) == again


def test_tokens_are_read_only_while_some_job_may_have_used_them(now):
    ended = job(now - 9 * HOUR, 1, until=now - 8 * HOUR)
    fresh, read = Inventory(now), take(Inventory(now), now, sight())
    assert not batch_tokens_due(fresh, "us-east-1", [])
    assert batch_tokens_due(fresh, "us-east-1", [ended])
    assert not batch_tokens_due(read, "us-east-1", [ended])
    assert batch_tokens_due(read, "us-east-1", [ended, job(now - HOUR, 1, until=now - HOUR)])
    assert batch_tokens_due(read, "us-east-1", [job(now - 9 * HOUR, 1)])


# --- regions -----------------------------------------------------------------------------------------------------


def test_a_region_nobody_listed_is_discovered_and_stays_two_weeks(now):
    found = looked_around(
        Inventory(now),
        Regions({"eu-west-3": ("AWS/Bedrock",), "us-east-1": ("x",), "sa-east-1": ()}),
        ["us-east-1"],
        now,
    )
    assert found.discovered == {"eu-west-3": ("AWS/Bedrock",)}
    for days, known in ((14, True), (15, False)):
        later = looked_around(found, Regions({}), ["us-east-1"], now + timedelta(days=days))
        assert bool(later.discovered) is known
    assert looked_around(found, Regions({}), ["us-east-1", "eu-west-3"], now).discovered == {}


def test_what_the_last_look_around_could_not_see_stays_a_gap_until_the_next(now):
    blind = looked_around(Inventory(now), Regions({}, ("cannot",)), [], now)
    assert looked_around(blind, None, [], now).blind == ("cannot",)
    assert looked_around(blind, Regions({}), [], now).blind == ()


# --- as JSON -----------------------------------------------------------------------------------------------------


def test_an_inventory_is_read_as_it_was_written(now):
    full = looked_around(Inventory(now), Regions({"eu-west-3": ("AWS/Bedrock",)}, ("cannot",)), [], now)
    full = take(
        full,
        now,
        sight(names={"p": (NOVA,)}, holdings=[provisioned(now - HOUR)], jobs=[job(now - HOUR, 10), job(now, None)]),
        copies({now - QUARTER: 1}),
    )
    full = replace(full, told=("eu-west-3",), gaps=("one",))
    assert full.standing
    assert full.work
    assert Inventory.from_json(json.loads(json.dumps(full.to_json()))) == full


GOOD = Inventory(
    datetime(2026, 11, 22, tzinfo=UTC),
    {"p": (NOVA,)},
    (Standing("a", CostKind.PROVISIONED, "r", "arn", Decimal(1), MONTH, None, Confidence.LISTED),),
    (
        Work(
            "b", CostKind.BATCH, "r", "arn", MONTH, None, (Piece(MONTH, MONTH + HOUR, Decimal(1)),), Confidence.GUESSED
        ),
    ),
).to_json()


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {**GOOD, "at": "yesterday"},
        {**GOOD, "at": "2026-11-22T00:00:00"},
        {**GOOD, "aliases": []},
        {**GOOD, "aliases": {"p": "nova"}},
        {**GOOD, "standing": [{**GOOD["standing"][0], "usd_per_hour": "-1"}]},
        {**GOOD, "standing": [{**GOOD["standing"][0], "usd_per_hour": "NaN"}]},
        {**GOOD, "standing": [{**GOOD["standing"][0], "usd_per_hour": "much"}]},
        {**GOOD, "standing": [{**GOOD["standing"][0], "kind": "castle"}]},
        {**GOOD, "standing": "none"},
        {
            **GOOD,
            "work": [{**GOOD["work"][0], "pieces": [["2026-11-01T00:00:00+00:00", "2026-11-01T00:00:00+00:00", "1"]]}],
        },
        {**GOOD, "work": [{**GOOD["work"][0], "pieces": [["1"]]}]},
        {**GOOD, "gaps": None},
    ],
)
def test_what_is_no_inventory_is_refused(broken):
    assert Inventory.from_json(GOOD).to_json() == GOOD
    with pytest.raises((ValueError, KeyError, TypeError)):
        Inventory.from_json(broken)


# --- assumptions -------------------------------------------------------------------------------------------------


def test_only_assumptions_that_are_not_the_default_travel():
    assert Assumptions().to_json() == {}
    changed = Assumptions(job_hour=Decimal("1.5"), batch_input_tokens=7, usd_per_hour={"ml.*": Decimal("0.1")})
    assert changed.to_json() == {"job_hour": "1.5", "batch_input_tokens": 7, "usd_per_hour": {"ml.*": "0.1"}}
    assert Assumptions.from_json(json.loads(json.dumps(changed.to_json()))) == changed


@pytest.mark.parametrize(
    "broken", [{"jobs": 1}, {"job_hour": "much"}, {"job_hour": None}, {"usd_per_hour": {"x": "y"}}]
)
def test_assumptions_that_are_none_are_refused(broken):
    with pytest.raises((TypeError, ValueError, ArithmeticError)):
        Assumptions.from_json(broken)
