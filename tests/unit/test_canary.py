"""The canary's one call, and the two functions a drill asks as a person does."""

import io
import json
from typing import Any

import pytest

from lambdas.aws.canary import ByHand, Canary
from lambdas.core.errors import AwsCallError, RefusedError
from lambdas.core.live_drill import Seen, Sight
from tests.answering import answering, refusal

ROLE = "arn:aws:iam::123456789012:role/bedrock-spend-canary"
MODEL = "anthropic.claude-haiku-5-5"
KEYS = {"AccessKeyId": "A" * 16, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2026-11-22T10:00:00Z"}


def canary(answer: Any, asked: list[Any] | None = None, keys: list[Any] | None = None) -> Canary:
    """Return one whose calls are answered, or fail with what is given."""
    asked = [] if asked is None else asked

    def respond(operation: str, params: Any) -> Any:
        asked.append((operation, params))
        if operation == "AssumeRole":
            return {"Credentials": KEYS}
        if isinstance(answer, Exception):
            raise answer
        return answer

    def runtime(given: Any) -> Any:
        if keys is not None:
            keys.append(given)
        return answering("bedrock-runtime", respond)

    return Canary(answering("sts", respond), runtime, role_arn=ROLE, model=MODEL)


def test_it_counts_the_tokens_of_a_word_as_the_role_and_takes_it_on_once():
    asked: list[Any] = []
    keys: list[Any] = []
    bird = canary({"inputTokens": 8}, asked, keys)
    assert [bird.count(), bird.count()] == [Seen(Sight.ALLOWED)] * 2
    assert [name for name, _ in asked] == ["AssumeRole", "CountTokens", "CountTokens"]
    assert asked[0][1] == {"RoleArn": ROLE, "RoleSessionName": "live-drill"}
    assert asked[1][1]["modelId"] == MODEL
    assert keys == [KEYS]


@pytest.mark.parametrize(
    ("code", "sight"),
    [
        ("AccessDeniedException", Sight.DENIED),
        ("ThrottlingException", Sight.UNKNOWN),
        ("InternalServerException", Sight.UNKNOWN),
        ("ServiceUnavailableException", Sight.UNKNOWN),
    ],
)
def test_only_a_refusal_of_access_is_a_denial(code, sight):
    seen = canary(refusal(code, "CountTokens")).count()
    assert seen.sight is sight
    assert seen.words == f"bedrock:CountTokens: {code}: no"


@pytest.mark.parametrize("code", ["ValidationException", "ResourceNotFoundException"])
def test_a_model_that_counts_no_tokens_is_no_sight_at_all(code):
    with pytest.raises(AwsCallError, match=f"bedrock:CountTokens: {code}"):
        canary(refusal(code, "CountTokens")).count()


def test_that_nobody_can_be_the_canary_is_not_taken_for_a_denial():
    def respond(operation: str, _: Any) -> Any:
        raise refusal("AccessDenied", operation)

    nobody = Canary(
        answering("sts", respond), lambda _: answering("bedrock-runtime", respond), role_arn=ROLE, model="m"
    )
    with pytest.raises(AwsCallError, match="sts:AssumeRole: AccessDenied"):
        nobody.count()


def by_hand(answer: dict[str, Any], asked: list[Any], failed: str = "") -> ByHand:
    def respond(_: str, params: Any) -> Any:
        asked.append((params["FunctionName"], json.loads(params["Payload"])))
        error = {"FunctionError": "Unhandled"} if failed else {}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode()), **error}

    return ByHand(answering("lambda", respond), kill="bedrock-spend-kill", release="bedrock-spend-release")


def test_kill_and_release_are_asked_as_a_person_asks_them():
    asked: list[Any] = []
    hand = by_hand({"summary": "done"}, asked)
    assert hand.kill("role/canary", "live drill") == {"summary": "done"}
    hand.release("role/canary", "live drill")
    assert asked == [
        ("bedrock-spend-kill", {"scope": "role/canary", "reason": "live drill"}),
        (
            "bedrock-spend-release",
            {"confirm": "RELEASE", "scope": "role/canary", "reason": "live drill", "by": "the live drill"},
        ),
    ]


def test_a_refusal_of_theirs_is_one_and_anything_else_is_a_failure():
    with pytest.raises(RefusedError, match="a stop is in progress"):
        by_hand({"errorType": "RefusedError", "errorMessage": "a stop is in progress"}, [], "Unhandled").release(
            "r", "w"
        )
    with pytest.raises(AwsCallError, match="bedrock-spend-kill: NOT fully"):
        by_hand({"errorType": "UnfinishedError", "errorMessage": "NOT fully"}, [], "Unhandled").kill("r", "w")
