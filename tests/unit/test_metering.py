"""A tick of the meter: what it judges, what it asks for, and that no failed call makes it silent."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.limits import Allowance, Ladder, Limit, Verdict
from lambdas.core.notice import Notice
from lambdas.core.pace import Bounds
from lambdas.core.plan import PolicyState
from lambdas.core.prices import PriceTable
from lambdas.core.spend import Spend
from lambdas.core.telling import Telling
from lambdas.core.usage import Kind, Series, Source
from lambdas.core.windows import Window
from lambdas.measuring import Gauge
from lambdas.metering import MeterTools, Tick, tick
from lambdas.telling import Ways
from tests.fakes import FakeBrake, FakeLedger, FakeUsage, moment, refused
from tests.unit.test_stopping import LINKS

NOVA = "amazon.nova-pro-v1:0"
SERIES = Series("us-east-1", "AWS/Bedrock", "OutputTokenCount", (("ModelId", NOVA),), NOVA, Kind.OUTPUT)
DAY = Limit(Window.DAY, Decimal(50), Ladder(Decimal(50), Decimal(80)))
RUNTIME = Source("us-east-1", "AWS/Bedrock")
DEAR = ("anthropic.claude-opus*",)
"""What a step-down denies here."""


@dataclass
class Meter:
    """The meter in an account in memory."""

    prices: PriceTable
    now: datetime
    brake: FakeBrake = field(default_factory=FakeBrake)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    usage: FakeUsage = field(default_factory=FakeUsage)
    asked: list[dict[str, Any]] = field(default_factory=list)
    released: list[dict[str, Any]] = field(default_factory=list)
    """What the release function was asked for."""
    sent: list[Notice] = field(default_factory=list)
    escalated: list[Notice] = field(default_factory=list)
    """What those were told who are told when nobody acts."""
    telling: Telling = field(default_factory=Telling)
    mail_is_down: bool = False
    stop_is_down: bool = False
    release_is_down: bool = False
    exempt: tuple[str, ...] = ()
    enforce: bool = True
    limits: tuple[Limit, ...] = (DAY,)
    max_blind: Decimal = Decimal(5)
    regions: tuple[str, ...] = ("us-east-1",)

    def tokens(self, usd: str, model: str = NOVA) -> int:
        price = self.prices.quote(model, self.now, region="us-east-1").price.of(Kind.OUTPUT)
        return round(Decimal(usd) / price)

    def spent(self, usd: str, at: datetime | None = None, series: Series = SERIES) -> "Meter":
        """Let Bedrock count so much in a minute, by default one that burns no more."""
        minute = at or self.now - timedelta(minutes=8)
        self.usage.use(series, minute, self.tokens(usd, series.model))
        return self

    def ask(self, request: dict[str, Any]) -> None:
        if self.stop_is_down:
            raise refused("lambda:InvokeFunction")
        self.asked.append(request)

    def send(self, notice: Notice) -> None:
        if self.mail_is_down:
            raise refused("sns:Publish")
        self.sent.append(notice)

    def ask_for_release(self, request: dict[str, Any]) -> None:
        if self.release_is_down:
            raise refused("lambda:InvokeFunction")
        self.released.append(request)

    def tick(self, *, woken: bool = False) -> Tick:
        """Do what is due."""
        tools = MeterTools(
            gauge=Gauge(self.usage, self.ledger, self.prices),
            ledger=self.ledger,
            brake=self.brake,
            bounds=Bounds(self.limits, self.max_blind, timedelta(minutes=4)),
            regions=self.regions,
            watched=frozenset(self.regions),
            enforce=self.enforce,
            links=LINKS,
            ask_for_stop=self.ask,
            ask_for_release=self.ask_for_release,
            dear=DEAR,
            exempt=self.exempt,
            ways=Ways(self.telling, self.send, self.escalated.append, self.ledger.note),
        )
        return tick(self.now, tools, woken=woken)

    def read_tick(self) -> Tick:
        """Tick, and have everything read in full whatever the pace would say."""
        self.ledger.notes.pop("watch", None)
        return self.tick()

    def read(self) -> "Found":
        """Read in full, and return what came of it."""
        found = self.read_tick()
        assert found.decision is not None
        assert found.spend is not None
        return Found(found.decision.verdict, found.asked, found.problems, found.spend.gaps, found.level, found.spend)

    def at(self, time: str) -> "Meter":
        self.now = moment(time)
        return self


class Found(NamedTuple):
    verdict: Verdict
    asked: Level | None
    problems: tuple[str, ...]
    gaps: tuple[str, ...]
    level: Level | None
    spend: Spend


@pytest.fixture
def meter(prices: PriceTable, now: datetime) -> Meter:
    return Meter(prices, now)


def test_nothing_spent_asks_for_nothing_and_mails_nobody(meter: Meter):
    found = meter.read()
    assert (found.verdict, found.asked, found.problems) == (Verdict.OK, None, ())
    assert (meter.asked, meter.sent) == ([], [])


def test_a_limit_that_is_reached_asks_for_a_stop_with_its_reason_and_figures(meter: Meter):
    meter.spent("60").read()
    request = meter.asked[0]
    assert (request["source"], request["level"], request["reassert"]) == ("meter", "stop", False)
    assert request["reason"].startswith("$60.00 of $50/day")
    assert request["spend"]["models"] == (f"$60.00 today  {NOVA} (us-east-1)",)


def test_a_rung_below_asks_for_a_step_down(meter: Meter):
    meter.spent("45").read()
    assert meter.asked[0]["level"] == "step-down"


def test_a_warning_is_mailed_once(meter: Meter):
    meter.spent("30").read()
    meter.read()
    assert [each.subject for each in meter.sent] == ["Bedrock spend: warning"]
    assert "$30.00 of $50/day" in meter.sent[0].text
    assert meter.asked == []


def test_while_the_brake_is_on_it_is_kept_on_without_a_word(meter: Meter):
    meter.brake.level = Level.STOP
    meter.spent("60").read()
    assert (meter.asked[0]["level"], meter.asked[0]["reassert"]) == ("stop", True)


def test_a_stop_by_a_person_is_kept_on_however_little_is_spent(meter: Meter):
    meter.brake.level = meter.brake.sweep_level = Level.STOP
    assert meter.read().asked is Level.STOP
    assert meter.asked[0]["reassert"] is True


def test_a_brake_that_was_opened_behind_its_back_is_asked_for_again(meter: Meter):
    meter.ledger.level = Level.STOP
    assert meter.read().asked is Level.STOP


def test_a_stop_that_did_not_happen_is_asked_for_again_each_minute_as_news(meter: Meter):
    meter.spent("60").tick()
    meter.tick()
    assert [each["reassert"] for each in meter.asked] == [False, False]


def test_report_only_tells_of_a_crossed_limit_once(meter: Meter):
    meter.enforce = False
    meter.spent("60").read()
    meter.read()
    assert [(each["level"], each["reassert"]) for each in meter.asked] == [("stop", False)]


def test_report_only_keeps_a_persons_kill_on(meter: Meter):
    meter.enforce = False
    meter.ledger.level = Level.STOP
    meter.spent("60").read()
    assert [(each["level"], each["reassert"]) for each in meter.asked] == [("stop", True)]


def test_a_stop_above_a_step_down_is_news(meter: Meter):
    meter.brake.level = meter.ledger.level = Level.STEP_DOWN
    meter.spent("60").read()
    assert [(each["level"], each["reassert"]) for each in meter.asked] == [("stop", False)]


def test_an_allowance_holds_the_stop_back(meter: Meter):
    meter.ledger.granted = [Allowance(Decimal(100), meter.now + timedelta(hours=1), "report", "ada")]
    assert meter.spent("60").read().verdict is Verdict.OK


def test_without_the_ledger_the_limits_still_hold(meter: Meter):
    meter.ledger.down = True
    found = meter.spent("60").read()
    assert found.asked is Level.STOP
    assert any("dynamodb:Query" in each for each in found.problems)


def test_without_iam_the_limits_still_hold(meter: Meter):
    meter.brake.refuses = {"levels": "ServiceFailure"}
    found = meter.spent("60").read()
    assert (found.level, found.asked) == (None, Level.STOP)
    assert any("ServiceFailure" in each for each in found.problems)


def test_a_stop_function_that_cannot_be_reached_is_a_problem_and_is_asked_again(meter: Meter):
    meter.stop_is_down = True
    found = meter.spent("60").read()
    assert any("lambda:InvokeFunction" in each for each in found.problems)
    # Not recorded, so that the next tick tells it as news again.
    assert meter.ledger.latest is None


def test_an_incomplete_reading_never_lowers_the_verdict(meter: Meter):
    meter.spent("60").read()
    meter.usage.gaps[RUNTIME] = "us-east-1: cannot be read"
    meter.ledger.days.clear()
    found = meter.read()
    assert found.spend.by_window[Window.DAY] == 0
    assert found.verdict is Verdict.STOP
    assert found.gaps == ("us-east-1: cannot be read",)


def test_a_meter_that_reads_nothing_at_all_wakes_somebody(meter: Meter):
    meter.spent("1").usage.gaps[RUNTIME] = "us-east-1: usage cannot be read (AccessDenied)"
    assert meter.read().problems == (
        "the meter is blind, no usage could be read (us-east-1: usage cannot be read (AccessDenied))",
    )


def test_a_gap_is_mailed_once_a_day_and_raises_no_alarm(meter: Meter):
    meter.spent("1").usage.gaps[Source("us-east-1", "AWS/BedrockMantle")] = "eu-west-1: cannot be read"
    start = meter.now
    for hours in (0, 0, 1, 23, 25):
        meter.now = start + timedelta(hours=hours)
        assert meter.read().problems == ()
    assert [each.subject for each in meter.sent] == ["Bedrock spend: the meter does not see everything"] * 2
    assert "- eu-west-1: cannot be read" in meter.sent[0].text


def test_thousands_of_gaps_fit_into_a_request(meter: Meter):
    meter.regions = ("us-east-1", *(f"region-{n}" for n in range(3000)))
    meter.usage.gaps = {Source(each, "AWS/Bedrock"): f"{each}: cannot be read" for each in meter.regions[1:]}
    found = meter.spent("60").read()
    assert len(found.gaps) == 11
    assert len(json.dumps(meter.asked[0])) < 10_000


def test_when_listing_fails_the_series_seen_this_month_are_read(meter: Meter):
    idle = Series("us-east-1", "AWS/Bedrock", "InputTokenCount", (("ModelId", "old"),), "old", Kind.INPUT)
    meter.ledger.series = {idle}
    meter.spent("1").read()
    assert meter.usage.reads[-1][0] == {SERIES}
    assert meter.ledger.series == {idle, SERIES}
    meter.usage.listing_fails = {RUNTIME}
    found = meter.read()
    assert meter.usage.reads[-1][0] == {idle, SERIES}
    assert "us-east-1: AWS/Bedrock cannot be listed" in found.gaps


def test_a_release_that_did_not_finish_is_reported(meter: Meter):
    meter.brake.sweep_level = Level.STOP
    assert any("a release did not finish" in each for each in meter.read().problems)


def test_a_holder_of_the_sweep_policy_in_peace_is_reported(meter: Meter):
    meter.brake.swept = {"role/late"}
    assert any("1 principals hold bedrock-spend-sweep" in each for each in meter.read().problems)


def test_a_version_somebody_deleted_is_found_in_peace(meter: Meter, monkeypatch):
    policy = meter.brake.policy

    def pruned(arn: str) -> PolicyState:
        found = policy(arn)
        return replace(
            found, versions={level: each for level, each in found.versions.items() if level is not Level.STOP}
        )

    monkeypatch.setattr(meter.brake, "policy", pruned)
    assert any("has no version stop" in each and "-c repair=" in each for each in meter.read().problems)


def test_report_only_tells_of_a_second_limit_although_another_is_at_its_stop(meter: Meter):
    meter.enforce = False
    meter.limits = (replace(DAY, window=Window.MONTH, usd=Decimal(50)), DAY)
    meter.spent("60", moment("21 12:00")).read()
    meter.spent("60").read()
    meter.read()
    assert len(meter.asked) == 2


def test_minutes_before_a_release_no_longer_burn(meter: Meter):
    meter.limits = (Limit(Window.MINUTE, Decimal(5), Ladder(None, None)),)
    minute = Window.MINUTE.start(meter.now) - timedelta(minutes=2)
    assert meter.spent("60", minute).read().verdict is Verdict.STOP
    meter.ledger.level, meter.ledger.said_at = Level.RELEASED, minute + timedelta(seconds=90)
    meter.ledger.forget_verdict()
    assert meter.read().verdict is Verdict.OK


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"verdict": "cautious"},
        {"verdict": "ok", "limits": 5},
        {"verdict": "ok", "limits": {}, "on": 5},
    ],
)
def test_a_record_of_another_version_never_ends_the_tick(meter: Meter, broken: dict[str, Any]):
    meter.ledger.latest = broken
    found = meter.spent("60").read()
    assert found.asked is Level.STOP
    assert any("judges afresh" in each for each in found.problems)


def test_the_history_keeps_changes_only_and_the_latest_is_always_there(meter: Meter):
    meter.read()
    meter.read()
    meter.spent("60").read()
    assert [body["verdict"] for _, body in meter.ledger.records] == ["stop"]
    assert meter.ledger.latest is not None
    assert meter.ledger.latest["verdict"] == "stop"


def test_a_bug_is_not_swallowed(meter: Meter, monkeypatch):
    def broken(_now: datetime) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(meter.ledger, "memory", broken)
    with pytest.raises(ZeroDivisionError):
        meter.read()


def test_errors_name_the_permission_they_need():
    error = AwsCallError("iam:AttachRolePolicy", "LimitExceeded", "too many")
    assert str(error) == "iam:AttachRolePolicy: LimitExceeded: too many"
