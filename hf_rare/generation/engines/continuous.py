"""Writing with the continuous batching of transformers: a paged cache, for GPUs.

It is greedy only, since its sampling draws for all rows from one stream. Every completion is handed over when it is
finished. A prompt that fails is written again by `generate`. Logits that are not finite are not found out here.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from hf_rare.errors import ConfigError
from hf_rare.generation.decoding import Decoding, set_up
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.packing import sort_longest_first
from hf_rare.generation.protocol import Completion, Observer
from hf_rare.generation.renumbering import Renumbered
from hf_rare.generation.token_chooser import TokenChooser

logger = logging.getLogger(__name__)

COUNT_SECONDS = 0.1
"""Time after which tokens are counted where no row ends."""

CPU_READ_TOGETHER = 512
"""Tokens of one step on a CPU, where the mask is as wide as all requests together."""


class ContinuousEngine:
    """Writes with a manager of continuous batching, which is made anew for each call.

    Args:
        plain ([`PlainEngine`]):
            The engine for the same model that writes again what fails here.
        settings (`dict`):
            Arguments of [`~transformers.ContinuousBatchingConfig`].
    """

    refills = True
    """Whether a prompt that has ended makes room for the next one at once."""

    def __init__(self, plain: PlainEngine, settings: dict[str, Any]) -> None:
        self._plain = plain
        self._settings = settings

    def write(
        self, prompts: Sequence[list[int]], seeds: Sequence[int], observer: Observer | None = None
    ) -> Iterator[list[tuple[int, Completion]]]:
        """Write a completion for each prompt of tokens; see [`Generator`]."""
        decoding = self._plain.decoding
        order = sort_longest_first([len(prompt) for prompt in prompts])
        if observer is not None:
            observer.begin(order)
        left = {str(i): i for i in order}
        with set_up(decoding.model, decoding.config):
            manager = decoding.model.init_continuous_batching(
                generation_config=copy.deepcopy(decoding.config),
                continuous_batching_config=self._make_config(max(map(len, prompts), default=0)),
            )
            counter = None
            if observer is not None:
                counter = RequestCounter(manager, observer, [len(prompt) for prompt in prompts])
            manager.start()
            try:
                for name, i in left.items():
                    manager.add_request(prompts[i], request_id=name)
                failed: list[int] = []
                while left:
                    result = manager.get_result(timeout=COUNT_SECONDS)
                    if counter is not None:
                        counter.count(result)
                    if result is None:
                        if manager.is_running():
                            continue
                        break
                    if not result.is_finished():
                        continue
                    i = left.pop(result.request_id)
                    if result.error is not None:
                        logger.warning("Writing a row by continuous batching failed: %s", result.error)
                        failed.append(i)
                        continue
                    yield [(i, decoding.read(result.generated_tokens, len(prompts[i])))]
            finally:
                manager.stop(block=True, hard_stop=True)
                manager.destroy()
        if again := [*failed, *left.values()]:
            logger.warning("%d rows are written again by `generate`.", len(again))
            retried = self._plain.write(
                [prompts[i] for i in again], [seeds[i] for i in again], Renumbered.of(observer, again)
            )
            for completions in retried:
                yield [(again[i], completion) for i, completion in completions]

    def _make_config(self, longest: int) -> ContinuousBatchingConfig:
        settings = {"drop_unsupported_processors": False, **self._settings}
        if self._plain.decoding.device.type == "cpu":
            page = settings.get("page_size", 256)
            tokens = max(self._plain.packer.max_tokens, longest + self._plain.decoding.config.max_new_tokens)
            settings = {"max_batch_tokens": CPU_READ_TOGETHER, "num_blocks": -(-tokens // page) + 1, **settings}
        try:
            return ContinuousBatchingConfig(**settings)
        except (TypeError, ValueError) as err:
            raise ConfigError(f"continuous_batching={self._settings!r} cannot be right: {err}") from err


class RequestCounter:
    """Counts what a manager has read and written since the last count, and tells an observer.

    A manager reads prompts and writes rows in the same steps. Prompts are counted with the first token of their row.

    Args:
        manager ([`~transformers.ContinuousBatchingManager`]): the manager.
        observer ([`Observer`]): who is told.
        lengths (`list[int]`): tokens of each prompt.
    """

    def __init__(self, manager: Any, observer: Observer, lengths: list[int]) -> None:
        self._manager = manager
        self._observer = observer
        self._lengths = lengths
        self._written: dict[str, int] = {}

    def count(self, result: Any) -> None:
        """Count the tokens of the rows that are being written, and of the result, where a row has ended."""
        processor = self._manager.batch_processor  # None until the manager's thread has made it
        active = processor.scheduler.active_requests.copy() if processor is not None else {}
        counts = {name: state.generated_len() for name, state in active.items()}
        if result is not None:
            counts[result.request_id] = len(result.generated_tokens)
        read = written = 0
        for name, count in counts.items():
            before = self._written.get(name, 0)
            if count > before:  # a row that was put aside for others begins again with 0
                read += self._lengths[int(name)] if not before else 0
                written += count - before
                self._written[name] = count
        if written:
            self._observer.add_tokens(read, written)
        if result is not None and active:
            self._observer.begin([int(name) for name in active])


def why_not_continuous(decoding: Decoding, is_one_of_many: bool = False) -> str:
    """Say why [`ContinuousEngine`] cannot be used; empty where it can."""
    model, config = decoding.model, decoding.config
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "init_continuous_batching"):
        return "the model has no continuous batching"
    if config.do_sample:
        return "its sampling draws for all rows from one stream, so that a text would depend on the other rows"
    if (config.num_beams or 1) > 1:
        return "beam search keeps several texts for each row"
    if decoding.stop_strings:
        return "it knows no stop_strings"
    if model.config.is_encoder_decoder:
        return "the model is an encoder and a decoder"
    if is_one_of_many or len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return "the model lies on several devices"
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return f"the cache has layers of another kind: {', '.join(sorted(kind.__name__ for kind in kinds))}"
    if not TokenChooser(decoding).looks_at_logits_alone:
        return "a setting looks at the text so far"
    return ""
