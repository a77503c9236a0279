"""Writing with `generate` of transformers, one micro-batch after the other: whatever `generate` can do, this can.

A micro-batch that fails is halved until the prompt that fails is alone, and when memory ran out, the next ones are
smaller too. Nothing here knows of rows that take each other's place.
"""

import logging
from collections.abc import Iterator
from typing import Any

from hf_rare.errors import HfRareError
from hf_rare.generation.decoding import Decoding, end_token_ids, not_finite, set_up
from hf_rare.generation.failures import describe_failure, free_memory, is_out_of_memory
from hf_rare.generation.packing import BatchPacker, JobWindow
from hf_rare.generation.protocol import Completion, Job, JobSource, Observer

logger = logging.getLogger(__name__)

TAKE_FIRST = 8
"""Jobs that are taken before it is known how many go together."""

MICRO_BATCHES_AHEAD = 3
"""Jobs are taken for so many micro-batches, so that those of one length come together."""


class PlainEngine:
    """Writes micro-batches, the longest prompts first.

    Args:
        decoding ([`Decoding`]):
            The model and how it writes.
        packer ([`BatchPacker`]):
            How many prompts go together; it remembers what did not fit.
        is_one_of_many (`bool`):
            Whether other processes hold other parts of the same model: then nothing is tried again, because they would
            go on with another micro-batch.
    """

    refills = False
    """Whether a prompt that has ended makes room for the next one at once."""

    def __init__(self, decoding: Decoding, packer: BatchPacker, is_one_of_many: bool = False) -> None:
        self.decoding = decoding
        self.packer = packer
        self.is_one_of_many = is_one_of_many
        self.is_row_by_row = False
        """Whether each row is written alone: for models that depend on what a row is padded with."""

    def write(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job; see [`Generator`]."""
        window, halves = JobWindow(source), list[list[Job]]()
        while True:
            if not halves:
                while window.fill(self._count_wanted(window.jobs)) and len(window.jobs) < self._count(window.jobs):
                    pass
                if not window.jobs:
                    return
                halves.append(window.take(self._count(window.jobs)))
            batch = halves.pop()
            if observer is not None:
                observer.begin(batch)
            size = self.packer.size([len(job.prompt.token_ids) for job in batch])
            written = self._try_batch(batch, observer)
            if not isinstance(written, Exception):
                self.packer.grow()
                yield list(zip(batch, written, strict=True))
                continue
            if is_out_of_memory(written):
                self.packer.shrink(size)
                free_memory()
            if len(batch) > 1:
                middle = len(batch) // 2
                halves += [batch[middle:], batch[:middle]]
                continue
            job = batch[0]
            yield [(job, Completion("", "error", len(job.prompt.token_ids), 0, describe_failure(written)))]

    def _count(self, waiting: list[Job]) -> int:
        """Count the jobs of the next micro-batch that there is room for."""
        return 1 if self.is_row_by_row else self.packer.count([len(waiting[0].prompt.token_ids)])

    def _count_wanted(self, waiting: list[Job]) -> int:
        return MICRO_BATCHES_AHEAD * self._count(waiting) if waiting else TAKE_FIRST

    def _try_batch(self, jobs: list[Job], observer: Observer | None) -> list[Completion] | Exception:
        try:
            return self.generate_batch(jobs, observer)
        except HfRareError:
            raise
        except Exception as err:
            if self.is_one_of_many:
                raise
            logger.warning("A micro-batch of %d failed: %s: %s", len(jobs), type(err).__name__, err)
            err.__traceback__ = None  # its frames hold the tensors
            return err

    def generate_batch(self, jobs: list[Job], observer: Observer | None) -> list[Completion]:
        """Write one micro-batch."""
        from transformers import LogitsProcessorList, StoppingCriteriaList

        from hf_rare.generation.repetition_criterion import RepetitionCriterion
        from hf_rare.generation.sampling import LogitsGuard, TokenCounter, sample_per_row

        decoding, config = self.decoding, self.decoding.config
        prompts = [job.prompt.token_ids for job in jobs]
        has_encoder = decoding.model.config.is_encoder_decoder  # which counts places from the left
        side = {"padding_side": "right"} if has_encoder else {}
        inputs = decoding.tokenizer.pad({"input_ids": prompts}, return_tensors="pt", **side).to(decoding.device)
        criteria = StoppingCriteriaList()
        if decoding.stop_strings:
            criteria.append(decoding.make_stop_criterion())
        if detectors := [detector for _ in prompts if (detector := decoding.make_detector())]:
            criteria.append(RepetitionCriterion(detectors))
        if observer is not None:
            criteria.append(TokenCounter(sum(map(len, prompts)), config.pad_token_id, observer.add_tokens))
        guard = LogitsGuard(next(iter(end_token_ids(config)), 0))
        sampling: dict[str, Any] = {}
        if config.do_sample:
            sampling = {"custom_generate": sample_per_row, "seeds": [job.seed for job in jobs]}
        with set_up(decoding.model, config):
            output = decoding.model.generate(
                **inputs,
                logits_processor=LogitsProcessorList([guard, *decoding.make_guides()]),
                stopping_criteria=criteria,
                **sampling,
            )
        read = 1 if has_encoder else inputs["input_ids"].shape[1]  # a decoder begins with a token of its own
        written = output[:, read:].tolist()
        completions = [decoding.read(ids, len(prompt)) for ids, prompt in zip(written, prompts, strict=True)]
        for row in {row // (config.num_beams or 1) for row in guard.bad_rows}:
            completions[row] = not_finite(len(prompts[row]))
        return completions
