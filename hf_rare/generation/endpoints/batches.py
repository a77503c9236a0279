"""Lets the batch API of a server write the jobs of a source: files of requests, looked at until they are answered.

Which batch a job is in is noted with the job's key before anything waits for it: a run that is started again finds
what it has paid for. Results come in any order, and what has none is sent again.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_rare.errors import EndpointError
from hf_rare.generation.endpoints.batch_api import BatchApi, make_line, read_fault
from hf_rare.generation.endpoints.faults import Fault, Kind
from hf_rare.generation.endpoints.reply import read_reply
from hf_rare.generation.protocol import Completion, Job, JobSource, NotedSource, Observer
from hf_rare.settings.endpoint import EndpointConfig

logger = logging.getLogger(__name__)

MOST_BYTES = 90_000_000
"""Of one file: servers take 100 to 200 MB."""
OPEN_BATCHES = 8
"""Batches that are waited for at a time: their prompts are in memory."""
OVER = ("completed", "expired", "cancelled", "failed")


@dataclass
class _Batch:
    """A batch that is being written, or only its file: the jobs by their names in it."""

    file_id: str
    batch_id: str
    jobs: dict[str, Job]


class BatchWriter:
    """Writes by the batch API of a server.

    Args:
        api ([`BatchApi`]): asks the server.
        model_id (`str`): what the server calls the model.
        config ([`EndpointConfig`]): how large files are, and how often batches are looked at.
        fields (`Mapping[str, Any]`): the fields of every request but for model, messages and seed.
    """

    def __init__(self, api: BatchApi, model_id: str, config: EndpointConfig, fields: Mapping[str, Any]) -> None:
        self._api = api
        self._model_id = model_id
        self._config = config
        self._fields = fields
        self._tries: dict[Job, int] = {}

    def write(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job; see [`Generator`].

        Raises:
            EndpointError: The server refuses a batch, or does not answer.
        """
        batches: list[_Batch] = []
        again: list[Job] = []
        may_have_more = True
        while True:
            while (may_have_more or again) and len(batches) < OPEN_BATCHES:
                jobs, again = again, []
                if len(jobs) < self._config.requests_per_batch:
                    taken = source.take(self._config.requests_per_batch - len(jobs))
                    may_have_more = bool(taken)
                    found, new = self._find(source, taken)
                    batches += found
                    jobs += new
                if jobs:
                    batches += self._begin(source, jobs)
            if not batches:
                return
            if observer is not None:
                observer.begin([job for batch in batches for job in batch.jobs.values()])
            done, over = list[tuple[Job, Completion]](), list[_Batch]()
            for batch in batches:
                state = self._api.look(batch.batch_id)
                if state is not None and state.get("status") not in OVER:
                    continue
                over.append(batch)
                results, left = self._read(batch, state)
                done += results
                again += left
            if not over:
                time.sleep(self._config.poll_seconds)
                continue
            batches = [batch for batch in batches if batch not in over]
            if done:
                if observer is not None:
                    prompts = sum(completion.prompt_tokens for _, completion in done)
                    observer.add_tokens(prompts, sum(completion.completion_tokens for _, completion in done))
                yield done
                may_have_more = True

    def _find(self, source: JobSource, jobs: Sequence[Job]) -> tuple[list[_Batch], list[Job]]:
        """Give the batches that some jobs are in already, and the jobs that are in none."""
        notes = source.read_notes(jobs) if isinstance(source, NotedSource) else {}
        found: dict[str, _Batch] = {}
        new = []
        for job in jobs:
            note = _read_note(notes.get(job.key, ""))
            if note is None:
                new.append(job)
                continue
            batch = found.setdefault(note["file"], _Batch(note["file"], note.get("batch", ""), {}))
            batch.batch_id = batch.batch_id or note.get("batch", "")
            batch.jobs[job.key] = job
        for batch in found.values():
            if not batch.batch_id:  # the run was ended between its file and its beginning
                batch.batch_id = self._api.find(batch.file_id) or self._api.create(batch.file_id)
                self._note(source, batch)
            logger.info("%d rows are in the batch %s of an earlier run.", len(batch.jobs), batch.batch_id)
        return list(found.values()), new

    def _begin(self, source: JobSource, jobs: Sequence[Job]) -> list[_Batch]:
        """Send jobs, in as few files as may be."""
        batches, lines, named, size = list[_Batch](), list[bytes](), dict[str, Job](), 0
        for number, job in enumerate(jobs):
            name = job.key or f"row-{number}"
            seed = {"seed": job.seed % 2**31} if self._config.send_seed else {}
            messages = [dict(message) for message in job.prompt.messages]
            line = make_line(name, {"model": self._model_id, "messages": messages, **self._fields, **seed})
            if lines and size + len(line) > MOST_BYTES:
                batches.append(self._send(source, lines, named))
                lines, named, size = [], {}, 0
            lines.append(line)
            named[name] = job
            size += len(line)
        return [*batches, self._send(source, lines, named)]

    def _send(self, source: JobSource, lines: Sequence[bytes], jobs: dict[str, Job]) -> _Batch:
        batch = _Batch(self._api.upload(b"".join(lines)), "", jobs)
        self._note(source, batch)
        batch.batch_id = self._api.create(batch.file_id)
        self._note(source, batch)
        logger.info("%d requests are in the batch %s.", len(jobs), batch.batch_id)
        return batch

    def _note(self, source: JobSource, batch: _Batch) -> None:
        if isinstance(source, NotedSource):
            note = {"file": batch.file_id} | ({"batch": batch.batch_id} if batch.batch_id else {})
            source.note(list(batch.jobs.values()), json.dumps(note))

    def _read(self, batch: _Batch, state: Mapping[str, Any] | None) -> tuple[list[tuple[Job, Completion]], list[Job]]:
        """Read the results of a batch that is over; give them, and the jobs that are to be sent again."""
        if state is None:
            logger.warning(
                "The server knows nothing of the batch %s any more: its rows are sent again.", batch.batch_id
            )
            return [], list(batch.jobs.values())
        if state.get("status") == "failed":
            errors = state.get("errors")
            raise EndpointError(f"The server refuses the batch {batch.batch_id}: {json.dumps(errors)[:500]}")
        done: list[tuple[Job, Completion]] = []
        faults: dict[str, Fault] = {}
        left = dict(batch.jobs)
        for file_id in filter(None, (state.get("output_file_id"), state.get("error_file_id"))):
            for line in self._api.read(str(file_id)):
                name = str(line.get("custom_id"))
                if name not in left:
                    continue
                try:
                    if fault := read_fault(line):
                        raise fault
                    done.append((left[name], read_reply(line["response"].get("body"))))
                    del left[name]
                except Fault as err:
                    faults[name] = err
        again = []
        for name, job in left.items():
            last = faults.get(name) or Fault(Kind.BROKEN, f"the batch was {state.get('status')} before it was written")
            self._tries[job] = self._tries.get(job, 0) + 1
            if last.kind in (Kind.ROW, Kind.TOO_LONG) or self._tries[job] > self._config.max_retries:
                reason: Any = "prompt_too_long" if last.kind is Kind.TOO_LONG else "error"
                done.append((job, Completion("", reason, 0, 0, str(last))))
            else:
                again.append(job)
        return done, again


def _read_note(text: str) -> dict[str, str] | None:
    try:
        note = json.loads(text)
    except ValueError:
        return None
    return note if isinstance(note, dict) and isinstance(note.get("file"), str) else None
