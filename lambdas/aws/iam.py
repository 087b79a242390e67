"""IAM: the guardrail's two policies, and who in the account can spend."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.core.levels import Level, level_of
from lambdas.core.permissions import On, needs
from lambdas.core.plan import Attach, BrakeState, Detach, PolicyState, Switch
from lambdas.core.principals import Principal, PrincipalKind, capability_of

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


class BrakePolicies:
    """The brake and the sweep policy. Neither writes a version: that is the installer's alone."""

    def __init__(self, client: "IAMClient", *, brake_arn: str, sweep_arn: str) -> None:
        """Take the client and the ARNs."""
        self._iam = client
        self.brake_arn = brake_arn
        self.sweep_arn = sweep_arn

    @needs("iam:ListPolicyVersions", "iam:GetPolicyVersion", on=On.OWN_POLICIES)
    def levels(self) -> BrakeState:
        """Return both policies without their holders."""
        return BrakeState(self.policy(self.brake_arn), self.policy(self.sweep_arn))

    @needs("iam:ListPolicyVersions", "iam:GetPolicyVersion", on=On.OWN_POLICIES)
    def policy(self, arn: str) -> PolicyState:
        """Return one of the policies without its holders."""
        with calls.named("iam:ListPolicyVersions"):
            listed = self._iam.list_policy_versions(PolicyArn=arn)["Versions"]
        current, default = None, ""
        versions: dict[Level, str] = {}
        # Oldest first, so that the newest of a level is the one that stays.
        for each in sorted(listed, key=lambda version: int(version["VersionId"].removeprefix("v"))):
            with calls.named("iam:GetPolicyVersion"):
                found = self._iam.get_policy_version(PolicyArn=arn, VersionId=each["VersionId"])["PolicyVersion"]
            level = level_of(found["Document"])
            if level is not None:
                versions[level] = each["VersionId"]
            if each["IsDefaultVersion"]:
                current, default = level, each["VersionId"]
        return PolicyState(arn, current, versions, default)

    @needs("iam:ListEntitiesForPolicy", on=On.OWN_POLICIES)
    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy is attached to, as ``role/name`` and ``user/name``."""
        return holders_of(self._iam, policy_arn)

    @needs("iam:SetDefaultPolicyVersion", on=On.OWN_POLICIES)
    def switch(self, step: Switch) -> None:
        """Make a version the default one."""
        with calls.named("iam:SetDefaultPolicyVersion"):
            self._iam.set_default_policy_version(PolicyArn=step.policy_arn, VersionId=step.version_id)

    @needs("iam:AttachRolePolicy", "iam:AttachUserPolicy", on=On.PRINCIPALS_WITH_BRAKE)
    def arm(self, step: Attach) -> None:
        """Attach the brake policy."""
        _attach(self._iam, self.brake_arn, step.holder)

    @needs("iam:AttachRolePolicy", "iam:AttachUserPolicy", on=On.PRINCIPALS_WITH_SWEEP)
    def sweep(self, step: Attach) -> None:
        """Attach the sweep policy."""
        _attach(self._iam, self.sweep_arn, step.holder)

    @needs("iam:DetachRolePolicy", "iam:DetachUserPolicy", on=On.PRINCIPALS_WITH_SWEEP)
    def leave(self, step: Detach) -> None:
        """Detach the sweep policy."""
        detach(self._iam, self.sweep_arn, step.holder)


def holders_of(client: "IAMClient", policy_arn: str) -> frozenset[str]:
    """Return whom a policy is attached to; groups are not among them, the guardrail attaches to none."""
    with calls.named("iam:ListEntitiesForPolicy"):
        pages = list(client.get_paginator("list_entities_for_policy").paginate(PolicyArn=policy_arn))
    return frozenset(
        holder
        for page in pages
        for holder in (
            *(f"role/{each['RoleName']}" for each in page.get("PolicyRoles", ())),
            *(f"user/{each['UserName']}" for each in page.get("PolicyUsers", ())),
        )
    )


def _attach(client: "IAMClient", policy_arn: str, holder: str) -> None:
    kind, name = _split(holder)
    if kind is PrincipalKind.ROLE:
        with calls.named("iam:AttachRolePolicy"):
            client.attach_role_policy(RoleName=name, PolicyArn=policy_arn)
    else:
        with calls.named("iam:AttachUserPolicy"):
            client.attach_user_policy(UserName=name, PolicyArn=policy_arn)


def detach(client: "IAMClient", policy_arn: str, holder: str) -> None:
    """Detach a policy. Each caller declares the permission for the policy it detaches."""
    kind, name = _split(holder)
    if kind is PrincipalKind.ROLE:
        with calls.named("iam:DetachRolePolicy"):
            client.detach_role_policy(RoleName=name, PolicyArn=policy_arn)
    else:
        with calls.named("iam:DetachUserPolicy"):
            client.detach_user_policy(UserName=name, PolicyArn=policy_arn)


def _split(holder: str) -> tuple[PrincipalKind, str]:
    kind, _, name = holder.partition("/")
    return PrincipalKind(kind), name


class Account:
    """All roles and users of the account."""

    def __init__(self, client: "IAMClient", *, external_anthropic: bool) -> None:
        """Take the client, and whether Claude Platform on AWS counts as Bedrock spend."""
        self._iam = client
        self._external_anthropic = external_anthropic

    @needs("iam:GetAccountAuthorizationDetails", on=On.EVERYTHING)
    def principals(self) -> Sequence[Principal]:
        """Return all roles and users with their capability."""
        with calls.named("iam:GetAccountAuthorizationDetails"):
            pages = list(
                self._iam.get_paginator("get_account_authorization_details").paginate(
                    # Without a filter everything comes, the policies' documents included.
                    PaginationConfig={"PageSize": 1000}
                )
            )
        managed = {
            policy["Arn"]: next(
                (version["Document"] for version in policy["PolicyVersionList"] if version["IsDefaultVersion"]), None
            )
            for page in pages
            for policy in page.get("Policies", ())
        }
        groups = {group["GroupName"]: group for page in pages for group in page.get("GroupDetailList", ())}
        return [
            *(
                self._principal(PrincipalKind.ROLE, each, managed, {})
                for page in pages
                for each in page["RoleDetailList"]
            ),
            *(
                self._principal(PrincipalKind.USER, each, managed, groups)
                for page in pages
                for each in page["UserDetailList"]
            ),
        ]

    def _principal(
        self, kind: PrincipalKind, details: Mapping[str, Any], managed: Mapping[str, Any], groups: Mapping[str, Any]
    ) -> Principal:
        name = details["RoleName" if kind is PrincipalKind.ROLE else "UserName"]
        # A group that is not in the answer could allow anything: an empty one stands for a policy unread.
        unread: dict[str, Any] = {"GroupPolicyList": [{"PolicyDocument": None}]}
        member_of = [groups.get(group, unread) for group in details.get("GroupList", ())]
        attached = [each["PolicyArn"] for each in details.get("AttachedManagedPolicies", ())]
        documents = [
            *(each.get("PolicyDocument") for each in details.get("RolePolicyList", details.get("UserPolicyList", ()))),
            *(managed.get(arn) for arn in attached),
            *(each.get("PolicyDocument") for group in member_of for each in group.get("GroupPolicyList", ())),
            *(
                managed.get(each["PolicyArn"])
                for group in member_of
                for each in group.get("AttachedManagedPolicies", ())
            ),
        ]
        return Principal(
            arn=details["Arn"],
            kind=kind,
            name=name,
            path=details["Path"],
            capability=capability_of(documents, external_anthropic=self._external_anthropic),
            attached=frozenset(attached),
        )
