"""Bring a synthesized cloud assembly into the emulator: a copy it accepts, and its deployment."""

import io
import json
import re
import shutil
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from botocore.exceptions import ClientError

from drill.emulator.emulator import Emulator

Template = dict[str, Any]
Parameters = dict[str, str]

DROPPED = "template-unknown-type"
TEMPLATE_ADAPTATIONS = (DROPPED,)
REFUSED_TYPES = (
    "AWS::CE::",
    "AWS::CloudTrail::",
    "AWS::CloudWatch::AnomalyDetector",
    "AWS::CloudWatch::InsightRule",
    "AWS::EventSchemas::",
    "AWS::IAM::Group",
    "AWS::IAM::ServiceLinkedRole",
    "AWS::Logs::QueryDefinition",
    "AWS::Organizations::",
    "AWS::SNS::TopicInlinePolicy",
    "AWS::SSM::Document",
)
"""Types, or the beginnings of their names, which the emulator's CloudFormation does not know."""

BOOTSTRAP_VERSION = ("/cdk-bootstrap/hnb659fds/version", "30")
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
WAIT_SECONDS = 300.0
POLL_SECONDS = 0.2


class DeployError(Exception):
    """A stack did not get where it should; the text lists what failed."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """One resource that the copy does not carry as written."""

    adaptation: str
    stack: str
    logical_id: str
    resource_type: str


def adapt(assembly_dir: Path, out_dir: Path) -> list[Adapted]:
    """Copy the assembly and leave out of the copy what the emulator would refuse as a whole."""
    shutil.copytree(assembly_dir, out_dir, dirs_exist_ok=True)
    adapted: list[Adapted] = []
    for path in sorted(out_dir.glob("**/*.template.json")):
        template = cast("Template", json.loads(path.read_text()))
        resources = template.get("Resources", {})
        dropped = {name: entry["Type"] for name, entry in resources.items() if entry["Type"].startswith(REFUSED_TYPES)}
        if dropped:
            path.write_text(json.dumps(without(template, dropped), indent=1))
        stack = path.name.removesuffix(".template.json")
        adapted += [Adapted(DROPPED, stack, name, kind) for name, kind in dropped.items()]
    return adapted


def without(template: Template, dropped: dict[str, str]) -> Template:
    """Return the template less those resources (logical id to type), every reference to them fixed in place."""
    kept = {name: entry for name, entry in template["Resources"].items() if name not in dropped}
    return cast("Template", _fix({**template, "Resources": kept}, dropped))


def _fix(node: Any, dropped: dict[str, str]) -> Any:  # noqa: ANN401, PLR0911 - a template is any JSON
    if isinstance(node, list):
        return [_fix(item, dropped) for item in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"Ref": str(name)} if name in dropped:
            return name
        case {"Fn::GetAtt": [str(name), str(attribute)]} if name in dropped:
            return _attribute(name, attribute, dropped[name])
        case {"Fn::GetAtt": str(path)} if path.partition(".")[0] in dropped:
            name, _, attribute = path.partition(".")
            return _attribute(name, attribute, dropped[name])
        case {"Fn::Sub": str(text)}:
            return {"Fn::Sub": _substitute(text, dropped)}
        case {"Fn::Sub": [str(text), variables]}:
            return {"Fn::Sub": [_substitute(text, dropped), _fix(variables, dropped)]}
    fixed = {key: _fix(value, dropped) for key, value in node.items()}
    if "DependsOn" in fixed:
        named = fixed.pop("DependsOn")
        left = [name for name in ([named] if isinstance(named, str) else named) if name not in dropped]
        return {**fixed, "DependsOn": left} if left else fixed
    return fixed


def _attribute(name: str, attribute: str, resource_type: str) -> str | dict[str, str]:
    """Make up an attribute: the ARN it would have had, or its own path."""
    if not attribute.endswith("Arn"):
        return f"{name}.{attribute}"
    service = resource_type.split("::")[1].lower()
    return {"Fn::Sub": f"arn:aws:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{name}"}


def _substitute(text: str, dropped: dict[str, str]) -> str:
    def plain(found: re.Match[str]) -> str:
        return found[1] if found[1].partition(".")[0] in dropped else found[0]

    return re.sub(r"\$\{([A-Za-z0-9.]+)\}", plain, text)


def deploy(
    emulator: Emulator,
    assembly_dir: Path,
    stack_name: str,
    parameters: Parameters | None = None,
) -> dict[str, str]:
    """Create the stack as the account's root and return its outputs."""
    return _apply(emulator, assembly_dir, stack_name, "create", parameters or {})


def update(
    emulator: Emulator,
    assembly_dir: Path,
    stack_name: str,
    parameters: Parameters | None = None,
) -> dict[str, str]:
    """Update the stack; with nothing to change this returns its outputs as they are."""
    return _apply(emulator, assembly_dir, stack_name, "update", parameters or {})


def destroy(emulator: Emulator, stack_name: str) -> None:
    """Delete the stack and wait until it is gone."""
    cloudformation = emulator.client("cloudformation")
    try:
        stack_id = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]["StackId"]
    except ClientError as error:
        if "does not exist" in str(error):
            return
        raise
    cloudformation.delete_stack(StackName=stack_name)
    _settle(cloudformation, stack_id, "DELETE_COMPLETE")


def _apply(
    emulator: Emulator,
    assembly_dir: Path,
    stack_name: str,
    verb: str,
    parameters: Parameters,
) -> dict[str, str]:
    artifact_id, artifact = _stack_artifact(assembly_dir, stack_name)
    bucket = _publish(emulator, assembly_dir, artifact_id)
    template_file = assembly_dir / artifact["properties"]["templateFile"]
    key = f"templates/{template_file.name}"
    emulator.client("s3").put_object(Bucket=bucket, Key=key, Body=template_file.read_bytes())
    _bootstrap_version(emulator)
    cloudformation = emulator.client("cloudformation")
    try:
        stack_id = getattr(cloudformation, f"{verb}_stack")(
            StackName=stack_name,
            TemplateURL=f"{emulator.endpoint_url}/{bucket}/{key}",
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=CAPABILITIES,
        )["StackId"]
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            message = f"{verb} {stack_name}: {error.response['Error']['Message']}"
            raise DeployError(message) from error
        stack_id = stack_name
    stack = _settle(cloudformation, stack_id, "CREATE_COMPLETE", "UPDATE_COMPLETE")
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _stack_artifact(assembly_dir: Path, stack_name: str) -> tuple[str, dict[str, Any]]:
    artifacts = json.loads((assembly_dir / "manifest.json").read_text())["artifacts"]
    for artifact_id, artifact in artifacts.items():
        named = artifact.get("properties", {}).get("stackName", artifact_id)
        if artifact["type"] == "aws:cloudformation:stack" and named == stack_name:
            return artifact_id, artifact
    message = f"{assembly_dir} holds no stack {stack_name}"
    raise DeployError(message)


def _publish(emulator: Emulator, assembly_dir: Path, artifact_id: str) -> str:
    """Upload the stack's file assets and return the bucket they are in."""
    s3 = emulator.client("s3")
    bucket = f"cdk-hnb659fds-assets-{emulator.account}-{emulator.region}"
    existing = {entry["Name"] for entry in s3.list_buckets()["Buckets"]}
    manifest_file = assembly_dir / f"{artifact_id}.assets.json"
    manifest = json.loads(manifest_file.read_text()) if manifest_file.exists() else {"files": {}}
    uploads = [
        (_resolved(destination["bucketName"], emulator), destination["objectKey"], asset["source"])
        for asset in manifest["files"].values()
        for destination in asset["destinations"].values()
    ]
    for name in {bucket, *(name for name, _, _ in uploads)} - existing:
        s3.create_bucket(Bucket=name)
    for name, key, source in uploads:
        path = assembly_dir / source["path"]
        s3.put_object(Bucket=name, Key=key, Body=_zipped(path) if path.is_dir() else path.read_bytes())
    return bucket


def _resolved(text: str, emulator: Emulator) -> str:
    """Fill in the asset manifest's placeholders."""
    values = {"AWS::AccountId": emulator.account, "AWS::Region": emulator.region, "AWS::Partition": "aws"}
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def _zipped(directory: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(entry for entry in directory.rglob("*") if entry.is_file()):
            archive.write(path, path.relative_to(directory))
    return packed.getvalue()


def _bootstrap_version(emulator: Emulator) -> None:
    """Leave what ``cdk bootstrap`` does for the rule that every CDK template carries."""
    name, version = BOOTSTRAP_VERSION
    emulator.client("ssm").put_parameter(Name=name, Value=version, Type="String", Overwrite=True)


def _settle(cloudformation: Any, stack_id: str, *wanted: str) -> dict[str, Any]:  # noqa: ANN401 - a boto3 client
    """Wait until the stack is at rest; raise unless it rests in a wanted status."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        stack = cast("dict[str, Any]", cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0])
        status = stack["StackStatus"]
        if status in wanted:
            return stack
        resting = not status.endswith("_IN_PROGRESS")
        if resting or time.monotonic() > deadline:
            message = f"{stack['StackName']} is {status}:\n{_failures(cloudformation, stack_id)}"
            raise DeployError(message)
        time.sleep(POLL_SECONDS)


def _failures(cloudformation: Any, stack_id: str) -> str:  # noqa: ANN401 - a boto3 client
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    events = [event for page in pages for event in page["StackEvents"] if event["ResourceStatus"].endswith("_FAILED")]
    lines = [
        f"  {event['LogicalResourceId']} ({event.get('ResourceType')}) {event['ResourceStatus']}: "
        f"{event.get('ResourceStatusReason', '')}"
        for event in reversed(events)
    ]
    return "\n".join(lines) or "  no resource reported a failure"
