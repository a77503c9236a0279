"""What an engine is: it lets a loaded model write completions for prompts of tokens."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from hf_rare.generation.protocol import Completion, Observer


class Engine(Protocol):
    """What [`TransformersGenerator`] hands its prompts to."""

    @property
    def refills(self) -> bool:
        """Whether a prompt that has ended makes room for the next one at once."""

    def write(
        self, prompts: Sequence[list[int]], seeds: Sequence[int], observer: Observer | None = None
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Write a completion for each prompt of tokens; see [`Generator`]."""
