"""Checkpoints: the journal of a lost machine comes back from the Hub."""

import os

import pytest
from huggingface_hub import HfApi

from hf_rare import ReasonDistiller
from hf_rare.errors import BudgetReachedError, ConfigError, HubError
from tests.support.loopback_hub import hub_fixture, quick_retries_fixture, xet_fixture  # noqa: F401
from tests.support.waiting import wait_until

REPO = "me/checkpoints"
SETTINGS = {"max_new_tokens": 12, "max_batch_tokens": 600}


@pytest.fixture
def machine(tmp_path, tiny):
    """Distillers on machines of their own: each has a journal folder of its own."""
    made = []

    def make(name, **settings):
        distill_fn = ReasonDistiller.from_pretrained(
            tiny, journal_dir=tmp_path / name, **{"checkpoint_repo": REPO, **SETTINGS, **settings}
        )
        made.append(distill_fn)
        return distill_fn

    yield make
    for distill_fn in made:
        if distill_fn.completer.checkpoint is not None:
            distill_fn.completer.checkpoint.close()


def distill(distill_fn, rows) -> list[dict]:
    return rows.map(distill_fn, batched=True, keep_in_memory=True, load_from_cache_file=False).to_list()


def journal_files(hub) -> list[str]:
    return sorted(path for path in hub.files(REPO) if path.startswith("journal/"))


@pytest.mark.parametrize("way", ["lfs", "xet"])
def test_a_fresh_machine_starts_where_a_dying_one_was(hub, request, rows, tiny, machine, monkeypatch, way):
    if way == "xet":  # as journals of many rows go
        request.getfixturevalue("xet")
        monkeypatch.setattr("tests.support.loopback_hub.storage.REGULAR_LIMIT", 100)
    whole = distill(ReasonDistiller.from_pretrained(tiny, journal_dir=None, **SETTINGS), rows)
    with pytest.raises(BudgetReachedError):
        distill(machine("first", max_rows=2), rows)
    assert len(journal_files(hub)) == 1  # its last moments
    assert hub.commits(REPO)[0].summary == "Checkpoint of 1 journal files"
    second = machine("second", max_rows=3)
    with pytest.raises(BudgetReachedError):
        distill(second, rows)
    third = machine("third")
    assert distill(third, rows) == whole
    assert (second.completer.generated, third.completer.generated) == (3, 1)
    assert HfApi().repo_info(REPO, repo_type="dataset").private
    files = [hub.commits(REPO)[0].files[path] for path in journal_files(hub)]
    assert {bool(file.xet) for file in files} == {way == "xet"}


def test_a_running_job_is_committed_every_few_minutes_and_nothing_twice(hub, rows, machine):
    distill_fn = machine("first", checkpoint_minutes=0.001)
    distill(distill_fn, rows)
    wait_until(lambda: entries_on(hub) == len(rows))
    distill_fn.completer.checkpoint.flush()  # one may be under way
    requests = len(hub.received("POST .*/commit/"))
    for _ in range(3):
        assert distill_fn.completer.checkpoint.flush()
    assert len(hub.received("POST .*/commit/")) == requests  # nothing new, no commit
    again = machine("second")
    distill(again, rows)
    assert again.completer.generated == 0


def entries_on(hub) -> int:
    if REPO not in hub.repo_ids():
        return 0
    return sum(hub.read(REPO, path).count(b'{"key"') for path in journal_files(hub))


def test_a_checkpoint_that_fails_does_not_end_the_run_and_is_tried_again(hub, quick_retries, rows, machine, caplog):
    distill_fn = machine("first")
    fault = hub.fault("POST .*/commit/", status=403)
    distill(distill_fn, rows)
    checkpoint = distill_fn.completer.checkpoint
    assert not checkpoint.flush()
    assert "A checkpoint failed and is tried again later" in caplog.text
    assert fault.used
    assert checkpoint.flush()
    assert entries_on(hub) == len(rows)


def test_what_an_earlier_run_left_on_this_machine_is_committed_too(hub, rows, tiny, machine, tmp_path):
    first = ReasonDistiller.from_pretrained(tiny, journal_dir=tmp_path / "here", **SETTINGS)
    distill(first, rows.select(range(3)))
    for path in (tmp_path / "here").rglob("*.jsonl"):
        os.utime(path, (0, 0))  # an hour ago, or more
    second = machine("here")
    distill(second, rows)
    assert second.completer.checkpoint.flush()
    assert entries_on(hub) == len(rows)


def test_workers_leave_nothing_behind(hub, rows, machine):
    distil_with_workers = machine("first")
    rows.map(distil_with_workers, batched=True, num_proc=2, load_from_cache_file=False)
    assert entries_on(hub) == len(rows)


def test_a_journal_that_was_pruned_meanwhile_is_left_out(hub, rows, machine, tmp_path):
    distill_fn = machine("first")
    distill(distill_fn, rows)
    for path in (tmp_path / "first").rglob("*.jsonl"):
        path.unlink()
    assert distill_fn.completer.checkpoint.flush()


def test_a_public_repository_gets_no_prompts(hub, rows, machine):
    hub.create_repo(REPO)
    with pytest.raises(HubError, match="is public, and a journal holds every prompt"):
        distill(machine("first"), rows)


def test_it_fails_before_anything_is_generated(hub, rows, tiny, machine):
    distill_fn = ReasonDistiller.from_pretrained(tiny, checkpoint_repo=REPO, journal_dir=None, **SETTINGS)
    with pytest.raises(ConfigError, match="needs a journal"):
        distill(distill_fn, rows)
    with pytest.raises(HubError, match="nothing was generated"):
        distill(machine("first", checkpoint_repo="other/checkpoints"), rows)


def test_a_hub_that_does_not_answer_is_waited_for_no_longer_than_was_said(hub, rows, machine, caplog):
    distill_fn = machine("first")
    distill(distill_fn, rows)
    fault = hub.fault("POST .*/commit/", delay=100)
    checkpoint = distill_fn.completer.checkpoint
    assert not checkpoint.flush(0.1)
    assert f"{REPO} has not answered within 0.1 seconds" in caplog.text
    checkpoint.close()
    assert entries_on(hub) == 0  # had it been waited for, they would be there
    fault.is_over.set()
    wait_until(lambda: entries_on(hub) == len(rows))


def test_what_is_closed_is_not_waited_for_again(hub, rows, machine, caplog):
    distill_fn = machine("first")
    distill(distill_fn, rows)
    checkpoint = distill_fn.completer.checkpoint
    checkpoint.close()
    assert entries_on(hub) == len(rows)
    assert not checkpoint.flush(3600)
    checkpoint.close()
    assert "has not answered" not in caplog.text
