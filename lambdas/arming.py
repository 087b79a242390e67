"""Arming in peace, and what CloudTrail tells meanwhile: changes, refused deletions, and others at what is ours."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from lambdas.core import arming, iam_events
from lambdas.core.arming import ArmingPlan, ArmingRule
from lambdas.core.errors import AwsCallError, GuardrailError
from lambdas.core.iam_events import Drift, Ours, RefusedDelete
from lambdas.core.levels import Level
from lambdas.core.memory import Memory
from lambdas.core.notice import Links, Notice, arming_notice, drift_notice, held_delete_notice
from lambdas.core.plan import Attach, BrakeState, Detach, holder_of
from lambdas.core.principals import Principal, Spared

T = TypeVar("T")

GATHER = timedelta(seconds=30)
"""A run waits so long for more of the same: a deployment changes IAM a hundred times, and one run sees it all."""
SETTLE = timedelta(seconds=10)
"""What changed less long before a run began, IAM may not have shown it: another run looks again."""
LEFT_ALONE = timedelta(days=1)
"""Whoever was disarmed to be deleted stays so as long; then it exists still, and is armed again."""
TELL_AGAIN = timedelta(hours=1)
"""Somebody who goes on doing the same is told of so often: a deployment may do it to each of a hundred roles."""
_AT_ONCE = 8
"""Calls under way at once; IAM's control plane throttles soon above that."""


class Brake(Protocol):
    """The guardrail's policies."""

    brake_arn: str
    deny_arn: str

    def levels(self) -> BrakeState:
        """Return the brake and the sweep policy."""

    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy is attached to."""

    def members(self, policy_arn: str) -> frozenset[str]:
        """Return who is in the group that holds a policy."""

    def arm(self, step: Attach) -> None:
        """Attach the brake policy."""


class People(Protocol):
    """Who is in the account."""

    def principals(self) -> Sequence[Principal]:
        """Return all roles, users and groups with their capability."""


class Ledger(Protocol):
    """What is remembered. Without it arming goes on; it only wakes too often."""

    def memory(self, now: datetime) -> Memory:
        """Return, among others, what is wanted to be stopped."""

    def claim_arming(self, run: datetime, *, covers: datetime, by: str) -> bool:
        """Say that a run begins at a moment; False when another one covers that moment already."""

    def disarmed(self, now: datetime) -> frozenset[str]:
        """Return the holders that are not to be armed yet."""

    def remember_disarmed(self, holder: str, until: datetime, by: str) -> None:
        """Keep that a holder is not to be armed until then."""

    def may_tell(self, what: str, now: datetime, *, by: str, unless_since: datetime) -> bool:
        """Say that people are told of something now; False when they were since then."""

    def kept(self, name: str) -> Mapping[str, Any] | None:
        """Return the document kept under a name."""

    def keep(self, name: str, body: Mapping[str, Any]) -> None:
        """Keep a document under a name."""


@dataclass(frozen=True, slots=True)
class ArmingTools:
    """All that arming needs."""

    ours: Ours
    own_path: str
    rule: ArmingRule
    spared: Spared
    enforce: bool
    scp: bool
    """Whether a stop attaches a service control policy."""
    brake: Brake
    people: People
    ledger: Ledger
    links: Links
    send: Callable[[Notice], None]
    ask_for_stop: Callable[[dict[str, Any]], None]
    pause: Callable[[float], None]
    """Waits so many seconds."""


@dataclass(frozen=True, slots=True)
class DisarmTools:
    """All that disarming needs."""

    ours: Ours
    brake: Brake
    ledger: Ledger
    links: Links
    send: Callable[[Notice], None]
    disarm: Callable[[Detach], None]


@dataclass(slots=True)
class Armed:
    """What a run did and found. ``failed`` and ``problems`` are raised at the end."""

    plan: ArmingPlan = field(default_factory=ArmingPlan)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    heard: str = ""
    """What an event was about, when the run did not come by the clock."""
    ran: bool = True
    """False when nothing was to be done for an event, or another run sees to it."""

    def answer(self) -> dict[str, Any]:
        """Return it as the log and the console show it."""
        answer: dict[str, Any] = {"heard": self.heard} if self.heard else {}
        if self.ran:
            answer |= {
                "done": self.done,
                "failed": self.failed,
                "full": {holder: str(found) for holder, found in self.plan.full.items()},
                "permission_sets_lacking": list(self.plan.permission_sets),
                "cannot_be_armed": dict(self.plan.uncovered),
                "left": dict(self.plan.left),
            }
        return answer | ({"problems": self.problems} if self.problems else {})

    def troubles(self) -> list[str]:
        """Return all that went wrong, in words."""
        return [f"not armed: {what}: {why}" for what, why in self.failed.items()] + self.problems


def hear(event: object, tools: ArmingTools, now: datetime) -> Armed:
    """Act on whatever wakes the arm function: calls of IAM as CloudTrail saw them; at anything else, arm at once.

    A call that may have changed who can spend waits for more of the same, and one run serves all of them.
    """
    if not iam_events.is_call(event):
        return arm(tools, now)
    heard = iam_events.parse(event, tools.ours)
    if heard is None or isinstance(heard, RefusedDelete):
        return Armed(heard="nothing that concerns arming", ran=False)
    problems: list[str] = []
    words = heard.call
    if isinstance(heard, Drift):
        words = f"{heard.what} by {heard.by}"
        _answer_drift(heard, tools, now, problems)
    run = now + GATHER
    # A moment to come is a forged one, or a clock that is off: it must not call for run after run.
    covers = min(heard.at, now) + SETTLE
    # Nobody can be told apart while the ledger is down: each event then has a run of its own.
    claimed = _tried(lambda: tools.ledger.claim_arming(run, covers=covers, by=heard.event_id), problems)
    if claimed is False:
        return Armed(heard=f"{words}; another run sees to it", ran=False, problems=problems)
    tools.pause(GATHER.total_seconds())
    found = arm(tools, run)
    return replace(found, heard=words, problems=[*problems, *found.problems])


def arm(tools: ArmingTools, now: datetime) -> Armed:
    """Arm whom the mode takes in and keep what was found. Raises AwsCallError when nobody knows who there is."""
    people = tools.people.principals()
    found = Armed()
    # Unreadable: to arm somebody who is about to be deleted is a nuisance, to arm nobody is a danger.
    deleting = _tried(lambda: tools.ledger.disarmed(now), found.problems) or frozenset()
    found.plan = arming.plan_arming(
        tools.brake.brake_arn,
        people,
        tools.spared,
        tools.rule,
        own_path=tools.own_path,
        disarmed=deleting,
        scp=tools.scp,
    )
    _attach(found, {holder_of(each): each for each in people}, tools)
    _keep(found, tools, now)
    return found


def _attach(found: Armed, people: Mapping[str, Principal], tools: ArmingTools) -> None:
    """Attach the brake policy to all; who turns out to have no slot is one of the full."""

    def attempt(step: Attach) -> AwsCallError | None:
        try:
            if tools.enforce:
                tools.brake.arm(step)
        except AwsCallError as error:
            return error
        return None

    steps = found.plan.steps
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        results = list(pool.map(attempt, steps))
    full = dict(found.plan.full)
    armed = [*found.plan.armed]
    for step, error in zip(steps, results, strict=True):
        if error is None:
            found.done.append(str(step))
            armed += [step.holder] if tools.enforce else []
        elif error.code == "LimitExceeded":
            full[step.holder] = arming.fallback(people[step.holder], step.policy_arn, scp=tools.scp)
        elif error.code != "NoSuchEntity":  # deleted since it was listed
            found.failed[str(step)] = str(error)
    found.plan = replace(found.plan, armed=tuple(sorted(armed)), full=full)


def _keep(found: Armed, tools: ArmingTools, now: datetime) -> None:
    """Keep what was found for the status, and mail what is new of it and can be mended."""
    body = arming.document(found.plan, tools.brake.brake_arn) | {
        "at": now.isoformat(),
        "mode": str(tools.rule.mode),
        "enforced": tools.enforce,
        "done": found.done,
        "failed": found.failed,
    }
    before = _tried(lambda: tools.ledger.kept(arming.KEPT) or {}, found.problems)
    if before is not None:
        full = {each: str(why) for each, why in found.plan.full.items() if each not in before.get("full", {})}
        known = (before.get("permission_sets") or {}).get("lacking", {})
        lacking = body["permission_sets"].get("lacking", {})
        news = {name: roles for name, roles in lacking.items() if name not in known}
        told = _tried(lambda: _tell_gaps(full, news, tools), found.problems) if full or news else True
        if told is None:
            return  # kept only once it was told: the next run tells it then
    _tried(lambda: tools.ledger.keep(arming.KEPT, body), found.problems)


def _tell_gaps(full: Mapping[str, str], lacking: Mapping[str, Sequence[str]], tools: ArmingTools) -> bool:
    add = (*arming.commands(tools.brake.brake_arn), arming.LOOK_UP) if lacking else ()
    tools.send(arming_notice(full, lacking, add, tools.links))
    return True


def _answer_drift(drift: Drift, tools: ArmingTools, now: datetime, problems: list[str]) -> None:
    """Have the stop made whole again if one is on, and tell who did what. Arming again is the caller's."""
    state = _tried(tools.brake.levels, problems)
    memory = _tried(lambda: tools.ledger.memory(now), problems)
    request = _reassertion(state, memory, drift, now)
    if request is not None:
        _tried(lambda: tools.ask_for_stop(request), problems)
    level = "unknown" if state is None else str(state.level)
    what = f"drift {drift.call} by {drift.by}"
    _tell(drift_notice(drift, level, tools.links), what, drift.event_id, tools, now, problems)


def _reassertion(state: BrakeState | None, memory: Memory | None, drift: Drift, now: datetime) -> dict[str, Any] | None:
    """Return what asks the stop function to make true again what is wanted; None when nothing is on.

    Whoever wants more wins: IAM may have just been switched back, which is what this is about.
    """
    levels = [each.level for each in (state.brake, state.sweep) if each.level is not None] if state else []
    level = max([*levels, memory.wanted.level if memory else Level.RELEASED])
    narrow = bool(memory and memory.narrow) or bool(state and (state.brake.scopes or state.sweep.scopes))
    if level is Level.RELEASED and not narrow:
        return None
    return {
        "source": "meter",
        "at": now.isoformat(),
        "level": str(level),
        "reason": f"made whole again after {drift.what} by {drift.by}",
        "reassert": True,
        "narrow": narrow,
        "spend": {},
    }


def release_for_deletion(event: object, tools: DisarmTools, now: datetime) -> dict[str, Any]:
    """Disarm whom somebody tried in vain to delete, so that the next attempt succeeds; and leave it so for a day.

    The event is a hint: IAM is asked whether the principal is armed, and whether anything is stopped. While anything
    that holds it is on, nothing is touched and people are told. Raises GuardrailError when that cannot be known.
    """
    heard = iam_events.parse(event, tools.ours)
    if not isinstance(heard, RefusedDelete):
        return {"summary": "Nothing done: no refused deletion of a role or user of this account."}
    if heard.holder not in tools.brake.holders(tools.brake.brake_arn):
        return {"summary": f"Nothing done: {heard.holder} is not armed; something else is in the way."}
    if why := _held(heard.holder, tools, now):
        problems: list[str] = []
        notice = held_delete_notice(heard, why, tools.brake.brake_arn, tools.links)
        _tell(notice, f"refused delete by {heard.by}", f"{heard.holder} {heard.at}", tools, now, problems)
        summary = f"Nothing done: {heard.holder} stays armed, {why}."
        return {"summary": summary, **({"problems": problems} if problems else {})}
    # Remembered first: an arming run in between would attach it again. A stop in between is made whole by its next
    # minute, which sweeps whoever is not armed.
    tools.ledger.remember_disarmed(heard.holder, now + LEFT_ALONE, heard.by)
    try:
        tools.disarm(Detach(tools.brake.brake_arn, heard.holder))
    except AwsCallError as error:
        if error.code != "NoSuchEntity":
            raise
    return {"summary": f"Disarmed {heard.holder}, which {heard.by} wants to delete; armed again in a day if it stays."}


def _held(holder: str, tools: DisarmTools, now: datetime) -> str:
    """Return in words why a principal must keep the brake policy; empty when nothing is on that holds it."""
    state = tools.brake.levels()
    for policy in (state.brake, state.sweep):
        if policy.level is not Level.RELEASED:
            return f"{policy.name} is at {policy.level or 'a version that is not ours'}"
        if policy.scopes:
            return f"{policy.name} denies {', '.join(map(str, policy.scopes))}"
    if holder in tools.brake.holders(tools.brake.deny_arn) | tools.brake.members(tools.brake.deny_arn):
        return "it is stopped alone"
    memory = tools.ledger.memory(now)
    if memory.wanted.level is not Level.RELEASED:
        return f"{memory.wanted.level} is wanted"
    others = ("role/", "user/")
    alone = [each for each in memory.narrow if each == holder or not each.startswith(others)]
    return f"{', '.join(alone)} is to be stopped alone" if alone else ""


def _tell(
    notice: Notice, what: str, event: str, tools: ArmingTools | DisarmTools, now: datetime, problems: list[str]
) -> None:
    """Mail it, unless people were told the same a short while ago. With the ledger down they are told once more."""
    since = now - TELL_AGAIN
    may = _tried(lambda: tools.ledger.may_tell(what, now, by=event, unless_since=since), problems)
    if may is not False:
        _tried(partial(tools.send, notice), problems)


def _tried(call: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return call()
    except GuardrailError as error:
        problems.append(str(error))
        return None
