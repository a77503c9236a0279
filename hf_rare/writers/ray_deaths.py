"""What was being done when an actor of Ray died, and died again: counted outside of it, and ended after some tries.

Ray starts an actor again and repeats what it had in hand, without end. Which row it died of, nobody is told: what has
begun and never ended is all there is to see. So that a row can be told from others, it must be alone.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

Key = tuple[str, int | str]
"""What is done, and of what."""


class Tally:
    """Counts what has begun and not ended. It is an actor itself, which outlives those that it counts for."""

    def __init__(self) -> None:
        self._begun: Counter[Key] = Counter()
        self._has_started = asyncio.Event()

    async def note_start(self) -> None:
        """Take note of an actor that has started."""
        self._has_started.set()

    async def wait_for_start(self) -> None:
        """Wait until an actor has started."""
        await self._has_started.wait()

    async def count(self, key: Key) -> int:
        """Count how often something has begun since it ended last."""
        return self._begun[key]

    async def begin(self, key: Key) -> None:
        """Count a beginning."""
        self._begun[key] += 1

    async def end(self, key: Key) -> None:
        """Forget the beginnings of what has ended."""
        self._begun.pop(key, None)


class Tries:
    """Knows of what an actor does how often it has died of it.

    Args:
        ray: the module.
        tally: the handle of the [`Tally`] that all actors have.
        most (`int`): tries of what an actor dies of.
    """

    def __init__(self, ray: Any, tally: Any, most: int) -> None:
        self._ray = ray
        self._tally = tally
        self._most = most

    def count_deaths(self, key: Key) -> int:
        """Count how often something has ended its actor."""
        return int(self._ray.get(self._tally.count.remote(key)))

    @contextlib.contextmanager
    def counting(self, key: Key) -> Iterator[None]:
        """Count a death where this is not left any more. An exception is none."""
        self._ray.get(self._tally.begin.remote(key))
        try:
            yield
        finally:
            self._ray.get(self._tally.end.remote(key))

    def run(self, key: Key, do: Callable[[], T], give_up: Callable[[int], T]) -> T:
        """Do something, or give it up where it has ended its actor as often as it may."""
        deaths = self.count_deaths(key)
        if deaths >= self._most:
            return give_up(deaths)
        with self.counting(key):
            return do()


class Turns:
    """Lets threads work together, and one alone where it asks for that; who wants to be alone goes first.

    Attributes:
        wanting (`int`): threads that wait to be alone.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self.wanting = 0
        self._is_one_alone = False

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Work beside others."""
        with self._changed:
            self._changed.wait_for(lambda: not self.wanting and not self._is_one_alone)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Work while nobody else does."""
        with self._changed:
            self.wanting += 1
            self._changed.wait_for(lambda: not self._together and not self._is_one_alone)
            self.wanting -= 1
            self._is_one_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_one_alone = False
                self._changed.notify_all()
