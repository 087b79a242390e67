"""The IAM permission beside the call it is for: the stack grants what the methods a function uses declare."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ParamSpec, TypeVar


class On(Enum):
    """What a permission reaches. The stack knows the ARNs and conditions; `stacks/grants.py` has one line for each."""

    EVERYTHING = "reads for which AWS knows no narrower resource"
    OWN_POLICIES = "the two policies of the guardrail"
    PRINCIPALS_WITH_BRAKE = "roles and users, the brake policy alone"
    PRINCIPALS_WITH_SWEEP = "roles and users, the sweep policy alone"
    PRINCIPALS_WITH_EITHER = "roles and users, the two policies alone"
    BATCH_JOBS = "batch inference jobs of this account"
    LEDGER = "the ledger table"
    NOTICES = "the topic people are mailed through"
    BUDGET = "the budget of this stack"
    STOP_FUNCTION = "the stop function"


@dataclass(frozen=True, slots=True)
class Permission:
    """IAM actions and what they reach."""

    actions: tuple[str, ...]
    on: On


_ATTRIBUTE = "__permissions__"
_P = ParamSpec("_P")
_R = TypeVar("_R")


def needs(*actions: str, on: On) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Declare the IAM actions the calls inside a method need."""

    def mark(method: Callable[_P, _R]) -> Callable[_P, _R]:
        setattr(method, _ATTRIBUTE, (*getattr(method, _ATTRIBUTE, ()), Permission(actions, on)))
        return method

    return mark


def permissions_of(uses: Iterable[Callable[..., Any]]) -> tuple[Permission, ...]:
    """Return the permissions of the methods a function uses."""
    return tuple(permission for method in uses for permission in getattr(method, _ATTRIBUTE))
