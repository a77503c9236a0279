"""A key-value cache with tensors of its own for every row, for CPUs: no padding is stored, read or computed.

Attention goes row by row over exactly the tokens that the row has. On a CPU that is faster than a batch padded to the
longest row, since reading keys and values is what a step waits for, and memory is what the rows really need. On a GPU
the many small steps would cost more than the padding; there, [`SlotCache`] serves.
"""

import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from hf_rare.generation.attention import register
from hf_rare.generation.caches.base import BatchCache

NAME = "hf_rare_rows"
"""What the model calls this kind of attention while rows are written. It is registered with the first cache."""

ROOM_STEP = 32
"""A row's tensors are as long as its text and an eighth more, in steps of so many tokens."""


class RowCache(BatchCache):
    """Keys and values of rows, each in tensors of its own.

    Args:
        layers (`int`): layers of the model.

    Attributes:
        spans (`list[tuple[int, int]]`): the first token of each row among all tokens of the step, and the end.
    """

    is_padded = False
    takes_guesses = True
    attention = NAME

    def __init__(self, layers: int) -> None:
        super().__init__([_RowLayer(self) for _ in range(layers)])
        register(NAME, attend_by_row)
        self.spans: list[tuple[int, int]] = []
        self._masks: dict[tuple[int, int, torch.device, torch.dtype], torch.Tensor] = {}

    def add(self, prompts: Cache, sources: Sequence[tuple[int, int]]) -> None:
        """Take over rows of a cache that has read some prompts; see [`BatchCache`]."""
        width = prompts.get_seq_length()
        self.lengths += [width - padding for _, padding in sources]
        for mine, theirs in zip(self.layers, prompts.layers, strict=True):
            mine.take(theirs, sources)

    def drop(self, row: int, is_spoilt: bool = False) -> None:
        """Let a row leave; the last one takes its number. What is spoilt in it goes with it."""
        for rows in (self.lengths, *(part for layer in self.layers for part in (layer.keys, layer.values))):
            rows[row] = rows[-1]
            rows.pop()

    def begin_step(self, texts: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Make room for the next tokens of every row.

        Returns:
            `dict[str, torch.Tensor]`: the tokens of all rows, one row behind the other, and the place of each in its
            own row, both of shape `(1, tokens)`. No mask is needed.
        """
        places = [
            place
            for length, text in zip(self.lengths, texts, strict=True)
            for place in range(length, length + len(text))
        ]
        self.lengths = [length + len(text) for length, text in zip(self.lengths, texts, strict=True)]
        ends = list(itertools.accumulate(map(len, texts)))
        self.spans = list(zip([0, *ends], ends, strict=False))
        self._masks = {}
        return {"input_ids": torch.tensor([list(itertools.chain(*texts))]), "position_ids": torch.tensor([places])}

    def mask(self, row: int, repeats: int, like: torch.Tensor) -> torch.Tensor | None:
        """Return what hides from the new tokens of a row those behind them; `None` for one token.

        Args:
            row (`int`): the number of the row.
            repeats (`int`): how often the new tokens stand below one another, once for each query head of a key head.
            like (`torch.Tensor`): a tensor of the type and the device that the mask is to have.

        Returns:
            `torch.Tensor` of shape `(repeats * new tokens, tokens of the row)`, which is added to the scores.
        """
        first, end = self.spans[row]
        tokens, length = end - first, self.lengths[row]
        if tokens == 1:
            return None
        kind = row, repeats, like.device, like.dtype
        if kind not in self._masks:
            mask = like.new_zeros(tokens, length)
            mask[:, length - tokens :] = like.new_full((tokens, tokens), -torch.inf).triu(diagonal=1)
            self._masks[kind] = mask.repeat(repeats, 1)
        return self._masks[kind]


class _RowLayer(DynamicLayer):
    """The rows of one layer: for each keys and values of shape `(heads, room, head size)`."""

    keys: Any
    values: Any

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self.cache: RowCache = weakref.proxy(cache)  # type: ignore[assignment]
        self.keys, self.values = [], []
        self.is_initialized = True

    def take(self, prompts: Any, sources: Sequence[tuple[int, int]]) -> None:
        for source, padding in sources:
            for rows, states in ((self.keys, prompts.keys), (self.values, prompts.values)):
                own = states[source, :, padding:]
                rows.append(_with_room(own, own.shape[1] + 1))

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Take the new tokens of all rows, and give the layer itself in the place of keys and values."""
        for rows, states in ((self.keys, key_states[0]), (self.values, value_states[0])):
            for i, (length, (first, end)) in enumerate(zip(self.cache.lengths, self.cache.spans, strict=True)):
                if length > rows[i].shape[1]:
                    rows[i] = _with_room(rows[i], length)
                rows[i][:, length - (end - first) : length] = states[:, first:end]
        return self, self

    def get_seq_length(self) -> int:
        """Tokens of the longest row, without the last of the step."""
        return max(self.cache.lengths, default=1) - 1


def attend_by_row(
    module: Any, query: torch.Tensor, key: Any, value: Any, mask: None, scaling: float | None = None, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """Attend from the new tokens of each row to the tokens of that row, as transformers calls it.

    Args:
        module: the attention layer.
        query (`torch.Tensor` of shape `(1, heads, tokens, head size)`): the queries, one row behind the other.
        key: the layer of a [`RowCache`].
        value: the same layer.
        mask: `None`: no row has padding.
        scaling (`float`, *optional*): what scores are multiplied with.
        **kwargs: what other kinds of attention need. A model whose attention differs by one of them is found out by
            the trial that every model goes through.

    Returns:
        `torch.Tensor` of shape `(1, tokens, heads, value size)`, and `None` for the weights.
    """
    heads, size = query.shape[1], value.values[0].shape[-1]
    attended = query.new_empty(1, query.shape[2], heads, size)
    for i, (length, (first, end)) in enumerate(zip(key.cache.lengths, key.cache.spans, strict=True)):
        keys, values = key.keys[i][None, :, :length], value.values[i][None, :, :length]
        key_heads = keys.shape[1]
        grouped = query[0, :, first:end].reshape(1, key_heads, -1, query.shape[-1])  # queries of one key head together
        result = torch.nn.functional.scaled_dot_product_attention(
            grouped, keys, values, attn_mask=key.cache.mask(i, heads // key_heads, query), scale=scaling
        )
        attended[0, first:end] = result.view(heads, end - first, size).transpose(0, 1)
    return attended, None


def _with_room(states: torch.Tensor, length: int) -> torch.Tensor:
    """Copy keys or values of one row into a tensor that has room for so many tokens and more."""
    room = ROOM_STEP * -(-(length + length // 8) // ROOM_STEP)
    roomy = states.new_empty(states.shape[0], room, states.shape[2])
    roomy[:, : states.shape[1]] = states
    return roomy
