"""CSV files: what stands in a cell is what is read, and what cannot be read is said by row, column and cause."""

import csv
import io
import json

import pytest
from datasets import Dataset

from tests.support.commands import RAN, command, search_rows


def table(x: list[str], delimiter: str = ",", line_end: str = "\n") -> str:
    """Write rows of a question, a text and `x`."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(["question", "text", "x"])
    writer.writerows([f"What of {i}?", f"Rule {i} says; count, and count.", value] for i, value in enumerate(x))
    return file.getvalue()


AS_TEXT = {
    "words for nothing": ["NA", "None", "null", "nan", "N/A", "NULL", "NaN", "n/a", "<NA>", "-"],
    "leading zeros": ["00501", "02134"],
    "numbers": ["1", "2.0", "3.50"],
    "numbers with signs and exponents": ["+7", "1e5", "-0", "0x10", "1_000"],
    "long numbers": ["12345678901234567890123", "9007199254740993"],
    "booleans": ["True", "FALSE", "yes", "no"],
    "dates": ["2024-01-05", "05/01/2024", "2024-01-05 10:00:00", "2024-01-05T10:00:00Z"],
    "times": ["10:30", "00:00:01"],
    "infinity": ["inf", "-Infinity"],
    "blanks around": [" a", "b ", "\tc"],
    "quotes inside": ['He said "no".', "It's"],
    "line breaks inside": ["first\nsecond", "a\r\nb"],
    "delimiters inside": ["a, b", "c; d", "e|f", "g\th"],
    "intervals": ["[0, 5]", "[2, 3]"],
    "matrices": ["[[1, 2], [3, 4]]", "[[0, 1], [1, 0]]"],
    "citations": ["[1] says so", "[2, 3] say so"],
    "one list among words": ['["a"]', "seven"],
    "a comment": ["# no comment", "#2"],
    "other writings": ["née", "मूल्य", "答案", "🦉"],
    "a formula": ["=1+1", "@x", "$5.00"],
    "percent": ["5%", "%20"],
    "json objects": ['{"a": 1}', '{"a": 2}'],
    "a very long text": ["word " * 60_000],
    "no-break and other spaces": ["a\u00a0b", "\u3000c", "a\u2028b"],
}


@pytest.mark.parametrize("values", AS_TEXT.values(), ids=AS_TEXT)
def test_a_cell_is_text(tmp_path, values):
    path = tmp_path / "rows.csv"
    path.write_bytes(table(values).encode())
    read = search_rows(path, tmp_path / "out.jsonl")
    assert read.code == 0, read.said
    assert read.column("x") == values


LISTS = {
    "json": (['["a", "b"]', '["c"]'], [["a", "b"], ["c"]]),
    "python": (["['a', 'b']", "['c']"], [["a", "b"], ["c"]]),
    "python with both quotes": (["[\"it's\", 'a']", "['b\"']"], [["it's", "a"], ['b"']]),
    "numpy": (["['a' 'b']", "['c']"], [["a", "b"], ["c"]]),
    "numpy over lines": (["['a long one'\n 'b']", "['c'\n \"it's\"]"], [["a long one", "b"], ["c", "it's"]]),
    "numpy scalars": (["[np.str_('a'), np.str_('b')]", "[np.str_('c')]"], [["a", "b"], ["c"]]),
    "json and python": (['["a"]', "['b']"], [["a"], ["b"]]),
    "an empty list": (["[]", '["a"]'], [[], ["a"]]),
    "nothing": (["", '["a"]'], [None, ["a"]]),
    "null inside": (['["a", null]', "['b', None]"], [["a", None], ["b", None]]),
    "escapes": ([r'["a\nb", "\u00e9"]', r"['c\td']"], [["a\nb", "é"], ["c\td"]]),
    "blanks around": ([' ["a"] ', '["b" ]'], [["a"], ["b"]]),
    "commas and brackets inside": (['["a, [b]"]', "['c] d']"], [["a, [b]"], ["c] d"]]),
    "a comma at the end": (['["a", "b",]', "['c',]"], [["a", "b"], ["c"]]),
    "a tuple": (["('a', 'b')", "('c',)"], [["a", "b"], ["c"]]),
    "objects": (['[{"role": "user", "content": "a"}]'] * 2, [[{"role": "user", "content": "a"}]] * 2),
}


@pytest.mark.parametrize(("cells", "values"), LISTS.values(), ids=LISTS)
def test_a_column_of_lists_is_read_in_whatever_way_it_is_written(tmp_path, cells, values):
    path = tmp_path / "rows.csv"
    path.write_bytes(table(cells).encode())
    read = search_rows(path, tmp_path / "out.jsonl")
    assert read.code == 0, read.said
    assert read.column("x") == values


WRITTEN = {
    "semicolons": (table(["é"], ";").encode(), ".csv", ()),
    "tabs": (table(["é"], "\t").encode(), ".csv", ()),
    "bars": (table(["é"], "|").encode(), ".csv", ()),
    "tsv": (table(["é"], "\t").encode(), ".tsv", ()),
    "a line that names the delimiter": (b"sep=;\r\n" + table(["é"], ";", "\r\n").encode(), ".csv", ()),
    "a delimiter of one's own": (table(["é"], "~").encode(), ".csv", ("--delimiter", "~")),
    "a tab by name": (table(["é"], "\t").encode(), ".csv", ("--delimiter", "\\t")),
    "windows' line ends": (table(["é"], line_end="\r\n").encode(), ".csv", ()),
    "old line ends": (table(["é"], line_end="\r").encode(), ".csv", ()),
    "a mark of UTF-8": (table(["é"]).encode("utf-8-sig"), ".csv", ()),
    "UTF-16 with its mark": (table(["é"]).encode("utf-16"), ".csv", ()),
    "UTF-16 with semicolons": (table(["é"], ";").encode("utf-16"), ".csv", ()),
    "latin-1": (table(["é"]).encode("latin-1"), ".csv", ("--encoding", "latin-1")),
    "windows-1252": (table(["é"], ";").encode("cp1252"), ".csv", ("--encoding", "cp1252")),
    "no line end at the end": (table(["é"]).encode().rstrip(b"\n"), ".csv", ()),
    "empty lines at the end": (table(["é"]).encode() + b"\n\n", ".csv", ()),
    "capitals in the ending": (table(["é"]).encode(), ".CSV", ()),
}


@pytest.mark.parametrize(("data", "ending", "flags"), WRITTEN.values(), ids=WRITTEN)
def test_delimiter_and_encoding_are_found_or_said(tmp_path, data, ending, flags):
    path = tmp_path / f"rows{ending}"
    path.write_bytes(data)
    read = search_rows(path, tmp_path / "out.jsonl", *flags)
    assert read.code == 0, read.said
    assert read.column("question") == ["What of 0?"]
    assert read.column("text") == ["Rule 0 says; count, and count."]
    assert read.column("x") == ["é"]


HEAD = b"question,text,x\n"
FAULTS = {
    "a latin-1 byte": (HEAD + b"a,b,c\nd,e,caf\xe9\n", (), ["row 2", "'x'", "0xe9", "--encoding"]),
    "cp1252 as latin-1": (
        HEAD + "a,b,10 €\n".encode("cp1252"),
        ("--encoding", "latin1"),
        ["row 1", "'x'", "0x80", "no letter in latin1", "encoding='cp1252'", "'€'"],
    ),
    "a latin-1 byte in the header": (b"question,text,caf\xe9\na,b,c\n", (), ["header", "0xe9", "--encoding"]),
    "a byte far down": (HEAD + b"a,b,c\n" * 9_999 + b"d,\xff,e\n", (), ["row 10,000", "'text'", "0xff"]),
    "half a character": (HEAD + b"a,b,\xf0\x9f\x98\n", (), ["row 1", "'x'", "0xf0"]),
    "too many cells": (HEAD + b"a,b,c\nd,e,f,g\n", (), ["row 2", "4 cells", "3"]),
    "too few cells": (HEAD + b"a,b,c\nd,e\n", (), ["row 2", "2 cells", "3"]),
    "an open quote": (HEAD + b'a,b,c\nd,e,"f\ng,h,i\n', (), ["row 2", "quot"]),
    "a column twice": (b"question,text,x,x\na,b,c,d\n", (), ["'x'", "twice"]),
    "no rows and no header": (b"", (), ["holds no rows"]),
    "zeros between": (HEAD.decode().encode("utf-16-le") + b"a\0,\0b\0,\0c\0\n\0", (), ["UTF-16"]),
    "an unknown encoding": (HEAD + b"a,b,c\n", ("--encoding", "latin-99"), ["latin-99"]),
    "an encoding that does not fit": (HEAD + b"a,b,caf\xe9\n", ("--encoding", "ascii"), ["row 1", "'x'", "ascii"]),
    "a delimiter of two characters": (HEAD + b"a,b,c\n", ("--delimiter", "ab"), ["--delimiter"]),
    "a delimiter that is a quote": (HEAD + b"a,b,c\n", ("--delimiter", '"'), ["--delimiter"]),
}


@pytest.mark.parametrize(("data", "flags", "words"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_read_is_said_by_row_column_and_cause(tmp_path, data, flags, words):
    path = tmp_path / "rows.csv"
    path.write_bytes(data)
    read = search_rows(path, tmp_path / "out.jsonl", *flags)
    assert read.code in (2, 3)
    assert [word for word in words if word not in read.said] == [], read.said
    assert len(read.said.splitlines()) == 1 or "usage:" in read.said
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ('["a", "b"', ["row 2", "'hard_negatives'", "list"]),
        ("only one text", ["row 2", "'hard_negatives'", "only one text"]),
        ("['a' 'b' ... 'c']", ["row 2", "'hard_negatives'", "..."]),
        ('{"a": "b"}', ["row 2", "'hard_negatives'"]),
        ("[open('x')]", ["row 2", "'hard_negatives'"]),
        ("[" * 5_000, ["row 2", "'hard_negatives'"]),
        ('["a", 7]', ["row 2", "'hard_negatives'"]),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error_where_it_is_read(tmp_path, cell, words):
    path = tmp_path / "rows.csv"
    path.write_text(table(['["a"]', cell]).replace("text,x", "text,hard_negatives"))
    read = command("export", path, "retrieval", "--output", tmp_path / "out.parquet")
    assert read.code == 3
    assert [word for word in words if word not in read.said] == []
    assert search_rows(path, tmp_path / "out.jsonl").code == 0  # which does not read it


def test_negatives_written_by_datasets_itself_are_read_back(rows, tmp_path):
    rows.to_csv(tmp_path / "rows.csv")
    read = command("export", tmp_path / "rows.csv", "retrieval", "--output", tmp_path / "out.parquet")
    assert read.code == 0, read.said
    exported = Dataset.from_parquet(str(tmp_path / "out.parquet"))
    for number in (0, 1):
        assert exported[f"negative_{number + 1}"][:] == [texts[number] for texts in rows["hard_negatives"]]


def test_distilled_rows_come_back_from_csv(rows, tiny, tmp_path):
    rows.to_json(tmp_path / "rows.jsonl")
    assert command(
        *("distill", tmp_path / "rows.jsonl", "--model", tiny, "--max-new-tokens", 4),
        *("--output", tmp_path / "traces.parquet"),
    ).code in RAN  # fmt: skip
    traces = Dataset.from_parquet(str(tmp_path / "traces.parquet"))
    whole = traces.remove_columns("reasoning_status").add_column("reasoning_status", ["ok"] * len(traces))
    whole.to_parquet(tmp_path / "whole.parquet")
    whole.to_csv(tmp_path / "whole.csv")
    made = []
    for ending in (".parquet", ".csv"):
        output = tmp_path / f"sft{ending}.jsonl"
        read = command("export", tmp_path / f"whole{ending}", "sft", "--keep-columns", "id", "--output", output)
        assert read.code == 0, read.said
        made.append([json.loads(line) for line in output.read_text().splitlines()])
    assert len(made[0]) == len(rows)
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("cell", "status"),
    [
        ('["ebb", "flood"]', "ok"), ("['ebb', 'flood']", "ok"), ('{"A": "ebb", "B": "flood"}', "ok"),
        ("{'A': 'ebb', 'C': 'flood'}", "ok"), ("[1, 2]", "invalid_input"), ("A) ebb B) flood", None),
    ],
)  # fmt: skip
def test_options_are_lists_or_letters(tmp_path, tiny, cell, status):
    rows = [["question", "scenario", "text", "hard_negatives", "options"]]
    rows.append(["What comes?", "At sea.", "Rule 0.", '["Rule 1."]', cell])
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    flags = ("--model", tiny, "--max-new-tokens", 4, "--output", tmp_path / "out.jsonl")
    read = command("distill", tmp_path / "rows.csv", "--template", "rare-qa", *flags)
    assert read.code in ((3,) if status in (None, "invalid_input") else RAN), read.said
    if status is None:
        assert "row 1, column 'options'" in read.said
    else:
        (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
        assert (row["reasoning_status"] == "invalid_input") == (status == "invalid_input")
    assert command("distill", tmp_path / "rows.csv", *flags, "--overwrite").code in RAN  # and does not read them


@pytest.mark.parametrize("data", [HEAD, b"question\n", HEAD + b"\n\n"])
def test_a_header_alone_holds_no_rows(tmp_path, data):
    (tmp_path / "rows.csv").write_bytes(data.replace(b"question\n", b"question,text\n"))
    read = search_rows(tmp_path / "rows.csv", tmp_path / "out.parquet")
    assert read.code == 3
    assert "holds no rows" in read.said
