"""The widget on the dashboard: the status answer as HTML. Pure.

CloudWatch calls the status function with ``{"widgetContext": {"theme": "dark", ...}}`` and shows the HTML it returns,
without whatever could run; with ``{"describe": true}`` it asks for documentation in Markdown. Names of models, roles
and reasons are others' words: all text is escaped here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from html import escape
from typing import Any

from lambdas.core.notice import Links

DOCUMENTATION = """\
## Bedrock spend guardrail
How Bedrock spend stands against its limits, and whom a stop reaches. It takes no parameters and changes nothing.
"""

_MAX_TEXT = 160
_MAX_ITEMS = 6
_WIDEST = Decimal(100)
_DIGITS = 15


@dataclass(frozen=True, slots=True)
class _Theme:
    text: str
    faint: str
    track: str
    good: str
    warn: str
    bad: str
    unknown: str


_THEMES = {
    "light": _Theme("#16191f", "#545b64", "#e1e4e8", "#1d8102", "#b25b00", "#c7162b", "#545b64"),
    "dark": _Theme("#e9ebed", "#a6adb5", "#414d5c", "#2f9e44", "#e07b00", "#f0475b", "#8d99a8"),
}


@dataclass(frozen=True, slots=True)
class _State:
    """The level in a word, a class of colour, and whether that is bad news."""

    word: str
    colour: str


_STATES = {
    "released": _State("RELEASED", "good"),
    "step-down": _State("STEPPED DOWN", "warn"),
    "stop": _State("STOPPED", "bad"),
}
_COLOURS = {"ok": "good", "warn": "warn", "step-down": "warn", "stop": "bad"}
"""Of a limit, by what it calls for."""


def theme_asked_for(event: object) -> str | None:
    """Return the theme a dashboard asks to be drawn in; None when the event is not a dashboard's."""
    context = event.get("widgetContext") if isinstance(event, Mapping) else None
    if not isinstance(context, Mapping):
        return None
    return "dark" if context.get("theme") == "dark" else "light"


def asks_for_documentation(event: object) -> bool:
    """Tell whether a dashboard asks what the widget is."""
    return isinstance(event, Mapping) and event.get("describe") is True


def widget(answer: Mapping[str, Any], now: datetime, links: Links, *, theme: str, endpoint: str = "") -> str:
    """Return the status answer as HTML; ``endpoint`` is the function to call for a fresh one.

    What an answer does not have, or has in a form that cannot be read, is shown as not known.
    """
    meter = answer.get("meter")
    decision: Mapping[str, Any] = meter if isinstance(meter, Mapping) else {}
    figures = decision.get("figures")
    figures = figures if isinstance(figures, Mapping) else {}
    columns = (
        f"<div><h4>Limits</h4>{_limits(figures, answer)}</div>",
        f"<div><h4>Models today</h4>{_models(figures)}</div>",
        f"<div><h4>The brake</h4>{_table(_brake(answer))}</div>",
        f"<div><h4>The guardrail</h4>{_table(_guardrail(answer, decision, figures, now))}</div>",
    )
    return (
        f"{_style(_THEMES[theme])}<div class='bsg'>{_banner(answer)}"
        f"<div class='bsg-columns'>{''.join(columns)}</div>{_buttons(links, endpoint)}</div>"
    )


def _style(theme: _Theme) -> str:
    return (
        "<style>"
        f".bsg{{color:{theme.text};font-size:13px;line-height:1.35}}"
        ".bsg h4{margin:0 0 4px;font-size:13px}"
        ".bsg-columns{display:flex;flex-wrap:wrap;gap:12px 28px}"
        ".bsg-columns>div{flex:1 1 220px;min-width:200px}"
        ".bsg-banner{padding:6px 10px;margin-bottom:8px;border-left:8px solid;font-size:14px}"
        ".bsg-banner b{margin-right:8px}"
        f".bsg-track{{background:{theme.track};height:8px;position:relative;margin:2px 0 6px;overflow:hidden}}"
        ".bsg-track div{position:absolute;left:0;top:0;height:8px}"
        ".bsg-coming{opacity:.45}"
        f".bsg-faint{{color:{theme.faint}}}"
        ".bsg table{border-collapse:collapse;width:100%}"
        ".bsg td{padding:1px 8px 1px 0;vertical-align:top;border:0;font-size:13px;word-break:break-word}"
        f".bsg td{{color:{theme.text}}}"
        f".bsg td:first-child{{white-space:nowrap;width:1%;color:{theme.faint}}}"
        + "".join(
            f".bsg-{name}{{color:{colour}}}.bsg-track .bsg-{name}{{background:{colour}}}"
            f".bsg-banner.bsg-{name}{{border-color:{colour}}}"
            for name, colour in (
                ("good", theme.good),
                ("warn", theme.warn),
                ("bad", theme.bad),
                ("unknown", theme.unknown),
            )
        )
        + f".bsg-banner span{{color:{theme.text}}}</style>"
    )


def _banner(answer: Mapping[str, Any]) -> str:
    state = _STATES.get(str(answer.get("level")), _State("NOT KNOWN", "unknown"))
    alone = _items(answer.get("stopped_alone"))
    if alone and state.colour == "good":
        state = _State("STOPPED ALONE", "warn")
    report_only = " (report-only)" if answer.get("mode") == "report-only" else ""
    summary = _text(answer.get("summary", ""), 2 * _MAX_TEXT)
    unknown = answer.get("unknown")
    unread = f"<br><b class='bsg-bad'>Could not be read:</b>{_text(_words(unknown))}" if unknown else ""
    return (
        f"<div class='bsg-banner bsg-{state.colour}'><b>{state.word}{report_only}</b>"
        f"<span>{summary}{unread}</span></div>"
    )


def _limits(figures: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    measured = [each for each in _items(figures.get("limits")) if isinstance(each, Mapping)]
    if not measured:
        limits = _items(answer.get("limits"))
        rows = "".join(f"<div>{_text(each)}</div><div class='bsg-track'></div>" for each in limits)
        return f"{rows}<div class='bsg-faint'>Not measured yet: the meter looks within a minute or two.</div>"
    return "".join(map(_limit, measured))


def _limit(each: Mapping[str, Any]) -> str:
    spent, projected, allowed = (_number(each.get(key)) for key in ("spent", "projected", "allowed"))
    colour = _COLOURS.get(str(each.get("verdict")), "unknown")
    name = _text(each.get("limit", ""))
    if spent is None or projected is None or not allowed:
        return f"<div><b>{name}</b> not known</div><div class='bsg-track'></div>"
    stated = _number(str(each.get("limit", "")).removeprefix("$").partition("/")[0])
    raised = f", raised to ${allowed:,.2f}" if stated is not None and stated != allowed else ""
    coming = f" (${projected:,.2f} with what is on its way)" if f"{projected:.2f}" != f"{spent:.2f}" else ""
    # Not rounded up: 100 % is a stop.
    percent = f"{projected * 100 // allowed:,} %"
    bars = _bar(projected / allowed, f"bsg-coming bsg-{colour}") + _bar(spent / allowed, f"bsg-{colour}")
    return (
        f"<div><b>${spent:,.2f}</b> of {name}{raised}{coming} <span class='bsg-{colour}'>{percent}</span></div>"
        f"<div class='bsg-track'>{bars}</div>"
    )


def _models(figures: Mapping[str, Any]) -> str:
    models = figures.get("models")
    rows = [(name, _number(usd)) for name, usd in models.items()] if isinstance(models, Mapping) else []
    used = [(name, usd) for name, usd in rows if usd is None or usd > 0]
    if not used:
        return (
            "<div class='bsg-faint'>None was used today.</div>"
            if figures
            else "<div class='bsg-faint'>Not measured yet.</div>"
        )
    if others := _number(figures.get("other_models")):
        used.append(("all others", others))
    most = max((usd for _, usd in used if usd is not None), default=Decimal(1))
    return "".join(
        f"<div>{_text(name)} <b>{'not known' if usd is None else f'${usd:,.2f}'}</b></div>"
        f"<div class='bsg-track'>{_bar((usd or Decimal(0)) / most, 'bsg-unknown')}</div>"
        for name, usd in used
    )


def _brake(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    shares = answer.get("shares")
    shares = shares if isinstance(shares, Mapping) else {}
    reach = answer.get("cannot_be_stopped")
    return [
        ("Armed", _text(shares.get("armed", "not known"))),
        ("Denied now", _text(shares.get("denied_now", "not known"))),
        ("Out of reach", _listed(reach, bad=True) if reach is not None else "not known"),
        ("Stopped alone", _listed(answer.get("stopped_alone"))),
        ("Held down", _listed(answer.get("held_down"))),
        ("Allowances", _listed(answer.get("allowances"))),
        ("Last stop", _happened(answer.get("last_stop"))),
        ("Last release", _happened(answer.get("last_release"))),
    ]


def _guardrail(
    answer: Mapping[str, Any], decision: Mapping[str, Any], figures: Mapping[str, Any], now: datetime
) -> list[tuple[str, str]]:
    burn, guessed = _number(figures.get("burn")), _number(figures.get("guessed_percent"))
    spend = decision.get("spend")
    gaps = spend.get("gaps") if isinstance(spend, Mapping) else None
    watch = answer.get("watch")
    rows = [
        ("Burn", "not known" if burn is None else f"${burn:,.2f} a minute"),
        ("Meter read", _ago(decision.get("at"), now)),
        ("Guessed", "not known" if guessed is None else f"{guessed:.1f} % of the month"),
        ("Not read", _listed(gaps, bad=True) if gaps is not None else "not known"),
        ("Self-watch", _listed(watch, bad=True) if watch is not None else "not known"),
        ("Last drill", _text(_words(answer.get("last_drill") or "none"))),
        ("Costs itself", _own_cost(answer.get("costs_itself"))),
    ]
    would = answer.get("would_have_stopped")
    return [*rows, ("Would have stopped", _listed(would))] if would else rows


def _own_cost(cost: object) -> str:
    if not isinstance(cost, Mapping):
        return _text(_words(cost or "not known"))
    usd = _number(cost.get("this_month_usd"))
    how = _text(cost.get("how", ""), 4 * _MAX_TEXT)
    return f"<span title='{how}'>{'not known' if usd is None else f'${usd:,.2f} this month'}</span>"


def _buttons(links: Links, endpoint: str) -> str:
    places = (("Stop", links.kill), ("Release", links.release), ("Status", links.status))
    anchors = " ".join(
        f"<a class='btn' href='{escape(url)}' target='_blank' rel='noopener'>{name}\N{HORIZONTAL ELLIPSIS}</a>"
        for name, url in places
    )
    # Nothing here acts: the pages linked to ask for an event first.
    again = (
        f" <a class='btn'>Refresh</a><cwdb-action action='call' display='widget' endpoint='{escape(endpoint)}'>{{}}"
        "</cwdb-action>"
    )
    return f"<p>{anchors}{again if endpoint else ''}</p>"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _bar(share: Decimal, classes: str) -> str:
    percent = min(max(share * 100, Decimal(0)), _WIDEST)
    return f"<div class='{classes}' style='width:{percent:.1f}%'></div>"


def _listed(value: object, *, bad: bool = False) -> str:
    """Return how many there are and the first of them; the more of them as a tip."""
    items = [f"{key}: {_words(each)}" for key, each in value.items()] if isinstance(value, Mapping) else _items(value)
    if not items:
        return "none"
    words = [_words(each) for each in items]
    shown = "<br>".join(_text(each) for each in words[:_MAX_ITEMS])
    more = f"<br>\N{HORIZONTAL ELLIPSIS} and {len(words) - _MAX_ITEMS} more" if len(words) > _MAX_ITEMS else ""
    return f"<span class='bsg-{'bad' if bad else 'warn'}'>{len(words)}</span>: {shown}{more}"


def _happened(record: object) -> str:
    if not isinstance(record, Mapping):
        return "none" if record is None else _text(_words(record))
    by = f" by {record['by']}" if record.get("by") else ""
    at = str(record.get("at", ""))[:16].replace("T", " ")
    return _text(f"{at} UTC{by}: {_words(record.get('reason', ''))}")


def _ago(at: object, now: datetime) -> str:
    try:
        age = now - datetime.fromisoformat(str(at))
    except (ValueError, TypeError, OverflowError):
        return "not yet"
    return f"{age // timedelta(minutes=1):,} min ago"


def _words(value: object) -> str:
    """Return a value of the answer as one line; of a record its own words, where it has any."""
    match value:
        case {"summary": str(words)}:
            return words
        case Mapping():
            return "; ".join(f"{key}: {_words(each)}" for key, each in value.items())
        case str():
            return value
        case None:
            return "none"
        case Sequence():
            return ", ".join(map(_words, value)) or "none"
        case _:
            return str(value)


def _items(value: object) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Sequence) else []


def _number(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    # What is written with an exponent of thousands is no figure of ours, and would be drawn digit by digit.
    return number if number.is_finite() and number.adjusted() < _DIGITS else None


def _text(value: object, longest: int = _MAX_TEXT) -> str:
    """Return others' words as HTML text: cut short, escaped, without what could turn the line around."""
    words = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(value)[: longest + 1])
    return escape(words if len(words) <= longest else f"{words[:longest]}\N{HORIZONTAL ELLIPSIS}")
