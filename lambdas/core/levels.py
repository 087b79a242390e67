"""How far the brake is applied, and how a policy version says so."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from lambdas.core.limits import Verdict

Document = Mapping[str, Any]
"""An IAM policy document."""


class Level(IntEnum):
    """How far the brake is applied."""

    RELEASED = 0
    STEP_DOWN = 1
    STOP = 2

    def __str__(self) -> str:
        """Return the word people read and write."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def named(cls, word: str) -> "Level":
        """Return the level for its word. Raises ValueError for any other."""
        by_word = {str(each): each for each in cls}
        if word not in by_word:
            msg = f"{word!r} is no brake level; one of {', '.join(by_word)}"
            raise ValueError(msg)
        return by_word[word]

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

    def released_after(self, moment: datetime) -> bool:
        """Tell whether a person has released the brake since the moment: whatever was asked before is void then."""
        return self.level is Level.RELEASED and self.at is not None and self.at > moment


def level_of(document: Document | str) -> Level | None:
    """Return the level a policy version stands for, told by its first Sid; None for a foreign document."""
    data = json.loads(document) if isinstance(document, str) else document
    statements = data.get("Statement", [])
    first = statements[0] if isinstance(statements, list) and statements else statements
    return _LEVEL_OF.get(first.get("Sid", "")) if isinstance(first, Mapping) else None
