"""Hard negatives: documents that BM25 finds for a question and that are neither its positive nor a copy of it.

What a row gets depends on its content, the corpus and the settings alone: not on its place, nor on the number of
processes. What becomes of a row is left to `mining`; here are the datasets around it.
"""

import importlib.metadata
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from datasets.fingerprint import Hasher, generate_random_fingerprint

from hf_rare.bm25 import Tokenizer, build_index, make_tokenizer
from hf_rare.config import split_settings
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.mining import MINING_REVISION, Miner, MiningConfig, hash_text, is_count, is_usable

ROWS_FOR_PROCESSES = 5000
_ROWS_AT_ONCE = 1000

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
    if num_proc is not None and not is_count(num_proc, 1):
        raise ConfigError(f"num_proc={num_proc!r} cannot be right: expected a number of at least 1.")
    _check_dataset(dataset, "dataset")
    _check_columns(dataset, config.input_columns, "dataset")
    source, column = _find_corpus(dataset, corpus, config)
    new = _name_new_columns(source, config)
    existing = [name for name in new if name in dataset.column_names]
    if existing:
        raise ColumnError(
            f"The dataset has a column {', '.join(map(repr, existing))} already. Remove it, or pass "
            "hard_negatives_column=..."
        )
    terms = tokenizer or make_tokenizer(config.language)
    features = datasets.Features({**dataset.features, **new})
    if len(dataset) == 0:  # where `map` adds no column
        return datasets.Dataset.from_dict({name: [] for name in features}, features=features)
    plain = dataset.with_format(None)
    documents = _Documents(_read_sorted if corpus is None else _read, source, column, config.id_column)
    with tempfile.TemporaryDirectory(prefix="hf-rare-bm25-") as folder:
        build_index(Path(folder), documents, documents.id_type, terms, config.k1, config.b)
        fingerprint = Hasher.hash((plain._fingerprint, documents.digest(), config.to_json(), _versions()))
        mined = plain.map(
            Miner(folder, config, tokenizer, _find_shared_positives(plain, config)),
            batched=True,
            batch_size=_ROWS_AT_ONCE,
            features=features,
            num_proc=_count_processes(len(dataset), num_proc),
            new_fingerprint=generate_random_fingerprint() if tokenizer else fingerprint,
            desc="Mining hard negatives",
        )
    _log_counts(mined, config)
    return _restore_format(mined, dataset, list(new))


class _Documents:
    """The distinct texts of a corpus that are not empty, with their ids; hashed while they are read."""

    def __init__(self, read: Any, source: datasets.Dataset, column: str, id_column: str | None) -> None:
        self.columns = [column, *([id_column] if id_column else [])]
        self.tables = read(source.select_columns(list(dict.fromkeys(self.columns))).with_format("arrow"), self.columns)
        self.id_type = source.features.arrow_schema.field(id_column).type if id_column else pa.null()
        self._hasher = xxhash.xxh3_128()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        seen = {hash_text("")}
        for table in self.tables:
            for values in zip(*(table[name].to_pylist() for name in self.columns), strict=True):
                digest = hash_text(values[0])
                if digest not in seen:
                    seen.add(digest)
                    self._hasher.update(repr(values).encode())
                    yield values[0], values[1] if len(values) > 1 else None

    def digest(self) -> str:
        """Hash what was read."""
        return self._hasher.hexdigest()


def _read(source: datasets.Dataset, columns: list[str]) -> Iterator[pa.Table]:
    yield from source.iter(_ROWS_AT_ONCE)


def _read_sorted(source: datasets.Dataset, columns: list[str]) -> Iterator[pa.Table]:
    table = source[:]
    order = pc.sort_indices(table, [(name, "ascending") for name in dict.fromkeys(columns)])
    for start in range(0, len(table), _ROWS_AT_ONCE):
        yield table.take(order[start : start + _ROWS_AT_ONCE])


def _find_shared_positives(dataset: datasets.Dataset, config: MiningConfig) -> dict[bytes, list[str]]:
    """Map each question that several rows have, with different positives, to these positives."""
    first: dict[bytes, tuple[bytes, int]] = {}
    shared: dict[bytes, dict[str, None]] = {}
    columns = [config.question_column, config.text_column]
    for start in range(0, len(dataset), _ROWS_AT_ONCE):
        rows = dataset[start : start + _ROWS_AT_ONCE]
        for row, (question, text) in enumerate(zip(*(rows[column] for column in columns), strict=True), start):
            if not is_usable(question, text):
                continue
            digest, row_of_first = first.setdefault(hash_text(question), (hash_text(text), row))
            if digest != hash_text(text):
                texts = shared.setdefault(hash_text(question), {dataset[row_of_first][config.text_column]: None})
                texts[text] = None
    return {question: sorted(texts) for question, texts in shared.items()}


def _find_corpus(dataset: datasets.Dataset, corpus: Any, config: MiningConfig) -> tuple[datasets.Dataset, str]:
    if corpus is None:
        source, column, name = dataset, config.text_column, "dataset"
    elif isinstance(corpus, Sequence) and not isinstance(corpus, str):
        try:
            table = pa.table({config.corpus_column: pa.array(corpus, pa.large_string())})
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as err:
            raise ConfigError(f"`corpus` is a list that holds something other than texts: {err}.") from err
        source, column, name = datasets.Dataset(table), config.corpus_column, "corpus"
    else:
        _check_dataset(corpus, "corpus")
        source, column, name = corpus, config.corpus_column, "corpus"
    _check_columns(source, [column], name)
    if config.id_column is not None:
        if config.id_column not in source.column_names:
            raise ColumnError(_describe_missing([config.id_column], source, name))
        if not isinstance(source.features[config.id_column], datasets.Value):
            raise ColumnError(f"Column {config.id_column!r} of the {name} holds lists or dicts; expected plain ids.")
    return source, column


def _check_dataset(value: Any, name: str) -> None:
    if isinstance(value, datasets.Dataset):
        return
    hint = " Pass one split of it." if isinstance(value, Mapping) else ""
    texts = " or a list of texts" if name == "corpus" else ""
    raise ConfigError(f"`{name}` is of type {type(value).__name__}; expected a datasets.Dataset{texts}.{hint}")


def _check_columns(dataset: datasets.Dataset, names: Sequence[str], what: str) -> None:
    missing = [name for name in names if name not in dataset.column_names]
    if missing:
        raise ColumnError(_describe_missing(missing, dataset, what))
    for name in names:
        if getattr(dataset.features[name], "dtype", None) not in ("string", "large_string", "null"):
            raise ColumnError(f"Column {name!r} of the {what} holds {dataset.features[name]}; expected strings.")


def _describe_missing(missing: Sequence[str], dataset: datasets.Dataset, what: str) -> str:
    settings = "query, text_column, question_column, scenario_column" if what == "dataset" else "corpus_column"
    return (
        f"The {what} has no column {', '.join(map(repr, missing))}; it has "
        f"{', '.join(map(repr, dataset.column_names)) or 'none'}. Say which to read: {settings}, id_column."
    )


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


def _restore_format(mined: datasets.Dataset, dataset: datasets.Dataset, new: list[str]) -> datasets.Dataset:
    before = dataset.format
    columns = None if set(before["columns"]) == set(dataset.column_names) else [*before["columns"], *new]
    return mined.with_format(before["type"], columns, before["output_all_columns"], **before["format_kwargs"])


def _count_processes(rows: int, num_proc: int | None) -> int | None:
    """Give what `map` takes: None for this process."""
    if num_proc is None:
        num_proc = len(os.sched_getaffinity(0)) if rows >= ROWS_FOR_PROCESSES else 1
    return num_proc if num_proc > 1 else None


def _versions() -> list[Any]:
    return [MINING_REVISION, *(importlib.metadata.version(name) for name in ("bm25s", "PyStemmer"))]
