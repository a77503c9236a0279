"""A path is a path; a split is a split or an error; and what was changed is read anew."""

import json
import os

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, load_from_disk

from tests.support.commands import command, search_rows
from tests.support.quick import mostly_slow

NAMES = [
    "q[1]", "a::b", "a*b", "a?b", "{a,b}", "a b", "a%20b", "a#b", "é", "答案", "~draft", "a&b", "a=b", "-a", "a.b.c",
    "'a'", "file:a", "a\\b", "$HOME", "hf:a", "**", "[!a]", "a,b", "x" * 200,
]  # fmt: skip
ROW = {"question": "What of 0?", "text": "Rule 0."}


def write(path, rows=(ROW,)):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", mostly_slow([".jsonl", ".csv", ".parquet", ""], [".parquet"]))
def test_a_path_is_a_path(tmp_path, monkeypatch, name, ending):
    monkeypatch.chdir(tmp_path)
    path, rows = tmp_path / f"{name}{ending}", Dataset.from_list([ROW])
    plain = tmp_path / f"plain{ending}"
    {".jsonl": rows.to_json, ".csv": rows.to_csv, ".parquet": rows.to_parquet}.get(ending, rows.save_to_disk)(plain)
    plain.rename(path)
    given = path if name.startswith("-") else path.name
    output = tmp_path / "out" / f"{name}.jsonl"
    read = search_rows(given, output)
    assert read.code == 0, read.said
    assert read.column("question") == [ROW["question"]]
    for saved in (f"{name}.parquet", *(() if "." in name else (name,))):
        written = search_rows(given, tmp_path / "out" / saved)
        assert written.code == 0, written.said
        assert (tmp_path / "out" / saved).exists()
    assert len(list((tmp_path / "out").iterdir())) == (2 if "." in name else 3)


def test_a_folder_whose_name_looks_like_a_chain(tmp_path):
    folder = tmp_path / "p::q"
    folder.mkdir()
    write(folder / "rows.jsonl")
    assert search_rows(folder / "rows.jsonl", folder / "out").code == 0
    assert search_rows(folder / "out", folder / "more.jsonl", "--hard-negatives-column", "more").code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["more.jsonl", "out", "rows.jsonl"]


def test_an_input_that_was_changed_with_its_time_kept_is_read_anew(tmp_path):
    for ending in (".jsonl", ".csv", ".parquet"):
        path = tmp_path / f"rows{ending}"
        for number in (1, 2):
            row = {**ROW, "x": f"{number}"}
            if ending == ".jsonl":
                write(path, [row])
            elif ending == ".csv":
                path.write_text(f"question,text,x\nWhat of 0?,Rule 0.,{number}\n")
            else:
                Dataset.from_list([row]).to_parquet(path)
            os.utime(path, (1_700_000_000, 1_700_000_000))
            read = search_rows(path, tmp_path / f"{number}{ending}.jsonl")
            assert read.column("x") == [str(number)]


SPLITS = [
    ("train", 5), ("train[:1]", 1), ("train[2:]", 3), ("train[-2:]", 2), ("train[:40%]", 2), ("train[1:3]", 2),
    ("train[:1]+train[4:]", 2), ("train[:0]", 0),
]  # fmt: skip


@pytest.mark.parametrize(("split", "count"), SPLITS)
def test_a_part_of_a_file_is_that_part(tmp_path, split, count):
    write(tmp_path / "rows.jsonl", [{**ROW, "text": f"Rule {i}."} for i in range(5)])
    read = search_rows(tmp_path / "rows.jsonl", tmp_path / "out.parquet", "--split", split)
    assert read.code == 0, read.said
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == count


REFUSED = [
    (("--split", "test"), 3, ["'test'", "--split"]),
    (("--split", "train[:1"), 2, ["train[:1", "--split"]),
    (("--split", ""), 3, ["--split"]),
    (("--split", "train[7:]+test"), 2, ["--split"]),
    (("--config-name", "default"), 2, ["'default'", "--config-name"]),
]


@pytest.mark.parametrize(("flags", "status", "words"), REFUSED)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows"])
def test_what_a_file_has_not_is_refused(tmp_path, flags, status, words, name):
    write(tmp_path / "rows.jsonl")
    Dataset.from_list([ROW]).save_to_disk(tmp_path / "rows")
    read = search_rows(tmp_path / name, tmp_path / "out.jsonl", *flags)
    assert read.code == status
    assert [word for word in words if word not in read.said] == [], read.said
    assert len(read.said.splitlines()) == 1


def test_splits_of_saved_datasets(tmp_path):
    rows = Dataset.from_list([{**ROW, "text": f"Rule {i}."} for i in range(4)])
    DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(tmp_path / "dict")
    Dataset.from_list([ROW], split="validation").save_to_disk(tmp_path / "one")
    for folder, flags, count in (
        ("dict", (), 4), ("dict", ("--split", "test"), 1), ("dict", ("--split", "train[:2]+test"), 3),
        ("one", (), 1), ("one", ("--split", "validation"), 1), ("one", ("--split", "train"), 1),
    ):  # fmt: skip
        read = search_rows(tmp_path / folder, tmp_path / "out", *flags, "--overwrite")
        assert read.code == 0, read.said
        assert len(load_from_disk(tmp_path / "out")) == count
    DatasetDict({"validation": rows}).save_to_disk(tmp_path / "other")
    read = search_rows(tmp_path / "other", tmp_path / "new.jsonl")
    assert read.code == 3
    assert "'validation'" in read.said


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("rows.parquet", ("--encoding", "latin-1"), ["--encoding", "CSV and JSON"]),
        ("rows.parquet", ("--delimiter", ";"), ["--delimiter", "CSV"]),
        ("rows.jsonl", ("--delimiter", ";"), ["--delimiter", "CSV"]),
        ("me/rows", ("--encoding", "latin-1"), ["--encoding"]),
        ("rows.txt", (), ["no input"]),
        ("nothing[1].jsonl", (), ["no input"]),
        ("rows.parquet.jsonl", (), ["line ", "UTF-8"]),
        ("empty", (), ["no files of rows"]),
        ("text.parquet", (), ["cannot be read"]),
    ],
)
def test_other_inputs_that_cannot_be(tmp_path, name, flags, words):
    Dataset.from_list([ROW]).to_parquet(tmp_path / "rows.parquet")
    Dataset.from_list([ROW]).to_parquet(tmp_path / "rows.parquet.jsonl")
    write(tmp_path / "rows.jsonl")
    (tmp_path / "rows.txt").write_text("text")
    (tmp_path / "text.parquet").write_text("text")
    (tmp_path / "empty").mkdir()
    given = name if name == "me/rows" else tmp_path / name
    read = search_rows(given, tmp_path / "out.jsonl", *flags)
    assert read.code == (2 if flags else 3)
    assert [word for word in words if word not in read.said] == [], read.said
    assert len(read.said.splitlines()) == 1


def test_a_card_and_its_folder(tmp_path):
    write(tmp_path / "q[1].jsonl")
    read = command("card", tmp_path / "q[1].jsonl", "--output", tmp_path / "new" / "README.md")
    assert read.code == 3
    assert "new" in read.said
    assert command("card", tmp_path / "q[1].jsonl", "--output", tmp_path / "README.md").code == 0


def test_a_card_of_a_part_and_of_a_split_of_that_name(tmp_path):
    write(tmp_path / "rows.jsonl", [{**ROW, "x": i} for i in range(3)])
    for number, (split, words) in enumerate({"train[:1]": ["1 row in `train`"], "test": ["3 rows in `test`"]}.items()):
        output = tmp_path / f"{number}.md"
        read = command("card", tmp_path / "rows.jsonl", "--split", split, "--output", output)
        assert read.code == 0, read.said
        assert [word for word in words if word not in output.read_text()] == []
    read = command("card", tmp_path / "rows.jsonl", "--split", "test[:1]", "--output", tmp_path / "no.md")
    assert read.code == 3
    assert "'test[:1]'" in read.said


def test_inputs_of_a_pipeline(tmp_path):
    (tmp_path / "q[1].csv").write_bytes("question;text\ncaf\u00e9?;Rule 0.\nb?;Rule 1.\n".encode("latin-1"))
    source = {"name": str(tmp_path / "q[1].csv"), "encoding": "latin-1", "delimiter": ";", "split": "train[:1]"}
    pipeline = {"input": source, "negatives": {"query": "question", "num_negatives": 1}}
    (tmp_path / "pipeline.yaml").write_text(json.dumps(pipeline))
    read = command("run", tmp_path / "pipeline.yaml", "--output", tmp_path / "out[1]::a")
    assert read.code == 0, read.said
    assert Dataset(pq.read_table(tmp_path / "out[1]::a" / "rows.parquet"))["question"][:] == ["caf\u00e9?"]
    for changed, words in (
        ({"encoding": "latin-99"}, ["latin-99"]), ({"split": "test"}, ["'test'"]), ({"config_name": "x"}, ["'x'"]),
        ({"delimiter": ";;"}, ["';;'"]), ({"encoding": "utf-8"}, ["row 1", "0xe9"]),
    ):  # fmt: skip
        (tmp_path / "pipeline.yaml").write_text(json.dumps({**pipeline, "input": {**source, **changed}}))
        read = command("run", tmp_path / "pipeline.yaml", "--output", tmp_path / "out")
        assert read.code == (3 if {"split", "encoding"} & set(changed) and "latin-99" not in words else 2)
        assert [word for word in words if word not in read.said] == [], read.said
