"""From logits to the next token of each row, for rows that have written different numbers of tokens.

The processors are those that `generate` would build. Where all of them look at the logits alone, they see the whole
batch at once; where one looks at the text so far, every row has processors of its own, which see its own prompt and
text and no padding.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessorList
from transformers.generation import logits_process

from hf_rare.compat.transformers import make_logits_processors, prepare_generation_config
from hf_rare.generation.decoding import Decoding, end_token_ids, set_up
from hf_rare.generation.protocol import Job
from hf_rare.generation.repetition import RepetitionDetector
from hf_rare.generation.sampling import draw_tokens
from hf_rare.generation.token_lookup import TokenLookup

LOGITS_ALONE = (
    logits_process.EpsilonLogitsWarper,
    logits_process.EtaLogitsWarper,
    logits_process.LogitNormalization,
    logits_process.MinPLogitsWarper,
    logits_process.SuppressTokensLogitsProcessor,
    logits_process.TemperatureLogitsWarper,
    logits_process.TopHLogitsWarper,
    logits_process.TopKLogitsWarper,
    logits_process.TopPLogitsWarper,
    logits_process.TypicalLogitsWarper,
)
"""Processors that treat each row by its logits, whatever was written before."""


@dataclass(eq=False)
class BatchRow:
    """A row of the batch: a job whose completion is being written.

    Args:
        job ([`Job`]): its prompt, and the seed of its draw.
        written (`list[int]`): the tokens written so far.
        is_bad (`bool`): whether its logits were not finite.
        has_ended (`bool`): whether its last token ends it.
        detector ([`RepetitionDetector`], *optional*): finds out that it repeats itself.
        lookup ([`TokenLookup`], *optional*): guesses its next tokens.
        stream (`torch.Generator`, *optional*): what its draws come from.
        processors (`LogitsProcessorList`, *optional*): its own logits processors, where they look at the text.
    """

    job: Job
    written: list[int] = field(default_factory=list)
    is_bad: bool = False
    has_ended: bool = False
    detector: RepetitionDetector | None = None
    lookup: TokenLookup | None = None
    stream: torch.Generator | None = None
    processors: Any = None

    @property
    def prompt(self) -> list[int]:
        """The tokens of its prompt."""
        return self.job.prompt.token_ids


class TokenChooser:
    """Chooses the next token of each row, and marks the rows that have ended.

    Args:
        decoding ([`Decoding`]): the model and how it writes.
    """

    def __init__(self, decoding: Decoding) -> None:
        self._decoding = decoding
        with set_up(decoding.model, decoding.config):
            self._config = prepare_generation_config(decoding.model, decoding.device)
        self._end_ids = end_token_ids(decoding.config)
        self._stop = decoding.make_stop_criterion() if decoding.stop_strings else None
        shared = self._make_processors([0])
        self._shared = shared if all(type(processor) in LOGITS_ALONE for processor in shared) else None

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of a row."""
        return int(self._config.max_new_tokens)

    @property
    def processors(self) -> LogitsProcessorList | None:
        """The processors of logits that do for every row; `None` where a setting looks at the text so far."""
        return self._shared

    def choose(self, rows: Sequence[BatchRow], logits: torch.Tensor) -> None:
        """Append a token to each row, and mark the rows that end with it.

        Args:
            rows (`Sequence[BatchRow]`): the rows.
            logits (`torch.Tensor` of shape `(rows, vocab_size)`): what the model says of their next tokens.
        """
        scores = logits.to(copy=True, dtype=torch.float32)
        is_bad = ~scores.amax(dim=-1).isfinite()
        scores = torch.where(is_bad[:, None], torch.zeros_like(scores), scores)
        if self._shared is not None:
            scores = self._shared(None, scores)
        else:
            scores = torch.cat([self._process(row, scores[i : i + 1]) for i, row in enumerate(rows)])
        if self._config.do_sample:
            for row in rows:
                row.stream = row.stream or torch.Generator().manual_seed(row.job.seed)
            tokens = draw_tokens(scores, [row.stream for row in rows if row.stream is not None])
        else:
            tokens = scores.argmax(dim=-1)
        for row, token, bad in zip(rows, tokens.tolist(), is_bad.tolist(), strict=True):
            row.written.append(token)
            row.is_bad = bad
        for row, has_ended in zip(rows, self._have_ended(rows), strict=True):
            row.has_ended = has_ended

    def _have_ended(self, rows: Sequence[BatchRow]) -> list[bool]:
        limit = self.max_new_tokens
        ended = [row.is_bad or row.written[-1] in self._end_ids or len(row.written) >= limit for row in rows]
        if self._stop is not None:
            width = self._stop.maximum_token_len
            endings = [(row.prompt[-width:] + row.written[-width:])[-width:] for row in rows]
            padding: int = self._decoding.config.pad_token_id or 0
            window = torch.tensor([[padding] * (width - len(ids)) + ids for ids in endings])
            ended = [one or other for one, other in zip(ended, self._stop(window, None).tolist(), strict=True)]
        return [has_ended or self._repeats(row) for has_ended, row in zip(ended, rows, strict=True)]

    def _repeats(self, row: BatchRow) -> bool:
        row.detector = row.detector or self._decoding.make_detector()
        return row.detector is not None and row.detector.feed(row.written[-1:])

    def _process(self, row: BatchRow, scores: torch.Tensor) -> torch.Tensor:
        if row.processors is None:
            row.processors = self._make_processors(row.prompt)
        text = torch.tensor([row.prompt + row.written], device=scores.device)
        processed: torch.Tensor = row.processors(text, scores)
        return processed

    def _make_processors(self, prompt: list[int]) -> LogitsProcessorList:
        config = copy.copy(self._config)
        config.max_length = len(prompt) + config.max_new_tokens
        tokens = torch.tensor([prompt], device=self._decoding.device)
        guides = LogitsProcessorList(self._decoding.make_guides())
        return make_logits_processors(self._decoding.model, config, tokens, guides)
