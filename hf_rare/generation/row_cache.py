"""A key-value cache with tensors of its own for every row, for CPUs: no padding is stored, read or computed.

Attention goes row by row over exactly the tokens that the row has. On a CPU that is faster than a batch padded to the
longest row, since reading keys and values is what a step waits for, and memory is what the rows really need. On a GPU
the many small steps would cost more than the padding; there, [`SlotCache`] serves.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicLayer

NAME = "hf_rare_rows"
"""What the model calls this kind of attention while rows are written."""

ROOM_STEP = 32
"""A row's tensors are as long as its text and an eighth more, in steps of so many tokens."""


class RowCache(Cache):
    """Keys and values of rows, each in tensors of its own.

    Args:
        layers (`int`): layers of the model.

    Attributes:
        lengths (`list[int]`): tokens of each row.
    """

    is_padded = False
    """Whether every row takes the memory of the longest."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[_RowLayer(self) for _ in range(layers)])
        self.lengths: list[int] = []

    def make_room(self, rows: int) -> None:
        """Do nothing: every row brings its own room."""

    def add(self, prompts: Cache, sources: Sequence[tuple[int, int]]) -> None:
        """Take over rows of a cache that has read some prompts.

        Args:
            prompts ([`~transformers.Cache`]): the cache, of layers that hold every token.
            sources (`Sequence[tuple[int, int]]`): for each new row its number in that cache, and how many tokens of
                padding it has there on the left.
        """
        width = prompts.get_seq_length()
        self.lengths += [width - padding for _, padding in sources]
        for mine, theirs in zip(self.layers, prompts.layers, strict=True):
            mine.take(theirs, sources)

    def drop(self, row: int, is_spoilt: bool = False) -> None:
        """Let a row leave; the last one takes its number. What is spoilt in it goes with it."""
        for rows in (self.lengths, *(part for layer in self.layers for part in (layer.keys, layer.values))):
            rows[row] = rows[-1]
            rows.pop()

    def begin_step(self) -> tuple[None, torch.Tensor]:
        """Make room for one more token in every row.

        Returns:
            `None` for the attention mask, and the place of the new token in each row, of shape `(rows, 1)`.
        """
        places = torch.tensor(self.lengths)[:, None]
        self.lengths = [length + 1 for length in self.lengths]
        return None, places


class _RowLayer(DynamicLayer):
    """The rows of one layer: for each keys and values of shape `(heads, room, head size)`."""

    keys: Any
    values: Any

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self._cache = cache
        self.keys, self.values = [], []
        self.is_initialized = True

    def take(self, prompts: Any, sources: Sequence[tuple[int, int]]) -> None:
        for source, padding in sources:
            self.keys.append(_with_room(prompts.keys[source, :, padding:]))
            self.values.append(_with_room(prompts.values[source, :, padding:]))

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        for rows, states in ((self.keys, key_states), (self.values, value_states)):
            for i, length in enumerate(self._cache.lengths):
                if length > rows[i].shape[1]:
                    rows[i] = _with_room(rows[i])
                rows[i][:, length - 1] = states[i, :, 0]
        return self.view(self.keys), self.view(self.values)

    def view(self, rows: list[torch.Tensor]) -> list[torch.Tensor]:
        """Give the tokens of each row without the room behind them."""
        return [row[None, :, :length] for row, length in zip(rows, self._cache.lengths, strict=True)]

    def get_seq_length(self) -> int:
        """Tokens of the longest row before the one that is being written."""
        return max(self._cache.lengths, default=1) - 1


def attend_by_row(
    module: Any, query: torch.Tensor, key: Any, value: Any, mask: None, scaling: float | None = None, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """Attend from one new token of each row to the tokens of that row, as transformers calls it.

    Args:
        module: the attention layer.
        query (`torch.Tensor` of shape `(rows, heads, 1, head size)`): the queries.
        key (`list` of `torch.Tensor` of shape `(1, key heads, tokens, head size)`): the keys of each row.
        value: the values of each row, likewise.
        mask: `None`: no row has padding.
        scaling (`float`, *optional*): what scores are multiplied with.
        **kwargs: what other kinds of attention need. A model whose attention differs by one of them is found out by
            the trial that every model goes through.

    Returns:
        `torch.Tensor` of shape `(rows, 1, heads, value size)`, and `None` for the weights.
    """
    attended = torch.empty(*query.shape[:3], value[0].shape[-1], dtype=query.dtype, device=query.device)
    for i, (keys, values) in enumerate(zip(key, value, strict=True)):
        heads = keys.shape[1]
        grouped = query[i].view(1, heads, -1, query.shape[-1])  # the queries of one key head side by side
        result = torch.nn.functional.scaled_dot_product_attention(grouped, keys, values, scale=scaling)
        attended[i] = result.view(query.shape[1], 1, -1)
    return attended.transpose(1, 2), None


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """Give the mask of rows without padding."""


AttentionInterface.register(NAME, attend_by_row)
AttentionMaskInterface.register(NAME, _no_mask)


@contextlib.contextmanager
def attending_by_row(model: Any) -> Iterator[None]:
    """Let a model attend row by row for a while."""
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before


def _with_room(states: torch.Tensor) -> torch.Tensor:
    """Copy keys or values of one row into a tensor that is longer."""
    heads, length, size = states.shape
    room = ROOM_STEP * -(-(length + 1 + length // 8) // ROOM_STEP)
    roomy = states.new_empty(heads, room, size)
    roomy[:, :length] = states
    return roomy
