"""Which rows are generated together: the longest first, packed to a number of tokens that memory allows."""

from collections.abc import Iterable, Sequence

from hf_rare.generation.protocol import Job, JobSource

GROW_AFTER = 8
"""Micro-batches that must have fitted before a larger one is tried after memory ran out."""


class BatchPacker:
    """Packs prompts into micro-batches, the longest first, so that what does not fit shows at the start.

    A micro-batch of `b` prompts, padded to the longest of `l` tokens, takes `b * (l + max_new_tokens)` tokens of
    cache. When memory runs out the limit becomes half of what did not fit; after 8 micro-batches that fitted it grows
    by an eighth at a time, and stays below the size that did not fit.

    Args:
        max_new_tokens (`int`):
            Most tokens of a completion.
        max_batch_tokens (`int`):
            Most tokens of a micro-batch. A prompt that is over it alone still gets a micro-batch of its own.
    """

    def __init__(self, max_new_tokens: int, max_batch_tokens: int) -> None:
        self.max_tokens = max_batch_tokens
        self._max_new_tokens = max_new_tokens
        self._ceiling = max_batch_tokens
        self._fitted = 0

    def size(self, lengths: Sequence[int]) -> int:
        """Return the tokens that a micro-batch of prompts of these lengths takes."""
        return len(lengths) * (max(lengths) + self._max_new_tokens)

    def count(self, lengths: Sequence[int]) -> int:
        """Tell how many prompts as long as the longest of these fit together, at least one."""
        return max(1, self.max_tokens // (max(lengths) + self._max_new_tokens))

    def count_whole(self, lengths: Iterable[int]) -> int:
        """Tell how many of these prompts, from the first one on, fit together when none of them is padded."""
        total = count = 0
        for length in lengths:
            total += length + self._max_new_tokens
            if total > self.max_tokens:
                break
            count += 1
        return count

    def whole_size(self, lengths: Iterable[int]) -> int:
        """Return the tokens that prompts of these lengths take when none of them is padded."""
        return sum(length + self._max_new_tokens for length in lengths)

    def shrink(self, size: int) -> None:
        """Take note that a micro-batch of `size` tokens did not fit."""
        self._ceiling = min(self._ceiling, size)
        self.max_tokens = max(1, min(self.max_tokens, size // 2))
        self._fitted = 0

    def grow(self) -> None:
        """Take note that a micro-batch fitted."""
        self._fitted += 1
        if self._fitted >= GROW_AFTER and self.max_tokens < self._ceiling:
            self.max_tokens = min(self.max_tokens + max(1, self.max_tokens // 8), self._ceiling - 1)
            self._fitted = 0


class JobWindow:
    """The jobs that an engine has taken and not begun yet, the longest prompt first.

    Jobs of about one length are read with little padding, and so a few more are taken than there is room for. They
    are few, because what one process has taken no other can take.

    Args:
        source ([`JobSource`]): where they are taken from.

    Attributes:
        jobs (`list[Job]`): the jobs.
    """

    def __init__(self, source: JobSource) -> None:
        self.jobs: list[Job] = []
        self._source = source

    def fill(self, count: int) -> int:
        """Ask the source once for as many jobs as are missing to `count`; give the number of those that came."""
        if len(self.jobs) >= count or not (taken := self._source.take(count - len(self.jobs))):
            return 0
        self.jobs = sorted([*self.jobs, *taken], key=lambda job: -len(job.prompt.token_ids))
        return len(taken)

    def take(self, count: int) -> list[Job]:
        """Take the first `count` jobs out."""
        taken = self.jobs[:count]
        del self.jobs[:count]
        return taken
