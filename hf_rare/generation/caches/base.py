"""What the key-value caches have in common whose rows can leave the batch and make room for others."""

from collections.abc import Sequence

import torch
from transformers.cache_utils import Cache, DynamicLayer


class BatchCache(Cache):
    """Keys and values of the rows of a batch, which are numbered from 0. Where one leaves, the last takes its number.

    Args:
        layers (`Sequence[DynamicLayer]`): the layers. They hold the cache by a weak reference, so that the tensors are
            freed with it, and not by a later garbage collection.

    Attributes:
        lengths (`list[int]`): tokens of each row.
        is_padded (`bool`): whether every row takes the memory of the longest.
        takes_guesses (`bool`): whether a step can take more than one token of a row.
        attention (`str`, *optional*): the kind of attention that it is made for; `None` for the model's own.
    """

    is_padded: bool
    takes_guesses: bool
    attention: str | None = None

    def __init__(self, layers: Sequence[DynamicLayer]) -> None:
        super().__init__(layers=list(layers))
        self.lengths: list[int] = []

    def make_room(self, rows: int) -> None:
        """Make room for so many rows, where they do not bring their own."""

    def add(self, prompts: Cache, sources: Sequence[tuple[int, int]]) -> None:
        """Take over rows of a cache that has read some prompts.

        Args:
            prompts ([`~transformers.Cache`]): the cache, of layers that hold every token.
            sources (`Sequence[tuple[int, int]]`): for each new row its number in that cache, and how many tokens of
                padding it has there on the left.
        """
        raise NotImplementedError

    def drop(self, row: int, is_spoilt: bool = False) -> None:
        """Let a row leave; the last one takes its number.

        Args:
            row (`int`): its number.
            is_spoilt (`bool`): whether some of its values are not finite.
        """
        raise NotImplementedError

    def begin_step(self, texts: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Make room for the next tokens of every row.

        Args:
            texts (`Sequence[list[int]]`): the tokens of each row, at least one; more only where guesses are taken.

        Returns:
            `dict[str, torch.Tensor]`: what the model's forward takes.
        """
        raise NotImplementedError

    def take_back(self, row: int, tokens: int) -> None:
        """Forget the last tokens of a row, which were guesses."""
        self.lengths[row] -= tokens
