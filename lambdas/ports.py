"""What stops and releases are carried out with: AWS as the shell sees it, the time there is, and how the work went."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lambdas.core import proof
from lambdas.core.budget_action import Execution
from lambdas.core.levers import Held, Lever, Remembered
from lambdas.core.notice import Notice
from lambdas.core.plan import Attach, BrakeState, Detach, Join, Leave, Listing, PolicyState, Step, StopJob, Switch
from lambdas.core.principals import Principal, Spared
from lambdas.core.scopes import Scope


class Brake(Protocol):
    """The three policies in IAM, and the groups two of them hang on."""

    brake_arn: str
    sweep_arn: str
    deny_arn: str

    def policy(self, arn: str) -> PolicyState:
        """Return the brake or the sweep policy."""

    def levels(self) -> BrakeState:
        """Return both."""

    def holders(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy is attached to, as ``role/name`` and ``user/name``."""

    def members(self, policy_arn: str) -> frozenset[str]:
        """Return who is in the group that holds a policy, as ``user/name``."""

    def reached(self, policy_arn: str) -> frozenset[str]:
        """Return whom a policy reaches through its group: nobody where somebody took the policy off it."""

    def switch(self, step: Switch) -> None:
        """Make a version the default one."""

    def sweep(self, step: Attach) -> None:
        """Attach the sweep policy."""

    def deny(self, step: Attach) -> None:
        """Attach the deny policy."""

    def join(self, step: Join) -> None:
        """Add a user to a group of ours."""

    def leave(self, step: Detach) -> None:
        """Detach the sweep or the deny policy."""

    def part(self, step: Leave) -> None:
        """Take a user out of a group of ours."""


class People(Protocol):
    """Who is in the account."""

    def principals(self) -> Sequence[Principal]:
        """Return all roles, users and groups with their capability."""


class Work(Protocol):
    """What goes on spending by itself."""

    def listings(self) -> Sequence[Listing]:
        """Return where to look for it."""

    def stop(self, step: StopJob) -> None:
        """Stop one."""


class Book(Protocol):
    """What is held down, as it was before."""

    def remember(self, held: Held) -> None:
        """Keep it before it is held down, unless it is kept already."""

    def held(self) -> Sequence[Remembered]:
        """Return what is kept."""

    def forget(self, remembered: Remembered) -> bool:
        """Forget what was put back; False when it has been held down again since it was read."""


class Writer(Protocol):
    """The one function that may write versions of the policies; it takes scopes, never documents."""

    def stop(self, scope: Scope) -> object:
        """Deny a scope alone."""

    def release(self, scope: Scope) -> object:
        """Deny it alone no more."""


class NativeStop(Protocol):
    """The action by which AWS Budgets stops by itself."""

    def status(self) -> str:
        """Return how it stands, as AWS spells it."""

    def execute(self, execution: Execution) -> None:
        """Ask for one thing; AWS does it afterwards."""

    def holders(self) -> frozenset[str]:
        """Return whom its policy is on, as ``role/name``, ``user/name`` and ``group/name``."""


class Post(Protocol):
    """How people are told."""

    def send(self, notice: Notice) -> None:
        """Send a mail."""


@dataclass(slots=True)
class Outcome:
    """What was tried and how it ended. ``failed`` and ``uncovered`` map what or whom to why."""

    done: list[Step] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    uncovered: dict[str, str] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    """What was to be held down: done, or failed when it may have taken effect all the same."""
    left: int = 0
    """How many steps there was no time for."""

    def words(self) -> tuple[str, ...]:
        """Return the steps that were done, in words."""
        return tuple(map(str, self.done))

    def add(self, other: "Outcome") -> None:
        """Take in what another strand of the work did."""
        self.done += other.done
        self.failed |= other.failed
        self.uncovered |= other.uncovered
        self.held += other.held
        self.left += other.left


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and how long."""

    pause: Callable[[float], None]
    """Waits so many seconds: IAM may not read back at once what was just written."""
    seconds_left: Callable[[], float] = lambda: float("inf")
    """Until the function is ended from outside."""
    at_once: int = 8
    """Calls under way at once in a strand; IAM's control plane throttles soon above that."""


@dataclass(frozen=True, slots=True)
class StopTools:
    """All a stop needs."""

    brake: Brake
    people: People
    work: Callable[[], Work]
    """Made when it is needed: the first switch waits for none of it."""
    levers: Callable[[], Sequence[Lever]]
    """Likewise; in the order they are pulled: what stops most comes first."""
    book: Book
    writer: Callable[[], Writer]
    spared: Spared
    ask: proof.Ask
    """Asks IAM's simulator what a principal may do."""
    log: Callable[[Held], None]
    """Writes what is about to be held down to the log, should the book be lost."""
    pace: Pace


@dataclass(frozen=True, slots=True)
class ReleaseTools:
    """All a release needs."""

    brake: Brake
    levers: Callable[[], Sequence[Lever]]
    book: Book
    writer: Callable[[], Writer]
    pace: Pace
    native: NativeStop | None = None
    """None where AWS Budgets stops nobody by itself."""
