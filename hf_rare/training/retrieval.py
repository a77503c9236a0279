"""Rows as sentence-transformers reads them: an anchor, its positive, its negatives."""

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import datasets

from hf_rare.rows.column_types import Kind, kinds_of_negatives
from hf_rare.rows.columns import STATUS, check_statuses
from hf_rare.rows.hard_negatives import gather
from hf_rare.settings.kinds import AtLeastZero, ColumnNames, check_value
from hf_rare.text import normalize
from hf_rare.training.convert import check_exportable, check_kinds, convert_rows
from hf_rare.training.left_out import say_left_out

logger = logging.getLogger(__name__)

Values = Mapping[str, Any]
TOO_FEW = "have too few negatives"


def to_retrieval(
    dataset: datasets.Dataset,
    num_negatives: AtLeastZero | None = None,
    *,
    query: Collection[str] = ("scenario", "question"),
    text_column: str = "text",
    hard_negatives_column: str | Sequence[str] | None = "hard_negatives",
    output_column: str = "reasoning",
    statuses: Collection[str] | None = None,
    pad: bool = False,
    keep_columns: Collection[str] = (),
) -> datasets.Dataset:
    """Write rows as sentence-transformers' anchors with a positive and negatives.

    The columns are `anchor`, `positive`, `negative_1` to `negative_<num_negatives>`, in the order in which losses such
    as `MultipleNegativesRankingLoss` read them. Rows that say the same are written once: in a batch, one would be a
    false negative of the other. For rows that share only some texts, sentence-transformers has
    `batch_sampler="no_duplicates"`. What is left out is counted in the log.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with hard negatives, distilled or not.
        num_negatives (`int`, *optional*):
            Negatives of a row: its first, which were mined as the hardest. By default as many as most rows have, of
            those with a query, a positive and a status that is wanted.
        query (`Collection[str]`, *optional*, defaults to `("scenario", "question")`):
            Columns that make up the anchor, joined by line breaks, empty ones left out.
        text_column (`str`, *optional*, defaults to `"text"`):
            Column with the positive.
        hard_negatives_column (`str` or `list[str]`, *optional*, defaults to `"hard_negatives"`):
            Column with the negatives, or several columns of texts; `None` for pairs without negatives.
        output_column (`str`, *optional*, defaults to `"reasoning"`):
            Prefix of the status column.
        statuses (`Collection[str]`, *optional*):
            Rows with a trace of one of these statuses are used, where there is a status column. By default all rows:
            what is exported needs no trace.
        pad (`bool`, *optional*, defaults to `False`):
            Whether rows with fewer negatives repeat theirs; otherwise they are left out.
        keep_columns (`Collection[str]`, *optional*):
            Columns to carry along, at the end. sentence-transformers takes every column for a text: remove them before
            training.

    Returns:
        [`~datasets.Dataset`]: the columns.

    Raises:
        ConfigError: A setting cannot be right.
        ColumnError: A column is missing.
        BatchTypeError: This is no [`~datasets.Dataset`].
    """
    check_value("num_negatives", num_negatives, AtLeastZero | None)
    check_exportable(dataset)
    negatives = check_value("hard_negatives_column", hard_negatives_column, ColumnNames | None)
    of_query = [query] if isinstance(query, str) else list(query)
    kinds: dict[str, Kind] = dict.fromkeys([*of_query, text_column], "texts")
    kinds |= kinds_of_negatives(negatives)
    columns = list(kinds)
    wanted, status = check_statuses(statuses), output_column + STATUS
    if wanted is not None and status in dataset.column_names:
        kinds[status] = "texts or lists of texts"
    check_kinds(dataset, kinds)
    why_not = partial(_why_not, of_query, text_column, status, wanted)
    read = dataset.select_columns(list(kinds)).with_format(None)
    if num_negatives is None:
        num_negatives = _most_common_length((row for row in read if not why_not(row)), text_column, negatives)
    make = partial(_make_texts, of_query, text_column, negatives, num_negatives, pad)
    rows, left_out, seen, positives = [], Counter[str](), set(), 0
    for number, row in enumerate(read):
        positives += sum(_is_same(text, row[text_column]) for text in gather(row, negatives) or [])
        if reason := why_not(row):
            left_out[reason] += 1
            continue
        texts = make(row)
        digest = hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=16).digest()
        if len(texts) < num_negatives + 2:
            left_out[TOO_FEW] += 1
        elif digest in seen:
            left_out["say the same as another"] += 1
        else:
            seen.add(digest)
            rows.append(number)
    if left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        say_left_out(logger, "%d of %d rows are left out: %s.", left_out.total(), len(dataset), reasons)
        if left_out[TOO_FEW]:
            say_left_out(logger, "Each needs num_negatives=%d: pass fewer, or pad=True.", num_negatives)
    if positives:
        say_left_out(logger, "%d negatives are left out, which are the positive of their row.", positives)
    names = ["anchor", "positive", *(f"negative_{number}" for number in range(1, num_negatives + 1))]
    features = dict.fromkeys(names, datasets.Value("string"))
    name_texts = partial(_name_texts, names, make)
    return convert_rows(dataset.select(rows), name_texts, columns, features, keep_columns, names)


def _make_texts(
    query: Sequence[str],
    text_column: str,
    columns: str | Sequence[str] | None,
    num_negatives: int,
    pad: bool,
    row: Values,
) -> list[str]:
    """Return anchor, positive and negatives of a row; fewer than `num_negatives` where it has no more."""
    positive = row[text_column]
    negatives = _list_negatives(positive, gather(row, columns))
    if pad and negatives:
        negatives = [*itertools.islice(itertools.cycle(negatives), max(num_negatives, len(negatives)))]
    return ["\n".join(filter(None, (row[name] for name in query))), positive or "", *negatives[:num_negatives]]


def _list_negatives(positive: str | None, hard_negatives: Sequence[str | None] | None) -> list[str]:
    """Return the negatives that are some: not empty, and not the positive itself in other letter case or blanks."""
    return [text for text in hard_negatives or [] if text and text.strip() and not _is_same(text, positive)]


def _is_same(text: str | None, positive: str | None) -> bool:
    return bool(text and positive and text.strip()) and normalize(text or "") == normalize(positive or "")


def _name_texts(names: Sequence[str], make: Callable[[Values], list[str]], row: Values) -> Iterator[dict[str, str]]:
    yield dict(zip(names, make(row), strict=True))


def _why_not(query: Sequence[str], text_column: str, status: str, wanted: Sequence[str] | None, row: Values) -> str:
    """Say why a row is left out, whatever negatives it has; empty where it is not."""
    if wanted is not None and status in row and not _has_status(row[status], wanted):
        return "have another status"
    texts = ["".join(row[name] or "" for name in query), row[text_column] or ""]
    return "" if all(text.strip() for text in texts) else "have no query or no positive"


def _has_status(found: str | list[str] | None, wanted: Sequence[str]) -> bool:
    return any(status in wanted for status in (found if isinstance(found, list) else [found]))


def _most_common_length(rows: Iterable[Values], text_column: str, columns: str | Sequence[str] | None) -> int:
    """Return the number of negatives that most rows have; of two such numbers the greater."""
    counts = Counter(len(_list_negatives(row[text_column], gather(row, columns))) for row in rows)
    return max(counts, key=lambda length: (counts[length], length), default=0)
