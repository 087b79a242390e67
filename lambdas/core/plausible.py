"""What the bill says, held against the meter: a figure that cannot be true must end nothing that does not come back.

In July 2026 a bug in units had AWS tell accounts of estimates of trillions of dollars.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from lambdas.core import stored
from lambdas.core.windows import Window

_TIMES = 20


def is_implausible(figure: Decimal, stated: Decimal, metered: Decimal | None) -> bool:
    """Tell whether a figure is beyond 20 times what the meter has for the month and what the user stated, together.

    ``stated`` is the budget, or the impact an anomaly is told from: the meter is blind to AgentCore and knowledge
    bases, so a budget may be exceeded several times although it shows nothing. ``metered`` is None when it cannot be
    read: that makes no figure true or false, and what was stated alone is the yardstick. All in USD.
    """
    return figure > _TIMES * (stated + (metered or Decimal(0)))


def metered_this_month(decision: Mapping[str, Any] | None, now: datetime) -> Decimal | None:
    """Return the USD of this month the meter's last full read knew of, at least; None when it tells nothing of it.

    ``decision`` is what `metering` records. Its figures are those of the windows that have limits: the largest one is
    within the month.
    """
    try:
        if decision is None or stored.moment(decision["at"]) < Window.MONTH.start(now):
            return None
        spent = [Decimal(each["spent"]) for each in decision["figures"]["limits"]]
    except (KeyError, ValueError, TypeError, AttributeError, InvalidOperation):
        return None
    known = [each for each in spent if each.is_finite() and each >= 0]
    return max(known, default=None)
