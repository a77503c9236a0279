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

    async def begin(self, key: Key, most: int) -> int:
        """Count a beginning, unless it has begun so often; give how often it had since it ended last."""
        begun = self._begun[key]
        self._begun[key] += begun < most
        return begun

    async def end(self, key: Key) -> None:
        """Forget the beginnings of what has ended."""
        self._begun.pop(key, None)


class Tries:
    """Tries what an actor may die of.

    Args:
        ray: the module.
        tally: the handle of the [`Tally`] that all actors have.
    """

    def __init__(self, ray: Any, tally: Any) -> None:
        self._ray = ray
        self._tally = tally

    def run(self, key: Key, most: int, do: Callable[[], T], give_up: Callable[[int], T]) -> T:
        """Do something, or another thing where an actor has died of it as often as it may.

        Args:
            key (`tuple`): names it, in all actors.
            most (`int`): how often it may end an actor. An exception does not.
            do (`Callable`): does it.
            give_up (`Callable[[int], Any]`): does the other thing, and is told how often actors have died.
        """
        deaths = self._ray.get(self._tally.begin.remote(key, most))
        if deaths >= most:
            return give_up(deaths)
        try:
            return do()
        finally:
            self._tally.end.remote(key)


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
