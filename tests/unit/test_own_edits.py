"""Edits to the guardrail's own things: recorded payloads, and what hostile ones must not become."""

from datetime import UTC, datetime

import pytest
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.iam_events import Ours
from lambdas.core.notice import Links
from lambdas.core.own_edits import WATCHED, Edit, edit_notice, parse
from tests.conftest import ACCOUNT, event

LINKS = Links(release="https://release", status="https://status", kill="https://kill", by_hand="aws iam set-default")
OURS = Ours(ACCOUNT, "bedrock-spend")
AT = datetime(2026, 11, 22, 18, 29, 48, tzinfo=UTC)
ID = "0fca7dc5-ab4d-4d12-9d35-6eb2d10d2c2c"
CI = f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/deploy-4711"

EDITS = {
    "lambda_update_code.json": ("UpdateFunctionCode", "function bedrock-spend-stop in us-east-1"),
    "lambda_remove_permission_by_arn.json": (
        "RemovePermission",
        "function bedrock-spend-guardrail-MeterFunction36633704-2BkV0wFZJbMr in us-east-1",
    ),
    "events_disable_rule.json": (
        "DisableRule",
        "rule bedrock-spend-guardrail-ClockMeter0D21A05A-8m5kVCd2qE2P in us-east-1",
    ),
    "events_remove_targets_elsewhere.json": (
        "RemoveTargets",
        "rule bedrock-spend-watch-eu-central-1-TrippedB8D3F1A2-1k2j3h4g5f6d in eu-central-1",
    ),
    "cloudwatch_delete_alarms.json": ("DeleteAlarms", "alarm bedrock-spend-heartbeat in us-east-1"),
    "cloudwatch_mute_rule.json": ("PutAlarmMuteRule", "alarm bedrock-spend-heartbeat in us-east-1"),
    "sns_unsubscribe.json": ("Unsubscribe", "topic bedrock-spend-guardrail-NoticesCD1BD20F-hx8pA0 in us-east-1"),
    "sqs_purge_queue.json": ("PurgeQueue", "queue bedrock-spend-undelivered in us-east-1"),
    "dynamodb_delete_table.json": (
        "DeleteTable",
        "table bedrock-spend-guardrail-LedgerTable9343E4AA-1XV3C6R5K2T7Z in us-east-1",
    ),
    "budgets_update.json": ("UpdateBudget", "budget bedrock-spend-monthly in us-east-1"),
}


def with_detail(name, **changes):
    payload = event(name)
    return payload | {"detail": payload["detail"] | changes}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_says_what_was_done_to_what_and_by_whom(name):
    found = parse(event(name), OURS)
    by = "AWSAccount" if name == "sns_unsubscribe.json" else CI
    assert found == Edit(*EDITS[name], by, AT, ID)


@pytest.mark.parametrize("name", EDITS)
def test_what_was_refused_or_is_somebody_elses_is_nothing(name):
    payload = event(name)
    assert parse(with_detail(name, errorCode="AccessDenied"), OURS) is None
    assert parse(payload, Ours(ACCOUNT, "other-spend")) is None
    assert parse(payload, Ours("999999999999", "bedrock-spend")) is None
    for forged in ({"source": "mine.lambda"}, {"account": "999999999999"}, {"detail-type": "x"}, {"detail": "x"}):
        assert parse(payload | forged, OURS) is None
    assert parse(with_detail(name, eventSource="iam.amazonaws.com"), OURS) is None
    assert parse(with_detail(name, eventName="ListThings"), OURS) is None


@pytest.mark.parametrize("name", ["lambda_by_cloudformation.json", "lambda_by_ourselves.json"])
def test_a_deployment_and_the_guardrail_itself_are_no_news(name):
    assert parse(event(name), OURS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sourceIPAddress": "cloudformation.amazonaws.com"},
        {"userIdentity": {"invokedBy": "cloudformation.amazonaws.com"}},
    ],
)
def test_either_sign_of_cloudformation_will_do(changes):
    assert parse(with_detail("lambda_update_code.json", **changes), OURS) is None
    others = {key: "config.amazonaws.com" for key in changes if key == "sourceIPAddress"}
    assert parse(with_detail("lambda_update_code.json", **others), OURS) is not None


def test_a_thing_that_is_named_otherwise_is_ours_when_it_is_said_to_be():
    payload = with_detail("dynamodb_delete_table.json", requestParameters={"tableName": "ledger"})
    assert parse(payload, OURS) is None
    found = parse(payload, OURS, ("ledger",))
    assert found is not None
    assert found.what == "table ledger in us-east-1"


@pytest.mark.parametrize(
    "named",
    [
        "bedrock-spend",
        "xbedrock-spend-stop",
        "bedrock-spender-x",
        "bedrock-spend-\nTo: everybody",
        "bedrock-spend-" + "x" * 200,
        f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:other",
    ],
)
def test_what_is_not_named_like_ours_or_cannot_be_a_name_is_nothing(named):
    assert parse(with_detail("lambda_update_code.json", requestParameters={"functionName": named}), OURS) is None


@pytest.mark.parametrize("version", ["", "20150331", "20150331v2", "20990101v17"])
def test_a_call_is_known_whatever_version_cloudtrail_adds(version):
    found = parse(with_detail("lambda_update_code.json", eventName=f"DeleteFunction{version}"), OURS)
    assert found is not None
    assert found.call == "DeleteFunction"


SERVICES = {"monitoring": "cloudwatch"}


@pytest.mark.parametrize("service", WATCHED)
def test_every_call_that_is_watched_exists_and_takes_what_it_is_told_by(service):
    model = get_session().get_service_model(SERVICES.get(service, service))
    keys = set()
    for call in WATCHED[service].calls:
        shape = model.operation_model(call).input_shape
        assert shape is not None
        members = shape.members
        keys |= {name.lower() for name in members}
        for name, nested in members.items():
            keys |= {f"{name}.{inner}".lower() for inner in getattr(nested, "members", {})}
    assert {each.lower() for each in WATCHED[service].named} <= keys


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("bedrock-spend-x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "rule", "x"]), inner),
    max_leaves=8,
)


@given(JSON, JSON, JSON)
def test_no_payload_makes_it_fail_or_put_anything_odd_into_a_mail(parameters, identity, region):
    payload = with_detail(
        "events_disable_rule.json", requestParameters=parameters, userIdentity=identity, awsRegion=region
    )
    found = parse(payload, OURS)
    if found is not None:
        assert set(found.what + found.by) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@:/- "
        )


def test_the_mail_says_who_what_and_when():
    edit = parse(event("lambda_update_code.json"), OURS)
    assert edit is not None
    notice = edit_notice(edit, LINKS)
    assert notice.subject == "Bedrock spend: somebody changed the guardrail itself"
    assert notice.text.startswith(
        "Somebody changed a part of the guardrail: UpdateFunctionCode, function bedrock-spend-stop in us-east-1\n"
        f"Who: {CI}\n"
        "When: 2026-11-22 18:29:48 UTC\n"
        "\n"
        "Nothing was undone."
    )
    assert (notice.kind, notice.urgent) == ("edit", True)
