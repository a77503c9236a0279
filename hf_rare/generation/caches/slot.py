"""A key-value cache whose rows are of different lengths, so that rows can leave a batch and others take their place.

Each row of the batch has a slot. Its tokens stand from the beginning of the slot on, without padding, and a new token
is written behind the last one of its own row. The rows in use are always the first ones: where a row leaves, the last
one moves. The model reads plain views of the slots, as long as the longest row, and a mask hides what lies behind the
end of a shorter one. It knows nothing of tokens or sampling.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from hf_rare.generation.caches.base import BatchCache

ROOM_STEP = 64
"""Slots are as long as the longest row and an eighth more, in steps of so many tokens."""


class SlotCache(BatchCache):
    """Keys and values of rows of different lengths, for models whose layers all attend to the whole text.

    Args:
        layers (`int`): layers of the model.

    Attributes:
        slots (`int`): rows there is room for.
        room (`int`): tokens there is room for in each.
    """

    is_padded = True
    takes_guesses = False

    def __init__(self, layers: int) -> None:
        super().__init__([_SlotLayer(self) for _ in range(layers)])
        self.slots = 0
        self.room = 0
        self._wanted = 0
        self._places: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def resize(self, slots: int) -> None:
        """Make room for so many rows, each as long as the rows there are need it."""
        self.slots, self.room = max(slots, len(self.lengths)), _room_for(max(self.lengths, default=0))
        for layer in self.layers:
            layer.resize()

    def make_room(self, rows: int) -> None:
        """Make room for so many rows, where there are a quarter more than before.

        Where there are fewer, slots are given up when rows need longer ones: there may have been many short rows.
        """
        self._wanted = rows
        if rows > self.slots + self.slots // 4:
            self.resize(rows)

    def add(self, prompts: Cache, sources: Sequence[tuple[int, int]]) -> None:
        """Take over rows of a cache that has read some prompts; see [`BatchCache`]."""
        first, width = len(self.lengths), prompts.get_seq_length()
        self.lengths += [width - padding for _, padding in sources]
        self._make_room()
        for mine, theirs in zip(self.layers, prompts.layers, strict=True):
            mine.take(theirs, first, sources)

    def drop(self, row: int, is_spoilt: bool = False) -> None:
        """Let a row leave; the last one takes its number.

        Values that are not finite are wiped: a mask multiplies what it hides with zero, and that would not be zero.
        """
        last = len(self.lengths) - 1
        for layer in self.layers:
            layer.move(last, row, self.lengths[last], is_spoilt)
        self.lengths[row] = self.lengths[last]
        del self.lengths[last]

    def begin_step(self, texts: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Make room for one more token in every row.

        Returns:
            `dict[str, torch.Tensor]`: the tokens and their places, of shape `(rows, 1)`, and the mask, of shape
            `(rows, longest row)`.
        """
        places = torch.tensor(self.lengths)
        self.lengths = [length + 1 for length in self.lengths]
        self._make_room()
        self._places = {places.device: (torch.arange(len(self.lengths)), places)}
        mask = (torch.arange(max(self.lengths)) <= places[:, None]).long()
        return {"input_ids": torch.tensor(texts), "attention_mask": mask, "position_ids": places[:, None]}

    def places(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the numbers of the rows and the places of their new tokens, on a device."""
        if device not in self._places:
            rows, places = next(iter(self._places.values()))
            self._places[device] = (rows.to(device), places.to(device))
        return self._places[device]

    def _make_room(self) -> None:
        if max(self.lengths) > self.room or len(self.lengths) > self.slots:
            self.resize(self._wanted)


class _SlotLayer(DynamicLayer):
    """The slots of one layer, of shape `(slots, heads, room, head size)`."""

    keys: Any
    values: Any
    is_initialized: bool

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self._cache: SlotCache = weakref.proxy(cache)  # type: ignore[assignment]

    def resize(self) -> None:
        if self.is_initialized:
            self.keys, self.values = self._resized(self.keys), self._resized(self.values)

    def take(self, prompts: Any, first: int, sources: Sequence[tuple[int, int]]) -> None:
        if not self.is_initialized:
            self.keys, self.values = self._resized(prompts.keys[:0]), self._resized(prompts.values[:0])
            self.is_initialized = True
        for row, (source, padding) in enumerate(sources, start=first):
            length = self._cache.lengths[row]
            self.keys[row, :, :length] = prompts.keys[source, :, padding:]
            self.values[row, :, :length] = prompts.values[source, :, padding:]

    def move(self, source: int, target: int, length: int, is_spoilt: bool) -> None:
        for slots in (self.keys, self.values):
            if is_spoilt:
                slots[target] = 0
            if source != target:
                slots[target, :, :length] = slots[source, :, :length]

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        rows, places = self._cache.places(key_states.device)
        self.keys[rows, :, places] = key_states[:, :, 0]
        self.values[rows, :, places] = value_states[:, :, 0]
        longest = max(self._cache.lengths)
        return self.keys[: len(rows), :, :longest], self.values[: len(rows), :, :longest]

    def get_seq_length(self) -> int:
        """Tokens of the longest row before the one that is being written."""
        return max(self._cache.lengths, default=1) - 1

    def _resized(self, slots: Any) -> torch.Tensor:
        """Return slots as many and as long as the cache says, with what was in them, and zero elsewhere."""
        resized: torch.Tensor = slots.new_zeros(self._cache.slots, slots.shape[1], self._cache.room, slots.shape[3])
        rows, length = min(len(slots), self._cache.slots), min(slots.shape[2], self._cache.room)
        resized[:rows, :, :length] = slots[:rows, :, :length]
        return resized


def _room_for(longest: int) -> int:
    return ROOM_STEP * -(-(longest + longest // 8) // ROOM_STEP)
