"""Which rows go together, and which of them wait for it."""

from hypothesis import given
from hypothesis import strategies as st

from hf_rare.generation.packing import BatchPacker, JobWindow
from hf_rare.generation.protocol import EncodedPrompt, Job, JobList

LENGTHS = st.lists(st.integers(1, 300), max_size=40)


def make_jobs(lengths) -> list[Job]:
    return [Job(EncodedPrompt([], "", [0] * length), seed) for seed, length in enumerate(lengths)]


def lengths_of(jobs) -> list[int]:
    return [len(job.prompt.token_ids) for job in jobs]


class Hesitant(JobList):
    """Gives no more jobs at a time than the next of some counts says; notes what it is asked for."""

    def __init__(self, jobs, counts) -> None:
        super().__init__(jobs)
        self.counts, self.asked = list(counts), []

    def take(self, at_most):
        self.asked.append(at_most)
        count = min(at_most, self.counts.pop(0)) if self.counts else at_most
        return super().take(count) if count else []


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 100), st.integers(1, 2000))
def test_as_many_fit_as_keep_to_the_budget_and_one_always_does(lengths, max_new_tokens, max_batch_tokens):
    packer = BatchPacker(max_new_tokens, max_batch_tokens)
    together = packer.count(lengths)
    longest = [max(lengths)] * together
    assert together == 1 or packer.size(longest) <= max_batch_tokens
    assert packer.size([*longest, max(lengths)]) > max_batch_tokens
    whole = packer.count_whole(lengths)
    assert packer.whole_size(lengths[:whole]) <= max_batch_tokens
    assert whole == len(lengths) or packer.whole_size(lengths[: whole + 1]) > max_batch_tokens
    assert packer.whole_size(lengths) <= packer.size(lengths)


@given(LENGTHS, st.lists(st.integers(0, 7), max_size=30), st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6))))
def test_the_longest_of_a_window_come_first_and_none_is_lost(lengths, counts, steps):
    jobs = make_jobs(lengths)
    source = Hesitant(jobs, counts)
    window, taken = JobWindow(source), []
    for wanted, used in [*steps, *[(5, 5)] * (len(jobs) + len(counts))]:
        before, asked = list(window.jobs), len(source.asked)
        window.fill(wanted)
        assert len(window.jobs) <= max(wanted, len(before))
        assert source.asked[asked:] in ([], [wanted - len(before)])
        assert (source.asked[asked:] == []) == (len(before) >= wanted)  # never for no job at all
        assert set(before) <= set(window.jobs)
        assert lengths_of(window.jobs) == sorted(lengths_of(window.jobs), reverse=True)
        waiting = list(window.jobs)
        out = window.take(used)
        assert out == waiting[:used]
        assert window.jobs == waiting[used:]
        taken += out
    assert len(taken) == len(jobs)
    assert set(taken) == set(jobs)


@given(LENGTHS, st.integers(1, 50))
def test_a_window_over_all_jobs_keeps_the_order_of_those_of_one_length(lengths, size):
    jobs = make_jobs(lengths)
    window = JobWindow(JobList(jobs))
    window.fill(len(jobs) + size)
    assert window.take(len(jobs) + size) == sorted(jobs, key=lambda job: (-len(job.prompt.token_ids), job.seed))
    assert window.jobs == []


@given(LENGTHS, st.lists(st.integers(1, 9), max_size=50))
def test_a_list_of_jobs_gives_them_in_order_and_then_none(lengths, sizes):
    jobs = make_jobs(lengths)
    source, given_so_far = JobList(iter(jobs)), 0
    for size in [*sizes, len(jobs) + 1, 1, 1]:
        assert source.take(size) == jobs[given_so_far : given_so_far + size]
        given_so_far += size


def test_the_packer_halves_when_memory_runs_out_and_grows_again_with_care():
    packer = BatchPacker(10, 1000)
    packer.shrink(900)
    assert packer.max_tokens == 450
    sizes = []
    for _ in range(200):
        packer.grow()
        sizes.append(packer.max_tokens)
    assert sizes[:7] == [450] * 7
    assert sizes[7] == 506
    assert sizes == sorted(sizes)
    assert sizes[-1] == 899  # below what did not fit, for good
    packer.shrink(899)
    assert packer.max_tokens == 449
