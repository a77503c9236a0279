"""Writing with the continuous batching of transformers: a paged cache, for GPUs.

Every completion is handed over when it is finished, and jobs are taken as rows begin. Draws are the rows' own, so
that a text is that of the other engines. A prompt that fails, or does not fit, is written again by `generate`. Whether
a model is written right by it is tried on a few texts, for transformers has it wrong for some.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, LogitsProcessorList
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import logits_process

from hf_rare.errors import ConfigError
from hf_rare.generation.decoding import Decoding
from hf_rare.generation.engines.manager import LiveManager, Session
from hf_rare.generation.engines.plain import PlainEngine
from hf_rare.generation.engines.requests import Loops, RequestCounter
from hf_rare.generation.engines.trial import once, try_continuous
from hf_rare.generation.failures import free_memory
from hf_rare.generation.protocol import Completion, Job, JobList, JobSource, Observer
from hf_rare.generation.token_chooser import TokenChooser

logger = logging.getLogger(__name__)

COUNT_SECONDS = 0.1
"""Time after which tokens are counted, and jobs taken, where no row ends."""

TAKE_AHEAD = 32
"""Jobs that wait in the manager's queue, so that it never has to wait for one."""

CPU_READ_TOGETHER = 512
CPU_HELD_TOGETHER = 32_768
"""Tokens of one step, and of all requests together, on a CPU: the mask of a step is as wide as all requests."""

MOST_BREAKDOWNS = 2
"""Times that a manager may break down before it has finished a row, until `generate` writes all the rest."""

FIT_FOR_GRAPHS = (
    logits_process.LogitNormalization,
    logits_process.MinPLogitsWarper,
    logits_process.TemperatureLogitsWarper,
    logits_process.TopKLogitsWarper,
    logits_process.TopPLogitsWarper,
)
"""Processors that never wait for the device, as CUDA graphs ask for."""


class ContinuousEngine:
    """Writes with a manager of continuous batching, which is made for the first call and kept.

    Args:
        plain ([`PlainEngine`]):
            The engine for the same model that writes again what fails here.
        settings (`dict`):
            Arguments of [`~transformers.ContinuousBatchingConfig`].

    Attributes:
        live ([`LiveManager`], *optional*): the manager, once there is one.
    """

    refills = True
    """Whether a prompt that has ended makes room for the next one at once."""

    def __init__(self, plain: PlainEngine, settings: dict[str, Any]) -> None:
        self._plain = plain
        self._settings = settings
        self._processors = TokenChooser(plain.decoding).processors
        self.live: LiveManager | None = None

    def close(self) -> None:
        """Stop the manager, and free its memory. The next call makes another one."""
        if self.live is not None:
            self.live.close()
            self.live = None

    def write(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job; see [`Generator`]."""
        breakdowns = 0
        while jobs := source.take(TAKE_AHEAD):
            failed: list[Job] = []
            if (live := self.open_manager(jobs)) is None:
                breakdowns, failed = breakdowns + 1, jobs
            else:
                with live.session() as session:
                    for written in self._write_with(live, session, jobs, source, observer, failed):
                        breakdowns = 0
                        yield written
                if not live.is_usable:
                    breakdowns += 1
                    live.close()
                    free_memory()
            if failed:
                yield from self._write_again(failed, observer)
            if breakdowns >= MOST_BREAKDOWNS:
                logger.warning("Continuous batching has broken down %d times: `generate` writes the rest.", breakdowns)
                yield from self._plain.write(source, observer)

    def _write_with(
        self,
        live: LiveManager,
        session: Session,
        jobs: list[Job],
        source: JobSource,
        observer: Observer | None,
        failed: list[Job],
    ) -> Iterator[list[tuple[Job, Completion]]]:
        """Write until nothing is left, or the manager has broken down; what fails is put on the list."""
        counter = RequestCounter(session, observer) if observer is not None else None
        loops = Loops(self._plain.decoding)
        while jobs or session.left:
            fitting = [job for job in jobs if self._count_tokens(job) <= live.capacity]
            failed += [job for job in jobs if self._count_tokens(job) > live.capacity]
            session.add(fitting)
            if observer is not None and fitting:
                observer.begin(list(session.left.values()))
            result = session.poll(COUNT_SECONDS)
            if counter is not None:
                counter.count(result)
            if result is None and not session.can_go_on:
                break
            if result is not None:
                job = session.left.pop(result.request_id)
                if result.error is not None or any(result.logprobs):
                    failed.append(job)
                    logger.warning("A row failed: %s", result.error or "its logits are not finite")
                else:
                    yield [(job, self._read(result.generated_tokens, job))]
            if len(failed) >= TAKE_AHEAD and live.is_usable:
                again = failed[:]
                failed.clear()
                yield from self._write_again(again, observer)
            if ended := [(job, self._read(tokens, job)) for job, tokens in loops.end(session)]:
                yield ended
            room = TAKE_AHEAD + len(session.active()) - len(session.left)
            jobs = source.take(room) if room > 0 and live.is_usable else []
        failed += session.left.values()
        session.left.clear()

    def _read(self, tokens: list[int], job: Job) -> Completion:
        return self._plain.decoding.read(tokens, len(job.prompt.token_ids))

    def _write_again(self, jobs: list[Job], observer: Observer | None) -> Iterator[list[tuple[Job, Completion]]]:
        logger.warning("%d rows are written again by `generate`.", len(jobs))
        yield from self._plain.write(JobList(jobs), observer)

    def _count_tokens(self, job: Job) -> int:
        return len(job.prompt.token_ids) + int(self._plain.decoding.config.max_new_tokens)

    def open_manager(self, jobs: list[Job]) -> LiveManager | None:
        """Return the manager, made anew where there is none that runs; `None` where none can be made now."""
        if self.live is None or not self.live.is_usable:
            self.close()
            longest = max(map(self._count_tokens, jobs))
            decoding, processors = self._plain.decoding, self._processors
            config = make_config(decoding, processors, self._settings, self._plain.packer.max_tokens, longest)
            try:
                self.live = LiveManager(decoding, processors, config)
            except Exception as err:
                logger.warning("Continuous batching cannot begin: %s: %s", type(err).__name__, err)
                err.__traceback__ = None  # its frames hold the tensors
                free_memory()
        return self.live


def make_config(
    decoding: Decoding,
    processors: LogitsProcessorList,
    settings: Mapping[str, Any],
    max_tokens: int,
    longest: int = 0,
) -> ContinuousBatchingConfig:
    """Make the settings of a manager.

    Args:
        decoding ([`Decoding`]): the model and how it writes.
        processors ([`~transformers.LogitsProcessorList`]): those that stand for the settings.
        settings (`Mapping[str, Any]`): the caller's, which win.
        max_tokens (`int`): tokens that the cache holds on a CPU, where the free memory does not say.
        longest (`int`): tokens of the longest row, which must fit there.

    Raises:
        ConfigError: A setting is unknown or cannot be right.
    """
    ours: dict[str, Any] = {"drop_unsupported_processors": False}
    if not all(type(processor) in FIT_FOR_GRAPHS for processor in processors):
        ours["use_cuda_graph"] = False
    if decoding.device.type == "cpu":
        page = settings.get("page_size", 256)
        held = max(min(max_tokens, CPU_HELD_TOGETHER), longest)
        ours |= {"max_batch_tokens": CPU_READ_TOGETHER, "num_blocks": -(-held // page) + 1}
    try:
        return ContinuousBatchingConfig(**{**ours, **settings})
    except (TypeError, ValueError) as err:
        raise ConfigError(f"continuous_batching={dict(settings)!r} cannot be right: {err}") from err


def why_not_continuous(plain: PlainEngine, settings: Mapping[str, Any]) -> str:
    """Say why [`ContinuousEngine`] cannot be used with a model; empty where it can, which is tried.

    Args:
        plain ([`PlainEngine`]): the engine for the same model.
        settings (`Mapping[str, Any]`): arguments of [`~transformers.ContinuousBatchingConfig`].

    Raises:
        ConfigError: A setting is unknown or cannot be right.
    """
    decoding = plain.decoding
    model, config = decoding.model, decoding.config
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "init_continuous_batching"):
        return "the model has no continuous batching"
    if (config.num_beams or 1) > 1:
        return "beam search keeps several texts for each row"
    if decoding.stop_strings:
        return "it knows no stop_strings"
    if model.config.is_encoder_decoder:
        return "the model is an encoder and a decoder"
    if plain.is_one_of_many or len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return "the model lies on several devices"
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return f"the cache has layers of another kind: {', '.join(sorted(kind.__name__ for kind in kinds))}"
    if (processors := TokenChooser(decoding).processors) is None:
        return "a setting looks at the text so far"
    config = make_config(decoding, processors, settings, plain.packer.max_tokens)
    return once(model, f"continuous {sorted(settings.items())}", lambda: try_continuous(decoding, config))
