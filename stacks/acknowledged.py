"""What a checker of templates finds and is meant so: said beside the construct, with the reason a reviewer is to judge.

`tests/infra/test_nag.py` runs the checks; a deployment does not.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aws_cdk import Acknowledgment, CfnResource, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from lambdas.core.permissions import On

_PRINCIPALS = "who can spend is known only when it runs. A condition on iam:PolicyARN leaves"
_WORK = "what runs is known only when it is stopped, and ending it is all that is allowed."
_READ = "which there are is known only when it looks, and reading is all that is allowed."
_STANDING = (
    "what stands is known only when it is deleted: at a stop, where the configuration opted in for its kind, and not "
    "where it is tagged to be kept."
)

WILDCARDS: Mapping[On, str] = {
    On.EVERYTHING: "AWS knows no resource that could be named for these reads; they write nothing.",
    On.PRINCIPALS_WITH_BRAKE: f"{_PRINCIPALS} the brake policy alone; a Deny spares the exempt and our own roles.",
    On.PRINCIPALS_WITH_SWEEP: f"{_PRINCIPALS} the sweep policy alone; a Deny spares the exempt and our own roles.",
    On.PRINCIPALS_WITH_DENY: f"{_PRINCIPALS} the deny policy alone; a Deny spares the exempt and our own roles.",
    On.PRINCIPALS_WITH_ANY: f"{_PRINCIPALS} the three policies of the guardrail, to be detached when the stack goes.",
    On.HOLDERS_OF_ALLOW_POLICIES: f"{_PRINCIPALS} the policies that the configuration names for detach mode.",
    On.WHOEVER_HELD_ALLOW_POLICIES: _READ,
    On.SIMULATED: "IAM is asked what a role or user may do; which, is known only at a stop. It changes nothing.",
    On.USERS: _READ,
    On.API_KEYS: "whose keys there are is known only at a stop. A condition leaves those of Bedrock, whose state "
    "alone can be set; a Deny spares the exempt.",
    On.API_KEYS_TO_RESTORE: "whose keys a stop made inactive is known only then. A condition leaves those of Bedrock.",
    On.BATCH_JOBS: _WORK,
    On.CUSTOMIZATION_JOBS: _WORK,
    On.EVALUATION_JOBS: _WORK,
    On.OPTIMIZATION_JOBS: _WORK,
    On.KNOWLEDGE_BASES: _WORK,
    On.FLOWS: _WORK,
    On.REASONING_POLICIES: _WORK,
    On.AGENT_EVALUATIONS: _WORK,
    On.BROWSERS: f"{_WORK} AWS's own browsers are of no account.",
    On.CODE_INTERPRETERS: f"{_WORK} AWS's own interpreters are of no account.",
    On.INSTANCE_DETAILS: f"{_READ} A condition leaves what Bedrock reads in the caller's name.",
    On.PROVISIONED_THROUGHPUT: _STANDING,
    On.MARKETPLACE_ENDPOINTS: _STANDING,
    On.INSTANCES: f"{_STANDING} Conditions leave what Bedrock does in the caller's name, to endpoints it tagged.",
    On.INSTANCE_TAGS: _READ,
    On.CUSTOM_DEPLOYMENTS: _STANDING,
    On.FUNCTIONS: _READ,
    On.TAGGED_FUNCTIONS: "which functions their owners tag for the throttle is known only at a stop. A condition on "
    "that tag leaves those; a Deny spares our own. Concurrency is all that can be set.",
    On.GATEWAYS: "which gateways there are is known only at a stop; rate limits are all that is changed, and only "
    "where the configuration asks for it.",
    On.OWN_STACK: "the id behind a stack's name is made when it is deployed.",
    On.OWN_STACKS: "the id behind a stack's name is made when it is deployed; the other regions are configuration.",
    On.TEST_EVENT_REGISTRY: "to list a registry is a right on the names of all that is in it; reading is all.",
    On.RULES: _READ,
    On.ALARMS: f"{_READ} Asked for by name or prefix, CloudWatch wants the right to read them all.",
    On.UNDELIVERED: "there is one queue of this name in each region of the configuration.",
    On.TRAILS: f"{_READ} One of the organization belongs to another account.",
    On.STOP_SCP: "the organization's id is not known here, and a delegated administrator's account is not in its ARNs; "
    "the target itself is named, and ids of accounts and units are unique.",
    On.ORGANIZATION: "AWS Organizations knows no resource that could be named for these reads; they write nothing.",
    On.ROLES_TO_DENY_INLINE: "whose slots are full is known only at a stop. The function takes names, writes one fixed "
    "deny, and exists only where the configuration opts in; a Deny spares the exempt and our own roles.",
    On.ROLES_TO_ALLOW_INLINE: "who got that inline deny is known only then; a Deny spares our own roles.",
}
"""Why what a permission reaches cannot be named. What has no line here is not acknowledged, and so is found."""


AWS_OWNED_KEY = "Encrypted with a key of AWS's; one of your own is an option (options.encrypt), for it costs."
"""Why what is stored has no key of the account's own unless the configuration asks for it."""

NO_KEY_OF_SNS = (
    "AWS's key for SNS lets neither alarms nor AWS Budgets publish; one of your own is an option (options.encrypt)."
)
"""Why a topic has no key unless the configuration asks for one."""


def acknowledge(construct: IConstruct, **reasons: str) -> None:
    """Acknowledge rules of AwsSolutions on a construct (``SQS3="..."``), each with its reason."""
    _acknowledge(construct, reasons)


def acknowledge_wildcards(
    policy: IConstruct, statements: Iterable[iam.PolicyStatement], reasons: Mapping[str, str]
) -> None:
    """Acknowledge each resource with a wildcard that a policy's statements allow, with the reason for its Sid."""
    stack = Stack.of(policy)
    found: dict[str, dict[str, None]] = {}
    for each in statements:
        if each.effect is iam.Effect.ALLOW and (why := reasons.get(each.sid or "")):
            for resource in each.resources:
                text = _flat(stack.resolve(resource))
                if "*" in text:
                    found.setdefault(f"IAM5[Resource::{text}]", {})[why] = None
    _acknowledge(policy, {rule: " ".join(each) for rule, each in found.items()})


def skip(construct: IConstruct, **reasons: str) -> None:
    """Have checkov pass over checks on the resource of a construct (``CKV_AWS_117="..."``), each with its reason."""
    resource = construct.node.default_child
    if not isinstance(resource, CfnResource):
        raise TypeError(resource)
    resource.add_metadata("checkov", {"skip": [{"id": rule, "comment": why} for rule, why in reasons.items()]})


def _acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    if reasons:
        Validations.of(construct).acknowledge(
            *(Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=why) for rule, why in reasons.items())
        )


def _flat(value: Any) -> str:  # noqa: ANN401 - what a token stands for in a template
    """Return a resolved value as the checker spells it: ``arn:<AWS::Partition>:...``."""
    match value:
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(map(_flat, parts))
        case _:
            return str(value)
