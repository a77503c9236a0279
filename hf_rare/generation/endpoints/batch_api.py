"""The files and batches of OpenAI-compatible servers: requests in a file, answered within a day at a lower price."""

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, TypeVar

import httpx2

from hf_rare.errors import EndpointError
from hf_rare.generation.endpoints.chat import CONNECT_TIMEOUT, may_have_hub_token
from hf_rare.generation.endpoints.faults import Fault, Kind, from_answer, from_error, from_words
from hf_rare.settings.endpoint import EndpointConfig
from hf_rare.text import hide_credentials

T = TypeVar("T")

ENDPOINT = "/v1/chat/completions"
WINDOW = "24h"
"""The time that all servers of this API know."""
TRIES = 6
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds between two tries, at most; twice as long each time."""
IN_MEMORY = 16 << 20
"""Bytes of a file of results that are held in memory; a larger one lies on the disk while it is read."""
UNKNOWN = ("HTTP 404", "HTTP 410")
NOT_THERE = (*UNKNOWN, "HTTP 405", "HTTP 501")
"""Answers of servers that have no list of batches."""


class BatchApi:
    """Asks a server for files and batches. What fails on the way is tried again.

    Args:
        config ([`EndpointConfig`]): where the server is.
        token (`str`, *optional*): the key.
    """

    def __init__(self, config: EndpointConfig, token: str | None) -> None:
        self.url = str(config.base_url).rstrip("/").removesuffix("/chat/completions")
        if not self.url.endswith("/v1"):
            self.url += "/v1"
        if token is None and may_have_hub_token(self.url):
            from huggingface_hub import get_token

            token = get_token()
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        timeout = httpx2.Timeout(config.read_timeout, connect=CONNECT_TIMEOUT)
        self._token = token
        self._http = httpx2.Client(timeout=timeout, headers=headers, follow_redirects=True)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def upload(self, lines: bytes) -> str:
        """Upload a file of requests; give its name.

        Raises:
            EndpointError: The server does not take it.
        """
        files = {"file": ("requests.jsonl", lines, "application/jsonl")}
        answer = self._ask("POST", "/files", files=files, data={"purpose": "batch"})
        return _name_of(answer, "an uploaded file")

    def create(self, file_id: str) -> str:
        """Begin a batch of the requests of a file; give its name.

        Where the answer is lost on the way, the batch may have begun: it is looked for before it is begun again.

        Raises:
            EndpointError: The server does not begin it.
        """
        body = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": WINDOW}
        tries = 0

        def begin() -> dict[str, Any]:
            nonlocal tries
            tries += 1
            if tries > 1 and (found := self.find(file_id)):
                return {"id": found}
            return self._ask_once("POST", "/batches", json=body)

        return _name_of(self._try(begin), "a new batch")

    def find(self, file_id: str) -> str | None:
        """Find the batch of a file; `None` where none was begun, or the server has no list of them.

        Raises:
            EndpointError: The server does not answer.
        """
        after: dict[str, str] = {}
        while True:
            try:
                answer = self._ask("GET", "/batches", params={"limit": "100", **after})
            except _RefusedError as err:
                if err.name in NOT_THERE:
                    return None
                raise
            listed = answer.get("data")
            batches = [batch for batch in listed if isinstance(batch, Mapping)] if isinstance(listed, list) else []
            for batch in batches:
                if batch.get("input_file_id") == file_id and batch.get("id"):
                    return str(batch["id"])
            last = {"after": str(batches[-1].get("id"))} if batches else after
            if not answer.get("has_more") or last == after:
                return None
            after = last

    def look(self, batch_id: str) -> dict[str, Any] | None:
        """Look at a batch; `None` where the server knows of none.

        Raises:
            EndpointError: The server does not answer.
        """
        try:
            return self._ask("GET", f"/batches/{batch_id}")
        except _RefusedError as err:
            if err.name in UNKNOWN:
                return None
            raise

    def read(self, file_id: str) -> Iterator[dict[str, Any]]:
        """Read the lines of a file; none of one that the server does not know any more.

        What is no JSON object is left out.

        Raises:
            EndpointError: The server does not give it.
        """
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            try:
                self._try(lambda: self._download(f"/files/{file_id}/content", file))
            except _RefusedError as err:
                if err.name in UNKNOWN:
                    return
                raise
            file.seek(0)
            for line in file:  # by newlines alone: a text may have other characters that end lines
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield value

    def _download(self, path: str, file: IO[bytes]) -> None:
        file.seek(0)
        file.truncate()
        with self._http.stream("GET", self.url + path) as response:
            if not response.is_success:
                response.read()
                raise from_answer(response.status_code, response.headers, response.text)
            for part in response.iter_bytes():
                file.write(part)

    def _ask(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        return self._try(lambda: self._ask_once(method, path, **kwargs))

    def _ask_once(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        response = self._http.request(method, self.url + path, **kwargs)
        if not response.is_success:
            raise from_answer(response.status_code, response.headers, response.text)
        answer = json.loads(response.text)
        if not isinstance(answer, dict):
            raise Fault(Kind.BROKEN, "the answer is no JSON object", response.text)
        return answer

    def _try(self, ask: Callable[[], T]) -> T:
        for number in range(TRIES):
            try:
                return ask()
            except EndpointError:
                raise
            except Exception as err:
                fault = from_error(err)
                fault.hide(self._token)
            if fault.kind not in (Kind.BROKEN, Kind.OVERLOAD):
                refused = _RefusedError(f"{hide_credentials(self.url)}: {fault}. {_ADVICE}")
                refused.name = fault.name
                raise refused
            if number < TRIES - 1:
                pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**number))
                time.sleep(max(pause, min(fault.wait or 0, LONGEST_PAUSE)))
        raise SilentError(f"{hide_credentials(self.url)} does not answer: {fault}. {_ADVICE}")


_ADVICE = (
    "Batches that were begun go on there, and are found again: run the same script later. Whether the server has this "
    'API, its pages say; without it, leave mode="batch" out.'
)


class SilentError(EndpointError):
    """The server does not answer, or not as it should."""


class _RefusedError(EndpointError):
    """The server has refused it, and would again."""

    name = ""
    """What it has answered."""


def _name_of(answer: Mapping[str, Any], what: str) -> str:
    name = answer.get("id")
    if not isinstance(name, str) or not name:
        raise EndpointError(f"The server gives no name for {what}: {answer!r:.200}")
    return name


def make_line(custom_id: str, body: Mapping[str, Any]) -> bytes:
    """Make a line of a file of requests."""
    line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n"


def read_fault(line: Mapping[str, Any]) -> Fault | None:
    """Tell what went wrong with a request of a batch, by its line in a file of results; `None` where nothing did.

    What has a status was refused or failed as a request of its own would. What has none, but an error, has never come
    to the model: the batch has expired, or was cancelled.
    """
    response, error = line.get("response"), line.get("error")
    status = response.get("status_code") if isinstance(response, Mapping) else None
    if isinstance(response, Mapping) and isinstance(status, int) and status >= 300:
        return from_answer(status, {}, json.dumps(response.get("body") or {"error": error}))
    if error:
        words = error.get("message") or json.dumps(error) if isinstance(error, Mapping) else str(error)
        return from_words(str(words))
    if not isinstance(response, Mapping):
        return Fault(Kind.BROKEN, "the line of the batch has no answer")
    return None
