"""What people see while a run goes on: a bar in rows with tokens per second, and a warning when no token comes.

What is counted for the bar is counted for others too, who listen.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from datasets.utils import tqdm

from hf_rare.generation.protocol import Completion, Job
from hf_rare.text import show_cost

logger = logging.getLogger(__name__)

R = TypeVar("R")

SECONDS_OF_A_LINE = 60.0
"""How often a line is logged where there is no bar."""


@dataclass
class RunCounts:
    """What this process has done of a run so far.

    Args:
        rows_begun (`int`): rows that were begun.
        rows_ended (`int`): those of them that need no completion any more.
        rows_ended_by_all (`int`): rows that all processes of the job have ended.
        found (`int`): completions that needed no writing: they were in the journal, or an equal row had them.
        generated (`int`): completions that were generated.
        generated_tokens (`int`): their tokens.
        told_tokens (`int`): tokens that the generator has told of, those of completions under way too.
        seconds (`float`): time spent generating, without loading.
    """

    rows_begun: int = 0
    rows_ended: int = 0
    rows_ended_by_all: int = 0
    found: int = 0
    generated: int = 0
    generated_tokens: int = 0
    told_tokens: int = 0
    seconds: float = 0.0


class RunListener:
    """Who is told how far a run is; this one does nothing with it.

    Attributes:
        counts ([`RunCounts`]): where is counted.
    """

    def __init__(self) -> None:
        self.counts = RunCounts()

    def end_rows(self, rows: Sequence[Any]) -> None:
        """Take note of rows that need no completion any more."""

    def look(self) -> None:
        """Take note that counts have changed. Called with every token."""


class RowProgress:
    """A progress bar in rows, with prompt and generated tokens per second and the time that is left.

    Tokens per second are those of the whole time: prompts are read while other rows are written, here or on a server.

    It obeys `datasets.disable_progress_bars()`, and then logs a line once a minute in its place, as information. The
    time that is left is reckoned from the rows that were written, not from those that were found in the journal. It
    also watches the run: when no token comes for `stall_timeout` seconds, the prompts that are being written are
    logged as a warning.

    Args:
        total (`int`, *optional*): rows of the run, where this is known.
        stall_timeout (`float`, *optional*): seconds without a token after which to warn; `None` for never.
        check (`Callable`, *optional*): called with every token; what it raises ends the generation.
        description (`str`, *optional*): what the bar says.
        listener ([`RunListener`], *optional*): who is told too.
        is_again (`bool`, *optional*, defaults to `False`): whether these are rows that the listener was told of.
        most_tokens (`int`, *optional*): most tokens of a completion, where this is known.

    Attributes:
        cost (`float`): what the completions have cost so far, where prices are given.
    """

    def __init__(
        self,
        total: int | None,
        stall_timeout: float | None = None,
        check: Callable[[], None] | None = None,
        description: str = "Writing",
        listener: RunListener | None = None,
        is_again: bool = False,
        most_tokens: int | None = None,
    ) -> None:
        settings = {"leave": False, "mininterval": 0.5, "smoothing": 0, "delay": 0.5}  # none where all is known
        self._bar = tqdm(total=total, desc=description, unit="row", dynamic_ncols=True, **settings)
        self._description = description
        self._start = self._last_token = self._last_line = time.perf_counter()
        self._begun = self._done = 0
        self._stop: float | None = None
        self._is_writing = False
        self._prompt_tokens = 0
        self._generated_tokens = 0
        self._most_tokens = most_tokens
        self._jobs_in_hand = self._ended_tokens = 0
        self.cost = 0.0
        self._check = check
        self._jobs: Sequence[Job] = ()
        self._stall_timeout = stall_timeout
        self._is_over = threading.Event()
        self._listener = listener or RunListener()
        self._is_again = is_again
        counts = self._listener.counts
        self._ended_before, self._seconds_before = counts.rows_ended_by_all, counts.seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watch and take the bar away."""
        self._is_over.set()
        self._bar.close()

    @property
    def seconds(self) -> float:
        """Time since the start of generation, up to its end."""
        return (time.perf_counter() if self._stop is None else self._stop) - self._start

    def start(self) -> None:
        """Start the clock and the watch."""
        self._is_writing = True
        self._start = self._last_token = time.perf_counter()
        if not self._bar.disable:  # else it keeps no time
            self._bar.start_t = self._bar.last_print_t = time.time()
        if self._stall_timeout is not None:
            threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Stop the clock."""
        self._stop = time.perf_counter()
        self._listener.counts.seconds = self._seconds_before + self.seconds

    def follow(self, rows: Iterator[Sequence[R]]) -> Iterator[Sequence[R]]:
        """Count rows as they are begun."""
        for part in rows:
            self._begun += len(part)
            if not self._is_again:
                self._listener.counts.rows_begun += len(part)
            yield part

    def find(self, count: int) -> None:
        """Take note of completions that need no writing."""
        if not self._is_again:
            self._listener.counts.found += count

    def take(self, count: int) -> None:
        """Take note of jobs that a generator has taken."""
        self._jobs_in_hand += count

    def begin(self, jobs: Sequence[Job]) -> None:
        """Take note of the jobs that are being written now."""
        self._jobs = jobs
        self._last_token = time.perf_counter()

    def add_tokens(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Count tokens as they are read and generated."""
        if self._check is not None:
            self._check()
        self._last_token = now = time.perf_counter()
        self._prompt_tokens += prompt_tokens
        self._generated_tokens += generated_tokens
        told = self._tell_tokens()
        self._bar.set_postfix_str(told, refresh=False)
        if self._bar.disable and now - self._last_line >= SECONDS_OF_A_LINE:
            self._last_line = now
            of_all = f" of {self._bar.total}" if self._bar.total is not None else ""
            logger.info("%s: %d%s rows ended, %s", self._description, self._done, of_all, told)
        self._bar.update(0)  # redraws at most every `mininterval`
        self._listener.counts.told_tokens += generated_tokens
        self._tell()

    def add_completions(self, completions: Sequence[Completion]) -> None:
        """Take note of completions that were generated."""
        tokens = sum(completion.completion_tokens for completion in completions)
        self._jobs_in_hand -= len(completions)
        self._ended_tokens += tokens
        self._listener.counts.generated += len(completions)
        self._listener.counts.generated_tokens += tokens

    def finish(self, rows: Sequence[Any], done: int) -> None:
        """Take note of rows that this process has finished.

        Args:
            rows (`Sequence`): the rows.
            done (`int`): how many all processes have finished.
        """
        self._last_token = time.perf_counter()  # a sign of life, from generators that tell of no tokens too
        if not self._is_writing and not self._bar.disable:  # found in the journal, which says nothing of times
            self._bar.initial += len(rows)
        if not self._is_again:
            self._listener.counts.rows_ended += len(rows)
            self._listener.end_rows(rows)
        self.show(done)

    def show(self, done: int) -> None:
        """Show how many rows all processes have finished."""
        self._done = max(done, self._done)
        self._bar.update(max(0, done - self._bar.n))
        if not self._is_again:
            self._listener.counts.rows_ended_by_all = self._ended_before + done
        self._tell()

    def _tell_tokens(self) -> str:
        """Say how many rows are begun, how many tokens there are of the most that these can come to, and how fast."""
        if not self._prompt_tokens and not self._generated_tokens:
            return f"{self._begun} begun"
        prompt_rate, rate = (
            count / max(self.seconds, 1e-6) for count in (self._prompt_tokens, self._generated_tokens)
        )
        most = ""
        if self._most_tokens is not None:
            at_most = self._ended_tokens + self._jobs_in_hand * self._most_tokens
            most = f" of at most {max(at_most, self._generated_tokens):,}"
        told = f"{self._begun} begun, {self._generated_tokens:,}{most} tokens, "
        told += f"{prompt_rate:.0f} prompt + {rate:.0f} generated tokens/s"
        return told + (f", cost {show_cost(self.cost)}" if self.cost else "")

    def _tell(self) -> None:
        if self._is_writing:
            self._listener.counts.seconds = self._seconds_before + self.seconds
        self._listener.look()

    def _watch(self) -> None:
        timeout, reported = float(self._stall_timeout or 0), 0.0
        while not self._is_over.wait(timeout / 10):
            if time.perf_counter() - self._last_token > timeout and reported != self._last_token:
                reported = self._last_token
                names = "; ".join(repr(job.prompt.messages[-1]["content"][-200:]) for job in self._jobs[:3])
                logger.warning(
                    "No token for %.0f seconds. Being written are %d prompts, the longest first: %s",
                    timeout,
                    len(self._jobs),
                    names,
                )
