"""Whether training text survives a student's chat template: the reasoning is there, and the mask finds its place.

A trainer renders the prompt with the opening of the assistant's turn, then the whole, and masks the tokens that both
begin with. Templates that drop a thought, or open the turn in another way than they write it, spoil that in silence.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.prompts.thought_markers import KNOWN, find_marks, make_markers

Messages = Sequence[Mapping[str, str]]

PROBE = {"system": "A system message.", "user": "A question?", "thought": "A first step. A second.", "answer": "So."}


class Student:
    """A student's tokenizer and how its chat template is used.

    Args:
        tokenizer (`PreTrainedTokenizerBase`):
            The tokenizer.
        thought_tags (pair of `str`):
            What encloses the thought in a completion.
        chat_template_kwargs (`dict`, *optional*):
            Passed to `apply_chat_template`.

    Raises:
        ConfigError: This is no tokenizer with a chat template.
    """

    def __init__(
        self, tokenizer: Any, thought_tags: tuple[str, str], chat_template_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                f"student_tokenizer is a {type(tokenizer).__name__} without a chat template. Pass the loaded "
                "tokenizer of a chat model, or set tokenizer.chat_template."
            )
        self._tokenizer = tokenizer
        self._tags = re.compile("|".join(map(re.escape, thought_tags)))
        self._markers = (make_markers(thought_tags), *KNOWN)
        self._kwargs = dict(chat_template_kwargs or {})

    def check(self, prompt: Messages, completion: Messages) -> None:
        """Raise [`ConfigError`] where the chat template cannot train on completions like this one.

        Args:
            prompt (`Sequence[Mapping[str, str]]`): a prompt; only its roles count.
            completion (`Sequence[Mapping[str, str]]`): a completion of harmless text.
        """
        probe = [{"role": message["role"], "content": PROBE.get(message["role"], "Text.")} for message in prompt]
        if fault := self.find_fault(probe, completion):
            raise ConfigError(
                f"The student's chat template does not fit: {fault}. Pass another reasoning_format ('tags', 'plain', "
                "'field'), chat_template_kwargs such as {'enable_thinking': False}, or set tokenizer.chat_template to "
                "a template for training."
            )

    def find_fault(self, prompt: Messages, completion: Messages) -> str:
        """Say why a row cannot be trained on; empty where it can.

        Args:
            prompt (`Sequence[Mapping[str, str]]`): the messages of its prompt.
            completion (`Sequence[Mapping[str, str]]`): the assistant's message.

        Returns:
            `str`: the reason, in words.
        """
        try:
            opening = self._render(prompt, add_generation_prompt=True)
            whole = self._render([*prompt, *completion])
        except Exception as err:  # a template raises what it likes
            return f"it cannot render the messages ({type(err).__name__}: {err})"
        pieces = [piece for message in completion for piece in self._split(message)]
        for piece in pieces:
            if piece not in whole:
                return f"it drops or changes a part of the completion, {piece[:60]!r}"
        if not whole.startswith(opening):
            return (
                f"it opens the assistant's turn with {opening[-40:]!r}, which is not what it writes there in "
                "training, so that the loss would not cover the completion only"
            )
        if any(piece not in whole[len(opening) :] for piece in pieces):
            return "a part of the completion comes before the place where the loss begins"
        if self._count_thoughts(prompt, whole, pieces) > 1:
            return (
                "it opens a thought of its own beside the one in the completion; reasoning_format='field' gives it one"
            )
        opening_ids, whole_ids = (
            self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in (opening, whole)
        )
        if whole_ids[: len(opening_ids)] != opening_ids:
            return "the last token of the prompt and the first of the completion become one"
        return ""

    def _count_thoughts(self, prompt: Messages, whole: str, pieces: Sequence[str]) -> int:
        """Count the thoughts that are opened in the assistant's turn, what it says left out."""
        before = self._render(prompt)
        turn = whole.removeprefix(before) if whole.startswith(before) else whole
        for piece in pieces:
            turn = turn.replace(piece, "\n")
        starts = {mark.start for markers in self._markers for mark in find_marks(turn, markers) if not mark.is_closing}
        return len(starts)

    def _render(self, messages: Messages, **kwargs: Any) -> str:
        return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, **self._kwargs, **kwargs))

    def _split(self, message: Mapping[str, str]) -> list[str]:
        """Return the parts of a message that must be found again: thought and answer, without tags and outer space."""
        texts = [message.get("reasoning_content") or "", message["content"]]
        return [piece.strip() for text in texts for piece in self._tags.split(text) if piece.strip()]
