"""The widget: all that matters in one look, whatever is known, in words of others that stay words."""

from datetime import datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core.decision import decide
from lambdas.core.figures import figures
from lambdas.core.limits import Allowance, Ladder, Limit, Verdict
from lambdas.core.notice import Links
from lambdas.core.spend import Spend
from lambdas.core.widget import asks_for_documentation, theme_asked_for, widget
from lambdas.core.windows import Window
from tests.fakes import moment

NOW = moment("18:30")
LINKS = Links("https://aws.example/release?a=1&b=2", "https://aws.example/status", "https://aws.example/kill", "aws")
FRESH = {
    "summary": "Bedrock may be used. 0 armed, 2 to be swept at a stop, 0 out of reach.",
    "mode": "enforce",
    "level": "released",
    "limits": ["$50/day", "$500/month"],
    "meter": "no decision recorded yet",
    "last_stop": None,
    "last_release": None,
    "held_down": [],
    "armed": [],
    "cannot_be_stopped": {},
    "stopped_alone": [],
    "shares": {"armed": "0 of 2", "denied_now": "0 of 2"},
}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"><style>*{display:none}</style>\u202egnp.exe\n&lt;"

ALLOWED = {"style", "div", "h4", "b", "span", "br", "table", "tr", "td", "p", "a", "cwdb-action"}
ATTRIBUTES = {"class", "style", "href", "target", "rel", "title", "action", "display", "endpoint"}


class Page(HTMLParser):
    """What a browser makes of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def widths(self):
        return [value for name, value in self.attributes if name == "style"]


def drawn(answer, theme="light", endpoint=""):
    page = Page(widget(answer, NOW, LINKS, theme=theme, endpoint=endpoint))
    assert page.open == []
    return page


def measured(spent: str, *, allowance: int = 0, burn: str = "0.10", models: dict[str, Decimal] | None = None):
    """Return an answer as it is after a read."""
    windows = {Window.HOUR: Decimal(1), Window.DAY: Decimal(spent), Window.MONTH: Decimal(spent)}
    spend = Spend(
        NOW, Decimal(burn), windows, {"m (us-east-1)": Decimal(spent)} if models is None else models, {"m": Decimal(1)}
    )
    granted = [Allowance(Decimal(allowance), NOW + timedelta(hours=1), "report", "ada")] if allowance else []
    limit = Limit(Window.DAY, Decimal(50), Ladder(Decimal(50), Decimal(80)))
    decision = decide(spend, [limit], granted, Verdict.OK, timedelta(minutes=4), NOW)
    at = (NOW - timedelta(minutes=7)).isoformat()
    return {**FRESH, "meter": {"at": at, "spend": {"gaps": []}, "figures": figures(spend, decision)}}


def test_an_account_nothing_is_known_of_yet_looks_fine():
    text = drawn(FRESH).text
    assert text.startswith("RELEASED Bedrock may be used. 0 armed")
    assert "$50/day $500/month Not measured yet: the meter looks within a minute or two." in text
    assert "Models today Not measured yet." in text
    assert "Meter read not yet Guessed not known Not read not known" in text
    assert "Last stop none Last release none" in text
    assert "Self-watch not known" in text
    assert "None" not in text.replace("None was", "")


def test_a_limit_is_a_bar_of_what_is_spent_and_of_what_is_on_its_way():
    page = drawn(measured("20"))
    assert "$20.00 of $50/day ($20.40 with what is on its way) 40 %" in page.text
    assert page.widths()[:2] == ["width:40.8%", "width:40.0%"]
    assert "Burn $0.10 a minute Meter read 7 min ago Guessed 5.0 % of the month" in page.text


def test_an_allowance_widens_the_bar_and_is_told():
    page = drawn(measured("60", allowance=50))
    assert "$60.00 of $50/day, raised to $100.00 ($60.40 with what is on its way)" in page.text
    assert page.widths()[:2] == ["width:60.4%", "width:60.0%"]


def test_a_bar_that_is_over_stays_in_its_place():
    page = drawn(measured("5000"))
    assert page.widths()[:2] == ["width:100.0%", "width:100.0%"]
    assert "$5,000.00 of $50/day" in page.text
    assert "10,000 %" in page.text


def test_the_models_are_bars_with_the_rest_as_one():
    models = {f"model-{number:02} (us-east-1)": Decimal(20 - number) for number in range(15)}
    page = drawn(measured("20", models=models))
    assert "model-00 (us-east-1) $20.00" in page.text
    assert "model-11 (us-east-1) $9.00" in page.text
    assert "model-12" not in page.text
    assert "all others $21.00" in page.text
    assert page.widths()[2:4] == ["width:95.2%", "width:90.5%"]


def test_a_model_that_cost_nothing_today_is_not_shown():
    assert "None was used today." in drawn(measured("0", models={"m (us-east-1)": Decimal(0)})).text


@pytest.mark.parametrize(
    ("changes", "colour", "word"),
    [
        ({}, "good", "RELEASED"),
        ({"stopped_alone": ["role/agent"]}, "warn", "STOPPED ALONE"),
        ({"level": "step-down"}, "warn", "STEPPED DOWN"),
        ({"level": "stop"}, "bad", "STOPPED"),
        ({"level": "stop", "mode": "report-only"}, "bad", "STOPPED (report-only)"),
        ({"level": "unknown"}, "unknown", "NOT KNOWN"),
    ],
)
def test_the_state_is_a_word_and_a_colour(changes, colour, word):
    page = drawn(FRESH | changes)
    assert ("class", f"bsg-banner bsg-{colour}") in page.attributes
    assert page.text.startswith(f"{word} Bedrock")


def test_what_could_not_be_read_is_said_and_never_drawn_as_nothing():
    answer = {
        "summary": "UNKNOWN: IAM could not be read; see unknown.",
        "level": "unknown",
        "unknown": {"brake": "iam:GetPolicy: Throttling", "meter": "ledger is down"},
        "meter": "no decision recorded yet",
    }
    text = drawn(answer).text
    assert text.startswith("NOT KNOWN UNKNOWN: IAM could not be read")
    assert "Could not be read: brake: iam:GetPolicy: Throttling; meter: ledger is down" in text
    assert "Armed not known Denied now not known Out of reach not known" in text
    assert "Burn not known" in text


def test_who_is_out_of_reach_is_counted_and_named():
    page = drawn(FRESH | {"cannot_be_stopped": {f"role/r{number}": "no free slot" for number in range(9)}})
    assert "Out of reach 9 : role/r0: no free slot role/r1" in page.text
    assert "role/r5: no free slot … and 3 more" in page.text


def test_the_rest_of_the_answer_is_there():
    more = {
        "allowances": ["$200 until 18:30 UTC by ada: report"],
        "held_down": ["function agent"],
        "watch": ["the topic has no confirmed subscription"],
        "last_drill": {"at": "2026-11-01T00:00:00+00:00", "summary": "denied after 12 s"},
        "costs_itself": {"this_month_usd": "2.31", "how": "estimated from list prices"},
        "would_have_stopped": ["2026-11-21: stop, $50/day by $3 (6 %)"],
        "last_stop": {"at": "2026-11-20T10:11:12Z", "by": "meter", "reason": "$51 of $50/day"},
    }
    page = drawn(FRESH | more)
    for words in (
        "Allowances 1 : $200 until 18:30 UTC by ada: report",
        "Held down 1 : function agent",
        "Self-watch 1 : the topic has no confirmed subscription",
        "Last drill denied after 12 s",
        "Costs itself $2.31 this month",
        "Would have stopped 1 : 2026-11-21: stop, $50/day by $3 (6 %)",
        "Last stop 2026-11-20 10:11 UTC by meter: $51 of $50/day",
    ):
        assert words in page.text
    assert ("title", "estimated from list prices") in page.attributes


def test_links_lead_to_the_test_pages_and_the_only_call_is_for_a_fresh_view():
    page = drawn(FRESH, endpoint="arn:aws:lambda:us-east-1:1:function:bedrock-spend-status")
    hrefs = [value for name, value in page.attributes if name == "href"]
    assert hrefs == [LINKS.kill, LINKS.release, LINKS.status]
    assert [value for name, value in page.attributes if name == "endpoint"] == [
        "arn:aws:lambda:us-east-1:1:function:bedrock-spend-status"
    ]
    assert page.tags.count("cwdb-action") == 1
    assert "cwdb-action" not in drawn(FRESH).tags


def test_both_themes_differ_in_nothing_but_colours():
    light, dark = drawn(FRESH), drawn(FRESH, theme="dark")
    assert (light.tags, light.text) == (dark.tags, dark.text)
    assert widget(FRESH, NOW, LINKS, theme="light") != widget(FRESH, NOW, LINKS, theme="dark")


@pytest.mark.parametrize(
    ("event", "theme"),
    [
        ({"widgetContext": {"theme": "dark"}}, "dark"),
        ({"widgetContext": {"theme": "light"}}, "light"),
        ({"widgetContext": {}}, "light"),
        ({"widgetContext": {"theme": "</style><script>"}}, "light"),
        ({"widgetContext": None}, None),
        ({"key1": "value1"}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_a_dashboard_is_known_by_its_context(event, theme):
    assert theme_asked_for(event) == theme


def test_documentation_is_for_who_asks_for_it():
    assert asks_for_documentation({"describe": True})
    assert not asks_for_documentation({"describe": "x"})
    assert not asks_for_documentation(None)


def _only_what_is_allowed(page: Page) -> None:
    assert set(page.tags) <= ALLOWED
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert page.tags.count("style") == 1
    assert {value for name, value in page.attributes if name == "href"} == {LINKS.kill, LINKS.release, LINKS.status}


def test_hostile_words_stay_words_wherever_they_stand():
    answer = measured("20", models={HOSTILE: Decimal(20)})
    answer |= {
        "summary": HOSTILE,
        "stopped_alone": [HOSTILE],
        "held_down": [HOSTILE],
        "cannot_be_stopped": {HOSTILE: HOSTILE},
        "allowances": [HOSTILE],
        "watch": {HOSTILE: HOSTILE},
        "unknown": {HOSTILE: HOSTILE},
        "last_stop": {"at": HOSTILE, "by": HOSTILE, "reason": HOSTILE},
        "costs_itself": {"this_month_usd": "1", "how": HOSTILE},
        "shares": {"armed": HOSTILE, "denied_now": HOSTILE},
        "mode": HOSTILE,
        "level": HOSTILE,
        "last_drill": HOSTILE,
        "would_have_stopped": [HOSTILE],
    }
    page = drawn(answer, endpoint=HOSTILE)
    _only_what_is_allowed(page)
    assert page.text.count("<script>alert(1)</script>") > 10
    assert "\u202e" not in page.text


_words = st.text(max_size=40) | st.sampled_from([HOSTILE, "1", "NaN", "1e999999999", "-1", "Infinity"])
_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _words,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(_words, each, max_size=3),
    max_leaves=6,
)
_limits = st.lists(
    st.dictionaries(st.sampled_from(["limit", "spent", "allowed", "projected", "verdict"]), _anything) | _anything,
    max_size=3,
)
_figures = st.fixed_dictionaries(
    {}, optional={"limits": _limits, "models": _anything, "burn": _anything, "other_models": _anything}
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys((*FRESH, "unknown", "allowances", "watch", "costs_itself", "last_drill"), _anything),
            "meter": _anything | st.fixed_dictionaries({}, optional={"figures": _figures, "at": _anything}),
        },
    )
)
def test_whatever_an_answer_holds_it_is_drawn_and_nothing_in_it_becomes_markup(answer):
    _only_what_is_allowed(drawn(answer))


def test_the_figures_are_those_of_the_decision(now: datetime):
    answer = measured("49.5")
    assert answer["meter"]["figures"] == {
        "limits": [
            {
                "limit": "$50/day",
                "allowed": "50.0000",
                "spent": "49.5000",
                "projected": "49.9000",
                "verdict": "step-down",
            }
        ],
        "burn": "0.1000",
        "guessed_percent": "2.0",
        "models": {"m (us-east-1)": "49.5000"},
    }
