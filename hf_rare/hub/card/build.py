"""The dataset card: what is known of a distilled dataset, in a Jinja template under `cards/`.

It says what is unknown instead of guessing: licence and language appear only when they are given. What is said of one
config stands between two comments, so that `merge_cards` can replace it and leave the rest alone.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import datasets
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hf_rare.evaluation.result import Evaluation
from hf_rare.hub.card import markdown, provenance, tables
from hf_rare.hub.card.evaluation import describe_evaluation
from hf_rare.hub.card.header import describe_config, dump_header, size_category
from hf_rare.hub.card.merge import CLOSING_MARKER, INTRODUCTION, NO_LICENCE, describe_sources, opening_marker
from hf_rare.hub.card.stages import describe_checks, describe_stages, read_stages
from hf_rare.hub.card.training import describe_training
from hf_rare.rows.hard_negatives import name_columns
from hf_rare.rows.statistics import Statistics, measure, named_splits
from hf_rare.settings.writers import DistillConfig
from hf_rare.text import clean, show_count
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.recipe import make_recipe

TAGS = ("hf_rare", "reasoning", "distillation", "retrieval-augmented-generation", "synthetic")
TASKS = ("text-generation", "question-answering")


def build_card(
    dataset: datasets.Dataset | datasets.DatasetDict,
    recipe: ColumnWriter[Any, Any] | Mapping[str, Any] | None = None,
    *,
    pretty_name: str | None = None,
    license: str | None = None,
    language: str | list[str] | None = None,
    output_column: str | None = None,
    repo_id: str | None = None,
    config_name: str = "default",
    splits: Mapping[str, Any] | None = None,
    data_files: Mapping[str, str | Sequence[str]] | None = None,
    source_datasets: Sequence[str] = (),
    source_metadata: Any = None,
    plot_path: str | None = None,
    recipe_path: str | None = None,
    recipe_is_of_all_rows: bool = True,
    command: str | None = None,
    stages: Sequence[Mapping[str, Any]] | None = None,
    evaluation: Evaluation | Mapping[str, Any] | str | Path | None = None,
) -> str:
    """Write the card of a distilled dataset.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            The dataset, distilled or not.
        recipe ([`ReasonDistiller`], another [`ColumnWriter`], or `dict`, *optional*):
            The distiller that made it, or its recipe. Without it the card says that the settings are unknown.
        pretty_name (`str`, *optional*):
            Title of the card. By default it says what rows of such a recipe are.
        license (`str`, *optional*):
            Licence of the dataset. Where it is not given, that of `source_metadata`; without one, the card says so.
        language (`str` or `list[str]`, *optional*):
            Language codes. Where they are not given, those of `source_metadata`; without, left out.
        output_column (`str`, *optional*):
            Prefix of the columns of the row contract. By default what the recipe says, or else `"reasoning"`.
        repo_id (`str`, *optional*):
            Name of the dataset on the Hub, for the code that loads it.
        config_name (`str`, *optional*, defaults to `"default"`):
            Config that `dataset` is.
        splits (`Mapping[str, Any]`, *optional*):
            What is pushed: by name of the split, something with `num_rows` (or `num_examples`) and, where it is known,
            `num_bytes`. For `dataset_info` in the header.
        data_files (`Mapping[str, str | Sequence[str]]`, *optional*):
            Paths or patterns of the files in the repository, by split. For `configs` in the header.
        source_datasets (`Sequence[str]`, *optional*):
            Names of the datasets on the Hub that the rows come from.
        source_metadata (`dict` or [`~huggingface_hub.DatasetCardData`], *optional*):
            Header of the card of the dataset that the rows come from.
        plot_path (`str`, *optional*):
            Path in the repository of the picture from `plot_statistics`. Without it the card has none.
        recipe_path (`str`, *optional*):
            Path in the repository of the recipe. Without it the card does not speak of one.
        recipe_is_of_all_rows (`bool`, *optional*, defaults to `True`):
            Whether all rows were made by the recipe. Where they were not, the card says so.
        command (`str`, *optional*):
            Command that made the rows. By default what the recipe says.
        stages (`Sequence[dict]`, *optional*):
            Stages of the pipeline that made the rows, in order: for each its name as `stage` and its `settings`, such
            as `{"stage": "negatives", "settings": {"method": "bm25"}}`. By default what the recipe says.
        evaluation ([`Evaluation`], `dict`, `str` or `Path`, *optional*):
            What students have learnt from the rows: the result of [`evaluate`], its JSON, or a file with that.

    Returns:
        `str`: the card as Markdown with its YAML header.

    Raises:
        ConfigError: `dataset` is no dataset whose rows are there, `config_name` cannot be the name of a config, or
            `evaluation` is none.
    """
    known = make_recipe(recipe) if isinstance(recipe, ColumnWriter) else recipe
    columns = _column_names(known, output_column)
    parts = named_splits(dataset)
    counted = {name: measure(split, columns) for name, split in parts.items()}
    over_all = sum(counted.values(), Statistics())
    features = next((split.features for split in parts.values()), datasets.Features())
    title = provenance.title_of(known) if pretty_name is None else pretty_name
    teacher = provenance.find_hub_teacher(known)
    licence = _choose_licence_and_language(license, language, source_metadata)
    header = {
        "pretty_name": title,
        **licence,
        "tags": list(TAGS),
        "task_categories": list(TASKS),
        "size_categories": [size_category(over_all.rows)],
        "annotations_creators": ["machine-generated"],
        "source_datasets": list(source_datasets),
        "base_model": [teacher] if teacher else None,
    }
    header = {name: _clean(value) for name, value in header.items() if value} | describe_config(
        config_name, features, splits or {}, data_files
    )
    row = next((row for split in parts.values() if (row := tables.find_sample(split, columns["output_column"]))), None)
    call = _load_call(repo_id, config_name, "train" if "train" in parts else next(iter(parts), "train"))
    command = command or (known or {}).get("command")
    template = provenance.find_template(known)
    template_name = str(provenance.own_settings(known).get("template") or "")
    told, output = read_stages(known, stages), columns["output_column"]
    values = {
        "header": dump_header(header),
        "pretty_name": markdown.inline(title),
        "opening_marker": opening_marker(config_name),
        "closing_marker": CLOSING_MARKER,
        "config_name": markdown.code(config_name),
        "rows": show_count(over_all.rows, "row"),
        "splits": markdown.join(markdown.code(name) for name in counted),
        "load": markdown.code(_load_call(repo_id, config_name)),
        "loading": markdown.fenced(f"from datasets import load_dataset\n\nds = {call}", "python"),
        "recipe": known,
        "kind": provenance.kind_of(known),
        "how_it_was_made": provenance.describe_writer(known),
        "other_rows": "" if recipe_is_of_all_rows else provenance.OTHER_ROWS,
        "settings": markdown.table(("setting", "value"), provenance.describe_settings(known or {})),
        "versions": provenance.describe_versions(known),
        "stages": describe_stages(known, told),
        "command": markdown.fenced(provenance.without_folders(str(command)), "bash", 4000) if command else None,
        "template_name": markdown.code(provenance.without_folders(template_name), 40),
        "template": markdown.fenced(template, "jinja") if template else None,
        "columns": tables.describe_columns(features, columns),
        "counts": tables.describe_counts(counted),
        "lengths": tables.describe_lengths(over_all),
        "positions": tables.describe_positions(over_all.positive_positions),
        "verdicts": tables.describe_verdicts(over_all.verdicts),
        "grounding": tables.describe_grounding(parts.values(), output),
        "checks": describe_checks(known, told, over_all, features, output) if known or output in features else "",
        "evaluation": describe_evaluation(evaluation),
        "plot_path": plot_path,
        "sample": markdown.fenced(tables.describe_sample(row), "text") if row else None,
        "reproduction": provenance.describe_reproduction(known, recipe_path, repo_id, config_name),
        "training": describe_training(
            known,
            columns,
            features,
            over_all,
            load=call,
            recipe_path=recipe_path,
            repo_id=repo_id,
            config_name=config_name,
        ),
        "has": set(features),
        "names": columns,
        "negatives": [name for name in name_columns(columns["hard_negatives_column"]) if name in features],
        "licence": _describe_licence(_as_list(licence.get("license")), is_of_source=license is None),
        "introduction": INTRODUCTION,
        "sources": describe_sources(source_datasets),
    }
    source = resources.files("hf_rare.cards").joinpath("dataset_card.md").read_text(encoding="utf-8")
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(source).render(values)


MAY_BE_NONE = ("scenario_column", "hard_negatives_column")
"""Settings by which rows have no such column."""


def _column_names(recipe: Mapping[str, Any] | None, output_column: str | None) -> dict[str, Any]:
    """Return the names of the columns by setting: what the recipe says, or else the defaults."""
    defaults, said = DistillConfig(), provenance.own_settings(recipe)
    if provenance.kind_of(recipe) != "distill":
        said.pop("output_column", None)  # it has no traces in it
    names = {name: _as_names(name, said.get(name)) or getattr(defaults, name) for name in tables.COLUMN_SETTINGS}
    names |= {name: None for name in MAY_BE_NONE if name in said and said[name] is None}
    return {**names, **({"output_column": output_column} if output_column else {})}


def _as_names(setting: str, said: Any) -> Any:
    """Return what a stranger's recipe says of a column: a name, or several where hard negatives stand in several."""
    may_be_several = setting == "hard_negatives_column"
    return tuple(map(str, said)) if may_be_several and isinstance(said, list | tuple) else str(said or "")


def _choose_licence_and_language(license: str | None, language: str | list[str] | None, source: Any) -> dict[str, Any]:
    """Take licence and language as they are given, or else as the source says."""
    of_source = {name: source.get(name) for name in ("license", "license_name", "license_link")} if source else {}
    chosen = {"license": license} if license else of_source
    spoken = language or (source.get("language") if source else None)
    return {name: value for name, value in {**chosen, "language": spoken}.items() if value}


def _describe_licence(names: Sequence[Any], is_of_source: bool) -> str:
    if not names:
        return NO_LICENCE
    licence = markdown.join(map(markdown.code, names))
    return f"{licence}, as the dataset that the rows come from." if is_of_source else f"{licence}."


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _clean(value: Any) -> Any:
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else clean(value)


def _load_call(repo_id: str | None, config_name: str, split: str | None = None) -> str:
    arguments = [markdown.literal(repo_id or "OWNER/NAME")]
    if config_name != "default":
        arguments.append(markdown.literal(config_name))
    if split:
        arguments.append(f"split={markdown.literal(split)}")
    return f"load_dataset({', '.join(arguments)})"
