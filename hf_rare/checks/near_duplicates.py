"""Rows that ask nearly the same: all but the first are dropped.

MinHash (Broder 1997) proposes pairs and the exact overlap of their characters decides: none goes by chance.
`duplicates` says what the same text is; documents are compared in `mining`.
"""

import logging
from collections.abc import Iterator, Sequence

import datasets
import xxhash

from hf_rare.errors import BatchTypeError, ColumnError, ConfigError, MissingPackageError
from hf_rare.rows.column_types import is_text, item_of
from hf_rare.text import normalize, split_words

logger = logging.getLogger(__name__)

THRESHOLD = 0.8
"""The least share of common shingles that makes two texts near-duplicates."""

SHINGLE = 5
"""Characters in a row that texts are compared by: a question is too short for runs of words."""

PERMUTATIONS = 64
BATCH_SIZE = 10_000


def drop_near_duplicates(
    dataset: datasets.Dataset, columns: Sequence[str] = ("question",), threshold: float = THRESHOLD
) -> datasets.Dataset:
    """Drop rows whose text is nearly that of an earlier row.

    Two texts are nearly the same where, after normalisation, Jaccard's index of their runs of five characters is at
    least the threshold; equal ones always are. A row is compared with the rows that are kept before it: the first of
    its like stays. Rows without any text stay too.

    Args:
        dataset ([`~datasets.Dataset`]):
            The rows.
        columns (`Sequence[str]`, *optional*, defaults to `("question",)`):
            Columns whose texts, joined, are compared: strings, or lists of strings.
        threshold (`float`, *optional*, defaults to 0.8):
            The least overlap of near-duplicates, above 0 and up to 1; with 1, rows of the same shingles alone go.

    Returns:
        [`~datasets.Dataset`]: the rows that stay, unchanged and in order. How many went is logged.

    Raises:
        ConfigError: `threshold` or `columns` cannot be right.
        ColumnError: A column is missing, or holds no texts.
        BatchTypeError: `dataset` is no `Dataset`.
        MissingPackageError: datasketch is not installed.
    """
    texts = [normalize("\n".join(own)) for own in read_texts(dataset, columns, "drop_near_duplicates")]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise ConfigError(f"threshold={threshold!r} cannot be right: expected a number above 0 and up to 1.")
    kept = find_first_of_each(texts, threshold)
    if len(kept) < len(dataset):
        logger.info("%d of %d rows are dropped as near-duplicates.", len(dataset) - len(kept), len(dataset))
    return dataset.select(kept)


def read_texts(dataset: datasets.Dataset, columns: Sequence[str], caller: str) -> list[list[str]]:
    """Read the texts of each row's columns; a column may hold lists of them.

    Raises:
        ConfigError: `columns` is empty or a text.
        ColumnError: A column is missing, or holds no texts.
        BatchTypeError: `dataset` is no `Dataset`.
    """
    if not isinstance(dataset, datasets.Dataset):
        raise BatchTypeError(f"{caller} takes a Dataset, and this is a {type(dataset).__name__}; pass its splits.")
    if isinstance(columns, str) or not columns:
        raise ConfigError(f"columns={columns!r} cannot be right: expected a list of names.")
    if missing := [name for name in columns if name not in dataset.column_names]:
        names = ", ".join(map(repr, dataset.column_names))
        raise ColumnError(f"The dataset has no column {missing[0]!r}; it has {names}. Pass columns=[...].")
    for name in columns:
        feature = dataset.features[name]
        if not is_text(item_of(feature)):
            raise ColumnError(f"Column {name!r} holds {feature}; expected strings, or lists of strings.")
    texts: list[list[str]] = []
    for batch in dataset.select_columns(list(columns)).with_format(None).iter(BATCH_SIZE):
        for values in zip(*(batch[name] for name in columns), strict=True):
            texts.append([text for value in values for text in _list_texts(value)])
    return texts


def _list_texts(value: str | list[str | None] | None) -> Iterator[str]:
    for text in value if isinstance(value, list) else [value]:
        if text is not None:
            yield text


def find_first_of_each(texts: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """Find the texts that are not nearly the same as an earlier one that is found.

    Args:
        texts (`Sequence[str]`): normalised texts.
        threshold (`float`, *optional*, defaults to 0.8): the least overlap of near-duplicates.

    Returns:
        `list[int]`: their places, in order.
    """
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError as err:
        raise MissingPackageError("Near-duplicates need datasketch: `pip install 'hf-rare[dedup]'`.") from err
    # Candidates are looked for somewhat below the threshold: a missed pair is worse than one compared in vain.
    index = MinHashLSH(threshold=max(0.1, threshold - 0.1), num_perm=PERMUTATIONS)
    empty = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=xxhash.xxh32_intdigest)
    seen: set[str] = set()
    shingles: dict[int, frozenset[str]] = {}
    kept: list[int] = []
    for place, text in enumerate(texts):
        words = " ".join(split_words(text)) or text
        if not words:
            kept.append(place)
            continue
        if words in seen:
            continue
        seen.add(words)
        ours = frozenset(words[i : i + SHINGLE] for i in range(max(1, len(words) - SHINGLE + 1)))
        signature = empty.copy()
        signature.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in ours])
        if any(_overlap(ours, shingles[other]) >= threshold for other in index.query(signature)):
            continue
        index.insert(place, signature)
        shingles[place] = ours
        kept.append(place)
    return kept


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)
