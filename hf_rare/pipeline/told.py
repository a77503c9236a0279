"""What the recipe of a pipeline's rows tells beside how their last writer works: all stages, and the command."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hf_rare.negatives.mine import FOR_BM25
from hf_rare.negatives.settings import MiningConfig
from hf_rare.pipeline.settings import CHANGE_NO_ROW, Settings, list_stages
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.recipe import describe_command, hide_places, join_command, make_recipe

OF_MINING = {
    "retrieval": ("language", "k1", "b"),
    "negatives": ("skip_top", "duplicate_threshold", "language", "k1", "b"),
}
"""Settings of [`MiningConfig`] that are told of a stage also where they are the default."""
OF_MODELS = ("model", "endpoint", "decoding", "identity")
"""Parts of a writer's recipe that are told beside its settings."""
FLAGS = {"model_id": "--model", "max_new_tokens": "--max-new-tokens"}
"""What `hf-rare run` calls the settings of all models that it takes."""


def tell_stages(
    sections: Mapping[str, Settings],
    loaded: Mapping[str, Settings],
    writers: Mapping[str, ColumnWriter[Any, Any]],
    functions: Mapping[str, Callable[..., Any]],
) -> list[dict[str, Any]]:
    """Tell the stages that have made rows, in their order, with the settings that change the rows.

    Args:
        sections (`Mapping[str, dict]`):
            The sections of the pipeline, in which inputs stand by name.
        loaded (`Mapping[str, dict]`):
            The same with inputs that are loaded.
        writers (`Mapping[str, ColumnWriter]`):
            What lets models write, by stage.
        functions (`Mapping[str, Callable]`):
            What the other stages call.

    Returns:
        `list[dict]`: for each stage its name as `stage`, and `settings`; for one that lets a model write the parts of
        a recipe. Values of JSON, without folders of this machine.
    """
    told: list[dict[str, Any]] = []
    for stage in (stage for stage in list_stages() if stage in sections):
        if stage in writers:
            recipe = make_recipe(writers[stage])
            parts = {name: recipe[name] for name in ("kind", recipe["kind"], *OF_MODELS)}
            told.append({"stage": stage, **parts})
        else:
            settings = _complete(stage, sections[stage], functions[stage])
            if stage in OF_MINING:
                settings["corpus"] = _tell_corpus(stage, sections, loaded)
            told.append({"stage": stage, "settings": hide_places(settings)})
    return told


def tell_command(pipeline: Any, output: Any, model_settings: Mapping[str, Any]) -> str | None:
    """Return the command that runs a pipeline: the one that this process is, or one that does the same.

    Args:
        pipeline (`str`, `Path` or `dict`):
            The pipeline; for one that is no file there is no such command.
        output (`str` or `Path`, *optional*):
            Folder for the results, where it is not the pipeline's.
        model_settings (`Mapping[str, Any]`):
            Settings that stand in for the pipeline's.

    Returns:
        `str` or `None`: the command, without folders of this machine.
    """
    if command := describe_command():
        return command
    if not isinstance(pipeline, str | Path) or set(model_settings) - set(FLAGS):
        return None
    words = ["run", str(pipeline), *(["--output", str(output)] if output is not None else [])]
    for name, value in model_settings.items():
        words += [FLAGS[name], str(value)]
    return join_command(words)


def _complete(stage: str, given: Settings, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the settings of a stage with the defaults that change its rows; those that say nothing are left out."""
    parameters = inspect.signature(function).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    defaults |= {name: getattr(MiningConfig(), name) for name in OF_MINING.get(stage, ())}
    if given.get("method", "bm25") != "bm25":
        defaults = {name: value for name, value in defaults.items() if name not in FOR_BM25}
    columns = {name for name in defaults if name.endswith("_column") and name != "gold_column"}
    told = {name: value for name, value in defaults.items() if value is not None and name not in columns} | given
    return {name: value for name, value in told.items() if name not in CHANGE_NO_ROW}


def _tell_corpus(stage: str, sections: Mapping[str, Settings], loaded: Mapping[str, Settings]) -> Any:
    """Tell what was searched, and how many rows it has; `None` where the rows of the stage were."""
    source = sections[stage].get("corpus") or sections.get("corpus")
    rows = loaded[stage].get("corpus")
    return None if source is None or rows is None else {**source, "rows": len(rows)}
