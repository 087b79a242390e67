"""CloudWatch alarms that ring, as EventBridge tells it: parsed strictly, for somebody is mailed or stopped on it.

The fields: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lambdas.core.errors import RefusedError

DETAIL_TYPE = "CloudWatch Alarm State Change"


@dataclass(frozen=True, slots=True)
class Rang:
    """An alarm went into ALARM."""

    alarm: str
    region: str
    at: datetime
    event_id: str


def is_state_change(event: object) -> bool:
    """Tell whether an event says that an alarm has another state."""
    return isinstance(event, Mapping) and event.get("detail-type") == DETAIL_TYPE


def parse(event: object, account_id: str) -> Rang:
    """Read an event of an alarm of this account that rings. Raises RefusedError for whatever is anything else.

    Contributors of an alarm, and an alarm that goes to OK, are something else. That the alarm is muted counts for
    nothing: muting is for people. The reason is free text and is not read.
    """
    if not isinstance(event, Mapping) or event.get("source") != "aws.cloudwatch" or not is_state_change(event):
        msg = "an event that is no state change of an alarm: nothing was done"
        raise RefusedError(msg)
    if event.get("account") != account_id:
        msg = f"an alarm of account {str(event.get('account'))[:20]!r}, this is {account_id}: nothing was done"
        raise RefusedError(msg)
    detail = event.get("detail")
    state = detail.get("state") if isinstance(detail, Mapping) else None
    if not isinstance(detail, Mapping) or not isinstance(state, Mapping) or state.get("value") != "ALARM":
        msg = "an alarm that does not ring: nothing was done"
        raise RefusedError(msg)
    alarm, region, event_id = detail.get("alarmName"), event.get("region"), event.get("id")
    at = _time(event.get("time"))
    if at is None or not isinstance(alarm, str) or not isinstance(region, str) or not isinstance(event_id, str):
        msg = "an alarm without a name, a region, a time or an id: nothing was done"
        raise RefusedError(msg)
    return Rang(alarm, region, at, event_id)


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        # A moment at the very edge of what there is has none in UTC.
        return None if at is None or at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
