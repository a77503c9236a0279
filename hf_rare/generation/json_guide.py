"""Decoding that is held to a JSON schema: tokens that would break it are made impossible, by llguidance."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import LogitsProcessor

from hf_rare.errors import ConfigError, MissingPackageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


LAYOUT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON on one line, as models are used to it: left free, a small model fills its tokens with white space."""


class SchemaGuide:
    """A JSON schema, made ready for a tokenizer.

    Args:
        schema (`dict`): the schema.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): the model's tokenizer.
        vocab_size (`int`): how many logits the model gives.
        end_token_ids (`list[int]`): the tokens that end a completion.

    Raises:
        ConfigError: The schema cannot be used, or the tokenizer is no fast one.
        MissingPackageError: llguidance is not installed.
    """

    def __init__(
        self, schema: dict[str, Any], tokenizer: "PreTrainedTokenizerBase", vocab_size: int, end_token_ids: list[int]
    ) -> None:
        try:
            from llguidance import LLMatcher, hf
        except ImportError as err:
            raise MissingPackageError(
                f"json_schema needs a package: {err}. Install it: `pip install hf-rare[guided]`."
            ) from err
        if not tokenizer.is_fast:
            raise ConfigError("json_schema needs a fast tokenizer, and the model has none.")
        self._tokenizer = hf.from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=end_token_ids)
        self._grammar = LLMatcher.grammar_from_json_schema(schema, overrides=LAYOUT)
        self._make_matcher = LLMatcher
        self._end_token_ids = end_token_ids
        if error := self._start().get_error():
            raise ConfigError(f"json_schema cannot be used: {error}")

    def make_processor(self) -> LogitsProcessor:
        """Make the logits processor for a batch of completions that begin now."""
        return _SchemaProcessor(self._start, self._end_token_ids)

    def _start(self) -> Any:
        return self._make_matcher(self._tokenizer, self._grammar, log_level=0)


class _SchemaProcessor(LogitsProcessor):
    """Follows what each row of a batch has written, and leaves only the tokens that can follow."""

    def __init__(self, start: Any, end_token_ids: list[int]) -> None:
        self._start = start
        self._end_token_ids = end_token_ids
        self._matchers: list[Any] = []
        self._seen = 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Let the rows go on with what the schema allows, or end where nothing can follow."""
        if not self._matchers:
            self._matchers = [self._start() for _ in range(len(scores))]
            self._seen = input_ids.shape[1]
        for matcher, tokens in zip(self._matchers, input_ids[:, self._seen :].tolist(), strict=True):
            for token in tokens:
                if not matcher.is_stopped():
                    matcher.consume_token(token)
        self._seen = input_ids.shape[1]
        for row, matcher in enumerate(self._matchers):
            allowed = np.zeros(scores.shape[1], dtype=bool)
            if matcher.is_stopped():
                allowed[self._end_token_ids] = True
            else:
                bias = np.frombuffer(matcher.compute_logit_bias(), dtype=np.uint8)[: len(allowed)]
                allowed[: len(bias)] = bias != 0
            scores[row].masked_fill_(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
        return scores
