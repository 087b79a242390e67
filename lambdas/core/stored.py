"""Values as they come back from where they were stored."""

from datetime import UTC, datetime
from decimal import Decimal


def usd(text: str) -> Decimal:
    """Return an amount. Raises ValueError or ArithmeticError for what is none, negative or not finite."""
    amount = Decimal(text)
    if not amount.is_finite() or amount < 0:
        msg = f"USD {text!r}"
        raise ValueError(msg)
    return amount


def moment(text: str) -> datetime:
    """Return a moment, aware UTC. Raises ValueError for none in UTC or without a time zone, TypeError for no text."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        msg = f"{text!r} has no time zone"
        raise ValueError(msg)
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        msg = f"{text!r} is beyond all there is in UTC"
        raise ValueError(msg) from error
