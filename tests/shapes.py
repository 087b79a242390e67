"""Answers as the SDK's service models shape them, for operations that moto does not have."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import botocore.session

from lambdas.aws.work import ROWS, Look, action_of

MADE = datetime(2026, 11, 1, tzinfo=UTC)


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


def operation(call: str) -> Any:
    """Return the model of a call: ``bedrock-agent:ListFlows``."""
    service, _, name = call.partition(":")
    return _session().get_service_model(service).operation_model(name)


def item_of(look: Look) -> Any:
    """Return the shape of what a look lists."""
    return operation(look.call).output_shape.members[look.items].member


def shaped(shape: Any, name: str = "") -> Any:
    """Return an answer of a shape with all that it must have: words for strings, the first of an enumeration."""
    if shape is None:
        return {}
    if shape.type_name == "structure":
        wanted = list(shape.members)[:1] if shape.is_tagged_union else shape.required_members
        return {each: shaped(shape.members[each], each) for each in wanted}
    if shape.type_name == "list":
        return [shaped(shape.member, name)]
    by_type = {"timestamp": MADE, "integer": 1, "long": 1, "boolean": True, "float": 1.0, "map": {}}
    enum = getattr(shape, "enum", None)
    return by_type.get(shape.type_name, enum[0] if enum else f"{name}-of-it-long-enough-for-any-pattern")


def nothing_runs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give an answer to each look for work, by IAM action: none is there."""
    for row in ROWS:
        yield from ((action_of(look.call), {look.items: []}) for look in row.looks)


def everything_runs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give an answer to each call about work, by IAM action: one of each kind runs, and may be stopped."""
    for row in ROWS:
        for look in row.looks:
            running = {row.status: row.running[0]} if look is row.looks[-1] and row.running else {}
            yield action_of(look.call), {look.items: [shaped(item_of(look)) | running]}
        for call in (row.detail and row.detail.call, row.stop):
            if call:
                yield action_of(call), shaped(operation(call).output_shape)
        if row.tags:
            yield action_of(row.tags.call), {row.tags.items: []}
