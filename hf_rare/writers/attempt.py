"""One attempt at the rows of a batch: their prompts and seeds on the way to the model, completions on the way back."""

from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from hf_rare.generation.protocol import Completion, EncodedPrompt
from hf_rare.rows.row import derive_seed
from hf_rare.settings.writers import WriterConfig
from hf_rare.writers.result import Result, Sample

S = TypeVar("S", bound=Sample)


class Attempt(Generic[S]):
    """What is to be generated in one attempt at the rows of a batch that need one.

    Args:
        results (`Sequence[Result]`): all rows of the batch.
        config ([`WriterConfig`]): attempts, samples and seed.
        is_sampling (`bool`): whether another attempt can come to something else; without it each row has one.
        left_out (`Collection[int]`): numbers of rows that are not tried.
    """

    def __init__(
        self, results: Sequence[Result[S]], config: WriterConfig, is_sampling: bool, left_out: Collection[int] = ()
    ) -> None:
        self._results = results
        most = config.attempts if is_sampling else 1
        self.numbers: list[int] = []
        self.prompts: list[EncodedPrompt] = []
        self.seeds: list[int] = []
        for number, result in enumerate(results):
            row, encoded = result.prepared.row, result.prepared.encoded
            is_over = result.is_complete or result.attempts >= most or number in left_out
            if is_over or row is None or encoded is None:
                continue
            digest, count = row.digest(config.seed), config.samples_per_attempt
            self.numbers += [number] * count
            self.prompts += [encoded] * count
            first = result.attempts * count
            self.seeds += [derive_seed(digest, "sample", sample) for sample in range(first, first + count)]

    def __len__(self) -> int:
        return len(self.numbers)

    def hand_out(
        self,
        completions: Sequence[Completion | None],
        read: Callable[[Sequence[Result[S]], Sequence[Sequence[Completion]]], None],
        left_out: Collection[int] = (),
    ) -> None:
        """Give each row its completions, and let `read` read them."""
        written: dict[int, list[Completion]] = {}
        for number, completion in zip(self.numbers, completions, strict=True):
            if completion is not None and number not in left_out:
                written.setdefault(number, []).append(completion)
        for number, own in written.items():
            self._results[number].take(own)
        read([self._results[number] for number in written], list(written.values()))
