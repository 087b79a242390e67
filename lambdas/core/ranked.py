"""Degrees that are compared as numbers and read as words."""

from enum import IntEnum
from typing import Self


class Ranked(IntEnum):
    """An order of degrees; ``STEP_DOWN`` is read and written as ``step-down``."""

    def __str__(self) -> str:
        """Return the word people read and write."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def named(cls, word: str) -> Self:
        """Return the degree for its word. Raises ValueError for any other."""
        by_word = {str(each): each for each in cls}
        if word not in by_word:
            msg = f"{word!r} is no {cls.__name__.lower()}; one of {', '.join(by_word)}"
            raise ValueError(msg)
        return by_word[word]
