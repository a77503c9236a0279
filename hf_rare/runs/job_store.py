"""What the processes of a job tell each other: values by key, in torch's own store (a `TCPStore`).

The store may outlive a start of the job, or two starts may follow each other in it: each start has keys of its own.
"""

import json
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Self

from hf_rare.errors import RankError

ANSWER_SECONDS = 60.0
PIECE_BYTES = 4 << 20  # the store takes values of up to 8 MB


class JobStore:
    """A connection to the store of the job. Not for two threads at once: [`JobStore.clone`] gives another.

    Args:
        rank (`int`): number of this process.
        world_size (`int`): number of processes.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self._rank = rank
        self._others = [number for number in range(world_size) if number != rank]
        self._id = secrets.token_hex(8)
        self._prefix = ""
        self._welcomed: dict[str, str] | None = None
        self._pieces: dict[str, int] = {}
        self._store: Any = None

    def connect(self, wait: Callable[[], bool]) -> None:
        """Connect, and agree on the keys of this start of the job: rank 0 says them, and for whom.

        Args:
            wait (`Callable`): waits a moment between two looks, and tells whether to give up.

        Raises:
            RankError: It was told to give up, or the store is gone.
        """
        from torch.distributed import TCPStore

        # torchrun can hold the store in its own process; else rank 0 does, together with its process group's
        is_host = self._rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        day = timedelta(days=1)  # until rank 0 is there; who waits for it does not wait so long
        self._store = TCPStore(host, port, is_master=is_host, timeout=day, wait_for_workers=False, multi_tenant=True)
        self._store.set_timeout(timedelta(seconds=ANSWER_SECONDS))
        if self._rank == 0:
            self._prefix = f"hf_rare/{self._id}/"
            self.welcome()
            return
        self._ask("set", f"hf_rare/hello/{self._rank}", self._id)
        while not self._prefix:
            if self._ask("check", ["hf_rare/welcome"]):
                start, ids = json.loads(self._ask("get", "hf_rare/welcome"))
                if ids.get(str(self._rank)) == self._id:  # else it was said in an earlier start
                    self._prefix = f"hf_rare/{start}/"
            if wait():
                raise RankError("The process ends.")

    def welcome(self) -> None:
        """Let rank 0 tell each process that has come the keys of this start."""
        keys = [f"hf_rare/hello/{number}" for number in self._others]
        come = [key for key in keys if self._ask("check", [key])]
        texts = self._ask("multi_get", come) if come else []
        ids = {key.rsplit("/")[-1]: text.decode() for key, text in zip(come, texts, strict=True)}
        if ids != self._welcomed:
            self._welcomed = ids
            self._ask("set", "hf_rare/welcome", json.dumps([self._id, ids]))

    def clone(self) -> Self:
        """Return another connection, with the same keys."""
        other = type(self)(self._rank, len(self._others) + 1)
        other._prefix, other._id = self._prefix, self._id
        other._store = self._store.clone()
        return other

    def has(self, keys: Sequence[str]) -> bool:
        """Tell whether values are there."""
        return not keys or bool(self._ask("check", [self._prefix + key for key in keys]))

    def put(self, key: str, value: bytes) -> None:
        """Put a value of any size."""
        first, *others = [value[i : i + PIECE_BYTES] for i in range(0, len(value), PIECE_BYTES)] or [b""]
        for number, piece in enumerate(others):
            self._ask("set", f"{self._prefix}{key}/{number}", piece)
        self._ask("set", self._prefix + key, b"%d\n" % len(others) + first)  # last, so that who sees it finds all
        self._pieces[key] = len(others)

    def put_first(self, key: str, value: bytes) -> bool:
        """Put a small value unless there is one; tell whether it was put."""
        value = b"0\n" + value
        return bool(self._ask("compare_set", self._prefix + key, "", value.decode()) == value)

    def get(self, key: str) -> bytes:
        """Get a value that is there."""
        return self._join(key, self._ask("get", self._prefix + key))

    def get_all(self, keys: Sequence[str]) -> list[bytes]:
        """Get small values that are all there."""
        texts = self._ask("multi_get", [self._prefix + key for key in keys]) if keys else []
        return [self._join(key, text) for key, text in zip(keys, texts, strict=True)]

    def add(self, key: str, amount: int) -> int:
        """Add to a number, which begins at 0, and give the sum."""
        return int(self._ask("add", self._prefix + key, amount))

    def remove(self, keys: Sequence[str]) -> None:
        """Remove numbers, and values that were put or got here."""
        for key in keys:
            for number in range(self._pieces.pop(key, 0)):
                self._ask("delete_key", f"{self._prefix}{key}/{number}")
            self._ask("delete_key", self._prefix + key)

    def _join(self, key: str, text: bytes) -> bytes:
        count, _, first = text.partition(b"\n")
        self._pieces[key] = int(count)
        return b"".join([first, *(self._ask("get", f"{self._prefix}{key}/{number}") for number in range(int(count)))])

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._store, method)(*arguments)
        except RuntimeError as err:
            raise RankError(
                f"The store of the job at {describe_address()} is gone, and with it the process of rank 0 or the "
                f"launcher on the first machine: {err}"
            ) from err


def describe_address() -> str:
    """Return host and port of the store."""
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
