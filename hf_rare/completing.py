"""Completions for prompts: from the journal where it has them, else from the generator, and into the journal at once.

Whatever lets a model write goes through here, so that nothing that was generated is ever lost, and a run that is
started again generates only what is missing. Nothing here knows what the prompts are about.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from hf_rare.config import GENERATION_REVISION, RunConfig
from hf_rare.errors import BudgetReachedError, GenerationError
from hf_rare.generation.protocol import Completion, EncodedPrompt, Generator
from hf_rare.journal import Journal
from hf_rare.progress import RowProgress

logger = logging.getLogger(__name__)

JOURNAL_VARIABLE = "HF_RARE_JOURNAL"
OFF = ("", "0", "off", "none")


def journal_folder(run: RunConfig) -> Path | None:
    """Give the folder of all journals: `journal_dir`, else `HF_RARE_JOURNAL`, else one in the Hugging Face cache."""
    if run.journal_dir != "auto":
        return Path(run.journal_dir).expanduser() if run.journal_dir is not None else None
    moved = os.environ.get(JOURNAL_VARIABLE)
    if moved is not None:
        return Path(moved).expanduser() if moved.lower() not in OFF else None
    return Path(constants.HF_HOME) / "hf_rare" / "journal"


class Completer:
    """Lets a generator complete prompts, with a journal.

    Args:
        generator ([`Generator`]):
            What writes.
        run ([`RunConfig`]):
            Journal, failures, and limits.

    Attributes:
        generated (`int`): completions that were generated and not read from the journal.
        tokens (`int`): tokens that were generated.
        seconds (`float`): time spent generating, without loading.
    """

    def __init__(self, generator: Generator, run: RunConfig) -> None:
        self.generator = generator
        self.run = run
        self.generated = 0
        self.tokens = 0
        self.seconds = 0.0
        self._start = time.monotonic()
        self._journal: Journal | None = None
        self._identity = b""

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
        """
        if not prompts:
            return []
        self._open_journal()
        keys = [self._key(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        done, attempts = self._look_up(keys)
        first_places = {key: i for i, key in reversed(list(enumerate(keys)))}  # equal prompts are written once
        missing = sorted(i for key, i in first_places.items() if key not in done)
        with RowProgress(row_numbers, self.run.stall_timeout) as progress:
            progress.finish([i for i, key in enumerate(keys) if key in done])
            if missing:
                if self._journal is not None:
                    self._journal.open()  # a folder that cannot be written to is found out before tokens are spent
                self.generator.load()
                progress.start([prompts[i].messages[-1]["content"] for i in missing])
                with self._say_what_is_safe(progress):
                    self._generate(missing, keys, prompts, seeds, done, attempts, progress)
                self.seconds += progress.seconds
        return [done[key] for key in keys]

    def _generate(
        self,
        missing: list[int],
        keys: list[str],
        prompts: Sequence[EncodedPrompt],
        seeds: Sequence[int],
        done: dict[str, Completion],
        attempts: dict[str, int],
        progress: RowProgress,
    ) -> None:
        allowed = missing if self.run.max_rows is None else missing[: max(0, self.run.max_rows - self.generated)]
        if not allowed:
            raise self._budget_reached("max_rows")
        written = self.generator.generate([prompts[i] for i in allowed], [seeds[i] for i in allowed], progress)
        for completions in written:
            entries = []
            for job, completion in completions:
                key = keys[allowed[job]]
                done[key] = completion
                entries.append((key, self._entry(prompts[allowed[job]], completion, attempts.get(key, 0) + 1)))
            if self._journal is not None:
                self._journal.append(entries)
            self.generated += len(completions)
            self.tokens += sum(completion.completion_tokens for _, completion in completions)
            finished = {keys[allowed[job]] for job, _ in completions}
            progress.finish([i for i, key in enumerate(keys) if key in finished])
            if self.run.on_error == "raise":
                self._raise_failures([(prompts[allowed[job]], completion) for job, completion in completions])
            if any(keys[i] not in done for i in missing):
                self._check_budget()
        if len(allowed) < len(missing):
            raise self._budget_reached("max_rows")

    def _raise_failures(self, completions: list[tuple[EncodedPrompt, Completion]]) -> None:
        for prompt, completion in completions:
            if completion.finish_reason == "error":
                end = prompt.messages[-1]["content"][-200:]
                raise GenerationError(
                    f"A row failed: {completion.error}. Its prompt ends with {end!r}. Pass on_error='status' to go on "
                    "without it."
                )

    def _check_budget(self) -> None:
        if self.run.max_tokens is not None and self.tokens >= self.run.max_tokens:
            raise self._budget_reached("max_tokens")
        if self.run.max_hours is not None and time.monotonic() - self._start >= 3600 * self.run.max_hours:
            raise self._budget_reached("max_hours")

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

    def _open_journal(self) -> None:
        folder = journal_folder(self.run)
        if self._identity and (folder is None or self._journal is not None):
            if self._journal is not None:
                self._journal.refresh()
            return
        identity = {"generation_revision": GENERATION_REVISION, **self.generator.identity()}
        self._identity = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=16).digest()
        if folder is not None:
            self._journal = Journal(folder / self._identity.hex()[:16], identity)

    def _key(self, prompt: EncodedPrompt, seed: int) -> str:
        """Hash all that a completion depends on: the generator, the prompt, and the seed where it samples."""
        content = [prompt.text, *(text for message in prompt.messages for text in message.values())]
        content.append(str(seed) if self.generator.is_sampling else "")
        hasher = hashlib.blake2b(self._identity, digest_size=16)
        for text in content:
            data = text.encode()
            hasher.update(len(data).to_bytes(8, "little") + data)
        return hasher.hexdigest()

    def _look_up(self, keys: list[str]) -> tuple[dict[str, Completion], dict[str, int]]:
        """Give the completions that the journal has, and how often each of those that failed was tried."""
        done: dict[str, Completion] = {}
        attempts: dict[str, int] = {}
        for key, value in (self._journal.read(set(keys)) if self._journal is not None else {}).items():
            attempts[key] = value["attempts"]
            completion = Completion(**value["completion"])
            is_tried_again = self.run.retry_failed and attempts[key] < self.run.max_attempts
            if completion.finish_reason != "error" or not is_tried_again:
                done[key] = completion
        return done, attempts

    @staticmethod
    def _entry(prompt: EncodedPrompt, completion: Completion, attempts: int) -> dict[str, Any]:
        return {
            "completion": dataclasses.asdict(completion),
            "attempts": attempts,
            "messages": [dict(message) for message in prompt.messages],
        }
