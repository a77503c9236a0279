"""The journal on the Hub while a run goes on: a fresh machine starts where a lost one was.

A background thread commits the journal files of this process to a private dataset repository every few minutes. After
each commit the process begins a new file, so that no entry is uploaded twice. A commit that fails is tried again with
the next one and never ends the run.
"""

import atexit
import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import EntryNotFoundError

from hf_rare.errors import HubError
from hf_rare.hub_errors import explain
from hf_rare.runs.journal import Journal
from hf_rare.runs.journal_file import list_files

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 60.0
"""How long a run that ends waits for the Hub. What is not there by then is on this machine, and safe."""

INTERRUPTED_SECONDS = 5.0
"""How long it waits where somebody has pressed Ctrl-C."""

LAST_SECONDS = 1.0


class Checkpoint:
    """Keeps a journal on the Hub.

    Args:
        repo_id (`str`):
            The dataset repository; made, and private, when it does not exist.
        minutes (`float`):
            Minutes between two commits.
        folder (`Path`):
            The journal's folder.

    Raises:
        HubError: The repository cannot be made or read.
    """

    def __init__(self, repo_id: str, minutes: float, folder: Path) -> None:
        self._api = huggingface_hub.HfApi(library_name="hf_rare")
        self._folder = folder
        self._seconds = 60 * minutes
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._is_all_there = self._is_over = self._is_silent = False
        self._pid = os.getpid()
        self._journal: Journal | None = None
        self._pending: list[Path] = []
        self._repo_id = repo_id
        with explain(repo_id, lambda: "No checkpoint was read or written; nothing was generated."):
            repo = self._api.create_repo(repo_id, repo_type="dataset", private=True, exist_ok=True)
            self._repo_id = repo.repo_id
            if not self._api.repo_info(self._repo_id, repo_type="dataset").private:
                raise HubError(
                    f"{self._repo_id} is public, and a journal holds every prompt. Make it private in its settings, "
                    "or pass the name of another repository."
                )
            self._restore()

    def watch(self, journal: Journal) -> None:
        """Begin to commit what is written to a journal."""
        self._journal = journal
        threading.Thread(target=self._run, name="hf_rare checkpoint", daemon=True).start()
        atexit.register(self.close)

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Commit what has been written since the last time.

        Args:
            seconds (`float`, *optional*, defaults to 60): how long to wait for the Hub.

        Returns:
            `bool`: whether all of it is on the Hub. What is not, is still in the journal on this machine.
        """
        if self._journal is None or self._is_over or os.getpid() != self._pid:
            return False
        with self._changed:
            self._asked += 1
            wanted = self._asked
            self._changed.notify_all()
            self._is_silent = not self._changed.wait_for(lambda: self._done >= wanted, seconds)
            if self._is_silent:
                logger.warning(
                    "%s has not answered within %g seconds. What the journal on this machine has is safe there; the "
                    "next run on it commits it.",
                    self._repo_id,
                    seconds,
                )
                return False
            return self._is_all_there

    def close(self) -> None:
        """Commit for the last time. A Hub that has not answered before is not waited for again."""
        self.flush(LAST_SECONDS if self._is_silent else FLUSH_SECONDS)
        self._is_over = True

    def _run(self) -> None:
        """Commit every few minutes, and where that is asked for. Only this thread talks with the Hub."""
        while not self._is_over:
            with self._changed:
                self._changed.wait_for(lambda: self._asked > self._done, self._seconds)
                asked = self._asked
            is_all_there = False
            try:
                is_all_there = self._commit()
            except Exception:  # the run goes on, and the next checkpoint is tried
                logger.exception("A checkpoint failed and is tried again later.")
            with self._changed:
                self._done, self._is_all_there = asked, is_all_there
                self._changed.notify_all()

    def _commit(self) -> bool:
        """Commit what has been written since the last time; tell whether all of it is on the Hub."""
        if self._journal is not None:
            self._pending += self._journal.rotate()
        self._pending = [path for path in self._pending if path.is_file()]
        if not self._pending:
            return True
        operations = [CommitOperationAdd(f"{self._place}/{path.name}", str(path)) for path in self._pending]
        try:
            with explain(self._repo_id, lambda: "What the journal on this machine has is safe there."):
                self._api.create_commit(
                    self._repo_id,
                    operations,
                    commit_message=f"Checkpoint of {len(operations)} journal files",
                    repo_type="dataset",
                )
        except HubError as err:
            logger.warning("A checkpoint failed and is tried again later: %s", err)
            return False
        self._pending = []
        return True

    @property
    def _place(self) -> str:
        return f"journal/{self._folder.name}"

    def _restore(self) -> None:
        """Bring the files that are on the Hub and not here, and remember those that are here and not on the Hub."""
        self._folder.mkdir(parents=True, exist_ok=True)
        here = {path.name for path in list_files(self._folder)}
        there = set(self._list())
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".") as temporary:
            for name in sorted(there - here):
                path = self._api.hf_hub_download(
                    self._repo_id, f"{self._place}/{name}", repo_type="dataset", local_dir=temporary
                )
                Path(path).replace(self._folder / name)
        if there - here:
            logger.warning("%d journal files of an earlier run came from %s.", len(there - here), self._repo_id)
        # what was left here, and not what another process is writing now
        left = [self._folder / name for name in sorted(here - there)]
        self._pending = [path for path in left if time.time() - path.stat().st_mtime > self._seconds]

    def _list(self) -> Iterator[str]:
        with contextlib.suppress(EntryNotFoundError):
            for item in self._api.list_repo_tree(self._repo_id, self._place, repo_type="dataset"):
                yield Path(item.path).name
