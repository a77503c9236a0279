"""What a pipeline says: its sections, read from YAML and checked, and the settings of each stage's model."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hf_rare.config import Config, DecodingConfig, ModelConfig, RunConfig
from hf_rare.errors import ConfigError
from hf_rare.mining import MiningConfig
from hf_rare.passed_through import reject_unknown_names
from hf_rare.writer_config import DistillConfig, JudgeConfig, NegativeConfig, QuestionConfig

Settings = dict[str, Any]

MODEL_CONFIGS: tuple[type[Config], ...] = (ModelConfig, DecodingConfig, RunConfig)
MODEL_NAMES = [name for config in MODEL_CONFIGS for name in config.names()]
INPUT_NAMES = ("name", "config", "split", "rows")

STAGES = (
    "questions",
    "near_duplicates",
    "decontamination",
    "retrieval",
    "negatives",
    "distill",
    "verify",
    "grounding",
)
"""The stages that change rows, in their order."""

SECTIONS = ("output", "input", "corpus", "model", *STAGES, "export", "card", "push")
WRITERS: dict[str, type[Config]] = {
    "questions": QuestionConfig,
    "distill": DistillConfig,
    "negatives": NegativeConfig,
    "judge": JudgeConfig,
}
"""What the stages that have a model of their own take besides its settings."""


def load_pipeline(path: str | Path) -> Settings:
    """Read a pipeline from a YAML file.

    Args:
        path (`str` or `Path`):
            The file.

    Returns:
        `dict`: its sections.

    Raises:
        ConfigError: The file cannot be read, or holds no sections.
    """
    try:
        sections = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise ConfigError(f"The pipeline {path} cannot be read: {err}") from err
    if not isinstance(sections, dict):
        raise ConfigError(f"The pipeline {path} holds no sections: expected `input:`, `questions:`, `distill:`, ...")
    return sections


def check_pipeline(sections: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> dict[str, Settings]:
    """Check the names in a pipeline, so that what is wrong is found out before anything is generated.

    Args:
        sections (`Mapping[str, Any]`):
            The pipeline.
        functions (`Mapping[str, Callable]`):
            What is called with the settings of a stage that has no model.

    Returns:
        `dict[str, dict]`: the sections that hold settings, by name; `true` and an empty section are none.

    Raises:
        ConfigError: A section or a setting is unknown, `input` or `output` is missing, or a section is no dict.
    """
    reject_unknown_names(sections, list(SECTIONS), "the pipeline")
    if not sections.get("input"):
        raise ConfigError("The pipeline has no section `input`, which says what rows or documents to start from.")
    settings = {name: _as_settings(name, sections[name]) for name in sections if name not in ("output",)}
    for name in ("input", "corpus"):
        if name in settings:
            reject_unknown_names(settings[name], list(INPUT_NAMES), f"the pipeline's {name!r}")
    reject_unknown_names(settings.get("model", {}), MODEL_NAMES, "the pipeline's 'model'")
    for name in settings:
        if has_model(name, settings[name]):
            extra = {"negatives": ["method"], "distill": ["judge"]}.get(name, [])
            reject_unknown_names(settings[name], [*WRITERS[name].names(), *MODEL_NAMES, *extra], f"{name!r}")
        elif name in functions:
            reject_unknown_names(settings[name], _names_of(name, functions[name]), f"{name!r}")
    if "judge" in settings.get("distill", {}):
        judge = settings["distill"]["judge"] = _as_settings("judge", settings["distill"]["judge"])
        reject_unknown_names(judge, [*JudgeConfig.names(), *MODEL_NAMES], "'judge'")
    return settings


def has_model(stage: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a stage lets a model write."""
    return stage in ("questions", "distill") or (stage == "negatives" and settings.get("method") == "generated")


def writer_settings(
    stage: str, settings: Mapping[str, Settings], own: Mapping[str, Any], replaced: Mapping[str, Any]
) -> Settings:
    """Put the settings of a stage's model and its own together.

    Args:
        stage (`str`):
            Name of the stage, or `"judge"`.
        settings (`Mapping[str, dict]`):
            All sections.
        own (`Mapping[str, Any]`):
            The stage's own section.
        replaced (`Mapping[str, Any]`):
            Settings of the model that stand in for all others.

    Returns:
        `dict`: settings for `from_pretrained`.

    Raises:
        ConfigError: No model is named.
    """
    merged = {**settings.get("model", {}), **own, **replaced}
    for name in ("method", "judge"):
        merged.pop(name, None)
    if "model_id" not in merged:
        raise ConfigError(f"No model is given for {stage!r}. Write `model_id: NAME` into `model:` or `{stage}:`.")
    return merged


def _as_settings(name: str, section: Any) -> Settings:
    if name in ("input", "corpus") and isinstance(section, str):
        return {"name": section}
    if section is None or section is True:
        return {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"The pipeline's {name!r} is {section!r}; expected settings by name.")
    return dict(section)


def _names_of(stage: str, function: Callable[..., Any]) -> list[str]:
    """List the settings that a stage's function takes, without the rows and what the pipeline itself gives it."""
    names = [name for name, one in inspect.signature(function).parameters.items() if one.kind.name != "VAR_KEYWORD"]
    return [*names[1:], *(MiningConfig.names() if stage in ("negatives", "retrieval") else [])]
