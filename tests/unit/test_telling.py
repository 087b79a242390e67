"""Telling people: at once, then at the pace, to others when nobody acts; and silence of nothing that began."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.notice import Notice
from lambdas.core.telling import Matter, Telling, matters
from lambdas.telling import Teller, Ways
from tests.fakes import FakeLedger, FakePost, moment, refused

NOON = moment("12:00")
MINUTE = timedelta(minutes=1)
TELLING = Telling(again=timedelta(minutes=60), escalate_after=timedelta(minutes=90))


def about(text: str = "It goes on.") -> Notice:
    return Notice("Bedrock spend: something", text, "some", urgent=True)


@dataclass
class Office:
    """Whoever tells, run after run, with the ledger in between."""

    telling: Telling = TELLING
    now: Any = NOON
    mail: FakePost = field(default_factory=FakePost)
    others: FakePost = field(default_factory=FakePost)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    warm: dict[str, Matter] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def teller(self) -> Teller:
        self.problems.clear()
        ways = Ways(self.telling, self.mail.send, self.others.send, self.ledger.note, self.warm)
        kept = None if self.ledger.down else self.ledger.notes.get("told")
        return Teller(kept, ways, self.now, self.problems)

    def run(self, what: str = "fire", **how: Any) -> None:
        teller = self.teller()
        teller.tell(what, lambda _: about(), **how)
        teller.close()

    def go(self, minutes: int, **how: Any) -> None:
        for _ in range(minutes):
            self.run(**how)
            self.now += MINUTE


@pytest.fixture
def office() -> Office:
    return Office()


def test_it_is_told_at_once_and_then_at_the_pace(office: Office):
    office.go(1)
    assert len(office.mail.sent) == 1
    office.go(59)
    assert len(office.mail.sent) == 1
    office.go(121)
    assert len(office.mail.sent) == 4


def test_others_are_told_when_it_goes_on_and_how_often_it_was_told(office: Office):
    office.go(90)
    assert office.others.sent == []
    office.go(1)
    (notice,) = office.others.sent
    assert notice.text.startswith(
        "NOBODY ACTED: this goes on since 2026-11-22 12:00 UTC (1 h 30 min) and was mailed 2 times.\n\nIt goes on."
    )
    assert (notice.kind, notice.urgent) == ("some", True)
    office.go(60)
    assert len(office.others.sent) == 2


def test_a_mail_that_failed_is_tried_again_at_the_next_run(office: Office):
    office.mail.down = True
    office.go(3)
    assert len(office.problems) == 1
    office.mail.down = False
    office.go(3)
    assert len(office.mail.sent) == 1


def test_a_mail_that_fails_to_others_holds_up_nothing(office: Office):
    office.others.down = True
    office.go(130)
    assert len(office.mail.sent) == 3
    office.others.down = False
    office.go(1)
    assert len(office.others.sent) == 1


def test_with_the_ledger_down_it_is_told_once_by_a_function_that_stays_warm(office: Office):
    office.ledger.down = True
    office.go(30)
    assert len(office.mail.sent) == 1
    office.warm.clear()  # a cold start
    office.go(30)
    assert len(office.mail.sent) == 2, "rather twice than not"


def test_a_run_in_which_the_ledger_was_down_does_not_begin_it_all_anew(office: Office):
    office.go(10, since=NOON)
    office.ledger.down = True
    office.go(1)
    office.ledger.down = False
    office.go(10, since=NOON)
    assert len(office.mail.sent) == 1


def test_what_begins_at_another_moment_is_another_matter(office: Office):
    office.go(5, since=NOON)
    office.go(5, since=NOON + 5 * MINUTE)
    assert len(office.mail.sent) == 2


def test_a_reminder_comes_ever_less_often_and_at_least_daily(office: Office):
    told: list[int] = []
    for hour in range(24 * 7):
        office.now = NOON + timedelta(hours=hour)
        office.run(ever_less=True)
        if len(office.mail.sent) > len(told):
            told.append(hour)
    assert told == [0, 1, 3, 7, 15, 31, 55, 79, 103, 127, 151]


def test_of_a_group_only_what_was_not_told_for_a_day_is_told_and_the_group_at_the_pace(office: Office):
    heard: list[Sequence[str]] = []

    def heard_of(unheard: Sequence[str]) -> Notice:
        heard.append(list(unheard))
        return about()

    def say(*whats: str) -> None:
        teller = office.teller()
        teller.tell_of("gap", whats, heard_of)
        teller.close()

    say("a")
    say("a", "b")  # too soon for another mail; b waits
    office.now += timedelta(minutes=60)
    say("a", "b")
    office.now += timedelta(minutes=60)
    say()
    office.now += timedelta(minutes=60)
    say("a", "b")  # a came and went: no news
    office.now += timedelta(hours=22)
    say("a", "b")
    assert heard == [["a"], ["b"], ["a", "b"]]


def test_what_is_forgotten_begins_anew(office: Office):
    office.go(1)
    teller = office.teller()
    teller.forget("fire")
    teller.close()
    office.go(1)
    assert len(office.mail.sent) == 2


def test_what_nobody_speaks_of_for_long_is_kept_no_more(office: Office):
    office.go(1)
    office.now += timedelta(days=3)
    office.teller().close()
    assert office.ledger.notes["told"] == {}


def test_nothing_is_written_when_nothing_changed(office: Office):
    office.go(1)
    written = office.ledger.noted["told"]
    office.go(30)
    assert office.ledger.noted["told"] == written


@pytest.mark.parametrize("broken", [{"fire": 5}, {"fire": ["x", None, None, 1]}, {"fire": []}, 7])
def test_a_record_that_cannot_be_read_is_a_problem_and_everything_is_told_again(office: Office, broken: Any):
    office.ledger.notes["told"] = broken
    teller = office.teller()
    assert "told again" in office.problems[0]
    teller.tell("fire", lambda _: about())
    assert len(office.mail.sent) == 1


def test_a_failed_note_is_a_problem(office: Office, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise refused("dynamodb:PutItem")

    monkeypatch.setattr(office.ledger, "note", fail)
    office.go(1)
    assert office.problems
    assert len(office.mail.sent) == 1


moments = st.integers(0, 5000).map(lambda minutes: NOON + minutes * MINUTE)


@given(
    st.dictionaries(st.text(), st.builds(Matter, moments, st.none() | moments, st.integers(0, 99), st.none() | moments))
)
def test_matters_survive_the_ledger(found: dict[str, Matter]):
    assert matters({what: each.to_json() for what, each in found.items()}) == found


runs = st.lists(
    st.tuples(st.integers(1, 90), st.booleans(), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40
)


@given(runs)
def test_whatever_fails_it_is_never_told_faster_than_the_pace_nor_left_untold_when_it_can_be(
    lived: list[tuple[int, bool, bool, bool, bool]],
):
    """The pace holds as long as one of both memories does; whoever knows nothing tells."""
    office = Office()
    last: Any = None
    for minutes, mail_down, ledger_down, cold, others_down in lived:
        office.now += minutes * MINUTE
        office.mail.down, office.others.down = mail_down, others_down
        office.ledger.down = ledger_down
        if cold:
            office.warm.clear()
        knew = bool(office.warm) or (not ledger_down and "told" in office.ledger.notes)
        sent = len(office.mail.sent)
        office.run()
        if len(office.mail.sent) > sent:
            lost = not knew or office.ledger.notes.get("told", {}).get("fire", [None, None])[1] != str(last)
            assert last is None or office.now - last >= TELLING.again or lost
            last = office.now
        elif not mail_down:
            assert last is not None, "it was never told although it could be"
            assert office.now - last < TELLING.again
