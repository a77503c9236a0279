"""Lets an endpoint write the jobs of a source: as many requests as it takes, each sent again until it is answered.

Requests live in an event loop of their own, in a thread: so it works in notebooks, whose loop is running, and in any
thread. What is taken from the source and what is given back stays in the thread that asked.
"""

import asyncio
import contextlib
import queue
import random
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from hf_rare.errors import EndpointError
from hf_rare.generation.endpoints.chat import ChatClient
from hf_rare.generation.endpoints.faults import Fault, Kind
from hf_rare.generation.endpoints.level import LONGEST_ASKED, Level
from hf_rare.generation.protocol import Completion, Job, JobSource, Observer
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.text import hide_credentials

AHEAD = 8
"""A quarter as many jobs as there are places wait for one, and at least so many: no place is empty while prompts are
made."""
LOOK_EVERY = 0.5
"""Seconds between two looks at how the requests go on."""
GATHER = 0.005
"""Seconds in which what ends is handed over together: each time the other thread is woken, and both wait for it."""
LONGEST_BACK_OFF = 30.0
"""Seconds before a request is sent again, at most; before the first time at most 2, then twice as many each time."""


class EndpointWriter:
    """Writes by requests to a server.

    Args:
        model_id (`str`): what the server calls the model.
        config ([`EndpointConfig`]): where the server is and how it is asked.
        token (`str`, *optional*): the key.
        fields (`Mapping[str, Any]`): the fields of every request but for model, messages and seed.
        places (`int`): requests under way at first.

    Attributes:
        has_answered (`bool`): whether any request of the run has gone well; whoever knows of an earlier one sets it.
    """

    def __init__(
        self, model_id: str, config: EndpointConfig, token: str | None, fields: Mapping[str, Any], places: int
    ) -> None:
        self._model_id = model_id
        self._config = config
        self._token = token
        self._fields = fields
        self._places = places
        self.has_answered = False

    def write(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job; see [`Generator`].

        Raises:
            EndpointError: Nothing goes well any more with the endpoint.
        """
        with _Loop() as loop:
            requests = loop.wait(self._open(loop))
            try:
                yield from self._write(requests, source, observer)
            finally:
                loop.wait(requests.close())

    async def _open(self, loop: "_Loop") -> "_Requests":
        return _Requests(
            loop, ChatClient(self._model_id, self._config, self._token), self._config, self._fields, self._places
        )

    def _write(
        self, requests: "_Requests", source: JobSource, observer: Observer | None
    ) -> Iterator[list[tuple[Job, Completion]]]:
        in_hand: dict[Job, None] = {}
        may_have_more = True
        while True:
            places = requests.level.places
            room = places + max(AHEAD, places // 4) - len(in_hand)
            if may_have_more and room > 0:
                jobs = source.take(room)
                may_have_more = bool(jobs)
                in_hand |= dict.fromkeys(jobs)
                requests.begin(jobs)
                if jobs and observer is not None:
                    observer.begin(list(in_hand))
            if not in_hand:
                return
            done = requests.collect()
            self.has_answered = self.has_answered or requests.level.has_succeeded
            if observer is not None and (tokens := requests.count_streamed()):
                observer.add_tokens(0, tokens)
            if done:
                for job, completion in done:
                    del in_hand[job]
                    told = requests.streamed.pop(job, 0)
                    if observer is not None:
                        observer.add_tokens(completion.prompt_tokens, max(0, completion.completion_tokens - told))
                yield done
                may_have_more = True
            if requests.level.is_down:
                raise EndpointError(self._say_it_is_down(requests.level.last))

    def _say_it_is_down(self, fault: Fault | None) -> str:
        where = hide_credentials(self._config.base_url or f"provider {self._config.provider}")
        what = {
            Kind.OVERLOAD: "It has no room for requests, after several pauses: try later, or lower max_concurrency.",
            Kind.REFUSED: "It would refuse every row.",
            Kind.ROW: "It refuses every row: look at extra_body and the settings of sampling; some servers know no "
            "stream_options (stream=False) or no seed (send_seed=False).",
        }
        advice = what.get(fault.kind) if fault is not None else None
        if fault is not None and (fault.wait or 0) > LONGEST_ASKED:
            advice = f"It asks to wait for {fault.wait:.0f} seconds: try later."
        left = "What was written is in the journal: run the same script again to go on."
        left = left if self.has_answered else "This run has written nothing."
        return (
            f"{self._model_id} at {where} does not answer{' any more' if self.has_answered else ''}; last: {fault}. "
            f"{advice or 'Look whether the server is up, and at its log.'} {left}"
        )


class _Requests:
    """The requests that are under way. But for what says otherwise, it is used from the thread that asked."""

    def __init__(
        self, loop: "_Loop", client: ChatClient, config: EndpointConfig, fields: Mapping[str, Any], places: int
    ) -> None:
        self.level = Level(places)
        self.streamed: dict[Job, int] = {}
        self._told = self._counted = 0
        self._loop = loop
        self._client = client
        self._config = config
        self._fields = fields
        self._done: queue.SimpleQueue[list[tuple[Job, Completion]]] = queue.SimpleQueue()
        self._gathered: list[tuple[Job, Completion]] = []

    def begin(self, jobs: list[Job]) -> None:
        """Begin to ask for some completions."""
        if jobs:
            self._loop.start(self._write(job) for job in jobs)

    def collect(self) -> list[tuple[Job, Completion]]:
        """Return what has ended since the last look; wait a moment where nothing has."""
        done = list[tuple[Job, Completion]]()
        with contextlib.suppress(queue.Empty):
            done += self._done.get(timeout=LOOK_EVERY)
            while True:
                done += self._done.get_nowait()
        return done

    async def close(self) -> None:
        """End what is under way. Runs in the loop."""
        await self._loop.cancel_all()
        await self._client.close()

    def count_streamed(self) -> int:
        """Count the tokens that have come since the last look."""
        total = self._told  # which the loop alone writes
        count, self._counted = total - self._counted, total
        return count

    def _tell(self, job: Job, tokens: int) -> None:
        """Take note of tokens that have come. Runs in the loop."""
        self.streamed[job] = self.streamed.get(job, 0) + tokens
        self._told += tokens

    def _give(self, job: Job, completion: Completion) -> None:
        """Hand a completion to the thread that asked, with those that end at about the same time. In the loop."""
        if not self._gathered:
            asyncio.get_running_loop().call_later(GATHER, self._hand_over)
        self._gathered.append((job, completion))

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._done.put(gathered)

    async def _write(self, job: Job) -> None:
        """See to it that a job has a completion, whatever comes. Runs in the loop."""
        try:
            await self._ask(job)
        except Exception as err:  # a job without a completion would be waited for without end
            self._give(job, Completion("", "error", 0, 0, f"{type(err).__name__}: {err}"))

    async def _ask(self, job: Job) -> None:
        """Ask until there is an answer, or until it is of no use to ask again."""
        seed = {"seed": job.seed % 2**31} if self._config.send_seed else {}
        fields, tries, fault = {**self._fields, **seed}, 0, None
        while tries <= self._config.max_retries and not self.level.is_down:
            if tries:
                await asyncio.sleep(random.uniform(0, min(LONGEST_BACK_OFF, 2.0**tries)))
            async with self.level.place() as began_at:
                if self.level.is_down:
                    return
                try:
                    completion = await self._client.complete(job.prompt.messages, fields, partial(self._tell, job))
                except Fault as err:
                    fault = err
                    self.level.fail(fault, began_at, job)
                else:
                    self.level.succeed()
                    if not completion.prompt_tokens:  # the server does not say, but the tokenizer may be known
                        completion = replace(completion, prompt_tokens=len(job.prompt.token_ids))
                    self._give(job, completion)
                    return
            if fault.kind in (Kind.ROW, Kind.TOO_LONG):
                break
            tries += fault.kind is not Kind.OVERLOAD
        if not self.level.is_down and fault is not None:
            reason: Any = "prompt_too_long" if fault.kind is Kind.TOO_LONG else "error"
            often = f" ({tries} tries)" if tries > 1 else ""
            self._give(job, Completion("", reason, 0, 0, f"{fault}{often}"))


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hf_rare endpoint", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> "_Loop":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.wait(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        """Let streams close that were left before their end. Runs in the loop."""
        await self._loop.shutdown_asyncgens()
        if closing := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(closing, timeout=LOOK_EVERY)

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the loop and wait for its end."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result()

    def start(self, coroutines: Iterator[Coroutine[Any, Any, None]]) -> None:
        """Start some things in the loop."""
        started = list(coroutines)
        self._loop.call_soon_threadsafe(self._start, started)

    def _start(self, coroutines: list[Coroutine[Any, Any, None]]) -> None:
        for coroutine in coroutines:
            task = self._loop.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def cancel_all(self) -> None:
        """End what was started. Runs in the loop."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()


def run_in_loop(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run something in an event loop of its own, in a thread: also where a loop is running already."""
    with _Loop() as loop:
        return loop.wait(make())
