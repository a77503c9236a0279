"""Completions for prompts: from the journal where it has them, else from the generator, and into the journal at once.

Whatever lets a model write goes through here, so that nothing that was generated is ever lost, and a run that is
started again generates only what is missing. Nothing here knows what the prompts are about.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import multiprocess

from hf_rare.errors import BudgetReachedError, ConfigError, GenerationError
from hf_rare.generation.protocol import Completion, EncodedPrompt, Generator
from hf_rare.runs.checkpoint import Checkpoint
from hf_rare.runs.journal import Journal
from hf_rare.runs.keys import hash_job, journal_folder
from hf_rare.runs.progress import RowProgress
from hf_rare.runs.share import MicroBatches, Share, TeamShare
from hf_rare.runs.team import Team, get_team
from hf_rare.settings.base import GENERATION_REVISION
from hf_rare.settings.run import RunConfig

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class _Call:
    """The prompts of one call, and what is known of them.

    Args:
        prompts (`Sequence[EncodedPrompt]`): the prompts.
        seeds (`Sequence[int]`): for each prompt the seed of its draw.
        keys (`list[str]`): for each prompt what its completion depends on, hashed.
        done (`dict[str, Completion]`): completions by key.
        attempts (`dict[str, int]`): how often those that failed were tried, by key.
    """

    prompts: Sequence[EncodedPrompt]
    seeds: Sequence[int]
    keys: list[str]
    done: dict[str, Completion]
    attempts: dict[str, int]

    def __post_init__(self) -> None:
        self._places: dict[str, list[int]] = {}
        for i, key in enumerate(self.keys):
            self._places.setdefault(key, []).append(i)

    @property
    def missing(self) -> list[int]:
        """Prompts without a completion, by index; of equal ones the first."""
        return [places[0] for key, places in self._places.items() if key not in self.done]

    def places(self, keys: Iterable[str]) -> list[int]:
        """Give the indices of all prompts with these keys."""
        return sorted(i for key in set(keys) for i in self._places.get(key, ()))


class Completer:
    """Lets a generator complete prompts, with a journal, and together with the other processes of the job.

    Args:
        generator ([`Generator`]):
            What writes.
        run ([`RunConfig`]):
            Journal, failures, limits, and whether rows are shared out.
        doing (`str`, *optional*, defaults to `"Writing"`):
            What the progress bar says.

    Attributes:
        generated (`int`): completions that were generated and not read from the journal, by all processes of the job.
        tokens (`int`): tokens of these.
        seconds (`float`): time spent generating, without loading.
        checkpoint ([`Checkpoint`], *optional*): what keeps the journal on the Hub, once it is open.
    """

    def __init__(self, generator: Generator, run: RunConfig, doing: str = "Writing") -> None:
        if run.max_hours is not None and generator.spans_processes:
            raise ConfigError("max_hours does not go with tp_plan: processes would stop at different micro-batches.")
        self.generator = generator
        self.run = run
        self._doing = doing
        self.generated = 0
        self.tokens = 0
        self.seconds = 0.0
        self._start = time.monotonic()
        self.checkpoint: Checkpoint | None = None
        self._journal: Journal | None = None
        self._identity = b""

    @property
    def _team(self) -> Team | None:
        return get_team() if self.run.share_rows else None

    def join(self) -> None:
        """Begin to tell the other processes of the job that this one is alive."""
        if team := self.team_of_launcher:
            team.join()

    @property
    def team_of_launcher(self) -> Team | None:
        """The team; none in a worker of `map`, which is told that it cannot be when it is given a batch."""
        return self._team if multiprocess.parent_process() is None else None

    def call(self) -> contextlib.AbstractContextManager[None]:
        """Open what handles one batch: within it `complete` is called once.

        In a job of several processes all come to the batch together, and what fails in one ends it in all.

        Raises:
            RankError: Another process failed, died, ended, or did not come.
        """
        return self._team.call(self.run.rank_timeout) if self._team is not None else contextlib.nullcontext()

    def complete(
        self, prompts: Sequence[EncodedPrompt], seeds: Sequence[int], row_numbers: Sequence[int]
    ) -> list[Completion]:
        """Complete prompts.

        Args:
            prompts (`Sequence[EncodedPrompt]`):
                The prompts.
            seeds (`Sequence[int]`):
                For each prompt the seed of its draw.
            row_numbers (`Sequence[int]`):
                For each prompt the number of the row of the batch that it belongs to, for the progress bar.

        Returns:
            `list[Completion]`: one for each prompt, in order. One that failed says why in `error`.

        Raises:
            JournalError: The journal cannot be read or written.
            GenerationError: A prompt failed and `on_error="raise"`.
            BudgetReachedError: `max_rows`, `max_tokens` or `max_hours` ended the run.
            RankError: Another process of the job failed, died, ended, or has other rows or settings.
        """
        call = self._look_up(prompts, seeds)
        try:
            self._complete(call, row_numbers)
        except BaseException:
            self._save_checkpoint()  # in the last moments of this process
            raise
        if multiprocess.parent_process() is not None:  # a worker of `map` ends without a word
            self._save_checkpoint()
        return [call.done[key] for key in call.keys]

    def _complete(self, call: _Call, row_numbers: Sequence[int]) -> None:
        """Find a completion for every prompt of a call."""
        share = TeamShare(self._team, self.generator.spans_processes) if self._team is not None else Share()
        check = self._team.check if self._team is not None else None
        with RowProgress(row_numbers, self.run.stall_timeout, check, self._doing) as progress:
            call.done |= share.agree(call.keys, call.done)
            progress.finish(call.places(call.done))
            if call.missing:
                if self._journal is not None:
                    self._journal.open()  # a folder that cannot be written to is found out before tokens are spent
                self.generator.load()
                progress.start([prompt.messages[-1]["content"] for prompt in call.prompts])
                with self._say_what_is_safe(progress):
                    self._generate(call, share, progress)
                self.seconds += progress.seconds
            self._take_over(call, share.finish(), progress)
        self._keep_on_this_machine(call)
        if call.missing:
            raise self._budget_reached(share.stopped or "max_rows")

    def find(self, prompts: Sequence[EncodedPrompt], seeds: Sequence[int]) -> list[Completion | None]:
        """Give the completions that the journal has, in order; `None` where it has none."""
        call = self._look_up(prompts, seeds)
        return [call.done.get(key) for key in call.keys]

    def _generate(self, call: _Call, share: Share, progress: RowProgress) -> None:
        missing = call.missing
        allowed = missing if self.run.max_rows is None else missing[: max(0, self.run.max_rows - self.generated)]
        for claimed in share.claim(allowed, partial(self._pack, call)):
            written: dict[int, Completion] = {}
            prompts, seeds = [call.prompts[i] for i in claimed], [call.seeds[i] for i in claimed]
            progress.claim(claimed)
            for completions in self.generator.generate(prompts, seeds, progress):
                done = {claimed[job]: completion for job, completion in completions}
                self._keep(call, done)
                self._count(call, done, progress)
                written |= done
                if self.run.on_error == "raise":
                    self._raise_failures(call, done)
                if (limit := self._limit_reached()) and call.missing:
                    share.stop(limit)
                    break
            share.hand_in(written)
            self._take_over(call, share.receive(), progress)

    def _pack(self, call: _Call, places: list[int]) -> MicroBatches:
        processes = self._team.world_size if self._team is not None else 1
        lengths = [len(call.prompts[i].token_ids) for i in places]
        return [[places[i] for i in batch] for batch in self.generator.pack(lengths, processes)]

    def _keep(self, call: _Call, completions: Mapping[int, Completion]) -> None:
        """Write completions into the journal; where all processes write the same, the first one does."""
        is_written_elsewhere = self.generator.spans_processes and self._team is not None and self._team.rank > 0
        if self._journal is not None and not is_written_elsewhere:
            self._journal.append(
                (call.keys[i], self._entry(call.prompts[i], completion, call.attempts.get(call.keys[i], 0) + 1))
                for i, completion in completions.items()
            )

    def _count(self, call: _Call, completions: Mapping[int, Completion], progress: RowProgress) -> None:
        call.done |= {call.keys[i]: completion for i, completion in completions.items()}
        self.generated += len(completions)
        self.tokens += sum(completion.completion_tokens for completion in completions.values())
        progress.finish(call.places(call.keys[i] for i in completions))

    def _take_over(self, call: _Call, received: Iterable[Mapping[int, Completion]], progress: RowProgress) -> None:
        """Take note of what other processes have generated."""
        for completions in received:
            self._count(call, completions, progress)

    def _keep_on_this_machine(self, call: _Call) -> None:
        """Write what came from other machines into the journal, where they have one of their own."""
        if self._journal is None or self._team is None or not self._team.is_first_of_machine:
            return
        self._journal.refresh()
        places = call.places(key for key in call.done if key not in self._journal)
        if places:
            self._keep(call, {i: call.done[call.keys[i]] for i in places})

    def _raise_failures(self, call: _Call, completions: Mapping[int, Completion]) -> None:
        for i, completion in completions.items():
            if completion.finish_reason == "error":
                end = call.prompts[i].messages[-1]["content"][-200:]
                raise GenerationError(
                    f"A row failed: {completion.error}. Its prompt ends with {end!r}. Pass on_error='status' to go on "
                    "without it."
                )

    def _limit_reached(self) -> str:
        """Name the limit on tokens or hours that is reached."""
        if self.run.max_tokens is not None and self.tokens >= self.run.max_tokens:
            return "max_tokens"
        hours = (time.monotonic() - self._start) / 3600
        return "max_hours" if self.run.max_hours is not None and hours >= self.run.max_hours else ""

    def _budget_reached(self, name: str) -> BudgetReachedError:
        hours = (time.monotonic() - self._start) / 3600
        return BudgetReachedError(
            f"{name}={getattr(self.run, name)} is reached: {self.generated} completions of {self.tokens} tokens in "
            f"all were generated in {hours:.2f} hours. {self._how_to_go_on()}"
        )

    def _how_to_go_on(self) -> str:
        if self._journal is None:
            return "There is no journal, so a new run starts from the beginning."
        return (
            f"{len(self._journal)} completions are safe in {self._journal.folder}; run the same script again to go on."
        )

    @contextlib.contextmanager
    def _say_what_is_safe(self, progress: RowProgress) -> Iterator[None]:
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

    def _save_checkpoint(self) -> None:
        if self.checkpoint is not None and self.checkpoint.flush():
            logger.info("All completions are in %s too.", self.run.checkpoint_repo)

    def _open_journal(self) -> None:
        folder = journal_folder(self.run)
        if self._identity and (folder is None or self._journal is not None):
            if self._journal is not None:
                self._journal.refresh()
            return
        identity = {"generation_revision": GENERATION_REVISION, **self.generator.identity()}
        self._identity = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=16).digest()
        if folder is not None:
            folder = folder / self._identity.hex()[:16]
            if self.run.checkpoint_repo is not None:
                self.checkpoint = Checkpoint(self.run.checkpoint_repo, self.run.checkpoint_minutes, folder)
            self._journal = Journal(folder, identity)
            if self.checkpoint is not None:
                self.checkpoint.watch(self._journal)
        elif self.run.checkpoint_repo is not None:
            raise ConfigError(f"checkpoint_repo={self.run.checkpoint_repo!r} needs a journal, which is turned off.")

    def _look_up(self, prompts: Sequence[EncodedPrompt], seeds: Sequence[int]) -> _Call:
        """Find out what the journal knows: completions, and how often each of those that failed was tried."""
        self._open_journal()
        is_sampling = self.generator.is_sampling
        keys = [
            hash_job(self._identity, prompt, seed if is_sampling else None)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        call = _Call(prompts, seeds, keys, {}, {})
        for key, value in (self._journal.read(set(call.keys)) if self._journal is not None else {}).items():
            call.attempts[key] = value["attempts"]
            completion = Completion(**value["completion"])
            if not self.generator.may_reuse(completion):
                continue
            is_tried_again = self.run.retry_failed and call.attempts[key] < self.run.max_tries
            if completion.finish_reason != "error" or not is_tried_again:
                call.done[key] = completion
        return call

    @staticmethod
    def _entry(prompt: EncodedPrompt, completion: Completion, attempts: int) -> dict[str, Any]:
        return {
            "completion": vars(completion),
            "attempts": attempts,
            "messages": [dict(message) for message in prompt.messages],
        }
