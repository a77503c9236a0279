"""From a spreadsheet to training files, and a loud end where nothing can be used."""

import csv
import json

import pytest
from datasets import Dataset

from hf_rare import ColumnError, NothingUsableError, PipelineError, run_pipeline
from tests.support.chat_server import complete, serving
from tests.support.commands import command

TEXT = "<think>Because of the rule in [1].</think>It is so."
ROWS = [
    {
        "question": f"What of {i}?",
        "scenario": "Am Flüßchen.",
        "text": f"Rule {i} says so.",
        "neg1": "Another rule.",
        "neg2": "" if i else "A third one.",
        "neg3": " ",
    }
    for i in range(4)
]
NEGATIVES = ("--hard-negatives-column", "neg1", "neg2", "neg3")


def load(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_spreadsheet_becomes_traces_and_a_training_file(tmp_path, capsys):
    source, traces, sft = (tmp_path / name for name in ("rows.csv", "traces.jsonl", "sft.jsonl"))
    with source.open("w", newline="", encoding="cp1252") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(ROWS)
    with serving(complete(TEXT)) as server:
        flags = ["--model", "m", "--base-url", server.base_url, "--no-stream", "--output", traces]
        refused = command("distill", source, *NEGATIVES, *flags)
        assert refused.code
        assert "encoding='cp1252'" in refused.said
        assert not server.requests
        told = command("distill", source, "--encoding", "cp1252", *NEGATIVES, *flags)
        assert told.code == 0, told.said
        assert len(server.requests) == len(ROWS)
    rows = load(traces)
    assert [sorted(row["reasoning_document_order"]) for row in rows] == [[0, 1, 2], [0, 1], [0, 1], [0, 1]]
    assert [row["scenario"] for row in rows] == ["Am Flüßchen."] * 4
    told = command("export", traces, "sft", "--output", sft)
    assert told.code == 0, told.said
    assert [("[2]" in row["prompt"][-1]["content"], "[3]" in row["prompt"][-1]["content"]) for row in load(sft)] == [
        (True, True), (True, False), (True, False), (True, False),
    ]  # fmt: skip
    told = command("export", traces, "retrieval", "--num-negatives", 1, "--output", tmp_path / "triplets.jsonl")
    assert told.code == 0, told.said
    assert {row["negative_1"] for row in load(tmp_path / "triplets.jsonl")} == {"Another rule."}
    assert command("report", traces, "-o", tmp_path / "report.html", *NEGATIVES).code == 0


def test_a_column_of_another_type_is_an_error_before_anything_is_asked(tmp_path):
    Dataset.from_list(ROWS).to_parquet(tmp_path / "rows.parquet")
    numbers = Dataset.from_list([{**row, "question": number} for number, row in enumerate(ROWS)])
    numbers.to_parquet(tmp_path / "numbers.parquet")
    with serving(complete(TEXT)) as server:
        flags = ["--model", "m", "--base-url", server.base_url, "--output", tmp_path / "out.jsonl"]
        told = command("distill", tmp_path / "rows.parquet", "--hard-negatives-column", "neg1", *flags)
        assert told.code
        assert "'neg1' holds texts; expected lists of texts" in told.said
        assert "--hard-negatives-column '[\"neg1\"]'" in told.said
        told = command("distill", tmp_path / "numbers.parquet", *NEGATIVES, *flags)
        assert told.code
        assert "'question' holds int64; expected texts. Convert it: dataset.cast_column('question'" in told.said
        assert not server.requests
        assert not (tmp_path / "out.jsonl").exists()
        told = command("distill", tmp_path / "rows.parquet", "--hard-negatives-column", '["neg1"]', *flags)
        assert told.code == 0, told.said
    assert sorted(load(tmp_path / "out.jsonl")[0]["reasoning_document_order"]) == [0, 1]


@pytest.fixture
def cut(tmp_path):
    """Rows whose traces are all cut off."""
    Dataset.from_list(ROWS).to_json(tmp_path / "rows.jsonl")
    with serving(complete("<think>Because", finish="length")) as server:
        flags = ["--model", "m", "--base-url", server.base_url, "--no-stream", "--output", tmp_path / "cut.jsonl"]
        yield command("distill", tmp_path / "rows.jsonl", *NEGATIVES, *flags)


def test_a_run_that_leaves_nothing_usable_says_what_to_raise(tmp_path, cut):
    assert cut.code
    assert "Nothing that was written can be used; by status: 4 truncated." in cut.said
    assert "raise" in cut.said
    assert "--max-new-tokens" in cut.said
    assert [row["reasoning_status"] for row in load(tmp_path / "cut.jsonl")] == ["truncated"] * 4
    assert (tmp_path / "cut.recipe.json").exists()


def test_an_export_of_nothing_says_what_was_left_out(tmp_path, cut):
    told = command("export", tmp_path / "cut.jsonl", "sft", "--output", tmp_path / "out.jsonl")
    assert told.code
    assert "4 of 4 traces are left out: 4 truncated." in told.said
    assert "No row of" in told.said
    assert not (tmp_path / "out.jsonl").exists()
    told = command(
        "export", tmp_path / "cut.jsonl", "retrieval", "--num-negatives", 9, "--output", tmp_path / "x.jsonl"
    )
    assert told.code
    assert "4 of 4 rows are left out: 4 have too few negatives." in told.said
    assert "--max-new-tokens" not in told.said
    told = command(
        "export", tmp_path / "cut.jsonl", "retrieval", "--num-negatives", 1, "--output", tmp_path / "y.jsonl"
    )
    assert told.code == 0, told.said  # what needs no trace is exported


def test_a_pipeline_whose_export_is_empty_has_written_all_else(tmp_path):
    Dataset.from_list(ROWS).to_json(tmp_path / "rows.jsonl")
    with serving(complete("<think>Because", finish="length")) as server:
        sections = {
            "input": str(tmp_path / "rows.jsonl"),
            "output": str(tmp_path / "out"),
            "model": {"model_id": "m", "base_url": server.base_url, "stream": False},
            "distill": {"hard_negatives_column": ["neg1", "neg2", "neg3"]},
            "export": {
                "sft": {"format": "sft"},
                "triplets": {"format": "retrieval", "num_negatives": 1, "hard_negatives_column": ["neg1", "neg2"]},
            },
        }
        with pytest.raises(PipelineError, match=r"The export 'sft' has no rows. 4 of 4 traces are left out") as raised:
            run_pipeline(sections)
        assert "max_new_tokens" in str(raised.value)
        assert "triplets" not in str(raised.value)
        written = Dataset.from_parquet(str(tmp_path / "out" / "export" / "triplets.parquet"))
        assert len(written) == 4
        assert len(Dataset.from_parquet(str(tmp_path / "out" / "rows.parquet"))) == 4
        assert (tmp_path / "out" / "README.md").exists()
        del sections["export"]
        with pytest.raises(NothingUsableError, match="by status: 4 truncated"):
            run_pipeline(sections)
        asked = len(server.requests)
        assert asked == 4  # the stage stands


def test_a_run_over_no_rows_writes_nothing(tmp_path):
    (tmp_path / "rows.csv").write_text("question,scenario,text,neg1,neg2,neg3\n")
    with serving(complete(TEXT)) as server:
        flags = ["--model", "m", "--base-url", server.base_url, "--output", tmp_path / "out.jsonl"]
        told = command("distill", tmp_path / "rows.csv", *NEGATIVES, *flags)
        assert not server.requests
    assert told.code == 3
    assert "holds no rows" in told.said
    assert not (tmp_path / "out.jsonl").exists()


def test_audits_and_checks_take_negatives_in_several_columns(tmp_path):
    Dataset.from_list([{**row, "gold": "7"} for row in ROWS]).to_json(tmp_path / "rows.jsonl")
    with serving(complete(TEXT)) as server:
        flags = ["--model", "m", "--base-url", server.base_url, "--output", tmp_path / "out.jsonl"]
        assert command("distill", tmp_path / "rows.jsonl", *NEGATIVES, *flags).code == 0
    for name, more in (("verify", ["--gold-column", "gold"]), ("audit", [])):
        told = command(name, tmp_path / "out.jsonl", *more, "--output", tmp_path / f"{name}.jsonl")
        assert told.code == 0, told.said
    (tmp_path / "out.recipe.json").unlink()
    told = command("audit", tmp_path / "out.jsonl", *NEGATIVES, "-o", tmp_path / "again.jsonl")
    assert told.code == 0, told.said
    assert load(tmp_path / "again.jsonl") == load(tmp_path / "audit.jsonl")


def test_errors_of_nothing_are_of_one_kind():
    assert issubclass(PipelineError, NothingUsableError)
    assert not issubclass(ColumnError, NothingUsableError)
