"""What can go wrong on request."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.loopback_hub.request import Request

QUOTA = "Private repository storage limit reached, please upgrade your plan to increase your private storage limit."
RACED = "A commit has happened since. Please refresh and try again."
DEFAULT_MESSAGES = {403: QUOTA, 409: "The repository is busy.", 412: RACED, 429: "Too many requests."}


class CutError(Exception):
    """No answer: the connection is cut."""


@dataclass
class Fault:
    """What goes wrong with the `nth` request that matches, and the `times - 1` matching requests after it.

    Who has waited long enough sets `is_over`, and the delay is over.
    """

    match: re.Pattern[str]
    nth: int
    times: int
    status: int | None
    message: str
    headers: Mapping[str, str]
    cut: str | None
    delay: float
    race: Mapping[str, bytes] | None
    body: bytes | None = None
    seen: int = 0
    used: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def is_due(self, request: Request) -> bool:
        if not self.match.search(f"{request.method} {request.path}"):
            return False
        self.seen += 1
        is_due = self.nth <= self.seen < self.nth + self.times
        self.used += is_due
        return is_due
