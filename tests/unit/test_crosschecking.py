"""The daily run: what is asked, what is told, what is kept, and that a failure misleads nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.core.closed import ClosedDay
from lambdas.core.crosscheck import Bill, BilledDay, Charge
from lambdas.core.errors import AwsCallError, LedgerItemError
from lambdas.core.inventory import Confidence, CostKind, Inventory, Standing
from lambdas.core.notice import Links
from lambdas.crosschecking import CrossCheckTools, cross_check
from tests.fakes import FakePost, refused

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
FIRST = date(2026, 11, 13)
DAYS = [FIRST + timedelta(days=number) for number in range(7)]
NOVA = "amazon.nova-pro-v1:0 (us-east-1)"


def closed(
    day: date, usd: str, region: str = "us-east-1", hours: int = 24, model: str = "amazon.nova-pro-v1:0"
) -> ClosedDay:
    until = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hours)
    return ClosedDay(day, region, until, {f"{model} ({region})": Decimal(usd)})


@dataclass
class FakeLedger:
    """What the meter closed, and documents by name."""

    days: Sequence[ClosedDay] = ()
    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    asked: list[tuple[date, date]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)

    def closed_days(self, first: date, last: date) -> Sequence[ClosedDay]:
        if "closed_days" in self.refuses:
            raise refused("dynamodb:Query")
        self.asked.append((first, last))
        return [each for each in self.days if first <= each.day <= last]

    def kept(self, name: str) -> Mapping[str, Any] | None:
        if name in self.broken:
            raise LedgerItemError(f"ledger item 'kept {name}' cannot be read")
        return self.documents.get(name)

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        if "keep" in self.refuses:
            raise refused("dynamodb:PutItem")
        self.documents[name] = body


@dataclass
class FakeBilling:
    """The bill: a request is one entry of ``asked``."""

    usd: str = "10"
    charge: Charge = Charge("Amazon Bedrock")  # noqa: RUF009 - a frozen value
    model: str = "Nova Pro"
    gaps: tuple[str, ...] = ()
    refuses: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, date, date]] = field(default_factory=list)

    def _answer(self, method: str, first: date, last: date, charge: Charge) -> Bill:
        self.asked.append((method, first, last))
        if method in self.refuses:
            raise refused("ce:GetCostAndUsage", self.refuses[method])
        return Bill([BilledDay(day, {charge: Decimal(self.usd)}) for day in DAYS if first <= day <= last], self.gaps)

    def by_service(self, first: date, last: date) -> Bill:
        return self._answer("by_service", first, last, self.charge)

    def by_model(self, first: date, last: date) -> Bill:
        return self._answer("by_model", first, last, self.charge._replace(model=self.model))


@dataclass
class Case:
    ledger: FakeLedger
    billing: FakeBilling
    post: FakePost

    @property
    def tools(self) -> CrossCheckTools:
        return CrossCheckTools(self.ledger, self.billing, Inventory.from_json, Decimal(1), LINKS, self.post.send)

    def run(self, now: datetime) -> Mapping[str, Any]:
        return cross_check(now, self.tools)


@pytest.fixture
def case(now: datetime) -> Case:
    ledger = FakeLedger([closed(day, "10") for day in DAYS])
    ledger.documents["inventory"] = Inventory(now).to_json()
    return Case(ledger, FakeBilling(), FakePost())


def test_where_both_agree_one_request_is_made_and_nobody_is_told(case: Case, now: datetime):
    body = case.run(now)
    assert body["agreement"] == "agrees"
    assert case.billing.asked == [("by_service", DAYS[0], DAYS[-1])]
    assert case.ledger.asked == [(DAYS[0], DAYS[-1])]
    assert case.post.sent == []
    assert case.ledger.documents["crosscheck"] == body
    assert body["told"] is None


def test_a_drift_is_told_with_the_models_it_comes_from_by_a_second_request(case: Case, now: datetime):
    case.billing.usd = "20"
    body = case.run(now)
    assert [method for method, *_ in case.billing.asked] == ["by_service", "by_model"]
    (mail,) = case.post.sent
    assert mail.subject == "Bedrock spend: the meter reads LESS than the bill"
    assert "- Nova Pro = amazon.nova-pro-v1:0: meter $70.00, bill $140.00" in mail.text
    assert "prices.factor = 2 in guardrail.toml" in mail.text
    assert (body["told"], body["factor_offered"]) == (now.isoformat(), "2")


def test_run_twice_a_day_it_asks_and_tells_once(case: Case, now: datetime):
    case.billing.usd = "20"
    first = case.run(now)
    assert case.run(now + timedelta(hours=5)) == first
    assert (len(case.billing.asked), len(case.post.sent)) == (2, 1)
    # Half past six in the evening: seven hours later it is tomorrow.
    case.run(now + timedelta(hours=7))
    assert (len(case.billing.asked), len(case.post.sent)) == (4, 2)


def test_a_meter_that_reads_more_is_told_of_once_a_week_and_kept_each_day(case: Case, now: datetime):
    case.billing.usd = "5"
    case.ledger.days = [closed(FIRST + timedelta(days=number), "10") for number in range(20)]
    for number in range(7):
        body = case.run(now + timedelta(days=number))
    assert body["told"] == now.isoformat()
    assert len(case.post.sent) == 1
    assert body["at"] == (now + timedelta(days=6)).isoformat()


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", "EndpointConnectionError"])
def test_a_bill_that_cannot_be_read_is_an_error_and_nothing_is_kept_or_told(case: Case, now: datetime, code: str):
    case.billing.refuses = {"by_service": code}
    before = case.ledger.documents["crosscheck"] = {"at": "2026-11-21T18:30:00+00:00", "agreement": "agrees"}
    with pytest.raises(AwsCallError, match=code):
        case.run(now)
    assert case.ledger.documents["crosscheck"] == before
    assert case.post.sent == []
    assert len(case.billing.asked) == 1


def test_without_the_models_the_verdict_stands_and_says_what_it_lacks(case: Case, now: datetime):
    case.billing.usd = "20"
    case.billing.refuses = {"by_model": "ValidationException"}
    body = case.run(now)
    (mail,) = case.post.sent
    assert "- $140.00 Amazon Bedrock" in mail.text
    assert "the models on the bill are not known (ce:GetCostAndUsage: ValidationException" in mail.text
    assert "ValidationException" in body["notes"][0]


def test_a_bill_of_too_many_pages_draws_no_verdict_and_asks_no_more(case: Case, now: datetime):
    case.billing.usd, case.billing.gaps = "900", ("more pages",)
    body = case.run(now)
    assert body["agreement"] == "the bill could not be read whole"
    assert body["notes"] == ["more pages"]
    assert len(case.billing.asked) == 1
    assert case.post.sent == []


def test_a_meter_without_a_whole_day_costs_no_request(case: Case, now: datetime):
    case.ledger.days = [closed(DAYS[0], "10", hours=23)]
    body = case.run(now)
    assert body["agreement"] == "nothing to compare"
    assert len(body["left_out"]) == 7
    assert case.billing.asked == []


def test_a_day_counts_only_when_every_region_is_closed_whole(case: Case, now: datetime):
    case.ledger.days = [
        *(closed(day, "4") for day in DAYS[:2]),
        closed(DAYS[0], "6", "eu-central-1"),
        closed(DAYS[1], "5", "eu-central-1", hours=20),
    ]
    body = case.run(now)
    assert {day: each["meter_usd"] for day, each in body["days"].items()} == {"2026-11-13": "10.00"}
    assert body["left_out"]["2026-11-14"] == "the meter has not closed the whole day"


def test_what_stands_by_the_hour_is_added_by_the_utc_day(case: Case, now: datetime):
    throughput = Standing(
        what="pt",
        kind=CostKind.PROVISIONED,
        region="us-east-1",
        arn="arn",
        usd_per_hour=Decimal(1),
        since=datetime(2026, 11, 19, 22, tzinfo=UTC),
        until=datetime(2026, 11, 20, 5, tzinfo=UTC),
        confidence=Confidence.LISTED,
    )
    case.ledger.documents["inventory"] = Inventory(now, standing=(throughput,)).to_json()
    body = case.run(now)
    assert body["meter_usd"] == "72.00"
    assert body["days"]["2026-11-19"]["meter_usd"] == "12.00"
    assert body["only_metered"]["provisioned throughput pt (us-east-1)"] == "2.00"


@pytest.mark.parametrize(
    ("inventory", "words"),
    [
        (None, "there is no inventory yet"),
        ({"at": "x"}, "the inventory cannot be read"),
        ({"at": 5}, "the inventory cannot be read"),
        (
            Inventory(datetime(2026, 11, 22, tzinfo=UTC), gaps=("eu-west-1: endpoints",)).to_json(),
            "eu-west-1: endpoints",
        ),
    ],
)
def test_without_a_whole_inventory_the_meter_is_a_lower_bound_and_offers_no_factor(
    case: Case, now: datetime, inventory: dict[str, Any] | None, words: str
):
    del case.ledger.documents["inventory"]
    if inventory is not None:
        case.ledger.documents["inventory"] = inventory
    case.billing.usd = "20"
    body = case.run(now)
    assert words in body["notes"][0]
    assert body["factor_offered"] is None
    assert words in case.post.sent[0].text


def test_an_inventory_the_ledger_cannot_decode_is_the_same_as_none(case: Case, now: datetime):
    case.ledger.broken = {"inventory"}
    assert "cannot be read" in case.run(now)["notes"][0]


def test_an_inventory_aws_refuses_to_hand_out_is_an_error(case: Case, now: datetime, monkeypatch: pytest.MonkeyPatch):
    def kept(_ledger: FakeLedger, name: str) -> None:
        raise refused(f"dynamodb:GetItem {name}")

    monkeypatch.setattr(FakeLedger, "kept", kept)
    with pytest.raises(AwsCallError):
        case.run(now)


def test_a_last_result_that_cannot_be_read_is_replaced(case: Case, now: datetime):
    case.ledger.broken = {"crosscheck"}
    assert case.run(now)["agreement"] == "agrees"
    assert case.ledger.documents["crosscheck"]["agreement"] == "agrees"


@pytest.mark.parametrize("before", [{}, {"at": None}, {"at": 5, "told": 7}, {"agreement": "x", "told": []}])
def test_a_last_result_of_another_shape_is_no_obstacle(case: Case, now: datetime, before: dict[str, Any]):
    case.billing.usd = "5"
    case.ledger.documents["crosscheck"] = before
    assert case.run(now)["told"] == now.isoformat()


def test_a_mail_that_fails_leaves_nothing_kept_so_that_the_run_is_repeated_whole(case: Case, now: datetime):
    case.billing.usd, case.post.down = "20", True
    with pytest.raises(AwsCallError, match="sns:Publish"):
        case.run(now)
    assert "crosscheck" not in case.ledger.documents
    case.post.down = False
    case.run(now)
    assert len(case.post.sent) == 1


def test_a_result_that_cannot_be_kept_is_an_error(case: Case, now: datetime):
    case.ledger.refuses = {"keep"}
    with pytest.raises(AwsCallError, match="dynamodb:PutItem"):
        case.run(now)


def test_closed_days_that_cannot_be_read_are_an_error_and_cost_no_request(case: Case, now: datetime):
    case.ledger.refuses = {"closed_days"}
    with pytest.raises(AwsCallError):
        case.run(now)
    assert case.billing.asked == []


def test_a_profile_is_paired_by_the_model_the_inventory_knows_behind_it(case: Case, now: datetime):
    case.ledger.days = [closed(day, "10", model="a1b2c3") for day in DAYS]
    case.ledger.documents["inventory"] = Inventory(now, aliases={"a1b2c3": ("amazon.nova-pro-v1:0",)}).to_json()
    case.billing.usd = "20"
    assert list(case.run(now)["models"]) == ["Nova Pro = a1b2c3"]
