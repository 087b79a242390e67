"""IAM: the one inline policy of ours, on roles. Only the function that has the right to it makes these calls."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls, gone
from lambdas.core.errors import AwsCallError, GuardrailError, RefusedError, UnfinishedError
from lambdas.core.inline_deny import InlineChange, is_ours
from lambdas.core.levels import Document
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

_GONE = "NoSuchEntity"


class InlineDeny:
    """Puts one document under one name, and takes nothing else away. IAM's permissions know neither: this does."""

    def __init__(self, client: "IAMClient", name: str, document: Document) -> None:
        """Take the client, the policy's name, and what it says on whatever role."""
        self._iam = client
        self._name = name
        self._document = document

    def carry_out(self, change: InlineChange) -> dict[str, list[str]]:
        """Give and take it, each role by itself. Raises UnfinishedError in the end, with every role that failed."""
        failed: list[str] = []
        for act, roles in ((self.deny, change.deny), (self.allow, change.allow)):
            for role in roles:
                try:
                    act(role)
                except GuardrailError as error:
                    failed.append(f"role/{role}: {error}")
        if failed:
            raise UnfinishedError("; ".join(failed))
        return {"denied": list(change.deny), "allowed": list(change.allow)}

    @needs("iam:GetRolePolicy", "iam:PutRolePolicy", on=On.ROLES_TO_DENY_INLINE)
    def deny(self, role: str) -> None:
        """Let the role have the deny; a role that is gone needs none.

        Raises AwsCallError, and RefusedError where a policy of that name is somebody else's.
        """
        found = self._found(role)
        if found == self._document:
            return
        self._refuse_foreign(role, found)
        with gone.passes(_GONE), calls.named("iam:PutRolePolicy"):
            self._iam.put_role_policy(
                RoleName=role,
                PolicyName=self._name,
                PolicyDocument=json.dumps(self._document, separators=(",", ":")),
            )

    @needs("iam:GetRolePolicy", "iam:DeleteRolePolicy", on=On.ROLES_TO_ALLOW_INLINE)
    def allow(self, role: str) -> None:
        """Take the deny from the role again, whatever a version of before wrote into it; raises as `deny` does."""
        found = self._found(role)
        if found is None:
            return
        self._refuse_foreign(role, found)
        with gone.passes(_GONE), calls.named("iam:DeleteRolePolicy"):
            self._iam.delete_role_policy(RoleName=role, PolicyName=self._name)

    def _found(self, role: str) -> Mapping[str, Any] | str | None:
        """Return what the policy of that name says; None without it, or without the role."""
        try:
            with calls.named("iam:GetRolePolicy"):
                return self._iam.get_role_policy(RoleName=role, PolicyName=self._name)["PolicyDocument"]
        except AwsCallError as error:
            if error.code != _GONE:
                raise
            return None

    def _refuse_foreign(self, role: str, found: Mapping[str, Any] | str | None) -> None:
        if found is not None and not is_ours(found):
            msg = f"the inline policy {self._name} of role/{role} was not written by the guardrail: rename it"
            raise RefusedError(msg)
