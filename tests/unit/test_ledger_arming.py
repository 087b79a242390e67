"""What arming keeps in the ledger, on DynamoDB: a run covers a burst, people are told once, a deletion is left room."""

from datetime import datetime, timedelta

import pytest

from lambdas.aws.dynamodb import LedgerTable
from lambdas.core.errors import LedgerItemError
from tests.unit.test_ledger import client, ledger, put  # noqa: F401 - fixtures

SECOND = timedelta(seconds=1)


def test_a_run_covers_what_changed_before_it_and_nothing_later(ledger: LedgerTable, now: datetime):  # noqa: F811
    run = now + 30 * SECOND
    assert ledger.claim_arming(run, covers=now, by="a")
    assert not ledger.claim_arming(now + 40 * SECOND, covers=now, by="b")
    assert not ledger.claim_arming(now + 40 * SECOND, covers=run, by="b")
    assert ledger.claim_arming(now + 61 * SECOND, covers=run + SECOND, by="c")


def test_a_run_is_granted_again_to_the_event_it_is_for(ledger: LedgerTable, now: datetime):  # noqa: F811
    assert ledger.claim_arming(now, covers=now - SECOND, by="a")
    assert ledger.claim_arming(now + SECOND, covers=now - SECOND, by="a")
    assert not ledger.claim_arming(now + SECOND, covers=now - SECOND, by="b")


def test_people_are_told_of_the_same_once_in_a_while(ledger: LedgerTable, now: datetime):  # noqa: F811
    hour = timedelta(hours=1)

    def may(what: str, at: datetime, by: str) -> bool:
        return ledger.may_tell(what, at, by=by, unless_since=at - hour)

    assert may("drift by x", now, "a")
    assert not may("drift by x", now + SECOND, "b")
    assert may("drift by x", now + SECOND, "a")
    assert may("drift by y", now + SECOND, "b")
    assert may("drift by x", now + hour + 2 * SECOND, "c")


def test_who_was_disarmed_is_left_until_the_day_is_over(ledger: LedgerTable, now: datetime):  # noqa: F811
    assert ledger.disarmed(now) == frozenset()
    ledger.remember_disarmed("role/a", now + timedelta(days=1), "arn:x")
    ledger.remember_disarmed("user/b", now + timedelta(days=2), "arn:x")
    assert ledger.disarmed(now) == {"role/a", "user/b"}
    assert ledger.disarmed(now + timedelta(days=1)) == {"user/b"}


def test_an_item_that_cannot_be_read_is_named(ledger: LedgerTable, client, now: datetime):  # noqa: F811
    put(client, "disarmed", "role/a", "{}")
    with pytest.raises(LedgerItemError, match="disarmed"):
        ledger.disarmed(now)
