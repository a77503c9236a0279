"""Files as they come: spreadsheets, packed files, patterns, folders, and names of files that are not there."""

import bz2
import csv
import gzip
import importlib.util
import io
import json
import lzma
import sys

import pyarrow as pa
import pytest
from datasets import Dataset

from hf_rare.errors import DatasetFileError, MissingPackageError
from hf_rare.pipeline.arrow_files import TextForm
from hf_rare.pipeline.inputs import load_input, load_splits
from tests.support.sheets import write_sheets

ROWS = [
    {"question": f"What of {i}?", "text": f"Règle {i}; so it is.", "neg1": "Other.", "neg2": None} for i in range(3)
]
HAS_CALAMINE = importlib.util.find_spec("python_calamine") is not None
needs_calamine = pytest.mark.skipif(not HAS_CALAMINE, reason="needs the extra excel")


def as_csv(rows=ROWS, delimiter=",") -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_lines(rows=ROWS) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
PLAIN = {".csv": as_csv(), ".tsv": as_csv(delimiter="\t"), ".jsonl": as_lines(), ".json": json.dumps(ROWS).encode()}


def zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(data)
    return sink.getvalue().to_pybytes()


PACKERS[".zst"] = zst


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("ending", PLAIN)
def test_packed_files_are_read_as_what_they_hold(tmp_path, ending, packing):
    path = tmp_path / f"rows{ending}{packing}"
    path.write_bytes(PACKERS[packing](PLAIN[ending]))
    assert load_input(str(path)).to_list() == ROWS
    assert load_input(str(path), split="train[:1]").to_list() == ROWS[:1]


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("spoil", ["cut", "other"])
def test_a_packed_file_that_is_damaged_is_explained(tmp_path, packing, spoil):
    path = tmp_path / f"rows.jsonl{packing}"
    data = PACKERS[packing](as_lines(ROWS * 200))
    path.write_bytes(data[: len(data) // 2] if spoil == "cut" else b"no such thing")
    with pytest.raises(DatasetFileError, match="cannot be read"):
        load_input(str(path))


@pytest.mark.parametrize(("encoding", "said"), [("cp1252", "'\xe8'"), ("latin-1", "'\xe8'")])
def test_a_table_of_windows_says_its_encoding(tmp_path, encoding, said):
    path = tmp_path / "rows.csv"
    path.write_bytes(as_csv(delimiter=";").decode().encode(encoding))
    with pytest.raises(DatasetFileError, match=r"row 1 \(line 2\), column 'text'.*encoding='cp1252'") as raised:
        load_input(str(path))
    assert said in str(raised.value)
    assert load_input(str(path), form=TextForm(encoding="cp1252")).to_list() == ROWS


@needs_calamine
def test_a_sheet_is_read_as_the_table_that_it_is(tmp_path, caplog):
    header = list(ROWS[0])
    table = [header, *([row[name] for name in header] for row in ROWS)]
    write_sheets(tmp_path / "rows.xlsx", {"Empty": [], "Rows": table, "Notes": [["word"], ["other"]]})
    assert load_input(str(tmp_path / "rows.xlsx")).to_list() == ROWS
    assert caplog.text.count("the sheet 'Rows' is read; it also has 'Notes'") == 1
    assert load_input(str(tmp_path / "rows.xlsx"), "Notes").to_list() == [{"word": "other"}]
    with pytest.raises(DatasetFileError, match="no sheet 'Other'; it has 'Empty', 'Rows', 'Notes'"):
        load_input(str(tmp_path / "rows.xlsx"), "Other")


@needs_calamine
def test_cells_of_a_sheet_become_texts_and_lists(tmp_path):
    table = [
        [None, None, None],
        ["text", "number", "is", None, "hard_negatives"],
        [" a\nb", 3, True, None, '["one", "two"]'],
        [None, None, None],
        ["c", 0.25, False, "left", None],
    ]
    write_sheets(tmp_path / "rows.xlsx", {"A": table})
    assert load_input(str(tmp_path / "rows.xlsx")).to_list() == [
        {"text": " a\nb", "number": "3", "is": "true", "Unnamed: 3": None, "hard_negatives": ["one", "two"]},
        {"text": "c", "number": "0.25", "is": "false", "Unnamed: 3": "left", "hard_negatives": None},
    ]
    table[2][4] = "one"
    write_sheets(tmp_path / "rows.xlsx", {"A": table})
    with pytest.raises(DatasetFileError, match=r"row 1, column 'hard_negatives': expected a list.*Name such columns"):
        load_input(str(tmp_path / "rows.xlsx"))


@needs_calamine
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no sheet"])
def test_a_sheet_that_is_none_is_explained(tmp_path, data):
    (tmp_path / "rows.xlsx").write_bytes(data)
    with pytest.raises(DatasetFileError, match="it is no spreadsheet, is damaged, or has a password"):
        load_input(str(tmp_path / "rows.xlsx"))


def test_a_sheet_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    (tmp_path / "rows.xlsx").write_bytes(b"any")
    with pytest.raises(MissingPackageError, match=r"pip install hf-rare\[excel\]"):
        load_input(str(tmp_path / "rows.xlsx"))


def write_shards(folder) -> None:
    folder.mkdir()
    for number, row in enumerate(ROWS):
        (folder / f"train-0000{number}.jsonl").write_bytes(as_lines([row]))
    (folder / "README.md").write_text("Rows.")
    (folder / "dataset_info.json").write_text("{}")
    (folder / ".hidden.csv").write_text("a\n1\n")


def test_a_pattern_and_a_folder_are_all_their_files_in_order(tmp_path):
    write_shards(tmp_path / "data")
    for name in (tmp_path / "data", tmp_path / "data" / "*.jsonl", tmp_path / "**" / "train-*"):
        assert load_input(str(name)).to_list() == ROWS
        assert load_splits(str(name)).to_list() == ROWS
        assert load_input(str(name), split="train[1:2]").to_list() == ROWS[1:2]
    assert load_input(str(tmp_path / "data" / "*-0000[02].jsonl")).to_list() == [ROWS[0], ROWS[2]]
    one, other = (load_input(str(tmp_path / "data"))._fingerprint for _ in range(2))
    assert one == other  # so that what comes after is found in the cache


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    (tmp_path / "rows[1]*.jsonl").write_bytes(as_lines(ROWS[:1]))
    (tmp_path / "rows1.jsonl").write_bytes(as_lines())
    assert load_input(str(tmp_path / "rows[1]*.jsonl")).to_list() == ROWS[:1]


def test_a_folder_of_parquet_files_and_one_of_packed_ones(tmp_path):
    for number, row in enumerate(ROWS):
        (tmp_path / "tables").mkdir(exist_ok=True)
        Dataset.from_list([row], features=load_rows(tmp_path).features).to_parquet(
            tmp_path / f"tables/{number}.parquet"
        )
    assert load_input(str(tmp_path / "tables")).to_list() == ROWS
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "a.csv.gz").write_bytes(gzip.compress(as_csv(ROWS[:2])))
    (tmp_path / "packed" / "b.csv").write_bytes(as_csv(ROWS[2:]))
    assert load_input(str(tmp_path / "packed")).to_list() == ROWS


def load_rows(folder) -> Dataset:
    (folder / "all.jsonl").write_bytes(as_lines())
    return load_input(str(folder / "all.jsonl"))


def test_files_in_another_order_of_columns_go_together(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(as_lines(ROWS[:1]))
    (tmp_path / "b.jsonl").write_bytes(as_lines([dict(reversed(row.items())) for row in ROWS[1:]]))
    assert load_input(str(tmp_path / "*.jsonl")).to_list() == ROWS


WRONG = {
    "other columns": (
        {"a.jsonl": as_lines(), "b.jsonl": b'{"question": "?", "text": "a", "neg1": "b", "neg3": "c"}\n'},
        r"a.jsonl' and '.*b.jsonl' have different columns: only one of them has 'neg2', 'neg3'",
    ),
    "other types": (
        {"a.jsonl": b'{"text": "a"}\n', "b.jsonl": b'{"text": ["a"]}\n'},
        r"b.jsonl' has columns of other types than '.*a.jsonl' and .*: 'text' holds texts, and lists of texts",
    ),
    "several kinds": ({"a.jsonl": as_lines(), "b.csv": as_csv()}, r"several kinds, such as .*Pass a pattern"),
    "several splits": (
        {"train-0.jsonl": as_lines(), "test-0.jsonl": as_lines()},
        r"several splits, such as 'test-0.jsonl' and 'train-0.jsonl'. Pass a pattern, in quotes: '.*test\*'",
    ),
    "nothing": ({"README.md": b"Rows."}, "was not written by `save_to_disk`, and has no files of rows"),
    "further down": ({"data/a.jsonl": as_lines()}, "has no files of rows. Did you mean '.*data'"),
    "one that is spoilt": ({"a.jsonl": as_lines(), "b.jsonl": b"{"}, "b.jsonl' cannot be read"),
}


@pytest.mark.parametrize(("files", "reason"), WRONG.values(), ids=WRONG)
def test_files_that_do_not_go_together_are_explained(tmp_path, files, reason):
    folder = tmp_path / "rows"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with pytest.raises(DatasetFileError, match=reason):
        load_input(str(folder))


MISSING = {
    "questions.jsnl": r"Did you mean '.*questions.jsonl'\?",
    "question.jsonl": r"Did you mean '.*questions.jsonl'\?",
    "other/questions.jsonl": "There is no folder '.*other'",
    "nothing like it.csv": "there is nothing there. Expected",
    "a**/*.csv": "is no pattern of files" if sys.version_info < (3, 13) else "as a pattern it matches none",
    "*.csv": r"\*.csv' is no input: there is no such file, and as a pattern it matches none.",
    "x" * 300 + ".csv": "there is nothing there. Expected",
    "x" * 300 + "/a.csv": "there is nothing there. There is no folder",
    "x" * 300 + "/*.csv": "is no pattern of files|as a pattern it matches none",
    "other/*.csv": "as a pattern it matches none. There is no folder",
}


@pytest.mark.parametrize(("name", "reason"), MISSING.items(), ids=[name[:20] for name in MISSING])
def test_a_name_that_is_missing_says_what_is_near(tmp_path, name, reason):
    (tmp_path / "questions.jsonl").write_bytes(as_lines())
    with pytest.raises(DatasetFileError, match=reason):
        load_input(str(tmp_path / name))


def test_an_empty_name_is_not_the_folder_one_is_in(tmp_path, monkeypatch):
    (tmp_path / "questions.jsonl").write_bytes(as_lines())
    monkeypatch.chdir(tmp_path)
    for load in (load_input, load_splits):
        with pytest.raises(DatasetFileError, match="of an input is empty"):
            load("")
    assert load_input(".").to_list() == ROWS


def test_a_name_that_could_be_one_on_the_hub_says_what_is_near_here(tmp_path, monkeypatch):
    (tmp_path / "questions.jsonl").write_bytes(as_lines())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetFileError, match=r"'questions.jsnl' cannot be read.*Did you mean 'questions.jsonl'\?"):
        load_input("questions.jsnl")
