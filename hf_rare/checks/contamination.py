"""Rows that share wording with evaluation sets: dropped, or marked in a column."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import xxhash

from hf_rare.checks.near_duplicates import name_question_columns, read_texts
from hf_rare.checks.stock_words import find_stock
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.settings.kinds import AtLeastOne, ColumnName, check_value
from hf_rare.text import CHARACTERS, LETTERS, normalize, split_units

logger = logging.getLogger(__name__)

RUN = 8
"""Words in a row that must not be shared. GPT-3 (arXiv 2005.14165, appendix C) took 8 to 13, depending on the
evaluation set; questions are short, so that here it is the lower end."""

_WORD = 4
"""Size of a word. XQuAD (arXiv 1910.11856) has 1.6 Chinese characters and 4.2 Thai letters, each with its marks, for
each word of its English documents: the one has half the size, the other a quarter."""
_HALF = re.compile(f"[{CHARACTERS}]")
_QUARTER = re.compile(f"[{LETTERS}]")


def decontaminate(
    dataset: datasets.Dataset,
    evaluation_sets: Mapping[str, Any] | Sequence[Any],
    columns: Sequence[str] | None = None,
    *,
    evaluation_columns: Sequence[str] = ("question",),
    n: AtLeastOne = RUN,
    mark: ColumnName | None = None,
) -> datasets.Dataset:
    """Drop rows that share a run of `n` words with an evaluation set.

    Words are compared after normalisation, without punctuation. In scripts without spaces two Chinese characters or
    kana count as a word, and four letters of Thai, Lao, Burmese or Khmer. A text of the evaluation set with fewer than
    `n` words counts as shared where a row's text is the same as a whole.

    What is shared must say something: phrases that any question may have ("Which of the following statements is true
    about the") are no contamination. At least half of `n` words of what a row shares, or all that the text of the
    evaluation set has, are neither stop words nor words in which exams ask and instruct. Kept in memory are 10 bytes
    for each run.

    Args:
        dataset ([`~datasets.Dataset`]):
            The rows.
        evaluation_sets (`Mapping` or `Sequence` of [`~datasets.Dataset`] or of lists of texts):
            The evaluation sets, by name or in a list.
        columns (`Sequence[str]`, *optional*):
            Columns of the rows to compare, strings or lists of strings, text by text. By default `"question"`, and
            `"scenario"` where there is one.
        evaluation_columns (`Sequence[str]`, *optional*, defaults to `("question",)`):
            Columns of the evaluation sets that are datasets.
        n (`int`, *optional*, defaults to 8):
            Words in a row that must not be shared.
        mark (`str`, *optional*):
            Keep all rows, and add a boolean column of this name that says which ones share wording.

    Returns:
        [`~datasets.Dataset`]: the rows that share nothing, or all with the mark. How many share something is logged,
        with an example.

    Raises:
        ConfigError: A setting cannot be right, or an evaluation set is neither a `Dataset` nor a list of texts.
        ColumnError: A column is missing or holds no texts, or `mark` exists already.
        BatchTypeError: `dataset` is no `Dataset`.
    """
    check_value("n", n, AtLeastOne)
    check_value("mark", mark, ColumnName | None)
    names = name_question_columns(dataset) if columns is None else _check_names(columns, "columns")
    rows = read_texts(dataset, names, "decontaminate")
    texts = [[normalize(text) for text in row] for row in rows]
    if mark is not None and mark in dataset.column_names:
        raise ColumnError(f"The column {mark!r} exists already. Pass another name as mark.")
    runs = _collect_runs(evaluation_sets, _check_names(evaluation_columns, "evaluation_columns"), n)
    shared = [any(_shares(text, runs, n) for text in row) for row in texts]
    if any(shared):
        example = next(text for text in texts[shared.index(True)] if _shares(text, runs, n))
        counts = sum(shared), len(shared)
        logger.warning("%d of %d rows share wording with an evaluation set: %r.", *counts, example[:200])
    if mark is not None:
        types = datasets.Features({mark: datasets.Value("bool")})
        if not shared:  # `concatenate_datasets` leaves out what has no rows
            features = datasets.Features({**dataset.features, **types})
            return datasets.Dataset.from_dict({name: [] for name in features}, features)
        column = datasets.Dataset.from_dict({mark: shared}, types)
        return datasets.concatenate_datasets([dataset, column], axis=1)
    return dataset.select([row for row, is_shared in enumerate(shared) if not is_shared])


@dataclass(frozen=True)
class _Runs:
    """The runs of a text, one from each unit on: hashes, the places behind them, what is said up to each place.

    Sizes are in quarters of a word.
    """

    hashes: np.ndarray
    ends: np.ndarray
    says: np.ndarray


def _find_runs(text: str, n: int) -> _Runs:
    """Find the runs of at least `n` words of a normalised text, or the whole of a shorter one."""
    units = split_units(text)
    sizes = np.array([_measure(unit) for unit in units], dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(sizes)])
    says = np.concatenate([[0], np.cumsum(np.where(find_stock(units), 0, sizes) if units else sizes)])
    ends = np.searchsorted(before, before[:-1] + _WORD * n)  # of each run, the first place behind it
    ends = ends[ends <= len(units)]
    if not len(ends) and units:
        ends = np.array([len(units)])
    runs = [" ".join(units[start:end]) for start, end in enumerate(ends)]
    hashes = [xxhash.xxh64_intdigest(run.encode("utf-8", "surrogatepass")) for run in runs]
    return _Runs(np.array(hashes, dtype=np.uint64), ends, says)


def _measure(unit: str) -> int:
    if unit.isascii():
        return _WORD
    return _WORD // 2 if _HALF.match(unit) else _WORD // 4 if _QUARTER.match(unit) else _WORD


def _check_names(names: Sequence[str], setting: str) -> Sequence[str]:
    if isinstance(names, str) or not names:
        raise ConfigError(f"{setting}={names!r} cannot be right: expected a list of names.")
    return names


def _collect_runs(evaluation_sets: Any, columns: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash all runs of the evaluation sets, sorted; with each, how much must be said by what is shared with it."""
    parts = evaluation_sets.values() if isinstance(evaluation_sets, Mapping) else evaluation_sets
    if isinstance(evaluation_sets, str | datasets.Dataset | datasets.IterableDataset):
        raise ConfigError("evaluation_sets takes a list of datasets, or a dict of them by name; wrap yours in a list.")
    enough = min(_WORD * n // 2, np.iinfo(np.uint16).max)
    hashes, needed = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.uint16)]
    for part in parts:
        for text in dict.fromkeys(map(normalize, _read_part(part, columns))):
            runs = _find_runs(text, n)
            if runs.says[-1]:  # else it is a stock phrase as a whole
                hashes.append(runs.hashes)
                needed.append(np.full(len(runs.hashes), min(enough, runs.says[-1]), dtype=np.uint16))
    all_hashes, all_needed = np.concatenate(hashes), np.concatenate(needed)
    order = np.lexsort((all_needed, all_hashes))
    distinct, first = np.unique(all_hashes[order], return_index=True)
    return distinct, all_needed[order][first]


def _read_part(part: Any, columns: Sequence[str]) -> list[str]:
    """Read the texts of one evaluation set."""
    if isinstance(part, datasets.Dataset):
        return [text for row in read_texts(part, columns, "decontaminate") for text in row]
    hint = "Put several texts into a list of their own: evaluation_sets=[[...]]." if isinstance(part, str) else ""
    if isinstance(part, Mapping):
        hint = "Of a DatasetDict or a row, pass the splits or the texts: evaluation_sets=[*splits.values()]."
    elif isinstance(part, datasets.IterableDataset):
        hint = "Of a stream, pass the texts: [row['question'] for row in stream]."
    if hint or not isinstance(part, Iterable):
        raise ConfigError(f"An evaluation set is a Dataset or a list of texts, received {type(part).__name__}. {hint}")
    texts = [text for text in part if text is not None]
    if others := [type(text).__name__ for text in texts if not isinstance(text, str)]:
        raise ConfigError(f"An evaluation set that is a list holds texts, received {others[0]}.")
    return texts


def _shares(text: str, known: tuple[np.ndarray, np.ndarray], n: int) -> bool:
    """Tell whether a text shares a run, or some that stand together, and what they say is enough."""
    hashes, needed = known
    runs = _find_runs(text, n)
    if not len(hashes) or not len(runs.hashes):
        return False
    places = np.minimum(np.searchsorted(hashes, runs.hashes), len(hashes) - 1)
    shared = np.flatnonzero(hashes[places] == runs.hashes)
    for stretch in np.split(shared, np.flatnonzero(np.diff(shared) > 1) + 1):
        if len(stretch):
            said = runs.says[runs.ends[stretch[-1]]] - runs.says[stretch[0]]
            if said >= needed[places[stretch]].min():
                return True
    return False
