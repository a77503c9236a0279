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
from hf_rare.generation.batching import sort_longest_first
from hf_rare.generation.decoding import Decoding
from hf_rare.generation.plain_engine import PlainEngine, set_up
from hf_rare.generation.protocol import Completion, Observer
from hf_rare.generation.renumbering import Renumbered
from hf_rare.generation.row_logits import TokenChooser

logger = logging.getLogger(__name__)

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
        """Write a completion for each prompt of tokens; see [`Generator`](hf_rare.generation.protocol.Generator)."""
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
            manager.start()
            try:
                for name, i in left.items():
                    manager.add_request(prompts[i], request_id=name)
                failed: list[int] = []
                while left:
                    result = manager.get_result(timeout=1)
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
                    completion = decoding.read(result.generated_tokens, len(prompts[i]))
                    if observer is not None:
                        observer.add_tokens(completion.prompt_tokens, completion.completion_tokens)
                    yield [(i, completion)]
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
