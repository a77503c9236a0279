"""Stages in which a model reads traces: evidence, and the choice of those that suit a student."""

import pytest
from datasets import Value, load_from_disk

from hf_rare import measure_evidence, run_pipeline, select_traces
from hf_rare.errors import ConfigError, ModelLoadError


@pytest.fixture
def sections(demo_rows, tiny, tmp_path) -> dict:
    demo_rows.select(range(3)).to_parquet(tmp_path / "rows.parquet")
    return {
        "input": str(tmp_path / "rows.parquet"),
        "output": str(tmp_path / "out"),
        "model": {
            "model_id": tiny,
            "journal_dir": str(tmp_path / "journal"),
            "generation_kwargs": {"temperature": 1.0},
            "max_new_tokens": 12,
        },
        "distill": {"num_samples": 2, "system_prompt": "Answer in English."},
        "evidence": {"model": tiny, "dtype": "float32"},
        "selection": {"student": tiny, "statuses": None},
        "export": {"sft": {"format": "sft", "statuses": None}},
    }


def run(sections):
    told = []
    rows = run_pipeline(sections, on_stage=told.append)
    return rows, {result.name: result.is_skipped for result in told}


def test_traces_are_measured_and_chosen(sections, tiny, tmp_path):
    rows, told = run(sections)
    assert list(told) == ["distill", "evidence", "selection", "export sft"]
    assert rows.features["reasoning"] == Value("string")
    distilled = load_from_disk(str(tmp_path / "out" / "6-distill" / "rows"))
    recipe = tmp_path / "out" / "rows.recipe.json"
    by_hand = {"recipe": recipe, "journal_dir": tmp_path / "journal"}
    measured = measure_evidence(distilled, tiny, dtype="float32", **by_hand)
    assert rows.to_list() == select_traces(measured, tiny, statuses=None, **by_hand).to_list()
    assert len(rows)
    assert len(list((tmp_path / "journal").iterdir())) == 3  # of the teacher, of the model and of the student
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- `evidence`: A model has measured how much" in card
    assert "- `selection`: Of the traces of each row, those that suit a student best were kept." in card
    assert "`keep` `1`" in card
    assert str(tmp_path) not in card
    _, told = run(sections)
    assert [name for name, is_skipped in told.items() if not is_skipped] == ["export sft"]
    sections["selection"]["measure"] = "local_naturalness"
    rows, told = run(sections)
    assert [name for name, is_skipped in told.items() if not is_skipped] == ["selection", "export sft"]
    assert "reasoning_local_naturalness" in rows.column_names


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"evidence": {}}, ConfigError, "'evidence' has model=None; expected the name or the folder of a model"),
        ({"evidence": {"model": "nowhere/at-all"}}, ModelLoadError, "nowhere/at-all"),
        ({"negatives": {"distractor_model": "nowhere/at-all"}}, ModelLoadError, "nowhere/at-all"),
        ({"evidence": {"model": "{tiny}", "dtype": 3}}, ConfigError, "The pipeline's 'evidence': dtype=3"),
        ({"evidence": {"model": "{tiny}", "max_rows": 0}}, ConfigError, "The pipeline's 'evidence': max_rows=0"),
        ({"evidence": {"model": "{tiny}", "n": 1}}, ConfigError, "'n' is not known in 'evidence'"),
        ({"selection": {}}, ConfigError, "'selection' has student=None; expected the name or the folder"),
        ({"selection": {"student": "{tiny}", "measure": "x"}}, ConfigError, "'selection': measure='x' cannot"),
        ({"selection": {"student": "{tiny}", "keep": 0}}, ConfigError, "keep=0 cannot be right"),
        ({"selection": {"student": "{tiny}", "statuses": ["okay"]}}, ConfigError, r"statuses=\['okay'\] cannot"),
        ({"distill": {}}, ConfigError, "'selection' chooses among several traces of a row, and 'distill' writes one"),
        ({"export": {"x": {"format": "sft", "one_trace": True}}}, ConfigError, "'x' has one_trace=True, and"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_found_out_before_anything_is_generated(
    sections, tiny, tmp_path, change, error, reason
):
    ((name, section),) = change.items()
    given = {key: value.replace("{tiny}", tiny) if isinstance(value, str) else value for key, value in section.items()}
    with pytest.raises(error, match=reason):
        run_pipeline({**sections, name: given})
    assert not (tmp_path / "out").exists()
