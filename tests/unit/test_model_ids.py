"""One spelling for the many names a model goes by."""

import pytest

from lambdas.core.model_ids import is_embedding, normalise, same_model, without_geography


@pytest.mark.parametrize(
    ("raw", "model"),
    [
        ("anthropic.claude-opus-5", "anthropic.claude-opus-5"),
        ("US.Anthropic.Claude-Opus-5 ", "us.anthropic.claude-opus-5"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
            "us.amazon.nova-pro-v1:0",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc",
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc",
        ),
        ("a1b2c3d4e5f6", "a1b2c3d4e5f6"),
    ],
)
def test_a_model_has_one_spelling(raw: str, model: str):
    assert normalise(raw) == model


def test_geographies_are_taken_off_and_makers_are_not():
    assert without_geography("us-gov.anthropic.claude-x") == "anthropic.claude-x"
    assert without_geography("global.amazon.nova-2-lite-v1:0") == "amazon.nova-2-lite-v1:0"
    assert without_geography("ai21.jamba") == "ai21.jamba"


def test_embedding_models_are_told_by_their_name():
    assert is_embedding("newco.embed-giant")
    assert not is_embedding("newco.giant")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.b-4-5", "a.b-4-5", True),
        ("a.b-4-5", "a.b-4-5-20250929-v1:0", True),
        ("a.b-4-5-v1", "a.b-4-5-v1:0", True),
        ("a.b", "a.b-1:0", True),
        ("a.b", "a.b@20250929", True),
        ("a.b-v1:0", "a.b-v1:0:200k", True),
        ("a.b-4", "a.b-4-5", False),
        ("a.b-4", "a.b-4-5-v1:0", False),
        ("a.b-k3", "a.b-k3.1", False),
        ("a.b", "a.b-mini", False),
        ("a.b-5", "a.b-55", False),
        ("a.b-v1:0", "a.b-v2:0", False),
        ("a.b-20250101-v1:0", "a.b-20250929-v1:0", False),
    ],
)
def test_ids_that_differ_in_date_or_version_said_or_not_are_one_model(one: str, other: str, same: bool):
    assert same_model(one, other) is same_model(other, one) is same
