"""Which traces of a dataset are right by its gold answers: a column of verdicts. `answers` judges one answer."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import datasets

from hf_rare.checks.answers import TOLERANCE, check_answer, check_settings
from hf_rare.errors import BatchTypeError, ColumnError
from hf_rare.rows.batches import add_columns, column_names, fill_lists, map_with_features, read_columns
from hf_rare.rows.column_types import is_list
from hf_rare.rows.columns import ANSWER, STATUS, VERDICT, WITHOUT_TRACE, Outcome, check_statuses
from hf_rare.rows.gold import (
    check_gold_feature,
    check_gold_value,
    label_names,
    list_golds,
    name_label,
    pair_options,
    read_features,
)
from hf_rare.settings.base import Config
from hf_rare.settings.kinds import AtLeastOne, ColumnName
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.settings.writers import Check

VERIFY_REVISION = 5
"""Bumped by hand whenever the same row gets another verdict."""

BATCH_SIZE = 1000


@dataclass(frozen=True, kw_only=True)
class AnswerCheck(Config):
    """The check as a callable for `Dataset.map(..., batched=True)`; [`verify`] is the short way.

    Added is `<output_column>_verdict`: `right`, `wrong`, or `unchecked` where there is no gold answer or no trace; a
    list of them where the trace column holds lists, without items where a row has no list. It is never null.

    Args:
        gold_column (`str`, *optional*, defaults to `"answer"`):
            Column with the gold answer: a text, a number, a boolean, a date, a class label (its name, or the number of
            an option from 0), a list of answers that are all right, or a struct with such a list as `text` (SQuAD).
        check (`str`, *optional*, defaults to `"auto"`):
            How to compare; see [`check_answer`].
        options_column (`str`, *optional*, defaults to `"options"`):
            Column with the options, where there is one: a list, A first, or a struct of key to text. A key, such as E
            or 3, is what an answer names the option by.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Column with the trace, and prefix of the distiller's columns and of the new one.
        statuses (`Collection[str]`, *optional*, defaults to `("ok",)`):
            Traces with these statuses can be right; one with another status is wrong, whatever it says, as RARE
            (arXiv 2503.23513) keeps finished traces alone. `None` judges all traces by what they say.
        tolerance (`float`, *optional*, defaults to 1e-6):
            The largest relative difference of numbers that agree.

    Raises:
        ConfigError: A setting cannot be right.
    """

    gold_column: ColumnName = "answer"
    check: Check = "auto"
    options_column: ColumnName = "options"
    output_column: ColumnName = "reasoning"
    statuses: tuple[str, ...] | None = ("ok",)
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        check_settings(self.check, self.tolerance)
        statuses = check_statuses(self.statuses)
        object.__setattr__(self, "statuses", statuses and tuple(sorted(statuses)))
        super().__post_init__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (VERIFY_REVISION, self.to_json())  # the same bytes in every process, for the cache

    def __call__(self, batch: Any, labels: Sequence[str] | None = None) -> Any:
        """Judge the traces of a batch.

        Args:
            batch: A batch of rows, as `map` passes it in any format.
            labels (`Sequence[str]`, *optional*): the names of the gold column's class labels, where the batch does not
                bring them along.

        Raises:
            ColumnError: A column that is needed is missing or cannot hold gold answers, or the new one exists already.
        """
        return self.add_verdicts(batch, (), self._check_all, labels)

    def add_verdicts(
        self,
        batch: Any,
        further_columns: Sequence[str],
        check: Callable[[list["TraceToCheck"]], list[Outcome]],
        labels: Sequence[str] | None = None,
    ) -> Any:
        """Add to a batch what `check` says of each of its traces; traces without a gold answer stay unchecked."""
        names = column_names(batch)
        self.check_names(names)
        features = read_features(batch)
        check_gold_feature(features, self.gold_column)
        labels = labels or label_names(features, self.gold_column)
        optional = [name for name in self._optional() if name in names]
        rows = read_columns(batch, [self.output_column, self.gold_column, *optional, *further_columns])
        as_lists = fill_lists(batch, rows, self.output_column)
        for row in rows:
            check_gold_value(row[self.gold_column], self.gold_column)
        places = [range(len(traces)) if isinstance(traces := row[self.output_column], list) else None for row in rows]
        traces = [
            self._read_trace(row, place, labels)
            for row, own in zip(rows, places, strict=True)
            for place in (own if own is not None else [None])
        ]
        verdicts = iter(check(traces))
        column = [next(verdicts) if own is None else [next(verdicts) for _ in own] for own in places]
        return add_columns(batch, {self.verdict_column: column}, self.features(as_lists))

    @property
    def verdict_column(self) -> str:
        """Name of the new column."""
        return self.output_column + VERDICT

    def features(self, as_lists: bool = False) -> datasets.Features:
        """Name the new column and its type; `as_lists` where the trace column holds lists."""
        verdict = datasets.Value("string")
        return datasets.Features({self.verdict_column: datasets.List(verdict) if as_lists else verdict})

    def check_names(self, names: Collection[str]) -> None:
        """Raise [`ColumnError`] where a column that is needed is missing, or the new one exists already."""
        needed = [self.output_column, self.gold_column]
        needed += [self.output_column + STATUS] if self.statuses is not None else []
        if missing := [name for name in needed if name not in names]:
            raise ColumnError(
                f"The check needs the column {', '.join(map(repr, missing))}; the rows have "
                f"{', '.join(map(repr, names))}. Pass gold_column or output_column; the status comes with the "
                "distiller's columns='full', and statuses=None goes without it."
            )
        if self.verdict_column in names:
            raise ColumnError(
                f"The column {self.verdict_column!r} exists already: the rows have been checked. Check the "
                f"rows without it, or remove it first (`ds.remove_columns({self.verdict_column!r})`)."
            )

    def _optional(self) -> list[str]:
        return [self.output_column + ANSWER, self.output_column + STATUS, self.options_column]

    def _read_trace(self, row: Mapping[str, Any], place: int | None, labels: Sequence[str] | None) -> "TraceToCheck":
        values = [row[self.output_column], *(row.get(name) for name in self._optional()[:2])]
        if place is not None:
            values = [value[place] if isinstance(value, list) and place < len(value) else None for value in values]
        trace, answer, status = (value if isinstance(value, str) else "" for value in values)
        options = _read_options(row.get(self.options_column))
        gold = name_label(row[self.gold_column], labels, options)
        return TraceToCheck(row, gold, answer, trace, options, self._settle(gold, options, status, answer + trace))

    def _settle(self, gold: Any, options: list[tuple[str, str]] | None, status: str, text: str) -> Outcome | None:
        """Say what is known of a trace without comparing it; `None` where it must be compared."""
        if not list_golds(gold, options) or status in WITHOUT_TRACE or not (status or text.strip()):
            return "unchecked"
        if self.statuses is not None and status not in self.statuses:
            return "wrong"  # also where it was cut off before its first word
        return None if text.strip() else "unchecked"

    def _check_all(self, traces: list["TraceToCheck"]) -> list[Outcome]:
        return [self._check(trace) for trace in traces]

    def _check(self, trace: "TraceToCheck") -> Outcome:
        if trace.outcome is not None:
            return trace.outcome
        return check_answer(
            trace.gold,
            trace.answer,
            trace.trace,
            check=self.check,
            options=trace.options,
            tolerance=self.tolerance,
        ).outcome


@dataclass(frozen=True)
class TraceToCheck:
    """A trace, and what it is checked by.

    Args:
        row (`Mapping[str, Any]`): the columns of its row.
        gold (`Any`): the gold answer; of a class label its name.
        answer (`str`): its answer, where it separates one.
        trace (`str`): its text; empty where there is none.
        options (`list[tuple[str, str]]`, *optional*): key and text of each option.
        outcome (`str`, *optional*): what is known of it already; `None` where it is to be compared.
    """

    row: Mapping[str, Any]
    gold: Any
    answer: str
    trace: str
    options: list[tuple[str, str]] | None
    outcome: Outcome | None


@runtime_checkable
class Judge(Protocol):
    """What compares answers: an [`AnswerJudge`]."""

    def compare(self, answers: Sequence[tuple[str, str, str]]) -> list[Outcome]:
        """Say of each question, gold answer and answer whether the answer is `right`, `wrong` or `unchecked`."""


class JudgeCheck:
    """The check by a judge, as a callable for `Dataset.map(..., batched=True)`.

    Args:
        answers ([`AnswerCheck`]): says which columns to read, and which traces can be right.
        judge ([`AnswerJudge`]): compares answers.
        question_column (`str`, *optional*, defaults to `"question"`): column with the question.
    """

    def __init__(self, answers: AnswerCheck, judge: Judge, question_column: str = "question") -> None:
        self.answers, self.judge, self.question_column = answers, judge, question_column

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.answers, self.judge, self.question_column)

    def __call__(self, batch: Any, labels: Sequence[str] | None = None) -> Any:
        """Judge the traces of a batch."""
        return self.answers.add_verdicts(batch, [self.question_column], self._judge, labels)

    def _judge(self, traces: list[TraceToCheck]) -> list[Outcome]:
        asked = [
            (
                str(trace.row[self.question_column]),
                " or ".join(list_golds(trace.gold, trace.options)),
                trace.answer or trace.trace,
            )
            for trace in traces
            if trace.outcome is None
        ]
        judged = iter(self.judge.compare(asked))
        return [next(judged) if trace.outcome is None else trace.outcome for trace in traces]


def verify(
    dataset: datasets.Dataset | datasets.DatasetDict,
    gold_column: str = "answer",
    check: Check = "auto",
    *,
    options_column: str = "options",
    output_column: str = "reasoning",
    judge: Judge | None = None,
    question_column: str = "question",
    num_proc: AtLeastOne | None = None,
    **settings: Any,
) -> Any:
    """Add a column that says which traces give the gold answer.

    Args:
        dataset ([`~datasets.Dataset`] or [`~datasets.DatasetDict`]):
            Distilled rows.
        gold_column (`str`, *optional*, defaults to `"answer"`):
            Column with the gold answer.
        check (`str`, *optional*, defaults to `"auto"`):
            `"choice"`, `"text"`, `"number"`, `"math"`, or `"auto"`, which decides row by row.
        options_column (`str`, *optional*, defaults to `"options"`):
            Column with the options, A first, where there is one.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Column with the trace.
        judge ([`AnswerJudge`], *optional*):
            A model that compares the answers, in the place of `check`.
        question_column (`str`, *optional*, defaults to `"question"`):
            Column with the question, for the judge.
        num_proc (`int`, *optional*):
            Processes to use, as in `Dataset.map`.
        **settings:
            The other settings of [`AnswerCheck`], which also says what the column holds.

    Returns:
        The dataset with the column `<output_column>_verdict`.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ColumnError: A column that is needed is missing or cannot hold gold answers, or the new one exists already.
        BatchTypeError: `dataset` is neither a `Dataset` nor a `DatasetDict`.

    Example:
        >>> ds = verify(ds, "answer")
        >>> right = ds.filter(lambda row: row["reasoning_verdict"] == "right")
    """
    reject_unknown_names(settings, AnswerCheck.names(), "settings")
    answers = AnswerCheck(
        gold_column=gold_column, check=check, options_column=options_column, output_column=output_column, **settings
    )
    function = answers if judge is None else JudgeCheck(answers, judge, question_column)
    if isinstance(dataset, datasets.DatasetDict):
        splits = {name: _add_verdicts(split, answers, function, num_proc) for name, split in dataset.items()}
        return datasets.DatasetDict(splits)
    return _add_verdicts(dataset, answers, function, num_proc)


def _add_verdicts(dataset: Any, answers: AnswerCheck, function: Any, num_proc: int | None) -> datasets.Dataset:
    if not isinstance(dataset, datasets.Dataset):
        raise BatchTypeError(
            f"verify takes a Dataset or a DatasetDict, and this is a {type(dataset).__name__}. For a stream, use "
            "stream.map(AnswerCheck(), batched=True)."
        )
    answers.check_names(dataset.column_names)
    check_gold_feature(dataset.features, answers.gold_column)
    labels = label_names(dataset.features, answers.gold_column)
    new = answers.features(is_list(dataset.features[answers.output_column]))
    map_kwargs = {
        "fn_kwargs": {"labels": labels} if labels else None,
        "num_proc": num_proc,
        "desc": "Checking answers",
    }
    checked: datasets.Dataset = map_with_features(
        dataset, function, lambda features: datasets.Features({**features, **new}), [], [], BATCH_SIZE, map_kwargs
    )
    return checked


def _read_options(options: Any) -> list[tuple[str, str]] | None:
    pairs = pair_options(options)
    return None if pairs is None else [(key, "" if text is None else str(text)) for key, text in pairs]


def _rebuild(revision: int, settings: str) -> AnswerCheck:
    return AnswerCheck.from_json(settings)
