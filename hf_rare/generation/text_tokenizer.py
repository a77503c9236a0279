"""From texts to tokens: with the model's own tokenizer, or many times faster with fastokens where that does the same.

[fastokens](https://github.com/crusoecloud/fastokens) reads the tokenizer's own file and knows its most common kinds
(byte-level BPE). That it gives the same tokens is tried before it is used, and checked with the longest text of every
call.
"""

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

WORTH_LOADING = 1_000_000
"""Characters from which on fastokens saves more time than it takes to load."""

FEWEST_TEXTS = 16
"""Texts of a call from which on it is worth having the tokens of one of them checked."""

TRIAL = (
    "It's what we'LL don't, I'd: 3 dogs, 12,345.67 % of 1,000,000 (see [2])... a_b-c/d\\e @f #g $h ^i &j *k +l =m `n`",
    "  two  spaces,\ttabs\t\tand\n\n\nlines \r\n of every \n kind \u00a0\u3000\u2028 and some at the end   ",
    "Größe naïve A\u030angstro\u0308m ﬁ ½ x² Ⅷ İ ß, 東京タワー、한국어. Привет, שלום! مرحبا ١٢٣ हिन्दी ภาษาไทย",
    "def f(x):\n    return {'a': [x**2 for _ in range(10)]}  # → ≤ “quoted” \u2014 \u2018so\u2019 …",
)
"""Texts with what tokenizers treat in ways of their own: contractions, digits, white space, accents, scripts, code."""

LONG_TRIAL_BYTES = 1 << 17
"""Length of another trial text, made of these: fastokens has a way of its own with texts of 64 KiB and more."""

_BEFORE, _WORD = "\n", "word"
"""What a text is put behind to see how it is tokenised there, and a text to try that with."""

_used_in: int | None = None
"""The process that has used fastokens last: this one, or the one that it was forked from."""


class TextTokenizer:
    """Tokenises texts as the model's own tokenizer does, without the tokens that it puts around them.

    With the package fastokens, calls of many texts are left to it, once so much has been tokenised that loading it
    pays. One text of each call, the longest, is checked. Where it once gives other tokens than the model's own
    tokenizer, on some trial texts or on that one, it is not used any more; where it cannot read a text, that call is
    left to the model's own. A process that was forked from one that has used it does not use it: it would wait for
    threads that it does not have.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            The model's tokenizer.
        fast (`fastokens.Tokenizer`, *optional*):
            What is to do the same faster. By default [`make_fast`] makes it, once that pays.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", fast: Any = None) -> None:
        self._tokenizer = tokenizer
        self._fast = fast
        self._has_tried = fast is not None
        self._characters = 0

    @property
    def is_fast(self) -> bool:
        """Whether calls of many texts are left to fastokens by now."""
        return self._fast is not None

    def __call__(self, texts: Sequence[str], split_special_tokens: bool = False) -> list[list[int]]:
        """Tokenise texts.

        Args:
            texts (`Sequence[str]`): the texts.
            split_special_tokens (`bool`, *optional*, defaults to `False`): whether control tokens in them are plain
                text.

        Returns:
            `list[list[int]]`: the tokens of each.
        """
        self._characters += sum(map(len, texts))
        is_worth_it = len(texts) >= FEWEST_TEXTS and self._characters >= WORTH_LOADING
        # of some kinds of tokenizers fastokens 0.3.5 does not split control tokens
        if is_worth_it and not split_special_tokens and not is_forked():
            if not self._has_tried:
                self._fast, self._has_tried = make_fast(self._tokenizer), True
            if self._fast is not None and (tokens := self._try_fast(texts)) is not None:
                return tokens
        return _tokenize(self._tokenizer, texts, split_special_tokens)

    def go_on(self, texts: Sequence[str], split_special_tokens: bool = False) -> list[list[int]]:
        """Tokenise texts that stand behind others, where a word at their beginning begins no text.

        Tokenizers such as those of Llama 2, Mistral and Phi-3 put a space before every text that they are given.

        Args:
            texts (`Sequence[str]`): the texts.
            split_special_tokens (`bool`, *optional*, defaults to `False`): whether control tokens in them are plain
                text.

        Returns:
            `list[list[int]]`: the tokens of each, without that space.
        """
        if not self._has_space_before:
            return self(texts, split_special_tokens)
        (before,) = self([_BEFORE])
        behind = self([_BEFORE + text for text in texts], split_special_tokens)
        return [
            tokens[len(before) :] if tokens[: len(before)] == before else self([text], split_special_tokens)[0]
            for text, tokens in zip(texts, behind, strict=True)
        ]

    @cached_property
    def _has_space_before(self) -> bool:
        """Whether a text that stands alone has other tokens than behind a line."""
        before, alone, behind = _tokenize(self._tokenizer, [_BEFORE, _WORD, _BEFORE + _WORD])
        return behind[: len(before)] == before and behind[len(before) :] != alone

    def _try_fast(self, texts: Sequence[str]) -> list[list[int]] | None:
        """Let fastokens tokenise texts; `None` where it cannot, or where the longest shows that it is wrong."""
        try:
            tokens = _tokenize_fast(self._fast, texts)
        except BaseException as err:  # the model's own tokenizer passes over characters that its vocabulary lacks
            if not _is_failure(err):
                raise
            logger.debug("fastokens cannot tokenise a text: %s.", err)
            return None
        longest = max(range(len(texts)), key=lambda i: len(texts[i]))
        if tokens[longest] == _tokenize(self._tokenizer, [texts[longest]])[0]:
            return tokens
        logger.warning("fastokens is not used any more: it gives other tokens than the model's tokenizer.")
        self._fast = None
        return None


def make_fast(tokenizer: "PreTrainedTokenizerBase") -> Any:
    """Make a tokenizer of fastokens from a model's own, and try it on texts.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): the model's tokenizer.

    Returns:
        `fastokens.Tokenizer`: the tokenizer; `None` where it cannot be used, which is logged with its reason.
    """
    try:
        import fastokens
    except ImportError:
        logger.info("Prompts would be tokenised faster with fastokens: pip install hf-rare[fast].")
        return None
    try:
        fast = fastokens.Tokenizer.from_json_str(tokenizer.backend_tokenizer.to_str())
        fast.no_truncation()
        fast.no_padding()
        added = tokenizer.get_added_vocab()
        texts = [*TRIAL, " ".join(added), "".join(added)]
        trial = " ".join(texts)
        texts.append(trial * (LONG_TRIAL_BYTES // len(trial.encode()) + 1))
        if _tokenize_fast(fast, texts) != _tokenize(tokenizer, texts):
            raise ValueError("it gives other tokens than the model's tokenizer")
    except BaseException as err:  # a kind of tokenizer that it does not know
        if not _is_failure(err):
            raise
        logger.info("fastokens is not used: %s.", err)
        return None
    logger.info("Prompts are tokenised by fastokens.")
    return fast


def _tokenize(tokenizer: Any, texts: Sequence[str], split_special_tokens: bool = False) -> list[list[int]]:
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=split_special_tokens,
        return_attention_mask=False,
        verbose=False,  # a prompt that is too long is shortened or refused by those who asked for its tokens
    )
    return list(encoded["input_ids"])


def is_forked() -> bool:
    """Tell whether this process was forked from one that has used fastokens."""
    return _used_in not in (None, os.getpid())


def _is_failure(error: BaseException) -> bool:
    """Tell whether fastokens has failed; a panic of Rust is no `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _tokenize_fast(fast: Any, texts: Sequence[str]) -> list[list[int]]:
    global _used_in
    _used_in = os.getpid()
    return [encoding.ids for encoding in fast.encode_batch(list(texts), add_special_tokens=False)]
