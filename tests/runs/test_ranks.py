"""Several processes of one job share the rows, end with the same dataset, and wait for none that is lost."""

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from datasets import Dataset

from tests.conftest import REPOSITORY
from tests.support import rank_job
from tests.support.rule_rows import write_rule_rows
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

ROWS = 96
SCRIPT = REPOSITORY / "tests" / "support" / "rank_job.py"


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    return write_rule_rows(path, [1 + i % 4 + 8 * (i > 80) for i in range(ROWS)])


@pytest.fixture(scope="module")
def whole(context, rows, tiny, tmp_path_factory) -> str:
    """The dataset of a single process, as JSONL text."""
    folder = tmp_path_factory.mktemp("whole")
    process = context.Process(target=rank_job.distill, args=(rows, tiny, None, str(folder / "out")), daemon=True)
    process.start()
    process.join()
    return (folder / "out-alone.jsonl").read_text()


class Job:
    """Processes that share rows, as a launcher would start them."""

    def __init__(self, context, folder, rows, tiny) -> None:
        self.context = context
        self.folder = folder
        self.journal = folder / "journal"
        self.arguments = [rows, tiny, str(self.journal), str(folder / "out")]

    def run(self, body, *more, ranks=2) -> list:
        """Run `body` in every process; give how each ended (`None` is well, a text is an exception)."""
        self.begin(body, *more, ranks=ranks)
        return self.end()

    def begin(self, body, *more, ranks=2) -> None:
        self.processes = []
        port = free_port()
        for rank in range(ranks):
            arguments = (rank, ranks, port, str(self.folder), str(self.folder / "report"), body)
            more_arguments = [*self.arguments, *more]
            process = self.context.Process(target=rank_job.start_rank, args=(*arguments, more_arguments), daemon=True)
            process.start()
            self.processes.append(process)

    def end(self) -> list:
        for process in self.processes:
            process.join()
        return [self._ending(rank) for rank in range(len(self.processes))]

    def _ending(self, rank):
        path = self.folder / f"report-{rank}"
        if not path.exists():
            return "killed"
        ending = json.loads(path.read_text())
        path.unlink()
        return ending

    def outputs(self, ranks=2) -> list[str]:
        return [(self.folder / f"out-{rank}.jsonl").read_text() for rank in range(ranks)]

    def generated(self) -> dict[str, int]:
        """Rows that each rank has begun to generate."""
        counts = {}
        for line in (self.folder / "report-log").read_text().splitlines():
            rank, count = line.split()
            counts[rank] = counts.get(rank, 0) + int(count)
        return counts

    def journalled(self, name="journal") -> int:
        """Entries in all files of a journal, each counted as often as it stands there."""
        files = (self.folder / name).rglob("*.jsonl")
        return sum(line.startswith('{"key"') for path in files for line in path.read_text().splitlines())


@pytest.fixture
def job(context, tmp_path, rows, tiny) -> Job:
    return Job(context, tmp_path, rows, tiny)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# the rows are shared


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_every_row_is_generated_once_and_every_rank_has_all(job, whole, ranks):
    assert job.run(rank_job.share_equally, ranks=ranks) == [None] * ranks
    assert job.outputs(ranks) == [whole] * ranks
    assert sum(job.generated().values()) == job.journalled() == ROWS
    assert len(job.generated()) == ranks
    (cached,) = (job.folder / "datasets").rglob("cache-*.arrow")  # written by all, and whole
    assert Dataset.from_file(str(cached)).num_rows == ROWS
    assert job.run(rank_job.share, ranks=ranks) == [None] * ranks
    assert sum(job.generated().values()) == ROWS


@pytest.mark.slow
@pytest.mark.parametrize("in_one_stream", [True, False])
def test_callbacks_are_told_what_each_process_has_done_and_the_summary_of_all(job, in_one_stream):
    parts = job.run(rank_job.share_and_tell, in_one_stream)
    assert [part["begin"] for part in parts] == [[0, 2, ROWS], [1, 2, ROWS]], parts
    written = [part["progress"] for part in parts]
    assert all(part["rows_ended"] == part["rows_begun"] == part["generated"] > 0 for part in written)
    assert [part["rows_ended_by_all"] for part in written] == [ROWS, ROWS]
    for part in parts:
        for name in ("generated", "generated_tokens", "prompt_tokens", "completion_tokens"):
            assert written[0][name] + written[1][name] == part["end"][name], name
        assert part["end"]["how"] == "finished"
    for cached in (job.folder / "datasets").rglob("cache-*.arrow"):
        cached.unlink()
    again = [part["progress"] for part in job.run(rank_job.share_and_tell, in_one_stream)]
    assert sum(part["found"] for part in again) == sum(part["rows_ended"] for part in again) == ROWS
    assert [part["generated"] for part in again] == [0, 0]


@pytest.mark.slow
def test_a_journal_that_is_complete_needs_no_model(job, whole):
    job.run(rank_job.share)
    for cached in (job.folder / "datasets").rglob("cache-*.arrow"):
        cached.unlink()
    assert job.run(rank_job.share, ranks=3) == [None] * 3
    assert job.outputs(3) == [whole] * 3
    assert sum(job.generated().values()) == ROWS


@pytest.mark.slow
def test_machines_with_journals_of_their_own_tell_each_other_what_they_have(job, whole):
    assert job.run(rank_job.share_with_journals_of_their_own) == [None, None]
    assert job.journalled("journal-0") == job.journalled("journal-1") == ROWS
    for cached in (job.folder / "datasets").rglob("cache-*.arrow"):
        cached.unlink()
    for number, kept in (("0", range(0, ROWS, 2)), ("1", range(1, ROWS, 3))):  # each loses a part
        for path in (job.folder / f"journal-{number}").rglob("*.jsonl"):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for i, line in enumerate(lines) if i == 0 or i in kept))
    (job.folder / "report-log").unlink()
    assert job.run(rank_job.share_with_journals_of_their_own) == [None, None]
    assert job.outputs() == [whole, whole]
    assert 0 < sum(job.generated().values()) < ROWS / 2
    assert job.journalled("journal-0") == job.journalled("journal-1") == ROWS


@pytest.mark.slow
def test_without_a_journal(job, whole):
    job.arguments[2] = None
    assert job.run(rank_job.share) == [None, None]
    assert job.outputs() == [whole, whole]
    assert sum(job.generated().values()) == ROWS


@pytest.mark.slow
@pytest.mark.parametrize("limit", [{"max_rows": 50}, {"max_tokens": 400}])
def test_a_limit_counts_for_the_whole_job_and_ends_all_in_good_order(job, whole, limit):
    runs = 0
    while True:
        endings = job.run(rank_job.share, limit)
        runs += 1
        if endings == [None, None]:
            break
        assert all(f"BudgetReachedError: {next(iter(limit))}=" in ending for ending in endings)
        assert "Traceback" not in endings[0].split("BudgetReachedError")[1]
        assert runs < 8
    assert 2 <= runs <= 5
    assert job.outputs() == [whole, whole]
    assert sum(job.generated().values()) == job.journalled() == ROWS


@pytest.mark.slow
def test_ranks_of_which_one_has_a_journal_go_batch_by_batch(job, whole):
    assert job.run(rank_job.keep_a_journal_alone) == [None, None]
    assert job.outputs() == [whole, whole]


@pytest.mark.slow
def test_the_limit_of_a_judge_that_one_rank_reaches_ends_all(job):
    endings = job.run(rank_job.judge_and_stop)
    assert all(ending.startswith("max_rows=40 is reached") for ending in endings)


@pytest.mark.slow
def test_the_rows_that_a_limited_job_has_done_can_be_had(job, whole):
    assert job.run(rank_job.save_what_a_limit_leaves) == [None, None]
    first, second = job.outputs()
    assert first == second
    assert len(first.splitlines()) == 30
    assert set(first.splitlines()) < set(whole.splitlines())


@pytest.mark.slow
def test_a_job_that_is_suspended_goes_on(job, whole):
    def suspend():
        wait_until(lambda: (job.folder / "report-log").exists())
        for count in ("1", "2"):
            for process in job.processes:
                os.kill(process.pid, signal.SIGSTOP)
            for process in job.processes:
                wait_until(lambda pid=process.pid: is_stopped(pid))
            for rank, process in enumerate(job.processes):
                os.kill(process.pid, signal.SIGCONT)
                wait_until((job.folder / f"out-resumed-{rank}-{count}").exists)

    thread = threading.Thread(target=suspend, daemon=True)
    job.begin(rank_job.share_and_be_suspended)
    thread.start()
    assert job.end() == [None, None]
    thread.join()
    assert job.outputs() == [whole, whole]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.slow
def test_streams_that_are_split_by_process_are_not_shared(job, whole):
    assert job.run(rank_job.stream) == [None, None]
    parts = [json.loads(line) for text in job.outputs() for line in text.splitlines()]
    alone = [json.loads(line) for line in whole.splitlines()]
    by_question = {row["question"]: row for row in alone}
    assert len(parts) == len(alone)
    assert parts == [by_question[row["question"]] for row in parts]


# what goes wrong


@pytest.mark.slow
def test_an_exception_on_one_rank_reaches_all_with_its_traceback(job, whole):
    endings = job.run(rank_job.fail_in_rank_1)
    assert "RankError: The process of rank 1 failed:" in endings[0]
    for ending in endings:
        assert "JournalError: the disk of rank 1 is full" in ending
        assert "in append" in ending or "in fail" in ending
    assert job.run(rank_job.share) == [None, None]
    assert job.outputs() == [whole, whole]


def test_ranks_with_other_rows_get_an_error(job):
    endings = job.run(rank_job.see_other_rows)
    for ending in endings:
        assert "disagree about the rows of a batch" in ending
        assert "Shuffle with a seed" in ending
    assert job.journalled() == 0


@pytest.mark.slow
def test_a_rank_with_a_cached_result_is_not_waited_for(job):
    ending, other = job.run(rank_job.have_it_cached_in_rank_1)
    assert "The process of rank 1 has met this `map` and not come to its first batch" in ending
    assert "it seems to have the result in its cache" in ending
    assert other is None
    assert job.journalled() == 0


@pytest.mark.slow
def test_a_rank_that_never_comes_is_not_waited_for(job):
    ending, other = job.run(rank_job.come_only_in_rank_0)
    assert "The process of rank 1 has not been heard of in 1 seconds" in ending
    assert "not under `if is_main_process`" in ending
    assert other is None


def test_a_rank_that_has_ended_is_not_waited_for(job):
    ending, other = job.run(rank_job.end_rank_1_early)
    assert "The process of rank 1 has ended its script, while this one waits for it at a batch" in ending
    assert other is None


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_ends_the_others_and_a_rerun_goes_on(job, whole, victim):
    endings = job.run(rank_job.kill_rank, victim)
    assert endings[victim] == "killed"
    message = "seems to be dead" if victim else "is gone, and with it the process of rank 0"
    assert message in endings[1 - victim]
    safe, in_flight = job.journalled(), 2 * 8
    assert 0 < safe < ROWS
    assert job.run(rank_job.share) == [None, None]
    assert job.outputs() == [whole, whole]
    assert job.journalled() == ROWS
    assert sum(job.generated().values()) <= ROWS + in_flight
