"""One chat completion from a server: the request is sent, and its answer read, piece by piece where it streams.

Whatever goes wrong on the way is a [`Fault`]. Whether it is tried again is decided elsewhere.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
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
POOL_SIZE = 8
MOST_CHARACTERS = 64 << 20
"""Of an answer: more is no completion."""
MOST_OF_AN_ERROR = 1 << 16
REST_TIMEOUT = 1.0
"""Seconds in which a stream must end behind what says that it is over."""
OF_HUGGING_FACE = (".huggingface.co", ".hf.co", ".endpoints.huggingface.cloud")
"""Ends of the hosts that the token of the Hub is sent to unasked. Spaces and jobs are not: they run anybody's code."""

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
        self._connections = _Connections(config)
        self._made: tuple[str, Mapping[str, str]] | None = None

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

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
        request = _Request(self._connections, tell, config, self._token)
        streaming = {"stream": True, "stream_options": {"include_usage": True}} if config.stream else {}
        try:
            async with asyncio.timeout(config.request_timeout):
                try:
                    await self._ask(request, messages, {**fields, **streaming})
                except CUT:
                    if not request.is_silent_stream:
                        raise
                if request.is_silent_stream:  # some servers give no reason in a stream
                    whole = {**fields, "stream": False}
                    try:
                        await self._ask(request, messages, whole)
                    except CUT:  # it went out on the stream's connection, which the server was about to close
                        await self._ask(request, messages, whole)
            return read_reply(request.answer)
        except Exception as err:
            fault = from_error(err)
            if isinstance(err, ValueError) and not request.is_sent:
                fault = Fault(Kind.REFUSED, "the request cannot be made", str(err))
            fault.hide(self._token)
            raise fault from None  # what led to it may show the request, and the key

    async def _ask(self, request: "_Request", messages: Messages, fields: Mapping[str, Any]) -> None:
        """Send a request. At an address, the second one has the same head as the first, which is costly to make."""
        if self._made is None:
            await request.make(messages, self._model_id, fields)
            self._made = request.made if self._config.base_url is not None else None
        else:
            body = {"model": self._model_id, "messages": [dict(message) for message in messages], "stream": False}
            await request.send(*self._made, {**body, **fields})


class _Connections:
    """Connections to a server, in many small pools: a pool looks at all that it has, whenever a request comes or ends.

    Args:
        config ([`EndpointConfig`]): how long to wait for the server.
    """

    def __init__(self, config: EndpointConfig) -> None:
        timeout = httpx2.Timeout(config.read_timeout, connect=CONNECT_TIMEOUT, write=CONNECT_TIMEOUT, pool=None)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=POOL_SIZE)
        certificates = httpx2.create_ssl_context()  # which takes long to make
        self._settings = {"timeout": timeout, "limits": limits, "follow_redirects": True, "verify": certificates}
        self._pools: list[httpx2.AsyncClient] = []
        self._free: list[httpx2.AsyncClient] = []

    @contextlib.contextmanager
    def borrow(self) -> Iterator[httpx2.AsyncClient]:
        """Lend a client for one request; the one whose connection was used last, where there is one."""
        if not self._free:
            self._pools.append(httpx2.AsyncClient(**self._settings))
            self._free += [self._pools[-1]] * POOL_SIZE
        client = self._free.pop()
        try:
            yield client
        finally:
            self._free.append(client)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._pools:
            await client.aclose()


class _Request(ChatRequest):
    """A request on its way."""

    def __init__(self, connections: _Connections, tell: Tell, config: EndpointConfig, token: str | None) -> None:
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
        self._connections = connections
        self._tell = tell
        self.answer: Any = None
        self.is_sent = False
        self.made: tuple[str, Mapping[str, str]] | None = None
        self.is_silent_stream = False
        """Whether a stream was asked for, and nothing has come of it."""

    async def send(self, url: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        """Send the request and read the answer."""
        data = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        self.is_sent, self.made, self.is_silent_stream = True, (url, headers), bool(body.get("stream"))
        with self._connections.borrow() as client:
            await self._send(client, url, headers, data)

    async def _send(self, client: httpx2.AsyncClient, url: str, headers: Mapping[str, str], data: bytes) -> None:
        async with client.stream("POST", url, headers=dict(headers), content=data) as response:
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
        async with contextlib.aclosing(response.aiter_lines()) as lines:
            reply = await self._read_lines(lines)
            # what is read to its end leaves a connection for the next request
            with contextlib.suppress(TimeoutError, httpx2.HTTPError):
                async with asyncio.timeout(REST_TIMEOUT):
                    async for _ in lines:
                        pass
        return reply.whole()

    async def _read_lines(self, lines: AsyncIterator[str]) -> StreamedReply:
        reply, characters = StreamedReply(), 0
        async for line in lines:
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
        return reply


async def _read_some(response: httpx2.Response, most: int) -> str:
    """Read an answer, but no more than so many bytes."""
    data = bytearray()
    async with contextlib.aclosing(response.aiter_bytes()) as parts:
        async for part in parts:
            data += part
            if len(data) > most:
                break
    return bytes(data[:most]).decode(response.encoding or "utf-8", errors="replace")


def may_have_hub_token(url: str) -> bool:
    """Tell whether the token of the Hub may be sent to an address: to Hugging Face, and encrypted."""
    parts = urlsplit(url)
    return parts.scheme == "https" and f".{parts.hostname or ''}".endswith(OF_HUGGING_FACE)
