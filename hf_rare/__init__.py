"""Reasoning distillation for retrieval-augmented models, as a plugin for Hugging Face datasets."""

from typing import TYPE_CHECKING, Any

from hf_rare.errors import HfRareError

if TYPE_CHECKING:
    from hf_rare.card import build_card
    from hf_rare.decontamination import decontaminate
    from hf_rare.distill import ReasonDistiller
    from hf_rare.export import to_preference, to_sft
    from hf_rare.generation.transformers_generator import TransformersGenerator
    from hf_rare.grounding import audit_grounding
    from hf_rare.hub import push_to_hub
    from hf_rare.near_duplicates import drop_near_duplicates
    from hf_rare.negatives import mine_hard_negatives
    from hf_rare.previewing import preview
    from hf_rare.questions import QueryGenerator
    from hf_rare.retrieval_export import to_retrieval
    from hf_rare.verifying import verify

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
    "QueryGenerator": "hf_rare.questions",
    "ReasonDistiller": "hf_rare.distill",
    "TransformersGenerator": "hf_rare.generation.transformers_generator",
    "audit_grounding": "hf_rare.grounding",
    "build_card": "hf_rare.card",
    "decontaminate": "hf_rare.decontamination",
    "drop_near_duplicates": "hf_rare.near_duplicates",
    "mine_hard_negatives": "hf_rare.negatives",
    "preview": "hf_rare.previewing",
    "push_to_hub": "hf_rare.hub",
    "to_preference": "hf_rare.export",
    "to_retrieval": "hf_rare.retrieval_export",
    "to_sft": "hf_rare.export",
    "verify": "hf_rare.verifying",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `import hf_rare` alone takes no time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
