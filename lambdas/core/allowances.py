"""Allowances in words: what they come to for each limit, and the mail about them."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from lambdas.core.limits import Allowance, Limit, raised_usd
from lambdas.core.notice import Links, Notice, compose, listed

BUDGET_STAYS = "AWS Budgets knows no allowances: the budget of guardrail.toml still stops at its 100 %."


def as_raised(limits: Iterable[Limit], allowances: Sequence[Allowance], now: datetime) -> list[str]:
    """Return each limit in words, with what allowances raise it to: ``$50/day, raised to $250.00``."""
    raised = ((each, raised_usd(each, allowances, now)) for each in limits)
    return [f"{limit}, raised to ${usd:.2f}" if usd > limit.usd else str(limit) for limit, usd in raised]


def allowance_notice(words: str, by: str, reason: str, limits: Sequence[str], links: Links) -> Notice:
    """Compose the mail about an allowance that was given, or about all that were ended; ``limits`` as they are now."""
    lines = [f"{words}, by {by}: {reason}", *listed("The limits are now:", limits)]
    lines += ["", BUDGET_STAYS, "", "Change it, or end all allowances:", links.release]
    return compose(f"Bedrock spend: {words}", lines, links, "allowance")
