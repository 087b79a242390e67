"""Looking in all regions at once: one that hangs or refuses does not hold up the others."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lambdas.core.levels import Level
from lambdas.core.levers import Found, Held
from lambdas.core.principals import Spared

_AT_ONCE = 8


def found_in(regions: Sequence[str], look: Callable[[str], Found]) -> Found:
    """Return what was found in the regions, in their order; the look must not raise AwsCallError."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        looks = list(pool.map(look, regions))
    return Found(
        tuple(held for each in looks for held in each.to_hold),
        {what: why for each in looks for what, why in each.unread.items()},
        {what: why for each in looks for what, why in each.uncovered.items()},
    )


class OtherRegions:
    """Stands among the levers where it is not known which regions are in use besides those that are looked at."""

    name = "other-regions"

    def __init__(self, looked_at: Sequence[str], why: str) -> None:
        """Take the regions that are looked at, and why others are not known."""
        self._what = f"regions in use besides {', '.join(looked_at)}"
        self._why = f"not looked at, for the ledger does not tell them: {why}"

    def find(self, level: Level, spared: Spared) -> Found:
        """Return that they are out of reach."""
        del level, spared
        return Found(uncovered={self._what: self._why})

    def hold(self, held: Held, level: Level) -> None:
        """Do nothing: nothing was found."""

    def restore(self, held: Held) -> None:
        """Do nothing, likewise."""
