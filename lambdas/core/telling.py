"""How people are told: over which ways, how often again, and when it is told to more of them.

What holds of everything that goes on and calls for somebody:

1. It is told as soon as it is due for the first time, whatever is known or not known of before.
2. Once told, it is told again no sooner than `Telling.again` after that.
3. What could not be sent is not told: it is due again at once.
4. When it has gone on for `Telling.escalate_after`, others are told too, and again at the same pace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from lambdas.core import stored

AT_LEAST_DAILY = timedelta(days=1)
"""A reminder of what nobody ends comes ever less often, but so often at least."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What the configuration says of notices."""

    chat: bool = False
    """Whether notices also go out as custom notifications of Amazon Q Developer in chat applications."""
    again: timedelta = timedelta(hours=1)
    """What goes on and calls for somebody is told again after so long, never sooner."""
    escalate_after: timedelta | None = None
    """After so long without anybody acting, others are told too; None when there are no others."""
    digest: bool = True
    """Whether a digest is mailed each day."""
    spike_percent: int | None = 300
    """An hour that costs more than this percentage of its baseline is told of; None never."""
    owner_tag: str = ""
    """The key of the tag that holds the mail address of a role's or user's owner; empty when there is none."""
    sender: str = ""
    """The address the owner is mailed from, verified with Amazon SES."""

    def to_json(self) -> dict[str, Any]:
        """Return what is not as usual: all settings share the little room of an environment."""
        usual = _fields(Telling())
        return {key: value for key, value in _fields(self).items() if value != usual[key]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises TypeError, ValueError."""
        given = {**_fields(Telling()), **data}
        after = given["escalate_after"]
        return cls(
            chat=bool(given["chat"]),
            again=timedelta(seconds=int(given["again"])),
            escalate_after=None if after is None else timedelta(seconds=int(after)),
            digest=bool(given["digest"]),
            spike_percent=None if given["spike_percent"] is None else int(given["spike_percent"]),
            owner_tag=str(given["owner_tag"]),
            sender=str(given["sender"]),
        )


def _fields(telling: Telling) -> dict[str, Any]:
    after = telling.escalate_after
    return {
        "chat": telling.chat,
        "again": int(telling.again.total_seconds()),
        "escalate_after": None if after is None else int(after.total_seconds()),
        "digest": telling.digest,
        "spike_percent": telling.spike_percent,
        "owner_tag": telling.owner_tag,
        "sender": telling.sender,
    }


@dataclass(frozen=True, slots=True)
class Matter:
    """Something that goes on, and how it was told so far."""

    since: datetime
    """When it began; for what is not told again before it ends, when it was told."""
    told_at: datetime | None = None
    times: int = 0
    escalated_at: datetime | None = None

    def is_due(self, now: datetime, again: timedelta) -> bool:
        """Tell whether it may be told now."""
        # A clock that was ahead must not keep it silent.
        return self.told_at is None or not timedelta(0) <= now - self.told_at < again

    def is_due_ever_less(self, now: datetime, again: timedelta) -> bool:
        """Tell the same of a reminder: each time it waits twice as long as before, up to a day."""
        return self.is_due(now, min(again * 2 ** min(max(self.times - 1, 0), 10), max(again, AT_LEAST_DAILY)))

    def escalates(self, now: datetime, telling: Telling) -> bool:
        """Tell whether others are to be told now."""
        after = telling.escalate_after
        if after is None or now - self.since < after:
            return False
        return self.escalated_at is None or not timedelta(0) <= now - self.escalated_at < telling.again

    def told(self, now: datetime) -> "Matter":
        """Return it as it is after it was told."""
        return replace(self, told_at=now, times=self.times + 1)

    def escalated(self, now: datetime) -> "Matter":
        """Return it as it is after others were told."""
        return replace(self, escalated_at=now)

    def to_json(self) -> list[Any]:
        """Return what `matters` reads."""
        moments = (self.since, self.told_at, self.escalated_at)
        return [*(None if each is None else each.isoformat() for each in moments), self.times]


def matters(body: Mapping[str, Any] | None) -> dict[str, Matter]:
    """Read what is kept of matters, by their words. Raises ValueError, TypeError or AttributeError."""
    found: dict[str, Matter] = {}
    for what, (since, told_at, escalated_at, times) in (body or {}).items():
        moments = [None if each is None else stored.moment(each) for each in (told_at, escalated_at)]
        found[str(what)] = Matter(stored.moment(since), moments[0], int(times), moments[1])
    return found
