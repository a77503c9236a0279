"""Writing with `generate` of transformers, one micro-batch after the other: whatever `generate` can do, this can.

A micro-batch that fails is halved until the prompt that fails is alone, and when memory ran out, the next ones are
smaller too. Nothing here knows of rows that take each other's place.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from hf_rare.errors import HfRareError
from hf_rare.generation.decoding import Decoding, end_token_ids, not_finite, set_up
from hf_rare.generation.failures import describe_failure, free_memory, is_out_of_memory
from hf_rare.generation.packing import BatchPacker, sort_longest_first
from hf_rare.generation.protocol import Completion, Observer

logger = logging.getLogger(__name__)


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

    def write(
        self, prompts: Sequence[list[int]], seeds: Sequence[int], observer: Observer | None = None
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Write a completion for each prompt of tokens; see [`Generator`]."""
        lengths = [len(prompt) for prompt in prompts]
        pending, halves = sort_longest_first(lengths), list[list[int]]()
        while pending or halves:
            batch = halves.pop() if halves else self.packer.take(pending, lengths)
            if observer is not None:
                observer.begin(batch)
            size = self.packer.size([lengths[i] for i in batch])
            written = self._try_batch([prompts[i] for i in batch], [seeds[i] for i in batch], observer)
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
            yield [(batch[0], Completion("", "error", lengths[batch[0]], 0, describe_failure(written)))]

    def _try_batch(
        self, prompts: list[list[int]], seeds: list[int], observer: Observer | None
    ) -> list[Completion] | Exception:
        try:
            return self.generate_batch(prompts, seeds, observer)
        except HfRareError:
            raise
        except Exception as err:
            if self.is_one_of_many:
                raise
            logger.warning("A micro-batch of %d failed: %s: %s", len(prompts), type(err).__name__, err)
            err.__traceback__ = None  # its frames hold the tensors
            return err

    def generate_batch(
        self, prompts: list[list[int]], seeds: list[int], observer: Observer | None
    ) -> list[Completion]:
        """Write one micro-batch."""
        from transformers import LogitsProcessorList, StoppingCriteriaList

        from hf_rare.generation.repetition_criterion import RepetitionCriterion
        from hf_rare.generation.sampling import LogitsGuard, TokenCounter, sample_per_row

        decoding, config = self.decoding, self.decoding.config
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
        sampling: dict[str, Any] = {"custom_generate": sample_per_row, "seeds": seeds} if config.do_sample else {}
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
