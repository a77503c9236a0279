"""JSON in what a model wrote, read leniently: behind a thought, in fences, with text around it, not quite valid.

Valid JSON is taken as it stands. What only begins like JSON is scanned first: where it ends, and which of its
quotation marks end a text, which `json_repair` cannot tell once a text says `["left", "right"]`. The rest (commas,
names without quotation marks, a missing end) is left to `json_repair`, which by itself reads more of
`tests/data/model_json.jsonl` as it is meant than dirtyjson, json5 and partial-json-parser: 39 of 60, against 25, 17
and 16.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import json_repair

MAX_FAILURES, MAX_SCANS = 100, 4
"""Braces and brackets that are tried and do not begin JSON, and texts without end that are scanned in vain, so that a
text of nothing else takes no time."""

_DECODER = json.JSONDecoder(strict=False)  # line breaks in strings are let through
_CLOSING = {"{": "}", "[": "]"}
_ENDS_OF_TEXT = {'"': '"', "'": "'", "\u201c": '\u201d"', "\u201d": '\u201d"', "\u201e": '\u201c\u201d"'}
_BEGINS_LIKE_JSON = re.compile(r"[{\[]\s*(?:[\"'\u201c-\u201e{\[]|[^\W\d]\w*\s*:|//|/\*|$)")
_NAME = re.compile(r"\s*(?:([\"'\u201c\u201d\u201e])[^\"'\u201c\u201d\u201e\n]{1,60}[\"'\u201c\u201d]|[^\W\d]\w*)\s*:")
_COMMENT = re.compile(r"\s*(?://[^\n]*|/\*.*?(?:\*/|$)|\.\.\.)", re.DOTALL)
_COMMON_NAMES = ("scenario", "question", "query", "answer", "document", "reason", "verdict")
_GAP = re.compile(r"\s+|//[^\n]*\n|/\*.*?\*/", re.DOTALL)
_END_OF_OBJECT = re.compile(r"\s*(?:[}{]|//|/\*|[\s\]`]*\Z)")
_BEHIND_OBJECT = re.compile(r"\s*(?:,\s*(?:[\[{\"'\u201c\]}]|\.\.\.|//|\Z)|[\]}{/]|\.\.\.|```|\Z)")
_BEHIND_LIST = re.compile(r"\s*(?:[,\]}]|```|\Z)")
_NEXT_PART = re.compile(r"\s*(?:[\"'\u201c\u201e{\[\]]|\.\.\.|//|\Z)")
_END_OF_ALL = re.compile(r"\]\s*}\s*\Z")
_ESCAPED_QUOTES = re.compile(r'[{\[]\s*\\"')
_BACKSLASH = re.compile(
    r"\\\\|\\(?=[bf][a-z])|\\(?![\"'\\/bfnrtu\n])|\\u(?![0-9a-fA-F]{4})"
    r"|\\(?=(?:times|theta|tau|text\w*|tfrac|top|triangle|to|ne|neq|nu|nabla|not|notin|rho|right|rangle|rightarrow|rm)"
    r"(?![a-z]))"
)
"""Pairs of backslashes, and single ones before what is a command of LaTeX and no escape of JSON."""


class Located(NamedTuple):
    """A JSON value in a text: the value, where it begins, and where it ends."""

    value: Any
    start: int
    end: int


def find_json(text: str, is_cut: bool = False) -> list[Any]:
    """Find the JSON objects and lists in a text.

    Args:
        text (`str`):
            The text, without the thought.
        is_cut (`bool`, *optional*, defaults to `False`):
            Whether its end is missing: then of what does not end only the whole parts are given, since the last one
            might end within a word.

    Returns:
        `list`: the values, in order, none inside another, those that say nothing left out.
    """
    return [found.value for found in locate_json(unescape(text), is_cut)]


def unescape(text: str) -> str:
    """Return a text whose JSON has no second layer of escapes, and whose LaTeX has its backslashes."""
    if _ESCAPED_QUOTES.search(text):  # JSON within a string
        text = re.sub(r'\\(["\\])', r"\1", text)
    text = re.sub(r'(?<!\\)"{3}', '"', text)  # as Python writes long texts
    return _BACKSLASH.sub(lambda match: match[0] if match[0] == "\\\\" else "\\" + match[0], text)


def locate_json(text: str, is_cut: bool = False) -> list[Located]:
    """Find the JSON objects and lists in a text that [`unescape`] gave, and where they stand; see [`find_json`]."""
    found, place, failures, scans = list[Located](), 0, 0, 0
    while failures < MAX_FAILURES and scans < MAX_SCANS and (start := _find_opening(text, place)) >= 0:
        try:
            value, end = _DECODER.raw_decode(text, start)
            values = [value]
        except (ValueError, RecursionError):  # ValueError also for an integer of too many digits
            values, end, is_closed = _repair(text, start, is_cut)
            failures, scans = failures + 1, scans + (not is_closed)
        found += [Located(value, start, end) for value in values if value]  # {} and [] say nothing
        place = max(end, start + 1)
    return found


def _repair(text: str, start: int, is_cut: bool) -> tuple[list[Any], int, bool]:
    """Return what can be made of a text that is no valid JSON, where it ends, and whether it has an end."""
    if not _BEGINS_LIKE_JSON.match(text, start):
        return [], start, True
    scan = _Scan(text, start, is_cut)
    pieces = scan.whole_parts() if is_cut and not scan.is_closed else [scan.written]
    values = []
    for piece in pieces:
        try:
            value = json_repair.loads(piece)
        except RecursionError:
            continue
        values += [value] if isinstance(value, dict | list) else []
    return values, scan.place if values else start, scan.is_closed


@dataclass
class _Open:
    """An object or a list that has not ended: its bracket, where it begins, and the parts of it that have."""

    bracket: str
    start: int
    parts: list[tuple[int, int]] = field(default_factory=list)
    texts: list[tuple[int, int]] = field(default_factory=list)


class _Scan:
    """Scans what begins like JSON and writes it anew, each text in double quotation marks and without others in it."""

    def __init__(self, text: str, start: int, is_cut: bool) -> None:
        self.place = start
        self._text, self._is_cut = text, is_cut
        self._out: list[str] = []
        self._length = 0
        self._open: list[_Open] = []
        self._name_mark = ""  # the quotation mark of the first name
        self._last = ""  # what stands before: a bracket, a comma, a colon or a text
        self._run()
        self.is_closed = not self._open
        self.written = "".join(self._out)

    def whole_parts(self) -> list[str]:
        """Return the objects and lists that have ended in those that have not, and the texts of an outer list."""
        parts = [self.written[start:end] for level in self._open for start, end in level.parts]
        for level in self._open[:2]:
            if level.bracket == "[" and level.texts:
                parts.append(f"[{', '.join(self.written[start:end] for start, end in level.texts)}]")
        return parts

    def _run(self) -> None:
        text = self._text
        while self.place < len(text):
            char = text[self.place]
            if char in _CLOSING:
                self._open.append(_Open(char, self._length))
                self._write(char)
            elif char in "}]":
                if self._close(char):
                    return
            elif char in _ENDS_OF_TEXT and (char == '"' or self._last in ("{", "[", ",", ":", "text")):
                self._write_text(char)
                continue
            elif (comment := _COMMENT.match(text, self.place)) and self._last != "word":
                self.place = comment.end()
                continue
            elif text.startswith("```", self.place):
                return
            else:
                self._write(char, "word" if char not in ",:" and not char.isspace() else char)
            self.place += 1

    def _write(self, piece: str, kind: str = "") -> None:
        self._out.append(piece)
        self._length += len(piece)
        if not piece.isspace():
            self._last = kind or piece

    def _close(self, bracket: str) -> bool:
        """Take note that an object or a list ends; tell whether it was the outermost."""
        if all(_CLOSING[level.bracket] != bracket for level in self._open):
            return False  # one too many
        while True:
            ended = self._open.pop()
            self._write(_CLOSING[ended.bracket])
            if self._open:
                self._open[-1].parts.append((ended.start, self._length))
            if _CLOSING[ended.bracket] == bracket:
                break
        if not self._open:
            self.place += 1
        return not self._open

    def _write_text(self, mark: str) -> None:
        in_object = self._open[-1].bracket == "{"
        is_name = in_object and self._last != ":"
        begin, end = self.place + 1, self._find_end(mark, is_name, in_object)
        if is_name and not self._name_mark:
            self._name_mark = mark
        body = self._text[begin:end].replace("\\'", "'")
        body = re.sub(r'(\\.)|"', lambda match: match[1] or '\\"', body, flags=re.DOTALL)
        start, self.place = self._length, end + (self._text[end : end + 1] in _ENDS_OF_TEXT[mark])
        self._write(f'"{body}"', "text")
        if self.place <= len(self._text) and not in_object:
            self._open[-1].texts.append((start, self._length))

    def _find_end(self, mark: str, is_name: bool, in_object: bool) -> int:
        """Find the quotation mark that ends a text: what stands behind it goes on as JSON does."""
        text, begin, first = self._text, self.place + 1, -1
        depth, checked = 0, begin
        for match in re.finditer(rf"\\.|[{_ENDS_OF_TEXT[mark]}]", text[begin:], re.DOTALL):
            place = begin + match.start()
            if len(match[0]) == 1 and in_object and not is_name and (end := self._find_forgotten(begin, place)):
                return end
            if len(match[0]) > 1 or not self._goes_on(place + 1, is_name, in_object):
                continue
            if is_name:
                return place
            depth += sum(_bracket_value(char) for char in text[checked:place])
            checked = place
            if depth <= 0 or self._is_common_name(place + 1):
                return place
            first = place if first < 0 else first  # within {"a": "b"}, unless nothing better comes
        return first if first >= 0 else self._find_missing(begin)

    def _find_missing(self, begin: int) -> int:
        """Find the end of a text that goes on to the end of all: before the brackets that end what is open."""
        brackets = "".join(_CLOSING[level.bracket] for level in reversed(self._open))
        for count in range(0 if self._is_cut else len(brackets), 0, -1):
            tail = re.compile(r"\s*".join(map(re.escape, brackets[:count])) + r"[\s`]*\Z")
            if match := tail.search(self._text, max(begin, len(self._text) - 200)):
                return match.start()
        return len(self._text)

    def _find_forgotten(self, begin: int, place: int) -> int:
        """Find the end of a text whose last quotation mark was forgotten: a common name comes behind a comma."""
        written = self._text[begin:place].rstrip()
        match = _NAME.match(self._text, place) if written.endswith(",") else None
        return begin + len(written) - 1 if match is not None and _is_common(match[0]) else 0

    def _goes_on(self, place: int, is_name: bool, in_object: bool) -> bool:
        """Tell whether JSON can go on at a place behind a text."""
        text = self._text
        while gap := _GAP.match(text, place):
            place = gap.end()
        mark = text[place : place + 1]
        if is_name:
            return mark == ":"
        if not mark or text.startswith("```", place):
            return True
        if in_object:
            if mark == ",":
                return self._is_name(place + 1) or _END_OF_OBJECT.match(text, place + 1) is not None
            if mark == "}":
                return len(self._open) == 1 or _BEHIND_OBJECT.match(text, place + 1) is not None
            return self._is_name(place) or _END_OF_ALL.match(text, place) is not None
        if mark == ",":
            return _NEXT_PART.match(text, place + 1) is not None
        if mark == "]":
            return len(self._open) == 1 or _BEHIND_LIST.match(text, place + 1) is not None
        return mark in _ENDS_OF_TEXT and "\n" in text[self.place : place] and text[place - 1 : place].isspace()

    def _is_name(self, place: int) -> bool:
        """Tell whether the name of a value stands at a place, in quotation marks where the others are."""
        while self._text[place : place + 1] == ",":
            place += 1
        match = _NAME.match(self._text, place)
        return match is not None and (not self._name_mark or bool(match[1]) or _is_common(match[0]))

    def _is_common_name(self, place: int) -> bool:
        """Tell whether a name that models are asked for, and so no part of a text, comes next."""
        match = _NAME.match(self._text, place + (self._text[place : place + 1] == ","))
        return match is not None and _is_common(match[0])


def _is_common(name: str) -> bool:
    return name.strip(" \n\t:\"'\u201c\u201d\u201e").lower() in _COMMON_NAMES


def _bracket_value(char: str) -> int:
    return (char in "{[") - (char in "}]")


def _find_opening(text: str, place: int) -> int:
    places = [found for mark in "{[" if (found := text.find(mark, place)) >= 0]
    return min(places, default=-1)
