"""What comes in from outside, parsed: the console's events, release requests, the clock's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from lambdas.core import stored
from lambdas.core.answers import sayable
from lambdas.core.errors import RefusedError
from lambdas.core.limits import Allowance
from lambdas.core.scopes import Scope, parse_scope
from lambdas.core.windows import Window


def is_by_clock(event: object) -> bool:
    """Tell whether a schedule of EventBridge sent this, and nobody else."""
    return isinstance(event, Mapping) and event.get("detail-type") == "Scheduled Event"


# --- the kill function -----------------------------------------------------------------------------------------

ACCOUNT_SCOPE = "account"
EVERYTHING = "everything"
_LONGEST = 500
"""Of what somebody says: a mail holds 256 KB and an item of the ledger 400, of which a reason is the least part."""


def parse_kill(event: object, *, account_id: str) -> tuple[str, Scope | None]:
    """Return the reason for a kill and what to kill alone, None for the whole account.

    Any event at all kills the account: at 3 a.m. nobody composes JSON. Only an explicit scope can narrow it; one
    that is not understood is refused with a RefusedError, because stopping everybody is not what was asked for.
    """
    if not isinstance(event, Mapping):
        return "killed from the console", None
    named = event.get("scope", ACCOUNT_SCOPE)
    scope = None if named in (None, ACCOUNT_SCOPE) else _scope(named, "stopped", account_id)
    reason = event.get("reason")
    said = isinstance(reason, str) and reason.strip()
    return (f"killed from the console: {_cut(str(reason))}" if said else "killed from the console"), scope


def _cut(words: str) -> str:
    words = sayable(words.strip())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."


def _scope(named: object, what: str, account_id: str, key: str = "scope") -> Scope:
    if not isinstance(named, str):
        otherwise = f'leave it out, or say "{ACCOUNT_SCOPE}",' if key == "scope" else f'say "{ACCOUNT_SCOPE}"'
        msg = f'nothing was {what}: "{key}" must be a text like "role/agent"; {otherwise} for the account'
        raise RefusedError(msg)
    try:
        return parse_scope(named, account_id=account_id)
    except RefusedError as error:
        msg = f"nothing was {what}: {error}"
        raise RefusedError(msg) from error


# --- the status function ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """What the status function is asked; anything at all is a question about the state."""

    plan: bool = False
    """Whether it is asked what a kill would do now."""
    scope: Scope | None = None
    """What that kill would stop alone; None for the whole account."""
    in_full: bool = False
    """Whether long lists are wanted in full."""


def parse_status(event: object, *, account_id: str) -> StatusRequest:
    """Read ``{"plan": "account"}``, ``{"plan": "role/agent"}``, ``{"all": true}``; anything else asks for the state.

    Raises RefusedError for a scope that cannot be killed either.
    """
    if not isinstance(event, Mapping):
        return StatusRequest()
    in_full = event.get("all") is True
    if "plan" not in event:
        return StatusRequest(in_full=in_full)
    named = event["plan"]
    scope = None if named in (None, ACCOUNT_SCOPE) else _scope(named, "planned", account_id, key="plan")
    return StatusRequest(plan=True, scope=scope, in_full=in_full)


# --- the release function --------------------------------------------------------------------------------------

RELEASE_WORD, ALLOW_WORD = "RELEASE", "ALLOW"
_ALL = "all"
_MAX_ALLOWANCE = timedelta(days=31)
_MAX_USD = Decimal(1_000_000_000)
"""As for a limit: beyond that nothing is limited any more, and a figure with a thousand digits is no mail."""


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A person's word that spending may go on."""

    reason: str
    by: str
    allowance: Allowance | None = None
    account: bool = True
    """Whether the account-wide stop is released."""
    scopes: tuple[Scope, ...] = ()
    """What is to be stopped alone no more."""
    everything: bool = False
    """Whether all that is stopped alone is released too."""


def parse_release(event: object, *, now: datetime, account_id: str) -> ReleaseRequest:
    """Read ``{"confirm": "RELEASE", "reason": …, "by": …, "scope": …, "allowance": {"usd": …, "hours": …}}``.

    Raises RefusedError, naming the key and the rule, for anything less.
    """
    if not isinstance(event, Mapping) or event.get("confirm") != RELEASE_WORD:
        msg = f'nothing was released: the event must be {{"confirm": "{RELEASE_WORD}", "reason": "why it is safe now"}}'
        raise RefusedError(msg)
    reason, by = _said(event, "released", "scope", "allowance")
    raw = event.get("allowance")
    allowance = None if raw is None else _allowance(raw, reason, by, now, "released")
    # What is there and says nothing, as an empty variable of a shell does, is not the account.
    named = event.get("scope")
    everything = named == EVERYTHING
    scope = None if named in (None, ACCOUNT_SCOPE) or everything else _scope(named, "released", account_id)
    return ReleaseRequest(reason, by, allowance, scope is None, (scope,) if scope else (), everything)


@dataclass(frozen=True, slots=True)
class AllowRequest:
    """A person's word that more may be spent for a while, or no more; nothing is released by it."""

    reason: str
    by: str
    allowance: Allowance | None
    """None to end all that were given."""


def parse_allow(event: object, *, now: datetime) -> AllowRequest | None:
    """Read ``{"confirm": "ALLOW", "reason": …, "by": …, "allowance": {"usd": …, "hours": …}}``, or ``"cancel": "all"``.

    None for what is no such request. Raises RefusedError, naming the key and the rule.
    """
    if not isinstance(event, Mapping) or event.get("confirm") != ALLOW_WORD:
        return None
    reason, by = _said(event, "allowed", "allowance", "cancel")
    if ("allowance" in event) is ("cancel" in event):
        msg = 'nothing was allowed: give "allowance": {"usd": 50, "hours": 4}, or "cancel": "all" to end those given'
        raise RefusedError(msg)
    if "allowance" in event:
        return AllowRequest(reason, by, _allowance(event["allowance"], reason, by, now, "allowed"))
    if event["cancel"] != _ALL:
        msg = f'nothing was ended: "cancel" must be "{_ALL}", which ends all allowances'
        raise RefusedError(msg)
    return AllowRequest(reason, by, None)


def _said(event: Mapping[Any, Any], what: str, *more: str) -> tuple[str, str]:
    """Return the reason and the name; ``more`` are the keys known besides."""
    known = ("confirm", "reason", "by", *more)
    if unknown := sorted(map(str, event.keys() - set(known))):
        msg = f"nothing was {what}: unknown key {', '.join(unknown)}; known are {', '.join(known)}"
        raise RefusedError(msg)
    reason, by = event.get("reason"), event.get("by", "the console")
    if not isinstance(reason, str) or not reason.strip():
        msg = f'nothing was {what}: "reason" must say in a few words why it is safe now'
        raise RefusedError(msg)
    if not isinstance(by, str) or not by.strip():
        msg = f'nothing was {what}: "by" must be a name'
        raise RefusedError(msg)
    return _cut(reason), _cut(by)


def is_the_end(stack_status: str) -> bool:
    """Tell whether CloudFormation takes the stack away as a whole, and not one resource of it in an update."""
    # What is rolled back to nothing may have been stopped by hand in the minute it stood.
    return stack_status in {"DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"}


@dataclass(frozen=True, slots=True)
class AutomaticRelease:
    """The meter's word that the window which called for a stop has rolled over, or that a release did not finish."""

    at: datetime
    reason: str
    windows: tuple[str, ...]
    """Empty to finish a release a person has asked for."""
    scopes: tuple[str, ...] = ()
    """What a person has released alone, likewise."""


def parse_automatic_release(event: object) -> AutomaticRelease | None:
    """Read what the meter sends; None for what somebody else does. Raises RefusedError."""
    if not isinstance(event, Mapping) or event.get("source") != "meter":
        return None
    try:
        at, windows, reason = stored.moment(event["at"]), event["windows"], event["reason"]
        scopes = event.get("scopes", [])
        if not isinstance(reason, str) or not all(isinstance(x, list) for x in (windows, scopes)):
            msg = "a reason that is no text, or windows that are no list"
            raise TypeError(msg)  # noqa: TRY301 - told below with the others
    except (KeyError, ValueError, TypeError) as error:
        msg = f"a request of the meter that cannot be read ({error!r}): nothing was released; deploy the stack again"
        raise RefusedError(msg) from error
    return AutomaticRelease(at, sayable(reason), tuple(map(str, windows)), tuple(map(str, scopes)))


def _allowance(raw: object, reason: str, by: str, now: datetime, what: str) -> Allowance:
    ends = raw.keys() & {"hours", "until"} if isinstance(raw, Mapping) else set()
    if not isinstance(raw, Mapping) or len(ends) != 1 or not {"usd"} <= raw.keys() <= {"usd", "window", *ends}:
        msg = (
            f'nothing was {what}: "allowance" must be {{"usd": dollars more, "hours": for how long}}, or in place of '
            f'hours "until": "{now + timedelta(days=1):%Y-%m-%dT%H:%MZ}"; "window": "day" raises that limit alone'
        )
        raise RefusedError(msg)
    usd = _positive(raw["usd"])
    until = _until(raw["until"]) if "until" in ends else _after(_positive(raw["hours"]), now)
    if usd is None or usd > _MAX_USD or until is None or not now < until <= now + _MAX_ALLOWANCE:
        msg = (
            f'nothing was {what}: in "allowance", usd and hours must be numbers above 0, usd at most {_MAX_USD:,}, '
            f'hours at most {_MAX_ALLOWANCE // timedelta(hours=1)}; "until" a moment to come like '
            f"{now + timedelta(days=1):%Y-%m-%dT%H:%MZ}, at most {_MAX_ALLOWANCE.days} days from now"
        )
        raise RefusedError(msg)
    return Allowance(usd, until, reason, by, _window(raw["window"], what) if "window" in raw else None)


def _window(word: object, what: str) -> Window:
    found = next((each for each in Window if each == word), None)
    if found is None:
        msg = (
            f'nothing was {what}: "window" must be one of {", ".join(Window)}; leave it out to raise all but the minute'
        )
        raise RefusedError(msg)
    return found


def _after(hours: Decimal | None, now: datetime) -> datetime | None:
    # Beyond the most that is allowed a date may not even exist.
    return None if hours is None or hours > _MAX_ALLOWANCE / timedelta(hours=1) else now + timedelta(hours=float(hours))


def _until(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        # A moment without a zone may be meant in any.
        return None if moment is None or moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _positive(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount > 0 else None
