"""Traces that suit a student: chosen among those of a row, and compared between teachers."""

import logging
import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import datasets

from hf_rare.errors import ConfigError
from hf_rare.rows.column_types import is_list
from hf_rare.rows.columns import (
    LOCAL_NATURALNESS,
    RANK_SURPRISAL,
    STATUS,
    VERDICT,
    check_statuses,
    list_values,
)
from hf_rare.scoring.candidates import Candidates, is_status
from hf_rare.scoring.suitability import LocalNaturalnessMeasure, RankSurprisalMeasure
from hf_rare.scoring.traces import TraceMeasure
from hf_rare.settings.kinds import AtLeastOne, check_value
from hf_rare.training.convert import check_columns, check_exportable
from hf_rare.training.left_out import say_left_out
from hf_rare.training.one_trace import check_lists, keep_traces

logger = logging.getLogger(__name__)

Measure = Literal["rank_surprisal", "local_naturalness"]

MEASURES: dict[str, tuple[type[TraceMeasure], str, int]] = {
    "rank_surprisal": (RankSurprisalMeasure, RANK_SURPRISAL, 1),
    "local_naturalness": (LocalNaturalnessMeasure, LOCAL_NATURALNESS, -1),
}
"""What measures, the ending of its column, and what makes the better of two values the lower one."""

UNMEASURED = "no text, no prompt or no room in the student"
"""What is said of candidates that have no measure."""

NORMAL_95 = statistics.NormalDist().inv_cdf(0.975)


def select_traces(
    dataset: datasets.Dataset,
    student: Any,
    measure: Measure = "rank_surprisal",
    keep: AtLeastOne = 1,
    *,
    recipe: Any = None,
    statuses: Collection[str] | None = ("ok",),
    num_proc: AtLeastOne | None = None,
    **settings: Any,
) -> datasets.Dataset:
    """Keep those traces of each row that suit a student best, of all that a teacher or several have written.

    The trace that teaches a student most need not be that of the strongest teacher. Two measures are there, each one
    reading of the traces by the student, without generating anything:

    - `"rank_surprisal"`, the rank-surprisal ratio: sum of min(rank, 100) over sum of -log p of the tokens of a trace
      behind its prompt, where the rank of the most likely token is 1. Lower is better (arXiv 2601.14249).
    - `"local_naturalness"`: the mean over the steps of a trace of the mean log p of a step's tokens behind the 4 steps
      before it alone. Higher is better (arXiv 2510.03988). Steps are sentences and lines.

    The trace is the reasoning without the answer; prompts are those of the teacher, as for [`measure_evidence`].
    Candidates are the traces with one of `statuses` that are not known to be wrong; no other is measured. A candidate
    that the student has no room for is left out alone, and a row without any is left out, which the log counts.

    Args:
        dataset ([`~datasets.Dataset`]):
            Distilled rows with lists of traces (`num_samples`, `keep_attempts`).
        student (`str` or [`TransformersGenerator`]):
            The student before its training: its name on the Hub, a folder, or a generator that has it.
        measure (`"rank_surprisal"` or `"local_naturalness"`, *optional*, defaults to `"rank_surprisal"`):
            By what they are chosen.
        keep (`int`, *optional*, defaults to 1):
            How many traces a row keeps at most. One stands in plain columns, several in lists, the best first.
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            Gives columns, template and tags, as in [`to_sft`].
        statuses (`Collection[str]`, *optional*, defaults to `("ok",)`):
            Traces with these statuses are candidates; `None` for all.
        num_proc (`int`, *optional*):
            Processes to use, as in `Dataset.map`.
        **settings:
            Settings of [`DistillConfig`] that stand in for the recipe's, of [`RunConfig`] (journal, limits), and, for
            a name or a folder, of [`ModelConfig`] and [`DecodingConfig`].

    Returns:
        [`~datasets.Dataset`]: the rows with the traces that were kept, and all that is said of them; the measure in
        `<output_column>_rank_surprisal` or `<output_column>_local_naturalness`.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ColumnError: A column is missing, or holds no lists.
        BatchTypeError: This is no [`~datasets.Dataset`].
        ModelLoadError: The student does not exist, or cannot be loaded.

    Example:
        >>> several = ReasonDistiller.from_pretrained(
        ...     "Qwen/Qwen3-8B", max_new_tokens=64, num_samples=2, generation_kwargs={"temperature": 0.7}
        ... )
        >>> chosen = select_traces(several.apply(rows), student="Qwen/Qwen3-0.6B", recipe=several)
    """
    check_value("keep", keep, AtLeastOne)
    wanted = check_statuses(statuses)
    kind, ending, sign = _find(measure)
    candidates = Candidates(wanted)
    made = kind(student, recipe=recipe, candidates=candidates, **settings)
    output = made.config.output_column
    check_lists(dataset, output)
    measured = made.apply(dataset, num_proc=num_proc)
    kept = keep_traces(measured, output, partial(_choose, ending, sign, candidates, keep), keep)
    if left_out := len(dataset) - len(kept):
        why = _count_reasons(measured, output, ending, candidates)
        message = "%d of %d rows are left out: no trace of theirs can be chosen. %s"
        say_left_out(logger, message, left_out, len(dataset), why)
    return kept


@dataclass(frozen=True)
class TeacherScore:
    """How well the traces of a teacher suit a student.

    Args:
        teacher (`str`): its name.
        rows (`int`): rows with a trace that was measured.
        traces (`int`): their traces.
        mean (`float`): the mean of the measure over the rows, of each of which the mean over its traces counts.
        low (`float`): lower end of the 95 % interval of this mean, by the normal approximation; NaN with one row.
        high (`float`): its upper end.
    """

    teacher: str
    rows: int
    traces: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class TeacherComparison:
    """Teachers by how well their traces suit a student, the best first.

    Args:
        measure (`str`): the measure.
        scores (`list[TeacherScore]`): a teacher each.
    """

    measure: str
    scores: list[TeacherScore]

    def to_list(self) -> list[dict[str, Any]]:
        """Return the table as values by name, a teacher each."""
        return [asdict(score) for score in self.scores]

    def __str__(self) -> str:
        lines = [f"| teacher | {self.measure} | 95 % interval | rows | traces |", "|---|---|---|---|---|"]
        for score in self.scores:
            interval = "-" if math.isnan(score.low) else f"{score.low:.4g} to {score.high:.4g}"  # of one row
            lines.append(f"| {score.teacher} | {score.mean:.4g} | {interval} | {score.rows} | {score.traces} |")
        return "\n".join(lines)


def compare_teachers(
    teachers: Mapping[str, datasets.Dataset],
    student: Any,
    measure: Measure = "rank_surprisal",
    *,
    recipe: Any = None,
    statuses: Collection[str] | None = ("ok",),
    num_proc: AtLeastOne | None = None,
    **settings: Any,
) -> TeacherComparison:
    """Compare teachers on a pilot of rows by how well their traces suit a student.

    The measures are those of [`select_traces`]; both papers choose teachers by their mean, and neither asks for a
    training run. Give each teacher the same rows: the table does not pair them.

    Args:
        teachers (`Mapping[str, Dataset]`):
            The rows that each teacher has distilled, by its name; a row may have one trace or a list of them.
        student (`str` or [`TransformersGenerator`]):
            The student before its training.
        measure (`"rank_surprisal"` or `"local_naturalness"`, *optional*, defaults to `"rank_surprisal"`):
            By what they are compared.
        recipe (`dict`, `str`, `Path` or [`ReasonDistiller`], *optional*):
            Gives columns, template and tags, the same for all.
        statuses (`Collection[str]`, *optional*, defaults to `("ok",)`):
            Traces with these statuses count that are not known to be wrong; `None` for all.
        num_proc (`int`, *optional*):
            Processes to use, as in `Dataset.map`.
        **settings:
            As in [`select_traces`].

    Returns:
        [`TeacherComparison`]: a table that prints, the best teacher first.

    Raises:
        ConfigError: There is no teacher, or a setting cannot be right.
        ColumnError: A column is missing.
        BatchTypeError: Something else than a [`~datasets.Dataset`] is given for a teacher.
        ModelLoadError: The student does not exist, or cannot be loaded.

    Example:
        >>> print(compare_teachers({"Qwen3-8B": ds}, student="Qwen/Qwen3-0.6B", recipe=distill_fn))
        | teacher | rank_surprisal | 95 % interval | rows | traces |
        ...
    """
    if not isinstance(teachers, Mapping) or not teachers:
        raise ConfigError(f"teachers={teachers!r} cannot be right: expected a dict of names and distilled datasets.")
    wanted = check_statuses(statuses)
    candidates = Candidates(wanted)
    kind, ending, sign = _find(measure)
    made = kind(student, recipe=recipe, candidates=candidates, **settings)
    output = made.config.output_column
    for dataset in teachers.values():
        check_exportable(dataset)
        check_columns(dataset, [output, *([output + STATUS] if wanted is not None else [])])
    scores = [
        _score(name, made.apply(dataset, num_proc=num_proc), output, ending, candidates)
        for name, dataset in teachers.items()
    ]
    return TeacherComparison(measure, sorted(scores, key=lambda score: (score.rows == 0, sign * score.mean)))


def _find(measure: Any) -> tuple[type[TraceMeasure], str, int]:
    return MEASURES[check_value("measure", measure, Measure)]


def _list_columns(measured: datasets.Dataset, output: str, ending: str) -> Iterator[dict[str, list[Any]]]:
    """Return what is said of the traces of each row: lists by the ending of their column."""
    columns = [output + part for part in (ending, STATUS, VERDICT) if output + part in measured.column_names]
    has_lists = {name: is_list(measured.features[name]) for name in columns}
    for row in measured.select_columns(columns).with_format(None):
        yield {name.removeprefix(output): list_values(value, has_lists[name]) for name, value in row.items()}


def _is_number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _find_candidates(ending: str, candidates: Candidates, row: Mapping[str, Any]) -> dict[int, float]:
    """Return the measure of each trace of a row that may be chosen, by its place; `row` holds lists by ending."""
    values = row[ending] or []
    reasons = candidates.why_not(row, len(values))
    return {place: value for place, value in enumerate(values) if _is_number(value) and not reasons[place]}


def _choose(ending: str, sign: int, candidates: Candidates, keep: int, row: Mapping[str, Any]) -> list[int]:
    found = _find_candidates(ending, candidates, row)
    return sorted(found, key=lambda place: sign * found[place])[:keep]


def _count_reasons(measured: datasets.Dataset, output: str, ending: str, candidates: Candidates) -> str:
    """Say why the traces of rows of which none can be chosen are none that can."""
    reasons = Counter[str]()
    for row in _list_columns(measured, output, ending):
        if not _find_candidates(ending, candidates, row):
            reasons.update(reason or UNMEASURED for reason in candidates.why_not(row, len(row[ending] or [])))
    counts = ", ".join(f"{count} with {reason}" for reason, count in sorted(reasons.items()))
    hint = " Pass statuses=None to choose from traces of all statuses." if any(map(is_status, reasons)) else ""
    return f"Of their {reasons.total()} traces: {counts or 'none'}.{hint}"


def _score(name: str, measured: datasets.Dataset, output: str, ending: str, candidates: Candidates) -> TeacherScore:
    means, traces = list[float](), 0
    for row in _list_columns(measured, output, ending):
        if values := [v for v in _find_candidates(ending, candidates, row).values() if math.isfinite(v)]:
            means.append(statistics.fmean(values))
            traces += len(values)
    mean = statistics.fmean(means) if means else math.nan
    half = NORMAL_95 * statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return TeacherScore(name, len(means), traces, mean, mean - half, mean + half)
