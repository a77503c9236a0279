"""From messages to tokens: chat templates, control tokens in the text of rows, and the length of texts in tokens."""

import copy
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_rare.errors import ConfigError
from hf_rare.generation.content import Content, choose_content
from hf_rare.generation.protocol import EncodedPrompt, Encoder, Messages
from hf_rare.generation.text_tokenizer import TextTokenizer
from hf_rare.text import shorten

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


MARKER = "hf-rare-text"
"""A text that no chat template writes."""

SPELLINGS = 8
"""How often a text is searched for control tokens that its tokenizer makes of other characters, until none is left."""

PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n\n{% endfor %}"
"""For models without a chat template: the texts alone, a blank line between them."""


class PromptEncoder(Encoder):
    """Renders conversations with the model's chat template and tokenises them.

    Control tokens of the model in the text of a message are tokenised as plain text (`sanitize_control_tokens` of
    transformers): a document that says `<|im_end|>` cannot end the turn. A model whose template writes its markers as
    plain text, like `[INST]` or `<|user|>` in some older models, cannot tell them from the text of a document. Where
    the vocabulary itself makes a control token of plain text, as that of T5 does of `</s>`, a prompt that has it is
    refused.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            The model's tokenizer, which is copied. Without a chat template the prompt is the plain text of the
            messages, and one warning is logged.
        chat_template_kwargs (`Mapping[str, Any]`):
            Passed to `apply_chat_template`.
        has_encoder (`bool`, *optional*, defaults to `False`):
            Whether an encoder reads the prompts, which without a chat template end as its tokenizer ends any text.
        count_room (`Callable`, *optional*):
            Gives the most tokens of a prompt that leave room for the completion, or `None`. It is called when this is
            asked for, and may raise.

    Attributes:
        text_tokenizer ([`TextTokenizer`]): what turns texts into tokens.
        opening (`str`): what the chat template writes behind the last message.

    Raises:
        ConfigError: The chat template fails on a plain question, or drops its text.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        chat_template_kwargs: Mapping[str, Any],
        has_encoder: bool = False,
        count_room: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._count_room = count_room
        self._tokenizer = copy.deepcopy(tokenizer)
        self.text_tokenizer = TextTokenizer(self._tokenizer)
        self._chat_template_kwargs = dict(chat_template_kwargs)
        if not tokenizer.chat_template and "chat_template" not in chat_template_kwargs:
            logger.warning("The tokenizer has no chat template: prompts are plain text.")
            around = tokenizer("a")["input_ids"]
            opening = "{{ bos_token }}" if around[:1] == [tokenizer.bos_token_id] else ""
            closing = "{{ eos_token }}" if has_encoder and around[-1:] == [tokenizer.eos_token_id] else ""
            self._tokenizer.chat_template = opening + PLAIN_TEMPLATE + closing
        added = [token for token in tokenizer.get_added_vocab() if token.strip()]
        # marks like <think> are control tokens too where they are not special and the template does not write them
        marks = [token for token in added if is_mark(token, self.template)]
        self._tokenizer.chat_control_tokens = [*(tokenizer.chat_control_tokens or ()), *marks]
        self._control_token = re.compile("|".join(map(re.escape, added)) or "(?!)")
        self._made_by_normalizer = _list_normalized(self._tokenizer)
        control_tokens = sorted({*marks, *filter(str.strip, tokenizer.all_special_tokens)})
        self._pieces, self._made_by_model = _find_made_by_model(self._tokenizer, control_tokens)
        self._as_content = choose_content(self._render_question)
        self._has_system_role = self._try_system_role()
        (rendered,) = self._render([[{"role": "user", "content": MARKER}]])
        self.opening = rendered.rpartition(MARKER)[2]

    @property
    def template(self) -> str:
        """The source of the chat template."""
        return str(self._tokenizer.get_chat_template(self._chat_template_kwargs.get("chat_template")))

    @property
    def max_prompt_tokens(self) -> int | None:
        """Most tokens of a prompt that leave room for the completion; `None` where the model has no limit."""
        return self._count_room()

    def encode(self, conversations: Sequence[Messages]) -> list[EncodedPrompt]:
        """Turn conversations into prompts.

        Args:
            conversations (`Sequence[Messages]`): the conversations, each a list of messages.

        Returns:
            `list[EncodedPrompt]`: a prompt for each; one that cannot be encoded carries the reason in `error`.
        """
        try:
            return self._encode_all(conversations)
        except Exception as err:  # a chat template or a tokenizer can raise anything; find out on which of them
            if len(conversations) == 1:
                return [EncodedPrompt(conversations[0], "", [], error=f"{type(err).__name__}: {err}")]
            return [prompt for messages in conversations for prompt in self.encode([messages])]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, control tokens taken as plain text."""
        return [len(ids) for ids in self.text_tokenizer(texts, split_special_tokens=True)]

    def shorten(self, text: str, max_tokens: int) -> str:
        """Cut a text after its first `max_tokens` tokens, where a character ends."""
        if not self._tokenizer.is_fast:
            ids = self.text_tokenizer([text], split_special_tokens=True)[0]
            return str(self._tokenizer.decode(ids[:max_tokens]))
        offsets = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False
        )["offset_mapping"]
        return text[: offsets[max_tokens - 1][1]] if 0 < max_tokens < len(offsets) else text

    def _render(self, conversations: Sequence[Messages]) -> list[str]:
        return list(self._apply_chat_template(conversations, tokenize=False)) if conversations else []

    def _encode_all(self, conversations: Sequence[Messages]) -> list[EncodedPrompt]:
        texts = self._render(conversations)
        spelt = [
            [{**message, "content": self._spell_out(message["content"])} for message in messages]
            for messages in conversations
        ]
        self._check_model_makes_none(spelt)
        plain = [i for i, messages in enumerate(spelt) if not self._has_control_token(messages)]
        token_ids = dict(zip(plain, self.text_tokenizer([texts[i] for i in plain]), strict=True))
        return [
            EncodedPrompt(messages, text, token_ids.get(i) or self._tokenize_sanitized(spelt[i]), self.opening)
            for i, (messages, text) in enumerate(zip(conversations, texts, strict=True))
        ]

    def _spell_out(self, text: str) -> str:
        """Spell out the control tokens that the tokenizer makes of other characters, such as full-width ones.

        Then they are found, and tokenised as plain text.
        """
        if not self._made_by_normalizer:
            return text
        for _ in range(SPELLINGS):
            encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            found = [
                (start, end, self._made_by_normalizer[token])
                for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
                if token in self._made_by_normalizer and self._made_by_normalizer[token] not in text[start:end]
            ]
            if not found:
                return text
            for start, end, control_token in reversed(found):
                text = text[:start] + control_token + text[end:]
        raise ValueError("a message has control tokens that cannot be told from its text")

    def _check_model_makes_none(self, conversations: Sequence[Messages]) -> None:
        """Raise `ValueError` where text becomes a control token although none is looked for in it."""
        if self._pieces is None:
            return
        texts = [message["content"] for messages in conversations for message in messages]
        for encoded in self._pieces.encode_batch(texts, add_special_tokens=False):
            if found := self._made_by_model.intersection(encoded.ids):
                token = self._tokenizer.convert_ids_to_tokens(min(found))
                raise ValueError(
                    f"a message has {token!r}, a control token that the tokenizer of the model makes of plain text. "
                    "Take it out of the row."
                )

    def _tokenize_sanitized(self, messages: Messages) -> list[int]:
        kwargs = {"tokenize": True, "return_dict": False, "sanitize_control_tokens": True}
        (token_ids,) = self._apply_chat_template([messages], **kwargs)
        return list(token_ids)

    def _render_question(self, content: Content) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                tokenize=False,
                add_generation_prompt=True,
                **self._chat_template_kwargs,
            )
        )

    def _apply_chat_template(self, conversations: Sequence[Messages], **kwargs: Any) -> Any:
        return self._tokenizer.apply_chat_template(
            [self._adapt(messages) for messages in conversations],
            add_generation_prompt=True,
            **self._chat_template_kwargs,
            **kwargs,
        )

    def _adapt(self, messages: Messages) -> list[dict[str, Any]]:
        """Put the system prompt before the question where the template has no system role."""
        if messages[0]["role"] == "system" and not self._has_system_role:
            content = f"{messages[0]['content']}\n\n{messages[1]['content']}"
            messages = [{"role": "user", "content": content}, *messages[2:]]
        return [{**message, "content": self._as_content(message["content"])} for message in messages]

    def _try_system_role(self) -> bool:
        question = {"role": "user", "content": "question"}
        marker = "hf-rare-system-prompt"
        self._has_system_role = True
        try:
            return marker in self._render([[{"role": "system", "content": marker}, question]])[0]
        except Exception:  # a template raises what it likes
            pass  # found out below, where it is not the system prompt
        try:
            self._render([[question]])
        except Exception as err:
            raise ConfigError(
                f"The chat template of the model fails on a plain question ({shorten(str(err), 200)}). Check "
                f"chat_template_kwargs={shorten(repr(self._chat_template_kwargs), 200)}."
            ) from err
        return False

    def _has_control_token(self, messages: Messages) -> bool:
        return any(self._control_token.search(message["content"]) for message in messages)


def is_mark(token: str, template: str) -> bool:
    """Tell whether an added token is a mark, such as `<think>` or `◁think▷`, and no text that was added.

    A mark is in angle or square brackets, or has signs around a word; one with a sign on one side alone, like
    `/nothink`, stands in the chat template.
    """
    token = token.strip()
    if re.fullmatch(r"<.+>|\[.+\]", token):
        return True
    signs = [not character.isalnum() for character in token]
    if all(signs) or not any(signs) or re.search(r"\s", token):
        return False
    return (signs[0] and signs[-1]) or token in template


def _list_normalized(tokenizer: Any) -> dict[int, str]:
    """List the added tokens that are looked for in normalised text, where the tokenizer normalises, by their ids."""
    if not tokenizer.is_fast or tokenizer.backend_tokenizer.normalizer is None:
        return {}
    added = tokenizer.added_tokens_decoder.items()
    return {number: token.content for number, token in added if token.normalized and token.content.strip()}


def _find_made_by_model(tokenizer: Any, control_tokens: Sequence[str]) -> tuple[Any, frozenset[int]]:
    """Find the control tokens that are pieces of the vocabulary too, so that plain text becomes them.

    Returns:
        `tuple[tokenizers.Tokenizer | None, frozenset[int]]`: the tokenizer without its added tokens, where there are
        such control tokens, and their ids.
    """
    if not tokenizer.is_fast:
        return None, frozenset()
    backend = tokenizer.backend_tokenizer
    pieces = type(backend)(backend.model)
    pieces.normalizer, pieces.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    texts = [opening + token for opening in ("", "\n") for token in control_tokens]
    made = {number for encoded in pieces.encode_batch(texts, add_special_tokens=False) for number in encoded.ids}
    made &= set(tokenizer.convert_tokens_to_ids(control_tokens)) - {tokenizer.unk_token_id}
    return pieces if made else None, frozenset(made)
