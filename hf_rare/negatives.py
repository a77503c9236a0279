"""Hard negatives: documents that BM25 finds for a question and that are neither its positive nor a copy of it.

What a row gets depends on its content, the corpus and the settings alone: not on its place, nor on the number of
processes. What becomes of a row is left to `mining`; here are the datasets around it.
"""

import logging
from collections.abc import Sequence
from typing import Any

import datasets
import pyarrow.compute as pc

from hf_rare.bm25 import Tokenizer
from hf_rare.config import split_settings
from hf_rare.corpus import ROWS_AT_ONCE, Documents, check_columns, check_dataset, find_corpus, search
from hf_rare.mining import Miner, MiningConfig, hash_text, is_usable

logger = logging.getLogger(__name__)


def mine_hard_negatives(
    dataset: datasets.Dataset,
    corpus: datasets.Dataset | Sequence[str] | None = None,
    num_negatives: int = 3,
    skip_top: int = 0,
    query: str | Sequence[str] = ("scenario", "question"),
    *,
    tokenizer: Tokenizer | None = None,
    num_proc: int | None = None,
    **settings: Any,
) -> datasets.Dataset:
    """Add a column of hard negatives: documents that BM25 ranks high for a row's query and that are not its positive.

    Never among them, whatever the settings: texts equal to the positive, or to a positive of another row with the same
    question, up to letter case, white space and compatible characters (NFKC); empty texts; texts that share no word
    with the query. Equal texts of the corpus count as one document, the first. Ties go to the document that comes
    first in the corpus; where the corpus is the dataset itself, to the text that comes first by code points, so that
    the order of rows does not matter. Rows without question, query or positive get an empty list. How many rows have
    fewer than asked is logged, as a warning.

    The index is memory-mapped, in a temporary folder about as large as the corpus.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with questions and positives.
        corpus ([`~datasets.Dataset`] or list of `str`, *optional*):
            What to search. By default the positives of `dataset`.
        num_negatives (`int`, *optional*, defaults to 3):
            Most hard negatives of a row.
        skip_top (`int`, *optional*, defaults to 0):
            How many of the best to pass over, counted after everything that is excluded.
        query (`str` or list of `str`, *optional*, defaults to `("scenario", "question")`):
            Columns that make up the query.
        tokenizer (`Callable[[str], list[str]]`, *optional*):
            Cuts a text into terms, in place of words and stems, for languages that need a segmenter; `language` is
            then unused. It must be picklable where there are several processes.
        num_proc (`int`, *optional*):
            Processes. By default one for each core from 5,000 rows on, else one.
        **settings:
            The further settings of [`MiningConfig`] by name: `max_score_ratio`, `duplicate_threshold`, `language`,
            `id_column`, `keep_scores`, the names of columns, ...

    Returns:
        [`~datasets.Dataset`]: the rows, in order, with the new columns.

    Raises:
        ConfigError: A setting, `dataset` or `corpus` cannot be right.
        ColumnError: A column is missing or holds no strings, or a new column exists already.
        MissingPackageError: bm25s or PyStemmer is not installed.

    Example:
        >>> ds = mine_hard_negatives(ds, num_negatives=3, keep_scores=True)
        >>> ds = mine_hard_negatives(ds, corpus=pages, corpus_column="body", skip_top=20, max_score_ratio=0.95)
    """
    settings |= {"num_negatives": num_negatives, "skip_top": skip_top, "query": query}
    config = MiningConfig(**split_settings(settings, MiningConfig)[0])
    check_dataset(dataset, "dataset")
    check_columns(dataset, config.input_columns, "dataset")
    source, column = find_corpus(dataset, corpus, config)
    new = _name_new_columns(source, config)
    documents = Documents(source, column, config.id_column, in_order=corpus is not None)
    shared = _find_shared_positives(dataset.with_format(None), config)
    mined = search(
        dataset,
        documents,
        new,
        lambda folder: Miner(folder, config, tokenizer, shared),
        config,
        tokenizer=tokenizer,
        num_proc=num_proc,
        description="Mining hard negatives",
    )
    _log_counts(mined, config)
    return mined


def _find_shared_positives(dataset: datasets.Dataset, config: MiningConfig) -> dict[bytes, list[str]]:
    """Map each question that several rows have, with different positives, to these positives."""
    first: dict[bytes, tuple[bytes, int]] = {}
    shared: dict[bytes, dict[str, None]] = {}
    columns = [config.question_column, config.text_column]
    for start in range(0, len(dataset), ROWS_AT_ONCE):
        rows = dataset[start : start + ROWS_AT_ONCE]
        for row, (question, text) in enumerate(zip(*(rows[column] for column in columns), strict=True), start):
            if not is_usable(question, text):
                continue
            digest, row_of_first = first.setdefault(hash_text(question), (hash_text(text), row))
            if digest != hash_text(text):
                texts = shared.setdefault(hash_text(question), {dataset[row_of_first][config.text_column]: None})
                texts[text] = None
    return {question: sorted(texts) for question, texts in shared.items()}


def _name_new_columns(source: datasets.Dataset, config: MiningConfig) -> dict[str, Any]:
    name = config.hard_negatives_column
    new = {name: datasets.List(datasets.Value("string"))}
    if config.keep_scores:
        new[f"{name}_scores"] = datasets.List(datasets.Value("float32"))
    if config.id_column:
        new[f"{name}_ids"] = datasets.List(source.features[config.id_column])
    return new


def _log_counts(mined: datasets.Dataset, config: MiningConfig) -> None:
    lengths = pc.list_value_length(mined.data.column(config.hard_negatives_column))
    fewer = pc.sum(pc.less(lengths, config.num_negatives)).as_py()
    none = pc.sum(pc.equal(lengths, 0)).as_py()
    logger.log(
        logging.WARNING if fewer else logging.INFO,
        "%d hard negatives for %d rows: %d rows have fewer than %d, of which %d have none.",
        *(pc.sum(lengths).as_py(), len(mined), fewer, config.num_negatives, none),
    )
