"""Patterns and capabilities, for any policy."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from lambdas.aws.account import Account
from lambdas.core.actions import BEDROCK_FAMILY, matches, patterns_meet
from lambdas.core.principals import Capability, Principal, PrincipalKind, capability_of, order_for_sweep
from tests.infra.judge import ACCOUNT, lets_through, may
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


def arn(kind):
    return f"arn:aws:bedrock:us-east-1:{ACCOUNT}:{kind}"


RESOURCES = st.sampled_from(["*", arn("*"), arn("provisioned-model/a?"), arn("flow/x"), "arn:aws:s3:::bucket/*"])
CONDITIONS = st.sampled_from(
    [
        {},
        {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
        {"StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-3"]}},
        {"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}},
        {"StringEqualsIfExists": {"aws:PrincipalTag/team": "data"}},
        {"Null": {"aws:PrincipalTag/team": "true"}},
        {"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
    ]
)
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "aws:MultiFactorAuthPresent": st.sampled_from(["true", "false"]),
        "aws:RequestedRegion": st.sampled_from(["us-east-1", "eu-central-1"]),
        "aws:PrincipalTag/team": st.sampled_from(["data", "web"]),
    },
)


def in_any_case(text):
    return st.sampled_from([text, text, text.upper(), text.swapcase(), text.title()])


SPELLED = ACTIONS.flatmap(in_any_case)
STATEMENTS = st.builds(
    lambda effect, key, actions, where, resource, condition: {
        "Effect": effect,
        key: actions,
        where: resource,
        **({"Condition": condition} if condition else {}),
    },
    st.sampled_from(["Allow", "Allow", "Deny"]),
    st.sampled_from(["Action", "Action", "NotAction"]),
    st.one_of(SPELLED, st.lists(SPELLED, min_size=1, max_size=6)),
    st.sampled_from(["Resource", "Resource", "NotResource"]),
    st.one_of(RESOURCES, st.lists(RESOURCES, min_size=1, max_size=2)),
    CONDITIONS,
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


def lets_spend(*documents):
    return bool(lets_through(documents, spend_actions()))


@given(st.lists(DOCUMENTS, max_size=3))
@settings(deadline=None)
def test_whoever_can_spend_is_seen(documents):
    if lets_spend(*documents):
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


class Listing:
    """IAM as far as the account is read: random policies, given to a role and to users with and without groups."""

    def __init__(self, documents: list[list[dict[str, Any]]], boundary: dict[str, Any] | None, cuts: list[int]) -> None:
        role, user, one, other, attached = documents
        self.boundary = boundary
        self.policies_of = {
            "role": [*role, *attached],
            "user": user,
            "member": [],
            "one": [*one, *attached],
            "other": other,
        }
        self.groups_of = {"member": ["one", "other"], "user": ["one"]}
        holds = [{"PolicyName": f"p{number}", "PolicyArn": f"arn:p{number}"} for number, _ in enumerate(attached)]
        self.lists: dict[str, list[dict[str, Any]]] = {
            "RoleDetailList": [self._details("Role", "role", role) | {"AttachedManagedPolicies": holds}],
            "UserDetailList": [
                self._details("User", "user", user) | {"GroupList": ["one"]},
                self._details("User", "member", []) | {"GroupList": ["one", "other"]},
            ],
            "GroupDetailList": [
                self._details("Group", "one", one) | {"AttachedManagedPolicies": holds},
                self._details("Group", "other", other),
            ],
            "Policies": [
                {
                    "Arn": f"arn:p{number}",
                    "PolicyVersionList": [
                        {"Document": {"Statement": []}, "VersionId": "v1", "IsDefaultVersion": False},
                        {"Document": document, "VersionId": "v2", "IsDefaultVersion": True},
                    ],
                }
                for number, document in enumerate(attached)
            ],
        }
        self._cuts = cuts

    def _details(self, kind: str, name: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {
            f"{kind}Name": name,
            "Path": "/",
            "Arn": f"arn:aws:iam::{ACCOUNT}:{kind.lower()}/{name}",
            f"{kind}PolicyList": [{"PolicyName": "p", "PolicyDocument": each} for each in documents],
        }
        return found | ({"PermissionsBoundary": {"PermissionsBoundaryArn": "arn:b"}} if self.boundary else {})

    def get_paginator(self, _: str) -> "Listing":
        return self

    def paginate(self, **_: object) -> list[dict[str, Any]]:
        # Anything may come on any page.
        every = [(key, each) for key, listed in self.lists.items() for each in listed]
        order = sorted(range(len(every)), key=lambda number: self._cuts[number % len(self._cuts)])
        pages: list[dict[str, Any]] = [{key: [] for key in self.lists} for _ in range(3)]
        for place, number in enumerate(order):
            key, each = every[number]
            pages[place * 3 // len(order)][key].append(each)
        return pages

    def get_account_summary(self) -> dict[str, Any]:
        return {"SummaryMap": {}}


ACCOUNTS = st.builds(
    Listing,
    st.lists(st.lists(DOCUMENTS, max_size=2), min_size=5, max_size=5),
    st.one_of(st.none(), DOCUMENTS),
    st.lists(st.integers(0, 9), min_size=1, max_size=8),
)


def principals_of(listing: Listing) -> dict[str, Principal]:
    found = Account(listing, external_anthropic=False).principals()  # type: ignore[arg-type] # all of IAM it asks
    return {each.name: each for each in found}


@given(ACCOUNTS, st.sampled_from(spend_actions()), RESOURCES, CONTEXTS)
@settings(deadline=None)
def test_nobody_who_is_allowed_to_spend_is_taken_for_one_who_cannot(listing, action, resource, context):
    for name, principal in principals_of(listing).items():
        own = listing.policies_of[name]
        groups = [listing.policies_of[group] for group in listing.groups_of.get(name, ())]
        every = [*own, *itertools.chain(*groups)]
        # With a deny and a boundary in force, for one request; and whatever any request could be allowed.
        now = principal.calls and may(
            principal.arn, own, action, resource, context, groups=groups, boundary=listing.boundary
        )
        ever = lets_spend(*every)
        event(f"allowed now: {now}, ever: {ever}")
        assert ever or not now
        assert principal.capability is not Capability.NONE or not ever


@given(ACCOUNTS)
@settings(deadline=None, max_examples=40)
def test_a_user_can_what_the_user_or_a_group_of_it_can(listing):
    found = principals_of(listing)
    assert found["member"].groups == ("one", "other")
    for name, groups in listing.groups_of.items():
        every = [*listing.policies_of[name], *(each for group in groups for each in listing.policies_of[group])]
        assert found[name].capability is capability_of(every)


PRINCIPALS = st.builds(
    lambda kind, name, capability, days: Principal(
        arn=f"arn:aws:iam::{ACCOUNT}:{kind}/{name}",
        kind=kind,
        name=name,
        path="/",
        capability=capability,
        last_used=None if days is None else datetime(2026, 11, 1, tzinfo=UTC) - timedelta(days=days),
    ),
    st.sampled_from(PrincipalKind),
    st.text("abc", min_size=1, max_size=2),
    st.sampled_from(Capability),
    st.one_of(st.none(), st.integers(0, 400)),
)
CALLERS = st.builds(
    "arn:aws:{}/{}".format,
    st.sampled_from([f"iam::{ACCOUNT}:role", f"iam::{ACCOUNT}:user", f"sts::{ACCOUNT}:assumed-role", "iam::1:role"]),
    st.text("abc/", min_size=1, max_size=4),
)


@given(st.lists(PRINCIPALS, max_size=8), st.lists(CALLERS | st.text(max_size=5), max_size=4))
def test_the_order_loses_nobody_and_is_settled(principals, callers):
    ordered = order_for_sweep(principals, callers)
    assert sorted(map(id, ordered)) == sorted(map(id, principals))
    assert order_for_sweep(ordered, callers) == ordered
    # Among those who are not known to call, whoever tells more comes first.
    ranks = [RANK[each.capability] for each in order_for_sweep(principals)]
    assert ranks == sorted(ranks, reverse=True)
