"""Private names of multiprocess: the number of a worker, and the process that holds the queues of `Dataset.map`."""

import contextlib
import gc

import multiprocess
from multiprocess.connection import Client
from multiprocess.managers import BaseProxy, dispatch

from hf_rare.compat.private import look_up

SEEN = "0.70.19"
"""The version that was last seen to have these names."""


def count_from_parent() -> tuple[int, ...]:
    """Return the number of this process among those that its parent has started, the parent's own before it.

    `Process._identity`: workers of a pool have consecutive numbers, which nothing public tells.
    """
    return tuple(look_up(multiprocess.current_process(), "_identity", "multiprocess", SEEN))


def end_managers() -> None:
    """End the processes that hold what this one shares with its siblings: `BaseProxy._token` says where they are.

    `map` starts such a process beside its workers, and nothing ends it where the parent of all of them is killed.
    """
    for proxy in [thing for thing in gc.get_objects() if issubclass(type(thing), BaseProxy)]:
        with contextlib.suppress(OSError, EOFError):  # a sibling has ended it
            address = look_up(proxy, "_token", "multiprocess", SEEN).address
            with Client(address, authkey=bytes(multiprocess.current_process().authkey)) as connection:
                dispatch(connection, None, "shutdown")
