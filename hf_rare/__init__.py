"""Reasoning distillation for retrieval-augmented models, as a plugin for Hugging Face datasets."""

from typing import TYPE_CHECKING, Any

from hf_rare.errors import HfRareError

if TYPE_CHECKING:
    from hf_rare.card import build_card
    from hf_rare.distill import ReasonDistiller
    from hf_rare.generation.transformers_generator import TransformersGenerator
    from hf_rare.hub import push_to_hub
    from hf_rare.previewing import preview

__version__ = "0.1.0"

__all__ = ["HfRareError", "ReasonDistiller", "TransformersGenerator", "build_card", "preview", "push_to_hub"]

_HOMES = {
    "ReasonDistiller": "hf_rare.distill",
    "TransformersGenerator": "hf_rare.generation.transformers_generator",
    "build_card": "hf_rare.card",
    "preview": "hf_rare.previewing",
    "push_to_hub": "hf_rare.hub",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `import hf_rare` alone takes no time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
