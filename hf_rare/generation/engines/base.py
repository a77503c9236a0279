"""What an engine is: it lets a loaded model write completions for the jobs of a source."""

from collections.abc import Iterator
from typing import Protocol

from hf_rare.generation.protocol import Completion, Job, JobSource, Observer


class Engine(Protocol):
    """What [`TransformersGenerator`] hands its jobs to. It lives as long as the generator."""

    @property
    def refills(self) -> bool:
        """Whether a row that has ended makes room for the next one at once."""

    def write(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job; see [`Generator`]."""
