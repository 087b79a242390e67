"""What is being done while it is done: the shells run as they are, with tools that tell of each step."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import click

from cli.answers import Screen
from lambdas import ports
from lambdas.core.levers import Held, Lever
from lambdas.releasing import ReleaseDesk
from lambdas.stopping import Desk


@dataclass(slots=True)
class Steps:
    """The steps that were done so far. Several threads add to it."""

    screen: Screen
    done: list[str] = field(default_factory=list)

    def add(self, words: str) -> None:
        """Note a step and show it."""
        self.done.append(words)
        if self.screen.watched:
            self.screen.say(f"  done: {words}")

    def so_far(self, none: str) -> str:
        """Return what was done, in words."""
        if not self.done:
            return none
        more = f"; and {len(self.done) - 5} more" if len(self.done) > 5 else ""  # noqa: PLR2004 - a line's worth
        return f"done so far: {'; '.join(self.done[:5])}{more}"


class Told:
    """Stands for an object; some of its methods tell of what they did, by what they were given."""

    def __init__(
        self, instead_of: object, tell: Callable[[str], None], words: Mapping[str, Callable[..., str]]
    ) -> None:
        """Take what it stands for, whom to tell, and by method how to say it."""
        self._object, self._tell, self._words = instead_of, tell, words

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the object has
        """Return what the object has of that name."""
        found = getattr(self._object, name)
        if name not in self._words:
            return found

        def told(*given: Any) -> Any:  # noqa: ANN401 - what the method takes and returns
            result = found(*given)
            self._tell(self._words[name](*given))
            return result

        return told


_STEPS = dict.fromkeys(("switch", "sweep", "deny", "join", "leave", "part"), str)


def _log(held: Held) -> None:
    # As the log of the functions has it, should the ledger be lost.
    click.echo(json.dumps({"held down": asdict(held)}), err=True)


def _hold(held: Held, _level: object) -> str:
    return f"held down {held.words}"


def _put_back(held: Held) -> str:
    return f"put back {held.words}"


def stopping(desk: Desk, steps: Steps) -> Desk:
    """Return the desk of a stop, telling."""
    tools = desk.tools
    told = replace(
        tools,
        brake=_brake(tools.brake, steps),
        work=lambda: Told(tools.work(), steps.add, {"stop": str}),
        levers=lambda: [_lever(each, steps) for each in tools.levers()],
        writer=lambda: Told(tools.writer(), steps.add, {"stop": "deny {}".format}),
        log=_log,
    )
    return replace(desk, tools=told)


def releasing(desk: ReleaseDesk, steps: Steps) -> ReleaseDesk:
    """Return the desk of a release, telling."""
    tools = desk.tools
    told = replace(
        tools,
        brake=_brake(tools.brake, steps),
        levers=lambda: [_lever(each, steps) for each in tools.levers()],
        writer=lambda: Told(tools.writer(), steps.add, {"release": "deny {} no more".format}),
    )
    return replace(desk, tools=told)


def _brake(brake: ports.Brake, steps: Steps) -> ports.Brake:
    return Told(brake, steps.add, _STEPS)


def _lever(lever: Lever, steps: Steps) -> Lever:
    return Told(lever, steps.add, {"hold": _hold, "restore": _put_back})


@contextmanager
def watching(screen: Screen, words: str) -> Iterator[None]:
    """Show that something goes on, where a person looks on."""
    if not screen.watched:
        yield
        return
    with screen.console.status(words):
        yield
