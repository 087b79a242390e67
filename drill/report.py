"""The drill's report: one JSON file for machines, one HTML page that needs nothing but itself.

A drill that failed early knows little. Whatever is missing or None is left out; nothing here raises for it.
"""

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, object]]

CENT = 0.01
MINUTE = 60
LONG_SECONDS = 120
UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
"""What XML or UTF-8 cannot carry, among it the escape codes of terminals."""

TRIP = "trip"
DENIED = "first AccessDenied"
KINDS = {
    "launcher": "added to the emulator in process",
    "template": "changed in the copy of the cloud assembly",
    "drill": "done by the drill in place of AWS",
}

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1c1e21; --muted: #59626d; --rule: #d8dde3; --tile: #f5f7f9;
  --spend: #1b5a9e; --bad: #a3242b; --good: #1c6838; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #14171a; --text: #e6e8ea; --muted: #a0aab4; --rule: #363d44; --tile: #1d2125;
    --spend: #82b6ec; --bad: #ff9d97; --good: #88d1a1; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 3rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: clamp(1.3rem, 1rem + 1.6vw, 1.9rem); line-height: 1.25; margin: .25rem 0 .5rem; text-wrap: balance;
  overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; break-after: avoid; }
p { margin: .5rem 0; }
li { overflow-wrap: anywhere; }
.verdict { margin: 0; font-weight: 600; }
.muted, figcaption, th { color: var(--muted); }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; }
.failures { border-left: .25rem solid var(--bad); padding-left: 1rem; margin: 1.75rem 0; }
.failures h2 { margin-top: 0; }
code { font: .875em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(12rem, 45%), 1fr));
  gap: .75rem; margin: 1.5rem 0; }
.tiles div { display: flex; flex-direction: column-reverse; justify-content: flex-end; background: var(--tile);
  border: 1px solid var(--rule); border-radius: .375rem; padding: .625rem .875rem; break-inside: avoid; }
.tiles dt { font-size: .875rem; line-height: 1.35; color: var(--muted); }
.tiles dd { margin: 0; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: 2rem 0; break-inside: avoid; }
figure h2 { margin: 0 0 .5rem; }
figcaption { font-size: .875rem; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg text { fill: var(--text); font-variant-numeric: tabular-nums; }
svg .tick, svg .unit { fill: var(--muted); }
svg .halo { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
svg .grid { stroke: var(--rule); }
svg .axis, svg .mark { stroke: var(--muted); }
svg .band { fill: var(--bad); opacity: .12; }
svg .spend { fill: none; stroke: var(--spend); stroke-width: 2.25; stroke-linejoin: round; }
svg .limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 6 4; }
svg text.over { fill: var(--bad); font-weight: 600; }
svg.narrow { display: none; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem 1rem .4rem 0; border-bottom: 1px solid var(--rule); }
th { font-size: .8125rem; font-weight: 600; white-space: nowrap; }
td { overflow-wrap: anywhere; }
.name { width: 13rem; min-width: 13rem; }
.word { width: 1%; overflow-wrap: normal; }
.number { width: 1%; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tr { break-inside: avoid; }
@media screen and (max-width: 40rem) {
  svg.wide { display: none; }
  svg.narrow { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, td { display: block; }
  tr { border-bottom: 1px solid var(--rule); padding: .5rem 0; }
  td, td.number, td.word, td.name { width: auto; min-width: 0; border: 0; padding: .1rem 0;
    text-align: left; white-space: normal; }
  td::before { content: attr(data-column) ": "; color: var(--muted); font-size: .8125rem; }
  td:first-child { font-weight: 600; }
  td:empty { display: none; }
}
@media print {
  html { font-size: 11px; }
  body { max-width: none; padding: 0; }
  .tiles, .band { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def write(report: Mapping[str, Any], out: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html`` into the directory and return both paths."""
    out.mkdir(parents=True, exist_ok=True)
    data, page = out / "report.json", out / "report.html"
    data.write_text(json.dumps(dict(report), indent=2, default=_plain) + "\n", encoding="utf-8")
    page.write_text(render(report), encoding="utf-8")
    return data, page


def render(report: Mapping[str, Any]) -> str:
    """Return the page: headline, key figures, chart, then what happened in detail."""
    passed = _passed(report)
    headline = _text(_headline(report))
    body = "\n".join(
        part
        for part in (
            f'<p class="verdict {"good" if passed else "bad"}">Drill: {"ok" if passed else "FAILED"}</p>',
            f"<h1>{headline}</h1>",
            _circumstances(report),
            _failures(report),
            _tiles(report),
            _figure(report),
            _measured(report),
            _scenes(report),
            _timeline(report),
            _principals(report),
            _left_behind(report),
            _adaptations(report),
        )
        if part
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Drill {"ok" if passed else "FAILED"}: Bedrock spend guardrail</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


# What is in the report, whatever it is.


def _plain(value: object) -> object:
    """Return what JSON can say for what it has no word for."""
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()


def _rows(value: object) -> Rows:
    return [row for row in _items(value) if isinstance(row, Mapping)]


def _points(value: object, key: str) -> list[tuple[float, float]]:
    """Return (seconds, figure) of the rows that have both, in order of time."""
    pairs = ((_number(row.get("seconds")), _number(row.get(key))) for row in _rows(value))
    return sorted((at, figure) for at, figure in pairs if at is not None and figure is not None)


def _marks(report: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Return (seconds, label) of the marks that have both, in order of time."""
    pairs = ((_number(row.get("seconds")), row.get("label")) for row in _rows(report.get("marks")))
    return sorted((at, str(label)) for at, label in pairs if at is not None and label is not None)


def _failed_scenes(report: Mapping[str, Any]) -> list[str]:
    return [str(row.get("name") or "unnamed") for row in _rows(report.get("scenes")) if row.get("ok") is False]


def _passed(report: Mapping[str, Any]) -> bool:
    """Only a drill that says so and lists nothing to the contrary has passed."""
    return report.get("ok") is True and not _items(report.get("failures")) and not _failed_scenes(report)


# In words.


def _text(value: object) -> str:
    """Return the value as text that HTML and XML take literally."""
    return "" if value is None else html.escape(UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def _usd(value: float) -> str:
    digits = 4 if 0 < abs(value) < CENT else 2
    return f"{'-' if value < 0 else ''}${abs(value):,.{digits}f}"


def _seconds(value: object) -> str:
    number = _number(value)
    return "" if number is None else f"{number:.1f} s"


def _duration(value: float) -> str:
    if value < LONG_SECONDS:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), MINUTE)
    return f"{minutes} min {seconds} s"


def _listed(names: Sequence[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _flag(value: object, *, wanted: bool = False) -> str:
    """Return yes, no or not checked; a wanted thing that is not so stands out, in a word as well."""
    if not isinstance(value, bool):
        return '<span class="muted">not checked</span>'
    if value:
        return "yes"
    return '<span class="bad">no (FAILED)</span>' if wanted else "no"


def _result(value: object) -> str:
    if not isinstance(value, bool):
        return '<span class="muted">not run</span>'
    return '<span class="good">ok</span>' if value else '<span class="bad">FAILED</span>'


def _headline(report: Mapping[str, Any]) -> str:
    story = _story(report)
    if _passed(report):
        return story or "The drill passed."
    scenes = _failed_scenes(report)
    verdict = f"The drill FAILED in {_listed(scenes)}." if scenes else "The drill FAILED."
    return f"{verdict} {story}".rstrip()


def _story(report: Mapping[str, Any]) -> str:
    """Return, as one sentence, what was measured of the stop and of the release."""
    took = _number(report.get("trip_to_denied_seconds"))
    at_trip, at_denied = _number(report.get("spend_at_trip_usd")), _number(report.get("spend_at_denied_usd"))
    limit = _number(report.get("limit_usd"))
    of_limit = "" if limit is None else f" of {_usd(limit)}"
    parts = []
    if took is not None:
        at = "" if at_denied is None else f", at {_usd(at_denied)}{of_limit}"
        crossed = at_trip is not None and limit is not None and at_trip >= limit
        since = "its spend crossed the limit" if crossed else "the limit tripped"
        parts.append(f"the runaway agent was stopped {took:.1f} s after {since}{at}")
    elif at_trip is not None:
        parts.append(f"the spend reached {_usd(at_trip)}{of_limit} and no denial was measured after it")
    identical = report.get("iam_identical_after_release")
    if isinstance(identical, bool):
        words = "byte-identical" if identical else "NOT identical"
        parts.append(f"the account's IAM, API keys and concurrency are {words} after release")
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


# The page, part by part. Each returns an empty string when there is nothing to show.


def _circumstances(report: Mapping[str, Any]) -> str:
    parts = []
    if started := report.get("started"):
        try:
            shown = datetime.fromisoformat(str(started)).isoformat(" ", "seconds")
        except ValueError:
            shown = str(started)
        parts.append(f'started <time datetime="{_text(started)}">{_text(shown)}</time>')
    seconds = _number(report.get("seconds"))
    if seconds is not None:
        parts.append(f"took {_duration(seconds)}")
    emulator = _emulator(report)
    if name := emulator.get("name"):
        parts.append(f"on the emulator {_text(name)} {_text(emulator.get('version'))}".rstrip() + ", not on AWS")
    line = ", ".join(parts)
    return f'<p class="muted">{line[0].upper()}{line[1:]}.</p>' if line else ""


def _failures(report: Mapping[str, Any]) -> str:
    return _list("What failed", _items(report.get("failures")), "failures")


def _list(title: str, items: Sequence[object], css: str) -> str:
    if not items:
        return ""
    entries = "\n".join(f"<li>{_text(item)}</li>" for item in items)
    return f'<section class="{css}"><h2>{title}</h2>\n<ul>\n{entries}\n</ul></section>'


def _tiles(report: Mapping[str, Any]) -> str:
    tiles: list[tuple[str, str]] = []
    took = _number(report.get("trip_to_denied_seconds"))
    at_trip, at_denied = _number(report.get("spend_at_trip_usd")), _number(report.get("spend_at_denied_usd"))
    limit, writes = _number(report.get("limit_usd")), _number(report.get("iam_writes_to_stop"))
    if took is not None:
        tiles.append((f"{took:.1f} s", "from the trip to the first AccessDenied"))
    if limit is not None:
        tiles.append((_usd(limit), "limit"))
    if at_trip is not None:
        tiles.append((_usd(at_trip), "spent at the trip"))
    if at_denied is not None:
        tiles.append((_usd(at_denied), f"spent at the first AccessDenied{_beyond(at_denied, limit)}"))
    if writes is not None:
        tiles.append((f"{writes:g}", f"IAM write{'' if writes == 1 else 's'} to stop"))
    if armed := [row for row in _rows(report.get("principals")) if row.get("armed") is True]:
        denied, allowed = (
            f"{sum(row.get(key) is True for row in armed)} of {len(armed)}"
            for key in ("denied_after_stop", "allowed_after_release")
        )
        tiles.append((denied, f"armed principals denied after the stop; {allowed} allowed after release"))
    if isinstance(identical := report.get("iam_identical_after_release"), bool):
        tiles.append((_flag(identical, wanted=True), "IAM, API keys and concurrency byte-identical after release"))
    if report.get("resources_left_after_destroy") is not None:
        left = len(_items(report.get("resources_left_after_destroy")))
        tiles.append((str(left), f"resource{'' if left == 1 else 's'} left after destroy"))
    if not tiles:
        return ""
    entries = "\n".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for value, label in tiles)
    return f'<dl class="tiles">\n{entries}\n</dl>'


def _beyond(spent: float, limit: float | None) -> str:
    if not limit:
        return ""
    share = (spent - limit) / limit
    return f", {abs(share):.1%} {'over' if share >= 0 else 'under'} the limit"


def _table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """Return a section with a table; columns are (title, class), cells are HTML."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col" class="{css}">{column}</th>' for column, css in columns)
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td class="{css}" data-column="{column}">{cell}</td>'
            for (column, css), cell in zip(columns, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    note = f'<p class="muted">{note}</p>\n' if note else ""
    return (
        f"<section><h2>{title}</h2>\n{note}<table>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table></section>"
    )


def _measured(report: Mapping[str, Any]) -> str:
    return _table(
        "Also measured",
        (("What", ""), ("Figure", "")),
        [(_text(row.get("what")), _text(row.get("figure"))) for row in _rows(report.get("measured"))],
    )


def _scenes(report: Mapping[str, Any]) -> str:
    return _table(
        "Scenes",
        (("Scene", "name"), ("Result", "word"), ("Took", "number"), ("Detail", "")),
        [
            (_text(row.get("name")), _result(row.get("ok")), _seconds(row.get("seconds")), _text(row.get("detail")))
            for row in _rows(report.get("scenes"))
        ],
    )


def _timeline(report: Mapping[str, Any]) -> str:
    return _table(
        "Timeline",
        (("At", "number"), ("Event", "")),
        [(_seconds(row.get("seconds")), _text(row.get("event"))) for row in _rows(report.get("timeline"))],
    )


def _principals(report: Mapping[str, Any]) -> str:
    columns = (
        ("Principal", ""),
        ("Armed", "word"),
        ("Denied after stop", "word"),
        ("Allowed after release", "word"),
        ("Note", ""),
    )
    rows = []
    for row in _rows(report.get("principals")):
        armed = row.get("armed") is True
        outcome = (_flag(row.get(key), wanted=armed) for key in ("denied_after_stop", "allowed_after_release"))
        rows.append(
            (f"<code>{_text(row.get('arn'))}</code>", _flag(row.get("armed")), *outcome, _text(row.get("note")))
        )
    return _table("Principals", columns, rows)


def _left_behind(report: Mapping[str, Any]) -> str:
    return _list("Left behind after destroy", _items(report.get("resources_left_after_destroy")), "failures")


def _emulator(report: Mapping[str, Any]) -> Mapping[str, object]:
    emulator = report.get("emulator")
    return emulator if isinstance(emulator, Mapping) else {}


def _adaptations(report: Mapping[str, Any]) -> str:
    rows = _rows(_emulator(report).get("adapted"))
    kinds = [kind for kind in KINDS if any(row.get("kind") == kind for row in rows)]
    return _table(
        "What the emulator cannot do and what was done instead",
        (("Id", "name"), ("Kind", "word"), ("On AWS", ""), ("Here", "")),
        [
            (f"<code>{_text(row.get('id'))}</code>", *(_text(row.get(key)) for key in ("kind", "aws", "here")))
            for row in rows
        ],
        "; ".join(f"{kind}: {KINDS[kind]}" for kind in kinds),
    )


# The chart.

LETTER = 6.4
"""Pixels that a letter of a label takes, generously."""
LINE = 17.0
LEFT, RIGHT, FOOT = 52.0, 14.0, 44.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from values to pixels, with round ticks."""

    low: float
    high: float
    step: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of the value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return the round values on the axis."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [number * self.step for number in range(first, last + 1)]

    def digits(self) -> int:
        """Return how many decimals tell the ticks apart."""
        return max(0, -math.floor(math.log10(self.step) + 1e-9))


@dataclass(frozen=True, slots=True)
class Flag:
    """A mark's line and its label, which stands in a row above the plot."""

    label: str
    x: float
    text_x: float
    anchor: str
    row: int


def _round_step(span: float, ticks: int) -> float:
    """Return 1, 2 or 5 times a power of ten that cuts the span into about that many parts."""
    raw = span / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    return next((factor * power for factor in (1.0, 2.0, 5.0) if factor * power >= raw * (1 - 1e-9)), 10 * power)


def _flags(marks: Sequence[tuple[float, str]], axis: Axis) -> list[Flag]:
    """Stagger the labels from right to left: each stands above all those that it would run into."""
    room = int((axis.end - axis.start) / LETTER)
    placed: list[tuple[Flag, float, float]] = []
    for seconds, name in reversed(marks):
        shown = name if len(name) <= (cut := max(1, room - len(_seconds(seconds)) - 1)) else f"{name[: cut - 1]}…"
        label = f"{shown} {_seconds(seconds)}"
        x, width = axis.at(seconds), len(label) * LETTER
        start = max(axis.start, min(x, axis.end - width))
        end = start + width
        below = [
            other.row
            for other, left, right in placed
            if (left < end and start < right) or start <= other.x <= end or left <= x <= right
        ]
        text_x, anchor = (start, "start") if x + width <= axis.end else (axis.end, "end")
        placed.append((Flag(label, x, text_x, anchor, max(below, default=-1) + 1), start, end))
    return [flag for flag, _, _ in reversed(placed)]


def _figure(report: Mapping[str, Any]) -> str:
    samples = _points(report.get("samples"), "spend_usd")
    if not samples:
        return ""
    times = dict[str, float]()
    for seconds, label in _marks(report):
        times.setdefault(label, seconds)
    caption = "The line is what the agent had spent at each moment; the dashed line is the limit."
    if TRIP in times and DENIED in times:
        caption += f" Shaded: the {_seconds(times[DENIED] - times[TRIP])} between the trip and the first AccessDenied."
    at_trip, limit = _number(report.get("spend_at_trip_usd")), _number(report.get("limit_usd"))
    if at_trip is not None and limit is not None and at_trip < limit:
        caption += " The trip comes before the limit: it counts the usage that is still on its way."
    return (
        "<figure><h2>Cumulative spend during the drill</h2>\n"
        f"{_chart(report, 'wide', 760, 300)}\n{_chart(report, 'narrow', 350, 260)}\n"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _chart(report: Mapping[str, Any], name: str, width: float, plot: float) -> str:
    """Return the chart drawn for that many pixels, so that its text is neither shrunk nor blown up."""
    samples, marks = _points(report.get("samples"), "spend_usd"), _marks(report)
    limit = _number(report.get("limit_usd"))
    moments = [at for at, _ in (*samples, *marks)]
    span = max(moments) - min(moments) or 1.0
    step = _round_step(span, max(2, int(width / 80)))
    low = math.floor(min(moments) / step + 1e-9) * step
    x = Axis(low, max(*moments, min(moments) + span), step, LEFT, width - RIGHT)
    flags = _flags(marks, x)
    top = LINE * (max((flag.row for flag in flags), default=-1) + 1) + 12
    amounts = [0.0, *(amount for _, amount in samples), *([] if limit is None else [limit])]
    bottom, peak = min(amounts), max(amounts)
    step = _round_step((peak - bottom) * 1.08 or 1.0, 7)
    bottom, peak = math.floor(bottom / step) * step, math.ceil(((peak - bottom) * 1.08 + bottom) / step) * step
    y = Axis(bottom, peak if peak > bottom else bottom + step, step, top + plot, top)
    height = top + plot + FOOT
    box, labels = f"0 0 {width:g} {height:g}", f"{name}-title {name}-desc"
    parts = [
        f'<svg class="{name}" viewBox="{box}" role="img" aria-labelledby="{labels}">',
        f'<title id="{name}-title">Cumulative spend in US dollars over seconds</title>',
        f'<desc id="{name}-desc">{_text(_described(samples, limit, marks))}</desc>',
        *_grid(x, y),
        *_band(marks, x, y),
        *(_line("mark", (flag.x, flag.x), (_label_y(flag, y) + 4, y.start)) for flag in flags),
        _spend_line(samples, x, y),
        *_limit_line(limit, x, y),
        *(_label("flag halo", flag.text_x, _label_y(flag, y), flag.label, flag.anchor) for flag in flags),
        "</svg>",
    ]
    return "\n".join(parts)


def _line(css: str, xs: tuple[float, float], ys: tuple[float, float], value: float | None = None) -> str:
    data = "" if value is None else f' data-value="{value:.9g}"'
    (x1, x2), (y1, y2) = xs, ys
    return f'<line class="{css}"{data} x1="{x1:.2f}" x2="{x2:.2f}" y1="{y1:.2f}" y2="{y2:.2f}"/>'


def _label(css: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="{css}" x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{_text(text)}</text>'


def _label_y(flag: Flag, y: Axis) -> float:
    return y.end - 8 - flag.row * LINE


def _described(samples: Sequence[tuple[float, float]], limit: float | None, marks: Sequence[tuple[float, str]]) -> str:
    (first, start), (last, end) = samples[0], samples[-1]
    sentences = [f"Spend went from {_usd(start)} at {_seconds(first)} to {_usd(end)} at {_seconds(last)}."]
    if limit is not None:
        sentences.append(f"The limit is {_usd(limit)}.")
    if marks:
        sentences.append(f"Marks: {', '.join(f'{label} at {_seconds(at)}' for at, label in marks)}.")
    return " ".join(sentences)


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    across, down = (x.start, x.end), (y.start, y.start + 5)
    cents = 0 if y.digits() == 0 else max(2, y.digits())
    for value in y.ticks():
        amount = f"{'-' if value < 0 else ''}${abs(value):,.{cents}f}"
        parts.append(_line("grid y", across, (y.at(value), y.at(value)), value))
        parts.append(_label("tick", x.start - 8, y.at(value) + 4, amount, "end"))
    for value in x.ticks():
        parts.append(_line("axis x", (x.at(value), x.at(value)), down, value))
        parts.append(_label("tick", x.at(value), y.start + 19, f"{value:.{x.digits()}f}", "middle"))
    parts.append(_line("axis", across, (y.start, y.start)))
    parts.append(_label("unit", (x.start + x.end) / 2, y.start + 37, "seconds since the drill began", "middle"))
    return parts


def _band(marks: Sequence[tuple[float, str]], x: Axis, y: Axis) -> list[str]:
    """Shade from the trip to the first denial: the time that the report is about."""
    times = {label: at for at, label in reversed(marks)}
    if TRIP not in times or DENIED not in times or times[DENIED] <= times[TRIP]:
        return []
    left, right = x.at(times[TRIP]), x.at(times[DENIED])
    return [
        f'<rect class="band" x="{left:.2f}" y="{y.end:g}" width="{right - left:.2f}" height="{y.start - y.end:g}"/>'
    ]


def _spend_line(samples: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    """Draw each figure until the next one is known: nothing is interpolated."""
    (first, start), *rest = samples
    steps = " ".join(f"H{x.at(at):.2f} V{y.at(amount):.2f}" for at, amount in rest)
    return f'<path class="spend" d="M{x.at(first):.2f} {y.at(start):.2f} {steps or f"h{LINE:g}"}"/>'


def _limit_line(limit: float | None, x: Axis, y: Axis) -> list[str]:
    if limit is None:
        return []
    at = y.at(limit)
    return [
        _line("limit", (x.start, x.end), (at, at)),
        _label("over halo", x.start + 6, at - 7, f"limit {_usd(limit)}"),
    ]
