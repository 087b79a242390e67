"""The status: in words first, with the age of what it says."""

from datetime import datetime, timedelta

import pytest

from lambdas.reporting import status
from tests.fakes import FakeBrake, FakeLedger, FakePeople
from tests.integration.world import SETTINGS


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (12, "The meter's last full read, 12 minutes ago: warn. What it has not read since is kept below $5.00."),
        (64, "The meter's last full read, 64 minutes ago: warn. What it has not read since is kept below $5.00."),
        (66, "66 minutes ago: warn. It has NOT READ SINCE, one was due: look at its log."),
    ],
)
def test_the_status_says_how_old_the_meters_figures_are(now: datetime, minutes: int, words: str):
    ledger = FakeLedger(latest={"verdict": "warn", "at": (now - timedelta(minutes=minutes)).isoformat()})
    brake = FakeBrake()
    assert words in status(brake, FakePeople(brake), ledger, SETTINGS, now)["summary"]
