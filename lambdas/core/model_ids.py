"""One spelling for the many names a model goes by in metrics, ARNs and inference profiles."""

import re
from collections.abc import Iterable

GEOGRAPHIES = ("us-gov", "us", "eu", "apac", "jp", "au", "in", "ca", "sa", "me", "af", "global")

# A profile's geography stands before the maker's name: `us.anthropic…`, `global.amazon…`.
_GEOGRAPHY = re.compile(rf"^({'|'.join(GEOGRAPHIES)})\.")
_MODEL_ARN = re.compile(r"^arn:[^:]+:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(.+)$")
# What one spelling of an id has and another lacks: a date, a version, a context length (`-20250929-v1:0:200k`).
_DECORATION = re.compile(r"([-@]\d{8})?(-v\d+|-\d(?=:\d))?(:\d+)*(:\d+k|:mm)?")


def normalise(raw: str) -> str:
    """Return the model id as prices know it.

    Lower case; foundation-model and system inference-profile ARNs are unwrapped. Ids of application inference
    profiles, provisioned, imported and custom models say nothing about the model behind them and come back whole.
    """
    name = raw.strip().lower()
    unwrapped = _MODEL_ARN.match(name)
    return unwrapped.group(1) if unwrapped else name


_PROFILES = {
    "us": ("us",),
    "ca": ("ca", "us"),
    "sa": ("sa", "us"),
    "eu": ("eu",),
    "il": ("eu",),
    "me": ("me", "eu"),
    "af": ("af", "eu"),
    "ap": ("apac", "jp", "au", "in"),
}
"""The geographies of the inference profiles a region calls through, by the first letters of its name."""


def callable_in(region: str, bare_ids: Iterable[str]) -> list[str]:
    """Return the ids that models may be called by in a region: bare, and through its inference profiles."""
    profiles = (*_PROFILES.get(region.partition("-")[0], ()), "global")
    return [name for each in bare_ids for name in (each, *(f"{profile}.{each}" for profile in profiles))]


def without_geography(model: str) -> str:
    """Return ``anthropic.claude…`` for ``eu.anthropic.claude…``."""
    return _GEOGRAPHY.sub("", model)


def same_model(one: str, other: str) -> bool:
    """Tell whether two bare ids name one model: they differ only in that one says its date or version too."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return longer.startswith(shorter) and _DECORATION.fullmatch(longer, len(shorter)) is not None


def is_embedding(model: str) -> bool:
    """Tell whether an id, known or not, names an embedding model; these cost far less than models that write."""
    return "embed" in model
