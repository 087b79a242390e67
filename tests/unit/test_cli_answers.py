"""Errors in one line, and text of others that must not steer a terminal."""

import io
from typing import Any

import pytest
from botocore.exceptions import NoRegionError, ProfileNotFound
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli import tables
from cli.answers import NOT_ALL, NOT_ALLOWED, USAGE, NotPossibleError, Screen, explained
from cli.progress import Steps, Told
from lambdas.core.errors import AwsCallError, RefusedError, UnfinishedError


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (AwsCallError("iam:GetPolicy", "AccessDenied", "no"), NOT_ALLOWED, "iam:GetPolicy is denied"),
        (AwsCallError("sts:GetCallerIdentity", "ExpiredToken", "no"), NOT_ALLOWED, "sign in again"),
        (AwsCallError("iam:GetPolicy", "Throttling", "slow"), NOT_ALL, "Throttling: slow"),
        (NoRegionError(), USAGE, "give --region"),
        (ProfileNotFound(profile="x"), USAGE, "no such profile"),
        (NotPossibleError("several"), USAGE, "several"),
        (RefusedError("nothing was done"), NOT_ALL, "nothing was done"),
        (UnfinishedError("one\ntwo"), NOT_ALL, "one two"),
    ],
)
def test_each_error_has_a_line_and_a_code(error: Any, code: int, words: str):
    line, found = explained(error)
    assert found == code
    assert words in line
    assert "\n" not in line


@given(st.text())
def test_nothing_steers_the_terminal(text: str):
    out = io.StringIO()
    tables.show(Console(file=out, width=80), {"summary": text, text: [text, {text: text}]})
    assert all(each.isprintable() or each == "\n" for each in out.getvalue())


def test_long_lists_are_cut_and_say_so():
    out = io.StringIO()
    tables.show(Console(file=out, width=80), {"summary": "x", "armed": [f"role/{number}" for number in range(40)]})
    assert "role/14" in out.getvalue()
    assert "role/15" not in out.getvalue()
    assert "and 25 more (--json has all)" in out.getvalue()


class _Brake:
    arn = "arn"

    def switch(self, step: str) -> str:
        if step == "refused":
            raise AwsCallError("iam:SetDefaultPolicyVersion", "AccessDenied", "no")
        return f"did {step}"


def test_what_is_told_is_what_was_done_and_no_more():
    steps = Steps(Screen(Console(file=io.StringIO()), as_json=True))
    told = Told(_Brake(), steps.add, {"switch": str})
    assert steps.so_far("nothing") == "nothing"
    assert (told.arn, told.switch("a")) == ("arn", "did a")
    with pytest.raises(AwsCallError):
        told.switch("refused")
    assert steps.done == ["a"]
    for each in "bcdefg":
        told.switch(each)
    assert steps.so_far("nothing") == "done so far: a; b; c; d; e; and 2 more"
