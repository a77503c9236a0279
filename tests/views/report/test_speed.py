"""Tokens a second from a journal: of entries that say when they were written, and of those that do not."""

import os
import shutil

import pytest

from hf_rare import report
from hf_rare.errors import JournalError
from hf_rare.runs.journal import Journal
from hf_rare.views.report.speed import BINS, read_speed
from tests.conftest import REPOSITORY
from tests.support.report_pages import make_rows

pytestmark = pytest.mark.timeout(120)
BEGUN = 1_795_960_000.0


def write(folder, entries, monkeypatch) -> None:
    """Write a journal that was begun at a time that is known."""
    monkeypatch.setattr("hf_rare.runs.journal.time.time", lambda: BEGUN)
    journal = Journal(folder, {})
    journal.append((f"{number:032x}", value) for number, value in enumerate(entries))
    journal.close()
    monkeypatch.undo()


def entry(tokens: int, written: float | None = None) -> dict:
    value = {"completion": {"text": "x", "completion_tokens": tokens}, "attempts": 1}
    return value | ({"written": written} if written is not None else {})


def test_tokens_are_counted_when_they_were_written(tmp_path, monkeypatch):
    entries = [entry(10, BEGUN + 30)] * 240 + [entry(5, BEGUN + 600)] * 240 + [{"note": "waits"}]
    write(tmp_path, entries, monkeypatch)
    speed = read_speed(tmp_path)
    assert (speed.begun, speed.width, speed.tokens, speed.completions) == (BEGUN, 600 / BINS, 3600, 480)
    assert speed.rates[3] == 240
    assert speed.rates[-1] == 120
    assert sum(speed.rates) * speed.width == pytest.approx(3600)


def test_a_few_completions_that_end_together_are_not_much_in_a_short_time(tmp_path, monkeypatch):
    write(tmp_path, [entry(200, BEGUN + 10 * (number // 2 + 1)) for number in range(16)], monkeypatch)
    speed = read_speed(tmp_path)
    assert speed.rates == pytest.approx([1200 / 40, 2000 / 40])  # 3 200 tokens in 80 seconds


def test_what_does_not_say_when_is_spread_over_the_time_of_its_file(tmp_path, monkeypatch):
    write(tmp_path, [entry(1)] * 240 + [entry(3)] * 240, monkeypatch)
    (path,) = tmp_path.iterdir()
    os.utime(path, (BEGUN + 120, BEGUN + 120))
    speed = read_speed(tmp_path)
    assert speed.rates == pytest.approx([8.0] * BINS)


def test_a_journal_of_an_earlier_version_is_read(tmp_path):
    folder = REPOSITORY / "tests" / "data" / "written_before" / "journals" / "0dd56f6e284acec7"
    shutil.copytree(folder, tmp_path / "journal")
    html = report(make_rows(), journal=tmp_path / "journal").html
    assert "tokens a second" in html
    assert "The journal has" in html


def test_torn_lines_and_what_is_no_entry_count_nothing(tmp_path):
    (tmp_path / "1.jsonl").write_text('{"journal": 1}\n[]\n{"value": 3}\nnot JSON\n{"value": {"comple\n')
    assert read_speed(tmp_path) is None


def test_a_folder_without_a_journal_is_an_error(tmp_path):
    with pytest.raises(JournalError, match=r"holds no journal: no \.jsonl file"):
        read_speed(tmp_path)
    with pytest.raises(JournalError, match="holds no journal"):
        report(make_rows(), journal=tmp_path / "missing")
