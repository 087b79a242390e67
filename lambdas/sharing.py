"""Sharing the test events of kill, release and status, so that the console's drop-down holds them at 3 a.m.

The registry they are kept in belongs to everybody in the account: Lambda's console makes it at the first event somebody
shares. It is made where it is missing, and taken away only where this deployment made it and nobody uses it. Nothing
depends on the events, so what fails is told and fails no deployment.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lambdas.core import console
from lambdas.core.errors import AwsCallError


class Registry(Protocol):
    """The registry of shared test events."""

    def description(self) -> str | None:
        """Return what the registry says of itself, None when there is none."""

    def create(self, description: str) -> None:
        """Make the registry."""

    def content(self, name: str) -> str | None:
        """Return a schema, None when there is none."""

    def add(self, name: str, content: str) -> None:
        """Make a schema."""

    def replace(self, name: str, content: str) -> None:
        """Put another content in place of a schema's."""

    def delete(self, name: str) -> None:
        """Delete a schema."""

    def is_empty(self) -> bool:
        """Tell whether the registry holds no schema."""

    def delete_registry(self) -> None:
        """Delete the registry."""


def share(registry: Registry, prefix: str, us: str) -> str:
    """Have the events there, beside those that others share; return in words what failed, empty when nothing did."""
    try:
        if registry.description() is None:
            registry.create(_mark(us))
    except AwsCallError as error:
        return str(error)
    return _each(prefix, lambda name, events: _write(registry, name, events))


def withdraw(registry: Registry, prefix: str, us: str) -> str:
    """Take the events away, and the registry where it is ours and empty; return in words what failed."""
    failed = _each(prefix, lambda name, _: registry.delete(name))
    try:
        if not failed and registry.description() == _mark(us) and registry.is_empty():
            registry.delete_registry()
    except AwsCallError as error:
        return str(error)
    return failed


def _mark(us: str) -> str:
    return f"Shared test events of Lambda functions. Made by the Bedrock spend guardrail {us}."


def _write(registry: Registry, name: str, events: Mapping[str, Mapping[str, Any]]) -> None:
    before = registry.content(name)
    wanted = console.document(events, before)
    if before is None:
        registry.add(name, wanted)
    elif not console.same(before, wanted):
        registry.replace(name, wanted)


def _each(prefix: str, act: Callable[[str, Mapping[str, Mapping[str, Any]]], None]) -> str:
    failed = []
    for word, events in console.EVENTS.items():
        try:
            act(console.schema_name(f"{prefix}-{word}"), events)
        except AwsCallError as error:
            failed.append(f"{word}: {error}")
    return "; ".join(failed)
