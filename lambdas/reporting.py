"""The status answer: how the brake stands, whom it reaches, what the meter last said. Reads only."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from lambdas import guardrail, ports
from lambdas.core import arming
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import Level
from lambdas.core.levers import Remembered
from lambdas.core.pace import READ_AT_LEAST
from lambdas.crosschecking import KEPT
from lambdas.settings import Settings

T = TypeVar("T")


class Records(Protocol):
    """The part of the ledger the status shows."""

    def latest_decision(self) -> Mapping[str, Any] | None:
        """Return what the meter last decided."""

    def last(self, kind: str) -> Mapping[str, Any] | None:
        """Return the newest stop or release."""

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
    answer: dict[str, Any] = {
        "summary": _summary(covered, decision, settings, now),
        "mode": "enforce" if settings.enforce else "report-only",
        "level": "unknown" if covered is None else str(covered.level),
        "limits": [str(each) for each in settings.limits],
        "meter": decision or "no decision recorded yet",
        "last_stop": _read("last stop", lambda: records.last("stop"), unknown),
        "last_release": _read("last release", lambda: records.last("release"), unknown),
        "held_down": _read("held down", lambda: [each.held.words for each in records.held()], unknown),
        "arming": _read("arming", lambda: _arming(records.kept(arming.KEPT)), unknown),
        "crosscheck": _read("crosscheck", lambda: records.kept(KEPT), unknown) or "no cross-check recorded yet",
    }
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
