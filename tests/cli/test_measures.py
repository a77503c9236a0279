"""`hf-rare evidence` and `hf-rare select`: what a model makes of traces that are there."""

import json

import pytest
from datasets import Dataset

from hf_rare import measure_evidence, select_traces
from hf_rare.cli.main import main
from tests.support.distilled import distilled_rows, recipe


@pytest.fixture
def distilled(demo_rows) -> Dataset:
    return distilled_rows(demo_rows.select(range(3)))


@pytest.fixture
def traces(distilled, tmp_path) -> str:
    """A file of traces, with its recipe beside it."""
    distilled.to_parquet(tmp_path / "traces.parquet")
    (tmp_path / "traces.recipe.json").write_text(json.dumps(recipe()))
    return str(tmp_path / "traces.parquet")


@pytest.fixture
def drawn(distilled, tmp_path) -> str:
    """A file of rows with two traces each; those of the last row are cut off."""
    shared = ("question", "scenario", "text", "hard_negatives", "reasoning_document_order")
    rows = [
        {name: row[name] for name in shared}
        | {
            "reasoning": ["By [1] it is so.", f"xq zz 77 ## {number}"],
            "reasoning_status": ["ok" if number < 2 else "truncated"] * 2,
        }
        for number, row in enumerate(distilled)
    ]
    Dataset.from_list(rows).to_parquet(tmp_path / "drawn.parquet")
    return str(tmp_path / "drawn.parquet")


def load(path) -> Dataset:
    return Dataset.from_parquet(str(path))


def test_evidence_is_that_of_the_recipe_beside_the_rows(traces, distilled, tiny, tmp_path, capsys):
    output = tmp_path / "measured.parquet"
    arguments = ["evidence", traces, "--model", tiny, "--output", str(output)]
    assert main(arguments) == 0
    measured = load(output)
    expected = measure_evidence(distilled, tiny, recipe=recipe())
    assert measured["reasoning_evidence"][:] == expected["reasoning_evidence"][:]
    assert measured["reasoning_evidence"][:] != measure_evidence(distilled, tiny)["reasoning_evidence"][:]
    on_positive = sum(expected["reasoning_evidence_on_positive"])
    assert f"3 traces measured: the positive carries most of {on_positive}. 3 rows are in" in capsys.readouterr().out
    assert json.loads((tmp_path / "measured.recipe.json").read_text()) == recipe()
    assert main([*arguments, "--overwrite", "--json", "--system-prompt", "none"]) == 0
    assert json.loads(capsys.readouterr().out).items() >= {"rows": 3, "measured": 3}.items()
    assert load(output)["reasoning_evidence"][:] == measure_evidence(distilled, tiny)["reasoning_evidence"][:]
    assert main(arguments) == 3
    assert "exists already" in capsys.readouterr().err


def test_a_run_that_was_ended_goes_on_where_it_was(traces, tiny, tmp_path, capsys):
    output = tmp_path / "measured.parquet"
    arguments = ["evidence", traces, "--model", tiny, "--seed", "6", "--journal-dir", str(tmp_path / "journal")]
    arguments += ["--output", str(output)]
    assert main([*arguments, "--max-rows", "2"]) == 4
    assert not output.exists()
    assert main([*arguments, "--max-rows", "1"]) == 0  # only one is missing
    assert len(load(output)) == 3


def test_the_traces_that_suit_a_student_are_kept(drawn, tiny, tmp_path, capsys):
    output = tmp_path / "chosen.parquet"
    arguments = ["select", drawn, "--student", tiny, "--overwrite", "--output", str(output)]
    for measure in ("rank_surprisal", "local_naturalness"):
        assert main([*arguments, "--measure", measure]) == 0
        assert load(output)["reasoning"][:] == select_traces(load(drawn), tiny, measure)["reasoning"][:]
        assert "Of 3 rows 2 have a trace left. 2 rows are in" in capsys.readouterr().out
    assert main([*arguments, "--statuses", "all", "--keep", "2"]) == 0
    assert [len(row) for row in load(output)["reasoning"]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("command", "flags", "status", "words"),
    [
        ("evidence", [], 2, "No model is given"),
        ("evidence", ["--model", "nowhere/at-all"], 1, "nowhere/at-all"),
        ("evidence", ["--model", "{tiny}", "--question-column", "q"], 3, "no column 'q'"),
        ("select", ["--student", "{tiny}", "--model", "other"], 2, "Pass --student, the model"),
        ("select", ["--student", "no model!"], 1, "As flags: --student MODEL"),
        ("select", ["--student", "{tiny}", "--statuses", "empty"], 3, "2 with status 'truncated'"),
        ("select", ["--student", "{tiny}", "--recipe", "{folder}/none.json"], 2, "none.json"),
    ],
)
def test_what_is_wrong_is_said(drawn, tiny, tmp_path, capsys, command, flags, status, words):
    given = [flag.format(tiny=tiny, folder=tmp_path) for flag in flags]
    assert main([command, drawn, *given, "--output", str(tmp_path / "out.parquet")]) == status
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()


def test_traces_of_rows_that_have_one_are_not_chosen_from(traces, tiny, tmp_path, capsys):
    assert main(["select", traces, "--student", tiny, "--output", str(tmp_path / "out.parquet")]) == 3
    assert "there is nothing to choose from" in capsys.readouterr().err
