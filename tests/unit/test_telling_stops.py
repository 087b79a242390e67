"""Stops and releases are told at once, then at the pace; and the owner of who is stopped alone is told too."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lambdas import releasing, stopping
from lambdas.core.errors import RefusedError
from lambdas.core.levels import Level
from lambdas.core.notice import Notice
from lambdas.core.owners import owner_of
from lambdas.core.scopes import parse_scope
from lambdas.stopping import StopRequest
from lambdas.telling import Owners
from tests.fakes import refused
from tests.unit.test_stopping import World, person

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world() -> World:
    return World()


def keep(at: datetime) -> StopRequest:
    return StopRequest(Level.STOP, "kept on", at, reassert=True)


def undone_each_minute(world: World, now: datetime, minutes: int) -> datetime:
    """Let somebody's Terraform take the sweep policy off each minute, and the stop be kept on."""
    for _ in range(minutes):
        world.brake.swept.clear()
        world.stop(now, keep(now))
        now += MINUTE
    return now


def test_what_has_to_be_repaired_each_minute_is_mailed_at_the_pace_with_all_that_was_done(world: World, now: datetime):
    world.stop(now)
    undone_each_minute(world, now + MINUTE, 61)
    assert [each.subject for each in world.post.sent] == ["Bedrock spend: STOPPED, 1 out of reach"] * 2
    assert world.post.sent[1].text.count("- attach bedrock-spend-sweep to role/admin") == 12, "a long list is cut"


def test_more_failures_than_are_kept_are_not_mailed_each_minute(world: World, now: datetime):
    world.people.everybody = [person(f"p{number:04}") for number in range(700)]
    world.brake.refuses = {"sweep": "Throttling"}
    for minutes in range(61):
        at = now + minutes * MINUTE
        world.stop(at, keep(at) if minutes else None)
    assert [each.subject for each in world.post.sent] == ["Bedrock spend: NOT FULLY STOPPED"]


def test_a_first_mail_that_did_not_go_out_is_sent_at_the_next_minute_whatever_was_mailed_before(
    world: World, now: datetime
):
    world.stop(now)
    world.release(now + MINUTE)
    world.post.down = True
    again = now + 2 * MINUTE
    world.stop(again, StopRequest(Level.STOP, "once more", again))
    world.post.down = False
    mails = len(world.post.sent)
    world.stop(again + MINUTE, keep(again + MINUTE))
    (mail,) = world.post.sent[mails:]
    assert "switch bedrock-spend-brake to stop (v3)" in mail.text
    world.stop(again + 2 * MINUTE, keep(again + 2 * MINUTE))
    assert len(world.post.sent) == mails + 1


def test_a_new_stop_is_mailed_at_once_however_soon_after_another(world: World, now: datetime):
    world.stop(now)
    world.release(now + MINUTE)
    mails = len(world.post.sent)
    world.stop(now + 2 * MINUTE, StopRequest(Level.STOP, "once more", now + 2 * MINUTE))
    assert len(world.post.sent) == mails + 1


def test_lambdas_retry_of_a_stop_that_did_not_finish_mails_it_once(world: World, now: datetime):
    world.brake.refuses = {"sweep role/admin": "Throttling"}
    request = StopRequest(Level.STOP, "the day's limit", now)
    for minutes in range(3):
        world.stop(now + minutes * MINUTE, request)
    assert len(world.post.sent) == 1


def test_with_the_ledger_down_a_stop_is_mailed_all_the_same(world: World, now: datetime):
    world.ledger.down = True
    world.stop(now)
    assert len(world.post.sent) == 1


def test_in_report_only_mode_a_rate_that_goes_up_and_down_is_mailed_at_the_pace_and_recorded_each_time(
    world: World, now: datetime
):
    for minutes in range(0, 60, 5):
        at = now + minutes * MINUTE
        world.stop(at, StopRequest(Level.STOP, "the burn", at), enforce=False)
    assert len(world.post.sent) == 1
    assert len(world.ledger.records) == 12


def test_finishing_a_release_is_mailed_at_the_pace(world: World, now: datetime):
    world.stop(now)
    world.lever.things = {"x": 9}
    world.release(now + MINUTE)
    mails = len(world.post.sent)
    for minutes in range(2, 60):
        world.ledger.done = False
        world.brake.swept.add("role/admin")  # something is left each minute
        at = now + minutes * MINUTE
        finish = {"source": "meter", "at": at.isoformat(), "windows": [], "scopes": [], "reason": "unfinished"}
        releasing.carry_out(finish, world.release_desk, at)
    assert len(world.post.sent) == mails + 1


# --- owners ---


@dataclass
class Letters:
    """Amazon SES."""

    sent: list[tuple[str, Notice]] = field(default_factory=list)
    down: bool = False

    def send_to(self, address: str, notice: Notice) -> None:
        if self.down:
            raise refused("ses:SendEmail", "MessageRejected")
        self.sent.append((address, notice))


@dataclass
class Owned(World):
    """An account whose agent has an owner."""

    letters: Letters = field(default_factory=Letters)
    address: str = "ada@example.com"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.people.everybody = [
            replace(each, tags={"owner": self.address}) if each.name in {"agent", "break-glass"} else each
            for each in self.people.everybody
        ]

    @property
    def owners(self) -> Owners:
        return Owners("owner", self.people, self.letters, "whoever runs it")

    @property
    def desk(self) -> stopping.Desk:
        return replace(super().desk, owners=self.owners)

    @property
    def release_desk(self) -> releasing.ReleaseDesk:
        return replace(super().release_desk, owners=self.owners)


def test_the_owner_of_a_role_is_told_when_it_is_stopped_alone_and_when_it_is_released(now: datetime):
    world = Owned()
    world.kill(now, "role/agent")
    ((address, notice),) = world.letters.sent
    assert (address, notice.kind) == ("ada@example.com", "owner-stopped")
    assert notice.subject == "Bedrock spend: role/agent was stopped"
    assert notice.text == (
        "role/agent can no longer use Amazon Bedrock: its calls are denied.\n\nWhy: killed\n"
        "Nothing was deleted; everything else it may do it still may.\n"
        "To have it released, ask whoever runs it.\n\nYou are told because a tag names you as its owner.\n"
    )
    world.release(now + MINUTE, scope="role/agent")
    assert world.letters.sent[1][1].text.startswith(
        "role/agent may use Amazon Bedrock again, within a minute.\n\nReleased by ada: fixed\n"
    )


def test_nobody_is_told_again_while_it_is_kept_on(now: datetime):
    world = Owned()
    world.kill(now, "role/agent")
    world.brake.denied.clear()
    world.stop(now + MINUTE, StopRequest(Level.RELEASED, "kept on", now + MINUTE, reassert=True))
    assert world.brake.denied == {"role/agent"}
    assert len(world.letters.sent) == 1


def test_a_stop_of_the_account_mails_no_owner(now: datetime):
    world = Owned()
    world.stop(now)
    world.release(now + MINUTE)
    assert world.letters.sent == []


@pytest.mark.parametrize("scope", ["role/break-glass", "role/admin", "user/dev", "model:anthropic.claude-opus*"])
def test_whoever_was_not_stopped_or_has_no_owner_has_nobody_told(now: datetime, scope: str):
    world = Owned()
    result = world.kill(now, scope)
    assert (world.letters.sent, result.untold) == ([], {})


def test_a_failed_mail_to_an_owner_stops_nothing_and_is_said(now: datetime):
    world = Owned(letters=Letters(down=True))
    result = world.kill(now, "role/agent")
    assert world.brake.denied == {"role/agent"}
    assert "MessageRejected" in result.untold["the owner of role/agent"]
    assert not result.in_doubt
    assert len(world.post.sent) == 1


def test_a_listing_that_fails_is_said(now: datetime, monkeypatch: pytest.MonkeyPatch):
    world = Owned()
    owners = world.owners
    world.people.refuses = True
    untold: dict[str, str] = {}
    assert owners.tell((parse_scope("role/agent"),), lambda _: Notice("", ""), untold) == ()
    assert "GetAccountAuthorizationDetails" in untold["owners"]


HOSTILE = [
    "ada@example.com, eve@example.com",
    "ada@example.com;eve@example.com",
    "ada@example.com eve@example.com",
    "ada@example.com\nBcc: eve@example.com",
    "ada@example.com\r\n",
    "Ada <ada@example.com>",
    "<ada@example.com>",
    "ada@example.com\x00",
    "ada@localhost",
    "ada@example..com",
    "ada@-example.com",
    "ada",
    "@example.com",
    "a" * 65 + "@example.com",
    "ada@" + "a." * 130 + "com",
    "ada@exämple.com",
    '"ada"@example.com',
    "-ada@example.com",
    "ada@[10.0.0.1]",
]


@pytest.mark.parametrize("address", HOSTILE)
def test_what_is_no_single_address_is_refused_and_nothing_is_sent(now: datetime, address: str):
    world = Owned(address=address)
    result = world.kill(now, "role/agent")
    assert world.letters.sent == []
    assert "no single mail address" in result.untold["the owner of role/agent"]
    assert world.brake.denied == {"role/agent"}


@pytest.mark.parametrize("address", ["ada@example.com", "ada.l+x@sub.example.co.uk", "a@b.io", "team_1@x-y.example"])
def test_an_address_is_an_address(address: str):
    principals = [replace(person("agent"), tags={"owner": address})]
    assert owner_of(parse_scope("role/agent"), principals, "owner") == address


def test_a_role_and_a_user_of_one_name_are_two(now: datetime):
    principals = [replace(person("dev"), tags={"owner": "role@example.com"})]
    assert owner_of(parse_scope("user/dev"), principals, "owner") is None


def test_the_address_of_another_principal_is_never_told():
    principals: list[Any] = [replace(person("agent2"), tags={"owner": "x@example.com"}), person("agent")]
    assert owner_of(parse_scope("role/agent"), principals, "owner") is None
    with pytest.raises(RefusedError):
        owner_of(parse_scope("role/agent2"), [replace(principals[0], tags={"owner": "x"})], "owner")
