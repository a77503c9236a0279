"""The dataset card: what is known of a distilled dataset, in a Jinja template under `cards/`.

It says what is unknown instead of guessing: licence and language appear only when they are given.
"""

from importlib import resources
from typing import Any

import datasets
import jinja2
from huggingface_hub import DatasetCardData
from jinja2.sandbox import ImmutableSandboxedEnvironment

import hf_rare
from hf_rare.config import GENERATION_REVISION
from hf_rare.distill import ReasonDistiller
from hf_rare.prompts import BUILTIN_TEMPLATES, read_template_source
from hf_rare.summary import Summary

SIZE_CATEGORIES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def build_card(
    dataset: datasets.Dataset,
    recipe: ReasonDistiller | None = None,
    *,
    pretty_name: str = "Distilled reasoning over retrieved documents",
    license: str | None = None,
    language: str | list[str] | None = None,
) -> str:
    """Write the card of a distilled dataset.

    Args:
        dataset ([`~datasets.Dataset`]):
            The dataset, distilled or not.
        recipe ([`ReasonDistiller`], *optional*):
            The distiller that made it. Without it the card says that the settings are unknown.
        pretty_name (`str`, *optional*):
            Title of the card.
        license (`str`, *optional*):
            Licence of the dataset. Left out when not given.
        language (`str` or `list[str]`, *optional*):
            Language codes. Left out when not given.

    Returns:
        `str`: the card as Markdown with its YAML header.
    """
    source = resources.files("hf_rare.cards").joinpath("dataset_card.md").read_text(encoding="utf-8")
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    output = recipe.config.output_column if recipe else "reasoning"
    template = read_template_source(str(recipe.config.template)) if recipe else ""
    metadata = DatasetCardData(
        pretty_name=pretty_name,
        license=license,
        language=language,
        tags=["hf_rare", "reasoning", "distillation", "retrieval-augmented-generation", "synthetic"],
        size_categories=[_size_category(len(dataset))],
    )
    values = {
        "metadata": metadata.to_yaml(),
        "pretty_name": pretty_name,
        "summary": f"Questions with retrieved documents and a teacher's reasoning over them, made with hf_rare "
        f"{hf_rare.__version__}.",
        "teacher": [(name, _cell(value)) for name, value in _settings(recipe)] if recipe else [],
        "template": template.strip(),
        "template_fence": _fence_for(template),
        "columns": [(_cell(name), _cell(_type_name(feature))) for name, feature in dataset.features.items()],
        "rows": len(dataset),
        "statistics": _statistics(dataset, output),
    }
    return environment.from_string(source).render(values)


def _settings(recipe: ReasonDistiller) -> list[tuple[str, Any]]:
    own = {"template": recipe.config.template, "seed": recipe.config.seed, "num_samples": recipe.config.num_samples}
    if own["template"] not in BUILTIN_TEMPLATES:
        own["template"] = "custom, see below"
    if recipe.config.system_prompt:
        own["system_prompt"] = recipe.config.system_prompt
    generator = recipe.generator.identity()
    generator |= generator.pop("generation_config", {})
    return list({**generator, **own, "generation_revision": GENERATION_REVISION}.items())


def _statistics(dataset: datasets.Dataset, output: str) -> list[tuple[str, str]]:
    needed = {f"{output}_{end}" for end in ("status", "prompt_tokens", "completion_tokens")}
    if not needed <= set(dataset.column_names):
        return []
    summary = Summary.of_dataset(dataset, output)
    statuses = [(f"traces `{status}`", str(count)) for status, count in summary.statuses.most_common()]
    tokens = [("prompt tokens", str(summary.prompt_tokens)), ("generated tokens", str(summary.completion_tokens))]
    return statuses + tokens


def _size_category(rows: int) -> str:
    return next((name for limit, name in SIZE_CATEGORIES if rows < limit), "n>10M")


def _type_name(feature: Any) -> str:
    if isinstance(feature, datasets.List):
        return f"list of {_type_name(feature.feature)}"
    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__


def _cell(value: Any) -> str:
    """Make a value safe for one cell of a Markdown table."""
    return " ".join(str(value).replace("|", "\\|").replace("<", "&lt;").split())


def _fence_for(text: str) -> str:
    """Give a fence that the text does not contain."""
    fence = "```"
    while fence in text:
        fence += "`"
    return fence
