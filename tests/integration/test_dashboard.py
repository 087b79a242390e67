"""The status function as a dashboard calls it, on an account in moto."""

import pytest

from lambdas.core.widget import DOCUMENTATION
from tests.conftest import ACCOUNT, event
from tests.integration.test_functions import spend
from tests.integration.world import Account

LOOK = {"widgetContext": {"theme": "dark", "dashboardName": "bedrock-spend", "params": {}}}


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.people()
    found.install()
    found.run("arm", event("scheduled.json"))
    return found


def test_a_dashboard_gets_html_and_everybody_else_the_answer(account: Account):
    html = account.run("status", LOOK)
    assert html.startswith("<style>")
    assert "Not measured yet" in html
    assert f"endpoint='arn:aws:lambda:us-east-1:{ACCOUNT}:function:function'" in html
    assert account.run("status", {})["level"] == "released"
    assert account.run("status", {"describe": True}) == DOCUMENTATION


def test_the_widget_shows_what_the_meter_found_and_what_a_stop_did(account: Account):
    spend(60)
    account.run("meter", event("scheduled.json"))
    html = account.run("status", LOOK)
    assert "<b>$60.00</b> of $50/day" in html
    assert "amazon.nova-pro-v1:0 (us-east-1) <b>$60.00</b>" in html
    assert "RELEASED" in html
    account.run("stop", account.asked[-1])
    html = account.run("status", LOOK)
    assert "<b>STOPPED</b>" in html
    assert "Denied now</td><td>4 of 4" in html
