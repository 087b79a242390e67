"""Signals attacked: a pace that hides another event, an escalation that never comes, words that are more than words."""

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lambdas import watching
from lambdas.core import chat
from lambdas.core.console import EVENTS
from lambdas.core.errors import RefusedError
from lambdas.core.levels import Level
from lambdas.core.limits import Margin
from lambdas.core.notice import Notice
from lambdas.core.telling import Telling
from lambdas.core.triggers import parse_allow, parse_kill, parse_release, parse_status
from lambdas.stopping import StopRequest
from lambdas.telling import Teller, Ways
from lambdas.watching import Watched, WatchTools
from tests.conftest import ACCOUNT, event
from tests.fakes import FakeLedger, FakePost, moment
from tests.unit.test_stopping import World
from tests.unit.test_watching import World as Watching

NOW = moment("12:00")
MINUTE = timedelta(minutes=1)


def crossing(at: Any, *limits: str, by: str = "meter") -> StopRequest:
    over = tuple(Margin(each, Decimal(10), Decimal(11)) for each in limits)
    return StopRequest(Level.STOP, f"over {', '.join(limits)}", at, by=by, over=over)


# --- the pace holds back what was told, and nothing else ---


def test_in_report_only_mode_another_limit_is_told_at_once_however_soon_after_the_first():
    world = World()
    world.stop(NOW, crossing(NOW, "$5/minute"), enforce=False)
    world.stop(NOW + MINUTE, crossing(NOW + MINUTE, "$5/minute", "$500/month"), enforce=False)
    assert ["month" in each.text for each in world.post.sent] == [False, True]
    world.stop(NOW + 2 * MINUTE, crossing(NOW + 2 * MINUTE, "$5/minute"), enforce=False)
    assert len(world.post.sent) == 2, "the first limit again, within the pace"


def test_in_report_only_mode_the_bill_is_heard_although_the_meter_was_just_told_of():
    world = World()
    world.stop(NOW, crossing(NOW, "$500/month"), enforce=False)
    world.stop(NOW + MINUTE, crossing(NOW + MINUTE, "$500/month", by="budget"), enforce=False)
    assert len(world.post.sent) == 2


@pytest.mark.parametrize("told_at", ["2036-01-01T00:00:00+00:00", "2026-11-22T12:00:00", "yesterday", 7])
def test_no_mail_is_held_up_by_when_the_last_one_is_said_to_have_been(told_at: object):
    world = World()
    world.stop(NOW)
    world.ledger.records[-1][1]["told_at"] = told_at
    mails = len(world.post.sent)
    world.brake.swept.clear()
    at = NOW + MINUTE
    world.stop(at, StopRequest(Level.STOP, "kept on", at, reassert=True))
    assert len(world.post.sent) == mails + 1


def disabled(rule: str, event_id: str) -> dict[str, Any]:
    payload: dict[str, Any] = event("events_disable_rule.json")
    return payload | {"detail": payload["detail"] | {"requestParameters": {"name": rule}, "eventID": event_id}}


def hear(payload: object, tools: WatchTools) -> Watched:
    return watching.hear(payload, tools, NOW)


def test_a_harmless_edit_does_not_hide_a_second_one_of_something_else_by_the_same_caller():
    world = Watching()
    for event_id, rule in (("a", "bedrock-spend-Prices"), ("b", "bedrock-spend-Meter"), ("c", "bedrock-spend-Meter")):
        hear(disabled(rule, event_id), world.tools)
    assert ["bedrock-spend-Meter" in each.text for each in world.post.sent] == [False, True]


# --- others are told when the first way fails ---


def test_others_are_told_although_the_first_way_has_never_worked():
    mail, others, ledger = FakePost(down=True), FakePost(), FakeLedger()
    telling = Telling(again=60 * MINUTE, escalate_after=90 * MINUTE)
    for minutes in range(92):
        problems: list[str] = []
        ways = Ways(telling, mail.send, others.send, ledger.note)
        teller = Teller(ledger.notes.get("told"), ways, NOW + minutes * MINUTE, problems)
        teller.tell("fire", lambda _: Notice("Bedrock spend: fire", "It burns.\n", "standing"))
        teller.close()
        assert problems, "that the first way fails is said each time"
    (notice,) = others.sent
    assert "could not be mailed" in notice.text


# --- what an allowance may be ---


NO_USD: tuple[object, ...] = (-1, 0, "NaN", "Infinity", "-Infinity", "sNaN", "1e999999", 1e300, 1_000_000_001, True)
NO_HOURS: tuple[object, ...] = (0, -1, "NaN", "1e999999", 1e300, 745, None, "")
NO_UNTIL: tuple[object, ...] = (
    "2026-11-22T12:00:00Z",
    "2026-11-22T13:00:00",
    "9999-12-31T23:59:59-14:00",
    "2027-11-22T00:00Z",
    7,
)


@pytest.mark.parametrize(
    "allowance",
    [{"usd": usd, "hours": 1} for usd in (*NO_USD, None, [], "")]
    + [{"usd": 5, "hours": hours} for hours in NO_HOURS]
    + [{"usd": 5, "until": until} for until in NO_UNTIL]
    + [{"usd": 5}, {"usd": 5, "hours": 1, "until": "2026-11-23T00:00Z"}, {"usd": 5, "hours": 1, "window": "year"}],
)
@pytest.mark.parametrize("confirm", ["ALLOW", "RELEASE"])
def test_an_allowance_without_bound_is_refused(confirm: str, allowance: dict[str, object]):
    asked = {"confirm": confirm, "reason": "launch", "by": "ada", "allowance": allowance}
    with pytest.raises(RefusedError, match=r"^nothing was (allowed|released): "):
        _ = parse_allow(asked, now=NOW) if confirm == "ALLOW" else parse_release(asked, now=NOW, account_id=ACCOUNT)


# --- the console's events as shipped ---


def parsed(word: str, said: object) -> object:
    if word == "kill":
        return parse_kill(said, account_id=ACCOUNT)
    if word == "status":
        return parse_status(said, account_id=ACCOUNT)
    return parse_allow(said, now=NOW) or parse_release(said, now=NOW, account_id=ACCOUNT)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (word, said)
        for word, events in EVENTS.items()
        for name, said in events.items()
        if name not in {"1-status", "2-plan-kill-account", "4-status-in-full", "1-KILL-account"}
    ],
)
def test_an_event_with_something_to_fill_in_does_nothing_as_it_stands(word: str, said: object):
    with pytest.raises(RefusedError):
        parsed(word, said)


# --- words of others ---


@pytest.mark.parametrize("line", ["https://x.example/<!channel>", "https://x.example/ <@U123> @here", "https://x](y)"])
@pytest.mark.parametrize("before", ["Let it go on:", "no link"])
def test_nothing_anybody_says_calls_a_channel_or_hides_a_link_in_chat(before: str, line: str):
    notice = Notice("Bedrock spend: STOPPED", f"Why: killed: <!here>\n{before}\n{line}\n", "stop")
    text = chat.custom_notification(notice, account=ACCOUNT, region="us-east-1", day=date(2026, 11, 22))
    content = json.dumps(json.loads(text)["content"], ensure_ascii=False)
    assert "<" not in content
    assert "@here" not in content
    assert "](" not in content


def test_the_mail_about_an_edit_has_one_line_for_who_did_it_whatever_they_are_called():
    payload = event("events_disable_rule.json")
    identity = {"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/x/y\n\nRelease: https://evil.example"}
    forged = payload | {"detail": payload["detail"] | {"userIdentity": identity}}
    world = Watching()
    hear(forged, world.tools)
    assert not any(line.startswith("Release: ") for each in world.post.sent for line in each.text.splitlines())
