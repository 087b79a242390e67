"""IAM: who is in the account, and who of them can spend."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.core.errors import AwsCallError
from lambdas.core.inline_deny import is_ours
from lambdas.core.permissions import On, needs
from lambdas.core.principals import Capability, Principal, PrincipalKind, Quotas, capability_of, strongest

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

_LISTING = "iam:GetAccountAuthorizationDetails"


class Account:
    """All roles, users and groups of the account."""

    def __init__(self, client: "IAMClient", *, external_anthropic: bool) -> None:
        """Take the client, and whether Claude Platform on AWS counts as Bedrock spend."""
        self._iam = client
        self._external_anthropic = external_anthropic

    @needs("iam:GetAccountAuthorizationDetails", "iam:GetAccountSummary", on=On.EVERYTHING)
    def principals(self) -> Sequence[Principal]:
        """Return all roles, users and groups with their capability. Raises AwsCallError, also for half an answer."""
        with calls.named(_LISTING):
            pages: list[Mapping[str, Any]] = list(
                self._iam.get_paginator("get_account_authorization_details").paginate(
                    # Without a filter everything comes, the policies' documents included.
                    PaginationConfig={"PageSize": 1000}
                )
            )
        for wanted in ("RoleDetailList", "UserDetailList"):
            if not any(wanted in page for page in pages):
                raise AwsCallError(_LISTING, "IncompleteAnswer", f"no page has a {wanted}")
        # The paginator takes an answer that is cut off without a marker for the last one.
        if pages[-1].get("IsTruncated"):
            raise AwsCallError(_LISTING, "IncompleteAnswer", "the last page says that more follow, and not where")
        return _Census(pages, self._quotas(), external_anthropic=self._external_anthropic).everybody()

    def _quotas(self) -> Quotas:
        try:
            with calls.named("iam:GetAccountSummary"):
                answer: Mapping[str, Any] = self._iam.get_account_summary()
            return Quotas.from_summary(answer.get("SummaryMap", {}))
        except AwsCallError:
            # They only tell beforehand whom an attachment will be refused for, and IAM tells it then in any case: no
            # reason to stop nobody.
            return Quotas()


class _Census:
    """The pages of one answer. A managed policy or group is judged once, however many hold it."""

    def __init__(self, pages: Sequence[Mapping[str, Any]], quotas: Quotas, *, external_anthropic: bool) -> None:
        self._pages = pages
        self._quotas = quotas
        self._external_anthropic = external_anthropic
        self._policies = {
            policy["Arn"]: self._judge(
                next((each.get("Document") for each in policy["PolicyVersionList"] if each["IsDefaultVersion"]), None)
            )
            for policy in self._all("Policies")
        }
        self._groups = {
            each["GroupName"]: self._own_capability(each, "GroupPolicyList") for each in self._all("GroupDetailList")
        }

    def everybody(self) -> list[Principal]:
        """Return roles, users and groups, each as IAM lists them."""
        return [
            *map(self._role, self._all("RoleDetailList")),
            *map(self._user, self._all("UserDetailList")),
            *map(self._group, self._all("GroupDetailList")),
        ]

    def _all(self, key: str) -> Iterable[Mapping[str, Any]]:
        return (each for page in self._pages for each in page.get(key, ()))

    def _role(self, role: Mapping[str, Any]) -> Principal:
        return self._principal(
            PrincipalKind.ROLE,
            role,
            capability=self._own_capability(role, "RolePolicyList"),
            slots=self._quotas.policies_per_role,
            last_used=(role.get("RoleLastUsed") or {}).get("LastUsedDate"),
        )

    def _user(self, user: Mapping[str, Any]) -> Principal:
        groups = tuple(user.get("GroupList", ()))
        # A group that is not in the answer could allow anything.
        through = (self._groups.get(each, Capability.WILDCARD) for each in groups)
        return self._principal(
            PrincipalKind.USER,
            user,
            capability=strongest([self._own_capability(user, "UserPolicyList"), *through]),
            slots=self._quotas.policies_per_user,
            groups=groups,
        )

    def _group(self, group: Mapping[str, Any]) -> Principal:
        return self._principal(PrincipalKind.GROUP, group, capability=self._groups[group["GroupName"]])

    def _principal(
        self,
        kind: PrincipalKind,
        details: Mapping[str, Any],
        *,
        capability: Capability,
        slots: int | None = None,
        last_used: datetime | None = None,
        groups: tuple[str, ...] = (),
    ) -> Principal:
        attached = tuple(each["PolicyArn"] for each in details.get("AttachedManagedPolicies", ()))
        return Principal(
            arn=details["Arn"],
            kind=kind,
            name=details[f"{kind.title()}Name"],
            path=details["Path"],
            capability=capability,
            attached=frozenset(attached),
            attached_in_order=attached,
            inline=frozenset(
                each["PolicyName"]
                for each in details.get(f"{kind.title()}PolicyList", ())
                if is_ours(each.get("PolicyDocument"))
            ),
            groups=groups,
            full=slots is not None and len(attached) >= slots,
            groups_full=kind is PrincipalKind.USER and len(groups) >= self._quotas.groups_per_user,
            boundary=(details.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", ""),
            tags={each["Key"]: each["Value"] for each in details.get("Tags", ())},
            last_used=last_used.astimezone(UTC) if last_used else None,
            unique_id=details.get(f"{kind.title()}Id", ""),
        )

    def _own_capability(self, details: Mapping[str, Any], inline: str) -> Capability:
        return strongest(
            [
                self._judge(*(each.get("PolicyDocument") for each in details.get(inline, ()))),
                # A policy that is not in the answer could allow anything.
                *(
                    self._policies.get(each["PolicyArn"], Capability.WILDCARD)
                    for each in details.get("AttachedManagedPolicies", ())
                ),
            ]
        )

    def _judge(self, *documents: Mapping[str, Any] | str | None) -> Capability:
        return capability_of(documents, external_anthropic=self._external_anthropic)
