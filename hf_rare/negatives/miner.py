"""Hard negatives of a batch of rows by BM25."""

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_rare.negatives.bm25 import Index, Tokenizer, make_tokenizer, rank
from hf_rare.negatives.exclusions import Exclusions, Ranked, is_usable, join_query, lay_out

ROUNDING = 1e-5
"""Scores are 32 bits wide: one that is higher by less than this share is not higher."""


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
        """Return the new columns of a batch."""
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
