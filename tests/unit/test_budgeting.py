"""The bill's word: asked back before it counts, held against the meter, never more than it is good for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas.budgeting import BillTools, judge_anomaly, judge_budget_messages
from lambdas.core.budget_message import BudgetFigures
from lambdas.core.errors import AwsCallError, RefusedError
from lambdas.core.levels import Level
from lambdas.core.limits import Ladder
from lambdas.core.notice import Links
from lambdas.core.windows import Window
from lambdas.stopping import StopRequest
from tests.conftest import ACCOUNT, event
from tests.fakes import FakePost, refused

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
SENT = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
NOW = SENT + timedelta(seconds=20)
MONITOR = "arn:aws:ce::123456789012:anomalymonitor/abcdef12-1234-4ea0-84cc-918a97d736ef"
ACTUAL, FORECASTED, DAILY = (event(f"budgets_{each}.txt") for each in ("actual", "forecasted", "daily"))


@dataclass
class FakeBudget:
    actual: str
    name: str = "bedrock-spend-monthly"
    window: Window = Window.MONTH
    budgeted: str = "500"
    error: AwsCallError | None = None
    asked: int = 0

    def figures(self, now: datetime) -> BudgetFigures:
        assert now == NOW
        self.asked += 1
        if self.error:
            raise self.error
        return BudgetFigures(Decimal(self.actual), Decimal(self.budgeted))


@dataclass
class FakeMemory:
    """What the meter last decided, and what people were told of."""

    month_usd: str | None = "480"
    down: bool = False
    told: dict[str, str] = field(default_factory=dict)

    def latest_decision(self) -> Mapping[str, Any] | None:
        if self.down:
            raise refused("dynamodb:GetItem")
        if self.month_usd is None:
            return None
        return {"at": NOW.isoformat(), "figures": {"limits": [{"spent": self.month_usd}]}}

    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        if self.down:
            raise refused("dynamodb:PutItem")
        assert unless_since < now
        return self.told.setdefault(what, by) == by


@dataclass
class Bill:
    month: FakeBudget = field(default_factory=lambda: FakeBudget("10"))
    day: FakeBudget = field(default_factory=lambda: FakeBudget("1", "bedrock-spend-daily", Window.DAY, "50"))
    memory: FakeMemory = field(default_factory=FakeMemory)
    post: FakePost = field(default_factory=FakePost)
    steps_down: bool = False

    @property
    def tools(self) -> BillTools:
        return BillTools(
            account_id=ACCOUNT,
            budgets=(self.month, self.day),
            ladder=Ladder(Decimal(50), Decimal(80)),
            memory=self.memory,
            tell=self.post.send,
            links=LINKS,
            monitor_arn=MONITOR,
            least_usd=Decimal(100),
            steps_down=self.steps_down,
        )

    def hears(self, *texts: str) -> StopRequest | None:
        return judge_budget_messages([(text, SENT) for text in texts], self.tools, NOW)

    def asked(self, *texts: str) -> StopRequest:
        request = self.hears(*texts)
        assert request is not None
        return request

    def sees(self, raw: Mapping[str, Any]) -> StopRequest | None:
        return judge_anomaly(raw, self.tools, NOW)


@pytest.fixture
def bill() -> Bill:
    return Bill()


# --- AWS Budgets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("actual", "level"), [("400", Level.STEP_DOWN), ("500", Level.STOP), ("1234.56", Level.STOP)])
def test_the_confirmed_figure_decides_how_far_to_brake(bill: Bill, actual: str, level: Level):
    bill.month.actual = actual
    request = bill.asked(ACTUAL)
    assert (request.level, request.by, request.at, request.reversible_only) == (level, "budget", SENT, False)
    assert f"${Decimal(actual):.2f} of $500.00 this month" in request.reason
    assert [str(each.usd) for each in request.over] == [actual]


@pytest.mark.parametrize(
    ("text", "month", "day", "becomes"),
    [
        (ACTUAL, "250", "1", "warning"),
        (ACTUAL, "400", "1", "step-down"),
        (ACTUAL, "500", "1", "stop"),
        (ACTUAL, "10", "1", "refused"),
        # Each budget is asked for its own: the other one may have been released by a person since.
        (ACTUAL, "10", "50", "refused"),
        (DAILY, "500", "1", "refused"),
        (DAILY, "10", "25", "warning"),
        (DAILY, "10", "40", "step-down"),
        (DAILY, "10", "61.07", "stop"),
        # A forecast is told again and again: it would stop again what was released.
        (FORECASTED, "1", "1", "warning"),
        (FORECASTED, "400", "1", "warning"),
        (FORECASTED, "9999", "1", "warning"),
        # What names none is about both.
        ("garbled \x00", "10", "1", "refused"),
        ("garbled \x00", "500", "1", "stop"),
        ("garbled \x00", "10", "50", "stop"),
        ("garbled \x00", "400", "25", "step-down"),
        ("This is a test message", "250", "1", "warning"),
        (ACTUAL.replace("Budget Name: bedrock-spend-monthly", ""), "10", "50", "refused"),
        (ACTUAL.replace("Alert Type: ACTUAL", ""), "500", "1", "stop"),
        (ACTUAL.replace("Alert Type: ACTUAL", "Alert Type: WEEKLY"), "500", "1", "stop"),
        (ACTUAL.replace("\n", "\r\n"), "500", "1", "stop"),
        (ACTUAL.replace("$", "€"), "500", "1", "refused"),
        (ACTUAL.replace(ACCOUNT, "999999999999"), "500", "50", "refused"),
        (ACTUAL.replace("Name: bedrock-spend-monthly", "Name: other"), "500", "50", "refused"),
    ],
)
def test_what_becomes_of_a_message(bill: Bill, text: str, month: str, day: str, becomes: str):
    bill.month.actual, bill.day.actual = month, day
    try:
        request = bill.hears(text)
    except RefusedError:
        assert becomes == "refused"
        assert bill.post.sent == []
        return
    assert (str(request.level) if request is not None else "warning") == becomes
    assert bool(bill.post.sent) is (becomes == "warning")


def test_of_several_records_the_one_that_goes_furthest_counts(bill: Bill):
    bill.month.actual, bill.day.actual = "400", "60"
    foreign = ACTUAL.replace(ACCOUNT, "999999999999")
    assert bill.asked(foreign, ACTUAL, FORECASTED, DAILY).level is Level.STOP
    assert bill.asked(DAILY, ACTUAL).level is Level.STOP
    assert (bill.month.asked, bill.day.asked) == (2, 2)
    with pytest.raises(RefusedError, match=r"account 999999999999.*; .*account 999999999999"):
        bill.hears(foreign, foreign)


def test_a_claim_the_budget_does_not_confirm_is_refused_with_what_it_said(bill: Bill):
    bill.month.actual = "3"
    with pytest.raises(RefusedError, match=r"not confirmed: .* \$3.00 of \$500.00 .*its message said \$1,234.56"):
        bill.hears(ACTUAL)


def test_a_warning_says_where_the_message_and_the_budget_differ(bill: Bill):
    bill.month.actual = "250"
    assert bill.hears(ACTUAL) is None
    assert "$250.00 of $500.00" in bill.post.sent[0].text
    assert "Its message said $1,234.56." in bill.post.sent[0].text


def test_a_foreign_message_does_not_even_ask_the_budget(bill: Bill):
    with pytest.raises(RefusedError):
        bill.hears(ACTUAL.replace(ACCOUNT, "999999999999"))
    assert (bill.month.asked, bill.day.asked) == (0, 0)


def test_a_budget_that_cannot_be_asked_is_an_error_and_not_a_verdict(bill: Bill):
    bill.month.error = refused("budgets:DescribeBudget")
    with pytest.raises(AwsCallError):
        bill.hears(ACTUAL)


def test_a_budget_that_cannot_be_asked_keeps_the_other_from_nothing(bill: Bill):
    bill.month.error = refused("budgets:DescribeBudget")
    bill.day.actual = "60"
    assert bill.asked("garbled").level is Level.STOP
    bill.day.actual = "30"
    with pytest.raises(AwsCallError):
        bill.hears("garbled")
    assert "$30.00 of $50.00" in bill.post.sent[0].text


TRILLIONS = "1234567890123.45"


def test_trillions_are_acted_on_only_with_what_comes_back_and_a_person_reads_why(bill: Bill):
    bill.month.actual = TRILLIONS
    request = bill.asked(ACTUAL)
    assert (request.level, request.reversible_only) == (Level.STOP, True)
    assert "implausible beside the $480.00 the meter has of this month" in request.reason
    assert "nothing is ended that does not come back" in request.reason


@pytest.mark.parametrize(("actual", "reversible_only"), [("600", False), ("10001", True)])
@pytest.mark.parametrize("unreadable", ["down", "nothing"])
def test_an_unreadable_meter_is_no_reason_to_ignore_a_stop(
    bill: Bill, unreadable: str, actual: str, reversible_only: bool
):
    bill.memory = FakeMemory(None, down=unreadable == "down")
    bill.month.actual = actual
    request = bill.asked(ACTUAL)
    assert (request.level, request.reversible_only) == (Level.STOP, reversible_only)


def test_a_meter_that_sees_nothing_of_it_makes_no_stop_implausible(bill: Bill):
    # AgentCore and knowledge bases show in no token metric.
    bill.memory.month_usd, bill.month.actual = "0", "4000"
    assert not bill.asked(ACTUAL).reversible_only


def test_what_is_plausible_goes_before_what_is_not(bill: Bill):
    bill.month.actual, bill.day.actual = "600", TRILLIONS
    assert not bill.asked("garbled").reversible_only


# --- Cost Anomaly Detection --------------------------------------------------------------------------------------


def anomaly(**detail: Any) -> dict[str, Any]:
    raw: dict[str, Any] = event("cost_anomaly.json")
    raw["detail"] |= detail
    return raw


def impact(usd: float) -> dict[str, Any]:
    return {**event("cost_anomaly.json")["detail"]["impact"], "totalImpact": usd}


def test_an_anomaly_warns_once_however_often_it_is_told(bill: Bill):
    assert bill.sees(anomaly()) is None
    assert "$1,001.00 more than AWS expected on Claude Opus 5.5" in bill.post.sent[0].text
    assert bill.sees(anomaly(impact=impact(2002)) | {"id": "another-event"}) is None
    assert len(bill.post.sent) == 1


def test_an_event_that_is_tried_again_is_told_again(bill: Bill):
    bill.post.down = True
    with pytest.raises(AwsCallError):
        bill.sees(anomaly())
    bill.post.down = False
    bill.sees(anomaly())
    assert len(bill.post.sent) == 1


def test_where_so_configured_it_steps_down_and_never_stops(bill: Bill):
    bill.steps_down = True
    request = bill.sees(anomaly())
    assert request is not None
    assert (request.level, request.by, request.windows) == (Level.STEP_DOWN, "anomaly", ())
    assert request.at == datetime(2026, 11, 22, 18, tzinfo=UTC)
    assert bill.sees(anomaly() | {"id": "another-event"}) is None
    assert bill.post.sent == []


@pytest.mark.parametrize(("month", "usd"), [("480", 11_601), ("0", 2001), (None, 2001)])
def test_an_absurd_impact_only_warns(bill: Bill, month: str | None, usd: float):
    bill.steps_down, bill.memory.month_usd = True, month
    assert bill.sees(anomaly(impact=impact(usd))) is None
    assert "implausible" in bill.post.sent[0].text
    assert bill.sees(anomaly(impact=impact(usd - 2), anomalyId="other")) is not None


def test_a_ledger_that_is_down_silences_no_anomaly(bill: Bill):
    bill.memory.down = True
    bill.sees(anomaly())
    assert len(bill.post.sent) == 1


def test_without_a_monitor_no_anomaly_counts(bill: Bill):
    with pytest.raises(RefusedError, match="leaves alone"):
        judge_anomaly(anomaly(), replace(bill.tools, monitor_arn=""), NOW)


def test_what_is_not_bedrocks_is_ignored_quietly(bill: Bill):
    ec2 = [{"service": "Amazon Elastic Compute Cloud", "linkedAccount": ACCOUNT, "impact": {"contribution": 1001}}]
    assert bill.sees(anomaly(dimensionValue="Amazon Elastic Compute Cloud", rootCauses=ec2)) is None
    assert (bill.post.sent, bill.memory.told) == ([], {})
