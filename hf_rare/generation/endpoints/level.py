"""How many requests are under way: as many as the server takes.

It falls to three quarters with the first request of a burst that the server has no room for, and all wait as long as
the server asks; it rises by one after 25 that went well (additive increase, multiplicative decrease: Chiu and Jain
1989). Where nothing goes well any more, pauses grow, and after some of them the endpoint counts as down.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator

from hf_rare.generation.endpoints.faults import FILTERED, UNREACHABLE, Fault, Kind

logger = logging.getLogger(__name__)

FALL = 0.75
RISE_AFTER = 25
"""Requests that must go well before there is one more at a time."""
HEADROOM = 1.1
"""How far it may rise above where it began."""
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 30.0
"""Seconds of the first pause where the server asks for none, and of the longest."""
LONGEST_ASKED = 600.0
"""Seconds that a server may ask to wait; with more, the run ends and says so."""
PATIENCE = 6
"""Bursts of faults, one after the other without a success, after which the endpoint is down; where it answers, so many
rows must have failed meanwhile, too: the last rows of a run may be ones that it fails each time."""
REFUSALS = {Kind.REFUSED: 3, Kind.ROW: 20}
"""Refusals without any success before, after which the endpoint is down: what it refuses is every row."""


class Level:
    """The places for requests.

    Args:
        places (`int`): requests under way at first.

    Attributes:
        places (`int`): requests that may be under way now.
        last (`Fault`, *optional*): what went wrong last.
        is_down (`bool`): whether nothing goes well any more.
        has_succeeded (`bool`): whether any request has gone well.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.last: Fault | None = None
        self.is_down = False
        self._most = max(places + 1, int(places * HEADROOM))
        self._busy = 0
        self._went_well = 0
        self.has_succeeded = False
        self._refusals = 0
        self._bursts = 0
        self._failing = set[object]()
        self._burst_began = self._resume_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[float]:
        """Hold a place while a request is under way; gives the time at which it began, for [`Level.fail`]."""
        if self._busy < self.places and not self._waiting:
            self._busy += 1
        else:
            await self._wait()
        try:
            while (left := self._resume_at - time.monotonic()) > 0:
                await asyncio.sleep(left)
            yield time.monotonic()
        finally:
            self._release()

    async def _wait(self) -> None:
        """Wait for a place: whoever wakes us has taken it for us. Only as many are woken as there are places."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        self._busy -= 1
        while self._waiting and self._busy < self.places:
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)

    def succeed(self) -> None:
        """Take note of a request that went well."""
        self.has_succeeded, self._bursts = True, 0
        self._failing.clear()
        self._went_well += 1
        if self._went_well >= RISE_AFTER:
            self._went_well = 0
            self.places = min(self._most, self.places + 1)

    def fail(self, fault: Fault, began_at: float, row: object) -> None:
        """Take note of a request that failed.

        Args:
            fault ([`Fault`]): what went wrong.
            began_at (`float`): when it began, as [`Level.place`] gave it: those that were under way when a burst
                began are of that burst.
            row: whose request it was.
        """
        self.last = fault
        if fault.kind in REFUSALS and fault.name != FILTERED and not self.has_succeeded:
            self._refusals += 1
            self.is_down = self.is_down or self._refusals >= REFUSALS[fault.kind]
        if fault.kind in (Kind.ROW, Kind.TOO_LONG):  # the server is well
            return
        self._failing.add(row)
        now = time.monotonic()
        is_of_burst = began_at <= self._burst_began
        if fault.kind is Kind.OVERLOAD:
            self._went_well = 0
            if (fault.wait or 0) > LONGEST_ASKED:
                self.is_down = True
            if fault.wait is not None:
                self._resume_at = max(self._resume_at, now + min(fault.wait, LONGEST_ASKED))
        if is_of_burst:
            return
        self._burst_began, self._bursts = now, self._bursts + 1
        if fault.kind is Kind.BROKEN and self._bursts == (2 if self.has_succeeded else 1):
            logger.warning("The endpoint does not answer now (%s). It is asked again before the run ends.", fault)
        if fault.kind is Kind.OVERLOAD:
            self.places = max(1, int(self.places * FALL))
        # a single fault among requests that go well is that request's own business, and so is what goes on without end
        if 1 < self._bursts <= PATIENCE or (fault.kind is Kind.OVERLOAD and fault.wait is None):
            pause = FIRST_PAUSE * 2 ** min(self._bursts - 1, PATIENCE)
            self._resume_at = max(self._resume_at, now + min(LONGEST_PAUSE, pause))
        is_of_rows = fault.kind is Kind.BROKEN and fault.name != UNREACHABLE and len(self._failing) < PATIENCE
        self.is_down = self.is_down or (self._bursts >= PATIENCE and not is_of_rows)
