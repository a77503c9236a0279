"""The stages of a pipeline in which a model reads and writes nothing: `evidence`, `selection`, and what distracts."""

from collections.abc import Mapping
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.generation.scorer import make_scorer
from hf_rare.pipeline.settings import OF_READERS, READING_STAGES, Settings
from hf_rare.rows.column_types import is_list


def check_reading(settings: Mapping[str, Settings], distiller: Any) -> None:
    """Find out before anything is generated whether these stages can run. No weights are loaded.

    Args:
        settings (`Mapping[str, dict]`):
            All sections.
        distiller ([`ReasonDistiller`], *optional*):
            That of the pipeline, where it has one.

    Raises:
        ConfigError: A stage names no model, a setting of it cannot be right, or there is nothing to choose from.
        ModelLoadError: The model does not exist, or cannot be found out about.
    """
    for stage, name in READING_STAGES.items():
        if stage in settings and not (isinstance(settings[stage].get(name), str) and settings[stage][name]):
            raise ConfigError(
                f"{stage!r} has {name}={settings[stage].get(name)!r}; expected the name or the folder of a model. "
                f"Write `{name}: NAME` into it."
            )
    for stage, name in {**READING_STAGES, "negatives": "distractor_model"}.items():
        own = settings.get(stage, {})
        if isinstance(own.get(name), str):
            try:
                make_scorer(own[name], False, {one: own[one] for one in OF_READERS if one in own})
            except ConfigError as err:
                raise ConfigError(f"The pipeline's {stage!r}: {err}") from err
    if "selection" in settings:
        _check_selection(settings, distiller)


def _check_selection(settings: Mapping[str, Settings], distiller: Any) -> None:
    """Check that there are several traces before, and one behind it where one is left.

    Raises:
        ConfigError: There is nothing to choose from, or an export chooses once more.
    """
    if distiller is not None and not is_list(distiller.output_features[distiller.output_prefix]):
        raise ConfigError(
            "'selection' chooses among several traces of a row, and 'distill' writes one. Write `num_samples: 4` "
            "without `expand`, or `keep_attempts: true` with `max_attempts`, into `distill:`, or leave the stage out."
        )
    again = [name for name, export in settings.get("export", {}).items() if export.get("one_trace")]
    if again and settings["selection"].get("keep", 1) == 1:
        raise ConfigError(
            f"The export {again[0]!r} has one_trace=True, and 'selection' leaves one trace of each row. Leave one of "
            "them out."
        )


def reading_settings(stage: str, settings: Mapping[str, Settings], distiller: Any) -> Settings:
    """Put what a stage is given together: its own settings, the pipeline's distiller as recipe, and its journals.

    Args:
        stage (`str`):
            Name of the stage.
        settings (`Mapping[str, dict]`):
            All sections.
        distiller ([`ReasonDistiller`], *optional*):
            That of the pipeline, where it has one.

    Returns:
        `dict`: settings for [`measure_evidence`] or [`select_traces`].
    """
    shared = {name: value for name, value in settings.get("model", {}).items() if name == "journal_dir"}
    return {"recipe": distiller, **shared, **settings[stage]}
