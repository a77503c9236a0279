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

logger = logging.getLogger(__name__)


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
        self._lock = threading.Lock()
        self._is_over = threading.Event()
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

    def flush(self) -> bool:
        """Commit what has been written since the last time; tell whether all of it is on the Hub."""
        if self._journal is None or os.getpid() != self._pid:
            return False
        with self._lock:
            self._pending = [path for path in self._pending + self._journal.rotate() if path.is_file()]
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

    def close(self) -> None:
        """Commit for the last time."""
        self._is_over.set()
        self.flush()

    def _run(self) -> None:
        while not self._is_over.wait(self._seconds):
            try:
                self.flush()
            except Exception:  # the run goes on, and the next checkpoint is tried
                logger.exception("A checkpoint failed and is tried again later.")

    @property
    def _place(self) -> str:
        return f"journal/{self._folder.name}"

    def _restore(self) -> None:
        """Bring the files that are on the Hub and not here, and remember those that are here and not on the Hub."""
        self._folder.mkdir(parents=True, exist_ok=True)
        here = {path.name for path in self._folder.glob("*.jsonl")}
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
