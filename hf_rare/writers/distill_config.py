"""The settings that distilled rows were made with, as whoever works on the rows gives them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.recipe import read_recipe


def read_distill_config(recipe: Any, settings: Mapping[str, Any]) -> DistillConfig:
    """Give the settings of a recipe or a distiller, with the caller's in their place.

    Args:
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            A recipe, a file or dataset on the Hub that has one, or the distiller.
        settings (`Mapping[str, Any]`):
            Settings of [`DistillConfig`] that stand in for the recipe's.

    Returns:
        [`DistillConfig`]: the settings.

    Raises:
        ConfigError: A setting is unknown, or `recipe` is something else.
        RecipeError: The recipe cannot be found or read.
    """
    reject_unknown_names(settings, DistillConfig.names(), "settings")
    if recipe is None:
        known: Mapping[str, Any] = {}
    elif isinstance(recipe, str | Path | Mapping):
        known = read_recipe(recipe, kind="distill")["distill"]
    elif isinstance(config := getattr(recipe, "config", recipe), DistillConfig):
        known = dataclasses.asdict(config)
    else:
        raise ConfigError(
            f"recipe is a {type(recipe).__name__}; expected a recipe, a file or dataset that has one, or a distiller."
        )
    return DistillConfig(**{**known, **settings})
