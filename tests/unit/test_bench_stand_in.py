"""The simulated CloudWatch of the benches: late as AWS is, at every dimension level, and never making tokens up."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stand_in import BEDROCK, CALLS, LAG, LISTED_AFTER, MANTLE, CloudWatch, Stream
from lambdas.core.usage import Kind

START = datetime(2026, 6, 1, tzinfo=UTC)
NOVA = "amazon.nova-pro-v1:0"
LATER = timedelta(seconds=LAG[1] + 60)
"""When a minute can be read in full, whatever it drew."""


def nova(*usd: float, region: str = "us-east-1", model: str = NOVA) -> Stream:
    return Stream(region, BEDROCK, model, usd, {Kind.INPUT: 1000.0, Kind.OUTPUT: 100.0, CALLS: 1.0})


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def query(metric: str, namespace: str = BEDROCK, period: int = 60, **dimensions: str) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    stat = {"Namespace": namespace, "MetricName": metric, "Dimensions": named}
    return {"Id": "m0", "MetricStat": {"Metric": stat, "Period": period, "Stat": "Sum"}}


def read(cloudwatch: CloudWatch, *queries: dict[str, Any], last: int = 60, region: str = "us-east-1") -> list[Any]:
    pages = cloudwatch.client(region).get_paginator("get_metric_data")
    found = pages.paginate(MetricDataQueries=list(queries), StartTime=START, EndTime=at(last))
    return [result for page in found for result in page["MetricDataResults"]]


def counts(cloudwatch: CloudWatch, metric: str, last: int = 60, **options: Any) -> dict[datetime, float]:
    (result,) = read(cloudwatch, query(metric, **options), last=last)
    return dict(zip(result["Timestamps"], result["Values"], strict=True))


def names(cloudwatch: CloudWatch, **request: Any) -> set[str]:
    pages = cloudwatch.client("us-east-1").get_paginator("list_metrics")
    return {each["MetricName"] for page in pages.paginate(Namespace=BEDROCK, **request) for each in page["Metrics"]}


def test_nothing_can_be_read_before_the_shortest_lag_and_all_of_it_after_the_longest():
    cloudwatch = CloudWatch(START, [nova(6.0)], "seed")
    cloudwatch.now = START + timedelta(seconds=LAG[0])
    assert counts(cloudwatch, "InputTokenCount", ModelId=NOVA) == {}
    cloudwatch.now = START + LATER
    assert counts(cloudwatch, "InputTokenCount", ModelId=NOVA) == {START: 6000.0}


def test_a_minute_fills_up_as_its_parts_become_visible():
    cloudwatch = CloudWatch(START, [nova(6.0, 0, 0, 0, 0)], "seed", lag=(60.0, 60.0))
    cloudwatch.now = START + timedelta(seconds=60 + 20)
    assert counts(cloudwatch, "InputTokenCount", ModelId=NOVA) == {START: pytest.approx(2000.0, abs=1)}


def test_the_same_usage_is_published_at_every_level_and_sums_are_over_all_models():
    cloudwatch = CloudWatch(START, [nova(6.0), nova(1.0, model="other")], "seed")
    cloudwatch.now = START + LATER
    assert counts(cloudwatch, "InputTokenCount") == {START: 7000.0}
    assert counts(cloudwatch, "InputTokenCount", ModelId=NOVA) == {START: 6000.0}
    assert counts(
        cloudwatch, "InputTokenCount", ModelId=NOVA, ServiceTier="default", ResolvedServiceTier="default"
    ) == {START: 6000.0}
    assert counts(cloudwatch, "Invocations", ModelId="other") == {START: 1.0}


def test_mantle_names_totals_apart_from_what_a_project_called():
    mantle = Stream("us-east-1", MANTLE, "kimi", [2.0], {Kind.MIXED_INPUT: 1000.0, Kind.OUTPUT: 100.0, CALLS: 1.0})
    cloudwatch = CloudWatch(START, [mantle], "seed")
    cloudwatch.now = START + LATER
    assert counts(cloudwatch, "TotalInputTokens", namespace=MANTLE) == {START: 2000.0}
    assert counts(cloudwatch, "OutputTokens", namespace=MANTLE, Project="default", Model="kimi") == {START: 200.0}
    assert counts(cloudwatch, "InputTokens", namespace=MANTLE) == {}
    assert counts(cloudwatch, "Inferences", namespace=MANTLE, Model="kimi") == {START: 2.0}


def test_regions_know_nothing_of_each_other():
    cloudwatch = CloudWatch(START, [nova(6.0)], "seed")
    cloudwatch.now = START + LATER
    (result,) = read(cloudwatch, query("InputTokenCount"), region="eu-central-1")
    assert result["Values"] == []


@given(seconds=st.integers(0, 1200), seed=st.integers(0, 50))
def test_minutes_and_hours_say_the_same_at_any_moment(seconds: int, seed: int):
    dice = random.Random(seed)  # noqa: S311 - a simulation
    cloudwatch = CloudWatch(START, [nova(*(dice.random() for _ in range(15)))], str(seed))
    cloudwatch.now = START + timedelta(seconds=seconds)
    minutes = counts(cloudwatch, "OutputTokenCount", ModelId=NOVA)
    assert sum(counts(cloudwatch, "OutputTokenCount", ModelId=NOVA, period=3600).values()) == sum(minutes.values())
    assert sum(minutes.values()) == pytest.approx(cloudwatch.visible() * 100, abs=15)  # each minute is rounded


@given(seconds=st.integers(0, 1200), more=st.integers(0, 600))
def test_what_was_seen_stays_seen(seconds: int, more: int):
    cloudwatch = CloudWatch(START, [nova(*([1.0] * 15))], "seed")
    cloudwatch.now = START + timedelta(seconds=seconds)
    before = counts(cloudwatch, "OutputTokenCount", ModelId=NOVA)
    cloudwatch.now += timedelta(seconds=more)
    after = counts(cloudwatch, "OutputTokenCount", ModelId=NOVA)
    assert all(after[start] >= count for start, count in before.items())


def test_a_new_series_is_listed_late_but_can_be_read_by_its_dimensions_at_once():
    cloudwatch = CloudWatch(START, [nova(*([1.0] * 30))], "seed")
    cloudwatch.now = at(1) + timedelta(seconds=LISTED_AFTER[0] - 1)
    assert names(cloudwatch) == set()
    cloudwatch.now = START + LATER
    assert counts(cloudwatch, "OutputTokenCount", ModelId=NOVA)
    assert len(names(cloudwatch)) < 3
    cloudwatch.now = at(1) + timedelta(seconds=LISTED_AFTER[1])
    assert names(cloudwatch) == {"InputTokenCount", "OutputTokenCount", "Invocations"}


def test_a_series_that_is_idle_for_two_weeks_is_no_longer_listed():
    cloudwatch = CloudWatch(START, [nova(1.0)], "seed")
    cloudwatch.now = START + timedelta(days=13)
    assert names(cloudwatch)
    assert not names(cloudwatch, RecentlyActive="PT3H")
    cloudwatch.now = START + timedelta(days=15)
    assert not names(cloudwatch)


def test_calls_and_metrics_asked_for_are_counted():
    cloudwatch = CloudWatch(START, [nova(1.0)], "seed")
    read(cloudwatch, query("InputTokenCount"), query("OutputTokenCount"))
    names(cloudwatch)
    assert cloudwatch.bill == {
        "cloudwatch:GetMetricData": 1,
        "cloudwatch:GetMetricData metric": 2,
        "cloudwatch:ListMetrics": 1,
    }


def test_answers_come_in_pages_as_large_as_aws_makes_them():
    cloudwatch = CloudWatch(START, [nova(*([1.0] * 2000))], "seed")
    cloudwatch.now = at(2000) + LATER
    results = read(cloudwatch, *[query("InputTokenCount", ModelId=NOVA)] * 60, last=2000)
    assert [len(each["Values"]) for each in results] == [2000] * 60
    assert cloudwatch.bill["cloudwatch:GetMetricData"] == 2


def test_what_aws_refuses_is_refused():
    cloudwatch = CloudWatch(START, [nova(1.0)], "seed")
    with pytest.raises(ValueError, match="501 queries"):
        read(cloudwatch, *[query("InputTokenCount")] * 501)
    cloudwatch.now = START + timedelta(days=16)
    with pytest.raises(ValueError, match="keeps no minutes"):
        read(cloudwatch, query("InputTokenCount"))
    with pytest.raises(ValueError, match="only lists and reads"):
        cloudwatch.client("us-east-1").get_paginator("describe_alarms")


def test_usage_is_active_once_it_can_be_seen_and_only_in_its_own_plane():
    cloudwatch = CloudWatch(START, [nova(0.0, 1.0, 0.0)], "seed")
    cloudwatch.now = at(1) + timedelta(seconds=LAG[0])
    assert not cloudwatch.active("us-east-1", BEDROCK, 0, 3)
    cloudwatch.now = at(1) + LATER
    assert cloudwatch.active("us-east-1", BEDROCK, 0, 3)
    assert not cloudwatch.active("us-east-1", BEDROCK, 2, 3)
    assert not cloudwatch.active("us-east-1", MANTLE, 0, 3)
