"""The drill's report: what it says, and that it says something whatever is missing."""

import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from drill.report import render, write

MARKS = ("trip", "stop", "first AccessDenied", "release")


def full() -> dict[str, Any]:
    return {
        "ok": True,
        "started": "2025-06-01T09:30:00.123456+00:00",
        "seconds": 372.4,
        "scenes": [
            {"name": "deploy", "ok": True, "seconds": 61.25, "detail": "7 stacks"},
            {"name": "runaway", "ok": True, "seconds": 144.0, "detail": "an agent in a loop"},
        ],
        "trip_to_denied_seconds": 41.2,
        "spend_at_trip_usd": Decimal("5.02"),
        "spend_at_denied_usd": Decimal("5.83"),
        "limit_usd": Decimal("5.00"),
        "iam_writes_to_stop": 3,
        "principals": [
            {
                "arn": "arn:aws:iam::111122223333:role/agent",
                "armed": True,
                "denied_after_stop": True,
                "allowed_after_release": True,
                "note": "the runaway",
            },
            {
                "arn": "arn:aws:iam::111122223333:role/bystander",
                "armed": False,
                "denied_after_stop": False,
                "allowed_after_release": True,
                "note": "",
            },
        ],
        "iam_identical_after_release": True,
        "resources_left_after_destroy": [],
        "measured": [{"what": "kill of role/agent alone", "figure": "0.4 s"}],
        "emulator": {
            "name": "ministack",
            "version": "1.2.3",
            "adapted": [
                {"id": "iam-policy-arn-condition-key", "kind": "launcher", "aws": "has the key", "here": "added it"},
                {"id": "custom-resource-left-out", "kind": "template", "aws": "creates it", "here": "left it out"},
            ],
        },
        "timeline": [{"seconds": 62.0, "event": "the agent starts"}, {"seconds": 102.4, "event": "limit crossed"}],
        "samples": [{"seconds": 62.0 + 4 * n, "spend_usd": Decimal("0.30") * n} for n in range(20)],
        "marks": [
            {"seconds": at, "label": label} for at, label in zip((102.4, 140.1, 143.6, 170.0), MARKS, strict=True)
        ],
        "failures": [],
    }


def charts(page: str) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]  # noqa: S314 - our own page


def of_class(svg: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in svg.iter() if name in element.get("class", "").split()]


def attribute(element: ET.Element, name: str) -> float:
    return float(element.attrib[name])


def h1(page: str) -> str:
    found = re.search("<h1>(.*?)</h1>", page, re.DOTALL)
    assert found
    return found.group(1)


def test_the_headline_says_what_happened():
    assert h1(render(full())) == (
        "The runaway agent was stopped 41.2 s after its spend crossed the limit, at $5.83 of $5.00; "
        "the account&#x27;s IAM, API keys and concurrency are byte-identical after release."
    )


def test_a_trip_ahead_of_the_limit_is_not_called_a_crossing():
    early = full() | {"spend_at_trip_usd": Decimal("4.10"), "spend_at_denied_usd": Decimal("4.70")}

    page = render(early)

    assert "was stopped 41.2 s after the limit tripped, at $4.70 of $5.00;" in h1(page)
    assert "The trip comes before the limit" in page
    assert "The trip comes before the limit" not in render(full())


def test_the_page_shows_every_figure_mark_and_adaptation():
    page = render(full())

    for shown in (
        *("41.2 s", "$5.02", "$5.83", "$5.00", "16.6% over the limit", "IAM writes to stop", "1 of 1"),
        *("6 min 12 s", "2025-06-01 09:30:00+00:00", "ministack 1.2.3"),
        *("deploy", "61.2 s", "7 stacks", "the agent starts", "limit crossed"),
        *("arn:aws:iam::111122223333:role/agent", "arn:aws:iam::111122223333:role/bystander", "the runaway"),
        *("kill of role/agent alone", "0.4 s"),
        *("iam-policy-arn-condition-key", "custom-resource-left-out", "has the key", "left it out"),
    ):
        assert shown in page
    for svg in charts(page):
        labels = [element.text for element in of_class(svg, "flag")]
        assert labels == ["trip 102.4 s", "stop 140.1 s", "first AccessDenied 143.6 s", "release 170.0 s"]


def test_a_failed_drill_names_the_scenes_that_failed_and_what_was_measured_before():
    report = full()
    report |= {"ok": False, "iam_identical_after_release": False, "failures": ["a policy stayed behind"]}
    report["scenes"] += [{"name": name, "ok": False, "seconds": 1.0, "detail": ""} for name in ("release", "destroy")]

    page = render(report)

    assert h1(page).startswith("The drill FAILED in &quot;release&quot; and &quot;destroy&quot;. The runaway agent was")
    assert "API keys and concurrency are NOT identical after release" in h1(page)
    assert "<li>a policy stayed behind</li>" in page


@pytest.mark.parametrize(
    "contrary", [{"failures": ["x"]}, {"scenes": [{"name": "stop", "ok": False}]}, {"ok": None}, {"ok": "yes"}]
)
def test_a_drill_passes_only_if_nothing_speaks_against_it(contrary):
    assert "The drill FAILED" in h1(render(full() | contrary))


def test_a_trip_without_a_denial_is_told_as_such():
    headline = h1(render(full() | {"ok": False, "trip_to_denied_seconds": None, "spend_at_denied_usd": None}))

    assert "The spend reached $5.02 of $5.00 and no denial was measured after it" in headline


def test_an_armed_principal_that_was_not_denied_stands_out_in_words():
    report = full()
    report["principals"][0]["denied_after_stop"] = False

    assert render(report).count("no (FAILED)") == 1


def test_what_was_left_behind_is_listed():
    assert "<li>AWS::S3::Bucket logs</li>" in render(
        full() | {"resources_left_after_destroy": ["AWS::S3::Bucket logs"]}
    )


@pytest.mark.parametrize("report", [{"ok": False, "failures": ["x"]}, {}, {"ok": True}, dict.fromkeys(full())])
def test_a_report_of_next_to_nothing_renders(report, tmp_path):
    page = render(report)

    assert ("The drill passed" if report.get("ok") else "The drill FAILED") in h1(page)
    assert ("<li>x</li>" in page) == bool(report.get("failures"))
    assert not charts(page)
    write(report, tmp_path)


@pytest.mark.parametrize("key", full())
@pytest.mark.parametrize("value", [None, [], [{}], [None], {}, {"adapted": [{}]}, "text", 0, Decimal("NaN")])
def test_no_single_oddity_breaks_the_report(key, value, tmp_path):
    data, page = write(full() | {key: value}, tmp_path)

    json.loads(data.read_text())
    for svg in charts(page.read_text()):
        assert of_class(svg, "spend")


@pytest.mark.parametrize(
    "samples",
    [
        [(5, "0")],
        [(5, "0"), (5, "0")],
        [(300, "4.9"), (301, "5.1")],
        [(0, "0.000001"), (0.001, "0.000002")],
        [(0, "-1"), (90000, "1e9")],
    ],
)
@pytest.mark.parametrize("limit", [None, Decimal(0), Decimal("0.000001"), Decimal(5)])
def test_the_chart_fits_whatever_was_sampled(samples, limit):
    report = {"samples": [{"seconds": at, "spend_usd": Decimal(usd)} for at, usd in samples], "limit_usd": limit}

    drawn = charts(render(report))
    assert drawn
    for svg in drawn:
        width, height = map(float, svg.attrib["viewBox"].split()[2:])
        for line in svg.iter("line"):
            assert all(0 <= attribute(line, side) <= width for side in ("x1", "x2"))
            assert all(0 <= attribute(line, side) <= height for side in ("y1", "y2"))
        assert 2 <= len([line for line in of_class(svg, "grid") if "y" in line.attrib["class"].split()]) <= 12


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "'\"><img src=x>", "\x1b[31mred\x00\ud800\uffff"])
def test_hostile_strings_are_only_text(hostile, tmp_path):
    def spoil(value: object) -> object:
        match value:
            case str():
                return hostile
            case list():
                return [spoil(item) for item in value] or [hostile]
            case dict():
                return {key: spoil(item) for key, item in value.items()}
        return value

    report = spoil(full())
    assert isinstance(report, dict)
    page = write(report, tmp_path)[1].read_text(encoding="utf-8")

    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"[\x00\x1b\uffff]", page)
    assert charts(page)


def test_the_page_needs_nothing_but_itself():
    page = render(full())

    assert not re.search(r"https?://|//[a-z]|\bsrc=|\bhref=|url\(|@import|<script|<link", page)
    assert "prefers-color-scheme: dark" in page


def test_the_page_closes_what_it_opens():
    stack: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):  # noqa: ARG002 - the signature is HTMLParser's
            if tag not in {"meta", "br"}:
                stack.append(tag)

        def handle_endtag(self, tag):
            assert stack.pop() == tag

    Reader().feed(render(full()))
    assert not stack


def test_the_json_says_the_same(tmp_path: Path):
    data, page = write(full(), tmp_path / "not" / "yet")

    assert (data.name, page.name) == ("report.json", "report.html")
    assert page.read_text(encoding="utf-8") == render(full())
    text = data.read_text(encoding="utf-8")
    assert '"spend_at_denied_usd": 5.83' in text
    assert json.loads(text, parse_float=Decimal)["samples"][1]["spend_usd"] == Decimal("0.3")
    assert json.loads(text) == json.loads(json.dumps(full(), default=float))
    assert render(json.loads(text)) == render(full())


def test_the_chart_describes_itself():
    for svg in charts(render(full())):
        title, desc = svg.find("title"), svg.find("desc")
        assert title is not None
        assert desc is not None
        assert svg.attrib["aria-labelledby"] == f"{title.attrib['id']} {desc.attrib['id']}"
        assert all(f"{mark} at " in str(desc.text) for mark in MARKS)
        assert "The limit is $5.00." in str(desc.text)


@pytest.mark.parametrize("limit", ["5.00", "3.21", "0.07", "40"])
def test_the_limit_and_the_marks_lie_where_the_axes_say(limit):
    for svg in charts(render(full() | {"limit_usd": Decimal(limit)})):
        rows = [(attribute(line, "data-value"), attribute(line, "y1")) for line in of_class(svg, "y")]
        (low, y_low), (high, y_high) = rows[0], rows[-1]
        (line,) = of_class(svg, "limit")
        assert line.attrib["y1"] == line.attrib["y2"]
        assert attribute(line, "y1") == pytest.approx(
            y_low + (float(limit) - low) / (high - low) * (y_high - y_low), abs=0.02
        )

        columns = [(attribute(line, "data-value"), attribute(line, "x1")) for line in of_class(svg, "x")]
        (low, x_low), (high, x_high) = columns[0], columns[-1]
        expected = [x_low + (mark["seconds"] - low) / (high - low) * (x_high - x_low) for mark in full()["marks"]]
        assert [attribute(mark, "x1") for mark in of_class(svg, "mark")] == pytest.approx(expected, abs=0.02)


def test_the_spend_is_a_step_line_through_every_sample():
    report = full()
    for svg in charts(render(report)):
        (path,) = of_class(svg, "spend")
        assert len(re.findall(r"H[\d.]+ V[\d.]+", path.attrib["d"])) == len(report["samples"]) - 1


@pytest.mark.parametrize("gap", [0.0, 0.5, 3.0, 20.0])
def test_labels_of_marks_never_overlap(gap):
    marks = [{"seconds": 100 + gap * n, "label": label} for n, label in enumerate(("x" * 200, *MARKS))]
    for svg in charts(render(full() | {"marks": marks})):
        flags = of_class(svg, "flag")
        assert len(flags) == len(marks)
        sizes = [6 * len(str(flag.text)) for flag in flags]
        starts = [
            attribute(flag, "x") - (size if flag.attrib["text-anchor"] == "end" else 0)
            for flag, size in zip(flags, sizes, strict=True)
        ]
        boxes = list(zip(starts, (attribute(flag, "y") for flag in flags), sizes, strict=True))
        width = float(svg.attrib["viewBox"].split()[2])
        for number, (x, y, long) in enumerate(boxes):
            assert x >= 0
            assert x + long <= width
            assert all(abs(y - b) >= 12 or x + long <= a or a + wide <= x for a, b, wide in boxes[:number])
