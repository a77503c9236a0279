"""The file that a process appends to: what it has taken stays in its folder, whatever happens to file and power.

A file that somebody has removed or replaced is written again from the open descriptor before the next bytes; one that
somebody has cut or written into is left, and a new one begun. What has been written is asked to be put on the disk a
moment later, for all that came together, so that a power failure costs no more than that moment.
"""

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

ENDING = ".jsonl"
COPY_BYTES = 16 << 20

put_on_disk: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class JournalFile:
    """A new file in a folder, of which this process alone is the writer.

    Args:
        folder (`Path`):
            The folder.
        sync_seconds (`float`, *optional*):
            Seconds after a write within which it is put on the disk; `None` leaves that to the system.

    Attributes:
        path (`Path`): where it lies.
        size (`int`): bytes that were written.
        pid (`int`): the process that it belongs to.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: Path, sync_seconds: float | None = None) -> None:
        self.pid = os.getpid()
        self.size = 0
        self._sync_seconds = sync_seconds
        self._lock = threading.Lock()  # the descriptor is not closed while it is being synced
        self._is_waiting = False
        self._sync_error: OSError | None = None
        self.path, self._descriptor = _create(folder)
        self._sync_folder()

    @property
    def is_open(self) -> bool:
        """Whether this process may write to it."""
        return self._descriptor >= 0 and self.pid == os.getpid()

    def is_whole(self) -> bool:
        """Make sure that all that was written is in the folder, and write it again where the file is gone.

        Returns:
            `bool`: `False` where somebody has cut the file or written into it, so that nothing can be added to it.

        Raises:
            OSError: It is gone and cannot be written again.
        """
        mine = os.fstat(self._descriptor)
        if mine.st_size != self.size:
            return False
        with contextlib.suppress(FileNotFoundError):
            there = self.path.stat()
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        path, copy = _create(self.path.parent)
        offset = 0
        while data := os.pread(self._descriptor, COPY_BYTES, offset):
            offset += os.write(copy, data)
        with self._lock:
            os.close(self._descriptor)
            self.path, self._descriptor = path, copy
        self._sync_folder()
        return True

    def write(self, data: bytes) -> int:
        """Write behind what is there; what an error or an interrupt has torn stays the last line of a closed file.

        Args:
            data (`bytes`): whole lines.

        Returns:
            `int`: the offset that they were written at.

        Raises:
            OSError: They cannot be written, or what was written before could not be put on the disk.
        """
        if self._sync_error is not None:
            self.close()
            raise self._sync_error
        offset, view = self.size, memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
            self.size += len(data)
            self._sync_later()
        except BaseException:
            self.close()
            raise
        return offset

    def close(self) -> None:
        """Close it, with all that was written put on the disk."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and self.pid == os.getpid():
            if self._sync_seconds is not None:
                with contextlib.suppress(OSError):  # what was written stays readable
                    put_on_disk(descriptor)
            os.close(descriptor)

    def _sync_later(self) -> None:
        if self._sync_seconds is not None and not self._is_waiting:
            self._is_waiting = True
            timer = threading.Timer(self._sync_seconds, self._sync)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # there can be no more threads, or the interpreter is ending
                self._sync()

    def _sync(self) -> None:
        self._is_waiting = False  # what is written from now on waits for the next time
        with self._lock:
            if self._descriptor < 0:
                return
            descriptor = os.dup(self._descriptor)
        try:
            put_on_disk(descriptor)
        except OSError as err:
            self._sync_error = err
        finally:
            os.close(descriptor)

    def _sync_folder(self) -> None:
        """Put the name of the file on the disk too, where the system can."""
        if self._sync_seconds is None:
            return
        with contextlib.suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def list_files(folder: Path) -> list[Path]:
    """List the files of a journal, the oldest first; folders and links to nothing are none."""
    return sorted(path for path in folder.glob(f"*{ENDING}") if path.is_file())


def _create(folder: Path) -> tuple[Path, int]:
    """Make a file whose name comes behind all others, also where the clock has been set back."""
    names = [path.name.partition("-")[0] for path in folder.glob(f"*{ENDING}")]
    latest = max((int(name) for name in names if name.isdecimal() and len(name) == 19), default=0)
    now = max(time.time_ns(), latest + 1)
    path = folder / f"{now:019d}-{os.getpid()}-{secrets.token_hex(4)}{ENDING}"
    return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
