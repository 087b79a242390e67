"""Whatever anybody types: refused, or denied exactly as it is spelled, and read back from IAM as it was."""

import re
from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lambdas.core.actions import matches_name
from lambdas.core.brake_documents import DocumentSettings, documents, narrow_scopes
from lambdas.core.errors import RefusedError
from lambdas.core.levels import Level, level_of
from lambdas.core.prices import PriceTable
from lambdas.core.scopes import Scope, ScopeKind, parse_scope
from tests.infra.judge import ACCOUNT, ALLOW_ALL, allowed, role

PRICES = PriceTable.load()
# With no model dear, all there is to see at a released brake is what is stopped alone.
PLAIN = DocumentSettings(step_down_output_usd=Decimal(1_000_000))
MODELS = ["anthropic.claude-opus-4-v1:0", "anthropic.claude-opus-4", "anthropic.claude-sonnet-5", "amazon.nova-v1:0"]
PROFILES, PROJECTS, TAGS = ["abcdefgh1234", "abcdefgh1235"], ["default", "proj_1"], ["team=a", "team=a b", "Team/x=a=b"]
SESSIONS = ["AROAEXAMPLEID12345678:one", "AROAEXAMPLEID12345678:two", "AROAEXAMPLEID12345679:one"]

PREFIXES = ["", "arn:aws:", *(f"{kind}{'/' if kind in {'role', 'user'} else ':'}" for kind in ScopeKind)]
TEXTS = st.builds("{}{}".format, st.sampled_from(PREFIXES), st.text("abcxAROA019*?${}.:/=- _@\n\u00e9", max_size=40))
GLOBS = st.builds(
    lambda model, cut, tail: model[:cut] + tail,
    st.sampled_from(MODELS),
    st.integers(0, 30),
    st.sampled_from(["", "*", "?", "*-v1:0", "-v?:?", "*opus*", "?:0"]),
)


@st.composite
def scopes(draw):
    kind = draw(st.sampled_from([each for each in ScopeKind if each not in {ScopeKind.ROLE, ScopeKind.USER}]))
    arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:imported-model/abc"
    value = draw(
        {
            ScopeKind.SESSION: st.sampled_from(SESSIONS),
            ScopeKind.SOURCE_IDENTITY: st.sampled_from(["alice", "bob@example.com"]),
            ScopeKind.MODEL: st.one_of(GLOBS, st.just(arn)),
            ScopeKind.PROFILE: st.sampled_from(PROFILES),
            ScopeKind.PROJECT: st.sampled_from(PROJECTS),
            ScopeKind.TAG: st.sampled_from(TAGS),
        }[kind]
    )
    try:
        return parse_scope(f"{kind}:{value}")
    except RefusedError:
        assume(False)
        raise


@given(TEXTS)
def test_any_text_is_refused_or_has_a_spelling_that_means_itself(text: str):
    try:
        scope = parse_scope(text)
    except RefusedError:
        return
    assert parse_scope(str(scope)) == scope
    assert "${" not in str(scope)
    assert scope.kind is ScopeKind.MODEL or not {"*", "?"} & set(str(scope))


@given(st.frozensets(scopes(), max_size=4), st.booleans(), st.booleans())
@settings(deadline=None)
def test_what_is_stopped_alone_is_read_back_from_every_document_exactly(wanted, exempt, tagged):
    asked = DocumentSettings(("role/break-glass",) if exempt else (), Decimal(60), exempt_tag="a=b" if tagged else "")
    try:
        rendered = documents(asked, PRICES, wanted)
    except RefusedError:
        # Sessions and source identities take a whole list of actions each: with both, little room is left.
        assert {ScopeKind.SESSION, ScopeKind.SOURCE_IDENTITY} <= {each.kind for each in wanted}
        return
    for level, document in rendered.items():
        assert level_of(document) is level
        assert set(narrow_scopes(document)) == wanted


REQUESTS = [
    *(
        ("bedrock:InvokeModel", f"arn:aws:bedrock:eu-west-1::foundation-model/{model}", {}, {"model": model})
        for model in MODELS
    ),
    *(
        (
            "bedrock-mantle:CreateInference",
            f"arn:aws:bedrock-mantle:us-east-1:{ACCOUNT}:project/{project}",
            {"bedrock_mantle__Model": model, "aws__ResourceTag/team": "a"},
            {"mantle": model, "project": project, "tag": "team=a"},
        )
        for model in ("anthropic.claude-opus-4", "amazon.nova")
        for project in PROJECTS
    ),
    *(
        (
            "bedrock:InvokeModelWithResponseStream",
            f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/{profile}",
            {"aws__ResourceTag/team": "a b"},
            {"profile": profile, "tag": "team=a b"},
        )
        for profile in PROFILES
    ),
    *(
        ("bedrock:Retrieve", "*", {"aws__userid": session, "aws__SourceIdentity": "alice"}, {"session": session})
        for session in SESSIONS
    ),
    ("s3:GetObject", "*", {"aws__userid": SESSIONS[0]}, {}),
    ("bedrock:StopModelInvocationJob", "*", {"aws__userid": SESSIONS[0]}, {}),
]


def means(scope: Scope, what: dict[str, str]) -> bool:
    """Tell from the spelling alone whether a request is meant; written anew, not as the code has it."""
    value = scope.value
    if scope.kind is ScopeKind.MODEL:
        plain = re.sub(r"-v\d+(:\d+)?$", "", value)
        exact = not {"*", "?"} & set(value)
        if "model" in what:
            return matches_name(value, what["model"]) or (exact and what["model"] == f"{value}-v1:0")
        return "mantle" in what and (matches_name(value, what["mantle"]) or (exact and what["mantle"] == plain))
    if scope.kind is ScopeKind.SOURCE_IDENTITY:
        return "session" in what and value == "alice"
    return what.get(str(scope.kind)) == value


@given(scopes(), st.sampled_from([Level.RELEASED, Level.STEP_DOWN]))
@settings(deadline=None)
def test_a_narrow_stop_denies_what_its_spelling_says_and_nothing_else(scope, level):
    document = documents(PLAIN, PRICES, [scope])[level]
    for action, resource, context, what in REQUESTS:
        may = allowed(role("agents"), [ALLOW_ALL, document], action, resource, **context)
        assert may is not means(scope, what), (str(scope), action, resource)
