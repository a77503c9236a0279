"""What a recipe says, for a card: the teacher, the settings that change a trace, and the template, as Markdown.

A recipe may be a stranger's: any part of it may be missing or of another type, and no path in it is followed.
"""

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

import hf_rare
from hf_rare.explaining import hide_tokens
from hf_rare.markdown import as_text, code, fenced, inline, join, link, literal
from hf_rare.templates import is_source, read_template_source
from hf_rare.writer_config import DistillConfig

SHOWN_ALWAYS = ("template", "seed", "num_samples")
DISTILL_SHOWN = (
    "template",
    "system_prompt",
    "num_samples",
    "seed",
    "thought_tags",
    "answer_tags",
    "require_answer",
    "template_columns",
    "gold_column",
    "check",
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

Recipe = Mapping[str, Any]


def part(recipe: Recipe | None, name: str) -> dict[str, Any]:
    """Give one part of a recipe; empty where it is not there."""
    value = (recipe or {}).get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def find_hub_teacher(recipe: Recipe | None) -> str | None:
    """Give the teacher's name where it is one on the Hub: `owner/name`, and neither a folder nor loaded by hand."""
    model = {**part(recipe, "model"), **part(recipe, "identity")}
    model_id, revision = str(model.get("model_id") or ""), str(model.get("revision") or "")
    if "/" not in model_id or revision.startswith(("local-", "memory-")):
        return None
    try:
        validate_repo_id(model_id)
    except HFValidationError:
        return None
    return model_id


def describe_settings(recipe: Recipe) -> list[tuple[str, str]]:
    """Give name and value of each setting that changes a trace, as cells of a table."""
    teacher = part(recipe, "identity") or part(recipe, "model")
    settings = {name: value for name, value in teacher.items() if name != "generation_config"}
    for name in ("model_id", "adapter"):
        if name in settings:
            settings[name] = without_folders(str(settings[name]))
    settings |= {name: v for name, v in part(teacher, "generation_config").items() if name not in MACHINERY}
    settings |= {name: value for name, value in part(recipe, "decoding").items() if name in DECODING_SHOWN and value}
    defaults, own = DistillConfig(), part(recipe, "distill")
    for name in DISTILL_SHOWN:
        value = own.get(name)
        default = getattr(defaults, name)
        if name in own and (
            name in SHOWN_ALWAYS or value != (list(default) if isinstance(default, tuple) else default)
        ):
            settings[name] = value
    if "template" in settings and settings["template"] not in defaults.builtin_templates:
        settings["template"] = "its own"
    settings |= {"hf_rare": recipe.get("hf_rare"), "generation_revision": recipe.get("generation_revision")}
    cells = {name: code(as_text(value)) for name, value in settings.items() if value is not None}
    if teacher_on_hub := find_hub_teacher(recipe):
        cells["model_id"] = link(cells["model_id"], f"https://huggingface.co/{teacher_on_hub}")
    return [(code(name), value) for name, value in cells.items()]


def find_template(recipe: Recipe | None) -> str | None:
    """Give the text of the prompt template; `None` where the recipe does not have it."""
    template = str(part(recipe, "distill").get("template") or "")
    if template in DistillConfig.builtin_templates:
        is_ours = (recipe or {}).get("hf_rare") == hf_rare.__version__
        return read_template_source(template, DistillConfig.builtin_templates) if is_ours else None
    return template if is_source(template) else None  # a path is never followed


def without_folders(text: str) -> str:
    """Leave out access tokens and the folders of local paths, which are nobody's business."""
    return re.sub(r"(?<![\w:/.~<-])(?:~|\.{1,2})?/(?:[^\s/'\"]+/)*", "", hide_tokens(text))


def describe_versions(recipe: Recipe | None) -> str:
    """Give the versions that made the rows, in one line; empty where they are not known."""
    return join(f"{inline(name)} {inline(version)}" for name, version in part(recipe, "versions").items() if version)


def describe_reproduction(recipe: Recipe | None, path: str | None, repo_id: str | None, config_name: str) -> str:
    """Say how to make the rows again: code where a recipe is in the repository, or else what is missing."""
    if recipe is None:
        return "Without a record of the settings these rows cannot be made again."
    if not part(recipe, "model"):
        return (
            "The teacher was handed over as a loaded object or is not a transformers model: the settings above say "
            "what is known of it, and that is not enough to load it."
        )
    if path is None:
        return "The settings above, with the same rows and the same versions, are what it takes."
    arguments = [literal(repo_id or path)]
    if repo_id and config_name != "default":
        arguments.append(f"config_name={literal(config_name)}")
    if find_hub_teacher(recipe) is None:
        arguments.append('model_id="FOLDER"')
    lines = [
        "from hf_rare import ReasonDistiller",
        "",
        f"distill_fn = ReasonDistiller.from_recipe({', '.join(arguments)})",
        "again = distill_fn.apply(rows)  # the same input columns",
    ]
    where = "" if find_hub_teacher(recipe) else " The teacher is not on the Hub: pass the folder where it lies."
    return f"{code(path)} holds all settings.{where}\n\n{fenced(chr(10).join(lines), 'python')}"
