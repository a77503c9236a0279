"""Rows that share wording with evaluation sets: dropped, or marked in a column."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import xxhash

from hf_rare.duplicates import split_words
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.near_duplicates import read_texts

logger = logging.getLogger(__name__)

RUN = 8
"""Words in a row that must not be shared. GPT-3 (arXiv 2005.14165, appendix C) took 8 to 13, depending on the
evaluation set; questions are short, so that here it is the lower end."""


def decontaminate(
    dataset: datasets.Dataset,
    evaluation_sets: Mapping[str, Any] | Sequence[Any],
    columns: Sequence[str] = ("question", "scenario"),
    *,
    evaluation_columns: Sequence[str] = ("question",),
    n: int = RUN,
    mark: str | None = None,
) -> datasets.Dataset:
    """Drop rows that share a run of `n` words with an evaluation set.

    Words are compared after normalisation, without punctuation. A text of the evaluation set with fewer than `n` words
    counts as shared where a row's text is the same as a whole. Kept in memory are 8 bytes for each run.

    Args:
        dataset ([`~datasets.Dataset`]):
            The rows.
        evaluation_sets (`Mapping` or `Sequence` of [`~datasets.Dataset`] or of lists of texts):
            The evaluation sets, by name or in a list.
        columns (`Sequence[str]`, *optional*, defaults to `("question", "scenario")`):
            Columns of the rows to compare, one by one; a text column of the rows that is missing is an error.
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
        ConfigError: A setting cannot be right.
        ColumnError: A column is missing, or `mark` exists already.
        BatchTypeError: `dataset` is no `Dataset`.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ConfigError(f"n={n!r} cannot be right: expected at least 1.")
    texts = [read_texts(dataset, [column], "decontaminate") for column in _check_names(columns, "columns")]
    if mark is not None and mark in dataset.column_names:
        raise ColumnError(f"The column {mark!r} exists already. Pass another name as mark.")
    runs = _collect_runs(evaluation_sets, _check_names(evaluation_columns, "evaluation_columns"), n)
    shared = [any(_shares(column[row], runs, n) for column in texts) for row in range(len(dataset))]
    if any(shared):
        row = shared.index(True)
        example = next(column[row] for column in texts if _shares(column[row], runs, n))
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


def hash_runs(text: str, n: int = RUN) -> np.ndarray:
    """Hash the runs of `n` words of a normalised text, or the whole of a shorter one, as `uint64`."""
    words = split_words(text)
    runs = [" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))] if words else []
    return np.array([xxhash.xxh64_intdigest(run.encode("utf-8", "surrogatepass")) for run in runs], dtype=np.uint64)


def _check_names(names: Sequence[str], setting: str) -> Sequence[str]:
    if isinstance(names, str) or not names:
        raise ConfigError(f"{setting}={names!r} cannot be right: expected a list of names.")
    return names


def _collect_runs(evaluation_sets: Any, columns: Sequence[str], n: int) -> np.ndarray:
    """Hash all runs of the evaluation sets, sorted."""
    parts = evaluation_sets.values() if isinstance(evaluation_sets, Mapping) else evaluation_sets
    if isinstance(evaluation_sets, str | datasets.Dataset):
        raise ConfigError("evaluation_sets takes a list of datasets, or a dict of them by name; wrap yours in a list.")
    found = [np.empty(0, dtype=np.uint64)]
    for part in parts:
        if not isinstance(part, datasets.Dataset):
            part = datasets.Dataset.from_dict({columns[0]: list(part)})
            texts = read_texts(part, columns[:1], "decontaminate")
        else:
            texts = [text for column in columns for text in read_texts(part, [column], "decontaminate")]
        hashes = [hash_runs(text, n) for text in texts]
        found.append(np.unique(np.concatenate(hashes)) if hashes else found[0])
    return np.unique(np.concatenate(found))


def _shares(text: str, runs: np.ndarray, n: int) -> bool:
    hashes = hash_runs(text, n)
    if not len(runs) or not len(hashes):
        return False
    places = np.minimum(np.searchsorted(runs, hashes), len(runs) - 1)
    return bool((runs[places] == hashes).any())
