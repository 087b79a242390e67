"""How much of each kind may be used in a minute before an alarm rings, from what may be spent in it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import ROUND_FLOOR, Decimal

from lambdas.core.limits import Limit
from lambdas.core.prices import Price
from lambdas.core.usage import Kind
from lambdas.core.windows import Window

_MINUTES_AN_HOUR = 60


def burst_usd(limits: Iterable[Limit]) -> Decimal:
    """Return the USD a minute beyond which usage is a burst: the minute's limit.

    Without one, what would use up the smallest of the others within an hour. A day's limit spread over its minutes
    would call every working hour a burst, and an alarm that is always up tells nobody anything.
    """
    usd = {each.window: each.usd for each in limits}
    return usd[Window.MINUTE] if Window.MINUTE in usd else min(usd.values()) / _MINUTES_AN_HOUR


def most_a_minute(
    limits: Iterable[Limit], price: Price, counted: Iterable[Kind], *, regions: int
) -> Mapping[Kind, int]:
    """Return the most units of each kind in a minute of one region and plane at which nobody has to look.

    `counted` are the kinds of all planes together, the same one once for each plane. While none of the counts of all
    regions is above its figure, the burst was not reached, in whatever mix: each has an equal share of the dollars, at
    a price that none exceeds. What costs nothing has no figure.
    """
    shares = Counter(each for each in counted if price.of(each))
    usd = burst_usd(limits) / max(shares.total() * regions, 1)
    return {kind: int((usd / price.of(kind)).to_integral_value(ROUND_FLOOR)) for kind in shares}
