"""The guardrail looks at itself: whatever fails is a finding, and people hear of it once."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas import watching
from lambdas.core import health
from lambdas.core.concurrency import Room
from lambdas.core.errors import AwsCallError
from lambdas.core.health import (
    Alarm,
    AutoManagement,
    Expected,
    ExpectedBudget,
    FoundBudget,
    Rule,
    Rung,
    Subscription,
    Trail,
)
from lambdas.core.iam_events import Ours
from lambdas.core.levels import Level
from lambdas.core.notice import Links
from lambdas.watching import WatchTools
from tests.conftest import ACCOUNT, event
from tests.fakes import FakeLedger, FakePost, moment

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
NOW = moment("18:30")
HOME, AWAY = "us-east-1", "eu-central-1"
RUNGS = (Rung("ACTUAL", Decimal(80)),)
EXPECTED = Expected(
    "bedrock-spend-guardrail", (AWAY,), (ExpectedBudget("monthly", Decimal(500), RUNGS, "topic"),), {"kill": 2}
)


@dataclass
class FakeAccount:
    """All that is looked at, as it should be; ``refuses`` names the reads that fail."""

    refuses: set[str] = field(default_factory=set)
    rules: dict[str, Rule | None] = field(
        default_factory=lambda: {
            "clock": Rule(enabled=True, targets=("arn:aws:lambda:us-east-1:1:function:meter",)),
            "forward": Rule(enabled=True, targets=("arn:aws:events:us-east-1:1:event-bus/default",)),
        }
    )
    states: dict[tuple[str, str], Alarm | None] = field(
        default_factory=lambda: {
            (region, f"bedrock-spend-{name}"): Alarm("OK", actions_enabled=True)
            for region, name in ((HOME, "undelivered"), (HOME, "arm-errors"), (AWAY, "undelivered"))
        }
    )
    undelivered: dict[str, int | None] = field(default_factory=lambda: {HOME: 0, AWAY: 0})
    subscribed: list[Subscription] = field(default_factory=lambda: [Subscription("a@example.com", confirmed=True)])
    budgets: dict[str, FoundBudget | None] = field(
        default_factory=lambda: {"monthly": FoundBudget(Decimal(500), "", {RUNGS[0]: frozenset({"topic"})})}
    )
    trails: dict[str, Trail] = field(default_factory=lambda: {"all": Trail("all", logging=True, writes=True)})
    quotas: AutoManagement | None = None
    unreserved: int = 1000
    concurrency: dict[str, int | None] = field(default_factory=lambda: {"kill": 2})

    def _up(self, read: str) -> None:
        if self.refuses & {read, "everything"}:
            raise AwsCallError(read, "Throttling", "not now")

    def parts(self, region: str, stack: str) -> dict[str, list[str]]:
        self._up(f"parts {region}")
        assert stack == ("bedrock-spend-guardrail" if region == HOME else f"bedrock-spend-watch-{region}")
        return {
            "AWS::Events::Rule": ["clock"] if region == HOME else ["forward"],
            "AWS::CloudWatch::Alarm": [name for where, name in self.states if where == region],
            "AWS::SQS::Queue": [f"https://sqs.{region}.amazonaws.com/1/bedrock-spend-undelivered"],
            **({"AWS::Lambda::Function": ["meter"]} if region == HOME else {}),
        }

    def rule(self, region: str, name: str) -> Rule | None:
        self._up(f"rule {region}")
        return self.rules[name]

    def alarms(self, region: str, names: Any) -> dict[str, Alarm | None]:
        self._up(f"alarms {region}")
        return {name: self.states[region, name] for name in names}

    def waiting(self, region: str, url: str) -> int | None:
        self._up(f"queue {region}")
        assert region in url
        return self.undelivered[region]

    def subscriptions(self, arn: str) -> list[Subscription]:
        self._up("subscriptions")
        assert arn == "notices"
        return self.subscribed

    def budget(self, name: str) -> FoundBudget | None:
        self._up("budget")
        return self.budgets[name]

    def covering(self, region: str) -> list[str]:
        self._up(f"trails {region}")
        return list(self.trails)

    def read(self, trail: str) -> Trail:
        self._up(f"trail {trail}")
        return self.trails[trail]

    def auto_management(self) -> AutoManagement | None:
        self._up("quotas")
        return self.quotas

    def room(self) -> Room:
        self._up("room")
        return Room(1000, self.unreserved)

    def reserved(self, name: str) -> dict[str, int | None]:
        self._up("reserved")
        return {name: self.concurrency[name]} if name in self.concurrency else {}

    def reserve(self, name: str, number: int) -> None:
        self._up("reserve")
        self.concurrency[name] = number


class World:
    def __init__(self) -> None:
        self.account, self.post, self.ledger = FakeAccount(), FakePost(), FakeLedger()
        for duty in health.DUTIES:
            # Nobody is to neglect it while the days of a test go by.
            self.ledger.documents[duty.document] = {duty.key: (NOW + timedelta(days=3)).isoformat()}
        account = self.account
        self.tools = WatchTools(
            ours=Ours(ACCOUNT, "bedrock-spend"),
            home=HOME,
            expected=EXPECTED,
            topics={"the notices topic": "notices"},
            also_ours=(),
            parts=account.parts,
            rule=account.rule,
            alarms=account.alarms,
            waiting=account.waiting,
            subscriptions=account.subscriptions,
            budget=account.budget,
            trails=account,
            auto_management=account.auto_management,
            functions=account,
            ledger=self.ledger,
            links=LINKS,
            send=self.post.send,
        )

    def look(self, hours=0):
        return watching.look(self.tools, NOW + timedelta(hours=hours))

    def subjects(self):
        return [each.subject for each in self.post.sent]


@pytest.fixture
def world():
    return World()


def test_a_guardrail_that_is_well_mails_nobody_and_says_so(world):
    assert world.look().answer() == {"summary": "All is as it should be."}
    assert world.post.sent == []
    assert health.words(world.ledger.kept("watch"), NOW) == ["all is as it should be (2026-11-22 18:30 UTC)"]


def break_everything(world):
    account = world.account
    account.rules |= {"clock": None, "forward": Rule(enabled=False, targets=())}
    account.states[AWAY, "bedrock-spend-undelivered"] = None
    account.undelivered |= {HOME: 2, AWAY: None}
    account.subscribed = []
    account.budgets["monthly"] = None
    account.trails.clear()
    account.quotas = AutoManagement(adjusts=True)
    account.concurrency["kill"], account.unreserved = None, 50
    long_ago = (NOW - timedelta(days=50)).isoformat()
    for duty in health.DUTIES:
        world.ledger.documents[duty.document] = {duty.key: long_ago}
    world.ledger.level, world.ledger.said_at = Level.STOP, moment("18:00")
    world.ledger.records.append(("stop", {"at": moment("18:00").isoformat(), "verified": False, "failed": {}}))


def test_everything_that_is_wrong_is_in_one_mail_and_not_again_within_the_day(world):
    break_everything(world)
    world.account.unreserved = 50
    found = world.look().findings
    starts = (
        "rule clock in us-east-1 is gone",
        "2 events were not delivered in us-east-1",
        "rule forward in eu-central-1 is disabled",
        "alarm bedrock-spend-undelivered in eu-central-1 is gone",
        "queue bedrock-spend-undelivered in eu-central-1 is gone",
        "nobody is told anything through the notices topic",
        "budget monthly is gone",
        "no CloudTrail trail records all management events in us-east-1",
        "Service Quotas raises quotas by itself",
        "nobody was armed since",
        "no stock was taken since",
        "the meter was not compared with the bill since",
        "prices were not refreshed since",
        "the stop of 2026-11-22 18:00 UTC did not finish",
        "this account's Lambda limit of 1000 leaves no room",
    )
    assert [each.startswith(start) for each, start in zip(found, starts, strict=True)] == [True] * len(starts)
    for hour in range(1, 24):
        world.look(hour)
    assert world.subjects() == [f"Bedrock spend: {len(starts)} faults in the guardrail itself"]
    world.look(24)
    assert len(world.post.sent) == 2
    assert "Still so" in world.post.sent[1].text


READS = [
    *(f"{what} {region}" for region in (HOME, AWAY) for what in ("parts", "rule", "alarms", "queue")),
    *("subscriptions", "budget", "trails us-east-1", "trail all", "quotas", "room", "reserved"),
]


@pytest.mark.parametrize("read", READS)
def test_what_cannot_be_read_is_a_finding_and_never_well(world, read):
    world.account.refuses.add(read)
    (found,) = world.look().findings
    assert found.startswith("could not be checked: ")
    assert "Throttling" in found
    assert len(world.post.sent) == 1


@pytest.mark.parametrize("read", READS)
def test_what_was_wrong_stands_while_it_cannot_be_read(world, read):
    break_everything(world)
    before = set(world.look().findings)
    world.account.refuses.add(read)
    world.look(1)
    standing = {each["words"] for each in world.ledger.documents["watch"]["findings"].values()}
    assert {each.partition(" since")[0] for each in before} <= {each.partition(" since")[0] for each in standing}
    assert "No longer so" not in world.post.sent[-1].text


def test_a_stack_that_is_not_there_does_not_hide_the_others(world):
    world.account.refuses.add("parts us-east-1")
    world.account.rules["forward"] = None
    said = [each.partition(":")[0] for each in world.look().findings]
    assert said == ["could not be checked", "rule forward in eu-central-1 is gone"]


def test_everything_down_at_once_is_told_and_raises_nothing(world):
    world.account.refuses.add("everything")
    world.ledger.down = True
    watched = world.look()
    assert len(watched.findings) > 10
    assert all(each.startswith("could not be checked") for each in watched.findings)
    assert watched.problems == []
    assert len(world.post.sent) == 1
    # Nothing is remembered, so it is told again.
    world.look(1)
    assert len(world.post.sent) == 2


def test_what_could_not_be_mailed_is_a_problem_and_is_mailed_by_the_next_run(world):
    world.account.subscribed = []
    world.post.down = True
    assert len(world.look().problems) == 1
    assert "watch" not in world.ledger.documents
    world.post.down = False
    assert world.look(1).problems == []
    assert len(world.post.sent) == 1


def test_what_is_mended_is_told_once(world):
    world.account.subscribed = []
    world.look()
    world.account.subscribed = [Subscription("a@example.com", confirmed=True)]
    world.look(1)
    world.look(2)
    assert world.subjects()[1:] == ["Bedrock spend: no longer a fault in the guardrail itself"]


@pytest.mark.parametrize("region", [HOME, AWAY])
def test_a_fault_that_an_alarm_tells_already_is_not_mailed_too(world, region):
    world.account.undelivered[region] = 1
    world.account.states[region, "bedrock-spend-undelivered"] = Alarm("ALARM", actions_enabled=True)
    assert len(world.look().findings) == 1
    assert world.post.sent == []
    assert "not delivered" in health.words(world.ledger.kept("watch"), NOW)[0]
    world.account.states[region, "bedrock-spend-undelivered"] = Alarm("OK", actions_enabled=True)
    world.look(1)
    assert len(world.post.sent) == 1


def test_an_alarm_of_another_region_tells_nothing_of_this_one(world):
    world.account.undelivered[HOME] = 1
    world.account.states[AWAY, "bedrock-spend-undelivered"] = Alarm("ALARM", actions_enabled=True)
    world.look()
    assert len(world.post.sent) == 1


def test_one_trail_that_cannot_be_read_does_not_matter_where_another_one_will_do(world):
    world.account.trails["central"] = Trail("central", logging=True, writes=True)
    world.account.refuses.add("trail central")
    assert world.look().findings == ()
    world.account.trails["all"] = replace(world.account.trails["all"], logging=False)
    assert world.look().findings[0].startswith("could not be checked: CloudTrail in us-east-1")


def test_where_home_is_elsewhere_iams_region_needs_a_trail_too(world):
    tools = replace(world.tools, home=AWAY, expected=replace(EXPECTED, satellites=()))
    world.account.trails.clear()
    found = watching.look(replace(tools, parts=lambda _region, _stack: {}), NOW).findings
    assert [each.partition(":")[0].rpartition(" ")[2] for each in found] == [AWAY, HOME]


# --- reserved concurrency ---


def test_concurrency_is_reserved_at_deployment_and_what_was_found_before_is_kept(world):
    world.account.concurrency["kill"] = None
    world.account.subscribed = []
    world.look()
    world.account.concurrency["kill"] = None
    before = world.ledger.documents["watch"]["findings"]
    assert watching.reserve_at_deployment(world.tools, NOW) == ()
    assert world.account.concurrency == {"kill": 2}
    assert world.ledger.documents["watch"]["reserved"] == {"kill": 2}
    assert world.ledger.documents["watch"]["findings"] == before


def test_no_room_is_words_and_no_failure(world):
    world.account.concurrency["kill"], world.account.unreserved = None, 10
    (words,) = watching.reserve_at_deployment(world.tools, NOW)
    assert "leaves no room" in words
    assert world.account.concurrency == {"kill": None}


def test_what_aws_refuses_all_the_same_is_a_finding_and_not_taken_for_ours(world):
    world.account.concurrency["kill"] = None
    world.account.refuses.add("reserve")
    (words,) = world.look().findings
    assert "2 could not be reserved for function kill" in words
    assert world.ledger.documents["watch"]["reserved"] == {}


def test_what_somebody_took_away_is_reserved_again_and_what_they_chose_is_left(world):
    world.look()
    world.account.concurrency["kill"] = None
    assert world.look(1).findings == ()
    assert world.account.concurrency == {"kill": 2}
    world.account.concurrency["kill"] = 1
    assert "somebody reserved 1" in world.look(2).findings[0]
    assert world.account.concurrency == {"kill": 1}


# --- what it hears of ---


def hear(world, payload, minutes=0):
    return watching.hear(payload, world.tools, NOW + timedelta(minutes=minutes))


def test_who_edits_the_guardrail_is_told_of_once_an_hour(world):
    payload = event("lambda_update_code.json")
    assert hear(world, payload).summary.startswith("UpdateFunctionCode, function bedrock-spend-stop in us-east-1, by ")
    again = payload | {"detail": payload["detail"] | {"eventID": "another"}}
    hear(world, again, 1)
    assert world.subjects() == ["Bedrock spend: somebody changed the guardrail itself"]
    hear(world, event("events_disable_rule.json"), 2)
    hear(world, again, 62)
    assert len(world.post.sent) == 3


@pytest.mark.parametrize("name", ["lambda_by_cloudformation.json", "lambda_by_ourselves.json", "iam_detach_brake.json"])
def test_a_call_that_is_none_of_its_business_does_nothing(world, name):
    assert hear(world, event(name)).summary.startswith("Nothing done")
    assert world.post.sent == []
    assert "watch" not in world.ledger.documents


def elsewhere(**changes):
    payload = event("alarm_undelivered_elsewhere.json")
    return payload | {"region": AWAY} | changes


def test_an_alarm_of_another_region_is_told_with_its_runbook(world):
    hear(world, elsewhere())
    (notice,) = world.post.sent
    assert notice.subject == "Bedrock spend: undelivered in eu-central-1"
    assert "docs/runbooks/undelivered.md" in notice.text


@pytest.mark.parametrize(
    "changes",
    [{"region": HOME}, {"region": "ap-south-1"}, {"account": "999999999999"}, {"source": "mine.cloudwatch"}],
)
def test_an_alarm_that_mails_by_itself_or_is_not_ours_is_not_told(world, changes):
    assert hear(world, elsewhere(**changes)).summary.startswith("Nothing done")
    assert world.post.sent == []


def test_an_alarm_that_ends_is_not_told(world):
    payload = elsewhere()
    state = payload["detail"]["state"] | {"value": "OK"}
    assert hear(world, payload | {"detail": payload["detail"] | {"state": state}}).summary.startswith("Nothing done")


def test_with_the_ledger_down_an_edit_is_told_all_the_same(world):
    world.ledger.down = True
    assert hear(world, event("lambda_update_code.json")).problems == []
    assert len(world.post.sent) == 1


def test_an_edit_that_could_not_be_told_is_a_problem(world):
    world.post.down = True
    assert len(hear(world, event("lambda_update_code.json")).problems) == 1


@pytest.mark.parametrize("payload", [event("scheduled.json"), {}, None, "look"])
def test_at_anything_else_it_looks_around(world, payload):
    assert hear(world, payload).summary == "All is as it should be."
