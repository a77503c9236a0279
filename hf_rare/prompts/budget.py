"""Which documents are shortened, and to how many tokens, when a prompt is too long for the context: numbers only."""

from collections.abc import Sequence

MIN_DOCUMENT_TOKENS = 16
"""No document is cut below this many tokens: less says nothing, and the row is `prompt_too_long` instead."""


def shorten_documents(lengths: Sequence[int], excess: int, min_tokens: int = MIN_DOCUMENT_TOKENS) -> list[int] | None:
    """Take `excess` tokens from the documents of a prompt: from the longest hard negatives first, the positive last.

    Hard negatives are levelled: none is cut while another one is longer. Only when they are all at `min_tokens` is the
    positive cut as well.

    Args:
        lengths (`Sequence[int]`):
            Tokens of each document; the first is the positive.
        excess (`int`):
            How many tokens must go.
        min_tokens (`int`, *optional*, defaults to 16):
            The least that remains of a document that is cut, in tokens.

    Returns:
        `list[int]`: tokens that each document may keep; or `None` when `excess` cannot be met.
    """
    positive, negatives = lengths[0], list(lengths[1:])
    kept_negatives = _level(negatives, sum(negatives) - excess, min_tokens)
    excess -= sum(negatives) - sum(kept_negatives)
    if excess <= 0:
        return [positive, *kept_negatives]
    if positive - excess < min(min_tokens, positive):
        return None
    return [positive - excess, *kept_negatives]


def _level(lengths: list[int], total: int, min_tokens: int) -> list[int]:
    """Cut the longest first until the sum is at most `total`, and none below `min_tokens`."""
    cap = min_tokens
    remaining = total
    for count, length in zip(range(len(lengths), 0, -1), sorted(lengths), strict=True):
        if length * count > remaining:
            cap = max(min_tokens, remaining // count)
            break
        remaining -= length
    else:
        return lengths
    return [min(length, cap) for length in lengths]
