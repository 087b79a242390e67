"""The canary of the live drill, who counts tokens; and the kill and the release function, asked as a person does."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lambdas.aws import calls
from lambdas.aws.functions import answer_of
from lambdas.core.actions import COUNT_TOKENS
from lambdas.core.errors import AwsCallError
from lambdas.core.live_drill import Seen, Sight
from lambdas.core.permissions import On, needs

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

_SESSION = "live-drill"
_DENIED = {"AccessDeniedException", "AccessDenied"}
_USELESS = {"ValidationException", "ResourceNotFoundException"}
"""The model does not count tokens, or not in this region."""


class Canary:
    """A role that may do nothing but count tokens with one model, which is free."""

    def __init__(
        self,
        sts: "STSClient",
        runtime: "Callable[[CredentialsTypeDef], BedrockRuntimeClient]",
        *,
        role_arn: str,
        model: str,
    ) -> None:
        """Take how to call, the second with the canary's own credentials and without retries; the role; the model."""
        self._sts = sts
        self._runtime = runtime
        self._role_arn = role_arn
        self._model = model
        self._client: BedrockRuntimeClient | None = None

    @needs("sts:AssumeRole", on=On.CANARY_ROLE)
    @needs(COUNT_TOKENS, on=On.CANARY_MODEL)
    def count(self) -> Seen:
        """Count the tokens of a word, as the role.

        Raises AwsCallError where nobody can be that role, or where that model counts no tokens.
        """
        client = self._assumed()
        try:
            with calls.named(COUNT_TOKENS):
                client.count_tokens(
                    modelId=self._model,
                    input={"converse": {"messages": [{"role": "user", "content": [{"text": "drill"}]}]}},
                )
        except AwsCallError as error:
            if error.code in _USELESS:
                raise
            return Seen(Sight.DENIED if error.code in _DENIED else Sight.UNKNOWN, str(error))
        return Seen(Sight.ALLOWED)

    def _assumed(self) -> "BedrockRuntimeClient":
        if self._client is None:
            with calls.named("sts:AssumeRole"):
                answer = self._sts.assume_role(RoleArn=self._role_arn, RoleSessionName=_SESSION)
            # Good for an hour, four times as long as a drill.
            self._client = self._runtime(answer["Credentials"])
        return self._client


class ByHand:
    """The kill and the release function, invoked as a person does it; their answers are waited for."""

    def __init__(self, client: "LambdaClient", *, kill: str, release: str) -> None:
        """Take the client, which must wait long and must not ask twice, and the names of the functions."""
        self._lambda = client
        self._kill = kill
        self._release = release

    @needs("lambda:InvokeFunction", on=On.KILL_FUNCTION)
    def kill(self, scope: str, reason: str) -> Mapping[str, Any]:
        """Stop something alone. Raises RefusedError when that was refused, AwsCallError when it may not have worked."""
        return answer_of(self._lambda, self._kill, {"scope": scope, "reason": reason})

    @needs("lambda:InvokeFunction", on=On.RELEASE_FUNCTION)
    def release(self, scope: str, reason: str) -> Mapping[str, Any]:
        """Release it alone; raises as `kill` does."""
        event = {"confirm": "RELEASE", "scope": scope, "reason": reason, "by": "the live drill"}
        return answer_of(self._lambda, self._release, event)
