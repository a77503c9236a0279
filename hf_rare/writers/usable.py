"""Whether a run has left anything that can be used, and what to change where it has not."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import datasets

from hf_rare.errors import NothingUsableError
from hf_rare.rows.columns import ERROR, STATUS
from hf_rare.writers.base import ColumnWriter
from hf_rare.writers.summary import Summary

ADVICE: Mapping[str, str] = {
    "truncated": "They reached max_new_tokens (`--max-new-tokens`): raise it.",
    "empty": "The model writes no reasoning: try another template or another model.",
    "unparsed": "A thought was never closed, or a required answer is missing: raise max_new_tokens "
    "(`--max-new-tokens`), or leave require_answer out.",
    "invalid_input": "Values of the input cannot be used: mend them, or name other columns.",
    "prompt_too_long": "The prompts leave no room: lower max_new_tokens (`--max-new-tokens`), raise context_length "
    "(`--context-length`), or take a model with a longer context.",
    "failed": "Generating them failed: mend what the error says, and run it again.",
}
"""What to do, by the status that most texts have."""


def check_usable(writer: ColumnWriter[Any, Any], written: datasets.Dataset, place: object) -> None:
    """Raise where no row of a run can be used; a run over no rows is none of these.

    Args:
        writer ([`ColumnWriter`]):
            What has written the rows.
        written ([`~datasets.Dataset`]):
            The rows.
        place:
            Where they are, for the message.

    Raises:
        NothingUsableError: No text has the status `ok`.
    """
    prefix = writer.output_prefix
    counts = count_statuses(written, prefix) or writer.summary.statuses
    if not counts.total() or counts["ok"]:
        return
    reasons = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    first = _find_error(written, prefix, counts.most_common(1)[0][0])
    raise NothingUsableError(
        f"Nothing that was written can be used; by status: {reasons}. {advise(counts)}"
        f"{f' The first error: {first}.' if first else ''} All rows are in {place}; "
        f"{prefix + ERROR!r} says of each why."
    )


def count_statuses(rows: datasets.Dataset, prefix: str) -> Counter[str]:
    """Count the statuses of rows; nothing where they have none."""
    if prefix + STATUS not in rows.column_names:
        return Counter()
    return Summary.of_dataset(rows.select_columns([prefix + STATUS]), prefix).statuses


def advise(counts: Counter[str]) -> str:
    """Say what to change about the status that most texts have."""
    return next((ADVICE[status] for status, _ in counts.most_common(1) if status in ADVICE), "")


def _find_error(written: datasets.Dataset, prefix: str, status: str) -> str:
    """Find why the first text with a status has it."""
    if not {prefix + STATUS, prefix + ERROR} <= set(written.column_names):
        return ""
    for row in written.select_columns([prefix + STATUS, prefix + ERROR]).with_format(None):
        statuses, errors = (value if isinstance(value, list) else [value] for value in row.values())
        for one, error in zip(statuses, errors, strict=False):
            if one == status and error:
                return str(error)
    return ""
