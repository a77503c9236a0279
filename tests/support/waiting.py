"""Waiting for what other threads and processes do: for the event, however long it takes on a busy machine."""

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until something is so; the time limit of the test ends what never comes about."""
    while not is_so():
        time.sleep(0.01)


def hold(observer, is_over: Callable[[], object] = lambda: False) -> None:
    """Write on and on, as far as others can see, until something is so or the run is ended from outside."""
    while not is_over():
        observer.add_tokens(0, 0)
        time.sleep(0.01)
