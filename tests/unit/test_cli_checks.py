"""What the doctor says of what it read."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import checks
from cli.checks import Finding, Mark
from lambdas.core.concurrency import Room
from lambdas.core.health import AutoManagement, Trail
from lambdas.core.limits import Ladder, Limit
from lambdas.core.principals import Capability, Principal, PrincipalKind
from lambdas.core.windows import Window
from lambdas.settings import Organization, Settings
from stacks.configuration import Anomalies, Configuration
from tests.conftest import ACCOUNT

BRAKE = f"arn:aws:iam::{ACCOUNT}:policy/bedrock-spend-brake"
SETTINGS = Settings(
    prefix="bedrock-spend",
    enforce=True,
    regions=("us-east-1",),
    watched=("us-east-1",),
    limits=(Limit(Window.DAY, Decimal(50), Ladder(None, None)),),
    budget=Ladder(None, None),
    reaction=timedelta(minutes=4),
    max_blind_usd=Decimal(5),
    exempt=("role/break-glass",),
    external_anthropic=False,
)
CONFIGURATION = Configuration(SETTINGS, "us-east-1", ("ops@example.com",), Decimal(500), keep_ledger=False)
SSO = "/aws-reserved/sso.amazonaws.com/"


def role(name: str, path: str = "/", **given_: Any) -> Principal:
    arn = f"arn:aws:iam::{ACCOUNT}:role{path}{name}"
    return Principal(arn, PrincipalKind.ROLE, name, path, given_.pop("capability", Capability.NAMED), **given_)


def marks(findings: list[Finding]) -> dict[str, Mark]:
    return {each.topic: each.mark for each in findings}


# --- budgets -------------------------------------------------------------------------------------------------------

BEDROCK = {"Dimensions": {"Key": "SERVICE", "Values": ["Amazon Bedrock"]}}
MARKETPLACE = {"Dimensions": {"Key": "BILLING_ENTITY", "Values": ["AWS Marketplace"]}}
NO_CREDITS = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}}
TEAM = {"Tags": {"Key": "team", "Values": ["a"]}}


def budget(**given_: Any) -> dict[str, Any]:
    return {"BudgetName": "b", "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": {"Amount": "5"}, **given_}


@pytest.mark.parametrize(
    ("given_", "mark", "words"),
    [
        ({"FilterExpression": {"And": [{"Or": [BEDROCK, MARKETPLACE]}, NO_CREDITS]}}, "ok", "sees Bedrock and AWS"),
        ({"FilterExpression": {"Or": [BEDROCK, MARKETPLACE]}}, "warn", "counts credits"),
        ({"FilterExpression": BEDROCK}, "warn", "does not see AWS Marketplace"),
        ({"FilterExpression": MARKETPLACE}, "ok", "not Bedrock's own models"),
        ({"FilterExpression": {"And": [BEDROCK, TEAM]}}, "unknown", "nothing of Bedrock for sure"),
        ({"FilterExpression": {"Or": [TEAM, BEDROCK]}}, "unknown", "for sure"),
        ({"CostFilters": {"Service": ["Amazon Bedrock"]}}, "warn", "does not see AWS Marketplace"),
        ({"CostFilters": {"Region": ["us-east-1"]}}, "unknown", "for sure"),
        ({"CostTypes": {"IncludeCredit": False}}, "ok", "sees Bedrock and AWS Marketplace"),
        ({}, "warn", "counts credits"),
        ({"HealthStatus": {"Status": "UNHEALTHY"}}, "bad", "is unhealthy"),
    ],
)
def test_a_budget_is_judged_by_what_its_filter_lets_through(given_: dict[str, Any], mark: str, words: str):
    (found,) = checks.budgets([budget(**given_)], ours=())
    assert (str(found.mark), words in found.words) == (mark, True), found


def test_budgets_of_other_things_are_passed_over_and_ours_must_see_marketplace():
    s3 = {"Dimensions": {"Key": "SERVICE", "Values": ["Amazon Simple Storage Service"]}}
    others = [budget(FilterExpression=s3), budget(BudgetType="USAGE")]
    (found,) = checks.budgets(others, ours=())
    assert found.words == "no budget sees Bedrock yet; the guardrail brings one"
    (found,) = checks.budgets([budget(FilterExpression=BEDROCK)], ours=("b",))
    assert found.mark is Mark.BAD


LEAVES = st.sampled_from([BEDROCK, MARKETPLACE, NO_CREDITS, TEAM])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda some: {"And": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"Or": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one: {"Not": one}, inner),
    ),
    max_leaves=8,
)


def truth(expression: dict[str, Any], record: dict[str, str], *, team: bool) -> bool:
    """Judge an expression where it is known whether the line carries the tag."""
    if "And" in expression:
        return all(truth(each, record, team=team) for each in expression["And"])
    if "Or" in expression:
        return any(truth(each, record, team=team) for each in expression["Or"])
    if "Not" in expression:
        return not truth(expression["Not"], record, team=team)
    if "Tags" in expression:
        return team
    return record[expression["Dimensions"]["Key"]] in expression["Dimensions"]["Values"]


@given(EXPRESSIONS, st.sampled_from([checks._USAGE, checks._MARKETPLACE, checks._CREDIT]))
def test_what_a_budget_is_said_to_see_holds_whatever_the_tags_are(expression: dict[str, Any], record: dict[str, str]):
    said = checks.sees({"FilterExpression": expression}, record)
    possible = {truth(expression, record, team=team) for team in (True, False)}
    assert said is None or possible == {said}


# --- people --------------------------------------------------------------------------------------------------------


def test_organization_mode_and_inline_denies_make_of_the_unreachable_a_warning():
    people = [role("crowded", full=True), role("AWSReservedSSO_Admin_0123456789abcdef", SSO)]
    found = marks(checks.people(people, SETTINGS, BRAKE))
    assert (found["no free slot"], found["identity center"]) == (Mark.BAD, Mark.BAD)
    scp = replace(SETTINGS, organization=Organization("bedrock-spend", "9" * 12, ACCOUNT, ACCOUNT))
    found = marks(checks.people(people, scp, BRAKE))
    assert (found["no free slot"], found["identity center"]) == (Mark.WARN, Mark.WARN)
    found = marks(checks.people(people, replace(SETTINGS, inline_deny=True), BRAKE))
    assert (found["no free slot"], found["identity center"]) == (Mark.WARN, Mark.BAD)


def test_a_permission_set_that_has_the_brake_policy_is_no_finding():
    armed = role("AWSReservedSSO_Admin_0123456789abcdef", SSO, attached=frozenset({BRAKE}))
    assert set(marks(checks.people([armed], SETTINGS, BRAKE))) == {"can spend", "arming"}


def test_a_service_linked_role_is_named_and_not_called_bad():
    found = marks(checks.people([role("x", "/aws-service-role/bedrock.amazonaws.com/")], SETTINGS, BRAKE))
    assert found["out of reach"] is Mark.WARN


def test_an_account_without_room_for_the_policies_cannot_be_deployed_to():
    summary = {"Policies": 1498, "PoliciesQuota": 1500, "Groups": 1, "GroupsQuota": 300}
    assert [each.mark for each in checks.room(summary, deployed=False)] == [Mark.OK, Mark.BAD]
    assert [each.mark for each in checks.room(summary, deployed=True)] == [Mark.OK]
    assert [each.mark for each in checks.room({}, deployed=False)] == [Mark.OK, Mark.UNKNOWN, Mark.UNKNOWN]


# --- the rest ------------------------------------------------------------------------------------------------------


def test_logging_that_is_off_where_it_is_watched_is_a_warning():
    assert checks.logging("us-east-1", None, alarmed=False).mark is Mark.OK
    assert checks.logging("us-east-1", {"s3Config": {}}, alarmed=True).mark is Mark.WARN
    on = checks.logging("us-east-1", {"s3Config": {"bucketName": "b"}}, alarmed=True)
    assert (on.mark, on.words) == (Mark.OK, "us-east-1: invocations are logged to S3")


def test_regions_that_cannot_be_listed_are_unknown_even_where_others_are_known():
    found = checks.regions({"us-east-1": {"AWS/Bedrock"}}, ["eu-west-3: cannot be listed (AccessDenied)"], SETTINGS)
    assert [each.mark for each in found] == [Mark.UNKNOWN, Mark.OK]


@pytest.mark.parametrize(
    ("monitor", "there", "mark"),
    [
        (None, [], "ok"),
        (None, ["arn:m"], "ok"),
        ("create", [], "ok"),
        ("create", ["arn:m"], "warn"),
        ("arn:m", ["arn:m"], "ok"),
        ("arn:other", ["arn:m"], "bad"),
    ],
)
def test_anomaly_monitors_against_the_configuration(monitor: str | None, there: list[str], mark: str):
    wanted = replace(CONFIGURATION, anomalies=Anomalies(monitor, Decimal(100)) if monitor else None)
    found = checks.anomaly_monitors([{"MonitorArn": each, "MonitorDimension": "SERVICE"} for each in there], wanted)
    assert [str(each.mark) for each in found] == [mark]


def test_one_model_of_each_maker_is_asked_about_and_own_models_of_nobody():
    asked = checks.makers(
        [
            "us.anthropic.claude-opus-5-5",
            "anthropic.claude-haiku-5-5",
            "amazon.nova-pro-v1:0",
            f"arn:aws:bedrock:us-east-1:{ACCOUNT}:imported-model/m",
            "abc123def456",
        ]
    )
    assert asked == {"amazon": "amazon.nova-pro-v1:0", "anthropic": "anthropic.claude-haiku-5-5"}


def test_what_is_not_known_of_a_maker_is_unknown():
    found = checks.marketplace({"anthropic": True, "meta": "AccessDenied"}, in_use=True)
    assert [each.mark for each in found] == [Mark.UNKNOWN, Mark.OK]


def test_a_small_account_has_no_room_for_reserved_concurrency():
    ok = checks.room_in_lambda(Room(1000, 1000), "us-east-1", deployed=False)
    small = checks.room_in_lambda(Room(10, 10), "us-east-1", deployed=False)
    assert [each.mark for each in ok] == [Mark.OK]
    assert [each.mark for each in small] == [Mark.WARN]
    assert "leaves no room" in small[0].words


def test_trails_and_quotas_are_judged_as_the_self_watch_does():
    assert checks.trails("us-east-1", [Trail("t", logging=True, writes=True)])[0].mark is Mark.OK
    assert checks.trails("us-east-1", [Trail("t", logging=False, writes=True)])[0].mark is Mark.BAD
    assert checks.quotas(None)[0].mark is Mark.OK
    assert checks.quotas(AutoManagement(adjusts=True))[0].mark is Mark.WARN


def test_a_file_that_differs_from_what_is_deployed_names_the_keys():
    other = replace(SETTINGS, enforce=False, max_blind_usd=Decimal(1))
    (found,) = checks.up_to_date(SETTINGS.to_json(), other.to_json())
    assert (found.mark, found.words.rpartition(": ")[2]) == (Mark.WARN, "enforce, max_blind_usd")
    assert checks.up_to_date(SETTINGS.to_json(), SETTINGS.to_json())[0].mark is Mark.OK


def test_a_last_look_that_cannot_be_read_is_unknown():
    assert checks.watched(None)[0].mark is Mark.UNKNOWN
    assert checks.watched({"at": "yesterday"})[0].mark is Mark.UNKNOWN


def test_nobody_mailed_and_nobody_exempt_are_warnings():
    bare = replace(CONFIGURATION, emails=(), settings=replace(SETTINGS, exempt=()))
    assert [each.mark for each in checks.configuration(bare)] == [Mark.OK, Mark.WARN, Mark.WARN]


def test_the_summary_counts_the_worst_first():
    findings = [Finding("x", mark, "") for mark in (Mark.OK, Mark.BAD, Mark.UNKNOWN, Mark.OK)]
    assert checks.summary(findings) == "1 bad, 1 could not be read, 2 ok."
