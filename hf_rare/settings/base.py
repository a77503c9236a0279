"""What all settings share: frozen dataclasses, checked when they are made, that turn into JSON and back.

They know nothing of models, datasets or files. Their docstrings are the reference for every setting; the command line
builds its flags and its help from them.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from hf_rare.errors import ConfigError
from hf_rare.settings.transformers_names import reject_unknown_names

GENERATION_REVISION = 1
"""Bumped by hand whenever prompts, document order, sampling or parsing change what a row becomes."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What all settings share: JSON, and names that are checked."""

    def to_json(self) -> str:
        """Give all settings as JSON with sorted keys: the same text for equal settings in every process."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Make the settings again from [`Config.to_json`]."""
        return cls(**json.loads(text))

    @classmethod
    def names(cls) -> list[str]:
        """List the names of the settings, in order."""
        return [setting.name for setting in dataclasses.fields(cls)]


def split_settings(settings: Mapping[str, Any], *configs: type[Config]) -> list[dict[str, Any]]:
    """Hand each setting to the config that has a setting of that name.

    Args:
        settings (`Mapping[str, Any]`):
            Settings by name.
        configs (subclasses of [`Config`]):
            The configs to hand them to.

    Returns:
        `list[dict[str, Any]]`: the settings of each config, in the order of `configs`.

    Raises:
        ConfigError: A name belongs to none of them.
    """
    reject_unknown_names(settings, [name for config in configs for name in config.names()], "settings")
    return [{name: settings[name] for name in config.names() if name in settings} for config in configs]


def check_setting(
    config: Config, name: str, types: Any, expected: str, is_right: Callable[[Any], bool] = lambda value: True
) -> None:
    """Check one setting.

    Raises:
        ConfigError: It is of another type, or `is_right` says no.
    """
    value = getattr(config, name)
    is_bool_for_number = isinstance(value, bool) and bool not in (types if isinstance(types, tuple) else (types,))
    if not isinstance(value, types) or is_bool_for_number or not is_right(value):
        raise ConfigError(f"{name}={value!r} cannot be right: expected {expected}.")


def check_choice(config: Config, name: str, choices: Sequence[str]) -> None:
    """Check that a setting is one of some names.

    Raises:
        ConfigError: It is none of them.
    """
    *others, last = map(repr, choices)
    check_setting(config, name, str, f"{', '.join(others)} or {last}", lambda value: value in choices)


def check_json(config: Config) -> None:
    """Check that all settings can be recorded as JSON.

    Raises:
        ConfigError: One cannot.
    """
    try:
        config.to_json()
    except (TypeError, ValueError) as err:
        raise ConfigError(
            f"{type(config).__name__} holds a value that JSON cannot hold ({err}). Settings must be texts, numbers, "
            "lists and dicts of these, so that they can be recorded."
        ) from err
