"""JSON files: values keep their type, a text stays one, and a fault is named by its line and column."""

import json

import pytest

from tests.support.commands import search_rows


def lines(x: list[object]) -> bytes:
    """Write rows of a question, a text and `x`."""
    rows = [{"question": f"What of {i}?", "text": f"Rule {i}.", "x": value} for i, value in enumerate(x)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


VALUES = {
    "dates": ["2024-01-05", "2023-12-31"],
    "times": ["2024-01-05T10:00:00", "2024-01-05T10:00:00Z"],
    "times with blanks": ["2024-01-05 10:00:00", "2024-01-05 10:00:00"],
    "dates with slashes": ["2024/01/05", "2024/01/06"],
    "floats": [1.0, 2.5],
    "whole floats": [1.0, 2.0],
    "long floats": [0.1 + 0.2, 1 / 3],
    "very small floats": [1e-300, 2e-12],
    "numbers": [1, 2],
    "large numbers": [9007199254740993, 2**62],
    "booleans": [True, False],
    "numbers and nothing": [1, None],
    "nothing at first": [None] * 3000 + ["a"],
    "nothing but nothing": [None, None],
    "empty lists at first": [[]] * 3000 + [["a"]],
    "texts that look like numbers": ["00501", "1.0"],
    "words for nothing": ["NA", "null", "None", ""],
    "nested": [{"a": [1.0, 2.0], "b": {"c": "2024-01-05"}}] * 2,
    "lists of lists": [[[1], []], [[2]]],
    "other writings": ["मूल्य", "答案", "🦉", "\u2028"],
    "escaped zeros": ["a\u0000b", "c"],
    "control characters": ["a\tb\nc", "\x07"],
    "columns named like others'": [{"bytes": "a", "path": None}] * 2,
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_a_value_is_kept(tmp_path, values):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(values))
    read = search_rows(path, tmp_path / "out.jsonl")
    assert read.code == 0, read.said
    assert [repr(value) for value in read.column("x")] == [repr(value) for value in values]


ROWS = [{"question": f"What of {i}?", "text": f"Rule {i}.", "x": i} for i in range(3)]
WRITTEN = {
    "lines": (".jsonl", lines([0, 1, 2])),
    "lines in .json": (".json", lines([0, 1, 2])),
    "a list": (".json", json.dumps(ROWS).encode()),
    "a list over lines": (".json", json.dumps(ROWS, indent=2).encode()),
    "a list in .jsonl": (".jsonl", json.dumps(ROWS).encode()),
    "objects over lines": (".json", "\n".join(json.dumps(row, indent=2) for row in ROWS).encode()),
    "UTF-16 with its mark": (".jsonl", lines([0, 1, 2]).decode().encode("utf-16")),
    "a mark of UTF-8": (".jsonl", b"\xef\xbb\xbf" + lines([0, 1, 2])),
    "empty lines": (".jsonl", lines([0, 1, 2]).replace(b"\n", b"\n\n")),
    "windows' line ends": (".jsonl", lines([0, 1, 2]).replace(b"\n", b"\r\n")),
    "no line end at the end": (".jsonl", lines([0, 1, 2]).rstrip()),
    "blanks at the end": (".jsonl", lines([0, 1, 2]) + b"  \n"),
    "capitals in the ending": (".JSONL", lines([0, 1, 2])),
}


@pytest.mark.parametrize(("ending", "data"), WRITTEN.values(), ids=WRITTEN)
def test_rows_are_found_in_whatever_way_they_are_written(tmp_path, ending, data):
    path = tmp_path / f"rows{ending}"
    path.write_bytes(data)
    read = search_rows(path, tmp_path / "out.jsonl")
    assert read.code == 0, read.said
    assert [{name: row[name] for name in ROWS[0]} for row in read.rows] == ROWS


def test_keys_that_only_some_rows_have(tmp_path):
    path = tmp_path / "rows.jsonl"
    extra = {"question": "q", "text": "t", "x": {"b": 1}, "y": "late"}
    path.write_bytes(lines([{"a": "one"}] * 2000) + json.dumps(extra).encode())
    read = search_rows(path, tmp_path / "out.jsonl")
    assert read.code == 0, read.said
    assert read.rows[-1]["y"] == "late"
    assert read.rows[0]["y"] is None
    assert read.column("x")[-2:] == [{"a": "one", "b": None}, {"a": None, "b": 1}]


FAULTS = {
    "a latin-1 byte": (lines(["a", "caf\u00e9"]).replace(b"\xc3\xa9", b"\xe9"), ["line 2", "'x'", "0xe9"]),
    "a byte far down": (lines(["a"] * 9_999 + ["b"]).replace(b'"b"', b'"\xff"'), ["line 10,000", "'x'", "0xff"]),
    "half a character": (lines(["\U0001f600"]).replace(b"\x98\x80", b"\x98"), ["line 1", "0xf0"]),
    "half a pair": (lines(["A"]).replace(b'"A"', b'"\\ud83d"'), ["line 1", "'x'", "surrogate"]),
    "half a pair deep inside": (lines([["A"]]).replace(b'"A"', b'"\\ude00"'), ["line 1", "'x'", "surrogate"]),
    "a type that changes": (lines([1, "two"]), ["line 2", "'x'", "text"]),
    "a type that changes far down": (lines(["a"] * 9_999 + [1]), ["line 10,000", "'x'", "number"]),
    "a text among lists": (lines([["a"], "b"]), ["line 2", "'x'", "list"]),
    "a text inside a list of numbers": (lines([[1], ["b"]]), ["line 2", "'x'"]),
    "kinds inside one list": (lines([["a"], ["b", 1]]), ["line 2", "'x'"]),
    "an object among texts": (lines(["a", {"b": 1}]), ["line 2", "'x'"]),
    "a boolean among numbers": (lines([1, True]), ["line 2", "'x'"]),
    "a type inside objects": (lines([{"a": 1}, {"a": "b"}]), ["line 2", "'x'", "'a'"]),
    "a number beyond 64 bits": (lines([1, 2**70]), ["line 2", "'x'", "64"]),
    "a broken line": (lines(["a"]) + b'{"question": "b", "text": \n', ["line 2"]),
    "two rows on a line": (lines(["a"]) + b"{} {}\n", ["line 2"]),
    "a line that is no object": (lines(["a"]) + b"7\n", ["line 2", "object"]),
    "a line that is a list": (lines(["a"]) + b"[1]\n", ["line 2", "object"]),
    "a key twice": (b'{"question": "a", "text": "b", "text": "c"}\n', ["line 1", "'text'", "twice"]),
    "a zero in a name": (b'{"question": "a", "te\\u0000xt": "b"}\n', ["line 1", "'te\\x00xt'", "zero"]),
    "a list of texts": (b'["a", "b"]', ["row 1", "object"]),
    "an open list": (b'[{"question": "a"},', ["line 1", "not JSON"]),
    "half an object over lines": (b'{\n  "question": "a",\n', ["not JSON"]),
    "nothing": (b"", ["holds no rows"]),
    "nothing but blanks": (b" \n\n", ["holds no rows"]),
    "very deep": (b'{"question": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", ["line 1", "deep"]),
}


@pytest.mark.parametrize(("data", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_by_its_line(tmp_path, data, words):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    read = search_rows(path, tmp_path / "out.jsonl")
    assert read.code == 3
    assert [word for word in words if word not in read.said] == [], read.said[:400]
    assert len(read.said.splitlines()) == 1
    assert len(read.said) < 700
    assert not (tmp_path / "out.jsonl").exists()
