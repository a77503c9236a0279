"""What is searched: the documents of a corpus, checked and read once; and the columns that a search adds to rows."""

import importlib.metadata
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from datasets.fingerprint import Hasher, generate_random_fingerprint

from hf_rare.compat.datasets import fingerprint_of
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.negatives.bm25 import Tokenizer, build_index, make_tokenizer
from hf_rare.negatives.exclusions import hash_text
from hf_rare.negatives.settings import MINING_REVISION, MiningConfig
from hf_rare.rows.column_types import is_text
from hf_rare.settings.kinds import AtLeastOne, check_value

ROWS_AT_ONCE = 1000
ROWS_FOR_PROCESSES = 5000
"""Rows from which on a search takes all cores."""


class Documents:
    """The distinct texts of a corpus that are not empty, with their ids; hashed while they are read.

    Args:
        source ([`~datasets.Dataset`]): what they are read from.
        column (`str`): its column with the texts.
        id_column (`str`, *optional*): its column with ids.
        in_order (`bool`): whether they come in the order of the rows, or sorted, so that this order does not matter.
    """

    def __init__(self, source: datasets.Dataset, column: str, id_column: str | None, in_order: bool) -> None:
        read = _read if in_order else _read_sorted
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
    yield from source.iter(ROWS_AT_ONCE)


def _read_sorted(source: datasets.Dataset, columns: list[str]) -> Iterator[pa.Table]:
    table = source[:]
    # places of 64 bits: texts of more than 2 GiB are put together here
    large = [field.with_type(pa.large_string()) if _is_string(field.type) else field for field in table.schema]
    table = table.cast(pa.schema(large))
    order = pc.sort_indices(table, [(name, "ascending") for name in dict.fromkeys(columns)])
    for start in range(0, len(table), ROWS_AT_ONCE):
        yield table.take(order[start : start + ROWS_AT_ONCE])


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_string_view(kind))


def find_corpus(dataset: datasets.Dataset, corpus: Any, config: MiningConfig) -> tuple[datasets.Dataset, str]:
    """Find what is searched, and its column with the texts.

    Raises:
        ConfigError: It is of another type.
        ColumnError: A column is missing, or holds something other than texts.
    """
    if corpus is None:
        source, column, name = dataset, config.text_column, "dataset"
    elif isinstance(corpus, Sequence) and not isinstance(corpus, str):
        try:
            table = pa.table({config.corpus_column: pa.array(corpus, pa.large_string())})
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as err:
            raise ConfigError(f"`corpus` is a list that holds something other than texts: {err}.") from err
        source, column, name = datasets.Dataset(table), config.corpus_column, "corpus"
    else:
        check_one_dataset(corpus, "corpus")
        source, column, name = corpus, config.corpus_column, "corpus"
    check_text_columns(source, [column], name)
    if config.id_column is not None:
        if config.id_column not in source.column_names:
            raise ColumnError(_describe_missing([config.id_column], source, name))
        if not isinstance(source.features[config.id_column], datasets.Value):
            raise ColumnError(f"Column {config.id_column!r} of the {name} holds lists or dicts; expected plain ids.")
    return source, column


def check_one_dataset(value: Any, name: str) -> None:
    """Raise [`ConfigError`] for anything but a [`~datasets.Dataset`]."""
    if isinstance(value, datasets.Dataset):
        return
    hint = " Pass one split of it." if isinstance(value, Mapping) else ""
    texts = " or a list of texts" if name == "corpus" else ""
    raise ConfigError(f"`{name}` is of type {type(value).__name__}; expected a datasets.Dataset{texts}.{hint}")


def check_text_columns(dataset: datasets.Dataset, names: Sequence[str], what: str) -> None:
    """Raise [`ColumnError`] for columns that are missing or hold no texts."""
    missing = [name for name in names if name not in dataset.column_names]
    if missing:
        raise ColumnError(_describe_missing(missing, dataset, what))
    for name in names:
        if not is_text(dataset.features[name]):
            raise ColumnError(f"Column {name!r} of the {what} holds {dataset.features[name]}; expected strings.")


def _describe_missing(missing: Sequence[str], dataset: datasets.Dataset, what: str) -> str:
    settings = "query, text_column, question_column, scenario_column" if what == "dataset" else "corpus_column"
    return (
        f"The {what} has no column {', '.join(map(repr, missing))}; it has "
        f"{', '.join(map(repr, dataset.column_names)) or 'none'}. Say which to read: {settings}, id_column."
    )


def search(
    dataset: datasets.Dataset,
    documents: Documents,
    new: Mapping[str, Any],
    make: Callable[[str], Any],
    config: MiningConfig,
    *,
    tokenizer: Tokenizer | None,
    num_proc: int | None,
    description: str,
) -> datasets.Dataset:
    """Index documents, and let a function that reads the index add columns to rows.

    The index is memory-mapped, in a temporary folder about as large as the corpus.

    Args:
        dataset ([`~datasets.Dataset`]):
            The rows.
        documents ([`Documents`]):
            What is searched.
        new (`Mapping[str, Any]`):
            Features of the new columns.
        make (`Callable[[str], Callable]`):
            Makes the function for `map` from the folder of the index.
        config ([`MiningConfig`]):
            Language, and the parameters of BM25.
        tokenizer (`Callable[[str], list[str]]`, *optional*):
            Cuts a text into terms, in the place of the language's own.
        num_proc (`int`, *optional*):
            Processes. By default one for each core from 5,000 rows on, else one.
        description (`str`):
            What the progress bar says.

    Returns:
        [`~datasets.Dataset`]: the rows, in order and format, with the new columns.

    Raises:
        ConfigError: `num_proc` cannot be right, or the language is unknown.
        ColumnError: A new column exists already.
        MissingPackageError: bm25s or PyStemmer is not installed.
    """
    check_value("num_proc", num_proc, AtLeastOne | None)
    check_new_columns(dataset, new)
    terms = tokenizer or make_tokenizer(config.language)
    with tempfile.TemporaryDirectory(prefix="hf-rare-bm25-") as folder:
        build_index(Path(folder), documents, documents.id_type, terms, config.k1, config.b)
        known = (
            description,
            fingerprint_of(dataset.with_format(None)),
            documents.digest(),
            config.to_json(),
            _versions(),
        )
        return map_rows(
            dataset,
            new,
            make(folder),
            num_proc=_count_processes(len(dataset), num_proc),
            new_fingerprint=generate_random_fingerprint() if tokenizer else Hasher.hash(known),
            desc=description,
        )


def check_new_columns(dataset: datasets.Dataset, new: Mapping[str, Any]) -> None:
    """Raise [`ColumnError`] where a new column exists already."""
    if existing := [name for name in new if name in dataset.column_names]:
        raise ColumnError(
            f"The dataset has a column {', '.join(map(repr, existing))} already. Remove it, or name the "
            "new one otherwise: hard_negatives_column=..., and text_column=... for what is retrieved."
        )


def map_rows(
    dataset: datasets.Dataset, new: Mapping[str, Any], function: Callable[..., Any], **map_kwargs: Any
) -> datasets.Dataset:
    """Let a function add columns to rows, batch by batch; their order and format stay.

    Args:
        dataset ([`~datasets.Dataset`]):
            The rows.
        new (`Mapping[str, Any]`):
            Features of the new columns.
        function (`Callable`):
            The function for `map`.
        **map_kwargs:
            Passed to `map`.

    Returns:
        [`~datasets.Dataset`]: the rows with the new columns.
    """
    features = datasets.Features({**dataset.features, **new})
    if len(dataset) == 0:  # where `map` adds no column
        return datasets.Dataset.from_dict({name: [] for name in features}, features=features)
    plain = dataset.with_format(None)
    found = plain.map(function, batched=True, batch_size=ROWS_AT_ONCE, features=features, **map_kwargs)
    return _restore_format(found, dataset, list(new))


def _restore_format(mined: datasets.Dataset, dataset: datasets.Dataset, new: list[str]) -> datasets.Dataset:
    before = dataset.format
    columns = None if set(before["columns"]) == set(dataset.column_names) else [*before["columns"], *new]
    return mined.with_format(before["type"], columns, before["output_all_columns"], **before["format_kwargs"])


def _count_processes(rows: int, num_proc: int | None) -> int | None:
    """Return what `map` takes: None for this process."""
    if num_proc is None:
        num_proc = len(os.sched_getaffinity(0)) if rows >= ROWS_FOR_PROCESSES else 1
    return num_proc if num_proc > 1 else None


def _versions() -> list[Any]:
    return [MINING_REVISION, *(importlib.metadata.version(name) for name in ("bm25s", "PyStemmer"))]
