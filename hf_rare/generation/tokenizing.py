"""From texts to tokens: with the model's own tokenizer, or many times faster with fastokens where that does the same.

[fastokens](https://github.com/crusoecloud/fastokens) reads the tokenizer's own file and knows its most common kinds
(byte-level BPE). That it gives the same tokens is tried before it is used and checked with every call.
"""

import logging
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


class TextTokenizer:
    """Tokenises texts as the model's own tokenizer does, without the tokens that it puts around them.

    With the package fastokens, calls of many texts are left to it, once so much has been tokenised that loading it
    pays. Where it once gives other tokens than the model's own tokenizer, on some trial texts or on the first text of
    a call, it is not used any more; where it cannot read a text, that call is left to the model's own.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): the model's tokenizer.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._characters = 0

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
        if is_worth_it and not split_special_tokens and self._fast is not None:
            try:
                tokens = _tokenize_fast(self._fast, texts)
            except Exception as err:  # the model's own tokenizer passes over characters that its vocabulary lacks
                logger.debug("fastokens cannot tokenise a text: %s.", err)
            else:
                if tokens[0] == self._tokenize(texts[:1])[0]:
                    return tokens
                logger.warning("fastokens is not used any more: it gives other tokens than the model's tokenizer.")
                self._fast = None
        return self._tokenize(texts, split_special_tokens)

    def _tokenize(self, texts: Sequence[str], split_special_tokens: bool = False) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=split_special_tokens,
            return_attention_mask=False,
        )
        return list(encoded["input_ids"])

    @cached_property
    def _fast(self) -> Any:
        """The tokenizer of fastokens; `None` where it cannot be used, which is logged with its reason."""
        try:
            import fastokens
        except ImportError:
            logger.info("Prompts would be tokenised faster with fastokens: pip install hf-rare[fast].")
            return None
        try:
            fast = fastokens.Tokenizer.from_json_str(self._tokenizer.backend_tokenizer.to_str())
            fast.no_truncation()
            fast.no_padding()
            added = self._tokenizer.get_added_vocab()
            texts = [*TRIAL, " ".join(added), "".join(added)]
            if _tokenize_fast(fast, texts) != self._tokenize(texts):
                raise ValueError("it gives other tokens than the model's tokenizer")
        except Exception as err:  # a kind of tokenizer that it does not know
            logger.info("fastokens is not used: %s.", err)
            return None
        logger.info("Prompts are tokenised by fastokens.")
        return fast


def _tokenize_fast(fast: Any, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in fast.encode_batch(list(texts), add_special_tokens=False)]
