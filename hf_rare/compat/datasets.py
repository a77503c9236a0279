"""Of `datasets`: what a batch of `Dataset.map` holds before it is decoded (seen in 5.2)."""

from typing import Any

from datasets.formatting.formatting import LazyDict


def read_undecoded(batch: Any) -> Any:
    """Give a batch as the table that lies on the disk, where it has one, in which pictures may be broken."""
    return batch.pa_table if isinstance(batch, LazyDict) else batch
