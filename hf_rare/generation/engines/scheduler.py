"""Which rows are written in the next step: those that have ended leave, prompts are read, and guesses are taken in.

Prompts are read in small groups of about one length, so that hardly any padding is computed; all rows write together,
and in steps of several tokens where their prompts hint at what comes next ([`TokenLookup`]). What is done about a step
that fails is left to the engine.
"""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache

from hf_rare.compat.transformers import attending, name_of_cache
from hf_rare.generation.caches.base import BatchCache
from hf_rare.generation.decoding import Decoding, not_finite, set_up
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.packing import JobWindow
from hf_rare.generation.protocol import Completion, Job, JobList, JobSource, Observer
from hf_rare.generation.token_chooser import BatchRow, TokenChooser
from hf_rare.generation.token_lookup import TokenLookup

READ_TOGETHER = {"cpu": 512}
"""Tokens of prompts that are read at once: more of them are read no faster."""

READ_TOGETHER_ELSEWHERE = 4096

GUESS_UP_TO = 64
"""Tokens of a step up to which guesses are taken in: with more, a step takes as long as its tokens are many."""

MOST_PADDING = 1 / 16
"""Share of padding in a group of prompts that are read at once."""


AHEAD, AHEAD_WHEN_FULL = 64, 8
"""Jobs that wait: as long as there is room, so many; later a quarter as many as are written, and at least 8."""


class Scheduler:
    """The rows that are being written, and the jobs that wait.

    Args:
        plain ([`PlainEngine`]): the engine whose model and packer are used.
        chooser ([`TokenChooser`]): chooses the next tokens.
        make_cache (`Callable`): makes the cache for a batch that begins anew.

    Attributes:
        rows (`list[BatchRow]`): the rows that are being written.
    """

    def __init__(self, plain: PlainEngine, chooser: TokenChooser, make_cache: Callable[[], BatchCache]) -> None:
        self.rows: list[BatchRow] = []
        self._window = JobWindow(JobList(()))
        self._is_full = False
        self._reading: list[BatchRow] = []
        self._decoding = decoding = plain.decoding
        self._packer = plain.packer
        self._chooser = chooser
        self._observer: Observer | None = None
        self._make_cache = make_cache
        self._cache = make_cache()
        self._read_together = READ_TOGETHER.get(torch.device(decoding.device).type, READ_TOGETHER_ELSEWHERE)
        self._ended = self._most_rows = 0

    def begin(self, source: JobSource, observer: Observer | None) -> None:
        """Begin to write the jobs of a source. The memory of rows that were written before is used again."""
        self._window, self._observer, self._is_full = JobWindow(source), observer, False

    def has_work(self) -> bool:
        """Tell whether there are rows to write, and take as many jobs ahead as are worth it."""
        self._window.fill(max(AHEAD_WHEN_FULL if self._is_full else AHEAD, len(self.rows) // 4))
        return bool(self.rows or self._window.jobs)

    @property
    def size(self) -> int:
        """Tokens that the rows would take in the end."""
        lengths = [len(row.prompt) for row in (*self.rows, *self._reading)]
        return self._packer.size(lengths) if self._cache.is_padded else self._packer.whole_size(lengths)

    def step(self) -> list[tuple[Job, Completion]]:
        """Read the next prompts, or else write at least one more token of each row; give what has ended."""
        if (group := self._next_group()) or not self.rows:
            return self._read(group)
        guesses = self._guess()
        logits = self._go_on(guesses)
        if any(guesses) and not logits.amax(dim=-1).isfinite().all():  # a wrong guess can spoil its whole row
            for i, guess in enumerate(guesses):
                self._cache.take_back(i, 1 + len(guess))
            guesses = [[] for _ in guesses]
            logits = self._go_on(guesses)
        before = sum(len(row.written) for row in self.rows)
        self._choose_along(guesses, logits)
        self._tell(0, sum(len(row.written) for row in self.rows) - before)
        return self._take_ended()

    def _go_on(self, guesses: list[list[int]]) -> torch.Tensor:
        """Let the model read the last token of each row and the guess behind it; give the logits behind each token."""
        texts = [row.written[-1:] + guess for row, guess in zip(self.rows, guesses, strict=True)]
        inputs = self._cache.begin_step(texts)
        return read_tokens(self._decoding, inputs, self._cache, keep=0, attention=self._cache.attention).flatten(0, 1)

    def give_up(self, everything: bool) -> list[Job]:
        """Take out the jobs that failed: those whose prompts were being read, or else all; with `everything`, both."""
        failed, self._reading = self._reading, []
        is_whole = len(self._cache.lengths) == len(self.rows)
        if everything or not failed or not is_whole:
            failed, self.rows = [*self.rows, *failed], []
            self._cache = self._make_cache()
        return [row.job for row in failed]

    def _guess(self) -> list[list[int]]:
        """Guess the next tokens of each row, as many as a step has room for: first where most of the text matches."""
        guesses: list[list[int]] = [[] for _ in self.rows]
        left = GUESS_UP_TO - len(self.rows) if self._cache.takes_guesses else 0
        if left > 0:
            for i, row in enumerate(self.rows):
                row.lookup = row.lookup or TokenLookup(row.prompt)
                at_most = min(left, self._chooser.max_new_tokens - len(row.written) - 1)
                guesses[i] = row.lookup.guess(row.written, at_most)
            for i in sorted(range(len(guesses)), key=lambda i: -len(guesses[i])):
                guesses[i] = guesses[i][:left]
                left -= len(guesses[i])
        return guesses

    def _choose_along(self, guesses: list[list[int]], logits: torch.Tensor) -> None:
        """Choose the next tokens of each row, as far as they are what was guessed and the one behind it.

        Token by token, in the order in which the row would have written them: what a draw or a processor of logits
        does depends on nothing that is not written.
        """
        starts = [0, *itertools.accumulate(1 + len(guess) for guess in guesses)]
        going, number = list(range(len(self.rows))), 0
        while going:
            self._chooser.choose([self.rows[i] for i in going], logits[[starts[i] + number for i in going]])
            still_right = [
                i
                for i in going
                if guesses[i][number : number + 1] == self.rows[i].written[-1:] and not self.rows[i].has_ended
            ]
            for i in set(going).difference(still_right):
                if guesses[i]:
                    self._cache.take_back(i, len(guesses[i]) - number)
            going, number = still_right, number + 1

    def _next_group(self) -> list[BatchRow]:
        """Take the prompts that are read next: none while too few places are free to be worth it."""
        waiting = [job.prompt.token_ids for job in self._window.jobs]
        if not waiting:
            return []
        longest = len(waiting[0])
        free = self._count_free(waiting)
        self._is_full = free < len(waiting)
        worth_it = min((len(self.rows) + free) // 8, self._read_together // max(1, longest), len(waiting))
        if self.rows and free < max(1, worth_it):
            return []
        self._cache.make_room(len(self.rows) + free)
        count, tokens, distinct = 0, 0, 0
        for prompt in waiting[: max(1, free)]:
            if count == 0 or prompt != waiting[count - 1]:  # the samples of a row are read once
                distinct, tokens = distinct + 1, tokens + len(prompt)
                padded = distinct * longest
                if count and (padded > self._read_together or padded - tokens > MOST_PADDING * padded):
                    break
            count += 1
        return [BatchRow(job) for job in self._window.take(count)]

    def _count_free(self, waiting: list[list[int]]) -> int:
        """Count the waiting prompts that there is room for."""
        lengths = [len(row.prompt) for row in self.rows]
        if self._cache.is_padded:
            places = self._packer.count([*lengths, len(waiting[0])])
            return min(places - len(self.rows), len(waiting))
        whole = self._packer.count_whole(itertools.chain(lengths, map(len, waiting)))
        return max(0, whole - len(self.rows))

    def _read(self, group: list[BatchRow]) -> list[tuple[Job, Completion]]:
        self._reading = group
        if self._observer is not None:
            self._observer.begin([row.job for row in (*self.rows, *group)])
        distinct = list({tuple(row.prompt): row.prompt for row in group}.values())
        numbers = {tuple(prompt): i for i, prompt in enumerate(distinct)}
        cache, logits = read_prompts(self._decoding, distinct)
        sources = [numbers[tuple(row.prompt)] for row in group]
        width = len(distinct[0])
        self._chooser.choose(group, logits[sources])
        self._tell(sum(map(len, distinct)), len(group))
        self._cache.add(cache, [(i, width - len(distinct[i])) for i in sources])
        self.rows += group
        self._most_rows = max(self._most_rows, len(self.rows))
        self._reading = []
        return self._take_ended()

    def _tell(self, prompt_tokens: int, generated_tokens: int) -> None:
        if self._observer is not None:
            self._observer.add_tokens(prompt_tokens, generated_tokens)

    def _take_ended(self) -> list[tuple[Job, Completion]]:
        """Let the rows that have ended leave."""
        ended = [i for i, row in enumerate(self.rows) if row.has_ended]
        completions = [(self.rows[i].job, self._read_completion(self.rows[i])) for i in ended]
        for i in reversed(ended):  # the last row takes the place
            self._cache.drop(i, self.rows[i].is_bad)
            self.rows[i] = self.rows[-1]
            self.rows.pop()
        self._ended += len(completions)
        if self._ended > self._most_rows:  # as many as fit have fitted
            self._packer.grow()
            self._ended = 0
        if completions and self.rows and self._observer is not None:
            self._observer.begin([row.job for row in self.rows])
        return completions

    def _read_completion(self, row: BatchRow) -> Completion:
        tokens = len(row.prompt)
        return not_finite(tokens) if row.is_bad else self._decoding.read(row.written, tokens)


def read_prompts(decoding: Decoding, prompts: list[list[int]]) -> tuple[Cache, torch.Tensor]:
    """Let the model read prompts, the longest first.

    Args:
        decoding ([`Decoding`]): the model.
        prompts (`list[list[int]]`): the tokens of each.

    Returns:
        the cache, padded on the left, and the logits of the next tokens, of shape `(prompts, vocab_size)`.
    """
    width = max(map(len, prompts))
    padding = decoding.config.pad_token_id or 0
    tokens = torch.tensor([[padding] * (width - len(prompt)) + prompt for prompt in prompts])
    shifts = torch.tensor([[width - len(prompt)] for prompt in prompts])
    places = torch.arange(width) - shifts
    inputs = {"input_ids": tokens, "position_ids": places.clamp(min=0)}
    if shifts.any():
        inputs["attention_mask"] = (places >= 0).long()
    cache = DynamicCache(config=decoding.model.config)
    return cache, read_tokens(decoding, inputs, cache)[:, -1]


def read_tokens(
    decoding: Decoding,
    inputs: dict[str, torch.Tensor],
    cache: Cache,
    keep: int = 1,
    attention: str | None = None,
) -> torch.Tensor:
    """Let the model read tokens behind those of a cache.

    Args:
        decoding ([`Decoding`]): the model.
        inputs (`dict[str, torch.Tensor]`): the tokens, their places, and a mask where there is padding.
        cache ([`~transformers.Cache`]): what was read before; it takes what is read now.
        keep (`int`, *optional*, defaults to 1): how many of the last tokens have logits; 0 for all of them.
        attention (`str`, *optional*): the kind of attention; the model's own by default.

    Returns:
        `torch.Tensor` of shape `(rows, tokens, vocab_size)`: the logits behind these tokens.
    """
    device: Any = decoding.device
    attends = contextlib.nullcontext() if attention is None else attending(decoding.model, attention)
    with torch.no_grad(), set_up(decoding.model, decoding.config), attends:
        output = decoding.model(
            **{name: tensor.to(device) for name, tensor in inputs.items()},
            **{name_of_cache(decoding.model): cache},
            use_cache=True,
            logits_to_keep=keep,
        )
    logits: torch.Tensor = output.logits
    return logits
