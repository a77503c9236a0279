"""What benchmarks share: where a result was measured (machine, versions, date), and processes of their own."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import signal
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


def run_in_process(
    benchmark: str,
    *arguments: object,
    python: str = sys.executable,
    timeout: float | None = None,
    log: Path | None = None,
) -> dict[str, Any]:
    """Run a benchmark in a process of its own, with `--output` for the JSON that it writes.

    Args:
        benchmark (`str`): the name of its module.
        *arguments: its arguments.
        python (`str`, *optional*): the interpreter, where it is another one than ours.
        timeout (`float`, *optional*): most seconds; what runs longer is ended, with all that it has started.
        log (`Path`, *optional*): where what it says of errors is kept.

    Returns:
        `dict[str, Any]`: what it has written.

    Raises:
        RuntimeError: It failed; the text is the last line of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "result.json"), log or Path(folder, "errors")
        command = [python, "-m", f"benchmarks.{benchmark}", *map(str, arguments), "--output", str(output)]
        with errors.open("w") as file:
            process = subprocess.Popen(command, stderr=file, start_new_session=True)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it has not ended after {timeout:.0f} seconds") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it has left behind would keep its memory
            process.wait()
        if status:
            said = errors.read_text(errors="replace").strip().splitlines() or [f"exit status {status}"]
            raise RuntimeError(said[-1][:300])
        return dict(json.loads(output.read_text()))


def save_result(name: str, result: dict[str, Any], folder: Path = RESULTS) -> str:
    """Write a result to `benchmarks/results/NAME.json`, or to another folder; give its text."""
    text = json.dumps({"machine": describe_machine(), **result}, indent=2)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return text


def write_result(name: str, result: dict[str, Any], folder: Path = RESULTS) -> None:
    """Print a result and write it to `benchmarks/results/NAME.json`, or to another folder."""
    print(save_result(name, result, folder))
