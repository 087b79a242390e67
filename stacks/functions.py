"""A function of the guardrail: its own role, its own log group, alarms on its errors and throttles."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from aws_cdk import CfnResource, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from lambdas.core.errors import GuardrailError
from stacks.acknowledged import AWS_OWNED_KEY, WILDCARDS, acknowledge, acknowledge_wildcards, skip
from stacks.alarms import FunctionAlarms
from stacks.grants import sid_of

_INLINE, _MANAGED = 9000, 5000
"""Characters to fill policies with. IAM takes 10,240 in the inline policies of a role and 6,144 in a managed one, both
with the ARNs that are only known when the stack is deployed."""
_ENVIRONMENT = 4096
"""Characters a function's environment holds."""


_WHY = {sid_of(on): why for on, why in WILDCARDS.items()}


def _packed(stack: Stack, statements: Sequence[iam.PolicyStatement]) -> list[list[iam.PolicyStatement]]:
    """Divide statements over an inline policy and as many managed ones as it takes, in their order."""
    packs: list[list[iam.PolicyStatement]] = [[]]
    room = _INLINE
    for each in statements:
        size = len(json.dumps(stack.resolve(each.to_statement_json()), separators=(",", ":")))
        if size > room and packs[-1]:
            packs.append([])
            room = _MANAGED
        packs[-1].append(each)
        room -= size
    return packs


def check_environments(stack: Stack) -> None:
    """Raise GuardrailError where Lambda would refuse the variables of a function, however long AWS makes its names.

    It measures them as one JSON object, in which each quotation mark within the settings takes two characters.
    """
    everything = stack.node.find_all()
    resources = {stack.resolve(each.logical_id): each for each in everything if isinstance(each, CfnResource)}
    longest = {name: _longest(stack, name, each) for name, each in resources.items()}
    for each in everything:
        if not isinstance(each, GuardrailFunction):
            continue
        variables = stack.resolve(each.environment)
        size = sum(len(f'"{name}":"",') + _length(value, longest) for name, value in variables.items())
        if size > _ENVIRONMENT:
            msg = (
                f"guardrail.toml: exempt.principals, arming.listed, regions: {size} characters of settings, names and "
                f"ARNs, a function's environment holds {_ENVIRONMENT}: shorten the lists with *"
            )
            raise GuardrailError(msg)


def _longest(stack: Stack, logical_id: str, resource: CfnResource) -> int:
    """Return how long what a reference to a resource stands for may be: a name given to it, or one made up."""
    if isinstance(resource, lambda_.CfnFunction) and resource.function_name:
        return len(resource.function_name)
    return len(f"arn:aws:sns:ap-southeast-2:123456789012:{stack.stack_name}-{logical_id}-ABCDEFGHIJKL")


def _length(value: object, longest: Mapping[str, int]) -> int:
    match value:
        case str(text):
            return len(json.dumps(text)) - 2
        case {"Fn::Join": ["", list(parts)]}:
            return sum(_length(each, longest) for each in parts)
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]} if name in longest:
            return longest[name]
        case _:
            return len("ap-southeast-2")


@dataclass(frozen=True, slots=True)
class Faults:
    """Where it is told that a function failed, and where what it failed on is kept."""

    topic: sns.ITopic
    undelivered: sqs.IQueue


@dataclass(frozen=True, slots=True)
class Retries:
    """How Lambda goes on with an asynchronous call that failed, and with one it cannot run yet."""

    times: int = 0
    within: Duration | None = None
    """Six hours if it is not said."""


class GuardrailFunction(Construct):
    """One handler of `lambdas.handlers`, allowed exactly what its code declares."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        handler: ModuleType,
        code: lambda_.Code,
        description: str,
        statements: Sequence[iam.PolicyStatement],
        environment: Mapping[str, str],
        role_path: str,
        timeout: Duration,
        faults: Faults,
        function_name: str | None = None,
        memory_size: int = 512,
        retries: Retries = Retries(),
    ) -> None:
        """Make the function, its role, its log group and its alarms.

        Lambda retries no asynchronous call unless told to: the next tick is the meter's retry, and a kill or a
        release must not come again minutes later. What failed for good or grew too old is kept as undelivered.
        """
        super().__init__(scope, construct_id)
        self.environment = dict(environment)
        log_group = logs.LogGroup(
            self, "Logs", retention=logs.RetentionDays.THREE_MONTHS, removal_policy=RemovalPolicy.DESTROY
        )
        role = iam.Role(
            self,
            "Role",
            path=role_path,
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Spend guardrail: {description}",
        )
        # Not AWS's basic execution role: that one may create log groups, and a last line of a function that is
        # being destroyed would bring its group back.
        write_logs = iam.PolicyStatement(
            sid="WriteLogs",
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[log_group.log_group_arn],
        )
        inline, *more = _packed(Stack.of(self), [write_logs, *_report_to(faults.undelivered), *statements])
        policies: list[iam.Policy | iam.ManagedPolicy] = [
            iam.Policy(self, "Policy", statements=inline, roles=[role]),
            *(
                iam.ManagedPolicy(self, f"Policy{number}", path=role_path, statements=each, roles=[role])
                for number, each in enumerate(more, start=2)
            ),
        ]
        for policy, packed in zip(policies, [inline, *more], strict=True):
            acknowledge_wildcards(policy, packed, _WHY)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=function_name,
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"{handler.__name__}.handler",
            code=code,
            # CDK adds nothing to what is granted above: it would to another policy, and more than is needed.
            role=role.without_policy_updates(),
            log_group=log_group,
            environment=dict(environment),
            timeout=timeout,
            memory_size=memory_size,
            retry_attempts=retries.times,
            max_event_age=retries.within,
            on_failure=destinations.SqsDestination(faults.undelivered),
        )
        acknowledge(
            self.function,
            L1="AWS supports Python 3.13 until 2029. What must run at 3 a.m. takes a newer one after its tests did.",
        )
        skip(
            self.function,
            CKV_AWS_45="It finds the ids of accounts, in organization mode. A function has a role and needs no secret.",
            CKV_AWS_115="Reserved when it is deployed, for those that must run, as far as the account's limit allows.",
            CKV_AWS_116="What it fails on goes to a queue, as Lambda's on-failure destination.",
            CKV_AWS_117="It calls AWS's own interfaces alone; a network of the account's is one more thing to fail.",
            CKV_AWS_173="No secret is in it: names, limits and ARNs. AWS encrypts it at rest.",
        )
        skip(log_group, CKV_AWS_158=f"No prompt and no secret is in it. {AWS_OWNED_KEY}")
        # A function must not run before it may do what it does, nor lose that before it is gone.
        self.function.node.add_dependency(*policies)
        word = handler.__name__.rpartition(".")[2]
        FunctionAlarms(
            self,
            "Alarms",
            function=self.function,
            name=f"{role_path.strip('/')}-{word}",
            purpose=description,
            topic=faults.topic,
        )


def _report_to(queue: sqs.IQueue) -> list[iam.PolicyStatement]:
    """Let Lambda put into a queue what a function failed on, which it does in the name of the function's role."""
    send = iam.PolicyStatement(sid="ReportFailures", actions=["sqs:SendMessage"], resources=[queue.queue_arn])
    if (key := queue.encryption_master_key) is None:
        return [send]
    encrypt = iam.PolicyStatement(
        sid="EncryptFailures", actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=[key.key_arn]
    )
    return [send, encrypt]
