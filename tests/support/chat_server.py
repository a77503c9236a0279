"""A server of chat completions on loopback that answers as a script says: well, late, wrongly, or not at all."""

import asyncio
import contextlib
import json
import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass
class Request:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: Any
    number: int

    @property
    def prompt(self) -> str:
        """The text of the last message."""
        return str(self.body["messages"][-1]["content"])


@dataclass
class Answer:
    """What is sent back.

    Args:
        body: text, bytes or JSON.
        status (`int`): the HTTP status.
        headers (`dict[str, str]`): further headers.
        delay (`float`): seconds before it is sent.
        cut (`str`): where the connection is cut: `before` anything is sent, `head` after the head, `within` the body,
            or `silent`: nothing is sent, and the connection stays open.
    """

    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: str = ""


Script = Callable[[Request], Answer | Awaitable[Answer]]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def complete(
    text: str = "It is so.", reasoning: str | None = None, finish: str | None = "stop", **more: Any
) -> dict[str, Any]:
    """Make a whole answer."""
    message = {"role": "assistant", "content": text} | ({"reasoning": reasoning} if reasoning is not None else {})
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "1", "model": "served", "choices": [choice], "usage": USAGE, **more}


def stream(
    *pieces: dict[str, Any] | str,
    finish: str | None = "stop",
    done: bool = True,
    usage: dict[str, int] = USAGE,
    **more: Any,
) -> Answer:
    """Make an answer that streams: each piece is a text, or a delta."""
    deltas = [{"content": piece} if isinstance(piece, str) else piece for piece in pieces]
    chunks: list[dict[str, Any]] = [
        {"model": "served", "choices": [{"index": 0, "delta": delta}], **more} for delta in deltas
    ]
    if finish is not None:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        chunks.append({"choices": [], "usage": usage})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"] * done
    return Answer("".join(lines), headers={"content-type": "text/event-stream"})


class ChatServer:
    """The server, in a thread of its own.

    Args:
        script (`Callable`): gives the answer to a request, at once or when it is awaited.

    Attributes:
        requests (`list[Request]`): what came.
        most (`int`): the most requests that were under way at once.
        connections (`int`): how often a connection was made.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.under_way = self.most = self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: Any = None

    @property
    def base_url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def __enter__(self) -> "ChatServer":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024), self._loop
        ).result()
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _hang_up(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._answer_one(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; tell whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) if ": " in line else (line, "") for line in head[1:] if line)
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        is_json = headers.get("content-type", "").startswith("application/json")
        request = Request(head[0].split()[1], headers, json.loads(data) if is_json else data, len(self.requests))
        self.requests.append(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            answer = self.script(request)
            if not isinstance(answer, Answer):
                answer = await answer
            if answer.delay:
                await asyncio.sleep(answer.delay)
        finally:
            self.under_way -= 1
        if answer.cut == "silent":
            await asyncio.sleep(3600)
        if answer.cut == "before":
            return False
        body = answer.body if isinstance(answer.body, bytes | str) else json.dumps(answer.body)
        data = body.encode() if isinstance(body, str) else body
        lines = {"content-type": "application/json", "content-length": str(len(data)), **answer.headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{text}\r\n".encode())
        if answer.cut != "head":
            writer.write(data[: len(data) // 2] if answer.cut == "within" else data)
        await writer.drain()
        return not answer.cut


class Relay:
    """A script that lets another server answer, so that what it is asked can be counted.

    Args:
        base_url (`str`): address of the other server.

    Attributes:
        answered (`int`): the requests that were answered.
        limit (`float`): requests with this number and greater ones are kept without an answer.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.answered = 0
        self.limit = math.inf

    async def __call__(self, request: Request) -> Answer:
        if request.number >= self.limit:
            await asyncio.sleep(3600)
        async with httpx2.AsyncClient(timeout=240) as client:
            url = self.base_url.removesuffix("/v1") + request.path
            response = await client.post(url, json=request.body)
        self.answered += 1
        return Answer(response.text, response.status_code, {"content-type": response.headers["content-type"]})


@contextlib.contextmanager
def serving(script: Script | Answer | dict[str, Any]) -> Iterator[ChatServer]:
    """Run a server; where no script is given, it answers every request alike."""
    fixed = script if isinstance(script, Answer) else Answer(script)
    with ChatServer(script if callable(script) else lambda request: fixed) as server:
        yield server
