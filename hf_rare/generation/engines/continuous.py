"""Writing with the continuous batching of transformers: a paged cache, for GPUs.

It is greedy only, since its sampling draws for all rows from one stream. Every completion is handed over when it is
finished. A prompt that fails is written again by `generate`. Logits that are not finite are not found out here.
"""

import copy
import itertools
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import ContinuousBatchingConfig
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from hf_rare.errors import ConfigError
from hf_rare.generation.decoding import Decoding, set_up
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.protocol import Completion, Job, JobList, JobSource, Observer
from hf_rare.generation.token_chooser import TokenChooser

logger = logging.getLogger(__name__)

COUNT_SECONDS = 0.1
"""Time after which tokens are counted where no row ends."""

TAKE_AHEAD = 32
"""Jobs that wait in the manager's queue, so that it never has to wait for one."""

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
        self._names = itertools.count()

    def write(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job; see [`Generator`]."""
        jobs = source.take(TAKE_AHEAD)
        if not jobs:
            return
        decoding = self._plain.decoding
        left: dict[str, Job] = {}
        with set_up(decoding.model, decoding.config):
            manager = decoding.model.init_continuous_batching(
                generation_config=copy.deepcopy(decoding.config),
                continuous_batching_config=self._make_config(max(len(job.prompt.token_ids) for job in jobs)),
            )
            counter = RequestCounter(manager, observer, left) if observer is not None else None
            manager.start()
            failed: list[Job] = []
            try:
                while jobs or left:
                    for job in jobs:
                        left[name := str(next(self._names))] = job
                        manager.add_request(job.prompt.token_ids, request_id=name)
                    if observer is not None and jobs:
                        observer.begin(list(left.values()))
                    result = manager.get_result(timeout=COUNT_SECONDS)
                    if counter is not None:
                        counter.count(result)
                    if result is None and not manager.is_running():
                        break
                    if result is not None and result.is_finished():
                        job = left.pop(result.request_id)
                        if result.error is not None:
                            logger.warning("Writing a row by continuous batching failed: %s", result.error)
                            failed.append(job)
                        else:
                            yield [(job, decoding.read(result.generated_tokens, len(job.prompt.token_ids)))]
                    room = TAKE_AHEAD + len(active_requests(manager)) - len(left)
                    jobs = source.take(room) if room > 0 else []
            finally:
                manager.stop(block=True, hard_stop=True)
                manager.destroy()
        if again := [*failed, *left.values()]:
            logger.warning("%d rows are written again by `generate`.", len(again))
            yield from self._plain.write(JobList(again), observer)

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
        jobs (`Mapping[str, Job]`): the jobs that it has in hand, by the name of their request.
    """

    def __init__(self, manager: Any, observer: Observer, jobs: Mapping[str, Job]) -> None:
        self._manager = manager
        self._observer = observer
        self._jobs = jobs
        self._written: dict[str, int] = {}

    def count(self, result: Any) -> None:
        """Count the tokens of the rows that are being written, and of the result, where a row has ended."""
        active = active_requests(self._manager)
        counts = {name: state.generated_len() for name, state in active.items()}
        if result is not None:
            counts[result.request_id] = len(result.generated_tokens)
        read = written = 0
        for name, count in counts.items():
            before = self._written.get(name, 0)
            if count > before:  # a row that was put aside for others begins again with 0
                read += len(self._jobs[name].prompt.token_ids) if not before else 0
                written += count - before
                self._written[name] = count
        if written:
            self._observer.add_tokens(read, written)
        if result is not None and result.is_finished():
            self._written.pop(result.request_id, None)
        if result is not None and active:
            self._observer.begin([self._jobs[name] for name in active if name in self._jobs])


def active_requests(manager: Any) -> dict[str, Any]:
    """Give the requests that a manager is writing, by name."""
    processor = manager.batch_processor  # None until the manager's thread has made it
    return dict(processor.scheduler.active_requests.copy()) if processor is not None else {}


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
