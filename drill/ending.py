"""Ending early, but cleanly: what a run has started and written to a temporary place goes away with it."""

import signal
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def clean_up_when_told_to_end() -> None:
    """Unwind at SIGTERM and SIGHUP as at any error, so that every context manager ends what it began.

    The process exits with 128 and the signal's number, as shells report it. Nothing undoes SIGKILL: then the embedded
    AWS ends by itself as its standard input closes, and its files stay.
    """
    for each in _SIGNALS:
        signal.signal(each, _end)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for each in (*_SIGNALS, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # a second one must not end the cleaning up
    raise SystemExit(128 + number)
