"""Whatever arrives as a word of the bill, it never crashes, and does no more than what is confirmed calls for."""

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.anomaly import Anomaly, parse_anomaly
from lambdas.core.budget_message import BudgetClaim, parse_budget_message
from lambdas.core.errors import RefusedError
from lambdas.core.levels import Level
from lambdas.core.limits import Verdict
from lambdas.core.windows import Window
from tests.conftest import ACCOUNT, event
from tests.unit.test_budgeting import MONITOR, Bill, FakeMemory

WINDOWS = {"bedrock-spend-monthly": Window.MONTH, "bedrock-spend-daily": Window.DAY}
TEXTS = [event(f"budgets_{each}.txt") for each in ("actual", "forecasted", "daily")]
FRAGMENTS = [
    "\n",
    "\r\n",
    "\u2028",
    "\x85",
    "\x00",
    ":",
    "Budget Name: the-other\n",
    "Budget Name: bedrock-spend-daily\n",
    "AWS Account 999999999999\n",
    "Alert Type: FORECASTED\n",
    "ACTUAL Amount: $1,234,567,890,123.45\n",
    "ACTUAL Amount: €5\n",
    "&#10;Budget Name: x",
    "&amp;lt;script&gt;",
    "$",
    "1e999",
    "٣",
    "\ud800",
]


@st.composite
def messages(draw: st.DrawFn) -> str:
    """Draw AWS's text, cut, spliced, repeated, out of order, with anything in between."""
    text = draw(st.sampled_from(TEXTS))
    lines = text.splitlines(keepends=True)
    if draw(st.booleans()):
        lines = draw(st.permutations(lines))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(lines)))
        lines = lines[start : draw(st.integers(start, len(lines)))]
    for _ in range(draw(st.integers(0, 4))):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(FRAGMENTS) | st.text(max_size=20)))
    text = "".join(lines)
    end = draw(st.integers(0, len(text)))
    return text[:end] if draw(st.booleans()) else text


@given(messages())
def test_no_text_crashes_the_parser_and_what_it_claims_is_ours(text: str):
    claims_ours(text)


def test_nor_do_ten_thousand_that_are_garbled():
    chance = random.Random(5)  # noqa: S311 - the same ones each time
    for _ in range(10_000):
        text = list(chance.choice(TEXTS))
        for _ in range(chance.randint(1, 6)):
            start = chance.randrange(len(text) + 1)
            text[start : start + chance.choice([0, 0, 1, 40, 2000])] = chance.choice(FRAGMENTS)
        claims_ours("".join(text))


def claims_ours(text: str) -> None:
    try:
        claim = parse_budget_message(text, account_id=ACCOUNT, windows=WINDOWS)
    except RefusedError:
        return
    assert isinstance(claim, BudgetClaim)
    assert claim.budget_name in {None, *WINDOWS}
    assert claim.alert_type in {None, "ACTUAL", "FORECASTED"}
    assert claim.amount is None or (claim.amount.is_finite() and claim.amount >= 0)


AMOUNTS = st.sampled_from(["0", "10", "250", "399.99", "400", "500", "9999", "10001", "1e15"])


@given(messages(), AMOUNTS, AMOUNTS, st.sampled_from(["0", "480", None]), st.booleans())
def test_no_message_does_more_than_the_budgets_confirm(
    text: str, month: str, day: str, metered: str | None, down: bool
):
    bill = Bill(memory=FakeMemory(metered, down=down))
    bill.month.actual, bill.day.actual = month, day
    try:
        request = bill.hears(text)
    except RefusedError:
        assert bill.post.sent == []
        return
    levels = [
        Level.for_verdict(bill.tools.ladder.verdict(Decimal(each.actual) * 100 / Decimal(each.budgeted)))
        for each in (bill.month, bill.day)
    ]
    if request is None:
        assert bill.post.sent
        return
    assert request.level in levels
    assert bill.post.sent == []
    (margin,) = request.over
    # Nothing beyond what comes back on a figure beyond all measure.
    assert request.reversible_only or margin.usd <= 20 * (margin.of_usd + Decimal(metered or 0))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**16) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)
SERVICES = st.sampled_from(["Amazon Bedrock", "Claude (Amazon Bedrock Edition)", "Amazon EC2", "", "Amazon Bedrock\nx"])
ACCOUNTS = st.sampled_from([ACCOUNT, "999999999999", "", None])


@st.composite
def anomalies(draw: st.DrawFn) -> Any:
    """Draw AWS's event with some of it changed, gone, or of another kind."""
    raw: dict[str, Any] = event("cost_anomaly.json")
    causes = st.fixed_dictionaries(
        {"service": SERVICES, "linkedAccount": ACCOUNTS, "impact": st.fixed_dictionaries({"contribution": st.floats()})}
    )
    raw["detail"]["rootCauses"] = draw(st.lists(causes, max_size=3))
    raw["detail"]["dimensionValue"] = draw(SERVICES)
    raw["detail"]["impact"]["totalImpact"] = draw(st.floats(0, 1e6) | st.floats())
    for _ in range(draw(st.integers(0, 2))):
        place: Any = raw
        while True:
            key = draw(st.sampled_from(sorted(place)))
            if isinstance(place[key], dict) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            break
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(JSON)
        if not raw or not isinstance(raw.get("detail"), dict):
            break
    return raw


@given(anomalies())
def test_no_event_crashes_the_parser_and_what_counts_is_bedrocks_and_ours(raw: Any):
    counts_ours(raw)


ODD: list[Any] = [None, True, 0, -1, 1e300, float("nan"), "", "x", "\n", [], {}, [None], {"x": 1}, "999999999999"]


def test_nor_do_ten_thousand_in_which_something_is_odd():
    chance = random.Random(5)  # noqa: S311 - the same ones each time
    whole = json.dumps(event("cost_anomaly.json"))
    for _ in range(10_000):
        raw = json.loads(whole)
        for _ in range(chance.randint(1, 3)):
            place, key = chance.choice(list(places(raw)))
            if chance.random() < 1 / 2:
                place[key] = chance.choice(ODD)
            else:
                del place[key]
        counts_ours(raw)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield whatever can be changed, with where it is."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def counts_ours(raw: Any) -> None:
    try:
        found = parse_anomaly(raw, account_id=ACCOUNT, monitor_arn=MONITOR, least_usd=Decimal(100))
    except RefusedError:
        return
    if found is None:
        return
    assert isinstance(found, Anomaly)
    assert (raw["account"], raw["detail"]["accountId"], raw["detail"]["monitorArn"]) == (ACCOUNT, ACCOUNT, MONITOR)
    assert found.impact_usd >= 100
    assert found.impact_usd <= Decimal(str(raw["detail"]["impact"]["totalImpact"]))
    assert all("Bedrock" in each and "\n" not in each for each in found.services)
    assert found.services


@given(anomalies(), st.booleans(), st.sampled_from(["0", "480", None]), st.booleans())
def test_no_anomaly_ever_stops_and_none_counts_twice(raw: Any, steps_down: bool, metered: str | None, down: bool):
    bill = Bill(memory=FakeMemory(metered, down=down), steps_down=steps_down)
    acts = 0
    for number in range(3):
        try:
            request = bill.sees(json.loads(json.dumps(raw)) | {"id": f"event-{number}"})
        except RefusedError:
            continue
        acts += request is not None
        assert request is None or (request.level is Level.STEP_DOWN and steps_down)
    assert down or acts + len(bill.post.sent) <= 1


def test_a_verdict_is_what_the_ladder_says():
    # So that the tests above mean something: the ladder they compare with has all rungs.
    ladder = Bill().tools.ladder
    assert [ladder.verdict(Decimal(each)) for each in (49, 50, 80, 100)] == [*Verdict]
