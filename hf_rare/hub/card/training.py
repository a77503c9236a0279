"""How to train on the rows of a card: code that calls `to_sft` with the settings that fit them, as Markdown."""

from collections.abc import Collection, Mapping
from typing import Any

from hf_rare.errors import HfRareError
from hf_rare.hub.card.markdown import code, fenced, inline, join, literal
from hf_rare.hub.card.provenance import AnyRecipe, kind_of
from hf_rare.rows.columns import STATUS, VERDICT
from hf_rare.rows.statistics import Statistics
from hf_rare.settings.writers import OF_TEXT, DistillConfig
from hf_rare.training.examples import columns_to_read
from hf_rare.writers.known_settings import read_distill_config

STUDENT = "Qwen/Qwen3-0.6B"


def describe_training(
    recipe: AnyRecipe | None,
    columns: Mapping[str, str],
    names: Collection[str],
    counted: Statistics,
    *,
    load: str,
    recipe_path: str | None,
    repo_id: str | None,
    config_name: str,
) -> str:
    """Return the code that trains on the rows, and what it does in words; what is missing where it cannot.

    Args:
        recipe (`Mapping`, *optional*): the recipe.
        columns (`Mapping[str, str]`): names of the columns by setting.
        names (`Collection[str]`): the columns of the rows.
        counted ([`Statistics`]): counts over the rows.
        load (`str`): the code that loads the rows.
        recipe_path (`str`, *optional*): path of the recipe in the repository.
        repo_id (`str`, *optional*): name of the dataset on the Hub.
        config_name (`str`): its config.

    Returns:
        `str`: the text; empty where the rows hold no traces.
    """
    output, verdict = columns["output_column"], columns["output_column"] + VERDICT
    if output not in names:
        return ""
    is_checked = verdict in names and counted.verdicts["right"] + counted.verdicts["wrong"] > 0
    has_status = output + STATUS in names
    imports, arguments = ["from hf_rare import to_sft"], list[str]()
    try:
        config, base = _read_config(recipe, columns, recipe_path is not None)
        missing = [name for name in columns_to_read(config, names) if name not in names]
    except HfRareError as err:
        return f"These rows cannot be written as training text: {inline(str(err))}"
    if not has_status and not is_checked:
        missing.append(output + STATUS)
    if missing:
        return (
            f"{code('to_sft')} writes rows for trainers, and these do not have {join(map(code, missing))}, which a "
            f"distiller writes with {code('columns=' + literal('full'))}."
        )
    if base is not None:
        arguments.append(f"recipe={_name_recipe(recipe_path, repo_id, config_name)}")
        if arguments[0].startswith("recipe=read_recipe"):
            imports = ["from hf_rare import read_recipe, to_sft"]
    given = base or DistillConfig()
    changed = {name: getattr(config, name) for name in OF_TEXT if getattr(config, name) != getattr(given, name)}
    arguments += [f"{name}={_as_code(value)}" for name, value in changed.items()]
    arguments += [f"correct_column={literal(verdict)}"] if is_checked else []
    arguments += [] if has_status else ["statuses=None"]
    arguments += ['reasoning_format="plain"'] if not counted.answer_characters else []
    call = ", ".join(["ds", *arguments])
    if len(arguments) > 1:
        call = "".join(f"\n    {argument}," for argument in ["ds", *arguments]) + "\n"
    lines = [
        "from datasets import load_dataset",
        *imports,
        "from trl import SFTConfig, SFTTrainer",
        "",
        f"ds = {load}",
        f"train = to_sft({call})",
        f'SFTTrainer("{STUDENT}", train_dataset=train, args=SFTConfig(output_dir="student")).train()',
    ]
    return f"{_say(is_checked, has_status, counted)}\n\n{fenced(chr(10).join(lines), 'python')}"


def _read_config(
    recipe: AnyRecipe | None, columns: Mapping[str, str], is_pushed: bool
) -> tuple[DistillConfig, DistillConfig | None]:
    """Return how the rows were distilled, and what of it the recipe in the repository says; `None` for none.

    A recipe that cannot be read says nothing but the names of the columns.
    """
    names: dict[str, Any] = dict(columns)
    if recipe is None or kind_of(recipe) != "distill":
        return DistillConfig(**names), None
    try:
        said = read_distill_config(recipe, {})
    except HfRareError:
        return DistillConfig(**names), None
    config = read_distill_config(recipe, {"output_column": columns["output_column"]})
    return config, said if is_pushed else None


def _name_recipe(path: str | None, repo_id: str | None, config_name: str) -> str:
    if repo_id and config_name != "default":
        return f"read_recipe({literal(repo_id)}, config_name={literal(config_name)})"
    return literal(str(repo_id or path))


def _as_code(value: Any) -> str:
    if isinstance(value, str):
        return literal(value)
    return f"[{', '.join(map(_as_code, value))}]" if isinstance(value, list | tuple) else repr(value)


def _say(is_checked: bool, has_status: bool, counted: Statistics) -> str:
    """Say in words which traces are used, and in which form."""
    which = [f"whose status is {code('ok')}"] if has_status else []
    which += [f"whose verdict is {code('right')}"] if is_checked else []
    words = f"Prompts and completions for TRL's {code('SFTTrainer')}, of the traces {' and '.join(which)}; "
    words += "the documents stand in the order in which the teacher saw them."
    if is_checked and not counted.verdicts["right"]:
        words += " As no trace is right, there are none."
    if not counted.answer_characters:
        words += " The traces have no answer apart from the reasoning, so that they stand as plain text."
    return words
