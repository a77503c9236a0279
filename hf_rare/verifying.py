"""Which traces of a dataset are right by its gold answers: a column of verdicts. `answers` judges one answer."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from hf_rare.answers import TOLERANCE, Check, check_answer, check_settings
from hf_rare.batches import add_columns, column_names, read_columns
from hf_rare.config import Config
from hf_rare.errors import BatchTypeError, ColumnError
from hf_rare.exporting import as_statuses
from hf_rare.passed_through import reject_unknown_names

VERIFY_REVISION = 1
"""Bumped by hand whenever the same row gets another verdict."""

BATCH_SIZE = 1000

UNTRIED = ("invalid_input", "prompt_too_long", "failed", "empty")
"""Statuses of rows for which there is no trace to be right or wrong."""


@dataclass(frozen=True, kw_only=True)
class AnswerCheck(Config):
    """The check as a callable for `Dataset.map(..., batched=True)`; [`verify`] is the short way.

    Added is `<output_column>_verdict`: `right`, `wrong`, or `unchecked` where there is no gold answer or no trace; a
    list of them where the trace column holds lists. It is never null.

    Args:
        gold_column (`str`, *optional*, defaults to `"answer"`):
            Column with the gold answer: a text, a number, a boolean, or a list of answers that are all right.
        check (`str`, *optional*, defaults to `"auto"`):
            How to compare; see [`~hf_rare.answers.check_answer`].
        options_column (`str`, *optional*, defaults to `"options"`):
            Column with the options, where there is one: a list, A first, or a struct of letter to text.
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

    gold_column: str = "answer"
    check: Check = "auto"
    options_column: str = "options"
    output_column: str = "reasoning"
    statuses: Collection[str] | None = ("ok",)
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        check_settings(self.check, self.tolerance)
        statuses = as_statuses(self.statuses)
        object.__setattr__(self, "statuses", statuses and tuple(sorted(statuses)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (VERIFY_REVISION, self.to_json())  # the same bytes in every process, for the cache

    def __call__(self, batch: Any) -> Any:
        """Judge the traces of a batch.

        Raises:
            ColumnError: A column that is needed is missing, or the new one exists already.
        """
        names = column_names(batch)
        self.check_columns(names)
        optional = [name for name in self._optional() if name in names]
        rows = read_columns(batch, [self.output_column, self.gold_column, *optional])
        verdicts = [self._judge(row) for row in rows]
        as_lists = any(isinstance(row[self.output_column], list) for row in rows)
        return add_columns(batch, {self.verdict_column: verdicts}, self.features(as_lists))

    @property
    def verdict_column(self) -> str:
        """Name of the new column."""
        return f"{self.output_column}_verdict"

    def features(self, as_lists: bool = False) -> datasets.Features:
        """Name the new column and its type; `as_lists` where the trace column holds lists."""
        verdict = datasets.Value("string")
        return datasets.Features({self.verdict_column: datasets.List(verdict) if as_lists else verdict})

    def check_columns(self, names: Collection[str]) -> None:
        """Raise [`ColumnError`] where a column that is needed is missing, or the new one exists already."""
        needed = [self.output_column, self.gold_column]
        needed += [f"{self.output_column}_status"] if self.statuses is not None else []
        if missing := [name for name in needed if name not in names]:
            raise ColumnError(
                f"The check needs the column {', '.join(map(repr, missing))}; the rows have "
                f"{', '.join(map(repr, names))}. Pass gold_column or output_column; the status comes with the "
                "distiller's columns='full', and statuses=None goes without it."
            )
        if self.verdict_column in names:
            raise ColumnError(
                f"The column {self.verdict_column!r} exists already: the rows have been checked. Remove it with "
                "remove_columns first."
            )

    def _optional(self) -> list[str]:
        return [f"{self.output_column}_answer", f"{self.output_column}_status", self.options_column]

    def _judge(self, row: Mapping[str, Any]) -> Any:
        traces = row[self.output_column]
        if isinstance(traces, list):
            return [self._judge_trace(row, place) for place in range(len(traces))]
        return self._judge_trace(row, None)

    def _judge_trace(self, row: Mapping[str, Any], place: int | None) -> str:
        values = [row[self.output_column], *(row.get(name) for name in self._optional()[:2])]
        if place is not None:
            values = [value[place] if isinstance(value, list) and place < len(value) else None for value in values]
        trace, answer, status = (value if isinstance(value, str) else "" for value in values)
        verdict = check_answer(
            row[self.gold_column],
            "" if status in UNTRIED else answer,
            "" if status in UNTRIED else trace,
            check=self.check,
            options=_read_options(row.get(self.options_column)),
            tolerance=self.tolerance,
        ).outcome
        is_unfinished = self.statuses is not None and status not in self.statuses
        return "wrong" if is_unfinished and verdict == "right" else verdict


def verify(
    dataset: datasets.Dataset | datasets.DatasetDict,
    gold_column: str = "answer",
    check: Check = "auto",
    *,
    options_column: str = "options",
    output_column: str = "reasoning",
    num_proc: int | None = None,
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
        num_proc (`int`, *optional*):
            Processes to use, as in `Dataset.map`.
        **settings:
            The other settings of [`AnswerCheck`], which also says what the column holds.

    Returns:
        The dataset with the column `<output_column>_verdict`.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
        ColumnError: A column that is needed is missing, or the new one exists already.
        BatchTypeError: `dataset` is neither a `Dataset` nor a `DatasetDict`.
        MissingPackageError: `check="math"`, and math-verify is not installed.

    Example:
        >>> ds = verify(ds, "answer")
        >>> right = ds.filter(lambda row: row["reasoning_verdict"] == "right")
    """
    reject_unknown_names(settings, AnswerCheck.names(), "settings")
    answers = AnswerCheck(
        gold_column=gold_column, check=check, options_column=options_column, output_column=output_column, **settings
    )
    if isinstance(dataset, datasets.DatasetDict):
        return datasets.DatasetDict({name: _add_verdicts(split, answers, num_proc) for name, split in dataset.items()})
    return _add_verdicts(dataset, answers, num_proc)


def _add_verdicts(dataset: Any, answers: AnswerCheck, num_proc: int | None) -> datasets.Dataset:
    if not isinstance(dataset, datasets.Dataset):
        raise BatchTypeError(
            f"verify takes a Dataset or a DatasetDict, and this is a {type(dataset).__name__}. For a stream, use "
            "stream.map(AnswerCheck(), batched=True)."
        )
    answers.check_columns(dataset.column_names)
    as_lists = isinstance(dataset.features[answers.output_column], datasets.List | datasets.LargeList)
    features = datasets.Features({**dataset.features, **answers.features(as_lists)})
    if not len(dataset):  # `map` never calls the check
        return datasets.Dataset.from_dict({name: [] for name in features}, features=features)
    return dataset.map(
        answers, batched=True, batch_size=BATCH_SIZE, features=features, num_proc=num_proc, desc="Checking answers"
    )


def _read_options(options: Any) -> list[str] | None:
    if isinstance(options, Mapping):
        options = [options[letter] for letter in sorted(options)]
    return ["" if option is None else str(option) for option in options] if isinstance(options, list) else None


def _rebuild(revision: int, settings: str) -> AnswerCheck:
    return AnswerCheck.from_json(settings)
