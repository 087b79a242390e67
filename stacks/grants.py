"""From the permissions the code declares to IAM statements: one line for each thing they reach."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

from lambdas.aws.api_keys import services
from lambdas.aws.concurrency import TAG
from lambdas.core.console import EVENTS, REGISTRY, schema_name
from lambdas.core.permissions import On, permissions_of
from lambdas.core.principals import split_tag
from lambdas.core.work import Kind


@dataclass(frozen=True, slots=True)
class Reach:
    """The ARNs of what the permissions of the code reach."""

    brake_arn: str
    sweep_arn: str
    own_path: str
    exempt: tuple[str, ...]
    ledger_arn: str = ""
    notice_topic_arns: tuple[str, ...] = ()
    """Of mail, of chat, and of those who are told when nobody acts."""
    sender: str = ""
    """The address owners are mailed from; empty when they are not."""
    budget_arns: tuple[str, ...] = ()
    budget_action_arn: str = ""
    """The action by which AWS Budgets stops by itself; without one, nothing of that is granted."""
    key_arn: str = ""
    """The key that topics and ledger are encrypted with; empty when AWS's are."""
    stop_function_arn: str = ""
    release_function_arn: str = ""
    kill_function_arn: str = ""
    canary_role_arn: str = ""
    """The role of the live drill."""
    external_anthropic: bool = False
    gateways: bool = False
    """Whether AgentCore gateways are throttled."""
    allow_policies: tuple[str, ...] = ()
    """Those of detach mode; without any, nothing of that mode is granted."""
    organization_role_arn: str = ""
    """The role of organization mode, likewise."""
    deny_arn: str = ""
    writer_function_arn: str = ""
    reserved_function_arns: tuple[str, ...] = ()
    """The functions concurrency is reserved for."""
    inline_function_arn: str = ""
    """The function that writes inline denies; without one, nothing of that is granted."""
    irreversible: tuple[str, ...] = ()
    """Kinds of standing capacity that a stop may delete."""
    exempt_tag: str = ""
    """``KEY=VALUE`` of those who are exempt by tag; empty when none is configured."""

    def statements(self, scope: Stack, uses: Iterable[Callable[..., Any]]) -> list[iam.PolicyStatement]:
        """Return what a function may do that calls these methods."""
        permissions = permissions_of(uses)
        by_target = {
            on: sorted({a for each in permissions if each.on is on for a in each.actions}) if self.grants(on) else []
            for on in On
        }
        statements = [self._allow(scope, on, actions) for on, actions in by_target.items() if actions]
        if any(by_target[on] for on in _ON_PRINCIPALS):
            # Who became exempt while stopped gets back what detach mode took: nobody else attaches for a release.
            ours = any(by_target[on] and "iam:AttachRolePolicy" in by_target[on] for on in _WITH_OURS)
            statements.append(_never_attach_to(self._spared(scope) if ours else self._our_roles(scope)))
        if by_target[On.HOLDERS_OF_ALLOW_POLICIES]:
            statements.append(self._never_detach_from_the_spared(scope))
        if by_target[On.API_KEYS]:
            statements.append(self._never_the_keys_of_the_spared(scope))
        if by_target[On.ROLES_TO_DENY_INLINE]:
            statements.append(_never_deny_inline(self._spared(scope)))
        if by_target[On.ROLES_TO_ALLOW_INLINE]:
            statements.append(_never_allow_inline(self._our_roles(scope)))
        if by_target[On.TAGGED_FUNCTIONS]:
            statements.append(self._never_our_functions(scope))
        if self.key_arn and any(by_target[on] for on in (On.LEDGER, On.NOTICES)):
            statements.append(self._use_the_key(scope))
        if self.exempt_tag:
            statements += [self._never_the_tagged(scope, each) for each in statements if each.sid in _OF_THE_SPARED]
        return statements

    def grants(self, on: On) -> bool:
        """Tell whether a function that needs something there is given it: not so in a mode that is not configured."""
        asked_for: dict[On, object] = {
            **dict.fromkeys(_IN_DETACH_MODE, self.allow_policies),
            **{each: kind.key in self.irreversible for each, kind in _CHOSEN.items()},
            **dict.fromkeys(_INLINE, self.inline_function_arn),
            On.ORGANIZATION_ROLE: self.organization_role_arn,
            On.GATEWAYS: self.gateways,
            On.SENDER: self.sender,
            **dict.fromkeys((On.BUDGET_ACTION, On.BUDGET_STOP_POLICY), self.budget_action_arn),
        }
        if on in asked_for:
            return bool(asked_for[on])
        # What is done by that role is granted to that role.
        return on not in {On.STOP_SCP, On.ORGANIZATION, On.CANARY_MODEL}

    def _allow(self, scope: Stack, on: On, actions: Sequence[str]) -> iam.PolicyStatement:
        resources, conditions = self._target(scope, on)
        return iam.PolicyStatement(sid=sid_of(on), actions=list(actions), resources=resources, conditions=conditions)

    def _target(self, scope: Stack, on: On) -> tuple[list[str], dict[str, Any] | None]:
        switched = [self.brake_arn, self.sweep_arn]
        own = [*switched, self.deny_arn]
        groups = [
            f"arn:{scope.partition}:iam::{scope.account}:group{self.own_path}{self.own_path.strip('/')}-{name}"
            for name in ("sweep", "deny")
        ]
        anyone = [f"arn:{scope.partition}:iam::{scope.account}:{kind}/*" for kind in ("role", "user")]
        anyone_or_group = [*anyone, f"arn:{scope.partition}:iam::{scope.account}:group/*"]
        allowing = list(self.allow_policies)
        users = [f"arn:{scope.partition}:iam::{scope.account}:user/*"]
        keys = services(external_anthropic=self.external_anthropic)
        of_bedrock = {"StringEquals": {"iam:ServiceSpecificCredentialServiceName": list(keys)}}
        functions = [f"arn:{scope.partition}:lambda:*:{scope.account}:function:*"]
        targets: dict[On, tuple[list[str], dict[str, Any] | None]] = {
            On.EVERYTHING: (["*"], None),
            On.OWN_POLICIES: (own, None),
            On.LEVEL_POLICIES: (switched, None),
            On.PRINCIPALS_WITH_BRAKE: (anyone, {"ArnEquals": {"iam:PolicyARN": self.brake_arn}}),
            On.PRINCIPALS_WITH_SWEEP: (anyone, {"ArnEquals": {"iam:PolicyARN": self.sweep_arn}}),
            On.PRINCIPALS_WITH_DENY: (anyone, {"ArnEquals": {"iam:PolicyARN": self.deny_arn}}),
            On.PRINCIPALS_WITH_ANY: (anyone, {"ArnEquals": {"iam:PolicyARN": own}}),
            On.OWN_GROUPS: (groups, None),
            On.OWN_GROUPS_BY_NAME: ([*groups, *(each.replace(self.own_path, "/") for each in groups)], None),
            On.OWN_GROUPS_WITH_OURS: (groups, {"ArnEquals": {"iam:PolicyARN": [self.sweep_arn, self.deny_arn]}}),
            On.WRITER_FUNCTION: ([self.writer_function_arn], None),
            On.ALLOW_POLICIES: (allowing, None),
            On.HOLDERS_OF_ALLOW_POLICIES: (anyone_or_group, {"ArnEquals": {"iam:PolicyARN": allowing}}),
            On.WHOEVER_HELD_ALLOW_POLICIES: (anyone_or_group, None),
            On.ORGANIZATION_ROLE: ([self.organization_role_arn], None),
            On.BATCH_JOBS: ([f"arn:{scope.partition}:bedrock:*:{scope.account}:model-invocation-job/*"], None),
            **_on_work(scope),
            On.LEDGER: ([self.ledger_arn], None),
            On.NOTICES: (list(self.notice_topic_arns), None),
            On.SENDER: (_identities(scope, self.sender), {"StringEquals": {"ses:FromAddress": self.sender}}),
            On.BUDGET: (list(self.budget_arns), None),
            On.BUDGET_ACTION: ([self.budget_action_arn], None),
            On.BUDGET_STOP_POLICY: (
                [
                    f"arn:{scope.partition}:iam::{scope.account}:policy{self.own_path}{self.own_path.strip('/')}-budget-stop"
                ],
                None,
            ),
            On.STOP_FUNCTION: ([self.stop_function_arn], None),
            On.RELEASE_FUNCTION: ([self.release_function_arn], None),
            On.KILL_FUNCTION: ([self.kill_function_arn], None),
            On.CANARY_ROLE: ([self.canary_role_arn], None),
            On.USERS: (users, None),
            On.API_KEYS: (users, of_bedrock),
            On.API_KEYS_TO_RESTORE: (users, of_bedrock),
            On.FUNCTIONS: (functions, None),
            On.TAGGED_FUNCTIONS: (functions, {"Null": {f"aws:ResourceTag/{TAG}": "false"}}),
            On.GATEWAYS: ([f"arn:{scope.partition}:bedrock-agentcore:*:{scope.account}:gateway/*"], None),
            On.OWN_STACK: (
                [f"arn:{scope.partition}:cloudformation:{scope.region}:{scope.account}:stack/{scope.stack_name}/*"],
                None,
            ),
            **_on_test_events(scope, self.own_path.strip("/")),
            On.OWN_STACKS: (
                [
                    f"arn:{scope.partition}:cloudformation:{scope.region}:{scope.account}:stack/{scope.stack_name}/*",
                    f"arn:{scope.partition}:cloudformation:*:{scope.account}:stack{self.own_path[:-1]}-watch-*/*",
                ],
                None,
            ),
            On.RULES: ([f"arn:{scope.partition}:events:*:{scope.account}:rule/*"], None),
            # Asked for by name, CloudWatch wants the right to read them all.
            On.ALARMS: ([f"arn:{scope.partition}:cloudwatch:*:{scope.account}:alarm:*"], None),
            On.UNDELIVERED: (
                [f"arn:{scope.partition}:sqs:*:{scope.account}:{self.own_path.strip('/')}-undelivered"],
                None,
            ),
            # One of the organization is in another account.
            On.TRAILS: ([f"arn:{scope.partition}:cloudtrail:*:*:trail/*"], None),
            On.RESERVED_FUNCTIONS: (list(self.reserved_function_arns), None),
            On.SIMULATED: (anyone, None),
            On.INLINE_FUNCTION: ([self.inline_function_arn], None),
            # IAM has no condition on what an inline policy says, nor on its name: only the function's code sees to it.
            On.ROLES_TO_DENY_INLINE: ([f"arn:{scope.partition}:iam::{scope.account}:role/*"], None),
            On.ROLES_TO_ALLOW_INLINE: ([f"arn:{scope.partition}:iam::{scope.account}:role/*"], None),
        }
        return targets[on]

    def _use_the_key(self, scope: Stack) -> iam.PolicyStatement:
        # No code of ours calls the key: the ledger and the topics do, in the name of who calls them.
        via = [f"{service}.{scope.region}.amazonaws.com" for service in ("dynamodb", "sns")]
        return iam.PolicyStatement(
            sid="UseTheKey",
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=[self.key_arn],
            conditions={"StringEquals": {"kms:ViaService": via}},
        )

    def _never_detach_from_the_spared(self, scope: Stack) -> iam.PolicyStatement:
        # Policies of ours may be detached from anybody, also from who became exempt while stopped.
        return iam.PolicyStatement(
            sid="NeverDetachFromTheSpared",
            effect=iam.Effect.DENY,
            actions=["iam:DetachRolePolicy", "iam:DetachUserPolicy"],
            resources=self._spared(scope),
            conditions={"ArnEquals": {"iam:PolicyARN": list(self.allow_policies)}},
        )

    def _never_the_keys_of_the_spared(self, scope: Stack) -> iam.PolicyStatement:
        # Not so for a release: whoever became exempt while stopped gets their keys back.
        return iam.PolicyStatement(
            sid="NeverTheKeysOfTheSpared",
            effect=iam.Effect.DENY,
            actions=["iam:UpdateServiceSpecificCredential"],
            resources=self._spared(scope),
        )

    def _never_the_tagged(self, scope: Stack, spared: iam.PolicyStatement) -> iam.PolicyStatement:
        key, value = split_tag(self.exempt_tag)
        return iam.PolicyStatement(
            sid=f"{spared.sid}ByTag",
            effect=iam.Effect.DENY,
            actions=spared.actions,
            resources=[f"arn:{scope.partition}:iam::{scope.account}:{kind}/*" for kind in ("role", "user")],
            conditions=spared.conditions | {"StringEquals": {f"iam:ResourceTag/{key}": value}},
        )

    def _never_our_functions(self, scope: Stack) -> iam.PolicyStatement:
        # Whoever tagged a function of the guardrail could have it throttle itself. They are named by the prefix, or by
        # their stack, whose name begins with it.
        return iam.PolicyStatement(
            sid="NeverOurFunctions",
            effect=iam.Effect.DENY,
            actions=["lambda:DeleteFunctionConcurrency", "lambda:PutFunctionConcurrency"],
            resources=[f"arn:{scope.partition}:lambda:*:{scope.account}:function:{self.own_path.strip('/')}-*"],
        )

    def _our_roles(self, scope: Stack) -> list[str]:
        return [f"arn:{scope.partition}:iam::{scope.account}:role{self.own_path}*"]

    def _spared(self, scope: Stack) -> list[str]:
        exempt = [f"arn:{scope.partition}:iam::{scope.account}:{each}" for each in self.exempt]
        return [*self._our_roles(scope), *exempt]


_WITH_OURS = (On.PRINCIPALS_WITH_BRAKE, On.PRINCIPALS_WITH_SWEEP, On.PRINCIPALS_WITH_DENY, On.PRINCIPALS_WITH_ANY)
_ON_PRINCIPALS = (*_WITH_OURS, On.HOLDERS_OF_ALLOW_POLICIES)
_OF_THE_SPARED = ("NeverTheSpared", "NeverDetachFromTheSpared", "NeverTheKeysOfTheSpared", "NeverDenyInlineTheSpared")
_CHOSEN = {
    On.PROVISIONED_THROUGHPUT: Kind.PROVISIONED,
    On.MARKETPLACE_ENDPOINTS: Kind.ENDPOINT,
    On.INSTANCES: Kind.ENDPOINT,
    On.INSTANCE_TAGS: Kind.ENDPOINT,
    On.CUSTOM_DEPLOYMENTS: Kind.DEPLOYMENT,
}
"""What is granted only where the configuration lets a stop delete that kind."""
_INLINE = (On.INLINE_FUNCTION, On.ROLES_TO_DENY_INLINE, On.ROLES_TO_ALLOW_INLINE)
_IN_DETACH_MODE = (On.ALLOW_POLICIES, On.HOLDERS_OF_ALLOW_POLICIES, On.WHOEVER_HELD_ALLOW_POLICIES)


def _never_attach_to(spared: list[str]) -> iam.PolicyStatement:
    # The code leaves them alone; this holds even if the code does not.
    return iam.PolicyStatement(
        sid="NeverTheSpared",
        effect=iam.Effect.DENY,
        actions=["iam:AttachRolePolicy", "iam:AttachUserPolicy"],
        resources=spared,
    )


def _never_deny_inline(spared: list[str]) -> iam.PolicyStatement:
    # Likewise; and no role of the guardrail can be given anything by way of this one, least of all its own.
    return iam.PolicyStatement(
        sid="NeverDenyInlineTheSpared", effect=iam.Effect.DENY, actions=["iam:PutRolePolicy"], resources=spared
    )


def _never_allow_inline(ours: list[str]) -> iam.PolicyStatement:
    # Of our own alone: from whoever became exempt while stopped the deny is taken.
    return iam.PolicyStatement(
        sid="NeverOurInlinePolicies", effect=iam.Effect.DENY, actions=["iam:DeleteRolePolicy"], resources=ours
    )


def _identities(scope: Stack, sender: str) -> list[str]:
    """Return what SES may have verified for an address: itself, or its domain."""
    named = (sender, sender.partition("@")[2])
    return [f"arn:{scope.partition}:ses:{scope.region}:{scope.account}:identity/{each}" for each in named]


def _on_test_events(scope: Stack, prefix: str) -> dict[On, tuple[list[str], dict[str, Any] | None]]:
    here = f"arn:{scope.partition}:schemas:{scope.region}:{scope.account}"
    schemas = [f"{here}:schema/{REGISTRY}/{schema_name(f'{prefix}-{word}')}" for word in EVENTS]
    # Listing is authorised by what is listed.
    registry = [f"{here}:registry/{REGISTRY}", f"{here}:schema/{REGISTRY}*"]
    return {On.TEST_EVENT_REGISTRY: (registry, None), On.TEST_EVENTS: (schemas, None)}


def sid_of(on: On) -> str:
    """Return the Sid of the statement that allows something on this."""
    return on.name.title().replace("_", "")


def _on_work(scope: Stack) -> dict[On, tuple[list[str], dict[str, Any] | None]]:
    def mine(service: str, *resources: str) -> list[str]:
        return [f"arn:{scope.partition}:{service}:*:{scope.account}:{each}" for each in resources]

    def lent(kind: str) -> str:
        return f"arn:{scope.partition}:bedrock-agentcore:*:aws:{kind}/*"

    by_bedrock = {"aws:CalledViaLast": "bedrock.amazonaws.com"}
    return {
        On.CUSTOMIZATION_JOBS: (mine("bedrock", "model-customization-job/*"), None),
        On.EVALUATION_JOBS: (mine("bedrock", "evaluation-job/*"), None),
        On.OPTIMIZATION_JOBS: (mine("bedrock", "advanced-prompt-optimization-job/*"), None),
        On.KNOWLEDGE_BASES: (mine("bedrock", "knowledge-base/*"), None),
        On.FLOWS: (mine("bedrock", "flow/*"), None),
        On.REASONING_POLICIES: (mine("bedrock", "automated-reasoning-policy/*"), None),
        On.AGENT_EVALUATIONS: (mine("bedrock-agentcore", "batch-evaluate/*"), None),
        On.BROWSERS: ([lent("browser"), *mine("bedrock-agentcore", "browser-custom/*")], None),
        On.CODE_INTERPRETERS: (
            [lent("code-interpreter"), *mine("bedrock-agentcore", "code-interpreter-custom/*")],
            None,
        ),
        On.INSTANCE_DETAILS: (
            mine("sagemaker", "endpoint/*", "endpoint-config/*"),
            {"StringEquals": by_bedrock},
        ),
        On.PROVISIONED_THROUGHPUT: (mine("bedrock", "provisioned-model/*"), None),
        On.MARKETPLACE_ENDPOINTS: (mine("bedrock", "marketplace/model-endpoint/all-access"), None),
        On.INSTANCES: (
            mine("sagemaker", "endpoint/*"),
            # As AWS's own AmazonBedrockFullAccess has it: no other SageMaker endpoint can be deleted.
            {"StringEquals": {**by_bedrock, "aws:ResourceTag/sagemaker-sdk:bedrock": "compatible"}},
        ),
        On.INSTANCE_TAGS: (mine("sagemaker", "endpoint/*"), None),
        On.CUSTOM_DEPLOYMENTS: (mine("bedrock", "custom-model-deployment/*"), None),
    }
