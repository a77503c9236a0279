"""JSON in what a model wrote, read leniently: behind a thought, in fences, with text around it, not quite valid."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import json_repair

MAX_FAILURES = 100
"""Braces and brackets that are tried and do not begin valid JSON, so that a text of nothing else takes no time."""

_DECODER = json.JSONDecoder(strict=False)  # line breaks in strings are let through


def find_json(text: str, is_cut: bool = False) -> list[Any]:
    """Find the JSON objects and lists in a text.

    Args:
        text (`str`):
            The text, without the thought.
        is_cut (`bool`, *optional*, defaults to `False`):
            Whether its end is missing: then nothing is repaired, since it might end within a word.

    Returns:
        `list`: those that are valid, in order, none inside another; where none is, what can be made of the text from
        its first brace on (trailing commas, single quotes, an end that is missing), or nothing.
    """
    found, place, failures = list[Any](), 0, 0
    while failures < MAX_FAILURES and (start := _find_opening(text, place)) >= 0:
        try:
            value, place = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):  # ValueError also for an integer of too many digits
            place, failures = start + 1, failures + 1
            continue
        if value:  # {} and [] say nothing
            found.append(value)
    if found or is_cut:
        return found
    start = _find_opening(text, 0)
    try:
        repaired = json_repair.loads(text[start:]) if start >= 0 else None
    except RecursionError:
        return []
    return [repaired] if isinstance(repaired, dict | list) and repaired else []


def find_items(text: str, names: Sequence[str], is_cut: bool = False) -> list[Any]:
    """Find the items that a model was asked for, whatever it wraps them in.

    Args:
        text (`str`):
            The text, without the thought.
        names (`Sequence[str]`):
            Keys that an item has as a dict. A text in a list is an item too.
        is_cut (`bool`, *optional*, defaults to `False`):
            Whether the end of the text is missing.

    Returns:
        `list`: the items of the last JSON value that holds a list of them, since a model may draft before it decides;
        where no value holds a list, all items. Each is a text or a dict with one of `names`, in lower case.
    """
    values = find_json(text, is_cut)
    lists = [value for value in values if isinstance(value, list) or any(map(_is_container, value.values()))]
    return next((items for value in (*reversed(lists), values) if (items := list(_walk(value, names)))), [])


def _walk(value: Any, names: Sequence[str], in_list: bool = False) -> Iterator[Any]:
    if isinstance(value, Mapping):
        item = {str(name).lower(): _as_valid(part) for name, part in value.items()}
        if any(isinstance(item.get(name), str) for name in names):
            yield item
            return
        for part in item.values():
            yield from _walk(part, names)
    elif isinstance(value, list):
        for part in value:
            yield from _walk(part, names, in_list=True)
    elif isinstance(value, str) and in_list:
        yield _as_valid(value)


def _as_valid(value: Any) -> Any:
    """Put a question mark in the place of half a surrogate pair, which JSON can escape and Unicode does not have."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list)


def _find_opening(text: str, place: int) -> int:
    places = [found for mark in "{[" if (found := text.find(mark, place)) >= 0]
    return min(places, default=-1)
