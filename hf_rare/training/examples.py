"""From a distilled row to what a student learns from it: a prompt, completions, pairs. Plain values in and out.

The prompt is made with the library's own templates. Its documents stand in the order in which the teacher saw them, in
full also where the teacher got them shortened.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hf_rare.errors import ColumnError
from hf_rare.prompts.prompt import build_messages, get_template, input_columns
from hf_rare.rows.columns import ANSWER, DOCUMENT_ORDER, OUTCOMES, SAMPLE, STATUS
from hf_rare.rows.row import InvalidRowError, read_row
from hf_rare.settings.writers import DistillConfig

ReasoningFormat = Literal["tags", "plain", "field"]

_BOOLEANS = {"true": True, "false": False}

Example = dict[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TrainingFormat:
    """How rows become training text.

    Args:
        config ([`DistillConfig`]):
            Columns, template and tags.
        reasoning_format (`str`):
            `"tags"`, `"plain"` or `"field"`: where the reasoning stands in a completion.
        statuses (`tuple[str, ...]`, *optional*):
            Traces of these statuses are used; `None` for all that are not empty.
        correct_column (`str`, *optional*):
            Column that says whether a trace is right: verdicts, booleans, or numbers that are at least `threshold`.
        threshold (`float`):
            The least grade of a right trace.
        max_pairs (`int`, *optional*):
            Most pairs of a row; `None` for all.
    """

    config: DistillConfig
    reasoning_format: ReasoningFormat = "tags"
    statuses: tuple[str, ...] | None = ("ok",)
    correct_column: str | None = None
    threshold: float = 0.5
    max_pairs: int | None = 1


@dataclass(frozen=True)
class LabelledTrace:
    """One trace of a row.

    Args:
        number (`int`): which sample it is, from 0.
        completion (`list[dict[str, str]]`): the assistant's message.
        is_right (`bool`, *optional*): whether it is right; `None` where that is not known.
    """

    number: int
    completion: list[dict[str, str]]
    is_right: bool | None


def make_examples(form: TrainingFormat, values: Values) -> Iterator[Example]:
    """Give a prompt and a completion for each trace of a row; only right ones where a column says which are."""
    prompt = build_student_prompt(form, values)
    for trace in read_traces(form, values) if prompt else ():
        if form.correct_column is None or trace.is_right:
            yield {"prompt": prompt, "completion": trace.completion, "sample": trace.number}


def make_labelled(form: TrainingFormat, values: Values) -> Iterator[Example]:
    """Give a prompt, a completion and a label for each trace that is known to be right or wrong."""
    prompt = build_student_prompt(form, values)
    for trace in read_traces(form, values) if prompt else ():
        if trace.is_right is not None:
            yield {"prompt": prompt, "completion": trace.completion, "label": trace.is_right, "sample": trace.number}


def make_pairs(form: TrainingFormat, values: Values) -> Iterator[Example]:
    """Give pairs of a right and a wrong trace of a row, each trace used once before one is used again."""
    prompt = build_student_prompt(form, values)
    traces = list(read_traces(form, values)) if prompt else []
    right = [trace.completion for trace in traces if trace.is_right]
    wrong = [trace.completion for trace in traces if trace.is_right is False]
    pairs = [(i, j) for i in range(len(right)) for j in range(len(wrong)) if right[i] != wrong[j]]
    pairs.sort(key=lambda pair: ((pair[0] - pair[1]) % max(len(right), len(wrong)), pair))
    for chosen, rejected in pairs[: form.max_pairs]:
        yield {"prompt": prompt, "chosen": right[chosen], "rejected": wrong[rejected]}


def build_student_prompt(form: TrainingFormat, values: Values) -> list[dict[str, str]]:
    """Build the messages of a row's prompt; none where the row cannot be used."""
    config, order = form.config, values[form.config.output_column + DOCUMENT_ORDER]
    try:
        row = read_row(values, config)
    except InvalidRowError:
        return []
    if sorted(order or ()) != list(range(len(row.documents))):
        return []  # no prompt was made, or the documents are not those that the teacher saw
    return build_messages(row, [row.documents[i] for i in order], config)


def read_traces(form: TrainingFormat, values: Values) -> Iterator[LabelledTrace]:
    """Give the traces of a row that are not empty, have one of the statuses and, with a column for it, a label."""
    output = form.config.output_column
    names = [output, output + ANSWER, *([output + STATUS] if output + STATUS in values else [])]
    names += [form.correct_column] if form.correct_column else []
    number = values.get(output + SAMPLE) or 0
    if not isinstance(values[output], list):
        values = {name: [values[name]] for name in names}
    for name in names[1:]:
        if values[name] and len(values[name]) != len(values[output]):
            raise ColumnError(
                f"The column {name!r} holds {len(values[name])} values in a row, and {output!r} {len(values[output])}."
            )
    for place in range(len(values[output])):
        reasoning, answer, *_ = (values[name][place] if values[name] else None for name in names)
        status = values[output + STATUS][place] if output + STATUS in names else None
        is_right: bool | None = status == "ok"
        if form.correct_column:
            grade = values[form.correct_column][place] if values[form.correct_column] else None
            is_right = read_grade(grade, form)
        if reasoning and (form.statuses is None or status in form.statuses):
            yield LabelledTrace(number + place, write_completion(reasoning, answer or "", form), is_right)


def read_grade(grade: Any, form: TrainingFormat) -> bool | None:
    """Tell whether a grade is that of a right trace; `None` where it is null, empty or the verdict `unchecked`.

    Raises:
        ColumnError: It is a text and neither a verdict nor what a file writes for a boolean or a number.
    """
    if isinstance(grade, str) and grade in OUTCOMES:
        return None if grade == "unchecked" else grade == "right"
    if grade is None or grade == "":
        return None
    try:
        number = float(_BOOLEANS.get(grade.lower(), grade) if isinstance(grade, str) else grade)
    except ValueError as err:
        raise ColumnError(
            f"The column {form.correct_column!r} holds {grade[:60]!r}; expected {', '.join(map(repr, OUTCOMES))}, "
            "booleans or numbers."
        ) from err
    return None if number != number else number >= form.threshold


def write_completion(reasoning: str, answer: str, form: TrainingFormat) -> list[dict[str, str]]:
    """Write the assistant's message: reasoning, then answer, in answer tags where the template asks for them."""
    config = form.config
    if answer and "answer_tags" in get_template(config).placeholders:
        answer = f"{config.answer_tags[0]}{answer}{config.answer_tags[1]}"
    if form.reasoning_format == "field":
        return [{"role": "assistant", "reasoning_content": reasoning, "content": answer}]
    if form.reasoning_format == "tags":
        reasoning = f"{config.thought_tags[0]}\n{reasoning}\n{config.thought_tags[1]}"
    return [{"role": "assistant", "content": "\n\n".join(filter(None, (reasoning, answer)))}]


def columns_to_read(config: DistillConfig, names: Collection[str]) -> list[str]:
    """List the columns that prompts and traces are made of; the scenario only where there is one."""
    output = config.output_column
    columns = [name for name in input_columns(config) if name != config.scenario_column or name in names]
    columns += [output + SAMPLE] if output + SAMPLE in names else []
    return [*columns, output, output + ANSWER, output + DOCUMENT_ORDER]
