"""The reference of guardrail.toml, made from the types that check it: ``make docs`` writes docs/configuration.md."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen
from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo

from stacks.configuration import File, Rule, Table

_HEAD = """# Configuration

Every key of `guardrail.toml`, made from the types that check it (`make docs`). A key that is not here, a value that
breaks its rule, or a table in the wrong place fails at synthesis, before anything is deployed, with file, key, value
and rule. The comments in [guardrail.toml](../guardrail.toml) say more on what to choose.
"""
_ROW = "| Key | Must be | Default | |\n|---|---|---|---|"


def markdown() -> str:
    """Return the whole page."""
    return _HEAD + "\n" + "\n".join(_section("", File)) + "\n"


def _section(path: str, table: type[Table]) -> Iterator[str]:
    """Yield a heading, a row for each key that is a value, and the sections of those that are tables."""
    inner = {name: found for name, each in table.model_fields.items() if (found := _table(each.annotation))}
    plural = {name for name in inner if get_origin(table.model_fields[name].annotation) is list}
    rows = [_row(name, each) for name, each in table.model_fields.items() if name not in inner]
    if path:
        yield f"## `{path}`\n"
    yield " ".join((table.__doc__ or "").split()) + "\n"
    yield "\n".join([_ROW, *rows]) + "\n"
    for name, each in inner.items():
        under = f"{path.strip('[]')}.{name}" if path else name
        yield from _section(f"[[{under}]]" if name in plural else f"[{under}]", each)


def _table(annotation: Any) -> type[Table] | None:  # noqa: ANN401 - an annotation may be anything
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next((found for each in get_args(annotation) if (found := _table(each))), None)


def _row(name: str, field: FieldInfo) -> str:
    must = "; ".join(_rules(field.annotation, field.metadata))
    default = "needed" if field.is_required() else _default(field.default)
    said = " ".join((field.description or "").split())
    return f"| `{name}` | {_cell(must)} | {default} | {_cell(said)} |"


def _rules(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[str]:  # noqa: ANN401, C901 - one branch a type
    """Yield what a value must be, in words."""
    checks = [each.func if isinstance(each, AfterValidator | BeforeValidator) else each for each in metadata]
    said = [each.rule.removeprefix("must be ") for each in checks if isinstance(each, Rule)]
    if said:
        yield from said
        return
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        for each in args:
            if each is not NoneType:
                yield from _rules(each, metadata)
    elif origin is Literal:
        yield " or ".join(f'`"{each}"`' for each in args)
    elif origin is list:
        most = next((f", at most {each.max_length}" for each in checks if isinstance(each, MaxLen)), "")
        yield f"a list{most}, each {'; '.join(_rules(args[0]))}"
    elif origin is dict:
        yield f"a table, each {'; '.join(_rules(args[1]))}"
    elif hasattr(annotation, "__metadata__"):
        yield from _rules(args[0], annotation.__metadata__)
    elif annotation is bool:
        yield "`true` or `false`"
    elif annotation is int:
        yield f"a whole number from {_bound(checks, Ge, 'ge')} to {_bound(checks, Le, 'le')}"
    else:
        msg = f"no words for {annotation!r}: give it a Rule"
        raise TypeError(msg)


def _bound(checks: Sequence[Any], kind: type, name: str) -> str:
    return next((f"{getattr(each, name):,}" for each in checks if isinstance(each, kind)), "any")


def _default(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case Decimal() | int():
            return f"`{value}`"
        case str():
            return f'`"{value}"`'
        case _:
            return "empty"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201 - its only output
