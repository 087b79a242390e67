"""AWS Organizations: one prepared service control policy, attached at a stop by a role in the management account."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from lambdas.aws import calls, gone, recalled
from lambdas.core import scp
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.permissions import On, needs
from lambdas.core.principals import Spared

if TYPE_CHECKING:
    from mypy_boto3_organizations import OrganizationsClient
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

_SCP: Literal["SERVICE_CONTROL_POLICY"] = "SERVICE_CONTROL_POLICY"
_SESSION = "bedrock-spend-guardrail"
_REFUSED = "AccessDenied"


class ServiceControlPolicy:
    """The lever for whom IAM cannot reach: Identity Center roles first of all.

    It may do nothing but attach and detach that one policy to and from that one account or organizational unit.
    """

    name = "scp"

    def __init__(
        self,
        sts: "STSClient",
        organizations: Callable[["CredentialsTypeDef"], "OrganizationsClient"],
        *,
        role_arn: str,
        policy_name: str,
        target: str,
        external_anthropic: bool,
    ) -> None:
        """Take how to call, the role in the management account, the SCP's name, and an account or OU id."""
        self._sts = sts
        self._organizations = organizations
        self._role_arn = role_arn
        self._policy_name = policy_name
        self._target = target
        self._external_anthropic = external_anthropic
        self._client: OrganizationsClient | None = None

    @needs("sts:AssumeRole", on=On.ORGANIZATION_ROLE)
    @needs("organizations:ListPolicies", on=On.ORGANIZATION)
    @needs("organizations:ListPoliciesForTarget", "organizations:DescribePolicy", on=On.STOP_SCP)
    def find(self, level: Level, spared: Spared) -> Found:
        """Return the SCP where it is wanted and not attached.

        One that exempts others than the configuration says is not used: it could stop who is never to be touched.
        """
        if level is not Level.STOP:
            return Found()
        try:
            organizations = self._assumed()
            with calls.named("organizations:ListPoliciesForTarget"):
                on_target = organizations.get_paginator("list_policies_for_target").paginate(
                    TargetId=self._target, Filter=_SCP
                )
                if any(each["Name"] == self._policy_name for page in on_target for each in page["Policies"]):
                    return Found()
            policy_id = self._policy_id(organizations)
            if policy_id is None:
                return Found(unread={self._words: f"there is no such policy: {self._remedy}"})
            with calls.named("organizations:DescribePolicy"):
                content = organizations.describe_policy(PolicyId=policy_id)["Policy"]["Content"]
        except AwsCallError as error:
            return Found(unread={self._words: str(error)})
        wanted = scp.stop_scp(spared, external_anthropic=self._external_anthropic)
        if scp.spares_others(content, wanted):
            return Found(
                unread={self._words: f"it exempts others than guardrail.toml, so it is not used: {self._remedy}"}
            )
        held = Held(self.name, self._target, self._words, {"attached": False, "policy_id": policy_id})
        stale = {self._words: f"it denies other actions than this version knows: {self._remedy}"}
        return Found((held,), uncovered=stale if scp.differs(content, wanted) else {})

    @needs("sts:AssumeRole", on=On.ORGANIZATION_ROLE)
    @needs("organizations:AttachPolicy", on=On.STOP_SCP)
    def hold(self, held: Held, level: Level) -> None:
        """Attach it; no error where it is attached. Raises AwsCallError."""
        del level  # it is found at a stop alone
        policy_id = recalled.value(held, "policy_id", str)
        organizations = self._assumed()
        with gone.passes("DuplicatePolicyAttachmentException"), calls.named("organizations:AttachPolicy"):
            organizations.attach_policy(PolicyId=policy_id, TargetId=held.key)

    @needs("sts:AssumeRole", on=On.ORGANIZATION_ROLE)
    @needs("organizations:DetachPolicy", on=On.STOP_SCP)
    def restore(self, held: Held) -> None:
        """Detach it, unless it was attached before; no error where it, or the target, is gone. Raises AwsCallError."""
        policy_id = recalled.value(held, "policy_id", str)
        if recalled.value(held, "attached", bool):
            return
        organizations = self._assumed()
        with ExitStack() as stack:
            for code in ("PolicyNotAttachedException", "PolicyNotFoundException", "TargetNotFoundException"):
                stack.enter_context(gone.passes(code))
            stack.enter_context(calls.named("organizations:DetachPolicy"))
            organizations.detach_policy(PolicyId=policy_id, TargetId=held.key)

    def _assumed(self) -> "OrganizationsClient":
        if self._client is None:
            try:
                with calls.named("sts:AssumeRole"):
                    answer = self._sts.assume_role(RoleArn=self._role_arn, RoleSessionName=_SESSION)
            except AwsCallError as error:
                if error.code != _REFUSED:
                    raise
                msg = f"{self._role_arn} refuses: {self._remedy}"
                raise AwsCallError(error.operation, error.code, msg) from error
            # Good for an hour, four times as long as a function runs.
            self._client = self._organizations(answer["Credentials"])
        return self._client

    def _policy_id(self, organizations: "OrganizationsClient") -> str | None:
        with calls.named("organizations:ListPolicies"):
            pages = organizations.get_paginator("list_policies").paginate(Filter=_SCP)
            return next(
                (each["Id"] for page in pages for each in page["Policies"] if each["Name"] == self._policy_name), None
            )

    @property
    def _words(self) -> str:
        return f"SCP {self._policy_name} on {self._target}"

    @property
    def _remedy(self) -> str:
        account = self._role_arn.split(":")[4]
        return f"with the credentials of account {account}, make deploy CDK_ARGS='-c organization=true'"
