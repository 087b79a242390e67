"""What people are mailed about how it goes: each day, and when an hour costs far more than usual."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from lambdas.core.baseline import EVERYTHING, Baseline, Past, Spike, day_baseline, hour_baseline
from lambdas.core.levels import Level
from lambdas.core.limits import Limit
from lambdas.core.notice import Links, Notice, compose, listed
from lambdas.core.windows import Window

_A_DAY = {
    Window.MINUTE: Decimal(24 * 60),
    Window.HOUR: Decimal(24),
    Window.DAY: Decimal(1),
    Window.MONTH: 1 / Decimal(30),
}
"""How often a window comes in a day."""
_MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Digest:
    """All that the daily mail says."""

    day: date
    past: Past
    usual: Baseline | None
    """What such a day usually costs."""
    limits: tuple[Limit, ...]
    now: tuple[str, ...] = ()
    """How the limits stand now, in words."""
    verdict: str = "ok"
    """The meter's last one."""
    level: Level | None = None
    """What is on; None while released."""
    gaps: tuple[str, ...] = ()
    work: tuple[tuple[str, Decimal], ...] = ()
    """What the day cost beside tokens: USD by item."""
    standing: tuple[tuple[str, Decimal], ...] = ()
    """What costs by the hour now, in USD."""
    allowances: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    """What the guardrail found when it looked at itself."""
    spiked: tuple[str, ...] = ()
    """The models that were told of as spikes."""

    @property
    def usd(self) -> Decimal:
        """USD of the day, tokens and the rest."""
        tokens = sum((each.usd for each in self.past.of_day(self.day).values()), Decimal(0))
        return tokens + sum((usd for _, usd in self.work), Decimal(0))

    @property
    def is_worth_a_mail(self) -> bool:
        """Tell whether the day cost something, or something is not as it should be."""
        return bool(self.usd or self.gaps or self.standing) or self.level is not None or self.verdict != "ok"


def least_usd(limits: Iterable[Limit]) -> Decimal:
    """Return the USD below which an hour is no spike: 1 % of the smallest limit, each taken as one of a day."""
    return min((each.usd * _A_DAY[each.window] for each in limits), default=Decimal(0)) / 100


def digest_notice(digest: Digest, links: Links) -> Notice:
    """Compose the daily mail."""
    used = digest.past.of_day(digest.day)
    tokens = sum((each.usd for each in used.values()), Decimal(0))
    change = _change(tokens, digest.usual, "tokens " if digest.work else "")
    lines = [f"Yesterday, {digest.day:%A %d %B}, Bedrock cost ${digest.usd:.2f}{change}."]
    if digest.usual is None:
        lines += ["What is usual is not known: nothing was spent in the two weeks before."]
    if digest.level is not None:
        what = "STOPPED" if digest.level is Level.STOP else "STEPPED DOWN"
        lines += [f"Bedrock is {what} now."]
    elif digest.verdict != "ok":
        lines += [f"The meter's last word is {digest.verdict}."]
    lines += listed("Models, dearest first:", (_model(digest, label) for label in used))
    lines += listed("Beside tokens:", (f"${usd:.2f} {name}" for name, usd in digest.work))
    lines += listed("Of the limits, yesterday:", _shares(digest))
    lines += listed("The limits now:", digest.now)
    guessed = sum((each.guessed for each in used.values()), Decimal(0))
    lines += ["", f"Priced by guess: {guessed * 100 / tokens:.0f} %."] if guessed and tokens else []
    lines += listed("Not everything could be read, so this is at least what was spent:", digest.gaps)
    lines += listed(
        "Costs by the hour until somebody deletes it:", (f"${usd:.2f} an hour  {name}" for name, usd in digest.standing)
    )
    lines += listed("Allowances:", digest.allowances)
    lines += listed("Mailed about as a spike:", digest.spiked)
    lines += listed("The guardrail itself:", digest.watched)
    subject = f"Bedrock spend: ${digest.usd:.2f} yesterday{change}"
    return compose(subject, [*lines, ""], links, "digest")


def spike_notice(found: Sequence[Spike], hour: datetime, percent: int, past: Past, links: Links) -> Notice:
    """Compose the mail about an hour that costs far more than usual, long before a limit."""
    dearest = found[0]
    lines = [f"From {hour:%H}:00 to {hour:%H}:59 UTC Bedrock cost ${past.usd(hour, EVERYTHING):.2f}."]
    lines += [f"That is more than {percent} % of what is usual:", *(f"- {each}" for each in found)]
    models = past.hours.get(hour, {})
    shown = {each.label for each in found}
    ranked = sorted(models.keys() - shown, key=lambda label: (-models[label].usd, label))
    lines += listed(
        "Other models of that hour:", (f"${models[label].usd:.2f} {_new(past, hour, label)}{label}" for label in ranked)
    )
    lines += ["", "This is no limit: nothing was stopped for it. It is mailed once a day for each model."]
    lines += ["Stop now:", links.kill]
    times = dearest.usd / dearest.baseline.usd
    return compose(f"Bedrock spend: ${dearest.usd:.2f} in an hour, x{times:.1f} of the usual", lines, links, "spike")


def _new(past: Past, hour: datetime, label: str) -> str:
    return "" if hour_baseline(past, hour, label) else "NEW "


def _model(digest: Digest, label: str) -> str:
    used = digest.past.of_day(digest.day)[label]
    change = _change(used.usd, day_baseline(digest.past, digest.day, label))
    tokens = f"{used.tokens / 1_000_000:.1f}M" if used.tokens >= 1_000_000 else f"{used.tokens / 1000:.0f}k"  # noqa: PLR2004
    return f"${used.usd:.2f} {tokens} tokens  {label}{change or ' (new)'}"


def _change(usd: Decimal, usual: Baseline | None, of: str = "") -> str:
    """Return how much more or less it is than usual, in words: ``, +12 % (Mondays)``."""
    if usual is None:
        return ""
    return f", {of}{(usd / usual.usd - 1) * 100:+.0f} % ({usual.of})"


def _shares(digest: Digest) -> list[str]:
    """Return what part of each limit the day took."""
    day = digest.usd
    found = []
    for limit in digest.limits:
        match limit.window:
            case Window.DAY:
                usd, when = day, ""
            case Window.HOUR:
                hours = [each for each in digest.past.hours if each.date() == digest.day]
                dearest = max(hours, key=lambda each: digest.past.usd(each, EVERYTHING), default=None)
                if dearest is None:
                    continue
                usd, when = digest.past.usd(dearest, EVERYTHING), f" (at {dearest:%H}:00)"
            case Window.MONTH:
                usd, when = day, f" ({_MONTH_DAYS} such days make {day * _MONTH_DAYS * 100 / limit.usd:.0f} %)"
            case Window.MINUTE:
                continue
        found.append(f"{usd * 100 / limit.usd:.0f} % of {limit}{when}")
    return found
