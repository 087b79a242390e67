"""An IAM evaluator the project did not write: principalmapper (AGPL; used by tests only, never shipped)."""

import collections
import collections.abc
import importlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

ACCOUNT = "123456789012"

ALLOW_ALL: Mapping[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def _imported(*names: str) -> list[ModuleType]:
    # It was written for Pythons that still had these two in `collections`; they are there only while it is imported.
    lent = {name: getattr(collections.abc, name) for name in ("Mapping", "MutableMapping")}
    vars(collections).update(lent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [importlib.import_module(name) for name in names]
    finally:
        for name in lent:
            del vars(collections)[name]


_common, _interface = _imported("principalmapper.common", "principalmapper.querying.query_interface")


def role(name: str) -> str:
    """Return the ARN of a role of the account; the name may carry a path."""
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def user(name: str) -> str:
    """Return the ARN of a user of the account; the name may carry a path."""
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


def allowed(
    principal: str,
    documents: Sequence[Mapping[str, Any]],
    action: str,
    resource: str = "*",
    **context: str,
) -> bool:
    """Tell whether a principal with these policies may do this. A context key is written ``service__Key``."""
    keys = {key.replace("__", ":").replace("_", "-"): value for key, value in context.items()}
    return may(principal, documents, action, resource, keys)


def may(
    principal: str,
    documents: Sequence[Mapping[str, Any]],
    action: str,
    resource: str,
    context: Mapping[str, str],
    *,
    groups: Sequence[Sequence[Mapping[str, Any]]] = (),
    boundary: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> bool:
    """Tell the same with all there is: each group's policies, a boundary, tags; context keys as AWS writes them."""
    node = _node(principal, documents, groups, boundary, tags)
    return bool(_interface.local_check_authorization(node, action, resource, dict(context)))


def lets_through(documents: Iterable[Mapping[str, Any]], actions: Iterable[str]) -> set[str]:
    """Return the actions that some request could be allowed by one of these, were its resource and context the best.

    An explicit deny is no hindrance: it is judged what could be allowed, not what is.
    """
    allows = [each for document in documents for each in _listed(document["Statement"]) if each["Effect"] == "Allow"]
    patterns = sorted({pattern for each in allows for pattern in _listed(each.get("Action", []))})
    # Allows add up, so that all patterns can be judged together; by as many as the evaluator keeps compiled.
    together = [{"Action": patterns[start : start + _COMPILED]} for start in range(0, len(patterns), _COMPILED)]
    everything_but = [{"NotAction": each["NotAction"]} for each in allows if "NotAction" in each]
    asked = set(actions)
    found: set[str] = set()
    for each in (*together, *everything_but):
        statement = {"Effect": "Allow", "Resource": "*", **each}
        node = _node(role("anyone"), [{"Version": "2012-10-17", "Statement": [statement]}])
        found |= {action for action in asked - found if _interface.local_check_authorization(node, action, "*", {})}
    return found


_COMPILED = 1000


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _node(
    principal: str,
    documents: Sequence[Mapping[str, Any]],
    groups: Sequence[Sequence[Mapping[str, Any]]] = (),
    boundary: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Any:
    return _common.Node(
        arn=principal,
        id_value="AIDA",
        attached_policies=_policies(documents),
        group_memberships=[
            _common.Group(f"arn:aws:iam::{ACCOUNT}:group/g{number}", _policies(each))
            for number, each in enumerate(groups)
        ],
        trust_policy={} if ":role/" in principal else None,
        instance_profile=None,
        num_access_keys=0,
        active_password=False,
        is_admin=False,
        permissions_boundary=None if boundary is None else _policies([boundary])[0],
        has_mfa=False,
        tags=dict(tags or {}),
    )


def _policies(documents: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [
        _common.Policy(f"arn:aws:iam::{ACCOUNT}:policy/p{number}", f"p{number}", dict(document))
        for number, document in enumerate(documents)
    ]
