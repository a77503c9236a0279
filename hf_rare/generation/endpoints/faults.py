"""What goes wrong with a request to an endpoint: what kind of fault it is, and the server's own words.

A fault of the server, of the way to it or of its answer is tried again; what the server has no room for waits; what it
refuses of one row is that row's status; and what it would refuse of every row ends the run. No request is made here.
"""

import email.utils
import json
import re
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

import httpx2
from huggingface_hub.errors import HfHubHTTPError

from hf_rare.text import clean, hide_tokens

OVERLOADED = (429, 503, 529)
"""Answers by which a server says that it has no room: 529 is that of Anthropic and of gateways before it."""
OF_EVERY_ROW = (401, 402, 403, 404, 405, 410)
"""Answers that have nothing to do with a row: the key, the bill, the model or the address is wrong."""
OF_THE_ROW = (400, 413, 422)
MOST_WORDS = 300
"""Characters of the server's answer that are shown."""
UNREACHABLE = "the server cannot be reached"
FILTERED = "the server's filter has refused it"

_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum context|max_model_len|too (long|many tokens)|exceeds? the (available "
    r"|maximum |model's )?(context|length|number of tokens)|`?inputs`? tokens|input (is|tokens?) (too )?(long|exceed)"
    r"|prompt is too long|tokens? (limit )?exceed|reduce the length|longer than the (model|maximum)",
    re.IGNORECASE,
)
_NO_ROOM_TO_WRITE = re.compile(r"max_(completion_)?tokens\W.{0,40}\btoo large", re.IGNORECASE)
"""What does not fit is the completion, whatever the prompt."""
_FILTERED = re.compile(r"content[ _-]?(filter|policy|management)|moderation|safety (system|filter)", re.IGNORECASE)
_OTHER_MODEL = re.compile(r"server is pinned to|\bmodel\b[^.]{0,120}(does not exist|not found)", re.IGNORECASE)
_REMEDIES = {
    401: "the key is missing or wrong: pass token=..., or token_variable=..., the name of the environment variable "
    "that holds it",
    402: "nobody pays for it: look at the account",
    403: "the key may not do this: look at the account and at what the key allows",
    404: "there is no such model or address: look at base_url and at the name of the model",
    405: "the address does not take requests: look at base_url, which most often ends with /v1",
    410: "the model or address is gone",
}


class Kind(Enum):
    """What follows from a fault."""

    OVERLOAD = "the server has no room"
    BROKEN = "the server, the way to it or its answer is broken"
    REFUSED = "the server would refuse every row"
    ROW = "the server refuses this row"
    TOO_LONG = "the prompt is too long"


class Fault(Exception):
    """What went wrong with one request.

    Args:
        kind ([`Kind`]): what follows from it.
        name (`str`): what it is, in a few words that are the same for all faults of its sort.
        words (`str`, *optional*): the server's own words.
        wait (`float`, *optional*): seconds that the server asks to wait.
    """

    def __init__(self, kind: Kind, name: str, words: str = "", wait: float | None = None) -> None:
        self.kind, self.name, self.wait = kind, name, wait
        self.words = hide_tokens(clean(" ".join(words.split())))
        super().__init__()

    def __str__(self) -> str:
        return f"{self.name}: {self.words[:MOST_WORDS]}" if self.words else self.name

    def hide(self, key: str | None) -> None:
        """Take a key out of the words: some servers repeat it."""
        if key:
            self.words = self.words.replace(key, "***")


def from_error(error: BaseException) -> Fault:
    """Tell what an error of the client means; one that is a [`Fault`] stays what it is.

    Args:
        error (`BaseException`): what was raised while a request was made or its answer read.

    Returns:
        [`Fault`]: what it comes to.
    """
    if isinstance(error, Fault):
        return error
    if isinstance(error, HfHubHTTPError):  # the Hub's, when it is asked where a provider is
        return from_answer(error.response.status_code, error.response.headers, _text_of(error.response))
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return Fault(Kind.BROKEN, UNREACHABLE, str(error) or type(error).__name__)
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return Fault(Kind.BROKEN, "the server is silent")
    if isinstance(error, httpx2.HTTPError | OSError):
        return Fault(Kind.BROKEN, "the connection was cut", str(error) or type(error).__name__)
    return Fault(Kind.BROKEN, "the answer cannot be read", f"{type(error).__name__}: {error}")


def from_answer(status: int, headers: Mapping[str, str], body: str) -> Fault:
    """Tell what an answer means that is an error.

    Args:
        status (`int`): its HTTP status.
        headers (`Mapping[str, str]`): its headers.
        body (`str`): its text.

    Returns:
        [`Fault`]: what it comes to.
    """
    words, name = _read_words(body), f"HTTP {status}"
    is_filtered = status == 403 and _FILTERED.search(words) is not None
    if status in OF_THE_ROW or is_filtered:
        if _OTHER_MODEL.search(words):
            return Fault(Kind.REFUSED, name, f"{words} ({_REMEDIES[404]})")
        fault = from_words(words)
        return fault if fault.kind is not Kind.BROKEN else Fault(Kind.ROW, name, words)
    if status in OF_EVERY_ROW:
        return Fault(Kind.REFUSED, name, f"{words} ({_REMEDIES[status]})" if words else _REMEDIES[status])
    if status in OVERLOADED or (status == 500 and "overload" in words.lower()):
        return Fault(Kind.OVERLOAD, name, words, read_wait(headers))
    return Fault(Kind.BROKEN, name, words)


def from_words(words: str) -> Fault:
    """Tell what an error means that the server describes in words alone."""
    if _FILTERED.search(words):
        return Fault(Kind.ROW, FILTERED, words)
    if _NO_ROOM_TO_WRITE.search(words):
        return Fault(Kind.ROW, "max_new_tokens is too large for the server", words)
    if _TOO_LONG.search(words):
        return Fault(Kind.TOO_LONG, "the prompt is too long for the server", words)
    if "overload" in words.lower() or "rate limit" in words.lower():
        return Fault(Kind.OVERLOAD, "the server is overloaded", words)
    return Fault(Kind.BROKEN, "the server reports an error", words)


def read_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Read how many seconds a server asks to wait: `Retry-After`, in seconds or as a date, or its rate headers.

    Args:
        headers (`Mapping[str, str]`): the headers of the answer, by names in small letters.
        now (`float`, *optional*): the time, in seconds since 1970; by default that of the clock.

    Returns:
        `float` or `None`: the seconds; `None` where nothing is said that can be read.
    """
    given = headers.get("retry-after-ms")
    if given is not None and re.fullmatch(r"\d+(\.\d+)?", given.strip()):
        return float(given) / 1000
    given = (headers.get("retry-after") or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", given):
        return float(given)
    if given:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - (now or time.time()))
        except (TypeError, ValueError, OverflowError):
            pass
    for kind in ("requests", "tokens"):  # OpenAI's: what is left, and when there is more
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
            return _read_duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
    return None


def _read_duration(text: str) -> float | None:
    """Read a duration such as `1m30s`, `250ms` or `12.5`."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|h|m|s))+|\d+(\.\d+)?", text.strip()):
        return None
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s|)", text))


def _text_of(response: Any) -> str:
    try:
        return str(response.text)
    except Exception:  # it was not read to its end
        return ""


def _read_words(body: str) -> str:
    """Find what an answer says in words: the message in its JSON, or the text without its tags."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ", body[:10_000], flags=re.DOTALL)
    for name in ("error", "message", "detail", "msg"):
        if isinstance(answer, Mapping) and answer.get(name):
            answer = answer[name]
    if isinstance(answer, Mapping):
        answer = answer.get("message") or answer
    return answer if isinstance(answer, str) else json.dumps(answer)
