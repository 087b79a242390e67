"""Answers for the console: what happened in words first, long lists cut, an error in one line."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

_MAX_SHOWN = 20
_MAX_REASONS, _MAX_WORDS = 3, 300
MORE = "..."
"""The key that stands for what a mapping was cut by."""


def for_console(answer: Mapping[str, Any], rest: str) -> dict[str, Any]:
    """Return an answer with every list and mapping in it cut to what a console shows; ``rest`` says where all of it is.

    The answer's own keys all stay.
    """
    return {key: _cut(value, rest) for key, value in answer.items()}


def _cut(value: object, rest: str) -> object:
    if isinstance(value, Mapping):
        kept = {str(key): _cut(each, rest) for key, each in islice(value.items(), _MAX_SHOWN)}
        return kept | ({MORE: _more(len(value), rest)} if len(value) > _MAX_SHOWN else {})
    if isinstance(value, list | tuple):
        shown = [_cut(each, rest) for each in value[:_MAX_SHOWN]]
        return shown + ([f"{MORE} {_more(len(value), rest)}"] if len(value) > _MAX_SHOWN else [])
    return value


def _more(there_are: int, rest: str) -> str:
    return f"and {there_are - _MAX_SHOWN} more: {rest}"


def in_short(reasons: Mapping[str, str]) -> str:
    """Return the first few of what failed and why in one line, for an error's message."""
    shown = "; ".join(f"{what}: {why}"[:_MAX_WORDS] for what, why in islice(reasons.items(), _MAX_REASONS))
    beyond = len(reasons) - _MAX_REASONS
    return f"{shown}; and {beyond} more, which the log has" if beyond > 0 else shown


def sayable(words: str) -> str:
    """Return a text that can be mailed and answered: JSON may hold halves of characters, which nothing can encode."""
    return words.encode("utf-8", "replace").decode()
