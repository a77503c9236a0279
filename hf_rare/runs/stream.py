"""The stream between rows and generators: jobs are made as there is room for them, and completions lead to new ones.

A row asks for its first attempt when a generator has room for it, for its next one when the last has been read, and
is let go when it needs no more. Nothing waits for the slowest row of a batch, and no more rows are in memory than are
being written. What rows are, and what their completions mean, is the business of others; so is the journal.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hf_rare.generation.protocol import Completion, EncodedPrompt, Job

R = TypeVar("R")

Wanted = tuple[EncodedPrompt, int]
"""A prompt, and the seed of its draw."""

LookUp = Callable[[Sequence[Job]], Mapping[str, Completion]]
"""Gives the completions of jobs that are known, by key."""


class Attempts(Protocol[R]):
    """How rows are tried: what is asked for them, and what their completions come to."""

    read_together: int
    """How many rows are read together while more are being written: 1, unless reading them takes a model."""

    def next(self, row: R) -> list[Wanted]:
        """Return what the next attempt at a row asks for; nothing for a row that needs no more."""

    def all(self, row: R) -> list[Wanted]:
        """Return what all attempts at a row can ask for, in order."""

    def read(self, rows: Sequence[R], completions: Sequence[Sequence[Completion]]) -> None:
        """Read the completions of the latest attempt at each row."""

    def copy(self, row: R) -> R:
        """Return a row that is as far as this one, and goes its own way from here."""

    def alone(self) -> AbstractContextManager[None]:
        """Let what reads completions work in this process alone, while others read other rows."""


@dataclass(eq=False)
class _Attempt(Generic[R]):
    """One attempt at a row: its completions, as far as they are there."""

    row: R
    completions: list[Completion | None]

    @property
    def is_whole(self) -> bool:
        return None not in self.completions

    def give(self) -> list[Completion]:
        return [completion for completion in self.completions if completion is not None]


class JobStream(Generic[R]):
    """The jobs of rows, as a source for generators.

    Args:
        rows (`Iterator[Sequence[R]]`):
            The rows, a few at a time. Each part is made when a generator has room for it: generators take a little
            more than they write, so that none waits while prompts are made. A part without rows means that none are
            there now.
        attempts ([`Attempts`]):
            How rows are tried.
        make_job (`Callable[[EncodedPrompt, int], Job]`):
            Names what a completion depends on.
        look_up (`Callable`):
            Gives the completions that need not be written.
        allow (`Callable[[int], int]`, *optional*):
            Tells how many of so many jobs may be written.
        finish (`Callable[[Sequence[R]], None]`, *optional*):
            Told of the rows that have become finished.
        note (`Callable`, *optional*):
            Keeps a note on jobs.
        read_notes (`Callable`, *optional*):
            Gives the notes on jobs, by key.
        is_shared (`bool`, *optional*, defaults to `False`):
            Whether others take rows too: then no more are taken at a time than one part.

    Attributes:
        in_hand (`int`): jobs that were taken and have not been handed in.
        is_cut (`bool`): whether `allow` has held back a job.
    """

    def __init__(
        self,
        rows: Iterator[Sequence[R]],
        attempts: Attempts[R],
        make_job: Callable[[EncodedPrompt, int], Job],
        look_up: LookUp,
        allow: Callable[[int], int] = lambda count: count,
        finish: Callable[[Sequence[R]], None] = lambda rows: None,
        note: Callable[[Sequence[Job], str], None] = lambda jobs, text: None,
        read_notes: Callable[[Sequence[Job]], Mapping[str, str]] = lambda jobs: {},
        is_shared: bool = False,
    ) -> None:
        self.note = note
        self.read_notes = read_notes
        self.is_cut = False
        self._rows = rows
        self._is_dry = False
        self._attempts = attempts
        self._make_job = make_job
        self._look_up = look_up
        self._allow = allow
        self._finish = finish
        self._is_shared = is_shared
        self._ready: deque[Job] = deque()
        self._unread: list[_Attempt[R]] = []
        self._waiting: dict[str, list[tuple[_Attempt[R], int]]] = {}
        self.in_hand = 0

    @property
    def is_over(self) -> bool:
        """Whether every row is finished that is there."""
        return self._is_dry and not self._waiting and not self._unread

    def has_jobs(self) -> bool:
        """Tell whether there is a job to write, and go on until there is one."""
        while not self._ready and self._go_on():
            pass
        return bool(self._ready)

    def take(self, at_most: int) -> list[Job]:
        """Take the next jobs; see [`JobSource`]."""
        while len(self._ready) < at_most and not (self._ready and self._is_shared) and self._go_on():
            pass
        wanted = min(at_most, len(self._ready))
        count = self._allow(wanted) if wanted and not self.is_cut else 0
        self.is_cut = self.is_cut or count < wanted
        self.in_hand += count
        return [self._ready.popleft() for _ in range(count)]

    def hand_in(self, done: Iterable[tuple[Job, Completion]]) -> None:
        """Hand in jobs with their completions."""
        for job, completion in done:
            self.in_hand -= 1
            for attempt, place in self._waiting.pop(job.key):
                attempt.completions[place] = completion
                if attempt.is_whole:
                    self._unread.append(attempt)
        while self._is_time_to_read():
            self._read()

    def _go_on(self) -> bool:
        """Do what may make jobs ready; tell whether there was anything to do."""
        if self._is_time_to_read():
            self._read()
            return True
        rows = next(self._rows, ())
        self._is_dry = not rows
        if self._is_dry:
            return self._is_time_to_read()
        self._ask(rows, self._ready.extend)
        return True

    def _is_time_to_read(self) -> bool:
        """Tell whether enough is unread; where no other rows come, no more than is still in hand."""
        is_last = self._is_dry and not self._ready
        enough = self._attempts.read_together
        return len(self._unread) >= max(1, min(enough, self.in_hand) if is_last else enough)

    def _read(self) -> None:
        attempts, self._unread = self._unread, []
        rows = [attempt.row for attempt in attempts]
        self._attempts.read(rows, [attempt.give() for attempt in attempts])
        # before the rows that have not begun: where a row takes many attempts, the sooner they begin the better
        self._ask(rows, lambda jobs: self._ready.extendleft(reversed(jobs)))

    def _ask(self, rows: Sequence[R], queue: Callable[[list[Job]], None]) -> None:
        """Ask rows for their next attempt, and queue the jobs that are neither known nor under way."""
        tried = [(row, [self._make_job(*wanted) for wanted in self._attempts.next(row)]) for row in rows]
        asked = [(row, jobs) for row, jobs in tried if jobs]
        known = self._look_up([job for _, jobs in asked for job in jobs])
        new: list[Job] = []
        for row, jobs in asked:
            attempt = _Attempt(row, [known.get(job.key) for job in jobs])
            if attempt.is_whole:
                self._unread.append(attempt)
            for place, (job, completion) in enumerate(zip(jobs, attempt.completions, strict=True)):
                if completion is not None:
                    continue
                if job.key not in self._waiting:
                    self._waiting[job.key] = []
                    new.append(job)
                self._waiting[job.key].append((attempt, place))
        queue(new)
        if finished := [row for row, jobs in tried if not jobs]:
            self._finish(finished)


def read_known(
    rows: Sequence[R], attempts: Attempts[R], make_job: Callable[[EncodedPrompt, int], Job], look_up: LookUp
) -> list[R]:
    """Read what is known of rows, attempt by attempt.

    All rows that are as far are read together: where processes read the same rows, they do the same.

    Args:
        rows (`Sequence[R]`): the rows.
        attempts ([`Attempts`]): how they are tried.
        make_job (`Callable`): names what a completion depends on.
        look_up (`Callable`): gives the completions that are known.

    Returns:
        `list[R]`: the rows that need a completion that is not known, in order.
    """
    going, left = list(enumerate(rows)), list[tuple[int, R]]()
    while going:
        asked = [(entry, [make_job(*wanted) for wanted in attempts.next(entry[1])]) for entry in going]
        known = look_up([job for _, jobs in asked for job in jobs])
        going, read = [], list[list[Completion]]()
        for entry, jobs in asked:
            found = [known[job.key] for job in jobs if job.key in known]
            if len(found) < len(jobs):
                left.append(entry)
            elif jobs:
                going.append(entry)
                read.append(found)
        if going:
            attempts.read([row for _, row in going], read)
    return [row for _, row in sorted(left, key=lambda entry: entry[0])]
