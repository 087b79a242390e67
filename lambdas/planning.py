"""What a kill would do now: the shell of a stop, with nothing but its reads."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lambdas import guardrail, ports
from lambdas.core import plan as plans
from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.notice import Links, StopReport
from lambdas.core.plan import Attach, Hold, Join, Narrow, Step, StopJob, Switch
from lambdas.core.principals import Principal, Spared
from lambdas.core.scopes import Scope

_KEYS = "api-key"


class Unasked:
    """Stands in a plan for a lever that cannot be looked at without the right to pull it."""

    def __init__(self, name: str, what: str, why: str) -> None:
        """Take the lever's name, what it holds down in words, and why it is not asked."""
        self.name = name
        self._what, self._why = what, why

    def find(self, level: Level, spared: Spared) -> Found:
        """Return that it was not looked at."""
        del spared
        return Found(unread={self._what: self._why} if level is Level.STOP else {})

    def hold(self, held: Held, level: Level) -> None:
        """Do nothing: nothing was found."""

    def restore(self, held: Held) -> None:
        """Do nothing, likewise."""


@dataclass
class _Listed:
    """The account's roles and users, and what they were when a stop last listed them."""

    people: ports.People
    last: Sequence[Principal] = ()

    def principals(self) -> Sequence[Principal]:
        self.last = self.people.principals()
        return self.last


@dataclass(frozen=True, slots=True)
class Planned:
    """What a kill would do, as a stop in report-only mode tells it."""

    scope: Scope | None
    """What it would stop alone; None for the whole account."""
    report: StopReport
    armed: tuple[str, ...]
    """Whom the switch reaches."""
    doubtful: tuple[str, ...]
    """Those among the steps who seem to have no free slot for a policy."""

    @property
    def summary(self) -> str:
        """One sentence that says what a kill would do."""
        steps, report = self.report.steps, self.report
        does = self._does(steps)
        whom = "the account" if self.scope is None else str(self.scope)
        words = f"A kill of {whom} would {_joined(does)}." if does else f"A kill of {whom} would change nothing."
        if self.scope is None and not _switches(steps) and self.armed:
            words += f" {_count(len(self.armed), 'principal')} {_are(self.armed)} denied by the switch already."
        if report.uncovered:
            words += f" OUT OF REACH: {len(report.uncovered)}."
        if self.doubtful:
            words += f" {len(self.doubtful)} of them may have no free slot for a policy."
        unread = len(report.failed) + report.left
        return words + (f" NOT LOOKED AT: {unread}, so it is at least this." if unread else "")

    def _does(self, steps: Sequence[Step]) -> list[str]:
        kinds = Counter(type(each) for each in steps)
        held = Counter(each.held.lever == _KEYS for each in steps if isinstance(each, Hold))
        more = kinds[Attach] + kinds[Join]
        does = []
        if self.scope is None and _switches(steps):
            does.append(f"deny {_count(len(self.armed), 'principal')} by one switch")
        does += [str(each) for each in steps if isinstance(each, Narrow)]
        if more:
            does.append(f"attach a deny to {more}{' more' if does else _word(more, ' principal')}")
        does += [f"set {_count(held[True], 'API key')} inactive"] if held[True] else []
        does += [f"hold down {_count(held[False], 'more thing')} until a release"] if held[False] else []
        return does + ([f"end {_count(kinds[StopJob], 'job')}"] if kinds[StopJob] else [])

    def answer(self, links: Links) -> dict[str, Any]:
        """Return it as the console shows it: the first field says it in words."""
        report = self.report
        scope = "account" if self.scope is None else str(self.scope)
        answer: dict[str, Any] = {"summary": self.summary, "plan": scope, "steps": list(report.done)}
        if self.scope is None:
            answer["denied_by_the_switch"] = list(self.armed)
        answer |= {"out_of_reach": dict(report.uncovered), "may_have_no_slot": list(self.doubtful)}
        unread = dict(report.failed)
        if report.left:
            unread["the rest"] = f"{report.left} looks had no time"
        return answer | {
            "not_looked_at": unread,
            "nothing_was_touched": "this is what the kill function would do now",
            "to_do_it": {"function": links.kill, "event": {} if self.scope is None else {"scope": scope}},
        }


def plan(scope: Scope | None, tools: ports.StopTools) -> Planned:
    """Tell what a kill would do now, by reads alone. What cannot be read is in the report, as a failure."""
    people = _Listed(tools.people)
    report = guardrail.stop(plans.kill_goal(scope), "a plan", replace(tools, people=people), enforce=False)
    full = {plans.holder_of(each) for each in people.last if each.full}
    attached = [each.holder for each in report.steps if isinstance(each, Attach)]
    return Planned(
        scope,
        report,
        armed=tuple(sorted(plans.holder_of(each) for each in people.last if tools.brake.brake_arn in each.attached)),
        doubtful=tuple(each for each in attached if each in full),
    )


def _switches(steps: Sequence[Step]) -> bool:
    return any(isinstance(each, Switch) for each in steps)


def _are(some: Sequence[str]) -> str:
    return "is" if len(some) == 1 else "are"


def _count(number: int, word: str) -> str:
    return f"{number}{_word(number, f' {word}')}"


def _word(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
