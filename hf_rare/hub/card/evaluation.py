"""What a dataset card says of the students that its rows have trained: the tables of an evaluation, as Markdown."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_rare.errors import ConfigError
from hf_rare.evaluation.result import Evaluation
from hf_rare.evaluation.tables import make_tables
from hf_rare.hub.card.markdown import code, inline, table

MOST_ROWS = 60
NAMED = ("condition", "student", "place")
"""Heads of columns that hold names."""


def describe_evaluation(evaluation: Evaluation | Mapping[str, Any] | str | Path | None) -> str:
    """Return the tables of an evaluation; empty where there is none.

    Args:
        evaluation ([`Evaluation`], `dict`, `str` or `Path`, *optional*):
            The evaluation, what its `to_json` gives, or a file with that.

    Raises:
        ConfigError: This is no evaluation.
    """
    if evaluation is None:
        return ""
    parts = []
    for title, heads, rows in make_tables(_read(evaluation)):
        cells = [
            [code(c) if head in NAMED else c for head, c in zip(heads, row, strict=True)] for row in rows[:MOST_ROWS]
        ]
        parts += [inline(title), table(heads, cells)]
    return "\n\n".join(parts)


def _read(evaluation: Any) -> Mapping[str, Any]:
    if isinstance(evaluation, Evaluation):
        evaluation = json.loads(evaluation.to_json())
    elif isinstance(evaluation, str | Path):
        try:
            evaluation = json.loads(Path(evaluation).read_text(encoding="utf-8"))
        except (OSError, ValueError) as err:
            raise ConfigError(f"The evaluation {evaluation} cannot be read: {err}") from err
    if not isinstance(evaluation, Mapping):
        raise ConfigError(
            f"evaluation is a {type(evaluation).__name__}; expected an Evaluation, what its to_json() gives, or a "
            "file with that."
        )
    return evaluation
