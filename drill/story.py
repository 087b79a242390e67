"""What the drill tells while it runs, and keeps for the report."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from drill.emulator.assembly import DeployError
from drill.emulator.emulator import EmulatorError
from drill.emulator.stimuli import StimulusError


class SceneError(Exception):
    """Something in a scene was not as it must be."""


def check(condition: object, otherwise: str) -> None:
    """Fail the scene unless the condition holds."""
    if not condition:
        raise SceneError(otherwise)


@dataclass(slots=True)
class Story:
    """The scenes so far, their timeline, and the agent's spend over time."""

    console: Console
    started: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    scenes: list[dict[str, Any]] = field(default_factory=list)
    timeline: list[dict[str, Any]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds since the drill began."""
        return round(time.monotonic() - self.started, 2)

    @property
    def failures(self) -> list[str]:
        """The scenes that failed, with what was wrong."""
        return [f"{each['name']}: {each['detail']}" for each in self.scenes if not each["ok"]]

    def scene(self, name: str, play: Callable[[], str], *, always: bool = False) -> None:
        """Play a scene, unless an earlier one failed; it returns a line about what was seen."""
        if self.failures and not always:
            return
        began = self.seconds
        with self.console.status(f"[bold]{name}[/] ..."):
            try:
                ok, detail = True, play()
            except (SceneError, DeployError, EmulatorError, StimulusError) as error:
                ok, detail = False, str(error)
            except (ClientError, BotoCoreError) as error:
                ok, detail = False, f"an AWS call failed: {error}"
        took = round(self.seconds - began, 2)
        self.scenes.append({"name": name, "ok": ok, "seconds": took, "detail": detail})
        sign = "[green]ok    [/]" if ok else "[bold red]FAILED[/]"
        self.console.print(f"{sign} [bold]{name}[/] [dim]{took:.1f} s[/]  ", end="")
        self.console.print(detail, markup=False, highlight=False)

    def tell(self, event: str) -> None:
        """Put an event on the timeline."""
        self.timeline.append({"seconds": self.seconds, "event": event})

    def mark(self, label: str, event: str) -> float:
        """Put an event on the timeline and into the chart; return its second."""
        self.tell(event)
        self.marks.append({"seconds": self.timeline[-1]["seconds"], "label": label})
        return float(self.timeline[-1]["seconds"])

    def mark_past(self, label: str, moment: datetime, event: str) -> None:
        """Put an event that was found out later where it belongs on the timeline and in the chart."""
        seconds = round((moment - self.started_at).total_seconds(), 2)
        for each in ({"seconds": seconds, "event": event}, {"seconds": seconds, "label": label}):
            found = self.timeline if "event" in each else self.marks
            found.append(each)
            found.sort(key=itemgetter("seconds"))

    def sample(self, spend: Decimal) -> None:
        """Keep the agent's spend as it is now."""
        self.samples.append({"seconds": self.seconds, "spend_usd": spend})

    def print_timeline(self) -> None:
        """Print what happened when."""
        table = Table(title="What happened when", title_justify="left", show_edge=False)
        table.add_column("second", justify="right")
        table.add_column("event")
        for each in self.timeline:
            table.add_row(f"{each['seconds']:.1f}", each["event"])
        self.console.print()
        self.console.print(table)
