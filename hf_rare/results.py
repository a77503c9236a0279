"""From what became of each row to the new columns: the row contract."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import datasets

from hf_rare.assembly import PreparedRow
from hf_rare.config import DistillConfig
from hf_rare.generation.protocol import Completion
from hf_rare.parsing import Status, is_thought_open, parse_completion

STRING, INTEGER = datasets.Value("string"), datasets.Value("int64")

SAMPLE_COLUMNS = {"": STRING, "_answer": STRING, "_status": STRING, "_error": STRING, "_completion_tokens": INTEGER}
"""Columns that differ between the samples of a row, by what stands behind the output column."""

ROW_COLUMNS = {
    "_prompt_tokens": INTEGER,
    "_positive_position": INTEGER,
    "_document_order": datasets.List(INTEGER),
    "_documents_truncated": INTEGER,
}
"""Columns that all samples of a row share."""


@dataclass(frozen=True)
class Sample:
    """One trace of a row: the values of `SAMPLE_COLUMNS`."""

    reasoning: str
    answer: str
    status: Status
    error: str
    completion_tokens: int = 0


@dataclass
class Result:
    """What became of a row.

    Args:
        prompt_tokens (`int`): tokens of its prompt; 0 where none was made.
        document_order (`list[int]`): its documents in the prompt; empty where there is none.
        documents_truncated (`int`): how many were shortened.
        samples (`list[Sample]`): its traces, of length `num_samples`.
    """

    prompt_tokens: int = 0
    document_order: list[int] = field(default_factory=list)
    documents_truncated: int = 0
    samples: list[Sample] = field(default_factory=list)

    @property
    def positive_position(self) -> int:
        """Place of the positive in the prompt, from 1; 0 where there is no prompt."""
        return self.document_order.index(0) + 1 if self.document_order else 0


def read_result(
    prepared: PreparedRow, completions: Sequence[Completion], config: DistillConfig, require_answer: bool
) -> Result:
    """Turn a row and its completions into its result.

    Args:
        prepared ([`PreparedRow`]):
            The row.
        completions (`Sequence[Completion]`):
            Its completions, of length `num_samples`; empty where the row could not be generated.
        config ([`DistillConfig`]):
            The tags to look for.
        require_answer (`bool`):
            Whether a completion without an answer is `unparsed`.

    Returns:
        [`Result`]: the values of its new columns.
    """
    result = Result()
    if prepared.prompt is not None:
        result.document_order = prepared.prompt.document_order
        result.documents_truncated = prepared.prompt.documents_truncated
    if prepared.encoded is not None:
        result.prompt_tokens = len(prepared.encoded.token_ids)
    if prepared.encoded is None or prepared.status != "ok":
        result.samples = [Sample("", "", prepared.status, prepared.error)] * config.num_samples
        return result
    for completion in completions:
        result.prompt_tokens = completion.prompt_tokens
        if completion.finish_reason == "error":
            result.samples.append(Sample("", "", "failed", completion.error))
            continue
        parsed = parse_completion(
            completion.text,
            is_cut=completion.finish_reason == "length",
            thought_is_open=is_thought_open(prepared.encoded.opening, config.thought_tags),
            thought_tags=config.thought_tags,
            answer_tags=config.answer_tags,
            require_answer=require_answer,
        )
        result.samples.append(
            Sample(parsed.reasoning, parsed.answer, parsed.status, parsed.error, completion.completion_tokens)
        )
    return result


def output_features(config: DistillConfig) -> datasets.Features:
    """Name the new columns and their types, in order."""
    output = config.output_column
    as_lists = config.num_samples > 1 and not config.expand
    samples = {
        output + ending: datasets.List(feature) if as_lists else feature for ending, feature in SAMPLE_COLUMNS.items()
    }
    number = {f"{output}_sample": INTEGER} if config.expand else {}
    if config.columns == "minimal":
        return datasets.Features({output: samples[output], **number})
    return datasets.Features({**samples, **{output + end: feature for end, feature in ROW_COLUMNS.items()}, **number})


def to_columns(results: Sequence[Result], config: DistillConfig) -> dict[str, list[object]]:
    """Lay the results out as columns.

    Args:
        results (`Sequence[Result]`): the results of a batch, in order.
        config ([`DistillConfig`]): names, and whether samples become lists or rows.

    Returns:
        `dict[str, list]`: column by name, each of length `batch_size`, or `batch_size * num_samples` with `expand`.
    """
    output = config.output_column
    repeat = config.num_samples if config.expand else 1
    as_lists = config.num_samples > 1 and not config.expand
    columns: dict[str, list[object]] = {}
    for ending in SAMPLE_COLUMNS:
        name = ending[1:] or "reasoning"
        values = [[getattr(sample, name) for sample in result.samples] for result in results]
        columns[output + ending] = list(values) if as_lists else [value for row in values for value in row]
    for ending in ROW_COLUMNS:
        columns[output + ending] = [getattr(result, ending[1:]) for result in results for _ in range(repeat)]
    if config.expand:
        columns[f"{output}_sample"] = [number for _ in results for number in range(config.num_samples)]
    return {name: columns[name] for name in output_features(config)}
