"""A manager of transformers' continuous batching that lives as long as its engine, and serves several writers at once.

Its thread runs the model beside the caller's. Whoever writes has a [`Session`]: what a manager has finished is handed
to the one that asked for it, and a session that is closed takes back what it had asked for. Tokens are chosen row by
row ([`choose_by_row`]). What is done about requests that fail is left to the engine.
"""

import contextlib
import copy
import itertools
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, LogitsProcessorList

from hf_rare.compat.transformers import FORKED, attention_of, keep_attention, set_attention
from hf_rare.generation.decoding import Decoding, end_token_ids
from hf_rare.generation.engines.row_draw import RowDraws, choose_by_row
from hf_rare.generation.model_use import begin_work, end_work, is_at_work
from hf_rare.generation.protocol import Job

STOP_SECONDS = 60
"""Time that a thread is given to end its step."""

_MANAGERS: "weakref.WeakSet[LiveManager]" = weakref.WeakSet()


class LiveManager:
    """A manager whose thread runs from its making on. It is made in the thread of the caller, so that errors show.

    Args:
        decoding ([`Decoding`]): the model and how it writes.
        processors ([`~transformers.LogitsProcessorList`]): those that stand for the settings.
        config ([`~transformers.ContinuousBatchingConfig`]): its settings.

    Raises:
        Exception: whatever transformers raises where the model or the memory does not do.
    """

    def __init__(self, decoding: Decoding, processors: LogitsProcessorList, config: ContinuousBatchingConfig) -> None:
        self.model = decoding.model
        self.do_sample = bool(decoding.config.do_sample)
        self.owners: dict[str, Session] = {}
        self._names = itertools.count()
        self._sessions = 0
        self._pause: contextlib.ExitStack | None = None
        self._process = os.getpid()
        for other in list(_MANAGERS):  # an idle one holds most of the memory
            if other.model is self.model and not other._sessions:
                other.close()
        greedy = copy.deepcopy(decoding.config)
        greedy.do_sample = False  # the last processor draws
        config = copy.copy(config)
        config.return_logprobs = True
        if is_at_work(self.model):
            config.auto_switch_to_flash = False
        before, was_training = attention_of(self.model), self.model.training
        try:
            with torch.inference_mode(False), _on_device(decoding.device):
                manager = self.model.init_continuous_batching(
                    generation_config=greedy, continuous_batching_config=config
                )
                keep_attention(manager)
                self._attention = attention_of(self.model)
                end_token_id = next(iter(end_token_ids(decoding.config)), 0)
                choose_by_row(manager, processors, self.do_sample, end_token_id)
                manager.warmup()
        finally:
            set_attention(self.model, before)
            self.model.train(was_training)
        self.manager = manager
        self.capacity: int = manager.batch_processor.cache.num_blocks * manager.continuous_batching_config.page_size
        # a thread inherits this: one that ends with the process, wherever the process ends
        starter = threading.Thread(target=manager.start, daemon=True)
        starter.start()
        starter.join()
        self._close = weakref.finalize(self, _stop, manager)
        _MANAGERS.add(self)

    @property
    def is_usable(self) -> bool:
        """Whether its thread runs, in this process."""
        return self._close.alive and os.getpid() == self._process and self.manager.is_running()

    def close(self) -> None:
        """Stop the thread, and free the memory."""
        if os.getpid() == self._process:
            self.go_on()
            self._close()
        else:
            self._close.detach()  # a forked process has the manager, and no thread of it

    @contextlib.contextmanager
    def session(self) -> Iterator["Session"]:
        """Write with it for a while."""
        session, is_process_ending = Session(self), sys.is_finalizing  # a module loses its names in the end
        self._sessions += 1
        begin_work(self.model, self, self._attention)
        try:
            yield session
        finally:
            if not is_process_ending():  # else what this needs is torn down
                session.take_back()
                self._sessions -= 1
                end_work(self.model, self)

    def rest(self) -> None:
        """Let the thread end its step, and wait."""
        if self._pause is None:
            self._pause = contextlib.ExitStack()
            with contextlib.suppress(RuntimeError):  # it has ended
                self._pause.enter_context(self.manager.pause())

    def go_on(self) -> None:
        """Let the thread go on, if it waits."""
        if self._pause is not None:
            self._pause.close()
            self._pause = None

    def next_names(self, count: int) -> list[str]:
        """Make the names of a request and of its forks."""
        name = str(next(self._names))
        return [name, *(f"{name}{FORKED}{i}" for i in range(count - 1))]


class Session:
    """What one writer has asked of a manager.

    Args:
        live ([`LiveManager`]): the manager.

    Attributes:
        left (`dict[str, Job]`): the jobs that are not finished, by the names of their requests.
    """

    def __init__(self, live: LiveManager) -> None:
        self.left: dict[str, Job] = {}
        self.arrived: deque[Any] = deque()
        self._live = live

    def add(self, jobs: Sequence[Job]) -> None:
        """Ask for jobs. Those with one prompt that follow each other are one request, whose prompt is read once."""
        manager = self._live.manager
        for _, group in itertools.groupby(jobs, key=lambda job: job.prompt.token_ids):
            samples = list(group)
            # transformers reads all but the last token before it forks
            parts = [samples] if len(samples[0].prompt.token_ids) > 1 else [[job] for job in samples]
            for part in parts:
                names = self._live.next_names(len(part))
                named = dict(zip(names, part, strict=True))
                self.left |= named
                self._live.owners |= dict.fromkeys(names, self)
                draws = {"draws": RowDraws({name: job.seed for name, job in named.items()})}
                manager.num_return_sequences = len(part)
                manager.add_request(
                    part[0].prompt.token_ids, request_id=names[0], **(draws if self._live.do_sample else {})
                )

    def poll(self, timeout: float) -> Any:
        """Wait for a request of this session that has ended; `None` where none has."""
        if not self.arrived:
            result = self._live.manager.get_result(timeout=timeout)
            if result is None or (owner := self._live.owners.pop(result.request_id, None)) is None:
                return None
            owner.arrived.append(result)
        result = self.arrived.popleft() if self.arrived else None
        return result if result is None or result.request_id in self.left else None

    @property
    def can_go_on(self) -> bool:
        """Whether what is left can still be finished."""
        return bool(self.arrived) or self._live.is_usable or not self._live.manager.output_router.output_queue.empty()

    def active(self) -> dict[str, Any]:
        """Return the requests of this session that are being written, by name."""
        processor = self._live.manager.batch_processor
        active = processor.scheduler.active_requests.copy() if processor is not None else {}
        return {name: state for name, state in active.items() if name in self.left}

    def end_early(self, name: str) -> Job:
        """End a request whose further tokens nobody wants; what it has written is in [`Session.active`]."""
        self._live.owners.pop(name, None)
        self._live.manager.cancel_request(name)
        return self.left.pop(name)

    def take_back(self) -> None:
        """Take back what is left."""
        for name in list(self.left):  # a request comes before its forks, which it would make otherwise
            self.end_early(name)


def _stop(manager: Any) -> None:
    manager.stop(block=True, timeout=STOP_SECONDS, hard_stop=True)
    if not manager.is_running():
        manager.destroy()


@contextlib.contextmanager
def _on_device(device: torch.device) -> Iterator[None]:
    """Let graphs and streams be made on the device of the model."""
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        yield
