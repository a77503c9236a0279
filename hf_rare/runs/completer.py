"""Rows completed: what they ask for is found in the journal or written by a generator, and kept at once.

Whatever lets a model write goes through here, so that nothing that was generated is ever lost, and a run that is
started again generates only what is missing. Nothing here knows what prompts are about, or what completions mean.
"""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import multiprocess

from hf_rare.errors import BudgetReachedError, ConfigError, GenerationError, RunEndedError
from hf_rare.generation.protocol import Completion, Generator, Job
from hf_rare.runs.budget import Budget
from hf_rare.runs.checkpoint import FLUSH_SECONDS, INTERRUPTED_SECONDS, Checkpoint
from hf_rare.runs.completions import KeptCompletions
from hf_rare.runs.keys import journal_folder
from hf_rare.runs.orphans import end_with_parent
from hf_rare.runs.progress import RowProgress, RunListener
from hf_rare.runs.share import Share, TeamShare
from hf_rare.runs.stream import Attempts, JobStream, read_known
from hf_rare.runs.team import Team, get_team
from hf_rare.settings.run import RunConfig
from hf_rare.text import show_count, show_time

logger = logging.getLogger(__name__)

R = TypeVar("R")


class Completer:
    """Lets a generator write what rows need, with a journal, and together with the other processes of the job.

    Args:
        generator ([`Generator`]):
            What writes.
        run ([`RunConfig`]):
            Journal, failures, limits, and whether rows are shared out.
        doing (`str`, *optional*, defaults to `"Writing"`):
            What the progress bar says.
        listener ([`RunListener`], *optional*):
            Who is told how far a run is.

    Attributes:
        seconds (`float`): time spent generating, without loading.
    """

    def __init__(
        self, generator: Generator, run: RunConfig, doing: str = "Writing", listener: RunListener | None = None
    ) -> None:
        if run.max_hours is not None and generator.spans_processes:
            raise ConfigError(
                "max_hours does not go with tp_plan: the processes, one model together, would stop at different times."
            )
        if run.max_cost is not None and not generator.has_prices:
            raise ConfigError(
                f"max_cost={run.max_cost} bounds nothing without prices. Pass price_per_million=..., with base_url or "
                "provider, or leave max_cost out."
            )
        self.generator = generator
        self.run = run
        self.seconds = 0.0
        self._doing = doing
        self._listener = listener or RunListener()
        self._budget = Budget(run)
        self._kept = KeptCompletions(generator, run)
        self._is_alone = False
        self._ended_by: type[RunEndedError] = BudgetReachedError

    @property
    def generated(self) -> int:
        """Completions that were generated and not read from the journal, by all processes of the job."""
        return self._budget.generated

    @property
    def tokens(self) -> int:
        """Tokens of the completions that were generated."""
        return self._budget.tokens

    @property
    def cost(self) -> float:
        """What they have cost, where prices are given."""
        return self._budget.cost

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What keeps the journal on the Hub, once it is open."""
        return self._kept.checkpoint

    @property
    def _team(self) -> Team | None:
        return get_team() if self.run.share_rows and not self._is_alone else None

    def join(self) -> None:
        """Begin to tell the other processes of the job that this one is alive."""
        if team := self.team_of_launcher:
            team.join()

    @property
    def team_of_launcher(self) -> Team | None:
        """The team; none in a worker of `map`, which is told that it cannot be when it is given a batch."""
        return self._team if multiprocess.parent_process() is None else None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let this process work by itself, in the middle of a call to which all have come for something else."""
        before, self._is_alone = self._is_alone, True
        try:
            yield
        finally:
            self._is_alone = before

    def complete(
        self, make_rows: Callable[[], Sequence[R]], attempts: Attempts[R], is_again: bool = False
    ) -> Sequence[R]:
        """Complete the rows of a batch. In a job of several processes all come to it together, with the same rows.

        Args:
            make_rows (`Callable`):
                Makes the rows. What fails in it in one process ends the call in all.
            attempts ([`Attempts`]):
                How they are tried.
            is_again (`bool`, *optional*, defaults to `False`):
                Whether these rows have run ahead, so that they are counted already.

        Returns:
            `Sequence[R]`: the rows, of which none needs a completion any more. One that failed says why in `error`.

        Raises:
            JournalError: The journal cannot be read or written.
            GenerationError: A prompt failed and `on_error="raise"`.
            BudgetReachedError: `max_rows`, `max_tokens`, `max_hours` or `max_cost` ended the run.
            EndpointError: Nothing goes well any more with an endpoint.
            RankError: Another process of the job failed, died, ended, or has other rows or settings.
        """
        if self._team is None:
            rows = make_rows()
            with self._ending_well():
                self._end(self._write(iter([rows]), len(rows), attempts, Share(), is_again=is_again)[1])
            return rows
        with self._calling() as share:
            rows = make_rows()
            known = self._agree(rows, attempts, share)

        found = list[int]()

        def look_up(jobs: Sequence[Job]) -> Mapping[str, Completion]:
            found.append(sum(job.key in known for job in jobs))
            return known

        left = read_known(rows, attempts, self._kept.make_job, look_up)
        if not is_again:
            self._count_known(rows, left, sum(found))
        while left:  # once, unless a judge judges an answer otherwise the second time
            with self._calling() as share:
                known |= self._share_out(left, attempts, known, share, is_again)
            is_again = True
            left = read_known(left, attempts, self._kept.make_job, look_up)
        return rows

    def run_ahead(
        self, total: int, make_rows: Callable[[range], Sequence[R]], attempts: Attempts[R], is_kept: bool = True
    ) -> bool:
        """Write everything that the rows of a dataset need into the journal, in one stream.

        Nothing is done where there is no journal to hold it, where the processes of a job have different journals, or
        where they are one model together: then rows are completed batch by batch.

        Args:
            total (`int`): how many rows there are.
            make_rows (`Callable[[range], Sequence[R]]`): makes the rows with these numbers.
            attempts ([`Attempts`]): how they are tried.
            is_kept (`bool`, *optional*, defaults to `True`): whether what reads completions keeps what it writes.

        Returns:
            `bool`: whether it was done.

        Raises:
            As [`Completer.complete`].
        """
        if self.generator.spans_processes:
            return False
        if self._team is None:
            self._kept.open()
            if self._kept.journal is None or not is_kept:
                return False
            share = Share()
            with self._ending_well():
                self._end(self._write(map(make_rows, share.claim(total)), total, attempts, share)[1])
            return True
        with self._calling() as team_share:
            self._kept.open()
            digest = self._kept.journal.digest() if self._kept.journal is not None and is_kept else ""
            # all come here, whatever journals they have
            if not team_share.agree_on_journals(total, digest) or not digest:
                return False
            self._end(self._write(map(make_rows, team_share.claim(total)), total, attempts, team_share)[1])
        return True

    def run_rows(self, rows: Iterator[Sequence[R]], attempts: Attempts[R]) -> None:
        """Write everything that rows need into the journal, in this process alone. What reads them counts them.

        Args:
            rows (`Iterator[Sequence[R]]`): the rows, a few at a time; it ends where none are there or being written.
            attempts ([`Attempts`]): how they are tried.

        Raises:
            As [`Completer.complete`].
        """
        with self._ending_well():
            self._end(self._write(rows, None, attempts, Share(), is_again=True)[1])

    def has_journal(self) -> bool:
        """Tell whether there is a journal."""
        return journal_folder(self.run) is not None

    def read_known(self, rows: Sequence[R], attempts: Attempts[R]) -> Sequence[R]:
        """Read what the journal knows of rows; give those that need something that it does not know."""
        self._kept.open()
        return read_known(rows, attempts, self._kept.make_job, self._kept.look_up)

    @contextlib.contextmanager
    def _calling(self) -> "Iterator[TeamShare]":
        """Come to a call, as all processes of the job do."""
        team = get_team()
        if team is None:
            raise RuntimeError("there is no team")
        with self._ending_well(), team.call(self.run.rank_timeout):
            share = TeamShare(team, self.generator.spans_processes)
            try:
                yield share
            except RunEndedError:  # which all processes come to together
                share.clear()
                raise
            share.clear()

    def _agree(self, rows: Sequence[R], attempts: Attempts[R], share: TeamShare) -> dict[str, Completion]:
        """Return what any process knows of all that rows can ask for."""
        self._kept.open()
        jobs = [self._kept.make_job(*wanted) for row in rows for wanted in attempts.all(row)]
        known = self._kept.look_up(jobs)
        learnt = share.agree([job.key for job in jobs], known)
        self._keep_on_this_machine(jobs, learnt)
        return known | learnt

    def _count_known(self, rows: Sequence[R], left: Sequence[R], found: int) -> None:
        """Count rows that all processes know, and what was found of them: rank 0 does, for all."""
        unknown, counts = set(map(id, left)), self._listener.counts
        known = [row for row in rows if id(row) not in unknown]
        counts.rows_ended_by_all += len(known)
        if self.generator.spans_processes or (self._team is not None and self._team.rank == 0):
            counts.rows_begun += len(known)
            counts.rows_ended += len(known)
            counts.found += found
            self._listener.end_rows(known)

    def _share_out(
        self,
        rows: Sequence[R],
        attempts: Attempts[R],
        known: Mapping[str, Completion],
        share: TeamShare,
        is_again: bool,
    ) -> dict[str, Completion]:
        """Let the processes write what rows need, and give all that they have written."""
        own = [attempts.copy(row) for row in rows]
        claimed = ([own[number] for number in numbers] for numbers in share.claim(len(own)))
        written, limit = self._write(claimed, len(own), attempts, share, known, is_again)
        jobs = (self._kept.make_job(*wanted) for row in rows for wanted in attempts.all(row))  # made where needed
        self._keep_on_this_machine(jobs, written)
        self._end(limit)
        return written

    def _keep_on_this_machine(self, jobs: Iterable[Job], completions: Mapping[str, Completion]) -> None:
        """Write into the journal what came from other machines, where they have one of their own."""
        if completions and self._team is not None and self._team.is_first_of_machine:
            self._kept.keep_missing(jobs, completions)

    def _write(
        self,
        rows: Iterator[Sequence[R]],
        total: int | None,
        attempts: Attempts[R],
        share: Share,
        known: Mapping[str, Completion] | None = None,
        is_again: bool = False,
    ) -> tuple[dict[str, Completion], str]:
        """Write what rows need, as many as this process takes.

        Args:
            rows (`Iterator[Sequence[R]]`): the rows.
            total (`int`, *optional*): how many there are for all processes, where this is known.
            attempts ([`Attempts`]): how they are tried.
            share ([`Share`]): what the processes count together.
            known (`Mapping[str, Completion]`, *optional*): what is known of the rows; else the journal is asked.
            is_again (`bool`, *optional*): whether the rows are counted already.

        Returns:
            `tuple[dict[str, Completion], str]`: where `known` is given, what all processes have written, by key; and
            the limit that ended it, if one did.
        """
        self._kept.open()
        self._budget.begin()
        written: dict[str, Completion] = {}
        remember = written.update if known is not None or self._kept.journal is None else None

        def look_up(jobs: Sequence[Job]) -> Mapping[str, Completion]:
            found = self._kept.look_up(jobs) if known is None else {}
            for source in (known or {}, written):
                found |= {job.key: source[job.key] for job in jobs if job.key in source}
            progress.find(sum(job.key in found for job in jobs))
            return found

        def allow(count: int) -> int:
            allowed = self._budget.allow(count, share.add)
            progress.take(allowed)
            return allowed

        with RowProgress(
            total,
            self.run.stall_timeout,
            self._team.check if self._team is not None else None,
            self._doing,
            self._listener,
            is_again,
            self.generator.max_new_tokens,
        ) as progress:
            stream = JobStream(
                progress.follow(rows),
                attempts,
                self._kept.make_job,
                look_up,
                allow=allow,
                finish=lambda rows: progress.finish(rows, share.add("finished", len(rows))),
                note=self._kept.note,
                read_notes=self._kept.read_notes,
                is_shared=share.is_shared,
            )
            try:
                with attempts.alone() if share.is_shared else contextlib.nullcontext():
                    limit = self._generate(stream, progress, share, remember)
                limit = "" if stream.is_over else limit
            except RunEndedError as err:  # of a judge or an endpoint, which ends the run in this process first
                limit, self._ended_by = str(err), type(err)
            written, limit = share.finish(written, limit, lambda: progress.show(share.add("finished", 0)))
            progress.show(share.add("finished", 0))
        self._budget.end(share.add)
        return written, limit

    def _generate(
        self,
        stream: JobStream[R],
        progress: RowProgress,
        share: Share,
        remember: Callable[[Mapping[str, Completion]], None] | None,
    ) -> str:
        """Let the generator write what a stream asks for; name the limit that ended it, if one did."""
        if not stream.has_jobs():
            return ""
        self._kept.begin()  # a folder that cannot be written to is found out before tokens are spent
        end_with_parent(self._kept.close)
        self.generator.load()
        progress.start()
        is_kept_elsewhere = self.generator.spans_processes and self._team is not None and self._team.rank > 0
        with self._saying_what_is_safe(progress):
            try:
                for done in self.generator.generate(stream, progress):
                    if not is_kept_elsewhere:
                        self._kept.keep(done)
                    if remember is not None:
                        remember({job.key: completion for job, completion in done})
                    limit = self._budget.count([completion for _, completion in done], self.generator.cost, share.add)
                    progress.cost = self._budget.cost
                    progress.add_completions([completion for _, completion in done])
                    if self.run.on_error == "raise":
                        _raise_failures(done)
                    stream.hand_in(done)
                    if limit and not stream.in_hand:
                        stream.has_jobs()  # which finds out whether there are rows left
                    if limit and not stream.is_over:
                        return limit
            finally:
                progress.stop()
                self.seconds += progress.seconds
        if not stream.is_over and not stream.is_cut:
            raise GenerationError(
                f"{type(self.generator).__name__} has ended with {stream.in_hand} jobs in hand, and has given no "
                "completion for them."
            )
        return "max_rows"

    def _end(self, limit: str) -> None:
        """Raise what is to be raised where a limit has ended a call: a setting's name, or what another has said."""
        if limit and limit not in self.run.names():
            raise self._ended_by(limit)
        if limit:
            raise BudgetReachedError(
                f"{limit}={getattr(self.run, limit)} is reached: {show_count(self.generated, 'completion')} of "
                f"{show_count(self.tokens, 'token')} "
                f"in all were generated in {show_time(self._budget.hours)}. {self._how_to_go_on()}"
            )

    def _how_to_go_on(self) -> str:
        journal = self._kept.journal
        if journal is None:
            return "There is no journal, so a new run starts from the beginning."
        return (
            f"{show_count(self.generated, 'completion')} of this run {'is' if self.generated == 1 else 'are'} safe in "
            f"{journal.folder} ({self._kept.count:,} in all); run the same script again to go on."
        )

    @contextlib.contextmanager
    def _saying_what_is_safe(self, progress: RowProgress) -> Iterator[None]:
        """Turn SIGTERM into an orderly end while the model writes, and say how to go on after it or Ctrl-C."""

        def terminate(number: int, frame: object) -> None:
            raise SystemExit(128 + number)

        is_ours = threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        )
        if is_ours:
            signal.signal(signal.SIGTERM, terminate)
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            progress.close()
            logger.warning("Stopped. %s", self._how_to_go_on())
            raise
        finally:
            if is_ours:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @contextlib.contextmanager
    def _ending_well(self) -> Iterator[None]:
        """Save a checkpoint where the process may end without another word: at an exception, and in a worker."""
        try:
            yield
        except BaseException as err:
            self._kept.save_checkpoint(INTERRUPTED_SECONDS if isinstance(err, KeyboardInterrupt) else FLUSH_SECONDS)
            raise
        if multiprocess.parent_process() is not None:
            self._kept.save_checkpoint()


def _raise_failures(done: Iterable[tuple[Job, Completion]]) -> None:
    for job, completion in done:
        if completion.failure:
            end = job.prompt.messages[-1]["content"][-200:]
            raise GenerationError(
                f"A row failed: {completion.error}. Its prompt ends with {end!r}. Pass on_error='status' to go on "
                "without it."
            )
