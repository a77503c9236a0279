"""What a pipeline says: its sections, read from YAML and checked, and the settings of each stage's model."""

import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hf_rare.checks.grounding import GroundingAudit
from hf_rare.checks.verify import AnswerCheck
from hf_rare.errors import ConfigError
from hf_rare.negatives.retrieve import NOT_FOR_RETRIEVAL
from hf_rare.negatives.settings import MiningConfig
from hf_rare.rows.columns import check_statuses
from hf_rare.settings.base import Config
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.settings.generation import OF_READING, DecodingConfig, ModelConfig
from hf_rare.settings.kinds import check_value
from hf_rare.settings.run import RunConfig
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.settings.vllm import VLLMConfig
from hf_rare.settings.writers import DistillConfig
from hf_rare.settings.yaml import read_yaml
from hf_rare.writers.registry import WRITERS

logger = logging.getLogger(__name__)

Settings = dict[str, Any]

MODEL_CONFIGS: tuple[type[Config], ...] = (ModelConfig, DecodingConfig, VLLMConfig, EndpointConfig, RunConfig)
MODEL_NAMES = [name for config in MODEL_CONFIGS for name in config.names()]
INPUT_NAMES = ("name", "config_name", "split", "rows", "delimiter", "encoding")
OF_ONE_MODEL = ("revision", "gguf_file", "adapter", "adapter_revision")
"""Settings that mean nothing to another model than the one they were given with."""
SET_BY_PUSH = ("splits", "data_files", "plot_path", "recipe_path")
"""Settings of a card that a push gives itself, since it knows the files."""

FUNCTION_STAGES = (
    *("near_duplicates", "decontamination", "retrieval", "negatives"),
    *("verify", "grounding", "evidence", "selection"),
)
"""The stages that change rows and in which always, or by default, no model writes, in their order."""
FURTHER_SETTINGS: dict[str, type[Config]] = {
    "retrieval": MiningConfig,
    "negatives": MiningConfig,
    "verify": AnswerCheck,
    "grounding": GroundingAudit,
    "evidence": RunConfig,
    "selection": RunConfig,
}
"""What the functions of the other stages take as `**settings`."""
READING_STAGES = {"evidence": "model", "selection": "student"}
"""The stages in which a model reads traces, and the setting that names it."""
OF_READERS = (*(name for name in ModelConfig.names() if name != "model_id"), *OF_READING)
"""Settings of a model that reads."""
CHANGE_NO_ROW = ("batch_size", *RunConfig.names())
"""Settings of stages in which no model writes that say how a run goes, and not what becomes of a row."""
READ_AS_INPUTS = ("corpus", "evaluation_sets")
"""Settings of stages that name datasets, which are loaded later."""


def list_stages() -> list[str]:
    """List the stages that change rows, in their order: writers stand where their entries say."""
    stages = list(FUNCTION_STAGES)
    for kind, entry in WRITERS.items():
        if entry.before is not None:
            stages.insert(stages.index(entry.before) if entry.before else len(stages), kind)
    return stages


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
    sections = read_yaml(path, "The pipeline")
    if not isinstance(sections, dict):
        raise ConfigError(f"The pipeline {path} holds no sections: expected `input:`, `questions:`, `distill:`, ...")
    return sections


def check_pipeline(
    sections: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Any]],
    exports: Mapping[str, Callable[..., Any]],
) -> dict[str, Settings]:
    """Check names and values in a pipeline, so that what is wrong is found out before anything is generated.

    Settings of what lets a model write are checked when it is made, which is before anything is generated too.

    Args:
        sections (`Mapping[str, Any]`):
            The pipeline.
        functions (`Mapping[str, Callable]`):
            What is called with the settings of a stage that has no model, of the card and of the push.
        exports (`Mapping[str, Callable]`):
            What is called with the settings of an export, by its format.

    Returns:
        `dict[str, dict]`: the sections that hold settings, by name; `true` and an empty section are none. Every input,
        also that of a stage, is a dict with `name`.

    Raises:
        ConfigError: A section or a setting is unknown, one that is needed is missing, a section is no dict, or a value
            is of another kind than its function takes.
    """
    known = ["output", "input", "corpus", "model", *list_stages(), "export", "card", "push"]
    reject_unknown_names(sections, known, "the pipeline")
    if not sections.get("input"):
        raise ConfigError("The pipeline has no section `input`, which says what rows or documents to start from.")
    settings = {
        name: _read_input(f"the pipeline's {name!r}", section)
        if name in ("input", "corpus")
        else _as_settings(name, section)
        for name, section in sections.items()
        if name != "output"
    }
    reject_unknown_names(settings.get("model", {}), MODEL_NAMES, "the pipeline's 'model'")
    for name in settings:
        if has_model(name, settings[name]):
            extra = ["method"] if name in FUNCTION_STAGES else list(WRITERS[name].load().companion_names)
            reject_unknown_names(settings[name], [*WRITERS[name].config.names(), *MODEL_NAMES, *extra], f"{name!r}")
            for companion in set(extra) & set(settings[name]) & set(WRITERS):
                own = settings[name][companion] = _as_settings(companion, settings[name][companion])
                reject_unknown_names(own, [*WRITERS[companion].config.names(), *MODEL_NAMES], f"{companion!r}")
        elif name in functions:
            reject_unknown_names(settings[name], names_of(name, functions), f"{name!r}")
            config = FURTHER_SETTINGS.get(name)
            _check_values(f"The pipeline's {name!r}", settings[name], functions[name], *[config] if config else [])
    for name, export in settings.get("export", {}).items():
        _check_export(name, export, exports)
    if "push" in settings:
        _check_push(settings["push"], settings.get("card", {}))
        _check_values("The pipeline's 'push'", settings["push"], functions["card"])
    _read_inputs_of_stages(settings)
    return settings


def has_model(stage: str, settings: Mapping[str, Any]) -> bool:
    """Tell whether a stage lets a model write."""
    if stage in FUNCTION_STAGES:
        return stage in WRITERS and settings.get("method") == "generated"
    return stage in WRITERS and WRITERS[stage].before is not None


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
        `dict`: settings for `from_pretrained`. Another model does not get the revision, file and adapter of the one
        that it stands in for.

    Raises:
        ConfigError: No model is named.
    """
    merged, _ = _stand_in(settings.get("model", {}), own)
    merged, left_out = _stand_in(merged, replaced)
    if left_out:
        names = ", ".join(f"{name}={value!r}" for name, value in left_out.items())
        logger.warning("%s: %s stands in for the pipeline's model, without its %s.", stage, merged["model_id"], names)
    for name in ("method", *WRITERS[stage].load().companion_names):  # companions have settings of their own
        merged.pop(name, None)
    if "model_id" not in merged:
        raise ConfigError(f"No model is given for {stage!r}. Write `model_id: NAME` into `model:` or `{stage}:`.")
    return merged


def _stand_in(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> tuple[Settings, Settings]:
    """Put settings above others; give them, and what is left out because it belongs to another model."""
    is_other = lower.get("model_id") not in (None, upper.get("model_id")) and "model_id" in upper
    left_out = {
        name: lower[name] for name in OF_ONE_MODEL if is_other and lower.get(name) is not None and name not in upper
    }
    return {**{name: value for name, value in lower.items() if name not in left_out}, **upper}, left_out


def _as_settings(name: str, section: Any) -> Settings:
    if section is None or section is True:
        return {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"The pipeline's {name!r} is {section!r}; expected settings by name.")
    return dict(section)


def _read_input(what: str, source: Any) -> Settings:
    """Read what names rows or documents."""
    settings = {"name": source} if isinstance(source, str | Path) else source
    subject = what[0].upper() + what[1:]
    if not isinstance(settings, Mapping) or not settings.get("name"):
        raise ConfigError(f"{subject} is {source!r}; expected a file, a name on the Hub, or a dict with `name`.")
    reject_unknown_names(settings, list(INPUT_NAMES), what)
    rows = settings.get("rows", 1)
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        raise ConfigError(f"{subject} has rows={settings['rows']!r}; expected a number of at least 1.")
    return dict(settings)


def _read_inputs_of_stages(settings: Mapping[str, Settings]) -> None:
    """Read what stages name as inputs of their own, and check that those have one that need it."""
    for stage in ("retrieval", "negatives"):
        if settings.get(stage, {}).get("corpus") is not None:
            settings[stage]["corpus"] = _read_input(f"the corpus of {stage!r}", settings[stage]["corpus"])
    if "retrieval" in settings and "corpus" not in settings and settings["retrieval"].get("corpus") is None:
        raise ConfigError("'retrieval' has nothing to search. Write `corpus: FILE` into the pipeline.")
    if "decontamination" in settings:
        sources = settings["decontamination"].get("evaluation_sets")
        if not isinstance(sources, list | tuple) or not sources:
            raise ConfigError(
                f"'decontamination' has evaluation_sets={sources!r}; expected a list of files or names on the Hub. "
                "Write `evaluation_sets: [FILE]`, or leave the stage out."
            )
        settings["decontamination"]["evaluation_sets"] = [
            _read_input("an entry of evaluation_sets", source) for source in sources
        ]


def _check_export(name: str, export: Any, exports: Mapping[str, Callable[..., Any]]) -> None:
    if not isinstance(export, Mapping) or export.get("format") not in exports:
        raise ConfigError(
            f"The export {name!r} is {export!r}; expected settings with `format: ` and one of {', '.join(exports)}."
        )
    known = ["format", "one_trace", *parameters_of(exports[export["format"]])]
    known += [] if export["format"] == "retrieval" else DistillConfig.names()
    reject_unknown_names(export, known, f"the export {name!r}")
    configs = [] if export["format"] == "retrieval" else [DistillConfig]
    _check_values(f"The export {name!r}", export, exports[export["format"]], *configs)
    if isinstance(export.get("student_tokenizer"), str):
        raise ConfigError(
            f"The export {name!r} has student_tokenizer={export['student_tokenizer']!r}; expected a loaded tokenizer. "
            "In YAML, leave it out, and write the file with `hf-rare export --student`."
        )


def _check_values(
    subject: str, settings: Mapping[str, Any], function: Callable[..., Any], *configs: type[Config]
) -> None:
    """Check that values are of the kinds that the annotations of a function say, and that configs take them."""
    try:
        for name, parameter in inspect.signature(function).parameters.items():
            if name in settings and name not in READ_AS_INPUTS:
                check_value(name, settings[name], parameter.annotation)
        check_statuses(settings.get("statuses"))
        for config in configs:
            config(**{name: settings[name] for name in config.names() if name in settings})
    except ConfigError as err:
        raise ConfigError(f"{subject}: {err}") from err


def _check_push(push: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    if not isinstance(push.get("repo_id"), str) or not push["repo_id"]:
        raise ConfigError(
            f"'push' has repo_id={push.get('repo_id')!r}; expected the name of a dataset on the Hub. Write "
            "`repo_id: OWNER/NAME` into it."
        )
    if others := [name for name in SET_BY_PUSH if name in card]:
        raise ConfigError(f"'card' has {others[0]!r}, which 'push' sets itself. Leave it out.")


def names_of(section: str, functions: Mapping[str, Callable[..., Any]]) -> list[str]:
    """List the settings that a section may have, without what the pipeline itself gives to its function."""
    names = parameters_of(functions[section])
    if section in FURTHER_SETTINGS:
        names += FURTHER_SETTINGS[section].names()
    if section in READING_STAGES:
        names += OF_READERS
    if section == "retrieval":
        names = [name for name in names if name not in NOT_FOR_RETRIEVAL]
    if section == "push":
        names += [name for name in parameters_of(functions["card"]) if name not in SET_BY_PUSH]
    return [name for name in names if section not in ("card", "push") or name != "recipe"]


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """List the names that a function takes, without the rows."""
    names = [name for name, one in inspect.signature(function).parameters.items() if one.kind.name != "VAR_KEYWORD"]
    return names[1:]
