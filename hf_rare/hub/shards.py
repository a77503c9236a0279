"""A split of a dataset as parquet shards on the disk, one at a time.

A shard is named by its content, and its limits depend on the rows before it alone: when rows are added at the end, all
shards but the last stay what they are.
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
from datasets.features.features import require_storage_embed
from datasets.table import embed_table_storage

from hf_rare.rows.parquet import write_parquet

BLOCK_ROWS = 1000
WITH_FILES_ROWS = 2000
"""Most rows of a shard whose images or sounds are put into it: how large they are is not known beforehand."""


@dataclass(frozen=True)
class Shard:
    """A parquet file on the disk.

    Args:
        path (`Path`): where it lies, until the next one is made.
        sha256 (`str`): of its content.
    """

    path: Path
    sha256: str


def iterate_shards(dataset: datasets.Dataset, max_bytes: int, embed_external_files: bool = True) -> Iterator[Shard]:
    """Write a dataset as parquet shards, each removed when the next one is asked for.

    Args:
        dataset ([`~datasets.Dataset`]):
            The dataset.
        max_bytes (`int`):
            Most bytes of a shard's rows in memory, give or take 1000 rows.
        embed_external_files (`bool`, *optional*, defaults to `True`):
            Whether images and sounds that are files of this machine are put into the shards.

    Yields:
        [`Shard`]: the shards in order, at least one.
    """
    has_files = embed_external_files and any(map(require_storage_embed, dataset.features.values()))
    for start, stop, _ in _cut(dataset, max_bytes, WITH_FILES_ROWS if has_files else sys.maxsize):
        rows = dataset.select(range(start, stop)).with_format("arrow")
        if has_files:
            rows = rows.map(embed_table_storage, batched=True, batch_size=BLOCK_ROWS, keep_in_memory=True)
        with tempfile.TemporaryDirectory(prefix="hf-rare-") as folder:
            path = Path(folder) / "shard.parquet"
            write_parquet(rows, path)
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            yield Shard(path, sha256)


def count_bytes(dataset: datasets.Dataset) -> int:
    """Count the bytes of a dataset's rows in memory."""
    return sum(num_bytes for _, _, num_bytes in _cut(dataset, sys.maxsize, sys.maxsize))


def _cut(dataset: datasets.Dataset, max_bytes: int, max_rows: int) -> Iterator[tuple[int, int, int]]:
    """Return the first row, the end and the bytes of each shard."""
    tables = dataset.with_format("arrow")
    start = num_bytes = 0
    for block in range(0, len(dataset), BLOCK_ROWS):
        block_bytes = tables[block : block + BLOCK_ROWS].nbytes
        if block > start and (num_bytes + block_bytes > max_bytes or block - start >= max_rows):
            yield start, block, num_bytes
            start, num_bytes = block, 0
        num_bytes += block_bytes
    yield start, len(dataset), num_bytes
