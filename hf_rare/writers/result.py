"""What becomes of a row while a model writes for it, and of its batch. What completions say is left to others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hf_rare.generation.protocol import Completion
from hf_rare.rows.columns import ATTEMPTS, COMPLETION_TOKENS, ERROR, PROMPT_TOKENS, STATUS, Status
from hf_rare.writers.preparing import PreparedRow


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one completion came to.

    Args:
        status (`str`): one of [`STATUSES`].
        error (`str`): why it is not `ok`, in words.
        completion_tokens (`int`): tokens generated.
    """

    status: Status
    error: str = ""
    completion_tokens: int = 0


S = TypeVar("S", bound=Sample)


@dataclass(kw_only=True)
class Result(Generic[S]):
    """What became of a row so far.

    Args:
        prepared ([`PreparedRow`]): the row.
        samples (`list[Sample]`): what its completions came to, in order.
        attempts (`int`): how often it was tried.
        is_complete (`bool`): whether it needs no further attempt.
        prompt_tokens (`int`): tokens of its prompt; 0 where none was made.
        cost (`float`): what its completions have cost, where prices are given.
        served_by (`list[str]`): who has written its completions, where they say so.
    """

    prepared: PreparedRow
    samples: list[S] = field(default_factory=list)
    attempts: int = 0
    is_complete: bool = False
    prompt_tokens: int = 0
    cost: float = 0.0
    served_by: list[str] = field(default_factory=list)

    def take(self, completions: Sequence[Completion], price: Callable[[Completion], float]) -> None:
        """Take note of another attempt; the server that wrote it may count the prompt's tokens otherwise."""
        self.attempts += 1
        self.prompt_tokens = completions[-1].prompt_tokens
        self.cost += sum(map(price, completions))
        self.served_by += [completion.served_by for completion in completions if completion.served_by]

    def describe(self, total: Sample) -> dict[str, Any]:
        """Return the values of `ITEM_COLUMNS` for a row that all its samples come to one of."""
        return {
            STATUS: total.status,
            ERROR: total.error,
            COMPLETION_TOKENS: total.completion_tokens,
            PROMPT_TOKENS: self.prompt_tokens,
            ATTEMPTS: self.attempts,
        }


@dataclass(frozen=True)
class Layout:
    """What becomes of a batch.

    Args:
        columns (`dict[str, list]`): the new columns.
        samples (`list[Sample]`): what they hold, as the summary counts it.
        repeats (`Sequence[int]`, *optional*): how often each row is repeated; `None` for rows as they are.
    """

    columns: dict[str, list[Any]]
    samples: Sequence[Sample]
    repeats: Sequence[int] | None = None
