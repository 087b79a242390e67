"""From the permissions the code declares to IAM statements: one line for each thing they reach."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

from lambdas.core.permissions import On, permissions_of


@dataclass(frozen=True, slots=True)
class Reach:
    """The ARNs of what the permissions of the code reach."""

    brake_arn: str
    sweep_arn: str
    own_path: str
    exempt: tuple[str, ...]
    ledger_arn: str = ""
    notice_topic_arn: str = ""
    budget_arn: str = ""
    stop_function_arn: str = ""

    def reaching(self, stop_function_arn: str) -> "Reach":
        """Return the same with the stop function, which is made by then."""
        return replace(self, stop_function_arn=stop_function_arn)

    def statements(self, scope: Stack, uses: Iterable[Callable[..., Any]]) -> list[iam.PolicyStatement]:
        """Return what a function may do that calls these methods."""
        permissions = permissions_of(uses)
        by_target = {on: sorted({a for each in permissions if each.on is on for a in each.actions}) for on in On}
        statements = [self._allow(scope, on, actions) for on, actions in by_target.items() if actions]
        if any(by_target[on] for on in _ON_PRINCIPALS):
            statements.append(self._never_the_spared(scope))
        return statements

    def _allow(self, scope: Stack, on: On, actions: Sequence[str]) -> iam.PolicyStatement:
        resources, conditions = self._target(scope, on)
        return iam.PolicyStatement(sid=_sid(on), actions=list(actions), resources=resources, conditions=conditions)

    def _target(self, scope: Stack, on: On) -> tuple[list[str], dict[str, Any] | None]:
        own = [self.brake_arn, self.sweep_arn]
        anyone = [f"arn:{scope.partition}:iam::{scope.account}:{kind}/*" for kind in ("role", "user")]
        targets: dict[On, tuple[list[str], dict[str, Any] | None]] = {
            On.EVERYTHING: (["*"], None),
            On.OWN_POLICIES: (own, None),
            On.PRINCIPALS_WITH_BRAKE: (anyone, {"ArnEquals": {"iam:PolicyARN": self.brake_arn}}),
            On.PRINCIPALS_WITH_SWEEP: (anyone, {"ArnEquals": {"iam:PolicyARN": self.sweep_arn}}),
            On.PRINCIPALS_WITH_EITHER: (anyone, {"ArnEquals": {"iam:PolicyARN": own}}),
            On.BATCH_JOBS: ([f"arn:{scope.partition}:bedrock:*:{scope.account}:model-invocation-job/*"], None),
            On.LEDGER: ([self.ledger_arn], None),
            On.NOTICES: ([self.notice_topic_arn], None),
            On.BUDGET: ([self.budget_arn], None),
            On.STOP_FUNCTION: ([self.stop_function_arn], None),
        }
        return targets[on]

    def _never_the_spared(self, scope: Stack) -> iam.PolicyStatement:
        # The code leaves them alone; this holds even if the code does not.
        spared = [f"role{self.own_path}*", *self.exempt]
        return iam.PolicyStatement(
            sid="NeverTheSpared",
            effect=iam.Effect.DENY,
            actions=["iam:AttachRolePolicy", "iam:AttachUserPolicy"],
            resources=[f"arn:{scope.partition}:iam::{scope.account}:{each}" for each in spared],
        )


_ON_PRINCIPALS = (On.PRINCIPALS_WITH_BRAKE, On.PRINCIPALS_WITH_SWEEP, On.PRINCIPALS_WITH_EITHER)


def _sid(on: On) -> str:
    return on.name.title().replace("_", "")
