"""What may not be a hard negative of a row, and the columns of what may.

The ranking is left to `bm25` or `dense`, and what a copy is to `text`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import xxhash

from hf_rare.negatives.settings import MiningConfig
from hf_rare.text import Signature, normalize, sign

_SIGNATURES_KEPT = 2048

Ranked = list[tuple[int, float]]
"""Numbers of documents with their scores, best first."""


class Exclusions:
    """What may not be a hard negative of a row: its positive, those of rows with the same question, and copies.

    Args:
        config ([`MiningConfig`]): how many are wanted, and what a copy is.
        shared (`Mapping[bytes, list[str]]`): the positives of questions that several rows have, by [`hash_text`].
    """

    def __init__(self, config: MiningConfig, shared: Mapping[bytes, list[str]]) -> None:
        self.config, self.shared = config, shared
        self.wanted = config.skip_top + config.num_negatives
        self._signatures: dict[int, Signature] = {}

    def select(
        self, question: str | None, text: str, ranked: Iterable[tuple[int, float]], get_text: Callable[[int], str]
    ) -> Ranked:
        """Take the best that may be hard negatives, after those to pass over."""
        others = self.shared.get(hash_text(question), [])
        positives = [sign(positive) for positive in dict.fromkeys([text, *others])]
        found: Ranked = []
        for document, score in ranked:
            signature = self._sign(document, get_text)
            if not any(signature.is_copy_of(one, self.config.duplicate_threshold) for one in positives):
                found.append((document, score))
                if len(found) == self.wanted:
                    break
        return found[self.config.skip_top :]

    def _sign(self, document: int, get_text: Callable[[int], str]) -> Signature:
        """Make the signature of a document; those of late are kept."""
        signature = self._signatures.pop(document, None) or sign(get_text(document))
        self._signatures[document] = signature
        if len(self._signatures) > _SIGNATURES_KEPT:
            del self._signatures[next(iter(self._signatures))]
        return signature


def lay_out(
    rows: Sequence[Ranked], get_text: Callable[[int], str], get_id: Callable[[int], Any], config: MiningConfig
) -> dict[str, list[Any]]:
    """Return the new columns of some rows: texts, and scores and ids where they are asked for."""
    name = config.hard_negatives_column
    columns: dict[str, list[Any]] = {name: [[get_text(document) for document, _ in found] for found in rows]}
    if config.keep_scores:
        columns[f"{name}_scores"] = [[score for _, score in found] for found in rows]
    if config.id_column:
        columns[f"{name}_ids"] = [[get_id(document) for document, _ in found] for found in rows]
    return columns


def join_query(parts: Iterable[str | None]) -> str:
    """Make one text of the parts of a query."""
    return "\n".join(part for part in parts if part)


def is_usable(question: str | None, text: str | None) -> bool:
    """Tell whether a row has both a question and a positive."""
    return bool(question and question.strip() and text and normalize(text))


def hash_text(text: str | None) -> bytes:
    """Hash a text after normalisation."""
    return xxhash.xxh3_128_digest(normalize(text or "").encode())
