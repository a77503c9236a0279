"""Hard negatives: documents that look relevant to a question and that are neither its positive nor a copy of it.

They are found by BM25 or by embeddings, or a model writes them. What a row gets by BM25 depends on its content, the
corpus and the settings alone: not on its place, nor on the number of processes. What becomes of a row is left to
`exclusions`; here are the datasets around it, and the choice between the methods.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import datasets
import pyarrow.compute as pc
from annotated_types import Ge

from hf_rare.errors import ConfigError
from hf_rare.generation.protocol import Generator
from hf_rare.negatives.bm25 import Tokenizer
from hf_rare.negatives.corpus import (
    ROWS_AT_ONCE,
    Documents,
    check_one_dataset,
    check_text_columns,
    find_corpus,
    search,
)
from hf_rare.negatives.dense import check_options, mine_densely
from hf_rare.negatives.exclusions import Exclusions, hash_text, is_usable
from hf_rare.negatives.miner import Miner
from hf_rare.negatives.settings import MiningConfig
from hf_rare.scoring.distraction import DistractionMeasure, rank_by_distraction
from hf_rare.settings.base import split_settings
from hf_rare.settings.kinds import AtLeastOne, check_value
from hf_rare.writers.negatives import NegativeWriter

logger = logging.getLogger(__name__)

CANDIDATES = 4
"""Candidates for each hard negative where the most distracting ones are chosen."""

METHODS = ("bm25", "dense", "generated")
_QUERY = ("scenario", "question")
FOR_BM25 = ("language", "k1", "b", "max_score_ratio", "tokenizer", "num_proc")
_FOR_DENSE = ("model", "dense")
_FOR_MINING = ("corpus", "skip_top", "query", "tokenizer")


def mine_hard_negatives(
    dataset: datasets.Dataset,
    corpus: datasets.Dataset | Sequence[str] | None = None,
    num_negatives: int = 3,
    skip_top: int = 0,
    query: str | Sequence[str] = _QUERY,
    *,
    method: Literal["bm25", "dense", "generated"] = "bm25",
    model: Any = None,
    dense: Mapping[str, Any] | None = None,
    generator: Generator | None = None,
    distractor_model: Any = None,
    num_candidates: AtLeastOne | None = None,
    tokenizer: Tokenizer | None = None,
    num_proc: AtLeastOne | None = None,
    **settings: Any,
) -> datasets.Dataset:
    """Add a column of hard negatives: documents that rank high for a row's query and that are not its positive.

    Never among them, whatever the method that ranks: texts equal to the positive, or to a positive of another row with
    the same question, up to letter case, white space and compatible characters (NFKC); empty texts; by BM25, texts
    that share no word with the query. Equal texts of the corpus count as one document, the first. Rows without
    question, query or positive get an empty list. How many rows have fewer than asked is logged, as a warning.

    - `"bm25"` ranks by words. Ties go to the document that comes first in the corpus; where the corpus is the dataset
      itself, to the text that comes first by code points, so that the order of rows does not matter. The index is
      memory-mapped, in a temporary folder about as large as the corpus.
    - `"dense"` ranks by the embeddings of `model`, with the miner of sentence-transformers (`pip install
      hf-rare[dense]`). The texts and their embeddings are in memory.
    - `"generated"` has `generator` write them: [`NegativeWriter`], with its
      settings and its columns.

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
        method (`"bm25"`, `"dense"` or `"generated"`, *optional*, defaults to `"bm25"`):
            Where they come from.
        model (`str` or `SentenceTransformer`, *optional*):
            The embedding model of `"dense"`, or its name.
        dense (`dict`, *optional*):
            Options of `sentence_transformers.util.mine_hard_negatives` that go through to it: `range_min`,
            `range_max`, `max_score`, `min_score`, `absolute_margin`, `relative_margin`, `cross_encoder` (a
            `CrossEncoder` or its name), the prompts, `batch_size`, `use_faiss`, `faiss_batch_size`,
            `use_multi_process`. Ranges count before the copies of a positive are left out. With a margin, a limit or
            a `range_max` a row has fewer hard negatives where no more of the ranks looked at are left: 10 for each
            document wanted, or up to `range_max`.
        generator ([`Generator`], *optional*):
            What writes, for `"generated"`.
        distractor_model (`str` or [`TransformersGenerator`], *optional*):
            A model that is to be distracted, such as the student, for `"bm25"` and `"dense"`. Of `num_candidates`
            found by the method, a row gets those that distract it most: by 1 - p(no answer | question, document),
            where the model is asked to say so of a document without the answer (the distracting effect, arXiv
            2505.06914). Each candidate costs the reading of a prompt with the document, so a run reads about
            `num_candidates` times the tokens of a document for each row; numbers are kept in the journal. What
            answers the question distracts as well: `max_score_ratio` or a margin keeps it out. `keep_scores` adds
            `hard_negatives_distraction`. A candidate that the model has no room for comes last, with a null there.
        num_candidates (`int`, *optional*):
            Candidates of a row, with `distractor_model`. By default 4 for each hard negative.
        tokenizer (`Callable[[str], list[str]]`, *optional*):
            Cuts a text into terms, in place of words and stems, for languages that need a segmenter; `language` is
            then unused. It must be picklable where there are several processes.
        num_proc (`int`, *optional*):
            Processes of `"bm25"` or `"generated"`. By default `"bm25"` takes one for each core from 5,000 rows on,
            else one.
        **settings:
            The further settings of [`MiningConfig`] by name: `max_score_ratio`, `duplicate_threshold`, `language`,
            `id_column`, `keep_scores`, the names of columns, ... For `"generated"` those of
            [`NegativeConfig`] and [`RunConfig`].

    Returns:
        [`~datasets.Dataset`]: the rows, in order, with the new columns.

    Raises:
        ConfigError: A setting, `dataset` or `corpus` cannot be right, or the method does not take it.
        ColumnError: A column is missing or holds no strings, or a new column exists already.
        ModelLoadError: The embedding model cannot be loaded.
        MissingPackageError: What the method needs is not installed: bm25s and PyStemmer, or sentence-transformers.

    Example:
        >>> rows = mine_hard_negatives(pairs, num_negatives=3, keep_scores=True)
        >>> rows = mine_hard_negatives(pairs, corpus=pages, corpus_column="body", skip_top=20, max_score_ratio=0.95)
        >>> rows = mine_hard_negatives(pairs, method="dense", model="BAAI/bge-m3", dense={"relative_margin": 0.05})
    """
    check_value("tokenizer", tokenizer, Tokenizer | None)
    special = {"model": model, "dense": dense, "generator": generator, "tokenizer": tokenizer, "num_proc": num_proc}
    special |= {"distractor_model": distractor_model, "num_candidates": num_candidates}
    mining = {"corpus": corpus, "skip_top": skip_top or None, "query": None if query == _QUERY else query}
    given = {name for name, value in {**special, **mining, **settings}.items() if value is not None}
    _check_method(method, given)
    check_one_dataset(dataset, "dataset")
    if method == "generated":
        writer = NegativeWriter(cast(Generator, generator), num_negatives=num_negatives, **settings)
        written: datasets.Dataset = writer.apply(dataset, num_proc=num_proc)
        return written
    settings |= {"num_negatives": num_negatives, "skip_top": skip_top, "query": query}
    config = wanted = MiningConfig(**split_settings(settings, MiningConfig)[0])
    distraction = None
    if distractor_model is not None:
        distraction = _make_distraction(distractor_model, wanted)
        config = dataclasses.replace(wanted, num_negatives=_count_candidates(num_candidates, wanted))
    options = check_options(dense or {})
    check_text_columns(dataset, config.input_columns, "dataset")
    source, column = find_corpus(dataset, corpus, config)
    new = _name_new_columns(source, config)
    documents = Documents(source, column, config.id_column, in_order=corpus is not None)
    exclusions = Exclusions(config, _find_shared_positives(dataset.with_format(None), config))
    if method == "dense":
        mined = mine_densely(dataset, documents, new, exclusions, model, options)
    else:
        mined = search(
            dataset,
            documents,
            new,
            lambda folder: Miner(folder, exclusions, tokenizer),
            config,
            tokenizer=tokenizer,
            num_proc=num_proc,
            description="Mining hard negatives",
        )
    if distraction is not None:
        mined = rank_by_distraction(mined, distraction, wanted.num_negatives, list(new), wanted.keep_scores)
    _log_counts(mined, wanted)
    return mined


def _make_distraction(model: Any, config: MiningConfig) -> DistractionMeasure:
    name = config.hard_negatives_column
    columns = {"question_column": config.question_column, "documents_column": name}
    return DistractionMeasure(model, output_column=f"{name}_distraction", **columns)


def _count_candidates(num_candidates: int | None, config: MiningConfig) -> int:
    least = config.num_negatives
    kind = Annotated[int, Ge(least), f"a whole number of at least num_negatives={least}"]
    check_value("num_candidates", num_candidates, kind | None)
    return num_candidates or CANDIDATES * least


def _check_method(method: Any, given: set[str]) -> None:
    """Check the method, that it has what it needs, and that it gets nothing that it would not look at."""
    if method not in METHODS:
        raise ConfigError(f"method={method!r} cannot be right: expected one of {', '.join(map(repr, METHODS))}.")
    if method == "generated" and "generator" not in given:
        raise ConfigError(
            "method='generated' has a model write the hard negatives: `hf_rare.NegativeWriter` does. "
            "Pass generator=..., or use NegativeWriter.from_pretrained(...).apply(dataset)."
        )
    if method == "dense" and "model" not in given:
        raise ConfigError("method='dense' needs model=...: a SentenceTransformer, or the name of one.")
    others = {
        "bm25": (*_FOR_DENSE, "generator"),
        "dense": (*FOR_BM25, "generator"),
        "generated": (*_FOR_DENSE, *_FOR_MINING, "distractor_model"),
    }[method]
    if "num_candidates" in given and "distractor_model" not in given:
        raise ConfigError("num_candidates is for distractor_model=..., which chooses among them. Pass that too.")
    if wrong := [name for name in others if name in given]:
        hint = " Pass dense={'relative_margin': ...}." if wrong == ["max_score_ratio"] else ""
        raise ConfigError(f"{wrong[0]} is not for method={method!r}.{hint}")


def _find_shared_positives(dataset: datasets.Dataset, config: MiningConfig) -> dict[bytes, list[str]]:
    """Map each question that several rows have, with different positives, to these positives."""
    first: dict[bytes, tuple[bytes, int]] = {}
    shared: dict[bytes, dict[str, None]] = {}
    columns = [config.question_column, config.text_column]
    dataset = dataset.select_columns(list(dict.fromkeys(columns)))
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
