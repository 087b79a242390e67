"""What people are mailed: short lines, readable on a phone, the most important first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from lambdas.core.answers import sayable
from lambdas.core.levels import Level

if TYPE_CHECKING:  # the kill path composes mail too and must not load what the meter needs
    from lambdas.core.aftermath import Burning
    from lambdas.core.crosscheck import CrossCheck
    from lambdas.core.decision import Decision
    from lambdas.core.iam_events import Drift, RefusedDelete
    from lambdas.core.levers import Held
    from lambdas.core.plan import Step
    from lambdas.core.price_list import Pending
    from lambdas.core.proof import Proof
    from lambdas.core.spend import Spend
    from lambdas.core.telling import Matter

_MAX_SUBJECT = 100
_MAX_LISTED = 12
_MAX_CHANGES = 6


@dataclass(frozen=True, slots=True)
class Links:
    """Where a reader of the mail acts: console pages, and the command for when every Lambda is down."""

    release: str
    status: str
    kill: str
    by_hand: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A subject (ASCII, at most 100 characters, as SNS wants it) and a text."""

    subject: str
    text: str
    kind: str = ""
    """A word that stays the same for all notices about the same thing: ``stop``, ``warning``, ``gap``."""
    urgent: bool = False
    """Whether somebody has to act now."""


@dataclass(frozen=True, slots=True)
class SpendSummary:
    """The figures a notice shows; travels from the meter to the stop function as JSON."""

    findings: tuple[str, ...] = ()
    burn: str = ""
    models: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()

    @classmethod
    def of(cls, spend: Spend, decision: Decision) -> SpendSummary:
        """Put a spend and its decision into words."""
        return cls(
            findings=tuple(map(str, decision.findings)),
            burn=f"${spend.burn:.2f} a minute",
            models=tuple(f"${usd:.2f} today  {model}" for model, usd in list(spend.by_model.items())[:5]),
            guessed=tuple(f"{model} (${usd:.2f} this month)" for model, usd in spend.guessed.items()),
            gaps=spend.gaps,
        )

    @classmethod
    def from_json(cls, data: object) -> SpendSummary:
        """Read what ``dataclasses.asdict`` made of one; tolerates anything else as an empty summary."""
        if not isinstance(data, Mapping):
            return cls()
        lists = {
            key: tuple(each for each in data.get(key, ()) if isinstance(each, str))
            for key in ("findings", "models", "guessed", "gaps")
            if isinstance(data.get(key, ()), list | tuple)
        }
        burn = data.get("burn", "")
        return cls(burn=burn if isinstance(burn, str) else "", **lists)

    def lines(self) -> list[str]:
        """Return the lines of a mail."""
        lines = [f"- {each}" for each in self.findings]
        lines += [f"Burning {self.burn}."] if self.burn else []
        lines += listed("Models, dearest first:", self.models)
        lines += listed("Priced by guess (the dearest known price stands in):", self.guessed)
        lines += listed("Not everything could be read, so this is at least what was spent:", self.gaps)
        return lines


@dataclass(frozen=True, slots=True)
class StopReport:
    """What a stop or step-down did. ``failed`` and ``uncovered`` map who or what to why."""

    level: Level
    reason: str
    enforced: bool
    """False in report-only mode: ``done`` is then what would have been done."""
    done: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    uncovered: Mapping[str, str] = field(default_factory=dict)
    armed: int = 0
    """How many principals the one switch reached."""
    before: Mapping[str, str] = field(default_factory=dict)
    """How the brake stood before: its level, and the default version of each policy."""
    verified: bool = False
    """Whether reading back showed the level and every attachment."""
    left: int = 0
    """How many steps there was no time for; another run goes on with them."""
    alone: tuple[str, ...] = ()
    """What is stopped alone, as `core.scopes` spells it."""
    proof: Proof | None = None
    """What IAM's simulator says of a sample; None when it was not asked."""
    held: tuple[Held, ...] = ()
    """What was to be held down, as it was before."""
    steps: tuple[Step, ...] = ()
    """What ``done`` says in words."""

    @property
    def complete(self) -> bool:
        """Tell whether everybody who can be stopped was."""
        return not self.failed and not self.left and self.verified

    @property
    def headline(self) -> str:
        """One sentence that says what happened."""
        if not self.enforced:
            return f"Report-only: Bedrock would have been set to {self.level}; nothing was touched."
        if self.level is Level.RELEASED:
            whom = ", ".join(self.alone)
            if self.complete and not self.uncovered:
                return f"Stopped alone: {whom}. {len(self.done)} steps done."
            return f"NOT fully stopped alone: {whom}; {len(self.failed) + len(self.uncovered)} steps failed."
        what = "stopped" if self.level is Level.STOP else "stepped down"
        if self.complete:
            beyond = f" OUT OF REACH: {len(self.uncovered)}." if self.uncovered else ""
            done = f"{len(self.done)} steps done; {self.armed} principals were armed beforehand."
            return f"Bedrock is {what}. {done}{beyond}"
        unconfirmed = "" if self.verified else ", and reading back did not confirm it"
        left = f", {self.left} more go on in another run" if self.left else ""
        return f"Bedrock is NOT fully {what}: {len(self.failed)} steps failed{left}{unconfirmed}."


@dataclass(frozen=True, slots=True)
class Stand:
    """How a stop or step-down stands that nobody has released."""

    level: Level
    since: datetime
    reason: str = "not known"
    failed: Mapping[str, str] = field(default_factory=dict)
    uncovered: Mapping[str, str] = field(default_factory=dict)
    costs: tuple[str, ...] = ()
    """What costs by the hour all the same, in words."""
    ends_at: datetime | None = None
    """When a clock may end it; None when only a person does."""
    unknown: tuple[str, ...] = ()
    """What of this could not be read, in words."""


def stop_notice(report: StopReport, spend: SpendSummary, links: Links) -> Notice:
    """Compose the mail about a stop or step-down."""
    mark = "" if report.complete or not report.enforced else "NOT FULLY "
    word = {Level.STOP: "STOPPED", Level.STEP_DOWN: "STEPPED DOWN"}.get(report.level, "STOPPED ALONE")
    beyond = f", {len(report.uncovered)} out of reach" if report.uncovered else ""
    subject = f"Bedrock spend: {mark}{word}{beyond}"
    subject = subject if report.enforced else f"Bedrock spend: would have {word} (report-only)"
    lines = [report.headline, "", f"Why: {report.reason}", *spend.lines()]
    lines += listed("Done:" if report.enforced else "Would have done:", report.done)
    lines += listed("FAILED, tried again each minute:", pairs(report.failed))
    lines += listed("NOT stopped, out of reach:", pairs(report.uncovered))
    lines += ["", f"{report.proof}."] if report.proof is not None else []
    lines += listed("Also stopped alone:", report.alone) if report.level > Level.RELEASED else []
    lines += ["", "Let it go on:", links.release]
    kind = {Level.STOP: "stop", Level.STEP_DOWN: "step-down"}.get(report.level, "stop-alone")
    # A stop that works is in nobody's way but the callers'; one that does not is money running out.
    urgent = report.enforced and (report.level is Level.STOP or not report.complete)
    return compose(subject, lines, links, kind if report.enforced else "report-only", urgent=urgent)


def warn_notice(decision: Decision, spend: SpendSummary, links: Links) -> Notice:
    """Compose the mail about a limit that is coming near."""
    lines = [f"Warning: {decision.reason}", "", *spend.lines()]
    lines += ["", "Nothing was stopped. Stop now:", links.kill]
    return compose("Bedrock spend: warning", lines, links, "warning")


def still_burning_notice(burning: Burning, level: Level, exempt: Sequence[str], next_rung: str, links: Links) -> Notice:
    """Compose the mail about usage that goes on although it is denied; ``next_rung`` says what is done about it."""
    what = "the stop" if level is Level.STOP else "the step-down"
    lines = [f"Bedrock is STILL USED minutes after {what} should have ended it: {burning.minutes} minutes were seen."]
    lines += listed(
        "Still used, dearest minute each:", (f"${usd:.2f} a minute {each}" for each, usd in burning.usd.items())
    )
    lines += ["", next_rung, "The token metrics do not tell who calls. CloudTrail does: Event history, event source"]
    lines += ["bedrock.amazonaws.com, event names InvokeModel, Converse and their streams, in that region."]
    lines += listed("Exempt, so allowed to go on; it may be they:", exempt)
    lines += ["", "Calls that began long before may end late. This is mailed again while it lasts."]
    lines += ["", "Stop again, and see what it cannot reach:", links.kill]
    return compose(f"Bedrock spend: STILL BURNING after {what}", lines, links, "still-burning", urgent=True)


def standing_notice(now: datetime, stand: Stand, links: Links) -> Notice:
    """Compose the reminder that a stop or step-down is on and nobody has released it."""
    what = "STOPPED" if stand.level is Level.STOP else "STEPPED DOWN"
    since = f"since {stand.since:%Y-%m-%d %H:%M} UTC, for {span(now - stand.since)}"
    lines = [f"Bedrock is {what} {since}. Nobody has released it.", "", f"Why: {stand.reason}"]
    if stand.ends_at is not None:
        lines += [f"It ends by itself at {stand.ends_at:%Y-%m-%d %H:%M} UTC, if nothing calls for it then."]
    lines += listed("NOT fully done, tried again each minute:", pairs(stand.failed))
    lines += listed("NOT stopped, out of reach:", pairs(stand.uncovered))
    lines += listed("Costs all the same until somebody deletes it:", stand.costs)
    lines += listed("Not known:", stand.unknown)
    lines += ["", "Let it go on:", links.release]
    return compose(f"Bedrock spend: still {what}, {span(now - stand.since)}", lines, links, "standing", urgent=True)


def blind_notice(since: datetime, now: datetime, gaps: Sequence[str], links: Links) -> Notice:
    """Compose the mail about a meter that reads nothing at all."""
    lines = [f"The meter sees NOTHING since {since:%Y-%m-%d %H:%M} UTC, for {span(now - since)}."]
    lines += ["No limit can stop anything meanwhile; what is stopped stays so.", *listed("Not read:", gaps)]
    lines += ["", "It tries again each minute. If you cannot wait, stop now:", links.kill]
    return compose("Bedrock spend: the meter is BLIND", lines, links, "blind", urgent=True)


def escalated(notice: Notice, matter: Matter, now: datetime) -> Notice:
    """Return a notice for those who are told when nobody acts."""
    since = f"{matter.since:%Y-%m-%d %H:%M} UTC ({span(now - matter.since)})"
    times = {0: "could not be mailed", 1: "was mailed once"}.get(matter.times, f"was mailed {matter.times} times")
    lines = [f"NOBODY ACTED: this goes on since {since} and {times}.", ""]
    subject = subject_line(f"NOBODY ACTED: {notice.subject.removeprefix('Bedrock spend: ')}")
    return Notice(subject, "\n".join(lines) + "\n" + notice.text, notice.kind, urgent=True)


def owner_notice(scope: str, reason: str, *, stopped: bool, by: str, whom: str) -> Notice:
    """Compose the mail to the owner of a role or user that is stopped alone, or is so no more.

    It goes to whomever a tag names: no links, for they are of no use without rights, and no more than concerns them.
    """
    if stopped:
        lines = [f"{scope} can no longer use Amazon Bedrock: its calls are denied.", "", f"Why: {reason}"]
        lines += ["Nothing was deleted; everything else it may do it still may."]
        lines += [f"To have it released, ask {whom}."]
    else:
        lines = [f"{scope} may use Amazon Bedrock again, within a minute.", "", f"Released by {by}: {reason}"]
        lines += [f"If it is still denied, ask {whom}."]
    lines += ["", "You are told because a tag names you as its owner."]
    subject = f"Bedrock spend: {scope} was {'stopped' if stopped else 'released'}"
    return Notice(subject_line(subject), "\n".join(lines) + "\n", "owner-stopped" if stopped else "owner-released")


def span(time: timedelta) -> str:
    """Return a length of time in words: ``3 h 12 min``."""
    minutes = max(int(time.total_seconds()) // 60, 0)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def gap_notice(gaps: Sequence[str], links: Links) -> Notice:
    """Compose the mail about what the meter cannot see."""
    lines = ["The meter cannot see everything; what it shows is at least what was spent.", *listed("Not read:", gaps)]
    lines += ["", "It goes on with the rest. This is mailed once a day while it lasts."]
    return compose("Bedrock spend: the meter does not see everything", lines, links, "gap")


def unlisted_notice(regions: Mapping[str, Sequence[str]], links: Links) -> Notice:
    """Compose the mail about regions in use that the configuration does not list, with the namespaces of their use."""
    names = ", ".join(regions)
    lines = [
        f"Bedrock is used in {names}, which guardrail.toml does not list; it is metered from now on.",
        "Add it to regions there and deploy, so that it is watched by the minute and its batch jobs are stopped.",
        *listed("Seen in:", (f"{region}: {', '.join(planes)}" for region, planes in regions.items())),
    ]
    lines += ["", "Nothing was stopped. If nobody should be there, somebody may have your keys. Stop now:", links.kill]
    return compose(f"Bedrock spend: used in {names}, which is not listed", lines, links, "unlisted-region")


def prices_notice(waiting: Sequence[Pending], function: str, links: Links) -> Notice:
    """Compose the mail about changes of AWS's price list that are not used without a person's word."""
    lines = ["AWS's price list has changes that look wrong: a price tenfold or a tenth of what it was, or absurd."]
    lines += ["They are not used. What was in force stays in force."]
    for each in waiting[:_MAX_LISTED]:
        shown = [f"- {change}" for change in each.changes[:_MAX_CHANGES]]
        more = [f"- ... and {len(each.changes) - _MAX_CHANGES} more"] if len(each.changes) > _MAX_CHANGES else []
        word = f'If this is right, test {function} with {{"accept": "{each.fingerprint}"}}'
        never = "A price of 0 or less is never taken from the list. If this is right, state it in guardrail.toml."
        lines += ["", f"{each.model}:", *shown, *more, word if each.acceptable else never]
    more_models = len(waiting) - _MAX_LISTED
    lines += ["", f"... and {more_models} more models; the function's answer lists all."] if more_models > 0 else []
    lines += ["", "This is mailed once."]
    return compose("Bedrock spend: prices that need your word", lines, links, "prices")


def crosscheck_notice(found: CrossCheck, links: Links) -> Notice:
    """Compose the mail about a meter and a bill that differ; the subject says which way, for one is dangerous."""
    headline, meaning = _DRIFTS[found.agreement.name]
    lines = [found.summary, meaning]
    lines += listed("Day by day:", (f"{day}: {pair}" for day, pair in found.days.items()))
    models = (f"{name}: {pair}" for name, pair in found.models.items())
    lines += listed("Models, the largest difference first:", models)
    lines += listed("On the bill alone, by these names:", _amounts(found.only_billed))
    lines += listed("With the meter alone, by these names:", _amounts(found.only_metered))
    lines += listed("Not compared:", (f"{day}: {why}" for day, why in found.left_out.items()))
    lines += listed("Mind:", found.notes)
    if found.factor is not None:
        lines += ["", f"prices.factor = {found.shown_factor} in guardrail.toml would make them agree."]
        lines += ["Nothing is changed until you set it and deploy. It scales every price but the overrides."]
    if found.no_factor:
        lines += ["", f"No factor is offered: {found.no_factor}."]
    lines += ["", "Nothing was stopped. Stop now:", links.kill]
    return compose(f"Bedrock spend: {headline}", lines, links, "crosscheck")


_DRIFTS = {
    "LESS": ("the meter reads LESS than the bill", "Limits trip later than they should, by as much."),
    "MORE": (
        "the meter reads more than the bill",
        "Limits trip early, not late. Some is expected: where CloudWatch cannot tell prices apart, the dearest counts.",
    ),
    "IMPLAUSIBLE": (
        "the bill looks implausible",
        "AWS has published such figures by mistake before. If they are right, something dear is not metered: stop it.",
    ),
}


def _amounts(usd: Mapping[str, Decimal]) -> list[str]:
    return [f"${amount:.2f} {name}" for name, amount in usd.items()]


def release_notice(
    reason: str,
    by: str,
    done: Sequence[str],
    failed: Mapping[str, str],
    allowance: str | None,
    links: Links,
    scope: str | None = None,
    *,
    overruled: bool = False,
) -> Notice:
    """Compose the mail about a release: of the account, or of what was stopped alone; a later stop may overrule it."""
    lines = [f"Released by {by}: {reason}" if scope is None else f"{scope} released by {by}: {reason}"]
    lines += [f"Allowance: {allowance}"] if allowance else []
    lines += listed("Done:", done)
    lines += listed("FAILED, tried again each minute; or run release again:", pairs(failed))
    lines += ["", "Stop again:", links.kill]
    subject = "NOT FULLY released" if failed else "released"
    subject = "STOPPED again, while it was being released" if overruled else subject
    return compose(f"Bedrock spend: {subject}", lines, links, "release")


def arming_notice(
    full: Mapping[str, str], lacking: Mapping[str, Sequence[str]], add: Sequence[str], links: Links
) -> Notice:
    """Compose the mail about those a stop would not reach as it should; ``add`` is how a permission set is mended."""
    lines = ["The brake policy cannot be attached to everybody who can spend. This is mailed once for each."]
    lines += listed("No free slot for a policy:", pairs(full))
    lines += listed(
        "Permission sets of IAM Identity Center without it, and their roles:",
        (f"{name}: {', '.join(roles)}" for name, roles in lacking.items()),
    )
    lines += listed("To add it, where IAM Identity Center is administered:", add)
    lines += ["", "Nothing is stopped."]
    return compose("Bedrock spend: some could not be stopped", lines, links, "arming")


def drift_notice(drift: Drift, level: str, links: Links) -> Notice:
    """Compose the mail about somebody who changed what is the guardrail's."""
    lines = [f"Somebody changed what belongs to the guardrail: {drift.what}", f"Who: {drift.by}"]
    lines += [f"When: {drift.at:%Y-%m-%d %H:%M:%S} UTC", f"The brake stood at: {level}", ""]
    lines += ["What is to be stopped is being stopped again; in peace whoever still exists is armed again."]
    lines += ["If it was taken off only to delete the principal, all is well. Otherwise ask them why."]
    lines += ["More of the same by the same caller within an hour is in the log of the arm function alone."]
    return compose("Bedrock spend: somebody changed the brake", lines, links, "drift")


def held_delete_notice(delete: RefusedDelete, why: str, brake_arn: str, links: Links) -> Notice:
    """Compose the mail about a deletion that the brake policy is in the way of while it is needed."""
    kind, _, name = delete.holder.partition("/")
    lines = [f"{delete.by} tried to delete {delete.holder}. IAM refused: a policy of the guardrail is attached."]
    lines += [f"It was left attached: {why}.", "", "Release first, or take it off by hand:"]
    lines += [f"aws iam detach-{kind}-policy --{kind}-name {name} --policy-arn {brake_arn}", "", "Release:"]
    return compose("Bedrock spend: a deletion has to wait", [*lines, links.release], links, "held-deletion")


def pairs(reasons: Mapping[str, str]) -> list[str]:
    """Return lines of who and why."""
    return [f"{who}: {why}" for who, why in reasons.items()]


def listed(title: str, items: Iterable[str]) -> list[str]:
    """Return a titled list, cut short; nothing where there are no items."""
    each = list(items)
    if not each:
        return []
    more = [f"... and {len(each) - _MAX_LISTED} more; the status function lists all"] if len(each) > _MAX_LISTED else []
    return ["", title, *(f"- {item}" for item in each[:_MAX_LISTED]), *more]


def compose(subject: str, lines: Sequence[str], links: Links, kind: str = "", *, urgent: bool = False) -> Notice:
    """Return a notice that ends as all do: where to look, and how to stop by hand."""
    ending = ["See how it stands:", links.status, "Stop by hand when no Lambda works:", links.by_hand]
    return Notice(subject_line(subject), sayable("\n".join([*lines, *ending]) + "\n"), kind, urgent)


def subject_line(text: str) -> str:
    """Return a subject as SNS takes it: printable ASCII, at most 100 characters."""
    return "".join(each if " " <= each <= "~" else "?" for each in text)[:_MAX_SUBJECT]
