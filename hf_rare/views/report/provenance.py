"""How the rows of a report were made, as a page says it: versions, and the recipe."""

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from hf_rare._version import __version__
from hf_rare.settings.writers import DistillConfig
from hf_rare.text import clean, hide_tokens, shorten
from hf_rare.views.report.traces import Traces
from hf_rare.writers.recipe import make_recipe, read_recipe

MAX_CHARACTERS = 50_000


@dataclasses.dataclass(frozen=True)
class Provenance:
    """How rows were made.

    Args:
        facts (`list[tuple[str, str]]`): names and values: the rows of each split, and the versions that read them.
        recipe (`str`): the recipe as YAML; empty where there is none.
    """

    facts: list[tuple[str, str]]
    recipe: str


def describe_provenance(recipe: Any, traces: Traces) -> Provenance:
    """Describe how rows were made.

    Args:
        recipe: as in [`report`].
        traces ([`Traces`]): the rows.
    """
    facts = [(f"rows of {clean(name)}", f"{len(split):,}") for name, split in traces.splits.items()]
    columns = dict.fromkeys(name for split in traces.splits.values() for name in split.column_names)
    facts.append(("columns", ", ".join(clean(name) for name in columns)))
    facts.append(
        ("report by", f"hf_rare {__version__}, datasets {version('datasets')}, Python {platform.python_version()}")
    )
    said = _read(recipe)
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True) if said else ""
    return Provenance(facts, shorten(clean(hide_tokens(text)), MAX_CHARACTERS))


def _read(recipe: Any) -> dict[str, Any]:
    """Return a recipe as plain values, or the settings where there is no more."""
    if recipe is None:
        return {}
    if isinstance(recipe, str | Path | Mapping):
        said = read_recipe(recipe, kind="distill")
    elif isinstance(recipe, DistillConfig):
        said = {"distill": dataclasses.asdict(recipe)}
    else:
        said = make_recipe(recipe)
    return {name: _plain(part) for name, part in said.items() if part is not None}


def _plain(value: Any) -> Any:
    """Return values that YAML has words for; what says nothing is left out."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool) else str(value)
