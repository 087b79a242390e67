"""The status answer: how the brake stands, whom it reaches, what the meter last said. Reads only."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from lambdas import guardrail, ports
from lambdas.core import arming, health, live_drill, own_cost
from lambdas.core.allowances import as_raised
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import Level
from lambdas.core.levers import Remembered
from lambdas.core.limits import margins
from lambdas.core.memory import Memory
from lambdas.core.pace import READ_AT_LEAST
from lambdas.crosschecking import KEPT
from lambdas.settings import Settings

T = TypeVar("T")

_HISTORY, _MAX_TOLD = 60, 20
"""Records of stops that are looked at, and those among them that are told: most are of people, or of a mode before."""
_AGAIN = timedelta(hours=12)
"""AWS tells the same thing again within less; of a budget by the day it tells once a day."""


class Records(Protocol):
    """The part of the ledger the status shows."""

    def latest_decision(self) -> Mapping[str, Any] | None:
        """Return what the meter last decided."""

    def last(self, kind: str) -> Mapping[str, Any] | None:
        """Return the newest stop or release."""

    def history(self, kind: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """Return the newest records of a kind, the newest first; one that cannot be read stands as ``broken``."""

    def memory(self, now: datetime) -> Memory:
        """Return what every tick of the meter needs, the allowances among it."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document kept under a name."""

    def held(self) -> Sequence[Remembered]:
        """Return what stops hold down."""


def status(
    brake: ports.Brake, people: ports.People, records: Records, settings: Settings, now: datetime
) -> dict[str, Any]:
    """Return the state in words first. What cannot be read is named under ``unknown``, never left out."""
    unknown: dict[str, str] = {}
    covered = _read("brake", lambda: guardrail.coverage(brake, people, settings.spared), unknown)
    decision = _read("meter", records.latest_decision, unknown)
    memory = _read("allowances", lambda: records.memory(now), unknown)
    answer: dict[str, Any] = {
        "summary": _summary(covered, decision, settings, now),
        "mode": "enforce" if settings.enforce else "report-only",
        "level": "unknown" if covered is None else str(covered.level),
        "limits": as_raised(settings.limits, memory.allowances if memory else (), now),
        "allowances": _allowances(memory),
        "meter": decision or "no decision recorded yet",
        "last_stop": _read("last stop", lambda: records.last("stop"), unknown),
        "last_release": _read("last release", lambda: records.last("release"), unknown),
        "would_have_stopped": _read(
            "would have stopped", lambda: would_have_stopped(records.history("stop", _HISTORY)), unknown
        ),
        "held_down": _read("held down", lambda: [each.held.words for each in records.held()], unknown),
        "arming": _read("arming", lambda: _arming(records.kept(arming.KEPT)), unknown),
        "crosscheck": _read("crosscheck", lambda: records.kept(KEPT), unknown) or "no cross-check recorded yet",
        "watch": _read("self-watch", lambda: health.words(records.kept(health.KEPT), now), unknown),
        "costs_itself": _read("own cost", lambda: records.kept(own_cost.KEPT), unknown) or own_cost.NOT_YET,
    }
    if settings.drill is not None:
        answer["last_drill"] = _read(
            "last drill", lambda: live_drill.shown(records.kept(live_drill.KEPT), settings.reaction), unknown
        )
    if covered is not None:
        answer |= {
            "armed": list(covered.armed),
            "swept": list(covered.swept),
            "swept_at_a_stop": list(covered.to_sweep),
            "cannot_be_stopped": covered.uncovered,
            "able_to_spend": covered.capable,
            "shares": {
                "armed": f"{covered.capable_armed} of {covered.capable}",
                "denied_now": f"{covered.denied} of {covered.capable}",
            },
            "stopped_alone": list(covered.alone),
        }
    if unknown:
        answer["unknown"] = unknown
    return answer


def would_have_stopped(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what report-only mode would have stopped, the newest first: when, how far, for what, whom.

    ``history`` holds records of stops, the newest first. What a person stopped was stopped. What AWS says again of the
    same crossing, or hands over twice, is told once, as it was the first time.
    """
    found: list[dict[str, Any]] = []
    for number, each in enumerate(history):
        if "broken" in each:
            found.append({"unknown": each["broken"]})
        elif each.get("enforced") is False and not _is_again(each, history[number + 1 :]):
            found.append(
                {
                    "at": each.get("at"),
                    "level": each.get("level"),
                    "because": each.get("reason"),
                    "over": list(map(str, margins(each.get("over")))),
                    "principals": each.get("principals", "unknown"),
                }
            )
    return found[:_MAX_TOLD]


def _is_again(record: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a record is of the same crossing as one before it; the meter asks once for each."""
    if record.get("by") == "meter":
        return False
    what = _crossing(record)
    since = str(record.get("at", ""))
    return any(_crossing(each) == what and _between(str(each.get("at", "")), since) < _AGAIN for each in before)


def _crossing(record: Mapping[str, Any]) -> tuple[object, ...]:
    limits = frozenset(each.limit for each in margins(record.get("over")))
    return record.get("enforced"), record.get("by"), record.get("level"), limits


def _between(one: str, other: str) -> timedelta:
    try:
        return datetime.fromisoformat(other) - datetime.fromisoformat(one)
    except (ValueError, TypeError):
        return timedelta.max


def _allowances(memory: Memory | None) -> list[str] | str:
    if memory is None:
        return "unknown"
    broken = [f"unknown: {each}" for each in memory.broken if "allowance" in each]
    return [*map(str, memory.allowances), *broken]


def _arming(found: Mapping[str, Any] | None) -> object:
    """Return what the last arming found that a person may want to mend; who is armed is told as IAM has it."""
    if found is None:
        return "not armed yet"
    told = ("at", "mode", "full", "permission_sets", "not_coverable", "left", "failed")
    return {key: found[key] for key in told if key in found}


def _summary(
    covered: guardrail.Coverage | None, decision: Mapping[str, Any] | None, settings: Settings, now: datetime
) -> str:
    if covered is None:
        return "UNKNOWN: IAM could not be read; see unknown."
    words = {
        Level.RELEASED: "Bedrock may be used.",
        Level.STEP_DOWN: "Bedrock is stepped down: dear models and new standing cost are denied.",
        Level.STOP: "Bedrock is STOPPED.",
    }
    reached: Sequence[str] = (
        f"{len(covered.armed)} armed,",
        f"{len(covered.swept) or len(covered.to_sweep)} {'swept' if covered.swept else 'to be swept at a stop'},",
        f"{len(covered.uncovered)} out of reach.",
    )
    alone = f"Stopped alone: {', '.join(covered.alone)}." if covered.alone else ""
    meter = _meter(decision, settings, now) if decision else ""
    mode = "" if settings.enforce else "REPORT-ONLY: limits stop nothing. "
    return " ".join(each for each in (mode + words[covered.level], *reached, alone, meter) if each)


def _meter(decision: Mapping[str, Any], settings: Settings, now: datetime) -> str:
    age = now - datetime.fromisoformat(decision["at"])
    words = f"The meter's last full read, {age // timedelta(minutes=1)} minutes ago: {decision['verdict']}."
    if age > READ_AT_LEAST + timedelta(minutes=5):
        return f"{words} It has NOT READ SINCE, one was due: look at its log."
    return f"{words} What it has not read since is kept below ${settings.max_blind_usd:.2f}."


def _read(what: str, read: Callable[[], T], unknown: dict[str, str]) -> T | None:
    try:
        return read()
    except GuardrailError as error:
        unknown[what] = str(error)
        return None
