"""What the launcher adds to the emulator, one module per AWS service."""

import importlib
from collections.abc import Callable
from typing import Any

Emulated = Any
"""A value of the emulator, which carries no types."""

BAD_REQUEST = 400

Response = tuple[int, dict[str, str], bytes]
"""Status, headers and body: what every handler of the emulator returns."""


def module(name: str) -> Emulated:
    """Import one of the emulator's own modules."""
    return importlib.import_module(f"ministack.{name}")


def wrap(owner: Emulated, name: str, make: Callable[[Emulated], Emulated]) -> None:
    """Replace a function of the emulator by one that knows the original."""
    setattr(owner, name, make(getattr(owner, name)))
