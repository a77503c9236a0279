"""Rows that fail are data: each gets its reason, the rest goes on, and they are tried again when that is asked for."""

import logging

import pytest
import torch
from datasets import Dataset

from hf_rare import ReasonDistiller, TransformersGenerator
from hf_rare.errors import GenerationError
from hf_rare.generation.protocol import Completion
from tests.support.journalled import SETTINGS, distill, entries, make
from tests.support.plain import PlainGenerator, see_micro_batches
from tests.support.waiting import wait_until


@pytest.fixture
def poisoned(monkeypatch, tiny):
    """Make every micro-batch with a prompt about rule 3 raise."""

    def generate(self, write, jobs, *arguments):
        if any("follows from rule 3" in job.prompt.text for job in jobs):
            raise ValueError("poison")
        return write(jobs, *arguments)

    see_micro_batches(monkeypatch, generate)
    return monkeypatch


def test_a_row_that_fails_gets_its_reason_and_the_rest_goes_on(rows, tiny, poisoned):
    distilled = distill(make(tiny, None, max_batch_tokens=100_000), rows)
    poisoned.undo()
    expected = distill(make(tiny, None), rows)
    assert distilled[3]["reasoning_status"] == "failed"
    assert distilled[3]["reasoning_error"] == "ValueError: poison"
    assert distilled[3]["reasoning"] == ""
    assert [row for i, row in enumerate(distilled) if i != 3] == [row for i, row in enumerate(expected) if i != 3]


def test_failures_are_kept_and_tried_again_when_asked(rows, tiny, journal_dir, poisoned):
    distill(make(tiny, journal_dir), rows)
    again = make(tiny, journal_dir)
    assert distill(again, rows)[3]["reasoning_status"] == "failed"
    assert again.completer.generated == 0
    for _ in range(3):  # the second and the third attempt; then no more
        retrying = make(tiny, journal_dir, retry_failed=True)
        assert distill(retrying, rows)[3]["reasoning_status"] == "failed"
    assert [entry["value"]["attempts"] for entry in entries(journal_dir) if entry["value"]["completion"]["error"]] == [
        1,
        2,
        3,
    ]
    poisoned.undo()
    patient = make(tiny, journal_dir, retry_failed=True, max_tries=4)
    assert distill(patient, rows)[3]["reasoning_status"] != "failed"
    assert patient.completer.generated == 1
    assert distill(make(tiny, journal_dir), rows)[3]["reasoning_status"] != "failed"


def test_a_retry_is_not_answered_from_the_cache_of_datasets(rows, tiny, journal_dir, poisoned, tmp_path):
    rows.to_json(tmp_path / "rows.jsonl")
    from_file = Dataset.from_json(str(tmp_path / "rows.jsonl"))
    failed = from_file.map(make(tiny, journal_dir), batched=True)
    assert failed["reasoning_status"][3] == "failed"
    poisoned.undo()
    assert from_file.map(make(tiny, journal_dir), batched=True)["reasoning_status"][3] == "failed"
    retried = from_file.map(make(tiny, journal_dir, retry_failed=True), batched=True)
    assert retried["reasoning_status"][3] != "failed"


def test_failures_can_be_raised(rows, tiny, journal_dir, poisoned):
    with pytest.raises(GenerationError, match=r"ValueError: poison.*rule 3"):
        distill(make(tiny, journal_dir, on_error="raise"), rows)


def test_logits_that_are_not_finite_fail_their_row_alone(rows, tiny):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    embedding = model.get_input_embeddings().weight
    (bad,) = tokenizer("4", add_special_tokens=False)["input_ids"]  # in the prompts of the rows 2 and 4
    before = embedding[bad].detach().clone()
    for kwargs in ({}, {"temperature": 1.0}):
        with torch.no_grad():
            embedding[bad] = float("nan")
        generator = TransformersGenerator(model, tokenizer, max_new_tokens=12, generation_kwargs=kwargs)
        spoilt = distill(ReasonDistiller(generator), rows)
        with torch.no_grad():
            embedding[bad] = before
        generator = TransformersGenerator(model, tokenizer, max_new_tokens=12, generation_kwargs=kwargs)
        whole = distill(ReasonDistiller(generator), rows)
        assert [i for i, row in enumerate(spoilt) if row["reasoning_status"] == "failed"] == [2, 4]
        assert "not finite" in spoilt[4]["reasoning_error"]
        assert [spoilt[i] for i in (0, 1, 3, 5)] == [whole[i] for i in (0, 1, 3, 5)]


def test_out_of_memory_halves_the_micro_batch_and_goes_on(rows, tiny, monkeypatch):
    sizes = []

    def generate(self, write, jobs, *arguments):
        sizes.append(len(jobs))
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return write(jobs, *arguments)

    expected = distill(make(tiny, None), rows)
    see_micro_batches(monkeypatch, generate)
    distill_fn = make(tiny, None, max_batch_tokens=100_000)
    assert distill(distill_fn, rows) == expected
    assert sizes[:2] == [6, 3]
    assert max(sizes[2:]) <= 3
    later = len(sizes)
    distill(distill_fn, rows)
    assert max(sizes[later:]) <= 3  # the size that did not fit is remembered


def test_a_single_row_that_does_not_fit_fails(rows, tiny, monkeypatch):
    def generate(self, write, jobs, *arguments):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    see_micro_batches(monkeypatch, generate)
    distilled = distill(make(tiny, None), rows.select(range(2)))
    assert [row["reasoning_status"] for row in distilled] == ["failed"] * 2
    assert "out of memory with this prompt alone" in distilled[0]["reasoning_error"]


def test_a_stalled_run_names_the_row(tiny, rows, caplog):
    class Stalling(PlainGenerator):
        def write_batch(self, write, jobs, observer):
            wait_until(lambda: "No token for" in caplog.text)
            return [Completion("text", "stop", 1, 1) for _ in jobs]

    generator = Stalling.from_pretrained(tiny, **SETTINGS)
    with caplog.at_level(logging.WARNING, logger="hf_rare"):
        distill(ReasonDistiller(generator, stall_timeout=0.2, journal_dir=None), rows.select([4]))
    assert "No token for 0 seconds" in caplog.text
    assert "What follows from rule 4?" in caplog.text
