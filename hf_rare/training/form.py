"""What the exports for TRL are told, checked: their settings, and the columns that they read."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any

import datasets
from annotated_types import Ge, Le

from hf_rare.errors import ColumnError, ConfigError
from hf_rare.prompts.prompt import counts_by_itself, input_kinds
from hf_rare.rows.column_types import Kind, describe, is_list, is_text, item_of
from hf_rare.rows.columns import ANSWER, DOCUMENT_ORDER, SAMPLE, STATUS, check_statuses
from hf_rare.settings.kinds import AtLeastZero, ColumnName, check_value
from hf_rare.training.convert import check_columns, check_kinds
from hf_rare.training.examples import ReasoningFormat, TrainingFormat
from hf_rare.writers.known_settings import read_distill_config

TRAINER_COLUMNS = ("messages", "images", "image", "tools", "chat_template_kwargs", "input_ids", "labels")
"""Columns that TRL gives a meaning to: none of these names can be carried along."""

GRADES = ("bool", "int", "uint", "float")
"""What the types of columns, beside texts, begin with that can say what is right."""

Share = Annotated[int | float, Ge(0), Le(1), "a number from 0 to 1"]
StudentDocumentsSetting = AtLeastZero | ColumnName | None


def make_format(
    recipe: Any,
    settings: Mapping[str, Any],
    *,
    reasoning_format: ReasoningFormat = "tags",
    correct_column: str | None = None,
    threshold: float = 0.5,
    statuses: Collection[str] | None = None,
    max_pairs: int | None = 1,
    positive_share: float = 1.0,
    student_documents: int | str | None = None,
) -> TrainingFormat:
    """Check the settings of an export.

    Raises:
        ConfigError: One cannot be right, or the template cannot leave gaps in its numbers where they are needed.
    """
    check_value("reasoning_format", reasoning_format, ReasoningFormat)
    check_value("positive_share", positive_share, Share)
    check_value("student_documents", student_documents, StudentDocumentsSetting)
    form = TrainingFormat(
        config=read_distill_config(recipe, settings),
        reasoning_format=reasoning_format,
        statuses=check_statuses(statuses),
        correct_column=correct_column,
        threshold=threshold,
        max_pairs=max_pairs,
        positive_share=positive_share,
        student_documents=student_documents,
    )
    if form.changes_documents and counts_by_itself(form.config):
        raise ConfigError(
            "The template counts documents itself, and where some are left out the others keep their numbers. Write "
            "{{ document.number }} in the template for the number of a document."
        )
    return form


def message_features(reasoning_format: str) -> Any:
    """Return the type of a column of messages."""
    keys = ["role", "content", *(["reasoning_content"] if reasoning_format == "field" else [])]
    return datasets.List({key: datasets.Value("string") for key in keys})


def check_read(dataset: datasets.Dataset, form: TrainingFormat, read: Collection[str]) -> None:
    """Check what the columns hold that examples are made of, and that those of traces all hold one or all several."""
    config, output = form.config, form.config.output_column
    of_traces = [name for name in (output, output + ANSWER, output + STATUS) if name in read]
    kinds: dict[str, Kind] = {
        **input_kinds(config),
        output + DOCUMENT_ORDER: "lists of whole numbers",
        output + SAMPLE: "whole numbers",
        **dict.fromkeys(of_traces, "texts or lists of texts"),
    }
    if isinstance(form.student_documents, str):
        kinds[form.student_documents] = "lists of texts"
    check_columns(dataset, read)
    check_kinds(dataset, {name: kind for name, kind in kinds.items() if name in read})
    if form.correct_column and form.correct_column in read:
        _check_grades(dataset.features[form.correct_column], form.correct_column)
        of_traces.append(form.correct_column)
    has_several = output in read and is_list(dataset.features[output])
    for name in of_traces:
        if dataset.features[name] != datasets.Value("null") and is_list(dataset.features[name]) != has_several:
            one, many = (name, output) if has_several else (output, name)
            raise ColumnError(f"The column {one!r} holds one value for each row, and {many!r} a list of them.")


def _check_grades(feature: Any, column: str) -> None:
    item = item_of(feature)
    if not is_text(item) and not str(getattr(item, "dtype", "")).startswith(GRADES):
        raise ColumnError(
            f"The column {column!r} holds {describe(feature)}; expected verdicts, booleans or numbers, or lists of "
            "them."
        )
