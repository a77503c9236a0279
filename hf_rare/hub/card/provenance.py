"""What a recipe says, for a card: the teacher, the settings that change what it writes, and the template, as Markdown.

A recipe may be a stranger's: any part of it may be missing or of another type, and no path in it is followed.
"""

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from hf_rare._version import __version__
from hf_rare.generation.revisions import is_on_hub
from hf_rare.hub.card.markdown import as_text, code, fenced, inline, join, link, literal
from hf_rare.prompts.templates import is_source, read_template_source
from hf_rare.text import hide_tokens, show_cost
from hf_rare.writers.recipe_checks import is_off_hub
from hf_rare.writers.registry import WRITERS

SHOWN_ALWAYS = ("template", "seed", "num_samples", "num_questions", "num_negatives")
SHOWN = (
    "template",
    "system_prompt",
    "num_samples",
    "num_questions",
    "num_negatives",
    "seed",
    "thought_tags",
    "answer_tags",
    "require_answer",
    "template_columns",
    "gold_column",
    "check",
    "duplicate_threshold",
    "max_attempts",
    "fallback",
    "keep_attempts",
)
DECODING_SHOWN = ("max_new_tokens", "context_length", "chat_template_kwargs")
MACHINERY = (
    "use_cache",
    "num_return_sequences",  # `num_samples` says it
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "pad_token_id",
    "bos_token_id",
)
"""Settings of a generation config that change no trace; the recipe has them."""

OTHER_ROWS = (
    "These are not the settings of all rows: some were pushed with others, or without a record of how they were made."
)

AnyRecipe = Mapping[str, Any]
"""A recipe that may be anybody's, with any part missing."""


def part(recipe: AnyRecipe | None, name: str) -> dict[str, Any]:
    """Return one part of a recipe; empty where it is not there."""
    value = (recipe or {}).get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def kind_of(recipe: AnyRecipe | None) -> str | None:
    """Return the kind of a recipe; `None` where it is not one of [`WRITERS`]."""
    kind = (recipe or {}).get("kind")
    return kind if isinstance(kind, str) and kind in WRITERS else None


def own_settings(recipe: AnyRecipe | None) -> dict[str, Any]:
    """Return the settings of the writer that a recipe is of: those in the section of its kind."""
    kind = kind_of(recipe)
    return part(recipe, kind) if kind else {}


def title_of(recipe: AnyRecipe | None) -> str:
    """Return a title for rows that were made by a recipe, or not known how."""
    return WRITERS[kind_of(recipe) or "distill"].title


def describe_writer(recipe: AnyRecipe | None) -> str:
    """Say in a sentence what was asked of the model."""
    kind = kind_of(recipe)
    return WRITERS[kind].description if kind else "What a model was given to make these rows is not known here."


def find_hub_teacher(recipe: AnyRecipe | None) -> str | None:
    """Return the teacher's name where it is one on the Hub: `owner/name`, and neither a folder nor loaded by hand."""
    model = {**part(recipe, "model"), **part(recipe, "identity")}
    model_id = str(model.get("model_id") or "")
    if "/" not in model_id or not is_on_hub(model.get("revision")):
        return None
    try:
        validate_repo_id(model_id)
    except HFValidationError:
        return None
    return model_id


def describe_settings(recipe: AnyRecipe) -> list[tuple[str, str]]:
    """Return name and value of each setting that changes what is written, as cells of a table."""
    teacher = part(recipe, "identity") or part(recipe, "model")
    settings = {name: value for name, value in teacher.items() if name != "generation_config"}
    for name in ("model_id", "adapter"):
        if name in settings:
            settings[name] = without_folders(str(settings[name]))
    settings |= {name: v for name, v in part(teacher, "generation_config").items() if name not in MACHINERY}
    settings |= {name: value for name, value in part(recipe, "decoding").items() if name in DECODING_SHOWN and value}
    settings |= _describe_own_settings(recipe)
    if isinstance(cost := recipe.get("cost"), int | float):
        settings["cost"] = f"{show_cost(cost)}, by the prices that were given"
    if served := part(recipe, "served_by"):
        settings["served_by"] = ", ".join(f"{without_folders(str(name))} ({count})" for name, count in served.items())
    settings |= {"hf_rare": recipe.get("hf_rare"), "generation_revision": recipe.get("generation_revision")}
    cells = {name: code(as_text(value)) for name, value in settings.items() if value is not None}
    if teacher_on_hub := find_hub_teacher(recipe):
        cells["model_id"] = link(cells["model_id"], f"https://huggingface.co/{teacher_on_hub}")
    return [(code(name), value) for name, value in cells.items()]


def _describe_own_settings(recipe: AnyRecipe) -> dict[str, Any]:
    """Return the settings of the writer that are shown: some always, the others where they are not the default."""
    kind, own = kind_of(recipe), own_settings(recipe)
    if kind is None:
        return {}
    config_type: Any = WRITERS[kind].config
    defaults, settings = config_type(), {}
    for name in [*SHOWN, *(name for name in config_type.names() if name not in SHOWN and not _is_of_columns(name))]:
        if name not in own or name not in config_type.names():
            continue
        default = getattr(defaults, name)
        if name in SHOWN_ALWAYS or own[name] != (list(default) if isinstance(default, tuple) else default):
            settings[name] = own[name]
    if "template" in settings and settings["template"] not in config_type.builtin_templates:
        settings["template"] = "its own"
    return settings


def _is_of_columns(name: str) -> bool:
    """Tell whether a setting says where things go, and not what is written."""
    return name.endswith("_column") or name in ("columns", "expand")


def find_template(recipe: AnyRecipe | None) -> str | None:
    """Return the text of the prompt template; `None` where the recipe does not have it."""
    kind, template = kind_of(recipe), str(own_settings(recipe).get("template") or "")
    builtin = WRITERS[kind].config.builtin_templates if kind else ()
    if template in builtin:
        return read_template_source(template, builtin) if (recipe or {}).get("hf_rare") == __version__ else None
    return template if is_source(template) else None  # a path is never followed


def without_folders(text: str) -> str:
    """Leave out access tokens and the folders of local paths, which are nobody's business."""
    return re.sub(r"(?<![\w:/.~<-])(?:~|\.{1,2})?/(?:[^\s/'\"]+/)*", "", hide_tokens(text))


def describe_versions(recipe: AnyRecipe | None) -> str:
    """Return the versions that made the rows, in one line; empty where they are not known."""
    return join(f"{inline(name)} {inline(version)}" for name, version in part(recipe, "versions").items() if version)


def describe_reproduction(recipe: AnyRecipe | None, path: str | None, repo_id: str | None, config_name: str) -> str:
    """Say how to make the rows again: code where a recipe is in the repository, or else what is missing."""
    if recipe is None:
        return "Without a record of the settings these rows cannot be made again."
    kind = kind_of(recipe)
    if kind is None:
        return "What was recorded is not enough to make these rows again: this hf_rare does not know its kind."
    if not part(recipe, "model") and not part(recipe, "endpoint"):
        return (
            "The model was handed over as a loaded object or is not a transformers model: the settings above say "
            "what is known of it, and that is not enough to load it."
        )
    if path is None:
        return "The settings above, with the same rows and the same versions, are what it takes."
    place = [literal(repo_id or path)]
    if repo_id and config_name != "default":
        place.append(f"config_name={literal(config_name)}")
    judge = part(recipe, "judge") if kind == "distill" else {}
    folders, of_judge = _absent_arguments(recipe), _absent_arguments(judge) if judge else {}
    entry = WRITERS[kind]
    writer, variable = entry.name, entry.variable
    imports, steps, arguments = [f"from {entry.home} import {writer}"], [], [*place, *folders.values()]
    if judge:
        imports = ["from hf_rare import AnswerJudge, ReasonDistiller, read_recipe"]
        inner = ", ".join(['recipe["judge"]', *of_judge.values()])
        steps += [f"recipe = read_recipe({', '.join(place)})", f"judge = AnswerJudge.from_recipe({inner})"]
        arguments = ["recipe", *folders.values(), "judge=judge"]
    steps += [
        f"{variable} = {writer}.from_recipe({', '.join(arguments)})",
        f"again = {variable}.apply(rows)  # the same input columns",
    ]
    absent = [*folders, *(f"{noun} of the judge" for noun in of_judge)]
    where = "".join(f" The {noun} {_say_what_to_pass(noun)}" for noun in absent)
    lines = "\n".join([*imports, "", *steps])
    return f"{code(path)} holds all settings.{where}\n\n{fenced(lines, 'python')}"


def _say_what_to_pass(noun: str) -> str:
    if noun.startswith("address"):
        return "is in no recipe: pass that of a server that has the model."
    return "is not on the Hub: pass the folder where it lies."


def _absent_arguments(recipe: AnyRecipe) -> dict[str, str]:
    """Return the arguments that must be passed, by what they stand for, since it is not on the Hub or in no recipe."""
    if endpoint := part(recipe, "endpoint"):
        return {} if endpoint.get("provider") else {"address": 'base_url="ADDRESS"'}
    model = part(recipe, "model")
    arguments = {} if find_hub_teacher(recipe) else {"model": 'model_id="FOLDER"'}
    is_adapter_here = model.get("adapter") is not None and is_off_hub(model, "adapter")
    return {**arguments, "adapter": 'adapter="FOLDER"'} if is_adapter_here else arguments
