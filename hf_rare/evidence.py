"""What a trace takes from the documents before it: the numbers it cites and the runs of words it quotes.

Texts in, numbers out; `grounding` knows the columns and what the numbers mean.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import takewhile

DOCUMENT_WORDS = ("document", "doc", "passage", "source")
"""Words that a number stands behind when it means a document."""

MIN_QUOTE_TOKENS = 8
"""Fewer words in a row are shared by accident too often, such as the name of a thing."""

_NUMBER, _SPACE = "[0-9]{1,3}", r"\s{0,3}"
_RANGE = rf"(?:[–—-]|to\b|through\b)"
_SEPARATOR = rf"{_SPACE}(?:,{_SPACE}(?:and|or)\b|(?:and|or)\b|[,;&/]|{_RANGE}){_SPACE}"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def find_citations(trace: str, document_words: tuple[str, ...] = DOCUMENT_WORDS) -> list[int]:
    """Find the numbers by which a trace cites documents.

    Read are numbers of up to three digits in brackets, alone, in lists and in ranges (`[1]`, `[2, 3]`, `[1][2]`,
    `[1-3]`, `[Document 2]`, `【1】`), and behind a word for documents, in lists behind its plural (`document 2`,
    `Doc. #2`, `documents 1, 2 and 4`). Not read are number words ("the second document") and years. A mention is a
    citation whatever it says: "document 2 does not help" cites 2. So is an index in brackets, such as that of `x[1]`.

    Args:
        trace (`str`):
            The trace.
        document_words (`tuple[str, ...]`, *optional*, defaults to `("document", "doc", "passage", "source")`):
            Words in the singular that a number stands behind. Case does not matter.

    Returns:
        `list[int]`: the numbers as written, each once, ascending; also those that no document has.
    """
    mentions, spans = _compile(document_words)
    numbers: set[int] = set()
    for mention in mentions.finditer(trace):
        for span in spans.finditer(mention[0]):
            first, last = int(span[1]), int(span[2] or span[1])
            numbers.update(range(first, last + 1) if first <= last else (first, last))
    return sorted(numbers)


def longest_quotes(
    trace: str, documents: Sequence[str], asked: Iterable[str] = (), min_tokens: int = MIN_QUOTE_TOKENS
) -> list[int]:
    """Measure the longest run of tokens that a trace shares with each document.

    A token is a word or a number, without case and punctuation; in scripts without spaces it is a character. A run
    counts where no `min_tokens` tokens of it in a row stand in `asked` too: who repeats the question quotes no document.
    A run that stands in several documents counts for each.

    Args:
        trace (`str`): the trace.
        documents (`Sequence[str]`): the documents.
        asked (`Iterable[str]`, *optional*): what else the prompt says: question and scenario.
        min_tokens (`int`, *optional*, defaults to 8): tokens of the shortest run that counts.

    Returns:
        `list[int]`: tokens of the longest run for each document; 0 where there is none of `min_tokens`.
    """
    tokens = tokenize(trace)
    grams = set(_grams(tokens, min_tokens))
    for text in asked:
        grams.difference_update(_grams(tokenize(text), min_tokens))
    if not grams:
        return [0] * len(documents)
    joined = _join(tokens)
    return [_longest_run(tokenize(document), joined, grams, min_tokens) for document in documents]


def tokenize(text: str) -> list[str]:
    """Split a text into its words and numbers, in lower case."""
    return _TOKEN.findall(text.casefold())


def _longest_run(tokens: list[str], trace: str, grams: set[tuple[str, ...]], size: int) -> int:
    """Give the length of the longest run of `tokens` in `trace` that consists of `grams`."""
    is_shared = [gram in grams for gram in _grams(tokens, size)]
    longest = 0
    for start in (i for i, shared in enumerate(is_shared) if shared):
        allowed = size - 1 + sum(1 for _ in takewhile(bool, is_shared[start : start + longest + 1]))
        while allowed > longest and _join(tokens[start : start + longest + 1]) in trace:
            longest += 1
            allowed += is_shared[start + longest + 1 - size] if len(is_shared) > start + longest + 1 - size >= 0 else 0
    return longest


def _grams(tokens: list[str], size: int) -> Iterable[tuple[str, ...]]:
    return zip(*(tokens[i:] for i in range(size)), strict=False)


def _join(tokens: list[str]) -> str:
    """Join tokens so that a run of them is found only where it begins and ends with whole tokens."""
    return f" {' '.join(tokens)} "


@lru_cache(maxsize=16)
def _compile(document_words: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Compile what mentions documents, and the numbers and ranges in a mention."""
    words = "|".join(sorted(map(re.escape, document_words), key=len, reverse=True))
    mark = rf"(?:{_SPACE}(?:number\b|no\b|nr\b|\#)\.?)?[\s_*([\#-]{{0,4}}"
    name = rf"(?<!\w)(?:{words})"
    item = rf"(?:{name}s?\.?{mark})?\#?{_NUMBER}"
    bracketed = rf"(?<!\\)[\[【]{_SPACE}{item}(?:{_SEPARATOR}{item})*{_SPACE}[\]】]"
    end = rf"(?!\w|[.,][0-9])"
    one = rf"{name}\.?{mark}{_NUMBER}{end}"
    many = rf"{name}s\.?{mark}{_NUMBER}[\])*_]{{0,3}}(?:{_SEPARATOR}[*(\[\#]{{0,3}}{_NUMBER}[\])*_]{{0,3}})*{end}"
    return (
        re.compile(f"{bracketed}|{many}|{one}", re.IGNORECASE),
        re.compile(rf"({_NUMBER})(?:{_SPACE}{_RANGE}{_SPACE}\#?({_NUMBER}))?", re.IGNORECASE),
    )
