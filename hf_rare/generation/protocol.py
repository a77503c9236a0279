"""What a generator is: it turns conversations into prompts of tokens, and prompts into completions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class EncodedPrompt:
    """A conversation, ready for the model.

    Args:
        messages (`list[dict[str, str]]`): the conversation.
        text (`str`): the prompt as text, with the model's control tokens.
        token_ids (`list[int]`): its tokens; empty where a server does the tokenising.
        opening (`str`): what the chat template wrote behind the last message, such as a `<think>` that it pre-fills.
        error (`str`): why it could not be encoded; empty when it could.
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
        finish_reason (`"stop"` or `"length"`): whether the model ended it or the token limit did.
        prompt_tokens (`int`): tokens of the prompt.
        completion_tokens (`int`): tokens generated, the end-of-turn token included.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class Generator(Protocol):
    """What [`ReasonDistiller`] needs from a model. It must pickle to its settings, and cheaply so."""

    @property
    def max_prompt_tokens(self) -> int | None:
        """Most tokens of a prompt that leave room for the completion; `None` where this is not known."""

    def identity(self) -> dict[str, Any]:
        """Give everything that changes what this generator writes, as JSON values: model and sha, dtype, sampling."""

    def encode(self, conversations: Sequence[Messages]) -> list[EncodedPrompt]:
        """Turn conversations into prompts, in order."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text. Called only where `max_prompt_tokens` is known."""

    def shorten(self, text: str, max_tokens: int) -> str:
        """Cut a text after its first `max_tokens` tokens. Called only where `max_prompt_tokens` is known."""

    def load(self) -> None:
        """Load now what `generate` would load on its first call; later calls do nothing."""

    def generate(
        self,
        prompts: Sequence[EncodedPrompt],
        seeds: Sequence[int],
        on_tokens: Callable[[int, int], None] | None = None,
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Write a completion for each prompt.

        Args:
            prompts (`Sequence[EncodedPrompt]`): the prompts.
            seeds (`Sequence[int]`): for each prompt the seed of its draw, from 0 to 2**63 - 1.
            on_tokens (`Callable[[int, int], None]`, *optional*): called now and then with the number of prompt tokens
                read and of tokens generated since the last call.

        Yields:
            `list[tuple[int, Completion]]`: the completions that have become ready together, each with the index of its
            prompt, in any order.
        """
