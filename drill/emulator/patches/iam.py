"""IAM: the switch of a policy's default version, condition keys, and the refusals AWS answers with."""

# ruff: noqa: SLF001 - a patch reaches inside by definition

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from drill.emulator.adaptations import launcher_patch
from drill.emulator.patches import Emulated, Response, module, wrap

Parameters = dict[str, Any]
Handler = Callable[[Parameters], Response]

POLICIES_PER_PRINCIPAL = {"Role": 20, "User": 10, "Group": 10}
PRINCIPALS = {"Role": "_roles", "User": "_users", "Group": "_groups"}
ON_GROUPS = ("AddUserToGroup", "RemoveUserFromGroup", "AttachGroupPolicy", "DetachGroupPolicy")
XML_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"


def value(parameters: Parameters, name: str) -> str:
    """Return one request parameter; the query protocol gives each as a list."""
    found = parameters.get(name) or ""
    return str(found[0]) if isinstance(found, list) else str(found)


def refuse(status: int, code: str, message: str) -> Response:
    """Answer with an IAM error as the emulator's own handlers do."""
    answer: Response = module("services.iam")._error(status, code, message, ns="iam")
    return answer


def _wrap_handler(action: str, make: Callable[[Handler], Handler]) -> None:
    handlers = module("services.iam")._IAM_HANDLERS
    handlers[action] = make(handlers[action])


@launcher_patch("iam-set-default-policy-version")
def _set_default_policy_version() -> None:
    iam = module("services.iam")

    def handle(parameters: Parameters) -> Response:
        arn, version = value(parameters, "PolicyArn"), value(parameters, "VersionId")
        policy = iam._policies.get(arn)
        if policy is None:
            return refuse(404, "NoSuchEntity", f"Policy {arn} was not found.")
        if version not in policy["Versions"]:
            return refuse(404, "NoSuchEntity", f"Policy {arn} version {version} does not exist.")
        for name, record in policy["Versions"].items():
            record["IsDefaultVersion"] = name == version
        policy["DefaultVersionId"] = version
        policy["UpdateDate"] = iam._now()
        answer: Response = iam._xml(200, "SetDefaultPolicyVersionResponse", "", ns="iam")
        return answer

    iam._IAM_HANDLERS["SetDefaultPolicyVersion"] = handle


@launcher_patch("iam-policy-arn-condition-key")
def _policy_arn_condition_key() -> None:
    actions = {f"iam:{verb}{kind}Policy" for verb in ("Attach", "Detach") for kind in PRINCIPALS}

    def with_policy_arn(original: Emulated) -> Emulated:
        def context(service: str, action: str, body: bytes, parameters: Parameters) -> dict[str, Any]:
            keys = dict(original(service, action, body, parameters))
            if action in actions:
                keys["iam:PolicyARN"] = value(parameters, "PolicyArn")
            return keys

        return context

    wrap(module("core.iam_actions"), "request_tag_context", with_policy_arn)


@launcher_patch("iam-principal-arn-of-session")
def _principal_arn_of_session() -> None:
    iam, evaluator = module("services.iam"), module("core.iam_evaluator")

    def role_for_session(original: Emulated) -> Emulated:
        def resolve(key: str, context: Emulated) -> Emulated:
            if key.lower() == "aws:principalarn" and context.principal_type == "AssumedRole":
                name = evaluator._role_name_from_assumed_arn(context.principal_arn)
                role = iam._roles.get_scoped(context.principal_account, None, name)
                if role is not None:
                    return role["Arn"]
            return original(key, context)

        return resolve

    wrap(evaluator, "_resolve_condition_key", role_for_session)


@launcher_patch("iam-entity-arn-with-path")
def _entity_arn_with_path() -> None:
    iam = module("services.iam")

    def with_path(original: Emulated) -> Emulated:
        def extract(service: str, *request: Emulated) -> str:
            arn = str(original(service, *request))
            if service != "iam":
                return arn
            parameters, _, account = request[-3:]
            path = value(parameters, "Path") or "/"
            if value(parameters, "Action") in ON_GROUPS:
                arn = f"arn:aws:iam::{account}:group/{value(parameters, 'GroupName')}"
            for kind, store in PRINCIPALS.items():
                name = value(parameters, f"{kind}Name")
                if name and arn == f"arn:aws:iam::{account}:{kind.lower()}/{name}":
                    known = getattr(iam, store).get(name)
                    return str(known["Arn"]) if known else f"arn:aws:iam::{account}:{kind.lower()}{path}{name}"
            if value(parameters, "Action") == "CreatePolicy":
                return f"arn:aws:iam::{account}:policy{path}{value(parameters, 'PolicyName')}"
            return arn

        return extract

    wrap(module("core.iam_actions"), "extract_resource_arn", with_path)


@launcher_patch("iam-simulate-entity-with-path")
def _simulate_entity_with_path() -> None:
    iam, evaluator = module("services.iam"), module("core.iam_evaluator")

    def handle(parameters: Parameters) -> Response:
        arn = value(parameters, "PolicySourceArn")
        account = module("core.responses").get_account_id()
        kind, _, name = arn.rpartition(":")[2].partition("/")
        stores = {"role": (iam._roles, "_gather_role_policies"), "user": (iam._users, "_gather_user_policies")}
        name = name.rpartition("/")[2]
        if kind not in stores or name not in stores[kind][0]:
            return refuse(404, "NoSuchEntity", f"{arn} was not found.")
        policies = getattr(evaluator, stores[kind][1])(name, account)
        actions, resource = iam._extract_simulate_params(parameters)
        results = iam._build_simulate_results_real(actions, resource, arn, account, policies)
        body = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
        result = f"<SimulatePrincipalPolicyResult>{body}</SimulatePrincipalPolicyResult>"
        answer: Response = iam._xml(200, "SimulatePrincipalPolicyResponse", result, ns="iam")
        return answer

    def on_entity(original: Emulated) -> Emulated:
        def extract(service: str, *request: Emulated) -> str:
            if service == "iam" and value(request[-3], "Action") == "SimulatePrincipalPolicy":
                return value(request[-3], "PolicySourceArn")
            return str(original(service, *request))

        return extract

    iam._IAM_HANDLERS["SimulatePrincipalPolicy"] = handle
    wrap(module("core.iam_actions"), "extract_resource_arn", on_entity)


@launcher_patch("iam-delete-policy-with-versions")
def _delete_policy_with_versions() -> None:
    def refuse_versions(original: Handler) -> Handler:
        def handle(parameters: Parameters) -> Response:
            policy = module("services.iam")._policies.get(value(parameters, "PolicyArn"))
            if policy is not None and len(policy["Versions"]) > 1:
                reason = "This policy has more than one version. Before you delete a policy, you must delete the"
                return refuse(409, "DeleteConflict", f"{reason} policy's versions.")
            return original(parameters)

        return handle

    _wrap_handler("DeletePolicy", refuse_versions)


@launcher_patch("iam-delete-group-in-use")
def _delete_group_in_use() -> None:
    iam = module("services.iam")

    def refuse_in_use(original: Handler) -> Handler:
        def handle(parameters: Parameters) -> Response:
            name = value(parameters, "GroupName")
            group = iam._groups.get(name) or {}
            if group.get("Users") or group.get("AttachedPolicies") or iam._group_inline_policies.get(name):
                reason = "Cannot delete entity, must remove users from group and detach all policies first."
                return refuse(409, "DeleteConflict", reason)
            return original(parameters)

        return handle

    _wrap_handler("DeleteGroup", refuse_in_use)


@launcher_patch("iam-attach-checks")
def _attach_checks() -> None:
    iam = module("services.iam")

    def checked(kind: str, store: str) -> Callable[[Handler], Handler]:
        def make(original: Handler) -> Handler:
            def handle(parameters: Parameters) -> Response:
                arn = value(parameters, "PolicyArn")
                entity = getattr(iam, store).get(value(parameters, f"{kind}Name")) or {}
                attached = entity.get("AttachedPolicies", [])
                if not iam._policy_exists(arn):
                    return refuse(404, "NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")
                if arn not in attached and len(attached) >= POLICIES_PER_PRINCIPAL[kind]:
                    quota = f"PoliciesPer{kind}: {POLICIES_PER_PRINCIPAL[kind]}"
                    return refuse(409, "LimitExceeded", f"Cannot exceed quota for {quota}")
                return original(parameters)

            return handle

        return make

    for kind, store in PRINCIPALS.items():
        _wrap_handler(f"Attach{kind}Policy", checked(kind, store))


@launcher_patch("iam-bedrock-managed-policy")
def _bedrock_managed_policy() -> None:
    iam = module("services.iam")
    statement = {"Sid": "BedrockAll", "Effect": "Allow", "Action": ["bedrock:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    record = iam._make_aws_managed_record("AmazonBedrockFullAccess", document, description="")
    iam._aws_managed_policies[record["Arn"]] = record


@launcher_patch("iam-authorization-details")
def _authorization_details() -> None:
    def complete(original: Handler) -> Handler:
        def handle(parameters: Parameters) -> Response:
            status, headers, body = original(parameters)
            ET.register_namespace("", XML_NAMESPACE)
            root = ET.fromstring(body)  # noqa: S314 - the emulator's own answer
            _complete_details(root, _filters(parameters))
            _page(root, int(value(parameters, "Marker") or 0), int(value(parameters, "MaxItems") or 100))
            return status, headers, ET.tostring(root, xml_declaration=True, encoding="UTF-8")

        return handle

    _wrap_handler("GetAccountAuthorizationDetails", complete)


def _filters(parameters: Parameters) -> set[str]:
    return {value(parameters, name) for name in parameters if re.fullmatch(r"Filter\.member\.\d+", name)}


def _tag(name: str) -> str:
    return f"{{{XML_NAMESPACE}}}{name}"


def _complete_details(root: ET.Element, filters: set[str]) -> None:
    """Add boundaries, attachment counts and the AWS managed policies in use."""
    iam = module("services.iam")
    for kind in ("Role", "User"):
        for member in root.iterfind(f".//{_tag(kind + 'DetailList')}/{_tag('member')}"):
            entity = getattr(iam, PRINCIPALS[kind]).get(member.findtext(_tag(f"{kind}Name")))
            if entity.get("PermissionsBoundary"):
                boundary = ET.SubElement(member, _tag("PermissionsBoundary"))
                ET.SubElement(boundary, _tag("PermissionsBoundaryType")).text = "Policy"
                ET.SubElement(boundary, _tag("PermissionsBoundaryArn")).text = entity["PermissionsBoundary"]
    listed = root.find(f".//{_tag('Policies')}")
    if listed is None:
        return
    for member in listed:
        policy = iam._policies.get(member.findtext(_tag("Arn")))
        ET.SubElement(member, _tag("AttachmentCount")).text = str(policy["AttachmentCount"])
        ET.SubElement(member, _tag("IsAttachable")).text = "true"
    if not filters or "AWSManagedPolicy" in filters:
        for arn, count in iam._aws_managed_attachment_counts.items():
            if count and iam._lookup_policy(arn):
                listed.append(_managed_policy(iam._lookup_policy(arn), count))


def _managed_policy(policy: dict[str, Any], attachments: int) -> ET.Element:
    member = ET.Element(_tag("member"))
    for name in ("PolicyName", "PolicyId", "Arn", "Path", "DefaultVersionId"):
        ET.SubElement(member, _tag(name)).text = policy[name]
    ET.SubElement(member, _tag("AttachmentCount")).text = str(attachments)
    ET.SubElement(member, _tag("IsAttachable")).text = "true"
    versions = ET.SubElement(member, _tag("PolicyVersionList"))
    for version in policy["Versions"].values():
        entry = ET.SubElement(versions, _tag("member"))
        ET.SubElement(entry, _tag("Document")).text = quote(version["Document"])
        ET.SubElement(entry, _tag("VersionId")).text = version["VersionId"]
        ET.SubElement(entry, _tag("IsDefaultVersion")).text = str(version["IsDefaultVersion"]).lower()
    return member


def _page(root: ET.Element, start: int, size: int) -> None:
    """Keep one page of the four lists taken as one, and say where the next begins."""
    result = root.find(_tag("GetAccountAuthorizationDetailsResult"))
    if result is None:
        return
    lists = [part for name in ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
             if (part := result.find(_tag(name))) is not None]  # fmt: skip
    members = [(part, member) for part in lists for member in part]
    for position, (part, member) in enumerate(members):
        if not start <= position < start + size:
            part.remove(member)
    if start + size < len(members):
        truncated = result.find(_tag("IsTruncated"))
        if truncated is not None:
            truncated.text = "true"
        ET.SubElement(result, _tag("Marker")).text = str(start + size)
