"""The command line as a person types it, on an account in moto."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from click import Option
from click.testing import CliRunner, Result

from cli import commands
from cli.commands import cli
from lambdas.core.errors import GuardrailError
from tests.conftest import ACCOUNT, event
from tests.fakes import BRAKE, DENY, SWEEP
from tests.integration.test_functions import refuse, spend
from tests.integration.world import SETTINGS, Account, allow

KILL, RELEASE = ("kill", "--yes"), ("release", "--confirm", "RELEASE", "--reason", "fixed")


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    found = Account(monkeypatch)
    found.people()
    found.install()
    found.run("arm", event("scheduled.json"))
    found.answers["lambda:GetFunctionConfiguration"] = deployed(found, "us-east-1")
    # The session that is looked at here must stay the one of the test.
    monkeypatch.setattr(boto3, "setup_default_session", lambda **_: None)
    return found


def deployed(account: Account, *regions: str) -> Callable[[dict[str, Any]], Any]:
    """Return how Lambda answers where the functions are deployed to some regions."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if not any(f"lambda.{region}." in params["url"] for region in regions):
            refuse("ResourceNotFoundException")(params)
        if "/functions/bedrock-spend-kill/" not in params["url_path"]:
            refuse("ResourceNotFoundException")(params)
        return {"Environment": {"Variables": account.environment}}

    return answer


def type_in(*words: str, keys: str = "") -> Result:
    result = CliRunner().invoke(cli, words, input=keys, prog_name="bedrock-spend")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # a traceback is never an answer
    return result


def as_json(*words: str) -> tuple[Any, int]:
    """Return what ``--json`` prints, which must be all there is on the output, and the exit code."""
    result = type_in(*words, "--json")
    return json.loads(result.stdout), result.exit_code


def invokable(account: Account) -> None:
    """Let the deployed functions run when they are invoked by name."""
    before = account.answers["lambda:InvokeFunction"]

    def invoked(params: dict[str, Any]) -> Any:
        for name in ("kill", "release", "status"):
            if f"/functions/bedrock-spend-{name}/" in params["url_path"]:
                return answered(partial(account.run, name, json.loads(params["body"])))
        return before(params)

    account.answers["lambda:InvokeFunction"] = invoked


def answered(run: Callable[[], Any]) -> dict[str, Any]:
    """Return what Lambda answers to who waits for a function."""
    failed: dict[str, Any] = {}
    try:
        body = run()
    except GuardrailError as error:
        body = {"errorType": type(error).__name__, "errorMessage": str(error)}
        failed = {"FunctionError": "Unhandled"}
    return {"StatusCode": 200, "Payload": BytesIO(json.dumps(body).encode()), **failed}


# --- the same as the functions do ----------------------------------------------------------------------------------


def test_a_kill_from_the_terminal_stops_as_the_function_does(account: Account):
    answer, code = as_json(*KILL, "--reason", "runaway agent", "--by", "ada")
    assert code == 0
    assert answer["summary"].startswith("Bedrock is stopped. 4 steps done; 2 principals were armed beforehand.")
    assert answer["reason"] == "killed from the command line: runaway agent (ada)"
    assert answer["failed"] == {}
    assert (account.level(BRAKE), account.level(SWEEP)) == ("stop", "stop")
    assert account.holders(SWEEP) == {"admin", "root-like"}


def test_one_role_is_stopped_and_released_alone(account: Account):
    answer, code = as_json("kill", "role/agent", "--yes")
    assert (code, answer["stopped_alone"]) == (0, ["role/agent"])
    assert account.holders(DENY) == {"agent"}
    answer, code = as_json(*RELEASE, "role/agent")
    assert code == 0
    assert account.holders(DENY) == set()
    assert account.level() == "released"


def test_a_release_from_the_terminal_gives_the_account_back(account: Account):
    as_json(*KILL)
    answer, code = as_json(*RELEASE)
    assert code == 0
    assert answer["summary"].startswith("Released:")
    assert (account.level(), account.holders(SWEEP)) == ("released", set())


def test_an_allowance_is_given_and_ended_and_releases_nothing(account: Account):
    as_json(*KILL)
    words = ("allow", "--confirm", "ALLOW", "--reason", "month end", "--by", "ada")
    answer, code = as_json(*words, "--usd", "25", "--hours", "2")
    assert code == 0
    assert "$25" in answer["summary"]
    assert account.level() == "stop"
    answer, code = as_json(*words, "--cancel")
    assert (code, answer["allowances"]) == (0, [])


def test_the_status_is_that_of_the_function(account: Account):
    answer, code = as_json("status")
    assert code == 0
    invokable(account)
    remote, code = as_json("status", "--remote")
    assert code == 0
    assert answer["summary"] == remote["summary"]
    assert answer["armed"] == remote["armed"] == ["role/agent", "user/dev"]


def test_a_plan_tells_what_a_kill_then_does_and_touches_nothing(account: Account):
    before = account.snapshot()
    planned, code = as_json("plan")
    assert code == 0
    after = account.snapshot()
    assert {key: after[key] for key in ("RoleDetailList", "UserDetailList", "Policies")} == {
        key: before[key] for key in ("RoleDetailList", "UserDetailList", "Policies")
    }
    killed, _ = as_json(*KILL)
    assert sorted(planned["steps"]) == sorted(killed["done"])


def test_the_functions_do_it_with_remote(account: Account):
    invokable(account)
    answer, code = as_json(*KILL, "--remote", "--reason", "x", "--by", "ada")
    assert (code, account.level()) == (0, "stop")
    assert "x (ada)" in answer["reason"]
    assert account.calls["kill"]
    _, code = as_json(*RELEASE, "--remote")
    assert (code, account.level()) == (0, "released")


def test_what_the_function_refuses_or_does_not_finish_is_told_in_its_words(account: Account):
    invokable(account)
    answer, code = as_json("allow", "--remote", "--confirm", "ALLOW", "--reason", "x", "--usd", "-5", "--hours", "2")
    assert code == 1
    assert answer["summary"].startswith("nothing was allowed")
    account.answers["iam:SetDefaultPolicyVersion"] = refuse("AccessDenied")
    answer, code = as_json(*KILL, "--remote")
    assert code == 1
    assert "NOT fully stopped" in answer["summary"]
    assert not answer["summary"].startswith("{")


def test_without_concurrency_left_the_way_without_functions_is_named(account: Account):
    account.answers["lambda:InvokeFunction"] = refuse("TooManyRequestsException")
    answer, code = as_json(*KILL, "--remote")
    assert code == 1
    assert "try it without --remote" in answer["summary"]
    assert as_json(*KILL)[1] == 0


def test_the_drill_is_run_by_its_function(account: Account):
    asked: list[Mapping[str, Any]] = []
    said: dict[str, Any] = {"summary": "denied after 4.2 s", "measured": {"stop_seconds_first_denied": 4.2}}

    def drilled(params: dict[str, Any]) -> Any:
        asked.append(params)
        return answered(lambda: said)

    account.answers["lambda:InvokeFunction"] = drilled
    answer, code = as_json("drill")
    assert (code, answer["summary"]) == (0, "denied after 4.2 s")
    assert "/functions/bedrock-spend-drill/" in asked[0]["url_path"]
    said = {"summary": "Refused: Bedrock is stopped"}
    assert as_json("drill") == (said, 1)
    account.answers["lambda:InvokeFunction"] = refuse("ResourceNotFoundException")
    answer, code = as_json("drill")
    assert (code, "[live_drill]" in answer["summary"]) == (2, True)


def test_prices_tell_their_source_and_age(account: Account):
    answer, code = as_json("prices", "amazon.nova-pro-v1:0", "acme.unheard-of")
    assert code == 0
    nova, unheard = answer["models"]
    assert (nova["source"], nova["guessed"]) == ("the table it was deployed with", False)
    assert unheard["source"].startswith("unknown: the dearest known")
    assert float(unheard["output"]) > float(nova["output"]) > 0
    spend(1)
    account.run("meter", event("scheduled.json"))
    answer, _ = as_json("prices")
    assert [each["model"] for each in answer["models"]] == ["amazon.nova-pro-v1:0"]


def test_prices_are_refreshed_and_accepted_by_fingerprint(account: Account):
    answer, code = as_json("prices", "--refresh", "amazon.nova-pro-v1:0")
    assert code == 0
    assert answer["refreshed"]["prices"]
    assert "AmazonBedrock" in answer["models"][0]["source"]
    answer, code = as_json("prices", "--accept", "no-such")
    assert (code, "nothing was changed" in answer["summary"]) == (1, True)


# --- being asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["n", "\r", "x"])
def test_a_kill_asks_for_one_key_and_any_other_stops_nothing(account: Account, monkeypatch, key: str):
    monkeypatch.setattr(commands, "_somebody_to_ask", lambda: True)
    result = type_in("kill", keys=key)
    assert (result.exit_code, account.level()) == (1, "released")
    assert f"account {ACCOUNT}? [y/n]" in result.stderr
    assert type_in("kill", keys="y").exit_code == 0
    assert account.level() == "stop"


@pytest.mark.parametrize("key", [EOFError(), KeyboardInterrupt()])
def test_a_kill_that_is_not_answered_stops_nothing(account: Account, monkeypatch, key: BaseException):
    monkeypatch.setattr(commands, "_somebody_to_ask", lambda: True)
    monkeypatch.setattr("click.getchar", lambda: failing(key)({}))
    assert type_in("kill").stderr.endswith("not confirmed: nothing was stopped\n")
    assert account.level() == "released"


def test_a_release_asks_for_the_word(account: Account, monkeypatch):
    monkeypatch.setattr(commands, "_somebody_to_ask", lambda: True)
    type_in(*KILL)
    assert type_in("release", "--reason", "x", keys="yes\n").exit_code == 1
    assert account.level() == "stop"
    assert type_in("release", "--reason", "x", keys="RELEASE\n").exit_code == 0
    assert account.level() == "released"


@pytest.mark.parametrize("words", [("kill",), ("release", "--reason", "x"), ("allow", "--reason", "x", "--cancel")])
def test_where_nobody_can_be_asked_the_option_is_named_and_nothing_done(account: Account, words: tuple[str, ...]):
    answer, code = as_json(*words)
    assert code == 2
    assert "nothing was done" in answer["summary"]
    assert "--yes" in answer["summary"] or "--confirm" in answer["summary"]
    assert account.level() == "released"


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("kill", "role/agent and friends", "--yes"), "it must be role/NAME"),
        (("kill", "arn:aws:iam::999999999999:role/agent", "--yes"), "999999999999"),
        (("plan", "nonsense"), "is not known"),
        (("allow", "--confirm", "ALLOW", "--reason", "x", "--usd", "5"), "--hours and --until"),
        (("allow", "--confirm", "ALLOW", "--reason", "x", "--usd", "5", "--cancel"), "--cancel alone"),
        ((*RELEASE, "--hours", "5"), "--usd"),
    ],
)
def test_what_is_mistyped_is_refused_with_the_rule_and_nothing_is_done(account: Account, words, rule: str):
    answer, code = as_json(*words)
    assert (code, account.level()) == (2, "released")
    assert rule in answer["summary"]
    assert account.holders(DENY) == set()


# --- finding the deployment ----------------------------------------------------------------------------------------


def test_it_is_found_in_another_region_by_the_policy(account: Account, monkeypatch):
    account.install("Delete")
    account.install("Create", owner="bedrock-spend-guardrail in eu-west-1")
    account.answers["lambda:GetFunctionConfiguration"] = deployed(account, "eu-west-1")
    sessions: list[dict[str, Any]] = []
    monkeypatch.setattr(boto3, "setup_default_session", lambda **given: sessions.append(given))
    assert as_json("status")[1] == 0
    assert sessions == [{"profile_name": None, "region_name": "eu-west-1"}]
    answer, code = as_json("status", "--region", "us-west-2")
    assert (code, answer["summary"].endswith("it is in eu-west-1, give --region eu-west-1")) == (2, True)


def test_where_none_is_deployed_it_says_how_to(account: Account):
    account.install("Delete")
    account.answers["lambda:GetFunctionConfiguration"] = refuse("ResourceNotFoundException")
    answer, code = as_json("status")
    assert code == 2
    assert answer["summary"] == (
        f"no guardrail with the prefix bedrock-spend is deployed in account {ACCOUNT}: deploy it with `make deploy`"
    )


def own_policies(prefix: str) -> None:
    for name in ("brake", "sweep", "deny"):
        boto3.client("iam").create_policy(
            PolicyName=f"{prefix}-{name}",
            PolicyDocument=allow("s3:GetObject"),
            Description=f"Spend guardrail of {prefix}-guardrail in us-east-1. More.",
        )


def test_several_deployments_are_told_apart_by_prefix(account: Account, monkeypatch):
    from cli import deployed as finding  # noqa: PLC0415 - what is looked at inside

    account.install("Delete")
    account.answers["lambda:GetFunctionConfiguration"] = refuse("ResourceNotFoundException")
    monkeypatch.setattr(finding, "home_of", lambda prefix, _who: "" if prefix == "bedrock-spend" else "us-east-1")
    own_policies("team-a")
    own_policies("team-b")
    answer, code = as_json("status")
    assert (code, "(team-a, team-b): choose one with --prefix" in answer["summary"]) == (2, True)


def test_the_only_one_there_is_needs_no_prefix(account: Account, monkeypatch):
    from cli import deployed as finding  # noqa: PLC0415 - likewise

    monkeypatch.setattr(finding, "USUAL_PREFIX", "another")
    assert as_json("status")[1] == 0


# --- credentials and permissions -----------------------------------------------------------------------------------


def failing(error: BaseException) -> Callable[[dict[str, Any]], Any]:
    def answer(_params: dict[str, Any]) -> None:
        raise error

    return answer


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Operation")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (NoCredentialsError(), "no AWS credentials: sign in"),
        (client_error("ExpiredToken"), "have expired: sign in again"),
        (client_error("InvalidClientTokenId"), "does not know these credentials"),
    ],
)
def test_without_credentials_it_says_so_in_one_line(account: Account, error: Exception, hint: str):
    account.answers["sts:GetCallerIdentity"] = failing(error)
    for words in (("status",), KILL, ("doctor",)):
        answer, code = as_json(*words)
        assert code == 3
        assert hint in json.dumps(answer)
    result = type_in("status")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)


def test_a_profile_that_is_not_there_is_named(account: Account, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    result = type_in("status", "--profile", "nobody")
    assert result.exit_code == 2
    assert "no such profile" in result.stderr
    assert "Traceback" not in result.output


def test_a_denied_configuration_names_the_action_and_the_other_way(account: Account):
    account.answers["lambda:GetFunctionConfiguration"] = refuse("AccessDeniedException")
    answer, code = as_json("status")
    assert code == 3
    assert "lambda:GetFunctionConfiguration is denied" in answer["summary"]
    assert "--remote" in answer["summary"]
    invokable(account)
    assert as_json(*KILL, "--remote")[1] == 0


def test_a_kill_that_may_do_nothing_says_so_and_which_action_it_lacked(account: Account):
    for action in ("GetPolicy", "ListPolicyVersions", "GetAccountAuthorizationDetails", "ListEntitiesForPolicy"):
        account.answers[f"iam:{action}"] = refuse("AccessDenied")
    account.answers["iam:ListServiceSpecificCredentials"] = refuse("AccessDenied")
    answer, code = as_json(*KILL)
    assert code == 3
    assert "NOT fully stopped" in answer["summary"]
    assert any("iam:ListPolicyVersions" in why or "iam:GetPolicy" in why for why in answer["failed"].values())


def test_a_kill_that_is_not_complete_is_no_success(account: Account):
    account.answers["iam:AttachRolePolicy"] = refuse("AccessDenied")
    answer, code = as_json(*KILL)
    assert (code, account.level()) == (1, "stop")
    assert "attach bedrock-spend-sweep to role/admin" in answer["failed"]


def test_a_status_that_could_not_read_all_is_no_success(account: Account):
    account.answers["dynamodb:Query"] = refuse("ServiceUnavailable")
    account.answers["dynamodb:GetItem"] = refuse("ServiceUnavailable")
    answer, code = as_json("status")
    assert (code, bool(answer["unknown"])) == (1, True)


def test_an_environment_that_cannot_be_decrypted_names_the_other_way(account: Account):
    failed = {"Environment": {"Error": {"ErrorCode": "AccessDeniedException", "Message": "kms:Decrypt"}}}
    account.answers["lambda:GetFunctionConfiguration"] = lambda _: failed
    answer, code = as_json(*KILL)
    assert (code, account.level()) == (3, "released")
    assert "kms:Decrypt" in answer["summary"]
    assert "--remote" in answer["summary"]


def test_ctrl_c_while_the_function_is_at_it_says_that_it_goes_on(account: Account):
    account.answers["lambda:InvokeFunction"] = failing(KeyboardInterrupt())
    answer, code = as_json(*KILL, "--remote")
    assert code == 1
    assert answer["summary"] == "interrupted: bedrock-spend-kill goes on by itself; see `bedrock-spend status`"


# --- on the screen -------------------------------------------------------------------------------------------------


GOLDEN = {
    "summary": "Stopped alone: role/agent. 1 steps done.",
    "level": "released",
    "reason": "killed from the command line: loop (ada)",
    "done": ["attach bedrock-spend-deny to role/agent"],
    "failed": {},
    "not_stopped": {},
    "armed_principals_reached_by_one_switch": 2,
    "release": (
        "https://us-east-1.console.aws.amazon.com/lambda/home?region=us-east-1#/functions/bedrock-spend-release"
        "?tab=testing"
    ),
    "stopped_alone": ["role/agent"],
}


def test_the_json_of_a_kill_to_the_letter(account: Account):
    assert as_json("kill", "role/agent", "--yes", "--reason", "loop", "--by", "ada") == (GOLDEN, 0)


def test_the_json_of_an_error_to_the_letter(account: Account):
    assert as_json("kill", "robot/agent", "--yes")[0].keys() == {"summary", "error"}
    answer, code = as_json("release", "--confirm", "yes", "--reason", "x")
    assert (answer, code) == (
        {"summary": "not confirmed with RELEASE: nothing was changed", "error": "RefusedError"},
        1,
    )


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_json_and_help(name: str):
    result = type_in(name, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
    (command,) = (each for each in cli.commands.values() if each.name == name)
    assert command.help
    assert all(each.help for each in command.params if isinstance(each, Option))


def test_people_read_tables_without_any_escape_of_others(account: Account):
    boto3.client("iam").tag_role(RoleName="agent", Tags=[{"Key": "x", "Value": "y"}])
    type_in(*KILL, "--reason", "[red]x\x1b]0;owned\x07")
    result = type_in("status")
    assert result.exit_code == 0
    assert "Bedrock is STOPPED" in result.stdout
    assert "[red]x" in result.stdout
    assert "\x1b]" not in result.stdout


def test_ctrl_c_half_way_says_what_is_done(account: Account):
    account.answers["iam:GetAccountAuthorizationDetails"] = failing(KeyboardInterrupt())
    answer, code = as_json(*KILL)
    assert code == 1
    assert account.level() == "stop"
    assert answer["summary"].startswith("INTERRUPTED half-way; done so far: switch bedrock-spend-brake to stop")
    assert "bedrock-spend status" in answer["summary"]


def test_in_report_only_mode_a_person_still_stops(account: Account):
    account.environment["GUARDRAIL"] = replace(SETTINGS, enforce=False).to_json()
    assert as_json(*KILL)[1] == 0
    assert account.level() == "stop"


def test_a_broken_environment_is_told_and_not_traced(account: Account):
    account.environment["GUARDRAIL"] = "{"
    answer, code = as_json("status")
    assert code == 1
    assert "deploy the stack again" in answer["summary"]
