"""Lambda: roles without a free policy slot get the inline deny, of the one function that may write it."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from lambdas.aws import functions, recalled
from lambdas.core.errors import AwsCallError
from lambdas.core.levels import Level
from lambdas.core.levers import INLINE, Found, Held
from lambdas.core.permissions import On, needs
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class InlineDenies:
    """The lever for those whom no policy of ours can be attached to. Users have the groups instead."""

    name = INLINE

    def __init__(
        self,
        client: "LambdaClient",
        function: str,
        everybody: Callable[[], Sequence[Principal]],
        *,
        policy_name: str,
        stopping: Collection[str],
    ) -> None:
        """Take the client, which must wait long and must not ask twice, and the function's name.

        Also how to learn who is in the account, the policy's name, and the ARNs of the policies that stop their
        holders without it.
        """
        self._lambda = client
        self._function = function
        self._everybody = everybody
        self._policy_name = policy_name
        self._stopping = frozenset(stopping)

    @needs("iam:GetAccountAuthorizationDetails", "iam:GetAccountSummary", on=On.EVERYTHING)
    def find(self, level: Level, spared: Spared) -> Found:
        """Return the roles that can spend, hold none of our policies, have no slot for one, and no inline deny yet.

        The document denies everything, so at a step-down it finds nobody.
        """
        if level is not Level.STOP:
            return Found()
        try:
            people = self._everybody()
        except AwsCallError as error:
            return Found(unread={"roles without a free policy slot": str(error)})
        return Found(
            tuple(
                Held(self.name, each.name, f"the Bedrock calls of role/{each.name}", {"role": each.name})
                for each in people
                if self._needed_by(each) and not spared.covers(each)
            )
        )

    @needs("lambda:InvokeFunction", on=On.INLINE_FUNCTION)
    def hold(self, held: Held, level: Level) -> None:
        """Have the role given the deny. Raises AwsCallError, also where its inline policies leave no room for it."""
        del level  # it is found at a stop alone
        functions.answer_of(self._lambda, self._function, {"source": "stop", "deny": [_role(held)]})

    @needs("lambda:InvokeFunction", on=On.INLINE_FUNCTION)
    def restore(self, held: Held) -> None:
        """Have it taken away; no error where it is gone. Raises AwsCallError and LedgerItemError."""
        functions.answer_of(self._lambda, self._function, {"source": "release", "allow": [_role(held)]})

    def _needed_by(self, principal: Principal) -> bool:
        return (
            principal.kind is PrincipalKind.ROLE
            and principal.capability is not Capability.NONE
            and principal.full
            and principal.unmodifiable is None
            and self._stopping.isdisjoint(principal.attached)
            and self._policy_name not in principal.inline
        )


def _role(held: Held) -> str:
    return str(recalled.value(held, "role", str))
