"""`hf-rare evaluate`: a folder with answers, JSON, table and plot."""

import json

import pytest
from datasets import Dataset

from hf_rare.cli.main import main
from tests.support.fares import make_fares

LONG = "a=" + json.dumps({"model_id": "x", "generation_kwargs": {f"name_{number}": number for number in range(50)}})
"""A student whose settings are longer than the name of any file."""


@pytest.fixture
def held_out(tmp_path) -> str:
    make_fares().to_json(tmp_path / "held-out.jsonl")
    return str(tmp_path / "held-out.jsonl")


def test_students_are_asked(held_out, tiny, tmp_path, capsys):
    output = tmp_path / "evaluation"
    other = json.dumps({"model_id": tiny, "max_new_tokens": 4})
    students = ["--student", f"before={tiny}", "--student", f"after={other}"]
    flags = ["--max-new-tokens", "6", "--changed-column", "changed_text", "--changed-gold-column", "changed_answer"]
    arguments = ["evaluate", held_out, *students, *flags, "--num-resamples", "50", "-o", str(output)]
    assert main([*arguments, "--keep-columns", "id"]) == 0
    out = capsys.readouterr().out
    assert "| with_documents | after" in out
    assert f"84 answers are in {output / 'rows.parquet'}" in out
    rows = Dataset.from_parquet(str(output / "rows.parquet"))
    assert rows.unique("student") == ["before", "after"]
    assert rows["id"][0] == "orla"
    report = json.loads((output / "evaluation.json").read_text())
    assert report["answers"]["with_documents"] == 18
    assert (output / "table.md").read_text().strip() in out
    assert (output / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert main(arguments) == 3
    assert "exists already" in capsys.readouterr().err
    card = ["card", held_out, "--evaluation", str(output / "evaluation.json"), "--output", str(tmp_path / "README.md")]
    assert main(card) == 0
    assert "### What students learn from them" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("name", ["evaluation.json", "table.md", "plot.png"])
def test_no_file_is_replaced_unasked(held_out, tiny, tmp_path, capsys, name):
    output = tmp_path / "mine"
    output.mkdir()
    (output / name).write_text("mine")
    arguments = ["evaluate", held_out, "--student", tiny, "--max-new-tokens", "2", "--conditions", "positive"]
    arguments += ["--num-resamples", "10", "--output", str(output)]
    assert main(arguments) == 3
    assert f"{output / name} exists already" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in output.iterdir()] == [(name, "mine")]
    assert main([*arguments, "--overwrite"]) == 0
    assert (output / name).read_bytes() != b"mine"
    capsys.readouterr()
    (output / name).unlink()
    (output / name).mkdir()
    assert main([*arguments, "--overwrite"]) == 3
    assert "is a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--student", "a=x", "--student", "a=y"], 2, "Two students are called 'a'"),
        (["--student", LONG, "--student", "a=y"], 2, "Two students are called 'a'"),
        (["--student", "x" * 5000], 1, "x" * 5000),
        (["--student", "x", "--model", "y"], 2, "--model is for other commands"),
        (["--student", "nowhere/at-all", "--gold-column", "gold"], 1, "nowhere/at-all"),
    ],
)
def test_what_is_wrong_is_said(held_out, tmp_path, capsys, flags, status, words):
    assert main(["evaluate", held_out, *flags, "--output", str(tmp_path / "out")]) == status
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
