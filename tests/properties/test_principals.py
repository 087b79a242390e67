"""Patterns and capabilities, for any policy."""

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas.core.actions import BEDROCK_FAMILY, matches, patterns_meet
from lambdas.core.principals import Capability, capability_of
from tests.infra.spend_actions import spend_actions

# Two letters and both wildcards: small enough to meet often, and to try every string.
PATTERNS = st.text("ab*?", max_size=6)
STRINGS = st.text("ab", max_size=6)
PLAIN = st.text("ab*", max_size=4)

RANK = {Capability.NONE: 0, Capability.WILDCARD: 1, Capability.NAMED: 2}

ACTIONS = st.one_of(
    st.sampled_from(
        [
            "*",
            "s3:*",
            "bedrock:*",
            "bedrock:Get*",
            "bedrock:InvokeModel",
            "b*:Invoke*",
            "bedrock-mantle:*",
            "nova-act:*",
        ]
    ),
    st.sampled_from(spend_actions()),
    # Patterns that are nearly an action: one stretch of it replaced.
    st.builds(
        lambda action, start, length, wildcard: action[:start] + wildcard + action[start + length :],
        st.sampled_from(spend_actions()),
        st.integers(0, 12),
        st.integers(0, 12),
        st.sampled_from(["*", "?", "??"]),
    ),
)
NARROW = st.lists(st.text("aeikno*?", min_size=1, max_size=4), min_size=1, max_size=4)
"""What may stand after a service: some reach all its actions, most do not."""

STATEMENTS = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Allow", "Deny"]), "Resource": st.just("*")},
    optional={},
).flatmap(
    lambda base: st.builds(
        lambda key, actions: {**base, key: actions},
        st.sampled_from(["Action", "Action", "NotAction"]),
        st.one_of(ACTIONS, st.lists(ACTIONS, min_size=1, max_size=6)),
    )
)
DOCUMENTS = st.lists(STATEMENTS, max_size=3).map(lambda each: {"Version": "2012-10-17", "Statement": each})


def tried(pattern, value):
    """Match as the definition says: a star stands for any run of characters, a question mark for one."""
    if not pattern:
        return not value
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        return any(tried(rest, value[skipped:]) for skipped in range(len(value) + 1))
    return bool(value) and head in ("?", value[0]) and tried(rest, value[1:])


@given(PATTERNS, STRINGS)
def test_matching_is_what_the_wildcards_mean(pattern, value):
    assert matches(pattern, value) is tried(pattern, value)


@given(PATTERNS, PATTERNS, STRINGS)
def test_patterns_that_share_a_string_meet(one, other, value):
    if matches(one, value) and matches(other, value):
        assert patterns_meet(one, other)


@given(PATTERNS)
def test_a_pattern_meets_itself_and_everything(pattern):
    assert patterns_meet(pattern, pattern)
    assert patterns_meet(pattern, "*")


@given(PATTERNS, PATTERNS)
def test_meeting_is_mutual(one, other):
    assert patterns_meet(one, other) is patterns_meet(other, one)


@given(PLAIN, PLAIN)
@settings(deadline=None)
def test_patterns_that_meet_share_a_string(one, other):
    # What two such patterns share can be cut down to no more letters than both have together.
    longest = len(one.replace("*", "")) + len(other.replace("*", ""))
    shared = any(
        matches(one, "".join(letters)) and matches(other, "".join(letters))
        for length in range(longest + 1)
        for letters in itertools.product("ab", repeat=length)
    )
    assert patterns_meet(one, other) is shared


def lets_spend(document):
    """Tell whether a document allows an action that spends, by trying each."""
    for each in document["Statement"]:
        if each["Effect"] != "Allow":
            continue
        key = "Action" if "Action" in each else "NotAction"
        patterns = [each[key]] if isinstance(each[key], str) else each[key]
        expressions = [re.compile(re.escape(one.lower()).replace(r"\*", ".*").replace(r"\?", ".")) for one in patterns]
        if any(
            any(one.fullmatch(action.lower()) for one in expressions) is (key == "Action") for action in spend_actions()
        ):
            return True
    return False


@given(st.lists(DOCUMENTS, max_size=3))
@settings(deadline=None)
def test_whoever_can_spend_is_seen(documents):
    if any(map(lets_spend, documents)):
        assert capability_of(documents) is not Capability.NONE


@given(st.sampled_from(BEDROCK_FAMILY), NARROW)
@settings(deadline=None)
def test_whoever_can_spend_behind_a_not_action_is_seen(service, excepted):
    others = [f"{each}:*" for each in BEDROCK_FAMILY if each != service]
    document = {"Statement": [{"Effect": "Allow", "Resource": "*", "NotAction": others}]}
    others += [f"{service}:{each}" for each in excepted]
    assert capability_of([document]) is not Capability.NONE or not lets_spend(document)


@given(st.lists(DOCUMENTS, max_size=3), STATEMENTS)
@settings(deadline=None)
def test_one_more_statement_never_lowers_the_capability(documents, statement):
    more = [*documents, {"Version": "2012-10-17", "Statement": [statement]}]
    assert RANK[capability_of(more)] >= RANK[capability_of(documents)]


@given(st.lists(DOCUMENTS, max_size=3))
@settings(deadline=None)
def test_the_order_of_documents_does_not_matter(documents):
    assert capability_of(documents) is capability_of(documents[::-1])


@given(st.lists(DOCUMENTS, max_size=2), st.recursive(st.none() | st.text(max_size=5), st.lists, max_leaves=4))
@settings(deadline=None)
def test_garbage_is_judged_and_never_raises(documents, garbage):
    document = {"Version": "2012-10-17", "Statement": garbage}
    assert capability_of([*documents, document]) in Capability
