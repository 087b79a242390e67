"""The live drill: what a canary sees while it is stopped alone and released, and what that says of the brake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from lambdas.core.notice import Links, Notice, compose

KEPT = "drill"
"""Under which name the ledger keeps the last drill, and of which kind its records are."""

IN_A_ROW = 5
"""So many sights alike say that it stays so: while IAM spreads a change, some endpoints know it and others do not."""


class Sight(StrEnum):
    """What one try of the canary showed."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"
    """AWS did not say: throttled, late, broken. It is neither of the others."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A sight, and AWS's own words where it was an error."""

    sight: Sight
    words: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen so many seconds after the stop or the release was asked for, when the answer was there."""

    seconds: float
    seen: Seen


@dataclass(frozen=True, slots=True)
class Change:
    """How a stop or a release came through, in seconds since it was asked for."""

    first: float
    """The first sight of it."""
    settled: float
    """The first of the sights that all showed it, to the end."""
    flaps: int
    """How often it was gone again in between."""
    words: str = ""
    """AWS's own, at the last sight."""


def change(looks: Sequence[Look], wanted: Sight) -> Change | None:
    """Return how it came through; None while the last `IN_A_ROW` looks do not all show it. Looks are in their order."""
    row = [each.seen.sight for each in looks[-IN_A_ROW:]]
    if row != [wanted] * IN_A_ROW:
        return None
    # What is not known could have been a flap: it does not count as seen.
    since = next((number for number in reversed(range(len(looks))) if looks[number].seen.sight is not wanted), -1) + 1
    known = [each.seen.sight for each in looks if each.seen.sight is not Sight.UNKNOWN]
    flaps = sum(before is wanted and after is not wanted for before, after in pairwise(known))
    first = next(each.seconds for each in looks if each.seen.sight is wanted)
    return Change(first, looks[since].seconds, flaps, looks[-1].seen.words)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a drill measured."""

    at: datetime
    model: str
    region: str
    stop: Change
    release: Change

    @property
    def words(self) -> str:
        """One sentence for people."""
        flaps = self.stop.flaps + self.release.flaps
        gone = f" In between IAM changed its mind {flaps} times." if flaps else ""
        return (
            f"The canary was denied {self.stop.settled:.1f} s after its stop was asked for, and allowed again "
            f"{self.release.settled:.1f} s after its release was.{gone}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what the ledger keeps; seconds with one digit, as looks are about half a second apart."""
        return {
            "at": self.at.isoformat(),
            "stop_seconds_first_denied": round(self.stop.first, 1),
            "stop_seconds_all_denied": round(self.stop.settled, 1),
            "release_seconds_first_allowed": round(self.release.first, 1),
            "release_seconds": round(self.release.settled, 1),
            "flaps": self.stop.flaps + self.release.flaps,
            # Nothing is decided by it: where AWS tells, it says that an explicit deny of a policy did it.
            "denied_with": self.stop.words,
            "model": self.model,
            "region": self.region,
        }


def slow(measured: Measured, reaction: timedelta) -> str:
    """Say that IAM takes a share of the reaction time that leaves too little for the rest; empty when it does not."""
    seconds = reaction.total_seconds()
    if measured.stop.settled <= seconds / 4:
        return ""
    return (
        f"That is more than a quarter of the reaction time the limits reckon with ({seconds:.0f} s, most of which "
        "CloudWatch takes before anything is seen): raise [reaction] seconds in guardrail.toml by as much."
    )


def drill_notice(measured: Measured, reaction: timedelta, links: Links) -> Notice:
    """Compose the one mail about a drill that measured."""
    lines = ["This was a drill. Nobody but the canary was stopped, and it is not any more.", "", measured.words]
    lines += [warning] if (warning := slow(measured, reaction)) else []
    lines += [f"It counted tokens, which is free, with {measured.model} in {measured.region}.", ""]
    stop, release = measured.stop.settled, measured.release.settled
    mark = ", SLOW" if warning else ""
    subject = f"Bedrock spend: drill, stopped in {stop:.0f} s, released in {release:.0f} s{mark}"
    return compose(subject, lines, links, "drill")


def failed_notice(problems: Sequence[str], left_stopped: str, links: Links) -> Notice:
    """Compose the mail about a drill that failed; ``left_stopped`` is the canary where it may be stopped still."""
    lines = ["A drill failed. Nobody but the canary was touched.", "", *(f"- {each}" for each in problems), ""]
    if left_stopped:
        lines += [f"{left_stopped} may be stopped still. It can do nothing but count tokens, so nobody is hurt by it."]
        lines += ["The next drill releases it first; or release it by its name as scope:", links.release, ""]
    return compose("Bedrock spend: the drill FAILED", lines, links, "drill-failed")


LONGEST = timedelta(minutes=15)
"""A function of AWS Lambda runs no longer: what began before that and has not ended, has died."""


def begun(before: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    """Return what the ledger keeps while a drill runs; what was measured before stays."""
    return {"began": now.isoformat(), "summary": "A drill is under way, or died.", "measured": _measured(before)}


def ended(before: Mapping[str, Any] | None, now: datetime, summary: str, measured: Measured | None) -> dict[str, Any]:
    """Return what the ledger keeps of a drill that has ended, well or not; ``now`` is when it began."""
    kept = _measured(before) if measured is None else measured.to_json()
    return {"at": now.isoformat(), "summary": summary, "measured": kept}


def under_way(kept: Mapping[str, Any] | None, now: datetime) -> bool:
    """Tell whether another drill runs."""
    try:
        return now - datetime.fromisoformat((kept or {})["began"]) < LONGEST
    except (KeyError, ValueError, TypeError):
        # Not written by a drill that runs: the next one writes it anew.
        return False


def _measured(kept: Mapping[str, Any] | None) -> object:
    return (kept or {}).get("measured")


def shown(kept: Mapping[str, Any] | None, reaction: timedelta) -> object:
    """Return the last drill as the status shows it, beside the reaction time the limits reckon with."""
    if kept is None:
        return "no drill recorded yet"
    return {**kept, "reaction_seconds_configured": int(reaction.total_seconds())}
