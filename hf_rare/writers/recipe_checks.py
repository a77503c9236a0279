"""What a recipe may ask for: a stranger's recipe runs no code, names no place, and costs no more than it says."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from hf_rare._version import __version__
from hf_rare.errors import ConfigError, HfRareError, RecipeError
from hf_rare.generation.revisions import is_on_hub
from hf_rare.prompts.templates import is_source
from hf_rare.settings.base import Config
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.settings.generation import DecodingConfig, ModelConfig
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.writers.registry import WRITERS

RECIPE_VERSION = 1
OWN_BUSINESS = ("trust_remote_code", "offload_folder")
"""Settings of a model that only the person at this machine may choose."""
OWN_ADDRESS = ("base_url", "token_variable", "bill_to")
"""Settings of an endpoint that only the person at this machine may choose: rows and a key go there."""
REVISIONS = {"model_id": "revision", "adapter": "adapter_revision"}
"""Settings that name weights, and the setting that says which revision of them."""

AT_MOST = {
    **dict.fromkeys(("num_samples", "max_attempts", "num_questions", "num_negatives"), 64),
    "max_new_tokens": 262_144,
}
"""What a recipe may ask for: what a row costs is multiplied by it."""

MOST_BEAMS = 16
MOST_STOPS, MOST_STOP_CHARACTERS = 64, 1_000
"""Stop strings that a recipe may have, and characters of them all: each is held against every token."""
MOST_VALUES, MOST_DEPTH = 200_000, 60
"""Values and characters of a setting, and levels of a schema, that a recipe may have."""

Recipe = dict[str, Any]


@contextlib.contextmanager
def explaining_recipe() -> Iterator[None]:
    """Turn what a recipe makes other code raise, since its values are not of the right kind, into [`RecipeError`]."""
    try:
        yield
    except HfRareError:
        raise
    except Exception as err:
        raise RecipeError(f"The recipe cannot be used: {type(err).__name__}: {err}") from err


def sections_of(recipe: Recipe) -> dict[str, type[Config]]:
    """Name the sections with settings."""
    kind = recipe["kind"]
    own = WRITERS[kind].config
    return {kind: own, "model": ModelConfig, "decoding": DecodingConfig, "endpoint": EndpointConfig}


def check_shape(recipe: Any, kind: str | None) -> None:
    """Raise [`RecipeError`] for what is no recipe, or has unknown settings."""
    kinds = [kind] if kind else list(WRITERS)
    if not isinstance(recipe, dict) or recipe.get("kind") not in kinds or recipe.get("recipe") != RECIPE_VERSION:
        raise RecipeError(
            f"This is no recipe that hf_rare {__version__} can use here: expected a dict with kind="
            f"{' or '.join(map(repr, kinds))} and recipe={RECIPE_VERSION}."
        )
    for section, config in sections_of(recipe).items():
        settings = recipe.get(section)
        if settings is None and section != recipe["kind"]:
            continue
        if not isinstance(settings, dict):
            raise RecipeError(f"The recipe's {section!r} is no dict of settings.")
        try:
            known = [*config.names(), *(["model_id"] if section == "endpoint" else [])]
            reject_unknown_names(settings, known, f"the recipe's {section!r}")
        except ConfigError as err:
            raise RecipeError(str(err)) from err


def check_harm(recipe: Recipe) -> None:
    """Raise [`RecipeError`] for what a recipe may not ask for."""
    kind = recipe["kind"]
    builtin = WRITERS[kind].config.builtin_templates
    template = recipe[kind].get("template", *builtin[:1])
    if template not in builtin and not is_source(str(template)):
        raise RecipeError(f"The recipe's template {template!r} is neither built in nor a text with placeholders.")
    endpoint = recipe.get("endpoint") or {}
    if asked := [name for name in OWN_ADDRESS if endpoint.get(name)]:
        raise RecipeError(
            f"The recipe asks for {asked[0]}={endpoint[asked[0]]!r}: where rows and keys go, a recipe may not say. "
            "Pass it yourself where you trust it."
        )
    if endpoint.get("tokenizer") is not None and not is_hub_name(endpoint["tokenizer"]):
        raise RecipeError(f"The recipe's tokenizer={endpoint['tokenizer']!r} is not a name on the Hub.")
    model = recipe.get("model") or {}
    if "/" in str(model.get("attn_implementation") or ""):
        raise RecipeError(
            f"The recipe asks for attn_implementation={model['attn_implementation']!r}, which is code from the Hub. "
            "Pass it yourself where you trust it."
        )
    if asked := [name for name in OWN_BUSINESS if model.get(name)]:
        raise RecipeError(
            f"The recipe asks for {asked[0]}, which a recipe may not. Pass it yourself where you trust it."
        )
    for name in REVISIONS:
        if model.get(name) is None:
            continue
        if is_off_hub(model, name):
            if not _is_folder_name(model[name]):
                raise RecipeError(f"The recipe's {name}={model[name]!r} is not the name of a folder.")
        elif not is_hub_name(model[name]):
            raise RecipeError(f"The recipe's {name}={model[name]!r} is not a name on the Hub.")
    gguf_file = model.get("gguf_file")
    if gguf_file is not None and not re.fullmatch(r"(?!.*\.\.)[\w.-]+(/[\w.-]+)*", str(gguf_file)):
        raise RecipeError(f"The recipe's gguf_file={gguf_file!r} is not the name of a file in a repository.")


def check_cost(recipe: Recipe) -> None:
    """Raise [`RecipeError`] for what multiplies the work of a run, or is larger than settings are."""
    for section in sections_of(recipe):
        settings = recipe.get(section) or {}
        for name, most in AT_MOST.items():
            value = settings.get(name)
            if isinstance(value, int | float) and value > most:
                raise RecipeError(
                    f"The recipe asks for {name}={value}, and a recipe may ask for at most {most}. Pass {name}=... "
                    "yourself where you mean it."
                )
        for name, value in settings.items():
            if (size := _count_values(value)) > MOST_VALUES:
                raise RecipeError(
                    f"The recipe's {name} has {size:,} values and characters; expected at most {MOST_VALUES:,}. "
                    "Pass it yourself where you mean it."
                )
    sampling = (recipe.get("decoding") or {}).get("generation_kwargs") or {}
    for name in ("num_beams", "num_beam_groups", "num_return_sequences"):
        value = sampling.get(name)
        if isinstance(value, int | float) and value > MOST_BEAMS:
            raise RecipeError(
                f"The recipe asks for {name}={value}, and a recipe may ask for at most {MOST_BEAMS}. Pass "
                "generation_kwargs=... yourself where you mean it."
            )
    for name in ("stop_strings", "stop"):
        stops = sampling.get(name) or []
        listed = [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else []
        for count, most, noun in (
            (len(listed), MOST_STOPS, name),
            (_count_values(listed) - 1, MOST_STOP_CHARACTERS, f"characters in {name}"),
        ):
            if count > most:
                raise RecipeError(
                    f"The recipe asks for {count} {noun}, and a recipe may ask for at most {most}. Pass "
                    "generation_kwargs=... yourself where you mean it."
                )
    if "chat_template" in ((recipe.get("decoding") or {}).get("chat_template_kwargs") or {}):
        raise RecipeError(
            "The recipe brings a chat template of its own, which could take any time. Look at it in "
            "recipe['decoding'], and pass chat_template_kwargs=... yourself where you trust it."
        )


def _count_values(value: Any, depth: int = 0) -> int:
    """Count values and the characters of texts; what is nested too deeply counts as too much."""
    if depth > MOST_DEPTH:
        return MOST_VALUES + 1
    if isinstance(value, str):
        return len(value)
    inner: list[Any] = (
        [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    )
    return 1 + sum(_count_values(item, depth + 1) for item in inner)


def is_hub_name(value: Any) -> bool:
    """Tell whether this can be the name of a repository on the Hub."""
    try:
        validate_repo_id(value)
    except HFValidationError:
        return False
    return True


def _is_folder_name(value: Any) -> bool:
    return isinstance(value, str) and value not in (".", "..") and not re.search(r"[/\\]", value)


def is_off_hub(model: Mapping[str, Any], name: str = "model_id") -> bool:
    """Tell whether the revision of a model, or of its `"adapter"`, is that of a local folder or of a loaded object."""
    return not is_on_hub(model.get(REVISIONS[name]))
