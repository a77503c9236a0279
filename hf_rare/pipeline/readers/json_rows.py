"""Rows of a JSON file: one object a line, a list of objects, or objects one after the other."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hf_rare.pipeline.readers.encodings import describe_byte, describe_byte_in, find_encoding, find_spoilt, show_spoilt
from hf_rare.pipeline.readers.table import Row, RowError


def read_json_rows(path: Path, encoding: str | None = None) -> Iterator[Row]:
    """Read the rows of a JSON file one by one, where there is one a line.

    Args:
        path (`Path`):
            The file.
        encoding (`str`, *optional*):
            What its bytes mean; by default UTF-8, or what the mark at its beginning says.

    Raises:
        RowError: A line is no object, or holds bytes that mean nothing.
        LookupError: There is no such encoding.
    """
    encoding = encoding or find_encoding(path)
    return _read_lines(path, encoding) if _has_one_a_line(path, encoding) else _read_whole(path, encoding)


def _has_one_a_line(path: Path, encoding: str) -> bool:
    for place, line in _decode_lines(path, encoding):
        if line.strip():
            try:
                return isinstance(_load(line, place), dict)
            except RowError:
                return line.rstrip() not in ("{", "[") and line.lstrip()[0] == "{"
    return True


def _decode_lines(path: Path, encoding: str) -> Iterator[tuple[str, str]]:
    if encoding.startswith(("utf-16", "utf-32")):  # whose lines cannot be cut before they are read
        with path.open(encoding=encoding, newline="\n") as texts:
            yield from ((f"line {number:,}", line) for number, line in enumerate(texts, start=1))
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"line {number:,}"
            try:
                text = line.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)
            except UnicodeDecodeError as err:
                raise RowError(f"{place}{_name_column(line, encoding)}: {describe_byte(err)}") from err
            if (byte := find_spoilt(text, encoding)) is not None:
                raise RowError(f"{place}: {describe_byte_in(byte, encoding)}")
            yield place, text


def _name_column(line: bytes, encoding: str) -> str:
    """Say which column of a line holds a byte that means nothing, where the line is an object."""
    try:
        values = json.loads(line.decode(encoding, "surrogateescape"))
    except (ValueError, RecursionError):
        return ""
    spoilt = [name for name, value in values.items() if _has_surrogate(value)] if isinstance(values, dict) else []
    return f", column {show_spoilt(spoilt[0])!r}" if spoilt else ""


def _has_surrogate(value: Any) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return text != text.encode("utf-8", "replace").decode()


def _read_lines(path: Path, encoding: str) -> Iterator[Row]:
    for place, line in _decode_lines(path, encoding):
        if line.strip():
            yield place, _as_row(_load(line, place), place)


def _read_whole(path: Path, encoding: str) -> Iterator[Row]:
    """Read a file of one list, or of objects that go over lines."""
    text = "".join(line for _, line in _decode_lines(path, encoding))
    decoder = json.JSONDecoder(object_pairs_hook=_make_dict)
    end, number = 0, 0
    while (start := _skip_blanks(text, end)) < len(text):
        place = f"line {text.count(chr(10), 0, start) + 1:,}"
        try:
            value, end = decoder.raw_decode(text, start)
        except RecursionError as err:
            raise RowError(f"{place} is nested too deeply.") from err
        except json.JSONDecodeError as err:
            raise RowError(f"line {err.lineno:,} is not JSON: {err.msg}, at character {err.colno:,}.") from err
        except ValueError as err:
            raise RowError(f"the JSON value from {place} on {err}.") from err
        for item in value if isinstance(value, list) else [value]:
            number += 1
            yield f"row {number:,}", _as_row(item, f"row {number:,}")


def _skip_blanks(text: str, start: int) -> int:
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    return start


def _load(line: str, place: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_make_dict)
    except RecursionError as err:
        raise RowError(f"{place} is nested too deeply.") from err
    except json.JSONDecodeError as err:
        raise RowError(f"{place} is not JSON: {err.msg}, at character {err.pos + 1:,}.") from err
    except ValueError as err:
        raise RowError(f"{place} {err}.") from err


def _make_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"has {next(name for name in names if names.count(name) > 1)!r} twice")
    if cut := next((name for name in made if "\0" in name), None):
        raise ValueError(f"has the name {cut!r}, which a column would lose from its zero on")
    return made


def _as_row(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RowError(f"{place} is no object with values by column name, but a {type(value).__name__}.")
    return value
