import errno
import hashlib
import json
import logging
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rare.errors import JournalError
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
