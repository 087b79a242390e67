"""The two ends of writing policies: what asks the writer, and what it refuses to send to IAM."""

import io
import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.aws.functions import Writer
from lambdas.aws.policy_writer import OwnPolicies
from lambdas.core.errors import AwsCallError, RefusedError
from lambdas.core.scopes import parse_scope
from lambdas.installing import Group
from tests.fakes import BRAKE, DENY

DENYING = {"Version": "2012-10-17", "Statement": [{"Sid": "A", "Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}


def answered(answer: bytes, *, failed: bool = False, asked: dict[str, Any] | None = None) -> tuple[Writer, Stubber]:
    client = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
    stubber = Stubber(client)
    response: dict[str, Any] = {"StatusCode": 200, "Payload": io.BytesIO(answer)}
    expected = None if asked is None else {"FunctionName": "writer", "Payload": json.dumps(asked).encode()}
    stubber.add_response("invoke", response | ({"FunctionError": "Unhandled"} if failed else {}), expected)
    stubber.activate()
    return Writer(client, "writer"), stubber


def test_the_writer_is_asked_and_its_answer_waited_for():
    scope = parse_scope("model:anthropic.claude-opus*")
    writer, _ = answered(b'{"scopes": ["model:anthropic.claude-opus*"]}', asked={"source": "kill", "stop": str(scope)})
    assert writer.stop(scope) == {"scopes": [str(scope)]}
    writer, _ = answered(b"{}", asked={"source": "release", "release": "all-narrow"})
    assert writer.release("all-narrow") == {}
    writer, _ = answered(b"{}", asked={"source": "prices"})
    assert writer.refresh() == {}


@pytest.mark.parametrize("kind", ["RefusedError", "BrakeDocumentError", "ForeignPolicyError"])
def test_a_refusal_of_the_writer_reaches_whoever_asked_in_its_own_words(kind: str):
    writer, _ = answered(json.dumps({"errorType": kind, "errorMessage": "release one first"}).encode(), failed=True)
    with pytest.raises(RefusedError, match=r"^release one first$"):
        writer.stop(parse_scope("profile:abcdefgh"))


@pytest.mark.parametrize(
    ("answer", "failed", "code"),
    [
        (b'{"errorType": "AwsCallError", "errorMessage": "iam:CreatePolicyVersion: Throttling"}', True, "AwsCallError"),
        (b'{"errorMessage": "Task timed out after 840.00 seconds"}', True, "Unknown"),
        (b"null", False, "NoAnswer"),
        (b"<html>", False, "NoAnswer"),
    ],
)
def test_whatever_else_goes_wrong_is_never_taken_for_done(answer: bytes, failed: bool, code: str):
    writer, _ = answered(answer, failed=failed)
    with pytest.raises(AwsCallError) as caught:
        writer.refresh()
    assert caught.value.code == code


@pytest.mark.parametrize(
    "document",
    [
        {"Version": "2012-10-17", "Statement": [*DENYING["Statement"], {"Effect": "Allow", "Action": "*"}]},
        {"Version": "2012-10-17", "Statement": [{"Action": "*", "Resource": "*"}]},
        {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}},
        {"Version": "2012-10-17", "Statement": []},
        {},
    ],
)
def test_nothing_that_could_allow_is_ever_sent_to_iam(document: dict[str, Any]):
    client = boto3.client("iam", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
    # With no answer prepared, the stub fails on any call.
    with Stubber(client):
        policies = OwnPolicies(client, "us", lambda _: None)
        for call in (policies.create_version, policies.replace):
            with pytest.raises(RefusedError, match="nothing but statements that deny"):
                call(BRAKE, document)
        with pytest.raises(RefusedError, match="nothing but statements that deny"):
            policies.create("bedrock-spend-deny", document)


def test_the_deny_policy_is_replaced_in_one_write_and_a_version_is_read_once(aws: None):
    iam = boto3.client("iam")
    policies = OwnPolicies(iam, "us", lambda _: None)
    policies.create("bedrock-spend-deny", DENYING)
    assert policies.replace(DENY, DENYING).is_default
    reads: list[str] = []
    iam.meta.events.register("before-call.iam.GetPolicyVersion", lambda **_: reads.append("read"))
    for _ in range(3):
        found = policies.versions(DENY)
    assert [(each.version_id, each.is_default) for each in found or ()] == [("v1", False), ("v2", True)]
    assert len(reads) == 1


def test_groups_are_made_filled_and_taken_away(aws: None):
    iam = boto3.client("iam")
    policies = OwnPolicies(iam, "us", lambda _: None)
    policies.create("bedrock-spend-deny", DENYING)
    assert policies.group("g") is None
    policies.create_group("g", "/bedrock-spend/")
    policies.attach_to_group("g", DENY)
    iam.create_user(UserName="dev")
    iam.add_user_to_group(GroupName="g", UserName="dev")
    found = policies.group("g")
    assert found is not None
    assert found == Group("/bedrock-spend/", ("dev",), frozenset({DENY}))
    policies.leave_group("g", "dev")
    policies.detach_from_group("g", DENY)
    policies.detach_from_group("g", DENY)
    policies.delete_group("g")
    policies.delete_group("g")
    assert policies.group("g") is None
