"""What a trace takes from the documents before it: the numbers it cites and the runs of words it quotes.

Plain values in, plain values out; `grounding` knows the columns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from hf_rare.checks.citation_forms import DOCUMENT_WORDS
from hf_rare.checks.citations import find_citations
from hf_rare.text import normalize, split_units

MIN_QUOTE_TOKENS = 8
"""Fewer words in a row are shared by accident too often, such as the name of a thing."""


@dataclass(frozen=True)
class Grounding:
    """What one trace rests on. Documents are numbers: 0 is the positive, i the i-th hard negative.

    Args:
        cited_documents (`list[int]`): documents that it cites, ascending.
        unknown_citations (`list[int]`): numbers that it cites and no document of its prompt had, ascending.
        quoted_documents (`list[int]`): documents that it quotes, ascending.
        longest_quotes (`list[int]`): tokens of the longest quote from each document; 0 where there is none.
    """

    cited_documents: list[int] = field(default_factory=list)
    unknown_citations: list[int] = field(default_factory=list)
    quoted_documents: list[int] = field(default_factory=list)
    longest_quotes: list[int] = field(default_factory=list)

    @property
    def grounded_on_positive(self) -> bool:
        """Whether the trace cites or quotes the positive, whatever else it cites or quotes."""
        return 0 in self.cited_documents or 0 in self.quoted_documents

    @property
    def distracted(self) -> bool:
        """Whether the trace cites or quotes hard negatives, and not the positive."""
        return bool(self.cited_documents or self.quoted_documents) and not self.grounded_on_positive


def assess_grounding(
    trace: str,
    documents: Sequence[str],
    document_order: Sequence[int],
    asked: Sequence[str] = (),
    *,
    min_quote_tokens: int = MIN_QUOTE_TOKENS,
    document_words: tuple[str, ...] = DOCUMENT_WORDS,
) -> Grounding:
    """Find what a trace rests on.

    Args:
        trace (`str`):
            The trace.
        documents (`Sequence[str]`):
            The positive, then the hard negatives.
        document_order (`Sequence[int]`):
            The document at each place of the prompt, where the number 1 is the first place.
        asked (`Sequence[str]`, *optional*):
            Question and scenario: what stands there too is not quoted from a document.
        min_quote_tokens (`int`, *optional*, defaults to 8):
            Tokens of the shortest quote.
        document_words (`tuple[str, ...]`, *optional*):
            Words that a number stands behind when it means a document.

    Returns:
        [`Grounding`]: the documents it cites and quotes.
    """
    numbers = find_citations(trace, document_words)
    quotes = longest_quotes(trace, documents, asked, min_quote_tokens)
    known = [number for number in numbers if 1 <= number <= len(document_order)]
    return Grounding(
        cited_documents=sorted(document_order[number - 1] for number in known),
        unknown_citations=[number for number in numbers if number not in known],
        quoted_documents=[document for document, length in enumerate(quotes) if length],
        longest_quotes=quotes,
    )


def longest_quotes(
    trace: str, documents: Sequence[str], asked: Iterable[str] = (), min_tokens: int = MIN_QUOTE_TOKENS
) -> list[int]:
    """Measure the longest run of tokens that a trace shares with each document.

    A token is a word or a number, without case and punctuation; in scripts without spaces it is a character. A run
    counts where no `min_tokens` tokens of it in a row stand in `asked` too: who repeats the question quotes no
    document. A run that stands in several documents counts for each.

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
    return split_units(normalize(text).replace("_", " "))


def _longest_run(tokens: list[str], trace: str, grams: set[tuple[str, ...]], size: int) -> int:
    """Return the length of the longest run of `tokens` in `trace` that consists of `grams`."""
    longest, start = 0, 0
    for is_shared, stretch in groupby(gram in grams for gram in _grams(tokens, size)):
        length = sum(1 for _ in stretch)
        end = start + length + size - 1 if is_shared else start  # the run lies within the stretch
        run = max(longest, size - 1)
        for first in range(start, end):
            while first + run < end and _join(tokens[first : first + run + 1]) in trace:
                longest = run = run + 1
        start += length
    return longest


def _grams(tokens: list[str], size: int) -> Iterable[tuple[str, ...]]:
    return zip(*(tokens[i:] for i in range(size)), strict=False)


def _join(tokens: list[str]) -> str:
    """Join tokens so that a run of them is found only where it begins and ends with whole tokens."""
    return f" {' '.join(tokens)} "
