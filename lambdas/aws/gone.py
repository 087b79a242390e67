"""What is gone needs neither to be held down nor to be put back."""

from collections.abc import Iterator
from contextlib import contextmanager

from lambdas.core.errors import AwsCallError


@contextmanager
def passes(code: str) -> Iterator[None]:
    """Let the error pass by which a service says that there is no such thing; others are raised on."""
    try:
        yield
    except AwsCallError as error:
        if error.code != code:
            raise
