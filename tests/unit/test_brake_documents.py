"""The three documents of the brake policy, judged by an IAM evaluator the project did not write."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from lambdas.core.brake_documents import (
    MAX_DOCUMENT_CHARACTERS,
    BrakeDocumentError,
    DocumentSettings,
    dear_model_patterns,
    deny_document,
    digest,
    documents,
    narrow_scopes,
    size,
)
from lambdas.core.errors import RefusedError
from lambdas.core.levels import Level, level_of
from lambdas.core.prices import TABLE_FILE, ListedPrice, PriceTable, Scope
from lambdas.core.scopes import parse_scope
from lambdas.core.usage import Tier
from lambdas.installing import document_settings
from stacks.configuration import load
from tests.infra.judge import ALLOW_ALL, allowed, role, user
from tests.infra.spend_actions import SPEND, spend_actions

SHIPPED = Path(__file__).parents[2] / "guardrail.toml"

CALLERS = [role("agents"), role("team/path/agents"), user("dev"), user("team/dev")]

UNTOUCHED = [
    "s3:GetObject",
    "ec2:RunInstances",
    "iam:DetachRolePolicy",
    "bedrock:ListFoundationModels",
    "bedrock:StopModelInvocationJob",
    "bedrock:GetModelInvocationJob",
    "bedrock:DeleteProvisionedModelThroughput",
    "bedrock:CountTokens",
    "bedrock-mantle:CancelInference",
    "bedrock-agentcore:StopRuntimeSession",
]

OPUS = "anthropic.claude-opus-4-20250514-v1:0"
"""USD 75 per million output tokens: dear at the shipped USD 15."""

NOVA_LITE = "amazon.nova-lite-v1:0"
"""USD 0.24 per million output tokens."""

INVOKES = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]


@cache
def rendered(exempt=(), *, external_anthropic=False, output_usd=15):
    settings = DocumentSettings(exempt, Decimal(output_usd), external_anthropic)
    return documents(settings, PriceTable.load())


def with_brake(level, exempt=(), *, external_anthropic=False):
    return [ALLOW_ALL, rendered(exempt, external_anthropic=external_anthropic)[level]]


def foundation_model(model, region="us-east-1"):
    return f"arn:aws:bedrock:{region}::foundation-model/{model}"


def test_the_shipped_configuration_fits_iam():
    configuration = load(SHIPPED)
    settings = document_settings(configuration.settings)
    sizes = {level: size(each) for level, each in documents(settings, PriceTable.load()).items()}
    assert set(sizes) == set(Level)
    assert max(sizes.values()) <= MAX_DOCUMENT_CHARACTERS == 6144


def test_ten_exempt_principals_fit_iam():
    exempt = tuple(f"role/ops/break-glass-{number:02}" for number in range(10))
    sizes = {level: size(each) for level, each in rendered(exempt, external_anthropic=True).items()}
    assert max(sizes.values()) <= MAX_DOCUMENT_CHARACTERS


def test_characters_are_counted_as_iam_counts_them():
    document = {"Version": "2012-10-17", "Statement": [{"Sid": "A B", "Effect": "Deny"}]}
    # Every character of the JSON but white space, that within strings included.
    assert size(document) == len('{"Version":"2012-10-17","Statement":[{"Sid":"AB","Effect":"Deny"}]}')


def test_documents_too_large_for_iam_are_refused_with_what_to_do():
    exempt = tuple(f"role/{'x' * 60}{number}" for number in range(90))
    with pytest.raises(BrakeDocumentError, match=r"exempt\.principals.* has \d+ characters, IAM takes 6144"):
        rendered(exempt)


@pytest.mark.parametrize("level", Level)
def test_each_document_says_which_level_it_is(level):
    document = rendered()[level]
    assert level_of(document) is level
    assert level_of(json.dumps(document)) is level


@pytest.mark.parametrize(
    "foreign",
    [
        {"Version": "2012-10-17", "Statement": []},
        {"Version": "2012-10-17"},
        {"Statement": {"Sid": "BedrockSpendStopped", "Effect": "Deny"}},
        {"Statement": {"Effect": "Deny"}},
        {"Statement": [{"Sid": "Mine"}, {"Sid": "BedrockSpendStop"}]},
        {"Statement": "BedrockSpendStop"},
        ALLOW_ALL,
    ],
)
def test_a_foreign_document_is_of_no_level(foreign):
    assert level_of(foreign) is None


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("action", spend_actions())
def test_a_stop_denies_an_administrator_every_action_that_spends(caller, action):
    assert allowed(caller, [ALLOW_ALL], action)
    assert not allowed(caller, with_brake(Level.STOP), action)


@pytest.mark.parametrize("action", [f"aws-external-anthropic:{name}" for name in SPEND["aws-external-anthropic"]])
def test_a_stop_reaches_claude_platform_where_configured(action):
    assert allowed(role("agents"), with_brake(Level.STOP), action)
    assert not allowed(role("agents"), with_brake(Level.STOP, external_anthropic=True), action)


@pytest.mark.parametrize("action", INVOKES)
@pytest.mark.parametrize(
    "resource",
    [
        foundation_model(NOVA_LITE),
        foundation_model(NOVA_LITE, region=""),
        "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl",
        "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl",
        "arn:aws:bedrock:us-east-1:123456789012:project/default",
    ],
)
def test_a_stop_leaves_no_model_open(action, resource):
    assert allowed(role("agents"), [ALLOW_ALL], action, resource)
    assert not allowed(role("agents"), with_brake(Level.STOP), action, resource)


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("action", UNTOUCHED)
def test_what_is_not_spend_stays_allowed_at_every_level(level, action):
    assert all(allowed(caller, with_brake(level), action) for caller in CALLERS)


@pytest.mark.parametrize("action", spend_actions(external_anthropic=True))
def test_a_released_brake_denies_nothing(action):
    assert allowed(role("agents"), with_brake(Level.RELEASED), action)
    assert allowed(user("dev"), with_brake(Level.RELEASED), action, foundation_model(OPUS))


@pytest.mark.parametrize("action", spend_actions())
def test_an_exempt_principal_may_do_everything_with_the_brake_on_it(action):
    exempt = ("role/break-glass", "user/ops/*")
    for level in Level:
        policies = with_brake(level, exempt)
        assert allowed(role("break-glass"), policies, action)
        assert allowed(user("ops/on-call"), policies, action)


@pytest.mark.parametrize(
    "caller",
    [
        role("break-glass2"),
        role("break-glas"),
        role("a-break-glass"),
        role("evil/break-glass"),
        user("break-glass"),
        user("on-call"),
        user("opsx/on-call"),
    ],
)
def test_a_name_like_an_exempt_one_is_not_exempt(caller):
    policies = with_brake(Level.STOP, ("role/break-glass", "user/ops/*"))
    assert not allowed(caller, policies, "bedrock:InvokeModel")


@pytest.mark.parametrize("action", INVOKES)
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "", "unspecified"])
def test_a_step_down_denies_dear_models_and_leaves_cheap_ones(action, region):
    policies = with_brake(Level.STEP_DOWN)
    assert not allowed(role("agents"), policies, action, foundation_model(OPUS, region))
    assert allowed(role("agents"), policies, action, foundation_model(NOVA_LITE, region))


def test_a_step_down_denies_dear_models_on_the_other_plane_too():
    policies = with_brake(Level.STEP_DOWN)
    project = "arn:aws:bedrock-mantle:us-east-1:123456789012:project/default"
    create = "bedrock-mantle:CreateInference"
    assert not allowed(
        role("agents"), policies, create, project, bedrock_mantle__Model="anthropic.claude-opus-4-20250514"
    )
    assert allowed(role("agents"), policies, create, project, bedrock_mantle__Model="openai.gpt-oss-20b")


@pytest.mark.parametrize(
    ("action", "key", "resource"),
    [
        *((action, "bedrock__ServiceTier", foundation_model(NOVA_LITE)) for action in INVOKES),
        ("bedrock-mantle:CreateInference", "bedrock_mantle__ServiceTier", "*"),
    ],
)
def test_a_step_down_denies_the_priority_tier_and_no_other(action, key, resource):
    policies = with_brake(Level.STEP_DOWN)
    assert not allowed(role("agents"), policies, action, resource, **{key: "priority"})
    assert allowed(role("agents"), policies, action, resource, **{key: "flex"})
    # The key is absent when the caller names no tier.
    assert allowed(role("agents"), policies, action, resource)


@pytest.mark.parametrize(
    "action",
    [
        "bedrock:CreateProvisionedModelThroughput",
        "bedrock:UpdateProvisionedModelThroughput",
        "bedrock:CreateModelInvocationJob",
        "bedrock:CreateModelCustomizationJob",
        "bedrock:CreateCustomModelDeployment",
        "bedrock:CreateMarketplaceModelEndpoint",
        "bedrock:CreateKnowledgeBase",
        "bedrock-mantle:CreateReservation",
        "bedrock-mantle:CreateFineTuningJob",
        "bedrock-agentcore:CreateCapacityProvider",
    ],
)
def test_a_step_down_denies_what_would_cost_by_the_hour(action):
    assert not allowed(role("agents"), with_brake(Level.STEP_DOWN), action)


@pytest.mark.parametrize("action", ["bedrock:InvokeModel", "bedrock:ApplyGuardrail", "bedrock:Retrieve"])
def test_a_step_down_lets_everyday_work_go_on(action):
    assert allowed(role("agents"), with_brake(Level.STEP_DOWN), action, foundation_model(NOVA_LITE))


def test_everything_a_step_down_denies_a_stop_denies_too():
    probes = [
        *((action, "*", {}) for action in spend_actions()),
        *((action, foundation_model(OPUS), {}) for action in INVOKES),
        *((action, "*", {"bedrock__ServiceTier": "priority"}) for action in INVOKES),
    ]
    denied = [
        probe
        for probe in probes
        if not allowed(role("agents"), with_brake(Level.STEP_DOWN), probe[0], probe[1], **probe[2])
    ]
    assert len(denied) > 10
    assert [
        action
        for action, resource, context in denied
        if allowed(role("agents"), with_brake(Level.STOP), action, resource, **context)
    ] == []


def test_the_dear_models_follow_the_price_the_user_sets():
    prices = PriceTable.load()
    few, many = (dear_model_patterns(prices, Decimal(usd)) for usd in (60, 2))
    assert few
    assert len(many) > len(few)
    assert dear_model_patterns(prices, Decimal(1_000_000)) == ()


def known_ids():
    """Return every id of the price table that a foundation-model ARN could end with."""
    ids = [row["id"] for row in json.loads(TABLE_FILE.read_text(encoding="utf-8"))["models"]]
    return [f"{each}{suffix}" for each in ids for suffix in ("", "-v1", "-v1:0")]


@pytest.mark.parametrize("usd", [5, 15, 20, 60])
def test_a_step_down_denies_the_models_dearer_than_the_price_and_no_others(usd):
    prices, at = PriceTable.load(), datetime(2099, 1, 1, tzinfo=UTC)
    document = rendered(output_usd=usd)[Level.STEP_DOWN]
    wrong, judged = [], 0
    for model in known_ids():
        names = [f"{geography}{model}" for geography in ("", "us.", "eu.", "jp.", "global.")]
        if any("output" not in (prices.rates(each, at) or {}) for each in names):
            continue  # unknown, or sold by the image
        # The dear tiers are denied by a statement of their own.
        quotes = [prices.quote(each, at, Tier.STANDARD) for each in names]
        judged += 1
        # Dear anywhere is dear everywhere: the policy sees the one foundation model behind all profiles.
        dear = max(each.price.output for each in quotes) > usd
        open_ = allowed(role("agents"), [ALLOW_ALL, document], "bedrock:InvokeModel", foundation_model(model))
        if open_ is dear:
            wrong.append(model)
    assert judged > 30
    assert wrong == []


def test_without_any_dear_model_the_step_down_still_denies_tiers_and_standing_cost():
    document = rendered(output_usd=1_000_000)[Level.STEP_DOWN]
    assert level_of(document) is Level.STEP_DOWN
    assert not allowed(role("agents"), [ALLOW_ALL, document], "bedrock:CreateProvisionedModelThroughput")
    assert allowed(role("agents"), [ALLOW_ALL, document], "bedrock:InvokeModel", foundation_model(OPUS))


def test_a_price_of_the_accounts_own_list_makes_a_model_dear():
    listed = ListedPrice(NOVA_LITE, Scope.GLOBAL, None, Tier.STANDARD, "output", Decimal(16), date(2026, 11, 1))
    document = documents(DocumentSettings(), PriceTable.load().with_listed([listed]))[Level.STEP_DOWN]
    assert not allowed(role("agents"), [ALLOW_ALL, document], "bedrock:InvokeModel", foundation_model(NOVA_LITE))
    assert allowed(role("agents"), with_brake(Level.STEP_DOWN), "bedrock:InvokeModel", foundation_model(NOVA_LITE))


@pytest.mark.parametrize("level", [Level.STEP_DOWN, Level.STOP])
def test_principals_with_the_exempt_tag_are_spared_and_no_others(level):
    asked = DocumentSettings(("role/break-glass",), exempt_tag="spend=free")
    document = documents(asked, PriceTable.load(), [parse_scope("project:default")])[level]
    conditions = [each["Condition"] for each in document["Statement"]]
    assert all(each["StringNotEquals"] == {"aws:PrincipalTag/spend": "free"} for each in conditions)
    create = "bedrock:CreateProvisionedModelThroughput"
    for tag, may in (
        ({"aws__PrincipalTag/spend": "free"}, True),
        ({"aws__PrincipalTag/spend": "Free"}, False),
        ({}, False),
    ):
        assert allowed(role("agents"), [ALLOW_ALL, document], create, **tag) is may
    assert allowed(role("break-glass"), [ALLOW_ALL, document], create)


@pytest.mark.parametrize("action", spend_actions())
def test_the_deny_policy_denies_what_a_stop_does_and_is_of_no_level(action):
    document = deny_document(DocumentSettings(("role/break-glass",)))
    assert level_of(document) is None
    assert not allowed(role("agents"), [ALLOW_ALL, document], action)
    assert allowed(role("break-glass"), [ALLOW_ALL, document], action)


def test_the_deny_policy_denies_the_canary_of_a_drill_what_is_free_and_nobody_else():
    document = deny_document(DocumentSettings(("role/break-glass",), canary="role/bedrock-spend-canary"))
    assert level_of(document) is None
    for who, may in (
        (role("bedrock-spend-canary"), False),
        (role("agents"), True),
        (user("bedrock-spend-canary"), True),
    ):
        assert allowed(who, [ALLOW_ALL, document], "bedrock:CountTokens") is may
    assert not allowed(role("agents"), [ALLOW_ALL, document], "bedrock:InvokeModel")


def test_an_exempt_name_that_a_pattern_covers_takes_no_room():
    assert rendered(("role/ops/*", "role/ops/a", "role/ops/b")) == rendered(("role/ops/*",))


def test_sixteen_exempt_principals_fit_iam():
    exempt = tuple(f"role/ops/break-glass-engineer-{number:02}" for number in range(16))
    assert max(size(each) for each in rendered(exempt).values()) <= MAX_DOCUMENT_CHARACTERS
    deny = deny_document(DocumentSettings(exempt, external_anthropic=True, canary=f"role/{'x' * 32}-canary"))
    assert size(deny) <= MAX_DOCUMENT_CHARACTERS


def test_a_scope_that_no_longer_fits_is_refused_with_what_to_do():
    many = [parse_scope(f"profile:a1b2c3d4{number:04}") for number in range(120)]
    with pytest.raises(
        RefusedError, match=r"nothing was changed: .* release a narrow stop first, or stop the principal"
    ):
        documents(DocumentSettings(), PriceTable.load(), many)


def test_a_principal_is_no_statement():
    with pytest.raises(RefusedError, match="attaching the deny policy"):
        documents(DocumentSettings(), PriceTable.load(), [parse_scope("role/agents")])


@pytest.mark.parametrize(
    "statement",
    [
        {"Sid": "NarrowOther"},
        {"Sid": "NarrowSessions"},
        {"Sid": "NarrowSessions", "Condition": {"StringEquals": {"aws:userid": ["*"]}}},
        {"Sid": "NarrowResources", "Resource": ["*"]},
        {"Sid": "NarrowResources", "Resource": ["arn:*:bedrock:*::foundation-model/*"]},
        {"Sid": "NarrowTagged1", "Condition": {"StringEquals": {}}},
    ],
)
def test_a_narrow_statement_somebody_edited_is_never_taken_for_none(statement):
    with pytest.raises(BrakeDocumentError, match="edited by hand and cannot be read"):
        narrow_scopes({"Statement": [{"Sid": "BedrockSpendStop"}, statement]})


def test_the_digest_changes_with_any_document():
    stop = rendered()[Level.STOP]
    assert digest([stop]) == digest([json.loads(json.dumps(stop))])
    assert digest([stop]) != digest([rendered(("role/x",))[Level.STOP]])
