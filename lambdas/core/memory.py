"""What the guardrail remembers from one tick of the meter to the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambdas.core.levels import Level, Wanted
from lambdas.core.limits import Allowance

NEVER_SAID = Wanted(Level.RELEASED)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the ledger holds for every tick; a part that is missing is None, and one that is broken is told of."""

    wanted: Wanted = NEVER_SAID
    allowances: tuple[Allowance, ...] = ()
    decision: Mapping[str, Any] | None = None
    """What the last full read recorded."""
    watch: Mapping[str, Any] | None = None
    """What it left for the ticks after it; `core.pace.Watch` reads it."""
    inventory: Mapping[str, Any] | None = None
    """The regions found in use, and a mark that changes with what stands there."""
    broken: tuple[str, ...] = ()
    watch_mark: str = ""
    """Tells this watch from any other."""
    narrow: tuple[str, ...] = ()
    """What is stopped alone, as `core.scopes` spells it."""
    told: Mapping[str, Any] | None = None
    """What goes on and how it was told so far; `core.telling.matters` reads it."""
    releasing: tuple[str, ...] = ()
    """What is to be stopped alone no more, and may be still."""
