"""What the attacks by recipes and pipelines run in a process of its own: all that a person would do with one."""

import json
import resource
import sys
from pathlib import Path

MEMORY = 3 << 30
"""Bytes that it may take beyond what the process has when it begins."""
SECONDS = 120
"""Of computing, after which it is ended: however busy the machine is, what takes longer than that hangs."""
DEEDS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "pty.spawn",
    "socket.connect",
    "webbrowser.open",
)
ROWS = {
    "question": ["What?", "Which of them?"],
    "scenario": ["", "A case."],
    "text": ["A rule.", "Another rule."],
    "hard_negatives": [["No rule."], []],
    "options": [["one", "two"], ["three"]],
    "gold": ["1", "2"],
    "answer": ["1", "3"],
}


def use_recipe(path: str, kind: str, model_id: str, outcome: str) -> None:
    """Read a recipe, make what it describes, and let it write two rows."""

    def use():
        from datasets import Dataset

        from hf_rare.writers.registry import WRITERS

        writer = WRITERS[kind].load().from_recipe(path, model_id=model_id, journal_dir=None)
        writer.apply(Dataset.from_dict(ROWS), load_from_cache_file=False)

    _tell(use, outcome)


def use_pipeline(path: str, output: str, outcome: str) -> None:
    """Run a pipeline."""

    def use():
        from hf_rare.pipeline.run import run_pipeline

        run_pipeline(path, output=output)

    _tell(use, outcome)


def _tell(use, outcome: str) -> None:
    """Do something with little memory, and write how it ended and what it did that reading and writing never does."""
    import datasets

    from hf_rare.errors import HfRareError

    datasets.disable_progress_bars()
    deeds: list[str] = []
    sys.addaudithook(lambda event, args: deeds.append(f"{event} {args!r:.200}") if event in DEEDS else None)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    limit_seconds(SECONDS)
    ending, message = "works", ""
    try:
        use()
    except HfRareError as err:
        ending, message = "ours", f"{type(err).__name__}: {err}"
    except BaseException as err:
        ending, message = "foreign", f"{type(err).__name__}: {err}"
    Path(outcome).write_text(json.dumps({"ending": ending, "message": message[:500], "deeds": deeds}))


def limit_seconds(seconds: float) -> None:
    """End this process by SIGXCPU when it has computed for so many seconds more."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = usage.ru_utime + usage.ru_stime
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent + seconds) + 1, resource.RLIM_INFINITY))
