"""Whatever an event says: only what IAM could name is acted on, and nothing unreadable gets into a mail."""

import re

from hypothesis import given
from hypothesis import strategies as st

from lambdas.core import iam_events
from lambdas.core.iam_events import Change, Drift, Ours, RefusedDelete, parse
from tests.conftest import ACCOUNT, event
from tests.fakes import BRAKE, SWEEP

OURS = Ours(ACCOUNT, "bedrock-spend")

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*iam_events.HEARD, *iam_events.DELETIONS, "GetRole"])
values = st.sampled_from([BRAKE, SWEEP, "bedrock-spend-sweep", "agent", ACCOUNT]) | anything
parameters = st.dictionaries(
    st.sampled_from(["roleName", "userName", "groupName", "policyArn", "versionId"]), values, max_size=4
)
overrides = st.fixed_dictionaries(
    {"eventName": names | anything, "requestParameters": parameters | anything},
    optional={
        "errorCode": st.sampled_from([*iam_events.REFUSED, "AccessDenied"]) | anything,
        "userIdentity": anything | st.fixed_dictionaries({"arn": st.text(max_size=300)}),
        "eventTime": anything,
        "eventID": anything,
        "eventSource": anything,
        "recipientAccountId": anything,
    },
)
WORDS = re.compile(r"[\w+=,.@:/ -]{1,400}", re.ASCII)


@given(st.one_of(anything, overrides.map(lambda each: event("iam_detach_brake.json") | {"detail": each})))
def test_anything_at_all_is_read_without_an_error(payload):
    assert isinstance(parse(payload, OURS), Change | RefusedDelete | Drift | None)


@given(overrides)
def test_what_is_acted_on_is_what_iam_could_name(changes):
    payload = event("iam_detach_brake.json")
    payload["detail"] |= changes
    found = parse(payload, OURS)
    match found:
        case RefusedDelete():
            assert re.fullmatch(r"(role|user)/[\w+=,.@-]{1,128}", found.holder, re.ASCII)
            assert changes["errorCode"] in iam_events.REFUSED
            assert WORDS.fullmatch(found.by)
        case Drift():
            assert changes["eventName"] in iam_events.HEARD
            assert changes.get("errorCode") is None
            assert WORDS.fullmatch(found.what)
            assert WORDS.fullmatch(found.by)
            assert "bedrock-spend-" in found.what
        case Change():
            assert changes["eventName"] in iam_events.CHANGES
            assert changes.get("errorCode") is None


@given(overrides)
def test_nothing_the_guardrail_does_itself_is_ever_acted_on(changes):
    payload = event("iam_attach_by_ourselves.json")
    changes.pop("userIdentity", None)
    payload["detail"] |= changes
    assert parse(payload, OURS) is None
