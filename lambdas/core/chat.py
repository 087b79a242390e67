"""The same notices for Slack and Teams, as a custom notification of Amazon Q Developer in chat applications."""

import hashlib
import json
from datetime import date

from lambdas.core.notice import Notice

_TITLE, _DESCRIPTION, _STEPS, _STEP, _SUMMARY = 200, 4000, 5, 300, 200
"""Characters, and steps. AWS documents more (250, 8000, 10 steps of 350); what does not fit is dropped in silence."""
_INCIDENT = frozenset({"stop", "step-down", "stop-alone", "still-burning", "standing", "release"})
"""Kinds that tell one story: they share a thread."""


def custom_notification(notice: Notice, *, account: str, region: str, day: date) -> str:
    """Return a notice as the JSON that Amazon Q Developer in chat applications takes, and nothing else on its topic.

    Everything about stops and releases of a UTC day is one thread; so is, of each other kind, what a day brings.
    """
    text, steps = _divided(notice.text)
    about = "incident" if notice.kind in _INCIDENT else notice.kind or "notice"
    mark = ":rotating_light: " if notice.urgent else ""
    said = f"{day.isoformat()} {account} {notice.subject}\n{notice.text}"
    first = text.partition("\n")[0]
    return json.dumps(
        {
            "version": "1.0",
            "source": "custom",
            "id": hashlib.sha256(said.encode()).hexdigest()[:32],
            "content": {
                "textType": "client-markdown",
                "title": _cut(mark + _tame(notice.subject), _TITLE),
                "description": _cut(text, _DESCRIPTION, "\n(cut: the mail has all of it)") or _tame(notice.subject),
                **({"nextSteps": steps} if steps else {}),
                "keywords": [notice.kind or "notice", *(["urgent"] if notice.urgent else [])],
            },
            "metadata": {
                "threadId": f"bedrock-spend-{account}-{region}-{about}-{day.isoformat()}",
                "summary": _cut(first, _SUMMARY) or _tame(notice.subject),
                "eventType": notice.kind or "notice",
                "additionalContext": {"account": account, "region": region},
            },
        }
    )


def _divided(text: str) -> tuple[str, list[str]]:
    """Return the text without its links, and those as steps: ``Let it go on: https://...``."""
    lines, steps = text.splitlines(), list[str]()
    kept: list[str] = []
    for line in lines:
        if line.startswith("https://") and kept and kept[-1].endswith(":"):
            step = f"{kept.pop()} {_tame(line)}"
            if len(step) <= _STEP and len(steps) < _STEPS and step not in steps:
                steps.append(step)
            else:
                kept.append(step)
        else:
            kept.append(_tame(line))
    return "\n".join(kept).strip(), steps


def _tame(text: str) -> str:
    """Return text that names nobody and links nowhere: a reason or a name may hold ``<!channel>`` or ``[x](y)``."""
    return text.replace("<", "(").replace(">", ")").replace("](", "] (").replace("@", "@\u200b")


def _cut(text: str, most: int, ending: str = "...") -> str:
    return text if len(text) <= most else text[: most - len(ending)] + ending
