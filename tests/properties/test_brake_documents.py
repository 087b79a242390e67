"""The documents for any list of exempt principals."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas.core.brake_documents import (
    MAX_DOCUMENT_CHARACTERS,
    BrakeDocumentError,
    DocumentSettings,
    documents,
    size,
)
from lambdas.core.levels import Level, level_of
from lambdas.core.prices import PriceTable
from lambdas.core.principals import Capability, Principal, PrincipalKind, Spared
from tests.infra.judge import ACCOUNT, ALLOW_ALL, allowed

PRICES = PriceTable.load()

# Few letters, so that names and patterns meet often.
NAMES = st.text("ab-", min_size=1, max_size=4)
PATHS = st.sampled_from(["/", "/a/", "/a/b/"])
EXEMPT = st.builds("{}/{}".format, st.sampled_from(["role", "user"]), st.text("ab-/*?", min_size=1, max_size=6))


@st.composite
def principals(draw):
    kind, path, name = draw(st.sampled_from([PrincipalKind.ROLE, PrincipalKind.USER])), draw(PATHS), draw(NAMES)
    return Principal(
        arn=f"arn:aws:iam::{ACCOUNT}:{kind}{path}{name}",
        kind=kind,
        name=name,
        path=path,
        capability=Capability.WILDCARD,
    )


@given(st.lists(EXEMPT, max_size=4), principals(), st.sampled_from([Level.STEP_DOWN, Level.STOP]))
@settings(deadline=None)
def test_the_deny_spares_exactly_those_the_code_leaves_alone(exempt, principal, level):
    document = documents(DocumentSettings(tuple(exempt)), PRICES)[level]
    # Denied at both levels.
    may = allowed(principal.arn, [ALLOW_ALL, document], "bedrock:CreateProvisionedModelThroughput")
    assert may is Spared(tuple(exempt)).covers(principal)


@given(
    st.lists(st.text("abc-/", min_size=1, max_size=100).map("role/{}".format), max_size=120),
    st.integers(1, 200),
    st.booleans(),
)
@settings(deadline=None)
def test_documents_fit_iam_or_are_refused(exempt, output_usd, external_anthropic):
    asked = DocumentSettings(tuple(exempt), Decimal(output_usd), external_anthropic)
    try:
        rendered = documents(asked, PRICES)
    except BrakeDocumentError:
        # The list of the exempt is all that can grow: none at all always fits.
        rendered = documents(DocumentSettings((), Decimal(output_usd), external_anthropic), PRICES)
    assert {level_of(each) for each in rendered.values()} == set(Level)
    assert all(size(each) <= MAX_DOCUMENT_CHARACTERS for each in rendered.values())
