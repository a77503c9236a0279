"""Opening a journal of 5 million rows, time and memory, and appending to one.

    python -m benchmarks.journal_open [--rows 5000000] [--bytes 1024] [--folder FOLDER]

Writes the journal first (5 GB at the defaults, removed afterwards), then opens it in a new process whose peak memory
is taken. The baseline of the same run is reading the same bytes and splitting them into lines. Appends are timed one
by one, with the sync that a run has by default.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import write_result
from hf_rare.runs.journal import Journal
from hf_rare.settings.run import RunConfig

APPENDS = 100_000


def peak_memory() -> int:
    """Return the peak memory of this process in KB; unlike `ru_maxrss` it does not begin with that of the parent."""
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


def time_appends(folder: Path, value: dict[str, str]) -> dict[str, float]:
    """Append rows one by one, for longer than it takes until the first sync; give microseconds."""
    journal, took = Journal(folder, {}, sync_seconds=RunConfig().journal_sync), []
    for number in range(APPENDS):
        start = time.perf_counter()
        journal.append([(f"{number:032x}", value)])
        took.append(1e6 * (time.perf_counter() - start))
    journal.close()
    took.sort()
    return {
        "median microseconds of an append with the sync": round(statistics.median(took), 1),
        "99.9 % of appends take at most, microseconds": round(took[int(0.999 * APPENDS)], 1),
        "seconds of all appends": round(sum(took) / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--bytes", type=int, default=1024)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    value = {"text": "x" * (arguments.bytes - 80)}
    try:
        appends = time_appends(folder / "appends", value)
        shutil.rmtree(folder / "appends")
        journal = Journal(folder, {"benchmark": "journal_open"})
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
            **appends,
        }
        write_result("journal_open", result)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
