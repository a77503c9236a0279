"""An observer of prompts that are some of those that somebody else counts."""

from collections.abc import Sequence
from typing import Self

from hf_rare.generation.protocol import Observer


class Renumbered:
    """Tells an observer of prompts by the numbers that it knows them by.

    Args:
        observer ([`Observer`]): who wants to know.
        indices (`Sequence[int]`): for each prompt its number there.
    """

    def __init__(self, observer: Observer, indices: Sequence[int]) -> None:
        self._observer = observer
        self._indices = indices

    @classmethod
    def of(cls, observer: Observer | None, indices: Sequence[int]) -> Self | None:
        """Make one, where there is an observer."""
        return cls(observer, indices) if observer is not None else None

    def begin(self, prompts: Sequence[int]) -> None:
        """Take note of the prompts whose completions are being written now."""
        self._observer.begin([self._indices[prompt] for prompt in prompts])

    def add_tokens(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Take note of tokens read and generated."""
        self._observer.add_tokens(prompt_tokens, generated_tokens)
