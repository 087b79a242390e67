"""What comes in from outside, parsed: Budgets notifications, the console's events, release requests."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from lambdas.core.errors import RefusedError
from lambdas.core.limits import Allowance
from lambdas.core.scopes import Scope, parse_scope

# --- AWS Budgets -----------------------------------------------------------------------------------------------

_FIELD = re.compile(
    r"^[ \t]*(Budget Name|Budget Type|Budgeted Amount|Alert Type|Alert Threshold)[ \t]*:[ \t]*(.*?)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_ACCOUNT = re.compile(r"^[ \t]*AWS Account:?[ \t]+(\d{12})[ \t]*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BudgetClaim:
    """What a notification claims. It says that it is worth asking the budget, never how much was spent."""

    budget_name: str | None
    """None when the text does not say, or not in a form we know."""
    alert_type: str | None
    """``ACTUAL`` or ``FORECASTED``; None when unknown."""


def is_by_clock(event: object) -> bool:
    """Tell whether a schedule of EventBridge sent this, and nobody else."""
    return isinstance(event, Mapping) and event.get("detail-type") == "Scheduled Event"


def parse_budget_message(text: str, *, account_id: str, budget_name: str) -> BudgetClaim:
    """Read AWS's plain-text notification tolerantly.

    Raises RefusedError when it plainly speaks of another account or another budget. Whatever cannot be read at
    all is a claim about our budget: the topic takes messages from AWS Budgets of this account only, and the
    figure is confirmed with DescribeBudget in any case.
    """
    text = "\n".join(text.splitlines())
    # The first line of a kind counts, whatever somebody wrote further down.
    fields = {key.lower(): value for key, value in reversed(_FIELD.findall(text))}
    if (account := _ACCOUNT.search(text)) and account.group(1) != account_id:
        msg = f"budget notification of account {account.group(1)}, this is {account_id}: ignored"
        raise RefusedError(msg)
    named = fields.get("budget name") or None
    if named is not None and named != budget_name:
        msg = f"notification of budget {named!r}, only {budget_name!r} is ours: ignored"
        raise RefusedError(msg)
    alert = (fields.get("alert type") or "").upper()
    return BudgetClaim(named, alert if alert in {"ACTUAL", "FORECASTED"} else None)


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
    words = words.strip()
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."


def _scope(named: object, what: str, account_id: str) -> Scope:
    if not isinstance(named, str):
        msg = f'nothing was {what}: "scope" must be a text like "role/agent"; leave it out for the account'
        raise RefusedError(msg)
    try:
        return parse_scope(named, account_id=account_id)
    except RefusedError as error:
        msg = f"nothing was {what}: {error}"
        raise RefusedError(msg) from error


# --- the release function --------------------------------------------------------------------------------------

RELEASE_WORD = "RELEASE"
_MAX_ALLOWANCE = timedelta(days=31)


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
    if unknown := sorted(map(str, event.keys() - {"confirm", "reason", "by", "scope", "allowance"})):
        msg = f"nothing was released: unknown key {', '.join(unknown)}; known are confirm, reason, by, scope, allowance"
        raise RefusedError(msg)
    reason, by = event.get("reason"), event.get("by", "the console")
    if not isinstance(reason, str) or not reason.strip():
        msg = 'nothing was released: "reason" must say in a few words why it is safe now'
        raise RefusedError(msg)
    if not isinstance(by, str) or not by.strip():
        msg = 'nothing was released: "by" must be a name'
        raise RefusedError(msg)
    reason, by = _cut(reason), _cut(by)
    raw = event.get("allowance")
    allowance = None if raw is None else _allowance(raw, reason, by, now)
    # What is there and says nothing, as an empty variable of a shell does, is not the account.
    named = event.get("scope")
    everything = named == EVERYTHING
    scope = None if named in (None, ACCOUNT_SCOPE) or everything else _scope(named, "released", account_id)
    return ReleaseRequest(reason, by, allowance, scope is None, (scope,) if scope else (), everything)


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
        at, windows, reason = datetime.fromisoformat(event["at"]), event["windows"], event["reason"]
        scopes = event.get("scopes", [])
        if at.tzinfo is None or not isinstance(reason, str) or not all(isinstance(x, list) for x in (windows, scopes)):
            msg = "a moment without a time zone, or windows that are no list"
            raise TypeError(msg)  # noqa: TRY301 - told below with the others
    except (KeyError, ValueError, TypeError) as error:
        msg = f"a request of the meter that cannot be read ({error!r}): nothing was released; deploy the stack again"
        raise RefusedError(msg) from error
    return AutomaticRelease(at, reason, tuple(map(str, windows)), tuple(map(str, scopes)))


def _allowance(raw: object, reason: str, by: str, now: datetime) -> Allowance:
    if not isinstance(raw, Mapping) or raw.keys() != {"usd", "hours"}:
        msg = 'nothing was released: "allowance" must be {"usd": dollars more, "hours": for how long}'
        raise RefusedError(msg)
    usd, hours = _positive(raw["usd"]), _positive(raw["hours"])
    if usd is None or hours is None or hours > _MAX_ALLOWANCE / timedelta(hours=1):
        msg = (
            'nothing was released: in "allowance", usd and hours must be numbers above 0, '
            f"hours at most {_MAX_ALLOWANCE // timedelta(hours=1)}"
        )
        raise RefusedError(msg)
    return Allowance(usd, now + timedelta(hours=float(hours)), reason, by)


def _positive(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount > 0 else None
