"""Texts that nobody has checked, inside Markdown: whatever they hold, they stay text.

Pure functions, texts in and texts out. What a reader cannot see or what would reorder the line is shown as `�`.
"""

import html
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hf_rare.text import clean, shorten

MARKER = re.compile(r"^(?=<!-- /?hf_rare)", re.MULTILINE)


def html_safe(text: str) -> str:
    """Return a text that has no tags, comments or entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def inline(text: object, limit: int = 300) -> str:
    """Return a text for a line of prose or a heading: its punctuation means nothing."""
    words = " ".join(shorten(clean(text), limit).split())
    escaped = re.sub(r"([\\`*\[\]~#!$^@]|:(?=//)|(?<=www)\.|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", html_safe(words))
    return escaped.replace("|", "&#124;")


def code(text: object, limit: int = 300) -> str:
    """Return a text as code, for a line of prose or a cell of a table."""
    words = " ".join(shorten(clean(text), limit).split())
    if not words:
        return "*empty*"
    if not re.search(r"[`|\\<>&]", words):
        return f"`{words}`"
    entities = re.sub(r"[!-,/:-@\[-`{-~]", lambda match: f"&#{ord(match[0])};", words)
    return f"<code>{entities}</code>"


def fenced(text: object, language: str = "", limit: int = 20_000) -> str:
    """Return a text as a block of code that nothing in the text can end."""
    body = MARKER.sub(" ", shorten(clean(text), limit)).strip("\n")
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """Return a table of cells that are Markdown already.

    Args:
        header (`Sequence[str]`): the heads of the columns.
        rows (`Sequence[Sequence[str]]`): the cells of each row.
        numbers (`bool`, *optional*, defaults to `False`): whether all columns but the first are aligned to the right.
    """
    rule = ["---"] + ["---:" if numbers else "---"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def link(text: str, url: str) -> str:
    """Return a link whose text is already Markdown; `url` is quoted."""
    return f"[{text}](<{html.escape(url).replace(' ', '%20')}>)"


def wrap(text: object, limit: int, width: int = 88, indent: str = "  ") -> str:
    """Cut a text to `limit` characters and break its lines at `width`, each behind `indent`."""
    lines = shorten(clean(text).strip(), limit).split("\n")
    wrapped = [textwrap.wrap(line, width, break_long_words=True, break_on_hyphens=False) or [""] for line in lines]
    return "\n".join((indent + line).rstrip() for part in wrapped for line in part)


def as_text(value: Any) -> str:
    """Return a value of a row or a recipe as text: lists and dicts as JSON."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=as_text)
    return str(value)


def join(words: Iterable[str]) -> str:
    """Return words as an enumeration."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def literal(text: str) -> str:
    """Return a text as a string of Python code."""
    return json.dumps(text, ensure_ascii=False) if clean(text) == text else ascii(text)
