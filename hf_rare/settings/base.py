"""What all settings share: frozen dataclasses, checked when they are made, that turn into JSON and back.

They know nothing of models, datasets or files. Their docstrings are the reference for every setting; the command line
builds its flags and its help from them.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_type_hints

from hf_rare.errors import ConfigError
from hf_rare.settings.kinds import check_value
from hf_rare.settings.transformers_names import reject_unknown_names

GENERATION_REVISION = 1
"""Bumped by hand whenever prompts, document order or sampling change what is generated for a row.

It is in the keys of the journal: what was generated before is generated anew.
"""

READING_REVISION = 5
"""Bumped by hand whenever the same completion gives other columns.

It is not in the keys of the journal: `map` reads what was generated before, and writes its columns anew.
"""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What all settings share: JSON, and names and values that are checked.

    Raises:
        ConfigError: A value is not of the kind that its annotation says.
    """

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self), include_extras=True)
        for name in self.names():
            object.__setattr__(self, name, check_value(name, getattr(self, name), kinds[name]))

    def to_json(self) -> str:
        """Return all settings as JSON with sorted keys: the same text for equal settings in every process."""
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


def check_json(config: Config) -> None:
    """Check that all settings can be recorded as JSON.

    Raises:
        ConfigError: One cannot.
    """
    try:
        config.to_json()
    except (TypeError, ValueError, RecursionError) as err:
        raise ConfigError(
            f"{type(config).__name__} holds a value that JSON cannot hold ({err}). Settings must be texts, numbers, "
            "lists and dicts of these, so that they can be recorded."
        ) from err
