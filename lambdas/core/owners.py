"""Who owns a role or user, by a tag. Whoever may tag a principal writes it: it is text from outside."""

import re
from collections.abc import Iterable

from lambdas.core.errors import RefusedError
from lambdas.core.principals import Principal
from lambdas.core.scopes import Scope

_ADDRESS = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._%+=-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}"
)
_LONGEST = 254


def owner_of(scope: Scope, principals: Iterable[Principal], tag: str) -> str | None:
    """Return the mail address in the tag of a role or user, None where it has none. Raises RefusedError.

    One address and nothing else: a line break, a second address or a name beside it is refused.
    """
    held = next((each.tags.get(tag) for each in principals if f"{each.kind}/{each.name}" == scope.holder), None)
    if not held:
        return None
    if len(held) > _LONGEST or _ADDRESS.fullmatch(held) is None:
        msg = f"the tag {tag} of {scope} is no single mail address ({held[:80]!r}): correct it to have the owner told"
        raise RefusedError(msg)
    return held
