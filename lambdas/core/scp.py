"""The service control policy of organization mode: a stop also for those to whom IAM lets nobody attach a policy."""

import json
from typing import Any

from lambdas.core import actions
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import SID_OF, Document, Level
from lambdas.core.principals import Spared, principal_pattern, split_tag

MAX_CHARACTERS = 5120
"""What AWS Organizations has always taken; newer organizations take 10,240."""


class ScpError(GuardrailError):
    """A service control policy that AWS Organizations would not take."""


def stop_scp(spared: Spared, *, external_anthropic: bool) -> Document:
    """Return the SCP that denies every spend action to all but the spared. Raises ScpError when it is too long.

    The functions that stop and release need no exemption: they do not spend.
    """
    statement: dict[str, Any] = {
        "Sid": SID_OF[Level.STOP],
        "Effect": "Deny",
        "Action": list(actions.spend_patterns(external_anthropic=external_anthropic)),
        "Resource": "*",
    }
    conditions: dict[str, Any] = {}
    if spared.exempt:
        conditions["ArnNotLike"] = {"aws:PrincipalArn": [principal_pattern(each) for each in spared.exempt]}
    if spared.tag:
        key, value = split_tag(spared.tag)
        # Conditions of a statement are and-ed: who carries the tag is spared, and so is who is named.
        conditions["StringNotEquals"] = {f"aws:PrincipalTag/{key}": value}
    if conditions:
        statement["Condition"] = conditions
    document = {"Version": "2012-10-17", "Statement": [statement]}
    if (characters := len(json.dumps(document, separators=(",", ":")))) > MAX_CHARACTERS:
        msg = (
            f"the service control policy would have {characters} characters, AWS Organizations takes "
            f"{MAX_CHARACTERS}: name fewer exempt.principals, with * if need be"
        )
        raise ScpError(msg)
    return document


def differs(content: str, wanted: Document) -> bool:
    """Tell whether an SCP as AWS Organizations has it says anything but what is wanted."""
    return _read(content) != wanted


def spares_others(content: str, wanted: Document) -> bool:
    """Tell whether it exempts others than is wanted, so that it could hit somebody who is never to be touched."""
    found = _read(content)
    statements = found.get("Statement") if isinstance(found, dict) else None
    if not isinstance(statements, list) or not all(isinstance(each, dict) for each in statements):
        return True
    exemptions = [each.get("Condition") for each in wanted["Statement"]]
    return [each.get("Condition") for each in statements] != exemptions


def _read(content: str) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None
