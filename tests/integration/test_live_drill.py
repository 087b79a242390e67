"""The live drill through the real functions, with an IAM that denies at once."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lambdas.core.errors import GuardrailError, UnfinishedError
from lambdas.handlers import kill, release
from lambdas.settings import LiveDrill, Settings
from tests.fakes import DENY
from tests.integration.world import SETTINGS, TRUST, Account, Context, allow

MODEL = "anthropic.claude-haiku-5-5"
CANARY = "bedrock-spend-canary"


def with_a_canary(account: Account, settings: Settings = SETTINGS) -> Settings:
    """Make what the stack makes for a live drill, and return the settings with it."""
    iam = boto3.client("iam")
    iam.create_role(RoleName=CANARY, AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName=CANARY, PolicyName="work", PolicyDocument=allow("bedrock:CountTokens"))

    def count(params: dict[str, Any]) -> dict[str, Any]:
        assert params["url_path"] == f"/model/{MODEL}/count-tokens"
        with account._instead(""):  # a look at IAM is no call of the function's
            denied = CANARY in account.holders(DENY)
        if denied:
            words = f"role/{CANARY} is not authorized to perform: bedrock:CountTokens with an explicit deny"
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": words}}, "CountTokens")
        return {"inputTokens": 8}

    account.answers["bedrock:CountTokens"] = count
    return replace(settings, drill=LiveDrill(MODEL))


def invoking(account: Account, **functions: Callable[[dict[str, Any]], object]) -> None:
    """Have functions of the guardrail's prefix invoked as Lambda does it for who waits for the answer."""
    others = account.answers["lambda:InvokeFunction"]

    def invoked(params: dict[str, Any]) -> Any:
        for word, function in functions.items():
            if f"/functions/{SETTINGS.prefix}-{word}/" in params["url_path"]:
                return account._answered(word, partial(_without_context, function), json.loads(params["body"]))
        return others(params)

    account.answers["lambda:InvokeFunction"] = invoked


def _without_context(function: Callable[[dict[str, Any]], object], event: dict[str, Any], _: object) -> object:
    return function(event)


def everybody(account: Account) -> dict[str, Any]:
    """Return all of IAM that lasts."""
    return {key: each for key, each in account.snapshot().items() if key != "ResponseMetadata"}


def stand_ins(account: Account) -> None:
    """Have kill and release do no more than their effect: their own calls are looked at elsewhere."""

    def denied(_: object) -> dict[str, str]:
        with account._instead(""):
            boto3.client("iam").attach_role_policy(RoleName=CANARY, PolicyArn=DENY)
        return {"summary": "stopped"}

    def allowed(_: object) -> dict[str, str]:
        with account._instead(""):
            boto3.client("iam").detach_role_policy(RoleName=CANARY, PolicyArn=DENY)
        return {"summary": "released"}

    invoking(account, kill=denied, release=allowed)


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    account = Account(monkeypatch)
    account.people()
    account.install(settings=with_a_canary(account))
    invoking(
        account,
        kill=lambda event: kill.handler(event, Context()),
        release=lambda event: release.handler(event, Context()),
    )
    return account


def test_the_canary_alone_is_stopped_and_released_by_the_real_functions_and_one_mail_tells(account):
    account.run("arm", {})
    before = everybody(account)
    answer = account.run("drill", {"key1": "value1"})
    assert answer["measured"]["model"] == MODEL
    assert "explicit deny" in answer["measured"]["denied_with"]
    assert everybody(account) == before
    assert [each[: len("Bedrock spend: drill")] for each in account.mails()] == ["Bedrock spend: drill"]
    status = account.run("status", {})
    assert (status["last_stop"], status["last_release"], status["stopped_alone"]) == (None, None, [])
    assert status["last_drill"]["measured"] == answer["measured"]
    assert status["last_drill"]["reaction_seconds_configured"] == 240


def test_the_canary_does_not_count_among_those_who_can_spend(account):
    account.run("arm", {})
    status = account.run("status", {})
    assert f"role/{CANARY}" not in json.dumps([status["armed"], status["swept_at_a_stop"], status["cannot_be_stopped"]])


def test_while_the_account_is_stopped_nothing_is_touched(account):
    account.run("kill", {})
    before = everybody(account)
    answer = account.run("drill", None)
    assert answer == {
        "summary": "Refused: no drill, nothing was touched: the account is at stop, or is being brought there; "
        "release it first"
    }
    assert everybody(account) == before


def test_without_a_canary_it_says_what_to_configure(account, monkeypatch):
    monkeypatch.setenv("GUARDRAIL", SETTINGS.to_json())
    assert "set [live_drill] in guardrail.toml" in account.run("drill", {})["summary"]


def test_a_kill_that_fails_is_told_and_the_canary_is_free_again(account):
    def fails(_: object) -> object:
        kill.handler({"scope": f"role/{CANARY}"}, Context())
        raise GuardrailError("the mail hangs")

    invoking(account, kill=fails)
    with pytest.raises(UnfinishedError, match="the mail hangs"):
        account.run("drill", {})
    assert account.holders(DENY) == set()
    assert account.mails() == ["Bedrock spend: the drill FAILED"]
