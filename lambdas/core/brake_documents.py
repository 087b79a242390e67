"""The policy documents of the brake, one for each level."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from lambdas.core import actions, model_ids
from lambdas.core.errors import GuardrailError
from lambdas.core.levels import SID_OF, Document, Level
from lambdas.core.prices import PriceTable
from lambdas.core.principals import principal_pattern

MAX_DOCUMENT_CHARACTERS = 6144
"""IAM's limit for a managed policy, white space not counted."""

_MAKER = re.compile(r"^[a-z0-9]+\.[a-z]")


class BrakeDocumentError(GuardrailError):
    """A brake document IAM would not take."""


def size(document: Document) -> int:
    """Return the characters IAM counts."""
    return sum(not character.isspace() for character in json.dumps(document, separators=(",", ":")))


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """What the user decides about the documents."""

    exempt: tuple[str, ...] = ()
    step_down_output_usd: Decimal = Decimal(15)
    """USD per million output tokens; dearer models are denied at step-down."""
    external_anthropic: bool = False


def documents(settings: DocumentSettings, prices: PriceTable) -> dict[Level, Document]:
    """Return the three documents. Raises BrakeDocumentError when one does not fit IAM's limit."""
    spared = [principal_pattern(each) for each in settings.exempt]
    rendered = {
        Level.RELEASED: _released(),
        Level.STEP_DOWN: _step_down(settings, prices, spared),
        Level.STOP: _stop(settings, spared),
    }
    for level, document in rendered.items():
        if (characters := size(document)) > MAX_DOCUMENT_CHARACTERS:
            msg = (
                f"guardrail.toml: exempt.principals, step_down.output_usd_per_million: the {level} document of the "
                f"brake policy has {characters} characters, IAM takes {MAX_DOCUMENT_CHARACTERS}: name fewer "
                "principals, with * if need be, or raise the price"
            )
            raise BrakeDocumentError(msg)
    return rendered


def _document(statements: Sequence[Mapping[str, Any]]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _deny(
    sid: str,
    denied: Iterable[str],
    spared: Sequence[str],
    condition: Mapping[str, Any] | None = None,
    resource: str | list[str] = "*",
) -> dict[str, Any]:
    conditions = dict(condition or {})
    if spared:
        # The deny itself spares the exempt, whoever attaches the policy to them.
        conditions["ArnNotLike"] = {"aws:PrincipalArn": list(spared)}
    statement = {"Sid": sid, "Effect": "Deny", "Action": list(denied), "Resource": resource}
    return statement | ({"Condition": conditions} if conditions else {})


def _released() -> Document:
    # A policy needs a statement. This one can never match: it is always later than 1970.
    never = {"DateLessThan": {"aws:CurrentTime": "1970-01-01T00:00:00Z"}}
    return _document([_deny(SID_OF[Level.RELEASED], ["bedrock:InvokeModel"], [], never)])


def _stop(settings: DocumentSettings, spared: Sequence[str]) -> Document:
    denied = actions.spend_patterns(external_anthropic=settings.external_anthropic)
    # Resource is * on purpose: a Region condition would miss global inference profiles.
    return _document([_deny(SID_OF[Level.STOP], denied, spared)])


def _step_down(settings: DocumentSettings, prices: PriceTable, spared: Sequence[str]) -> Document:
    dear = dear_model_patterns(prices, settings.step_down_output_usd)
    statements = [_deny(SID_OF[Level.STEP_DOWN], actions.standing_cost_patterns(), spared)]
    if dear:
        statements += [
            _deny(
                "DearModels",
                actions.INVOKE_ACTIONS,
                spared,
                None,
                [f"arn:*:bedrock:*::foundation-model/{each}" for each in dear],
            ),
            _deny(
                "DearModelsMantle",
                [actions.MANTLE_INVOKE_ACTION],
                spared,
                {"StringLike": {"bedrock-mantle:Model": list(dear)}},
            ),
        ]
    statements += [
        _deny("DearTiers", actions.INVOKE_ACTIONS, spared, {"StringEquals": {"bedrock:ServiceTier": "priority"}}),
        _deny(
            "DearTiersMantle",
            [actions.MANTLE_INVOKE_ACTION],
            spared,
            {"StringEquals": {"bedrock-mantle:ServiceTier": "priority"}},
        ),
    ]
    return _document(statements)


def dear_model_patterns(prices: PriceTable, output_usd: Decimal) -> tuple[str, ...]:
    """Return patterns of bare model ids whose output costs more than so many USD per million tokens.

    A model that is dear in one geography is dear everywhere: the foundation model behind all profiles is one.
    """
    dear, others = (
        {(each[0], model_ids.without_geography(each[1:].removeprefix("/"))) for each in matchers}
        # The last price known, not today's: a template must not change because a day has passed.
        for matchers in prices.models_dearer_than(output_usd, date.max)
    )
    cheap = {bare for _, bare in others - dear}
    patterns = set()
    for sign, bare in dear:
        if _MAKER.match(bare):
            # The plain id and its -v1:0 in one pattern, unless a cheaper model's id begins the same way.
            exact = sign in "=$" and any(each.startswith(bare) for each in cheap)
            patterns.add(bare if exact else f"{bare}*")
        elif sign == "~":
            patterns.add(f"*{bare}*")
        # Else it is a spelling without its maker, which Bedrock does not use; its full id is here too.
    return tuple(
        sorted(
            each for each in patterns if not any(other != each and actions.matches(other, each) for other in patterns)
        )
    )
