"""IAM's policy simulator: a second opinion on what a principal is denied. It reads policies; it enforces nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lambdas.aws import calls
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

_DENIED = "explicitDeny"


class Simulator:
    """The simulator, asked about one principal at a time."""

    def __init__(self, client: "IAMClient") -> None:
        """Take the client."""
        self._iam = client

    @needs("iam:SimulatePrincipalPolicy", on=On.SIMULATED)
    def denied(self, holder_arn: str, actions: Sequence[str]) -> Mapping[str, bool]:
        """Return which actions a Deny statement refuses to a role or user, whatever the resource.

        That nothing allows an action on every resource (``implicitDeny``) says nothing of the one model somebody may
        call, so it does not count. An action the simulator is silent about is left out. Raises AwsCallError.
        """
        with calls.named("iam:SimulatePrincipalPolicy"):
            pages = list(
                self._iam.get_paginator("simulate_principal_policy").paginate(
                    PolicySourceArn=holder_arn,
                    ActionNames=list(actions),
                    # The deny spares the exempt by this key; the simulator fills it in for nobody.
                    ContextEntries=[
                        {
                            "ContextKeyName": "aws:PrincipalArn",
                            "ContextKeyValues": [holder_arn],
                            "ContextKeyType": "string",
                        }
                    ],
                )
            )
        decisions: dict[str, list[str]] = {}
        for page in pages:
            for each in page.get("EvaluationResults", ()):
                decisions.setdefault(each["EvalActionName"], []).append(each["EvalDecision"])
        return {action: set(found) == {_DENIED} for action, found in decisions.items()}
