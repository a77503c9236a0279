"""Distilled rows as TRL reads them, for supervised training and for preferences.

Prompts hold the documents as the teacher saw them and completions hold the reasoning, so that a loss on the completion
alone is RARE's masked loss. `form` checks the settings, `examples` writes the text, `student` checks that a chat
template keeps it.
"""

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import datasets

from hf_rare.errors import ColumnError
from hf_rare.rows.column_types import is_list
from hf_rare.rows.columns import SAMPLE, STATUS, VERDICT, check_statuses
from hf_rare.settings.kinds import AtLeastOne, check_value
from hf_rare.training.convert import check_columns, check_exportable, convert_rows
from hf_rare.training.examples import (
    HAS_POSITIVE,
    LACKS_ANSWER,
    LACKS_CITED,
    Example,
    ReasoningFormat,
    TrainingFormat,
    Values,
    columns_to_read,
    make_examples,
    make_labelled,
    make_pairs,
    write_completion,
)
from hf_rare.training.form import (
    TRAINER_COLUMNS,
    Share,
    StudentDocumentsSetting,
    check_read,
    make_format,
    message_features,
)
from hf_rare.training.left_out import say_bare, say_lacking, say_left_out, say_one_sided, say_unused
from hf_rare.training.student import PROBE, Student

logger = logging.getLogger(__name__)

Make = Callable[[TrainingFormat, Values], Iterator[Example]]


def to_sft(
    dataset: datasets.Dataset,
    *,
    recipe: Any = None,
    student_tokenizer: Any = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    reasoning_format: ReasoningFormat = "tags",
    statuses: Collection[str] | None = ("ok",),
    correct_column: str | None = None,
    threshold: float = 0.5,
    positive_share: Share = 1.0,
    student_documents: StudentDocumentsSetting = None,
    keep_columns: Collection[str] = (),
    **settings: Any,
) -> datasets.Dataset:
    """Write rows as TRL's conversational prompts and completions.

    `prompt` holds the question, the situation and the documents in the teacher's order, `completion` the reasoning and
    the answer: TRL's `SFTTrainer` computes its loss on the completion alone. Each sample of a row becomes a row. Where
    the teacher gave no answer apart from the reasoning, all it said stands as plain text, without a thought around it,
    and the log says for how many rows: else a student would learn to think and then say nothing.

    With `positive_share` or `student_documents` the student gets other documents than the teacher had. The trace stays
    as it is, and so do the numbers of the documents that stay: documents that are left out leave gaps, such as [2] and
    [5], and no document gets a number by which the trace cites another one. Which documents those are depends on a
    hash of the row's content and `seed` alone. Traces that cite a document that is left out are used, as RAFT does
    (arXiv 2403.10131, section 3), and counted in the log.

    Args:
        dataset ([`~datasets.Dataset`]):
            Distilled rows, with all columns of the distiller.
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            Gives columns, template and tags: a recipe, a file or dataset on the Hub that has one, or the distiller.
        student_tokenizer (`PreTrainedTokenizerBase`, *optional*):
            The student's. With it, every row is rendered as TRL renders it: a chat template that drops the reasoning,
            or on which the mask would not cover the completion only, is an error; single rows that do not survive (a
            trace with a closing tag of its own) are left out with a warning.
        chat_template_kwargs (`dict`, *optional*):
            Passed to the student's `apply_chat_template`, here and, as a column of that name, by TRL.
        reasoning_format (`"tags"`, `"plain"` or `"field"`, *optional*, defaults to `"tags"`):
            Whether the reasoning stands in thought tags before the answer, as plain text before it, or in a field of
            its own, `reasoning_content`, which some chat templates read. Reasoning without an answer is plain text in
            all three.
        statuses (`Collection[str]`, *optional*, defaults to `("ok",)`):
            Traces with these statuses are used; `None` for all with a trace.
        correct_column (`str`, *optional*):
            Column that says which traces are right, as the verdicts of [`verify`], booleans or grades: only these are
            used.
        threshold (`float`, *optional*, defaults to 0.5):
            The least grade of a right trace.
        positive_share (`float`, *optional*, defaults to 1.0):
            Share of rows in which the student gets the positive. In the others it is left out, all samples of a row
            alike, and the student learns the trace from distractors: RAFT's P, which is 0.8 there. A row that has no
            other document keeps it.
        student_documents (`int` or `str`, *optional*):
            A number: at most so many hard negatives, chosen by a hash. A name: the column with the texts that the
            student gets in the place of the row's hard negatives, however many they are; those among them that the
            teacher saw keep their numbers, the others get numbers that no trace of the row cites. By default the
            student gets all that the teacher had.
        keep_columns (`Collection[str]`, *optional*):
            Columns to carry along unchanged, such as ids. `<output_column>_sample` numbers the samples of a row.
        **settings:
            Settings of [`DistillConfig`] that stand in for the recipe's: `template`, `system_prompt`, `thought_tags`,
            columns, ...

    Returns:
        [`~datasets.Dataset`]: columns `prompt` and `completion`, and those to keep.

    Raises:
        ConfigError: A setting cannot be right, the student's chat template does not fit, or documents are left out and
            the template numbers them by a count of its own.
        ColumnError: A column is missing.
        BatchTypeError: This is no [`~datasets.Dataset`].

    Example:
        >>> from transformers import AutoTokenizer
        >>> train = to_sft(ds, recipe=distill_fn, student_tokenizer=AutoTokenizer.from_pretrained("Qwen/Qwen3-0.6B"))
        >>> train.column_names  # for SFTTrainer("Qwen/Qwen3-0.6B", train_dataset=train)
        ['prompt', 'completion']
    """
    form = make_format(
        recipe,
        settings,
        reasoning_format=reasoning_format,
        correct_column=correct_column,
        threshold=threshold,
        statuses=statuses,
        positive_share=positive_share,
        student_documents=student_documents,
    )
    features = {"prompt": message_features("plain"), "completion": message_features(reasoning_format)}
    return _write(dataset, form, make_examples, features, keep_columns, student_tokenizer, chat_template_kwargs)


def to_preference(
    dataset: datasets.Dataset,
    *,
    form: Literal["dpo", "kto"] = "dpo",
    correct_column: str | None = None,
    threshold: float = 0.5,
    max_pairs: AtLeastOne | None = 1,
    recipe: Any = None,
    student_tokenizer: Any = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    reasoning_format: ReasoningFormat = "tags",
    statuses: Collection[str] | None = ("ok",),
    positive_share: Share = 1.0,
    student_documents: StudentDocumentsSetting = None,
    keep_columns: Collection[str] = (),
    **settings: Any,
) -> datasets.Dataset:
    """Write rows as TRL's preferences, from right and wrong traces of the same row.

    `"dpo"` gives `prompt`, `chosen` and `rejected` from rows whose samples are lists with right and wrong ones among
    them; `"kto"` gives `prompt`, `completion` and `label` for single traces. What is right says `correct_column`, or,
    without one, [`verify`]'s `<output_column>_verdict` where the dataset has it, or else the status: `ok` is right,
    and a trace with another status wrong, whatever `statuses` says. A trace without a grade (null, or the verdict
    `unchecked`) is left out.

    Args:
        dataset ([`~datasets.Dataset`]):
            Distilled rows, with all columns of the distiller.
        form (`"dpo"` or `"kto"`, *optional*, defaults to `"dpo"`):
            Pairs, or single traces with a label.
        correct_column (`str`, *optional*):
            Column of verdicts, booleans or grades, in lists where the traces are.
        threshold (`float`, *optional*, defaults to 0.5):
            The least grade of a right trace.
        max_pairs (`int`, *optional*, defaults to 1):
            Most pairs of a row; `None` for all. Pairs of traces that read the same are left out.
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            As in [`to_sft`], and so are the following.
        student_tokenizer (`PreTrainedTokenizerBase`, *optional*):
            The student's, to check its chat template.
        chat_template_kwargs (`dict`, *optional*):
            Passed to it.
        reasoning_format (`"tags"`, `"plain"` or `"field"`, *optional*, defaults to `"tags"`):
            Where the reasoning stands in a completion.
        statuses (`Collection[str]`, *optional*, defaults to `("ok",)`):
            Right and wrong traces must have one of these statuses, where a column says what is right.
        positive_share (`float`, *optional*, defaults to 1.0):
            Share of rows in which the student gets the positive.
        student_documents (`int` or `str`, *optional*):
            The most hard negatives that the student gets, or the column with those that it gets instead.
        keep_columns (`Collection[str]`, *optional*):
            Columns to carry along unchanged.
        **settings:
            Settings of [`DistillConfig`].

    Returns:
        [`~datasets.Dataset`]: the columns of the form, and those to keep.

    Raises:
        ConfigError: A setting cannot be right, or the student's chat template does not fit.
        ColumnError: A column is missing, or holds no lists where pairs are asked for.
        BatchTypeError: This is no [`~datasets.Dataset`].
    """
    check_value("form", form, Literal["dpo", "kto"])
    check_value("max_pairs", max_pairs, AtLeastOne | None)
    training = make_format(
        recipe,
        settings,
        reasoning_format=reasoning_format,
        correct_column=correct_column,
        threshold=threshold,
        max_pairs=max_pairs,
        positive_share=positive_share,
        student_documents=student_documents,
    )
    check_exportable(dataset)
    output = training.config.output_column
    if correct_column is None and output + VERDICT in dataset.column_names:
        training = dataclasses.replace(training, correct_column=output + VERDICT)
    if training.correct_column is None:
        check_columns(dataset, [output + STATUS])
    training = dataclasses.replace(training, statuses=check_statuses(statuses if training.correct_column else None))
    completion, make = message_features(reasoning_format), make_labelled if form == "kto" else make_pairs
    if form == "kto":
        features = {"prompt": message_features("plain"), "completion": completion, "label": datasets.Value("bool")}
    elif output in dataset.column_names and not is_list(dataset.features[output]):
        raise ColumnError(
            f"Pairs come from several traces of a row, and {output!r} holds one. Distill with num_samples=... and "
            "without expand, or ask for form='kto', which takes single traces."
        )
    else:
        features = {"prompt": message_features("plain"), "chosen": completion, "rejected": completion}
    return _write(dataset, training, make, features, keep_columns, student_tokenizer, chat_template_kwargs)


def _write(
    dataset: datasets.Dataset,
    form: TrainingFormat,
    make: Make,
    features: Mapping[str, Any],
    keep_columns: Collection[str],
    student_tokenizer: Any,
    chat_template_kwargs: Mapping[str, Any] | None,
) -> datasets.Dataset:
    """Write the rows, and leave out those that the student's chat template spoils."""
    check_exportable(dataset)
    config = form.config
    read = columns_to_read(config, dataset.column_names)
    read += [config.output_column + STATUS] if form.statuses is not None or not form.correct_column else []
    read += [form.correct_column] if form.correct_column else []
    read += [form.student_documents] if isinstance(form.student_documents, str) else []
    check_read(dataset, form, read)
    number = config.output_column + SAMPLE
    has_samples = is_list(dataset.features.get(config.output_column))
    if keep_columns and has_samples and make is not make_pairs and number not in dataset.column_names:
        features = {**features, number: datasets.Value("int64")}
    reserved = (*features, *TRAINER_COLUMNS)
    said = [*([HAS_POSITIVE, LACKS_CITED] if form.changes_documents else []), LACKS_ANSWER]
    written = {**features, **dict.fromkeys(said, datasets.Value("bool"))}
    made = convert_rows(dataset, partial(_make, make, form), read, written, keep_columns, reserved)
    if form.changes_documents:
        say_lacking(made, form)
    bare = sum(made[LACKS_ANSWER])
    if bare and form.reasoning_format != "plain":
        say_bare(bare, len(made))
    made = made.remove_columns(said)
    if make is not make_pairs:
        say_unused(dataset, form, len(made), "not graded" if make is make_labelled else "not right")
        if make is make_labelled and len(dataset):
            say_one_sided(made)
    elif len(dataset) and not len(made):
        say_left_out(logger, "No row has a right and a wrong trace that can be used: there are no pairs.")
    if student_tokenizer is not None:
        answer = PROBE["answer"] if bare < len(made) or not bare else ""
        probe = write_completion(PROBE["thought"], answer, form)
        made = _fit_to_student(made, probe, form, student_tokenizer, chat_template_kwargs)
    if chat_template_kwargs:
        made = made.add_column("chat_template_kwargs", [dict(chat_template_kwargs)] * len(made))
    return made


def _make(make: Make, form: TrainingFormat, values: Values) -> Iterator[Example]:
    """Name the number of the sample after the output column."""
    for example in make(form, values):
        yield {**example, form.config.output_column + SAMPLE: example.get("sample")}


def _fit_to_student(
    made: datasets.Dataset,
    probe: list[dict[str, str]],
    form: TrainingFormat,
    tokenizer: Any,
    chat_template_kwargs: Mapping[str, Any] | None,
) -> datasets.Dataset:
    """Leave out the rows that the student's chat template spoils; one that spoils the probe fits none."""
    student = Student(tokenizer, form.config.thought_tags, chat_template_kwargs)
    system = [{"role": "system", "content": ""}] if form.config.system_prompt else []
    prompt = [*system, {"role": "user", "content": ""}]
    student.check(prompt, probe)
    completions = [name for name in ("completion", "chosen", "rejected") if name in made.column_names]
    faults = [
        next(filter(None, (student.find_fault(row["prompt"], row[name]) for name in completions)), "")
        for row in made.select_columns(["prompt", *completions])
    ]
    spoilt = [fault for fault in faults if fault]
    if not spoilt:
        return made
    say_left_out(
        logger, "%d of %d rows are left out: the chat template spoils them (%s).", len(spoilt), len(made), spoilt[0]
    )
    return made.select([number for number, fault in enumerate(faults) if not fault])
