"""What the ledger remembers of something held down: what another version wrote is an error with words, not a crash."""

from types import UnionType
from typing import Any

from lambdas.core.errors import LedgerItemError
from lambdas.core.levers import Held


def value(held: Held, name: str, kind: type | UnionType) -> Any:  # noqa: ANN401 - of the kind that is asked for
    """Return a value of how it was before. Raises LedgerItemError when it is missing or of another kind."""
    found = held.before.get(name, held)  # nobody remembers the whole of it in itself
    if not isinstance(found, kind):
        raise unreadable(held, f"{name!r} is {'missing' if found is held else repr(found)}")
    return found


def unreadable(held: Held, why: str) -> LedgerItemError:
    """Return the error that says what cannot be put back, and what to do."""
    return LedgerItemError(
        f"what the ledger remembers of {held.words} cannot be read ({why}): put it back by hand and delete the item "
        f"'held {held.lever}#{held.key}', or deploy the version that wrote it"
    )
