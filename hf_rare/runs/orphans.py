"""A worker of `map` ends with the process that has started it.

A worker that is left alone would write on, hold its model for good, and write what a new run writes too: nothing ends
the workers of a process that was killed.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

import multiprocess

from hf_rare.compat.multiprocess import end_managers

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at the process that has started this one."""

_watching: set[int] = set()


def end_with_parent(close: Callable[[], None]) -> None:
    """Let this process end within seconds where it is a worker and the process that has started it has ended.

    Args:
        close (`Callable`): called before the end, from a thread of its own.
    """
    if multiprocess.parent_process() is None or os.getpid() in _watching:
        return
    _watching.add(os.getpid())
    threading.Thread(target=_watch, args=(close,), name="hf_rare parent", daemon=True).start()


def _watch(close: Callable[[], None]) -> None:
    parent, started_by = multiprocess.parent_process(), os.getppid()
    # with "forkserver" the parent is another process than the one that has forked this one
    while os.getppid() == started_by and parent.is_alive():
        time.sleep(LOOK_EVERY)
    logger.warning("Process %d has started this worker and has ended: so does the worker.", parent.pid)
    try:
        close()
        end_managers()
    finally:
        os.kill(os.getpid(), signal.SIGKILL)  # whatever its threads are doing
