"""Reading CloudWatch: each token once, and every answer that is not whole is a gap."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from lambdas.aws.cloudwatch import PLANES, TokenMetrics, totals
from lambdas.core.prices import PriceTable
from lambdas.core.spend import Spend, priced, spend_of
from lambdas.core.usage import HOUR, MINUTE, Kind, Look, Reading, Series, Source, Tier
from lambdas.core.windows import Window
from tests.fakes import moment

NOVA = "amazon.nova-pro-v1:0"  # $0.80 in, $3.20 out, $0.20 for a cached token per million
RUNTIME, MANTLE = Source("us-east-1", "AWS/Bedrock"), Source("us-east-1", "AWS/BedrockMantle")
MILLION = 1_000_000

Key = tuple[str, str, frozenset[tuple[str, str]]]


@dataclass
class FakeCloudWatch:
    """One region of CloudWatch: what series count by the minute, and pages, gaps and failures where a test wants."""

    counts: dict[Key, dict[datetime, object]] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    """Values of dimensions that ListMetrics does not show yet."""
    statuses: Mapping[str, str] = field(default_factory=dict)
    """How queries for a metric end, other than Complete."""
    forgets: set[str] = field(default_factory=set)
    """Metrics whose queries are never answered."""
    pages: int = 1
    fails: dict[str, Exception] = field(default_factory=dict)
    """By operation."""
    fails_beyond: int | None = None
    """GetMetricData is throttled after so many calls."""
    requests: list[dict[str, Any]] = field(default_factory=list)

    def put(self, metric: str, minute: datetime, count: object, namespace: str = "AWS/Bedrock", **at: str) -> None:
        self.counts.setdefault((namespace, metric, frozenset(at.items())), {})[Window.MINUTE.start(minute)] = count

    def get_paginator(self, operation: str) -> "_Paginator":
        return _Paginator(self, operation)

    def list_metrics(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for namespace, metric, dimensions in self.counts:
            if namespace == request["Namespace"] and not {value for _, value in dimensions} & self.unlisted:
                listed = [{"Name": name, "Value": value} for name, value in sorted(dimensions)]
                yield {"Metrics": [{"Namespace": namespace, "MetricName": metric, "Dimensions": listed}]}

    def get_metric_data(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self.requests.append(request)
        assert len(request["MetricDataQueries"]) <= 500
        if self.fails_beyond is not None and len(self.requests) > self.fails_beyond:
            raise throttled("GetMetricData")
        results = [each for query in request["MetricDataQueries"] if (each := self._result(query, request))]
        for page in range(self.pages):
            yield {"MetricDataResults": [_page(each, page, self.pages) for each in results]}

    def _result(self, query: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any] | None:
        stat = query["MetricStat"]
        assert "Unit" not in stat
        metric = stat["Metric"]
        if metric["MetricName"] in self.forgets:
            return None
        dimensions = frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"])
        sums: dict[datetime, Any] = {}
        for minute, count in self.counts.get((metric["Namespace"], metric["MetricName"], dimensions), {}).items():
            if request["StartTime"] <= minute < request["EndTime"]:
                start = minute if stat["Period"] == MINUTE else Window.HOUR.start(minute)
                sums[start] = sums[start] + count if start in sums else count
        return {
            "Id": query["Id"],
            "Timestamps": list(sums),
            "Values": list(sums.values()),
            "StatusCode": self.statuses.get(metric["MetricName"], "Complete"),
        }


@dataclass
class _Paginator:
    region: FakeCloudWatch
    operation: str

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        if self.operation in self.region.fails:
            raise self.region.fails[self.operation]
        answer: Iterator[dict[str, Any]] = getattr(self.region, self.operation)(request)
        return answer


def _page(result: dict[str, Any], page: int, pages: int) -> dict[str, Any]:
    last = page == pages - 1
    return result | {
        "Timestamps": result["Timestamps"][page::pages],
        "Values": result["Values"][page::pages],
        "StatusCode": result["StatusCode"] if last else "PartialData",
    }


def throttled(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, operation)


def metrics(**regions: FakeCloudWatch) -> TokenMetrics:
    return TokenMetrics({name.replace("_", "-"): each for name, each in regions.items()}.__getitem__)  # type: ignore[arg-type]  # a stand-in


@dataclass
class Region:
    """us-east-1, read from the start of a day on."""

    now: datetime
    cloudwatch: FakeCloudWatch = field(default_factory=FakeCloudWatch)

    def read(self, *sources: Source) -> Reading:
        meter = metrics(us_east_1=self.cloudwatch)
        open_since = dict.fromkeys(sources or (RUNTIME, MANTLE), Window.DAY.start(self.now))
        series, unlisted = meter.listed(open_since)
        assert unlisted == {}
        return meter.read(series, open_since, self.now)

    def spend(self, prices: PriceTable) -> Spend:
        return spend_of(priced(self.read(), prices, lambda model: (model,)), ())


@pytest.fixture
def region(now: datetime) -> Region:
    return Region(now)


def series(model: str = NOVA, region: str = "us-east-1") -> Series:
    return Series(region, "AWS/Bedrock", "OutputTokenCount", (("ModelId", model),), model, Kind.OUTPUT)


# --- each token once ---


@pytest.mark.parametrize("ago", [2, 40, 700], ids=["a minute", "an open hour", "an older hour"])
def test_usage_published_at_every_level_of_both_planes_counts_once(region: Region, prices: PriceTable, ago: int):
    put, minute = region.cloudwatch.put, region.now - timedelta(minutes=ago)
    tier = {"ServiceTier": "default", "ResolvedServiceTier": "default"}
    for at in ({}, {"ModelId": NOVA}, {"ModelId": NOVA, **tier}):
        put("OutputTokenCount", minute, MILLION, **at)
        put("InvocationLatency", minute, 9 * MILLION, **at)
    for at in ({}, {"Project": "p"}, {"Model": NOVA}, {"Project": "p", "Model": NOVA}):
        put("TotalOutputTokens", minute, MILLION, "AWS/BedrockMantle", **at)
    put("OutputTokens", minute, MILLION, "AWS/BedrockMantle", Project="p", Model=NOVA)
    spend = region.spend(prices)
    standard = prices.quote(NOVA, region.now, Tier.STANDARD, region="us-east-1").price.output
    unknown = prices.quote(NOVA, region.now, region="us-east-1").price.output
    assert spend.by_window[Window.DAY] == standard + unknown
    assert spend.guessed == {}


def test_one_dimension_level_of_each_plane_and_its_tiers_are_listed(region: Region):
    put, now = region.cloudwatch.put, region.now
    put("InputTokenCount", now, 1)
    put("InputTokenCount", now, 1, ModelId=NOVA)
    put("InputTokenCount", now, 1, ModelId=NOVA, ServiceTier="flex", ResolvedServiceTier="Flex")
    put("InputTokenCount", now, 1, ModelId=NOVA, ServiceTier="hyper", ResolvedServiceTier="hyper")
    put("InputTokenCount", now, 1, ModelId=NOVA, ContextWindow="long")
    put("InvocationLatency", now, 1, ModelId=NOVA)
    put("TotalInputTokens", now, 1, "AWS/BedrockMantle", Model=NOVA)
    put("InputTokens", now, 1, "AWS/BedrockMantle", Model=NOVA, Project="p")
    found, gaps = metrics(us_east_1=region.cloudwatch).listed([RUNTIME, MANTLE])
    assert gaps == {}
    assert [(each.source, each.metric, each.kind, each.tier, each.by_tier) for each in found] == [
        (RUNTIME, "InputTokenCount", Kind.INPUT, Tier.UNKNOWN, False),
        (RUNTIME, "InputTokenCount", Kind.INPUT, Tier.FLEX, True),
        (RUNTIME, "InputTokenCount", Kind.INPUT, Tier.UNKNOWN, True),
        (MANTLE, "InputTokens", Kind.MIXED_INPUT, Tier.UNKNOWN, False),
    ]


def test_only_the_sources_asked_for_are_listed(region: Region):
    region.cloudwatch.put("OutputTokenCount", region.now, 1, ModelId=NOVA)
    region.cloudwatch.put("OutputTokens", region.now, 1, "AWS/BedrockMantle", Model=NOVA, Project="p")
    found, _ = metrics(us_east_1=region.cloudwatch).listed([MANTLE])
    assert [each.source for each in found] == [MANTLE]


def test_projects_of_the_mantle_plane_add_up(region: Region, prices: PriceTable):
    for project in ("a", "b"):
        region.cloudwatch.put("OutputTokens", region.now, MILLION, "AWS/BedrockMantle", Model=NOVA, Project=project)
    assert (
        region.spend(prices).by_window[Window.DAY]
        == 2 * prices.quote(NOVA, region.now, region="us-east-1").price.output
    )


def test_of_the_old_and_the_new_name_of_a_metric_the_larger_counts_minute_by_minute(region: Region, prices: PriceTable):
    """The name changes at 18:10: before, only the old one is published, then for a minute both, then only the new."""
    for minute, old, new in (("18:08", 5, None), ("18:09", 7, None), ("18:10", 9, 10), ("18:11", None, 20)):
        for name, count in (("CacheReadInputTokens", old), ("CacheReadInputTokenCount", new)):
            if count is not None:
                region.cloudwatch.put(name, moment(minute), count * MILLION, ModelId=NOVA)
    cached = prices.quote(NOVA, region.now, region="us-east-1").price.cache_read
    assert region.spend(prices).by_window[Window.HOUR] == (5 + 7 + 10 + 20) * cached
    # As well when the minutes have become hours.
    region.now += timedelta(hours=2)
    assert region.spend(prices).by_window[Window.DAY] == (5 + 7 + 10 + 20) * cached


def test_a_name_that_changed_within_an_hour_read_as_a_whole_loses_nothing(region: Region, prices: PriceTable):
    region.cloudwatch.put("CacheReadInputTokens", moment("09:10"), 5 * MILLION, ModelId=NOVA)
    region.cloudwatch.put("CacheReadInputTokenCount", moment("09:40"), 7 * MILLION, ModelId=NOVA)
    cached = prices.quote(NOVA, region.now, region="us-east-1").price.cache_read
    assert region.spend(prices).by_window[Window.DAY] >= 12 * cached


# --- the spans that are read ---


def test_three_hours_are_read_by_the_minute_and_what_is_older_by_the_hour(now: datetime):
    cloudwatch = FakeCloudWatch()
    since = Window.MONTH.start(now)
    metrics(us_east_1=cloudwatch).read([series()], {RUNTIME: since}, now)
    spans = [(_period(each), each["StartTime"], each["EndTime"]) for each in cloudwatch.requests]
    assert spans == [
        (HOUR, since, moment("16:00")),
        (MINUTE, moment("16:00"), moment("18:31")),
    ]


def test_within_three_hours_everything_is_read_by_the_minute(now: datetime):
    cloudwatch = FakeCloudWatch()
    metrics(us_east_1=cloudwatch).read([series()], {RUNTIME: moment("17:00")}, now)
    assert [(_period(each), each["StartTime"]) for each in cloudwatch.requests] == [(MINUTE, moment("17:00"))]


def test_each_region_is_read_since_its_own_hour(now: datetime):
    one, other = FakeCloudWatch(), FakeCloudWatch()
    there = Source("eu-west-1", "AWS/Bedrock")
    metrics(us_east_1=one, eu_west_1=other).read(
        [series(), series(region="eu-west-1")], {RUNTIME: moment("17:00"), there: moment("01 00:00")}, now
    )
    assert [_period(each) for each in one.requests] == [MINUTE]
    assert [_period(each) for each in other.requests] == [HOUR, MINUTE]


def test_the_last_twenty_minutes_come_by_the_minute_and_all_else_by_the_hour(region: Region):
    for time in ("09:59", "16:00", "17:59", "18:05", "18:09", "18:10", "18:29"):
        region.cloudwatch.put("OutputTokenCount", moment(time), 1, ModelId=NOVA)
    found = sorted((each.start, each.seconds, each.count) for each in region.read().samples)
    assert found == [
        (moment("09:00"), HOUR, 1),
        (moment("16:00"), HOUR, 1),
        (moment("17:00"), HOUR, 1),
        (moment("18:00"), HOUR, 2),
        (moment("18:10"), MINUTE, 1),
        (moment("18:29"), MINUTE, 1),
    ]


def test_a_clock_a_minute_ahead_of_ours_hides_nothing(region: Region):
    region.cloudwatch.put("OutputTokenCount", region.now + timedelta(seconds=20), 3, ModelId=NOVA)
    assert sum(each.count for each in region.read().samples) == 3


def test_the_accounts_own_sums_are_read_without_being_listed(region: Region):
    region.cloudwatch.unlisted = {NOVA}
    region.cloudwatch.put("OutputTokenCount", region.now, 5, ModelId=NOVA)
    region.cloudwatch.put("OutputTokenCount", region.now, 5)
    reading = region.read()
    assert list(reading.samples) == []
    assert [(each.series.source, each.series.kind, each.count) for each in reading.totals] == [
        (RUNTIME, Kind.OUTPUT, 5)
    ]


def test_a_glance_asks_for_the_sums_of_the_kinds_it_is_told_and_nothing_else(now: datetime):
    cloudwatch = FakeCloudWatch()
    since = now - timedelta(minutes=50)
    cloudwatch.put("OutputTokenCount", moment("17:45"), 5)
    cloudwatch.put("OutputTokenCount", moment("18:25"), 6)
    cloudwatch.put("OutputTokenCount", moment("18:25"), 6, ModelId=NOVA)
    cloudwatch.put("OutputImageCount", moment("18:25"), 7)
    glance = metrics(us_east_1=cloudwatch).glance({RUNTIME: Look(since, frozenset({Kind.OUTPUT}))}, now)
    assert [(each.start, each.seconds, each.count) for each in glance.totals] == [
        (moment("17:45"), MINUTE, 5),
        (moment("18:25"), MINUTE, 6),
    ]
    assert list(glance.samples) == []
    asked = [each["MetricStat"]["Metric"] for each in cloudwatch.requests[0]["MetricDataQueries"]]
    assert [(each["MetricName"], each["Dimensions"]) for each in asked] == [("OutputTokenCount", [])]


def test_each_source_is_glanced_at_since_its_own_minute(now: datetime):
    """Others may show what is older: one call to a region serves all of its sources."""
    cloudwatch = FakeCloudWatch()
    for time in ("17:30", "18:25"):
        cloudwatch.put("OutputTokenCount", moment(time), 5)
        cloudwatch.put("TotalOutputTokens", moment(time), 6, "AWS/BedrockMantle")
    kinds = frozenset({Kind.OUTPUT})
    looks = {RUNTIME: Look(moment("18:00"), kinds), MANTLE: Look(moment("17:00"), kinds)}
    glance = metrics(us_east_1=cloudwatch).glance(looks, now)
    assert sorted(each.count for each in glance.totals if each.start >= looks[each.series.source].since) == [5, 6, 6]


def test_every_kind_a_plane_counts_by_model_has_a_sum_of_the_account():
    for namespace, plane in PLANES.items():
        assert {each.kind for each in totals(Source("r", namespace))} == {*plane.kinds.values(), Kind.CALLS}


def test_more_series_than_one_call_takes_are_read_in_several(now: datetime):
    cloudwatch = FakeCloudWatch()
    many = [series(f"m{n}") for n in range(996)]
    for each in many:
        cloudwatch.put("OutputTokenCount", moment("18:20"), 1, ModelId=each.model)
    reading = metrics(us_east_1=cloudwatch).read(many, {RUNTIME: moment("17:00")}, now)
    sums = len([each for each in totals(RUNTIME) if each.kind is not Kind.CALLS])
    assert sum(len(each["MetricDataQueries"]) for each in cloudwatch.requests) == 996 + sums
    assert len(cloudwatch.requests) == -(-(996 + sums) // 500)
    assert len({each.series for each in reading.samples}) == 996


# --- gaps ---


@pytest.mark.parametrize("pages", [2, 5])
def test_an_answer_in_pages_is_complete_when_its_last_page_is(region: Region, pages: int):
    region.cloudwatch.pages = pages
    for ago in range(9):
        region.cloudwatch.put("OutputTokenCount", region.now - timedelta(minutes=ago), 1, ModelId=NOVA)
    reading = region.read()
    assert (reading.gaps, reading.incomplete) == ((), frozenset())
    assert sum(each.count for each in reading.samples) == 9


@pytest.mark.parametrize("status", ["PartialData", "Forbidden", "InternalError"])
def test_an_answer_that_stays_incomplete_is_a_gap_of_its_source_and_what_came_counts(region: Region, status: str):
    region.cloudwatch.statuses = {"OutputTokenCount": status}
    region.cloudwatch.put("OutputTokenCount", region.now, 5, ModelId=NOVA)
    region.cloudwatch.put("OutputTokens", region.now, 6, "AWS/BedrockMantle", Model=NOVA, Project="p")
    reading = region.read()
    assert reading.gaps == (f"us-east-1: some series came incomplete ({status})",)
    assert reading.incomplete == {RUNTIME}
    assert sum(each.count for each in reading.samples) == 11


def test_a_query_that_is_not_answered_at_all_is_a_gap(region: Region):
    region.cloudwatch.forgets = {"OutputTokenCount"}
    region.cloudwatch.put("OutputTokenCount", region.now, 5, ModelId=NOVA)
    reading = region.read()
    assert reading.gaps == ("us-east-1: some series came incomplete (no answer)",)
    assert reading.incomplete == {RUNTIME}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -3.0, "5", None, True], ids=["nan", "inf", "negative", "text", "null", "bool"]
)
def test_a_value_that_is_no_count_is_a_gap_and_not_zero(region: Region, value: object):
    region.cloudwatch.put("OutputTokenCount", region.now - timedelta(minutes=1), value, ModelId=NOVA)
    region.cloudwatch.put("OutputTokenCount", region.now, 4, ModelId=NOVA)
    reading = region.read()
    assert reading.gaps == (f"us-east-1: OutputTokenCount of {NOVA} gave what is no count",)
    assert reading.incomplete == {RUNTIME}
    assert [each.count for each in reading.samples] == [4]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (throttled("GetMetricData"), "ThrottlingException"),
        (ReadTimeoutError(endpoint_url="https://monitoring"), "ReadTimeoutError"),
    ],
)
def test_a_region_that_cannot_be_read_does_not_hide_the_others(now: datetime, error: Exception, code: str):
    good = FakeCloudWatch()
    good.put("OutputTokenCount", now, 1, ModelId=NOVA)
    there = Source("eu-west-1", "AWS/Bedrock")
    reading = metrics(us_east_1=good, eu_west_1=FakeCloudWatch(fails={"get_metric_data": error})).read(
        [series(), series(region="eu-west-1")], dict.fromkeys((RUNTIME, there), moment("17:00")), now
    )
    assert reading.gaps == (f"eu-west-1: usage cannot be read ({code})",)
    assert reading.incomplete == {there}
    assert {each.series.region for each in reading.samples} == {"us-east-1"}


def test_a_call_throttled_half_way_leaves_a_gap_and_keeps_what_came(now: datetime):
    cloudwatch = FakeCloudWatch(fails_beyond=1)
    many = [series(f"m{n}") for n in range(800)]
    for each in many:
        cloudwatch.put("OutputTokenCount", now, 1, ModelId=each.model)
    reading = metrics(us_east_1=cloudwatch).read(many, {RUNTIME: moment("17:00")}, now)
    assert reading.incomplete == {RUNTIME}
    assert 400 < len(list(reading.samples)) < 500


def test_older_hours_that_cannot_be_read_are_a_gap(now: datetime):
    class Old(FakeCloudWatch):
        def get_metric_data(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
            if _period(request) == HOUR:
                raise throttled("GetMetricData")
            return super().get_metric_data(request)

    reading = metrics(us_east_1=Old()).read([series()], {RUNTIME: Window.DAY.start(now)}, now)
    assert reading.incomplete == {RUNTIME}


def test_a_glance_that_fails_is_a_gap(now: datetime):
    broken = FakeCloudWatch(fails={"get_metric_data": throttled("GetMetricData")})
    glance = metrics(us_east_1=broken).glance({RUNTIME: Look(moment("18:00"), frozenset(Kind))}, now)
    assert glance.gaps == ("us-east-1: usage cannot be read (ThrottlingException)",)
    assert glance.incomplete == {RUNTIME}


def test_a_source_that_cannot_be_listed_is_a_gap_and_the_others_are_listed(now: datetime):
    good = FakeCloudWatch()
    good.put("InputTokenCount", now, 1, ModelId=NOVA)
    bad = FakeCloudWatch(fails={"list_metrics": throttled("ListMetrics")})
    there = [Source("eu-west-1", each) for each in PLANES]
    found, gaps = metrics(us_east_1=good, eu_west_1=bad).listed([RUNTIME, *there])
    assert [each.source for each in found] == [RUNTIME]
    assert gaps == {each: f"eu-west-1: {each.namespace} cannot be listed (ThrottlingException)" for each in there}


def test_a_month_of_hours_and_leap_days_are_read_whole(prices: PriceTable):
    now = datetime(2028, 3, 1, 0, 30, tzinfo=UTC)
    cloudwatch = FakeCloudWatch()
    cloudwatch.put("OutputTokenCount", datetime(2028, 2, 29, 23, 59, tzinfo=UTC), 1, ModelId=NOVA)
    cloudwatch.put("OutputTokenCount", datetime(2028, 3, 1, 0, 0, tzinfo=UTC), MILLION, ModelId=NOVA)
    reading = metrics(us_east_1=cloudwatch).read([series()], {RUNTIME: datetime(2028, 2, 29, tzinfo=UTC)}, now)
    assert sum(each.count for each in reading.samples) == MILLION + 1
    spend = spend_of(priced(reading, prices, lambda model: (model,)), ())
    assert spend.by_window[Window.MONTH] == prices.quote(NOVA, now, region="us-east-1").price.output
    assert spend.by_window[Window.MONTH] > Decimal(0)


def test_the_words_of_gaps_name_no_account_and_no_secret(region: Region):
    region.cloudwatch.fails = {
        "get_metric_data": ClientError(
            {"Error": {"Code": "AccessDenied", "Message": "User: arn:aws:sts::123456789012:assumed-role/x"}}, "G"
        )
    }
    assert not re.search(r"\d{12}", " ".join(region.read().gaps))


def _period(request: Mapping[str, Any]) -> int:
    period: int = request["MetricDataQueries"][0]["MetricStat"]["Period"]
    return period
