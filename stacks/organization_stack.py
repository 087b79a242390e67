"""The stack in the organization's management account: the prepared SCP, and the role that may attach it."""

from aws_cdk import CfnOutput, Environment, LegacyStackSynthesizer, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_organizations as organizations
from constructs import Construct

from lambdas.aws.organization import ServiceControlPolicy
from lambdas.core.permissions import On, permissions_of
from lambdas.core.scp import stop_scp
from lambdas.settings import Organization, Settings
from stacks.acknowledged import WILDCARDS, acknowledge_wildcards
from stacks.grants import sid_of

USES = (ServiceControlPolicy.find, ServiceControlPolicy.hold, ServiceControlPolicy.restore)
"""What the guardrail's functions do by the role."""

_GLOBAL = "us-east-1"


class OrganizationStack(Stack):
    """Everything organization mode needs outside the guarded account. It changes nothing until a stop attaches."""

    def __init__(self, scope: Construct, *, settings: Settings, organization: Organization, home: str | None) -> None:
        """Make the policy, attached to nothing, and the role. Raises ScpError when the policy is too long."""
        super().__init__(
            scope,
            organization.stack_name,
            description=f"Bedrock spend guardrail: the SCP that stops account {organization.account}, and who may.",
            # What it holds is of no region; the home region is where people look for it.
            env=Environment(account=organization.management_account, region=home or _GLOBAL),
            # No asset, so no bucket, and no role of `cdk bootstrap`: few bootstrap their management account.
            synthesizer=LegacyStackSynthesizer(),
        )
        self._policy = organizations.CfnPolicy(
            self,
            "Stop",
            name=organization.policy_name,
            type="SERVICE_CONTROL_POLICY",
            description="Denies all Bedrock spend. Attached by the spend guardrail at a stop, detached at a release.",
            content=dict(stop_scp(settings.spared, external_anthropic=settings.external_anthropic)),
        )
        account = organization.account
        role = iam.Role(
            self,
            "Role",
            role_name=organization.stack_name,
            path=settings.own_path,
            description=f"Spend guardrail of account {account}: attaches and detaches its one SCP.",
            assumed_by=iam.AccountPrincipal(account).with_conditions(
                {"ArnLike": {"aws:PrincipalArn": f"arn:{self.partition}:iam::{account}:role{settings.own_path}*"}}
            ),
        )
        for on, resources in self._reach(organization.target).items():
            actions = {action for each in permissions_of(USES) if each.on is on for action in each.actions}
            allowed = iam.PolicyStatement(sid=sid_of(on), actions=sorted(actions), resources=resources)
            role.add_to_policy(allowed)
            acknowledge_wildcards(role, [allowed], {sid_of(each): why for each, why in WILDCARDS.items()})
        CfnOutput(
            self,
            "StopByHand",
            value=f"aws organizations attach-policy --policy-id {self._policy.attr_id} "
            f"--target-id {organization.target}",
        )

    def _reach(self, target: str) -> dict[On, list[str]]:
        kind = "ou" if target.startswith("ou-") else "account"
        # A delegated administrator's account is not the one in the ARNs; ids are unique, and it has one organization.
        on_target = f"arn:{self.partition}:organizations::*:{kind}/o-*/{target}"
        return {On.STOP_SCP: [self._policy.attr_arn, on_target], On.ORGANIZATION: ["*"]}
