"""Where the hard negatives of a row stand: in one column that holds lists, or in several columns of texts.

A setting that names one column is a text, one that names several is a tuple, and where there are none it is `None`.
Document 1 is the first text that is found in them, in the order of the columns; cells that are null or empty are no
documents.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def name_columns(setting: str | Sequence[str] | None) -> tuple[str, ...]:
    """Name the columns of a setting that may name one, several or none."""
    return (setting,) if isinstance(setting, str) else tuple(setting or ())


def gather(values: Mapping[str, Any], setting: str | Sequence[str] | None) -> Any:
    """Return the hard negatives of a row.

    Args:
        values (`Mapping[str, Any]`):
            Value by column name.
        setting (`str` or `Sequence[str]`, *optional*):
            The column, or the columns.

    Returns:
        What the one column holds, as it is; of several columns a list of all that is in them.
    """
    if isinstance(setting, str):
        return values.get(setting)
    return [item for name in setting or () for item in list_cell(values.get(name))]


def list_cell(value: Any) -> list[Any]:
    """List what a cell of one of several columns holds, without nulls and empty texts."""
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if item is not None and not (isinstance(item, str) and not item.strip())]
