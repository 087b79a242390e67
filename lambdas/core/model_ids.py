"""One spelling for the many names a model goes by in metrics, ARNs and inference profiles."""

import re

# A profile's geography stands before the maker's name: `us.anthropic…`, `global.amazon…`.
_GEOGRAPHY = re.compile(r"^(us-gov|us|eu|apac|jp|au|in|ca|sa|me|af|global)\.")
_MODEL_ARN = re.compile(r"^arn:[^:]+:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(.+)$")


def normalise(raw: str) -> str:
    """Return the model id as prices know it.

    Lower case; foundation-model and system inference-profile ARNs are unwrapped. Ids of application inference
    profiles, provisioned, imported and custom models say nothing about the model behind them and come back whole.
    """
    name = raw.strip().lower()
    unwrapped = _MODEL_ARN.match(name)
    return unwrapped.group(1) if unwrapped else name


def without_geography(model: str) -> str:
    """Return ``anthropic.claude…`` for ``eu.anthropic.claude…``."""
    return _GEOGRAPHY.sub("", model)


def is_embedding(model: str) -> bool:
    """Tell whether an id, known or not, names an embedding model; these cost far less than models that write."""
    return "embed" in model
