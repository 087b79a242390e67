"""What is usual: the same hour of the week, then of any day, then any hour; and what stands out from it."""

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.baseline import (
    EVERYTHING,
    HOUR,
    Baseline,
    Diary,
    Past,
    Used,
    day_baseline,
    day_json,
    hour_baseline,
    hours_from,
    hours_of,
    spikes,
)
from lambdas.core.spend import Cost
from lambdas.core.usage import Kind, Sample, Series, Tier

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
SINCE = MONDAY - timedelta(days=14)
A, B = "a (us-east-1)", "b (us-east-1)"


def used(usd: str | Decimal, tokens: int = 1000) -> Used:
    return Used(Decimal(usd), tokens)


def past(usd: dict[datetime, str], label: str = A, until: datetime = MONDAY + timedelta(days=1)) -> Past:
    return Past(SINCE, until, {at: {label: used(each)} for at, each in usd.items()})


def at(day: int, hour: int) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour)


def test_the_same_hour_of_the_week_counts_first():
    known = past({at(-7, 10): "4", at(-14, 10): "2", at(-1, 10): "100"})
    assert hour_baseline(known, at(0, 10), A) == Baseline(Decimal(3), "Mondays at 10:00")


def test_an_hour_of_the_week_that_was_idle_is_compared_with_that_hour_of_all_days():
    known = past({at(-1, 10): "14"})
    assert hour_baseline(known, at(0, 10), A) == Baseline(Decimal(14), "all days at 10:00")


def test_an_hour_of_the_day_that_was_idle_is_compared_with_all_hours():
    known = past({at(-1, 9): "336"})
    assert hour_baseline(known, at(0, 10), A) == Baseline(Decimal(336), "all hours")


def test_what_is_new_is_compared_with_the_hours_in_which_it_ran():
    known = past({at(0, 8): "5", at(0, 9): "7", at(0, 10): "13"})
    assert hour_baseline(known, at(0, 10), A) == Baseline(Decimal(6), "all hours")
    assert spikes(known, at(0, 10), 300, Decimal(1)) == []


def test_where_less_than_a_day_is_known_there_is_no_baseline():
    known = Past(at(-1, 11), at(0, 11), {at(-1, 20): {A: used("1")}, at(0, 10): {A: used("100")}})
    assert hour_baseline(known, at(0, 10), A) is None
    known = Past(at(-1, 10), at(0, 11), {at(-1, 20): {A: used("1")}, at(0, 10): {A: used("100")}})
    assert hour_baseline(known, at(0, 10), A) == Baseline(Decimal(1), "all hours")


def test_where_nothing_was_spent_there_is_no_baseline_and_no_spike():
    known = past({at(0, 10): "1000"})
    assert hour_baseline(known, at(0, 10), A) is None
    assert spikes(known, at(0, 10), 300, Decimal(1)) == []


def test_a_spike_is_more_than_the_percentage_and_at_least_some_usd():
    known = past({at(-7, 10): "2", at(-14, 10): "2", at(0, 10): "6"})
    assert spikes(known, at(0, 10), 300, Decimal(1)) == []
    known = past({at(-7, 10): "2", at(-14, 10): "2", at(0, 10): "6.01"})
    found = spikes(known, at(0, 10), 300, Decimal(1))
    assert [each.label for each in found] == [EVERYTHING, A]
    assert str(found[1]) == "$6.01, usually $2.00 (Mondays at 10:00), x3.0: a (us-east-1)"
    assert spikes(known, at(0, 10), 300, Decimal(7)) == []


def test_a_new_model_is_no_spike_by_itself_but_all_together_are():
    hours = {at(-7, 10): {A: used("2")}, at(-14, 10): {A: used("2")}, at(0, 10): {A: used("2"), B: used("50")}}
    found = spikes(Past(SINCE, at(0, 11), hours), at(0, 10), 300, Decimal(1))
    assert [(each.label, each.usd) for each in found] == [(EVERYTHING, Decimal(52))]


def test_a_day_is_compared_with_the_same_day_of_the_week_then_with_any():
    known = past({at(-7, 3): "30", at(-7, 20): "10", at(-1, 1): "500"})
    assert day_baseline(known, MONDAY.date()) == Baseline(Decimal(40), "Mondays")
    assert day_baseline(past({at(-1, 1): "28"}), MONDAY.date()) == Baseline(Decimal(28), "all days")
    assert day_baseline(past({}), MONDAY.date()) is None


def test_a_day_that_was_read_from_noon_on_is_no_day_to_compare_with():
    known = Past(at(-7, 12), MONDAY, {at(-7, 13): {A: used("30")}})
    assert day_baseline(known, MONDAY.date()) is None


def test_reading_again_replaces_what_was_read_and_forgets_what_is_old():
    known = past({at(-14, 1): "1", at(0, 1): "1", at(0, 2): "1"}, until=at(0, 3))
    again = known.with_hours(at(0, 1), at(1, 1), {at(0, 2): {A: used("5")}}, whole=True)
    assert (again.since, again.until) == (at(-13, 0), at(1, 1))
    assert again.hours == {at(0, 2): {A: used("5")}}


def test_a_reading_that_is_not_whole_lowers_nothing():
    known = past({at(0, 1): "3", at(0, 2): "1"}, until=at(0, 3))
    again = known.with_hours(at(0, 1), at(0, 3), {at(0, 2): {A: used("5")}}, whole=False)
    assert again.hours == {at(0, 1): {A: used("3")}, at(0, 2): {A: used("5")}}


def test_tokens_are_counted_once_though_they_show_by_tier_too():
    series = Series("us-east-1", "AWS/Bedrock", "InputTokenCount", (("ModelId", "a"),), "a", Kind.INPUT)
    tier = Series(
        *series.source, series.metric, (("ModelId", "a"), ("T", "x")), "a", Kind.INPUT, Tier.FLEX, by_tier=True
    )
    calls = Series(*series.source, "Invocations", (("ModelId", "a"),), "a", Kind.CALLS)
    samples = [Sample(series, at(0, 1), 3600, 90), Sample(tier, at(0, 1), 3600, 70), Sample(calls, at(0, 1), 3600, 5)]
    samples += [Sample(series, at(0, 2) + timedelta(minutes=4), 60, 10)]
    costs = {"us-east-1": {at(0, 1): {A: Cost(Decimal(2), Decimal(1))}, at(0, 2): {A: Cost(Decimal(0), Decimal(0))}}}
    assert hours_of(costs, samples) == {
        at(0, 1): {A: Used(Decimal(2), 90, Decimal(1))},
        at(0, 2): {A: Used(Decimal(0), 10)},
    }


amounts = st.decimals(0, 1000, places=2)
hours = st.dictionaries(
    st.integers(-14 * 24, 0).map(lambda n: MONDAY + n * HOUR),
    st.dictionaries(st.sampled_from([A, B, "c (eu-west-1)"]), amounts.map(lambda usd: Used(usd, 10))),
)


@given(hours, st.sampled_from([A, B, "c (eu-west-1)"]), amounts, st.integers(110, 1000), amounts)
def test_more_usage_never_hides_a_spike(spent, label, more, percent, least):
    before = Past(SINCE, MONDAY + HOUR, spent)
    models = dict(spent.get(MONDAY, {}))
    models[label] = models.get(label, Used()).plus(Used(more))
    after = Past(SINCE, MONDAY + HOUR, {**spent, MONDAY: models})
    told = {each.label for each in spikes(before, MONDAY, percent, least)}
    assert told <= {each.label for each in spikes(after, MONDAY, percent, least)}


@given(hours, st.integers(110, 1000))
def test_what_is_usual_is_never_more_than_the_dearest_hour_and_what_is_told_stands_out(spent, percent):
    known = Past(SINCE, MONDAY + HOUR, spent)
    for label in (EVERYTHING, A, B):
        usual = hour_baseline(known, MONDAY, label)
        dearest = max((known.usd(each, label) for each in spent if each < MONDAY), default=Decimal(0))
        assert usual is None or 0 < usual.usd <= dearest
    for each in spikes(known, MONDAY, percent, Decimal(1)):
        assert each.usd * 100 > each.baseline.usd * percent


@given(hours)
def test_hours_survive_the_ledger_to_five_digits(spent):
    known = Past(SINCE, MONDAY + HOUR, {hour: models for hour, models in spent.items() if models})
    days = {each.date() for each in known.hours}
    kept = hours_from([json.loads(json.dumps(day_json(known, each))) for each in days])
    assert kept.keys() == known.hours.keys()
    for hour, models in known.hours.items():
        for label, each in models.items():
            assert kept[hour][label].usd == pytest.approx(each.usd, rel=Decimal("0.0001"))
            assert kept[hour][label].tokens == each.tokens


def test_the_busiest_day_of_a_large_account_fits_an_item_of_the_ledger():
    """An item holds 400 KB: 500 models in use in each hour of the day."""
    labels = [f"us.anthropic.claude-some-model-{n}-v1:0 (us-east-{n % 9})" for n in range(500)]
    day = {
        at(0, hour): {
            label: Used(Decimal(n * 7919 % 99_991) / 97, n * 104_729 % 9_999_991, Decimal(n) / 3)
            for n, label in enumerate(labels, start=hour * 1000 + 1)
        }
        for hour in range(24)
    }
    body = json.dumps(day_json(Past(SINCE, at(1, 0), day), MONDAY.date()))
    assert len(gzip.compress(body.encode(), mtime=0)) < 350_000


def test_the_diary_survives_the_ledger():
    diary = Diary(SINCE, MONDAY, date(2026, 11, 22), MONDAY, {A: MONDAY}, ("a gap",))
    assert Diary.from_json(json.loads(json.dumps(diary.to_json()))) == diary
    assert Diary.from_json(Diary(SINCE, MONDAY).to_json()) == Diary(SINCE, MONDAY)
