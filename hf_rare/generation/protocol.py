"""What a generator is: an encoder that turns conversations into prompts, and what writes a completion for each.

Generators pull: they take jobs from a source whenever they have room, and give completions back as they end, so that
nothing waits for the slowest row of a batch. A generator of one's own is a subclass of [`Generator`] that says how
prompts are encoded, whether it samples, what its completions depend on, and how it generates. The rest has defaults.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class EncodedPrompt:
    """A conversation, ready for the model.

    Args:
        messages (`list[dict[str, str]]`): the conversation.
        text (`str`): the prompt as text, with the model's control tokens.
        token_ids (`list[int]`): its tokens; empty where a server does the tokenising.
        opening (`str`, *optional*, defaults to `""`): what the chat template wrote behind the last message, such as a
            `<think>` that it pre-fills.
        error (`str`, *optional*, defaults to `""`): why it could not be encoded; empty when it could.
    """

    messages: Messages
    text: str
    token_ids: list[int]
    opening: str = ""
    error: str = ""


@dataclass(frozen=True)
class Completion:
    """What the model wrote.

    Args:
        text (`str`): the text, without the prompt and the end-of-turn token.
        finish_reason (`"stop"`, `"length"`, `"repetition"`, `"error"` or `"prompt_too_long"`): whether the model ended
            it, the limit did, or what looks out for loops did; or it failed; or a server had no room for the prompt.
        prompt_tokens (`int`): tokens of the prompt.
        completion_tokens (`int`): tokens generated, the end-of-turn token included.
        error (`str`, *optional*, defaults to `""`): why it failed, or how it repeated itself; else empty.
        cached_tokens (`int`, *optional*, defaults to 0): tokens of the prompt that a server had in its cache.
        reasoning_tokens (`int`, *optional*, defaults to 0): generated tokens that a server counts as thought.
        served_by (`str`, *optional*, defaults to `""`): which model of which server has written it, as the server
            says.
    """

    text: str
    finish_reason: Literal["stop", "length", "repetition", "error", "prompt_too_long"]
    prompt_tokens: int
    completion_tokens: int
    error: str = ""
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    served_by: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether its end is missing."""
        return self.finish_reason in ("length", "repetition")

    @property
    def failure(self) -> Literal["failed", "prompt_too_long"] | None:
        """The status of a row that has this in the place of a completion; `None` where it is one."""
        if self.finish_reason == "error":
            return "failed"
        return "prompt_too_long" if self.finish_reason == "prompt_too_long" else None


@dataclass(frozen=True, eq=False)
class Job:
    """A completion that is to be written. Two jobs are the same only where they are one object.

    Args:
        prompt (`EncodedPrompt`): the prompt.
        seed (`int`): the seed of its draw, from 0 to 2**63 - 1.
        key (`str`, *optional*, defaults to `""`): what the journal calls it; empty outside of a run.
    """

    prompt: EncodedPrompt
    seed: int
    key: str = ""


class JobSource(Protocol):
    """Where a generator takes its jobs from."""

    def take(self, at_most: int) -> list[Job]:
        """Take the next jobs.

        Args:
            at_most (`int`): how many there is room for, at least 1.

        Returns:
            `list[Job]`: from none to `at_most`. None means that nothing is ready now: what a generator has in hand may
            bring more, such as a row's next attempt, once its completions have been given back. With nothing in hand,
            it means that all is done.
        """


@runtime_checkable
class NotedSource(JobSource, Protocol):
    """A source that keeps notes on jobs, which a run that is started again finds."""

    def note(self, jobs: Sequence[Job], text: str) -> None:
        """Keep a note on jobs, until they have a completion or another note."""

    def read_notes(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """Return the notes on jobs, by key."""


class JobList:
    """A source of jobs that are all known.

    Args:
        jobs (`Iterable[Job]`): the jobs, in the order in which they are taken.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = deque(jobs)

    def take(self, at_most: int) -> list[Job]:
        """Take the next jobs; see [`JobSource`]."""
        return [self._jobs.popleft() for _ in range(min(at_most, len(self._jobs)))]


class Observer(Protocol):
    """Who wants to know how a run goes on."""

    def begin(self, jobs: Sequence[Job]) -> None:
        """Take note of the jobs whose completions are being written now.

        Args:
            jobs (`Sequence[Job]`): all of them, those that were being written before too.
        """

    def add_tokens(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Take note of what was read and generated since the last call.

        Args:
            prompt_tokens (`int`): prompt tokens that were read.
            generated_tokens (`int`): tokens that were generated.
        """


class Encoder(ABC):
    """Turns conversations into prompts. `encode` is all that a subclass must have.

    One that knows how long a prompt may be has `max_prompt_tokens`, and counts and shortens texts.
    """

    @property
    def max_prompt_tokens(self) -> int | None:
        """Most tokens of a prompt that leave room for the completion; `None` where this is not known."""
        return None

    @abstractmethod
    def encode(self, conversations: Sequence[Messages]) -> list[EncodedPrompt]:
        """Turn conversations into prompts.

        Args:
            conversations (`Sequence[Messages]`): each a list of messages with `role` and `content`.

        Returns:
            `list[EncodedPrompt]`: a prompt for each, in order. One that cannot be encoded says why in `error`.
        """

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text. Called only where `max_prompt_tokens` is known.

        Args:
            texts (`Sequence[str]`): the texts.

        Returns:
            `list[int]`: the tokens of each, in order.
        """
        raise NotImplementedError(f"{type(self).__name__} knows max_prompt_tokens and must have count_tokens.")

    def shorten(self, text: str, max_tokens: int) -> str:
        """Cut a text after its first tokens. Called only where `max_prompt_tokens` is known.

        Args:
            text (`str`): the text.
            max_tokens (`int`): how many tokens are kept.

        Returns:
            `str`: the beginning of the text.
        """
        raise NotImplementedError(f"{type(self).__name__} knows max_prompt_tokens and must have shorten.")


class Generator(ABC):
    """What [`ReasonDistiller`] needs from a model: `encoder`, `is_sampling`, `identity` and `generate`.

    It must pickle to its settings, and cheaply so: what it pickles to is part of the fingerprint of `Dataset.map`, and
    goes to worker processes.

    Example:
        >>> from hf_rare import Completion, EncodedPrompt, Encoder, Generator, ReasonDistiller
        >>> class LastMessage(Encoder):
        ...     def encode(self, conversations):
        ...         return [EncodedPrompt(messages, messages[-1]["content"], []) for messages in conversations]
        >>> class Echo(Generator):
        ...     encoder = LastMessage()
        ...     is_sampling = False
        ...
        ...     def identity(self):
        ...         return {"model_id": "echo"}
        ...
        ...     def generate(self, source, observer=None):
        ...         while jobs := source.take(1):
        ...             yield [(jobs[0], Completion(jobs[0].prompt.text, "stop", 0, 0))]
        >>> distill_fn = ReasonDistiller(Echo())
    """

    @property
    @abstractmethod
    def encoder(self) -> Encoder:
        """What turns conversations into prompts. Made without loading the model."""

    @property
    @abstractmethod
    def is_sampling(self) -> bool:
        """Whether a completion depends on its seed. Known without loading the model."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return everything but prompt and seed that changes a completion, and nothing else, as JSON values.

        Known without loading the model.
        """

    @abstractmethod
    def generate(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job of a source.

        Args:
            source ([`JobSource`]): where jobs are taken from, as many at a time as there is room for.
            observer ([`Observer`], *optional*): told how the run goes on. Where it is not, a run shows no tokens and
                cannot say which rows stall.

        Yields:
            `list[tuple[Job, Completion]]`: the jobs that have ended together, each with its completion, in any order.
            A prompt that fails gives a completion with the `finish_reason` `"error"`. What is yielded is read, and
            may bring new jobs, before the generator goes on.
        """

    def may_reuse(self, completion: Completion) -> bool:
        """Tell whether a completion from the journal is still what is wanted, though settings differ.

        These are settings that `identity` leaves out, because they change few completions.

        Args:
            completion (`Completion`): the completion from the journal.

        Returns:
            `bool`: `False` where it is to be generated anew. By default always `True`.
        """
        return True

    def settings(self) -> dict[str, Any]:
        """Return the settings it was made with, as JSON values; a local model's under `model` and `decoding`."""
        return {}

    def cost(self, completion: Completion) -> float:
        """Compute what a completion has cost.

        Args:
            completion (`Completion`): the completion.

        Returns:
            `float`: its cost, in the currency of the prices that were given; 0 without prices.
        """
        return 0.0

    @property
    def has_prices(self) -> bool:
        """Whether [`Generator.cost`] knows what a completion costs."""
        return type(self).cost is not Generator.cost

    def load(self) -> None:
        """Load now what `generate` would load on its first call; later calls do nothing."""
        return

    @property
    def max_new_tokens(self) -> int | None:
        """Most tokens of a completion, for the progress bar; `None` where this is not known."""
        return None

    @property
    def requests_at_once(self) -> int | None:
        """How many completions are asked for at a time of a server, whose speed is its own; else `None`."""
        return None

    @property
    def spans_processes(self) -> bool:
        """Whether all processes of the job together are one model, so that each must generate every prompt."""
        return False

    @property
    def refills(self) -> bool:
        """Whether a row that has ended makes room for the next one at once. Asked once the model is loaded."""
        return True
