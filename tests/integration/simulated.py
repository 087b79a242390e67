"""IAM's policy simulator, which moto lacks: answered from moto's policies by an evaluator the project did not write."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.infra import judge

Document = Mapping[str, Any]


def simulate(params: Mapping[str, Any]) -> dict[str, Any]:
    """Answer SimulatePrincipalPolicy for what the account holds now; one action a page, so that paging matters."""
    asked = params["body"]
    actions = [value for key, value in sorted(asked.items()) if key.startswith("ActionNames.member.")]
    context = {
        asked[f"ContextEntries.member.{n}.ContextKeyName"]: asked[
            f"ContextEntries.member.{n}.ContextKeyValues.member.1"
        ]
        for n in range(1, 10)
        if f"ContextEntries.member.{n}.ContextKeyName" in asked
    }
    page = int(asked.get("Marker", 0))
    own, groups, boundary = _policies_of(asked["PolicySourceArn"])
    decision = _decision(asked["PolicySourceArn"], actions[page], context, own, groups, boundary)
    more = {"IsTruncated": True, "Marker": str(page + 1)} if page + 1 < len(actions) else {"IsTruncated": False}
    return {"EvaluationResults": [{"EvalActionName": actions[page], "EvalDecision": decision}], **more}


def _decision(
    arn: str,
    action: str,
    context: Mapping[str, str],
    own: Sequence[Document],
    groups: Sequence[Sequence[Document]],
    boundary: Document | None,
) -> str:
    if judge.may(arn, own, action, "*", context, groups=groups, boundary=boundary):
        return "allowed"
    # Were everything allowed, only a deny could still refuse it.
    refused = not judge.may(arn, [judge.ALLOW_ALL, *own], action, "*", context, groups=groups)
    return "explicitDeny" if refused else "implicitDeny"


def _policies_of(arn: str) -> tuple[list[Document], list[list[Document]], Document | None]:
    found: Any = boto3.client("iam").get_account_authorization_details()
    managed: dict[str, Document] = {
        policy["Arn"]: version["Document"]
        for policy in found["Policies"]
        for version in policy["PolicyVersionList"]
        if version["IsDefaultVersion"]
    }

    def documents(inline: Iterable[Mapping[str, Any]], attached: Iterable[Mapping[str, Any]]) -> list[Document]:
        return [*(each["PolicyDocument"] for each in inline), *(managed[each["PolicyArn"]] for each in attached)]

    for each in (*found["RoleDetailList"], *found["UserDetailList"]):
        if each["Arn"] == arn:
            groups = [group for group in found["GroupDetailList"] if group["GroupName"] in each.get("GroupList", ())]
            boundary = each.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
            return (
                documents(each.get("RolePolicyList", each.get("UserPolicyList", ())), each["AttachedManagedPolicies"]),
                [documents(group["GroupPolicyList"], group["AttachedManagedPolicies"]) for group in groups],
                managed[boundary] if boundary else None,
            )
    raise ClientError({"Error": {"Code": "NoSuchEntity", "Message": arn}}, "SimulatePrincipalPolicy")
