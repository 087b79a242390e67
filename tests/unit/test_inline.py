"""The inline deny: what is written, on whom, and that no event can make it anything else."""

import json
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from lambdas.aws.account import Account
from lambdas.aws.inline import InlineDenies
from lambdas.aws.inline_writer import InlineDeny
from lambdas.core.brake_documents import DocumentSettings, deny_document, inline_document
from lambdas.core.errors import AwsCallError, GuardrailError, LedgerItemError, RefusedError, UnfinishedError
from lambdas.core.inline_deny import SID, InlineChange, is_ours, parse_inline_change, policy_name
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from lambdas.handlers import inline
from tests.answering import answering, refusal
from tests.infra.judge import ALLOW_ALL, allowed, role
from tests.infra.spend_actions import spend_actions
from tests.integration.world import SETTINGS, Context

NAME = policy_name("bedrock-spend")
DOCUMENT = inline_document(DocumentSettings(SETTINGS.exempt))
BRAKE, SWEEP = "arn:aws:iam::1:policy/bedrock-spend-brake", "arn:aws:iam::1:policy/bedrock-spend-sweep"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
FOREIGN: Mapping[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "Mine", "Effect": "Deny", "Action": "s3:*", "Resource": "*"}],
}


def outgrown(**change: object) -> dict[str, Any]:
    """Return the deny as somebody may have edited it."""
    return {**DOCUMENT, "Statement": [{**DOCUMENT["Statement"][0], **change}]}


@pytest.fixture
def iam(aws: None) -> Any:
    client = boto3.client("iam")
    for name in ("agent", "other"):
        client.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        client.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=json.dumps(ALLOW_ALL))
    return client


@pytest.fixture
def writer(iam: Any) -> InlineDeny:
    return InlineDeny(iam, NAME, DOCUMENT)


def inline_of(iam: Any, name: str) -> dict[str, Any]:
    """Return what the inline policies of a role say, by their names."""
    return {
        each: iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"]
        for each in iam.list_role_policies(RoleName=name)["PolicyNames"]
    }


def test_the_inline_deny_says_what_the_deny_policy_says_under_a_sid_of_its_own():
    (statement,) = DOCUMENT["Statement"]
    (deny,) = deny_document(DocumentSettings(SETTINGS.exempt))["Statement"]
    # What a drill adds to the policy is not in it: a role holds one statement of ours, and is known by it.
    assert inline_document(DocumentSettings(SETTINGS.exempt, canary="role/bedrock-spend-canary")) == DOCUMENT
    assert statement == deny | {"Sid": SID}
    assert deny["Sid"] != SID


def test_it_denies_every_spend_action_but_to_the_exempt():
    documents = [ALLOW_ALL, DOCUMENT]
    assert [each for each in spend_actions(external_anthropic=False) if allowed(role("agent"), documents, each)] == []
    exempt = {"aws__PrincipalArn": role("break-glass")}
    assert allowed(role("break-glass"), documents, "bedrock:InvokeModel", **exempt)
    assert allowed(role("agent"), documents, "s3:GetObject")


def test_only_a_lone_deny_with_our_sid_is_ours():
    assert is_ours(DOCUMENT)
    assert is_ours(json.dumps(DOCUMENT))
    assert is_ours({**DOCUMENT, "Statement": DOCUMENT["Statement"][0]})
    assert is_ours(outgrown(Action=["bedrock:InvokeModel"]))
    two = [*DOCUMENT["Statement"], *FOREIGN["Statement"]]
    for each in (
        FOREIGN,
        deny_document(DocumentSettings()),
        {**DOCUMENT, "Statement": two},
        outgrown(Effect="Allow"),
        *({"Statement": broken} for broken in ([], None, "x", ["x"])),
        *({}, "", "not json", "[1]", None, 7),
    ):
        assert not is_ours(each), each


def test_a_role_is_given_the_deny_beside_what_it_has_and_loses_it_again(iam, writer):
    before = inline_of(iam, "agent")
    for _ in range(2):
        assert writer.carry_out(InlineChange(deny=("agent",))) == {"denied": ["agent"], "allowed": []}
        assert inline_of(iam, "agent") == before | {NAME: DOCUMENT}
    assert inline_of(iam, "other") == before
    for _ in range(2):
        assert writer.carry_out(InlineChange(allow=("agent",))) == {"denied": [], "allowed": ["agent"]}
        assert inline_of(iam, "agent") == before


def test_a_deny_of_an_older_configuration_is_brought_up_to_date_and_taken_off(iam, writer):
    older = json.dumps(outgrown(Action=["bedrock:InvokeModel"]))
    iam.put_role_policy(RoleName="agent", PolicyName=NAME, PolicyDocument=older)
    writer.deny("agent")
    assert inline_of(iam, "agent")[NAME] == DOCUMENT
    iam.put_role_policy(RoleName="agent", PolicyName=NAME, PolicyDocument=older)
    writer.allow("agent")
    assert NAME not in inline_of(iam, "agent")


@pytest.mark.parametrize("change", [InlineChange(deny=("agent", "other")), InlineChange(allow=("agent", "other"))])
def test_somebody_elses_policy_of_that_name_is_left_and_named_and_the_others_are_seen_to(iam, writer, change):
    writer.carry_out(InlineChange(deny=change.allow[1:]))
    iam.put_role_policy(RoleName="agent", PolicyName=NAME, PolicyDocument=json.dumps(FOREIGN))
    with pytest.raises(UnfinishedError, match=f"^role/agent: the inline policy {NAME} of role/agent was not written"):
        writer.carry_out(change)
    assert inline_of(iam, "agent")[NAME] == FOREIGN
    assert (NAME in inline_of(iam, "other")) is bool(change.deny)


def test_what_is_as_it_should_be_is_only_read(aws):
    asked: list[str] = []

    def answer(operation: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(operation)
        return {**params, "PolicyDocument": json.dumps(DOCUMENT)}

    InlineDeny(answering("iam", answer), NAME, DOCUMENT).deny("agent")
    assert asked == ["GetRolePolicy"]


def test_a_role_that_is_gone_needs_nothing(writer):
    gone = ("gone",)
    assert writer.carry_out(InlineChange(deny=gone)) == {"denied": ["gone"], "allowed": []}
    assert writer.carry_out(InlineChange(allow=gone)) == {"denied": [], "allowed": ["gone"]}


@pytest.mark.parametrize("code", ["LimitExceeded", "UnmodifiableEntity", "AccessDenied"])
@pytest.mark.parametrize("operation", ["GetRolePolicy", "PutRolePolicy"])
def test_what_iam_refuses_is_told_by_role_and_code(aws, operation, code):
    def answer(asked: str, _: Mapping[str, Any]) -> Mapping[str, Any]:
        raise refusal(code if asked == operation else "NoSuchEntity", asked)

    writer = InlineDeny(answering("iam", answer), NAME, DOCUMENT)
    with pytest.raises(UnfinishedError, match=f"^role/full: iam:{operation}: {code}: no$"):
        writer.carry_out(InlineChange(deny=("full",)))


@pytest.mark.parametrize(
    ("event", "change"),
    [
        ({"source": "stop", "deny": ["a", "b"]}, InlineChange(deny=("a", "b"))),
        ({"source": "kill", "deny": ["a", "a"]}, InlineChange(deny=("a",))),
        ({"source": "release", "allow": ["A_z+=,.@-9"]}, InlineChange(allow=("A_z+=,.@-9",))),
    ],
)
def test_the_function_takes_names_of_roles(event, change):
    assert parse_inline_change(event) == change


HOSTILE: list[object] = [
    *(None, {}, [], "", 7, {"source": "stop"}, {"deny": ["agent"]}),
    *({"source": each, "deny": ["agent"]} for each in ("release", "meter", "", None, ["stop"])),
    *({"source": each, "allow": ["agent"]} for each in ("stop", "kill", "other")),
    *({"source": "stop", "deny": each} for each in ("agent", [], {"agent": 1}, None, [None], [["agent"]], [7])),
    *({"source": "stop", "deny": ["agent", each]} for each in ("", "a" * 65, "ops/agent", "*", "ag?nt", "agent\n")),
    *(
        {"source": "stop", "deny": [each]}
        for each in ("rôle", "arn:aws:iam::1:role/agent", "../agent", "a b", "\u0661")
    ),
    {"source": "stop", "deny": ["agent"], "document": ALLOW_ALL},
    {"source": "stop", "deny": ["agent"], "policy": "other"},
    {"source": "release", "allow": ["agent"], "policy": "work"},
    {"source": "stop", "deny": ["agent"], "allow": ["other"]},
    {"source": "stop", "deny": [f"role-{number}" for number in range(101)]},
]


@pytest.mark.parametrize("event", HOSTILE, ids=repr)
def test_what_is_no_list_of_names_is_refused_as_a_whole(event):
    with pytest.raises(RefusedError, match="nothing was changed: "):
        parse_inline_change(event)


NAMES = st.sampled_from(["agent", "other", "gone", "ops/agent", "*", "", NAME]) | st.text(max_size=8)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ROLES = st.lists(st.sampled_from(["agent", "other", "gone"]), min_size=1, max_size=3)
VALID = st.builds(lambda names: {"source": "stop", "deny": names}, ROLES) | st.builds(
    lambda names: {"source": "release", "allow": names}, ROLES
)
REQUESTS = st.fixed_dictionaries(
    {"source": st.sampled_from(["stop", "kill", "release", "meter"])},
    optional={
        "deny": st.lists(NAMES, max_size=3) | ANY_JSON,
        "allow": st.lists(NAMES, max_size=3) | ANY_JSON,
        "document": st.just(ALLOW_ALL) | ANY_JSON,
        "name": NAMES,
    },
)


@given(
    events=st.lists(VALID | REQUESTS | ANY_JSON, max_size=4),
    there=st.sampled_from([None, FOREIGN, outgrown(Action="s3:*")]),
)
@settings(deadline=None)
def test_whatever_the_event_nothing_but_the_deny_is_written_and_nothing_but_it_is_deleted(events, there):
    held: dict[tuple[str, str], object] = {("agent", "work"): ALLOW_ALL, ("other", "work"): ALLOW_ALL}
    if there is not None:
        held["agent", NAME] = there
    kept = {key: value for key, value in held.items() if key[1] != NAME or value is FOREIGN}

    def answer(operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        key = asked["RoleName"], asked["PolicyName"]
        if operation == "PutRolePolicy":
            assert json.loads(asked["PolicyDocument"]) == DOCUMENT
            assert key[1] == NAME
            held[key] = DOCUMENT
            return {}
        if key not in held:
            raise refusal("NoSuchEntity", operation)
        if operation == "DeleteRolePolicy":
            assert is_ours(held[key])
            del held[key]
            return {}
        assert operation == "GetRolePolicy"
        return {"RoleName": key[0], "PolicyName": key[1], "PolicyDocument": json.dumps(held[key])}

    client = answering("iam", answer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDRAIL", SETTINGS.to_json())
        patch.setattr(boto3, "client", lambda service, **_: {"iam": client}[service])
        for event in events:
            with suppress(GuardrailError):
                inline.handler(event, Context())
    assert {key: held[key] for key in kept} == kept
    assert all(is_ours(value) for key, value in held.items() if key not in kept)


# The lever.


def principal(name: str, **change: Any) -> Principal:
    given_values: dict[str, Any] = {
        "arn": f"arn:aws:iam::1:role/{name}",
        "kind": PrincipalKind.ROLE,
        "name": name,
        "path": "/",
        "capability": Capability.NAMED,
        "full": True,
    }
    return Principal(**(given_values | change))


class Lambda:
    """The function that writes inline denies, as Lambda lets it be called."""

    def __init__(self, answer: object = None, error: str = "") -> None:
        self.asked: list[object] = []
        self._answer = {} if answer is None else answer
        self._error = error
        self.client = answering("lambda", self._respond)

    def _respond(self, operation: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        assert (operation, asked["FunctionName"]) == ("Invoke", "bedrock-spend-inline")
        # Without a type Lambda waits for the answer.
        assert "InvocationType" not in asked
        self.asked.append(json.loads(asked["Payload"]))
        text = self._answer if isinstance(self._answer, bytes) else json.dumps(self._answer).encode()
        failed = {"FunctionError": self._error} if self._error else {}
        return {"StatusCode": 200, "Payload": BytesIO(text), **failed}


def lever(function: Lambda, *people: Principal) -> InlineDenies:
    return InlineDenies(
        function.client, "bedrock-spend-inline", lambda: people, policy_name=NAME, stopping=(BRAKE, SWEEP)
    )


@pytest.fixture
def function(aws: None) -> Lambda:
    return Lambda()


FULL = Held("inline", "full", "the Bedrock calls of role/full", {"role": "full"})


def test_a_full_role_that_can_spend_is_held(function):
    assert lever(function, principal("full")).find(Level.STOP, Spared()) == Found((FULL,))
    wildcard = principal("full", capability=Capability.WILDCARD, attached=frozenset({"arn:aws:iam::1:policy/other"}))
    assert lever(function, wildcard).find(Level.STOP, Spared()) == Found((FULL,))


@pytest.mark.parametrize(
    "change",
    [
        {"full": False},
        {"capability": Capability.NONE},
        {"attached": frozenset({BRAKE})},
        {"attached": frozenset({SWEEP})},
        {"inline": frozenset({NAME})},
        {"kind": PrincipalKind.USER},
        {"kind": PrincipalKind.GROUP},
        {"path": "/aws-service-role/bedrock.amazonaws.com/"},
        {"path": "/aws-reserved/sso.amazonaws.com/"},
        {"path": "/ops/"},
        {"tags": {"Team": "ops"}},
    ],
    ids=repr,
)
def test_nobody_else_is(function, change):
    spared = Spared(("role/ops/*",), "team=ops")
    assert lever(function, principal("full", **change)).find(Level.STOP, spared) == Found()


@pytest.mark.parametrize("level", [Level.RELEASED, Level.STEP_DOWN])
def test_below_a_stop_nobody_is(function, level):
    assert lever(function, principal("full")).find(level, Spared()) == Found()


def test_when_nobody_can_be_listed_it_says_so(function):
    def nobody() -> list[Principal]:
        raise AwsCallError("iam:GetAccountAuthorizationDetails", "Throttling", "no")

    found = InlineDenies(function.client, "f", nobody, policy_name=NAME, stopping=()).find(Level.STOP, Spared())
    assert found == Found(
        unread={"roles without a free policy slot": "iam:GetAccountAuthorizationDetails: Throttling: no"}
    )


def test_the_function_is_asked_with_nothing_but_the_name(function):
    subject = lever(function)
    subject.hold(FULL, Level.STOP)
    subject.restore(Held("inline", "full", "words", json.loads(json.dumps(FULL.before))))
    assert function.asked == [{"source": "stop", "deny": ["full"]}, {"source": "release", "allow": ["full"]}]
    assert [parse_inline_change(each) for each in function.asked] == [
        InlineChange(deny=("full",)),
        InlineChange(allow=("full",)),
    ]


def test_a_full_inline_quota_is_a_failed_hold_by_name(aws):
    why = "role/full: iam:PutRolePolicy: LimitExceeded: Maximum policy size of 10240 bytes exceeded for role full"
    subject = lever(Lambda({"errorType": "UnfinishedError", "errorMessage": why}, "Unhandled"))
    for act in (lambda: subject.hold(FULL, Level.STOP), lambda: subject.restore(FULL)):
        with pytest.raises(AwsCallError, match="role/full: iam:PutRolePolicy: LimitExceeded"):
            act()


@pytest.mark.parametrize("answer", [b"", b"null", b"[]", b"Task timed out"])
def test_an_answer_nobody_can_read_is_no_success(aws, answer):
    with pytest.raises(AwsCallError, match="NoAnswer"):
        lever(Lambda(answer)).hold(FULL, Level.STOP)


@pytest.mark.parametrize("before", [{}, {"role": 7}])
def test_what_another_version_remembered_is_an_error_with_words(function, before):
    with pytest.raises(LedgerItemError, match="held inline#full"):
        lever(function).restore(Held("inline", "full", "words", before))
    assert function.asked == []


def test_the_account_tells_who_holds_an_inline_deny_of_ours(iam, writer):
    writer.deny("agent")
    iam.put_role_policy(RoleName="other", PolicyName=NAME, PolicyDocument=json.dumps(FOREIGN))
    found = {each.name: each for each in Account(iam, external_anthropic=False).principals()}
    assert (found["agent"].inline, found["other"].inline) == (frozenset({NAME}), frozenset())
    # A deny lowers nothing: the role can spend again the moment it is gone.
    assert found["agent"].capability is Capability.WILDCARD


def test_what_a_stop_writes_a_release_takes_to_the_byte():
    with mock_aws():
        client = boto3.client("iam", region_name="us-east-1")
        client.create_role(RoleName="full", AssumeRolePolicyDocument=TRUST)
        client.put_role_policy(RoleName="full", PolicyName="work", PolicyDocument=json.dumps(ALLOW_ALL))
        writer, before = InlineDeny(client, NAME, DOCUMENT), client.get_account_authorization_details()
        writer.carry_out(parse_inline_change({"source": "stop", "deny": ["full"]}))
        assert client.get_account_authorization_details()["RoleDetailList"] != before["RoleDetailList"]
        writer.carry_out(parse_inline_change({"source": "release", "allow": ["full"]}))
        assert client.get_account_authorization_details()["RoleDetailList"] == before["RoleDetailList"]
