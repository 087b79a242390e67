"""Concurrency reserved for the functions that must run: never what AWS refuses, never somebody's own value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.concurrency import FLOOR, Room, plan

WANTED = {"kill": 2, "stop": 2, "meter": 5, "release": 2}
NONE = dict.fromkeys(WANTED)


def said(found):
    return [each.words for each in found.findings]


def test_everything_is_reserved_where_there_is_room():
    found = plan(WANTED, NONE, {}, Room(1000, 1000))
    assert (found.to_put, found.findings) == (WANTED, ())


def test_what_is_reserved_already_is_left():
    assert plan(WANTED, WANTED, {}, Room(1000, 989)).to_put == {}


@pytest.mark.parametrize(
    ("unreserved", "put"),
    [
        (111, ["kill", "stop", "meter", "release"]),
        # What is less dear still fits where the meter's does not.
        (108, ["kill", "stop", "release"]),
        (104, ["kill", "stop"]),
        (102, ["kill"]),
        (101, []),
        (10, []),
    ],
)
def test_with_little_room_the_most_important_come_first_and_the_others_are_named(unreserved, put):
    found = plan(WANTED, NONE, {}, Room(unreserved, unreserved))
    assert list(found.to_put) == put
    lacking = ", ".join(each for each in WANTED if each not in put)
    if lacking:
        (words,) = said(found)
        assert words.startswith(
            f"this account's Lambda limit of {unreserved} leaves no room to reserve concurrency for {lacking}: "
        )
        assert "Ask for more" in words


def test_somebodys_own_value_is_left_and_told():
    found = plan(WANTED, NONE | {"stop": 7}, {"stop": 3}, Room(1000, 1000))
    assert list(found.to_put) == ["kill", "meter", "release"]
    (words,) = said(found)
    assert words.startswith("somebody reserved 7 for function stop, 2 are meant. It was left;")
    assert "aws lambda delete-function-concurrency --function-name stop" in words


def test_a_function_that_somebody_throttled_to_nothing_can_never_run():
    assert "NEVER RUN" in said(plan(WANTED, NONE | {"stop": 0}, {}, Room(1000, 1000)))[0]


def test_what_an_older_version_of_ours_reserved_is_set_anew():
    assert plan({"meter": 5}, {"meter": 3}, {"meter": 3}, Room(1000, 102)).to_put == {"meter": 5}
    assert plan({"meter": 5}, {"meter": 3}, {"meter": 3}, Room(1000, 101)).to_put == {}
    assert plan({"meter": 2}, {"meter": 3}, {"meter": 3}, Room(1000, 0)).to_put == {}


def test_a_function_that_is_gone_is_told():
    found = plan(WANTED, {name: None for name in WANTED if name != "kill"}, {}, Room(1000, 1000))
    assert "kill" not in found.to_put
    assert said(found)[0].startswith("function kill is gone")


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 50)),
    st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 50)),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50)),
    st.integers(0, 400),
)
def test_aws_is_never_asked_for_what_it_refuses_and_nobodys_value_is_overwritten(wanted, has, ours, unreserved):
    found = plan(wanted, has, ours, Room(1000, unreserved))
    left = unreserved
    for name, number in found.to_put.items():
        assert has[name] is None or has[name] == ours[name]
        left -= number - (has[name] or 0)
        assert left >= FLOOR
    for name, number in wanted.items():
        assert name in found.to_put or has.get(name) == number or any(name in words for words in said(found))
