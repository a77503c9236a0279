"""The processes of one job, as `torchrun` and `accelerate launch` start them: who is there, and who is alive.

Processes talk through torch's own store (a `TCPStore`), never through collectives: nobody waits in one while another
generates, so that no time-out can end a long run. Each process says twice a second that it is alive and how far it
is; who waits for one that has died, has ended, or went another way, gets an error in seconds.
Nothing here knows what the processes work on.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import multiprocess

from hf_rare.errors import ConfigError, RankError

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
DEAD_SECONDS = 20.0
"""A process that has not been heard of for so long counts as dead."""

PASSED_SECONDS = 15.0
"""A process that has met the same `map`, and does not come to its first batch for so long, has its result already."""

WARN_SECONDS = 30.0
LINGER_SECONDS = 3.0
PIECE_BYTES = 4 << 20  # the store takes values of up to 8 MB

_PREFIX = f"hf_rare/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/"  # the store may outlive a restart

_TEAMS: dict[int, "Team"] = {}


def get_team() -> "Team | None":
    """Give the team of this process, or `None` when it works alone.

    Raises:
        ConfigError: This is a worker of `map(num_proc=...)` in a process that a launcher has started.
    """
    world_size = int(os.environ.get("WORLD_SIZE") or 1)
    if world_size < 2 or "RANK" not in os.environ:
        return None
    if multiprocess.parent_process() is not None:
        raise ConfigError(
            f"num_proc= in a script that a launcher runs as {world_size} processes: the rows are shared out among "
            "these. Leave num_proc out, or start the script with plain `python`."
        )
    if os.getpid() not in _TEAMS:
        _TEAMS[os.getpid()] = Team(int(os.environ["RANK"]), world_size)
    return _TEAMS[os.getpid()]


@dataclass
class _Peer:
    """What is known of another process.

    Args:
        state (`str`): what it said last; empty as long as it has not been heard of.
        heard (`float`): when that was, by the clock of this process.
        maps (`int`): `map` calls that it has met.
        calls (`int`): batches that it has come to.
        done (`int`): batches that it has ended.
        has_failed (`bool`): whether an exception has ended a batch.
        has_left (`bool`): whether its script is over.
        passed (`float`, *optional*): since when it seems to have passed by the batch that is waited for.
    """

    state: str = ""
    heard: float = 0.0
    maps: int = 0
    calls: int = 0
    done: int = 0
    has_failed: bool = False
    has_left: bool = False
    passed: float | None = None

    def hear(self, state: str) -> None:
        if state != self.state:
            self.state, self.heard = state, time.monotonic()
            _, self.maps, self.calls, self.done, self.has_failed, self.has_left = json.loads(state)


class Team:
    """The processes of a job, seen from one of them.

    Args:
        rank (`int`): number of this process, from 0.
        world_size (`int`): number of processes.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size
        self.calls = 0
        self._done = self._maps = self._calls_before_map = 0
        self._has_failed = self._has_left = False
        self._beats = itertools.count(1)
        self._peers = {number: _Peer() for number in range(world_size) if number != rank}
        self._trouble = ""
        self._store: Any = None
        self._pulse_store: Any = None
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()
        self._launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self._timeout = self._call_start = self._warned = 0.0

    @property
    def is_first_of_machine(self) -> bool:
        """Whether this process is the first of its machine."""
        return os.environ.get("LOCAL_RANK", "0") == "0"

    def note_map(self) -> None:
        """Tell the others that this process has met a `map` call, whether or not it has its result already."""
        self._maps += 1
        self._calls_before_map = self.calls
        self._start()

    @contextlib.contextmanager
    def call(self, timeout: float) -> Iterator[None]:
        """Come to a batch, as all processes do. What goes wrong inside is passed on to the others.

        Args:
            timeout (`float`): seconds to wait for processes that have not been heard of at all.

        Raises:
            RankError: Another process failed, died, ended, or did not come.
        """
        self._start()
        self._timeout, self._call_start = timeout, time.monotonic()
        self.calls += 1
        try:
            self._connect()
            self._beat()
            yield
            self._done = self.calls
            self._beat()
        except BaseException as err:
            with contextlib.suppress(RankError):  # the store may be gone, with the process that held it
                self._report("".join(traceback.format_exception(err)))
            raise

    def check(self) -> None:
        """Raise what has gone wrong elsewhere since the call began.

        Raises:
            RankError: Another process failed, died, ended, or did not come.
        """
        if self._trouble:
            raise RankError(self._trouble)

    def wait_for(self, keys: Sequence[str]) -> None:
        """Wait until values are in the store, however long it takes others to put them there.

        Raises:
            RankError: It will not happen.
        """
        while not self.wait_briefly(keys):
            pass

    def wait_briefly(self, keys: Sequence[str]) -> bool:
        """Wait until values are in the store, for at most half a second; tell whether they are.

        Raises:
            RankError: It will not happen.
        """
        from torch.distributed import DistStoreError

        self.check()
        try:
            self._ask("wait", [_PREFIX + key for key in keys], timedelta(seconds=BEAT_SECONDS))
        except RankError as err:
            if isinstance(err.__cause__, DistStoreError):  # not yet
                return False
            raise
        return True

    def has(self, keys: Sequence[str]) -> bool:
        """Tell whether values are in the store."""
        return not keys or bool(self._ask("check", [_PREFIX + key for key in keys]))

    def put(self, key: str, value: bytes) -> None:
        """Put a value of any size into the store."""
        first, *others = [value[i : i + PIECE_BYTES] for i in range(0, len(value), PIECE_BYTES)] or [b""]
        for number, piece in enumerate(others):
            self._ask("set", f"{_PREFIX}{key}/{number}", piece)
        self._ask("set", _PREFIX + key, b"%d\n" % len(others) + first)  # last, so that who sees it finds all

    def get(self, key: str) -> bytes:
        """Get a value that is in the store."""
        others, _, first = self._ask("get", _PREFIX + key).partition(b"\n")
        return b"".join([first, *(self._ask("get", f"{_PREFIX}{key}/{number}") for number in range(int(others)))])

    def remove(self, key: str) -> None:
        """Remove a value from the store, if it is there."""
        if not self.has([key]):
            return
        for number in range(int(self._ask("get", _PREFIX + key).partition(b"\n")[0])):
            self._ask("delete_key", f"{_PREFIX}{key}/{number}")
        self._ask("delete_key", _PREFIX + key)

    def add(self, key: str, amount: int) -> int:
        """Add to a number in the store, which begins at 0, and give the sum."""
        return int(self._ask("add", _PREFIX + key, amount))

    def remove_number(self, key: str) -> None:
        """Remove a number from the store."""
        self._ask("delete_key", _PREFIX + key)

    def _ask(self, method: str, *arguments: Any) -> Any:
        store = self._pulse_store if threading.current_thread() is self._thread else self._store
        try:
            return getattr(store, method)(*arguments)
        except (RuntimeError, AttributeError) as err:  # without a connection there is no store to ask
            raise RankError(
                f"The store of the job at {_address()} is gone, and with it the process of rank 0 or the launcher on "
                f"the first machine: {err}"
            ) from err

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hf_rare team", daemon=True)
            self._thread.start()
            atexit.register(self._leave)

    def _run(self) -> None:
        try:
            store = _open_store(self.rank)
            self._pulse_store = store.clone()  # for this thread, since the other one may be waiting in the store
            self._store = store
            pause = BEAT_SECONDS * max(1.0, self.world_size / 64)
            while True:
                self._beat()
                self._look_around()
                if self._is_over.wait(pause):
                    return
        except Exception as err:  # the thread ends, and whoever waits is told why
            self._trouble = self._trouble or str(err)

    def _connect(self) -> None:
        while self._store is None:
            self.check()
            if time.monotonic() - self._call_start > self._timeout:
                raise RankError(
                    f"The process of rank 0 has not been reached at {_address()} in {self._timeout:.0f} seconds. "
                    f"{_EVERY_PROCESS}"
                )
            time.sleep(0.01)

    def _beat(self) -> None:
        state = [next(self._beats), self._maps, self.calls, self._done, self._has_failed, self._has_left]
        self._ask("set", f"{_PREFIX}state/{self.rank}", json.dumps(state))

    def _leave(self) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join(LINGER_SECONDS)  # a thread inside the store when Python ends would abort the process
        self._has_left = True
        if self._store is not None:
            with contextlib.suppress(RankError):
                self._beat()

    def _report(self, text: str) -> None:
        """Tell the others what went wrong here, unless it began elsewhere, and wait a moment until they know."""
        self._has_failed = True
        failure = json.dumps({"rank": self.rank, "traceback": text})
        is_first = self._ask("compare_set", f"{_PREFIX}failure", "", failure) == failure.encode()
        self._beat()
        deadline = time.monotonic() + LINGER_SECONDS
        while is_first and time.monotonic() < deadline and any(map(self._is_waited_for, self._peers.values())):
            time.sleep(0.05)
            self._hear()

    def _is_waited_for(self, peer: _Peer) -> bool:
        return peer.done < self.calls and not peer.has_failed and not peer.has_left

    def _hear(self) -> None:
        keys = {number: f"{_PREFIX}state/{number}" for number in self._peers}
        known = [number for number, key in keys.items() if self._peers[number].state or self.has([f"state/{number}"])]
        for number, state in zip(
            known, self._ask("multi_get", [keys[n] for n in known]) if known else [], strict=True
        ):
            self._peers[number].hear(state.decode())

    def _look_around(self) -> None:
        """Find out whether those that are waited for are alive and on their way."""
        self._hear()
        if self._done == self.calls or self._trouble:
            return
        now = time.monotonic()
        if self._launcher is not None and os.getppid() != self._launcher:
            self._trouble = "The launcher that started this process is gone."
        elif self.has(["failure"]):
            failure = json.loads(self._ask("get", f"{_PREFIX}failure"))
            self._trouble = f"The process of rank {failure['rank']} failed:\n{failure['traceback']}"
        waited = [(number, peer) for number, peer in self._peers.items() if peer.done < self.calls]
        for number, peer in waited:
            if reason := self._trouble or self._find_trouble(peer, now):
                self._trouble = self._trouble or f"The process of rank {number} {reason}"
                return
        late = [str(number) for number, peer in waited if peer.calls < self.calls]
        if late and now - max(self._warned, self._call_start) > WARN_SECONDS:
            self._warned = now
            logger.warning("Waiting for the processes of rank %s to come to this batch.", ", ".join(late))

    def _find_trouble(self, peer: _Peer, now: float) -> str:
        if not peer.state:
            is_late = now - self._call_start > self._timeout
            return f"has not been heard of in {self._timeout:.0f} seconds. {_EVERY_PROCESS}" if is_late else ""
        if peer.has_failed:
            return "failed."
        if peer.has_left:
            return f"has ended its script, while this one is at batch {self.calls}. {_EVERY_PROCESS}"
        if now - peer.heard > DEAD_SECONDS:
            return f"has not been heard of for {DEAD_SECONDS:.0f} seconds and seems to be dead."
        is_passing = peer.maps >= self._maps and peer.calls <= self._calls_before_map < self.calls
        peer.passed = (peer.passed or now) if is_passing else None
        if peer.passed is not None and now - peer.passed > PASSED_SECONDS:
            return (
                "does not come to this `map`: it seems to have the result in its cache of `datasets`, and this "
                "process has not. Pass `load_from_cache_file=False` to `map`, or remove the cached result there."
            )
        return ""


_EVERY_PROCESS = (
    "Every process of the job must call the same `map` on the same rows: not under `if is_main_process`, and not "
    "within `main_process_first()`."
)


def _open_store(rank: int) -> Any:
    """Open the store that all processes find by `MASTER_ADDR` and `MASTER_PORT`, next to that of a process group."""
    from torch.distributed import TCPStore

    # torchrun can hold the store in its own process; else rank 0 does, together with its process group's
    is_host = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    host, port = os.environ.get("MASTER_ADDR", ""), int(os.environ.get("MASTER_PORT", "0"))
    wait = timedelta(days=1)  # until rank 0 is there; who waits for it does not wait so long
    store = TCPStore(host, port, is_master=is_host, timeout=wait, wait_for_workers=False, multi_tenant=True)
    store.set_timeout(timedelta(seconds=DEAD_SECONDS))
    return store


def _address() -> str:
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
