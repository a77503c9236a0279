"""A BM25 index over texts, on disk and memory-mapped: build it, open it, rank by it.

The index is bm25s's, its scores computed when it is built (Lucene's variant). What becomes of a ranking is left to
`miner`. Words are runs of two or more letters or digits. Where words have no spaces between them, or particles
behind them, terms are pieces of what stands in a row: Chinese characters and kana alone and in pairs, syllables of
Korean in pairs, letters of Thai, Lao, Burmese and Khmer, each with its marks, in pairs and by three. So the paragraph
of a question is found first for 92 % of the questions of XQuAD in Thai (letter by letter for 70 %) and 93 % in Chinese
(by single characters 90 %), 84 % of JaQuAD in Japanese (76 %) and 93 % of KorQuAD in Korean (by words 80 %):
`benchmarks/results/words.json`.
"""

import importlib
import logging
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import regex

from hf_rare.errors import ConfigError, MissingPackageError
from hf_rare.text import CHARACTERS, LETTERS, drop_optional, split_words

Tokenizer = Callable[[str], list[str]]

_BLOCK = 128
_WORDS_KEPT = 1_000_000
_WRITTEN_AT_ONCE = 1000
_SYLLABLES = "\uac00-\ud7a3"
_RUNS = regex.compile(
    rf"(?P<characters>(?:[{CHARACTERS}]\p{{M}}*)+)|(?P<letters>(?:[{LETTERS}]\p{{M}}*)+)|(?P<syllables>[{_SYLLABLES}]+)"
    rf"|(?:(?![{CHARACTERS}{LETTERS}{_SYLLABLES}])\w)+"
)
_PIECES = {"characters": (1, 2), "letters": (2, 3), "syllables": (2,)}
"""How many characters, letters or syllables in a row are a term."""
_UNIT = regex.compile(r"\w\p{M}*|\p{M}+")
_HAS_PIECES = regex.compile(f"[{CHARACTERS}{LETTERS}{_SYLLABLES}]")


def make_tokenizer(language: str | None) -> Tokenizer:
    """Make what cuts a text into stems: compatible characters unified (NFKC), lower case, no stop words.

    Args:
        language (`str`, *optional*):
            English name of the language, which decides on the stemmer (PyStemmer) and the stop words (bm25s); some
            languages have one of them only. `None` for words as they are.

    Returns:
        `Callable[[str], list[str]]`: text in, stems out.

    Raises:
        ConfigError: There is neither a stemmer nor a list of stop words for this language.
        MissingPackageError: bm25s or PyStemmer is not installed.
    """
    if language is None:
        return _Terms(frozenset(), str)
    lists = {
        name.removeprefix("STOPWORDS_").lower(): words
        for name, words in vars(_import("bm25s").stopwords).items()
        if name.startswith("STOPWORDS_")
    }
    lists["english"] = lists.pop("en")
    lists.pop("en_plus", None)
    stemmer = _import("Stemmer")
    stemmed = set(stemmer.algorithms())
    if language not in stemmed | set(lists):
        raise ConfigError(
            f"language={language!r} is unknown. Pass one of {', '.join(sorted(stemmed | set(lists)))}, or None for "
            "words as they are."
        )
    stem = stemmer.Stemmer(language).stemWord if language in stemmed else str
    return _Terms(frozenset(lists.get(language, ())), stem)


class _Terms(dict[str, str]):
    """Cuts texts into terms, and keeps the term of each word: empty for what is no term."""

    def __init__(self, stop_words: frozenset[str], stem: Callable[[str], str]) -> None:
        self.stop_words, self.stem = stop_words, stem

    def __missing__(self, word: str) -> str:
        is_term = (len(word) > 1 or word > "\u3000") and word not in self.stop_words
        term = self.stem(word) if is_term else ""
        if len(self) < _WORDS_KEPT:
            self[word] = term
        return term

    def __call__(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFKC", text).lower()
        if text.isascii():
            return [term for term in map(self.__getitem__, split_words(text)) if term]
        text = drop_optional(text)
        if not _HAS_PIECES.search(text):
            return [term for term in map(self.__getitem__, split_words(text)) if term]
        terms = []
        for run in _RUNS.finditer(text):
            terms += self._cut(run[0], run.lastgroup) if run.lastgroup else [self[run[0]]]
        return [term for term in terms if term]

    def _cut(self, run: str, kind: str) -> list[str]:
        """Cut what stands in a row without spaces into pieces, or give all of it where it is shorter."""
        if run in self.stop_words:
            return []
        units = _UNIT.findall(run)
        pieces = ["".join(units[i : i + size]) for size in _PIECES[kind] for i in range(len(units) - size + 1)] or [
            run
        ]
        return [piece for piece in pieces if piece not in self.stop_words] if kind == "characters" else pieces


def build_index(
    folder: Path, documents: Iterable[tuple[str, Any]], id_type: pa.DataType, tokenizer: Tokenizer, k1: float, b: float
) -> int:
    """Build an index in a folder, with the texts and ids of its documents.

    Args:
        folder (`Path`):
            Where to put it.
        documents (iterable of pairs):
            Text and id of each document, in the order that breaks ties. Read once.
        id_type (`pa.DataType`):
            Type of the ids; `pa.null()` where there are none.
        tokenizer (`Callable[[str], list[str]]`):
            What cuts a text into terms.
        k1 (`float`):
            How slowly a term's weight saturates with its frequency.
        b (`float`):
            How much long documents are held back, from 0 to 1.

    Returns:
        `int`: how many documents there are.

    Raises:
        MissingPackageError: bm25s is not installed.
    """
    vocabulary: dict[str, int] = {}
    terms: list[array[int]] = []
    schema = pa.schema({"text": pa.large_string(), "id": id_type})

    def write(rows: list[tuple[str, Any]]) -> None:
        writer.write_table(pa.table({"text": [r[0] for r in rows], "id": [r[1] for r in rows]}, schema))

    with pa.OSFile(str(folder / "documents.arrow"), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        waiting: list[tuple[str, Any]] = []
        for text, identifier in documents:
            terms.append(array("i", [vocabulary.setdefault(term, len(vocabulary)) for term in tokenizer(text)]))
            waiting.append((text, identifier))
            if len(waiting) == _WRITTEN_AT_ONCE:
                write(waiting)
                waiting = []
        write(waiting)
    if vocabulary:
        bm25s = _import("bm25s")
        logging.getLogger("bm25s").setLevel(logging.INFO)  # which it sets to DEBUG
        index = bm25s.BM25(k1=k1, b=b, method="lucene")
        index.index((terms, vocabulary), create_empty_token=False, show_progress=False)
        index.save(folder / "index", show_progress=False)
        np.save(folder / "lengths.npy", np.array([len(document) for document in terms], dtype=np.int64))
    return len(terms)


class Index:
    """An index that [`build_index`] made, memory-mapped: processes that open the same one share its memory.

    Args:
        folder (`Path`):
            Where it is.
        tokenizer (`Callable[[str], list[str]]`):
            What cut its documents into terms.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        documents = pa.ipc.open_file(pa.memory_map(str(folder / "documents.arrow"))).read_all()
        self.texts, self.ids = documents["text"], documents["id"]
        self.is_empty = not (folder / "index").exists()
        if not self.is_empty:
            self._bm25 = _import("bm25s").BM25.load(folder / "index", mmap=True, show_progress=False)
            for name in ("data", "indices", "indptr"):  # a slice of a memory map costs more than one of an array
                self._bm25.scores[name] = np.asarray(self._bm25.scores[name])
            self._mean_length = float(np.load(folder / "lengths.npy").mean())

    def find_terms(self, text: str) -> list[int]:
        """Return the numbers of the terms of a query that the index knows, each once.

        A scenario repeats the words of its setting. Counted once, 88 % of the positives of the 48 PostgreSQL questions
        of the tests are among the first 10 of 903 documents; counted as often as they come, 75 %.
        """
        return [] if self.is_empty else self._bm25.get_tokens_ids(list(dict.fromkeys(self.tokenizer(text))))

    def score(self, terms: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Score every document for a query of these terms."""
        scores: np.ndarray[Any, np.dtype[np.float32]] = self._bm25.get_scores_from_ids(terms)
        return scores

    def score_text(self, terms: list[int], text: str) -> float:
        """Score any text for a query of these terms, as if it were in the index.

        The formula is Lucene's, as bm25s has it (Kamphuis et al. 2020, "Which BM25 do you mean?", table 1).
        """
        words = self.tokenizer(text)
        known = self._bm25.get_tokens_ids(words)
        frequencies = np.array([known.count(term) for term in terms])
        starts = self._bm25.scores["indptr"]
        containing = np.array([starts[term + 1] - starts[term] for term in terms])
        rarity = np.log(1 + (len(self.texts) - containing + 0.5) / (containing + 0.5))
        k1, b = self._bm25.k1, self._bm25.b
        saturation = frequencies + k1 * (1 - b + b * len(words) / self._mean_length)
        return float(np.sum(rarity * frequencies / np.maximum(saturation, 1e-9)))


def rank(scores: np.ndarray[Any, np.dtype[np.float32]], expected: int) -> Iterator[int]:
    """Return the numbers of the documents with a score above 0, best first; equal scores by number.

    Args:
        scores (`np.ndarray`):
            Score of each document.
        expected (`int`):
            How many are likely to be asked for. When more are, four times as many are looked up, and so on.
    """
    given = 0
    while True:
        best = _select(scores, expected)
        yield from best[given:].tolist()
        if len(best) < expected:
            return
        given, expected = expected, 4 * expected


def _select(scores: np.ndarray[Any, np.dtype[np.float32]], k: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Find the k best without sorting all: the k-th best of the blocks' best cannot be better than the k-th best."""
    bound = np.float32(0)
    if len(scores) > k * _BLOCK:
        blocks = np.maximum.reduceat(scores, np.arange(0, len(scores), _BLOCK))
        bound = np.partition(blocks, -k)[-k]
    found = np.flatnonzero(scores >= bound if bound > 0 else scores > 0)
    return found[np.argsort(-scores[found], kind="stable")][:k]


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as err:
        raise MissingPackageError(
            f"Mining hard negatives needs a package: {err}. Install it: `pip install bm25s PyStemmer`."
        ) from err
