"""Who can spend: judged by policies, over-approximated, never under."""

import fnmatch
import json
import re
from functools import cache

import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from lambdas.core.principals import (
    Capability,
    Principal,
    PrincipalKind,
    Spared,
    capability_of,
    principal_pattern,
)
from tests.infra.spend_actions import spend_actions

NAMED, WILDCARD, NONE = Capability.NAMED, Capability.WILDCARD, Capability.NONE

FAMILY = ["bedrock:*", "bedrock-mantle:*", "bedrock-websearch:*", "bedrock-agentcore:*", "nova-act:*"]


def statement(effect="Allow", **what):
    return {"Effect": effect, "Resource": "*", **what}


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allowing(*actions):
    return policy(statement(Action=list(actions)))


def principal(kind=PrincipalKind.ROLE, path="/", name="agents"):
    return Principal(f"arn:aws:iam::123456789012:{kind}{path}{name}", kind, name, path, WILDCARD)


@pytest.mark.parametrize(
    "action",
    [
        "bedrock:InvokeModel",
        "bedrock:Invoke*",
        "bedrock:*",
        "bedrock:*Model",
        "bedrock:Create*",
        "bedrock-mantle:CreateInference",
        "bedrock-agentcore:InvokeAgentRuntime",
        "bedrock-websearch:InvokeSearch",
        "nova-act:CreateAct",
        "BEDROCK:INVOKEMODEL",
        "Bedrock:invokemodel",
        "bedrock:Invoke?odel",
        "bedrock*:InvokeModel",
        "bedrock*",
    ],
)
def test_an_action_of_the_family_that_spends_is_named(action):
    assert capability_of([allowing("s3:GetObject", action)]) is NAMED
    assert capability_of([policy(statement(Action=action))]) is NAMED


@pytest.mark.parametrize("action", ["*", "*:*", "b*:Invoke*", "?edrock:InvokeModel", "*:InvokeModel", "n*", "*Model"])
def test_a_pattern_that_reaches_the_family_without_naming_it_is_a_wildcard(action):
    assert capability_of([allowing(action)]) is WILDCARD
    assert capability_of([policy(statement(Action=action))]) is WILDCARD


@pytest.mark.parametrize(
    "action",
    [
        "s3:*",
        "bedrock:ListFoundationModels",
        "bedrock:Get*",
        "bedrock:Stop*",
        "bedrock:CountTokens",
        "bedrock-agentcore:List*",
        "bedrock",
        "bedrocks:InvokeModel",
        "s*:InvokeModel",
        "sagemaker:InvokeEndpoint",
    ],
)
def test_what_cannot_spend_on_bedrock_is_no_capability(action):
    assert capability_of([allowing(action)]) is NONE


def test_nothing_attached_is_no_capability():
    assert capability_of([]) is NONE
    assert capability_of([policy()]) is NONE


@pytest.mark.parametrize(
    ("excepted", "expected"),
    [
        (FAMILY, NONE),
        ([each.upper() for each in FAMILY], NONE),
        (["bedrock*", "nova-act:*"], NONE),
        ("*", NONE),
        ("s3:*", WILDCARD),
        (["s3:*", "iam:*"], WILDCARD),
        ("bedrock:*", WILDCARD),
        (["bedrock:*", "bedrock-agentcore:*"], WILDCARD),
        (["bedrock:InvokeModel", *FAMILY[1:]], WILDCARD),
        ([], WILDCARD),
        (["bedrock:*", "bedrock-mantle:*", "bedrock-websearch:InvokeSearch", *FAMILY[3:]], WILDCARD),
        # It excepts actions with a single letter after the colon, of which there are none.
        (["bedrock:*", "bedrock-mantle:*", "bedrock-websearch:?", *FAMILY[3:]], WILDCARD),
        (["bedrock:*", "bedrock-mantle:Creat?*", *FAMILY[2:]], WILDCARD),
    ],
)
def test_a_not_action_is_out_of_reach_only_when_it_excepts_all_that_spends(excepted, expected):
    assert capability_of([policy(statement(NotAction=excepted))]) is expected


def test_claude_platform_counts_where_configured():
    document = allowing("aws-external-anthropic:CreateInference")
    assert capability_of([document]) is NONE
    assert capability_of([document], external_anthropic=True) is NAMED
    everything_else = policy(statement(NotAction=FAMILY))
    assert capability_of([everything_else]) is NONE
    assert capability_of([everything_else], external_anthropic=True) is WILDCARD


@pytest.mark.parametrize(
    "unreadable",
    [
        None,
        "not json",
        "",
        "[]",
        "null",
        "7",
        {},
        {"Statement": "x"},
        {"Statement": None},
        {"Statement": ["x"]},
        {"Statement": [statement(Action="s3:*"), None]},
        policy({"Effect": "Allow", "Resource": "*"}),
        policy(statement(Action=7)),
        policy(statement(Action=["s3:*", None])),
        policy(statement(Action={"a": "b"})),
        policy(statement(NotAction=None)),
        policy(statement(NotAction=7)),
        policy(statement(NotAction=["s3:*", None])),
        policy({"effect": "Allow", "action": "bedrock:InvokeModel"}),
    ],
)
def test_what_cannot_be_read_could_allow_everything(unreadable):
    assert capability_of([unreadable]) is WILDCARD
    assert capability_of([allowing("s3:*"), unreadable]) is WILDCARD


def test_a_list_in_place_of_a_document_could_allow_everything():
    # Not what the signature allows, but what a lying answer could bring.
    garbled: list[object] = []
    assert capability_of([garbled]) is WILDCARD  # type: ignore[list-item]


def test_a_statement_may_stand_alone_and_a_document_may_be_text():
    alone = {"Version": "2012-10-17", "Statement": statement(Action="bedrock:InvokeModel")}
    assert capability_of([alone]) is NAMED
    assert capability_of([json.dumps(alone)]) is NAMED


def test_denials_are_not_counted_for_or_against():
    deny = statement("Deny", Action="bedrock:*")
    assert capability_of([policy(deny)]) is NONE
    assert capability_of([policy(deny, statement(Action="bedrock:InvokeModel"))]) is NAMED
    assert capability_of([policy(statement("Deny", NotAction="s3:*"))]) is NONE


def test_resources_and_conditions_narrow_nothing():
    narrow = statement(Action="bedrock:InvokeModel", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}})
    narrow["Resource"] = "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0"
    assert capability_of([policy(narrow)]) is NAMED


def test_a_name_in_any_document_outweighs_wildcards():
    everything, named = allowing("*"), allowing("bedrock:InvokeModel")
    assert capability_of([everything, named]) is NAMED
    assert capability_of([named, everything]) is NAMED
    assert capability_of([None, named]) is NAMED


@cache
def managed_policies():
    return {name: each["Document"] for name, each in json.loads(aws_managed_policies_data).items()}


def listed(value):
    return [value] if isinstance(value, str) else value


def allowed_spend(document):
    """Tell which of the actions that spend a document allows for some resource and condition; plainly, by trying."""
    found = set()
    for each in document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]:
        if each["Effect"] != "Allow":
            continue
        key = "Action" if "Action" in each else "NotAction"
        covered = re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in listed(each[key])))
        found |= {action for action in spend_actions() if bool(covered.match(action.lower())) is (key == "Action")}
    return found


def test_no_managed_policy_of_aws_that_lets_spend_is_overlooked():
    spenders = {name: found for name, each in managed_policies().items() if (found := allowed_spend(each))}
    assert len(managed_policies()) > 1000
    assert {"AdministratorAccess", "PowerUserAccess", "AmazonBedrockFullAccess"} <= set(spenders)
    overlooked = {name: found for name, found in spenders.items() if capability_of([managed_policies()[name]]) is NONE}
    assert overlooked == {}


def test_no_managed_policy_of_aws_is_suspected_without_cause():
    suspected = [name for name, each in managed_policies().items() if capability_of([each]) is not NONE]
    assert [name for name in suspected if not allowed_spend(managed_policies()[name])] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AdministratorAccess", WILDCARD),
        # NotAction: iam, organizations and account.
        ("PowerUserAccess", WILDCARD),
        ("AmazonBedrockFullAccess", NAMED),
        ("AmazonBedrockLimitedAccess", NAMED),
        ("AmazonBedrockReadOnly", NONE),
        # It reads knowledge bases and memories by retrieval, which is billed.
        ("ReadOnlyAccess", NAMED),
        ("SecurityAudit", NONE),
        ("AWSLambdaBasicExecutionRole", NONE),
    ],
)
def test_well_known_policies_are_what_people_expect(name, expected):
    assert capability_of([managed_policies()[name]]) is expected


@pytest.mark.parametrize(
    ("exempt", "covered"),
    [
        ("role/break-glass", [principal(name="break-glass")]),
        ("role/ops/break-glass", [principal(path="/ops/", name="break-glass")]),
        ("role/ops/*", [principal(path="/ops/"), principal(path="/ops/deep/")]),
        ("role/*glass", [principal(name="break-glass"), principal(path="/ops/", name="break-glass")]),
        ("role/break-glass?", [principal(name="break-glass2")]),
        ("user/*", [principal(PrincipalKind.USER, name="dev"), principal(PrincipalKind.USER, "/a/", "dev")]),
    ],
)
def test_the_exempt_are_spared(exempt, covered):
    spared = Spared(("role/other", exempt))
    assert all(spared.covers(each) for each in covered)


@pytest.mark.parametrize(
    "stranger",
    [
        principal(name="break-glass2"),
        # IAM heeds case where it compares ARNs, so the deny would hold for this one.
        principal(name="Break-Glass"),
        principal(name="a-break-glass"),
        principal(path="/ops/", name="break-glass"),
        principal(PrincipalKind.USER, name="break-glass"),
        principal(path="/bedrock-spend-evil/"),
        principal(path="/bedrock-spend/deeper/"),
        principal(name="bedrock-spend"),
    ],
)
def test_nobody_else_is_spared(stranger):
    assert not Spared(("role/break-glass",)).covers(stranger)


def test_an_exempt_arn_is_known_by_what_stands_behind_the_account():
    spared = Spared(("role/break-glass",))
    assert spared.covers_arn("arn:aws:iam::123456789012:role/break-glass")
    assert not spared.covers_arn("arn:aws:iam::123456789012:role/a:role/break-glass")
    assert not spared.covers_arn("")


def test_an_exempt_name_is_spelled_for_every_partition_and_account():
    assert principal_pattern("role/ops/x") == "arn:*:iam::*:role/ops/x"
    china = Principal("arn:aws-cn:iam::999999999999:role/x", PrincipalKind.ROLE, "x", "/", NAMED)
    assert Spared(("role/x",)).covers(china)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/aws-service-role/bedrock.amazonaws.com/", "service-linked"),
        ("/aws-reserved/sso.amazonaws.com/", "permission set"),
        ("/aws-reserved/sso.amazonaws.com/eu-central-1/", "permission set"),
    ],
)
def test_a_role_that_iam_lets_nobody_modify_says_why(path, word):
    reason = principal(path=path).unmodifiable
    assert reason is not None
    assert word in reason


@pytest.mark.parametrize("path", ["/", "/service-role/", "/aws-reserved-x/", "/team/aws-service-role/"])
def test_other_roles_can_be_modified(path):
    assert principal(path=path).unmodifiable is None


def test_a_principal_is_spelled_as_the_configuration_does():
    assert principal(path="/ops/", name="break-glass").resource == "role/ops/break-glass"
    assert principal(PrincipalKind.USER, name="dev").resource == "user/dev"
