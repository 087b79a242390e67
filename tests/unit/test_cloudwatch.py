"""Reading CloudWatch: each token once, closed days kept, and every answer that is not whole is a gap."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdas.aws.cloudwatch import DAY, HOUR, MINUTE, TokenMetrics
from lambdas.core.usage import Kind, Reading, Series
from lambdas.core.windows import Window

NOVA = "amazon.nova-pro-v1:0"


def series(region: str = "us-east-1", model: str = NOVA) -> Series:
    return Series(region, "AWS/Bedrock", "OutputTokenCount", (("ModelId", model),), model, Kind.OUTPUT)


@dataclass
class FakeCloudWatch:
    """One region: metrics by dimensions, and pages of answers."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] | None = None
    """Pages of status and values for every query; one complete page of 7 in each period by default."""
    fails: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    operation: str = ""

    def get_paginator(self, operation: str) -> "FakeCloudWatch":
        self.operation = operation
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        if self.fails:
            raise ClientError({"Error": {"Code": self.fails, "Message": "no"}}, self.operation)
        if "MetricDataQueries" not in request:
            yield {"Metrics": [each for each in self.metrics if each["Namespace"] == request["Namespace"]]}
            return
        self.requests.append(request)
        start = request["StartTime"]
        for page in self.pages or [{"StatusCode": "Complete", "Values": [7.0]}]:
            values = page.get("Values", [])
            results = [
                {"Id": each["Id"], "Timestamps": [start] * len(values), **page} for each in request["MetricDataQueries"]
            ]
            yield {"MetricDataResults": results}

    @property
    def periods(self) -> list[int]:
        return [each["MetricDataQueries"][0]["MetricStat"]["Period"] for each in self.requests]


def metric(name: str, namespace: str = "AWS/Bedrock", **dimensions: str) -> dict[str, Any]:
    listed = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {"Namespace": namespace, "MetricName": name, "Dimensions": listed}


def meter(**regions: FakeCloudWatch) -> TokenMetrics:
    clients = {name.replace("_", "-"): client for name, client in regions.items()}
    return TokenMetrics(clients.__getitem__, clients)  # type: ignore[arg-type]  # a stand-in


def test_one_dimension_level_of_each_plane_is_taken():
    cloudwatch = FakeCloudWatch(
        [
            metric("InputTokenCount"),
            metric("InputTokenCount", ModelId=NOVA),
            metric("InputTokenCount", ModelId=NOVA, ServiceTier="flex", ResolvedServiceTier="flex"),
            metric("InvocationLatency", ModelId=NOVA),
            metric("TotalInputTokens", "AWS/BedrockMantle", Model=NOVA),
            metric("InputTokens", "AWS/BedrockMantle", Model=NOVA, Project="p"),
        ]
    )
    found, gaps = meter(us_east_1=cloudwatch).series()
    assert gaps == ()
    assert [(each.namespace, each.metric, each.kind) for each in found] == [
        ("AWS/Bedrock", "InputTokenCount", Kind.INPUT),
        ("AWS/BedrockMantle", "InputTokens", Kind.MIXED_INPUT),
    ]


def test_a_region_that_cannot_be_listed_is_a_gap_and_the_others_are_listed():
    good = FakeCloudWatch([metric("InputTokenCount", ModelId=NOVA)])
    found, gaps = meter(us_east_1=good, eu_west_1=FakeCloudWatch(fails="AccessDenied")).series()
    assert [each.region for each in found] == ["us-east-1"]
    assert gaps == tuple(f"eu-west-1: AWS/Bedrock{plane} cannot be listed (AccessDenied)" for plane in ("", "Mantle"))


def test_the_month_is_read_in_closed_days_open_hours_and_minutes(now: datetime):
    cloudwatch = FakeCloudWatch()
    meter(us_east_1=cloudwatch).read([series()], now)
    day = Window.DAY.start(now)
    assert [
        (period, request["StartTime"], request["EndTime"])
        for period, request in zip(cloudwatch.periods, cloudwatch.requests, strict=True)
    ] == [
        (DAY, Window.MONTH.start(now), day),
        (HOUR, day, datetime(2026, 11, 22, 18, 31, tzinfo=UTC)),
        (MINUTE, datetime(2026, 11, 22, 18, 0, tzinfo=UTC), datetime(2026, 11, 22, 18, 31, tzinfo=UTC)),
    ]


def test_minutes_reach_back_over_the_hour_that_has_just_ended():
    cloudwatch = FakeCloudWatch()
    meter(us_east_1=cloudwatch).read([series()], datetime(2026, 11, 22, 18, 3, tzinfo=UTC))
    assert cloudwatch.requests[-1]["StartTime"] == datetime(2026, 11, 22, 17, 48, tzinfo=UTC)


def test_on_the_first_of_the_month_there_is_no_closed_day():
    cloudwatch = FakeCloudWatch()
    meter(us_east_1=cloudwatch).read([series()], datetime(2026, 11, 1, 0, 5, tzinfo=UTC))
    assert cloudwatch.periods == [HOUR, MINUTE]


def test_closed_days_are_kept_for_an_hour_and_still_counted(now: datetime):
    cloudwatch = FakeCloudWatch()
    metrics = meter(us_east_1=cloudwatch)
    first = metrics.read([series()], now)
    again = metrics.read([series()], now + timedelta(minutes=59))
    assert cloudwatch.periods == [DAY, HOUR, MINUTE, HOUR, MINUTE]

    def closed(reading: Reading) -> list[Any]:
        return [each for each in reading.samples if each.seconds == DAY]

    assert closed(again) == closed(first) != []


@pytest.mark.parametrize(
    ("later", "wanted"),
    [
        (timedelta(hours=1), [series()]),
        (timedelta(hours=6), [series()]),
        (timedelta(minutes=1), [series(), series(model="newco.colossus")]),
    ],
    ids=["an hour later", "the next day", "a new model"],
)
def test_closed_days_are_read_again_when_they_may_have_changed(now: datetime, later: timedelta, wanted: list[Series]):
    cloudwatch = FakeCloudWatch()
    metrics = meter(us_east_1=cloudwatch)
    metrics.read([series()], now)
    metrics.read(wanted, now + later)
    assert cloudwatch.periods.count(DAY) == 2


def test_closed_days_that_came_incomplete_are_not_kept(now: datetime):
    cloudwatch = FakeCloudWatch(pages=[{"StatusCode": "InternalError", "Values": [7.0]}])
    metrics = meter(us_east_1=cloudwatch)
    metrics.read([series()], now)
    metrics.read([series()], now)
    assert cloudwatch.periods.count(DAY) == 2


def test_the_status_of_the_last_page_is_the_one_that_holds(now: datetime):
    pages = [{"StatusCode": "PartialData", "Values": [1.0]}, {"StatusCode": "Complete", "Values": [2.0]}]
    reading = meter(us_east_1=FakeCloudWatch(pages=pages)).read([series()], now)
    assert reading.gaps == ()
    assert sorted(each.count for each in reading.samples if each.seconds == MINUTE) == [1, 2]


@pytest.mark.parametrize("status", ["PartialData", "Forbidden", "InternalError"])
def test_an_answer_that_stays_incomplete_is_a_gap_and_what_came_counts(now: datetime, status: str):
    pages = [{"StatusCode": status, "Values": [5.0]}]
    reading = meter(us_east_1=FakeCloudWatch(pages=pages)).read([series(), series(model="b")], now)
    assert reading.gaps == (f"us-east-1: some series came incomplete ({status})",)
    assert {each.count for each in reading.samples} == {5}


@pytest.mark.parametrize("value", [float("nan"), -3.0])
def test_a_value_that_is_no_count_is_a_gap_and_not_zero(now: datetime, value: float):
    reading = meter(us_east_1=FakeCloudWatch(pages=[{"StatusCode": "Complete", "Values": [value]}])).read(
        [series()], now
    )
    assert reading.gaps == (f"us-east-1: OutputTokenCount of {NOVA} gave what is no count",)
    assert list(reading.samples) == []


def test_a_region_that_cannot_be_read_does_not_hide_the_others(now: datetime):
    metrics = meter(us_east_1=FakeCloudWatch(), eu_west_1=FakeCloudWatch(fails="ThrottlingException"))
    reading = metrics.read([series(), series("eu-west-1")], now)
    assert reading.gaps == ("eu-west-1: usage cannot be read (ThrottlingException)",)
    assert {each.series.region for each in reading.samples} == {"us-east-1"}


def test_more_series_than_one_call_takes_are_read_in_several(now: datetime):
    cloudwatch = FakeCloudWatch()
    reading = meter(us_east_1=cloudwatch).read([series(model=f"m{n}") for n in range(501)], now)
    assert [len(each["MetricDataQueries"]) for each in cloudwatch.requests] == [500, 1] * 3
    assert len({each.series for each in reading.samples}) == 501
