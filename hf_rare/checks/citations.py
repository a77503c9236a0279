"""The numbers by which a text cites documents, in the forms in which people and models write them.

What has the form of a citation and is none is left out: intervals and lists, indices, roots, code, what is counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hf_rare.checks.citation_context import MEASURES, hide_code_and_formulas, is_maths
from hf_rare.checks.citation_forms import (
    CHINESE_NUMBERS,
    DIGITS,
    DOCUMENT_WORDS,
    NUMBER_WORDS,
    ORDINALS,
    RANGE,
    ROMAN_NUMBERS,
    Forms,
    make_forms,
)

MAX_RANGE = 100
"""Documents of the longest range that is read as one."""

_UNITS = (
    rf"(?:{MEASURES}|(?:words?|lines?|items?|points|copies|men|women|others?|more|reasons?|cases?|examples?|kinds?"
    rf"|types?"
    r"|ways|steps?|parts?)(?![^\W\d_]))"
)
_VERBS = (
    "address|agree|answer|apply|argue|claim|clarify|concern|confirm|contain|cover|deal|define|describe|detail|discuss|do|"
    "establish|explain|focus|give|have|help|highlight|hold|imply|indicate|list|mention|mean|name|note|offer|outline|point|"
    "provide|prove|refer|reinforce|relate|report|rest|reveal|say|settle|show|speak|state|stress|suggest|support|talk|tell"
)
_NO_VERB = re.compile(rf"\s+(?!(?:{_VERBS})(?:e?s)?\b|(?:is|was|has|does|as|this|us|its)\b)[a-z]+s\b")
_COUNTED = re.compile(rf"[ \t]{{0,2}}-?{_UNITS}")
_END = re.compile(r"(?![0-9A-Za-z_]|[.:][0-9]|,[0-9]{3}|-[A-Za-z])")
_BRACKETED = re.compile(r"\\?[\[\u3010\uff3b]([^\[\]\u3010\u3011\uff3b\uff3d\n]{1,120}?)\\?[\]\u3011\uff3d]")
_SUPERSCRIPT = re.compile(rf"(?:^|[.,;:!?)\"\u201d\s]|[a-z]{{4}})<sup>\s*({DIGITS}(?:\s*,\s*{DIGITS})*)\s*</sup>")
_CITED_IN_PARENTHESES = re.compile(
    rf"\b(?:see|cf\.|according to|siehe|vgl\.|laut|selon|voir|según)\s\(({DIGITS})\)", re.IGNORECASE
)
_RANGE_ALONE = re.compile(rf"\s{{0,3}}(?:{RANGE}|a)\s{{0,3}}", re.IGNORECASE)
_LAW = re.compile(r"\s(?:of|der|des|de|du|del)\b|\s[A-Z]{2}")
_COMPARED = re.compile(
    r"\b(?:compar\w+|contrast\w*|oppos\w+|relat\w+|link\w*|connect\w*|add\w*)\W+(?:\w+\W+){0,2}$", re.IGNORECASE
)
_AMBIGUOUS = ("text", "context", "article", "reference", "source")
"""Words for documents that are used for much else."""

_OTHER_SOURCES = re.compile(
    r"\b(?:data|power|light|heat|energy|noise|water|voltage|current|radiation|sound|point|neutron|food|open|a"
    r"|another|any|each"
    r"|every|no|one)\s+$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Citation:
    """Documents that a text cites in one place.

    Args:
        start (`int`): where it begins.
        end (`int`): where it ends.
        numbers (`tuple[int, ...]`): the documents, as they are numbered there.
    """

    start: int
    end: int
    numbers: tuple[int, ...]


def find_citations(trace: str, document_words: tuple[str, ...] = DOCUMENT_WORDS) -> list[int]:
    """Find the numbers by which a trace cites documents.

    Read are numbers of up to three digits in brackets, alone, in lists and in ranges, with what else stands there
    (`[1]`, `[2, 3]`, `[1][2]`, `[1]-[3]`, `[Document 2, p. 4]`, `【3†source】`, `[^2]`), and behind a word for
    documents, also in words (`document 2`, `Doc. #2`, `documents 1, 2 and 4`, `document 1 and 3`, `the second
    document`). Not read are years, and what only looks so: intervals, lists and indices (`in [0, 1]`, `x[1]`),
    formulas, code, and what is counted ("documents 10 years old"). A mention is a citation whatever it says:
    "document 2 does not help" cites 2.

    Args:
        trace (`str`):
            The trace.
        document_words (`tuple[str, ...]`, *optional*):
            Words in the singular that a number stands behind. By default `DOCUMENT_WORDS`, in several languages. Case
            does not matter.

    Returns:
        `list[int]`: the numbers as written, each once, ascending; also those that no document has.
    """
    return sorted({number for citation in locate_citations(trace, document_words) for number in citation.numbers})


def locate_citations(trace: str, document_words: tuple[str, ...] = DOCUMENT_WORDS) -> list[Citation]:
    """Find the citations of a trace and where they stand; see [`find_citations`]."""
    forms = make_forms(document_words)
    text = hide_code_and_formulas(trace, forms)
    citations = [*_find_bracketed(text, forms), *_find_mentions(text, forms), *_find_ordinals(text, forms)]
    for match in (*_SUPERSCRIPT.finditer(text), *_CITED_IN_PARENTHESES.finditer(text)):
        citations.append(Citation(*match.span(), tuple(map(int, re.findall(r"\d+", match[1])))))
    return sorted(citations, key=lambda citation: citation.start)


def _find_bracketed(text: str, forms: Forms) -> Iterator[Citation]:
    last_end, last_was_citation, last_number = -1, False, 0
    for match in _BRACKETED.finditer(text):
        found = forms.in_brackets.fullmatch(match[1])
        numbers = _expand(found["items"]) if found else ()
        is_adjacent = match.start() == last_end
        if not numbers or (is_adjacent and not last_was_citation) or is_maths(text, match, numbers, is_adjacent):
            last_end, last_was_citation = match.end(), False
            continue
        between = text[last_end : match.start()] if last_was_citation else ""
        is_range = len(between) < 12 and _RANGE_ALONE.fullmatch(between) and numbers[0] - last_number <= MAX_RANGE
        if is_range and not _COMPARED.search(text[max(0, last_end - 60) : last_end].rpartition("[")[0]):
            numbers = (*range(last_number + 1, numbers[0]), *numbers)
        yield Citation(*match.span(), numbers)
        last_end, last_was_citation, last_number = match.end(), True, numbers[-1]


def _find_mentions(text: str, forms: Forms) -> Iterator[Citation]:
    end = 0
    for match in forms.mention.finditer(text):
        if match.start() >= end and (numbers := _read_list(text, match, forms)):
            end = numbers[-1][1]
            yield Citation(match.start(), end, tuple(number for number, _ in numbers))


def _read_list(text: str, match: re.Match[str], forms: Forms) -> list[tuple[int, int]]:
    """Read the numbers behind a word for documents, each with where it ends; none where something else is meant."""
    word, is_plural = match["word"] or "", bool(match["plural"]) or not match["word"]
    first = _read_number(text, match.end(), forms, word)
    if first is None or _COUNTED.match(text, first[1]):
        return []
    if word in _AMBIGUOUS and not is_plural and _NO_VERB.match(text, first[1]):
        return []  # in the context 3 factors matter
    if word.lower() == "source" and _OTHER_SOURCES.search(text[max(0, match.start() - 20) : match.start()]):
        return []
    numbers = [first]
    while following := forms.next_number.match(text, numbers[-1][1]):
        found = _read_number(text, following.end(), forms, word if is_plural else "")
        if found is None or _COUNTED.match(text, found[1]) or (not is_plural and _NO_VERB.match(text, found[1])):
            break
        between = found[0] - numbers[-1][0]
        if 1 < between <= MAX_RANGE and _RANGE_ALONE.fullmatch(following["separator"]):
            numbers += [(number, found[1]) for number in range(numbers[-1][0] + 1, found[0])]
        numbers.append(found)
    is_law = word.lower() == "article" and _LAW.match(text, numbers[-1][1])
    return [] if is_law else numbers


def _read_number(text: str, place: int, forms: Forms, word: str) -> tuple[int, int] | None:
    """Read the number at a place; give it, and where it ends. Words for one count behind a word for documents."""
    match = forms.number.match(text, place)
    if match is None or not _END.match(text, match.end()):
        return None
    if match["digits"]:
        return int(match["digits"]), match.end()
    if match["chinese"]:
        return CHINESE_NUMBERS[match["chinese"]], match.end()
    if match["word"] and word:
        return NUMBER_WORDS[match["word"].lower()], match.end()
    if match["roman"] in ROMAN_NUMBERS and word[:1].isupper():
        return ROMAN_NUMBERS[match["roman"]], match.end()
    return None


def _find_ordinals(text: str, forms: Forms) -> Iterator[Citation]:
    for match in forms.ordinal.finditer(text):
        if number := match["chinese"] or match["japanese"]:
            yield Citation(*match.span(), (CHINESE_NUMBERS.get(number) or int(number),))
        elif not _OTHER_SOURCES.search(text[: match.start()][-20:]):
            yield Citation(
                *match.span(), tuple(_read_ordinal(part) for part in (match["first"], match["second"]) if part)
            )


def _read_ordinal(text: str) -> int:
    return next(number for pattern, number in ORDINALS.items() if re.fullmatch(pattern, text, re.IGNORECASE))


def _expand(items: str) -> tuple[int, ...]:
    """Return the numbers of a list, those between the ends of a range too."""
    numbers: list[int] = []
    for match in re.finditer(
        rf"({DIGITS})[a-z]?(?:\s{{0,3}}{RANGE}\s{{0,3}}[^\d,;]{{0,12}}({DIGITS}))?", items, re.IGNORECASE
    ):
        first, last = int(match[1]), int(match[2] or match[1])
        numbers += range(first, last + 1) if first <= last <= first + MAX_RANGE else (first, last)
    return tuple(numbers)
