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
from hf_rare.generation.endpoints.batch_api import BatchApi, SilentError, make_line, read_fault
from hf_rare.generation.endpoints.faults import FILTERED, Fault, Kind
from hf_rare.generation.endpoints.level import REFUSALS
from hf_rare.generation.endpoints.reply import read_reply
from hf_rare.generation.protocol import Completion, Job, JobSource, NotedSource, Observer
from hf_rare.settings.endpoint import EndpointConfig

logger = logging.getLogger(__name__)

MOST_BYTES = 90_000_000
"""Of one file: servers take 100 to 200 MB."""
OPEN_BATCHES = 8
"""Batches that are waited for at a time: their prompts are in memory."""
OVER = ("completed", "expired", "cancelled", "canceled", "failed")
PATIENCE = 10
"""Looks in a row to which the server does not answer, after which the run ends: a batch takes hours, and meanwhile a
server may be away for minutes."""


@dataclass
class _Batch:
    """A batch that is being written, or only its file: the jobs by their names in it.

    One of an earlier run is `is_found`: what it has not is sent once more, since what was wrong may be mended.
    """

    file_id: str
    batch_id: str
    jobs: dict[str, Job]
    is_found: bool = False


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
        self._has_succeeded = False
        self._silent_looks = 0

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
                jobs, again = again[: self._config.requests_per_batch], again[self._config.requests_per_batch :]
                while may_have_more and len(jobs) < self._config.requests_per_batch:
                    taken = source.take(self._config.requests_per_batch - len(jobs))
                    may_have_more = bool(taken)
                    jobs += self._find(source, taken, batches)
                batches += self._begin(source, jobs)
            if not batches:
                return
            if observer is not None:
                observer.begin([job for batch in batches for job in batch.jobs.values()])
                observer.add_tokens(0, 0)  # a sign of life: it may be hours until the next one
            done, over = list[tuple[Job, Completion]](), list[_Batch]()
            for batch in batches:
                state = self._look(batch)
                if state is not None and str(state.get("status")).lower() not in OVER:
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
                    for _, completion in done:
                        observer.add_tokens(completion.prompt_tokens, completion.completion_tokens)
                yield done
                may_have_more = True

    def _look(self, batch: _Batch) -> Mapping[str, Any] | None:
        """Look at a batch; a server that does not answer for a while leaves it as it is."""
        try:
            state = self._api.look(batch.batch_id)
        except SilentError as err:
            self._silent_looks += 1
            if self._silent_looks >= PATIENCE:
                raise
            logger.warning("%s", err)
            return {}
        self._silent_looks = 0
        return state

    def _find(self, source: JobSource, jobs: Sequence[Job], batches: list[_Batch]) -> list[Job]:
        """Add the batches that some jobs are in already; give the jobs that are in none."""
        notes = source.read_notes(jobs) if isinstance(source, NotedSource) else {}
        found: dict[str, list[Job]] = {}
        named: dict[str, str] = {}
        new = []
        for job in jobs:
            note = _read_note(notes.get(job.key, ""))
            if note is None:
                new.append(job)
                continue
            found.setdefault(note["file"], []).append(job)
            named[note["file"]] = named.get(note["file"], "") or note.get("batch", "")
        for file_id, of_file in found.items():
            open_one = next((batch for batch in batches if batch.file_id == file_id), None)
            # without a name the run was ended between its file and its beginning, or just after that
            batch_id = open_one.batch_id if open_one is not None else named[file_id] or self._api.find(file_id)
            if batch_id is None:
                new += of_file
                continue
            logger.info("%d rows are in the batch %s of an earlier run.", len(of_file), batch_id)
            if open_one is None:
                open_one = _Batch(file_id, batch_id, {}, is_found=True)
                batches.append(open_one)
            open_one.jobs |= {job.key: job for job in of_file}
        return new

    def _begin(self, source: JobSource, jobs: Sequence[Job]) -> list[_Batch]:
        """Send jobs, in as few files as may be."""
        batches, lines, named, size = list[_Batch](), list[bytes](), dict[str, Job](), 0
        if not jobs:
            return []
        for number, job in enumerate(jobs):
            name = job.key if job.key and job.key not in named else f"row-{number}"
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
            state = {"status": "lost"}
        status = str(state.get("status")).lower()
        if status == "failed":
            errors = _say(state.get("errors"))
            if batch.is_found:
                logger.warning(
                    "The server has refused the batch %s: its rows are sent again. %s", batch.batch_id, errors
                )
                return [], list(batch.jobs.values())
            raise EndpointError(f"The server refuses the batch {batch.batch_id}: {errors}")
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
        if done:
            self._has_succeeded = True
        elif refusal := self._find_refusal_of_all(faults):
            if batch.is_found:
                return [], list(batch.jobs.values())
            raise EndpointError(
                f"The server refuses all {len(faults)} rows of the batch {batch.batch_id}, and no row has gone well "
                f"before; last: {refusal}. Look at the key, at the name of the model, and at extra_body and the "
                "settings of sampling."
            )
        again = []
        for name, job in left.items():
            last = faults.get(name) or Fault(Kind.BROKEN, f"the batch was {status} without an answer for this row")
            tries = self._tries.pop(job, 0) + 1
            if last.kind in (Kind.ROW, Kind.TOO_LONG) or tries > self._config.max_retries:
                reason: Any = "prompt_too_long" if last.kind is Kind.TOO_LONG else "error"
                often = f" ({tries} tries)" if tries > 1 else ""
                done.append((job, Completion("", reason, 0, 0, f"{last}{often}")))
            else:
                self._tries[job] = tries
                again.append(job)
        return done, again

    def _find_refusal_of_all(self, faults: Mapping[str, Fault]) -> Fault | None:
        """Return the last fault of a batch in which nothing went well, where it is one of every row."""
        if self._has_succeeded:
            return None
        for kind, enough in REFUSALS.items():
            of_kind = [fault for fault in faults.values() if fault.kind is kind and fault.name != FILTERED]
            if len(of_kind) >= enough and len(of_kind) == len(faults):
                return of_kind[-1]
        return None


def _say(errors: Any) -> str:
    """Say what a server has against a batch, in its own words."""
    listed = errors.get("data") if isinstance(errors, Mapping) else None
    words = [str(error.get("message") or error.get("code")) for error in listed or () if isinstance(error, Mapping)]
    return "; ".join(words)[:500] or json.dumps(errors)[:500]


def _read_note(text: str) -> dict[str, str] | None:
    try:
        note = json.loads(text)
    except ValueError:
        return None
    return note if isinstance(note, dict) and isinstance(note.get("file"), str) else None
