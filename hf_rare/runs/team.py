"""The processes of one job, as `torchrun` and `accelerate launch` start them: who is there, and who is alive.

They talk through the store of the job, never through collectives: nobody waits in one while another generates, so that
no time-out can end a long run. Each process says twice a second that it is alive and how far it is; who waits for one
that has died, has ended, or went another way, gets an error. Nothing here knows what the processes work on.
"""

import atexit
import contextlib
import itertools
import json
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import multiprocess

from hf_rare.errors import ConfigError, RankError, RunEndedError
from hf_rare.runs.job_store import JobStore, describe_address

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
DEAD_SECONDS = 60.0
"""A process that was silent for so long counts as dead. Launchers see most deaths sooner."""

PASSED_SECONDS = 15.0
"""A process that has met a later `map` for so long has passed by the one that is waited for."""

STAYED_SECONDS = 60.0
"""A process that has met the same `map`, and not come to its first batch for so long, has its result already."""

WARN_SECONDS = 30.0
LINGER_SECONDS = 3.0

_TEAMS: dict[int, "Team"] = {}


def read_place() -> tuple[int, int]:
    """Read from the environment which process of its job this is: `RANK` and `WORLD_SIZE`, as launchers set them.

    Both must be there and say that there are several processes; what a single one of them is left over from says
    nothing.

    Returns:
        `tuple[int, int]`: the rank, from 0, and the number of processes; `(0, 1)` for a process that works alone.

    Raises:
        ConfigError: They are no numbers that go together.
    """
    rank, world_size = (os.environ.get(name, "").strip() for name in ("RANK", "WORLD_SIZE"))
    if not rank or world_size in ("", "1"):
        return 0, 1
    if not (rank.isdecimal() and world_size.isdecimal() and int(rank) < int(world_size)):
        raise ConfigError(
            f"RANK={rank!r} and WORLD_SIZE={world_size!r} are in the environment; expected a number of processes, and "
            "one below it. Launchers set them; unset both to work alone."
        )
    return int(rank), int(world_size)


def is_first_process() -> bool:
    """Tell whether this process writes and pushes for its job: it works alone, or is that of rank 0."""
    return read_place()[0] == 0


def get_team() -> "Team | None":
    """Return the team of this process, or `None` when it works alone.

    Raises:
        ConfigError: This is a worker of `map(num_proc=...)` in a process that a launcher has started, or the launcher
            has not said where the processes meet.
    """
    rank, world_size = read_place()
    if world_size == 1:
        return None
    if multiprocess.parent_process() is not None:
        raise ConfigError(
            f"num_proc= in a script that a launcher runs as {world_size} processes: the rows are shared out among "
            "these. Leave num_proc out, or start the script with plain `python`."
        )
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise ConfigError(
            f"WORLD_SIZE={world_size} and RANK are set, and {missing[0]} is not. Use torchrun or `accelerate launch`, "
            "set it, or unset WORLD_SIZE to work alone."
        )
    if os.getpid() not in _TEAMS:
        _TEAMS[os.getpid()] = Team(rank, world_size)
    return _TEAMS[os.getpid()]


@dataclass
class _Peer:
    """What is known of another process.

    Args:
        state (`bytes`): what it said last; empty as long as it has not been heard of.
        silence (`float`): seconds that this process has listened since then.
        maps (`int`): `map` calls that it has met.
        calls (`int`): batches that it has come to.
        done (`int`): batches that it has ended.
        failed (`int`): the last batch that an exception has ended; 0 for none.
        has_left (`bool`): whether its script is over.
        passed (`float`, *optional*): since when it seems to have passed by the batch that is waited for.
    """

    state: bytes = b""
    silence: float = 0.0
    maps: int = 0
    calls: int = 0
    done: int = 0
    failed: int = 0
    has_left: bool = False
    passed: float | None = None

    def hear(self, state: bytes, listened: float) -> None:
        self.silence += listened
        if state != self.state:
            self.state, self.silence = state, 0.0
            _, self.maps, self.calls, self.done, self.failed, self.has_left = json.loads(state)


class Team:
    """The processes of a job, seen from one of them.

    Args:
        rank (`int`): number of this process, from 0.
        world_size (`int`): number of processes.

    Attributes:
        store ([`JobStore`]): what they tell each other. There from the first call on.
        calls (`int`): batches that this process has come to.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size
        self.store = JobStore(rank, world_size)
        self.calls = 0
        self._done = self._failed = self._maps = self._calls_before_map = 0
        self._has_left = False
        self._beats = itertools.count(1)
        self._pause = BEAT_SECONDS * max(1.0, world_size / 64)
        self._peers = {number: _Peer() for number in range(world_size) if number != rank}
        self._listened_at = time.monotonic()
        self._trouble = self._fatal = ""
        self._thread: threading.Thread | None = None
        self._is_connected, self._is_over = threading.Event(), threading.Event()
        self._pid = os.getpid()
        self._launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self._timeout = self._call_start = self._warned = 0.0

    @property
    def is_first_of_machine(self) -> bool:
        """Whether this process is the first of its machine."""
        return os.environ.get("LOCAL_RANK", "0") == "0"

    def join(self) -> None:
        """Begin to tell the others that this process is alive."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hf_rare team", daemon=True)
            self._thread.start()
            atexit.register(self._leave)

    def note_map(self) -> None:
        """Tell the others that this process has met a `map` call, whether or not it has its result already."""
        self._maps += 1
        self._calls_before_map = self.calls
        self.join()

    @contextlib.contextmanager
    def call(self, timeout: float) -> Iterator[None]:
        """Come to a batch, as all processes do. What goes wrong inside is passed on to the others.

        Args:
            timeout (`float`): seconds to wait for processes that have not been heard of at all.

        Raises:
            RankError: Another process failed, died, ended, or did not come.
        """
        self.join()
        self._trouble = ""
        self._timeout, self._call_start = timeout, time.monotonic()
        self.calls += 1
        try:
            self._wait_for_store()
            self._beat(self.store)
            yield
        except RunEndedError:  # which all processes come to together
            self._end_call()
            raise
        except BaseException as err:
            with contextlib.suppress(RankError):  # the store may be gone, with the process that held it
                self._report("".join(traceback.format_exception(err)))
            raise
        self._end_call()

    def check(self) -> None:
        """Raise what has gone wrong elsewhere since the call began.

        Raises:
            RankError: Another process failed, died, ended, or did not come.
        """
        if trouble := self._fatal or self._trouble:
            raise RankError(trouble)

    def wait(self, is_over: Callable[[], bool]) -> None:
        """Wait until something is so, however long others take to bring it about.

        Raises:
            RankError: It will not happen.
        """
        pause = 0.001  # the store's own wait would do, and write to stderr with each of its time-outs
        while not is_over():
            self.check()
            time.sleep(pause)
            pause = min(0.02, 1.5 * pause)

    def wait_for(self, keys: Sequence[str]) -> None:
        """Wait until values are in the store."""
        self.wait(lambda: self.store.has(keys))

    def _wait_for_store(self) -> None:
        while not self._is_connected.wait(0.05):
            self.check()
            if time.monotonic() - self._call_start > self._timeout:
                raise RankError(
                    f"The process of rank 0 has not been reached at {describe_address()} in {self._timeout:.0f} "
                    f"seconds (rank_timeout). {_EVERY_PROCESS}"
                )

    def _end_call(self) -> None:
        self._done = self.calls
        with contextlib.suppress(RankError):  # the batch is done, whatever has become of the store
            self._beat(self.store)

    def _report(self, text: str) -> None:
        """Tell the others what went wrong here, unless it began elsewhere, and wait a moment until they know."""
        self._failed = self.calls
        if not self._is_connected.is_set():
            return
        failure = json.dumps({"rank": self.rank, "traceback": text}).encode()
        is_first = self.store.put_first(f"failure/{self.calls}", failure)
        self._beat(self.store)
        deadline = time.monotonic() + LINGER_SECONDS
        while is_first and time.monotonic() < deadline and any(map(self._is_to_learn, self._peers.values())):
            time.sleep(0.05)

    def _is_to_learn(self, peer: _Peer) -> bool:
        return peer.done < self.calls and peer.failed < self.calls and not peer.has_left

    def _run(self) -> None:
        """Tell and find out who is alive, until the process ends."""
        try:
            self.store.connect(lambda: self._is_over.wait(0.02))
            store = self.store.clone()  # for this thread alone
            self._is_connected.set()
            while not self._is_over.is_set():
                self._beat(store)
                self._look_around(store)
                self._is_over.wait(self._pause)
        except Exception as err:  # the thread ends, and whoever waits is told why
            self._fatal = self._fatal or str(err)

    def _leave(self) -> None:
        if os.getpid() != self._pid:
            return
        self._is_over.set()
        if self._thread is not None:
            self._thread.join(LINGER_SECONDS)  # a thread inside the store when Python ends would abort the process
        self._has_left = True
        if self._is_connected.is_set():
            with contextlib.suppress(RankError):
                self._beat(self.store)

    def _beat(self, store: JobStore) -> None:
        state = [next(self._beats), self._maps, self.calls, self._done, self._failed, self._has_left]
        store.put(f"state/{self.rank}", json.dumps(state).encode())

    def _look_around(self, store: JobStore) -> None:
        """Find out whether those that are waited for are alive and on their way."""
        if self.rank == 0 and not all(peer.state for peer in self._peers.values()):
            store.welcome()
        self._hear(store)
        if self._launcher is not None and os.getppid() != self._launcher:
            self._fatal = "The launcher that started this process is gone."
        call = self.calls
        if call in (self._done, self._failed) or self._trouble:
            return
        now, trouble = time.monotonic(), ""
        if store.has([f"failure/{call}"]):
            failure = json.loads(store.get(f"failure/{call}"))
            trouble = f"The process of rank {failure['rank']} failed:\n{failure['traceback']}"
        waited = {number: peer for number, peer in self._peers.items() if peer.done < self.calls}
        for number, peer in waited.items():
            if reason := self._find_trouble(peer, now):
                trouble = trouble or f"The process of rank {number} {reason}"
        if call == self.calls:  # it may have ended meanwhile, and the next one begun
            self._trouble = trouble
        late = [str(number) for number, peer in waited.items() if peer.calls < self.calls]
        if late and now - max(self._warned, self._call_start) > WARN_SECONDS:
            self._warned = now
            logger.warning("Waiting for the processes of rank %s to come to this batch.", ", ".join(late))

    def _hear(self, store: JobStore) -> None:
        known = [number for number, peer in self._peers.items() if peer.state or store.has([f"state/{number}"])]
        states = store.get_all([f"state/{number}" for number in known])
        now = time.monotonic()
        listened = min(now - self._listened_at, 2 * self._pause)  # a pause of this process accuses no other
        self._listened_at = now
        for number, state in zip(known, states, strict=True):
            self._peers[number].hear(state, listened)

    def _find_trouble(self, peer: _Peer, now: float) -> str:
        """Say why a process that is waited for will not come, or not end; nothing when it will."""
        if not peer.state:
            if now - self._call_start <= self._timeout:
                return ""
            return f"has not been heard of in {self._timeout:.0f} seconds (rank_timeout). {_EVERY_PROCESS}"
        if peer.failed >= self.calls:
            return "failed."
        if peer.has_left:
            return f"has ended its script, while this one waits for it at a batch. {_EVERY_PROCESS}"
        if peer.silence > DEAD_SECONDS:
            return f"has not been heard of for {DEAD_SECONDS:.0f} seconds and seems to be dead."
        is_elsewhere = peer.maps >= self._maps and peer.calls <= self._calls_before_map < self.calls
        peer.passed = (peer.passed or now) if is_elsewhere else None
        patience = PASSED_SECONDS if peer.maps > self._maps else STAYED_SECONDS
        if peer.passed is not None and now - peer.passed > patience:
            return (
                f"has met this `map` and not come to its first batch in {patience:.0f} seconds: it seems to have the "
                "result in its cache of `datasets`, and this process has not. Pass `load_from_cache_file=False` to "
                "`map`, or remove the cached result there."
            )
        return ""


_EVERY_PROCESS = (
    "Every process of the job must call the same `map` on the same rows: not under `if is_main_process`, and not "
    "within `main_process_first()`."
)
