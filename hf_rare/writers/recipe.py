"""The recipe: everything that is needed to make a dataset again, as JSON that travels with it.

A recipe that is read is a stranger's: it can turn on no remote code and name no file or folder of this machine, and
its template runs in the sandbox that every template runs in.
"""

import json
import logging
import platform
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from hf_rare._version import __version__
from hf_rare.errors import RecipeError
from hf_rare.generation.revisions import is_local
from hf_rare.hub_errors import check_token
from hf_rare.paths import is_file, is_there
from hf_rare.settings.base import GENERATION_REVISION
from hf_rare.text import hide_tokens
from hf_rare.writers.recipe_checks import (
    OWN_BUSINESS,
    RECIPE_VERSION,
    REVISIONS,
    Recipe,
    check_cost,
    check_harm,
    check_shape,
    explaining_recipe,
    is_hub_name,
    is_off_hub,
    sections_of,
)

logger = logging.getLogger(__name__)

MOST_BYTES = 10_000_000
"""Size of a recipe's file: many times what one has whose settings are as large as they may be."""

PACKAGES = ("torch", "transformers", "accelerate", "datasets")


def make_recipe(writer: Any, command: str | None = None) -> Recipe:
    """Write down how a distiller, or another writer, makes a row.

    Args:
        writer ([`ColumnWriter`]): the distiller.
        command (`str`, *optional*): the command that ran it.

    Returns:
        `dict`: the recipe, of JSON values: the settings, what stands for the teacher, and the versions. Neither local
        paths nor tokens are in it; for a teacher from a local folder the folder's name is.
    """
    settings = writer.generator.settings()
    return {
        "recipe": RECIPE_VERSION,
        "kind": writer.kind,
        "hf_rare": __version__,
        "generation_revision": GENERATION_REVISION,
        writer.kind: json.loads(writer.config.to_json()),
        "model": _without_paths(settings["model"]) if "model" in settings else None,
        "endpoint": _without_served_paths(settings["endpoint"]) if "endpoint" in settings else None,
        "cost": round(writer.summary.cost, 6) or None,
        "served_by": dict(sorted(writer.summary.served_by.items())) or None,
        "decoding": settings.get("decoding"),
        "identity": _without_folder(writer.generator.identity()),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "command": hide_tokens(command) if command else None,
        **{name: make_recipe(companion) for name, companion in writer.companions.items()},
    }


def describe_command() -> str | None:
    """Return the command line of this process when it is `hf-rare`, with the folders of paths left out."""
    program, *arguments = sys.argv
    is_module = Path(program).parts[-2:] == ("hf_rare", "__main__.py")
    return join_command(arguments) if Path(program).stem == "hf-rare" or is_module else None


def join_command(arguments: Sequence[str]) -> str:
    """Return the command line of `hf-rare` with these arguments, with the folders of paths left out."""
    return shlex.join(["hf-rare", *map(_without_folders, arguments)])


def hide_places(value: Any) -> Any:
    """Leave out tokens and the folders of paths in values of JSON; what is none becomes a text."""
    if isinstance(value, Mapping):
        return {str(name): hide_places(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [hide_places(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return hide_tokens(_without_folders(value)) if isinstance(value, str | Path) else type(value).__name__


def read_recipe(
    source: str | Path | Mapping[str, Any],
    config_name: str = "default",
    own_settings: Collection[str] = (),
    kind: str | None = None,
    **hub_kwargs: Any,
) -> Recipe:
    """Read a recipe and check that it can do no harm.

    Args:
        source (`str`, `Path` or `dict`):
            A recipe file, a dataset on the Hub that has one, or the recipe itself.
        config_name (`str`, *optional*, defaults to `"default"`):
            Config of the dataset on the Hub.
        own_settings (`Collection[str]`, *optional*):
            Names of settings that the caller chooses: the recipe's are left out.
        kind (`str`, *optional*):
            What it must be a recipe for; by default any of [`WRITERS`] will do.
        **hub_kwargs:
            `revision` and `token`, for a dataset on the Hub.

    Returns:
        `dict`: the recipe.

    Raises:
        RecipeError: It cannot be found or read, or asks for what a recipe may not ask for.
    """
    if isinstance(source, Mapping):
        recipe = dict(source)
    else:
        path = Path(source) if is_file(source) else _download(str(source), config_name, hub_kwargs)
        try:
            if (size := path.stat().st_size) > MOST_BYTES:
                raise ValueError(f"it has {size:,} bytes; expected at most {MOST_BYTES:,}")
            recipe = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as err:
            raise RecipeError(f"The recipe {source} cannot be read: {err}") from err
    with explaining_recipe():
        check_shape(recipe, kind)
        for section in sections_of(recipe):
            if recipe.get(section) is not None:
                recipe[section] = {name: value for name, value in recipe[section].items() if name not in own_settings}
        check_harm(recipe)
        check_cost(recipe)
    return recipe


def recipe_path(config_name: str) -> str:
    """Return the place of a config's recipe in its repository."""
    return "recipe.json" if config_name == "default" else f"{config_name}/recipe.json"


def recipe_beside(path: Path) -> Path:
    """Return the place of the recipe of a dataset on the disk: beside it, under its name."""
    path = path if path.name else path.absolute()  # such as that of the folder that one is in
    return path.parent / f"{path.stem}.recipe.json"


def read_recipe_beside(path: Path, kind: str) -> Recipe | None:
    """Read the recipe that lies beside a dataset on the disk; `None` where there is none of this kind."""
    beside = recipe_beside(path)
    recipe = read_recipe(beside) if is_there(beside) else None
    return recipe if recipe is not None and recipe["kind"] == kind else None


def recipe_settings(recipe: Recipe, model_id: str | None = None) -> dict[str, Any]:
    """Return the settings of [`ReasonDistiller.from_pretrained`] that a recipe stands for.

    Args:
        recipe (`dict`): the recipe.
        model_id (`str`, *optional*): another place for the teacher, or another teacher.

    Returns:
        `dict[str, Any]`: the settings by name.

    Raises:
        RecipeError: The recipe does not name a teacher, or an adapter of it, that can be had.
    """
    if recipe.get("endpoint") is not None:
        return {**recipe[recipe["kind"]], **_endpoint_settings(recipe, model_id), **(recipe.get("decoding") or {})}
    model = {name: value for name, value in (recipe.get("model") or {}).items() if value is not None}
    if model_id is not None:
        model |= {"model_id": model_id}
        model.pop("revision", None)
    else:
        _check_source(model, "model_id", "teacher")
    if "adapter" in model:
        _check_source(model, "adapter", "adapter")
    else:  # there is none, or the caller has another one
        model.pop("adapter_revision", None)
    if recipe["generation_revision"] != GENERATION_REVISION:
        logger.warning(
            "The recipe was written by hf_rare %s, which makes other prompts than %s from the same rows.",
            recipe.get("hf_rare"),
            __version__,
        )
    return {**recipe[recipe["kind"]], **model, **(recipe.get("decoding") or {})}


def _endpoint_settings(recipe: Recipe, model_id: str | None) -> dict[str, Any]:
    """Return the settings of the endpoint that answered; the caller says where one is now, if it was an address."""
    endpoint = {name: value for name, value in recipe["endpoint"].items() if value is not None}
    if model_id is not None:
        endpoint["model_id"] = model_id
    if endpoint.get("tokenizer") and is_local(endpoint["tokenizer"]):
        raise RecipeError(
            f"The recipe's tokenizer {endpoint['tokenizer']!r} is a folder here. Pass tokenizer=... to say which is "
            "meant, or tokenizer=None."
        )
    return endpoint


def _check_source(model: Mapping[str, Any], name: str, noun: str) -> None:
    """Raise [`RecipeError`] for weights that are not on the Hub, and for a folder with the name of some that are."""
    if model.get(name) is None or is_off_hub(model, name):
        raise RecipeError(
            f"The recipe's {noun} {model.get(name, 'one of its own kind')!r} is not on the Hub: it came from a local "
            f"folder or from memory. Pass {name}=..., the folder where it lies here."
        )
    if is_local(model[name]):
        raise RecipeError(
            f"The recipe's {noun} is {model[name]!r} on the Hub, and a folder of this name is here. Change the "
            f"working directory, or pass {name}=... to take the folder."
        )


def _without_paths(model: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in model.items() if name not in OWN_BUSINESS}
    for name in REVISIONS:
        if kept[name] and is_off_hub(kept, name):
            kept[name] = _folder_name(Path(kept[name]))
    return kept


def _without_served_paths(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out a tokenizer that lies in a folder of this machine, and the folders of a model that a server has."""
    tokenizer = endpoint["tokenizer"]
    is_here = tokenizer is not None and is_local(tokenizer)
    return {**_without_folder(endpoint), "tokenizer": None if is_here else tokenizer}


def _without_folder(model: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the folders of a model that is called by its path."""
    name = model.get("model_id")
    return {**model, "model_id": Path(name).name} if isinstance(name, str) and Path(name).is_absolute() else {**model}


def _folder_name(path: Path) -> str:
    """Return the last part of a path; for `.` and `..` the name of the folder that they mean."""
    return path.name if path.name not in ("", "..") else path.resolve().name


def _without_folders(argument: str | Path) -> str:
    """Leave the folders out of an argument that is a path, or that is an option with `=` and a path."""
    argument = str(argument)
    if _is_path(argument):
        return Path(argument).name or argument
    option, equals, value = argument.partition("=")
    return f"{option}={Path(value).name or value}" if equals and _is_path(value) else argument


def _is_path(text: str) -> bool:
    """Tell whether a text is a path: something lies there, or in a folder of it, as for `/folder/*.parquet`."""
    path = Path(text)
    folders = [] if is_hub_name(text) else [folder for folder in path.parents if folder.name]
    return any(_exists(place) for place in (path, *folders))


def _exists(path: Path) -> bool:
    try:
        return is_there(path.expanduser())
    except RuntimeError:  # it is the home of nobody
        return False


def _download(repo_id: str, config_name: str, hub_kwargs: Mapping[str, Any]) -> Path:
    check_token(hub_kwargs.get("token"))
    try:
        validate_repo_id(repo_id)
        path = huggingface_hub.hf_hub_download(repo_id, recipe_path(config_name), repo_type="dataset", **hub_kwargs)
    except HFValidationError as err:
        raise RecipeError(f"{repo_id!r} is neither a recipe file nor the name of a dataset on the Hub.") from err
    except RepositoryNotFoundError as err:
        raise RecipeError(
            f"There is no dataset {repo_id!r} on the Hub, or it is private: log in, or pass token=."
        ) from err
    except LocalEntryNotFoundError as err:
        raise RecipeError(
            f"The Hub cannot be reached, and the cache of this machine has no {recipe_path(config_name)} of "
            f"{repo_id!r}. Check the connection, or pass a recipe file."
        ) from err
    except EntryNotFoundError as err:
        raise RecipeError(
            f"The dataset {repo_id!r} has no {recipe_path(config_name)}: it was not pushed with a recipe."
        ) from err
    return Path(path)
