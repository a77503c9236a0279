"""Documents for questions that come without one: what BM25 finds, as RARE does for existing questions and answers."""

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow.compute as pc

from hf_rare.errors import ConfigError
from hf_rare.negatives.bm25 import Index, Tokenizer, make_tokenizer, rank
from hf_rare.negatives.corpus import Documents, check_one_dataset, check_text_columns, find_corpus, search
from hf_rare.negatives.settings import MiningConfig
from hf_rare.settings.base import split_settings
from hf_rare.settings.kinds import AtLeastOne, check_value

logger = logging.getLogger(__name__)

NOT_FOR_RETRIEVAL = ("num_negatives", "skip_top", "max_score_ratio", "duplicate_threshold")


def retrieve_documents(
    dataset: datasets.Dataset,
    corpus: datasets.Dataset | Sequence[str],
    num_documents: AtLeastOne = 3,
    query: str | Sequence[str] = ("scenario", "question"),
    *,
    tokenizer: Tokenizer | None = None,
    num_proc: AtLeastOne | None = None,
    **settings: Any,
) -> datasets.Dataset:
    """Add the documents that BM25 ranks highest for each question: the best as `text`, the others as `hard_negatives`.

    It is for questions whose documents are not known, as in RARE (arXiv 2503.23513: the best 3). Nobody knows then
    that the best one settles the question: what is said of the positive later is said of the best one. A row for whose
    query nothing is found gets an empty text.

    Args:
        dataset ([`~datasets.Dataset`]):
            Rows with questions.
        corpus ([`~datasets.Dataset`] or list of `str`):
            What to search.
        num_documents (`int`, *optional*, defaults to 3):
            Most documents of a row.
        query (`str` or list of `str`, *optional*, defaults to `("scenario", "question")`):
            Columns that make up the query.
        tokenizer (`Callable[[str], list[str]]`, *optional*):
            Cuts a text into terms, as in [`mine_hard_negatives`].
        num_proc (`int`, *optional*):
            Processes. By default one for each core from 5,000 rows on, else one.
        **settings:
            Settings of [`MiningConfig`] that are not about negatives: the names of
            columns, `language`, `k1`, `b`, `id_column`, `keep_scores`.

    Returns:
        [`~datasets.Dataset`]: the rows, in order, with the new columns. `keep_scores` adds `hard_negatives_scores`,
        and `id_column` `hard_negatives_ids`, each for all documents, the best one first.

    Raises:
        ConfigError: A setting, `dataset` or `corpus` cannot be right.
        ColumnError: A column is missing or holds no strings, or a new column exists already.
        MissingPackageError: bm25s or PyStemmer is not installed.

    Example:
        >>> rows = retrieve_documents(questions, corpus=corpus, num_documents=3, query="question")
    """
    check_value("num_documents", num_documents, AtLeastOne)
    check_value("tokenizer", tokenizer, Tokenizer | None)
    if others := [name for name in NOT_FOR_RETRIEVAL if name in settings]:
        raise ConfigError(f"{others[0]} is for hard negatives: mine_hard_negatives takes it.")
    config = MiningConfig(**split_settings({**settings, "query": query}, MiningConfig)[0])
    check_one_dataset(dataset, "dataset")
    check_text_columns(dataset, config.query_columns, "dataset")
    source, column = find_corpus(dataset, corpus, config)
    name = config.hard_negatives_column
    new: dict[str, Any] = {config.text_column: datasets.Value("string"), name: datasets.List(datasets.Value("string"))}
    if config.keep_scores:
        new[f"{name}_scores"] = datasets.List(datasets.Value("float32"))
    if config.id_column:
        new[f"{name}_ids"] = datasets.List(source.features[config.id_column])
    found = search(
        dataset,
        Documents(source, column, config.id_column, in_order=True),
        new,
        lambda folder: Retriever(folder, config, num_documents, tokenizer),
        config,
        tokenizer=tokenizer,
        num_proc=num_proc,
        description=f"Retrieving {num_documents} documents",
    )
    empty = pc.sum(pc.equal(found.data.column(config.text_column), "")).as_py() or 0
    level = logging.WARNING if empty else logging.INFO
    logger.log(level, "Documents for %d rows; for %d of them nothing was found.", len(found), empty)
    return found


class Retriever:
    """Finds the documents of a batch. The index is opened on first use, once in each process."""

    def __init__(self, folder: str, config: MiningConfig, num_documents: int, tokenizer: Tokenizer | None) -> None:
        self.folder, self.config, self.num_documents, self.tokenizer = folder, config, num_documents, tokenizer

    @functools.cached_property
    def index(self) -> Index:
        """The index, opened."""
        return Index(Path(self.folder), self.tokenizer or make_tokenizer(self.config.language))

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Return the new columns of a batch."""
        config, name = self.config, self.config.hard_negatives_column
        queries = zip(*(batch[column] for column in config.query_columns), strict=True)
        found = [self.find("\n".join(part for part in query if part)) for query in queries]
        texts = [[self.index.texts[document].as_py() for document, _ in documents] for documents in found]
        columns: dict[str, list[Any]] = {
            config.text_column: [documents[0] if documents else "" for documents in texts]
        }
        columns[name] = [documents[1:] for documents in texts]
        if config.keep_scores:
            columns[f"{name}_scores"] = [[score for _, score in documents] for documents in found]
        if config.id_column:
            columns[f"{name}_ids"] = [[self.index.ids[document].as_py() for document, _ in one] for one in found]
        return columns

    def find(self, query: str) -> list[tuple[int, float]]:
        """Find documents and their scores for a query, best first."""
        terms = self.index.find_terms(query)
        if not terms:
            return []
        scores = self.index.score(terms)
        best = zip(range(self.num_documents), rank(scores, self.num_documents), strict=False)
        return [(document, float(scores[document])) for _, document in best]
