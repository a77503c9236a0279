"""`hf-rare report`: rows in, a page out."""

import json

import pytest

from hf_rare.cli.main import main
from hf_rare.runs.journal import Journal
from tests.support.distilled import recipe
from tests.support.report_pages import make_rows, unpack


@pytest.fixture
def traces(tmp_path) -> str:
    make_rows().to_parquet(tmp_path / "traces.parquet")
    return str(tmp_path / "traces.parquet")


def test_a_report_goes_by_the_recipe_beside_the_rows(traces, tmp_path, capsys):
    output = tmp_path / "report.html"
    rows = make_rows()
    renamed = rows.rename_columns({name: name.replace("reasoning", "why") for name in rows.column_names})
    renamed.to_json(tmp_path / "renamed.jsonl")
    said = recipe()
    said["distill"] |= {"output_column": "why"}
    (tmp_path / "renamed.recipe.json").write_text(json.dumps(said))
    assert main(["report", str(tmp_path / "renamed.jsonl"), "-o", str(output)]) == 0
    assert f"The report counts 7 rows and holds all of them. It is in {output}" in capsys.readouterr().out
    html = output.read_text(encoding="utf-8")
    assert "<title>renamed.jsonl</title>" in html
    assert "model_id: Qwen/Qwen3-8B" in html
    assert main(["report", traces, "-o", str(output)]) == 3
    assert "report.html exists already. Pass --overwrite" in capsys.readouterr().err
    assert main(["report", traces, "-o", str(output), "--overwrite", "--title", "Mine", "--marks", "good", "bad"]) == 0
    assert "<title>Mine</title>" in output.read_text(encoding="utf-8")
    assert unpack(output.read_text(encoding="utf-8"))[0]["marks"] == ["good", "bad"]


def test_a_report_of_two_datasets_with_a_journal(traces, tmp_path, capsys):
    other = tmp_path / "other" / "traces.parquet"
    other.parent.mkdir()
    make_rows().select(range(3)).to_parquet(other)
    entry = {"completion": {"text": "x", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 9}}
    journal = Journal(tmp_path / "journals" / "3f2a77", {"model_id": "m"})
    journal.append([("0" * 32, entry)])
    journal.close()
    output = tmp_path / "report.html"
    flags = ["--journal", "3f2a", "--journal-dir", str(tmp_path / "journals"), "--max-rows", "5", "--key-column", "id"]
    assert main(["report", traces, "--compare", str(other), *flags, "-o", str(output)]) == 0
    assert "holds a sample of 5 of them" in capsys.readouterr().out
    html = output.read_text(encoding="utf-8")
    assert "other/traces.parquet" in html
    assert "The journal has 1 completion with 9 tokens" in html


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--output-column", "why"], 3, "has no column 'why'"),
        (["--max-size", "1"], 0, ""),
        (["--journal", "3f2a", "--journal-dir", "nowhere"], 3, "0 journals in"),
        (["--compare", "missing.parquet"], 3, "there is nothing there"),
        (["--key-column", "key"], 2, "key_column='key' cannot be right"),
    ],
)
def test_what_is_wrong_is_said(traces, tmp_path, capsys, flags, status, message):
    assert main(["report", traces, *flags, "-o", str(tmp_path / "report.html")]) == status
    assert message in capsys.readouterr().err


def test_a_place_where_no_page_can_be_is_found_out_first(traces, tmp_path, capsys):
    for place in (tmp_path, tmp_path / "missing" / "report.html"):
        assert main(["report", traces, "-o", str(place), "--overwrite"]) == 3
        assert "cannot be written" in capsys.readouterr().err
