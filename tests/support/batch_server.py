"""The files and batches of OpenAI on loopback: what was sent is written at once, and shown when the script says so."""

import contextlib
import email
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.chat_server import Answer, ChatServer, Request, complete

OVER = ("completed", "expired", "cancelled", "failed")
Write = Callable[[dict[str, Any]], Any]
"""Gives what a request comes to, by its body: an answer or only its body, a [`Lost`], or `None` for nothing."""


@dataclass
class Lost:
    """A row that has never come to the model."""

    code: str = "batch_expired"
    message: str = "This request could not be executed before the completion window expired."


@dataclass
class Fault:
    """What goes wrong with a call.

    Args:
        answer ([`Answer`]): what comes in the place of the right answer.
        is_done (`bool`): whether what was asked for is done all the same.
    """

    answer: Answer
    is_done: bool = False


@dataclass
class Batch:
    """A batch: what was sent, what is shown of it, and how often it must still be looked at until it is over."""

    id: str
    file_id: str
    lines: list[dict[str, Any]]
    ends: str
    looks: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


class BatchServer:
    """A script for [`ChatServer`], and what it has seen.

    Args:
        write (`Callable`): gives what a request comes to.
        end (`Callable[[int], str]`): how the batch with this number ends: `completed`, `expired`, `cancelled`,
            `failed`, or `never`.
        looks (`int`): how often a batch must be looked at before it is over.
        order (`Callable`): brings the lines of results into an order.

    Attributes:
        calls (`list[str]`): what was asked: `upload`, `create`, `list`, `look`, `read`, or `chat`.
        faults (`dict[str, list[Fault]]`): what goes wrong with the next calls of a kind.
        sent, written (`Counter[str]`): how often a row was in a batch that was begun, and was written.
        batches (`dict[str, Batch]`): the batches; one that is taken out is lost.
        files (`dict[str, bytes]`): the files.
    """

    def __init__(
        self,
        write: Write = lambda body: complete(),
        end: Callable[[int], str] = lambda number: "completed",
        looks: int = 0,
        order: Callable[[list[str]], list[str]] = lambda lines: lines[::-1],
        page: int = 100,
    ) -> None:
        self.write, self.end, self.looks, self.order, self.page = write, end, looks, order, page
        self.calls: list[str] = []
        self.requests: list[Request] = []
        self.faults: dict[str, list[Fault]] = {}
        self.sent: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.batches: dict[str, Batch] = {}
        self.files: dict[str, bytes] = {}
        self.begun = 0
        self._lock = threading.Lock()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests in all files."""
        return [line["body"] for batch in self.batches.values() for line in batch.lines]

    def __call__(self, request: Request) -> Answer:
        """Answer a request, as the script of a [`ChatServer`]."""
        with self._lock:
            name, answer = self._choose(request)
            self.calls.append(name)
            self.requests.append(request)
            faults = self.faults.get(name)
            fault = faults.pop(0) if faults else None
            if fault is not None and not fault.is_done:
                return fault.answer
            right = answer()
            return fault.answer if fault is not None else right

    def _choose(self, request: Request) -> tuple[str, Callable[[], Answer]]:
        path, _, query = request.path.removeprefix("/v1").partition("?")
        parts = path.strip("/").split("/")
        if parts == ["chat", "completions"]:
            return "chat", lambda: _as_answer(self.write(request.body))
        if parts == ["files"]:
            return "upload", lambda: self._upload(request)
        if parts[0] == "files":
            return "read", lambda: self._read(parts[1])
        if parts == ["batches"] and request.body:
            return "create", lambda: self._create(request.body)
        if parts == ["batches"]:
            return "list", lambda: self._list(dict(part.split("=") for part in query.split("&")))
        return "look", lambda: self._look(parts[1])

    def _upload(self, request: Request) -> Answer:
        head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + request.body)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
        if parts["purpose"].get_payload().strip() != "batch":
            return Answer({"error": {"message": "no such purpose"}}, status=400)
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"].get_payload(decode=True)
        return Answer({"id": name, "object": "file", "purpose": "batch"})

    def _create(self, asked: dict[str, Any]) -> Answer:
        file_id = asked["input_file_id"]
        if asked["endpoint"] != "/v1/chat/completions" or asked["completion_window"] != "24h":
            return Answer({"error": {"message": "no such endpoint or window"}}, status=400)
        if file_id not in self.files:
            return Answer({"error": {"message": f"No such File object: {file_id}"}}, status=404)
        lines = [json.loads(line) for line in self.files[file_id].split(b"\n") if line]
        batch = Batch(f"batch-{self.begun}", file_id, lines, self.end(self.begun), self.looks)
        self.begun += 1
        self.batches[batch.id] = batch
        names = [line["custom_id"] for line in lines]
        self.sent.update(names)
        if len(set(names)) < len(names):
            batch.ends = "failed"
            batch.errors = [{"code": "duplicate_custom_id", "message": "The custom_id of two lines is the same."}]
        if batch.ends == "failed":
            batch.errors = batch.errors or [{"code": "invalid", "message": "The model is not there for batches."}]
        else:
            self._run(batch)
        return Answer(self._show(batch))

    def _run(self, batch: Batch) -> None:
        outputs, errors = list[str](), list[str]()
        for number, line in enumerate(batch.lines):
            result = self.write(line["body"])
            if batch.ends in ("expired", "cancelled") and number >= len(batch.lines) // 2:
                result = Lost(f"batch_{batch.ends}") if number % 2 else None
            if result is None:
                continue
            shown: dict[str, Any] = {"id": f"{batch.id}-{number}", "custom_id": line["custom_id"]}
            if isinstance(result, Lost):
                shown |= {"response": None, "error": vars(result)}
            else:
                answer = _as_answer(result)
                shown |= {"response": {"status_code": answer.status, "body": answer.body}, "error": None}
                self.written[line["custom_id"]] += answer.status == 200
            is_error = isinstance(result, Lost) or shown["response"]["status_code"] != 200
            (errors if is_error else outputs).append(json.dumps(shown, ensure_ascii=False))
        for name, lines in (("output", outputs), ("error", errors)):
            if lines:
                file_id = batch.files[f"{name}_file_id"] = f"{batch.id}-{name}"
                self.files[file_id] = "".join(f"{line}\n" for line in self.order(lines)).encode()

    def _show(self, batch: Batch) -> dict[str, Any]:
        is_over = batch.looks <= 0 and batch.ends in OVER
        shown = {"id": batch.id, "object": "batch", "input_file_id": batch.file_id}
        if not is_over:
            return {**shown, "status": "in_progress", "output_file_id": None, "error_file_id": None}
        return {**shown, "status": batch.ends, "errors": {"object": "list", "data": batch.errors}, **batch.files}

    def _look(self, batch_id: str) -> Answer:
        batch = self.batches.get(batch_id)
        if batch is None:
            return Answer({"error": {"message": f"No batch found with id '{batch_id}'."}}, status=404)
        answer = Answer(self._show(batch))
        batch.looks -= 1
        return answer

    def _list(self, query: dict[str, str]) -> Answer:
        names = list(self.batches)[::-1]  # the latest first
        start = names.index(query["after"]) + 1 if "after" in query else 0
        count = min(int(query["limit"]), self.page)
        shown = [self._show(self.batches[name]) for name in names[start : start + count]]
        return Answer({"object": "list", "data": shown, "has_more": start + count < len(names)})

    def _read(self, file_id: str) -> Answer:
        if file_id not in self.files:
            return Answer({"error": {"message": f"No such File object: {file_id}"}}, status=404)
        return Answer(self.files[file_id], headers={"content-type": "application/octet-stream"})


def _as_answer(result: Any) -> Answer:
    return result if isinstance(result, Answer) else Answer(result)


@contextlib.contextmanager
def serving_batches(*arguments: Any, **settings: Any) -> Iterator[tuple[BatchServer, str]]:
    """Run a server of batches; give it and its address."""
    script = BatchServer(*arguments, **settings)
    with ChatServer(script) as server:
        yield script, server.base_url
