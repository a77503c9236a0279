"""What a run may still generate: limits for all processes of the job together."""

import time
from collections.abc import Callable, Sequence

from hf_rare.generation.protocol import Completion
from hf_rare.settings.run import RunConfig

BILLION = 10**9
"""Costs are counted in billionths, as whole numbers."""

Add = Callable[[str, int], int]
"""Adds to a count of all processes that are in a call, and gives the sum since the call began."""


class Budget:
    """Counts what a run has generated, and tells when a limit is reached.

    Args:
        run ([`RunConfig`]): the limits.

    Attributes:
        generated (`int`): completions that were generated so far, at the end of a call by all processes of the job.
        tokens (`int`): tokens of these.
        cost (`float`): what they have cost, where prices are given.
    """

    def __init__(self, run: RunConfig) -> None:
        self.generated = 0
        self.tokens = 0
        self.cost = 0.0
        self._run = run
        self._start = time.monotonic()
        self._before = (0, 0, 0.0)

    @property
    def hours(self) -> float:
        """Hours since the run began."""
        return (time.monotonic() - self._start) / 3600

    def begin(self) -> None:
        """Take note that a call begins."""
        self._before = (self.generated, self.tokens, self.cost)

    def allow(self, wanted: int, add: Add) -> int:
        """Tell how many of so many completions may be generated, and count them as such."""
        if self._run.max_rows is None:
            return wanted
        excess = min(wanted, max(0, self._before[0] + add("taken", wanted) - self._run.max_rows))
        if excess:
            add("taken", -excess)
        return wanted - excess

    def count(self, completions: Sequence[Completion], price: Callable[[Completion], float], add: Add) -> str:
        """Count completions that were generated here; name the limit that is reached, if one is.

        Args:
            completions (`Sequence[Completion]`): the completions.
            price (`Callable`): gives what one has cost.
            add (`Callable`): adds to what all processes count together.

        Returns:
            `str`: `max_tokens`, `max_cost`, `max_hours`, or nothing.
        """
        tokens = sum(completion.completion_tokens for completion in completions)
        self.generated += len(completions)
        self.tokens += tokens
        add("generated", len(completions))
        cost = sum(map(price, completions))
        self.cost += cost
        cost_of_all = self._before[2] + add("billionths", round(cost * BILLION)) / BILLION
        tokens_of_all = self._before[1] + add("tokens", tokens)
        if self._run.max_tokens is not None and tokens_of_all >= self._run.max_tokens:
            return "max_tokens"
        if self._run.max_cost is not None and cost_of_all >= self._run.max_cost:
            return "max_cost"
        return "max_hours" if self._run.max_hours is not None and self.hours >= self._run.max_hours else ""

    def end(self, add: Add) -> None:
        """Take over what all processes have counted in a call that has ended in all."""
        self.generated = self._before[0] + add("generated", 0)
        self.tokens = self._before[1] + add("tokens", 0)
        self.cost = self._before[2] + add("billionths", 0) / BILLION
