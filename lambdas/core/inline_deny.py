"""The inline deny, for roles without a free policy slot: what it is called, how it is told, who may be asked about."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambdas.core.errors import RefusedError

SID = "BedrockSpendInlineDeny"
"""How the guardrail knows an inline policy for its own."""

_ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_MOST = 100
"""Roles in one request: more would not be done before the function's time is over."""


@dataclass(frozen=True, slots=True)
class InlineChange:
    """Whom to give the inline deny, and whom to take it from: names of roles."""

    deny: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


def policy_name(prefix: str) -> str:
    """Return the one name an inline policy of ours has, on whatever role."""
    return f"{prefix}-deny"


def is_ours(document: object) -> bool:
    """Tell whether an inline policy, as JSON or as what it means, is a deny of ours and nothing else."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return False
    statements = document.get("Statement") if isinstance(document, Mapping) else None
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list) or len(statements) != 1 or not isinstance(statements[0], Mapping):
        return False
    return (statements[0].get("Sid"), statements[0].get("Effect")) == (SID, "Deny")


def parse_inline_change(event: object) -> InlineChange:
    """Read ``{"source": "stop" | "kill", "deny": [ROLE, ...]}`` or ``{"source": "release", "allow": [ROLE, ...]}``.

    Raises RefusedError for anything else: it is the guardrail's own functions that ask, and nothing an event says
    gets into a policy.
    """
    if isinstance(event, Mapping):
        match dict(event):
            case {"source": "stop" | "kill", "deny": list(names), **others} if not others:
                return InlineChange(deny=_roles(names))
            case {"source": "release", "allow": list(names), **others} if not others:
                return InlineChange(allow=_roles(names))
    msg = (
        'nothing was changed: the event must be {"source": "stop", "deny": [ROLE, ...]} or '
        '{"source": "release", "allow": [ROLE, ...]}; a person uses the kill and the release function instead'
    )
    raise RefusedError(msg)


def _roles(names: list[Any]) -> tuple[str, ...]:
    wrong = [each for each in names if not (isinstance(each, str) and _ROLE_NAME.fullmatch(each))]
    if wrong or not 1 <= len(names) <= _MOST:
        msg = f"nothing was changed: it takes 1 to {_MOST} names of roles, without their paths; not so: {wrong[:3]!r}"
        raise RefusedError(msg)
    return tuple(dict.fromkeys(names))
