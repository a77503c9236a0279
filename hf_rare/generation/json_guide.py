"""Decoding that is held to a JSON schema: tokens that would break it are made impossible, by llguidance.

A model that thinks does so freely, and is held behind its thought ([`ThoughtEnd`]). It cannot end before its JSON has.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import LogitsProcessor

from hf_rare.errors import ConfigError, MissingPackageError
from hf_rare.generation.thought_end import ThoughtEnd
from hf_rare.text import in_one_line, shorten

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


LAYOUT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON on one line, as models are used to it: left free, a small model fills its tokens with white space."""

MARKER_TOKENS = 48
"""Tokens at the end of a text in which a marker is looked for: no marker has more."""

MARKER_ENDS = frozenset(">]:\u25b7\ufffd")
"""Signs that markers end with; the last one stands for a part of a sign."""


class SchemaGuide:
    """A JSON schema, made ready for a tokenizer.

    Args:
        schema (`dict`): the schema.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): the model's tokenizer.
        vocab_size (`int`): how many logits the model gives.
        end_token_ids (`list[int]`): the tokens that end a completion.
        thought_end ([`ThoughtEnd`], *optional*): what the model writes before the JSON; by default nothing.

    Attributes:
        thought_end ([`ThoughtEnd`]): the same.
        opening_ids (`list[int]`): the tokens that open a thought which the model may write.

    Raises:
        ConfigError: The schema cannot be used, or the tokenizer is no fast one.
        MissingPackageError: llguidance is not installed.
    """

    def __init__(
        self,
        schema: dict[str, Any],
        tokenizer: "PreTrainedTokenizerBase",
        vocab_size: int,
        end_token_ids: list[int],
        thought_end: ThoughtEnd | None = None,
    ) -> None:
        try:
            from llguidance import LLMatcher, hf
        except ImportError as err:
            raise MissingPackageError(
                f"json_schema needs a package: {err}. Install it: `pip install hf-rare[guided]`."
            ) from err
        if not tokenizer.is_fast:
            raise ConfigError("json_schema needs a fast tokenizer, and the model has none.")
        self.thought_end = thought_end or ThoughtEnd()
        self.opening_ids: list[int] = tokenizer.encode(self.thought_end.opening, add_special_tokens=False)
        self.end_token_ids = end_token_ids
        self.decode = tokenizer.decode
        self.may_end_marker = cache(lambda token: bool(MARKER_ENDS.intersection(tokenizer.decode([token]))))
        self._tokenizer = hf.from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=end_token_ids)
        self._grammar = make_grammar(schema)
        self._make_matcher = LLMatcher
        if error := self.start().get_error():
            raise unusable(error)

    def start(self) -> Any:
        """Make what follows the JSON of one row."""
        return self._make_matcher(self._tokenizer, self._grammar, log_level=0)

    def start_behind(self, text: str) -> Any:
        """Make what follows the JSON of a row whose last token has begun it."""
        matcher = self.start()
        tokens = self._tokenizer.tokenize_str(text) if text else []
        if tokens and matcher.validate_tokens(tokens) == len(tokens):
            matcher.consume_tokens(tokens)
        return matcher

    def make_processor(self) -> LogitsProcessor:
        """Make the logits processor for a batch of completions that begin now."""
        return _SchemaProcessor(self)


def make_grammar(schema: dict[str, Any]) -> Any:
    """Make a grammar of a JSON schema, for JSON on one line.

    Raises:
        ConfigError: The schema is no JSON, such as a number of a thousand digits.
    """
    from llguidance import LLMatcher

    try:
        return LLMatcher.grammar_from_json_schema(schema, overrides=LAYOUT)
    except (TypeError, ValueError) as err:
        raise unusable(err) from err


def unusable(reason: object) -> ConfigError:
    """Make the error of a schema that cannot be used."""
    return ConfigError(f"json_schema cannot be used: {shorten(in_one_line(reason), 300)}")


class _GuidedRow:
    """What one row has written, and what it may write next."""

    def __init__(self, guide: SchemaGuide) -> None:
        self._guide = guide
        is_thinking = bool(guide.thought_end.pattern) and not guide.opening_ids
        self._json: Any = None if is_thinking else guide.start()
        self._may_open = bool(guide.opening_ids)
        self._written: list[int] = []

    def take(self, token: int) -> None:
        """Take note of a token that was written."""
        guide = self._guide
        self._written.append(token)
        if self._may_open and self._written == guide.opening_ids[: len(self._written)] and not self._is_json(token):
            self._json, self._may_open = None, len(self._written) < len(guide.opening_ids)
        elif self._json is None:
            self._look_for_end(token)
        else:
            self._may_open = False
            if not self._json.is_stopped():
                self._json.consume_token(token)

    def allow(self, size: int) -> np.ndarray:
        """Tell which of the tokens may be written next."""
        allowed = np.zeros(size, dtype=bool)
        ends = self._guide.end_token_ids
        if self._may_open:
            allowed[self._guide.opening_ids[len(self._written)]] = True
        elif self._json is None:
            allowed[:] = True
            allowed[ends] = False
        if self._json is not None and self._json.is_stopped():
            allowed[ends] = True
        elif self._json is not None:
            bias = np.frombuffer(self._json.compute_logit_bias(), dtype=np.uint8)[:size]
            allowed[: len(bias)] |= bias != 0
        return allowed

    def _is_json(self, token: int) -> bool:
        return self._json is not None and self._json.validate_tokens([token]) == 1

    def _look_for_end(self, token: int) -> None:
        if not self._guide.may_end_marker(token):
            return
        text = self._guide.decode(self._written[-MARKER_TOKENS:])
        end = self._guide.thought_end.find(text, len(self._written) <= MARKER_TOKENS)
        if end is not None:
            self._json = self._guide.start_behind(text[end:].lstrip())


class _SchemaProcessor(LogitsProcessor):
    """Follows what each row of a batch has written, and leaves only the tokens that can follow."""

    def __init__(self, guide: SchemaGuide) -> None:
        self._guide = guide
        self._rows: list[_GuidedRow] = []
        self._seen = 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Let the rows think, go on with what the schema allows, or end where nothing can follow."""
        if not self._rows:
            self._rows = [_GuidedRow(self._guide) for _ in range(len(scores))]
            self._seen = input_ids.shape[1]
        for row, tokens in zip(self._rows, input_ids[:, self._seen :].tolist(), strict=True):
            for token in tokens:
                row.take(token)
        self._seen = input_ids.shape[1]
        for number, row in enumerate(self._rows):
            barred = torch.from_numpy(~row.allow(scores.shape[1]))
            scores[number].masked_fill_(barred.to(scores.device), -torch.inf)
        return scores
