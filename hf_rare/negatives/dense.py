"""Dense hard negatives: sentence-transformers' own miner ranks the documents by their embeddings.

The miner embeds, ranks and keeps its margins (NV-Retriever, arXiv 2407.15831); what may not be a hard negative is left
to `exclusions`, as for BM25. The miner knows the positives of a query by their exact text alone, and counts those of
all rows as documents. So more is asked of it than is wanted, and what is excluded or not in the corpus is dropped.
"""

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
from datasets.fingerprint import generate_random_fingerprint

from hf_rare.errors import ConfigError, MissingPackageError, ModelLoadError
from hf_rare.negatives.corpus import ROWS_AT_ONCE, Documents, check_new_columns, map_rows
from hf_rare.negatives.exclusions import Exclusions, Ranked, is_usable, join_query, lay_out
from hf_rare.negatives.settings import MiningConfig
from hf_rare.settings.kinds import AtLeastOne, AtLeastZero, check_value
from hf_rare.settings.transformers_names import reject_unknown_names
from hf_rare.text import in_one_line

LIMITS = ("absolute_margin", "relative_margin", "max_score", "min_score")
OPTIONS = (
    "range_min",
    "range_max",
    *LIMITS,
    "cross_encoder",
    "query_prompt_name",
    "query_prompt",
    "corpus_prompt_name",
    "corpus_prompt",
    "batch_size",
    "use_faiss",
    "faiss_batch_size",
    "use_multi_process",
)
"""Options of `sentence_transformers.util.mine_hard_negatives` that go through to it."""
QUERIES_AT_ONCE = 1024
"""Queries that the miner compares with all documents at once, unless `faiss_batch_size` says otherwise."""
_SPARE = 8
_CANDIDATES_AT_ONCE = 20_000_000


def check_options(options: Any) -> dict[str, Any]:
    """Check the options for the miner, without importing it.

    Raises:
        ConfigError: They are no dict, an option is unknown, or a range cannot be right.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f"dense={options!r} cannot be right: expected options by name, such as relative_margin.")
    reject_unknown_names(options, list(OPTIONS), "dense")
    check_value("range_min", options.get("range_min"), AtLeastZero | None)
    check_value("range_max", options.get("range_max"), AtLeastOne | None)
    return {name: value for name, value in options.items() if value is not None}


def mine_densely(
    dataset: datasets.Dataset,
    documents: Documents,
    new: Mapping[str, Any],
    exclusions: Exclusions,
    model: Any,
    options: Mapping[str, Any],
) -> datasets.Dataset:
    """Add the hard negatives that an embedding model ranks high.

    Args:
        dataset ([`~datasets.Dataset`]):
            The rows.
        documents ([`Documents`]):
            What is searched.
        new (`Mapping[str, Any]`):
            Features of the new columns.
        exclusions ([`Exclusions`]):
            What may not be a hard negative.
        model (`str` or `SentenceTransformer`):
            The embedding model, or its name.
        options (`Mapping[str, Any]`):
            Options for the miner, checked.

    Returns:
        [`~datasets.Dataset`]: the rows, in order and format, with the new columns.

    Raises:
        ConfigError: The miner does not take the options.
        ColumnError: A new column exists already.
        ModelLoadError: The model cannot be loaded.
        MissingPackageError: sentence-transformers, or faiss where it is asked for, is not installed.
    """
    check_new_columns(dataset, new)
    config = exclusions.config
    pairs = list(documents)
    texts, ids = [text for text, _ in pairs], [identifier for _, identifier in pairs]
    found: list[Ranked] = [[]] * len(dataset)
    rows = _read_rows(dataset.with_format(None), config)
    if rows and texts:
        with tempfile.TemporaryDirectory(prefix="hf-rare-dense-") as folder:
            miner = _EmbeddingMiner(model, texts, rows, {**options, "cache_folder": folder})
            found = _find(miner, rows, exclusions, len(dataset))

    def add(batch: Mapping[str, Any], indices: Sequence[int]) -> dict[str, list[Any]]:
        return lay_out([found[index] for index in indices], texts.__getitem__, ids.__getitem__, config)

    return map_rows(
        dataset,
        new,
        add,
        with_indices=True,
        new_fingerprint=generate_random_fingerprint(),  # what a loaded model is cannot be hashed
        desc="Adding hard negatives",
    )


class _RankedRow:
    """A row with a query: its number, question, positive and query."""

    def __init__(self, number: int, question: str, positive: str, query: str) -> None:
        self.number, self.question, self.positive, self.query = number, question, positive, query


def _read_rows(dataset: datasets.Dataset, config: MiningConfig) -> list[_RankedRow]:
    names = (config.question_column, config.text_column, *config.query_columns)
    rows = []
    dataset = dataset.select_columns(list(dict.fromkeys(names)))
    for start in range(0, len(dataset), ROWS_AT_ONCE):
        batch = dataset[start : start + ROWS_AT_ONCE]
        for number, (question, text, *parts) in enumerate(zip(*(batch[name] for name in names), strict=True), start):
            query = join_query(parts)
            if is_usable(question, text) and query.strip():
                rows.append(_RankedRow(number, question, text, query))
    return rows


def _find(miner: "_EmbeddingMiner", rows: Sequence[_RankedRow], exclusions: Exclusions, num_rows: int) -> list[Ranked]:
    """Find the hard negatives of each row, and look deeper where what is excluded has left too few."""
    found: list[Ranked] = [[] for _ in range(num_rows)]
    depth = miner.first_depth(exclusions.wanted)
    while rows:
        short = []
        queries = list(dict.fromkeys(row.query for row in rows))
        size = max(1, _CANDIDATES_AT_ONCE // depth)
        ranked: dict[str, Ranked] = {}
        for start in range(0, len(queries), size):
            ranked |= miner.rank(queries[start : start + size], depth)
        for row in rows:
            taken = exclusions.select(row.question, row.positive, ranked.get(row.query, []), miner.texts.__getitem__)
            found[row.number] = taken
            if len(taken) < exclusions.config.num_negatives:
                short.append(row)
        if not miner.goes_deeper or depth >= miner.num_candidates:
            break
        rows, depth = short, 4 * depth
    return found


class _EmbeddingMiner:
    """sentence-transformers' miner over some documents; the embeddings are kept between its calls."""

    def __init__(
        self, model: Any, texts: Sequence[str], rows: Sequence[_RankedRow], options: Mapping[str, Any]
    ) -> None:
        self.texts = texts
        self.positives: dict[str, dict[str, None]] = {}
        for row in rows:
            self.positives.setdefault(row.query, {})[row.positive] = None
        self._numbers = {text: number for number, text in enumerate(texts)}
        # The miner adds the positives of a call to the documents. With those of all rows, calls share embeddings.
        self._corpus = list(dict.fromkeys([*texts, *(row.positive for row in rows)]))
        self._model = _load(model, "SentenceTransformer")
        self._options = {"faiss_batch_size": QUERIES_AT_ONCE, **options}
        if isinstance(self._options.get("cross_encoder"), str):
            self._options["cross_encoder"] = _load(self._options["cross_encoder"], "CrossEncoder")
        self._range_min = self._options.pop("range_min", 0)
        self._range_max = self._options.pop("range_max", None)
        self._has_limits = any(name in options for name in LIMITS)
        self.num_candidates = len(self._corpus)

    @property
    def goes_deeper(self) -> bool:
        """Whether ranks beyond those looked at may be looked up: the caller has not said how many count."""
        return self._range_max is None and not self._has_limits

    def first_depth(self, wanted: int) -> int:
        """Return how many ranks are looked at, for so many documents: by the range, else as the miner has it."""
        if self._range_max is not None:
            if self._range_max <= self._range_min:
                raise ConfigError(
                    f"range_max={self._range_max} cannot be right: expected more than range_min={self._range_min}."
                )
            return int(self._range_max - self._range_min)
        return 10 * wanted if self._has_limits else wanted + _SPARE

    def rank(self, queries: Sequence[str], depth: int) -> dict[str, Ranked]:
        """Return the documents of each query and their scores, best first; equal scores by number."""
        from sentence_transformers.util import mine_hard_negatives

        pairs = [(query, positive) for query in queries for positive in self.positives[query]]
        try:
            mined = mine_hard_negatives(
                datasets.Dataset.from_dict({"anchor": [q for q, _ in pairs], "positive": [p for _, p in pairs]}),
                self._model,
                corpus=self._corpus,
                num_negatives=depth,
                range_min=self._range_min,
                range_max=self._range_min + depth,
                output_format="labeled-list",
                output_scores=True,
                verbose=False,
                **self._options,
            )
        except ImportError as err:
            raise MissingPackageError(f"Mining dense negatives needs a package: {err}") from err
        except ValueError as err:
            raise ConfigError(f"sentence-transformers does not take the options in dense=...: {err}") from err
        ranked = {}
        for record in mined:
            numbers = [self._numbers.get(text) for text in record["positive"][1:]]
            known = [(n, score) for n, score in zip(numbers, record["scores"][1:], strict=True) if n is not None]
            ranked[record["anchor"]] = sorted(known, key=lambda pair: (-pair[1], pair[0]))
        return ranked


def _load(model: Any, kind: str) -> Any:
    if not isinstance(model, str):
        return model
    try:
        import sentence_transformers
    except ImportError as err:
        raise MissingPackageError(
            "method='dense' needs the package sentence-transformers: `pip install hf-rare[dense]`."
        ) from err
    try:
        return getattr(sentence_transformers, kind)(model)
    except (OSError, ValueError, KeyError) as err:
        raise ModelLoadError(f"{kind} {model!r} cannot be loaded: {in_one_line(err)}") from err
