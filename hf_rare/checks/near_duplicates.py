"""Rows that ask nearly the same: all but the first are dropped.

However much they overlap, questions that differ in a number, a sign, a name or a negation ask something else. Only
those that do not are compared, and the exact overlap of their characters decides: nothing goes, or stays, by chance.
`text` says what a sign is; documents are compared in `negatives.exclusions`.
"""

import functools
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import regex
import Stemmer

from hf_rare.checks.stock_words import load_words
from hf_rare.errors import ColumnError, ConfigError
from hf_rare.rows.column_types import is_text, item_of
from hf_rare.rows.kinds_of_dataset import check_dataset
from hf_rare.settings.kinds import Fraction, check_value
from hf_rare.text import SIGN, UNSPACED, normalize, spell_signs, split_units

logger = logging.getLogger(__name__)

THRESHOLD = 0.8
"""The least share of common shingles that makes two texts near-duplicates."""

SHINGLE = 5
"""Characters in a row that texts are compared by: a question is too short for runs of words."""

BATCH_SIZE = 10_000

_NEGATIONS = regex.compile(
    r"\b(?:not|no|non|never|none|nor|neither|without|except|unless|cannot|\p{L}+n['\u2019]t"
    r"|nicht|nie|niemals|ohne|kein\p{L}*|weder|au(?:ß|ss)er|ne|n['\u2019]|pas|jamais|sans|aucun\p{L}*|ni|nunca|sin"
    r"|ning[uú]n\p{L}*|mai|senza|nessun\p{L}*|não|sem|nenhum\p{L}*|niet|geen|zonder|nooit|inte|ikke|utan|uten|uden"
    r"|bez|nije|değil|yok|không|chưa|tidak|bukan|tanpa|не|нет|без|никогда|ні|немає|δεν|μην?|χωρίς"
    r"|नहीं|न|मत|बिना|না|নয়|ਨਹੀਂ|નથી|இல்லை|కాదు|ಅಲ್ಲ|അല്ല|لا|ليس|ليست|لم|لن|بدون|غير|نه|نہیں|לא|אין|בלי)(?:\b"
    r"|(?<=['\u2019]))"
    r"|[不没沒無无非未否]|ない|なく|ません|ไม่|ဘူး|មិន|ບໍ່|않|아니|못|없"
)
_Word = tuple[str, int]
"""A word, and which of its likes in the text it is."""
_NO_WORD = ("", 0)
_APART = re.compile(r"(?<=\w)['\u2019](?=\w)")


def drop_near_duplicates(
    dataset: datasets.Dataset, columns: Sequence[str] | None = None, threshold: Fraction = THRESHOLD
) -> datasets.Dataset:
    """Drop rows whose text is nearly that of an earlier row.

    Two texts are nearly the same where, after normalisation, Jaccard's index of their runs of five characters is at
    least the threshold, and they differ in nothing that makes another question: a number, a sign that calculates or
    compares, a single letter such as that of an option, a negation, or a word in the place of another. One may say
    more than the other; articles, auxiliaries and English endings may differ. Texts that are equal but for punctuation
    always are the same. A row is compared with the rows that are kept before it: the first of its like stays. Rows
    without any text stay too.

    Args:
        dataset ([`~datasets.Dataset`]):
            The rows.
        columns (`Sequence[str]`, *optional*):
            Columns whose texts, joined, are compared: strings, or lists of strings. By default `"question"`, and
            `"scenario"` where there is one: the same question about another situation is another question.
        threshold (`float`, *optional*, defaults to 0.8):
            The least overlap of near-duplicates, above 0 and up to 1; with 1, rows of the same shingles alone go.

    Returns:
        [`~datasets.Dataset`]: the rows that stay, unchanged and in order. How many went is logged.

    Raises:
        ConfigError: `threshold` or `columns` cannot be right.
        ColumnError: A column is missing, or holds no texts.
        BatchTypeError: `dataset` is no `Dataset`.
    """
    names = name_question_columns(dataset) if columns is None else columns
    texts = [normalize("\n".join(own)) for own in read_texts(dataset, names, "drop_near_duplicates")]
    check_value("threshold", threshold, Fraction)
    kept = find_first_of_each(texts, threshold)
    if len(kept) < len(dataset):
        logger.info("%d of %d rows are dropped as near-duplicates.", len(dataset) - len(kept), len(dataset))
    return dataset.select(kept)


def name_question_columns(dataset: Any) -> list[str]:
    """Name the columns that make up a question: its own, and the scenario's where there is one."""
    has_scenario = isinstance(dataset, datasets.Dataset) and "scenario" in dataset.column_names
    return ["question", "scenario"] if has_scenario else ["question"]


def read_texts(dataset: datasets.Dataset, columns: Sequence[str], caller: str) -> list[list[str]]:
    """Read the texts of each row's columns; a column may hold lists of them.

    Raises:
        ConfigError: `columns` is empty or a text.
        ColumnError: A column is missing, or holds no texts.
        BatchTypeError: `dataset` is no `Dataset`.
    """
    check_dataset(dataset, caller)
    if isinstance(columns, str) or not columns:
        raise ConfigError(f"columns={columns!r} cannot be right: expected a list of names.")
    if missing := [name for name in columns if name not in dataset.column_names]:
        names = ", ".join(map(repr, dataset.column_names))
        raise ColumnError(f"The dataset has no column {missing[0]!r}; it has {names}. Pass columns=[...].")
    for name in columns:
        feature = dataset.features[name]
        if not is_text(item_of(feature)):
            raise ColumnError(f"Column {name!r} holds {feature}; expected strings, or lists of strings.")
    texts: list[list[str]] = []
    for batch in dataset.select_columns(list(columns)).with_format(None).iter(BATCH_SIZE):
        for values in zip(*(batch[name] for name in columns), strict=True):
            texts.append([text for value in values for text in _list_texts(value)])
    return texts


def _list_texts(value: str | list[str | None] | None) -> Iterator[str]:
    for text in value if isinstance(value, list) else [value]:
        if text is not None:
            yield text


def find_first_of_each(texts: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """Find the texts that are not nearly the same as an earlier one that is found.

    Args:
        texts (`Sequence[str]`): normalised texts.
        threshold (`float`, *optional*, defaults to 0.8): the least overlap of near-duplicates.

    Returns:
        `list[int]`: their places, in order.
    """
    seen: set[tuple[str, str]] = set()
    index = _Index()
    kept: list[int] = []
    for place, text in enumerate(texts):
        if not text:
            kept.append(place)
            continue
        asked = _Asked(text)
        key = asked.telling, asked.words
        if key in seen or any(asked.overlap(other) >= threshold for other in index.find(asked)):
            continue
        seen.add(key)
        kept.append(place)
        index.add(asked)
    return kept


class _Index:
    """Finds what asks the same: texts of one `telling` of which one has all the content of the other.

    A text with more content has the rarest word of ours, and one with less has a rarest word that we have too.
    """

    def __init__(self) -> None:
        self._having: defaultdict[tuple[str, _Word], list[_Asked]] = defaultdict(list)
        self._led_by: defaultdict[tuple[str, _Word], list[_Asked]] = defaultdict(list)

    def add(self, asked: "_Asked") -> None:
        """Take in a text."""
        keys = [(asked.telling, word) for word in asked.content]
        for key in keys:
            self._having[key].append(asked)
        self._led_by[self._rarest(keys, asked)].append(asked)

    def find(self, asked: "_Asked") -> Iterator["_Asked"]:
        """Find the texts that ask the same or more, and those that ask less."""
        keys = [(asked.telling, word) for word in asked.content]
        rarest = self._rarest(keys, asked)
        for other in self._having.get(rarest, ()):
            if asked.content <= other.content:
                yield other
        for key in (*keys, (asked.telling, _NO_WORD)):
            for other in self._led_by.get(key, ()):
                if other.content <= asked.content:
                    yield other

    def _rarest(self, keys: "list[tuple[str, _Word]]", asked: "_Asked") -> "tuple[str, _Word]":
        counts = [len(self._having.get(key, ())) for key in keys]
        return keys[counts.index(min(counts))] if keys else (asked.telling, _NO_WORD)


class _Asked:
    """What a normalised text asks.

    `telling` are its numbers, signs and single letters in order, and its negations; `words` all its words, `shingles`
    the runs of five characters of them, and `content` those that may not be replaced, each with how often it came.
    """

    def __init__(self, text: str) -> None:
        units = split_units(spell_signs(_APART.sub("", text)))
        words = [unit for unit in units if not unit.startswith(SIGN)]
        self.words = " ".join(words) or text
        telling = [unit for unit in units if _is_telling(unit)]
        self.telling = " ".join([*telling, *sorted(_NEGATIONS.findall(text))])
        self.shingles = frozenset(self.words[i : i + SHINGLE] for i in range(max(1, len(self.words) - SHINGLE + 1)))
        counts: Counter[str] = Counter()
        content: set[_Word] = set()
        harmless = _load_harmless()
        for word in words:
            if word not in harmless and not _is_telling(word):
                stem = _stem(word)
                counts[stem] += 1
                content.add((stem, counts[stem]))
        self.content = frozenset(content)

    def overlap(self, other: "_Asked") -> float:
        """Measure Jaccard's index of the shingles."""
        common = len(self.shingles & other.shingles)
        return common / (len(self.shingles) + len(other.shingles) - common)


def _is_telling(unit: str) -> bool:
    if unit.startswith(SIGN) or any(map(str.isdigit, unit)):
        return True
    return len(unit) == 1 and unit != "a" and not UNSPACED.match(unit)


@functools.lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    """Take the English ending off a word; words of other scripts stay."""
    stem: str = _stemmer().stemWord(word) if word.isascii() else word
    return stem


@functools.cache
def _stemmer() -> Any:
    return Stemmer.Stemmer("english")


@functools.cache
def _load_harmless() -> frozenset[str]:
    return frozenset().union(*load_words("harmless").values())
