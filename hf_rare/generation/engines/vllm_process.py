"""vLLM at work for this process: its engine, driven by a thread of ours, and what is done when it dies or hangs.

vLLM computes in a process of its own and is waited for step by step, for ever if that process is killed. So a thread
does the waiting, and whoever wants completions waits for the thread, looks whether the process is alive, and gives up
after a time. One engine serves any number of calls at once, each of which gets its own outputs.
"""

import itertools
import json
import logging
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_rare.compat.vllm import is_dead, shut_down
from hf_rare.errors import GenerationError
from hf_rare.generation.engines.vllm_start import make_engine, make_params, make_prompt

logger = logging.getLogger(__name__)

LOOK_AFTER = 0.5
"""Seconds without news after which it is looked whether vLLM is alive."""

_PROCESSES: dict[str, "VLLMProcess"] = {}


def get_process(arguments: Mapping[str, Any], silence_timeout: float) -> "VLLMProcess":
    """Return the engine of these arguments: the one this process has, or a new one, which takes minutes to load.

    Args:
        arguments (`Mapping[str, Any]`): the arguments of vLLM's `EngineArgs`.
        silence_timeout (`float`): most seconds of a step.

    Raises:
        ConfigError: vLLM refuses an argument.
        MissingPackageError: vLLM cannot be imported.
        ModelLoadError: vLLM cannot load the model.
    """
    key = json.dumps([dict(arguments), silence_timeout], sort_keys=True)
    process = _PROCESSES.get(key)
    if process is None or not process.is_usable:
        process = _PROCESSES[key] = VLLMProcess(arguments, silence_timeout)
    return process


@dataclass(eq=False)
class Output:
    """What has become of a request since the last output.

    Args:
        request_id (`str`): the request.
        token_ids (`list[int]`): tokens that were written since.
        finish_reason (`str`, *optional*): why it ended, in the words of vLLM; `None` where it goes on.
        error (`str`): why it was refused; empty where it was not.
    """

    request_id: str
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    error: str = ""


class VLLMProcess:
    """An engine of vLLM that is loaded and at work.

    Args:
        arguments (`Mapping[str, Any]`): the arguments of vLLM's `EngineArgs`.
        silence_timeout (`float`): most seconds of a step.

    Attributes:
        places (`int`): most requests that are worth having in hand: those that run, and some that wait for a place.
    """

    def __init__(self, arguments: Mapping[str, Any], silence_timeout: float) -> None:
        self._pid = os.getpid()
        self._silence_timeout = silence_timeout
        self._engine = make_engine(arguments)
        running: int = self._engine.vllm_config.scheduler_config.max_num_seqs
        self.places = running + max(4, running // 8)
        self._orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls: dict[str, Call] = {}
        self._numbers = itertools.count()
        self._step_began: float | None = None
        self._failure = ""
        self._thread = threading.Thread(target=self._work, name="vLLM", daemon=True)
        self._thread.start()

    @property
    def is_usable(self) -> bool:
        """Whether it is of this process, and neither dead nor shut down."""
        return self._pid == os.getpid() and not self._failure

    def open(self) -> "Call":
        """Open a call: requests of one's own, and their outputs."""
        return Call(self)

    def shut_down(self) -> None:
        """End vLLM's processes and free their memory."""
        if self.is_usable:
            self._failure = "it was unloaded"
            self._orders.put(None)
            self._thread.join(timeout=self._silence_timeout)
            shut_down(self._engine)

    def new_id(self) -> str:
        """Make the name of a request."""
        return f"hf-rare-{next(self._numbers)}"

    def order(self, act: Any) -> None:
        """Have the thread do something with the engine before its next step."""
        self._orders.put(act)

    def find_failure(self) -> str:
        """Look whether vLLM is at work, and end it where it hangs.

        Returns:
            `str`: what is wrong; empty where nothing is.
        """
        began = self._step_began
        if self._failure:
            return self._failure
        if is_dead(self._engine):
            self._failure = "its process has died"
        elif began is not None and time.monotonic() - began > self._silence_timeout:
            self._failure = f"it has given no sign of life for {self._silence_timeout:g} seconds"
            shut_down(self._engine)
        return self._failure

    def add(self, call: "Call", request_id: str, token_ids: list[int], sampling: Mapping[str, Any]) -> None:
        """Add a request. Called by the thread."""
        try:
            self._engine.add_request(request_id, make_prompt(token_ids), make_params(sampling))
        except (
            Exception
        ) as err:  # whatever it says of a prompt; its errors are of other classes from release to release
            if is_dead(self._engine):
                raise
            call.outputs.put([Output(request_id, error=f"vLLM refuses the prompt: {err}")])
        else:
            self._calls[request_id] = call

    def abort(self, request_ids: Sequence[str]) -> None:
        """Abort requests. Called by the thread."""
        self._engine.abort_request([name for name in request_ids if self._calls.pop(name, None) is not None])

    def _work(self) -> None:
        """Be the thread."""
        try:
            while self._obey():
                self._step_began = time.monotonic()
                outputs = self._engine.step()
                self._step_began = None
                self._hand_out(outputs)
        except Exception as err:  # whatever it is: those who wait are told
            logger.debug("vLLM has failed.", exc_info=True)
            self._failure = self._failure or f"{type(err).__name__}: {err}".rstrip(".")

    def _obey(self) -> bool:
        """Do what was ordered; wait for orders where there is nothing to write. `False` ends the thread."""
        while not self._orders.empty() or not self._engine.has_unfinished_requests():
            act = self._orders.get()
            if act is None:
                return False
            act()
        return True

    def _hand_out(self, outputs: Sequence[Any]) -> None:
        by_call: dict[Call, list[Output]] = defaultdict(list)
        for output in outputs:
            (written,) = output.outputs
            name = output.request_id
            call = self._calls.pop(name, None) if output.finished else self._calls.get(name)
            if call is not None:
                by_call[call].append(Output(name, list(written.token_ids), written.finish_reason))
        for call, its in by_call.items():
            call.outputs.put(its)


class Call:
    """Requests of one caller, and where their outputs come in.

    Args:
        process ([`VLLMProcess`]): the engine.
    """

    def __init__(self, process: VLLMProcess) -> None:
        self.process = process
        self.outputs: queue.SimpleQueue[list[Output]] = queue.SimpleQueue()
        self._unfinished: set[str] = set()

    def add(self, token_ids: list[int], sampling: Mapping[str, Any]) -> str:
        """Add a request.

        Args:
            token_ids (`list[int]`): the prompt.
            sampling (`Mapping[str, Any]`): the arguments of vLLM's `SamplingParams`.

        Returns:
            `str`: the name of the request.
        """
        name = self.process.new_id()
        self._unfinished.add(name)
        self.process.order(lambda: self.process.add(self, name, token_ids, sampling))
        return name

    def wait(self) -> list[Output]:
        """Wait for the next outputs of requests that were added.

        Raises:
            GenerationError: vLLM has died or hangs, and all that it had written was given out.
        """
        outputs: list[Output] = []
        while not outputs:
            try:
                outputs = self.outputs.get(timeout=LOOK_AFTER)
            except queue.Empty:
                if (failure := self.process.find_failure()) and self.outputs.empty():
                    raise GenerationError(_advise(failure)) from None
        while not self.outputs.empty():
            outputs += self.outputs.get()
        self._unfinished -= {output.request_id for output in outputs if output.finish_reason or output.error}
        return outputs

    def drop(self, name: str) -> None:
        """Abort one request, of which nothing more is wanted."""
        self._unfinished.discard(name)
        self.process.order(lambda: self.process.abort([name]))

    def close(self) -> None:
        """Abort what has not ended."""
        names, self._unfinished = list(self._unfinished), set()
        if names:
            self.process.order(lambda: self.process.abort(names))


def _advise(failure: str) -> str:
    return (
        f"vLLM cannot go on: {failure}. What has been written is kept, and with a journal a new run goes on from "
        "there. If memory ran out, pass less: engine_kwargs={'gpu_memory_utilization': ..., 'max_num_seqs': ...}; if "
        "a step takes longer on this machine, pass silence_timeout=...; what vLLM logs shows more."
    )
