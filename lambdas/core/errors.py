"""Errors people read. Each says what is wrong and what to do next."""


class GuardrailError(Exception):
    """Something the guardrail cannot do; the message tells the reader what to do."""


class RefusedError(GuardrailError):
    """A request that is not carried out: nothing was changed."""


class AwsCallError(GuardrailError):
    """An AWS call that failed, after the SDK's own retries."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        """Take the operation as IAM spells it (``iam:AttachRolePolicy``), the error code and AWS's message."""
        super().__init__(f"{operation}: {code}: {message}")
        self.operation = operation
        self.code = code


class LedgerItemError(GuardrailError):
    """An item of the ledger that cannot be read: written by another version, or by hand."""


class UnfinishedError(GuardrailError):
    """Part of the work failed after all of it was tried; raised last, so that the retry and the alarm happen."""
