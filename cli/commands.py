"""``bedrock-spend``: the guardrail from a terminal, with the user's own credentials and the functions' own code."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from cli import progress, quoting, tables
from cli.answers import NOT_ALL, NOT_ALLOWED, OK, Answer, NotPossibleError, Screen, Where, command
from cli.deployed import Deployment, Unhurried, find
from lambdas import planning, releasing, stopping
from lambdas.core.errors import RefusedError
from lambdas.core.plan import kill_goal
from lambdas.core.scopes import Scope, parse_scope
from lambdas.core.triggers import ACCOUNT_SCOPE, ALLOW_WORD, EVERYTHING, RELEASE_WORD
from lambdas.core.windows import Window

ROOT = Path(__file__).parent.parent
_T = TypeVar("_T")
_LONGEST = 400
"""Of a reason, beside which stands who gave it."""

_remote = click.option(
    "--remote",
    is_flag=True,
    help="Have the deployed function do it, with its permissions: you need lambda:InvokeFunction alone.",
)
_scope = click.argument("scope", default=ACCOUNT_SCOPE)
_reason = click.option("--reason", required=True, help="Why, in a few words; it is in the mail and the records.")
_by = click.option("--by", default="", help="Who says so.  [default: whose credentials these are]")
_SCOPES = (
    "SCOPE is role/NAME, user/NAME, model:GLOB, profile:ID, project:ID, session:AROAID:NAME, source-identity:NAME, "
    "tag:KEY=VALUE, or the ARN of one; left out, it is the account."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Meter and stop Amazon Bedrock spend.

    Each command runs with your own AWS credentials, so it works while Lambda functions do not; with --remote the
    deployed function does it.

    Exit codes: 0 all is well, 1 something bad was found or is not complete, 2 mistyped, 3 no credentials or
    permissions.
    """


@cli.command()
@command
@_remote
def status(where: Where, screen: Screen, *, remote: bool) -> Answer:
    """Tell how it stands: state, limits, who is reached, what the meter last saw."""
    deployment = find(where)
    with progress.watching(screen, "reading"):
        answer = deployment.invoke("status", {"all": True}) if remote else deployment.wiring.status()
    unknown = answer.get("level") == "unknown" or bool(answer.get("unknown"))
    return Answer(answer, _code_of_unread(answer) if unknown else OK)


def _code_of_unread(answer: Mapping[str, Any]) -> int:
    """Return the exit code where something could not be read; all of it denied, it is a matter of permissions."""
    reasons = [str(each) for each in (answer.get("unknown") or {"": ""}).values()]
    return NOT_ALLOWED if all("AccessDenied" in each for each in reasons) else NOT_ALL


@cli.command(epilog=_SCOPES)
@command
@_scope
@_remote
def plan(where: Where, screen: Screen, *, scope: str, remote: bool) -> Answer:
    """Show what a kill would do now, and touch nothing."""
    deployment = find(where)
    wanted = _parsed(scope, deployment)
    with progress.watching(screen, "looking at everything a kill would reach"):
        if remote:
            return Answer(deployment.invoke("status", {"plan": scope, "all": True}))
        wiring = deployment.wiring
        return Answer(planning.plan(wanted, wiring.desk(Unhurried()).tools).answer(wiring.links))


@cli.command(epilog=_SCOPES)
@command
@_scope
@click.option("--reason", default="", help="Why, in a few words; it is in the mail and the records.")
@_by
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@_remote
def kill(where: Where, screen: Screen, *, scope: str, reason: str, by: str, yes: bool, remote: bool) -> Answer:
    """EMERGENCY: stop all Bedrock spend of the account, or one SCOPE alone, now."""
    deployment = find(where)
    wanted = _parsed(scope, deployment)
    whom = "ALL Bedrock spend" if wanted is None else f"Bedrock spend of {wanted} alone"
    if not yes:
        _confirm_kill(f"Stop {whom} in account {deployment.caller.account_id}?")
    who = f"({by or deployment.caller.name})"
    why = f"{' '.join(reason.split())[:_LONGEST]} {who}" if reason.strip() else who
    if remote:
        event = {"reason": why} | ({} if wanted is None else {"scope": str(wanted)})
        return _invoked(deployment, "kill", event, screen)
    steps = progress.Steps(screen)
    wiring, now = deployment.wiring, datetime.now(UTC)
    level = kill_goal(wanted).level
    request = stopping.StopRequest(level, f"killed from the command line: {why}", now, by="person", scope=wanted)
    desk = progress.stopping(wiring.desk(Unhurried()), steps)

    def stop() -> stopping.Result:
        with progress.watching(screen, f"stopping {whom}"):
            return stopping.kill(request, desk, now)

    result = _unless_interrupted(stop, steps, "Run it again to finish, or `bedrock-spend release` to undo it.")
    answer = result.answer(wiring.links)
    return Answer(answer, _code_of_stop(result))


def _code_of_stop(result: stopping.Result) -> int:
    if not result.in_doubt:
        return OK
    failed = result.report.failed.values() if result.report else ()
    denied = [each for each in failed if "AccessDenied" in each]
    return NOT_ALLOWED if denied and result.report and not result.report.done else NOT_ALL


@cli.command(epilog=_SCOPES + " `everything` releases also all that is stopped alone.")
@command
@_scope
@_reason
@_by
@click.option("--confirm", default="", metavar=RELEASE_WORD, help=f"Type {RELEASE_WORD} here, and you are not asked.")
@click.option("--usd", help="Allow so many USD more, so that the meter does not stop again.")
@click.option("--hours", help="For so many hours.")
@click.option("--until", metavar="MOMENT", help="Or until then: 2026-12-01T00:00Z.")
@click.option("--window", type=click.Choice(list(Window)), help="Raise the limit of this window alone.")
@_remote
def release(
    where: Where,
    screen: Screen,
    *,
    scope: str,
    reason: str,
    by: str,
    confirm: str,
    usd: str | None,
    hours: str | None,
    until: str | None,
    window: str | None,
    remote: bool,
) -> Answer:
    """Give back what was stopped, exactly as it was before."""
    deployment = find(where)
    wanted = None if scope == EVERYTHING else _parsed(scope, deployment)
    whom = "everything" if scope == EVERYTHING else str(wanted or "the account")
    event: dict[str, Any] = {"reason": reason, "by": by or deployment.caller.name}
    event |= {"scope": scope} if scope == EVERYTHING else {} if wanted is None else {"scope": str(wanted)}
    if any(each is not None for each in (usd, hours, until, window)):
        event["allowance"] = _allowance(usd, hours, until, window)
    event["confirm"] = _confirmed(RELEASE_WORD, confirm, f"Release {whom} in account {deployment.caller.account_id}")
    return _through_release(deployment, event, screen, remote=remote, doing=f"releasing {whom}")


@cli.command()
@command
@_reason
@_by
@click.option("--confirm", default="", metavar=ALLOW_WORD, help=f"Type {ALLOW_WORD} here, and you are not asked.")
@click.option("--usd", help="So many USD more.")
@click.option("--hours", help="For so many hours.")
@click.option("--until", metavar="MOMENT", help="Or until then: 2026-12-01T00:00Z.")
@click.option("--window", type=click.Choice(list(Window)), help="Raise the limit of this window alone.")
@click.option("--cancel", is_flag=True, help="End all allowances instead.")
@_remote
def allow(
    where: Where,
    screen: Screen,
    *,
    reason: str,
    by: str,
    confirm: str,
    usd: str | None,
    hours: str | None,
    until: str | None,
    window: str | None,
    cancel: bool,
    remote: bool,
) -> Answer:
    """Raise the limits for a while. Nothing that is stopped is released by it."""
    given = any(each is not None for each in (usd, hours, until, window))
    if cancel and given:
        msg = "give --cancel alone, or how much and for how long"
        raise NotPossibleError(msg)
    event: dict[str, Any] = {"cancel": "all"} if cancel else {"allowance": _allowance(usd, hours, until, window)}
    deployment = find(where)
    event |= {"reason": reason, "by": by or deployment.caller.name}
    what = "End all allowances" if cancel else f"Allow ${usd} more"
    event["confirm"] = _confirmed(ALLOW_WORD, confirm, f"{what} in account {deployment.caller.account_id}")
    return _through_release(deployment, event, screen, remote=remote, doing="writing it down")


def _through_release(
    deployment: Deployment, event: dict[str, Any], screen: Screen, *, remote: bool, doing: str
) -> Answer:
    """Have it carried out as the release function does."""
    if remote:
        return _invoked(deployment, "release", event, screen)
    steps, now = progress.Steps(screen), datetime.now(UTC)
    desk = progress.releasing(deployment.wiring.release_desk(Unhurried()), steps)

    def carry_out() -> dict[str, Any]:
        with progress.watching(screen, doing):
            return releasing.carry_out(event, desk, now)

    return Answer(_unless_interrupted(carry_out, steps, "Run it again to finish; the meter does so too."))


def _invoked(deployment: Deployment, function: str, event: Mapping[str, Any], screen: Screen) -> Answer:
    name = f"{deployment.prefix}-{function}"
    try:
        with progress.watching(screen, f"{name} is at it"):
            return Answer(deployment.invoke(function, event))
    except KeyboardInterrupt:
        msg = f"interrupted: {name} goes on by itself; see `bedrock-spend status`"
        raise NotPossibleError(msg, NOT_ALL) from None


def _unless_interrupted(act: Callable[[], _T], steps: progress.Steps, next_step: str) -> _T:
    try:
        return act()
    except KeyboardInterrupt:
        done = steps.so_far("nothing was done yet, as far as this process knows")
        msg = f"INTERRUPTED half-way; {done}. {next_step} `bedrock-spend status` tells how it stands."
        raise NotPossibleError(msg, NOT_ALL) from None


@cli.command()
@command
def drill(where: Where, screen: Screen) -> Answer:
    """Measure the reaction time: stop a canary role alone, release it, count the seconds. Nobody else is touched."""
    # Only the function may become the canary.
    answer = _invoked(find(where), "drill", {}, screen)
    return answer if answer.body.get("measured") else replace(answer, code=NOT_ALL)


@cli.command()
@command
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--called-from", default="", metavar="REGION", help="Where it is called.  [default: the dearest region]")
@click.option("--refresh", is_flag=True, help="Read the prices anew from AWS.")
@click.option("--accept", default="", metavar="FINGERPRINT", help="Put a price change into force that waits for you.")
def prices(
    where: Where, screen: Screen, *, models: tuple[str, ...], called_from: str, refresh: bool, accept: str
) -> Answer:
    """Show what the meter reckons with: prices of MODELs (else of those in use), their age and source."""
    wiring = find(where).wiring
    now = datetime.now(UTC)
    done: dict[str, Any] = {}
    with progress.watching(screen, "reading prices"):
        if accept:
            done = quoting.accept(wiring, accept, now)
        elif refresh:
            done = quoting.refresh(wiring, now)
        answer = done | quoting.quotes(wiring, models, called_from or None, now)
    return Answer(answer, NOT_ALL if answer.get("problems") else OK, tables.show_prices)


@cli.command()
@command
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "guardrail.toml",
    help="The configuration.  [default: guardrail.toml of this repository]",
)
def doctor(where: Where, screen: Screen, *, config: Path) -> Answer:
    """Look at the account before deploying (and after): who can spend, who cannot be stopped, what is missing."""
    from cli import diagnosing  # noqa: PLC0415 - what checks the file takes a second to load, and no kill needs it

    findings, code = diagnosing.diagnose(where, screen, config)
    return Answer(diagnosing.answer(findings), code, tables.show_findings)


def _parsed(scope: str, deployment: Deployment) -> Scope | None:
    """Return the scope, None for the account. Raises NotPossibleError."""
    if scope == ACCOUNT_SCOPE:
        return None
    try:
        return parse_scope(scope, deployment.caller.account_id)
    except RefusedError as error:
        raise NotPossibleError(str(error)) from error


def _allowance(usd: str | None, hours: str | None, until: str | None, window: str | None) -> dict[str, str]:
    """Return it as the release function takes it, which checks the figures. Raises NotPossibleError."""
    if usd is None or (hours is None) is (until is None):
        msg = "an allowance takes --usd and one of --hours and --until"
        raise NotPossibleError(msg)
    given = {"usd": usd, "hours": hours, "until": until, "window": window}
    return {key: value for key, value in given.items() if value is not None}


def _confirm_kill(question: str) -> None:
    """Ask for one key. Raises RefusedError for a no, NotPossibleError where nobody can be asked."""
    if not _somebody_to_ask():
        _nobody_to_ask("--yes")
    click.echo(f"{question} [y/n] ", err=True, nl=False)
    try:
        key = click.getchar()
    except (EOFError, KeyboardInterrupt):
        key = ""
    click.echo(tables.printable(key), err=True)
    if key not in {"y", "Y"}:
        msg = "not confirmed: nothing was stopped"
        raise RefusedError(msg)


def _confirmed(word: str, given: str, what: str) -> str:
    """Return the word that was given or typed. Raises as `_confirm_kill` does."""
    if not given:
        if not _somebody_to_ask():
            _nobody_to_ask(f"--confirm {word}")
        click.echo(f"{what}: type {word} to go on: ", err=True, nl=False)
        given = sys.stdin.readline().strip()
    if given != word:
        msg = f"not confirmed with {word}: nothing was changed"
        raise RefusedError(msg)
    return word


def _somebody_to_ask() -> bool:
    return sys.stdin.isatty()


def _nobody_to_ask(option: str) -> NoReturn:
    msg = f"nobody can be asked here: add {option}; nothing was done"
    raise NotPossibleError(msg)
