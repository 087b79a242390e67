"""How far the brake is applied, and how a policy version says so."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lambdas.core.limits import Verdict
from lambdas.core.ranked import Ranked

Document = Mapping[str, Any]
"""An IAM policy document."""


class Level(Ranked):
    """How far the brake is applied."""

    RELEASED = 0
    STEP_DOWN = 1
    STOP = 2

    @classmethod
    def for_verdict(cls, verdict: Verdict) -> "Level":
        """Return the level a verdict calls for."""
        return {Verdict.STOP: cls.STOP, Verdict.STEP_DOWN: cls.STEP_DOWN}.get(verdict, cls.RELEASED)


_LEVEL_OF = {
    "BedrockSpendReleased": Level.RELEASED,
    "BedrockSpendStepDown": Level.STEP_DOWN,
    "BedrockSpendStop": Level.STOP,
}
SID_OF = {level: sid for sid, level in _LEVEL_OF.items()}
"""The first Sid of a level's document is how a policy version says what it is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The level the last stop or release wants the brake to have, and when that was said (None: never yet)."""

    level: Level
    at: datetime | None = None
    by: str = ""
    """Who said it: ``person``, ``meter``, ``budget``, ``anomaly`` or ``silence``; empty when nobody knows."""
    windows: tuple[str, ...] = ()
    """The windows of the limits that alone called for it: it may end when they roll over. Empty: a person ends it."""
    done: bool = True
    """False while a release has not put everything back."""
    reversible_only: bool = False
    """Whether only implausible figures called for this stop: then it ends nothing that does not come back."""

    def released_after(self, moment: datetime) -> bool:
        """Tell whether a person has released the brake since the moment: whatever was asked before is void then."""
        return self.level is Level.RELEASED and self.at is not None and self.at > moment


def level_of(document: Document | str) -> Level | None:
    """Return the level a policy version stands for, told by its first Sid; None for a foreign document."""
    data = json.loads(document) if isinstance(document, str) else document
    statements = data.get("Statement", [])
    first = statements[0] if isinstance(statements, list) and statements else statements
    return _LEVEL_OF.get(first.get("Sid", "")) if isinstance(first, Mapping) else None
