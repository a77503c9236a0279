"""Rows as a page carries them: JSON, compressed, in letters that no markup is made of."""

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

from hf_rare.views.report.rows import Embedded

ROWS_AT_ONCE = 500
"""Rows that a page unpacks at a time, so that it can be used in between."""


def pack(value: Any) -> str:
    """Pack a JSON value: base64 of a zlib stream, which browsers unpack by themselves."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def pack_rows(rows: Sequence[Embedded]) -> list[str]:
    """Pack rows, some at a time. A document of several rows is packed once: rows hold its number in the order of all.

    Args:
        rows (`Sequence[dict]`): what [`embed_row`] gives.

    Returns:
        `list[str]`: each a packed object of `rows`, and the `texts` of documents that no row had before.
    """
    numbers: dict[str, int] = {}
    parts = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        known = len(numbers)
        part = [
            row | {"documents": [numbers.setdefault(text, len(numbers)) for text in row["documents"]]}
            for row in rows[start : start + ROWS_AT_ONCE]
        ]
        parts.append(pack({"texts": list(numbers)[known:], "rows": part}))
    return parts
