"""Distillers with a journal, what they make of rows, and what lies in the journal then."""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset

from hf_rare import ReasonDistiller

SETTINGS = {"max_new_tokens": 12, "max_batch_tokens": 1200}


def make(tiny: str, journal_dir: Path | str | None, **settings: Any) -> ReasonDistiller:
    """Make a distiller of short texts, in small micro-batches."""
    return ReasonDistiller.from_pretrained(tiny, journal_dir=journal_dir, **{**SETTINGS, **settings})


def distill(distill_fn: ReasonDistiller, rows: Dataset, **kwargs: Any) -> list[dict]:
    """Distill rows by `map`, without the cache of `datasets`."""
    return rows.map(distill_fn, batched=True, keep_in_memory=True, load_from_cache_file=False, **kwargs).to_list()


def entries(journal_dir: Path) -> list[dict]:
    """Read what is safe: the last line of a file may be in the midst of being written."""
    texts = [path.read_text() for path in sorted(journal_dir.rglob("*.jsonl"))]
    lines = [line for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in lines if line.startswith('{"key"')]
