"""The IAM permission beside the call it is for: the stack grants what the methods a function uses declare."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ParamSpec, TypeVar


class On(Enum):
    """What a permission reaches. The stack knows the ARNs and conditions; `stacks/grants.py` has one line for each."""

    EVERYTHING = "reads for which AWS knows no narrower resource"
    OWN_POLICIES = "the three policies of the guardrail"
    LEVEL_POLICIES = "the two policies of the guardrail that are switched"
    PRINCIPALS_WITH_BRAKE = "roles and users, the brake policy alone"
    PRINCIPALS_WITH_SWEEP = "roles and users, the sweep policy alone"
    PRINCIPALS_WITH_ANY = "roles and users, the three policies alone"
    PRINCIPALS_WITH_DENY = "roles and users, the deny policy alone"
    OWN_GROUPS = "the two groups of the guardrail"
    OWN_GROUPS_BY_NAME = "the same, or what has their names: of a group that is not there IAM knows no path"
    OWN_GROUPS_WITH_OURS = "those groups, the policies they hold alone"
    WRITER_FUNCTION = "the function that writes the policies"
    ALLOW_POLICIES = "the allow-policies detach mode is configured for"
    HOLDERS_OF_ALLOW_POLICIES = "roles, users and groups, those allow-policies alone"
    WHOEVER_HELD_ALLOW_POLICIES = "roles, users and groups, to see who they are"
    ORGANIZATION_ROLE = "the one role in the management account of the organization"
    STOP_SCP = "the one SCP and its one target, by that role"
    ORGANIZATION = "reads for which AWS Organizations knows no narrower resource, by that role"
    BATCH_JOBS = "batch inference jobs of this account"
    CUSTOMIZATION_JOBS = "model customization jobs of this account"
    EVALUATION_JOBS = "evaluation jobs of this account"
    OPTIMIZATION_JOBS = "prompt optimization jobs of this account"
    KNOWLEDGE_BASES = "knowledge bases of this account"
    FLOWS = "flows of this account, their aliases and executions"
    REASONING_POLICIES = "automated reasoning policies of this account"
    AGENT_EVALUATIONS = "batch evaluations of AgentCore"
    BROWSERS = "browsers of AgentCore, AWS's and the account's own"
    CODE_INTERPRETERS = "code interpreters of AgentCore, AWS's and the account's own"
    INSTANCE_DETAILS = "SageMaker endpoints, read by Bedrock in the caller's name"
    PROVISIONED_THROUGHPUT = "provisioned throughput of this account, where a stop may delete it"
    MARKETPLACE_ENDPOINTS = "marketplace endpoints of this account, where a stop may delete them"
    INSTANCES = "the SageMaker endpoints behind those, deleted by Bedrock in the caller's name"
    INSTANCE_TAGS = "the tags of SageMaker endpoints, where a stop may delete marketplace endpoints"
    CUSTOM_DEPLOYMENTS = "custom-model deployments of this account, where a stop may delete them"
    LEDGER = "the ledger table"
    NOTICES = "the topics people are told through"
    SENDER = "the address owners are mailed from, where there is one"
    BUDGET = "the budgets of this stack"
    BUDGET_ACTION = "the action by which AWS Budgets stops by itself, where there is one"
    BUDGET_STOP_POLICY = "the policy which that action attaches, to see whom it is on"
    STOP_FUNCTION = "the stop function"
    USERS = "users, which are read"
    API_KEYS = "Bedrock API keys, but for those of the exempt"
    API_KEYS_TO_RESTORE = "Bedrock API keys, also of those who became exempt since they were set inactive"
    FUNCTIONS = "Lambda functions of this account, which are read"
    TAGGED_FUNCTIONS = "Lambda functions tagged for the throttle, but for the guardrail's own"
    GATEWAYS = "AgentCore gateways of this account"
    RELEASE_FUNCTION = "the release function"
    KILL_FUNCTION = "the kill function"
    CANARY_ROLE = "the canary of the live drill, where there is one"
    CANARY_MODEL = "the one model it counts tokens with, by that role"
    OWN_STACK = "the stack of the guardrail"
    TEST_EVENT_REGISTRY = "the registry in which the console keeps shared test events, and what is listed in it"
    TEST_EVENTS = "the shared test events of kill, release and status"
    OWN_STACKS = "that stack, and those of the other regions"
    RULES = "EventBridge rules of this account, which are read"
    ALARMS = "CloudWatch alarms of this account, which are read"
    UNDELIVERED = "the queues of what was not delivered"
    TRAILS = "CloudTrail trails of this account and its organization, which are read"
    RESERVED_FUNCTIONS = "the functions of the guardrail that must run"
    SIMULATED = "roles and users, to ask what they may do"
    INLINE_FUNCTION = "the function that writes inline denies, where there is one"
    ROLES_TO_DENY_INLINE = "roles, but for the exempt and our own: their inline policies, where asked for"
    ROLES_TO_ALLOW_INLINE = "roles, also those who became exempt since: likewise"


@dataclass(frozen=True, slots=True)
class Permission:
    """IAM actions and what they reach."""

    actions: tuple[str, ...]
    on: On


_ATTRIBUTE = "__permissions__"
_P = ParamSpec("_P")
_R = TypeVar("_R")


def needs(*actions: str, on: On) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Declare the IAM actions the calls inside a method need."""

    def mark(method: Callable[_P, _R]) -> Callable[_P, _R]:
        setattr(method, _ATTRIBUTE, (*getattr(method, _ATTRIBUTE, ()), Permission(actions, on)))
        return method

    return mark


def permissions_of(uses: Iterable[Callable[..., Any]]) -> tuple[Permission, ...]:
    """Return the permissions of the methods a function uses."""
    return tuple(permission for method in uses for permission in getattr(method, _ATTRIBUTE))
