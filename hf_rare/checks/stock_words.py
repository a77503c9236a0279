"""Words and phrases that any question may have: those of grammar, and those in which exams ask and instruct.

They say nothing of what is asked. Stop words are those of bm25s, in 14 languages; what exams say stands in
`stock_words.toml`.
"""

import functools
import importlib
import tomllib
from collections import Counter
from pathlib import Path

import regex

from hf_rare.text import CHARACTERS, LETTERS, normalize, split_units

_LISTS = {"STOPWORDS_EN": "english", "STOPWORDS_EN_PLUS": "english"}
LONGEST_PHRASE = 8
"""Characters of the longest phrase of a script without spaces that is looked for."""

_UNSPACED = regex.compile(rf"(?:[{CHARACTERS}{LETTERS}]\p{{M}}*)+")
_HIRAGANA = regex.compile(r"[\u3041-\u309f\u30fc]\p{M}*")


def find_stock(units: list[str]) -> list[bool]:
    """Tell of each unit of a normalised text whether any question may have it.

    The text is in the language that most of its words can be of, since "come" is grammar in Italian alone. Nothing is
    said either by letters that stand alone, and hiragana, in which Japanese writes its grammar.

    Args:
        units (`list[str]`): what [`split_units`] gives.
    """
    languages, phrases = _load()
    hits = Counter(language for unit in units for language in languages.get(unit, ()))
    likely = {language for language, count in hits.items() if count == max(hits.values())}
    found = []
    start = 0
    while start < len(units):
        end = start
        while end < len(units) and _UNSPACED.fullmatch(units[end]):
            end += 1
        if end == start:
            unit = units[start]
            is_letter = len(unit) == 1 and not unit.isdigit()
            found.append(is_letter or not likely.isdisjoint(languages.get(unit, ())))
            start += 1
            continue
        found += _find_phrases(units[start:end], phrases)
        start = end
    return found


def _find_phrases(units: list[str], phrases: frozenset[str]) -> list[bool]:
    """The same for units of a script without spaces, of which several are a phrase: the longest counts."""
    found = [_HIRAGANA.fullmatch(unit) is not None for unit in units]
    start = 0
    while start < len(units):
        for end in range(min(len(units), start + LONGEST_PHRASE), start, -1):
            if "".join(units[start:end]) in phrases:
                found[start:end] = [True] * (end - start)
                start = end
                break
        else:
            start += 1
    return found


@functools.cache
def load_words(section: str) -> dict[str, frozenset[str]]:
    """Load the words of a section of the list by language, as they are after normalisation."""
    listed = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))[section]
    return {language: frozenset(map(_fold, words.split())) for language, words in listed.items()}


def _fold(word: str) -> str:
    return "".join(split_units(normalize(word)))


@functools.cache
def _load() -> tuple[dict[str, list[str]], frozenset[str]]:
    """Return the languages that have a word for grammar or exams, and the phrases of scripts without spaces."""
    stopwords = importlib.import_module("bm25s").stopwords
    by_language = {language: set(words) for language, words in load_words("exams").items()}
    for name, words in vars(stopwords).items():
        if name.startswith("STOPWORDS_"):
            language = _LISTS.get(name, name.removeprefix("STOPWORDS_").lower())
            pieces = {unit for word in words for unit in split_units(normalize(word))}
            by_language.setdefault(language, set()).update(pieces)
    languages: dict[str, list[str]] = {}
    for language, known in by_language.items():
        for word in known:
            languages.setdefault(word, []).append(language)
    chinese = frozenset(map(_fold, stopwords.STOPWORDS_CHINESE))
    return languages, chinese.union(*load_words("phrases").values())
