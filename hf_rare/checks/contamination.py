"""Rows that share wording with evaluation sets: dropped, or marked in a column."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import xxhash

from hf_rare.checks.near_duplicates import read_texts
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.text import normalize, split_words

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
            Columns of the rows to compare, strings or lists of strings, text by text. One that is missing is an error.
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
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ConfigError(f"n={n!r} cannot be right: expected at least 1.")
    rows = read_texts(dataset, _check_names(columns, "columns"), "decontaminate")
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
    if isinstance(evaluation_sets, str | datasets.Dataset | datasets.IterableDataset):
        raise ConfigError("evaluation_sets takes a list of datasets, or a dict of them by name; wrap yours in a list.")
    found = [np.empty(0, dtype=np.uint64)]
    for part in parts:
        hashes = [hash_runs(normalize(text), n) for text in _read_part(part, columns)]
        found.append(np.unique(np.concatenate(hashes)) if hashes else found[0])
    return np.unique(np.concatenate(found))


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


def _shares(text: str, runs: np.ndarray, n: int) -> bool:
    hashes = hash_runs(text, n)
    if not len(runs) or not len(hashes):
        return False
    places = np.minimum(np.searchsorted(runs, hashes), len(runs) - 1)
    return bool((runs[places] == hashes).any())
