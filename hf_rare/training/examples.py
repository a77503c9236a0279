"""From a distilled row to what a student learns from it: a prompt, completions, pairs. Plain values in and out.

The prompt is made with the library's own templates. Its documents stand in the order in which the teacher saw them, in
full also where the teacher got them shortened. Where the student gets others, `student_documents` chooses them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hf_rare.checks.citations import find_citations
from hf_rare.errors import ColumnError
from hf_rare.prompts.prompt import build_messages, get_template, input_columns, shuffle_documents
from hf_rare.rows.columns import ANSWER, DOCUMENT_ORDER, OUTCOMES, SAMPLE, STATUS
from hf_rare.rows.row import InvalidRowError, read_negatives, read_row
from hf_rare.settings.writers import DistillConfig
from hf_rare.training.student_documents import StudentDocuments, choose_documents

ReasoningFormat = Literal["tags", "plain", "field"]

_BOOLEANS = {"true": True, "false": False}

HAS_POSITIVE, LACKS_CITED, LACKS_ANSWER = "__has_positive", "__lacks_cited", "__lacks_answer"
"""What an example says of its documents and completions, for the log alone: no column is made of it."""

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
        positive_share (`float`):
            Share of rows whose prompt has the positive.
        student_documents (`int` or `str`, *optional*):
            The most negatives of a prompt, or the column with those that it has instead of the teacher's.
    """

    config: DistillConfig
    reasoning_format: ReasoningFormat = "tags"
    statuses: tuple[str, ...] | None = ("ok",)
    correct_column: str | None = None
    threshold: float = 0.5
    max_pairs: int | None = 1
    positive_share: float = 1.0
    student_documents: int | str | None = None

    @property
    def changes_documents(self) -> bool:
        """Whether a student may get other documents than the teacher had."""
        return self.positive_share < 1 or self.student_documents is not None


@dataclass(frozen=True)
class StudentPrompt:
    """A row as a student gets it.

    Args:
        messages (`list[dict[str, str]]`): the messages.
        documents ([`StudentDocuments`]): the documents in them, and those that are not.
        positive (`str`): the positive, also where it is not one of them.
        positive_number (`int`): the number by which traces cite it.
    """

    messages: list[dict[str, str]]
    documents: StudentDocuments
    positive: str
    positive_number: int


@dataclass(frozen=True)
class LabelledTrace:
    """One trace of a row.

    Args:
        number (`int`): which sample it is, from 0.
        completion (`list[dict[str, str]]`): the assistant's message.
        is_right (`bool`, *optional*): whether it is right; `None` where that is not known.
        text (`str`): reasoning and answer, in which documents are cited.
        has_answer (`bool`): whether the teacher gave an answer apart from the reasoning.
    """

    number: int
    completion: list[dict[str, str]]
    is_right: bool | None
    text: str
    has_answer: bool


def make_examples(form: TrainingFormat, values: Values) -> Iterator[Example]:
    """Return a prompt and a completion for each trace of a row; only right ones where a column says which are."""
    for prompt, trace in _pair_traces(form, values):
        if form.correct_column is None or trace.is_right:
            yield {"completion": trace.completion, "sample": trace.number, **_describe(prompt, trace)}


def make_labelled(form: TrainingFormat, values: Values) -> Iterator[Example]:
    """Return a prompt, a completion and a label for each trace that is known to be right or wrong."""
    for prompt, trace in _pair_traces(form, values):
        if trace.is_right is not None:
            labelled = {"completion": trace.completion, "label": trace.is_right, "sample": trace.number}
            yield {**labelled, **_describe(prompt, trace)}


def make_pairs(form: TrainingFormat, values: Values) -> Iterator[Example]:
    """Return pairs of a right and a wrong trace of a row, each trace used once before one is used again."""
    traces = list(_pair_traces(form, values))
    right = [trace for _, trace in traces if trace.is_right]
    wrong = [trace for _, trace in traces if trace.is_right is False]
    places = [(i, j) for i in range(len(right)) for j in range(len(wrong))]
    pairs = [(i, j) for i, j in places if right[i].completion != wrong[j].completion]
    pairs.sort(key=lambda pair: ((pair[0] - pair[1]) % max(len(right), len(wrong)), pair))
    for i, j in pairs[: form.max_pairs]:
        described = _describe(traces[0][0], right[i], wrong[j])
        yield {"chosen": right[i].completion, "rejected": wrong[j].completion, **described}


def _pair_traces(form: TrainingFormat, values: Values) -> Iterator[tuple[StudentPrompt, LabelledTrace]]:
    """Return the traces of a row, each with the row's prompt; none where the row cannot be used."""
    prompt = build_student_prompt(form, values)
    if prompt is not None:
        for trace in read_traces(form, values):
            yield prompt, trace


def _describe(prompt: StudentPrompt, *traces: LabelledTrace) -> Example:
    """Return the prompt of an example, and whether it has the positive, and lacks a cited document or an answer."""
    left_out = prompt.documents.left_out
    lacks_cited = bool(left_out) and any(not left_out.isdisjoint(find_citations(trace.text)) for trace in traces)
    return {
        "prompt": prompt.messages,
        HAS_POSITIVE: prompt.documents.has_positive,
        LACKS_CITED: lacks_cited,
        LACKS_ANSWER: not all(trace.has_answer for trace in traces),
    }


def build_student_prompt(form: TrainingFormat, values: Values) -> StudentPrompt | None:
    """Build a row's prompt; none where the row cannot be used.

    A row that was not distilled has its documents in the order in which a teacher would get them.
    """
    config, column = form.config, form.student_documents
    negatives: int | Sequence[str] | None = column
    try:
        row = read_row(values, config)
        if isinstance(column, str):
            negatives = read_negatives(values, column)
    except InvalidRowError:
        return None
    order_column = config.output_column + DOCUMENT_ORDER
    order = values[order_column] if order_column in values else shuffle_documents(row, config.seed)
    if sorted(order or ()) != list(range(len(row.documents))):
        return None  # no prompt was made, or the documents are not those that the teacher saw
    documents = choose_documents(
        row,
        order,
        config.seed,
        positive_share=form.positive_share,
        negatives=negatives,
        cited=_list_citations(form, values),
    )
    messages = build_messages(row, documents.with_gaps(), config)
    return StudentPrompt(messages, documents, row.positive, list(order).index(0) + 1)


def _list_citations(form: TrainingFormat, values: Values) -> set[int]:
    """List the numbers that any trace of a row cites; needed only where documents are numbered anew."""
    if not isinstance(form.student_documents, str):
        return set()
    columns = (form.config.output_column, form.config.output_column + ANSWER)
    texts = [text for name in columns for text in _as_list(values.get(name)) if text]
    return {number for text in texts for number in find_citations(text)}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_traces(form: TrainingFormat, values: Values) -> Iterator[LabelledTrace]:
    """Return the traces of a row that are not empty, have one of the statuses and, with a column for it, a label."""
    output = form.config.output_column
    if not values[output]:
        return
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
            completion = write_completion(reasoning, answer or "", form)
            yield LabelledTrace(number + place, completion, is_right, f"{reasoning}\n{answer or ''}", bool(answer))


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
    """Write the assistant's message: reasoning, then answer, in answer tags where the template asks for them.

    Where the teacher gave no answer apart from the reasoning, that is all it said, and so the answer is in it: it
    stands as plain text. In a thought it would teach a student to say nothing.
    """
    config = form.config
    if not answer:
        thought = {"reasoning_content": ""} if form.reasoning_format == "field" else {}
        return [{"role": "assistant", **thought, "content": reasoning}]
    if "answer_tags" in get_template(config).placeholders:
        answer = f"{config.answer_tags[0]}{answer}{config.answer_tags[1]}"
    if form.reasoning_format == "field":
        return [{"role": "assistant", "reasoning_content": reasoning, "content": answer}]
    if form.reasoning_format == "tags":
        reasoning = f"{config.thought_tags[0]}\n{reasoning}\n{config.thought_tags[1]}"
    return [{"role": "assistant", "content": f"{reasoning}\n\n{answer}"}]


def columns_to_read(config: DistillConfig, names: Collection[str]) -> list[str]:
    """List the columns that prompts and traces are made of; the scenario only where there is one."""
    output = config.output_column
    columns = [name for name in input_columns(config) if name != config.scenario_column or name in names]
    columns += [output + SAMPLE] if output + SAMPLE in names else []
    return [*columns, output, output + ANSWER, output + DOCUMENT_ORDER]
