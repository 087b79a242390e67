"""A synthesized template, and what its references stand for in an account that does not exist."""

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from lambdas.core.permissions import permissions_of
from stacks.configuration import Configuration
from stacks.grants import Reach
from tests.infra.judge import ACCOUNT

REGION = "us-east-1"
LOG_ACTIONS = frozenset({"logs:CreateLogStream", "logs:PutLogEvents"})
REPORT_ACTIONS = frozenset({"sqs:SendMessage"})
BY_LAMBDA = LOG_ACTIONS | REPORT_ACTIONS
"""What Lambda itself does in the name of a function's role; no code of ours, and so nothing it declares."""

_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "guardrail",
}
_ARNS = {
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{}}:*",
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{}}",
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{}}",
    "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{{}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role{{}}",
    "AWS::Organizations::Policy": "arn:aws:organizations::999999999999:policy/o-exampleorgid/service_control_policy/{}",
}
_NAME_PROPERTIES = ("FunctionName", "RoleName", "TopicName", "TableName", "LogGroupName", "QueueName", "PolicyName")


def listed(value: Any) -> list[Any]:
    """Return a value that may stand alone, as a list."""
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Function:
    """One function of the stack with what belongs to it, references resolved."""

    logical_id: str
    handler: ModuleType
    properties: Mapping[str, Any]
    role_id: str
    role_arn: str
    statements: list[Mapping[str, Any]]
    reach: Reach

    @property
    def word(self) -> str:
        """``stop`` for `lambdas.handlers.stop`."""
        return self.handler.__name__.rpartition(".")[2]

    @property
    def policy(self) -> dict[str, Any]:
        """All its permissions as one document."""
        return {"Version": "2012-10-17", "Statement": self.statements}

    @property
    def allows(self) -> list[Mapping[str, Any]]:
        return [each for each in self.statements if each["Effect"] == "Allow"]

    @property
    def denies(self) -> list[Mapping[str, Any]]:
        return [each for each in self.statements if each["Effect"] == "Deny"]

    @property
    def granted(self) -> set[str]:
        return {action for each in self.allows for action in listed(each["Action"])}

    @property
    def declared(self) -> set[str]:
        """The actions the methods declare that the handler says it uses, without those of modes that are off."""
        permissions = permissions_of(self.handler.USES)
        return {action for each in permissions if self.reach.grants(each.on) for action in each.actions}


@dataclass(frozen=True)
class Synthesized:
    """A stack as CloudFormation gets it, and the configuration it was made from."""

    configuration: Configuration
    json: Mapping[str, Any]

    def of_type(self, kind: str) -> dict[str, Any]:
        """Return the resources of a type by logical id."""
        return {name: each for name, each in self.json["Resources"].items() if each["Type"] == kind}

    def only(self, kind: str) -> tuple[str, Any]:
        """Return the one resource of a type."""
        ((name, each),) = self.of_type(kind).items()
        return name, each

    def named(self, pattern: str, kind: str) -> str:
        """Return the logical id of the one resource of a type that matches."""
        (name,) = [each for each in self.of_type(kind) if re.match(pattern, each)]
        return name

    def resolved(self, value: Any) -> Any:
        """Return a value of the template as it would read in the account."""
        match value:
            case {"Ref": str(name)}:
                result: Any = _PSEUDO.get(name) or self._ref(name)
            case {"Fn::GetAtt": [name, attribute]}:
                result = self._arn(name) if attribute == "Arn" else "v1"
            case {"Fn::Join": [separator, parts]}:
                result = separator.join(self.resolved(each) for each in parts)
            case {"Fn::Sub": str(text)}:
                result = re.sub(r"\$\{([\w:]+)\}", lambda found: str(self.resolved({"Ref": found[1]})), text)
            case dict():
                result = {key: self.resolved(each) for key, each in value.items()}
            case list():
                result = [self.resolved(each) for each in value]
            case _:
                result = value
        return result

    def _name(self, logical_id: str) -> str:
        properties = self.json["Resources"][logical_id].get("Properties", {})
        return next((properties[each] for each in _NAME_PROPERTIES if each in properties), logical_id)

    def _ref(self, logical_id: str) -> str:
        # Ref gives the ARN of a topic and the name of everything else.
        is_topic = self.json["Resources"][logical_id]["Type"] == "AWS::SNS::Topic"
        return self._arn(logical_id) if is_topic else self._name(logical_id)

    def _arn(self, logical_id: str) -> str:
        resource = self.json["Resources"][logical_id]
        name = self._name(logical_id)
        if resource["Type"] == "AWS::IAM::Role":
            name = resource["Properties"].get("Path", "/") + name
        return _ARNS[resource["Type"]].format(name)

    def functions(self) -> dict[str, Function]:
        """Return the functions by the word of their handler."""
        found = [self._function(name, each) for name, each in self.of_type("AWS::Lambda::Function").items()]
        return {each.word: each for each in found}

    def _function(self, logical_id: str, resource: Mapping[str, Any]) -> Function:
        properties = resource["Properties"]
        module, _, name = properties["Handler"].rpartition(".")
        handler = importlib.import_module(module)
        assert callable(getattr(handler, name))
        role_id = properties["Role"]["Fn::GetAtt"][0]
        statements = [
            self.resolved(statement)
            for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
            for policy in self.of_type(kind).values()
            if {"Ref": role_id} in policy["Properties"].get("Roles", ())
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        ]
        return Function(
            logical_id,
            handler,
            self.resolved(properties),
            role_id,
            self.resolved(properties["Role"]),
            statements,
            self._reach,
        )

    @property
    def _reach(self) -> Reach:
        """Which modes are on; the ARNs do not matter."""
        settings = self.configuration.settings
        return Reach(
            "",
            "",
            settings.own_path,
            settings.exempt,
            allow_policies=settings.detach,
            organization_role_arn=settings.organization.role_arn if settings.organization else "",
            gateways=settings.gateway_percent is not None,
            irreversible=settings.work.irreversible,
            inline_function_arn="inline" if settings.inline_deny else "",
            sender=settings.telling.sender,
            budget_action_arn="action" if self.configuration.natively_stopped else "",
        )

    def needs(self, logical_id: str) -> set[str]:
        """Return everything that exists before a resource does, and goes after it."""
        found: set[str] = set()
        todo = [logical_id]
        while todo:
            for each in self._directly_needed(todo.pop()):
                if each not in found:
                    found.add(each)
                    todo.append(each)
        return found

    def _directly_needed(self, logical_id: str) -> set[str]:
        resource = self.json["Resources"][logical_id]
        mentioned = {*listed(resource.get("DependsOn", [])), *_references(resource.get("Properties", {}))}
        return mentioned & set(self.json["Resources"])


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case dict():
            yield from _all_references(value.values())
        case list():
            yield from _all_references(value)


def _all_references(values: Iterable[Any]) -> Iterator[str]:
    for each in values:
        yield from _references(each)
