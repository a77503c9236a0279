"""The files and batches of OpenAI-compatible servers: requests in a file, answered within a day at a lower price."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import httpx2

from hf_rare.errors import EndpointError
from hf_rare.generation.endpoints.chat import CONNECT_TIMEOUT, may_have_hub_token
from hf_rare.generation.endpoints.faults import Fault, Kind, from_answer, from_error
from hf_rare.settings.endpoint import EndpointConfig

T = TypeVar("T")

ENDPOINT = "/v1/chat/completions"
WINDOW = "24h"
"""The time that all servers of this API know."""
TRIES = 6
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds between two tries, at most; twice as long each time."""


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

        Raises:
            EndpointError: The server does not begin it.
        """
        body = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": WINDOW}
        return _name_of(self._ask("POST", "/batches", json=body), "a new batch")

    def find(self, file_id: str) -> str | None:
        """Find the batch of a file; `None` where none was begun."""
        after: dict[str, str] = {}
        while True:
            answer = self._ask("GET", "/batches", params={"limit": "100", **after})
            batches = [batch for batch in answer.get("data") or () if isinstance(batch, Mapping)]
            for batch in batches:
                if batch.get("input_file_id") == file_id:
                    return str(batch["id"])
            if not answer.get("has_more") or not batches:
                return None
            after = {"after": str(batches[-1]["id"])}

    def look(self, batch_id: str) -> dict[str, Any] | None:
        """Look at a batch; `None` where the server knows of none.

        Raises:
            EndpointError: The server does not answer.
        """
        try:
            return self._ask("GET", f"/batches/{batch_id}")
        except _RefusedError:
            return None

    def read(self, file_id: str) -> Iterator[dict[str, Any]]:
        """Read the lines of a file. What is no JSON object is left out.

        Raises:
            EndpointError: The server does not give it.
        """
        text: str = self._try(lambda: _text_of(self._http.get(f"{self.url}/files/{file_id}/content")))
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value

    def _ask(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        answer = self._try(lambda: json.loads(_text_of(self._http.request(method, self.url + path, **kwargs))))
        if not isinstance(answer, dict):
            raise EndpointError(f"{self.url}{path} answers with {answer!r:.80}, which is no JSON object.")
        return answer

    def _try(self, ask: Callable[[], T]) -> T:
        for number in range(TRIES):
            try:
                return ask()
            except Exception as err:
                fault = from_error(err)
                fault.hide(self._token)
            if fault.kind not in (Kind.BROKEN, Kind.OVERLOAD):
                raise _RefusedError(f"{self.url}: {fault}. {_ADVICE}")
            if number < TRIES - 1:
                pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**number))
                time.sleep(max(pause, min(fault.wait or 0, LONGEST_PAUSE)))
        raise EndpointError(f"{self.url} does not answer: {fault}. {_ADVICE}")


_ADVICE = (
    "Batches that were begun go on there, and are found again: run the same script later. Whether the server has this "
    'API, its pages say; without it, leave mode="batch" out.'
)


class _RefusedError(EndpointError):
    """The server has refused it, and would again."""


def _text_of(response: httpx2.Response) -> str:
    if not response.is_success:
        raise from_answer(response.status_code, response.headers, response.text)
    return str(response.text)


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
    """Tell what went wrong with a request of a batch, by its line in a file of results; `None` where nothing did."""
    response, error = line.get("response"), line.get("error")
    status = response.get("status_code") if isinstance(response, Mapping) else None
    if isinstance(response, Mapping) and isinstance(status, int) and status >= 300:
        return from_answer(status, {}, json.dumps(response.get("body")))
    if error:
        return from_answer(400, {}, json.dumps({"error": error}))
    if not isinstance(response, Mapping):
        return Fault(Kind.BROKEN, "the line of the batch has no answer")
    return None
