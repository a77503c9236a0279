"""The settings that a dataset was distilled with, as whoever reads its rows is told of them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.prompts.templates import keep_source
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.recipe import read_recipe


def known_settings(recipe: Any) -> Mapping[str, Any]:
    """Return the settings of a distiller.

    Args:
        recipe ([`ReasonDistiller`], [`DistillConfig`], `str`, `Path` or `dict`, *optional*):
            The distiller, its settings, its recipe, or a file or dataset that has one. `None` for no settings.

    Returns:
        `Mapping[str, Any]`: settings of [`DistillConfig`] by name.

    Raises:
        ConfigError: This is none of them.
        RecipeError: The recipe cannot be read.
    """
    if recipe is None:
        return {}
    if isinstance(recipe, str | Path | Mapping):
        settings: Mapping[str, Any] = read_recipe(recipe, kind="distill")["distill"]
        return settings
    if isinstance(config := getattr(recipe, "config", recipe), DistillConfig):
        return dataclasses.asdict(config)
    raise ConfigError(
        f"recipe is a {type(recipe).__name__}; expected a recipe, a file or dataset that has one, or a distiller."
    )


def read_distill_config(recipe: Any, settings: Mapping[str, Any]) -> DistillConfig:
    """Return the settings that rows were distilled with, with the caller's in the place of some.

    Args:
        recipe ([`ReasonDistiller`], [`DistillConfig`], `str`, `Path` or `dict`, *optional*):
            As in [`known_settings`].
        settings (`Mapping[str, Any]`):
            Settings of [`DistillConfig`] that stand in for the recipe's.

    Returns:
        [`DistillConfig`]: the settings, with the text of their template.

    Raises:
        ConfigError: A setting is unknown, or `recipe` is something else.
        RecipeError: The recipe cannot be found or read.
        TemplateError: The template is none, or its file cannot be read.
    """
    reject_unknown_names(settings, DistillConfig.names(), "settings")
    return keep_source(DistillConfig(**{**known_settings(recipe), **settings}))
