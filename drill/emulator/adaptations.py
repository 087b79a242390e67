"""The list of what differs from AWS, and the register of what the launcher adds in process."""

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

FILE = Path(__file__).with_name("adaptations.toml")

Kind = Literal["launcher", "template", "drill"]
Patch = Callable[[], None]


class AdaptationError(Exception):
    """An adaptation that is used but not listed, or listed but not used."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """One difference, in one line each: what AWS does and what was done instead."""

    id: str
    kind: Kind
    aws: str
    here: str


_patches: dict[str, Patch] = {}


def load(path: Path = FILE) -> dict[str, Adaptation]:
    """Read the list, keyed by id."""
    entries = cast("list[dict[str, str]]", tomllib.loads(path.read_text())["adaptation"])
    listed = {entry["id"]: Adaptation(**entry) for entry in entries}  # type: ignore[arg-type]
    if len(listed) != len(entries):
        message = f"{path.name} names an id twice"
        raise AdaptationError(message)
    return listed


def launcher_patch(identifier: str) -> Callable[[Patch], Patch]:
    """Register the function that brings the adaptation of that id into the emulator."""

    def register(patch: Patch) -> Patch:
        if identifier in _patches:
            message = f"two patches claim {identifier!r}"
            raise AdaptationError(message)
        _patches[identifier] = patch
        return patch

    return register


def check_used(kind: Kind, used: Iterable[str]) -> None:
    """Raise unless the ids in use are exactly the listed ones of that kind."""
    listed = {entry.id for entry in load().values() if entry.kind == kind}
    unlisted, unused = sorted(set(used) - listed), sorted(listed - set(used))
    if unlisted or unused:
        message = f"{FILE.name}: {kind} ids not listed {unlisted}, listed but not used {unused}"
        raise AdaptationError(message)


def patches() -> dict[str, Patch]:
    """Every registered patch, after checking that the list and the code agree."""
    check_used("launcher", _patches)
    return dict(_patches)
