"""Lists in the cells of a CSV file, in whatever way they were written: as JSON, by Python or by NumPy."""

import ast
import io
import json
import tokenize
from typing import Any

_WORDS = {"null": "None", "nan": "None", "NaN": "None", "true": "True", "false": "False"}
_OPENING, _CLOSING = ("[", "(", "{"), ("]", ")", "}")
_VALUES = (tokenize.STRING, tokenize.NUMBER, tokenize.NAME)
_NO_TEXT = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def read_list(cell: str) -> list[Any] | dict[str, Any]:
    """Read a list or an object from a cell.

    NumPy writes no commas between items, which Python would take for one text: `['a' 'b']` has two.

    Raises:
        ValueError: It holds neither; the message says why, to follow "it".
    """
    text = cell.strip()
    if not text.startswith(_OPENING):
        raise ValueError("begins with no bracket")
    try:
        value = json.loads(text)
    except RecursionError as err:
        raise ValueError("is nested too deeply") from err
    except ValueError:
        value = _read_python(text)
    if not isinstance(value, list | dict):
        raise ValueError("holds no list")
    return value


def _read_python(text: str) -> Any:
    try:
        return _plain(ast.literal_eval(_with_commas(text)))
    except (tokenize.TokenError, SyntaxError) as err:
        raise ValueError("is not closed, or not written as JSON or Python write lists") from err
    except (RecursionError, MemoryError) as err:
        raise ValueError("is nested too deeply") from err


def _with_commas(text: str) -> str:
    """Write a list with commas between its items, and its values without NumPy's types around them."""
    tokens = [
        (token.type, token.string)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in _NO_TEXT
    ]
    parts: list[str] = []
    is_wrapper: list[bool] = []
    ends_value, place = False, 0
    while place < len(tokens):
        kind, string = tokens[place]
        if string == "...":
            raise ValueError("was shortened with '...' when it was written")
        if ends_value and (kind in _VALUES or string in (*_OPENING, "-")):
            parts.append(",")
        ends_value = kind in _VALUES or string in _CLOSING
        if string in ("np", "numpy") and [word for _, word in tokens[place + 1 : place + 4 : 2]] == [".", "("]:
            is_wrapper.append(True)
            ends_value, place = False, place + 4
            continue
        if string in _OPENING:
            is_wrapper.append(False)
        if string not in _CLOSING or not (is_wrapper and is_wrapper.pop()):
            parts.append(_WORDS.get(string, string))
        place += 1
    return "".join(parts) if len(parts) < 2 else " ".join(parts)


def _plain(value: Any) -> Any:
    """Turn tuples into lists, and refuse what JSON does not have."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"holds a {type(value).__name__}")
    return value
