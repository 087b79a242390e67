"""The policy documents of the brake, one for each level, with what is stopped alone in each of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lambdas.core import actions, inline_deny, model_ids
from lambdas.core.errors import GuardrailError, RefusedError
from lambdas.core.levels import SID_OF, Document, Level
from lambdas.core.principals import principal_pattern, split_tag
from lambdas.core.scopes import Scope, ScopeKind, is_exact, mantle_models, parse_scope, runtime_models

if TYPE_CHECKING:  # the kill path reads documents and must not load what prices them
    from lambdas.core.prices import PriceTable

MAX_DOCUMENT_CHARACTERS = 6144
"""IAM's limit for a managed policy, white space not counted."""

_DENY_SID = "BedrockSpendDeny"
_CANARY_SID = "BedrockSpendDrill"
_BUDGET_SID = "BedrockSpendBudgetStop"
_NARROW = "Narrow"
"""How the Sids of the statements begin that stop something alone."""
_SESSIONS, _SOURCE_IDENTITIES, _RESOURCES, _MODELS_MANTLE, _TAGGED = (
    f"{_NARROW}{each}" for each in ("Sessions", "SourceIdentities", "Resources", "ModelsMantle", "Tagged")
)
_INVOKE = "bedrock:InvokeModel*"
"""Both of `actions.INVOKE_ACTIONS` in few characters."""
_MODEL, _PROFILE, _PROJECT, _RUNTIME_PROJECT = (
    "arn:*:bedrock:*::foundation-model/",
    "arn:*:bedrock:*:*:application-inference-profile/",
    "arn:*:bedrock-mantle:*:*:project/",
    # The Responses API of bedrock-runtime runs in projects too.
    "arn:*:bedrock:*:*:project/",
)

_MAKER = re.compile(r"^[a-z0-9]+\.[a-z]")


class BrakeDocumentError(GuardrailError):
    """A brake document IAM would not take, or that says something nobody can read."""


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
    exempt_tag: str = ""
    """``KEY=VALUE``: principals with this tag are exempt too; empty for no tag."""
    canary: str = ""
    """Who is drilled with, as ``role/NAME``; empty for nobody."""


def documents(settings: DocumentSettings, prices: PriceTable, scopes: Iterable[Scope] = ()) -> dict[Level, Document]:
    """Return the three documents, each with the narrow statements behind its own.

    Raises BrakeDocumentError when one does not fit IAM's limit, RefusedError when only the scopes make it so or one
    is a principal: that is stopped by the deny policy.
    """
    deny = _Deny.sparing(settings)
    narrow = sorted(set(scopes))
    spend = actions.spend_patterns(external_anthropic=settings.external_anthropic)
    own = {
        Level.RELEASED: [_released()],
        Level.STEP_DOWN: _step_down(settings, prices, deny),
        # Resource is * on purpose: a Region condition would miss global inference profiles.
        Level.STOP: [deny.statement(SID_OF[Level.STOP], spend)],
    }
    # A stop denies everybody everything: there the session's statement only keeps what is to be denied afterwards.
    all_of_it = {Level.RELEASED: spend, Level.STEP_DOWN: spend, Level.STOP: (_INVOKE,)}
    rendered = {}
    for level, statements in own.items():
        plain = _document(statements)
        if (characters := size(plain)) > MAX_DOCUMENT_CHARACTERS:
            msg = (
                f"guardrail.toml: exempt.principals, step_down.output_usd_per_million: the {level} document of the "
                f"brake policy has {characters} characters, IAM takes {MAX_DOCUMENT_CHARACTERS}: name fewer "
                "principals, with * if need be, or raise the price"
            )
            raise BrakeDocumentError(msg)
        rendered[level] = _document([*statements, *_narrow(narrow, all_of_it[level], deny)])
        if (characters := size(rendered[level])) > MAX_DOCUMENT_CHARACTERS:
            msg = (
                f"nothing was changed: with {', '.join(map(str, narrow))} stopped alone the {level} document of the "
                f"brake policy has {characters} characters, IAM takes {MAX_DOCUMENT_CHARACTERS}: release a narrow stop "
                "first, or stop the principal (role/NAME or user/NAME)"
            )
            raise RefusedError(msg)
    return rendered


def deny_document(settings: DocumentSettings) -> Document:
    """Return what the deny policy says: the stop document, but of no level. Raises BrakeDocumentError.

    The canary is denied what is free as well, for that is all it may do.
    """
    spend = actions.spend_patterns(external_anthropic=settings.external_anthropic)
    statements = [_Deny.sparing(settings).statement(_DENY_SID, spend)]
    if settings.canary:
        canary = {"ArnLike": {"aws:PrincipalArn": principal_pattern(settings.canary)}}
        statements.append(_Deny({}).statement(_CANARY_SID, [actions.COUNT_TOKENS], canary))
    document = _document(statements)
    if (characters := size(document)) > MAX_DOCUMENT_CHARACTERS:
        msg = (
            f"guardrail.toml: exempt.principals: the deny policy has {characters} characters, IAM takes "
            f"{MAX_DOCUMENT_CHARACTERS}: name fewer principals, with * if need be"
        )
        raise BrakeDocumentError(msg)
    return document


def inline_document(settings: DocumentSettings) -> Document:
    """Return what the inline deny says: the same, but known by its own Sid. Raises BrakeDocumentError."""
    # Not what is said of the canary: it has a slot for the policy.
    document = deny_document(replace(settings, canary=""))
    return {**document, "Statement": [{**each, "Sid": inline_deny.SID} for each in document["Statement"]]}


def budget_stop_document(settings: DocumentSettings) -> Document:
    """Return what AWS Budgets attaches by itself: likewise. Raises BrakeDocumentError."""
    document = deny_document(replace(settings, canary=""))
    return {**document, "Statement": [{**each, "Sid": _BUDGET_SID} for each in document["Statement"]]}


def digest(rendered: Iterable[Document]) -> str:
    """Return a word that changes whenever a document does."""
    text = json.dumps(list(rendered), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def narrow_scopes(document: Document) -> tuple[Scope, ...]:
    """Return what a document of ours stops alone, sorted. Raises BrakeDocumentError for what nobody can read."""
    scopes: set[Scope] = set()
    statements = document.get("Statement", [])
    for each in statements if isinstance(statements, list) else [statements]:
        sid = str(each.get("Sid", ""))
        if sid.startswith(_NARROW):
            try:
                scopes |= {parse_scope(text) for text in _spellings(sid, each)}
            except (RefusedError, KeyError, TypeError, AttributeError, ValueError) as error:
                msg = (
                    f"the statement {sid} of the brake policy was edited by hand and cannot be read ({error}): put the "
                    "version of before back, or make another version of the brake policy the default one"
                )
                raise BrakeDocumentError(msg) from error
    return tuple(sorted(scopes))


def _spellings(sid: str, statement: Mapping[str, Any]) -> list[str]:
    if sid == _MODELS_MANTLE:
        return []  # the models are among the resources
    if sid == _RESOURCES:
        return [spelling for each in statement["Resource"] if (spelling := _spelling(each))]
    equals = statement["Condition"]["StringEquals"]
    if sid == _SESSIONS:
        return [f"{ScopeKind.SESSION}:{each}" for each in equals["aws:userid"]]
    if sid == _SOURCE_IDENTITIES:
        return [f"{ScopeKind.SOURCE_IDENTITY}:{each}" for each in equals["aws:SourceIdentity"]]
    if sid.startswith(_TAGGED):
        ((key, values),) = equals.items()
        return [f"{ScopeKind.TAG}:{key.removeprefix('aws:ResourceTag/')}={each}" for each in values]
    msg = "no such statement is known"
    raise ValueError(msg)


def _spelling(resource: str) -> str:
    """Return the scope a resource stands for; empty for what only stands beside another one."""
    if resource.startswith(_MODEL):
        model = resource.removeprefix(_MODEL)
        plain = model.removesuffix("-v?:?")
        return "" if plain != model and is_exact(plain) else f"{ScopeKind.MODEL}:{model}"
    for beginning, kind in ((_PROFILE, ScopeKind.PROFILE), (_PROJECT, ScopeKind.PROJECT)):
        if resource.startswith(beginning):
            return f"{kind}:{resource.removeprefix(beginning)}"
    return "" if resource.startswith(_RUNTIME_PROJECT) else f"{ScopeKind.MODEL}:{resource}"


def _document(statements: Sequence[Mapping[str, Any]]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@dataclass(frozen=True, slots=True)
class _Deny:
    """Writes statements that spare the exempt, whoever attaches the policy to them."""

    spared: Mapping[str, Mapping[str, Any]]

    @classmethod
    def sparing(cls, settings: DocumentSettings) -> _Deny:
        spared: dict[str, Mapping[str, Any]] = {}
        names = dict.fromkeys(settings.exempt)
        # What a pattern covers needs no word of its own: each is paid for in every statement.
        needed = [
            each for each in names if not any(other != each and actions.matches_name(other, each) for other in names)
        ]
        if needed:
            spared["ArnNotLike"] = {"aws:PrincipalArn": [principal_pattern(each) for each in needed]}
        if settings.exempt_tag:
            key, value = split_tag(settings.exempt_tag)
            # True for a principal without the tag, which therefore is denied.
            spared["StringNotEquals"] = {f"aws:PrincipalTag/{key}": value}
        return cls(spared)

    def statement(
        self,
        sid: str,
        denied: Iterable[str],
        condition: Mapping[str, Any] | None = None,
        resource: str | list[str] = "*",
    ) -> dict[str, Any]:
        conditions = {**(condition or {}), **self.spared}
        statement = {"Sid": sid, "Effect": "Deny", "Action": list(denied), "Resource": resource}
        return statement | ({"Condition": conditions} if conditions else {})


def _released() -> dict[str, Any]:
    # A policy needs a statement. This one can never match: it is always later than 1970.
    never = {"DateLessThan": {"aws:CurrentTime": "1970-01-01T00:00:00Z"}}
    return _Deny({}).statement(SID_OF[Level.RELEASED], ["bedrock:InvokeModel"], never)


def _step_down(settings: DocumentSettings, prices: PriceTable, deny: _Deny) -> list[dict[str, Any]]:
    dear = list(dear_model_patterns(prices, settings.step_down_output_usd))
    statements = [deny.statement(SID_OF[Level.STEP_DOWN], actions.standing_cost_patterns())]
    if dear:
        # One statement for both planes, for each carries the list of the exempt. The key is there in every request of
        # bedrock-mantle for inference and in none of bedrock-runtime, where the resource tells the model.
        statements.append(
            deny.statement(
                "DearModels",
                [_INVOKE, actions.MANTLE_INVOKE_ACTION],
                {"StringLikeIfExists": {"bedrock-mantle:Model": dear}},
                [*(f"{_MODEL}{each}" for each in dear), f"{_PROJECT}*"],
            )
        )
    priority = "priority"
    return [
        *statements,
        deny.statement("DearTiers", [_INVOKE], {"StringEquals": {"bedrock:ServiceTier": priority}}),
        deny.statement(
            "DearTiersMantle",
            [actions.MANTLE_INVOKE_ACTION],
            {"StringEquals": {"bedrock-mantle:ServiceTier": priority}},
        ),
    ]


def _narrow(scopes: Sequence[Scope], spend: Iterable[str], deny: _Deny) -> list[dict[str, Any]]:
    """Return the statements that stop the scopes alone; as few as can be, for each carries the list of the exempt."""
    of: dict[ScopeKind, list[str]] = {kind: [] for kind in ScopeKind}
    for each in scopes:
        of[each.kind].append(each.value)
    if principals := [*of[ScopeKind.ROLE], *of[ScopeKind.USER]]:
        msg = f"{', '.join(principals)}: a principal is stopped alone by attaching the deny policy, not by a statement"
        raise RefusedError(msg)
    statements = [
        deny.statement(sid, spend, {"StringEquals": {key: of[kind]}})
        for sid, kind, key in (
            (_SESSIONS, ScopeKind.SESSION, "aws:userid"),
            (_SOURCE_IDENTITIES, ScopeKind.SOURCE_IDENTITY, "aws:SourceIdentity"),
        )
        if of[kind]
    ]
    models = of[ScopeKind.MODEL]
    named = [each for each in models if not each.startswith("arn:")]
    resources = [
        *(f"{_MODEL}{pattern}" for each in named for pattern in runtime_models(each)),
        *(each for each in models if each.startswith("arn:")),
        *(f"{_PROFILE}{each}" for each in of[ScopeKind.PROFILE]),
        *(f"{beginning}{each}" for each in of[ScopeKind.PROJECT] for beginning in (_PROJECT, _RUNTIME_PROJECT)),
    ]
    if resources:
        batch = ["bedrock:CreateModelInvocationJob"] if models else []
        denied = [_INVOKE, *batch, *([actions.MANTLE_INVOKE_ACTION] if of[ScopeKind.PROJECT] else [])]
        statements.append(deny.statement(_RESOURCES, denied, None, resources))
    if named:
        mantle = [pattern for each in named for pattern in mantle_models(each)]
        like = {"StringLike": {"bedrock-mantle:Model": mantle}}
        statements.append(deny.statement(_MODELS_MANTLE, [actions.MANTLE_INVOKE_ACTION], like))
    tags: dict[str, list[str]] = {}
    for key, _, value in (each.partition("=") for each in of[ScopeKind.TAG]):
        tags.setdefault(key, []).append(value)
    statements += [
        deny.statement(
            f"{_TAGGED}{number}",
            [_INVOKE, actions.MANTLE_INVOKE_ACTION],
            {"StringEquals": {f"aws:ResourceTag/{key}": values}},
            [f"{_PROFILE}*", f"{_PROJECT}*", f"{_RUNTIME_PROJECT}*"],
        )
        for number, (key, values) in enumerate(tags.items(), 1)
    ]
    return statements


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
