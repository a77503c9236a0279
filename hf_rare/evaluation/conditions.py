"""The conditions a student is asked under: which documents it gets, and in which order. Rows in, questions out."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import datasets

from hf_rare.errors import ColumnError, ConfigError
from hf_rare.evaluation.settings import EvaluationConfig
from hf_rare.prompts.prompt import input_columns, input_kinds
from hf_rare.rows.column_types import check_types
from hf_rare.rows.columns import INTEGER, STRING
from hf_rare.rows.gold import check_gold_feature, label_names, list_golds, name_label, pair_options
from hf_rare.rows.kinds_of_dataset import check_dataset
from hf_rare.rows.row import InvalidRowError, Row, read_row
from hf_rare.training.convert import convert_rows
from hf_rare.training.student_documents import is_positive

logger = logging.getLogger(__name__)

Condition = Literal["closed_book", "positive", "with_documents", "negatives", "changed"]
CONDITIONS: tuple[Condition, ...] = ("closed_book", "positive", "with_documents", "negatives", "changed")

AT_PLACE = "positive_at_"
"""How the conditions begin that `with_documents` is made of: the place of the positive stands behind it."""
STUDENT, ROW, CONDITION = "student", "row", "condition"
"""Columns of the answers: whose it is, the number of the row in the dataset, and the condition."""
DOCUMENTS = "documents"
"""Column of the questions: documents in the order of the prompt. 0 is the positive, i the i-th hard negative."""
ORIGINAL = "original_answer"
"""Column of the questions: the right answers before the key fact was changed; empty in other conditions."""
RESERVED = (STUDENT, ROW, CONDITION, DOCUMENTS, ORIGINAL)

Change = str | Callable[[Mapping[str, Any]], Any]
"""A column, or a function of a row."""


def list_orders(
    condition: Condition, others: Sequence[int], places: Collection[int] | None
) -> Iterator[tuple[str, list[int]]]:
    """List the prompts of a row in a condition.

    Args:
        condition (`str`): one of [`CONDITIONS`].
        others (`Sequence[int]`): the hard negatives, by their numbers from 1.
        places (`Collection[int]`, *optional*): places of the positive, from 1; `None` for each.

    Yields:
        `tuple[str, list[int]]`: the name of the condition, and the documents of the prompt in order: 0 is the
        positive, i the i-th hard negative. Without hard negatives there is nothing in `with_documents` and
        `negatives`.
    """
    if condition == "closed_book":
        yield condition, []
    elif condition in ("positive", "changed"):
        yield condition, [0]
    elif others and condition == "negatives":
        yield condition, [*others]
    elif others:
        for place in range(1, len(others) + 2):
            if places is None or place in places:
                yield f"{AT_PLACE}{place}", [*others[: place - 1], 0, *others[place - 1 :]]


class Questions:
    """What a student is asked about a dataset.

    Args:
        config ([`EvaluationConfig`]): columns and template.
        conditions (`Sequence[str]`): which of [`CONDITIONS`].
        changed (`str` or `Callable`, *optional*): the positive with its key fact changed: a column, or a function.
        changed_gold (`str` or `Callable`, *optional*): the right answer then.
        num_negatives (`int`, *optional*): most hard negatives of a prompt, the first; `None` for all. What equals the
            positive is none.
        places (`Collection[int]`, *optional*): places of the positive among the hard negatives; `None` for each.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        conditions: Sequence[Condition],
        changed: Change | None = None,
        changed_gold: Change | None = None,
        num_negatives: int | None = None,
        places: Collection[int] | None = None,
    ) -> None:
        self.config = config
        self.conditions = conditions
        self.changed = changed
        self.changed_gold = changed_gold
        self.num_negatives = num_negatives
        self.places = None if places is None else tuple(places)

    def ask(self, dataset: datasets.Dataset, keep_columns: Collection[str] = ()) -> datasets.Dataset:
        """Make a row of every question: each row of the dataset, in each condition, at each place.

        Args:
            dataset ([`~datasets.Dataset`]): the rows.
            keep_columns (`Collection[str]`, *optional*): columns to carry along.

        Returns:
            [`~datasets.Dataset`]: the columns that prompts are made of, of which the gold column holds the right
            answers as texts, and those named here. Rows that cannot be used are left out, which is logged.

        Raises:
            ColumnError: A column is missing, or the gold column cannot hold gold answers.
            ConfigError: A column has a name that is needed for something else.
            BatchTypeError: This is no [`~datasets.Dataset`].
        """
        config = self.config
        check_dataset(dataset, "evaluate")
        gold = [config.gold_column] if config.gold_column else []
        options = [config.options_column] if gold and config.options_column in dataset.column_names else []
        inputs = list(dict.fromkeys([*input_columns(config), *options]))
        named = [change for change in (self.changed, self.changed_gold) if isinstance(change, str)]
        self._check_columns(dataset, [*inputs, *gold, *named])
        check_types(dataset.features, {name: kind for name, kind in input_kinds(config).items() if name in inputs})
        changed_gold = self.changed_gold if isinstance(self.changed_gold, str) else ""
        for name in filter(None, [*gold, changed_gold]):
            check_gold_feature(dataset.features, name)
        is_function = callable(self.changed) or callable(self.changed_gold)
        read = dataset.column_names if is_function else list(dict.fromkeys([*inputs, *gold, *named]))
        texts, integers = datasets.List(STRING), datasets.List(INTEGER)
        features = {ROW: INTEGER, CONDITION: STRING, DOCUMENTS: integers, ORIGINAL: texts}
        features |= {name: dataset.features[name] for name in inputs} | dict.fromkeys(gold, texts)
        number = ROW
        while number in dataset.column_names:
            number += "_"
        labels = {name: label_names(dataset.features, name) for name in filter(None, [*gold, changed_gold])}
        make = _Maker(self, inputs, labels, number)
        keep = [keep_columns] if isinstance(keep_columns, str) else keep_columns
        self._check_columns(dataset, keep)
        keep = [name for name in dict.fromkeys(keep) if name not in features]
        numbered = dataset.select_columns(list(dict.fromkeys([*read, *keep])))
        numbered = numbered.add_column(number, list(range(len(dataset))), feature=INTEGER)
        asked = convert_rows(numbered, make, [number, *read], features, keep, RESERVED, "Asking")
        if left := len(dataset) - len(asked.unique(ROW)):
            logger.warning("%d of %d rows are left out, since no question can be made of them.", left, len(dataset))
        return asked

    def _check_columns(self, dataset: datasets.Dataset, names: Collection[str]) -> None:
        if missing := [name for name in names if name not in dataset.column_names]:
            hint = " gold_column=None goes without right answers." if self.config.gold_column in missing else ""
            raise ColumnError(
                f"The dataset has no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(map(repr, dataset.column_names))}. Pass the names of your columns (text_column=..., "
                f"question_column=..., gold_column=...), or None for a scenario_column.{hint}"
            )
        if taken := [name for name in names if name in RESERVED]:
            raise ConfigError(
                f"The column {taken[0]!r} has a name that the answers need for something else. Rename it with "
                f"dataset.rename_column({taken[0]!r}, ...)."
            )


class _Maker:
    """Makes the questions of a row; of settings alone, so that `map` can tell it from others."""

    def __init__(
        self,
        questions: Questions,
        inputs: Sequence[str],
        labels: Mapping[str, Sequence[str] | None],
        number_column: str,
    ) -> None:
        self._questions = questions
        self._inputs = inputs
        self._of_row = [*inputs, *filter(None, [questions.config.gold_column])]
        self._labels = labels
        self._number_column = number_column

    def __call__(self, values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        questions, config = self._questions, self._questions.config
        number = values[self._number_column]
        values = {name: value for name, value in values.items() if name != self._number_column}
        try:
            row = read_row({name: values[name] for name in self._of_row}, config)
        except InvalidRowError as err:
            logger.info("Row %d is left out: %s", number, err)
            return
        golds = self._list_golds(values, config.gold_column)
        shared = {**{name: values[name] for name in self._inputs}, ROW: number, ORIGINAL: []}
        shared |= {config.gold_column: golds} if config.gold_column else {}
        numbered = enumerate(row.hard_negatives, start=1)
        others = [number for number, text in numbered if not is_positive(row, text)][: questions.num_negatives]
        for condition in questions.conditions:
            changes = self._change(values, row, golds) if condition == "changed" else {}
            if changes is not None:
                for name, order in list_orders(condition, others, questions.places):
                    yield {**shared, **changes, CONDITION: name, DOCUMENTS: order}

    def _list_golds(self, values: Mapping[str, Any], gold: Change | None) -> list[str]:
        """Return the right answers as texts: of class labels their names."""
        options = pair_options(values.get(self._questions.config.options_column))
        labels = self._labels.get(gold) if isinstance(gold, str) else None
        return list_golds(name_label(_look(gold, values), labels, options), options)

    def _change(self, values: Mapping[str, Any], row: Row, golds: list[str]) -> dict[str, Any] | None:
        """Return the columns of a row whose key fact was changed; `None` where it was not."""
        questions, config = self._questions, self._questions.config
        text = _look(questions.changed, values)
        if not isinstance(text, str) or not text.strip() or text == row.positive:
            return None
        changes: dict[str, Any] = {config.text_column: text}
        if config.gold_column:
            changes |= {config.gold_column: self._list_golds(values, questions.changed_gold)}
            changes[ORIGINAL] = golds
        return changes


def _look(change: Change | None, values: Mapping[str, Any]) -> Any:
    if change is None:
        return None
    return values[change] if isinstance(change, str) else change(values)
