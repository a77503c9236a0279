"""Completions that are kept: which job each belongs to, where it is found again, and what is copied to the Hub.

What a completion depends on is hashed into its key. Failures are kept too, with the number of their tries.
"""

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from hf_rare.errors import ConfigError
from hf_rare.generation.protocol import Completion, EncodedPrompt, Generator, Job
from hf_rare.runs.checkpoint import FLUSH_SECONDS, Checkpoint
from hf_rare.runs.journal import Journal
from hf_rare.runs.keys import hash_job, journal_folder
from hf_rare.settings.base import GENERATION_REVISION
from hf_rare.settings.run import RunConfig

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds after which the journal is read on in, before rows are begun."""


class KeptCompletions:
    """The completions of a generator in the journal, where there is one.

    Args:
        generator ([`Generator`]):
            What writes.
        run ([`RunConfig`]):
            Where the journal lies, and which failures are tried again.

    Attributes:
        journal ([`Journal`], *optional*): the journal, once it is open.
        checkpoint ([`Checkpoint`], *optional*): what keeps the journal on the Hub, once it is open.
    """

    def __init__(self, generator: Generator, run: RunConfig) -> None:
        self.journal: Journal | None = None
        self.checkpoint: Checkpoint | None = None
        self._generator = generator
        self._run = run
        self._identity = b""
        self._is_sampling = False
        self._tries: dict[str, int] = {}
        self._failed_here: set[str] = set()
        self._noted: set[str] = set()
        self._looked = time.monotonic()

    @property
    def count(self) -> int:
        """How many completions the journal has; notes that were seen are none."""
        return len(self.journal) - len(self._noted) if self.journal is not None else 0

    def open(self) -> None:
        """Open the journal, or read on in it where others have written.

        Raises:
            JournalError: It cannot be read.
            ConfigError: There is none, and a checkpoint of it is asked for.
        """
        if self._identity:
            if self.journal is not None:
                self.journal.refresh()
            return
        identity = {"generation_revision": GENERATION_REVISION, **self._generator.identity()}
        digest = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=16).digest()
        self._is_sampling = self._generator.is_sampling
        folder = journal_folder(self._run)
        if folder is not None:
            folder = folder / digest.hex()[:16]
            if self._run.checkpoint_repo is not None:
                self.checkpoint = Checkpoint(self._run.checkpoint_repo, self._run.checkpoint_minutes, folder)
            self.journal = Journal(folder, identity, rank_value, self._run.journal_sync)
            if self.checkpoint is not None:
                self.checkpoint.watch(self.journal)
        elif self._run.checkpoint_repo is not None:
            raise ConfigError(f"checkpoint_repo={self._run.checkpoint_repo!r} needs a journal, which is turned off.")
        self._identity = digest

    def begin(self) -> None:
        """Make the file of this process, so that a folder that cannot be written to is found out now.

        Raises:
            JournalError: It cannot be made.
        """
        if self.journal is not None:
            self.journal.open()

    def make_job(self, prompt: EncodedPrompt, seed: int) -> Job:
        """Make a job with its key."""
        return Job(prompt, seed, hash_job(self._identity, prompt, seed if self._is_sampling else None))

    def look_up(self, jobs: Sequence[Job]) -> dict[str, Completion]:
        """Return the completions that need not be written, by key.

        A failure of an earlier run is written again where that is asked for, and one of this run never.
        """
        if self.journal is None:
            return {}
        if time.monotonic() - self._looked >= LOOK_EVERY:  # another run may be over the same rows
            self.journal.refresh()
            self._looked = time.monotonic()
        known: dict[str, Completion] = {}
        for key, value in self.journal.read({job.key for job in jobs}).items():
            tries = _count_tries(value)
            if "completion" not in value:  # a note on a job that is under way
                self._noted.add(key)
                self._tries[key] = tries
                continue
            completion = read_completion(value["completion"])
            if completion is None:
                continue
            is_tried_again = self._run.retry_failed and tries < self._run.max_tries and key not in self._failed_here
            if completion.failure and is_tried_again:
                self._tries[key] = tries
            elif self._generator.may_reuse(completion):
                known[key] = completion
        return known

    def keep(self, done: Iterable[tuple[Job, Completion]]) -> None:
        """Write completions into the journal.

        Raises:
            JournalError: They cannot be written.
        """
        if self.journal is None:
            return
        entries = []
        for job, completion in done:
            if completion.failure:
                self._failed_here.add(job.key)
            tries = self._tries.pop(job.key, 0) + 1
            self._noted.discard(job.key)
            value = {"completion": _write(completion), "attempts": tries, "written": round(time.time(), 2)}
            if self._run.journal_prompts:
                value["messages"] = [dict(message) for message in job.prompt.messages]
            entries.append((job.key, value))
        self.journal.append(entries)

    def note(self, jobs: Iterable[Job], text: str) -> None:
        """Keep a note on jobs that have no completion yet, such as the batch of a server that they are in.

        Raises:
            JournalError: It cannot be written.
        """
        if self.journal is not None:
            keys = [job.key for job in jobs]
            self.journal.append((key, {"note": text, "attempts": self._tries.get(key, 0)}) for key in keys)
            self._noted.update(keys)

    def read_notes(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Return the notes on jobs, by key."""
        if self.journal is None:
            return {}
        values = self.journal.read({job.key for job in jobs})
        return {key: value["note"] for key, value in values.items() if isinstance(value.get("note"), str)}

    def keep_missing(self, jobs: Iterable[Job], completions: Mapping[str, Completion]) -> None:
        """Write into the journal what others have written, where they have a journal of their own."""
        if self.journal is not None:
            self.journal.refresh()
            missing = {job.key: job for job in jobs if job.key in completions}
            missing = {key: missing[key] for key in missing.keys() - self.look_up(list(missing.values())).keys()}
            if missing:
                self.keep((job, completions[key]) for key, job in missing.items())

    def close(self) -> None:
        """Wait for what is being written into the journal, and write no more into the same file."""
        if self.journal is not None:
            self.journal.rotate()

    def save_checkpoint(self, seconds: float = FLUSH_SECONDS) -> None:
        """Copy what is not on the Hub yet there, where that is asked for, and wait no longer than that for it."""
        if self.checkpoint is not None and self.checkpoint.flush(seconds):
            logger.info("All completions are in %s too.", self._run.checkpoint_repo)


_FIELDS = {field.name: field.default for field in dataclasses.fields(Completion)}
_TYPES = get_type_hints(Completion)


def _write(completion: Completion) -> dict[str, Any]:
    """Return the values of a completion that are not those by default; but a completion without error says so."""
    return {name: value for name, value in vars(completion).items() if value != _FIELDS[name] or name == "error"}


def read_completion(value: Any) -> Completion | None:
    """Make a completion of its values; what a newer version has written besides is left out.

    `None` where something is missing or of another kind, as another version may have it.
    """
    if not isinstance(value, Mapping):
        return None
    values = {name: value[name] for name in value if name in _FIELDS}
    if values.get("finish_reason") not in get_args(_TYPES["finish_reason"]):
        return None
    of_kind = all(type(value) is _TYPES[name] for name, value in values.items() if name != "finish_reason")
    is_whole = all(name in values for name, default in _FIELDS.items() if default is dataclasses.MISSING)
    return Completion(**values) if of_kind and is_whole else None


def _count_tries(value: Mapping[str, Any]) -> int:
    tries = value.get("attempts")
    return tries if isinstance(tries, int) else 0


def rank_value(value: Mapping[str, Any]) -> tuple[bool, int, bool]:
    """Rank what processes have written of one job: a completion above a failure, the later try above the earlier."""
    completion = read_completion(value.get("completion"))
    return completion is not None and not completion.failure, _count_tries(value), "completion" not in value
