"""Concurrency reserved for the functions that must run, while there is enough of it in the account."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lambdas.core.health import Finding

FLOOR = 100
"""AWS keeps so much of an account's concurrency from being reserved, and refuses what would leave less."""
CHECK = "reserved concurrency"
MUST_RUN = {"kill": 2, "stop": 2, "meter": 10, "release": 2, "writer": 3}
"""How many of each may always run, the most important first; nor may more, so there is room for what comes at once.

Tripwires wake the meter two a region at a time, and the writer is waited for by whoever stops or releases.
"""


@dataclass(frozen=True, slots=True)
class Room:
    """The concurrency of the account in a region."""

    limit: int
    unreserved: int


@dataclass(frozen=True, slots=True)
class Reservations:
    """What is to be reserved, by function, and what is wrong."""

    to_put: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def plan(wanted: Mapping[str, int], has: Mapping[str, int | None], ours: Mapping[str, int], room: Room) -> Reservations:
    """Return what to reserve, the most important function first. ``has`` lacks functions that are gone.

    ``ours`` is what was reserved here before. Any other value is somebody's own, and is left.
    """
    to_put: dict[str, int] = {}
    findings: list[Finding] = []
    lacking: list[str] = []
    left = room.unreserved
    for name, number in wanted.items():
        if name not in has:
            findings.append(_finding(name, f"function {name} is gone; deploy the stack again with --revert-drift"))
            continue
        now = has[name]
        if now == number:
            continue
        if now is not None and now != ours.get(name):
            less = " It can NEVER RUN." if now == 0 else ""
            findings.append(
                _finding(
                    name,
                    f"somebody reserved {now} for function {name}, {number} are meant.{less} It was left; to have it "
                    f"set: aws lambda delete-function-concurrency --function-name {name}",
                )
            )
        elif left - (number - (now or 0)) < FLOOR:
            lacking.append(name)
        else:
            to_put[name] = number
            left -= number - (now or 0)
    if lacking:
        findings.append(
            _finding(
                "room",
                f"this account's Lambda limit of {room.limit} leaves no room to reserve concurrency for "
                f"{', '.join(lacking)}: whatever else runs away in Lambda can keep a stop from running. Ask for more: "
                'Service Quotas, AWS Lambda, "Concurrent executions"',
            )
        )
    return Reservations(to_put, tuple(findings))


def refused(name: str, number: int, why: object) -> Finding:
    """Return that AWS did not reserve what there seemed to be room for."""
    return _finding(name, f"{number} could not be reserved for function {name} ({why}); it is tried again each hour")


def _finding(what: str, words: str) -> Finding:
    return Finding(CHECK, f"concurrency {what}", words)
