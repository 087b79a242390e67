"""The functions as Lambda runs them, on an account in moto."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lambdas.core.errors import RefusedError, UnfinishedError
from lambdas.core.prices import PriceTable
from tests.conftest import event
from tests.fakes import BRAKE, SWEEP
from tests.integration.world import BUDGET, LEDGER, SETTINGS, Account, allow, budget

RELEASE = {"confirm": "RELEASE", "reason": "fixed"}


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.people()
    found.install()
    found.run("arm", event("scheduled.json"))
    return found


def spend(usd: float) -> None:
    """Publish usage of Amazon Nova Pro ($3.20 per million output tokens) in this minute, at every dimension level."""
    cloudwatch = boto3.client("cloudwatch")
    model: list[Any] = [{"Name": "ModelId", "Value": "amazon.nova-pro-v1:0"}]
    tier = [*model, {"Name": "ServiceTier", "Value": "default"}, {"Name": "ResolvedServiceTier", "Value": "default"}]
    for dimensions in (model, tier, []):
        cloudwatch.put_metric_data(
            Namespace="AWS/Bedrock",
            MetricData=[
                {
                    "MetricName": "OutputTokenCount",
                    "Dimensions": dimensions,
                    "Value": usd / 3.2 * 1_000_000,
                    "Timestamp": datetime.now(UTC),
                }
            ],
        )


def refuse(code: str) -> Any:
    def answer(_params: dict[str, Any]) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "not now"}}, "Operation")

    return answer


def unreachable(_params: dict[str, Any]) -> None:
    raise EndpointConnectionError(endpoint_url="https://sns.us-east-1.amazonaws.com")


# --- arming ------------------------------------------------------------------------------------------------------


def test_those_who_name_bedrock_are_armed_and_nobody_else(account: Account):
    assert account.holders(BRAKE) == {"agent", "dev"}
    assert account.holders(SWEEP) == set()
    assert account.level() == "released"


def test_arming_again_changes_nothing(account: Account):
    assert account.run("arm", event("scheduled.json"))["done"] == []


def test_arming_answers_cloudformation(account: Account):
    request = {
        "RequestType": "Update",
        "ResponseURL": "https://cloudformation.example/answer",
        "StackId": "s",
        "RequestId": "r",
        "LogicalResourceId": "Armed",
        "PhysicalResourceId": "Armed",
        "ResourceProperties": {},
    }
    assert account.run("arm", request)["Status"] == "SUCCESS"
    assert account.run("arm", {**request, "RequestType": "Delete"})["Status"] == "SUCCESS"
    assert account.holders(BRAKE) == {"agent", "dev"}


def test_a_role_that_cannot_be_armed_fails_the_hourly_run_and_not_the_deployment(account: Account):
    account.answers["iam:AttachRolePolicy"] = refuse("AccessDenied")
    iam = boto3.client("iam")
    iam.create_role(RoleName="crowded", AssumeRolePolicyDocument="{}")
    iam.put_role_policy(RoleName="crowded", PolicyName="w", PolicyDocument=allow("bedrock:InvokeModel"))
    with pytest.raises(UnfinishedError, match=r"role/crowded.*AccessDenied"):
        account.run("arm", event("scheduled.json"))


# --- kill --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anything", [{}, event("console_default.json"), None, [], "now", {"scope": "account"}])
def test_any_event_kills(account: Account, anything: object):
    answer = account.run("kill", anything)
    assert next(iter(answer)) == "summary"
    assert answer["summary"].startswith("Bedrock is stopped")
    assert (account.level(BRAKE), account.level(SWEEP)) == ("stop", "stop")
    assert account.holders(SWEEP) == {"admin", "root-like"}


def test_a_kill_stops_batch_jobs(account: Account):
    arn = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abc"
    account.jobs = [
        {"jobArn": arn, "jobName": "nightly", "status": "InProgress"},
        {"jobArn": arn.replace("abc", "old"), "jobName": "old", "status": "Completed"},
    ]
    account.run("kill", {})
    assert [each["jobName"] for each in account.jobs] == ["old"]


def test_an_invalid_scope_is_refused_and_nothing_happens(account: Account):
    before = account.snapshot()
    with pytest.raises(RefusedError, match="nothing was stopped"):
        account.run("kill", {"scope": "role/agent and friends"})
    assert account.snapshot()["Policies"] == before["Policies"]
    assert account.calls["kill"] == set()


def test_a_kill_works_with_the_ledger_deleted_and_the_mail_unreachable(account: Account):
    boto3.client("dynamodb").delete_table(TableName=LEDGER)
    account.answers["sns:Publish"] = unreachable
    answer = account.run("kill", {})
    assert answer["summary"].startswith("Bedrock is stopped")
    assert account.level() == "stop"
    assert set(answer["not_told"]) == {"remember what is wanted", "mail", "ledger"}


def test_a_kill_in_report_only_mode_is_a_persons_word_and_acts(account: Account, monkeypatch):
    monkeypatch.setenv("GUARDRAIL", SETTINGS.to_json().replace('"enforce":true', '"enforce":false'))
    account.run("kill", {})
    assert account.level() == "stop"


def test_a_kill_that_could_not_switch_raises_with_the_command_by_hand(account: Account):
    account.answers["iam:SetDefaultPolicyVersion"] = refuse("ServiceFailure")
    with pytest.raises(UnfinishedError, match="aws iam set-default-policy-version"):
        account.run("kill", {})


def test_a_kill_mails_what_it_did(account: Account):
    account.run("kill", {})
    assert account.mails() == ["Bedrock spend: STOPPED, 2 out of reach"]


# --- the meter ---------------------------------------------------------------------------------------------------


def test_usage_at_every_dimension_level_counts_once(account: Account):
    spend(10)
    answer = account.run("meter", event("scheduled.json"))
    assert answer["spend"]["day"] == "10.0000"
    assert answer["reason"] == "$10.00 of $50/day, $50.00 with usage on its way"


def test_an_alarm_wakes_the_meter_which_asks_for_the_stop_and_the_stop_acts(account: Account):
    spend(60)
    account.run("meter", event("alarm_state_change.json"))
    assert [each["level"] for each in account.asked] == ["stop"]
    answer = account.run("stop", account.asked[0])
    assert account.level() == "stop"
    assert answer["reason"].startswith("$60.00 of $50/day")
    assert account.mails() == ["Bedrock spend: STOPPED, 2 out of reach"]


def test_a_stop_that_is_kept_on_is_silent(account: Account):
    account.run("kill", {})
    account.run("meter", event("scheduled.json"))
    assert account.asked[-1]["reassert"] is True
    account.run("stop", account.asked[-1])
    assert account.mails() == ["Bedrock spend: STOPPED, 2 out of reach"]


def test_report_only_decides_and_touches_nothing(account: Account, monkeypatch):
    monkeypatch.setenv("GUARDRAIL", SETTINGS.to_json().replace('"enforce":true', '"enforce":false'))
    before = account.snapshot()
    spend(60)
    account.run("meter", event("scheduled.json"))
    answer = account.run("stop", account.asked[0])
    after = account.snapshot()
    assert "would have been set to stop" in answer["summary"]
    assert {key: after[key] for key in ("RoleDetailList", "UserDetailList", "Policies")} == {
        key: before[key] for key in ("RoleDetailList", "UserDetailList", "Policies")
    }
    assert account.mails() == ["Bedrock spend: would have STOPPED (report-only)"]


def test_a_meter_that_cannot_list_a_region_goes_on_with_what_it_knows_and_mails_it(account: Account):
    spend(60)
    account.run("meter", event("scheduled.json"))
    account.answers["cloudwatch:ListMetrics"] = refuse("AccessDenied")
    answer = account.run("meter", event("scheduled.json"))
    assert answer["spend"]["day"] == "60.0000"
    planes = ("AWS/Bedrock", "AWS/BedrockMantle")
    assert answer["gaps"] == [f"us-east-1: {each} cannot be listed (AccessDenied)" for each in planes]
    assert account.mails() == ["Bedrock spend: the meter does not see everything"]


def test_usage_that_is_not_listed_still_counts_by_the_sum_of_the_account(account: Account):
    spend(6)
    account.answers["cloudwatch:ListMetrics"] = lambda _: {"Metrics": []}
    answer = account.run("meter", event("scheduled.json"))
    assert Decimal(answer["spend"]["day"]) > 6
    assert account.asked[-1]["spend"]["guessed"][0].startswith("not listed yet (us-east-1)")


def test_a_model_that_is_not_listed_is_found_by_its_name(account: Account):
    dimensions: list[Any] = [{"Name": "ModelId", "Value": "us.amazon.nova-lite-v1:0"}]
    data: list[Any] = [
        {"MetricName": name, "Dimensions": each, "Value": 1e8, "Timestamp": datetime.now(UTC)}
        for name in ("InputTokenCount", "OutputTokenCount")
        for each in (dimensions, [])
    ]
    boto3.client("cloudwatch").put_metric_data(Namespace="AWS/Bedrock", MetricData=data)
    account.answers["cloudwatch:ListMetrics"] = lambda _: {"Metrics": []}
    answer = account.run("meter", event("scheduled.json"))
    price = PriceTable.load().quote("us.amazon.nova-lite-v1:0", datetime.now(UTC), region="us-east-1").price
    assert Decimal(answer["spend"]["day"]) == round((price.input + price.output) * 100, 4)


# --- budgets -----------------------------------------------------------------------------------------------------


def test_a_budget_notification_that_the_budget_confirms_stops(account: Account):
    account.answers["budgets:ViewBudget"] = lambda _: {"Budget": budget("1234.56")}
    answer = account.run("stop", event("sns_budget.json"))
    assert account.level() == "stop"
    assert answer["reason"] == f"AWS Budgets: $1234.56 of $500.00 this month ({BUDGET})"


def test_delivered_twice_it_stops_once(account: Account):
    account.answers["budgets:ViewBudget"] = lambda _: {"Budget": budget("1234.56")}
    for _ in range(2):
        account.run("stop", event("sns_budget.json"))
    assert account.run("status", {})["last_stop"]["done"] == []
    assert account.level() == "stop"


@pytest.mark.parametrize(
    "hostile",
    [
        {},
        {"Records": []},
        {"Records": [{}]},
        {"Records": "x"},
        {"Records": [{"Sns": {}}]},
        {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": None}}]},
        {"Records": [{"EventSource": "aws:s3", "s3": {}}]},
        None,
        [],
        "x",
        event("console_default.json"),
    ],
)
def test_a_hostile_event_changes_nothing_and_is_answered(account: Account, hostile: object):
    answer = account.run("stop", hostile)
    assert "Refused" in answer["summary"]
    assert account.level() == "released"


def test_a_foreign_account_and_an_unconfirmed_claim_change_nothing(account: Account):
    raw = event("sns_budget.json")
    text = raw["Records"][0]["Sns"]["Message"]
    for message in (text.replace("123456789012", "999999999999"), text):
        raw["Records"][0]["Sns"]["Message"] = message
        assert "Refused" in account.run("stop", raw)["summary"]
    assert account.level() == "released"


def test_a_budget_that_cannot_be_asked_fails_loudly_so_that_it_is_tried_again(account: Account):
    account.answers["budgets:ViewBudget"] = refuse("ThrottlingException")
    with pytest.raises(Exception, match="budgets:DescribeBudget"):
        account.run("stop", event("sns_budget.json"))


@pytest.mark.parametrize("figure", [None, {"Amount": "1", "Unit": "EUR"}])
def test_a_budget_in_another_currency_is_an_error_that_says_where_to_look(account: Account, figure: object):
    answer = budget("1")
    answer["CalculatedSpend"]["ActualSpend"] = figure
    account.answers["budgets:ViewBudget"] = lambda _: {"Budget": answer}
    with pytest.raises(Exception, match="Billing console"):
        account.run("stop", event("sns_budget.json"))


def test_trillions_deny_everybody_and_end_no_work_until_somebody_to_be_believed_says_stop(account: Account):
    account.jobs = [
        {"jobArn": "arn:aws:bedrock:us-east-1:1:model-invocation-job/a", "jobName": "a", "status": "Submitted"}
    ]
    account.answers["budgets:ViewBudget"] = lambda _: {"Budget": budget("1234567890123.45")}
    answer = account.run("stop", event("sns_budget.json"))
    assert account.level() == "stop"
    assert "implausible" in answer["reason"]
    assert any("looks implausible" in why for why in answer["not_stopped"].values())
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    assert len(account.jobs) == 1
    spend(60)
    account.run("meter", event("alarm_state_change.json"))
    account.run("stop", account.asked[-1])
    assert account.jobs == []
    # By now it stands for a reason that counts: nothing new is asked for each minute.
    account.run("meter", event("scheduled.json"))
    assert account.asked[-1]["reassert"] is True


def test_an_anomaly_is_mailed_once_and_steps_down_where_so_configured(
    account: Account, monkeypatch: pytest.MonkeyPatch
):
    assert "passed on" in account.run("stop", event("cost_anomaly.json"))["summary"]
    assert account.level() == "released"
    monkeypatch.setenv("GUARDRAIL", replace(SETTINGS, anomalies_step_down=True).to_json())
    account.run("stop", event("cost_anomaly.json") | {"id": "told-again"})
    assert account.level() == "released"
    another = event("cost_anomaly.json")
    another["detail"]["anomalyId"] = "another"
    answer = account.run("stop", another)
    assert (account.level(), answer["level"]) == ("step-down", "step-down")
    another["account"] = "999999999999"
    assert "Refused" in account.run("stop", another)["summary"]


def test_what_aws_budgets_attached_by_itself_a_release_takes_off_and_makes_ready(account: Account):
    account.budget_action = "EXECUTION_SUCCESS"
    answer = account.run("release", RELEASE)
    assert account.budget_action == "STANDBY"
    assert "take off what AWS Budgets attached by itself" in answer["done"]


# --- release -----------------------------------------------------------------------------------------------------


def test_a_release_gives_the_account_back_exactly(account: Account):
    before = account.snapshot()
    account.run("kill", {})
    assert account.snapshot() != before
    account.run("release", RELEASE)
    after = account.snapshot()
    for details in (before, after):
        details.pop("ResponseMetadata")
        for policy in details["Policies"]:
            policy.pop("UpdateDate")
    assert after == before


def test_a_release_with_an_allowance_holds_back_the_next_tick(account: Account):
    spend(60)
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    account.run("release", {**RELEASE, "allowance": {"usd": 5000, "hours": 1}})
    account.asked.clear()
    assert account.run("meter", event("scheduled.json"))["verdict"] == "ok"
    assert account.asked == []


def test_a_release_without_an_allowance_warns_that_the_limit_is_still_crossed(account: Account):
    spend(60)
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    assert "again within a minute" in account.run("release", RELEASE)["warning"]


# --- installing --------------------------------------------------------------------------------------------------


def test_an_update_during_a_stop_keeps_the_stop_and_its_rollback_does_too(account: Account):
    account.run("kill", {})
    newer = replace(SETTINGS, exempt=(*SETTINGS.exempt, "role/newcomer"))
    assert account.install("Update", newer)["Status"] == "SUCCESS"
    iam = boto3.client("iam")

    def current() -> str:
        default = iam.get_policy(PolicyArn=BRAKE)["Policy"]["DefaultVersionId"]
        return json.dumps(iam.get_policy_version(PolicyArn=BRAKE, VersionId=default)["PolicyVersion"]["Document"])

    assert "role/newcomer" in current()
    assert account.install("Update")["Status"] == "SUCCESS"
    assert account.level() == "stop"
    assert len(iam.list_policy_versions(PolicyArn=BRAKE)["Versions"]) == 3


def test_the_custom_resource_returns_the_policy_and_nothing_to_complain_of(account: Account):
    data = account.told[0]["Data"]
    assert data == {"BrakeArn": BRAKE, "Problems": ""}


def test_deleting_the_stack_releases_detaches_and_leaves_nothing(account: Account):
    account.run("kill", {})
    assert account.install("Delete")["Status"] == "SUCCESS"
    assert boto3.client("iam").list_policies(Scope="Local")["Policies"] == []
    assert boto3.client("iam").list_groups()["Groups"] == []
    assert account.install("Delete")["Status"] == "SUCCESS"


def test_another_prefix_is_refused_while_deployed(account: Account):
    answer = account.install("Update", BrakeArn=BRAKE.replace("bedrock-spend", "other"))
    assert answer["Status"] == "FAILED"
    assert "destroy the stack first" in answer["Reason"]


def test_a_second_guardrail_in_the_account_is_refused_and_takes_nothing_away(account: Account):
    answer = account.install("Create", owner="guardrail in eu-west-1")
    assert answer["Status"] == "FAILED"
    assert "belongs to guardrail in us-east-1" in answer["Reason"]
    assert account.install("Delete", owner="guardrail in eu-west-1")["Status"] == "SUCCESS"
    assert account.holders(BRAKE) == {"agent", "dev"}


def test_something_is_stopped_alone_through_an_update_and_released(account: Account):
    opus = "model:anthropic.claude-opus*"
    answer = account.run("install", {"source": "kill", "stop": opus})
    assert (answer["scopes"], answer["problems"]) == ([opus], ())
    assert set(answer["versions"]) == {"bedrock-spend-brake", "bedrock-spend-sweep"}
    account.install("Update", replace(SETTINGS, exempt=(*SETTINGS.exempt, "role/newcomer")))
    assert account.run("install", {"source": "prices"})["scopes"] == [opus]
    assert account.run("install", {"source": "release", "release": "all-narrow"})["scopes"] == []
    assert account.level() == "released"


def test_prices_that_cannot_be_read_are_told_and_the_shipped_ones_stand_in(account: Account):
    boto3.client("dynamodb").delete_table(TableName=LEDGER)
    answer = account.run("install", {"source": "prices"})
    assert "the deployed table stands in" in answer["problems"][0]
    assert account.install("Update")["Status"] == "SUCCESS"
    assert "the deployed table stands in" in account.told[-1]["Data"]["Problems"]


def test_what_is_not_deployed_any_more_is_not_written_again(account: Account):
    account.install("Delete")
    with pytest.raises(RefusedError, match="deploy the stack again"):
        account.run("install", {"source": "kill", "stop": "project:default"})
    assert boto3.client("iam").list_policies(Scope="Local")["Policies"] == []


def test_an_installer_that_fails_tells_cloudformation_instead_of_leaving_it_waiting(account: Account):
    account.answers["iam:ListPolicyVersions"] = refuse("AccessDenied")
    assert account.install("Update")["Status"] == "FAILED"
    assert "iam:ListPolicyVersions" in account.told[-1]["Reason"]


# --- status ------------------------------------------------------------------------------------------------------


def test_the_status_says_in_words_first_how_it_stands(account: Account):
    answer = account.run("status", {})
    assert next(iter(answer)) == "summary"
    assert answer["summary"] == "Bedrock may be used. 2 armed, 2 to be swept at a stop, 0 out of reach."
    assert answer["armed"] == ["role/agent", "user/dev"]
    assert answer["swept_at_a_stop"] == ["role/admin", "user/root-like"]


def test_the_status_during_a_stop(account: Account):
    account.run("kill", {"reason": "drill"})
    answer = account.run("status", {})
    assert answer["summary"] == "Bedrock is STOPPED. 2 armed, 2 swept, 0 out of reach."
    assert answer["last_stop"]["reason"] == "killed from the console: drill"


def test_what_the_status_cannot_read_is_named_and_not_left_out(account: Account):
    boto3.client("dynamodb").delete_table(TableName=LEDGER)
    answer = account.run("status", {})
    ledger = {"meter", "last stop", "last release", "crosscheck", "arming", "held down"}
    ledger |= {"allowances", "would have stopped", "own cost", "self-watch"}
    assert set(answer["unknown"]) == ledger
    account.answers["iam:ListPolicyVersions"] = refuse("ServiceFailure")
    assert account.run("status", {})["summary"].startswith("UNKNOWN")


def test_allowances_expire(account: Account):
    account.run("release", {**RELEASE, "allowance": {"usd": 5, "hours": 1}})
    from lambdas.wiring import Wiring  # noqa: PLC0415 - needs the environment of the fixture

    ledger, now = Wiring().ledger, datetime.now(UTC)
    assert [str(each.usd) for each in ledger.memory(now).allowances] == ["5"]
    assert ledger.memory(now + timedelta(hours=2)).allowances == ()
