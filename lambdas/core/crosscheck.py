"""The meter against the bill: closed days beside what Cost Explorer says for the same days."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from lambdas.core import model_ids

SETTLED = timedelta(hours=48)
"""Cost Explorer is 8 to 24 hours late and goes on filling a day for a while: younger days are not compared."""

DAYS = 7
"""So many days are compared."""

TOLERANCE = Decimal("0.05")
"""Drift beyond this share of the bill is told of, when it is also more than `CENTS`."""

CENTS = Decimal(1)
"""USD; a difference up to this is nobody's mail."""

ABSURD = 1000
"""A bill of so many times what was metered is no drift: AWS has published such figures by a mistake of units."""

FACTOR_BOUND = 10
"""A factor further from what is in force than this is a mistake somewhere, not a calibration."""

_FEWEST_DAYS = 3
"""A factor is not offered on fewer."""

_WEEK = timedelta(days=7)

Behind = Callable[[str], Iterable[str]]
"""Which models may stand behind an id: a profile, a provisioned or an imported model."""


def _itself(model: str) -> tuple[str, ...]:
    return (model,)


class Agreement(StrEnum):
    """What the comparison came to."""

    AGREES = "agrees"
    CENTS = "differs by cents"
    LESS = "the meter reads less than the bill"
    MORE = "the meter reads more than the bill"
    IMPLAUSIBLE = "the bill is implausible"
    NOTHING = "nothing to compare"
    INCOMPLETE = "the bill could not be read whole"

    @property
    def drifts(self) -> bool:
        """Tell whether both figures are believed and differ."""
        return self in {Agreement.LESS, Agreement.MORE}


class Charge(NamedTuple):
    """What the bill calls something: its service, and the model where it names one."""

    service: str
    model: str = ""

    def __str__(self) -> str:
        """Return the model, or the service in want of one."""
        return self.model or self.service


@dataclass(frozen=True, slots=True)
class BilledDay:
    """A UTC day of the bill. No charges means that Cost Explorer has no figure, which is not zero."""

    day: date
    usd: Mapping[Charge, Decimal]
    estimated: bool = False
    """Whether AWS may still change it."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What Cost Explorer says. ``gaps`` tells in words what it could not bring; no gaps means whole."""

    days: Sequence[BilledDay]
    gaps: tuple[str, ...] = ()

    def with_models(self, by_model: "Bill") -> "Bill":
        """Return the same amounts, split by model as far as the other one knows them."""
        finer = {each.day: each.usd for each in by_model.days}
        days = [replace(each, usd=_split(each.usd, finer.get(each.day, {}))) for each in self.days]
        return replace(self, days=days)


@dataclass(frozen=True, slots=True)
class MeteredDay:
    """A UTC day the meter has closed whole: USD by ``model (region)``, and by item of the inventory."""

    day: date
    models: Mapping[str, Decimal]
    standing: Mapping[str, Decimal]

    @property
    def usd(self) -> Decimal:
        """USD of the day."""
        return _total(self.models) + _total(self.standing)


class Pair(NamedTuple):
    """What the meter and the bill have for one thing, in USD."""

    meter: Decimal
    bill: Decimal

    @property
    def difference(self) -> Decimal:
        """USD the meter has more than the bill; negative when it has less."""
        return self.meter - self.bill

    @property
    def drift(self) -> Decimal | None:
        """The difference in percent of the bill, None where the bill is nothing."""
        return self.difference / self.bill * 100 if self.bill > 0 else None

    @property
    def within(self) -> bool:
        """Tell whether the difference is within `TOLERANCE`."""
        return abs(self.difference) <= TOLERANCE * self.bill

    @property
    def absurd(self) -> bool:
        """Tell whether the bill is beyond belief beside what was metered."""
        return self.meter >= CENTS and self.bill >= ABSURD * self.meter

    def __str__(self) -> str:
        """Return ``meter $9.30, bill $10.00``."""
        return f"meter ${self.meter:.2f}, bill ${self.bill:.2f}"

    def to_json(self) -> dict[str, str | None]:
        """Return both figures and the drift."""
        drift = self.drift
        return {
            "meter_usd": f"{self.meter:.2f}",
            "bill_usd": f"{self.bill:.2f}",
            "drift_percent": None if drift is None else f"{drift:.1f}",
        }


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """How meter and bill compare over the days both have."""

    agreement: Agreement
    total: Pair
    days: Mapping[date, Pair]
    left_out: Mapping[date, str]
    """The days that are not compared, and why."""
    models: Mapping[str, Pair]
    """What goes by unmistakable names on both sides, the largest difference first."""
    only_billed: Mapping[str, Decimal]
    only_metered: Mapping[str, Decimal]
    notes: tuple[str, ...] = ()
    factor: Decimal | None = None
    """The ``prices.factor`` that would make both agree. Offered to a person, never applied."""
    no_factor: str = ""
    """Why none is offered though they differ."""

    @property
    def summary(self) -> str:
        """One sentence."""
        if not self.days:
            return f"Meter and bill: {self.agreement}."
        drift = self.total.drift
        percent = "" if drift is None else f" ({drift:+.1f} %)"
        return f"Meter and bill: {self.agreement}: {self.total}{percent}. {min(self.days)} to {max(self.days)}."

    @property
    def shown_factor(self) -> str:
        """The factor as a person would write it; rounded up, so that it never makes the meter read less."""
        return "" if self.factor is None else f"{self.factor.quantize(Decimal('0.0001'), ROUND_CEILING).normalize():f}"

    def to_json(self) -> dict[str, Any]:
        """Return what the ledger keeps and the status shows."""
        return {
            "summary": self.summary,
            "agreement": self.agreement.value,
            **self.total.to_json(),
            "days": {day.isoformat(): pair.to_json() for day, pair in self.days.items()},
            "left_out": {day.isoformat(): why for day, why in self.left_out.items()},
            "models": {name: pair.to_json() for name, pair in self.models.items()},
            "only_billed": {name: f"{usd:.2f}" for name, usd in self.only_billed.items()},
            "only_metered": {name: f"{usd:.2f}" for name, usd in self.only_metered.items()},
            "notes": list(self.notes),
            "factor_offered": self.shown_factor or None,
            "no_factor": self.no_factor or None,
        }


def days_to_compare(now: datetime) -> tuple[date, date]:
    """Return the first and the last (inclusive) of the `DAYS` newest UTC days that are settled."""
    last = (now.astimezone(UTC) - SETTLED).date() - timedelta(days=1)
    return last - timedelta(days=DAYS - 1), last


def compare(
    first: date,
    last: date,
    *,
    metered: Sequence[MeteredDay],
    bill: Bill,
    factor: Decimal,
    behind: Behind = _itself,
    standing_known: bool = True,
    notes: tuple[str, ...] = (),
) -> CrossCheck:
    """Compare the days from the first to the last (inclusive). ``factor`` is the one the meter's prices have now.

    A day counts only where both sides have a figure that can be believed; all others are named in ``left_out``.
    Without ``standing_known`` the meter lacks what the inventory would add, and no factor is offered.
    """
    by_day = {each.day: each for each in metered}
    billed = {each.day: each for each in bill.days}
    left_out = _left_out(first, last, by_day, billed)
    days = {
        day: Pair(by_day[day].usd, _total(billed[day].usd))
        for day in _each_day(first, last)
        if day not in left_out and not bill.gaps
    }
    total = Pair(
        sum((each.meter for each in days.values()), Decimal(0)), sum((e.bill for e in days.values()), Decimal(0))
    )
    models, only_billed, only_metered = match(
        _sum(by_day[day].models for day in days),
        _sum(by_day[day].standing for day in days),
        _sum(billed[day].usd for day in days),
        behind,
    )
    found = CrossCheck(
        agreement=Agreement.INCOMPLETE if bill.gaps else _agreement(total, days.values()),
        total=total,
        days=days,
        left_out=left_out,
        models=models,
        only_billed=only_billed,
        only_metered=only_metered,
        notes=(*notes, *bill.gaps),
    )
    if not found.agreement.drifts:
        return found
    tokens = sum((_total(by_day[day].models) for day in days), Decimal(0))
    why = _why_no_factor(found, tokens, standing_known=standing_known)
    if why:
        return replace(found, no_factor=why)
    # The factor is one on the prices of tokens; what stands by the hour is as it is.
    return replace(found, factor=factor * (total.bill - (total.meter - tokens)) / tokens)


def is_due(found: CrossCheck, before: Mapping[str, Any] | None, now: datetime) -> bool:
    """Tell whether people are told: of what is dangerous daily, of a meter that reads more once a week.

    ``before`` is what was kept last, with ``told`` as the time (ISO) of the last notice or None.
    """
    if found.agreement is not Agreement.MORE:
        return found.agreement in {Agreement.LESS, Agreement.IMPLAUSIBLE}
    told = None if before is None or before.get("agreement") != found.agreement.value else before.get("told")
    return not isinstance(told, str) or now - datetime.fromisoformat(told).astimezone(UTC) >= _WEEK


def match(
    models: Mapping[str, Decimal],
    standing: Mapping[str, Decimal],
    charges: Mapping[Charge, Decimal],
    behind: Behind = _itself,
) -> tuple[dict[str, Pair], dict[str, Decimal], dict[str, Decimal]]:
    """Pair ``model (region)`` with charges by the words of their names: (pairs, only billed, only metered).

    ``anthropic.claude-opus-5-5-v1:0`` and ``Claude Opus 5.5 (Amazon Bedrock Edition)`` say the same words. Where
    names say less, or more than one model could be meant, nothing is paired: both sides list what is theirs.
    """
    of_model: defaultdict[_Words, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    meant_by: defaultdict[_Words, set[_Words]] = defaultdict(set)
    for name, usd in models.items():
        model = name.rpartition(" (")[0] or name
        words, with_maker = _words_of_model(model, behind)
        of_model[words][model] += usd
        meant_by[words].add(words)
        meant_by[with_maker].add(words)
    of_charge: defaultdict[_Words, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    only_billed: defaultdict[str, Decimal] = defaultdict(Decimal)
    for charge, usd in charges.items():
        meant = meant_by.get(_words(_EDITION.sub("", str(charge))), set())
        if len(meant) == 1:
            of_charge[next(iter(meant))][str(charge)] += usd
        else:
            only_billed[str(charge)] += usd
    pairs = {
        f"{' + '.join(of_charge[words])} = {' + '.join(ids)}": Pair(_total(ids), _total(of_charge[words]))
        for words, ids in of_model.items()
        if words in of_charge
    }
    alone = {name: usd for words, ids in of_model.items() if words not in of_charge for name, usd in ids.items()}
    return (
        dict(sorted(pairs.items(), key=lambda item: abs(item[1].difference), reverse=True)),
        _dearest_first(only_billed),
        _dearest_first(_sum((alone, standing))),
    )


class _Words(NamedTuple):
    """What a name says: its words in any order (``Claude 4.6 Sonnet``), its numbers in theirs (5.6 is not 6.5)."""

    words: tuple[str, ...]
    numbers: tuple[int, ...]


_EDITION = re.compile(r"\s*\(amazon bedrock(?: edition)?\)\s*$", re.IGNORECASE)
_FIRST_VERSION = re.compile(r"\bv1(?:\.0)?\b")
_MAKER = re.compile(r"^([a-z][a-z0-9]*)\.(?=[a-z])")
_RELEASED = re.compile(r"-20\d{6}(?=[-:]|$)")
_REVISION = re.compile(r"(?:-v?1)?:\d+(?::\w+)*$")
_SAYS_NOTHING = {"instruct"}


def _words(name: str) -> _Words:
    parts = re.findall(r"[a-z]+|\d+", _FIRST_VERSION.sub(" ", name.lower()))
    return _Words(
        tuple(sorted(each for each in parts if not each.isdigit() and each not in _SAYS_NOTHING)),
        tuple(int(each) for each in parts if each.isdigit()),
    )


def _words_of_model(raw: str, behind: Behind) -> tuple[_Words, _Words]:
    """Return what a model id says, without and with its maker; of an id several models may be behind, only itself."""
    names = {_plain(each) for each in behind(raw)}
    model = names.pop() if len(names) == 1 else _plain(raw)
    return _words(_MAKER.sub("", model)), _words(model)


def _plain(raw: str) -> str:
    model = model_ids.without_geography(model_ids.normalise(raw))
    return _REVISION.sub("", _RELEASED.sub("", model))


def _left_out(
    first: date, last: date, metered: Mapping[date, MeteredDay], billed: Mapping[date, BilledDay]
) -> dict[date, str]:
    candidates = [day for day in _each_day(first, last) if day in metered and day in billed and billed[day].usd]
    # AWS calls every day of a month an estimate until it closes the month: only where some are final is that a reason.
    some_final = any(not billed[day].estimated for day in candidates)
    reasons: dict[date, str] = {}
    for day in _each_day(first, last):
        found = billed.get(day)
        if day not in metered:
            reasons[day] = "the meter has not closed the whole day"
        elif found is None or not found.usd:
            reasons[day] = f"Cost Explorer has no figure; the meter has ${metered[day].usd:.2f}"
        elif _total(found.usd) < 0:
            reasons[day] = f"the bill is negative (${_total(found.usd):.2f})"
        elif found.estimated and some_final:
            reasons[day] = "AWS may still change it"
    return reasons


def _agreement(total: Pair, days: Iterable[Pair]) -> Agreement:
    each = list(days)
    if not each:
        return Agreement.NOTHING
    if total.absurd or any(day.absurd for day in each):
        return Agreement.IMPLAUSIBLE
    if total.within:
        return Agreement.AGREES
    if abs(total.difference) <= CENTS:
        return Agreement.CENTS
    return Agreement.LESS if total.difference < 0 else Agreement.MORE


def _why_no_factor(found: CrossCheck, tokens: Decimal, *, standing_known: bool) -> str:
    total, days = found.total, found.days.values()
    alike = sum((day.difference < 0) is (total.difference < 0) for day in days if day.difference)
    unmatched = _total(found.only_billed) - _total(found.only_metered)
    target = total.bill - (total.meter - tokens)
    if not standing_known:
        return "what stands by the hour is not known"
    if len(found.days) < _FEWEST_DAYS:
        return f"fewer than {_FEWEST_DAYS} days are compared"
    if alike * 2 <= len(found.days):
        return "most days do not drift the same way"
    if abs(unmatched) > TOLERANCE * max(total.bill, total.meter):
        return f"${abs(unmatched):.2f} is on one side alone: a factor on all prices would hide it"
    if not tokens / FACTOR_BOUND <= target <= tokens * FACTOR_BOUND or target <= 0:
        return f"it would change prices more than {FACTOR_BOUND}-fold"
    return ""


def _split(usd: Mapping[Charge, Decimal], finer: Mapping[Charge, Decimal]) -> dict[Charge, Decimal]:
    result: dict[Charge, Decimal] = {}
    for charge, amount in usd.items():
        parts = {each: part for each, part in finer.items() if each.service == charge.service and each.model}
        rest = amount - _total(parts)
        result |= parts
        if rest or not parts:
            result[charge] = rest
    return result


def _each_day(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _total(usd: Mapping[Any, Decimal]) -> Decimal:
    return sum(usd.values(), Decimal(0))


def _sum(parts: Iterable[Mapping[Any, Decimal]]) -> dict[Any, Decimal]:
    total: defaultdict[Any, Decimal] = defaultdict(Decimal)
    for part in parts:
        for name, usd in part.items():
            total[name] += usd
    return dict(total)


def _dearest_first(usd: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return dict(
        sorted(((name, amount) for name, amount in usd.items() if amount), key=lambda x: abs(x[1]), reverse=True)
    )
