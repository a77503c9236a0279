"""Rows that are given up are rows that failed, in every writer, and the journal has them as such."""

import pytest

from hf_rare import AnswerJudge, ReasonDistiller
from hf_rare.errors import GenerationError
from hf_rare.writers.failing import fail_rows
from tests.support.scripted import ScriptedGenerator

pytestmark = pytest.mark.timeout(60)

ERROR = "it ended its actor 3 times"


def reason(text, seed):
    return "<think>Because.</think>It is so."


def never(text, seed):
    raise AssertionError("the model was asked")


@pytest.fixture
def batch(rows):
    return rows.select(range(2))[:]


def test_rows_fail_and_a_later_run_reads_it_in_the_journal(batch, tmp_path):
    given_up = fail_rows(ReasonDistiller(ScriptedGenerator(never), journal_dir=tmp_path), batch, ERROR)
    assert given_up["reasoning_status"] == ["failed"] * 2
    assert given_up["reasoning_error"] == [ERROR] * 2
    assert ReasonDistiller(ScriptedGenerator(never), journal_dir=tmp_path)(batch) == given_up
    again = ReasonDistiller(ScriptedGenerator(reason), journal_dir=tmp_path, retry_failed=True)(batch)
    assert again["reasoning_status"] == ["ok"] * 2


def test_what_the_journal_has_of_them_is_kept_and_limits_do_not_count(batch, tmp_path):
    whole = ReasonDistiller(ScriptedGenerator(reason), journal_dir=tmp_path)(batch)
    limited = ReasonDistiller(ScriptedGenerator(never), journal_dir=tmp_path, num_samples=2, expand=True, max_rows=1)
    given_up = fail_rows(limited, batch, ERROR)
    assert given_up["reasoning_status"] == ["ok", "failed"] * 2
    assert given_up["reasoning"][::2] == whole["reasoning"]


def test_a_judge_is_given_up_too(batch, tmp_path):
    ReasonDistiller(ScriptedGenerator(reason), journal_dir=tmp_path / "rows")(batch)
    judge = AnswerJudge(ScriptedGenerator(never, is_sampling=False), journal_dir=tmp_path / "judge")
    settings = {"gold_column": "gold", "journal_dir": tmp_path / "rows"}
    judged = ReasonDistiller(ScriptedGenerator(never), judge=judge, **settings)
    given_up = fail_rows(judged, batch | {"gold": ["1"] * 2}, ERROR)
    assert given_up["reasoning_verdict"] == ["unchecked"] * 2


def test_they_end_the_run_where_failures_do(batch):
    writer = ReasonDistiller(ScriptedGenerator(never), journal_dir=None, on_error="raise")
    with pytest.raises(GenerationError, match=f"A row failed: {ERROR}"):
        fail_rows(writer, batch, ERROR)
