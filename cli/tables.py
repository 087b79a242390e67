"""Answers as people read them. Names, reasons and errors come from others: none of it may steer the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_MOST = 15
"""Lines of a list on a screen; ``--json`` has all of it."""
_MARKS = {"ok": "green", "warn": "yellow", "bad": "bold red", "unknown": "magenta"}


def printable(words: object) -> str:
    """Return the text without what a terminal would take for a command."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in str(words))


def plain(words: object, style: str = "") -> Text:
    """Return the text as it is: rich must not take a bracket in it for markup."""
    return Text(printable(words), style=style)


def show(console: Console, body: Mapping[str, Any]) -> None:
    """Show any answer: its summary first, then each field, long lists cut."""
    console.print(plain(body.get("summary", ""), "bold"), soft_wrap=True)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in body.items():
        if name != "summary" and value not in (None, "", [], {}, ()):
            table.add_row(plain(str(name).replace("_", " ")), plain("\n".join(_lines(value))))
    console.print(table)


def _lines(value: object) -> list[str]:
    """Return a JSON value as lines."""
    match value:
        case bool():
            return ["yes" if value else "no"]
        case Mapping():
            return _cut([line for name, each in value.items() for line in _under(str(name), each)])
        case list() | tuple():
            return _cut([" · ".join(_lines(each)) for each in value])
        case _:
            return [str(value)]


def _under(name: str, value: object) -> list[str]:
    if isinstance(value, Mapping | list | tuple) and not value:
        return []
    lines = _lines(value)
    return [f"{name}: {lines[0]}"] if len(lines) == 1 else [f"{name}:", *(f"  {line}" for line in lines)]


def _cut(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST
    return [*lines[:_MOST], *([f"… and {more} more (--json has all)"] if more > 0 else [])]


def show_findings(console: Console, body: Mapping[str, Any]) -> None:
    """Show what the doctor found, and what to do about what is not well."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for each in body["findings"]:
        words = plain(each["words"])
        if each["todo"]:
            words.append(plain(f"\n→ {each['todo']}", "dim"))
        table.add_row(plain(each["mark"], _MARKS[each["mark"]]), plain(each["topic"]), words)
    console.print(table)
    console.print(plain(body["summary"], "bold"), soft_wrap=True)


def show_prices(console: Console, body: Mapping[str, Any]) -> None:
    """Show what models cost."""
    models: Iterable[Mapping[str, Any]] = body.get("models", ())
    if models:
        kinds = ("input", "output", "cache_read", "cache_write", "image")
        table = Table(title="USD per million tokens, or per image", title_justify="left")
        for each in ("model", *(kind.replace("_", " ") for kind in kinds), "source"):
            table.add_column(each, justify="left" if each in {"model", "source"} else "right", overflow="fold")
        for model in models:
            table.add_row(*(plain(model[name]) for name in ("model", *kinds, "source")))
        console.print(table)
    show(console, {name: value for name, value in body.items() if name != "models"})
