"""What the bytes of a text file mean: found by the mark at its beginning, and said where a byte means nothing."""

import codecs
import re
from pathlib import Path

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Marks by the encoding they stand for, longer ones first where one begins like another."""


def find_encoding(path: Path) -> str:
    """Return the encoding that the mark at the beginning of a file names; UTF-8 without one."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")


def find_spoilt(text: str, encoding: str) -> int | None:
    """Find a byte that means nothing: one that was escaped, or a control character that is a letter in cp1252.

    Args:
        text (`str`): what was read, with bytes that the encoding has not as surrogates.
        encoding (`str`): what it was read as.

    Returns:
        `int`: the byte; `None` where all mean something.
    """
    is_latin = codecs.lookup(encoding).name == "iso8859-1"  # which has every byte, and so is never an error by itself
    found = None if text.isascii() else re.search("[\x80-\x9f]" if is_latin else "[\udc80-\udcff]", text)
    return ord(found[0]) & 0xFF if found else None


def show_spoilt(text: str) -> str:
    """Return a text as it can be shown, which was read with bytes that the encoding has not as surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def describe_byte(err: UnicodeDecodeError) -> str:
    """Say which byte means nothing, and what to do."""
    return describe_byte_in(err.object[err.start], err.encoding)


def describe_byte_in(byte: int, encoding: str) -> str:
    """Say that a byte means nothing in an encoding, and what to do."""
    name = "UTF-8" if encoding.replace("_", "-").lower() in ("utf-8", "utf-8-sig") else encoding
    meant = bytes([byte]).decode("cp1252", "replace")
    if name != "UTF-8" and 0x80 <= byte < 0xA0 and codecs.lookup(encoding).name == "iso8859-1":
        name = f"letter in {name}"
    likely = f", where it is {meant!r}" if meant.isprintable() and meant != "\ufffd" else ""
    return (
        f"the byte 0x{byte:02x} is no {name}. Save the file as UTF-8, or say how it is written: most likely "
        f"encoding='cp1252'{likely}."
    )
