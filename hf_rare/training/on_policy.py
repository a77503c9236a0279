"""Prompts for trainers of TRL that let the student write: on-policy distillation and self-distillation.

The completions come from the student and what is learnt from them from a teacher, so that rows need no trace. A prompt
is the one that `to_sft` writes for the same row.
"""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import datasets

from hf_rare.rows.columns import STATUS
from hf_rare.settings.kinds import ColumnName, check_value
from hf_rare.training.convert import check_exportable, check_kinds, convert_rows
from hf_rare.training.examples import (
    HAS_POSITIVE,
    Example,
    StudentPrompt,
    TrainingFormat,
    Values,
    build_student_prompt,
    columns_to_read,
    read_traces,
)
from hf_rare.training.form import (
    TRAINER_COLUMNS,
    Share,
    StudentDocumentsSetting,
    check_read,
    make_format,
    message_features,
)
from hf_rare.training.left_out import say_left_out

logger = logging.getLogger(__name__)

POSITIVE_CONTEXT = "The document that settles the question is [{number}]:\n\n{text}"
"""What the teacher of self-distillation is told of the positive."""


@dataclass(frozen=True)
class PromptMaker:
    """Makes the prompt of a row, and what its teacher knows beside it.

    Args:
        form ([`TrainingFormat`]): how prompts and traces are written.
        privileged (`str`, *optional*): `"positive"`, `"trace"`, or the column that the teacher gets.
    """

    form: TrainingFormat
    privileged: str | None

    def __call__(self, values: Values) -> Iterator[Example]:
        """Return the prompt of a row; none where the row cannot be used, or has nothing for its teacher."""
        prompt = build_student_prompt(self.form, values)
        if prompt is None:
            return
        example = {"prompt": prompt.messages, HAS_POSITIVE: prompt.documents.has_positive}
        if self.privileged is None:
            yield example
        elif context := self._read_context(prompt, values):
            yield {**example, "privileged_context": context}

    def _read_context(self, prompt: StudentPrompt, values: Values) -> str:
        if self.privileged == "positive":
            return POSITIVE_CONTEXT.format(number=prompt.positive_number, text=prompt.positive)
        if self.privileged != "trace":
            return str(values[str(self.privileged)] or "")
        traces = read_traces(self.form, values)
        usable = (trace for trace in traces if trace.is_right or self.form.correct_column is None)
        return next((trace.completion[0]["content"] for trace in usable), "")


def to_prompts(
    dataset: datasets.Dataset,
    *,
    form: Literal["distillation", "self-distillation"] = "distillation",
    privileged: str = "positive",
    recipe: Any = None,
    statuses: Collection[str] | None = ("ok",),
    correct_column: str | None = None,
    threshold: float = 0.5,
    positive_share: Share = 1.0,
    student_documents: StudentDocumentsSetting = None,
    keep_columns: Collection[str] = (),
    **settings: Any,
) -> datasets.Dataset:
    """Write rows as prompts for trainers of TRL that let the student write the completions.

    `"distillation"` gives `prompt`, for `DistillationTrainer` (on-policy distillation, arXiv 2306.13649): a teacher
    model says how likely it finds each token of the student's completion. `"self-distillation"` gives `prompt` and
    `privileged_context`, for `SDFTTrainer` (arXiv 2601.19897): there the teacher is the student itself, which reads
    the context behind the prompt. By default the student sees all documents, and its teacher is told which one settles
    the question.

    Rows need no traces. The documents stand in the order in which the teacher saw them, or, in rows that were not
    distilled, would see them. Each row gives one prompt, also where it has several traces.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with questions and documents, distilled or not.
        form (`"distillation"` or `"self-distillation"`, *optional*, defaults to `"distillation"`):
            The trainer's columns.
        privileged (`str`, *optional*, defaults to `"positive"`):
            What the teacher of self-distillation knows: `"positive"`, the positive with its number; `"trace"`, the
            first usable trace of the row as plain text with its answer; or the name of a column of texts, such as one
            of gold answers. Rows that have nothing there are left out.
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            As in [`to_sft`], and so are the following.
        statuses (`Collection[str]`, *optional*, defaults to `("ok",)`):
            With `privileged="trace"`: traces with these statuses are used.
        correct_column (`str`, *optional*):
            With `privileged="trace"`: column that says which traces are right.
        threshold (`float`, *optional*, defaults to 0.5):
            The least grade of a right trace.
        positive_share (`float`, *optional*, defaults to 1.0):
            Share of rows in which the student gets the positive. Its teacher is told of it in all.
        student_documents (`int` or `str`, *optional*):
            The most hard negatives that the student gets, or the column with those that it gets instead.
        keep_columns (`Collection[str]`, *optional*):
            Columns to carry along unchanged.
        **settings:
            Settings of [`DistillConfig`].

    Returns:
        [`~datasets.Dataset`]: the columns of the form, and those to keep.

    Raises:
        ConfigError: A setting cannot be right.
        ColumnError: A column is missing, or holds something else.
        BatchTypeError: This is no [`~datasets.Dataset`].

    Example:
        >>> prompts = to_prompts(ds, form="self-distillation", recipe=distill_fn)
        >>> prompts.column_names  # for trl.experimental.sdft.SDFTTrainer
        ['prompt', 'privileged_context']
    """
    check_value("form", form, Literal["distillation", "self-distillation"])
    check_value("privileged", privileged, ColumnName)
    training = make_format(
        recipe,
        settings,
        reasoning_format="plain",
        correct_column=correct_column,
        threshold=threshold,
        statuses=statuses,
        positive_share=positive_share,
        student_documents=student_documents,
    )
    check_exportable(dataset)
    known = privileged if form == "self-distillation" else None
    read = _list_columns(dataset, training, known)
    check_read(dataset, training, read)
    features = {"prompt": message_features("plain")}
    if known is not None:
        features["privileged_context"] = datasets.Value("string")
        if known not in ("positive", "trace"):
            check_kinds(dataset, {known: "texts"})
    made = convert_rows(
        dataset,
        PromptMaker(training, known),
        read,
        {**features, HAS_POSITIVE: datasets.Value("bool")},
        keep_columns,
        (*features, *TRAINER_COLUMNS),
    )
    _say_what_was_made(dataset, made, training)
    return made.remove_columns(HAS_POSITIVE)


def _list_columns(dataset: datasets.Dataset, form: TrainingFormat, privileged: str | None) -> list[str]:
    """List the columns that prompts are made of; those of a distiller only where they are there or needed."""
    *read, trace, answer, order = columns_to_read(form.config, dataset.column_names)
    has_new_documents = isinstance(form.student_documents, str)
    if privileged == "trace":
        read += [trace, answer]
        read += [trace + STATUS] if form.statuses is not None or not form.correct_column else []
        read += [form.correct_column] if form.correct_column else []
    elif has_new_documents:  # which get no number that a trace cites
        read += [name for name in (trace, answer) if name in dataset.column_names]
    read += [order] if order in dataset.column_names else []
    read += [str(form.student_documents)] if has_new_documents else []
    read += [privileged] if privileged is not None and privileged not in ("positive", "trace") else []
    return list(dict.fromkeys(read))


def _say_what_was_made(dataset: datasets.Dataset, made: datasets.Dataset, form: TrainingFormat) -> None:
    if len(made) < len(dataset):
        say_left_out(
            logger,
            "%d of %d rows are left out: they cannot be used, or have nothing for the teacher.",
            len(dataset) - len(made),
            len(dataset),
        )
    if form.changes_documents:
        without = len(made) - sum(made[HAS_POSITIVE])
        logger.info("%d of %d prompts lack the positive (positive_share=%s).", without, len(made), form.positive_share)
