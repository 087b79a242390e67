"""The action by which AWS Budgets stops by itself: what its status calls for, so that it is off and can fire again.

Once it has fired it does not fire again in the same month, unless it is reset; nor is anything given back by itself.
"""

from enum import StrEnum


class Execution(StrEnum):
    """What AWS Budgets can be asked for, as its API spells it."""

    REVERSE = "REVERSE_BUDGET_ACTION"
    RESET = "RESET_BUDGET_ACTION"

    @property
    def words(self) -> str:
        """The words for people."""
        reverse = self is Execution.REVERSE
        return "take off what AWS Budgets attached by itself" if reverse else "have AWS Budgets ready to stop again"


READY = "STANDBY"

_CALLS_FOR = {
    "EXECUTION_SUCCESS": Execution.REVERSE,
    # It may have attached the policy to some of those it names.
    "EXECUTION_FAILURE": Execution.REVERSE,
    "REVERSE_FAILURE": Execution.REVERSE,
    "REVERSE_SUCCESS": Execution.RESET,
    "RESET_FAILURE": Execution.RESET,
}


def next_execution(status: str) -> Execution | None:
    """Return what to ask for next; None while it is ready, or on its way, or in a status nobody knows yet."""
    return _CALLS_FOR.get(status)
