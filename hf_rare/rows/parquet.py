"""Datasets to parquet files, also where the disk is full: then there is an error, and the process goes on.

Arrow ends the whole process where a write fails in the middle of a column (seen with pyarrow 24). So it is not told:
what fails is kept back until it is done.
"""

from pathlib import Path
from typing import Any, BinaryIO, cast

import datasets


class _Quiet:
    """A binary file whose first error is kept, and after which nothing is written any more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = 0
        self.error: OSError | None = None

    @property
    def closed(self) -> bool:
        return self._file.closed

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._place

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._place += size
        self._try(self._file.write, data)
        return size

    def flush(self) -> None:
        self._try(self._file.flush)

    def close(self) -> None:
        self._try(self._file.close)

    def _try(self, function: Any, *args: Any) -> None:
        if self.error is None:
            try:
                function(*args)
            except OSError as err:
                self.error = err


def write_parquet(dataset: datasets.Dataset, path: Path) -> None:
    """Write a dataset to a parquet file.

    Args:
        dataset ([`~datasets.Dataset`]): the dataset.
        path (`Path`): the file, in a folder that exists.

    Raises:
        OSError: The file cannot be written, for example since the disk is full.
    """
    file = path.open("wb")  # no path for fsspec, to which some names mean something else
    quiet = _Quiet(file)
    try:
        dataset.to_parquet(cast(BinaryIO, quiet))
        quiet.close()
    finally:
        if quiet.error is not None:
            raise quiet.error
        file.close()
