"""Packed files: their bytes are unpacked before they are read, by the ending of their name."""

import bz2
import gzip
import lzma
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from hf_rare.pipeline.readers.table import RowError

OPENERS: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: pa.input_stream(str(path), compression="zstd"),
}
"""What reads the bytes that a packed file stands for."""


def unpack(source: Path, target: Path) -> None:
    """Write what a packed file holds into another file.

    Raises:
        RowError: It is damaged, or is packed in another way than its name says.
    """
    try:
        with OPENERS[source.suffix.lower()](source) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as err:
        raise RowError(f"it is not packed as {source.suffix} says, or not whole: {err}.") from err
