"""Reasoning distillation for retrieval-augmented models, as a plugin for Hugging Face datasets."""

from typing import TYPE_CHECKING, Any

from hf_rare.errors import HfRareError

if TYPE_CHECKING:
    from hf_rare.checks.contamination import decontaminate
    from hf_rare.checks.grounding import audit_grounding
    from hf_rare.checks.near_duplicates import drop_near_duplicates
    from hf_rare.checks.verify import verify
    from hf_rare.generation.transformers import TransformersGenerator
    from hf_rare.hub.card.build import build_card
    from hf_rare.hub.push import push_to_hub
    from hf_rare.negatives.mine import mine_hard_negatives
    from hf_rare.training.retrieval import to_retrieval
    from hf_rare.training.trl import to_preference, to_sft
    from hf_rare.views.preview import preview
    from hf_rare.writers.distill import ReasonDistiller
    from hf_rare.writers.questions import QueryGenerator

__version__ = "0.1.0"

__all__ = [
    "HfRareError",
    "QueryGenerator",
    "ReasonDistiller",
    "TransformersGenerator",
    "audit_grounding",
    "build_card",
    "decontaminate",
    "drop_near_duplicates",
    "mine_hard_negatives",
    "preview",
    "push_to_hub",
    "to_preference",
    "to_retrieval",
    "to_sft",
    "verify",
]

_HOMES = {
    "QueryGenerator": "hf_rare.writers.questions",
    "ReasonDistiller": "hf_rare.writers.distill",
    "TransformersGenerator": "hf_rare.generation.transformers",
    "audit_grounding": "hf_rare.checks.grounding",
    "build_card": "hf_rare.hub.card.build",
    "decontaminate": "hf_rare.checks.contamination",
    "drop_near_duplicates": "hf_rare.checks.near_duplicates",
    "mine_hard_negatives": "hf_rare.negatives.mine",
    "preview": "hf_rare.views.preview",
    "push_to_hub": "hf_rare.hub.push",
    "to_preference": "hf_rare.training.trl",
    "to_retrieval": "hf_rare.training.retrieval",
    "to_sft": "hf_rare.training.trl",
    "verify": "hf_rare.checks.verify",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `import hf_rare` alone takes no time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
