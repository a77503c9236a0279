"""Outputs: what a line of JSON keeps, and what a file cannot hold, which is found out before anything runs."""

import datetime
import decimal
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Audio, Dataset, Features, Image, Value, load_from_disk

import hf_rare
from hf_rare.errors import DatasetFileError
from hf_rare.pipeline import outputs
from tests.support.commands import command, search_rows
from tests.support.versions import skip_before_datasets_5

NOON = datetime.datetime(2024, 1, 5, 12, 30, 15, 250_000)
KEPT = {
    "floats": (pa.array([1.0, 0.1 + 0.2]), ["1.0", "0.30000000000000004"]),
    "large and small floats": (pa.array([1e300, 1e-300]), ["1e+300", "1e-300"]),
    "not a number": (pa.array([float("nan"), 1.0]), ["null", "1.0"]),
    "floats in lists": (pa.array([[1.0], [2.5, float("nan")]]), ["[1.0]", "[2.5, null]"]),
    "numbers and nothing": (pa.array([1, None]), ["1", "null"]),
    "large numbers": (pa.array([2**63 - 1, -(2**63)]), ["9223372036854775807", "-9223372036854775808"]),
    "booleans and nothing": (pa.array([True, None]), ["true", "null"]),
    "times": (pa.array([NOON, None]), ['"2024-01-05T12:30:15.250000"', "null"]),
    "times with a zone": (
        pa.array([NOON, None], pa.timestamp("ms", "UTC")), ['"2024-01-05T12:30:15.250000+00:00"', "null"],
    ),
    "times to the nanosecond": (pa.array([1, None], pa.timestamp("ns")), ['"1970-01-01T00:00:00.000000001"', "null"]),
    "dates": (pa.array([NOON.date(), None]), ['"2024-01-05"', "null"]),
    "times of day": (pa.array([NOON.time(), None], pa.time64("us")), ['"12:30:15.250000"', "null"]),
    "dates in objects": (pa.array([{"at": [NOON.date()]}, None]), ['{"at": ["2024-01-05"]}', "null"]),
    "decimals": (pa.array([decimal.Decimal("1.10"), None]), ['"1.10"', "null"]),
    "durations": (pa.array([datetime.timedelta(seconds=90), None]), ['"PT90.0S"', "null"]),
    "texts": (pa.array(["é\n\u2028", "\u0000"]), ['"é\\n\u2028"', '"\\u0000"']),
    "text views": (pa.array(["a", None], pa.string_view()), ['"a"', "null"]),
    "categories": (pa.array(["a", "b"]).dictionary_encode(), ['"a"', '"b"']),
    "list views": (pa.array([["a"], []], pa.list_view(pa.string())), ['["a"]', "[]"]),
    "nothing": (pa.nulls(2), ["null", "null"]),
}  # fmt: skip


def table(x: pa.Array) -> pa.Table:
    return pa.table({"question": ["What of 0?", "What of 1?"], "text": ["Rule 0.", "Rule 1."], "x": x})


@pytest.mark.parametrize(("values", "written"), KEPT.values(), ids=KEPT)
def test_a_line_of_json_keeps_what_is_there(tmp_path, values, written):
    if "view" in str(values.type):
        skip_before_datasets_5("it has no views of texts and lists")
    pq.write_table(table(values), tmp_path / "rows.parquet")
    read = search_rows(tmp_path / "rows.parquet", tmp_path / "out.jsonl")
    assert read.code == 0, read.said
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert [line.split('"x": ')[1].rsplit(', "mined"')[0] for line in lines] == written


def png() -> bytes:
    from PIL import Image as Picture

    file = io.BytesIO()
    Picture.new("RGB", (2, 2)).save(file, "PNG")
    return file.getvalue()


def with_features(values: list, feature) -> Dataset:
    rows = table(pa.nulls(2)).drop_columns("x").to_pydict()
    storage = {"bytes": Value("binary"), "path": Value("string")}  # `Audio` asks for its codec to take bytes
    made = Dataset.from_dict(
        {**rows, "x": values}, Features({"question": Value("string"), "text": Value("string"), "x": storage})
    )
    return made.cast_column("x", feature)


UNHELD = {
    "bytes": (lambda: Dataset(table(pa.array([b"a", b"\xff"]))), ".jsonl", ["'x'", "bytes"]),
    "bytes in lists": (lambda: Dataset(table(pa.array([[b"a"], [b"b"]]))), ".jsonl", ["'x'", "bytes"]),
    "bytes in objects": (lambda: Dataset(table(pa.array([{"a": b"a"}, None]))), ".jsonl", ["'x'", "bytes"]),
    "pictures": (lambda: with_features([{"bytes": png(), "path": None}] * 2, Image()), ".jsonl", ["'x'", "images"]),
    "sounds": (lambda: with_features([{"bytes": b"RIFF", "path": None}] * 2, Audio()), ".jsonl", ["'x'", "audios"]),
    "infinity": (lambda: Dataset(table(pa.array([1.0, float("inf")]))), ".jsonl", ["'x'", "infinite"]),
    "infinity in lists": (lambda: Dataset(table(pa.array([[1.0], [-np.inf]]))), ".jsonl", ["'x'", "infinite"]),
    "objects without keys": (lambda: Dataset(table(pa.array([{}, {}]))), ".parquet", ["'x'"]),
}


@pytest.mark.parametrize(("make", "ending", "words"), UNHELD.values(), ids=UNHELD)
def test_what_an_output_cannot_hold_is_found_before_the_run(tmp_path, monkeypatch, make, ending, words):
    make().save_to_disk(tmp_path / "rows")
    monkeypatch.setattr(hf_rare, "mine_hard_negatives", lambda *arguments, **settings: pytest.fail("it has run"))
    read = search_rows(tmp_path / "rows", tmp_path / f"out{ending}")
    assert read.code == 3
    assert [word for word in words if word not in read.said] == [], read.said
    assert len(read.said.splitlines()) == 1


def test_a_folder_holds_what_no_file_does(tmp_path):
    for number, (make, _, _) in enumerate(UNHELD.values()):
        make().save_to_disk(tmp_path / f"rows{number}")
        read = search_rows(tmp_path / f"rows{number}", tmp_path / f"out{number}")
        assert read.code == 0, read.said
        assert load_from_disk(tmp_path / f"out{number}").column_names == ["question", "text", "x", "mined"]


def test_what_an_export_carries_along_and_cannot_be_held_is_an_error_too(rows, tmp_path):
    rows.add_column("x", [b"a"] * len(rows)).save_to_disk(tmp_path / "rows")
    arguments = ["export", tmp_path / "rows", "retrieval", "--output", tmp_path / "out.jsonl"]
    assert command(*arguments).code == 0
    read = command(*arguments, "--overwrite", "--keep-columns", "x")
    assert read.code == 3
    assert "'x'" in read.said


def test_a_text_that_is_no_utf_8_is_named(tmp_path):
    """`datasets` writes it as it is, and other libraries end the process by it."""
    spoilt = pa.Array.from_buffers(pa.string(), 2, pa.array([b"good", b"\xff\xfe"]).buffers())
    pq.write_table(table(spoilt), tmp_path / "rows.parquet")
    Dataset(table(spoilt)).save_to_disk(tmp_path / "rows")
    for name in ("rows.parquet", "rows"):
        read = search_rows(tmp_path / name, tmp_path / "out.jsonl")
        assert read.code == 3
        assert "row 2, column 'x'" in read.said


def test_rows_that_were_written_read_the_same_again(tmp_path):
    kinds = {"a": pa.array([1.0, 2.0]), "b": pa.array(["2024-01-05", "NA"]), "c": pa.array([["x"], []])}
    pq.write_table(pa.table({**table(pa.nulls(2)).to_pydict(), **kinds}), tmp_path / "rows.parquet")
    first = search_rows(tmp_path / "rows.parquet", tmp_path / "out.jsonl")
    again = search_rows(tmp_path / "out.jsonl", tmp_path / "again.jsonl", "--hard-negatives-column", "more")
    assert [{**row, "more": None} for row in first.rows] == [{**row, "more": None} for row in again.rows]
    assert json.loads((tmp_path / "again.jsonl").read_text().splitlines()[0])["a"] == 1.0


KILLED = """
import os, sys
from pathlib import Path
from datasets import Dataset
from hf_rare.pipeline import outputs

left, path = int(sys.argv[1]), Path(sys.argv[2])
move = Path.replace

def move_or_die(self, target):
    global left
    if left == 0:
        os.kill(os.getpid(), 9)
    left -= 1
    return move(self, target)

Path.replace = move_or_die
outputs.save_output(Dataset.from_dict({"x": [2]}), path)
"""


@pytest.mark.parametrize("moves", [0, 1, 2])
@pytest.mark.parametrize("ending", ["", ".parquet"])
def test_a_run_that_is_killed_leaves_the_old_output_or_the_new_one_and_nothing_else(tmp_path, ending, moves):
    path = tmp_path / f"out{ending}"
    outputs.save_output(Dataset.from_dict({"x": [1]}), path)
    subprocess.run([sys.executable, "-c", KILLED, str(moves), str(path)], check=False)
    outputs.restore_output(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    read = load_from_disk if not ending else (lambda name: Dataset.from_parquet(str(name), keep_in_memory=True))
    is_new = moves >= (1 if ending else 2)
    assert read(path)["x"][:] == [2 if is_new else 1]


def test_what_a_living_process_is_writing_is_left_alone(tmp_path):
    path = tmp_path / "out.jsonl"
    seen = []

    def write(dataset, temporary):
        temporary.write_text("half")
        outputs.restore_output(path)
        seen.append(temporary.exists())
        temporary.write_text("whole")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(outputs.SAVERS, ".jsonl", write)
        outputs.save_output(Dataset.from_dict({"x": [1]}), path)
    assert seen == [True]
    assert path.read_text() == "whole"


@pytest.mark.parametrize("error", [OSError("Input/output error"), KeyboardInterrupt()])
def test_a_move_that_fails_leaves_the_old_output(tmp_path, monkeypatch, error):
    path = tmp_path / "out"
    outputs.save_output(Dataset.from_dict({"x": [1]}), path)
    move = Path.replace

    def fail_once(self, target):
        if self.name == "rows":
            raise error
        return move(self, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises((DatasetFileError, KeyboardInterrupt)):
        outputs.save_output(Dataset.from_dict({"x": [2]}), path)
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert load_from_disk(path)["x"][:] == [1]


FULL = """
import resource, signal, sys
from pathlib import Path
from datasets import Dataset
from hf_rare.errors import DatasetFileError
from hf_rare.pipeline import outputs

rows = Dataset.from_dict({"x": [str(i) * 50 for i in range(20_000)]})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # no file may be longer, as if there were no room
for path in sys.argv[1:]:
    try:
        outputs.save_output(rows, Path(path))
    except DatasetFileError as err:
        print(err)
"""


def test_a_full_disk_leaves_the_old_output_and_says_so(tmp_path):
    path = tmp_path / "out.parquet"
    outputs.save_output(Dataset.from_dict({"x": [1]}), path)
    paths = [str(tmp_path / name) for name in ("out.parquet", "out.jsonl", "out")]
    done = subprocess.run([sys.executable, "-c", FULL, *paths], capture_output=True, text=True, check=True)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [f"{name} cannot be written" for name in paths]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]
    assert Dataset.from_parquet(str(path), keep_in_memory=True)["x"][:] == [1]
