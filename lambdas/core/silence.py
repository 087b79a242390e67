"""The meter has fallen silent: whether that is so, told by its heartbeat alarm and by what it last read."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from lambdas.core import alarm_events, stored
from lambdas.core.alarm_events import Rang
from lambdas.core.errors import RefusedError

BY = "silence"
"""Who says stop then. No clock ends such a stop, and no meter: it waits for a person."""

SPOKE_LATELY = timedelta(minutes=4)
"""The alarm rings after five minutes without a run: a meter that has read since was not silent, its metric was late."""


def alarm_name(prefix: str) -> str:
    """Return the name of the alarm that rings when the meter does not run."""
    return f"{prefix}-heartbeat"


def parse(event: object, *, account_id: str, region: str, prefix: str) -> Rang:
    """Read the event of the heartbeat alarm that rings. Raises RefusedError for any other: nothing is done."""
    rang = alarm_events.parse(event, account_id)
    if rang.alarm != alarm_name(prefix) or rang.region != region:
        msg = "an alarm that is not the heartbeat of the meter: nothing was done"
        raise RefusedError(msg)
    return rang


def refuse_unless_silent(state: str | None, watch: Mapping[str, Any] | None, now: datetime) -> None:
    """Raise RefusedError when the meter is not silent, or has never run: while it is deployed, its alarm rings too.

    ``state`` is what CloudWatch says of the alarm now, None when it says nothing; ``watch`` what the meter left for its
    next tick, None when it never did. What cannot be read proves nothing, and so is no reason to refuse.
    """
    if state == "OK":
        msg = "the heartbeat alarm is OK again: nothing was done"
        raise RefusedError(msg)
    if watch is None:
        msg = "the meter has not run yet, so it has not fallen silent: nothing was done"
        raise RefusedError(msg)
    try:
        read_at = stored.moment(watch["read_at"])
    except (ValueError, KeyError, TypeError):
        return
    if timedelta(0) <= now - read_at < SPOKE_LATELY:
        msg = f"the meter read CloudWatch at {read_at:%H:%M:%S} UTC, so it is not silent: nothing was done"
        raise RefusedError(msg)
