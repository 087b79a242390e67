"""Releasing from end to end: on a person's typed word, with an allowance if they grant one."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from lambdas import guardrail
from lambdas.core.errors import AwsCallError, GuardrailError, RefusedError, UnfinishedError
from lambdas.core.levels import Level
from lambdas.core.limits import Allowance
from lambdas.core.notice import Links, release_notice
from lambdas.core.triggers import parse_release


class Memory(Protocol):
    """The part of the ledger a release writes."""

    def want(self, level: Level, at: datetime) -> bool:
        """Keep the level the brake is meant to have from a moment on; False when a later word stands already."""

    def add_allowance(self, allowance: Allowance) -> None:
        """Keep an allowance."""

    def record(self, kind: str, at: datetime, body: dict[str, Any]) -> None:
        """Keep what was done."""

    def forget_verdict(self) -> None:
        """Forget what the meter last decided."""

    def latest_decision(self) -> Mapping[str, Any] | None:
        """Return what the meter last decided."""


def carry_out(
    event: object,
    *,
    brake: guardrail.Brake,
    post: guardrail.Post,
    memory: Memory,
    links: Links,
    now: datetime,
    pause: Callable[[float], None],
) -> dict[str, Any]:
    """Release as the event asks and return the answer for the console.

    Raises RefusedError when the event is not a release, or when its allowance cannot be kept (the meter would
    stop the account again at once): nothing is changed then. Raises UnfinishedError when part of it failed.
    """
    request = parse_release(event, now=now)
    untold: dict[str, str] = {}
    if request.allowance is not None:
        try:
            memory.add_allowance(request.allowance)
        except AwsCallError as error:
            msg = f"nothing was released: the allowance cannot be kept ({error}); release without one, or try again"
            raise RefusedError(msg) from error
    # Before the effect, unlike everything else: otherwise the meter could find the brake open and close it again.
    warning = _over_limit(memory) if request.allowance is None else None
    forgotten = _remember_release(memory, now, untold)
    # A figure that is incomplete holds the last verdict; a person's word is newer than that.
    _attempt("forget the meter's verdict", memory.forget_verdict, untold)
    outcome = guardrail.release(brake, pause)
    outcome.failed |= forgotten
    allowance = request.allowance
    words = f"${allowance.usd} more until {allowance.until:%Y-%m-%d %H:%M} UTC" if allowance else None
    notice = release_notice(request.reason, request.by, outcome.words(), outcome.failed, words, links)
    _attempt("mail", lambda: post.send(notice), untold)
    body = {
        "reason": request.reason,
        "by": request.by,
        "allowance": words,
        "done": list(outcome.words()),
        "failed": dict(outcome.failed),
    }
    _attempt("ledger", lambda: memory.record("release", now, body), untold)
    if outcome.failed:
        left = "; ".join(f"{what}: {why}" for what, why in outcome.failed.items())
        msg = f"NOT fully released, run release again: {left}"
        raise UnfinishedError(msg)
    answer: dict[str, Any] = {
        "summary": f"Released: {len(outcome.done)} steps done, nothing is denied any more.",
        "done": list(outcome.words()),
        "allowance": words,
        "note": "Batch jobs that were stopped cannot be resumed; submit them again.",
    }
    if warning:
        answer["warning"] = warning
    if untold:
        answer["not_told"] = untold
    return answer


def _remember_release(memory: Memory, now: datetime, untold: dict[str, str]) -> dict[str, str]:
    """Tell the ledger; return, as a failure of the release, what would have the meter stop the account again."""
    try:
        memory.want(Level.RELEASED, now)
    except AwsCallError as error:
        if error.code == "ResourceNotFoundException":
            # No ledger at all: there is nobody's word in it for the meter to act on either.
            untold["remember the level"] = str(error)
            return {}
        return {"remember the level": f"{error}: the meter may stop again within a minute"}
    return {}


def _over_limit(memory: Memory) -> str | None:
    """Say that the meter will stop again, where its last verdict is still above a warning."""
    try:
        latest = memory.latest_decision()
    except GuardrailError:
        return None
    if latest is None or latest["verdict"] not in {"stop", "step-down"}:
        return None
    return (
        f"The meter's last word was {latest['verdict']}: {latest['reason']}. Unless that has changed it will act "
        'again within a minute; release with "allowance": {"usd": 50, "hours": 4} to let spending go on.'
    )


def _attempt(what: str, call: Callable[[], object], untold: dict[str, str]) -> None:
    try:
        call()
    except GuardrailError as error:
        untold[what] = str(error)
