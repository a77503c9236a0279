"""Which traces of a row may be chosen or counted, by what is said of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hf_rare.rows.columns import STATUS, VERDICT, per_trace

WRONG = "wrong"
"""The verdict of a trace that is never a candidate."""

STATUS_IS = "status"
"""How the reason of a trace begins whose status is another one."""


@dataclass(frozen=True)
class Candidates:
    """Says which traces are candidates: those with one of some statuses that are not known to be wrong.

    Args:
        statuses (`tuple[str, ...]`, *optional*): the statuses; `None` for all.
    """

    statuses: tuple[str, ...] | None = None

    def columns_to_read(self, output: str, existing: Collection[str]) -> list[str]:
        """List the columns that say it; that of the verdicts only where there is one."""
        needed = [output + STATUS] if self.statuses is not None else []
        return needed + [name for name in [output + VERDICT] if name in existing]

    def why_not(self, row: Mapping[str, Any], count: int) -> list[str]:
        """Say of each trace of a row why it is no candidate.

        Args:
            row (`Mapping[str, Any]`): the lists of statuses and of verdicts, by the ending of their column.
            count (`int`): how many traces the row has.

        Returns:
            `list[str]`: its status or its verdict in words; empty for a candidate.
        """
        own, said = (per_trace(row.get(ending), count) for ending in (STATUS, VERDICT))
        return [self._why_not(status, verdict) for status, verdict in zip(own, said, strict=True)]

    def _why_not(self, status: Any, verdict: Any) -> str:
        if self.statuses is not None and status not in self.statuses:
            return f"{STATUS_IS} {status!r}"
        return f"verdict {verdict!r}" if verdict == WRONG else ""


def is_status(reason: str) -> bool:
    """Tell whether a trace is no candidate because of its status, by the reason that [`Candidates`] gives."""
    return reason.startswith(STATUS_IS)
