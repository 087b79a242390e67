"""What CloudFormation is answered: always something, and never more than it takes."""

import io
import json
import urllib.request
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from hypothesis import given
from hypothesis import strategies as st

from lambdas import deployment

_STACK = "arn:aws:cloudformation:ap-southeast-2:123456789012:stack/" + "s" * 128 + "/" + "0" * 36
EVENT = {
    "RequestType": "Create",
    "ResponseURL": "https://cloudformation.example/answer",
    "StackId": _STACK,
    "RequestId": "r" * 36,
    "LogicalResourceId": "L" * 255,
    "PhysicalResourceId": "p" * 1024,
}


def answered(monkeypatch: pytest.MonkeyPatch, act) -> tuple[dict[str, Any], bytes]:
    sent: list[bytes] = []

    def urlopen(request: urllib.request.Request, **_: object) -> io.BytesIO:
        assert isinstance(request.data, bytes)
        sent.append(request.data)
        return io.BytesIO()

    with monkeypatch.context() as patched:
        patched.setattr(urllib.request, "urlopen", urlopen)
        return deployment.answer(dict(EVENT), act, Logger(service="t", stream=io.StringIO())), sent[0]


WORDS = st.text(st.sampled_from('a"\\\u00e9\U0001f525\n'), max_size=5000)


@given(st.dictionaries(st.sampled_from(["Words", "Problems", "BrakeArn"]), WORDS))
def test_an_answer_fits_however_much_there_is_to_say(data: dict[str, str]):
    with pytest.MonkeyPatch.context() as monkeypatch:
        told, sent = answered(monkeypatch, lambda _: data)
    assert len(sent) <= 4096
    assert json.loads(sent) == told
    for key, text in data.items():
        said = told["Data"][key]
        assert said == text or (said.endswith("...") and text.startswith(said[:-3]))


def test_a_long_failure_fits_too_and_keeps_its_beginning(monkeypatch: pytest.MonkeyPatch):
    def act(_event: object) -> dict[str, str]:
        raise ValueError("\u00e9" * 9000)

    told, sent = answered(monkeypatch, act)
    assert told["Status"] == "FAILED"
    assert told["Reason"].startswith("ValueError: \u00e9\u00e9")
    assert len(sent) <= 4096


def test_what_is_short_is_said_in_full(monkeypatch: pytest.MonkeyPatch):
    told, _ = answered(monkeypatch, lambda _: {"Words": "reserved", "Number": 3})
    assert told["Data"] == {"Words": "reserved"}
