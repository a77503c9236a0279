"""Rows become jobs and completions lead to new ones: nothing is asked twice, left out, or read before it is whole."""

import contextlib
import itertools
import random
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from hf_rare import Completion, EncodedPrompt, Job
from hf_rare.runs.stream import JobStream, read_known


@dataclass(eq=False)
class Row:
    """A row that is done once so many attempts have been read."""

    name: str
    attempts_needed: int
    samples: int = 1
    read: list = field(default_factory=list)


class CountedAttempts:
    def __init__(self, read_together=1):
        self.read_together = read_together
        self.sizes = []

    def next(self, row):
        if len(row.read) == row.attempts_needed:
            return []
        first = len(row.read) * row.samples
        return [(EncodedPrompt([], row.name, []), seed) for seed in range(first, first + row.samples)]

    def all(self, row):
        count = row.attempts_needed * row.samples
        return [(EncodedPrompt([], row.name, []), seed) for seed in range(count)]

    def read(self, rows, completions):
        self.sizes.append(len(rows))
        for row, written in zip(rows, completions, strict=True):
            row.read.append([completion.text for completion in written])

    def copy(self, row):
        return Row(row.name, row.attempts_needed, row.samples, list(row.read))

    def alone(self):
        return contextlib.nullcontext()


def make_job(prompt, seed):
    return Job(prompt, seed, f"{prompt.text} {seed}")


def write(job):
    return Completion(f"text of {job.key}", "stop", 1, 1)


def expected(row):
    texts = [f"text of {row.name} {seed}" for seed in range(row.attempts_needed * row.samples)]
    return [texts[i : i + row.samples] for i in range(0, len(texts), row.samples)]


def run(stream, places, dice):
    """Write what a stream asks for, with so many places, whichever ends first; give the keys in order."""
    in_hand, keys = [], []
    while True:
        if len(in_hand) < places:
            jobs = stream.take(places - len(in_hand))
            in_hand += jobs
            keys += [job.key for job in jobs]
        if not in_hand:
            return keys
        job = in_hand.pop(dice.randrange(len(in_hand)))
        stream.hand_in([(job, write(job))])


ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 3)), max_size=30)


@given(ROWS, st.integers(1, 7), st.integers(1, 5), st.sampled_from([1, 4, 100]), st.randoms())
def test_every_row_is_read_to_its_end_and_no_job_is_written_twice(numbers, places, part, read_together, dice):
    needed = {name: dice.choice([(a, s) for n, a, s in numbers if n == name]) for name, _, _ in numbers}
    rows = [Row(str(name), *needed[name]) for name, _, _ in numbers]
    known = {
        job.key: write(job)
        for row in rows
        for job in itertools.starmap(make_job, CountedAttempts().all(row))
        if dice.random() < 0.3
    }
    written, finished = {}, []
    parts = (rows[i : i + part] for i in range(0, len(rows), part))

    def look_up(jobs):
        return {job.key: (known | written)[job.key] for job in jobs if job.key in known | written}

    stream = JobStream(parts, CountedAttempts(read_together), make_job, look_up, finish=finished.extend)
    hand_in = stream.hand_in
    stream.hand_in = lambda done: (written.update({job.key: text for job, text in done}), hand_in(done))
    keys = run(stream, places, dice)
    assert stream.is_over
    assert stream.in_hand == 0
    assert sorted(map(id, finished)) == sorted(map(id, rows))
    assert [row.read for row in rows] == [expected(row) for row in rows]
    assert len(keys) == len(set(keys))
    assert not set(keys) & set(known)


def test_no_more_rows_are_taken_than_there_is_room_for():
    taken = []
    parts = (taken.append(i) or [Row(str(i), 1)] for i in range(1000))
    stream = JobStream(parts, CountedAttempts(), make_job, lambda jobs: {})
    first = stream.take(5)
    assert len(first) == len(taken) == 5
    stream.hand_in([(job, write(job)) for job in first[:2]])
    assert len(stream.take(2)) == 2
    assert len(taken) == 7


def test_the_next_attempt_at_a_row_comes_before_the_first_one_at_another():
    rows = [Row("a", 3), Row("b", 1), Row("c", 1)]
    stream = JobStream(iter([rows]), CountedAttempts(), make_job, lambda jobs: {})
    (job,) = stream.take(1)
    stream.hand_in([(job, write(job))])
    assert [job.key for job in stream.take(2)] == ["a 1", "b 0"]


def test_what_a_model_reads_is_read_together_and_nothing_waits_for_it_in_vain():
    attempts = CountedAttempts(read_together=8)
    stream = JobStream(iter([[Row(str(i), 2) for i in range(20)]]), attempts, make_job, lambda jobs: {})
    run(stream, 4, random.Random(0))
    assert stream.is_over
    assert sum(attempts.sizes) == 40
    assert attempts.sizes[0] == 8
    assert len(attempts.sizes) < 20


def test_where_others_take_rows_too_one_part_is_taken_at_a_time():
    parts = iter([[Row(f"{i}a", 1), Row(f"{i}b", 1)] for i in range(9)])
    stream = JobStream(parts, CountedAttempts(), make_job, lambda jobs: {}, is_shared=True)
    assert len(stream.take(100)) == 2
    assert len(stream.take(100)) == 2


def test_jobs_that_are_not_allowed_are_held_back():
    left = [3]

    def allow(count):
        allowed = min(count, left[0])
        left[0] -= allowed
        return allowed

    stream = JobStream(iter([[Row(str(i), 1) for i in range(9)]]), CountedAttempts(), make_job, lambda jobs: {}, allow)
    assert len(run(stream, 2, random.Random(0))) == 3
    assert stream.is_cut
    assert not stream.is_over


@given(ROWS, st.randoms())
def test_what_is_known_is_read_attempt_by_attempt(numbers, dice):
    rows = [Row(f"{i}", attempts, samples) for i, (_, attempts, samples) in enumerate(numbers)]
    attempts = CountedAttempts()
    jobs = {row.name: list(itertools.starmap(make_job, attempts.all(row))) for row in rows}
    known = {job.key: write(job) for name in jobs for job in jobs[name] if dice.random() < 0.8}
    left = read_known(rows, attempts, make_job, lambda jobs: known)
    for row in rows:
        assert row.read == expected(row)[: len(row.read)]
        assert (row in left) == any(job.key not in known for job in jobs[row.name])
    assert [int(row.name) for row in left] == sorted(int(row.name) for row in left)
