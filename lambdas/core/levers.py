"""What a stop holds down besides the brake policies, and puts back exactly: keys, concurrency, rates, an SCP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lambdas.core.levels import Level
from lambdas.core.principals import Spared

INLINE = "inline"
"""The lever for roles that the sweep policy cannot be attached to."""


@dataclass(frozen=True, slots=True)
class Held:
    """One thing that is to be held down, and what it was before: all that is needed to put it back exactly."""

    lever: str
    """The name of the lever that holds it."""
    key: str
    """Names it for that lever, and never changes: ``us-east-1/agent``."""
    words: str
    """Names it for people: ``API key ACCA1 of user/dev``."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the ledger remembers of something held down, and a mark that changes when it is held again."""

    held: Held
    mark: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a lever found: what it has to hold down, what it could not look at, whom it cannot reach. Names to reasons.

    A place where the service does not exist is none of these.
    """

    to_hold: tuple[Held, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    uncovered: Mapping[str, str] = field(default_factory=dict)


class Lever(Protocol):
    """A way to hold something down. It keeps no record itself: what was before is remembered before the first call.

    Each method may be repeated: holding what is held and restoring what is as it was change nothing.
    """

    name: str

    def find(self, level: Level, spared: Spared) -> Found:
        """Return what is not yet as the level wants it. Reads only; a read that fails is in ``unread``."""

    def hold(self, held: Held, level: Level) -> None:
        """Hold it down as the level wants it. Raises AwsCallError."""

    def restore(self, held: Held) -> None:
        """Put it back to what it was before, or leave it when it is gone. Raises AwsCallError."""
