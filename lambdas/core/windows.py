"""The windows limits are set over: calendar minutes, hours, days and months, in UTC."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum


class Window(StrEnum):
    """A window of time. ``minute`` limits the burn rate; the others limit what has added up since their start."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def start(self, at: datetime) -> datetime:
        """Return the start of the window that holds the moment."""
        moment = at.astimezone(UTC).replace(second=0, microsecond=0)
        match self:
            case Window.MINUTE:
                return moment
            case Window.HOUR:
                return moment.replace(minute=0)
            case Window.DAY:
                return moment.replace(minute=0, hour=0)
            case Window.MONTH:
                return moment.replace(minute=0, hour=0, day=1)

    def end(self, at: datetime) -> datetime:
        """Return the end (exclusive) of the window that holds the moment."""
        # Long enough to leave any window, short enough not to skip one.
        stride = {
            Window.MINUTE: timedelta(minutes=1),
            Window.HOUR: timedelta(hours=1),
            Window.DAY: timedelta(days=1),
            Window.MONTH: timedelta(days=31),
        }
        return self.start(self.start(at) + stride[self])
