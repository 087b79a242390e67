"""IAM, detach mode: configured allow-policies are taken from their holders at a stop and put back at the release."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from lambdas.aws import calls, gone, recalled
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.permissions import On, needs
from lambdas.core.principals import Principal, PrincipalKind, Spared

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

_GONE = "NoSuchEntity"
_CUT_OFF = "the last page says that more follow, and not where"
_LISTING = "iam:ListEntitiesForPolicy"

logger = Logger(service="allow-policy")


@dataclass(frozen=True, slots=True)
class _Attachment:
    policy: str
    version: str
    kind: PrincipalKind
    name: str
    unique_id: str

    @property
    def holder(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def words(self) -> str:
        return f"{self.policy.rpartition('/')[2]} of {self.holder}"

    @property
    def key(self) -> str:
        # With the id: one that is made anew under the same name while everything is stopped is another holder.
        return f"{self.holder} {self.unique_id} {self.policy}"


class AllowPolicies:
    """The lever of detach mode. What it puts back is what a `Held` says, and never a policy that is not configured.

    IAM evaluates attached policies as a set and lets nobody order them, so what comes back is attached last; where
    it was in IAM's listing is remembered for people.
    """

    name = "allow-policy"

    def __init__(
        self, client: "IAMClient", policies: Sequence[str], everybody: Callable[[], Sequence[Principal]]
    ) -> None:
        """Take the client, the policies' ARNs, and how to learn who is in the account, groups included."""
        self._iam = client
        self._policies = tuple(policies)
        self._everybody = everybody

    @needs("iam:ListEntitiesForPolicy", "iam:GetPolicy", on=On.ALLOW_POLICIES)
    def find(self, level: Level, spared: Spared) -> Found:
        """Return each attachment of each policy, but for the exempt, and for whom IAM lets nobody touch.

        A group with an exempt user in it is left and told: taking its policy would take it from that user too.
        """
        if level is not Level.STOP:
            return Found()
        attachments, unread, uncovered = self._attachments()
        if not attachments:
            return Found((), unread, uncovered)
        try:
            people = {(each.kind, each.name): each for each in self._everybody()}
        except AwsCallError as error:
            return Found((), unread | {each.words: str(error) for each in attachments}, uncovered)
        to_hold: list[Held] = []
        for each in attachments:
            holder = people.get((each.kind, each.name))
            if holder is None:
                # Made or deleted a moment ago. Without its path and tags nobody knows whether it is exempt.
                unread[each.words] = "IAM does not tell of this holder yet; the next pass looks again"
            elif spared.covers(holder) or holder.service_linked:
                continue
            elif why_not := _out_of_reach(holder, people.values(), spared):
                uncovered[each.words] = why_not
            else:
                to_hold.append(self._held(each, holder))
        return Found(tuple(to_hold), unread, uncovered)

    @needs("iam:DetachRolePolicy", "iam:DetachUserPolicy", "iam:DetachGroupPolicy", on=On.HOLDERS_OF_ALLOW_POLICIES)
    def hold(self, held: Held, level: Level) -> None:
        """Detach the policy; no error where it is not attached any more. Raises AwsCallError."""
        del level  # it is found at a stop alone
        kind, name, policy = _target(held)
        with gone.passes(_GONE):
            match kind:
                case PrincipalKind.ROLE:
                    with calls.named("iam:DetachRolePolicy"):
                        self._iam.detach_role_policy(RoleName=name, PolicyArn=policy)
                case PrincipalKind.USER:
                    with calls.named("iam:DetachUserPolicy"):
                        self._iam.detach_user_policy(UserName=name, PolicyArn=policy)
                case PrincipalKind.GROUP:
                    with calls.named("iam:DetachGroupPolicy"):
                        self._iam.detach_group_policy(GroupName=name, PolicyArn=policy)

    @needs("iam:GetPolicy", on=On.ALLOW_POLICIES)
    @needs("iam:GetRole", "iam:GetUser", "iam:GetGroup", on=On.WHOEVER_HELD_ALLOW_POLICIES)
    @needs("iam:AttachRolePolicy", "iam:AttachUserPolicy", "iam:AttachGroupPolicy", on=On.HOLDERS_OF_ALLOW_POLICIES)
    def restore(self, held: Held) -> None:
        """Attach it again to the very holder it was taken from, whatever they are called by now.

        Where that one or the policy is gone, it is left, and the log says so. A policy whose default version has
        changed meanwhile is attached all the same, and the log says so too. Raises AwsCallError and LedgerItemError.
        """
        kind, name, policy = _target(held)
        if policy not in self._policies:
            msg = f"{policy} is not in detach.policies any more: name it there again, or attach it to {name} by hand"
            operation = f"iam:Attach{kind.title()}Policy"
            raise AwsCallError(operation, "NotConfigured", msg)
        unique_id, then = (recalled.value(held, each, str) for each in ("holder_id", "version"))
        now = self._version_if_any(policy)
        found = name if now and self._is(kind, name, unique_id) else self._renamed(kind, unique_id) if now else ""
        if not found:
            logger.warning("nothing was put back: holder or policy is gone", holder=f"{kind}/{name}", policy=policy)
            return
        self._attach(kind, found, policy)
        if now != then:
            logger.warning(
                "the policy has changed since it was detached",
                holder=f"{kind}/{found}",
                policy=policy,
                version_then=then,
                version_now=now,
            )

    def _version_if_any(self, policy: str) -> str:
        """Return the default version, empty where there is no such policy."""
        try:
            return self._version(policy)
        except AwsCallError as error:
            if error.code != _GONE:
                raise
            return ""

    def _is(self, kind: PrincipalKind, name: str, unique_id: str) -> bool:
        """Tell whether who has the name is who had it: one of the same name, made since, is somebody else."""
        found = ""
        with gone.passes(_GONE):
            found = self._unique_id(kind, name)
        return found == unique_id

    def _renamed(self, kind: PrincipalKind, unique_id: str) -> str:
        """Return what a holder is called now, empty where there is none of that id any more."""
        if kind is PrincipalKind.ROLE:
            return ""  # IAM renames no role
        return next((each.name for each in self._everybody() if each.unique_id == unique_id), "")

    def _attachments(self) -> tuple[list[_Attachment], dict[str, str], dict[str, str]]:
        """Return who holds the policies, which could not be read, and which there are not."""
        found: list[_Attachment] = []
        unread: dict[str, str] = {}
        missing: dict[str, str] = {}
        for policy in self._policies:
            try:
                found += self._attachments_of(policy)
            except AwsCallError as error:
                if error.code == _GONE:
                    missing[policy] = "there is no such policy: correct detach.policies in guardrail.toml"
                else:
                    unread[policy] = str(error)
        return found, unread, missing

    def _attachments_of(self, policy: str) -> Sequence[_Attachment]:
        with calls.named(_LISTING):
            # As a permissions boundary a policy allows nothing, and taking a boundary away would allow more.
            pages = list(
                self._iam.get_paginator("list_entities_for_policy").paginate(
                    PolicyArn=policy, PolicyUsageFilter="PermissionsPolicy"
                )
            )
        # The paginator takes an answer that is cut off without a marker for the last one.
        if pages[-1].get("IsTruncated"):
            raise AwsCallError(_LISTING, "IncompleteAnswer", _CUT_OFF)
        holders = [
            *((PrincipalKind.ROLE, e["RoleName"], e["RoleId"]) for page in pages for e in page.get("PolicyRoles", ())),
            *((PrincipalKind.USER, e["UserName"], e["UserId"]) for page in pages for e in page.get("PolicyUsers", ())),
            *(
                (PrincipalKind.GROUP, e["GroupName"], e["GroupId"])
                for page in pages
                for e in page.get("PolicyGroups", ())
            ),
        ]
        if not holders:
            return ()
        version = self._version(policy)
        return [_Attachment(policy, version, *holder) for holder in holders]

    def _version(self, policy: str) -> str:
        with calls.named("iam:GetPolicy"):
            return self._iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"]

    def _held(self, attachment: _Attachment, holder: Principal) -> Held:
        policy, order = attachment.policy, holder.attached_in_order
        before = {
            "holder": attachment.holder,
            "holder_id": attachment.unique_id,
            "path": holder.path,
            "policy": policy,
            "version": attachment.version,
            "position": order.index(policy) if policy in order else None,
        }
        return Held(self.name, attachment.key, attachment.words, before)

    def _unique_id(self, kind: PrincipalKind, name: str) -> str:
        match kind:
            case PrincipalKind.ROLE:
                with calls.named("iam:GetRole"):
                    return self._iam.get_role(RoleName=name)["Role"]["RoleId"]
            case PrincipalKind.USER:
                with calls.named("iam:GetUser"):
                    return self._iam.get_user(UserName=name)["User"]["UserId"]
            case PrincipalKind.GROUP:
                with calls.named("iam:GetGroup"):
                    return self._iam.get_group(GroupName=name, MaxItems=1)["Group"]["GroupId"]

    def _attach(self, kind: PrincipalKind, name: str, policy: str) -> None:
        match kind:
            case PrincipalKind.ROLE:
                with calls.named("iam:AttachRolePolicy"):
                    self._iam.attach_role_policy(RoleName=name, PolicyArn=policy)
            case PrincipalKind.USER:
                with calls.named("iam:AttachUserPolicy"):
                    self._iam.attach_user_policy(UserName=name, PolicyArn=policy)
            case PrincipalKind.GROUP:
                with calls.named("iam:AttachGroupPolicy"):
                    self._iam.attach_group_policy(GroupName=name, PolicyArn=policy)


def _out_of_reach(principal: Principal, people: Iterable[Principal], spared: Spared) -> str:
    """Return why a holder keeps the policy though it is not exempt, empty when it does not."""
    if principal.identity_center:
        return f"Identity Center role: IAM refuses; take the policy from its permission set {principal.permission_set}"
    exempt = sorted(each.name for each in people if principal.name in each.groups and spared.covers(each))
    if principal.kind is PrincipalKind.GROUP and exempt:
        return f"exempt users are in this group and would lose the policy with it: {', '.join(exempt)}"
    return ""


def _target(held: Held) -> tuple[PrincipalKind, str, str]:
    holder, policy = (recalled.value(held, each, str) for each in ("holder", "policy"))
    kind, _, name = holder.partition("/")
    if kind not in set(PrincipalKind):
        raise recalled.unreadable(held, f"'holder' is {holder!r}")
    return PrincipalKind(kind), name, policy
