import errno
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare.errors import JournalError
from hf_rare.runs import journal_file
from hf_rare.runs.journal import Journal, iterate_lines


def key(name) -> str:
    return hashlib.blake2b(str(name).encode(), digest_size=16).hexdigest()


def write(folder, names, per_write=3, header=()):
    journal = Journal(folder, dict(header))
    names = list(names)
    for start in range(0, len(names), per_write):
        journal.append((key(name), {"text": f"value {name} ü\u2028\n"}) for name in names[start : start + per_write])
    journal.close()
    return journal


def read(folder, names) -> list[str]:
    journal = Journal(folder, {})
    found = journal.read([key(name) for name in names])
    return [name for name in names if key(name) in found]


def the_file(folder):
    (path,) = folder.glob("*.jsonl")
    return path


def test_what_was_appended_is_read_back_by_this_and_the_next_process(tmp_path):
    journal = write(tmp_path, range(10))
    for opened in (journal, Journal(tmp_path, {})):
        assert len(opened) == 10
        assert key(3) in opened
        assert key("other") not in opened
        assert opened.read([key(3), key("other")]) == {key(3): {"text": "value 3 ü\u2028\n"}}


def test_each_line_is_json_and_the_first_says_what_the_file_is(tmp_path):
    write(tmp_path, range(2), header={"model": "me/teacher"})
    lines = [json.loads(line) for line in the_file(tmp_path).read_bytes().splitlines()]
    assert lines[0]["model"] == "me/teacher"
    assert lines[0]["journal"] == 1
    assert [line["key"] for line in lines[1:]] == [key(0), key(1)]
    assert lines[1]["value"]["text"].startswith("value 0")


def test_nothing_is_written_until_there_is_something_to_write(tmp_path):
    journal = Journal(tmp_path / "new" / "folder", {})
    assert list(journal.folder.iterdir()) == []
    journal.append([(key(1), {})])
    journal.append([(key(2), {})])
    assert len(list(journal.folder.iterdir())) == 1


def test_a_later_entry_stands_in_for_an_earlier_one(tmp_path):
    journal = Journal(tmp_path, {})
    journal.append([(key(1), {"attempt": 1})])
    journal.append([(key(1), {"attempt": 2})])
    assert journal.read([key(1)])[key(1)] == {"attempt": 2}
    other = Journal(tmp_path, {})
    other.append([(key(1), {"attempt": 3})])
    journal.refresh()
    for opened in (journal, other, Journal(tmp_path, {})):
        assert opened.read([key(1)])[key(1)] == {"attempt": 3}


def test_one_append_is_one_write(tmp_path, monkeypatch):
    journal = Journal(tmp_path, {})
    journal.open()
    writes = []
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(len(data)) or real_write(fd, data))
    journal.append((key(name), {"text": "x" * 1000}) for name in range(16))
    assert len(writes) == 1


def test_the_files_of_other_processes_are_followed_while_they_write(tmp_path):
    reader, writer = Journal(tmp_path, {}), Journal(tmp_path, {})
    for name in range(5):
        writer.append([(key(name), {"n": name})])
        assert key(name) not in reader
        reader.refresh()
        assert reader.read([key(name)])[key(name)] == {"n": name}
    with the_file(tmp_path).open("ab") as file:  # half a line, as if a write were under way
        file.write(b'{"key":"')
    reader.refresh()
    assert len(reader) == 5


def test_a_fork_writes_a_file_of_its_own(tmp_path):
    journal = Journal(tmp_path, {})
    journal.append([(key("parent"), {})])
    pid = os.fork()
    if pid == 0:
        journal.append([(key("child"), {})])
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    journal.append([(key("parent again"), {})])
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    journal.refresh()
    assert len(journal) == len(Journal(tmp_path, {})) == 3


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.floats(0, 1))
def test_any_prefix_of_a_file_opens_and_what_was_complete_is_read(tmp_path_factory, count, part):
    folder = tmp_path_factory.mktemp("prefix")
    names = list(range(count))
    write(folder, names, per_write=2)
    content = the_file(folder).read_bytes()
    cut = round(part * len(content))
    the_file(folder).write_bytes(content[:cut])
    complete = content[:cut].count(b"\n") - 1
    assert read(folder, names) == names[: max(complete, 0)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_spoilt_byte_costs_one_entry_at_most_and_never_gives_a_wrong_value(tmp_path_factory, place, change):
    folder = tmp_path_factory.mktemp("spoilt")
    names = list(range(8))
    write(folder, names)
    path = the_file(folder)
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place] ^= change
    path.write_bytes(bytes(content))
    journal = Journal(folder, {})
    found = journal.read([key(name) for name in names])
    assert len(found) >= len(names) - 2  # a newline that is gone joins two lines
    expected = {key(name): {"text": f"value {name} ü\u2028\n"} for name in names}
    assert found.items() <= expected.items()


def test_spoilt_lines_are_reported_skipped_and_written_again(tmp_path, caplog):
    write(tmp_path, range(5))
    path = the_file(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"garbage\n"
    lines[4] = lines[4].replace(b"value 3", b"value 4")
    path.write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING, logger="hf_rare"):
        journal = Journal(tmp_path, {})
        assert sorted(journal.read([key(name) for name in range(5)])) == sorted(map(key, (0, 2, 4)))
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        f"the line at byte {len(lines[0]) + len(lines[1])} is spoilt and is generated again.",
        f"the line at byte {sum(map(len, lines[:4]))} is spoilt and is generated again.",
    ]
    assert key(3) not in journal
    journal.append([(key(3), {"text": "again"})])
    assert Journal(tmp_path, {}).read([key(3)])[key(3)] == {"text": "again"}


def test_a_full_disk_is_a_clear_error_and_what_was_written_stays(tmp_path, monkeypatch):
    journal = Journal(tmp_path, {})
    journal.append([(key(1), {"text": "safe"})])
    real_write = os.write

    def half_then_full(descriptor, data):
        if len(data) < 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data[: len(data) - 50])

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(JournalError, match=r"No space left on device.*journal_dir"):
        journal.append([(key(2), {"text": "x" * 100})])
    monkeypatch.undo()
    assert read(tmp_path, [1, 2]) == [1]
    journal.append([(key(2), {"text": "later"})])  # goes into a new file: a torn line stays the last of its own
    assert read(tmp_path, [1, 2]) == [1, 2]


def test_a_folder_that_cannot_be_written_to_is_found_out_when_it_is_opened(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "file", {})


WRITER = """
import sys
from pathlib import Path
from hf_rare.runs.journal import Journal

journal, n = Journal(Path(sys.argv[1]), {}), 0
while True:
    journal.append([(f"{n + i:032x}", {"text": "x" * 2000}) for i in range(16)])
    n += 16
    print(n, flush=True)
"""


def test_a_writer_that_is_killed_leaves_all_that_it_said_was_safe(tmp_path):
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True)
        said = [int(writer.stdout.readline()) for _ in range(20)]
        writer.kill()
        rest = writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        safe = max([*said, *(int(line) for line in rest if line)])
        journal = Journal(tmp_path, {})
        assert len(journal.read([f"{i:032x}" for i in range(safe)])) == safe


def test_lines_can_be_iterated_from_any_place(tmp_path):
    write(tmp_path, range(3))
    lines = list(iterate_lines(the_file(tmp_path)))
    assert len(lines) == 4
    assert list(iterate_lines(the_file(tmp_path), lines[2][0])) == lines[2:]


def remove(path):
    path.unlink()


def remove_folder(path):
    shutil.rmtree(path.parent)


def rename_folder(path):
    path.parent.rename(path.parent.with_name(path.stem))


def replace_by_a_copy(path):
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def replace_by_something_else(path):
    path.unlink()
    path.write_text("not a journal\n")


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def write_into(path):
    with path.open("ab") as file:
        file.write(b"not a journal\n")


@pytest.mark.parametrize(
    "spoil", [remove, remove_folder, rename_folder, replace_by_a_copy, replace_by_something_else, write_into]
)
def test_what_was_written_is_there_whatever_becomes_of_the_file_during_the_run(tmp_path, spoil):
    folder = tmp_path / "journal"
    journal = Journal(folder, {})
    for n in range(20):
        if n in (5, 12):
            spoil(max(folder.glob("*.jsonl")))
        journal.append([(key(n), {"text": str(n)})])
    journal.append([(key(20), {"text": "20"})])
    for opened in (journal, Journal(folder, {})):
        found = opened.read([key(n) for n in range(21)])
        assert found == {key(n): {"text": str(n)} for n in range(21)}


def test_of_a_file_that_was_cut_no_more_is_lost_than_was_cut_off(tmp_path):
    journal = Journal(tmp_path, {})
    for n in range(20):
        if n == 10:
            cut(the_file(tmp_path))
        journal.append([(key(n), {"text": str(n)})])
    there = [n for n in range(20) if journal.read([key(n)]) == {key(n): {"text": str(n)}}]
    assert there == read(tmp_path, range(20))
    assert set(there) >= {*range(3), *range(10, 20)}
    assert 9 not in there


def test_entries_of_files_that_are_gone_are_written_again(tmp_path, caplog):
    write(tmp_path, range(5))
    journal = Journal(tmp_path, {})
    the_file(tmp_path).unlink()
    assert journal.read([key(n) for n in range(5)]) == {}
    assert "is gone" in caplog.text
    assert key(0) not in journal
    journal.append([(key(0), {"text": "again"})])
    assert read(tmp_path, range(5)) == [0]


def test_an_interrupt_in_the_middle_of_a_write_spoils_nothing_that_comes_after(tmp_path, monkeypatch):
    journal = Journal(tmp_path, {})
    journal.append([(key(0), {"text": "0"})])
    real_write = os.write

    def interrupted(descriptor, data):
        real_write(descriptor, data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        journal.append([(key(1), {"text": "1"})])
    monkeypatch.undo()
    for n in range(2, 9):
        journal.append([(key(n), {"text": str(n)})])
    expected = [0, *range(2, 9)]
    assert [n for n in range(9) if journal.read([key(n)]) == {key(n): {"text": str(n)}}] == expected
    assert read(tmp_path, range(9)) == expected


def rank(value):
    return value["rank"]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_the_entry_of_the_highest_rank_counts_whatever_file_it_is_in(tmp_path, order):
    for number in order:
        journal = Journal(tmp_path, {}, rank)
        journal.append([(key("row"), {"rank": number}), (key(number), {"rank": 0})])
        journal.close()
    for opened in (Journal(tmp_path, {}, rank), journal):
        opened.refresh()
        assert opened.read([key("row")]) == {key("row"): {"rank": 2}}


def test_a_spoilt_entry_of_a_later_file_does_not_stand_in_for_a_whole_one(tmp_path):
    write(tmp_path, [1])
    line = the_file(tmp_path).read_bytes().splitlines(keepends=True)[-1]
    (tmp_path / "9-later.jsonl").write_bytes(line.replace(b"value 1", b"valve 1"))
    journal = Journal(tmp_path, {}, lambda value: 0)
    assert journal.read([key(1)])[key(1)]["text"].startswith("value 1")


def test_files_come_in_the_order_in_which_they_were_made_though_the_clock_is_set_back(tmp_path, monkeypatch):
    now = journal_file.time.time_ns()
    for hours in (3, 2, 1):
        monkeypatch.setattr(journal_file.time, "time_ns", lambda hours=hours: now + hours * 3_600_000_000_000)
        journal = Journal(tmp_path, {})
        journal.append([(key("row"), {"hours": hours})])
        journal.close()
    assert Journal(tmp_path, {}).read([key("row")]) == {key("row"): {"hours": 1}}


def test_folders_and_links_to_nothing_are_no_files_of_a_journal(tmp_path):
    write(tmp_path, range(3))
    (tmp_path / "0-folder.jsonl").mkdir()
    (tmp_path / "0-link.jsonl").symlink_to(tmp_path / "nothing")
    assert read(tmp_path, range(3)) == [0, 1, 2]


@given(kept=st.integers(0, 6), zeros=st.integers(0, 9000), garbage=st.binary(max_size=300), torn=st.integers(0, 60))
@settings(deadline=None, max_examples=40)
def test_what_a_power_failure_can_leave_costs_no_more_than_what_it_has_spoilt(
    tmp_path_factory, kept, zeros, garbage, torn
):
    folder = tmp_path_factory.mktemp("journal")
    write(folder, range(6), per_write=1)
    path = the_file(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    whole, rest = b"".join(lines[: 1 + kept]), b"".join(lines[1 + kept :])
    path.write_bytes(whole + rest[:torn] + bytes(zeros) + garbage)  # blocks that were never written, or another file's
    assert read(folder, range(kept)) == list(range(kept))
    journal = Journal(folder, {})
    journal.append([(key(n), {"text": str(n)}) for n in range(kept, 6)])
    assert read(folder, range(6)) == list(range(6))


@pytest.mark.parametrize("data", [b"", bytes(4096), b"\n" * 100])
def test_a_file_of_which_nothing_was_put_on_the_disk_is_no_hindrance(tmp_path, data):
    write(tmp_path, range(3))
    (tmp_path / "9-lost.jsonl").write_bytes(data)
    assert read(tmp_path, range(3)) == [0, 1, 2]


def test_what_is_written_is_put_on_the_disk_soon_and_once_for_all_that_came_together(tmp_path, monkeypatch):
    sizes, is_there = [], threading.Event()

    def put_on_disk(descriptor):
        os.fsync(descriptor)
        sizes.append(os.fstat(descriptor).st_size)
        is_there.set()

    monkeypatch.setattr(journal_file, "put_on_disk", put_on_disk)
    journal = Journal(tmp_path, {}, sync_seconds=0.2)
    for n in range(50):
        journal.append([(key(n), {"text": str(n)})])
    assert is_there.wait(60)
    journal.close()
    assert sizes[-1] == the_file(tmp_path).stat().st_size
    assert len(sizes) < 50


def test_a_disk_that_fails_later_is_an_error_of_the_next_write_and_what_comes_then_is_kept(tmp_path, monkeypatch):
    has_failed = threading.Event()

    def fail(descriptor):
        has_failed.set()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(journal_file, "put_on_disk", fail)
    journal = Journal(tmp_path, {}, sync_seconds=0.001)
    with pytest.raises(JournalError, match=r"Input/output error.*journal_dir"):
        for n in range(100_000):
            journal.append([(key(n), {"text": str(n)})])
            has_failed.wait(60)
    monkeypatch.undo()
    journal.append([(key("later"), {"text": "later"})])
    assert read(tmp_path, [0, "later"]) == [0, "later"]


@pytest.mark.parametrize("finish", [Journal.rotate, Journal.close])
def test_a_file_that_is_gone_when_it_is_closed_is_written_again(tmp_path, finish):
    journal = Journal(tmp_path, {})
    journal.append([(key(1), {"text": "1"})])
    the_file(tmp_path).unlink()
    finished = finish(journal)
    assert read(tmp_path, [1]) == [1]
    assert finished is None or [path.is_file() for path in finished] == [True]


def test_a_file_that_is_gone_when_it_is_read_is_written_again(tmp_path):
    journal = Journal(tmp_path, {})
    journal.append([(key(1), {"text": "1"})])
    the_file(tmp_path).unlink()
    assert journal.read([key(1)]) == {key(1): {"text": "1"}}
    journal.append([(key(2), {"text": "2"})])
    assert set(journal.read([key(1), key(2)])) == {key(1), key(2)}


def test_of_entries_of_one_rank_that_of_the_latest_file_counts_whenever_it_is_read(tmp_path):
    follower = Journal(tmp_path, {}, lambda value: 0)
    early, late = Journal(tmp_path, {}), Journal(tmp_path, {})
    early.open()
    late.open()
    late.append([(key("row"), {"file": "late"})])
    follower.refresh()
    early.append([(key("row"), {"file": "early"})])
    follower.refresh()
    for journal in (follower, Journal(tmp_path, {}, lambda value: 0)):
        assert journal.read([key("row")]) == {key("row"): {"file": "late"}}


def test_without_another_thread_it_is_put_on_the_disk_at_once(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("can't start new thread")

    sizes = []
    monkeypatch.setattr(threading.Timer, "start", fail)
    monkeypatch.setattr(journal_file, "put_on_disk", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    journal = Journal(tmp_path, {}, sync_seconds=10)
    journal.append([(key(1), {"text": "1"})])
    assert sizes[-1] == the_file(tmp_path).stat().st_size
    assert read(tmp_path, [1]) == [1]


def test_a_file_that_is_gone_is_written_again_where_it_was_whatever_the_working_directory_is_now(
    tmp_path, monkeypatch
):
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "before")
    journal = Journal(Path("journal"), {})
    journal.append([(key(1), {"text": "1"})])
    monkeypatch.chdir(tmp_path / "after")
    shutil.rmtree(tmp_path / "before")
    journal.append([(key(2), {"text": "2"})])
    assert read(tmp_path / "before" / "journal", [1, 2]) == [1, 2]
    assert list((tmp_path / "after").iterdir()) == []
