"""Least privilege: what each function calls is exactly what it declares, and so what it is granted."""

import importlib
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from lambdas.aws.concurrency import TAG
from lambdas.core.permissions import permissions_of
from lambdas.core.scp import stop_scp
from lambdas.core.telling import Telling
from lambdas.settings import Organization, Settings
from lambdas.wiring import Wiring
from tests.conftest import ACCOUNT, event
from tests.integration.test_crosscheck import close_days
from tests.integration.test_functions import RELEASE, spend
from tests.integration.test_inventory import use_elsewhere
from tests.integration.test_live_drill import stand_ins, with_a_canary
from tests.integration.test_prices import wait_for_a_word
from tests.integration.test_watch import deployed
from tests.integration.world import DELETING, FUNCTIONS, SETTINGS, TRUST, Account, allow, budget

USE = f"arn:aws:iam::{ACCOUNT}:policy/use"
GUARDED = "444455556666"


@pytest.fixture
def everything(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Run every function through everything it can do."""
    account = Account(monkeypatch)
    account.people()
    account.work()
    settings = every_mode()
    account.install(settings=settings)
    stop_and_release(account)
    stop_by_others(account, settings)
    use_the_console(account)
    digest(account, monkeypatch)
    close_days("20")
    account.run("crosscheck", event("scheduled.json"))
    account.run("prices", event("scheduled.json"))
    wait_for_a_word(account)
    watch(account)
    take_down(account, replace(settings, exempt=(*settings.exempt, "role/newcomer")))
    return account


def stop_and_release(account: Account) -> None:
    """Arm, stop on the meter's word, and stop and release each kind of scope alone."""
    account.run("arm", event("scheduled.json"))
    account.run("disarm", event("iam_delete_role_refused.json"))
    account.run("disarm", event("iam_delete_user_refused_root.json"))
    account.attach_by_hand("agent")
    things_to_hold_down(account)
    account.jobs = [job("a")]
    spend(6)
    account.run("meter", event("scheduled.json"))
    spend(60)
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    boto3.client("iam").update_user(UserName="using", NewUserName="renamed")
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    account.run("release", {**RELEASE, "allowance": {"usd": 5, "hours": 1}})
    boto3.client("iam").update_user(UserName="renamed", NewUserName="using")
    boto3.client("iam").tag_role(RoleName="agent", Tags=[{"Key": "owner", "Value": "ada@example.com"}])
    for scope in ("role/agent", "user/dev", "model:anthropic.claude-opus*"):
        account.run("kill", {"scope": scope})
        account.run("meter", event("scheduled.json"))
        account.run("stop", account.asked[-1])
        account.run("release", {**RELEASE, "scope": scope})


def stop_by_others(account: Account, settings: Settings) -> None:
    """Stop on the word of the bill, take stock, and run the drill."""
    # As if a writer had ended half-way: the ledger has it and IAM has not.
    Wiring().ledger.stop_alone("model:amazon.nova-premier*", "too dear", datetime.now(UTC))
    account.run("meter", event("scheduled.json"))
    account.run("stop", account.asked[-1])
    account.answers["budgets:ViewBudget"] = lambda _: {"Budget": budget("1234.56")}
    account.run("stop", event("sns_budget.json"))
    account.run("stop", event("cost_anomaly.json"))
    account.budget_action = "EXECUTION_SUCCESS"
    account.put_back("Delete")
    account.jobs = [job("b")]
    use_elsewhere("eu-west-3")
    account.jobs[0] |= {"modelId": "amazon.nova-pro-v1:0", "submitTime": datetime.now(UTC)}
    account.stock()
    account.run("inventory", event("scheduled.json"))
    drill(account, settings)


def use_the_console(account: Account) -> None:
    """Plan, kill and look, and share the events of the console."""
    account.work()
    account.run("status", {"plan": "account"})
    account.run("status", {"plan": "role/agent"})
    account.run("kill", {})
    account.rest()
    account.run("kill", {})
    account.run("arm", event("iam_detach_brake.json"))
    account.run("disarm", event("iam_delete_role_refused.json"))
    account.run("status", {})
    account.share("Create")
    account.shared.schemas["_bedrock-spend-kill-schema"] = ["{}"]
    account.share("Update")
    account.share("Delete")
    account.run("release", {"confirm": "ALLOW", "reason": "done", "cancel": "all"})


def take_down(account: Account, settings: Settings) -> None:
    """Change the configuration, then destroy the stack."""
    account.install("Update", settings)
    account.install("Delete", settings)


def watch(account: Account) -> None:
    """Look at the guardrail itself when there is something of each kind to look at; let the meter fall silent."""
    deployed(account)
    account.run("watch", event("scheduled.json"))
    account.run("watch", event("lambda_update_code.json"))
    account.run("stop", event("alarm_heartbeat.json"))


def digest(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the digest for the first time, and when a mail is due."""
    monkeypatch.setattr("lambdas.digesting._MAIL_FROM", 0)
    account.run("digest", event("scheduled.json"))
    ledger = Wiring().ledger
    ledger.keep("digest", {**(ledger.kept("digest") or {}), "mailed": None})
    account.run("digest", event("scheduled.json"))


def drill(account: Account, settings: Settings) -> None:
    """Run a live drill."""
    account.install("Update", with_a_canary(account, settings))
    stand_ins(account)
    account.run("drill", {})
    account.install("Update", settings)


def job(name: str) -> dict[str, Any]:
    """Return a batch job as Bedrock lists it."""
    arn = f"arn:aws:bedrock:us-east-1:1:model-invocation-job/{name}"
    return {"jobArn": arn, "jobName": name, "status": "Submitted"}


def every_mode() -> Settings:
    """Make what the modes need, and return a configuration with all of them on."""
    organizations, spared = boto3.client("organizations"), SETTINGS.spared
    organizations.create_organization(FeatureSet="ALL")
    made = organizations.create_account(Email="a@example.com", AccountName="agents")
    mode = Organization(SETTINGS.prefix, ACCOUNT, GUARDED, made["CreateAccountStatus"]["AccountId"])
    organizations.create_policy(
        Name=mode.policy_name,
        Type="SERVICE_CONTROL_POLICY",
        Description="",
        Content=json.dumps(stop_scp(spared, external_anthropic=False)),
    )
    boto3.client("iam").create_policy(PolicyName="use", PolicyDocument=allow("bedrock:InvokeModel"))
    telling = Telling(owner_tag="owner", sender="guard@example.com", escalate_after=timedelta(minutes=30))
    modes = replace(DELETING, telling=telling, stop_when_silent=True)
    return replace(modes, detach=("policy/use",), organization=mode, gateway_percent=25)


def things_to_hold_down(account: Account) -> None:
    """Let there be something for each lever, and a user whose slots are all taken."""
    account.throttles.add_key(1, "dev")
    account.throttles.add_limit("search", 1000)
    iam, functions = boto3.client("iam"), boto3.client("lambda")
    iam.create_role(RoleName="using", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="using", PolicyArn=USE)
    iam.create_group(GroupName="using")
    iam.attach_group_policy(GroupName="using", PolicyArn=USE)
    iam.create_user(UserName="using")
    iam.attach_user_policy(UserName="using", PolicyArn=USE)
    iam.create_user(UserName="crowded")
    iam.put_user_policy(UserName="crowded", PolicyName="work", PolicyDocument=allow("bedrock:InvokeModel"))
    for number in range(10):
        policy = iam.create_policy(PolicyName=f"other-{number}", PolicyDocument=allow("s3:GetObject"))
        iam.attach_user_policy(UserName="crowded", PolicyArn=policy["Policy"]["Arn"])
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("x.py", "")
    for name in ("free", "reserved"):
        functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=iam.get_role(RoleName="using")["Role"]["Arn"],
            Handler="x.y",
            Code={"ZipFile": code.getvalue()},
            Tags={TAG: "2"},
        )
    functions.put_function_concurrency(FunctionName="reserved", ReservedConcurrentExecutions=50)


def test_calls_made_are_permissions_declared_and_nothing_is_left(everything: Account):
    declared = {
        function: {
            action
            for permission in permissions_of(importlib.import_module(f"lambdas.handlers.{function}").USES)
            for action in permission.actions
        }
        for function in FUNCTIONS
    }
    made = {function: everything.calls[function] for function in FUNCTIONS}
    assert {each: made[each] - declared[each] for each in FUNCTIONS if made[each] - declared[each]} == {}
    assert {each: declared[each] - made[each] for each in FUNCTIONS if declared[each] - made[each]} == {}
    left = {each["PolicyName"] for each in boto3.client("iam").list_policies(Scope="Local")["Policies"]}
    assert left == {"use", *(f"other-{number}" for number in range(10))}
