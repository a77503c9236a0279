"""What people see while a run goes on: a bar in rows with tokens per second, and a warning when no token comes."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

from datasets.utils import tqdm

logger = logging.getLogger(__name__)


class RowProgress:
    """A progress bar in rows, with prompt and generated tokens per second and the time that is left.

    It obeys `datasets.disable_progress_bars()`. It also watches the run: when no token comes for `stall_timeout`
    seconds, the prompts that are being written are logged as a warning.

    Args:
        rows (`Sequence[int]`): for each prompt the row it belongs to.
        stall_timeout (`float`, *optional*): seconds without a token after which to warn; `None` for never.
        check (`Callable`, *optional*): called with every token; what it raises ends the generation.
        description (`str`, *optional*): what the bar says.
    """

    def __init__(
        self,
        rows: Sequence[int],
        stall_timeout: float | None = None,
        check: Callable[[], None] | None = None,
        description: str = "Writing",
    ) -> None:
        self._rows = list(rows)
        self._open = Counter(self._rows)
        self._bar = tqdm(
            total=len(self._open), desc=description, unit="row", dynamic_ncols=True, leave=False, mininterval=0.5
        )
        self._start = self._last_token = time.perf_counter()
        self._prompt_tokens = 0
        self._prompt_seconds = 0.0
        self._generated_tokens = 0
        self._steps = 0
        self._check = check
        self._labels: Sequence[str] = ()
        self._claimed: Sequence[int] = ()
        self._writing: Sequence[int] = ()
        self._stall_timeout = stall_timeout
        self._is_over = threading.Event()

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
        """Time since the start of generation."""
        return time.perf_counter() - self._start

    def start(self, labels: Sequence[str]) -> None:
        """Start the clock and the watch.

        Args:
            labels (`Sequence[str]`): what to call each prompt in a warning.
        """
        self._labels = labels
        self._start = self._last_token = time.perf_counter()
        if self._stall_timeout is not None:
            threading.Thread(target=self._watch, daemon=True).start()

    def claim(self, prompts: Sequence[int]) -> None:
        """Take note of the prompts that are given to the generator next, which counts them from 0."""
        self._claimed = prompts

    def begin(self, prompts: Sequence[int]) -> None:
        """Take note of the prompts that are being written now, as the generator counts them."""
        self._writing = [self._claimed[prompt] for prompt in prompts]
        self._steps = 0
        self._last_token = time.perf_counter()

    def add_tokens(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Count tokens as they are read and generated."""
        if self._check is not None:
            self._check()
        now = time.perf_counter()
        if prompt_tokens:  # with the first token of a micro-batch: the time since its beginning went into its prompts
            self._prompt_tokens += prompt_tokens
            self._prompt_seconds += now - self._last_token
        self._last_token = now
        self._generated_tokens += generated_tokens
        self._steps += 1
        self._update(0)

    def finish(self, prompts: Sequence[int]) -> None:
        """Take note of prompts that are done; a row is done with the last of its prompts."""
        self._open.subtract(self._rows[prompt] for prompt in prompts)
        self._update(sum(self._open[row] == 0 for row in {self._rows[prompt] for prompt in prompts}))

    def _update(self, rows: int) -> None:
        prompt_rate = self._prompt_tokens / max(self._prompt_seconds, 1e-6)
        rate = self._generated_tokens / max(self.seconds - self._prompt_seconds, 1e-6)
        rates = f"{prompt_rate:.0f} prompt + {rate:.0f} generated tokens/s"
        self._bar.set_postfix_str(f"token {self._steps} of {len(self._writing)} texts, {rates}", refresh=False)
        self._bar.update(rows)  # redraws at most every `mininterval`

    def _watch(self) -> None:
        timeout, reported = float(self._stall_timeout or 0), 0.0
        while not self._is_over.wait(timeout / 10):
            if time.perf_counter() - self._last_token > timeout and reported != self._last_token:
                reported = self._last_token
                names = "; ".join(repr(self._labels[prompt][-200:]) for prompt in self._writing[:3])
                logger.warning(
                    "No token for %.0f seconds. Being written are %d prompts, the longest first: %s",
                    timeout,
                    len(self._writing),
                    names,
                )
