"""Opening a journal of 1 million rows of 4 KB: time and memory.

    python -m benchmarks.journal_open [--rows 1000000] [--bytes 4096] [--folder FOLDER]

Writes the journal first (4 GB at the defaults, removed afterwards), then opens it in a new process whose peak memory
is taken. The baseline of the same run is reading the same bytes and splitting them into lines.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import write_result
from hf_rare.runs.journal import Journal


def peak_memory() -> int:
    """Give the peak memory of this process in KB; unlike `ru_maxrss` it does not begin with that of the parent."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def measure(folder: Path) -> None:
    """Open the journal, read 1,000 rows of it, and print what it took."""
    before = peak_memory()
    start = time.perf_counter()
    journal = Journal(folder, {})
    opened = time.perf_counter()
    keys = [
        hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest()
        for i in range(0, len(journal), len(journal) // 1000)
    ]
    found = journal.read(keys)
    read = time.perf_counter()
    assert len(found) == len(keys)
    baseline = time.perf_counter()
    lines = 0
    for path in folder.glob("*.jsonl"):
        with path.open("rb") as file:
            lines += sum(1 for _ in file)
    print(
        json.dumps(
            {
                "rows": len(journal),
                "seconds to open": round(opened - start, 1),
                "seconds to iterate over the same lines": round(time.perf_counter() - baseline, 1),
                "MB of memory": round((peak_memory() - before) / 1024),
                "microseconds to read a row": round(1e6 * (read - opened) / len(keys), 1),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        journal = Journal(folder, {"benchmark": "journal_open"})
        value = {"text": "x" * (arguments.bytes - 80)}
        start = time.perf_counter()
        for first in range(0, arguments.rows, 16):
            rows = range(first, min(first + 16, arguments.rows))
            journal.append((hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest(), value) for i in rows)
        written = time.perf_counter() - start
        journal.close()
        command = [sys.executable, "-m", "benchmarks.journal_open", "--measure", str(folder)]
        result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        result |= {
            "bytes a row": arguments.bytes,
            "microseconds to write a row": round(1e6 * written / arguments.rows, 1),
        }
        write_result("journal_open", result)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
