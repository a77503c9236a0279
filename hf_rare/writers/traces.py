"""From completions to traces, and from the traces of a row to its new columns: the row contract."""

from collections.abc import Sequence
from dataclasses import dataclass

import datasets

from hf_rare.generation.protocol import Completion
from hf_rare.prompts.completion import parse_completion
from hf_rare.rows.columns import (
    ATTEMPTS,
    DOCUMENT_ORDER,
    DOCUMENTS_TRUNCATED,
    POSITIVE_POSITION,
    PROMPT_TOKENS,
    ROW_COLUMNS,
    SAMPLE,
    TRACE,
    TRACE_COLUMNS,
    VERDICT,
    Outcome,
    name_features,
)
from hf_rare.settings.writers import DistillConfig
from hf_rare.writers.result import Layout, Result, Sample
from hf_rare.writers.thoughts import opening_of, say_markers


@dataclass(frozen=True, kw_only=True)
class Trace(Sample):
    """One trace of a row: the values of `TRACE_COLUMNS`, and of `VERDICT` where answers are checked."""

    reasoning: str = ""
    answer: str = ""
    verdict: Outcome = "unchecked"

    @property
    def will_do(self) -> bool:
        """Whether no other trace is needed in its place."""
        return self.status == "ok" and self.verdict != "wrong"


TracesOfRow = Result[Trace]


def read_trace(result: TracesOfRow, completion: Completion, config: DistillConfig) -> Trace:
    """Read a completion.

    Args:
        result ([`Result`]):
            The row that it belongs to.
        completion ([`Completion`]):
            The completion.
        config ([`DistillConfig`]):
            The tags to look for, and whether a completion without an answer is `unparsed`.

    Returns:
        [`Trace`]: the trace, its answer not checked yet.
    """
    if completion.failure:
        return Trace(status=completion.failure, error=completion.error)
    parsed = parse_completion(
        completion.text,
        is_cut=completion.is_cut,
        thought_tags=config.thought_tags,
        answer_tags=config.answer_tags,
        require_answer=config.needs_answer,
        opening=opening_of(result),
    )
    say_markers(parsed.models)
    return Trace(
        reasoning=parsed.reasoning,
        answer=parsed.answer,
        status=parsed.status,
        error=completion.error or parsed.error,
        completion_tokens=completion.completion_tokens,
    )


def choose_traces(result: TracesOfRow, config: DistillConfig) -> list[Trace]:
    """Choose the traces of a row that go into its columns: all of them, or the one that will do.

    Where none will do, `config.fallback` says which. A row that could not be generated has as many traces that say why
    as other rows have samples.
    """
    if not result.samples:
        prepared = result.prepared
        return [Trace(status=prepared.status, error=prepared.error)] * config.num_samples
    if config.has_many_traces:
        return result.samples
    if good := [trace for trace in result.samples if trace.will_do]:
        return good[:1]
    if config.fallback == "none":
        last = result.samples[-1]
        reason = last.error or f"its answer {last.answer!r} is wrong"
        error = f"none of {result.attempts} attempts will do; of the last one, {reason}"
        if result.attempts == 1:
            error = f"the only attempt will not do: {reason}"
        return [Trace(status="failed", error=error, verdict=last.verdict, completion_tokens=last.completion_tokens)]
    return [result.samples[0 if config.fallback == "first" else -1]]


def output_features(config: DistillConfig) -> datasets.Features:
    """Name the new columns and their types, in order."""
    output = config.output_column
    as_lists = config.has_many_traces and not config.expand
    of_traces = _trace_columns(config)
    endings = [*of_traces, *_row_columns(config)] if config.columns == "full" else [TRACE]
    endings += [SAMPLE] if config.expand else []
    return datasets.Features(name_features(output, endings, as_lists=of_traces if as_lists else ()))


def lay_out_traces(results: Sequence[TracesOfRow], config: DistillConfig) -> Layout:
    """Lay the chosen traces of the rows of a batch out as columns.

    Args:
        results (`Sequence[Result]`): the rows of a batch, in order.
        config ([`DistillConfig`]): names, which traces are chosen, and whether several become lists or rows.

    Returns:
        [`Layout`]: column by name, each with a value for each row, or, with `expand`, for each trace.
    """
    output = config.output_column
    as_lists = config.has_many_traces and not config.expand
    chosen = [choose_traces(result, config) for result in results]
    columns: dict[str, list[object]] = {}
    for ending in _trace_columns(config):
        name = ending[1:] or "reasoning"
        values = [[getattr(trace, name) for trace in traces] for traces in chosen]
        columns[output + ending] = list(values) if as_lists else [value for row in values for value in row]
    repeats = [len(traces) if config.expand else 1 for traces in chosen]
    shared = [row for result, times in zip(results, repeats, strict=True) for row in [_values_of_row(result)] * times]
    for ending in _row_columns(config):
        columns[output + ending] = [row[ending] for row in shared]
    if config.expand:
        columns[output + SAMPLE] = [number for times in repeats for number in range(times)]
    return Layout(
        {name: columns[name] for name in output_features(config)},
        [trace for traces in chosen for trace in traces],
        repeats if config.expand else None,
    )


def _trace_columns(config: DistillConfig) -> list[str]:
    return [*TRACE_COLUMNS, *([VERDICT] if config.gold_column else [])]


def _row_columns(config: DistillConfig) -> list[str]:
    return [*ROW_COLUMNS, *([ATTEMPTS] if config.attempts > 1 else [])]


def _values_of_row(result: TracesOfRow) -> dict[str, object]:
    prompt = result.prepared.prompt
    order = prompt.document_order if prompt is not None else []
    return {
        PROMPT_TOKENS: result.prompt_tokens,
        POSITIVE_POSITION: order.index(0) + 1 if 0 in order else 0,
        DOCUMENT_ORDER: order,
        DOCUMENTS_TRUNCATED: prompt.documents_truncated if prompt is not None else 0,
        ATTEMPTS: result.attempts,
    }
