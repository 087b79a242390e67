"""What CloudTrail says about IAM, parsed: who may spend now, whose deletion we block, who touched what is ours.

CloudTrail's fields: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

REGION = "us-east-1"
"""IAM is global, and its events appear in this region alone."""

DETAIL_TYPE = "AWS API Call via CloudTrail"

CHANGES = (
    "AddUserToGroup",
    "AttachGroupPolicy",
    "AttachRolePolicy",
    "AttachUserPolicy",
    "CreatePolicyVersion",
    "CreateRole",
    "CreateUser",
    "DetachGroupPolicy",
    "DetachRolePolicy",
    "DetachUserPolicy",
    "PutGroupPolicy",
    "PutRolePolicy",
    "PutUserPolicy",
    "SetDefaultPolicyVersion",
    "TagRole",
    "TagUser",
    "UntagRole",
    "UntagUser",
)
"""Calls that may give somebody the means to spend, mark them for arming, or free a slot for the brake policy."""

_ON_OUR_POLICIES = frozenset(
    {
        "CreatePolicyVersion",
        "DeletePolicy",
        "DeletePolicyVersion",
        "SetDefaultPolicyVersion",
        "TagPolicy",
        "UntagPolicy",
    }
)
_DETACHING = frozenset({"DetachGroupPolicy", "DetachRolePolicy", "DetachUserPolicy"})
_ATTACHING = frozenset({"AttachGroupPolicy", "AttachRolePolicy", "AttachUserPolicy"})
_ON_OUR_GROUPS = frozenset(
    {
        "AddUserToGroup",
        "AttachGroupPolicy",
        "DeleteGroup",
        "DetachGroupPolicy",
        "PutGroupPolicy",
        "RemoveUserFromGroup",
        "UpdateGroup",
    }
)
HEARD = tuple(sorted({*CHANGES, *_ON_OUR_POLICIES, *_DETACHING, *_ATTACHING, *_ON_OUR_GROUPS}))
"""All calls the arm function is woken by."""

DELETIONS = {"DeleteRole": ("role", "roleName"), "DeleteUser": ("user", "userName")}
"""Calls that a policy attached by us makes IAM refuse."""
REFUSED = ("DeleteConflictException", "DeleteConflict")
"""How CloudTrail spells the refusal, and how IAM does."""

CREATIONS = (
    "CreateAdvancedPromptOptimizationJob",
    "CreateCapacityProvider",
    "CreateCustomModel",
    "CreateCustomModelDeployment",
    "CreateCustomizedModel",
    "CreateEvaluationJob",
    "CreateFineTuningJob",
    "CreateKnowledgeBase",
    "CreateMarketplaceModelEndpoint",
    "CreateModelCopyJob",
    "CreateModelCustomizationJob",
    "CreateModelEvaluationJob",
    "CreateModelImportJob",
    "CreateModelInvocationJob",
    "CreateProvisionedModelThroughput",
    "CreateReservation",
    "RegisterMarketplaceModelEndpoint",
    "StartBatchEvaluation",
    "StartFlowExecution",
    "StartIngestionJob",
    "UpdateCapacityProvider",
    "UpdateCustomModelDeployment",
    "UpdateMarketplaceModelEndpoint",
    "UpdateProvisionedModelThroughput",
    "UpdateReservation",
)
"""Calls of the Bedrock family that start work or standing cost: while a stop is on, they are looked into at once."""
KEY_CREATIONS = ("CreateServiceSpecificCredential", "UpdateServiceSpecificCredential")
"""Calls of IAM that make or re-activate an API key."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What belongs to the guardrail, by name; groups and policies have the same names."""

    account_id: str
    prefix: str

    @property
    def names(self) -> frozenset[str]:
        """The names of the policies, which are those of the groups."""
        return frozenset(f"{self.prefix}-{name}" for name in ("brake", "sweep", "deny"))

    def is_own_role(self, arn: object) -> bool:
        """Tell whether an ARN is that of a role under the path of the guardrail's own."""
        own = rf"arn:[a-z-]+:iam::{self.account_id}:role/{re.escape(self.prefix)}/[\w+=,.@-]+"
        return isinstance(arn, str) and re.fullmatch(own, arn, re.ASCII) is not None

    def is_own_policy(self, arn: object) -> bool:
        """Tell whether an ARN is that of a policy of the guardrail."""
        own = rf"arn:[a-z-]+:iam::{self.account_id}:policy/([\w+=,.@-]+)"
        found = re.fullmatch(own, arn, re.ASCII) if isinstance(arn, str) else None
        return found is not None and found[1] in self.names


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody may be able to spend who could not before, or can be armed now."""

    call: str
    at: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class RefusedDelete:
    """IAM refused to delete a principal because something is attached to it."""

    holder: str
    """``role/name`` or ``user/name``."""
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Drift:
    """Somebody else changed a policy, a group or an attachment of the guardrail."""

    call: str
    what: str
    """The call and what it was about, in words: ``DetachRolePolicy bedrock-spend-brake from role/x``."""
    by: str
    """The caller's ARN, or the best that CloudTrail tells."""
    at: datetime
    event_id: str


def is_call(event: object) -> bool:
    """Tell whether an event is an API call CloudTrail saw, as EventBridge passes it on."""
    return isinstance(event, Mapping) and event.get("detail-type") == DETAIL_TYPE


def parse(event: object, ours: Ours) -> Change | RefusedDelete | Drift | None:
    """Read an event of IAM; None for whatever is none of our business: refused, foreign, forged, or done by ourselves.

    An event is a reason to look, never a proof: whoever acts on it asks IAM first.
    """
    detail = record_of(event, ours, "iam")
    stamp = None if detail is None else stamp_of(detail)
    if detail is None or stamp is None:
        return None
    name, at, event_id = stamp.call, stamp.at, stamp.event_id
    asked = detail.get("requestParameters")
    parameters: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
    error = detail.get("errorCode")
    if error is not None:
        return _refused_delete(name, error, parameters, caller(detail), at)
    if touched := _touched(name, parameters, ours):
        return Drift(name, f"{name} {touched}", caller(detail), at, event_id)
    return Change(name, at, event_id) if name in CHANGES else None


_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
"""What IAM lets a role, user or group be called."""
_CALLER = re.compile(r"[\w+=,.@:/-]{1,256}", re.ASCII)


def record_of(event: object, ours: Ours, service: str) -> Mapping[str, Any] | None:
    """Return the record of a call of a service in our account by somebody else, as far as the event can tell."""
    if not isinstance(event, Mapping) or not is_call(event) or event.get("source") != f"aws.{service}":
        return None
    detail = event.get("detail")
    if not isinstance(detail, Mapping) or detail.get("eventSource") != f"{service}.amazonaws.com":
        return None
    if event.get("account") != ours.account_id or detail.get("recipientAccountId", ours.account_id) != ours.account_id:
        return None
    issuer = _in(_in(detail.get("userIdentity"), "sessionContext"), "sessionIssuer")
    return None if ours.is_own_role(_in(issuer, "arn")) else detail


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which call it was, when, and the id of its event."""

    call: str
    at: datetime
    event_id: str


def stamp_of(detail: Mapping[str, Any]) -> Stamp | None:
    """Return what a record is known by; None when any of it is missing or no such thing."""
    name, at, event_id = detail.get("eventName"), _time(detail.get("eventTime")), detail.get("eventID")
    if not isinstance(name, str) or at is None or not isinstance(event_id, str) or not _ID.fullmatch(event_id):
        return None
    return Stamp(name, at, event_id)


def _refused_delete(
    name: str, error: object, parameters: Mapping[str, Any], by: str, at: datetime
) -> RefusedDelete | None:
    if name not in DELETIONS or error not in REFUSED:
        return None
    kind, key = DELETIONS[name]
    named = _name(parameters, key)
    return RefusedDelete(f"{kind}/{named}", by, at) if named else None


def _touched(name: str, parameters: Mapping[str, Any], ours: Ours) -> str:
    """Return in words what of ours a call changed; empty when nothing."""
    arn, group = parameters.get("policyArn"), _name(parameters, "groupName")
    policy = str(arn).rpartition("/")[2] if ours.is_own_policy(arn) else ""
    holder = _holder(parameters)
    if policy and name in _ON_OUR_POLICIES:
        return policy
    if policy and name in _DETACHING:
        return f"{policy} from {holder}"
    # The brake policy may be attached by hand or by Identity Center: that arms somebody. The others are for stops.
    if policy and name in _ATTACHING and (policy != f"{ours.prefix}-brake" or name == "AttachGroupPolicy"):
        return f"{policy} to {holder}"
    if group in ours.names and name in _ON_OUR_GROUPS:
        user = _name(parameters, "userName")
        return f"group {group}" + (f", user/{user}" if user else "")
    return ""


def _holder(parameters: Mapping[str, Any]) -> str:
    for kind, key in (("role", "roleName"), ("user", "userName"), ("group", "groupName")):
        if name := _name(parameters, key):
            return f"{kind}/{name}"
    return "somebody whose name cannot be read"


def _name(parameters: Mapping[str, Any], key: str) -> str:
    name = parameters.get(key)
    return name if isinstance(name, str) and _NAME.fullmatch(name) else ""


def caller(detail: Mapping[str, Any]) -> str:
    """Return who made the call. It goes into mails, so nothing but what an ARN is made of gets through."""
    identity = detail.get("userIdentity")
    for key in ("arn", "invokedBy", "userName", "principalId", "type"):
        found = _in(identity, key)
        if isinstance(found, str) and _CALLER.fullmatch(found):
            return found
    return "somebody whom CloudTrail does not name"


def _in(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, Mapping) else None


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        # A moment at the very edge of what there is has none in UTC.
        return None if at is None or at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
