"""The digest, hour by hour: what it reads, when it mails, what a spike is, and that an idle account costs nothing."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas import digesting
from lambdas.core.inventory import Confidence, CostKind, Inventory, Standing
from lambdas.core.levels import Level
from lambdas.core.limits import Allowance, Ladder, Limit
from lambdas.core.notice import Links, Notice
from lambdas.core.pace import Seen, Watch
from lambdas.core.prices import PriceTable
from lambdas.core.telling import Telling
from lambdas.core.usage import Kind, Series, Source
from lambdas.core.windows import Window
from lambdas.digesting import DigestTools
from tests.fakes import FakeLedger, FakePost, FakeUsage

RUNTIME = Source("us-east-1", "AWS/Bedrock")
NOVA, OPUS = "amazon.nova-pro-v1:0", "us.anthropic.claude-opus-5"
LADDER = Ladder(Decimal(50), Decimal(80))
LIMITS = (Limit(Window.DAY, Decimal(50), LADDER), Limit(Window.MONTH, Decimal(900), LADDER))
LINKS = Links("https://release", "https://status", "https://kill", "aws iam set-default")
HOUR = timedelta(hours=1)
START = datetime.fromisoformat("2026-11-23T06:06:00+00:00")  # a Monday


def series(model: str = NOVA) -> Series:
    return Series(*RUNTIME, "OutputTokenCount", (("ModelId", model),), model, Kind.OUTPUT)


@dataclass
class Desk:
    """An account with a digest, run each hour."""

    prices: PriceTable
    now: datetime = START
    usage: FakeUsage = field(default_factory=FakeUsage)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    post: FakePost = field(default_factory=FakePost)
    telling: Telling = field(default_factory=Telling)
    problems: list[str] = field(default_factory=list)
    active: dict[Source, datetime] = field(default_factory=dict)

    def spend(self, usd: str, at: datetime, model: str = NOVA) -> "Desk":
        price = self.prices.quote(model, at, region="us-east-1").price.of(Kind.OUTPUT)
        self.usage.use(series(model), at, round(Decimal(usd) / price))
        self.active[RUNTIME] = max(at, self.active.get(RUNTIME, at))
        return self

    def run(self) -> dict[str, Any]:
        self.problems.clear()
        seen = {source: Seen(active_at=at) for source, at in self.active.items() if at <= self.now}
        watch = Watch(self.now, self.now, dict.fromkeys(Window, Decimal(0)), "", Decimal(0), seen)
        self.ledger.notes["watch"] = watch.to_json()
        tools = DigestTools(
            self.usage,
            self.ledger,
            lambda: (self.prices, ()),
            ("us-east-1",),
            LIMITS,
            self.telling,
            LINKS,
            self.post.send,
        )
        return digesting.run(self.now, tools, self.problems)

    def hours(self, number: int, usd: str = "0", model: str = NOVA) -> "Desk":
        """Let hours pass, with so much spent in each, and run after each."""
        for _ in range(number):
            if Decimal(usd):
                self.spend(usd, self.now, model)
            self.now += HOUR
            self.run()
        return self

    def told(self, kind: str) -> list[Notice]:
        return [each for each in self.post.sent if each.kind == kind]


@pytest.fixture
def desk(prices: PriceTable) -> Desk:
    desk = Desk(prices)
    desk.ledger.record_decision(desk.now, {"verdict": "ok"}, news=False)
    return desk


def usual(desk: Desk, usd: str = "1") -> Desk:
    """Let each hour of the two weeks before have cost so much."""
    for number in range(14 * 24 + 6):
        desk.spend(usd, START - timedelta(minutes=20) - number * HOUR)
    return desk


def test_the_first_run_looks_back_two_weeks_and_mails_nothing(desk: Desk):
    usual(desk).run()
    assert desk.post.sent == []
    ((_, since),) = desk.usage.reads
    assert min(since.values()) == datetime.fromisoformat("2026-11-09T00:00:00+00:00")
    assert len([each for each in desk.ledger.documents if each.startswith("digest-")]) == 15


def test_an_idle_account_reads_no_metric_and_is_mailed_nothing(desk: Desk):
    desk.run()
    desk.usage.reads.clear()
    desk.hours(72)
    assert (desk.usage.reads, desk.post.sent, desk.problems) == ([], [], [])


def test_once_the_hours_are_known_only_the_newest_are_read_and_of_what_was_in_use(desk: Desk):
    usual(desk).run()
    desk.usage.reads.clear()
    desk.hours(1, "1")
    ((_, since),) = desk.usage.reads
    assert since == {RUNTIME: desk.now.replace(minute=0) - 2 * HOUR}
    desk.usage.reads.clear()
    desk.hours(5)
    assert len(desk.usage.reads) == 1, "the last hour of use; then it is idle"


def test_the_daily_mail(desk: Desk):
    usual(desk).run()
    desk.hours(18, "2").hours(6, "0.50", OPUS)
    desk.ledger.documents["inventory"] = Inventory(
        desk.now,
        standing=(
            Standing(
                "mine", CostKind.PROVISIONED, "us-east-1", "arn", Decimal("21.18"), desk.now, None, Confidence.LISTED
            ),
        ),
    ).to_json()
    desk.ledger.granted = [Allowance(Decimal(40), desk.now + HOUR * 9, "a demo", "ada")]
    desk.ledger.record_decision(
        desk.now,
        {"verdict": "warn", "spend": {"findings": ["$30.00 of $50/day, $30.00 with usage on its way"]}},
        news=False,
    )
    desk.hours(2, "1")
    (mail,) = desk.told("digest")
    assert mail.subject == "Bedrock spend: $42.00 yesterday, +75 % (Mondays)"
    assert mail.text == DIGEST


DIGEST = """\
Yesterday, Monday 23 November, Bedrock cost $42.00, +75 % (Mondays).
The meter's last word is warn.

Models, dearest first:
- $42.00 7.5M tokens  amazon.nova-pro-v1:0 (us-east-1), +75 % (Mondays)

Of the limits, yesterday:
- 84 % of $50/day
- 5 % of $900/month (30 such days make 140 %)

The limits now:
- $30.00 of $50/day, $30.00 with usage on its way

Costs by the hour until somebody deletes it:
- $21.18 an hour  provisioned throughput mine (us-east-1)

Allowances:
- $40 more until 2026-11-24 15:06 UTC, by ada: a demo

The guardrail itself:
- the guardrail has not looked at itself yet: it does so each hour

See how it stands:
https://status
Stop by hand when no Lambda works:
aws iam set-default
"""


def test_it_is_mailed_once_a_day_from_seven_on_and_again_only_when_it_failed(desk: Desk):
    desk.run()
    desk.hours(20, "0.10").hours(4)
    assert desk.told("digest") == []
    desk.post.down = True
    desk.hours(2)
    assert desk.problems != []
    desk.post.down = False
    desk.hours(20)
    assert len(desk.told("digest")) == 1


def test_a_day_without_cost_is_mailed_about_when_something_is_not_as_it_should_be(desk: Desk):
    desk.run()
    desk.ledger.level = Level.STOP
    desk.hours(26)
    (mail,) = desk.told("digest")
    assert "Bedrock is STOPPED now." in mail.text


def test_who_wants_no_digest_gets_none(desk: Desk):
    desk.telling = Telling(digest=False, spike_percent=None)
    desk.run()
    desk.hours(30, "1")
    assert (desk.post.sent, desk.usage.reads) == ([], [])


def test_an_hour_far_above_the_usual_is_told_long_before_a_limit(desk: Desk):
    usual(desk).run()
    desk.hours(3, "1")
    assert desk.told("spike") == []
    desk.hours(1, "4")
    (mail,) = desk.told("spike")
    assert mail.subject == "Bedrock spend: $4.00 in an hour, x4.0 of the usual"
    assert mail.text.startswith(
        "From 09:00 to 09:59 UTC Bedrock cost $4.00.\nThat is more than 300 % of what is usual:\n"
        "- $4.00, usually $1.00 (Mondays at 09:00), x4.0: all models together\n"
        "- $4.00, usually $1.00 (Mondays at 09:00), x4.0: amazon.nova-pro-v1:0 (us-east-1)\n"
    )
    desk.hours(6, "5")
    assert len(desk.told("spike")) == 1, "once a day for each model"


def test_a_model_that_was_not_told_of_yet_is_told_of(desk: Desk):
    for number in range(14 * 24 + 6):
        desk.spend("0.50", START - timedelta(minutes=20) - number * HOUR, OPUS)
    usual(desk).run()
    desk.hours(1, "9")
    assert len(desk.told("spike")) == 1
    desk.hours(1, "2", OPUS)
    assert OPUS in desk.told("spike")[1].text
    assert len(desk.told("spike")) == 2


def test_a_few_cents_are_no_spike_however_rare(desk: Desk):
    usual(desk, "0.01").run()
    desk.hours(1, "0.29")
    assert desk.told("spike") == []
    desk.hours(1, "0.31")
    assert len(desk.told("spike")) == 1


def test_a_spike_that_could_not_be_mailed_is_mailed_by_the_next_run(desk: Desk):
    usual(desk).run()
    desk.post.down = True
    desk.hours(1, "9")
    desk.post.down = False
    desk.run()
    assert len(desk.told("spike")) == 1


def test_the_same_hour_is_judged_once_whoever_calls(desk: Desk):
    usual(desk).run()
    desk.hours(1, "9")
    desk.run()
    desk.run()
    assert len(desk.told("spike")) == 1


def test_what_cannot_be_read_is_a_gap_in_the_mail_and_read_again_later(desk: Desk):
    usual(desk).run()
    desk.hours(10, "1")
    desk.usage.gaps[RUNTIME] = "us-east-1: usage cannot be read (AccessDenied)"
    desk.hours(15, "1")
    (mail,) = desk.told("digest")
    assert "at least what was spent:\n- us-east-1: usage cannot be read (AccessDenied)" in mail.text
    desk.usage.gaps.clear()
    desk.hours(24, "1")
    found = desk.told("digest")[1]
    assert found.subject == "Bedrock spend: $24.00 yesterday, +0 % (Tuesdays)", "what was missed was read again"


def test_a_meter_that_has_not_looked_says_nothing_of_what_is_idle(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    desk.run()
    desk.usage.reads.clear()
    monkeypatch.setattr(desk.ledger, "notes", {})
    desk.now += HOUR
    tools = DigestTools(
        desk.usage, desk.ledger, lambda: (desk.prices, ()), ("us-east-1",), LIMITS, Telling(), LINKS, desk.post.send
    )
    digesting.run(desk.now, tools, desk.problems)
    assert RUNTIME in desk.usage.reads[0][1]


@pytest.mark.parametrize("broken", [{}, {"since": 5}, {"since": "x", "until": "y"}])
def test_a_diary_that_cannot_be_read_begins_anew(desk: Desk, broken: dict[str, Any]):
    desk.ledger.documents["digest"] = broken
    desk.run()
    assert "begins anew" in desk.problems[0]
    desk.now += HOUR
    desk.run()
    assert desk.problems == []


def test_hours_that_cannot_be_read_make_no_spike(desk: Desk):
    usual(desk).run()
    for name in list(desk.ledger.documents):
        if name.startswith("digest-"):
            desk.ledger.documents[name] = {"day": "someday", "models": {}}
    desk.hours(1, "9")
    assert desk.told("spike") == []
    assert "not known" in desk.problems[0]


def test_after_weeks_the_past_is_two_weeks_long(desk: Desk):
    desk.run()
    desk.hours(24 * 20 + 1, "0.10")
    assert desk.problems == []
    assert desk.ledger.documents["digest"]["since"] == "2026-11-29T00:00:00+00:00"
    assert len([each for each in desk.ledger.documents if each.startswith("digest-")]) == 16
    assert desk.told("digest")[-1].subject == "Bedrock spend: $2.40 yesterday, +0 % (Saturdays)"
