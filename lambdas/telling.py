"""Telling people: what goes on, at the pace and not faster; and the owner of who is stopped."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from lambdas import ports
from lambdas.core.errors import GuardrailError
from lambdas.core.notice import Notice, escalated
from lambdas.core.owners import owner_of
from lambdas.core.scopes import Scope
from lambdas.core.telling import AT_LEAST_DAILY, Matter, Telling, matters


@dataclass(frozen=True, slots=True)
class Ways:
    """By which ways people are told, and where it is kept when that was."""

    telling: Telling
    send: Callable[[Notice], None]
    escalate: Callable[[Notice], None]
    """Tells those who are told when nobody acts."""
    note: Callable[[str, Mapping[str, Any], datetime], None]
    """Keeps it where every tick finds it, as ``told``."""
    warm: dict[str, Matter] = field(default_factory=dict)
    """What this warm function told: the pace holds while the ledger is down."""


class Teller:
    """Tells what goes on during one run. What fails becomes a problem; it is due again at the next run."""

    def __init__(self, kept: Mapping[str, Any] | None, ways: Ways, now: datetime, problems: list[str]) -> None:
        """Take what the ledger keeps of what was told."""
        self._ways, self._now, self._problems = ways, now, problems
        self._before: dict[str, Matter] = {}
        try:
            self._before = matters(kept)
        except (ValueError, TypeError, AttributeError) as error:
            problems.append(
                f"when people were last told cannot be read from the ledger ({error!r}); they are told again"
            )
        self._matters = self._before | {
            what: each for what, each in ways.warm.items() if _is_later(each, self._before.get(what))
        }
        self._seen: set[str] = set()

    def matter(self, what: str, since: datetime | None = None) -> Matter:
        """Return how it was told so far. When it began at another moment it is another matter."""
        found = self._matters.get(what)
        if found is None or (since is not None and found.since != since):
            found = Matter(since or self._now)
        return found

    def tell(
        self, what: str, notice: Callable[[Matter], Notice], *, since: datetime | None = None, ever_less: bool = False
    ) -> None:
        """Tell of one thing that goes on, and others when nobody ends it, if it is time for that."""
        matter = self.matter(what, since)
        due = matter.is_due_ever_less if ever_less else matter.is_due
        if due(self._now, self._ways.telling.again) and self._sent(self._ways.send, notice(matter)):
            matter = matter.told(self._now)
        # Also when the first way fails: then others are the only ones who hear of it.
        if matter.escalates(self._now, self._ways.telling) and self._sent(
            self._ways.escalate, escalated(notice(matter), matter, self._now)
        ):
            matter = matter.escalated(self._now)
        self._keep(what, matter)

    def tell_of(
        self,
        group: str,
        whats: Sequence[str],
        notice: Callable[[Sequence[str]], Notice],
        again: timedelta = AT_LEAST_DAILY,
    ) -> None:
        """Tell of those of a group that were not told for so long, in one notice; the group no faster than the pace."""
        again = max(self._ways.telling.again, again)
        unheard = [each for each in whats if self.matter(f"{group}: {each}").is_due(self._now, again)]
        together = self.matter(group)
        if (
            unheard
            and together.is_due(self._now, self._ways.telling.again)
            and self._sent(self._ways.send, notice(unheard))
        ):
            self._keep(group, together.told(self._now))
            for each in unheard:
                self._keep(f"{group}: {each}", self.matter(f"{group}: {each}").told(self._now))

    def remember(self, what: str, since: datetime | None = None) -> Matter:
        """Keep since when something goes on, although it is not told yet."""
        self._keep(what, self.matter(what, since))
        return self._matters[what]

    def forget(self, *whats: str) -> None:
        """Forget what has ended."""
        for each in whats:
            self._matters.pop(each, None)

    def close(self) -> None:
        """Keep what was told, and forget what nobody has spoken of for long."""
        long_ago = self._now - 2 * max(AT_LEAST_DAILY, self._ways.telling.again)
        for what, each in list(self._matters.items()):
            if what not in self._seen and (each.told_at or each.since) < long_ago:
                del self._matters[what]
        self._ways.warm.clear()
        self._ways.warm.update(self._matters)
        if self._matters != self._before:
            body = {what: each.to_json() for what, each in self._matters.items()}
            self._tried(lambda: self._ways.note("told", body, self._now))

    def _keep(self, what: str, matter: Matter) -> None:
        self._matters[what] = matter
        self._seen.add(what)

    def _sent(self, send: Callable[[Notice], None], notice: Notice) -> bool:
        return self._tried(lambda: send(notice))

    def _tried(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except GuardrailError as error:
            self._problems.append(str(error))
            return False
        return True


def _is_later(warm: Matter, kept: Matter | None) -> bool:
    if kept is None or warm.told_at is None:
        return kept is None
    return kept.told_at is None or warm.told_at > kept.told_at


class Post(Protocol):
    """Mail to one address."""

    def send_to(self, address: str, notice: Notice) -> None:
        """Send it."""


@dataclass(frozen=True, slots=True)
class Owners:
    """The owners of roles and users, as a tag names them."""

    tag: str
    people: ports.People
    post: Post
    whom: str
    """Whom they can ask, in words."""

    def tell(
        self, scopes: Iterable[Scope], notice: Callable[[Scope], Notice], untold: dict[str, str]
    ) -> tuple[str, ...]:
        """Tell the owner of each role and user; return whom. What fails, or is no address, goes into ``untold``.

        Only who is stopped alone has an owner to tell: a stop of the account hits everybody at once, SES's sandbox
        takes a mail a second, and its word is the one to the account's own people.
        """
        wanted = [each for each in scopes if each.is_principal]
        told: list[str] = []
        try:
            principals = self.people.principals() if wanted else ()
            for scope in wanted:
                try:
                    if address := owner_of(scope, principals, self.tag):
                        self.post.send_to(address, notice(scope))
                        told.append(address)
                except GuardrailError as error:
                    untold[f"the owner of {scope}"] = str(error)
        except GuardrailError as error:
            untold["owners"] = str(error)
        return tuple(told)
