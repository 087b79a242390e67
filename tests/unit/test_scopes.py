"""What can be stopped alone, and what is refused."""

import pytest

from lambdas.core.errors import RefusedError
from lambdas.core.scopes import Scope, ScopeKind, parse_scope

ACCOUNT = "123456789012"
BEDROCK = f"arn:aws:bedrock:us-east-1:{ACCOUNT}"


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("role/agents", "role/agents"),
        ("role/team/path/agents", "role/agents"),
        (" user/dev+x@example.com\n", "user/dev+x@example.com"),
        (f"arn:aws:iam::{ACCOUNT}:role/team/path/agents", "role/agents"),
        (f"role/arn:aws:iam::{ACCOUNT}:role/agents", "role/agents"),
        (f"arn:aws:iam::{ACCOUNT}:user/dev", "user/dev"),
        # No policy can tell sessions apart by their ARN, so the role it is.
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/agents/i-0abc", "role/agents"),
        ("session:AROAEXAMPLEID12345678:i-0abc", "session:AROAEXAMPLEID12345678:i-0abc"),
        ("source-identity:alice@example.com", "source-identity:alice@example.com"),
        ("model:anthropic.claude-opus*", "model:anthropic.claude-opus*"),
        ("model:us.anthropic.Claude-Opus-4-20250514-v1:0", "model:anthropic.claude-opus-4-20250514-v1:0"),
        ("model:amazon.nova-lite-v?:?", "model:amazon.nova-lite"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "model:amazon.nova-lite-v1:0"),
        (f"{BEDROCK}:inference-profile/eu.amazon.nova-lite-v1:0", "model:amazon.nova-lite-v1:0"),
        (f"{BEDROCK}:imported-model/abc123", f"model:{BEDROCK}:imported-model/abc123"),
        (f"model:{BEDROCK}:provisioned-model/abc123", f"model:{BEDROCK}:provisioned-model/abc123"),
        (f"{BEDROCK}:custom-model-deployment/abc", f"model:{BEDROCK}:custom-model-deployment/abc"),
        (f"{BEDROCK}:application-inference-profile/a1b2c3d4e5f6", "profile:a1b2c3d4e5f6"),
        ("profile:a1b2c3d4e5f6", "profile:a1b2c3d4e5f6"),
        (f"arn:aws:bedrock-mantle:us-east-1:{ACCOUNT}:project/proj_1", "project:proj_1"),
        ("project:default", "project:default"),
        ("tag:team=search and ads", "tag:team=search and ads"),
        ("tag:cost/center=a=b", "tag:cost/center=a=b"),
    ],
)
def test_what_can_be_stopped_alone_has_one_spelling(text: str, spelling: str):
    scope = parse_scope(text, ACCOUNT)
    assert str(scope) == spelling
    assert parse_scope(spelling, ACCOUNT) == scope


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is not known"),
        ("account", "is not known"),
        ("Role/agents", "is not known"),
        ("role/", "must be role/NAME"),
        ("role/*", "must be role/NAME"),
        ("role/${aws:username}", "must be role/NAME"),
        ("user/a b", "must be user/NAME"),
        (f"role/{'x' * 65}", "must be role/NAME"),
        (f"arn:aws:iam::{ACCOUNT}:root", "no ARN of something"),
        (f"arn:aws:iam::{ACCOUNT}:policy/x", "no ARN of something"),
        (f"user/arn:aws:iam::{ACCOUNT}:role/agents", "is no user"),
        ("arn:aws:iam::999999999999:role/agents", f"is of account 999999999999, and this is {ACCOUNT}"),
        ("arn:aws:bedrock:us-east-1:999999999999:imported-model/abc", "is of account 999999999999"),
        ("session:AIDAEXAMPLEID12345678:x", "must be session:AROAID"),
        ("session:AROAEXAMPLEID12345678:*", "must be session:AROAID"),
        ("session:agents", "must be session:AROAID"),
        ("source-identity:*", "must be source-identity:NAME"),
        ("model:*", "kill the account instead"),
        ("model:**.?*", "kill the account instead"),
        ("model:*-v?:0", "kill the account instead"),
        ("model:us.*", "kill the account instead"),
        ("model:anthropic.${aws:PrincipalTag/x}", "must be model:ID"),
        ("model:anthropic.claude/../*", "must be model:ID"),
        (f"{BEDROCK}:imported-model/*", "must be model:ID"),
        (f"{BEDROCK}:custom-model/abc", "must be model:ID"),
        (f"{BEDROCK}:application-inference-profile/*", "must be profile:ID"),
        ("profile:*", "must be profile:ID"),
        ("project:a*", "must be project:ID"),
        ("tag:team", "must be tag:KEY=VALUE"),
        ("tag:team=", "must be tag:KEY=VALUE"),
        ("tag:*=x", "must be tag:KEY=VALUE"),
        ("tag:team=${aws:x}", "must be tag:KEY=VALUE"),
        ("tag:té=x", "must be tag:KEY=VALUE"),
        ("x" * 701, "701 characters"),
    ],
)
def test_what_cannot_is_refused_with_the_rule(text: str, rule: str):
    with pytest.raises(RefusedError, match=rule):
        parse_scope(text, ACCOUNT)


def test_principals_are_stopped_by_attaching_and_all_else_by_a_statement():
    assert {kind for kind in ScopeKind if Scope(kind, "x").is_principal} == {ScopeKind.ROLE, ScopeKind.USER}
    assert parse_scope("role/a/b").holder == "role/b"
