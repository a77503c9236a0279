"""What the processes of a team tell each other about the rows of a call."""

import threading
from types import SimpleNamespace

from hf_rare.generation.protocol import Completion
from hf_rare.runs.share import TeamShare
from tests.support.waiting import wait_until


class Store(dict):
    """A store of the job that is in the memory of one process."""

    def put(self, key, value):
        self[key] = value

    get = dict.__getitem__

    def has(self, keys):
        return all(key in self for key in keys)


def make_team(rank: int, store: Store):
    """Make what a share needs of a team of two."""

    def wait_for(keys):
        wait_until(lambda: all(key in store for key in keys))

    return SimpleNamespace(rank=rank, world_size=2, calls=1, store=store, wait_for=wait_for, wait=wait_until)


def test_a_row_that_one_process_has_a_text_for_and_another_a_failure_ends_with_the_text():
    keys, store = [f"key {i}" for i in range(30)], Store()
    texts = {key: Completion(f"text of {key}", "stop", 1, 1) for key in keys}
    failures = {key: Completion("", "error", 1, 0, f"failure of {key}") for key in keys}
    known = [
        {key: (texts if i % 2 == rank else failures)[key] for i, key in enumerate(keys[:-1])} for rank in range(2)
    ]
    known[0][keys[-1]] = failures[keys[-1]]  # rank 1 knows nothing of it
    learnt = [{}, {}]

    def agree(rank):
        learnt[rank] = TeamShare(make_team(rank, store), is_lockstep=False).agree(keys, known[rank])

    threads = [threading.Thread(target=agree, args=[rank], daemon=True) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = [known[rank] | learnt[rank] for rank in range(2)]
    assert ends[0] == ends[1] == {**texts, keys[-1]: failures[keys[-1]]}


def test_where_two_have_written_equal_rows_both_end_with_the_same_text():
    store, ends = Store(), [{}, {}]

    def finish(rank):
        share = TeamShare(make_team(rank, store), is_lockstep=False)
        ends[rank], _ = share.finish({"key": Completion(f"text of {rank}", "stop", 1, 1)}, "", lambda: None)

    threads = [threading.Thread(target=finish, args=[rank], daemon=True) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends[0] == ends[1] == {"key": Completion("text of 0", "stop", 1, 1)}
