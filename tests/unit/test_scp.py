"""The service control policy: what it says, how long it may be, and when one in the organization is another."""

import json

import pytest

from lambdas.core.actions import spend_patterns
from lambdas.core.principals import Spared
from lambdas.core.scp import MAX_CHARACTERS, ScpError, differs, spares_others, stop_scp

SPARED = Spared(("role/break-glass",), "team=ops")


def test_it_denies_what_a_stop_denies_but_to_whom_it_spares():
    (statement,) = stop_scp(SPARED, external_anthropic=True)["Statement"]
    assert statement == {
        "Sid": "BedrockSpendStop",
        "Effect": "Deny",
        "Action": list(spend_patterns(external_anthropic=True)),
        "Resource": "*",
        "Condition": {
            "ArnNotLike": {"aws:PrincipalArn": ["arn:*:iam::*:role/break-glass"]},
            "StringNotEquals": {"aws:PrincipalTag/team": "ops"},
        },
    }


def test_without_anybody_exempt_it_has_no_condition():
    (statement,) = stop_scp(Spared(), external_anthropic=False)["Statement"]
    assert "Condition" not in statement


def test_one_that_organizations_would_not_take_is_refused_with_what_to_do():
    fits = Spared(tuple(f"role/{number:060}" for number in range(25)))
    assert len(json.dumps(stop_scp(fits, external_anthropic=True), separators=(",", ":"))) <= MAX_CHARACTERS
    with pytest.raises(ScpError, match=r"would have \d+ characters, AWS Organizations takes 5120: name fewer exempt"):
        stop_scp(Spared((*fits.exempt, *(f"user/{number:060}" for number in range(25)))), external_anthropic=True)


def test_how_it_is_written_does_not_matter():
    wanted = stop_scp(SPARED, external_anthropic=False)
    written = json.dumps(wanted, indent=2)
    assert not differs(written, wanted)
    assert not spares_others(written, wanted)


def test_one_of_another_version_differs_and_spares_the_same():
    wanted = stop_scp(SPARED, external_anthropic=False)
    other = json.dumps(stop_scp(SPARED, external_anthropic=True))
    assert differs(other, wanted)
    assert not spares_others(other, wanted)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(stop_scp(Spared(("role/break-glass",)), external_anthropic=False)),
        json.dumps(stop_scp(Spared((), "team=ops"), external_anthropic=False)),
        json.dumps(stop_scp(Spared(("role/other",), "team=ops"), external_anthropic=False)),
        json.dumps({"Version": "2012-10-17", "Statement": []}),
        json.dumps({"Version": "2012-10-17", "Statement": ["x"]}),
        json.dumps({"Version": "2012-10-17"}),
        json.dumps([]),
        "no JSON",
    ],
)
def test_one_that_spares_others_or_cannot_be_read_is_told(content):
    wanted = stop_scp(SPARED, external_anthropic=False)
    assert spares_others(content, wanted)
    assert differs(content, wanted)
