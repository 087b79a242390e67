"""What the console's Test drop-down offers for kill, release and status, as Lambda keeps shared test events.

An OpenAPI document for each function: its ``components.examples`` are the events, by name. Lambda's console takes names
of up to 25 letters, digits, dots, hyphens and underscores. Format: "Creating shareable test events", Lambda Developer
Guide.
"""

import json
from collections.abc import Mapping
from typing import Any

REGISTRY = "lambda-testevent-schemas"
"""Where Lambda's console looks; it makes it itself at the first event somebody shares."""

_WHO, _WHICH = "role/<NAME or user/NAME>", "model:<ID, like anthropic.claude-opus*>"
"""To be filled in: as they stand they are refused."""
_SAID = {"reason": "", "by": ""}
"""Likewise: whoever opens the brake says why, and who they are."""
_MORE = {"usd": 50, "hours": 4}

EVENTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "status": {
        "1-status": {},
        "2-plan-kill-account": {"plan": "account"},
        "3-plan-kill-one": {"plan": _WHO},
        "4-status-in-full": {"all": True},
    },
    "kill": {
        "1-KILL-account": {"reason": "stopped by hand"},
        "2-kill-one-principal": {"scope": _WHO, "reason": "stopped by hand"},
        "3-kill-one-model": {"scope": _WHICH, "reason": "stopped by hand"},
    },
    "release": {
        "1-release": {"confirm": "RELEASE", **_SAID},
        "2-release-with-allowance": {"confirm": "RELEASE", **_SAID, "allowance": _MORE},
        "3-release-one": {"confirm": "RELEASE", **_SAID, "scope": _WHO},
        "4-release-everything": {"confirm": "RELEASE", **_SAID, "scope": "everything"},
        "5-allow-more": {"confirm": "ALLOW", **_SAID, "allowance": _MORE},
        "6-end-allowances": {"confirm": "ALLOW", **_SAID, "cancel": "all"},
    },
}
"""By the function's word and the event's name, numbered so that what is looked for first comes first."""


def schema_name(function: str) -> str:
    """Return the name under which Lambda's console looks for a function's events."""
    return f"_{function}-schema"


def document(events: Mapping[str, Mapping[str, Any]], before: str | None) -> str:
    """Return the document of a function's events; those somebody else shared, as the one ``before`` has them, stay.

    One under a name of ours is replaced. What cannot be read is no such document, and replaced too.
    """
    ours = {name: {"value": dict(event)} for name, event in events.items()}
    examples = {**ours, **{name: each for name, each in _examples(before).items() if name not in ours}}
    # Any object: an event of whatever shape may be shared beside ours.
    schemas = {"Event": {"type": "object", "properties": {}}}
    return json.dumps(
        {
            "openapi": "3.0.0",
            "info": {"version": "1.0.0", "title": "Event"},
            "paths": {},
            "components": {"schemas": schemas, "examples": examples},
        }
    )


def same(one: str | None, other: str) -> bool:
    """Tell whether two documents offer the same events, whatever else they say."""
    return one is not None and _examples(one) == _examples(other)


def _examples(content: str | None) -> Mapping[str, Any]:
    try:
        found = json.loads(content or "{}")["components"]["examples"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, Mapping) else {}
