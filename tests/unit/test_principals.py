"""Who can spend: judged by policies, over-approximated, never under."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from lambdas.core.principals import (
    Capability,
    Principal,
    PrincipalKind,
    Quotas,
    Spared,
    capability_of,
    order_for_sweep,
    principal_pattern,
    split_tag,
    strongest,
)
from tests.infra.judge import lets_through
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


def test_a_statement_with_both_an_action_and_a_not_action_is_judged_by_the_worse():
    assert capability_of([policy(statement(Action="s3:*", NotAction="iam:*"))]) is WILDCARD
    assert capability_of([policy(statement(Action="bedrock:*", NotAction="*"))]) is NAMED
    assert capability_of([policy(statement(Action="s3:*", NotAction="*"))]) is NONE


def test_a_not_resource_narrows_nothing():
    but_one = {"Effect": "Allow", "Action": "bedrock:InvokeModel", "NotResource": "arn:aws:bedrock:*::*/anthropic.*"}
    assert capability_of([policy(but_one)]) is NAMED


def test_the_strongest_capability_is_the_one_that_tells_most():
    assert strongest([]) is NONE
    for several in itertools.permutations([NONE, WILDCARD, NAMED]):
        assert strongest(several) is NAMED
    assert strongest([NONE, WILDCARD, NONE]) is WILDCARD


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


@cache
def suspected():
    """Return those policies of AWS that are taken for a licence to spend."""
    return {name for name, each in managed_policies().items() if capability_of([each]) is not NONE}


def test_no_managed_policy_of_aws_that_lets_spend_is_overlooked():
    trusted = {name: each for name, each in managed_policies().items() if name not in suspected()}
    assert len(trusted) > 1000
    # All of them together allow what any one of them does, and are judged far quicker.
    spend = lets_through(trusted.values(), spend_actions())
    assert {name: found for name, each in trusted.items() if spend and (found := lets_through([each], spend))} == {}


def test_no_managed_policy_of_aws_is_suspected_without_cause():
    assert {"AdministratorAccess", "PowerUserAccess", "AmazonBedrockFullAccess"} <= suspected()
    without_cause = [name for name in suspected() if not lets_through([managed_policies()[name]], spend_actions())]
    # None, when this was written. A few may come: a pattern of ours may reach an action of tomorrow that is harmless.
    assert len(without_cause) <= len(suspected()) / 10, without_cause


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
        ("ViewOnlyAccess", NONE),
        ("IAMFullAccess", NONE),
        ("AmazonS3FullAccess", NONE),
        ("AmazonEC2FullAccess", NONE),
        ("AWSLambda_FullAccess", NONE),
        ("CloudWatchFullAccess", NONE),
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


def test_a_tag_exempts_with_its_key_in_any_case_and_its_value_to_the_letter():
    spared = Spared(("role/break-glass",), "Spend-Guardrail=exempt")
    assert spared.covers(replace(principal(), tags={"Spend-Guardrail": "exempt"}))
    assert spared.covers(replace(principal(PrincipalKind.USER), tags={"a": "b", "spend-guardrail": "exempt"}))
    assert spared.covers(principal(name="break-glass"))
    for tags in ({}, {"Spend-Guardrail": "Exempt"}, {"Spend-Guardrail": ""}, {"Spend-Guardrail2": "exempt"}):
        assert not spared.covers(replace(principal(), tags=tags))


def test_without_a_tag_configured_no_tag_exempts():
    assert not Spared().covers(replace(principal(), tags={"": "", "a": ""}))


def test_an_equals_sign_in_the_value_of_a_tag_is_part_of_it():
    assert split_tag("team=a=b") == ("team", "a=b")
    assert Spared((), "team=a=b").covers(replace(principal(), tags={"team": "a=b"}))


def test_an_arn_is_spared_by_tag_once_its_principal_is_known():
    tagged, other = replace(principal(path="/ops/"), tags={"keep": "yes"}), principal(name="other")
    spared = Spared(("role/break-glass",), "keep=yes")
    assert not spared.covers_arn(tagged.arn)
    knowing = spared.knowing([tagged, other])
    assert knowing.covers_arn(tagged.arn)
    assert knowing.covers_arn("arn:aws:iam::123456789012:role/break-glass")
    assert not knowing.covers_arn(other.arn)
    assert knowing.covers(tagged)
    # A path may hold a wildcard; it stands for itself alone.
    starred = replace(principal(path="/*/"), tags={"keep": "yes"})
    assert not spared.knowing([starred]).covers_arn(tagged.arn)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AWSReservedSSO_Developers_0123456789abcdef", "Developers"),
        ("AWSReservedSSO_data_team_x_0123456789abcdef", "data_team_x"),
        ("AWSReservedSSO_a+b=c,d.e@f-g_0123456789abcdef", "a+b=c,d.e@f-g"),
        ("AWSReservedSSO_Developers_0123456789ABCDEF", ""),
        ("AWSReservedSSO__0123456789abcdef", ""),
        ("AWSReservedSSO_Developers", ""),
        ("Developers", ""),
    ],
)
def test_the_permission_set_of_an_identity_center_role_is_in_its_name(name, expected):
    theirs = principal(path="/aws-reserved/sso.amazonaws.com/eu-central-1/", name=name)
    assert theirs.identity_center
    assert not theirs.service_linked
    assert theirs.permission_set == expected
    # Anybody may call a role of their own so.
    assert principal(name=name).permission_set == ""
    assert not principal(name=name).identity_center


def test_a_service_linked_role_is_told_by_its_path():
    assert principal(path="/aws-service-role/bedrock.amazonaws.com/").service_linked
    assert not principal().service_linked
    # No user can be one, whatever its path.
    assert not principal(PrincipalKind.USER, "/aws-service-role/x/").service_linked


def test_a_group_does_not_call_and_users_and_roles_do():
    assert [each for each in PrincipalKind if principal(each).calls] == [PrincipalKind.ROLE, PrincipalKind.USER]
    assert principal(PrincipalKind.GROUP, "/a/", "data").resource == "group/a/data"


def test_principals_with_tags_can_be_put_into_a_set():
    assert len({replace(principal(), tags={"a": "b"}), principal(name="other")}) == 2


def test_quotas_are_those_of_the_account_and_else_the_usual():
    assert Quotas.from_summary({}) == Quotas(20, 10, 10)
    assert Quotas.from_summary({"AttachedPoliciesPerRoleQuota": 25, "Users": 3}) == Quotas(25, 10, 10)
    assert Quotas.from_summary({"AttachedPoliciesPerUserQuota": 20, "GroupsPerUserQuota": 5}) == Quotas(20, 20, 5)


LAST_WEEK = datetime(2026, 11, 15, tzinfo=UTC)


def using(name, capability, days_ago=None, **more):
    used = None if days_ago is None else LAST_WEEK - timedelta(days=days_ago)
    return replace(principal(name=name, **more), capability=capability, last_used=used)


def test_a_sweep_reaches_known_callers_then_names_then_wildcards_each_by_last_use():
    people = [
        using("admin-idle", WILDCARD),
        using("agent-old", NAMED, 300),
        using("bystander", NONE, 0),
        using("admin-busy", WILDCARD, 1),
        using("agent-new", NAMED, 0),
        using("agent-idle", NAMED),
        using("caller-second", WILDCARD, 9, path="/ops/"),
        using("caller-first", WILDCARD, kind=PrincipalKind.USER),
    ]
    callers = [
        "arn:aws:iam::123456789012:user/caller-first",
        "arn:aws:sts::123456789012:assumed-role/caller-second/session/with/slashes",
        "arn:aws:iam::123456789012:user/gone",
    ]
    assert [each.name for each in order_for_sweep(people, callers)] == [
        "caller-first",
        "caller-second",
        "agent-new",
        "agent-old",
        "agent-idle",
        "admin-busy",
        "admin-idle",
        "bystander",
    ]


def test_those_alike_stay_in_their_order():
    people = [using(f"agent-{number}", NAMED) for number in (3, 1, 2)]
    assert order_for_sweep(people) == people


@pytest.mark.parametrize(
    "caller",
    [
        "arn:aws:iam::123456789012:role/ops/deep/last",
        "arn:aws:sts::123456789012:assumed-role/last/i-0123456789",
    ],
)
def test_a_caller_is_known_by_role_arn_and_by_session(caller):
    people = [using("first", NAMED, 0), using("last", NONE, path="/ops/deep/")]
    assert order_for_sweep(people, [caller])[0].name == "last"


@pytest.mark.parametrize(
    "stranger",
    [
        "",
        "AROAEXAMPLE:session",
        "arn:aws:iam::999999999999:role/last",
        "arn:aws:iam::123456789012:user/last",
        "arn:aws:iam::123456789012:role/last2",
        "arn:aws:iam::123456789012:root",
        "arn:aws:sts::123456789012:federated-user/last",
    ],
)
def test_a_caller_who_is_somebody_else_moves_nobody(stranger):
    people = [using("first", NAMED), using("last", NAMED)]
    assert order_for_sweep(people, [stranger]) == people


def test_who_called_twice_counts_by_the_first_time():
    people = [using("a", NAMED), using("b", NAMED)]
    arns = {each.name: each.arn for each in people}
    assert [each.name for each in order_for_sweep(people, [arns["b"], arns["a"], arns["b"]])] == ["b", "a"]
