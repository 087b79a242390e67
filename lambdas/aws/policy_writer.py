"""IAM, the installer's part: writing and deleting the guardrail's own policies and groups."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from lambdas.aws import calls
from lambdas.aws.iam import detach, holders_of
from lambdas.core.errors import AwsCallError, RefusedError
from lambdas.core.levels import Document
from lambdas.core.permissions import On, needs
from lambdas.installing import Group, Version

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

_T = TypeVar("_T")

_GONE, _IN_USE = "NoSuchEntity", "DeleteConflict"
_OWNED_BY = "Brake of the Bedrock spend guardrail "
_ATTEMPTS, _PAUSE_SECONDS = 6, 3.0


class OwnPolicies:
    """Writes the three policies and the two groups; the only code that may, and it may touch nothing else."""

    def __init__(self, client: "IAMClient", us: str, pause: Callable[[float], None]) -> None:
        """Take the client, the name of this deployment, and how to wait so many seconds."""
        self._iam = client
        self._us = us
        self._pause = pause
        self._documents: dict[tuple[str, str], Document] = {}
        """By policy and version: a version never changes."""

    @needs("iam:ListPolicyVersions", "iam:GetPolicyVersion", on=On.OWN_POLICIES)
    def versions(self, arn: str) -> Sequence[Version] | None:
        """Return all versions, None when there is no such policy."""
        try:
            with calls.named("iam:ListPolicyVersions"):
                listed = self._iam.list_policy_versions(PolicyArn=arn)["Versions"]
        except AwsCallError as error:
            if error.code == _GONE:
                return None
            raise
        versions = []
        for each in listed:
            known = self._documents.get((arn, each["VersionId"]))
            if known is None:
                try:
                    with calls.named("iam:GetPolicyVersion"):
                        found = self._iam.get_policy_version(PolicyArn=arn, VersionId=each["VersionId"])
                except AwsCallError as error:
                    if error.code == _GONE:
                        continue  # another writer deleted it in between
                    raise
                known = self._documents[arn, each["VersionId"]] = _document(found["PolicyVersion"]["Document"])
            versions.append(Version(each["VersionId"], known, each["IsDefaultVersion"]))
        return versions

    @needs("iam:GetPolicy", on=On.OWN_POLICIES)
    def owner(self, arn: str) -> str | None:
        """Return the deployment the policy belongs to, empty for a foreign policy, None when there is none."""
        try:
            with calls.named("iam:GetPolicy"):
                description = self._iam.get_policy(PolicyArn=arn)["Policy"].get("Description", "")
        except AwsCallError as error:
            if error.code == _GONE:
                return None
            raise
        # A policy's description cannot be changed, so it is the one mark that stays.
        return description.removeprefix(_OWNED_BY).partition(". ")[0] if description.startswith(_OWNED_BY) else ""

    @needs("iam:CreatePolicy", on=On.OWN_POLICIES)
    def create(self, name: str, document: Document) -> Version:
        """Create the policy, marked as ours, and return its first version, the default one."""
        with calls.named("iam:CreatePolicy"):
            created = self._iam.create_policy(
                PolicyName=name,
                PolicyDocument=_only_denies(document),
                Description=f"{_OWNED_BY}{self._us}. Its default version is the brake; do not edit or detach.",
            )
        return Version(created["Policy"]["DefaultVersionId"], document, is_default=True)

    @needs("iam:CreatePolicyVersion", on=On.OWN_POLICIES)
    def create_version(self, arn: str, document: Document) -> Version:
        """Add a version, not as the default one."""
        return self._version(arn, document, is_default=False)

    @needs("iam:CreatePolicyVersion", on=On.OWN_POLICIES)
    def replace(self, arn: str, document: Document) -> Version:
        """Add a version as the default one."""
        return self._version(arn, document, is_default=True)

    def _version(self, arn: str, document: Document, *, is_default: bool) -> Version:
        text = _only_denies(document)
        # Right after CreatePolicy, IAM may not know the policy yet.
        created = self._patiently(
            "iam:CreatePolicyVersion",
            _GONE,
            lambda: self._iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=is_default),
        )
        version = created["PolicyVersion"]["VersionId"]
        self._documents[arn, version] = document
        return Version(version, document, is_default)

    @needs("iam:SetDefaultPolicyVersion", on=On.LEVEL_POLICIES)
    def set_default(self, arn: str, version_id: str) -> None:
        """Make a version the default one."""
        with calls.named("iam:SetDefaultPolicyVersion"):
            self._iam.set_default_policy_version(PolicyArn=arn, VersionId=version_id)

    @needs("iam:DeletePolicyVersion", on=On.OWN_POLICIES)
    def delete_version(self, arn: str, version_id: str) -> None:
        """Delete a version that is not the default one; no error where there is none."""
        with _gone_is_fine():
            self._patiently(
                "iam:DeletePolicyVersion",
                _IN_USE,
                lambda: self._iam.delete_policy_version(PolicyArn=arn, VersionId=version_id),
            )

    @needs("iam:ListEntitiesForPolicy", on=On.OWN_POLICIES)
    def holders(self, arn: str) -> frozenset[str]:
        """Return whom the policy is attached to, groups left out."""
        return holders_of(self._iam, arn)

    @needs("iam:DetachRolePolicy", "iam:DetachUserPolicy", on=On.PRINCIPALS_WITH_ANY)
    def detach(self, arn: str, holder: str) -> None:
        """Detach the policy; no error where it is not attached any more."""
        with _gone_is_fine():
            detach(self._iam, arn, holder)

    @needs("iam:DeletePolicy", on=On.OWN_POLICIES)
    def delete(self, arn: str) -> None:
        """Delete the policy; no error where there is none."""
        with _gone_is_fine():
            self._patiently("iam:DeletePolicy", _IN_USE, lambda: self._iam.delete_policy(PolicyArn=arn))
        self._documents.clear()

    @needs("iam:GetGroup", "iam:ListAttachedGroupPolicies", on=On.OWN_GROUPS_BY_NAME)
    def group(self, name: str) -> Group | None:
        """Return the group, None when there is none."""
        try:
            with calls.named("iam:GetGroup"):
                pages = list(self._iam.get_paginator("get_group").paginate(GroupName=name))
            with calls.named("iam:ListAttachedGroupPolicies"):
                attached = list(self._iam.get_paginator("list_attached_group_policies").paginate(GroupName=name))
        except AwsCallError as error:
            if error.code == _GONE:
                return None
            raise
        return Group(
            path=pages[0]["Group"]["Path"],
            members=tuple(user["UserName"] for page in pages for user in page["Users"]),
            policies=frozenset(each["PolicyArn"] for page in attached for each in page["AttachedPolicies"]),
        )

    @needs("iam:CreateGroup", on=On.OWN_GROUPS)
    def create_group(self, name: str, path: str) -> None:
        """Create a group."""
        with calls.named("iam:CreateGroup"):
            self._iam.create_group(GroupName=name, Path=path)

    @needs("iam:AttachGroupPolicy", on=On.OWN_GROUPS_WITH_OURS)
    def attach_to_group(self, name: str, arn: str) -> None:
        """Attach a policy to a group."""
        # Right after CreateGroup, IAM may not know the group yet.
        self._patiently(
            "iam:AttachGroupPolicy", _GONE, lambda: self._iam.attach_group_policy(GroupName=name, PolicyArn=arn)
        )

    @needs("iam:RemoveUserFromGroup", on=On.OWN_GROUPS)
    def leave_group(self, name: str, user: str) -> None:
        """Take a user out of a group; no error where it is no member any more."""
        with _gone_is_fine(), calls.named("iam:RemoveUserFromGroup"):
            self._iam.remove_user_from_group(GroupName=name, UserName=user)

    @needs("iam:DetachGroupPolicy", on=On.OWN_GROUPS_WITH_OURS)
    def detach_from_group(self, name: str, arn: str) -> None:
        """Detach a policy from a group; no error where it is not attached any more."""
        with _gone_is_fine(), calls.named("iam:DetachGroupPolicy"):
            self._iam.detach_group_policy(GroupName=name, PolicyArn=arn)

    @needs("iam:DeleteGroup", on=On.OWN_GROUPS)
    def delete_group(self, name: str) -> None:
        """Delete a group; no error where there is none."""
        with _gone_is_fine():
            self._patiently("iam:DeleteGroup", _IN_USE, lambda: self._iam.delete_group(GroupName=name))

    def wait(self) -> None:
        """Wait a moment, for IAM to catch up or another writer to finish."""
        self._pause(_PAUSE_SECONDS)

    def _patiently(self, action: str, code: str, call: Callable[[], _T]) -> _T:
        """Call, and call again for a while where IAM answers with the code of what has just ceased to be so.

        IAM is eventually consistent: right after a write it may still see what was before.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                with calls.named(action):
                    return call()
            except AwsCallError as error:
                if error.code != code:
                    raise
                self._pause(_PAUSE_SECONDS)
        with calls.named(action):
            return call()


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except AwsCallError as error:
        if error.code != _GONE:
            raise


def _only_denies(document: Document) -> str:
    """Return the document as IAM takes it. Raises RefusedError for one that could allow anything."""
    statements = document.get("Statement")
    if not isinstance(statements, list) or not statements or any(each.get("Effect") != "Deny" for each in statements):
        msg = "nothing was written: a policy of the guardrail may hold nothing but statements that deny"
        raise RefusedError(msg)
    return json.dumps(document)


def _document(document: object) -> Document:
    # botocore has decoded what IAM sends as text; the stubs allow for both.
    parsed: Document = json.loads(document) if isinstance(document, str) else cast("Document", document)
    return parsed
