"""An IAM evaluator the project did not write: principalmapper (AGPL; used by tests only, never shipped)."""

import collections
import collections.abc
import importlib
import warnings
from collections.abc import Mapping, Sequence
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
    is_role = ":role/" in principal
    node = _common.Node(
        arn=principal,
        id_value="AIDA",
        attached_policies=[
            _common.Policy(f"arn:aws:iam::{ACCOUNT}:policy/p{number}", f"p{number}", dict(document))
            for number, document in enumerate(documents)
        ],
        group_memberships=None,
        trust_policy={} if is_role else None,
        instance_profile=None,
        num_access_keys=0,
        active_password=False,
        is_admin=False,
        permissions_boundary=None,
        has_mfa=False,
        tags=None,
    )
    keys = {key.replace("__", ":").replace("_", "-"): value for key, value in context.items()}
    return bool(_interface.local_check_authorization(node, action, resource, keys))
