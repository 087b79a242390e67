"""What a full read found, in figures: kept with the decision, which has it in words, for whoever draws it."""

from decimal import Decimal
from itertools import islice
from typing import Any

from lambdas.core.decision import Decision
from lambdas.core.spend import Spend

_MODELS = 12
"""The ledger's item is read every minute: it stays small."""


def figures(spend: Spend, decision: Decision) -> dict[str, Any]:
    """Return USD as text: of each limit, the most severe first; of the day's models, the dearest first; of the rest."""
    shown = dict(islice(spend.by_model.items(), _MODELS))
    others = sum(spend.by_model.values(), Decimal(0)) - sum(shown.values(), Decimal(0))
    return {
        "limits": [
            {
                "limit": str(each.limit),
                "allowed": _text(each.allowed_usd),
                "spent": _text(each.spent_usd),
                "projected": _text(each.projected_usd),
                "verdict": str(each.verdict),
            }
            for each in decision.findings
        ],
        "burn": _text(spend.burn),
        "guessed_percent": f"{spend.guessed_percent:.1f}",
        "models": {model: _text(usd) for model, usd in shown.items()},
        **({"other_models": _text(others)} if len(spend.by_model) > _MODELS else {}),
    }


def _text(usd: Decimal) -> str:
    return f"{usd:.4f}"
