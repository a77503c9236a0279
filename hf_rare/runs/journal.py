"""The journal: an append-only record of what was generated, so that a crash costs no more than what was in flight.

A journal is a folder of JSONL files. Each process writes one file of its own ([`JournalFile`]), with one `write` for
all that has become ready together; it reads the files of all processes, also while they write. A line is a key, a
checksum and a value; a line that a crash has torn, or that a disk has spoilt, is skipped and so generated again. Keys
and values are the caller's: nothing here knows what they mean.
"""

import contextlib
import json
import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_rare.errors import JournalError
from hf_rare.runs.journal_file import JournalFile, list_files

logger = logging.getLogger(__name__)

Value = dict[str, Any]

KEY_BYTES = 16
CHUNK_BYTES = 16 << 20
_START, _MIDDLE, _BEFORE_VALUE = b'{"key":"', b'","crc32":"', b'","value":'
_KEY = slice(len(_START), len(_START) + 2 * KEY_BYTES)
_CRC = slice(_KEY.stop + len(_MIDDLE), _KEY.stop + len(_MIDDLE) + 8)
_VALUE_OFFSET = _CRC.stop + len(_BEFORE_VALUE)
_FILE_SHIFT = 48  # a place in the journal is a file number and an offset of up to 256 TB in one integer
_OFFSET_MASK = (1 << _FILE_SHIFT) - 1


@dataclass
class _File:
    """A file of the journal and how far it has been read."""

    path: Path
    read: int = 0


class Journal:
    """A folder of journal files, opened for reading at once and for writing with the first entry.

    Only places are kept in memory, about 150 bytes an entry; values are read from disk when they are asked for.

    Args:
        folder (`Path`):
            The folder; made when it does not exist.
        header (`Mapping[str, Any]`):
            What the entries have in common, as JSON values: the first line of the file that is written.
        rank (`Callable`, *optional*):
            Ranks the values of a key that stand in files of several processes: the highest counts, and of equal ones
            that of the latest file. Without it, that of the latest file always does.
        sync_seconds (`float`, *optional*):
            Seconds within which an entry is put on the disk; `None` leaves that to the system.

    Raises:
        JournalError: The folder cannot be made or read.
    """

    def __init__(
        self,
        folder: Path,
        header: Mapping[str, Any],
        rank: Callable[[Value], Any] | None = None,
        sync_seconds: float | None = None,
    ) -> None:
        self.folder = folder = folder.absolute()  # the working directory may become another one
        self._rank = rank
        self._sync_seconds = sync_seconds
        self._header = dict(header)
        self._files: list[_File] = []
        self._numbers: dict[str, int] = {}
        self._places: dict[bytes, int] = {}
        self._own = -1
        self._file: JournalFile | None = None
        self._lock = threading.RLock()  # `rotate` comes from another thread
        self._written: list[Path] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.refresh()
        except OSError as err:
            raise JournalError(f"The journal {folder} cannot be opened: {err}. {_WAY_OUT}") from err

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def keys(self) -> list[str]:
        """List the keys, in the order in which their latest entries were written to each file."""
        return [key.hex() for key, _ in sorted(self._places.items(), key=lambda item: item[1])]

    def digest(self) -> str:
        """Digest the keys, whatever their order: equal for two journals that have the same."""
        total = len(self) << 8 * KEY_BYTES
        for key in self._places:
            total ^= int.from_bytes(key, "little")
        return f"{total:x}"

    def refresh(self) -> None:
        """Read on in the files of other processes, to the last line that is complete."""
        for path in list_files(self.folder):
            number = self._numbers.setdefault(path.name, len(self._files))
            if number == len(self._files):
                self._files.append(_File(path))
            if number != self._own:
                try:
                    self._read_on(number)
                except FileNotFoundError:  # since it was listed
                    continue
                except OSError as err:
                    raise JournalError(f"The journal {path} cannot be read: {err}. {_WAY_OUT}") from err

    def open(self) -> None:
        """Make the file of this process, so that a folder that cannot be written to is found out now.

        Raises:
            JournalError: The file cannot be made.
        """
        with self._lock:
            try:
                self._open()
            except OSError as err:
                raise JournalError(f"A file of the journal {self.folder} cannot be made: {err}. {_WAY_OUT}") from err

    def _open(self) -> JournalFile:
        """Return the file of this process, with all that was written in its place."""
        file = self._file
        if file is not None and file.is_open:
            if self._is_whole(file):
                return file
            logger.warning("%s has been written into by somebody else; a new file is begun.", file.path)
            file.close()
        self._file = file = JournalFile(self.folder, self._sync_seconds)
        self._own = self._numbers[file.path.name] = len(self._files)
        self._files.append(_File(file.path))
        self._written.append(file.path)
        file.write(json.dumps({"journal": 1, "created": time.time(), **self._header}).encode() + b"\n")
        return file

    def _is_whole(self, file: JournalFile) -> bool:
        """See [`JournalFile.is_whole`]; where the file is written again, it has another name."""
        before = file.path
        is_whole = file.is_whole()
        if file.path != before:
            logger.warning("%s is gone, and was written again to %s.", before, file.path.name)
            self._numbers[file.path.name] = self._own
            self._files[self._own].path = file.path
            self._written[-1] = file.path
        return is_whole

    def append(self, entries: Iterable[tuple[str, Value]]) -> None:
        """Write entries with one `write`; they are safe once this returns.

        Args:
            entries (`Iterable[tuple[str, dict]]`):
                Key (32 hexadecimal digits) and value of each. A later entry of a key stands in for an earlier one.

        Raises:
            JournalError: They cannot be written. What was written before stays readable.
        """
        lines, keys = [], []
        for key, value in entries:
            data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
            line = b"".join((_START, key.encode(), _MIDDLE, b"%08x" % zlib.crc32(data), _BEFORE_VALUE, data, b"}\n"))
            lines.append(line)
            keys.append(bytes.fromhex(key))
        with self._lock:
            try:
                file = self._open()
                offset = file.write(b"".join(lines))
            except OSError as err:
                path = self._file.path if self._file is not None else self.folder
                raise JournalError(f"The journal {path} cannot be written: {err}. {_WAY_OUT}") from err
            self._files[self._own].read = file.size
            for key_bytes, line in zip(keys, lines, strict=True):
                self._note_place(key_bytes, self._own, offset, line)
                offset += len(line)

    def rotate(self) -> list[Path]:
        """Close the file of this process, and give its files that were finished since the last time.

        May be called from another thread than `append`. The next entry makes a new file.
        """
        with self._lock:
            self.close()
            finished, self._written = self._written, []
        return finished

    def read(self, keys: Iterable[str]) -> dict[str, Value]:
        """Read the values of keys.

        Args:
            keys (`Iterable[str]`): the keys.

        Returns:
            `dict[str, dict]`: the value of each key that the journal has, whole and unspoilt.

        Raises:
            JournalError: A file cannot be read.
        """
        with self._lock:
            if self._file is not None and self._file.is_open:
                with contextlib.suppress(OSError):
                    self._is_whole(self._file)
        known = {key: self._places[bytes.fromhex(key)] for key in keys if key in self}
        found: dict[str, Value] = {}
        for key, line in self._read_lines(known):
            value = _parse(line)
            if value is None or line[_KEY] != key.encode():
                if line:
                    self._report(self._files[known[key] >> _FILE_SHIFT].path, known[key] & _OFFSET_MASK)
                del self._places[bytes.fromhex(key)]
            else:
                found[key] = value
        return found

    def close(self) -> None:
        """Close the file of this process. The next entry makes a new one."""
        file, self._file = self._file, None
        if file is None:
            return
        if file.is_open:
            try:
                self._is_whole(file)
            except OSError as err:
                logger.warning("%s is gone, and cannot be written again: %s.", file.path, err)
        file.close()

    def _read_on(self, number: int) -> None:
        file = self._files[number]
        for offset, line in iterate_lines(file.path, file.read):
            file.read = offset + len(line)
            if line[: _KEY.start] == _START and line[_KEY.stop : _CRC.start] == _MIDDLE and line.endswith(b"}\n"):
                try:
                    key = bytes.fromhex(line[_KEY].decode())
                except ValueError:
                    self._report(file.path, offset)
                    continue
                self._note_place(key, number, offset, line)
                continue
            if not line.startswith(b'{"journal":'):
                self._report(file.path, offset)

    def _note_place(self, key: bytes, number: int, offset: int, line: bytes) -> None:
        """Note where the entry of a key is, unless one that counts more is in another file."""
        before = self._places.get(key)
        if before is None or before >> _FILE_SHIFT == number or self._counts_more(line, number, before):
            self._places[key] = number << _FILE_SHIFT | offset

    def _counts_more(self, line: bytes, number: int, place: int) -> bool:
        """Tell whether a line of a file counts more than the one at a place in another file."""
        if self._rank is None:
            return True
        value = _parse(line)
        earlier = [_parse(other) for _, other in self._read_lines({"": place})]
        if value is None or not earlier or earlier[0] is None:
            return value is not None
        files = [self._files[there].path.name for there in (number, place >> _FILE_SHIFT)]
        return bool((self._rank(value), files[0]) >= (self._rank(earlier[0]), files[1]))

    def _read_lines(self, places: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Read the lines at places, file by file and in the order in which they stand there."""
        by_file: dict[int, list[tuple[int, str]]] = {}
        for key, place in places.items():
            by_file.setdefault(place >> _FILE_SHIFT, []).append((place & _OFFSET_MASK, key))
        for number, lines in by_file.items():
            path = self._files[number].path
            try:
                with path.open("rb") as file:
                    for offset, key in sorted(lines):
                        file.seek(offset)
                        yield key, file.readline()
            except FileNotFoundError:
                logger.warning("%s is gone; what it held is generated again.", path)
                yield from ((key, b"") for _, key in lines)
            except OSError as err:
                raise JournalError(f"The journal {path} cannot be read: {err}. {_WAY_OUT}") from err

    def _report(self, path: Path, offset: int) -> None:
        logger.warning("%s: the line at byte %d is spoilt and is generated again.", path, offset)


_WAY_OUT = "Make room or pass another journal_dir=..., or journal_dir=None to go without a journal."


def iterate_lines(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Iterate over the complete lines of a journal file; what a crash has torn off at its end is left out.

    Args:
        path (`Path`): the file.
        start (`int`, *optional*, defaults to 0): offset of the first line, in bytes.

    Yields:
        `tuple[int, bytes]`: the offset of a line, and the line with its newline.
    """
    with path.open("rb", buffering=CHUNK_BYTES) as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield start, line
            start += len(line)


def _parse(line: bytes) -> Value | None:
    """Return the value of a line, or `None` when it is not what was written."""
    data = line[_VALUE_OFFSET:-2]
    if b"%08x" % zlib.crc32(data) != line[_CRC]:
        return None
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
