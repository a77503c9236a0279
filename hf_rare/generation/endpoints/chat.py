"""One chat completion from a server: the request is sent, and its answer read, piece by piece where it streams.

Whatever goes wrong on the way is a [`Fault`]. Whether it is tried again is decided elsewhere.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from hf_rare.compat.huggingface_hub import ChatRequest
from hf_rare.generation.endpoints.faults import Fault, Kind, from_answer, from_error
from hf_rare.generation.endpoints.reply import StreamedReply, read_reply
from hf_rare.generation.protocol import Completion, Messages
from hf_rare.settings.endpoint import EndpointConfig

CONNECT_TIMEOUT = 30.0
"""Seconds until a connection must stand, and until a request must be sent."""
MOST_CHARACTERS = 64 << 20
"""Of an answer: more is no completion."""
MOST_OF_AN_ERROR = 1 << 16
OF_HUGGING_FACE = (".huggingface.co", ".hf.co", ".huggingface.cloud", ".hf.jobs", ".hf.space")
"""Ends of the hosts that the token of the Hub may be sent to."""

CUT = (httpx2.RemoteProtocolError, httpx2.ReadError)

Tell = Callable[[int], None]
"""Told of tokens as they come."""


class ChatClient:
    """Asks a server for chat completions. Made and used in one event loop.

    Args:
        model_id (`str`): what the server calls the model.
        config ([`EndpointConfig`]): where the server is and how it is asked.
        token (`str`, *optional*): the key; without it, that of the Hub where the host may have it.
    """

    def __init__(self, model_id: str, config: EndpointConfig, token: str | None) -> None:
        self._model_id = model_id
        self._config = config
        self._token = token
        timeout = httpx2.Timeout(config.read_timeout, connect=CONNECT_TIMEOUT, write=CONNECT_TIMEOUT, pool=None)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=config.max_concurrency)
        self._http = httpx2.AsyncClient(timeout=timeout, limits=limits, follow_redirects=True)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def complete(
        self, messages: Messages, fields: Mapping[str, Any], tell: Tell = lambda tokens: None
    ) -> Completion:
        """Ask for a completion.

        Args:
            messages ([`Messages`]): the conversation.
            fields (`Mapping[str, Any]`): the fields of the request but for model and messages.
            tell (`Callable`, *optional*): told of the tokens as they come, where the answer streams.

        Returns:
            [`Completion`]: what the model wrote.

        Raises:
            Fault: There is no completion.
        """
        config = self._config
        request = _Request(self._http, tell, config, self._token)
        streaming = {"stream": True, "stream_options": {"include_usage": True}} if config.stream else {}
        try:
            async with asyncio.timeout(config.request_timeout):
                try:
                    await request.make(messages, self._model_id, {**fields, **streaming})
                except CUT:
                    if not request.is_silent_stream:
                        raise
                if request.is_silent_stream:  # some servers give no reason in a stream
                    whole = {**fields, "stream": False}
                    try:
                        await request.make(messages, self._model_id, whole)
                    except CUT:  # it went out on the stream's connection, which the server was about to close
                        await request.make(messages, self._model_id, whole)
            return read_reply(request.answer)
        except Exception as err:
            fault = from_error(err)
            if isinstance(err, ValueError) and not request.is_sent:
                fault = Fault(Kind.REFUSED, "the request cannot be made", str(err))
            fault.hide(self._token)
            raise fault from None  # what led to it may show the request, and the key


class _Request(ChatRequest):
    """A request on its way."""

    def __init__(self, http: httpx2.AsyncClient, tell: Tell, config: EndpointConfig, token: str | None) -> None:
        headers: dict[str, Any] = {}
        if token is None and config.base_url is not None and not may_have_hub_token(config.base_url):
            headers["authorization"] = None  # else the client sends the token of the Hub wherever the address leads
        super().__init__(
            base_url=config.base_url,
            provider=config.provider,  # type: ignore[arg-type]
            token=token,
            bill_to=config.bill_to,
            headers=headers,
        )
        self._http = http
        self._tell = tell
        self.answer: Any = None
        self.is_sent = False
        self.is_silent_stream = False
        """Whether a stream was asked for, and nothing has come of it."""

    async def send(self, url: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        """Send the request and read the answer."""
        data = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        self.is_sent, self.is_silent_stream = True, bool(body.get("stream"))
        async with self._http.stream("POST", url, headers=dict(headers), content=data) as response:
            is_stream = "event-stream" in response.headers.get("content-type", "")
            self.is_silent_stream = is_stream and response.is_success
            if not response.is_success:
                text = await _read_some(response, MOST_OF_AN_ERROR)
                raise from_answer(response.status_code, response.headers, text)
            if is_stream:
                self.answer = await self._read_stream(response)
            else:
                self.answer = json.loads(await _read_some(response, MOST_CHARACTERS))

    async def _read_stream(self, response: httpx2.Response) -> dict[str, Any]:
        reply, characters = StreamedReply(), 0
        async for line in response.aiter_lines():
            characters += len(line)
            if characters > MOST_CHARACTERS:
                raise Fault(Kind.BROKEN, "the answer never ends")
            if not line.startswith("data:"):
                continue
            data = line[len("data:") :].strip()
            if data == "[DONE]":
                break
            before = reply.pieces
            reply.add(json.loads(data))
            self.is_silent_stream = self.is_silent_stream and not {"choices", "error"} & reply.whole().keys()
            if reply.pieces > before:
                self._tell(1)  # most servers send a token at a time
        return reply.whole()


async def _read_some(response: httpx2.Response, most: int) -> str:
    """Read an answer, but no more than so many bytes."""
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > most:
            break
    return bytes(data[:most]).decode(response.encoding or "utf-8", errors="replace")


def may_have_hub_token(url: str) -> bool:
    """Tell whether the token of the Hub may be sent to an address: to Hugging Face, and encrypted."""
    parts = urlsplit(url)
    return parts.scheme == "https" and f".{parts.hostname or ''}".endswith(OF_HUGGING_FACE)
