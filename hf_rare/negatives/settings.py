"""What is searched for, in what, and what is left out."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le, MinLen
from pydantic import BeforeValidator

from hf_rare.settings.base import Config
from hf_rare.settings.kinds import AtLeastOne, AtLeastZero, ColumnName, Fraction, Positive, Text, Texts

MINING_REVISION = 2
"""Bumped by hand whenever a row, corpus and settings lead to other negatives than before."""
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
    duplicate_threshold: Fraction | None = 0.5
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
