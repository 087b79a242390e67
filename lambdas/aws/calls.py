"""One way to call AWS: the SDK's adaptive retries, short timeouts, and errors that name the permission."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lambdas.core.errors import AwsCallError

CONFIG = Config(
    connect_timeout=5,
    read_timeout=20,
    retries={"mode": "adaptive", "max_attempts": 6},
    user_agent_extra="bedrock-spend-guardrail",
)

QUICK = CONFIG.merge(Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}))
"""For the meter: it looks again in a minute, so one endpoint that hangs must not keep it from judging the rest."""

WAITING = CONFIG.merge(Config(read_timeout=120, retries={"mode": "standard", "total_max_attempts": 1}))
"""For a function whose answer is waited for: asked again after a time-out, it would do it all twice side by side."""

ONCE = CONFIG.merge(Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1}))
"""For what is timed: a call that is tried again behind one's back tells nothing of when."""


@contextmanager
def named(operation: str) -> Iterator[None]:
    """Turn whatever the SDK raises inside into an AwsCallError for the operation (``iam:AttachRolePolicy``)."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        raise AwsCallError(operation, details.get("Code", "Unknown"), details.get("Message", str(error))) from error
    except BotoCoreError as error:
        raise AwsCallError(operation, type(error).__name__, str(error)) from error
