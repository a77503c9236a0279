"""Prompts for a server, which has the chat template: the messages, and their tokens where the tokenizer is known."""

import dataclasses
from collections.abc import Callable, Sequence

from hf_rare.generation.encoder import PromptEncoder
from hf_rare.generation.protocol import EncodedPrompt, Encoder, Messages


class EndpointEncoder(Encoder):
    """Leaves conversations as they are.

    Args:
        make_counter (`Callable`, *optional*):
            Makes what counts tokens and knows how long a prompt may be; called on first use.
    """

    def __init__(self, make_counter: Callable[[], PromptEncoder] | None = None) -> None:
        self._make_counter = make_counter
        self._counter: PromptEncoder | None = None

    @property
    def max_prompt_tokens(self) -> int | None:
        """Most tokens of a prompt that leave room for the completion; `None` where the server alone knows."""
        return self._count_with().max_prompt_tokens if self._make_counter is not None else None

    def encode(self, conversations: Sequence[Messages]) -> list[EncodedPrompt]:
        """Turn conversations into prompts, in order."""
        if self._make_counter is None:
            return [EncodedPrompt(messages, "", [], error=_find_error(messages)) for messages in conversations]
        # the text is the server's business: two tokenizers of one model must not make two keys of one prompt
        return [
            dataclasses.replace(prompt, text="", opening="") for prompt in self._count_with().encode(conversations)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text."""
        return self._count_with().count_tokens(texts)

    def shorten(self, text: str, max_tokens: int) -> str:
        """Cut a text after its first `max_tokens` tokens."""
        return self._count_with().shorten(text, max_tokens)

    def _count_with(self) -> PromptEncoder:
        if self._counter is None:
            if self._make_counter is None:
                raise NotImplementedError("there is no tokenizer")
            self._counter = self._make_counter()
        return self._counter


def _find_error(messages: Messages) -> str:
    """Say what of a conversation cannot be sent; nothing where all of it can."""
    try:
        for message in messages:
            for text in message.values():
                text.encode()
    except UnicodeEncodeError as err:
        return f"UnicodeEncodeError: {err}"
    return ""
