"""Batches of several threads are one stream, and each comes back as it would alone."""

import threading

import pytest

from hf_rare import AnswerJudge, Completion, ReasonDistiller
from hf_rare.errors import BudgetReachedError, GenerationError
from hf_rare.writers.joined import JoinedBatches
from tests.support.scripted import ScriptedGenerator
from tests.writers.test_ahead import Together, reason

THREADS = 6


def write_in_threads(joined, batches):
    """Return what each batch came to: its columns, or the exception."""
    results = [None] * len(batches)
    start = threading.Barrier(len(batches))

    def call(number):
        start.wait()
        try:
            results[number] = joined(batches[number])
        except Exception as err:
            results[number] = err

    threads = [threading.Thread(target=call, args=[number], daemon=True) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def batches(rows):
    return [
        {
            name: [f"{value} {number}" if name == "question" else value for value in column]
            for name, column in part.items()
        }
        for number in range(THREADS)
        for part in [rows.select([number % len(rows)])[:]]
    ]


class MeetFirst(Together):
    """Waits with its first completion until all batches are in the stream or waiting for it."""

    def __init__(self, write, joined_size, **settings):
        super().__init__(write, **settings)
        self.joined_size = joined_size

    def generate(self, source, observer=None):
        jobs = []
        while len(jobs) < self.joined_size:
            jobs += source.take(self.joined_size)
        self.most = len(jobs)
        for job in jobs:
            yield [(job, Completion(self.write(job.prompt.text, job.seed), "stop", 7, 3))]
        yield from super().generate(source, observer)


def test_rows_of_all_batches_are_in_hand_together(batches, tmp_path):
    alone = ReasonDistiller(ScriptedGenerator(reason), journal_dir=None)
    expected = [alone(batch) for batch in batches]
    generator = MeetFirst(reason, joined_size=THREADS)
    generator.most = 0
    writer = ReasonDistiller(generator, journal_dir=tmp_path / "journal")
    assert write_in_threads(JoinedBatches(writer), batches) == expected
    assert writer.completer.generated == THREADS


def test_a_judge_is_asked_in_the_stream(batches, tmp_path):
    judge = AnswerJudge(
        ScriptedGenerator(lambda text, seed: '{"verdict": "right"}', is_sampling=False), journal_dir=tmp_path / "judge"
    )
    writer = ReasonDistiller(ScriptedGenerator(reason), judge=judge, gold_column="gold", journal_dir=tmp_path / "j")
    results = write_in_threads(JoinedBatches(writer), [batch | {"gold": ["1"]} for batch in batches])
    assert [result["reasoning_verdict"] for result in results] == [["right"]] * THREADS
    assert len(judge.generator.asked) == THREADS


@pytest.mark.parametrize(
    ("settings", "error"), [({"max_rows": 2}, BudgetReachedError), ({"on_error": "raise"}, GenerationError)]
)
def test_what_ends_the_run_in_one_thread_ends_it_in_all(batches, tmp_path, settings, error):
    def write(text, seed):
        return Completion("", "error", 7, 0, "it fails") if error is GenerationError else reason(text, seed)

    writer = ReasonDistiller(ScriptedGenerator(write), journal_dir=tmp_path / "journal", **settings)
    joined = JoinedBatches(writer)
    results = write_in_threads(joined, batches)
    assert any(isinstance(result, error) for result in results)
    assert all(isinstance(result, error | dict) for result in results)
    with pytest.raises(error):
        joined({**batches[0], "question": ["Another one?"]})


def test_without_a_journal_one_batch_follows_the_other(batches):
    writer = ReasonDistiller(Together(reason), journal_dir=None)
    expected = [ReasonDistiller(ScriptedGenerator(reason), journal_dir=None)(batch) for batch in batches]
    assert write_in_threads(JoinedBatches(writer), batches) == expected
    assert writer.generator.most <= 1
