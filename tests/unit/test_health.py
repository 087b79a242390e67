"""How the guardrail itself is: each fault by example, and what of it is news."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import repricing
from lambdas.core import health
from lambdas.core.alarm_events import Rang
from lambdas.core.health import (
    DUTIES,
    Alarm,
    AutoManagement,
    Expected,
    ExpectedBudget,
    Finding,
    FoundBudget,
    Look,
    News,
    Rule,
    Rung,
    Standing,
    Subscription,
    Trail,
)
from lambdas.core.levels import Level, Wanted
from lambdas.core.memory import Memory
from lambdas.core.notice import Links
from tests.fakes import moment

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
NOW = moment("18:30")
TOPIC = "arn:aws:sns:us-east-1:123456789012:budget"
MONTHLY = ExpectedBudget(
    "monthly", Decimal(500), (Rung("ACTUAL", Decimal(80)), Rung("FORECASTED", Decimal(100))), TOPIC
)
AS_MADE = FoundBudget(Decimal("500.0"), "", {each: frozenset({TOPIC, "a@example.com"}) for each in MONTHLY.rungs})


def words(findings):
    return [each.words for each in findings]


def function(name):
    return f"arn:aws:lambda:us-east-1:123456789012:function:{name}"


# --- who is told ---


def test_a_confirmed_subscription_is_enough_and_a_pending_one_is_none():
    pending, confirmed = Subscription("a@example.com", confirmed=False), Subscription("b@example.com", confirmed=True)
    assert health.subscriptions("the notices topic", [pending, confirmed]) == []
    (said,) = words(health.subscriptions("the notices topic", [pending]))
    assert said == (
        "nobody is told anything through the notices topic: a@example.com did not confirm the subscription; open AWS's "
        "mail and click Confirm"
    )
    assert "nobody has subscribed" in words(health.subscriptions("the notices topic", []))[0]


# --- rules and alarms ---


def test_rules_must_be_there_and_enabled_and_reach_the_guardrail():
    found = {
        "good": Rule(enabled=True, targets=("arn:aws:sqs:x", function("meter"))),
        "alias": Rule(enabled=True, targets=(function("meter:live"),)),
        "satellite": Rule(enabled=True, targets=("arn:aws:events:us-east-1:123456789012:event-bus/default",)),
        "gone": None,
        "off": Rule(enabled=False, targets=(function("meter"),)),
        "empty": Rule(enabled=True, targets=()),
        "stray": Rule(enabled=True, targets=(function("somebody-elses"),)),
    }
    said = words(health.rules("us-east-1", found, ["meter"]))
    assert [each.partition(":")[0] for each in said] == [
        "rule gone in us-east-1 is gone",
        "rule off in us-east-1 is disabled",
        "rule empty in us-east-1 no longer has its target",
        "rule stray in us-east-1 no longer has its target",
    ]
    assert "aws events enable-rule --name off --region us-east-1" in said[1]


def test_alarms_must_be_there_with_their_actions_on():
    found = {"a": Alarm("ALARM", actions_enabled=True), "b": None, "c": Alarm("OK", actions_enabled=False)}
    said = words(health.alarms("eu-west-1", found))
    assert [each.partition(":")[0] for each in said] == [
        "alarm b in eu-west-1 is gone",
        "alarm c in eu-west-1 has its actions disabled",
    ]
    assert "aws cloudwatch enable-alarm-actions --alarm-names c --region eu-west-1" in said[1]


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (0, []),
        (3, ["3 events were not delivered in eu-west-1: queue q holds them; see docs/runbooks/undelivered.md"]),
    ],
)
def test_the_queue_must_be_empty(waiting, said):
    assert words(health.queue("eu-west-1", "q", waiting)) == said


def test_a_queue_that_is_gone_is_not_an_empty_one():
    assert words(health.queue("eu-west-1", "q", None))[0].startswith("queue q in eu-west-1 is gone")


# --- budgets ---


def test_a_budget_as_it_was_made_is_well():
    assert health.budget(MONTHLY, AS_MADE) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "budget monthly is gone"),
        (FoundBudget(Decimal(500), "UNHEALTHY: FILTER_INVALID", AS_MADE.rungs), "is unhealthy, AWS says UNHEALTHY: FI"),
        (FoundBudget(Decimal(9999), "", AS_MADE.rungs), "has $9999, deployed was $500"),
        (FoundBudget(None, "", AS_MADE.rungs), "has no fixed amount in USD, deployed was $500"),
    ],
)
def test_a_budget_that_differs_says_how(found, said):
    findings = words(health.budget(MONTHLY, found))
    assert len(findings) == 1
    assert said in findings[0]


def test_each_notification_must_be_there_and_reach_the_guardrail():
    rungs = {MONTHLY.rungs[0]: frozenset({"a@example.com"})}
    said = words(health.budget(MONTHLY, FoundBudget(Decimal(500), "", rungs)))
    assert [each.partition(";")[0] for each in said] == [
        "budget monthly is not heard: its notification ACTUAL 80 % no longer goes to the guardrail",
        "budget monthly is not heard: its notification FORECASTED 100 % is gone",
    ]


# --- trails and quotas ---


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "no CloudTrail trail records all management events in us-east-1:"),
        ([Trail("a", logging=False, writes=True)], "in us-east-1 (a is off):"),
        ([Trail("a", logging=True, writes=False)], "in us-east-1 (a leaves out writes):"),
    ],
)
def test_a_trail_must_log_what_writes(found, said):
    (finding,) = words(health.trails("us-east-1", found))
    assert said in finding
    assert health.trails("us-east-1", [*found, Trail("b", logging=True, writes=True)]) == []


@pytest.mark.parametrize(
    ("found", "is_fault"),
    [
        (None, False),
        (AutoManagement(adjusts=False), False),
        (AutoManagement(adjusts=True), True),
        (AutoManagement(adjusts=True, excluded=frozenset({"bedrock"})), True),
        (AutoManagement(adjusts=True, excluded=frozenset({"bedrock", "agents", "ec2"})), False),
    ],
)
def test_quotas_must_not_rise_by_themselves_unless_bedrocks_do_not(found, is_fault):
    assert bool(health.quotas(found, ("bedrock", "agents"))) is is_fault


# --- what is to be done again and again ---


@pytest.mark.parametrize("duty", DUTIES, ids=lambda each: each.document)
def test_a_duty_is_neglected_after_its_limit_whether_it_was_done_before_or_never(duty):
    def neglected(body, first):
        return health.neglected(duty, body, first, NOW)

    late, just = NOW - duty.limit - timedelta(seconds=1), NOW - duty.limit
    assert neglected({duty.key: just.isoformat()}, late) == []
    (finding,) = neglected({duty.key: late.isoformat()}, late)
    assert finding.words.startswith(f"{duty.what} since {late:%Y-%m-%d %H:%M} UTC: look at the log")
    for unreadable in (None, {}, {duty.key: "x"}, {duty.key: None}):
        assert neglected(unreadable, just) == []
        assert "if ever" in neglected(unreadable, late)[0].words


def test_prices_may_be_as_old_as_the_refresh_says():
    (prices,) = [each for each in DUTIES if each.document == "prices"]
    assert prices.limit == repricing.MAX_AGE


# --- a stop or release that did not finish ---


def remembers(level, *, narrow=(), releasing=(), done=True, at="18:00"):
    return Memory(Wanted(level, moment(at), "person", done=done), narrow=narrow, releasing=releasing)


def record(**changes):
    return {"at": moment("18:00").isoformat(), "enforced": True, "verified": True, "failed": {}} | changes


STOPPED = remembers(Level.STOP)


@pytest.mark.parametrize(
    ("memory", "last", "said"),
    [
        (STOPPED, record(failed={"attach x to role/a": "LimitExceeded"}), "1 steps failed (attach x to role/a: Limit"),
        (STOPPED, record(verified=False), "reading back did not confirm it"),
        (remembers(Level.RELEASED, narrow=("role/a",)), record(verified=False), "reading back did not confirm it"),
    ],
)
def test_a_stop_that_did_not_finish_says_what_is_open(memory, last, said):
    (finding,) = health.unfinished_stop(memory, last, NOW)
    assert finding.words.startswith("the stop of 2026-11-22 18:00 UTC did not finish: ")
    assert said in finding.words


@pytest.mark.parametrize(
    ("memory", "last"),
    [
        (STOPPED, None),
        (STOPPED, record()),
        (STOPPED, record(verified=False, enforced=False)),
        (STOPPED, record(verified=False, at=moment("18:20:01").isoformat())),
        (remembers(Level.RELEASED), record(verified=False)),
    ],
)
def test_a_stop_that_finished_or_is_under_way_or_is_wanted_no_more_is_well(memory, last):
    assert health.unfinished_stop(memory, last, NOW) == []


@pytest.mark.parametrize(
    ("memory", "last", "said"),
    [
        (remembers(Level.RELEASED, done=False), None, "the release of the account of 2026-11-22 18:00 UTC did not"),
        (remembers(Level.STOP, releasing=("role/a",)), record(), "the release of role/a of 2026-11-22 18:00 UTC did"),
    ],
)
def test_a_release_that_did_not_finish_says_whom(memory, last, said):
    (finding,) = health.unfinished_release(memory, last, NOW)
    assert finding.words.startswith(said)


@pytest.mark.parametrize(
    ("memory", "last"),
    [
        (remembers(Level.RELEASED), record()),
        (remembers(Level.STOP, done=False), record()),
        (remembers(Level.RELEASED, done=False, at="18:20:01"), record()),
        (remembers(Level.STOP, releasing=("role/a",)), record(at=moment("18:20:01").isoformat())),
    ],
)
def test_a_release_that_finished_or_is_under_way_is_well(memory, last):
    assert health.unfinished_release(memory, last, NOW) == []


# --- what is news ---


def finding(name, **changes):
    return Finding(**{"check": f"check of {name}", "key": name, "words": f"{name} is wrong"} | changes)


def compared(before, found, has_told: Callable[[tuple[str, str]], bool] = lambda _: False, now=NOW):
    return health.compare(before, found, has_told, now)


def told(at, name="a"):
    return {name: Standing(f"check of {name}", f"{name} is wrong", moment("12:00"), at)}


EMPTY = Look(moment("17:30"), moment("10:00"))


def test_what_is_new_is_told_at_once_and_an_hour_later_it_is_none():
    news, after = compared(EMPTY, [finding("a")])
    assert news == News(new=("a is wrong",))
    assert (after.at, after.first) == (NOW, EMPTY.first)
    again, after = compared(after, [finding("a", words="a is wrong still")], now=NOW + timedelta(hours=1))
    assert not again
    assert after.standing["a"] == Standing("check of a", "a is wrong still", NOW, NOW)


def test_what_lasts_is_told_once_a_day_by_a_clock_that_ticks_each_hour():
    look, mails = EMPTY, []
    for hour in range(73):
        news, look = compared(look, [finding("a")], now=NOW + timedelta(hours=hour, seconds=hour % 3))
        mails += [hour] if news else []
    assert mails == [0, 24, 48, 72]


def test_what_is_gone_is_told_once():
    before = Look(EMPTY.at, EMPTY.first, told(moment("12:00")))
    news, after = compared(before, [])
    assert news == News(gone=("a is wrong",))
    assert not compared(after, [])[0]


def test_what_a_check_found_stands_while_it_cannot_be_made():
    before = Look(EMPTY.at, EMPTY.first, told(moment("18:00")))
    gap = finding("b", leaves_unknown=("check of b", "check of a"))
    news, after = compared(before, [gap])
    assert news == News(new=("b is wrong",))
    assert after.standing["a"] == before.standing["a"]


def test_what_an_alarm_has_told_is_not_mailed_again_until_the_alarm_is_quiet():
    alarm = ("us-east-1", "x-errors")
    news, after = compared(EMPTY, [finding("a", alarm=alarm)], lambda each: each == alarm)
    assert not news
    assert after.standing["a"].told_at is None
    assert compared(after, [finding("a", alarm=alarm)])[0] == News(new=("a is wrong",))
    # It went as it came: without a mail.
    assert not compared(after, [])[0]


@pytest.mark.parametrize(
    ("alarm", "told"),
    [
        (Alarm("ALARM", actions_enabled=True), True),
        (Alarm("ALARM", actions_enabled=False), False),
        (Alarm("OK", actions_enabled=True), False),
    ],
)
def test_an_alarm_has_told_when_it_rings_and_may_act(alarm, told):
    assert alarm.has_told is told


NAMES = st.sets(st.sampled_from("abcde"))


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=12))
def test_whatever_comes_and_goes_everything_wrong_was_mailed_and_nothing_vanishes_unsaid(hours):
    look, believed = EMPTY, set[str]()
    for hour, (wrong, unread) in enumerate(hours):
        found = [finding(each) for each in wrong - unread]
        found += [finding(f"gap {each}", leaves_unknown=(f"check of {each}",)) for each in unread]
        news, look = compared(look, found, now=NOW + timedelta(hours=hour))
        look = Look.from_json(look.to_json())
        believed = (believed | set(news.new) | set(news.lasting)) - set(news.gone)
        # What people believe is what stands.
        assert believed == {each.words for each in look.standing.values()}
        assert {finding(each).words for each in wrong - unread} <= believed


# --- what is kept and shown ---


def test_what_was_deployed_comes_back_as_it_was_kept():
    expected = Expected("guardrail", ("eu-west-1",), (MONTHLY,), {"kill": 2, "a": 1})
    back = Expected.from_json(expected.to_json())
    assert back == expected
    assert list(back.reserved) == ["kill", "a"]


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (None, ["the guardrail has not looked at itself yet: it does so each hour"]),
        (EMPTY.to_json(), ["all is as it should be (2026-11-22 17:30 UTC)"]),
        (
            Look(NOW, NOW, told(None)).to_json(),
            ["a is wrong (since 2026-11-22 12:00 UTC)", "last looked at 2026-11-22 18:30 UTC"],
        ),
    ],
)
def test_the_status_shows_the_last_look(kept, shown):
    assert health.words(kept, NOW) == shown


def test_a_last_look_of_hours_ago_is_not_all_well():
    (line,) = health.words(EMPTY.to_json(), NOW + timedelta(hours=3))
    assert line.startswith("the guardrail has NOT looked at itself since 2026-11-22 17:30 UTC")


@pytest.mark.parametrize("kept", [{}, {"at": 1}, EMPTY.to_json() | {"findings": []}, EMPTY.to_json() | {"first": "x"}])
def test_a_look_that_cannot_be_read_is_not_all_well(kept):
    (line,) = health.words(kept, NOW)
    assert "cannot be read" in line


def test_the_mail_says_what_is_new_what_lasts_and_what_is_gone():
    notice = health.health_notice(News(("a is wrong",), ("b is wrong",), ("c was wrong",)), LINKS)
    assert notice.subject == "Bedrock spend: 2 faults in the guardrail itself"
    assert notice.text == (
        "The guardrail looked at itself. What it found does not stop or release anything.\n"
        "\nNew:\n- a is wrong\n"
        "\nStill so, mailed once a day:\n- b is wrong\n"
        "\nNo longer so:\n- c was wrong\n"
        "\nSee how it stands:\nhttps://status\nStop by hand when no Lambda works:\naws iam set-default\n"
    )


@pytest.mark.parametrize(
    ("news", "subject"),
    [
        (News(new=("a",)), "Bedrock spend: a fault in the guardrail itself"),
        (News(gone=("a",)), "Bedrock spend: no longer a fault in the guardrail itself"),
    ],
)
def test_the_subject_says_whether_there_is_a_fault(news, subject):
    assert health.health_notice(news, LINKS).subject == subject


def test_the_mail_about_an_alarm_elsewhere_names_region_alarm_and_runbook():
    rang = Rang("bedrock-spend-undelivered", "eu-west-1", NOW, "id")
    notice = health.ringing_notice(rang, "undelivered", LINKS)
    assert notice.subject == "Bedrock spend: undelivered in eu-west-1"
    assert notice.text.startswith(
        "Alarm bedrock-spend-undelivered rings in eu-west-1 since 2026-11-22 18:30:00 UTC.\n"
        "What it means and what to do: docs/runbooks/undelivered.md\n"
        "Where it is:\n"
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#alarmsV2:alarm/bedrock-spend-undelivered\n"
    )
