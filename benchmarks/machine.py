"""What benchmarks share: where a result was measured (machine, versions, date), and processes of their own."""

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers")


def describe_machine() -> dict[str, Any]:
    """Describe the machine and the versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def run_in_process(benchmark: str, *arguments: object) -> dict[str, Any]:
    """Run a benchmark in a process of its own, with `--output` for the JSON that it writes.

    Args:
        benchmark (`str`): the name of its module.
        *arguments: its arguments.

    Returns:
        `dict[str, Any]`: what it has written.

    Raises:
        RuntimeError: It failed; the text is the last line of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "result.json")
        command = [sys.executable, "-m", f"benchmarks.{benchmark}", *map(str, arguments), "--output", str(output)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise RuntimeError(said[-1][:300])
        return dict(json.loads(output.read_text()))


def write_result(name: str, result: dict[str, Any]) -> None:
    """Print a result and write it to `benchmarks/results/NAME.json`."""
    text = json.dumps({"machine": describe_machine(), **result}, indent=2)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
