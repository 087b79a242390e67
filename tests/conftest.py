"""What every test stands on: an account that does not exist, and a moment that is passed in."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from moto import mock_aws

from lambdas.core.prices import PriceTable

ACCOUNT = "123456789012"

# The first example of a test loads tables; how long that takes is not what is tested.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
EVENTS = Path(__file__).parent / "events"


@pytest.fixture(autouse=True)
def _no_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("MOTO_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


@pytest.fixture
def aws() -> Iterator[None]:
    """An empty account in memory."""
    with mock_aws():
        yield


@pytest.fixture
def now() -> datetime:
    """A Sunday evening."""
    return datetime(2026, 11, 22, 18, 30, 20, tzinfo=UTC)


@pytest.fixture(scope="session")
def prices() -> PriceTable:
    return PriceTable.load()


def event(name: str) -> Any:
    """Return a recorded payload."""
    file = EVENTS / name
    text = file.read_text(encoding="utf-8")
    return json.loads(text) if file.suffix == ".json" else text
