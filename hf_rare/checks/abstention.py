"""Whether an answer says that the documents do not settle the question, by the phrases in `abstention.toml`.

It reads words and no reasons. What an answer says all the same ("they do not say, so the full fare applies", "while
they do not say, 7 is the fare") counts more than what it says it does not know.
"""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

import regex

from hf_rare.checks.answer_statements import find_statements, split_sentences
from hf_rare.text import UNSPACED, normalize, split_units

LONGEST = 4000
"""Characters of the end of a text that are read."""
MOST_BETWEEN = 4
"""Words of `between` that `~` stands for."""
LONGEST_GAP = 5
"""Words that `_` stands for."""
LONGEST_UNSPACED_GAP = 12
"""Characters that it stands for in scripts without spaces."""
_DIGIT = r"(?!\d)"


@dataclass(frozen=True)
class _Language:
    """The phrases of a language, the words after which something is said all the same, and clauses before that."""

    phrases: "regex.Pattern[str]"
    but: "regex.Pattern[str]"
    although: "regex.Pattern[str] | None"


def is_abstention(answer: str, trace: str = "") -> bool:
    """Tell whether an answer says that the documents do not settle the question, or that it does not know.

    Where the answer states something in so many words ("the answer is ..."), this alone is looked at; else each of its
    sentences. Of a trace without a separate answer it is the last sentence, since a trace that weighs documents says
    of many that they do not help. Read are English, German, French, Spanish, Italian, Portuguese, Dutch, Polish,
    Russian, Turkish, Chinese, Japanese, Korean and Arabic. This is the negative rejection of RGB (arXiv 2309.01431,
    section 3.2), without the one sentence that RGB tells models to say.

    Args:
        answer (`str`):
            The answer.
        trace (`str`, *optional*):
            The trace, which is read where there is no answer.

    Returns:
        `bool`: whether it abstains; `False` for an empty text.

    Example:
        >>> is_abstention("The documents do not say what a ticket costs.")
        True
        >>> is_abstention("The documents do not mention children, so a ticket costs 7.")
        False
    """
    text = (answer.strip() or trace.strip())[-LONGEST:]
    stated = find_statements(text).stated
    if stated:
        return _abstains(stated[0])
    sentences = split_sentences(text)
    return any(map(_abstains, sentences if answer.strip() else sentences[-1:]))


def _abstains(sentence: str) -> bool:
    normalized = normalize(sentence)
    whole = _spell_units(normalized)
    for language in _load():
        conceded = language.although.match(normalized) if language.although else None
        units = _spell_units(normalized[conceded.end() :]) if conceded else whole
        found = list(language.phrases.finditer(units))
        if found and not language.but.search(units, found[-1].end() - 1):
            return True
    return False


def _spell_units(text: str) -> str:
    return " " + " ".join(split_units(text)) + " "


@functools.cache
def _load() -> list[_Language]:
    path = Path(__file__).with_suffix(".toml")
    return [_compile(listed) for listed in tomllib.loads(path.read_text(encoding="utf-8")).values()]


def _compile(listed: dict[str, str]) -> _Language:
    lists = {name: [word.replace("+", " ") for word in text.split()] for name, text in listed.items()}
    lines = [line for line in listed["phrases"].splitlines() if line.strip()]
    is_unspaced = bool(UNSPACED.search(listed["but"]))
    between = rf"(?:{_any_of(lists['between'])}){{0,{MOST_BETWEEN}}}"
    gap = rf"(?:{_DIGIT}\S+ ){{0,{LONGEST_UNSPACED_GAP if is_unspaced else LONGEST_GAP}}}"

    def spell(word: str) -> str:
        if word in ("^", "$"):
            return "(?<=^ )" if word == "^" else "$"
        if word == "~":
            return between
        if word == "_":
            return gap
        return _any_of(lists[word[1:]] if word[0] == "@" else [one.replace("+", " ") for one in word.split("/")])

    phrases = "|".join("".join(map(spell, line.split())) for line in lines)
    # what follows must be more than the word itself
    return _Language(
        regex.compile(rf"(?<= )(?:{phrases})"),
        regex.compile(rf"(?<= ){_any_of(lists['but'])}\S"),
        _find_clause(lists["although"], is_unspaced) if "although" in lists else None,
    )


def _find_clause(words: list[str], is_unspaced: bool) -> "regex.Pattern[str]":
    """Match a clause at the start of a sentence that begins with one of some words, if there is more behind it."""
    begins = "|".join(regex.escape(normalize(word)) for word in words)
    end = "" if is_unspaced else r"(?!\w)"
    return regex.compile(rf"\W*(?:{begins}){end}[^,،、]*+(?:[,،、](?=\d)[^,،、]*+)*+[,،、]+(?=\W*\w)")


def _any_of(words: list[str]) -> str:
    """Match one of some words, each as the units that a text has of it; `*` at its end stands for any letters."""
    spelt = []
    for word in words:
        units = " ".join(regex.escape(unit, special_only=True) for unit in split_units(normalize(word)))
        spelt.append(units + (r"\S* " if word.endswith("*") else " "))
    return f"(?:{'|'.join(sorted(spelt, key=len, reverse=True))})"
