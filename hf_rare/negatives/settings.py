"""What becomes of one row: documents ranked for its query, and what may not be a hard negative left out.

Where rows and documents come from is left to `negatives`, the ranking to `bm25` or `dense`, and what a copy is to
`duplicates`.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import xxhash
from annotated_types import Ge, Le, MinLen
from pydantic import BeforeValidator

from hf_rare.negatives.bm25 import Index, Tokenizer, make_tokenizer, rank
from hf_rare.settings.base import Config
from hf_rare.settings.kinds import AtLeastOne, AtLeastZero, ColumnName, Positive, Share, Text, Texts
from hf_rare.text import Signature, normalize, sign

MINING_REVISION = 2
"""Bumped by hand whenever a row, corpus and settings lead to other negatives than before."""
ROUNDING = 1e-5
"""Scores are 32 bits wide: one that is higher by less than this share is not higher."""
_SIGNATURES_KEPT = 2048
Query = Annotated[
    Texts,
    MinLen(1),
    BeforeValidator(lambda names: (names,) if isinstance(names, str) else names),
    "names of columns",
]


@dataclass(frozen=True, kw_only=True)
class MiningConfig(Config):
    """What is searched for, in what, and what is left out.

    Args:
        num_negatives (`int`, *optional*, defaults to 3):
            Most hard negatives of a row. It has fewer where no more documents share a word with the query.
        skip_top (`int`, *optional*, defaults to 0):
            How many of the best to pass over, counted after everything that is excluded (ReasonIR: 20).
        query (`str` or `list[str]`, *optional*, defaults to `("scenario", "question")`):
            Columns that make up the query, in order. `"question"` and `"scenario"` stand for `question_column` and
            `scenario_column`.
        text_column (`str`, *optional*, defaults to `"text"`):
            Column with the positive document, a string.
        question_column (`str`, *optional*, defaults to `"question"`):
            Column with the question, a string. Rows with the same question have each other's positives excluded.
        scenario_column (`str`, *optional*, defaults to `"scenario"`):
            Column with the situation the question is about, a string. Not needed where `query` leaves it out.
        hard_negatives_column (`str`, *optional*, defaults to `"hard_negatives"`):
            Column for the hard negatives, best first, and prefix of `hard_negatives_scores` and `hard_negatives_ids`.
        corpus_column (`str`, *optional*, defaults to `"text"`):
            Column of the corpus with its texts. Not read where the corpus is the dataset itself or a list.
        id_column (`str`, *optional*):
            Column of the corpus (of the dataset, where that is the corpus) with ids. The ids of the hard negatives are
            kept in `hard_negatives_ids`.
        language (`str`, *optional*, defaults to `"english"`):
            Language of stemming and stop words, by its English name, or `None` for words as they are.
        k1 (`float`, *optional*, defaults to 0.9):
            How slowly a term's weight saturates with its frequency in a document (ReasonIR).
        b (`float`, *optional*, defaults to 0.4):
            How much long documents are held back, from 0 to 1 (ReasonIR).
        max_score_ratio (`float`, *optional*):
            Excludes what scores more than this share of the score of the row's own positive: it may answer too.
        duplicate_threshold (`float`, *optional*, defaults to 0.5):
            Excludes near-duplicates of a positive: texts that have this share or more of the distinct runs of three
            words in common with it, as a share of the shorter text's; letter case and punctuation do not count, signs
            that calculate do. So a page that holds the positive is excluded, and so is a part of it. Chunks of a page
            that overlap by a fifth are not at 0.5; to exclude those too, pass somewhat less than their overlap, such
            as 0.15. `None` excludes equal texts alone.
        keep_scores (`bool`, *optional*, defaults to `False`):
            Whether to keep the scores, in `hard_negatives_scores`.
    """

    num_negatives: AtLeastOne = 3
    skip_top: AtLeastZero = 0
    query: Query = ("scenario", "question")
    text_column: ColumnName = "text"
    question_column: ColumnName = "question"
    scenario_column: ColumnName = "scenario"
    hard_negatives_column: ColumnName = "hard_negatives"
    corpus_column: ColumnName = "text"
    id_column: ColumnName | None = None
    language: Annotated[Text | None, "a name, or None"] = "english"
    k1: Annotated[int | float, Ge(0), "a number of at least 0"] = 0.9
    b: Annotated[int | float, Ge(0), Le(1), "a number from 0 to 1"] = 0.4
    max_score_ratio: Positive | None = None
    duplicate_threshold: Share | None = 0.5
    keep_scores: bool = False

    @property
    def query_columns(self) -> list[str]:
        """The columns of the query, by the names that the dataset has for them."""
        roles = {"question": self.question_column, "scenario": self.scenario_column}
        return [roles.get(name, name) for name in self.query]

    @property
    def input_columns(self) -> list[str]:
        """The columns of the dataset that are read."""
        return list(dict.fromkeys([self.text_column, self.question_column, *self.query_columns]))


Ranked = list[tuple[int, float]]
"""Numbers of documents with their scores, best first."""


class Exclusions:
    """What may not be a hard negative of a row: its positive, those of rows with the same question, and copies.

    Args:
        config ([`MiningConfig`]): how many are wanted, and what a copy is.
        shared (`Mapping[bytes, list[str]]`): the positives of questions that several rows have, by [`hash_text`].
    """

    def __init__(self, config: MiningConfig, shared: Mapping[bytes, list[str]]) -> None:
        self.config, self.shared = config, shared
        self.wanted = config.skip_top + config.num_negatives
        self._signatures: dict[int, Signature] = {}

    def select(
        self, question: str | None, text: str, ranked: Iterable[tuple[int, float]], get_text: Callable[[int], str]
    ) -> Ranked:
        """Take the best that may be hard negatives, after those to pass over."""
        others = self.shared.get(hash_text(question), [])
        positives = [sign(positive) for positive in dict.fromkeys([text, *others])]
        found: Ranked = []
        for document, score in ranked:
            signature = self._sign(document, get_text)
            if not any(signature.is_copy_of(one, self.config.duplicate_threshold) for one in positives):
                found.append((document, score))
                if len(found) == self.wanted:
                    break
        return found[self.config.skip_top :]

    def _sign(self, document: int, get_text: Callable[[int], str]) -> Signature:
        """Make the signature of a document; those of late are kept."""
        signature = self._signatures.pop(document, None) or sign(get_text(document))
        self._signatures[document] = signature
        if len(self._signatures) > _SIGNATURES_KEPT:
            del self._signatures[next(iter(self._signatures))]
        return signature


class Miner:
    """Finds the hard negatives of a batch by BM25. The index is opened on first use, once in each process."""

    def __init__(self, folder: str, exclusions: Exclusions, tokenizer: Tokenizer | None) -> None:
        self.folder, self.exclusions, self.tokenizer = folder, exclusions, tokenizer
        self.config = exclusions.config

    @functools.cached_property
    def index(self) -> Index:
        """The index, opened."""
        return Index(Path(self.folder), self.tokenizer or make_tokenizer(self.config.language))

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Give the new columns of a batch."""
        config = self.config
        inputs = [batch[column] for column in (config.question_column, config.text_column, *config.query_columns)]
        rows = [self.mine(question, text, query) for question, text, *query in zip(*inputs, strict=True)]
        return lay_out(rows, self._get_text, lambda document: self.index.ids[document].as_py(), config)

    def mine(self, question: str | None, text: str | None, query: Sequence[str | None]) -> Ranked:
        """Find documents and their scores for one row, best first."""
        if text is None or not is_usable(question, text):
            return []
        terms = self.index.find_terms(join_query(query))
        if not terms:
            return []
        scores = self.index.score(terms)
        limit = math.inf
        if self.config.max_score_ratio is not None:
            limit = self.config.max_score_ratio * self.index.score_text(terms, text) * (1 + ROUNDING)
        ranked = ((document, float(scores[document])) for document in rank(scores, self.exclusions.wanted + 8))
        within = ((document, score) for document, score in ranked if score <= limit)
        return self.exclusions.select(question, text, within, self._get_text)

    def _get_text(self, document: int) -> str:
        text: str = self.index.texts[document].as_py()
        return text


def lay_out(
    rows: Sequence[Ranked], get_text: Callable[[int], str], get_id: Callable[[int], Any], config: MiningConfig
) -> dict[str, list[Any]]:
    """Give the new columns of some rows: texts, and scores and ids where they are asked for."""
    name = config.hard_negatives_column
    columns: dict[str, list[Any]] = {name: [[get_text(document) for document, _ in found] for found in rows]}
    if config.keep_scores:
        columns[f"{name}_scores"] = [[score for _, score in found] for found in rows]
    if config.id_column:
        columns[f"{name}_ids"] = [[get_id(document) for document, _ in found] for found in rows]
    return columns


def join_query(parts: Iterable[str | None]) -> str:
    """Make one text of the parts of a query."""
    return "\n".join(part for part in parts if part)


def is_usable(question: str | None, text: str | None) -> bool:
    """Tell whether a row has both a question and a positive."""
    return bool(question and question.strip() and text and normalize(text))


def hash_text(text: str | None) -> bytes:
    """Hash a text after normalisation."""
    return xxhash.xxh3_128_digest(normalize(text or "").encode())


def is_count(value: Any, least: int) -> bool:
    """Tell whether a value is a whole number of at least so much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
