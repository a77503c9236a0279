"""Which rows are generated together: sorted by length, packed to a number of tokens."""

from collections.abc import Iterator, Sequence


def pack_batches(prompt_lengths: Sequence[int], max_new_tokens: int, max_batch_tokens: int) -> Iterator[list[int]]:
    """Pack prompts into micro-batches, the longest first, so that what fits shows at the start.

    A micro-batch of `b` prompts, padded to the longest of `l` tokens, takes `b * (l + max_new_tokens)` tokens of
    cache.

    Args:
        prompt_lengths (`Sequence[int]`):
            Tokens of each prompt.
        max_new_tokens (`int`):
            Most tokens of a completion.
        max_batch_tokens (`int`):
            Most tokens of a micro-batch. A prompt that is over it alone still gets a micro-batch of its own.

    Yields:
        `list[int]`: the indices of the prompts in a micro-batch.
    """
    order = sorted(range(len(prompt_lengths)), key=lambda i: (-prompt_lengths[i], i))
    start = 0
    while start < len(order):
        padded_length = prompt_lengths[order[start]] + max_new_tokens
        size = max(1, max_batch_tokens // padded_length)
        yield order[start : start + size]
        start += size
