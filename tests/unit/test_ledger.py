"""The ledger on DynamoDB: what is put comes back, nothing is closed twice, and one broken item hides no other."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from lambdas.aws.dynamodb import UNREADABLE, LedgerTable
from lambdas.core.closed import ClosedDay
from lambdas.core.errors import AwsCallError, LedgerItemError
from lambdas.core.levels import Level, Wanted
from lambdas.core.levers import Held
from lambdas.core.limits import Allowance
from lambdas.core.memory import Memory
from lambdas.core.usage import Kind, Series, Tier
from lambdas.core.windows import Window
from tests.fakes import moment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "ledger"
DAY = date(2026, 11, 22)
NOVA = "amazon.nova-pro-v1:0"


@pytest.fixture
def client(_no_real_account: None) -> Iterator["DynamoDBClient"]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
        yield client


@pytest.fixture
def ledger(client: "DynamoDBClient") -> LedgerTable:
    return LedgerTable(client, TABLE)


def put(client: "DynamoDBClient", pk: str, sk: str, body: str, **more: Any) -> None:
    client.put_item(TableName=TABLE, Item={"pk": {"S": pk}, "sk": {"S": sk}, "body": {"S": body}, **more})


def day(until: str, usd: str = "1", of: date = DAY, region: str = "us-east-1") -> ClosedDay:
    return ClosedDay(of, region, moment(until), {"m (us-east-1)": Decimal(usd)}, {"m (us-east-1)": Decimal("0.1")})


# --- what every tick needs ---


def test_an_empty_ledger_remembers_nothing_and_nothing_is_broken(ledger: LedgerTable, now: datetime):
    assert ledger.memory(now) == Memory(Wanted(Level.RELEASED))


def test_everything_a_tick_needs_comes_back_in_one_read(ledger: LedgerTable, now: datetime):
    allowance = Allowance(Decimal("12.50"), now + timedelta(hours=1), "report", "ada")
    ledger.add_allowance(allowance)
    ledger.add_allowance(Allowance(Decimal(5), now, "over", "bob"))
    ledger.want(Wanted(Level.STEP_DOWN), now)
    ledger.note("watch", {"a": 1}, now)
    ledger.note("inventory", {"mark": "x", "discovered": ["ap-south-1"]}, now)
    ledger.record_decision(now, {"verdict": "warn"}, news=True)
    calls: list[str] = []
    ledger._dynamodb.meta.events.register("before-call", lambda model, **_: calls.append(model.name))
    memory = ledger.memory(now)
    assert calls == ["Query"]
    assert memory.wanted == Wanted(Level.STEP_DOWN, now)
    assert memory.allowances == (allowance,)
    assert memory.decision is not None
    assert memory.decision["verdict"] == "warn"
    assert (memory.watch, memory.inventory) == ({"a": 1}, {"mark": "x", "discovered": ["ap-south-1"]})
    assert memory.broken == ()


def test_an_allowance_for_one_window_comes_back_beside_one_for_all_in_the_same_words(ledger, client, now):
    until = now + timedelta(hours=1)
    granted = [Allowance(Decimal(5), until, "launch", "ada", window) for window in (None, Window.DAY, Window.MINUTE)]
    for each in granted:
        ledger.add_allowance(each)
    assert set(ledger.memory(now).allowances) == set(granted)
    items = client.query(
        TableName=TABLE,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": "now"}, ":sk": {"S": "allowance#"}},
    )["Items"]
    # DynamoDB may delete it then, and not before.
    assert [int(each["expires"]["N"]) > until.timestamp() for each in items] == [True] * 3


@pytest.mark.parametrize("usd", ["NaN", "-5", "Infinity", "sNaN"])
def test_an_allowance_that_is_no_amount_raises_and_lowers_nothing(ledger, client, now, usd):
    until = (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = json.dumps({"usd": usd, "until": until, "reason": "x", "by": "y"})
    client.put_item(TableName=TABLE, Item={"pk": {"S": "now"}, "sk": {"S": "allowance#x"}, "body": {"S": body}})
    memory = ledger.memory(now)
    assert (memory.allowances, len(memory.broken)) == ((), 1)


def test_ending_allowances_ends_those_too_that_nobody_can_read_and_nothing_else(ledger, client, now):
    ledger.add_allowance(Allowance(Decimal(5), now + timedelta(hours=1), "launch", "ada"))
    client.put_item(TableName=TABLE, Item={"pk": {"S": "now"}, "sk": {"S": "allowance#x"}, "body": {"S": "{"}})
    ledger.want(Wanted(Level.STOP, now, "person"), now)
    assert ledger.end_allowances() == 2
    memory = ledger.memory(now)
    assert (memory.allowances, memory.broken, memory.wanted.level) == ((), (), Level.STOP)
    assert ledger.end_allowances() == 0


def test_the_history_is_the_newest_first_and_one_broken_record_hides_no_other(ledger, client, now):
    for minutes in range(4):
        ledger.record("stop", now + timedelta(minutes=minutes), {"number": minutes})
    client.put_item(TableName=TABLE, Item={"pk": {"S": "stop"}, "sk": {"S": "2999"}, "body": {"S": "{"}})
    broken, *found = ledger.history("stop", 3)
    assert "delete it" in broken["broken"]
    assert [each["number"] for each in found] == [3, 2]
    assert ledger.history("release", 3) == []


@pytest.mark.parametrize("name", ["watch", "inventory", "decision", "wanted", "allowance#1"])
@pytest.mark.parametrize("body", ["", "{", "[]", "5", "null", '"x"'])
def test_one_broken_item_is_told_of_and_hides_no_other(
    ledger: LedgerTable, client: "DynamoDBClient", now: datetime, name: str, body: str
):
    ledger.want(Wanted(Level.STOP), now)
    ledger.note("watch", {"a": 1}, now)
    ledger.note("inventory", {"a": 2}, now)
    ledger.record_decision(now, {"verdict": "warn"}, news=False)
    ledger.add_allowance(Allowance(Decimal(5), now + timedelta(hours=1), "report", "ada"))
    put(client, "now", name, body)
    memory = ledger.memory(now)
    assert len(memory.broken) == 1
    assert name in memory.broken[0]
    assert memory.wanted.level is (Level.RELEASED if name == "wanted" else Level.STOP)
    assert len(memory.allowances) == 1
    for each in {"watch", "inventory", "decision"} - {name}:
        assert getattr(memory, each) is not None
    if name in {"watch", "inventory", "decision"}:
        assert getattr(memory, name) is None


def test_an_item_without_a_body_is_told_of(ledger: LedgerTable, client: "DynamoDBClient", now: datetime):
    client.put_item(TableName=TABLE, Item={"pk": {"S": "now"}, "sk": {"S": "watch"}})
    assert "now watch" in ledger.memory(now).broken[0]


def test_an_older_note_does_not_replace_a_newer_one(ledger: LedgerTable, now: datetime):
    ledger.note("watch", {"n": 2}, now)
    ledger.note("watch", {"n": 1}, now - timedelta(seconds=1))
    assert ledger.memory(now).watch == {"n": 2}
    ledger.note("watch", {"n": 3}, now)
    assert ledger.memory(now).watch == {"n": 3}


def test_without_its_table_the_ledger_says_which_call_failed(client: "DynamoDBClient", now: datetime):
    with pytest.raises(AwsCallError, match=r"dynamodb:Query: ResourceNotFoundException"):
        LedgerTable(client, "gone").memory(now)


def test_a_release_forgets_the_decision_and_nothing_else(ledger: LedgerTable, now: datetime):
    ledger.record_decision(now, {"verdict": "stop"}, news=True)
    ledger.note("watch", {"a": 1}, now)
    ledger.forget_verdict()
    memory = ledger.memory(now)
    assert (memory.decision, memory.watch) == (None, {"a": 1})


@pytest.mark.parametrize(("later", "kept"), [(1, Level.RELEASED), (0, Level.RELEASED), (-1, Level.STOP)])
def test_the_latest_word_counts_whenever_it_arrives(ledger: LedgerTable, now: datetime, later: int, kept: Level):
    assert ledger.want(Wanted(Level.STOP), now)
    assert ledger.want(Wanted(Level.RELEASED), now + timedelta(seconds=later)) is (later >= 0)
    assert ledger.memory(now).wanted.level is kept
    assert ledger.wanted().level is kept


def test_who_said_so_and_what_it_waits_for_come_back(ledger: LedgerTable, now: datetime):
    for each in (Wanted(Level.STOP, now, "meter", ("day", "month")), Wanted(Level.RELEASED, now, "person", done=False)):
        ledger.want(each, now)
        assert ledger.wanted() == ledger.memory(now).wanted == each


def test_the_word_of_an_older_version_waits_for_a_person(ledger: LedgerTable, client: "DynamoDBClient", now: datetime):
    put(client, "now", "wanted", json.dumps({"level": "stop", "at": "2026-11-22T18:30:20.000000Z"}))
    assert ledger.wanted() == Wanted(Level.STOP, now, "", (), done=True)


# --- what is stopped alone, who is at it, what is held down ---


def test_what_is_stopped_alone_is_remembered_once_until_it_is_released(ledger: LedgerTable, now: datetime):
    for scope in ("role/agent", "model:anthropic.claude-*", "role/agent"):
        ledger.stop_alone(scope, "loops", now)
    assert sorted(ledger.stopped_alone()) == ["model:anthropic.claude-*", "role/agent"]
    assert sorted(ledger.memory(now).narrow) == ["model:anthropic.claude-*", "role/agent"]
    ledger.release_alone("role/agent", now)
    assert ledger.stopped_alone() == ("model:anthropic.claude-*",)
    assert ledger.stopped_alone(releasing=True) == ledger.memory(now).releasing == ("role/agent",)
    ledger.released_alone("role/agent")
    ledger.released_alone("model:anthropic.claude-*")
    assert ledger.stopped_alone() == ledger.memory(now).narrow == ("model:anthropic.claude-*",)
    assert ledger.stopped_alone(releasing=True) == ()


def test_what_is_stopped_again_while_it_is_released_stays_stopped(ledger: LedgerTable, now: datetime):
    ledger.release_alone("role/agent", now)
    ledger.stop_alone("role/agent", "again", now)
    ledger.released_alone("role/agent")
    assert ledger.stopped_alone() == ("role/agent",)


def test_what_is_released_by_the_way_is_not_what_somebody_stopped_again(ledger: LedgerTable, now: datetime):
    ledger.stop_alone("role/agent", "again", now)
    ledger.release_alone("role/agent", now, unless_stopped=True)
    assert ledger.stopped_alone() == ("role/agent",)
    ledger.release_alone("role/other", now, unless_stopped=True)
    assert ledger.stopped_alone(releasing=True) == ("role/other",)


def test_who_keeps_a_stop_on_gives_way_to_a_person_and_to_nobody_like_itself(ledger: LedgerTable, now: datetime):
    until = now + timedelta(minutes=2)
    for who in ("keep", "stop", "release"):
        assert ledger.begin("keep", now, until) is None
        assert ledger.begin(who, now, until + timedelta(seconds=1)) == ("keep" if who == "keep" else None)
        # Whoever gave way does not end what took over.
        ledger.end(until)
        assert ledger.begin("keep", now, until) == (None if who == "keep" else who)
        for end in (until, until + timedelta(seconds=1)):
            ledger.end(end)


def test_one_is_at_it_until_it_ends_or_its_time_is_over(ledger: LedgerTable, now: datetime):
    until = now + timedelta(minutes=2)
    assert ledger.begin("stop", now, until) is None
    assert ledger.begin("release", now, until) == "stop"
    assert ledger.begin("release", until, until + timedelta(minutes=2)) is None
    # Whoever was too late does not end what another has begun since.
    ledger.end(until)
    assert ledger.begin("stop", until, until) == "release"
    ledger.end(until + timedelta(minutes=2))
    assert ledger.begin("stop", until, until + timedelta(minutes=5)) is None


def test_what_is_held_down_keeps_its_first_words_and_is_forgotten_only_as_it_was_read(ledger: LedgerTable):
    first = Held("concurrency", "us-east-1/agent", "agent", {"reserved": None})
    ledger.remember(first)
    (read,) = ledger.held()
    ledger.remember(Held("concurrency", "us-east-1/agent", "agent", {"reserved": 0}))
    assert not ledger.forget(read)
    (again,) = ledger.held()
    assert again.held == read.held == first
    assert ledger.forget(again)
    assert ledger.held() == []


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"body": {"S": "no JSON"}, "mark": {"N": "1"}},
        {"body": {"S": "[]"}, "mark": {"N": "1"}},
        {"body": {"S": '{"lever": "concurrency", "key": "x", "words": "x"}'}, "mark": {"N": "1"}},
        {"body": {"S": '{"lever": "concurrency", "key": "x", "words": "x", "before": 5}'}, "mark": {"N": "1"}},
        {"body": {"S": '{"lever": "concurrency", "key": "x", "words": "x", "before": {}}'}},
    ],
)
def test_what_is_held_and_cannot_be_read_hides_no_other_and_says_what_to_do(
    client: "DynamoDBClient", ledger: LedgerTable, item: Any
):
    first = Held("concurrency", "us-east-1/agent", "agent", {"reserved": None})
    ledger.remember(first)
    client.put_item(TableName=TABLE, Item={"pk": {"S": "held"}, "sk": {"S": "concurrency#x"}, **item})
    read, broken = (each.held for each in ledger.held())
    assert read == first
    assert (broken.lever, broken.key) == (UNREADABLE, "concurrency#x")
    assert broken.words.startswith("concurrency#x by hand, and then delete its item of the ledger (ledger item ")


def test_the_regions_found_in_use_are_told_by_themselves(ledger: LedgerTable, now: datetime):
    assert ledger.in_use() == ()
    ledger.note("inventory", {"discovered": ["eu-west-3"], "mark": "x"}, now)
    assert ledger.in_use() == ("eu-west-3",)


# --- closed days ---


def test_a_closed_day_comes_back_to_the_last_digit(ledger: LedgerTable):
    exact = day("15:00", "0.123456789012345678901234567")
    assert ledger.close(exact, closed_before=exact.start)
    assert ledger.closed_days(DAY, DAY) == [exact]


def test_days_of_a_span_come_back_of_each_region_and_no_other(ledger: LedgerTable):
    for number in (19, 20, 21, 22):
        for region in ("ap-south-1", "us-east-1"):
            of = date(2026, 11, number)
            each = ClosedDay(of, region, datetime(2026, 11, number, 5, tzinfo=UTC))
            assert ledger.close(each, closed_before=each.start)
    found = ledger.closed_days(date(2026, 11, 20), date(2026, 11, 21))
    assert [(each.day.day, each.region) for each in found] == [
        (20, "ap-south-1"),
        (20, "us-east-1"),
        (21, "ap-south-1"),
        (21, "us-east-1"),
    ]


def test_hours_are_closed_once_whoever_comes_first(ledger: LedgerTable):
    start = day("01:00").start
    assert ledger.close(day("10:00", "1"), closed_before=start)
    assert not ledger.close(day("11:00", "2"), closed_before=start)
    assert ledger.close(day("11:00", "3"), closed_before=moment("10:00"))
    assert not ledger.close(day("11:00", "4"), closed_before=moment("10:00"))
    assert not ledger.close(day("12:00", "5"), closed_before=moment("10:00"))
    (kept,) = ledger.closed_days(DAY, DAY)
    assert (kept.until, kept.usd) == (moment("11:00"), Decimal(3))


def test_nothing_is_added_to_a_day_that_was_wiped_meanwhile(ledger: LedgerTable, client: "DynamoDBClient"):
    assert ledger.close(day("10:00"), closed_before=day("10:00").start)
    client.delete_item(TableName=TABLE, Key={"pk": {"S": "closed"}, "sk": {"S": "2026-11-22#us-east-1"}})
    assert not ledger.close(day("11:00", "9"), closed_before=moment("10:00"))
    assert ledger.closed_days(DAY, DAY) == []


def test_a_day_that_belongs_to_another_region_or_date_is_another_one(ledger: LedgerTable):
    start = day("10:00").start
    assert ledger.close(day("10:00"), closed_before=start)
    assert ledger.close(day("10:00", region="us-east-2"), closed_before=start)
    assert ledger.close(day("21 10:00", of=date(2026, 11, 21)), closed_before=moment("21 00:00"))
    assert len(ledger.closed_days(date(2026, 11, 1), DAY)) == 3


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        "{}",
        json.dumps(day("10:00").to_json() | {"until": "2026-11-24T00:00:00+00:00"}),
        json.dumps(day("10:00").to_json() | {"models": {"m": "-1"}}),
        json.dumps(day("10:00").to_json() | {"models": {"m": "NaN"}}),
        json.dumps(day("10:00").to_json() | {"models": {"m": None}}),
        json.dumps(day("10:00").to_json() | {"models": 5}),
    ],
)
def test_a_closed_day_that_cannot_be_read_is_an_error_and_not_a_free_day(
    ledger: LedgerTable, client: "DynamoDBClient", body: str
):
    put(client, "closed", "2026-11-22#us-east-1", body)
    with pytest.raises(LedgerItemError, match="closed"):
        ledger.closed_days(DAY, DAY)


def test_many_pages_of_closed_days_all_come_back(ledger: LedgerTable):
    """DynamoDB answers with a megabyte at a time."""
    models = {f"arn:aws:bedrock:us-east-1:1:application-inference-profile/{n}": Decimal(n) for n in range(3000)}
    for number in range(1, 8):
        each = ClosedDay(date(2026, 11, number), "us-east-1", datetime(2026, 11, number, 5, tzinfo=UTC), models)
        assert ledger.close(each, closed_before=each.start)
    assert len(ledger.closed_days(date(2026, 11, 1), DAY)) == 7


# --- series ---


def series(n: int = 0, tier: Tier | None = None) -> Series:
    model = f"maker.model-with-a-long-name-{n}-v1:0"
    dimensions: tuple[tuple[str, str], ...] = (("ModelId", model),)
    if tier:
        dimensions = (("ModelId", model), ("ResolvedServiceTier", tier), ("ServiceTier", tier))
    return Series(
        "us-east-1", "AWS/Bedrock", "CacheReadInputTokenCount", dimensions, model, Kind.CACHE_READ,
        tier or Tier.UNKNOWN, by_tier=tier is not None,
    )  # fmt: skip


def test_series_come_back_as_they_were(ledger: LedgerTable, now: datetime):
    """One that lost its tier would count a second time, as all of its model's usage."""
    seen = {series(), series(tier=Tier.FLEX), series(1, Tier.PRIORITY)}
    ledger.remember_series(now, seen)
    assert ledger.known_series(now) == seen
    ledger.remember_series(now, [series(2)])
    assert ledger.known_series(now) == {*seen, series(2)}


def test_series_of_another_month_are_another_months(ledger: LedgerTable, now: datetime):
    ledger.remember_series(now, [series()])
    assert ledger.known_series(now + timedelta(days=10)) == frozenset()


def test_series_that_cannot_be_read_are_an_error(ledger: LedgerTable, client: "DynamoDBClient", now: datetime):
    client.put_item(
        TableName=TABLE,
        Item={"pk": {"S": "series#2026-11"}, "sk": {"S": "us-east-1"}, "series": {"SS": ['["x"]']}},
    )
    with pytest.raises(LedgerItemError, match="series#2026-11"):
        ledger.known_series(now)


def test_the_series_of_a_large_region_fit(ledger: LedgerTable, client: "DynamoDBClient", now: datetime):
    """200 models with 4 kinds of tokens, of which some are split into 3 tiers: an item holds 400 KB."""
    many = {series(n, tier) for n in range(1000) for tier in (None, Tier.FLEX, Tier.STANDARD, Tier.PRIORITY)}
    ledger.remember_series(now, many)
    assert ledger.known_series(now) == many
    for item in client.scan(TableName=TABLE)["Items"]:
        assert sum(map(len, item["series"]["SS"])) < 400_000


# --- documents, stops ---


def test_a_document_comes_back_whatever_its_size(ledger: LedgerTable):
    assert ledger.kept("inventory") is None
    body = {"prices": [{"model": f"maker.model-{n}", "usd": "3.20"} for n in range(20_000)]}
    ledger.keep("prices", body)
    ledger.keep("inventory", {"a": 1})
    assert ledger.kept("prices") == body
    assert ledger.kept("inventory") == {"a": 1}


@pytest.mark.parametrize("blob", [b"", b"not gzip", b"\x1f\x8b\x08\x00broken"])
def test_a_document_that_cannot_be_read_is_an_error(ledger: LedgerTable, client: "DynamoDBClient", blob: bytes):
    client.put_item(TableName=TABLE, Item={"pk": {"S": "kept"}, "sk": {"S": "inventory"}, "blob": {"B": blob}})
    with pytest.raises(LedgerItemError, match="kept inventory"):
        ledger.kept("inventory")


def test_the_newest_stop_comes_back(ledger: LedgerTable, now: datetime):
    assert ledger.last("stop") is None
    for seconds in (5, 9, 7):
        ledger.record("stop", now + timedelta(seconds=seconds), {"n": seconds})
    ledger.record("release", now + timedelta(hours=1), {"n": 0})
    last = ledger.last("stop")
    assert last is not None
    assert last["n"] == 9


def test_the_history_keeps_what_is_news(ledger: LedgerTable, client: "DynamoDBClient", now: datetime):
    for seconds, news in ((0, True), (60, False), (120, True)):
        ledger.record_decision(now + timedelta(seconds=seconds), {"n": seconds}, news=news)
    history = client.query(
        TableName=TABLE, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": "decision"}}
    )
    assert history["Count"] == 2
    latest = ledger.latest_decision()
    assert latest is not None
    assert latest["n"] == 120
