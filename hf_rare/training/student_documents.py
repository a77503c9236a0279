"""Which documents a student gets, where they are not those of the teacher, and their numbers. Plain values in and out.

A trace cites documents by number, and it stays as the teacher wrote it. So a document that the teacher saw keeps its
number, one that is left out leaves a gap, and a new one never gets a number that means another document in the trace.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

from hf_rare.rows.row import Row, derive_seed
from hf_rare.text import normalize

SEED_BITS = 63
"""The bits of a seed that [`derive_seed`] gives."""


@dataclass(frozen=True)
class StudentDocuments:
    """The documents of a student's prompt, by ascending number.

    Args:
        numbers (`tuple[int, ...]`): the number of each document.
        texts (`tuple[str, ...]`): the text of each document.
        has_positive (`bool`): whether the positive is one of them.
        left_out (`frozenset[int]`): the numbers of the teacher's documents that are none of them.
    """

    numbers: tuple[int, ...]
    texts: tuple[str, ...]
    has_positive: bool
    left_out: frozenset[int]

    def with_gaps(self) -> list[str | None]:
        """List the texts by number, from 1, with `None` for a number that no document has."""
        texts = dict(zip(self.numbers, self.texts, strict=True))
        return [texts.get(number) for number in range(1, max(self.numbers, default=0) + 1)]


def choose_documents(
    row: Row,
    order: Sequence[int],
    seed: int,
    *,
    positive_share: float = 1.0,
    negatives: int | Sequence[str] | None = None,
    cited: Collection[int] = (),
) -> StudentDocuments:
    """Choose the documents that a student gets for a row, by a hash of the row's content and a seed alone.

    Args:
        row ([`Row`]):
            The row.
        order (`Sequence[int]`):
            The document at each of the teacher's places; 0 is the positive.
        seed (`int`):
            The seed of all choices.
        positive_share (`float`, *optional*, defaults to 1.0):
            Share of rows with the positive. A row that has no other document keeps it, unless `negatives` is 0.
        negatives (`int` or `Sequence[str]`, *optional*):
            The most negatives that stay, or texts that stand in the place of the row's. All stay by default.
        cited (`Collection[int]`, *optional*):
            Numbers that the row's traces cite: no new text gets one of them.

    Returns:
        [`StudentDocuments`]: documents and numbers.
    """
    digest = row.digest(seed)
    number_of = {document: number for number, document in enumerate(order, start=1)}
    has_positive = derive_seed(digest, "student positive", 0) < positive_share * 2**SEED_BITS
    chosen = {number_of[0]: row.positive} if has_positive else {}
    if negatives is None or isinstance(negatives, int):
        others = range(1, len(order))
        possible = list(others) if has_positive else [i for i in others if not is_positive(row, row.documents[i])]
        ranked = sorted(possible, key=lambda i: derive_seed(digest, "student negative", i))
        chosen |= {number_of[i]: row.documents[i] for i in ranked[:negatives]}
    else:
        chosen |= _number_texts(row, number_of, digest, negatives, cited)
    if not chosen and negatives != 0:  # RAFT's students have documents, if not the right one
        chosen, has_positive = {number_of[0]: row.positive}, True
    numbers = tuple(sorted(chosen))
    left_out = {number for document, number in number_of.items() if chosen.get(number) != row.documents[document]}
    return StudentDocuments(numbers, tuple(chosen[number] for number in numbers), has_positive, frozenset(left_out))


def is_positive(row: Row, text: str) -> bool:
    """Tell whether a text equals the positive of a row, after normalisation."""
    return text == row.positive or normalize(text) == normalize(row.positive)


def _number_texts(
    row: Row, number_of: Mapping[int, int], digest: bytes, texts: Sequence[str], cited: Collection[int]
) -> dict[int, str]:
    """Number texts that do not equal the positive, each once: as the teacher saw them, or else as no trace cites.

    New texts are spread over the teacher's own numbers, as long as there are free ones, so that the place of the
    positive among them says nothing.
    """
    known = {row.documents[document]: number for document, number in number_of.items() if document}
    texts = [text for text in dict.fromkeys(texts) if not is_positive(row, text)]
    numbered = {known[text]: text for text in texts if text in known}
    new = sorted(
        (text for text in texts if text not in known),
        key=lambda text: derive_seed(digest, f"student document {text}", 0),
    )
    taken = {*cited, *numbered, number_of[0]}
    own = sorted(
        (number for number in number_of.values() if number not in taken),
        key=lambda number: derive_seed(digest, "student number", number),
    )
    further = (number for number in count(len(number_of) + 1) if number not in taken)
    free = [*own[: len(new)], *islice(further, max(0, len(new) - len(own)))]
    return numbered | dict(zip(free, new, strict=True))
