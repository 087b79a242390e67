"""IAM: the guardrail's three policies, and the groups two of them hang on."""

from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.core.brake_documents import narrow_scopes
from lambdas.core.errors import AwsCallError, GuardrailError
from lambdas.core.levels import Level, level_of
from lambdas.core.permissions import On, needs
from lambdas.core.plan import Attach, BrakeState, Detach, Join, Leave, PolicyState, Switch, group_of
from lambdas.core.principals import PrincipalKind
from lambdas.core.scopes import Scope

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient


_LOOKS = 3


class BrakePolicies:
    """The brake, the sweep and the deny policy. None of this writes a version: that is the installer's alone."""

    def __init__(self, client: "IAMClient", *, brake_arn: str, sweep_arn: str, deny_arn: str) -> None:
        """Take the client and the ARNs."""
        self._iam = client
        self.brake_arn = brake_arn
        self.sweep_arn = sweep_arn
        self.deny_arn = deny_arn

    @needs("iam:ListPolicyVersions", "iam:GetPolicyVersion", on=On.OWN_POLICIES)
    def levels(self) -> BrakeState:
        """Return the brake and the sweep policy."""
        return BrakeState(self.policy(self.brake_arn), self.policy(self.sweep_arn))

    @needs("iam:ListPolicyVersions", "iam:GetPolicyVersion", on=On.OWN_POLICIES)
    def policy(self, arn: str) -> PolicyState:
        """Return one of the two."""
        for _ in range(_LOOKS - 1):
            try:
                return self._policy(arn)
            except AwsCallError as error:
                # The writer has put another version in the place of one that was listed: look again.
                if error.code != "NoSuchEntity":
                    raise
        return self._policy(arn)

    def _policy(self, arn: str) -> PolicyState:
        with calls.named("iam:ListPolicyVersions"):
            listed = self._iam.list_policy_versions(PolicyArn=arn)["Versions"]
        current, default = None, ""
        denied: tuple[Scope, ...] = ()
        narrow: list[frozenset[Scope]] = []
        versions: dict[Level, str] = {}
        # Oldest first, so that the newest of a level is the one that stays.
        for each in sorted(listed, key=lambda version: int(version["VersionId"].removeprefix("v"))):
            with calls.named("iam:GetPolicyVersion"):
                found = self._iam.get_policy_version(PolicyArn=arn, VersionId=each["VersionId"])["PolicyVersion"]
            level = level_of(found["Document"])
            scopes = _scopes(found["Document"])
            if level is not None:
                versions[level] = each["VersionId"]
                # An older version of a level too: where one is left, a writer has died before it was done.
                narrow.append(frozenset(scopes))
            if each["IsDefaultVersion"]:
                current, default, denied = level, each["VersionId"], scopes
        return PolicyState(
            arn,
            current,
            versions,
            default,
            denied,
            narrow[0].intersection(*narrow) if narrow else frozenset(),
            frozenset().union(*narrow),
        )

    @needs("iam:ListEntitiesForPolicy", on=On.OWN_POLICIES)
    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy is attached to, as ``role/name`` and ``user/name``."""
        return holders_of(self._iam, policy_arn)

    @needs("iam:GetGroup", on=On.OWN_GROUPS_BY_NAME)
    def members(self, policy_arn: str) -> frozenset[str]:
        """Return who is in the group of a policy, as ``user/name``; nobody where there is no such group."""
        try:
            with calls.named("iam:GetGroup"):
                pages = list(self._iam.get_paginator("get_group").paginate(GroupName=group_of(policy_arn)))
        except AwsCallError as error:
            if error.code == "NoSuchEntity":
                return frozenset()
            raise
        return frozenset(f"user/{each['UserName']}" for page in pages for each in page["Users"])

    @needs("iam:GetGroup", "iam:ListAttachedGroupPolicies", on=On.OWN_GROUPS_BY_NAME)
    def reached(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy reaches through its group: nobody where somebody took the policy off it."""
        members = self.members(policy_arn)
        if not members:
            return members
        with calls.named("iam:ListAttachedGroupPolicies"):
            held = self._iam.list_attached_group_policies(GroupName=group_of(policy_arn))["AttachedPolicies"]
        return members if policy_arn in {each["PolicyArn"] for each in held} else frozenset()

    @needs("iam:SetDefaultPolicyVersion", on=On.LEVEL_POLICIES)
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

    @needs("iam:AttachRolePolicy", "iam:AttachUserPolicy", on=On.PRINCIPALS_WITH_DENY)
    def deny(self, step: Attach) -> None:
        """Attach the deny policy."""
        _attach(self._iam, self.deny_arn, step.holder)

    @needs("iam:AddUserToGroup", on=On.OWN_GROUPS)
    def join(self, step: Join) -> None:
        """Add a user to a group of ours."""
        with calls.named("iam:AddUserToGroup"):
            self._iam.add_user_to_group(GroupName=step.group, UserName=_split(step.holder)[1])

    @needs("iam:DetachRolePolicy", "iam:DetachUserPolicy", on=On.PRINCIPALS_WITH_SWEEP)
    @needs("iam:DetachRolePolicy", "iam:DetachUserPolicy", on=On.PRINCIPALS_WITH_DENY)
    def leave(self, step: Detach) -> None:
        """Detach the sweep or the deny policy."""
        detach(self._iam, step.policy_arn, step.holder)

    @needs("iam:RemoveUserFromGroup", on=On.OWN_GROUPS)
    def part(self, step: Leave) -> None:
        """Take a user out of a group of ours."""
        with calls.named("iam:RemoveUserFromGroup"):
            self._iam.remove_user_from_group(GroupName=step.group, UserName=_split(step.holder)[1])


def _scopes(document: Any) -> tuple[Scope, ...]:  # noqa: ANN401 - botocore has decoded it
    try:
        return narrow_scopes(document)
    except GuardrailError:
        # Edited by hand: a switch must not wait for that. What is wanted is asked of the writer, who tells.
        return ()


def holders_of(client: "IAMClient", policy_arn: str) -> frozenset[str]:
    """Return whom a policy is attached to; groups are not among them, the guardrail attaches to none."""
    with calls.named("iam:ListEntitiesForPolicy"):
        # Not who has it as a permissions boundary: that denies nothing.
        asked = client.get_paginator("list_entities_for_policy").paginate(
            PolicyArn=policy_arn, PolicyUsageFilter="PermissionsPolicy"
        )
        pages = list(asked)
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
